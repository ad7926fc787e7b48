/*
 * storage_posix.c - see storage_posix.h.
 */
#include "posix.h"

#include <string.h>

#define BLOCK 4096u

static int seal(lkv_storage *storage, uint32_t object, lkv_error *err)
{
    (void)storage;
    (void)object;
    (void)err;
    return LKV_OK;
}

/* Publishing the end syncs. */
static int sync_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       lkv_error *err)
{
    (void)offset;
    return seal(storage, object, err);
}

/* What is held stays as it is. */
static int pin(lkv_storage *storage, lkv_error *err)
{
    (void)storage;
    (void)err;
    return LKV_OK;
}

static void unpin(lkv_storage *storage)
{
    (void)storage;
}

static const lkv_storage_ops posix_ops = {.read = lkv_posix_read,
                                          .write = lkv_posix_write,
                                          .rewind = lkv_posix_rewind,
                                          .seal = seal,
                                          .remove = lkv_posix_remove,
                                          .list = lkv_posix_list,
                                          .sync = sync_object,
                                          .read_root = lkv_posix_read_root,
                                          .write_root = lkv_posix_write_root,
                                          .read_end = lkv_posix_read_end,
                                          .publish_end = lkv_posix_publish_end,
                                          .lock = lkv_posix_lock,
                                          .unlock = lkv_posix_unlock,
                                          .pin = pin,
                                          .unpin = unpin,
                                          .forget = lkv_posix_forget,
                                          .hold = lkv_posix_hold,
                                          .settle = lkv_posix_settle,
                                          .root_lost = lkv_posix_root_lost};

int lkv_storage_posix_open(const lkv_os *os, const lkv_posix_options *options,
                           lkv_storage **out)
{
    size_t size = strlen(options->path);
    lkv_posix *posix = lkv_os_alloc(os, sizeof(*posix));

    *out = NULL;
    if (posix == NULL) {
        return LKV_NOMEM;
    }
    memset(posix, 0, sizeof(*posix));
    posix->base.ops = &posix_ops;
    posix->base.block = BLOCK;
    posix->base.spill = LKV_SPILL_SIZE;
    posix->base.segment = LKV_SEGMENT_SIZE;
    posix->os = os;
    posix->lock_file = -1;
    posix->slot = posix->durable_slot = -1;
    posix->shared_memory = options->shared_memory;
    posix->mode = options->mode;
    posix->mapped = options->mapped;
    posix->path = lkv_os_alloc(os, size + 1);
    posix->name = lkv_os_alloc(os, size + 16);
    posix->lock_name = lkv_os_alloc(os, size + 16);
    posix->path_size = size;
    if (posix->path == NULL || posix->name == NULL || posix->lock_name == NULL ||
        lkv_cache_open(os, options->mapped ? 0 : options->cache_bytes, &posix->cache) !=
            LKV_OK) {
        lkv_storage_posix_close(&posix->base);
        return LKV_NOMEM;
    }
    memcpy(posix->path, options->path, size + 1);
    memcpy(posix->lock_name, lkv_posix_name(posix, "lock"), size + sizeof(".lock"));
    lkv_cache_favour(posix->cache, (uint64_t)LKV_RUN_FIRST << 32);
    *out = &posix->base;
    return LKV_OK;
}

void lkv_storage_posix_close(lkv_storage *storage)
{
    lkv_posix *posix;
    if (storage == NULL) {
        return;
    }
    posix = lkv_posix_of(storage);
    lkv_posix_leave(posix);
    lkv_cache_close(posix->cache);
    while (posix->prepared_count > 0) {
        lkv_os_free(posix->os, posix->prepared[--posix->prepared_count].root);
    }
    lkv_os_free(posix->os, posix->prepared);
    lkv_os_free(posix->os, posix->new_root);
    lkv_os_free(posix->os, posix->root);
    lkv_os_free(posix->os, posix->durable);
    lkv_os_free(posix->os, posix->scratch);
    lkv_os_free(posix->os, posix->lock_name);
    lkv_os_free(posix->os, posix->name);
    lkv_os_free(posix->os, posix->path);
    lkv_os_free(posix->os, posix);
}

uint64_t lkv_storage_posix_torn(const lkv_storage *storage)
{
    return ((const lkv_posix *)storage)->torn;
}

uint64_t lkv_storage_posix_cached(const lkv_storage *storage, uint64_t *limit)
{
    const lkv_posix *posix = (const lkv_posix *)storage;
    *limit = posix->mapped ? 0 : lkv_cache_limit(posix->cache);
    return posix->mapped ? 0 : lkv_cache_memory(posix->cache);
}
