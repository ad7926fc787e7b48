/*
 * functions.h - the SQL functions of other files, for functions.c, which registers
 * them.
 */
#ifndef LKV_FUNCTIONS_H
#define LKV_FUNCTIONS_H

#include "table.h"

/* export.c */
void lkv_export_index(sqlite3_context *context, int argc, sqlite3_value **argv);
void lkv_export_index_file(sqlite3_context *context, int argc, sqlite3_value **argv);
void lkv_import_index(sqlite3_context *context, int argc, sqlite3_value **argv);

/* remove.c */
void lkv_remove(sqlite3_context *context, int argc, sqlite3_value **argv);

/* serial.c */
void lkv_serialize_table(sqlite3_context *context, int argc, sqlite3_value **argv);
void lkv_deserialize_table(sqlite3_context *context, int argc, sqlite3_value **argv);
/* For lkv_deserialize(): whether the lkv_table `table` could read the row. */
int lkv_serial_check(void *table, const lkv_row *row);

/* recover.c */
void lkv_recover_table(sqlite3_context *context, int argc, sqlite3_value **argv);
typedef struct lkv_recovery {
    lkv_handle *handle;
    sqlite3_str *dropped; /* a JSON object for each loss */
    uint64_t kept;
} lkv_recovery;
/* lkv_salvage(), which fills `dropped` and `kept`. A status of core. */
int lkv_recovery_run(lkv_recovery *recovery, int apply, lkv_error *err);

/* tables.c: litekv_segments(t). */
const sqlite3_module *lkv_segments_module(void);

/* What SQL calls it. */
const char *lkv_object_kind_name(enum lkv_object_kind kind);

#endif
