/*
 * storage_database.c - see storage_database.h.
 */
#include "storage_database.h"

#include <stdlib.h>
#include <string.h>

struct database_undo {
    struct database_undo *older;
    uint32_t object;
    int removes; /* from `size` on, at the end of the transaction: others still read it
                  */
    int existed; /* otherwise: what it held before it was written */
    size_t size;
    uint8_t bytes[];
};

struct database_block {
    struct database_block *next;
    uint32_t object;
    uint64_t number;
    uint8_t bytes[]; /* a whole block */
};

static storage_database *self(lkv_storage *storage)
{
    return (storage_database *)storage;
}

static void *allocate(size_t size)
{
    void *memory = malloc(size + 1);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* The cache */

static struct database_block **bucket_of(storage_database *database, uint32_t object,
                                         uint64_t number)
{
    return &database->cache[(object * 31 + number) % DATABASE_BUCKETS];
}

static struct database_block *find_block(storage_database *database, uint32_t object,
                                         uint64_t number)
{
    struct database_block *at = *bucket_of(database, object, number);
    while (at != NULL && (at->object != object || at->number != number)) {
        at = at->next;
    }
    return at;
}

/* Takes blocks `first` to `last` of `object` out, of all objects when it is 0. */
static void drop_blocks(storage_database *database, uint32_t object, uint64_t first,
                        uint64_t last)
{
    for (size_t i = 0; i < DATABASE_BUCKETS; i++) {
        struct database_block **link = &database->cache[i];
        while (*link != NULL) {
            struct database_block *at = *link;
            if (object == 0 ||
                (at->object == object && at->number >= first && at->number <= last)) {
                *link = at->next;
                free(at);
            } else {
                link = &at->next;
            }
        }
    }
}

/* Block `number`, from the cache when it has it. */
static int read_block(storage_database *database, uint32_t object, uint64_t number,
                      lkv_bytes *view, lkv_error *err)
{
    uint32_t unit = database->base.block;
    struct database_block *block = find_block(database, object, number);
    int rc;

    if (block == NULL) {
        database->base.fresh = 1;
        rc = database->inner->ops->read(database->inner, object, number * unit, unit,
                                        view, err);
        if (rc != LKV_OK || view->size < unit) {
            return rc;
        }
        block = allocate(sizeof(*block) + unit);
        block->object = object;
        block->number = number;
        memcpy(block->bytes, view->data, unit);
        block->next = *bucket_of(database, object, number);
        *bucket_of(database, object, number) = block;
    }
    *view = (lkv_bytes){block->bytes, unit};
    return LKV_OK;
}

/* Bytes of `object` that the transaction has not removed. */
static uint64_t left_of(const storage_database *database, uint32_t object)
{
    uint64_t left = UINT64_MAX;
    for (const struct database_undo *at = database->undo; at != NULL; at = at->older) {
        if (at->removes && at->object == object && at->size < left) {
            left = at->size;
        }
    }
    return left;
}

static int read_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       size_t want, lkv_bytes *view, lkv_error *err)
{
    storage_database *database = self(storage);
    uint64_t number = offset / storage->block;
    size_t within = (size_t)(offset % storage->block), have = 0;
    uint64_t left = left_of(database, object);
    lkv_bytes part;

    if (offset >= left) {
        *view = (lkv_bytes){NULL, 0};
        return LKV_OK;
    }
    if (object < LKV_PART_FIRST) {
        storage->fresh = 1;
        return database->inner->ops->read(database->inner, object, offset, want, view,
                                          err);
    }
    storage->fresh = 0;
    free(database->view);
    database->view = NULL;
    do {
        int rc = read_block(database, object, number++, &part, err);
        if (rc != LKV_OK) {
            return rc;
        }
        part.size = part.size < storage->block ? part.size : storage->block;
        if (part.size > within) {
            uint8_t *moved = allocate(have + part.size - within);
            memcpy(moved, database->view == NULL ? moved : database->view, have);
            memcpy(moved + have, (const uint8_t *)part.data + within,
                   part.size - within);
            free(database->view);
            database->view = moved;
            have += part.size - within;
        }
        within = 0;
    } while (have < want && part.size == storage->block);
    have = have < left - offset ? have : (size_t)(left - offset);
    *view = (lkv_bytes){database->view, have};
    return LKV_OK;
}

/* Undoing */

static struct database_undo *push(storage_database *database, uint32_t object,
                                  size_t size)
{
    struct database_undo *undo = allocate(sizeof(*undo) + size);
    memset(undo, 0, sizeof(*undo));
    undo->object = object;
    undo->size = size;
    undo->older = database->undo;
    database->undo = undo;
    database->writes++;
    return undo;
}

static void pop(storage_database *database)
{
    struct database_undo *gone = database->undo;
    database->undo = gone->older;
    database->writes--;
    free(gone);
}

