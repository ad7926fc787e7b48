/*
 * storage_mem.c - a storage in private memory: each object one growing byte string.
 *
 * Several stores may be opened on it, each by its own handle, one of them writing at a
 * time. What a transaction wrote stands here at once; a handle that reads goes by the
 * published end and so does not see it. Rolling back leaves bytes behind that the next
 * write replaces.
 */
#include "storage.h"

#include <string.h>

#define HEADS 256u
#define SPARE (64u << 10) /* bytes that an object may have room for beyond its own */

typedef struct object {
    struct object *next;
    uint32_t number;
    uint8_t *bytes;
    size_t size, capacity;
} object;

typedef struct root {
    struct root *older;
    uint64_t generation;
    size_t size;
    uint8_t bytes[];
} root;

typedef struct storage_mem {
    lkv_storage base;
    const lkv_os *os;
    object *heads[HEADS]; /* lists, by number */
    root *roots; /* the one of `end`, and those written since the lock was taken */
    lkv_end end;
    int has_end;
    int locked;
} storage_mem;

static storage_mem *self(lkv_storage *storage)
{
    return (storage_mem *)storage;
}

/* Where the object hangs, or where it would. */
static object **place_of(storage_mem *mem, uint32_t number)
{
    object **link = &mem->heads[number % HEADS];
    while (*link != NULL && (*link)->number != number) {
        link = &(*link)->next;
    }
    return link;
}

static object *find(storage_mem *mem, uint32_t number)
{
    return *place_of(mem, number);
}

static void drop(storage_mem *mem, object **link)
{
    object *gone = *link;
    *link = gone->next;
    lkv_os_free(mem->os, gone->bytes);
    lkv_os_free(mem->os, gone);
}

static int read_object(lkv_storage *storage, uint32_t number, uint64_t offset,
                       size_t want, lkv_bytes *view, lkv_error *err)
{
    const object *at = find(self(storage), number);
    (void)want;
    (void)err;
    if (at == NULL || offset >= at->size) {
        *view = (lkv_bytes){NULL, 0};
    } else {
        *view = (lkv_bytes){at->bytes + offset, at->size - (size_t)offset};
    }
    return LKV_OK;
}

static int write_object(lkv_storage *storage, uint32_t number, uint64_t offset,
                        lkv_bytes bytes, lkv_error *err)
{
    storage_mem *mem = self(storage);
    object **link = place_of(mem, number), *at = *link;
    size_t size = (size_t)offset + bytes.size;

    (void)err;
    if (at == NULL) {
        at = lkv_os_alloc(mem->os, sizeof(*at));
        if (at == NULL) {
            return LKV_NOMEM;
        }
        memset(at, 0, sizeof(*at));
        at->number = number;
        *link = at;
    }
    if (offset > at->size) {
        return LKV_MISUSE;
    }
    if (size > at->capacity) {
        size_t capacity = size > at->capacity * 2 ? size : at->capacity * 2;
        uint8_t *moved = lkv_os_resize(mem->os, at->bytes, capacity);
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        at->bytes = moved;
        at->capacity = capacity;
    }
    if (bytes.size > 0) {
        memcpy(at->bytes + offset, bytes.data, bytes.size);
    }
    at->size = size;
    return LKV_OK;
}

/* What a large transaction took goes back when it is undone. */
static void give_back(const storage_mem *mem, object *at)
{
    size_t enough = at->size * 2 + SPARE;
    uint8_t *moved;
    if (at->capacity > 2 * enough) {
        moved = lkv_os_resize(mem->os, at->bytes, enough);
        at->bytes = moved == NULL ? at->bytes : moved;
        at->capacity = moved == NULL ? at->capacity : enough;
    }
}

static void rewind_object(lkv_storage *storage, uint32_t number, uint64_t offset)
{
    object *at = find(self(storage), number); /* there is no object 0, and no cache */
    if (at != NULL && at->size > offset) {
        at->size = (size_t)offset;
        give_back(self(storage), at);
    }
}

static int seal(lkv_storage *storage, uint32_t number, lkv_error *err)
{
    (void)storage;
    (void)number;
    (void)err;
    return LKV_OK;
}

static int remove_object(lkv_storage *storage, uint32_t number, uint64_t offset,
                         lkv_error *err)
{
    storage_mem *mem = self(storage);
    object **link = place_of(mem, number);
    (void)err;
    if (*link != NULL && offset > 0) {
        rewind_object(storage, number, offset);
    } else if (*link != NULL) {
        drop(mem, link);
    }
    return LKV_OK;
}

