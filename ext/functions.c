/*
 * functions.c - the SQL functions, and the short ones among them.
 *
 * A table `t` is named by a text, 'kv' or 'schema.kv'. When an argument is NULL, so is
 * the result, and nothing is done. Every function about a table fails with SQLITE_ERROR
 * when there is none of that name, and as a statement that reads or writes it would:
 * SQLITE_BUSY, SQLITE_READONLY, SQLITE_CORRUPT_VTAB with the place of the damage,
 * SQLITE_INTERRUPT, ...
 *
 *   litekv_version()
 *      Text: the version of this extension.
 *   litekv_stats(t)
 *      Text: JSON about the table; reads the log once.
 *   litekv_verify(t)
 *      Text: 'ok' after all of log and index was read and is right, or the first
 *      problem. Writes nothing.
 *   litekv_compact(t)
 *      Compacts to the end; the bytes of log and index that this gave back, 0 or more.
 *   litekv_compact(t, budget)
 *      The same in pieces: writes about `budget` bytes, where a deleted row counts as
 *      16, and passes at least one row; the bytes that are still to be written, 0 when
 *      nothing is left to do. SQLITE_ERROR when the budget is no integer from 0 on.
 *   litekv_rebuild_index(t)
 *      Makes the index anew from the log; the number of keys.
 *   litekv_export_index(t), litekv_export_index(t, path[, 'replace']),
 *   litekv_import_index(t, path or BLOB)
 *      See export.c.
 *   litekv_remove(name)
 *      See remove.c.
 *   litekv_recover(t), litekv_recover(t, 'apply')
 *      See recover.c.
 *   litekv_serialize(t), litekv_deserialize(t, BLOB)
 *      See serial.c.
 *   litekv_segments(t)
 *      Table-valued: see tables.c.
 *
 * All of them but litekv_version() come directly from the application or not at all
 * (SQLITE_DIRECTONLY): a table may be one in files, and a database from elsewhere must
 * not read and write files by a view or trigger.
 */
#include "functions.h"

#include "dropped.h"
#include "home.h"
#include "target.h"

SQLITE_EXTENSION_INIT3

static void version(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_result_text(context, LKV_VERSION, -1, SQLITE_STATIC);
}

static char *stats_text(const lkv_handle *handle, const lkv_stats *stats)
{
    uint64_t limit;
    uint64_t cached = lkv_home_cached(handle, &limit);
    return sqlite3_mprintf(
        "{\"records\":%lld,\"live_keys\":%lld,\"log_bytes\":%lld,\"live_bytes\":%lld,"
        "\"dead_bytes\":%lld,\"segments\":%lld,\"parts\":%lld,\"runs\":%lld,"
        "\"revision\":%lld,\"index_bytes\":%lld,\"cache_bytes\":%lld,"
        "\"cache_limit\":%lld,\"compact_left\":%lld,\"compact_gain\":%lld,"
        "\"garbage_bytes\":%lld,\"torn_bytes\":%lld,\"sync\":\"%s\","
        "\"auto_compact\":%!.3g}",
        stats->records, stats->live_keys, stats->log_bytes, stats->live_bytes,
        stats->dead_bytes, stats->segments, stats->parts, stats->runs, stats->revision,
        stats->index_memory + stats->run_bytes, cached, limit, stats->compact_left,
        stats->compact_gain,
        lkv_home_external(handle->home) ? (uint64_t)0 : stats->garbage_bytes,
        lkv_home_torn(handle), lkv_home_sync(handle), stats->auto_compact / 1000.0);
}

static void stats(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    lkv_error err = {0};
    lkv_stats found;
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK) {
        rc = lkv_target_read(&target);
    }
    if (rc == SQLITE_OK) {
        rc = lkv_measure(target.handle->store, &found, &err);
        rc = lkv_target_status(&target, rc, &err);
    }
    if (rc == SQLITE_OK) {
        char *text = stats_text(target.handle, &found);
        rc = text == NULL ? SQLITE_NOMEM : SQLITE_OK;
        sqlite3_result_text(context, text, -1, sqlite3_free);
    }
    lkv_target_result(&target, context, rc);
}

