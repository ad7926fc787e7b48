/*
 * dropped.c - see dropped.h.
 *
 * SQLite lets go of a vtab object with xDestroy and tells it nothing more, so that it
 * never hears whether the DROP was committed. In the database that does not matter, but
 * rows in memory have to wait for the answer. It is an object of another module that
 * hears it: litekv_dropped, a table without rows. A statement that would write to it
 * and finds nothing to write makes it a part of SQLite's transaction.
 *
 * What happens to the savepoints of a table that was dropped and came back is for this
 * object to tell, too: it leads the handle in place of the one that is gone.
 *
 * A statement on litekv_dropped counts as one that writes to the database main. Where
 * that cannot be, and the table is in another one, nobody hears of it: then the rows
 * stay until it is clear that there is no such table any more (registry.c), and a table
 * that the transaction has changed cannot be dropped.
 */
#include "dropped.h"

#include <limits.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define ENTER "INSERT INTO main.litekv_dropped SELECT NULL WHERE 0"

typedef struct witness {
    sqlite3_vtab base; /* SQLite's; first */
    lkv_registry *registry;
} witness;

static lkv_registry *registry_of(sqlite3_vtab *base)
{
    return ((witness *)base)->registry;
}

int lkv_dropped_add(lkv_handle *handle)
{
    lkv_registry *registry = handle->registry;
    int rc =
        registry->hears ? SQLITE_OK : sqlite3_exec(handle->db, ENTER, NULL, NULL, NULL);

    if (rc != SQLITE_OK && rc != SQLITE_ERROR && rc != SQLITE_AUTH &&
        rc != SQLITE_BUSY && rc != SQLITE_READONLY) {
        return rc;
    }
    if (registry->hears) {
        handle->references++;
        lkv_handle_detach(handle);
        handle->kept = 1; /* by the list */
        handle->next = registry->dropped;
        registry->dropped = handle;
        handle->dropped_at = registry->level;
        handle->leader = registry;
        return SQLITE_OK;
    }
    if (lkv_changed(handle->store)) {
        return SQLITE_LOCKED;
    }
    handle->created = 0; /* a store that it made is left */
    lkv_handle_rollback(handle);
    if (handle->home == LKV_HOME_MEMORY) {
        handle->lost = 1;
    } else {
        lkv_handle_detach(handle);
    }
    return SQLITE_OK;
}

void lkv_dropped_forget(lkv_registry *registry)
{
    while (registry->dropped != NULL) {
        lkv_handle *handle = registry->dropped;
        registry->dropped = handle->next;
        handle->kept = 0;
        lkv_handle_close(handle);
    }
}

/* Those that were dropped after the savepoint are there again, the last one first: an
 * older one may have had its name. */
static void bring_back(lkv_registry *registry, int savepoint)
{
    lkv_handle **link = &registry->dropped;
    while (*link != NULL) {
        lkv_handle *handle = *link;
        if (handle->dropped_at >= savepoint) {
            *link = handle->next;
            lkv_handle_attach(handle, registry);
        } else {
            link = &handle->next;
        }
    }
}

/* What is done with each handle that the registry leads. */
typedef struct task {
    int (*each)(lkv_handle *handle, lkv_registry *registry, struct task *with);
    int savepoint;
    char *text;
} task;

static int for_list(lkv_registry *registry, lkv_handle *first, task *with)
{
    lkv_handle *next;
    int rc = SQLITE_OK;
    for (lkv_handle *at = first; at != NULL && rc == SQLITE_OK; at = next) {
        next = at->next;
        if (at->leader == registry) {
            rc = with->each(at, registry, with);
        }
    }
    return rc;
}

static int for_all(sqlite3_vtab *base, task *with)
{
    lkv_registry *registry = registry_of(base);
    int rc = for_list(registry, registry->dropped, with);
    if (rc == SQLITE_OK) {
        rc = for_list(registry, registry->handles, with);
    }
    if (with->text != NULL) {
        sqlite3_free(base->zErrMsg);
        base->zErrMsg = with->text;
    }
    return rc;
}

static int begin(sqlite3_vtab *base)
{
    registry_of(base)->hears = 1;
    registry_of(base)->level = -1; /* no savepoint, unless one is told of now */
    return SQLITE_OK;
}

static int sync_one(lkv_handle *handle, lkv_registry *registry, task *with)
{
    (void)registry;
    /* Not those that are dropped: their changes will never be. */
    return lkv_handle_is_dropped(handle) ? SQLITE_OK
                                         : lkv_handle_sync(handle, &with->text);
}

