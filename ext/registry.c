/*
 * registry.c - the handles of a connection by schema and name, and how long they live.
 *
 * A handle lives as long as a vtab object or a cursor of its table. SQLite lets go of
 * all vtab objects when a schema changes, and a table in memory has its rows nowhere
 * else: so the registry itself holds such a handle, until its table is dropped for good
 * (dropped.c), its database is detached, or the connection closes. That shows in the
 * end of the module, since a handle holds the registry as well.
 *
 * Statements that are kept keep vtab objects of a database that was detached, and so
 * their handles. Another database, or what others have made of that one, may then be
 * attached under the name. SQLite tells nothing of that, but connects a vtab object.
 */
#include "dropped.h"
#include "handle.h"
#include "home.h"

#include "os_sqlite.h"
#include "path.h"

#include <limits.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

lkv_registry *lkv_registry_new(void)
{
    lkv_registry *registry = sqlite3_malloc64(sizeof(*registry));
    if (registry != NULL) {
        memset(registry, 0, sizeof(*registry));
        registry->references = 1;
    }
    return registry;
}

void lkv_registry_hold(lkv_registry *registry)
{
    registry->references++;
}

void lkv_registry_release(void *arg)
{
    lkv_registry *registry = arg;
    if (--registry->references == 0) {
        sqlite3_free(registry);
    }
}

void lkv_registry_free(void *arg)
{
    lkv_registry *registry = arg;
    lkv_handle *next;
    lkv_dropped_forget(registry);
    for (lkv_handle *at = registry->handles; at != NULL; at = next) {
        next = at->next;
        if (at->kept) {
            lkv_handle_detach(at);
        }
    }
    lkv_registry_release(registry);
}

lkv_handle *lkv_handle_find(const lkv_registry *registry, const char *schema,
                            const char *table)
{
    lkv_handle *at = registry->handles;
    while (at != NULL && (sqlite3_stricmp(at->schema, schema) != 0 ||
                          sqlite3_stricmp(at->table, table) != 0)) {
        at = at->next;
    }
    return at;
}

static void unlink_handle(lkv_handle *handle)
{
    lkv_handle **link = &handle->registry->handles;
    while (*link != handle) {
        link = &(*link)->next;
    }
    *link = handle->next;
}

void lkv_handle_detach(lkv_handle *handle)
{
    lkv_registry *registry = handle->registry;
    if (registry != NULL) {
        unlink_handle(handle);
        handle->registry = NULL;
        lkv_registry_release(registry);
        if (handle->kept) {
            handle->kept = 0;
            lkv_handle_close(handle);
        }
    }
}

void lkv_handle_prefer(lkv_handle *handle)
{
    if (handle->registry != NULL) {
        unlink_handle(handle);
        handle->next = handle->registry->handles;
        handle->registry->handles = handle;
    }
}

void lkv_handle_attach(lkv_handle *handle, lkv_registry *registry)
{
    handle->registry = registry;
    handle->next = registry->handles;
    registry->handles = handle;
    lkv_registry_hold(registry);
}

static void destroy(lkv_handle *handle)
{
    lkv_handle_detach(handle);
    lkv_close(handle->store);
    lkv_home_close(handle);
    lkv_handle_names_free(handle);
    sqlite3_free(handle->marks);
    sqlite3_free(handle->schema);
    sqlite3_free(handle->table);
    sqlite3_free(handle->file);
    sqlite3_free(handle->meta);
    sqlite3_free(handle->path);
    sqlite3_free(handle);
}

void lkv_handle_close(lkv_handle *handle)
{
    if (handle != NULL) {
        handle->references--;
        if (handle->references == 0) {
            destroy(handle);
        } else if (handle->references == handle->kept) {
            lkv_home_rest(handle); /* nothing may keep SQLite from closing */
        }
    }
}

/* The file of a schema's database: "" where it has none, NULL when it is not there. */
static const char *file_of(sqlite3 *db, const char *schema)
{
    for (int i = 0; sqlite3_db_name(db, i) != NULL; i++) {
        if (sqlite3_stricmp(sqlite3_db_name(db, i), schema) == 0) {
            const char *file = sqlite3_db_filename(db, schema);
            return file == NULL ? "" : file;
        }
    }
    return NULL;
}

/* Whether the schema's database is the one that it was. */
static int same_file(const lkv_handle *handle)
{
    const char *file = file_of(handle->db, handle->schema);
    return file != NULL && strcmp(file, handle->file) == 0;
}

