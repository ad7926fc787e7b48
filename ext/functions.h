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

/* tables.c: litekv_segments(t). */
const sqlite3_module *lkv_segments_module(void);

#endif
