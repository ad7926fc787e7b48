/*
 * pieces.h - the bytes that a store consists of, outside of it: its files or objects in
 * shared memory, or the rows of its shadow tables; to change, cut and take away, and to
 * put back.
 */
#ifndef PIECES_H
#define PIECES_H

#include "check.h"

#include <stdint.h>

#define PIECES 64

typedef struct piece {
    char name[32];    /* of the file, or the end of the shadow table's */
    sqlite3_int64 id; /* of the row */
    uint8_t *bytes;
    size_t size;
} piece;

typedef struct pieces {
    piece list[PIECES];
    int count;
    char prefix[300]; /* of the files' names; empty: they are rows */
    sqlite3 *db;      /* of rows: has not used the table */
} pieces;

/* Takes all files whose names begin with `prefix`, or all rows of table kv. */
void pieces_take_files(pieces *out, const char *prefix);
void pieces_take_rows(pieces *out, sqlite3 *db);
void pieces_free(pieces *all);

/* Piece `i` has these bytes from here on; or is not there. */
void pieces_put(const pieces *all, int i, const void *bytes, size_t size);
void pieces_drop(const pieces *all, int i);
/* Everything is as it was; a piece that was not there goes. */
void pieces_restore(const pieces *all);

#endif