/* Lets go of tables in memory that nobody can come to: their database was detached, or
 * they were dropped and nobody told for how long. */
static void sweep(lkv_registry *registry)
{
    lkv_handle *next;
    for (lkv_handle *at = registry->handles; at != NULL; at = next) {
        next = at->next;
        if (!at->kept || at->references > 1) {
            continue;
        }
        if (at->lost && sqlite3_get_autocommit(at->db)) {
            at->lost =
                sqlite3_table_column_metadata(at->db, at->schema, at->table, NULL, NULL,
                                              NULL, NULL, NULL, NULL) == SQLITE_ERROR;
            if (at->lost) {
                lkv_handle_detach(at);
                continue;
            }
        }
        if (!same_file(at)) {
            lkv_handle_detach(at);
        }
    }
}

/* Whether a handle is of the table that is declared so: another connection may have
 * dropped the one that it was made for, and made another. */
static int is_of(const lkv_handle *handle, const lkv_declaration *declaration,
                 const char *meta, const char *path)
{
    if (handle->home != declaration->home) {
        return 0;
    }
    if (handle->home == LKV_HOME_DATABASE) {
        return 1;
    }
    if (handle->home == LKV_HOME_MEMORY && !same_file(handle)) {
        return 0;
    }
    return strcmp(handle->meta, meta) == 0 &&
           (path == NULL || handle->path == NULL ? path == handle->path
                                                 : strcmp(path, handle->path) == 0);
}

/* What the handle of a declaration needs to know: to be freed by sqlite3_free(). */
typedef struct known {
    char *meta, *path;
} known;

static int know(known *of, sqlite3 *db, const char *schema,
                const lkv_declaration *declaration)
{
    int rc = SQLITE_OK;
    memset(of, 0, sizeof(*of));
    of->meta = lkv_declaration_columns(declaration);
    if (declaration->home == LKV_HOME_FILES) {
        rc = lkv_path_of(db, schema, declaration->path, &of->path);
    } else if (declaration->home == LKV_HOME_SHARED) {
        of->path = sqlite3_mprintf("%s", declaration->path);
        rc = of->path == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    return of->meta == NULL || rc == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

static int make(lkv_registry *registry, sqlite3 *db, const char *schema,
                const char *table, const lkv_declaration *declaration, known *of,
                lkv_handle **out)
{
    lkv_handle *handle = sqlite3_malloc64(sizeof(*handle));

    if (handle == NULL) {
        return SQLITE_NOMEM;
    }
    memset(handle, 0, sizeof(*handle));
    handle->references = 1;
    handle->db = db;
    handle->smallest = INT_MAX;
    handle->home = declaration->home;
    lkv_handle_attach(handle, registry);
    handle->schema = sqlite3_mprintf("%s", schema);
    handle->table = sqlite3_mprintf("%s", table);
    handle->file = sqlite3_mprintf("%s", file_of(db, schema));
    handle->meta = of->meta;
    handle->path = of->path;
    memset(of, 0, sizeof(*of));
    if (handle->schema == NULL || handle->table == NULL || handle->file == NULL ||
        lkv_home_open(handle, declaration) != SQLITE_OK ||
        lkv_open(handle->storage, &lkv_os_sqlite, &handle->store) != LKV_OK) {
        destroy(handle);
        return SQLITE_NOMEM;
    }
    if (handle->home == LKV_HOME_MEMORY) {
        handle->kept = 1;
        handle->references++;
    }
    *out = handle;
    return SQLITE_OK;
}

int lkv_handle_open(lkv_registry *registry, sqlite3 *db, const char *schema,
                    const char *table, const lkv_declaration *declaration, int fresh,
                    lkv_handle **out)
{
    lkv_handle *handle;
    known of;
    int rc = know(&of, db, schema, declaration);

    if (rc != SQLITE_OK) {
        goto done;
    }
    sweep(registry);
    while ((handle = lkv_handle_find(registry, schema, table)) != NULL &&
           (fresh || !is_of(handle, declaration, of.meta, of.path))) {
        lkv_handle_detach(handle);
    }
    if (handle != NULL) {
        handle->references++;
        lkv_home_doubt(handle);
        handle->unsure = handle->created && handle->home == LKV_HOME_DATABASE;
        handle->lost = 0;
        *out = handle;
    } else {
        rc = make(registry, db, schema, table, declaration, &of, out);
    }
done:
    sqlite3_free(of.meta);
    sqlite3_free(of.path);
    return rc;
}
