/*
 * command.c - INSERT INTO kv(kv) VALUES(command): the hidden column named as the table.
 *
 *   'auto_compact=SHARE'   From now on commits compact when more than this share of the
 *                          log is dead; as the option of CREATE VIRTUAL TABLE, which it
 *                          wins over. SQLITE_ERROR when it is no number from 0 to below
 *                          1, `on` or `off`.
 *   'compact'              Compacts to the end.
 *   'compact=BYTES'        Writes about as many bytes of that, at least one record.
 *   'deserialize'          Takes the BLOB in the first value column, which
 *                          litekv_serialize() gave, for all that the table holds.
 *                          SQLITE_ERROR when it is not one of such a table; nothing is
 *                          changed then.
 *   'import'               Takes the BLOB in the first value column, which
 *                          litekv_export_index() gave, for the index. SQLITE_ERROR when
 *                          it is not one of this log; nothing is changed then.
 *   'integrity-check'      Reads all of log and index; SQLITE_CORRUPT_VTAB with the
 *                          first problem.
 *   'rebuild'              Makes the index anew from the log.
 *   'recover'              Keeps what of a damaged table is proven: recover.c.
 *   'sync=KIND'            How commits are synced from now on: as the option of CREATE
 *                          VIRTUAL TABLE, which it wins over. SQLITE_ERROR for a table
 *                          in the database or in memory.
 *
 * Names are read in any case; no row is written, and one that is given is refused. What
 * a command does belongs to the transaction, and each can be interrupted, which undoes
 * it. A function that runs one finds its number in `handle->answer`, and hands in what
 * a column cannot hold by `handle->source`. So a path comes by litekv_import_index()
 * only, which a trigger cannot call.
 */
#include "blob.h"
#include "functions.h"
#include "home.h"
#include "option.h"
#include "table.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

#define ENOUGH 1000000000000000000u /* bytes: more than a store has */
#define SLICE_SIZE                                                                     \
    (1 << 20) /* bytes that compaction writes between looks at the user */

typedef struct call {
    lkv_table *table;
    lkv_handle *handle;
    const char *argument;    /* behind the `=` */
    sqlite3_value **columns; /* of the statement: key, values, command */
    lkv_error err;
} call;

/* What core's `status` is to SQLite. */
static int end(call *of, int status)
{
    char *text = NULL;
    int rc = lkv_handle_status(of->handle, status, &of->err, &text);
    return lkv_table_error(of->table, rc, text);
}

static int refuse(call *of, char *text)
{
    return lkv_table_error(of->table, text == NULL ? SQLITE_NOMEM : SQLITE_ERROR, text);
}

/* Opens the store's transaction, if there is none. */
static int begin(call *of)
{
    char *text = NULL;
    int rc = lkv_handle_begin(of->handle, &text);
    return lkv_table_error(of->table, rc, text);
}

static int auto_compact(call *of)
{
    unsigned share;
    int rc;
    if (lkv_option_share(of->argument, &share) != SQLITE_OK) {
        return refuse(of, sqlite3_mprintf("litekv: \"%w\": \"auto_compact\": \"%s\" is "
                                          "not a share of dead bytes; " LKV_SHARE_FORM,
                                          of->table->name, of->argument));
    }
    rc = begin(of);
    return rc != SQLITE_OK
               ? rc
               : end(of, lkv_set_auto_compact(of->handle->store, share, &of->err));
}

/* Bytes of log and index in the storage. */
static uint64_t stored(const lkv_handle *handle)
{
    lkv_stats stats;
    lkv_sizes(handle->store, &stats);
    return stats.log_bytes + stats.run_bytes;
}

/* In slices, between which the statement can be interrupted. */
static int compact_slices(call *of, uint64_t budget, uint64_t *left)
{
    int rc;
    for (;;) {
        uint64_t slice = budget < SLICE_SIZE ? budget : SLICE_SIZE;
        rc = lkv_compact(of->handle->store, slice, left, &of->err);
        budget -= slice;
        if (rc != LKV_OK || *left == 0 || budget == 0) {
            return rc;
        }
        rc = lkv_home_go_on(of->handle);
        if (rc != LKV_OK) {
            return rc;
        }
    }
}