/* Keeps what `object` holds before it changes. */
static void keep(storage_database *database, uint32_t object)
{
    struct database_undo *undo;
    lkv_bytes view = {NULL, 0};

    if (!database->locked) {
        return;
    }
    if (database->inner->ops->read(database->inner, object, 0, SIZE_MAX, &view, NULL) !=
        LKV_OK) {
        abort();
    }
    undo = push(database, object, view.size);
    undo->existed = view.size > 0;
    if (view.size > 0) {
        memcpy(undo->bytes, view.data, view.size);
    }
}

uint64_t storage_database_mark(const storage_database *database)
{
    return database->writes;
}

void storage_database_undo(storage_database *database, uint64_t mark)
{
    const lkv_storage_ops *ops = database->inner->ops;
    while (database->writes > mark) {
        const struct database_undo *at = database->undo;
        lkv_bytes bytes = {at->bytes, at->size};
        int rc = at->removes   ? LKV_OK
                 : at->existed ? ops->write(database->inner, at->object, 0, bytes, NULL)
                               : ops->remove(database->inner, at->object, 0, NULL);
        if (rc != LKV_OK) {
            abort(); /* there was memory for it once */
        }
        pop(database);
    }
}

static int write_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                        lkv_bytes bytes, lkv_error *err)
{
    storage_database *database = self(storage);
    keep(database, object);
    drop_blocks(database, object, offset / storage->block,
                (offset + bytes.size) / storage->block);
    return database->inner->ops->write(database->inner, object, offset, bytes, err);
}

static void rewind_object(lkv_storage *storage, uint32_t object, uint64_t offset)
{
    storage_database *database = self(storage);
    drop_blocks(database, object, offset / storage->block, UINT64_MAX);
    if (object != 0) {
        keep(database, object);
        database->inner->ops->rewind(database->inner, object, offset);
        if (offset == 0 &&
            database->inner->ops->remove(database->inner, object, 0, NULL) != LKV_OK) {
            abort();
        }
    }
}

static int remove_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                         lkv_error *err)
{
    storage_database *database = self(storage);
    (void)err;
    drop_blocks(database, object, offset / storage->block, UINT64_MAX);
    push(database, object, (size_t)offset)->removes = 1;
    return LKV_OK;
}

/* Removes for good what the transaction removed. */
static void end_transaction(storage_database *database)
{
    while (database->undo != NULL) {
        const struct database_undo *at = database->undo;
        if (at->removes && !database->keeps &&
            database->inner->ops->remove(database->inner, at->object, at->size, NULL) !=
                LKV_OK) {
            abort();
        }
        pop(database);
    }
    database->locked = 0;
}

/* What is handed on as it is */

static int seal(lkv_storage *storage, uint32_t object, lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->seal(inner, object, err);
}

static int list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                void *arg, lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->list(inner, each, arg, err);
}

static int sync_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->sync(inner, object, offset, err);
}

static int read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->read_root(inner, root, err);
}

static int write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                      lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->write_root(inner, generation, root, err);
}

static int read_end(lkv_storage *storage, lkv_end *end, lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->read_end(inner, end, err);
}

static int publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->publish_end(inner, end, err);
}

static int lock(lkv_storage *storage, int64_t wait_ms, lkv_error *err)
{
    storage_database *database = self(storage);
    int rc = database->inner->ops->lock(database->inner, wait_ms, err);
    database->locked = database->locked || rc == LKV_OK;
    return rc;
}

static void unlock(lkv_storage *storage, const lkv_end *end)
{
    storage_database *database = self(storage);
    end_transaction(database);
    database->inner->ops->unlock(database->inner, end);
}

static int pin(lkv_storage *storage, lkv_error *err)
{
    lkv_storage *inner = self(storage)->inner;
    return inner->ops->pin(inner, err);
}

static void unpin(lkv_storage *storage)
{
    lkv_storage *inner = self(storage)->inner;
    inner->ops->unpin(inner);
}

static void forget(lkv_storage *storage, uint32_t object, uint64_t offset)
{
    storage_database *database = self(storage);
    drop_blocks(database, object, offset / storage->block, UINT64_MAX);
    database->inner->ops->forget(database->inner, object, offset);
}

static const lkv_storage_ops database_ops = {
    read_object, write_object, rewind_object, seal,       remove_object,
    list,        sync_object,  read_root,     write_root, read_end,
    publish_end, lock,         unlock,        pin,        unpin,
    forget,      NULL,         NULL,          NULL};

void storage_database_init(storage_database *database, lkv_storage *inner)
{
    memset(database, 0, sizeof(*database));
    database->base = *inner;
    database->base.ops = &database_ops;
    database->base.undoes = 1;
    database->inner = inner;
}

void storage_database_free(storage_database *database)
{
    drop_blocks(database, 0, 0, UINT64_MAX);
    while (database->undo != NULL) {
        pop(database);
    }
    free(database->view);
    database->view = NULL;
}
