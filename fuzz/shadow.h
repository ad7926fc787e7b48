/*
 * shadow.h - the rows of a table's shadow tables, taken out of a database, damaged as
 * an input says, and put back.
 */
#ifndef LKV_FUZZ_SHADOW_H
#define LKV_FUZZ_SHADOW_H

#include "input.h"

#include <sqlite3.h>

#define SHADOW_ROWS 448u
#define SHADOW_BYTES 65536u /* of a block, when a forged root says so; a root grows */

enum shadow_table { SHADOW_LOG, SHADOW_BASE, SHADOW_INDEX, SHADOW_ROOT, SHADOW_TABLES };

typedef struct shadow_row {
    enum shadow_table table;
    sqlite3_int64 id;
    int type; /* SQLITE_BLOB, ... */
    int gone;
    size_t size; /* of a blob or text; at most SHADOW_BYTES */
    uint8_t bytes[SHADOW_BYTES];
} shadow_row;

typedef struct shadow {
    size_t count;
    int touched[SHADOW_TABLES];
    shadow_row row[SHADOW_ROWS]; /* by table, and by id as they were loaded */
} shadow;

/* What damage leaves certain of what is read afterwards. */
enum shadow_damage {
    SHADOW_WHOLE,  /* all of it */
    SHADOW_BROKEN, /* checksums tell: right, or an error */
    SHADOW_MOVED, /* whole rows of the log or of parts stand elsewhere: no value but one
                     that its key once had */
    SHADOW_FORGED, /* checksums were made to fit: nothing */
};

/* The rows of table `kv`; aborts when there are too many or too long ones. */
void shadow_load(shadow *s, sqlite3 *db);
/* One change. */
enum shadow_damage shadow_change(shadow *s, input *in, uint32_t block);
/* Writes the tables that were touched. */
void shadow_put_back(const shadow *s, sqlite3 *db);

#endif