static int compact(call *of)
{
    uint64_t before, after, left;
    int rc = begin(of);

    if (rc != SQLITE_OK) {
        return rc;
    }
    before = stored(of->handle);
    rc = compact_slices(of, UINT64_MAX, &left);
    if (rc == LKV_OK) {
        after = stored(of->handle);
        of->handle->answer = after < before ? (sqlite3_int64)(before - after) : 0;
    }
    return end(of, rc);
}

static int compact_some(call *of)
{
    uint64_t budget = 0, left;
    size_t size = strlen(of->argument);
    int rc;

    if (size == 0 || strspn(of->argument, "0123456789") != size) {
        return refuse(of,
                      sqlite3_mprintf("litekv: \"%w\": \"compact\": \"%s\" is not a "
                                      "number of bytes",
                                      of->table->name, of->argument));
    }
    for (size_t i = 0; i < size && budget < ENOUGH; i++) {
        budget = budget * 10 + (uint64_t)(of->argument[i] - '0');
    }
    rc = begin(of);
    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = compact_slices(of, budget > 0 ? budget : 1, &left);
    of->handle->answer = rc == LKV_OK ? (sqlite3_int64)left : 0;
    return end(of, rc);
}

/* The BLOB in the first value column, or what a function handed in. */
static int open_source(call *of, const char *advice, lkv_blob_given *given,
                       lkv_source *source)
{
    sqlite3_value *value = of->table->declaration.columns > 1 ? of->columns[1] : NULL;
    if (of->handle->source != NULL) {
        *source = *of->handle->source;
        return SQLITE_OK;
    }
    if (value == NULL || sqlite3_value_type(value) != SQLITE_BLOB) {
        return refuse(of,
                      sqlite3_mprintf("litekv: \"%w\": %s", of->table->name, advice));
    }
    return lkv_blob_give(given, of->handle, value, source);
}

/* What came is wrong: no reason to restore the table. */
static int end_given(call *of, int rc)
{
    if (rc == LKV_CORRUPT) {
        return refuse(
            of, sqlite3_mprintf("litekv: \"%w\": %s", of->table->name, of->err.text));
    }
    of->handle->answer = (sqlite3_int64)lkv_count(of->handle->store);
    return end(of, rc);
}

static int deserialize(call *of)
{
    lkv_blob_given given;
    lkv_source source;
    int rc = open_source(of,
                         "deserialize takes a BLOB in the first value column; without "
                         "one there is litekv_deserialize()",
                         &given, &source);
    if (rc == SQLITE_OK) {
        rc = begin(of);
    }
    return rc != SQLITE_OK
               ? rc
               : end_given(of, lkv_deserialize(of->handle->store, &source,
                                               lkv_serial_check, of->table, &of->err));
}

static int import(call *of)
{
    lkv_blob_given given;
    lkv_source source;
    int rc = open_source(of,
                         "import takes a BLOB in the first value column; for a file "
                         "there is litekv_import_index()",
                         &given, &source);
    if (rc == SQLITE_OK) {
        rc = begin(of);
    }
    return rc != SQLITE_OK
               ? rc
               : end_given(of, lkv_import(of->handle->store, &source, lkv_home_go_on,
                                          of->handle, &of->err));
}

static int integrity_check(call *of)
{
    char *text = NULL;
    int rc = lkv_handle_refresh(of->handle, &text);

    if (rc == SQLITE_OK) {
        rc = lkv_handle_verify(of->handle, &text);
    }
    return lkv_table_error(of->table, rc, text);
}

static int sync_kind(call *of)
{
    enum lkv_sync sync;
    int rc;
    if (!lkv_home_external(of->handle->home)) {
        return refuse(of, sqlite3_mprintf("litekv: \"%w\": \"sync\" is for tables "
                                          "outside the database",
                                          of->table->name));
    }
    if (lkv_option_sync(of->argument, &sync) != SQLITE_OK) {
        return refuse(of, sqlite3_mprintf("litekv: \"%w\": \"sync\": \"%s\" is not a "
                                          "kind of sync; " LKV_SYNC_FORM,
                                          of->table->name, of->argument));
    }
    rc = begin(of);
    return rc != SQLITE_OK ? rc
                           : end(of, lkv_set_sync(of->handle->store, sync, &of->err));
}

