/*
 * diff_value.h - the values of an episode: a small pool, so that keys meet often.
 */
#ifndef LKV_DIFF_VALUE_H
#define LKV_DIFF_VALUE_H

#include "diff_random.h"

#include <sqlite3.h>
#include <stddef.h>

typedef struct diff_value {
    int type; /* SQLITE_INTEGER ... */
    sqlite3_int64 i;
    double r;
    const char *bytes; /* of a text or blob; of a long text what is repeated */
    int size;
    int repeat; /* how often; 0: `bytes` once */
    int number; /* what a long text ends in */
} diff_value;

enum { DIFF_POOL_MAX = 96 };

typedef struct diff_pool {
    diff_value at[DIFF_POOL_MAX];
    int count;
} diff_pool;

/* Fills the pool. `utf16` leaves out texts that are not valid: the two encodings keep
 * those differently. `large` allows values of 200 KB. */
void diff_pool_make(diff_pool *pool, diff_random *random, bool utf16, bool large);
/* Appends the value as an SQL expression. */
void diff_value_literal(sqlite3_str *sql, const diff_value *value);
int diff_value_bind(sqlite3_stmt *stmt, int i, const diff_value *value);

#endif
