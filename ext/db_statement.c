/*
 * db_statement.c - the SQL of the storage in a database: prepared once, reset before a
 * function returns, so that nothing keeps a lock that the user did not take.
 *
 * A database from elsewhere may have a view, a trigger or an expression where a shadow
 * table should be, and these may call functions that come back to this very table. A
 * statement that is running must not be stepped again, so what comes back fails.
 */
#include "db.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static const char *const sql[LKV_DB_STATEMENTS] = {
    [LKV_DB_READ] = "SELECT block FROM \"%w\".\"%w_log\" WHERE id=?1",
    [LKV_DB_LAST] = ("SELECT block, id FROM \"%w\".\"%w_log\" WHERE id>=?1 AND id<?2 "
                     "ORDER BY id DESC LIMIT 1"),
    [LKV_DB_NEXT] = "SELECT id FROM \"%w\".\"%w_log\" WHERE id>=?1 ORDER BY id LIMIT 1",
    [LKV_DB_NEXT_PART] =
        "SELECT id FROM \"%w\".\"%w_base\" WHERE id>=?1 ORDER BY id LIMIT 1",
    [LKV_DB_NEXT_RUN] =
        "SELECT id FROM \"%w\".\"%w_index\" WHERE id>=?1 ORDER BY id LIMIT 1",
    [LKV_DB_PUT] = "REPLACE INTO \"%w\".\"%w_log\"(id, block) VALUES(?1, ?2)",
    [LKV_DB_CUT] = "DELETE FROM \"%w\".\"%w_log\" WHERE id>=?1 AND id<=?2",
    [LKV_DB_READ_PART] = "SELECT block FROM \"%w\".\"%w_base\" WHERE id=?1",
    [LKV_DB_PUT_PART] = "REPLACE INTO \"%w\".\"%w_base\"(id, block) VALUES(?1, ?2)",
    [LKV_DB_CUT_PART] = "DELETE FROM \"%w\".\"%w_base\" WHERE id>=?1 AND id<=?2",
    [LKV_DB_READ_RUN] = "SELECT block FROM \"%w\".\"%w_index\" WHERE id=?1",
    [LKV_DB_PUT_RUN] = "REPLACE INTO \"%w\".\"%w_index\"(id, block) VALUES(?1, ?2)",
    [LKV_DB_CUT_RUN] = "DELETE FROM \"%w\".\"%w_index\" WHERE id>=?1 AND id<=?2",
    [LKV_DB_READ_ROOT] = "SELECT block FROM \"%w\".\"%w_root\" WHERE id=1",
    [LKV_DB_PUT_ROOT] = "REPLACE INTO \"%w\".\"%w_root\"(id, block) VALUES(?1, ?2)",
    [LKV_DB_PIN] = "SELECT 1 FROM \"%w\".\"%w_log\" LIMIT 1",
    /* It writes nothing, but SQLite sees to it that it could be undone by itself. */
    [LKV_DB_GO_ON] = "SELECT 1",
};

int lkv_db_fail(storage_db *db, int rc)
{
    const char *text = sqlite3_errmsg(db->db);
    size_t size = strlen(text);
    db->failure = sqlite3_extended_errcode(db->db);
    if ((db->failure & 0xff) != (rc & 0xff)) {
        db->failure = rc;
        text = sqlite3_errstr(rc);
        size = strlen(text);
    }
    if (size >= sizeof(db->text)) {
        size = sizeof(db->text) - 1;
    }
    memcpy(db->text, text, size);
    db->text[size] = 0;
    return (rc & 0xff) == SQLITE_NOMEM ? LKV_NOMEM : LKV_FAILED;
}

int lkv_db_prepare(storage_db *db, enum lkv_db_statement which, sqlite3_stmt **out)
{
    int rc = SQLITE_OK;
    if (db->busy) {
        static const char why[] = "they come back to the table itself";
        db->failure = SQLITE_ERROR;
        memcpy(db->text, why, sizeof(why));
        return LKV_FAILED;
    }
    if (db->statements[which] == NULL) {
        char *text = sqlite3_mprintf(sql[which], db->schema, db->table);
        if (text == NULL) {
            return LKV_NOMEM;
        }
        rc = sqlite3_prepare_v3(db->db, text, -1,
                                SQLITE_PREPARE_PERSISTENT | SQLITE_PREPARE_NO_VTAB,
                                &db->statements[which], NULL);
        sqlite3_free(text);
    }
    *out = db->statements[which];
    return rc == SQLITE_OK ? LKV_OK : lkv_db_fail(db, rc);
}

int lkv_db_step(storage_db *db, sqlite3_stmt *statement)
{
    int rc;
    db->busy = 1;
    rc = sqlite3_step(statement);
    db->busy = 0;
    return rc;
}

static void let_go(storage_db *db, const sqlite3_stmt *statement)
{
    for (int i = 0; i < LKV_DB_STATEMENTS; i++) {
        if (db->statements[i] == statement) {
            sqlite3_finalize(db->statements[i]);
            db->statements[i] = NULL;
        }
    }
}

/* Runs a statement that writes. SQLite's last_insert_rowid() stays the user's. With
 * PRAGMA count_changes such a statement has a row to give, the number of changes. When
 * an authorizer says SQLITE_IGNORE, it is one that writes nothing, from the step on
 * that compiles it anew. */
int lkv_db_run(storage_db *db, sqlite3_stmt *statement)
{
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(db->db);
    int result = LKV_OK;
    int rc = lkv_db_step(db, statement);
    while (rc == SQLITE_ROW) {
        rc = lkv_db_step(db, statement);
    }
    if (rc == SQLITE_DONE && sqlite3_stmt_readonly(statement)) {
        result = lkv_db_fail(db, SQLITE_AUTH);
        let_go(db, statement); /* it would stay so without the authorizer */
    } else {
        if (rc != SQLITE_DONE) {
            result = lkv_db_fail(db, rc);
        }
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
    sqlite3_set_last_insert_rowid(db->db, rowid);
    return result;
}

int lkv_db_put(storage_db *db, enum lkv_db_statement which, sqlite3_int64 id,
               const void *data, size_t size)
{
    sqlite3_stmt *statement;
    int rc = lkv_db_prepare(db, which, &statement);
    if (rc != LKV_OK) {
        return rc;
    }
    sqlite3_bind_int64(statement, 1, id);
    rc = sqlite3_bind_blob64(statement, 2, data, size, SQLITE_STATIC);
    if (rc != SQLITE_OK) {
        return lkv_db_fail(db, rc);
    }
    rc = lkv_db_run(db, statement);
    if (rc == LKV_OK && which == LKV_DB_PUT && id > db->greatest) {
        db->greatest = id;
    }
    return rc;
}

int lkv_db_cut(storage_db *db, enum lkv_db_statement which, sqlite3_int64 first,
               sqlite3_int64 last)
{
    sqlite3_stmt *statement;
    int rc = lkv_db_prepare(db, which, &statement);
    if (rc != LKV_OK) {
        return rc;
    }
    sqlite3_bind_int64(statement, 1, first);
    sqlite3_bind_int64(statement, 2, last);
    return lkv_db_run(db, statement);
}

/* Steps a statement that reads one row; LKV_OK on it, LKV_ABSENT when there is none.
 * Its reset follows when the row has been used. */
int lkv_db_row(storage_db *db, sqlite3_stmt *statement)
{
    int rc = lkv_db_step(db, statement);
    if (rc == SQLITE_ROW) {
        return LKV_OK;
    }
    rc = sqlite3_reset(statement);
    return rc == SQLITE_OK ? LKV_ABSENT : lkv_db_fail(db, rc);
}
