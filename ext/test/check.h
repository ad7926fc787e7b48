/*
 * check.h - what the test programs of ext share: counting, a directory for databases,
 * SQL with what it must give. Every connection has litekv.
 *
 * main() begins with check_begin() and returns check_end().
 */
#ifndef CHECK_H
#define CHECK_H

/* The tests are linked with SQLite. The Makefile says so, too, but not every tool that
 * reads these files knows it. */
#ifndef SQLITE_CORE
#define SQLITE_CORE 1
#endif
#include "sqlite3ext.h"

#include <stddef.h>

void check_begin(void);
/* Prints `N passed, N failed`; the exit status. A file or memory that is left is a
 * failure. */
int check_end(void);

/* Counts `good`; says where it was wrong. Returns `good`. */
int check_that(int good, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define CHECK(good) check_that((good), __FILE__, __LINE__, "%s", #good)

/* Opens the database `name` in the directory of this run; ":memory:" and URIs as they
 * are. Extended result codes are on, nothing is synced. */
sqlite3 *check_open(const char *name);
/* Loads litekv into a connection that has it; its result code. */
int check_load_again(sqlite3 *db);
/* Closes, and counts it as a failure when something is left open. */
void check_close(sqlite3 *db);
/* The path of `name` in the directory; valid until the next call. */
const char *check_path(const char *name);
/* Removes the database and what belongs to it. */
void check_remove(const char *name);

/* Runs SQL that must succeed, or must fail with `code` (0: any) and a message that has
 * `text` in it; and a query that must give `expected`: values with `,` between, rows
 * with `;`. */
void check_run(sqlite3 *db, const char *sql, const char *file, int line);
void check_fail(sqlite3 *db, const char *sql, int code, const char *text,
                const char *file, int line);
void check_query(sqlite3 *db, const char *sql, const char *expected, const char *file,
                 int line);
#define RUN(db, sql) check_run((db), (sql), __FILE__, __LINE__)
#define FAIL(db, sql, code, text)                                                      \
    check_fail((db), (sql), (code), (text), __FILE__, __LINE__)
#define QUERY(db, sql, expected)                                                       \
    check_query((db), (sql), (expected), __FILE__, __LINE__)

/* The result of a query as check_query() writes it, or the error; for sqlite3_free().
 */
char *check_result(sqlite3 *db, const char *sql);
sqlite3_int64 check_number(sqlite3 *db, const char *sql);

#endif
