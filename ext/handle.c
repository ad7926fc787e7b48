/*
 * handle.c - finding and sharing handles, and SQLite's transactions on the store's.
 *
 * A savepoint writes out what is pending before it marks its point. So at every
 * savepoint the shadow tables hold all that happened before it, and whatever SQLite
 * goes back to, a handle that is opened afterwards (DROP TABLE or RENAME, undone) reads
 * it there. A single-row statement opens no savepoint, and a multi-row one adds one
 * block write.
 *
 * What SQLite does not tell: a table that was created after a savepoint hears nothing
 * when SQLite goes back to it, unless there was another savepoint since, and the tables
 * of that name are then gone or those of before. So a handle looks whether its store is
 * still there before it writes out what is pending, as long as the transaction of the
 * CREATE lasts, and before any use when a vtab object was connected since, which comes
 * before any use of what ROLLBACK TO brought back. It compares the identity that CREATE
 * gave: the store may not have been read since, and knows none after a failure. And
 * RENAME alone does not make the table a part of SQLite's transaction: what undoes it
 * is told only if something was written before.
 */
#include "handle.h"

#include "os_sqlite.h"
#include "storage_db.h"

#include <limits.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

struct lkv_registry {
    lkv_handle *handles;
    int references; /* the module's, the functions', one of each handle */
};

lkv_registry *lkv_registry_new(void)
{
    lkv_registry *registry = sqlite3_malloc64(sizeof(*registry));
    if (registry != NULL) {
        registry->handles = NULL;
        registry->references = 1;
    }
    return registry;
}

void lkv_registry_hold(lkv_registry *registry)
{
    registry->references++;
}

