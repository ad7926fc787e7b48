/*
 * external.c - see external.h.
 *
 * A statement sees one snapshot: what its first cursor found. SQLite does not tell
 * where a statement begins and ends, so that the snapshot stays as long as any cursor
 * of the handle is open; the cursors of a subquery, which come and go, keep it too.
 *
 * The lock of a writer is taken when SQLite says that a statement will write (xBegin),
 * before the statement reads, so that what it writes follows from what was newest. Once
 * the handle has it, it keeps it until SQLite's transaction ends, as SQLite keeps its
 * own: a mark of the store from before the first change is what ROLLBACK TO goes back
 * to.
 */
#include "external.h"

#include "home.h"
#include "os_sqlite.h"

#include "../core/storage_posix.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define SLICE_MS 100 /* of waiting, between looks at the user */

static int status(const lkv_handle *handle, int rc, const lkv_error *err, char **text)
{
    return lkv_handle_status(handle, rc, err, text);
}

/* xConnect may not fail for that: DROP TABLE would not be possible. */
static int usable(const lkv_handle *handle, char **text)
{
    if (handle->path == NULL) {
        *text =
            sqlite3_mprintf("litekv: \"%w\": its path is relative, and the database "
                            "\"%w\" is not a file; declare it with an absolute one",
                            handle->table, handle->schema);
        return *text == NULL ? SQLITE_NOMEM : SQLITE_CANTOPEN;
    }
    return SQLITE_OK;
}

/* Whether the store has the columns that are declared. */
static int has_columns(const lkv_handle *handle, char **text)
{
    lkv_bytes meta = lkv_meta(handle->store);
    size_t size = strlen(handle->meta);

    if (meta.size == size &&
        (memcmp(meta.data, handle->meta, size) == 0 || /* as a rule */
         sqlite3_strnicmp(meta.data, handle->meta, (int)size) == 0)) {
        return SQLITE_OK;
    }
    *text =
        sqlite3_mprintf("litekv: \"%w\": it is declared with the columns %s, and the "
                        "store at \"%w\" has %.*s; declare it with those",
                        handle->table, handle->meta, handle->path, (int)meta.size,
                        (const char *)meta.data);
    return *text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
}

int lkv_external_refresh(lkv_handle *handle, char **text)
{
    lkv_error err;
    int rc;

    if (handle->seen || lkv_in_transaction(handle->store)) {
        return SQLITE_OK;
    }
    rc = usable(handle, text);
    if (rc == SQLITE_OK) {
        rc = lkv_refresh(handle->store, lkv_error_none(&err));
        rc = status(handle, rc, &err, text);
    }
    return rc == SQLITE_OK ? has_columns(handle, text) : rc;
}

int lkv_external_make(lkv_handle *handle, char **text)
{
    lkv_bytes meta = {handle->meta, strlen(handle->meta)};
    lkv_error err = {0};
    int made = 0, rc = usable(handle, text);

    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = lkv_storage_posix_make(handle->storage, &made, &err);
    if (rc == LKV_OK && made) {
        rc = lkv_create(handle->storage, &lkv_os_sqlite, meta, &err);
    }
    rc = status(handle, rc, &err, text);
    if (rc == SQLITE_OK) {
        rc = lkv_external_refresh(handle, text);
    }
    handle->made = made;
    handle->created = 1;
    if (rc != SQLITE_OK) {
        lkv_external_unmake(handle);
    }
    return rc;
}

void lkv_external_unmake(lkv_handle *handle)
{
    lkv_rollback(handle->store);
    if (handle->made) {
        lkv_storage_posix_unmake(handle->storage);
    }
    handle->made = handle->created = 0;
}

static int take_number(void *arg, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    *(sqlite3_int64 *)arg = strtoll(values[0], NULL, 10);
    return 0;
}

static sqlite3_int64 timeout_ms(sqlite3 *db)
{
    sqlite3_int64 ms = 0;
    (void)sqlite3_exec(db, "PRAGMA busy_timeout", take_number, &ms, NULL);
    return ms;
}

static int begin(lkv_handle *handle, int64_t wait_ms, lkv_error *err)
{
    /* What another statement is reading must not move. */
    return handle->seen ? lkv_begin_here(handle->store, wait_ms, err)
                        : lkv_begin(handle->store, wait_ms, err);
}

/* Another table of the connection whose open transaction has the store locked, or NULL:
 * no waiting would help. */
static const lkv_handle *own_holder(const lkv_handle *handle)
{
    const lkv_handle *at = handle->registry == NULL ? NULL : handle->registry->handles;
    while (at != NULL && (at == handle || at->home != handle->home ||
                          at->path == NULL || strcmp(at->path, handle->path) != 0 ||
                          at->store == NULL || !lkv_in_transaction(at->store))) {
        at = at->next;
    }
    return at;
}

int lkv_external_begin(lkv_handle *handle, char **text)
{
    const lkv_handle *holder;
    lkv_error err;
    uint32_t mark;
    int rc = usable(handle, text);

    if (rc != SQLITE_OK || lkv_in_transaction(handle->store)) {
        return rc;
    }
    rc = begin(handle, 0, lkv_error_none(&err));
    holder = rc == LKV_BUSY ? own_holder(handle) : NULL;
    if (holder != NULL) {
        *text = sqlite3_mprintf("litekv: \"%w\": this transaction has written to its "
                                "store by \"%w\"; commit first",
                                handle->table, holder->table);
        return *text == NULL ? SQLITE_NOMEM : SQLITE_LOCKED;
    }
    if (rc == LKV_BUSY) {
        sqlite3_int64 left = timeout_ms(handle->db);
        if (left == 0) { /* or it could not be asked: an interrupt came */
            rc = lkv_home_go_on(handle);
            rc = rc == LKV_OK ? LKV_BUSY : rc;
        }
        while (rc == LKV_BUSY && left > 0) {
            sqlite3_int64 wait = left < SLICE_MS ? left : SLICE_MS;
            left -= wait;
            rc = lkv_home_go_on(handle);
            if (rc == LKV_OK) {
                rc = begin(handle, wait, &err);
            }
        }
    }
    if (rc == LKV_OK && lkv_mark(handle->store, &mark) != LKV_OK) {
        rc = LKV_NOMEM;
    }
    rc = status(handle, rc, &err, text);
    if (rc == SQLITE_OK) {
        rc = has_columns(handle, text);
    }
    if (rc != SQLITE_OK) {
        lkv_rollback(handle->store);
    }
    return rc;
}

void lkv_external_undo(lkv_handle *handle)
{
    lkv_rollback_to(handle->store, 0);
}