static int sync_all(sqlite3_vtab *base)
{
    return for_all(base, &(task){.each = sync_one});
}

static int commit_one(lkv_handle *handle, lkv_registry *registry, task *with)
{
    (void)registry;
    (void)with;
    lkv_handle_commit(handle);
    return SQLITE_OK;
}

static int commit(sqlite3_vtab *base)
{
    lkv_registry *registry = registry_of(base);
    lkv_dropped_forget(registry);
    registry->hears = 0;
    return for_all(base, &(task){.each = commit_one});
}

static int rollback_one(lkv_handle *handle, lkv_registry *registry, task *with)
{
    (void)registry;
    (void)with;
    lkv_handle_rollback(handle);
    return SQLITE_OK;
}

static int rollback(sqlite3_vtab *base)
{
    lkv_registry *registry = registry_of(base);
    bring_back(registry, INT_MIN);
    registry->hears = 0;
    return for_all(base, &(task){.each = rollback_one});
}

static int savepoint_one(lkv_handle *handle, lkv_registry *registry, task *with)
{
    return lkv_handle_savepoint(handle, registry, with->savepoint, &with->text);
}

static int savepoint(sqlite3_vtab *base, int number)
{
    registry_of(base)->level = number;
    return for_all(base, &(task){.each = savepoint_one, .savepoint = number});
}

static int release_one(lkv_handle *handle, lkv_registry *registry, task *with)
{
    if (handle->dropped_at >= with->savepoint) {
        handle->dropped_at = with->savepoint - 1;
    }
    lkv_handle_release(handle, registry, with->savepoint);
    return SQLITE_OK;
}

static int release(sqlite3_vtab *base, int number)
{
    lkv_registry *registry = registry_of(base);
    if (registry->level >= number) {
        registry->level = number - 1;
    }
    return for_all(base, &(task){.each = release_one, .savepoint = number});
}

static int rollback_to_one(lkv_handle *handle, lkv_registry *registry, task *with)
{
    lkv_handle_rollback_to(handle, registry, with->savepoint);
    return SQLITE_OK;
}

static int rollback_to(sqlite3_vtab *base, int number)
{
    lkv_registry *registry = registry_of(base);
    bring_back(registry, number);
    registry->level = number;
    return for_all(base, &(task){.each = rollback_to_one, .savepoint = number});
}

static int connect(sqlite3 *db, void *registry, int argc, const char *const *argv,
                   sqlite3_vtab **out, char **text)
{
    int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(name TEXT)");
    witness *made;
    (void)argc;
    (void)argv;
    (void)text;
    if (rc != SQLITE_OK) {
        return rc;
    }
    made = sqlite3_malloc64(sizeof(*made));
    if (made == NULL) {
        return SQLITE_NOMEM;
    }
    memset(made, 0, sizeof(*made));
    made->registry = registry;
    *out = &made->base;
    return SQLITE_OK;
}

static int disconnect(sqlite3_vtab *base)
{
    sqlite3_free(base);
    return SQLITE_OK;
}

static int best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    (void)base;
    info->estimatedRows = 0;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    (void)base;
    *out = sqlite3_malloc64(sizeof(**out));
    if (*out == NULL) {
        return SQLITE_NOMEM;
    }
    memset(*out, 0, sizeof(**out));
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *cursor, int plan, const char *name, int argc,
                  sqlite3_value **argv)
{
    (void)cursor;
    (void)plan;
    (void)name;
    (void)argc;
    (void)argv;
    return SQLITE_OK;
}

static int eof(sqlite3_vtab_cursor *cursor)
{
    (void)cursor;
    return 1;
}

static int update(sqlite3_vtab *base, int argc, sqlite3_value **argv,
                  sqlite3_int64 *out)
{
    (void)base;
    (void)argc;
    (void)argv;
    (void)out;
    return SQLITE_READONLY;
}

/* Without xCreate: the table is there by its name alone, and no other can be made. And
 * without what is called for a row. */
static const sqlite3_module module = {.iVersion = 2,
                                      .xConnect = connect,
                                      .xBestIndex = best_index,
                                      .xDisconnect = disconnect,
                                      .xOpen = open_cursor,
                                      .xClose = close_cursor,
                                      .xFilter = filter,
                                      .xEof = eof,
                                      .xUpdate = update,
                                      .xBegin = begin,
                                      .xSync = sync_all,
                                      .xCommit = commit,
                                      .xRollback = rollback,
                                      .xSavepoint = savepoint,
                                      .xRelease = release,
                                      .xRollbackTo = rollback_to};

const sqlite3_module *lkv_dropped_module(void)
{
    return &module;
}
