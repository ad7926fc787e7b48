/*
 * hostile.h - a small table with something in each of its shadow tables, for tests that
 * then change what is there.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "check.h"

/* A connection to a database of the test's directory; it can make small runs. */
sqlite3 *hostile_open(const char *name);

/* The handle of table kv on the connection that was opened last; NULL: not yet used. */
struct lkv_handle *hostile_handle(void);

/* Makes the table `kv`, with two parts, a run, a tail of the log that is in none, rows
 * that are dead, and garbage; and an ordinary table `t`. On the connection that was
 * opened last. */
void hostile_make(sqlite3 *db);

/* The same with nothing but one segment of log. */
void hostile_make_plain(sqlite3 *db);

/* Every kind of statement on what is there now: each answers or says what is wrong. */
void hostile_try(sqlite3 *db, const char *what);

#endif
