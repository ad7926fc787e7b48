/*
 * vtab.c - the methods of the module that make, find and end a table, and its
 * transactions.
 *
 * The order of a commit: SQLite calls xSync before it commits; there the store appends
 * what is pending and its commit record to the shadow tables, which is all that can
 * fail. SQLite then commits its transaction, and with it the log. xCommit only takes
 * note. xSync may come again (a COMMIT that was BUSY), and xRollback may follow it (a
 * commit hook, another table's xSync).
 */
#include "dropped.h"
#include "external.h"
#include "storage_db.h"
#include "table.h"

#include "../core/storage.h"
#include "os_sqlite.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

int lkv_table_error(lkv_table *table, int rc, char *text)
{
    if (text != NULL) {
        sqlite3_free(table->base.zErrMsg);
        table->base.zErrMsg = text;
    }
    return rc;
}

static void free_table(lkv_table *table)
{
    lkv_scan_free_spare(table);
    lkv_handle_close(table->handle);
    lkv_declaration_free(&table->declaration);
    lkv_key_clear(&table->key);
    lkv_key_clear(&table->old_key);
    sqlite3_free(table->values);
    sqlite3_free(table->record);
    sqlite3_free(table->schema);
    sqlite3_free(table->name);
    sqlite3_free(table->base.zErrMsg); /* of a method that SQLite asks none of */
    sqlite3_free(table);
}

/* The text of an error that may be SQLite's last one. */
static const char *why(sqlite3 *db, int rc)
{
    return (sqlite3_errcode(db) & 0xff) == (rc & 0xff) ? sqlite3_errmsg(db)
                                                       : sqlite3_errstr(rc);
}

static int declare(sqlite3 *db, lkv_table *table, char **text)
{
    char *sql = lkv_declaration_sql(&table->declaration, table->name);
    int rc = sql == NULL ? SQLITE_NOMEM : sqlite3_declare_vtab(db, sql);
    sqlite3_free(sql);
    if (rc == SQLITE_OK) {
        rc = sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    }
    if (rc == SQLITE_OK) {
        /* A database from elsewhere must not come to files by a view or trigger. */
        rc = sqlite3_vtab_config(db, lkv_home_external(table->declaration.home)
                                         ? SQLITE_VTAB_DIRECTONLY
                                         : SQLITE_VTAB_INNOCUOUS);
    }
    if (rc != SQLITE_OK && rc != SQLITE_NOMEM) {
        *text = sqlite3_mprintf("litekv: \"%w\": %s", table->name, sqlite3_errmsg(db));
    }
    return rc;
}

/* What xCreate and xConnect share: everything that reads no table. */
static int open_table(sqlite3 *db, lkv_registry *registry, int argc,
                      const char *const *argv, int fresh, lkv_table **out, char **text)
{
    lkv_table *table = sqlite3_malloc64(sizeof(*table));
    int rc;

    *out = NULL;
    if (table == NULL) {
        return SQLITE_NOMEM;
    }
    memset(table, 0, sizeof(*table));
    lkv_key_init(&table->key);
    lkv_key_init(&table->old_key);
    table->db = db;
    table->utf16 = -1;
    table->blobs_match = -1;
    table->schema = sqlite3_mprintf("%s", argv[1]);
    table->name = sqlite3_mprintf("%s", argv[2]);
    rc = table->schema == NULL || table->name == NULL ? SQLITE_NOMEM : SQLITE_OK;
    if (rc == SQLITE_OK) {
        rc = lkv_declaration_read(&table->declaration, argc, argv, text);
    }
    if (rc == SQLITE_OK) {
        table->values = sqlite3_malloc64((sqlite3_uint64)table->declaration.columns *
                                         sizeof(*table->values));
        rc = table->values == NULL ? SQLITE_NOMEM : declare(db, table, text);
    }
    if (rc == SQLITE_OK) {
        rc = lkv_handle_open(registry, db, argv[1], argv[2], &table->declaration, fresh,
                             &table->handle);
    }
    if (rc == SQLITE_OK) {
        lkv_auto_compact_fallback(table->handle->store,
                                  table->declaration.auto_compact);
        lkv_sync_fallback(table->handle->store, table->declaration.sync);
    }
    if (rc != SQLITE_OK) {
        free_table(table);
        table = NULL;
    }
    *out = table;
    return rc;
}

static int connect(sqlite3 *db, void *registry, int argc, const char *const *argv,
                   sqlite3_vtab **out, char **text)
{
    lkv_table *table;
    int rc = open_table(db, registry, argc, argv, 0, &table, text);
    *out = table == NULL ? NULL : &table->base;
    return rc;
}

/* Makes a table in memory: its store is made when it is used. */
static int create_memory(lkv_table *table, char **text)
{
    int rc = lkv_handle_refresh(table->handle, text);
    table->handle->created = rc == SQLITE_OK;
    return rc;
}

