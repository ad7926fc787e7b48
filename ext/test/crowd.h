/*
 * crowd.h - a table that many connections of several processes and threads use: in the
 * database, in files or in shared memory.
 */
#ifndef CROWD_H
#define CROWD_H

#include "check.h"

#define CROWD 8 /* processes, and as many threads */
#define ACCOUNTS 32
#define EACH 1000

/* A table that many use. */
typedef struct crowd {
    const char *name;
    const char *journal; /* in the database; NULL: each has a database of its own ... */
    const char *form;    /* ... and the table is declared so, %s is `place` */
    int commits;         /* of each writer */
    char place[300];
} crowd;

extern const crowd crowds[];
#define CROWDS 4u

/* Makes it, with accounts, `total`, stamps and a counter for each of those who may
 * come; removes it, which nobody has open then. */
void crowd_make(crowd *c);
void crowd_remove(const crowd *c);

/* A connection of this process and thread; its runs and segments are small, so that
 * there is much to merge and to compact. It waits for others as long as it takes. */
sqlite3 *crowd_join(const crowd *c);

/* SQLite's code; the number that a query gives first, -1 for NULL. */
int crowd_run(sqlite3 *db, const char *sql);
int crowd_number(sqlite3 *db, const char *sql, sqlite3_int64 *out);

#endif