void lkv_registry_free(void *arg)
{
    lkv_registry *registry = arg;
    if (registry != NULL && --registry->references == 0) {
        sqlite3_free(registry);
    }
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

void lkv_handle_detach(lkv_handle *handle)
{
    lkv_registry *registry = handle->registry;
    if (registry != NULL) {
        lkv_handle **link = &registry->handles;
        while (*link != handle) {
            link = &(*link)->next;
        }
        *link = handle->next;
        handle->registry = NULL;
        lkv_registry_free(registry);
    }
}

static void destroy(lkv_handle *handle)
{
    lkv_handle_detach(handle);
    lkv_close(handle->store);
    lkv_storage_db_close(handle->storage);
    sqlite3_free(handle->marks);
    sqlite3_free(handle->schema);
    sqlite3_free(handle->table);
    sqlite3_free(handle);
}

void lkv_handle_close(lkv_handle *handle)
{
    if (handle != NULL && --handle->references == 0) {
        destroy(handle);
    }
}

int lkv_handle_rename(lkv_handle *handle, const char *to)
{
    char *name = sqlite3_mprintf("%s", to);
    lkv_handle *other;
    if (name == NULL || lkv_storage_db_renamed(handle->storage, to) != SQLITE_OK) {
        sqlite3_free(name);
        return SQLITE_NOMEM;
    }
    if (handle->registry != NULL) {
        other = lkv_handle_find(handle->registry, handle->schema, to);
        if (other != NULL && other != handle) {
            lkv_handle_detach(other);
        }
    }
    sqlite3_free(handle->table);
    handle->table = name;
    handle->renamed = handle->leader != NULL;
    handle->renamed_at = handle->mark_count;
    return SQLITE_OK;
}

int lkv_handle_open(lkv_registry *registry, sqlite3 *db, const char *schema,
                    const char *table, uint64_t cache_bytes, int fresh,
                    lkv_handle **out)
{
    lkv_handle *handle = lkv_handle_find(registry, schema, table);

    if (handle != NULL && fresh) {
        lkv_handle_detach(handle);
        handle = NULL;
    }
    if (handle != NULL) {
        handle->references++;
        handle->unsure = handle->created;
        *out = handle;
        return SQLITE_OK;
    }
    handle = sqlite3_malloc64(sizeof(*handle));
    if (handle == NULL) {
        return SQLITE_NOMEM;
    }
    memset(handle, 0, sizeof(*handle));
    handle->references = 1;
    handle->db = db;
    handle->smallest = INT_MAX;
    handle->registry = registry;
    handle->next = registry->handles;
    registry->handles = handle;
    registry->references++;
    handle->schema = sqlite3_mprintf("%s", schema);
    handle->table = sqlite3_mprintf("%s", table);
    handle->storage =
        lkv_storage_db_open(db, schema, table, cache_bytes, &lkv_os_sqlite);
    if (handle->schema == NULL || handle->table == NULL || handle->storage == NULL ||
        lkv_open(handle->storage, &lkv_os_sqlite, &handle->store) != LKV_OK) {
        destroy(handle);
        return SQLITE_NOMEM;
    }
    *out = handle;
    return SQLITE_OK;
}

static int unusable(const lkv_handle *handle, const char *why, char **text)
{
    *text = sqlite3_mprintf("litekv: \"%s\": its shadow tables cannot be used: %s; "
                            "restore them or drop the table",
                            handle->table, why);
    return SQLITE_CORRUPT_VTAB;
}

int lkv_handle_status(const lkv_handle *handle, int status, const lkv_error *err,
                      char **text)
{
    const char *why = "";
    int code;

    switch ((enum lkv_status)status) {
    case LKV_OK:
    case LKV_ABSENT:
        return SQLITE_OK;
    case LKV_NOMEM:
        return SQLITE_NOMEM;
    case LKV_TOO_BIG:
        return SQLITE_TOOBIG;
    case LKV_FAILED:
        code = lkv_storage_db_failure(handle->storage, &why);
        if (code == SQLITE_ERROR) {
            return unusable(handle, why, text);
        }
        *text = sqlite3_mprintf("%s", why);
        return code;
    case LKV_BUSY:
        return SQLITE_BUSY;
    case LKV_BUSY_SNAPSHOT:
        return SQLITE_BUSY_SNAPSHOT;
    case LKV_FULL:
        code = SQLITE_FULL;
        break;
    case LKV_READONLY:
        code = SQLITE_READONLY;
        break;
    case LKV_CANTOPEN:
        code = SQLITE_CANTOPEN;
        break;
    case LKV_CORRUPT:
        code = SQLITE_CORRUPT_VTAB;
        break;
    case LKV_IO:
        code = SQLITE_IOERR;
        break;
    case LKV_MISUSE:
    default:
        code = SQLITE_MISUSE;
        break;
    }
    *text = sqlite3_mprintf("litekv: \"%s\": %s", handle->table, err->text);
    return code;
}

/* The transaction is new to the handle. */
static void start(lkv_handle *handle, const void *leader)
{
    handle->leader = leader;
    handle->mark_count = 0;
    handle->smallest = INT_MAX;
}

/* The store's tables were taken away, and with them what is pending. The object of the
 * CREATE leads no more: it is told of too little. */
static void abandon(lkv_handle *handle)
{
    lkv_rollback(handle->store);
    lkv_storage_db_doubt(handle->storage);
    start(handle, NULL);
    handle->created = 0;
}

/* Whether a handle whose table was created in this transaction may go on. */
static int look(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    const char *why;
    int rc = lkv_is_there(handle->store, handle->id, &err);

    if (rc == LKV_ABSENT ||
        (rc == LKV_FAILED &&
         lkv_storage_db_failure(handle->storage, &why) == SQLITE_ERROR)) {
        abandon(handle);
        rc = LKV_OK;
    }
    if (rc == LKV_OK) {
        handle->unsure = 0;
    }
    return lkv_handle_status(handle, rc, &err, text);
}

/* Before the store is used. */
static int may_use(lkv_handle *handle, int looks, char **text)
{
    if (lkv_storage_db_busy(handle->storage)) {
        return unusable(handle, "they come back to the table itself", text);
    }
    return looks ? look(handle, text) : SQLITE_OK;
}

int lkv_handle_refresh(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    int rc = may_use(handle, handle->unsure, text);
    if (rc == SQLITE_OK) {
        rc = lkv_handle_status(handle, lkv_refresh(handle->store, &err), &err, text);
    }
    return rc;
}

int lkv_handle_created(lkv_handle *handle, char **text)
{
    int rc = lkv_handle_refresh(handle, text);
    if (rc == SQLITE_OK) {
        memcpy(handle->id, lkv_id(handle->store).data, sizeof(handle->id));
        handle->created = 1;
    }
    return rc;
}

int lkv_handle_verify(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    int rc = lkv_verify(handle->store, lkv_storage_db_go_on, handle->storage, &err);
    return lkv_handle_status(handle, rc, &err, text);
}

int lkv_handle_begin(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    int rc = may_use(handle, handle->unsure, text);
    if (rc == SQLITE_OK && !lkv_in_transaction(handle->store)) {
        rc = lkv_handle_status(handle, lkv_begin(handle->store, 0, &err), &err, text);
    }
    return rc;
}

int lkv_handle_sync(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    int rc;
    if (!lkv_in_transaction(handle->store)) {
        return SQLITE_OK;
    }
    rc = may_use(handle, handle->created, text);
    if (rc == SQLITE_OK) {
        rc = lkv_handle_status(handle, lkv_prepare(handle->store, &err), &err, text);
    }
    return rc;
}

/* The transaction is over. When it was undone, a name that it gave is gone: whoever
 * connects now finds the tables under the old one, with a handle of its own. */
static void leave(lkv_handle *handle, int undone)
{
    if (handle->renamed && undone) {
        lkv_handle_detach(handle);
    }
    handle->renamed = handle->created = handle->unsure = 0;
    start(handle, NULL);
}

int lkv_handle_enter(lkv_handle *handle, const void *object, char **text)
{
    int rc = may_use(handle, handle->unsure, text);
    if (rc == SQLITE_OK && handle->leader == NULL) {
        start(handle, object);
    }
    return rc;
}

void lkv_handle_commit(lkv_handle *handle)
{
    if (lkv_in_transaction(handle->store)) {
        lkv_commit(handle->store);
        lkv_storage_db_committed(handle->storage);
    }
    leave(handle, 0);
}

void lkv_handle_rollback(lkv_handle *handle)
{
    lkv_rollback(handle->store);
    lkv_storage_db_doubt(handle->storage);
    leave(handle, 1);
}

/* Whether a savepoint's event counts: it comes from the object that leads, and not from
 * a statement of the storage itself, whose savepoints are nobody's. */
static int counts(const lkv_handle *handle, const void *object)
{
    return object == handle->leader && !lkv_storage_db_busy(handle->storage);
}

static int first_mark_from(const lkv_handle *handle, int savepoint)
{
    int i = handle->mark_count;
    while (i > 0 && handle->marks[i - 1].savepoint >= savepoint) {
        i--;
    }
    return i;
}

void lkv_handle_release(lkv_handle *handle, const void *object, int savepoint)
{
    int i = first_mark_from(handle, savepoint);
    int first = i;

    if (!counts(handle, object)) {
        return;
    }
    while (first < handle->mark_count && !handle->marks[first].began) {
        first++;
    }
    if (first < handle->mark_count) {
        lkv_release(handle->store, handle->marks[first].depth);
    }
    if (i < handle->mark_count) {
        handle->mark_count = i;
    }
    if (handle->renamed_at > handle->mark_count) {
        handle->renamed_at = handle->mark_count;
    }
}

int lkv_handle_savepoint(lkv_handle *handle, const void *object, int savepoint,
                         char **text)
{
    struct lkv_handle_mark *mark;
    int rc;

    if (!counts(handle, object)) {
        return SQLITE_OK;
    }
    if (savepoint < handle->smallest) {
        handle->smallest = savepoint;
    }
    /* A mark of that number is left when SAVEPOINT failed in another table after this
     * one was told of it: SQLite does not take it back. */
    lkv_handle_release(handle, object, savepoint);
    rc = lkv_handle_sync(handle, text);
    if (rc != SQLITE_OK || !counts(handle, object)) {
        return rc;
    }
    if (handle->mark_count == handle->mark_capacity) {
        int capacity = handle->mark_capacity == 0 ? 4 : handle->mark_capacity * 2;
        mark =
            sqlite3_realloc64(handle->marks, (sqlite3_uint64)capacity * sizeof(*mark));
        if (mark == NULL) {
            return SQLITE_NOMEM;
        }
        handle->marks = mark;
        handle->mark_capacity = capacity;
    }
    mark = &handle->marks[handle->mark_count];
    mark->savepoint = savepoint;
    mark->began = lkv_in_transaction(handle->store);
    if (mark->began && lkv_mark(handle->store, &mark->depth) != LKV_OK) {
        return SQLITE_NOMEM;
    }
    handle->mark_count++;
    return SQLITE_OK;
}

/* SQLite's numbers have gaps: it goes back to the oldest mark that is not older than
 * the savepoint. A savepoint below all that were seen is older than the first write. */
void lkv_handle_rollback_to(lkv_handle *handle, const void *object, int savepoint)
{
    int i = first_mark_from(handle, savepoint);

    lkv_storage_db_doubt(handle->storage);
    if (!counts(handle, object)) {
        return;
    }
    if (handle->renamed && (savepoint < handle->smallest || i < handle->renamed_at)) {
        lkv_handle_detach(handle);
        handle->renamed = 0;
    }
    if (savepoint < handle->smallest) {
        lkv_rollback(handle->store);
        handle->mark_count = 0;
    } else if (i < handle->mark_count) {
        struct lkv_handle_mark *mark = &handle->marks[i];
        if (mark->began) {
            lkv_rollback_to(handle->store, mark->depth);
        } else {
            lkv_rollback(handle->store);
        }
        mark->savepoint = savepoint;
        handle->mark_count = i + 1;
    }
}
