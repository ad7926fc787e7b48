/*
 * table.h - the table as SQLite's virtual-table methods share it.
 */
#ifndef LKV_TABLE_H
#define LKV_TABLE_H

#include "declare.h"
#include "handle.h"

typedef struct lkv_table {
    sqlite3_vtab base; /* SQLite's; first */
    sqlite3 *db;
    char *schema, *name;
    lkv_declaration declaration;
    lkv_handle *handle;
    int takes_part;  /* in SQLite's transaction, whose end it will be told of */
    int utf16;       /* whether the database's text is UTF-16; -1 before it was asked */
    int blobs_match; /* whether LIKE and GLOB look into blobs; -1 as well */
    lkv_key key, old_key;
    lkv_value *values; /* one for each value column */
    uint8_t *record;   /* the row being written */
    size_t record_room;
    void *spare; /* scan.c: a cursor of SQLite's that was closed, or NULL */
} lkv_table;

static inline lkv_table *lkv_table_of(sqlite3_vtab *base)
{
    return (lkv_table *)base;
}

/* Makes `text` the table's error message (it may be NULL) and returns `rc`. */
int lkv_table_error(lkv_table *table, int rc, char *text);

/* plan.c: what xBestIndex tells xFilter in idxNum. At most one of EQ and IN, which
 * exclude the bounds. Arguments come in the order of these bits. */
enum lkv_plan {
    LKV_PLAN_EQ = 1,
    LKV_PLAN_IN = 2,
    LKV_PLAN_LOW = 4,
    LKV_PLAN_HIGH = 8,
    LKV_PLAN_HIGH_STRICT = 16,
    LKV_PLAN_LIKE = 32,
    LKV_PLAN_GLOB = 64,
    LKV_PLAN_DESC = 128,
    LKV_PLAN_NONE = 256,    /* no row can match */
    LKV_PLAN_LITERAL = 512, /* the argument of EQ or LOW is certain */
    LKV_PLAN_HIGH_LITERAL = 1024,
};
int lkv_plan_best_index(sqlite3_vtab *base, sqlite3_index_info *info);
/* Whether the database's text is UTF-16; -1 where that cannot be found out, for an
 * interrupt or want of memory: it is asked again then. */
int lkv_plan_utf16(lkv_table *table);

/* scan.c */
int lkv_scan_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out);
int lkv_scan_close(sqlite3_vtab_cursor *base);
void lkv_scan_free_spare(lkv_table *table);
int lkv_scan_filter(sqlite3_vtab_cursor *base, int plan, const char *name, int argc,
                    sqlite3_value **argv);
int lkv_scan_next(sqlite3_vtab_cursor *base);
int lkv_scan_eof(sqlite3_vtab_cursor *base);
int lkv_scan_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int i);
int lkv_scan_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid);

/* update.c */
int lkv_update(sqlite3_vtab *base, int argc, sqlite3_value **argv,
               sqlite3_int64 *rowid);

/* command.c: INSERT INTO kv(kv) VALUES(command). `columns` is what the statement gives:
 * key, values, command. */
int lkv_command(lkv_table *table, sqlite3_value **columns);

/* integrity.c: xIntegrity, for PRAGMA integrity_check and quick_check. */
typedef int lkv_integrity_method(sqlite3_vtab *base, const char *schema,
                                 const char *name, int flags, char **problem);
lkv_integrity_method lkv_integrity;

/* functions.c: registers the SQL functions on the connection. An SQLite result code. */
int lkv_functions_register(sqlite3 *db, lkv_registry *registry);

/* vtab.c: the module, as the SQLite that runs knows it. */
const sqlite3_module *lkv_module(void);

#endif