static void verify(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK) {
        rc = lkv_target_read(&target);
        if (rc == SQLITE_OK) {
            rc = lkv_handle_verify(target.handle, &target.text);
        }
        if (rc == SQLITE_OK) {
            sqlite3_result_text(context, "ok", -1, SQLITE_STATIC);
        } else if (rc == SQLITE_CORRUPT_VTAB && target.text != NULL) {
            sqlite3_result_text(context, target.text, -1, SQLITE_TRANSIENT);
            rc = SQLITE_OK;
        }
    }
    lkv_target_result(&target, context, rc);
}

/* Runs a command that answers with a number. */
static void number_of(sqlite3_context *context, lkv_target *target, const char *command)
{
    int rc = lkv_target_command(target, command);
    if (rc == SQLITE_OK) {
        sqlite3_result_int64(context, target->handle->answer);
    }
    lkv_target_result(target, context, rc);
}

static void compact(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    char command[40] = "compact";
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK && argc == 2) {
        sqlite3_int64 budget = sqlite3_value_int64(argv[1]);
        if (sqlite3_value_numeric_type(argv[1]) != SQLITE_INTEGER || budget < 0) {
            target.text = sqlite3_mprintf("litekv: \"%w\": the budget of a compaction "
                                          "is a number of bytes, 0 or more",
                                          target.handle->table);
            rc = target.text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
        }
        sqlite3_snprintf(sizeof(command), command, "compact=%lld", budget);
    }
    if (rc == SQLITE_OK) {
        number_of(context, &target, command);
    } else {
        lkv_target_result(&target, context, rc);
    }
}

static void rebuild(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK) {
        number_of(context, &target, "rebuild");
    } else {
        lkv_target_result(&target, context, rc);
    }
}

static const struct {
    const char *name;
    int arguments, flags;
    void (*run)(sqlite3_context *context, int argc, sqlite3_value **argv);
} functions[] = {
    {"litekv_version", 0, SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, version},
    {"litekv_stats", 1, SQLITE_DIRECTONLY, stats},
    {"litekv_verify", 1, SQLITE_DIRECTONLY, verify},
    {"litekv_compact", 1, SQLITE_DIRECTONLY, compact},
    {"litekv_compact", 2, SQLITE_DIRECTONLY, compact},
    {"litekv_rebuild_index", 1, SQLITE_DIRECTONLY, rebuild},
    {"litekv_export_index", 1, SQLITE_DIRECTONLY, lkv_export_index},
    {"litekv_export_index", 2, SQLITE_DIRECTONLY, lkv_export_index_file},
    {"litekv_export_index", 3, SQLITE_DIRECTONLY, lkv_export_index_file},
    {"litekv_import_index", 2, SQLITE_DIRECTONLY, lkv_import_index},
    {"litekv_remove", 1, SQLITE_DIRECTONLY, lkv_remove},
    {"litekv_recover", 1, SQLITE_DIRECTONLY, lkv_recover_table},
    {"litekv_recover", 2, SQLITE_DIRECTONLY, lkv_recover_table},
    {"litekv_serialize", 1, SQLITE_DIRECTONLY, lkv_serialize_table},
    {"litekv_deserialize", 2, SQLITE_DIRECTONLY, lkv_deserialize_table},
};

int lkv_functions_register(sqlite3 *db, lkv_registry *registry)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]) && rc == SQLITE_OK;
         i++) {
        /* Each has a reference of its own: the module may be dropped before it. */
        lkv_registry_hold(registry);
        rc = sqlite3_create_function_v2(db, functions[i].name, functions[i].arguments,
                                        SQLITE_UTF8 | functions[i].flags, registry,
                                        functions[i].run, NULL, NULL,
                                        lkv_registry_release);
    }
    if (rc == SQLITE_OK) {
        lkv_registry_hold(registry);
        rc = sqlite3_create_module_v2(db, "litekv_segments", lkv_segments_module(),
                                      registry, lkv_registry_release);
    }
    if (rc == SQLITE_OK) {
        lkv_registry_hold(registry);
        rc = sqlite3_create_module_v2(db, "litekv_dropped", lkv_dropped_module(),
                                      registry, lkv_registry_release);
    }
    return rc;
}
