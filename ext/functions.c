/*
 * functions.c - SQL functions.
 *
 *   litekv_version()    text: the version of this extension
 *   litekv_stats(t)     text: JSON about the table `t`, named as 'kv' or 'schema.kv';
 * reads the whole log once
 */
#include "handle.h"
#include "storage_db.h"
#include "table.h"

#include "../core/storage.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static void version(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_result_text(context, LKV_VERSION, -1, SQLITE_STATIC);
}

/* The handle of schema.table, connected by preparing a statement on it; NULL when there
 * is no such litekv table. It lives until `*hold` is finalized. SQLite's result codes;
 * SQLITE_ERROR, which says that there is no such table, is not one of them. */
static int connect_table(const lkv_registry *registry, sqlite3 *db, const char *schema,
                         const char *table, sqlite3_stmt **hold, lkv_handle **out)
{
    char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, table);
    int rc = sql == NULL ? SQLITE_NOMEM : sqlite3_prepare_v2(db, sql, -1, hold, NULL);
    sqlite3_free(sql);
    *out = rc == SQLITE_OK ? lkv_handle_find(registry, schema, table) : NULL;
    if (*out == NULL) {
        sqlite3_finalize(*hold);
        *hold = NULL;
    }
    return (rc & 0xff) == SQLITE_ERROR ? SQLITE_OK : rc;
}

static int find_table(const lkv_registry *registry, sqlite3 *db, const char *name,
                      sqlite3_stmt **hold, lkv_handle **out)
{
    int rc = SQLITE_OK;
    *out = NULL;
    for (int i = 0; rc == SQLITE_OK && *out == NULL; i++) {
        /* As SQLite looks a name up: temp, main, then the attached. */
        const char *schema = sqlite3_db_name(db, i == 0 ? 1 : i == 1 ? 0 : i);
        size_t size;
        if (schema == NULL) {
            break;
        }
        size = strlen(schema);
        rc = connect_table(registry, db, schema, name, hold, out);
        if (rc == SQLITE_OK && *out == NULL &&
            sqlite3_strnicmp(name, schema, (int)size) == 0 && name[size] == '.') {
            rc = connect_table(registry, db, schema, name + size + 1, hold, out);
        }
    }
    return rc;
}

static char *stats_text(const lkv_handle *handle, const lkv_stats *stats)
{
    uint64_t limit;
    uint64_t cached = lkv_storage_db_cached(handle->storage, &limit);
    return sqlite3_mprintf(
        "{\"records\":%lld,\"live_keys\":%lld,\"log_bytes\":%lld,\"dead_bytes\":%lld,"
        "\"segments\":%lld,\"runs\":0,\"revision\":%lld,\"index_bytes\":%lld,"
        "\"cache_bytes\":%lld,\"cache_limit\":%lld,\"compact_left\":0,\"torn_bytes\":0,"
        "\"sync\":\"database\"}",
        stats->records, stats->live_keys, stats->log_bytes,
        stats->log_bytes - stats->live_bytes - stats->segments * 64, stats->segments,
        stats->revision, stats->index_memory, cached, limit);
}

static int measure(lkv_handle *handle, lkv_stats *stats, char **text)
{
    lkv_storage *storage = handle->storage;
    lkv_error err = {0};
    int rc = storage->ops->pin(storage, &err);

    if (rc != LKV_OK) {
        return lkv_handle_status(handle, rc, &err, text);
    }
    rc = lkv_handle_refresh(handle, text);
    if (rc == SQLITE_OK) {
        rc = lkv_handle_status(handle, lkv_measure(handle->store, stats, &err), &err,
                               text);
    }
    storage->ops->unpin(storage);
    return rc;
}

static void stats(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    const char *name = (const char *)sqlite3_value_text(argv[0]);
    sqlite3_stmt *hold = NULL;
    lkv_handle *handle;
    lkv_stats found = {0};
    char *text = NULL;
    int rc;

    (void)argc;
    if (name == NULL) {
        return; /* NULL of NULL */
    }
    rc = find_table(sqlite3_user_data(context), db, name, &hold, &handle);
    if (rc == SQLITE_OK && handle == NULL) {
        text = sqlite3_mprintf("litekv: \"%w\": no such litekv table", name);
        rc = SQLITE_ERROR;
    } else if (rc == SQLITE_OK) {
        rc = measure(handle, &found, &text);
    }
    if (rc == SQLITE_OK) {
        text = stats_text(handle, &found);
    }
    if (rc == SQLITE_OK && text != NULL) {
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
    } else if (text != NULL) {
        sqlite3_result_error(context, text, -1);
        sqlite3_result_error_code(context, rc);
    } else {
        sqlite3_result_error_code(context, rc == SQLITE_OK ? SQLITE_NOMEM : rc);
    }
    sqlite3_free(text);
    sqlite3_finalize(hold);
}

int lkv_functions_register(sqlite3 *db, lkv_registry *registry)
{
    int rc = sqlite3_create_function_v2(
        db, "litekv_version", 0, SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS,
        NULL, version, NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        /* The function's own reference: the module may be dropped before it. */
        lkv_registry_hold(registry);
        rc = sqlite3_create_function_v2(db, "litekv_stats", 1,
                                        SQLITE_UTF8 | SQLITE_INNOCUOUS, registry, stats,
                                        NULL, NULL, lkv_registry_free);
    }
    return rc;
}