static int rebuild(call *of)
{
    int rc = begin(of);
    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = lkv_rebuild(of->handle->store, lkv_home_go_on, of->handle, &of->err);
    of->handle->answer = (sqlite3_int64)lkv_count(of->handle->store);
    return end(of, rc);
}

/* A damaged log may not let the store's transaction begin. */
static int recover(call *of)
{
    lkv_handle *handle = of->handle;
    lkv_recovery own = {handle, NULL, 0};
    lkv_recovery *recovery = handle->recovery;
    char *text = NULL;
    int rc = lkv_handle_begin(handle, &text);

    if (rc != SQLITE_OK && (rc != SQLITE_CORRUPT_VTAB || lkv_home_busy(handle))) {
        return lkv_table_error(of->table, rc, text);
    }
    sqlite3_free(text);
    if (recovery == NULL) {
        recovery = &own;
        own.dropped = sqlite3_str_new(handle->db);
    }
    rc = lkv_recovery_run(recovery, 1, &of->err);
    handle->answer = (sqlite3_int64)recovery->kept;
    sqlite3_free(sqlite3_str_finish(own.dropped));
    return end(of, rc);
}

static const struct {
    const char *name;     /* as an error lists them, in order of the alphabet */
    const char *argument; /* what it is called, or NULL */
    int (*run)(call *of);
} commands[] = {
    {"auto_compact", "SHARE", auto_compact},
    {"compact", NULL, compact},
    {"compact", "BYTES", compact_some},
    {"deserialize", NULL, deserialize},
    {"import", NULL, import},
    {"integrity-check", NULL, integrity_check},
    {"rebuild", NULL, rebuild},
    {"recover", NULL, recover},
    {"sync", "KIND", sync_kind},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int unknown(call *of, const char *command)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_str_appendf(text, "litekv: \"%w\": unknown command \"%s\"; commands are ",
                        of->table->name, command);
    for (size_t i = 0; i < COMMANDS; i++) {
        sqlite3_str_appendf(text, "%s%s%s%s", i > 0 ? ", " : "", commands[i].name,
                            commands[i].argument != NULL ? "=" : "",
                            commands[i].argument != NULL ? commands[i].argument : "");
    }
    return refuse(of, sqlite3_str_finish(text));
}

/* A command may have written and removed much. So that the shadow tables are whole for
 * whoever looks at the pages in the middle of the transaction, as sqlite3_serialize()
 * does, the log's end follows at once; after a failure, with the transaction's commit.
 */
static int write_out(call *of, int rc)
{
    char *text = NULL;
    if (of->handle->home != LKV_HOME_DATABASE) {
        return rc;
    }
    if (rc == SQLITE_OK) {
        rc = lkv_handle_sync(of->handle, &text);
        (void)lkv_table_error(of->table, rc, text);
    }
    if (rc != SQLITE_OK) {
        lkv_touch(of->handle->store);
    }
    return rc;
}

/* What would be lost: only those that ask for it take a value, and none takes a key. */
static int check_row(call *of, size_t command)
{
    int takes = commands[command].run == deserialize || commands[command].run == import;
    for (int i = 0; i < of->table->declaration.columns; i++) {
        if (sqlite3_value_type(of->columns[i]) != SQLITE_NULL && !(i == 1 && takes)) {
            return refuse(of, sqlite3_mprintf("litekv: \"%w\": \"%s\" is a command and "
                                              "writes no row; give the column \"%w\" "
                                              "no value",
                                              of->table->name, commands[command].name,
                                              of->table->declaration.column[i].name));
        }
    }
    return SQLITE_OK;
}

int lkv_command(lkv_table *table, sqlite3_value **columns)
{
    const char *command =
        (const char *)sqlite3_value_text(columns[table->declaration.columns]);
    call of = {.table = table, .handle = table->handle, .columns = columns};
    size_t size;

    if (command == NULL) {
        return SQLITE_NOMEM;
    }
    table->handle->answer = 0;
    size = strcspn(command, "=");
    of.argument = command[size] == 0 ? NULL : command + size + 1;
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strlen(commands[i].name) == size &&
            sqlite3_strnicmp(command, commands[i].name, (int)size) == 0 &&
            (commands[i].argument == NULL) == (of.argument == NULL)) {
            int rc = check_row(&of, i);
            return rc != SQLITE_OK ? rc : write_out(&of, commands[i].run(&of));
        }
    }
    return unknown(&of, command);
}