static int list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                void *arg, lkv_error *err)
{
    const object *next;
    int rc = LKV_OK;
    (void)err;
    for (uint32_t i = 0; i < HEADS; i++) {
        for (const object *at = self(storage)->heads[i]; at != NULL && rc == 0;
             at = next) {
            next = at->next; /* what was taken back may have left an empty one */
            rc = at->size > 0 ? each(arg, at->number) : LKV_OK;
        }
    }
    return rc;
}

static int sync_object(lkv_storage *storage, uint32_t number, uint64_t offset,
                       lkv_error *err)
{
    (void)storage;
    (void)number;
    (void)offset;
    (void)err;
    return LKV_OK;
}

static int read_root(lkv_storage *storage, lkv_bytes *bytes, lkv_error *err)
{
    const storage_mem *mem = self(storage);
    const root *at = mem->roots;
    (void)err;
    while (at != NULL && at->generation != mem->end.generation) {
        at = at->older;
    }
    if (at == NULL) {
        return LKV_ABSENT;
    }
    *bytes = (lkv_bytes){at->bytes, at->size};
    return LKV_OK;
}

static int write_root(lkv_storage *storage, uint64_t generation, lkv_bytes bytes,
                      lkv_error *err)
{
    storage_mem *mem = self(storage);
    root *added = lkv_os_alloc(mem->os, sizeof(*added) + bytes.size);
    (void)err;
    if (added == NULL) {
        return LKV_NOMEM;
    }
    added->older = mem->roots;
    added->generation = generation;
    added->size = bytes.size;
    memcpy(added->bytes, bytes.data, bytes.size);
    mem->roots = added;
    return LKV_OK;
}

/* Keeps the newest root of `generation` alone. */
static void keep_root(storage_mem *mem, uint64_t generation)
{
    root **link = &mem->roots;
    int kept = 0;
    while (*link != NULL) {
        root *at = *link;
        if (!kept && at->generation == generation) {
            kept = 1;
            link = &at->older;
        } else {
            *link = at->older;
            lkv_os_free(mem->os, at);
        }
    }
}

static int read_end(lkv_storage *storage, lkv_end *end, lkv_error *err)
{
    const storage_mem *mem = self(storage);
    (void)err;
    *end = mem->end;
    return mem->has_end ? LKV_OK : LKV_ABSENT;
}

/* Others see it when the lock is given back; the first end is seen at once. */
static int publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    storage_mem *mem = self(storage);
    (void)err;
    if (!mem->locked) {
        mem->end = *end;
        mem->has_end = 1;
    }
    return LKV_OK;
}

static int lock(lkv_storage *storage, int64_t wait_ms, lkv_error *err)
{
    storage_mem *mem = self(storage);
    (void)wait_ms;
    (void)err;
    if (mem->locked) {
        return LKV_BUSY;
    }
    mem->locked = 1;
    return LKV_OK;
}

static void unlock(lkv_storage *storage, const lkv_end *end)
{
    storage_mem *mem = self(storage);
    if (end->generation != 0) { /* 0: the handle could not read the store */
        mem->end = *end;
        keep_root(mem, end->generation);
    }
    mem->locked = 0;
}

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

/* There are no copies. */
static void forget(lkv_storage *storage, uint32_t number, uint64_t offset)
{
    (void)storage;
    (void)number;
    (void)offset;
}

static const lkv_storage_ops mem_ops = {
    read_object, write_object, rewind_object, seal,       remove_object,
    list,        sync_object,  read_root,     write_root, read_end,
    publish_end, lock,         unlock,        pin,        unpin,
    forget,      NULL,         NULL,          NULL};

int lkv_storage_mem_open(const lkv_os *os, uint32_t block, lkv_storage **out)
{
    storage_mem *mem = lkv_os_alloc(os, sizeof(*mem));
    if (mem == NULL) {
        return LKV_NOMEM;
    }
    memset(mem, 0, sizeof(*mem));
    mem->base.ops = &mem_ops;
    mem->base.block = block;
    mem->base.spill = LKV_SPILL_SIZE;
    mem->base.segment = LKV_SEGMENT_SIZE;
    mem->base.fresh = 1; /* always: nothing is copied here */
    mem->base.atomic = 1;
    mem->os = os;
    *out = &mem->base;
    return LKV_OK;
}

void lkv_storage_mem_close(lkv_storage *storage)
{
    storage_mem *mem;
    if (storage == NULL) {
        return;
    }
    mem = self(storage);
    for (uint32_t i = 0; i < HEADS; i++) {
        while (mem->heads[i] != NULL) {
            drop(mem, &mem->heads[i]);
        }
    }
    while (mem->roots != NULL) {
        root *gone = mem->roots;
        mem->roots = gone->older;
        lkv_os_free(mem->os, gone);
    }
    lkv_os_free(mem->os, mem);
}