/* Makes the shadow tables and an empty store in them. */
static int create_store(sqlite3 *db, lkv_table *table, char **text)
{
    lkv_storage *storage = table->handle->storage;
    const char *meta = table->handle->meta;
    lkv_error err = {0};
    int rc = lkv_storage_db_create(db, table->schema, table->name);

    if (rc == SQLITE_OK) {
        rc = lkv_storage_db_block(db, table->schema, &storage->block);
    }
    if (rc != SQLITE_OK) {
        *text = sqlite3_mprintf("litekv: \"%w\": %s", table->name, why(db, rc));
        return rc;
    }
    rc = lkv_create(storage, &lkv_os_sqlite, (lkv_bytes){meta, strlen(meta)}, &err);
    rc = lkv_handle_status(table->handle, rc, &err, text);
    return rc == SQLITE_OK ? lkv_handle_created(table->handle, text) : rc;
}

static int create(sqlite3 *db, void *registry, int argc, const char *const *argv,
                  sqlite3_vtab **out, char **text)
{
    lkv_table *table;
    int rc = open_table(db, registry, argc, argv, 1, &table, text);

    if (rc == SQLITE_OK) {
        rc = table->handle->home == LKV_HOME_DATABASE ? create_store(db, table, text)
             : table->handle->home == LKV_HOME_MEMORY
                 ? create_memory(table, text)
                 : lkv_external_make(table->handle, text);
    }
    if (rc == SQLITE_OK) { /* a part of the transaction from here on, without xBegin */
        rc = lkv_handle_enter(table->handle, &table->base, text);
        table->takes_part = 1;
    }
    if (rc != SQLITE_OK && table != NULL) {
        lkv_handle_detach(table->handle);
        free_table(table);
        table = NULL;
    }
    *out = table == NULL ? NULL : &table->base;
    return rc;
}

static int disconnect(sqlite3_vtab *base)
{
    free_table(lkv_table_of(base));
    return SQLITE_OK;
}

/* The rows of a table in memory wait for the outcome of the transaction; so does a
 * store that it made. Else a store outside is left as it is. SQLite asks for no text
 * here. */
static int forget(lkv_table *table)
{
    lkv_handle *handle = table->handle;
    int rc = SQLITE_OK;

    if (lkv_home_external(handle->home) && lkv_changed(handle->store)) {
        return SQLITE_LOCKED; /* what is pending would be lost */
    }
    if (handle->home == LKV_HOME_MEMORY || handle->created) {
        rc = lkv_dropped_add(handle);
    } else {
        lkv_handle_rollback(handle);
        lkv_handle_detach(handle);
    }
    if (rc == SQLITE_OK) {
        free_table(table);
    }
    return rc;
}

/* What is pending goes with the table. What a savepoint may bring back was written when
 * the savepoint began (handle.c). */
static int destroy(sqlite3_vtab *base)
{
    lkv_table *table = lkv_table_of(base);
    int rc;
    if (table->handle->home != LKV_HOME_DATABASE) {
        return forget(table);
    }
    rc = lkv_storage_db_drop(table->db, table->schema, table->name);
    if (rc != SQLITE_OK) {
        return lkv_table_error(table, rc,
                               sqlite3_mprintf("litekv: \"%w\": %s", table->name,
                                               sqlite3_errmsg(table->db)));
    }
    lkv_handle_rollback(table->handle);
    lkv_handle_detach(table->handle);
    free_table(table);
    return SQLITE_OK;
}

/* Makes the table a part of SQLite's transaction, which RENAME by itself does not: by a
 * statement that would write and finds nothing to write. */
static int join(lkv_table *table, char **text)
{
    char *sql;
    int rc;
    if (table->handle->leader != NULL) {
        return SQLITE_OK;
    }
    sql =
        sqlite3_mprintf("INSERT INTO \"%w\".\"%w\"(\"%w\") SELECT NULL WHERE 0",
                        table->schema, table->name, table->declaration.column[0].name);
    table->handle->joining = 1;
    rc = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(table->db, sql, NULL, NULL, NULL);
    table->handle->joining = 0;
    sqlite3_free(sql);
    if (rc == SQLITE_AUTH && table->handle->home == LKV_HOME_DATABASE) {
        return SQLITE_OK; /* its shadow tables are a part of the transaction */
    }
    if (rc != SQLITE_OK && rc != SQLITE_NOMEM) {
        *text = sqlite3_mprintf("litekv: \"%w\": %s", table->name,
                                sqlite3_errmsg(table->db));
    }
    return rc;
}

/* Gives the shadow tables their new names. */
static int rename_shadows(lkv_table *table, const char *to, char **text)
{
    int rc = lkv_handle_sync(table->handle, text);
    if (rc == SQLITE_OK) {
        rc = lkv_storage_db_rename(table->db, table->schema, table->name, to);
        if (rc != SQLITE_OK) {
            *text =
                sqlite3_mprintf("litekv: \"%w\": %s", table->name, why(table->db, rc));
        }
    }
    return rc;
}

