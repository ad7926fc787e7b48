/*
 * home.c - see home.h.
 *
 * Only the storage in the database runs statements of its own. SQLite tells of an
 * interrupt in the steps of statements alone, so that the others need one for that.
 */
#include "home.h"

#include "os_sqlite.h"
#include "storage_db.h"

#include "../core/storage_posix.h"

SQLITE_EXTENSION_INIT3

#define MEMORY_BLOCK 4096u /* of runs; nothing depends on it */

int lkv_home_open(lkv_handle *handle, const lkv_declaration *declaration)
{
    if (handle->home == LKV_HOME_DATABASE) {
        handle->storage = lkv_storage_db_open(handle->db, handle->schema, handle->table,
                                              (uint64_t)declaration->cache_kib * 1024,
                                              &lkv_os_sqlite);
        return handle->storage == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }
    if (lkv_home_external(handle->home)) {
        lkv_posix_options options = {
            .path = handle->path == NULL ? "/" : handle->path, /* never used then */
            .shared_memory = handle->home == LKV_HOME_SHARED,
            .mode = declaration->mode,
            .mapped = declaration->mapped,
            .cache_bytes = (uint64_t)declaration->cache_kib * 1024};
        return lkv_storage_posix_open(&lkv_os_sqlite, &options, &handle->storage) ==
                       LKV_OK
                   ? SQLITE_OK
                   : SQLITE_NOMEM;
    }
    if (lkv_storage_mem_open(&lkv_os_sqlite, MEMORY_BLOCK, &handle->storage) !=
        LKV_OK) {
        return SQLITE_NOMEM;
    }
    /* What this process wrote into its own memory is not verified at every read. */
    handle->storage->fresh = 0;
    return SQLITE_OK;
}

void lkv_home_close(lkv_handle *handle)
{
    lkv_home_rest(handle);
    if (handle->home == LKV_HOME_DATABASE) {
        lkv_storage_db_close(handle->storage);
    } else if (lkv_home_external(handle->home)) {
        lkv_storage_posix_close(handle->storage);
    } else {
        lkv_storage_mem_close(handle->storage);
    }
}

int lkv_home_renamed(lkv_handle *handle, const char *to)
{
    return handle->home == LKV_HOME_DATABASE
               ? lkv_storage_db_renamed(handle->storage, to)
               : SQLITE_OK;
}

void lkv_home_committed(lkv_handle *handle)
{
    if (handle->home == LKV_HOME_DATABASE) {
        lkv_storage_db_committed(handle->storage);
    }
}

void lkv_home_doubt(lkv_handle *handle)
{
    if (handle->home == LKV_HOME_DATABASE) {
        lkv_storage_db_doubt(handle->storage);
    }
}

int lkv_home_is_within(const lkv_handle *handle)
{
    return handle->home == LKV_HOME_DATABASE &&
           lkv_storage_db_is_within(handle->storage);
}

int lkv_home_busy(const lkv_handle *handle)
{
    return handle->home == LKV_HOME_DATABASE && lkv_storage_db_busy(handle->storage);
}

int lkv_home_failure(const lkv_handle *handle, const char **text)
{
    if (handle->home == LKV_HOME_DATABASE) {
        return lkv_storage_db_failure(handle->storage, text);
    }
    *text = sqlite3_errstr(handle->failure);
    return handle->failure;
}

int lkv_home_go_on(void *arg)
{
    lkv_handle *handle = arg;
    int rc = SQLITE_OK;

    if (handle->home == LKV_HOME_DATABASE) {
        return lkv_storage_db_go_on(handle->storage);
    }
    if (handle->watch == NULL) {
        rc = sqlite3_prepare_v2(handle->db, "SELECT 1", -1, &handle->watch, NULL);
    }
    if (rc == SQLITE_OK) {
        sqlite3_step(handle->watch);
        rc = sqlite3_reset(handle->watch);
    }
    handle->failure = rc;
    return rc == SQLITE_OK ? LKV_OK : rc == SQLITE_NOMEM ? LKV_NOMEM : LKV_FAILED;
}

void lkv_home_rest(lkv_handle *handle)
{
    sqlite3_finalize(handle->watch);
    handle->watch = NULL;
}

uint64_t lkv_home_cached(const lkv_handle *handle, uint64_t *limit)
{
    *limit = 0;
    return handle->home == LKV_HOME_DATABASE
               ? lkv_storage_db_cached(handle->storage, limit)
           : lkv_home_external(handle->home)
               ? lkv_storage_posix_cached(handle->storage, limit)
               : 0;
}

uint64_t lkv_home_torn(const lkv_handle *handle)
{
    return lkv_home_external(handle->home) ? lkv_storage_posix_torn(handle->storage)
                                           : 0;
}

const char *lkv_home_sync(const lkv_handle *handle)
{
    static const char *const words[] = {
        [LKV_SYNC_FULL] = "full", [LKV_SYNC_NORMAL] = "normal", [LKV_SYNC_OFF] = "off"};
    return handle->home == LKV_HOME_DATABASE ? "database"
           : handle->home == LKV_HOME_MEMORY ? "memory"
                                             : words[lkv_sync_of(handle->store)];
}
