/*
 * os_sqlite.c - see os_sqlite.h.
 */
#include "os_sqlite.h"

#include "sqlite3ext.h"

SQLITE_EXTENSION_INIT3

#define JULIAN_EPOCH_MS                                                                \
    210866760000000 /* 1970-01-01 in ms of the Julian day number                       \
                     */

static void *resize(void *ctx, void *old, size_t size)
{
    (void)ctx;
    return sqlite3_realloc64(old, size);
}

static void release(void *ctx, void *memory)
{
    (void)ctx;
    sqlite3_free(memory);
}

static int64_t now_ms(void *ctx)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    sqlite3_int64 now = JULIAN_EPOCH_MS;
    (void)ctx;
    if (vfs != NULL && vfs->iVersion >= 2 && vfs->xCurrentTimeInt64 != NULL) {
        (void)vfs->xCurrentTimeInt64(vfs, &now);
    }
    return now - JULIAN_EPOCH_MS;
}

static int random_bytes(void *ctx, void *out, size_t size)
{
    (void)ctx;
    sqlite3_randomness((int)size, out);
    return 0;
}

const lkv_os lkv_os_sqlite = {NULL,
                              resize,
                              release,
                              now_ms,
                              random_bytes,
                              &lkv_os_posix_files,
                              &lkv_os_posix_shared};