static int rename_table(sqlite3_vtab *base, const char *to)
{
    lkv_table *table = lkv_table_of(base);
    char *text = NULL;
    int rc;

    for (int i = 0; i < table->declaration.columns; i++) {
        if (sqlite3_stricmp(to, table->declaration.column[i].name) == 0) {
            return lkv_table_error(
                table, SQLITE_ERROR,
                sqlite3_mprintf("litekv: \"%w\": the table has a column \"%s\"; choose "
                                "another name",
                                table->name, to));
        }
    }
    rc = lkv_declaration_check_table(to, &text);
    if (rc == SQLITE_OK) {
        rc = join(table, &text);
    }
    if (rc == SQLITE_OK && table->handle->home == LKV_HOME_DATABASE) {
        rc = rename_shadows(table, to, &text);
    }
    if (rc == SQLITE_OK) {
        rc = lkv_handle_rename(table->handle, to);
    }
    return lkv_table_error(table, rc, text);
}

static int begin(sqlite3_vtab *base)
{
    /* The store's own transaction begins with the first write, unless others could
     * write before. */
    char *text = NULL;
    int rc = lkv_handle_enter(lkv_table_of(base)->handle, base, &text);
    if (rc == SQLITE_OK) {
        rc = lkv_handle_lock(lkv_table_of(base)->handle, base, &text);
    }
    lkv_table_of(base)->takes_part = rc == SQLITE_OK;
    return lkv_table_error(lkv_table_of(base), rc, text);
}

static int sync_table(sqlite3_vtab *base)
{
    char *text = NULL;
    int rc = lkv_handle_sync(lkv_table_of(base)->handle, &text);
    return lkv_table_error(lkv_table_of(base), rc, text);
}

static int commit(sqlite3_vtab *base)
{
    lkv_table_of(base)->takes_part = 0;
    lkv_handle_commit(lkv_table_of(base)->handle);
    return SQLITE_OK;
}

/* sqlite3_close() tells of a rollback before it finds that it cannot close, and the
 * transaction goes on without us. A real one has undone the shadow tables by now. */
static int rollback(sqlite3_vtab *base)
{
    lkv_table *table = lkv_table_of(base);
    lkv_handle *handle = table->handle;
    table->takes_part = 0;
    if (handle->home == LKV_HOME_DATABASE &&
        sqlite3_txn_state(table->db, handle->schema) == SQLITE_TXN_WRITE) {
        lkv_handle_part(handle);
    } else {
        lkv_handle_rollback(handle);
    }
    return SQLITE_OK;
}

static int savepoint(sqlite3_vtab *base, int number)
{
    char *text = NULL;
    int rc = lkv_handle_savepoint(lkv_table_of(base)->handle, base, number, &text);
    /* SQLite fetches no text here: it would become that of a later error. */
    sqlite3_free(text);
    return rc;
}

static int release(sqlite3_vtab *base, int number)
{
    lkv_handle_release(lkv_table_of(base)->handle, base, number);
    return SQLITE_OK;
}

static int rollback_to(sqlite3_vtab *base, int number)
{
    lkv_handle_rollback_to(lkv_table_of(base)->handle, base, number);
    return SQLITE_OK;
}

static int shadow_name(const char *suffix)
{
    return sqlite3_stricmp(suffix, "log") == 0 ||
           sqlite3_stricmp(suffix, "base") == 0 ||
           sqlite3_stricmp(suffix, "index") == 0 ||
           sqlite3_stricmp(suffix, "root") == 0;
}

/* SQLite 3.44 added a method at the end of the struct, which an older header does not
 * know, and an older SQLite does not read. */
typedef struct module_4 {
    sqlite3_module base;
#if SQLITE_VERSION_NUMBER < 3044000
    lkv_integrity_method *xIntegrity;
#endif
} module_4;

#define METHODS                                                                        \
    .xCreate = create, .xConnect = connect, .xBestIndex = lkv_plan_best_index,         \
    .xDisconnect = disconnect, .xDestroy = destroy, .xOpen = lkv_scan_open,            \
    .xClose = lkv_scan_close, .xFilter = lkv_scan_filter, .xNext = lkv_scan_next,      \
    .xEof = lkv_scan_eof, .xColumn = lkv_scan_column, .xRowid = lkv_scan_rowid,        \
    .xUpdate = lkv_update, .xBegin = begin, .xSync = sync_table, .xCommit = commit,    \
    .xRollback = rollback, .xRename = rename_table, .xSavepoint = savepoint,           \
    .xRelease = release, .xRollbackTo = rollback_to, .xShadowName = shadow_name

static const sqlite3_module module_3 = {.iVersion = 3, METHODS};
static const module_4 module = {
#if SQLITE_VERSION_NUMBER < 3044000
    .base = {.iVersion = 4, METHODS}, .xIntegrity = lkv_integrity
#else
    .base = {.iVersion = 4, METHODS, .xIntegrity = lkv_integrity}
#endif
};

const sqlite3_module *lkv_module(void)
{
    return sqlite3_libversion_number() >= 3044000 ? &module.base : &module_3;
}
