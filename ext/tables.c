/*
 * tables.c - table-valued functions.
 *
 *   litekv_segments(t)
 *      A row for every object that holds a piece of the table: the parts and segments
 * of its log, in the order of time, then the runs of its index. Reads all of it once.
 *
 *      kind        'part', 'segment' or 'run'
 *      number      from 1 on, each kind by itself
 *      bytes       that it takes
 *      live_bytes  of these, records that hold the newest value of a key; NULL of a run
 *      records     puts and deletes in it; NULL of a run
 *      keys        records or entries in it that name a key
 *
 *      No row for NULL. Errors as of the other functions: see functions.c.
 */
#include "functions.h"
#include "home.h"
#include "target.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

enum { KIND, NUMBER, BYTES, LIVE_BYTES, RECORDS, KEYS, TABLE };

typedef struct objects {
    sqlite3_vtab base; /* SQLite's; first */
    sqlite3 *db;
    lkv_registry *registry;
} objects;

typedef struct objects_cursor {
    sqlite3_vtab_cursor base; /* SQLite's; first */
    lkv_object *row;
    sqlite3_int64 count, room, at;
    lkv_handle *handle; /* while the rows are gathered */
    sqlite3_value *table;
} objects_cursor;

static int connect(sqlite3 *db, void *registry, int argc, const char *const *argv,
                   sqlite3_vtab **out, char **text)
{
    objects *table;
    int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(kind TEXT, number INTEGER, bytes "
                                      "INTEGER, live_bytes INTEGER, records INTEGER, "
                                      "keys INTEGER, \"table\" HIDDEN)");
    (void)argc;
    (void)argv;
    (void)text;
    if (rc == SQLITE_OK) {
        rc = sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    table = sqlite3_malloc64(sizeof(*table));
    if (table == NULL) {
        return SQLITE_NOMEM;
    }
    memset(table, 0, sizeof(*table));
    table->db = db;
    table->registry = registry;
    *out = &table->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *base)
{
    sqlite3_free(base);
    return SQLITE_OK;
}

/* The only plan is the one with the argument. */
static int best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    int given = 0;
    for (int i = 0; i < info->nConstraint; i++) {
        if (info->aConstraint[i].iColumn == TABLE &&
            info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_EQ) {
            given = 1;
            if (info->aConstraint[i].usable) {
                info->aConstraintUsage[i].argvIndex = 1;
                info->aConstraintUsage[i].omit = 1;
                info->estimatedCost = 1000;
                info->estimatedRows = 100;
                return SQLITE_OK;
            }
        }
    }
    if (!given) {
        sqlite3_free(base->zErrMsg);
        base->zErrMsg = sqlite3_mprintf(
            "litekv: litekv_segments: no table is named; write litekv_segments('kv')");
        return SQLITE_ERROR;
    }
    return SQLITE_CONSTRAINT;
}

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    objects_cursor *at = sqlite3_malloc64(sizeof(*at));
    (void)base;
    if (at == NULL) {
        return SQLITE_NOMEM;
    }
    memset(at, 0, sizeof(*at));
    *out = &at->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    objects_cursor *at = (objects_cursor *)base;
    sqlite3_value_free(at->table);
    sqlite3_free(at->row);
    sqlite3_free(at);
    return SQLITE_OK;
}

static int gather(void *arg, const lkv_object *object)
{
    objects_cursor *at = arg;
    int rc = lkv_home_go_on(at->handle);
    if (rc != LKV_OK) {
        return rc;
    }
    if (at->count == at->room) {
        sqlite3_int64 room = at->room == 0 ? 16 : at->room * 2;
        lkv_object *moved =
            sqlite3_realloc64(at->row, (sqlite3_uint64)room * sizeof(*moved));
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        at->row = moved;
        at->room = room;
    }
    at->row[at->count++] = *object;
    return LKV_OK;
}

/* All rows are gathered at once, so that they are of one snapshot. */
static int filter(sqlite3_vtab_cursor *base, int plan, const char *name, int argc,
                  sqlite3_value **argv)
{
    objects_cursor *at = (objects_cursor *)base;
    const objects *table = (const objects *)base->pVtab;
    lkv_target target;
    lkv_error err = {0};
    const char *of = (const char *)sqlite3_value_text(argv[0]);
    int rc;

    (void)plan;
    (void)name;
    (void)argc;
    at->count = at->at = 0;
    sqlite3_value_free(at->table);
    at->table = sqlite3_value_dup(argv[0]);
    if (at->table == NULL) {
        return SQLITE_NOMEM;
    }
    if (of == NULL) {
        return sqlite3_value_type(argv[0]) == SQLITE_NULL ? SQLITE_OK : SQLITE_NOMEM;
    }
    rc = lkv_target_find(&target, table->registry, table->db, of);
    if (rc == SQLITE_OK) {
        rc = lkv_target_read(&target);
    }
    if (rc == SQLITE_OK) {
        at->handle = target.handle;
        rc = lkv_list(target.handle->store, gather, at, &err);
        rc = lkv_target_status(&target, rc, &err);
    }
    if (target.text != NULL) {
        sqlite3_free(base->pVtab->zErrMsg);
        base->pVtab->zErrMsg = target.text;
        target.text = NULL;
    }
    lkv_target_end(&target);
    return rc;
}

static int next(sqlite3_vtab_cursor *base)
{
    ((objects_cursor *)base)->at++;
    return SQLITE_OK;
}

static int eof(sqlite3_vtab_cursor *base)
{
    const objects_cursor *at = (const objects_cursor *)base;
    return at->at >= at->count;
}

const char *lkv_object_kind_name(enum lkv_object_kind kind)
{
    static const char *const names[] = {[LKV_OBJECT_SEGMENT] = "segment",
                                        [LKV_OBJECT_PART] = "part",
                                        [LKV_OBJECT_RUN] = "run",
                                        [LKV_OBJECT_ROOT] = "root"};
    return names[kind];
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int i)
{
    const objects_cursor *at = (const objects_cursor *)base;
    const lkv_object *object = &at->row[at->at];
    int has_records = object->kind != LKV_OBJECT_RUN;

    if (i == KIND) {
        sqlite3_result_text(context, lkv_object_kind_name(object->kind), -1,
                            SQLITE_STATIC);
    } else if (i == NUMBER) {
        sqlite3_result_int64(context, object->number);
    } else if (i == BYTES) {
        sqlite3_result_int64(context, (sqlite3_int64)object->bytes);
    } else if (i == LIVE_BYTES && has_records) {
        sqlite3_result_int64(context, (sqlite3_int64)object->live_bytes);
    } else if (i == RECORDS && has_records) {
        sqlite3_result_int64(context, (sqlite3_int64)object->records);
    } else if (i == KEYS) {
        sqlite3_result_int64(context, (sqlite3_int64)object->keys);
    } else if (i == TABLE) {
        sqlite3_result_value(context, at->table);
    }
    return SQLITE_OK;
}

static int rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    *out = ((const objects_cursor *)base)->at + 1;
    return SQLITE_OK;
}

/* Without xCreate: the table is there by its name alone, and no other can be made. */
static const sqlite3_module module = {
    .xConnect = connect,
    .xBestIndex = best_index,
    .xDisconnect = disconnect,
    .xOpen = open_cursor,
    .xClose = close_cursor,
    .xFilter = filter,
    .xNext = next,
    .xEof = eof,
    .xColumn = column,
    .xRowid = rowid,
};

const sqlite3_module *lkv_segments_module(void)
{
    return &module;
}
