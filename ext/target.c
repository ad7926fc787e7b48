/*
 * target.c - see target.h.
 *
 * A function that writes does it by a statement, INSERT INTO kv(kv) VALUES(command):
 * that has the locks, the savepoint and the place in SQLite's transaction that a write
 * must have, wherever the function stands. One that reads holds a stepped statement, so
 * that all it sees is of one commit.
 */
#include "target.h"

#include "../core/storage.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

/* The handle of schema.table, connected by preparing a statement on it; NULL when there
 * is no such litekv table. SQLITE_ERROR comes with a text. */
static int connect_table(lkv_target *target, const lkv_registry *registry, sqlite3 *db,
                         const char *schema, const char *table)
{
    char *sql = sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, table);
    int rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v2(db, sql, -1, &target->hold, NULL);
    sqlite3_free(sql);
    target->handle = rc == SQLITE_OK ? lkv_handle_find(registry, schema, table) : NULL;
    if (target->handle == NULL) {
        sqlite3_finalize(target->hold);
        target->hold = NULL;
    }
    if (rc != SQLITE_OK && rc != SQLITE_NOMEM &&
        strncmp(sqlite3_errmsg(db), "litekv: ", 8) == 0) {
        /* It is there, and says why it cannot be used. */
        target->text = sqlite3_mprintf("%s", sqlite3_errmsg(db));
        return target->text == NULL ? SQLITE_NOMEM : rc;
    }
    return (rc & 0xff) == SQLITE_ERROR ? SQLITE_OK : rc;
}

int lkv_target_find(lkv_target *target, const lkv_registry *registry, sqlite3 *db,
                    const char *name)
{
    int rc = SQLITE_OK;
    memset(target, 0, sizeof(*target));
    for (int i = 0; rc == SQLITE_OK && target->handle == NULL; i++) {
        /* As SQLite looks a name up: temp, main, then the attached. */
        const char *schema = sqlite3_db_name(db, i == 0 ? 1 : i == 1 ? 0 : i);
        size_t size;
        if (schema == NULL) {
            target->text =
                sqlite3_mprintf("litekv: \"%w\": no such litekv table", name);
            return target->text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
        }
        size = strlen(schema);
        rc = connect_table(target, registry, db, schema, name);
        if (rc == SQLITE_OK && target->handle == NULL &&
            sqlite3_strnicmp(name, schema, (int)size) == 0 && name[size] == '.') {
            rc = connect_table(target, registry, db, schema, name + size + 1);
        }
    }
    return rc;
}

int lkv_target_of(lkv_target *target, sqlite3_context *context, int argc,
                  sqlite3_value **argv)
{
    const char *name;
    memset(target, 0, sizeof(*target));
    for (int i = 0; i < argc; i++) {
        if (sqlite3_value_type(argv[i]) == SQLITE_NULL) {
            return SQLITE_DONE;
        }
    }
    name = (const char *)sqlite3_value_text(argv[0]);
    return name == NULL ? SQLITE_NOMEM
                        : lkv_target_find(target, sqlite3_user_data(context),
                                          sqlite3_context_db_handle(context), name);
}

int lkv_target_status(lkv_target *target, int status, const lkv_error *err)
{
    return lkv_handle_status(target->handle, status, err, &target->text);
}

int lkv_target_read(lkv_target *target)
{
    lkv_storage *storage = target->handle->storage;
    lkv_error err = {0};
    int rc = storage->ops->pin(storage, &err);

    target->pinned = rc == LKV_OK;
    /* The newest commit only now: the snapshot is no older. */
    return rc == LKV_OK ? lkv_handle_refresh(target->handle, &target->text)
                        : lkv_target_status(target, rc, &err);
}

int lkv_target_command(lkv_target *target, const char *command)
{
    lkv_handle *handle = target->handle;
    sqlite3_stmt *statement = NULL;
    char *sql = sqlite3_mprintf("INSERT INTO \"%w\".\"%w\"(\"%w\") VALUES(?1)",
                                handle->schema, handle->table, handle->table);
    int rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v2(handle->db, sql, -1, &statement, NULL);

    sqlite3_free(sql);
    handle->answer = 0;
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(statement, 1, command, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        do { /* PRAGMA count_changes gives a row */
            rc = sqlite3_step(statement);
        } while (rc == SQLITE_ROW);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    if (rc != SQLITE_OK && rc != SQLITE_NOMEM) {
        target->text = sqlite3_mprintf("%s", sqlite3_errmsg(handle->db));
        rc = sqlite3_extended_errcode(handle->db);
    }
    sqlite3_finalize(statement);
    return rc;
}

void lkv_target_end(lkv_target *target)
{
    if (target->pinned) {
        target->handle->storage->ops->unpin(target->handle->storage);
        target->pinned = 0;
    }
    sqlite3_finalize(target->hold);
    sqlite3_free(target->text);
    memset(target, 0, sizeof(*target));
}

void lkv_target_result(lkv_target *target, sqlite3_context *context, int rc)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE) {
        if (target->text != NULL) {
            sqlite3_result_error(context, target->text, -1);
        }
        sqlite3_result_error_code(context, rc);
    }
    lkv_target_end(target);
}
