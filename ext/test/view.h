/*
 * view.h - what a connection sees of a table kv of which the keys are known: for tests
 * that then compare it with what was written.
 */
#ifndef VIEW_H
#define VIEW_H

#include "check.h"

#include <stdint.h>

#define VIEW_KEYS 10 /* 1 to 6, 'a', 'b', 'four', 'none' */

/* For each key the hash of its value; 0: it is not there. */
typedef struct view_state {
    uint64_t value[VIEW_KEYS];
} view_state;

typedef struct view {
    view_state state;
    int error; /* 0, or SQLite's extended code ... */
    char text[300];
    int wrong; /* an order, a key twice, a key that is none of them */
} view;

/* The key as SQL writes it. */
const char *view_key(size_t key);

/* All rows in one order. */
void view_scan(sqlite3 *db, int descending, view *out);

/* Such a scan, not begun; and its next row, or its end. In `*last` is the key before:
 * at first -1, or VIEW_KEYS when it goes down. 1: a row. */
sqlite3_stmt *view_rows(sqlite3 *db, int descending, view *out);
int view_next(sqlite3_stmt *rows, int descending, int *last, view *out);

/* One key alone. */
void view_point(sqlite3 *db, size_t key, view *out);

/* litekv_verify(): what it finds is the error. */
void view_verify(sqlite3 *db, view *out);

#endif
