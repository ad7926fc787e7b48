/*
 * shadow.c - making, dropping and renaming the shadow tables.
 */
#include "storage_db.h"

SQLITE_EXTENSION_INIT3

static const char *const suffix[] = {"log", "base", "index", "root"};
#define TABLES (sizeof(suffix) / sizeof(*suffix))

static int run(sqlite3 *db, char *sql)
{
    int rc = SQLITE_NOMEM;
    if (sql != NULL) {
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
        sqlite3_free(sql);
    }
    return rc;
}

/* After what an authorizer may have had do nothing: SQLITE_IGNORE. */
static int look(int rc, sqlite3 *db, const char *schema, const char *table)
{
    for (size_t i = 0; i < TABLES && rc == SQLITE_OK; i++) {
        char *name = sqlite3_mprintf("%s_%s", table, suffix[i]);
        rc = name == NULL ? SQLITE_NOMEM
                          : sqlite3_table_column_metadata(db, schema, name, NULL, NULL,
                                                          NULL, NULL, NULL, NULL);
        rc = rc == SQLITE_ERROR ? SQLITE_AUTH : rc;
        sqlite3_free(name);
    }
    return rc;
}

int lkv_storage_db_create(sqlite3 *db, const char *schema, const char *table)
{
    int rc = run(
        db, sqlite3_mprintf(
                "CREATE TABLE \"%w\".\"%w_log\"(id INTEGER PRIMARY KEY, block BLOB);"
                "CREATE TABLE \"%w\".\"%w_base\"(id INTEGER PRIMARY KEY, block BLOB);"
                "CREATE TABLE \"%w\".\"%w_index\"(id INTEGER PRIMARY KEY, block BLOB);"
                "CREATE TABLE \"%w\".\"%w_root\"(id INTEGER PRIMARY KEY, block BLOB)",
                schema, table, schema, table, schema, table, schema, table));
    return look(rc, db, schema, table);
}

/* A view in the place of a table (in a database from elsewhere) goes too. */
static int drop_one(sqlite3 *db, const char *schema, const char *table,
                    const char *which)
{
    int rc = run(db, sqlite3_mprintf("DROP TABLE IF EXISTS \"%w\".\"%w_%w\"", schema,
                                     table, which));
    return rc != SQLITE_ERROR
               ? rc
               : run(db, sqlite3_mprintf("DROP VIEW IF EXISTS \"%w\".\"%w_%w\"", schema,
                                         table, which));
}

int lkv_storage_db_drop(sqlite3 *db, const char *schema, const char *table)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; i < TABLES && rc == SQLITE_OK; i++) {
        rc = drop_one(db, schema, table, suffix[i]);
    }
    return rc;
}

int lkv_storage_db_rename(sqlite3 *db, const char *schema, const char *table,
                          const char *to)
{
    int rc = run(
        db, sqlite3_mprintf("ALTER TABLE \"%w\".\"%w_log\" RENAME TO \"%w_log\";"
                            "ALTER TABLE \"%w\".\"%w_base\" RENAME TO \"%w_base\";"
                            "ALTER TABLE \"%w\".\"%w_index\" RENAME TO \"%w_index\";"
                            "ALTER TABLE \"%w\".\"%w_root\" RENAME TO \"%w_root\"",
                            schema, table, to, schema, table, to, schema, table, to,
                            schema, table, to));
    return look(rc, db, schema, to);
}

int lkv_storage_db_block(sqlite3 *db, const char *schema, uint32_t *out)
{
    char *sql = sqlite3_mprintf("PRAGMA \"%w\".page_size", schema);
    sqlite3_stmt *statement = NULL;
    int page = 0, reserved = -1;
    int rc =
        sql == NULL ? SQLITE_NOMEM : sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        page = sqlite3_column_int(statement, 0);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_finalize(statement);
    }
    sqlite3_free(sql);
    if (rc != SQLITE_OK || page <= 0) {
        return rc != SQLITE_OK ? rc : SQLITE_AUTH; /* SQLITE_IGNORE */
    }
    if (sqlite3_file_control(db, schema, SQLITE_FCNTL_RESERVE_BYTES, &reserved) !=
        SQLITE_OK) {
        reserved = 0;
    }
    /* What a table leaf with one row needs beside the block: the page's header, one
     * cell pointer, the cell's sizes, a rowid of up to 9 bytes; found by counting
     * pages. */
    page -= reserved;
    *out = (uint32_t)(page - (page > 8192 ? 40 : 39));
    return SQLITE_OK;
}
