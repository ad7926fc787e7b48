/*
 * posix_object.c - the objects of a store in files: reading, writing, letting go.
 *
 * A file is mapped as a whole, once it is read, and its descriptor closed when the
 * transaction that wrote it is over. Reads see what was written by write() at once. A
 * file that is removed stays readable for who has it mapped.
 *
 * With mmap=off files stay open and blocks are copied into a cache, those that no
 * rollback can take back.
 */
#include "posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LONGER (64u << 20) /* room for zeros that were written before */

lkv_posix_object *lkv_posix_find(lkv_posix *posix, uint32_t number)
{
    lkv_posix_object *at = posix->last;
    if (at != NULL && at->number == number) {
        return at;
    }
    for (at = posix->heads[number % LKV_POSIX_HEADS]; at != NULL; at = at->next) {
        if (at->number == number) {
            posix->last = at;
            return at;
        }
    }
    return NULL;
}

static void unmap(lkv_posix *posix, lkv_posix_object *object)
{
    if (object->map != NULL) {
        posix->os->shared->unmap(posix->os->ctx, object->map, object->mapped);
        object->map = NULL;
        object->mapped = 0;
    }
}

void lkv_posix_close_file(lkv_posix *posix, lkv_posix_object *object)
{
    if (object->file >= 0) {
        (void)posix->os->files->close(posix->os->ctx, object->file);
        object->file = -1;
        object->writable = 0;
    }
}

void lkv_posix_drop(lkv_posix *posix, lkv_posix_object *object)
{
    lkv_posix_object **link = &posix->heads[object->number % LKV_POSIX_HEADS];
    while (*link != object) {
        link = &(*link)->next;
    }
    *link = object->next;
    if (posix->last == object) {
        posix->last = NULL;
    }
    unmap(posix, object);
    lkv_posix_close_file(posix, object);
    lkv_os_free(posix->os, object->seen);
    lkv_os_free(posix->os, object);
}

void lkv_posix_drop_all(lkv_posix *posix)
{
    for (size_t i = 0; i < LKV_POSIX_HEADS; i++) {
        while (posix->heads[i] != NULL) {
            lkv_posix_drop(posix, posix->heads[i]);
        }
    }
}

lkv_posix_object *lkv_posix_add(lkv_posix *posix, uint32_t number, int file)
{
    lkv_posix_object *object = lkv_os_alloc(posix->os, sizeof(*object));
    if (object != NULL) {
        memset(object, 0, sizeof(*object));
        object->number = number;
        object->file = file;
        object->next = posix->heads[number % LKV_POSIX_HEADS];
        posix->heads[number % LKV_POSIX_HEADS] = object;
        posix->last = object;
    }
    return object;
}

/* What `object` is called in a message. */
int lkv_posix_object_failed(lkv_posix *posix, lkv_error *err, int rc, const char *what,
                            uint32_t number)
{
    const char *name = lkv_posix_object_name(posix, number);
    return lkv_posix_failed(posix, err, rc, what, name + posix->path_size + 1);
}

/* Closes the files that can be opened again: those of objects that are mapped, and all
 * while this handle is the writer, for nobody else removes them then. */
static void close_files(lkv_posix *posix)
{
    for (size_t i = 0; i < LKV_POSIX_HEADS; i++) {
        for (lkv_posix_object *at = posix->heads[i]; at != NULL; at = at->next) {
            if (posix->locked || (posix->mapped && at->mapped >= at->size)) {
                lkv_posix_close_file(posix, at);
            }
        }
    }
}

int lkv_posix_open_file(lkv_posix *posix, const char *name, enum lkv_os_use use,
                        int *file)
{
    const lkv_os *os = posix->os;
    int rc = posix->page == NULL ? 0 : lkv_posix_same(posix);
    if (rc != 0) {
        return rc;
    }
    rc = os->shared->open(os->ctx, name, posix->shared_memory, use, posix->mode, file);
    if (rc == EMFILE || rc == ENFILE) {
        close_files(posix);
        rc = os->shared->open(os->ctx, name, posix->shared_memory, use, posix->mode,
                              file);
    }
    return rc;
}

int lkv_posix_sync_directory(lkv_posix *posix, int parent)
{
    const lkv_os *os = posix->os;
    int file = -1, rc = EMFILE;
    for (int tries = 0; tries < 2 && (rc == EMFILE || rc == ENFILE); tries++) {
        if (tries > 0) {
            close_files(posix);
        }
        rc = os->files->open(os->ctx, parent ? lkv_posix_parent(posix) : posix->path,
                             LKV_OS_DIRECTORY, &file);
    }
    if (rc == 0) {
        rc = os->files->sync(os->ctx, file);
        (void)os->files->close(os->ctx, file);
    }
    return rc;
}

int lkv_posix_open_object(lkv_posix *posix, uint32_t number, enum lkv_os_use use,
                          int *file)
{
    return lkv_posix_open_file(posix, lkv_posix_object_name(posix, number), use, file);
}

int lkv_posix_open_to_read(lkv_posix *posix, lkv_posix_object *object)
{
    int rc = 0;
    if (object->file < 0) {
        rc = lkv_posix_open_object(posix, object->number, LKV_OS_LOOK, &object->file);
        object->file = rc == 0 ? object->file : -1;
    }
    return rc;
}

/* The object, opened to read when it is not known; `*out` is NULL when there is none.
 */
int lkv_posix_find_or_open(lkv_posix *posix, uint32_t number, lkv_posix_object **out,
                           lkv_error *err)
{
    uint64_t size = 0;
    int file, rc;

    *out = lkv_posix_find(posix, number);
    if (*out != NULL) {
        return LKV_OK;
    }
    rc = lkv_posix_open_object(posix, number, LKV_OS_LOOK, &file);
    if (rc == ENOENT) {
        return LKV_OK;
    }
    if (rc == 0) {
        rc = posix->os->files->size(posix->os->ctx, file, &size);
        if (rc != 0) {
            (void)posix->os->files->close(posix->os->ctx, file);
        }
    }
    if (rc != 0) {
        return lkv_posix_object_failed(posix, err, rc, "open", number);
    }
    *out = lkv_posix_add(posix, number, file);
    if (*out == NULL) {
        (void)posix->os->files->close(posix->os->ctx, file);
        return LKV_NOMEM;
    }
    (*out)->size = (*out)->allocated = size;
    return LKV_OK;
}

/* The file may have more bytes by now: another process writes to it. */
static int look_again(lkv_posix *posix, lkv_posix_object *object, lkv_error *err)
{
    uint64_t size;
    int rc = lkv_posix_open_to_read(posix, object);
    if (rc == ENOENT) { /* removed: it does not grow any more */
        return LKV_OK;
    }
    if (rc == 0) {
        rc = posix->os->files->size(posix->os->ctx, object->file, &size);
    }
    if (rc != 0) {
        return lkv_posix_object_failed(posix, err, rc, "read", object->number);
    }
    object->size = object->allocated = size;
    return LKV_OK;
}

/* --- reading -------------------------------------------------------------------- */

/* A map that reaches to the end of the file, and of a segment beyond it, so that it
 * need not be made anew while the segment grows. */
int lkv_posix_map(lkv_posix *posix, lkv_posix_object *object, lkv_error *err)
{
    size_t size = (size_t)object->allocated;
    void *map;
    int rc = lkv_posix_open_to_read(posix, object);

    if (lkv_posix_is_segment(object) && size < posix->base.segment) {
        size = posix->base.segment;
    }
    if (rc == 0) {
        rc = posix->os->shared->map(posix->os->ctx, object->file, size, 0, &map);
    }
    if (rc != 0) {
        return lkv_posix_object_failed(posix, err, rc, "map", object->number);
    }
    unmap(posix, object);
    object->map = map;
    object->mapped = size;
    if (!object->writable) {
        lkv_posix_close_file(posix, object);
    }
    return LKV_OK;
}

/* Notes that block `offset` of a run is read; whether it is for the first time. */
static int is_fresh(lkv_posix *posix, lkv_posix_object *object, uint64_t offset)
{
    uint64_t bit = offset / posix->base.block;
    if (!lkv_posix_is_run(object)) {
        return 1;
    }
    if (bit / 8 >= object->seen_size) {
        size_t want = (size_t)(object->allocated / posix->base.block / 8) + 1;
        uint8_t *moved =
            want <= bit / 8 ? NULL : lkv_os_resize(posix->os, object->seen, want);
        if (moved == NULL) {
            return 1; /* looked at once more */
        }
        memset(moved + object->seen_size, 0, want - object->seen_size);
        object->seen = moved;
        object->seen_size = want;
    }
    if ((object->seen[bit / 8] >> bit % 8 & 1) != 0) {
        return 0;
    }
    object->seen[bit / 8] = (uint8_t)(object->seen[bit / 8] | 1u << bit % 8);
    return 1;
}

static void forget_seen(lkv_posix *posix, lkv_posix_object *object, uint64_t offset)
{
    uint64_t bit = offset / posix->base.block;
    if (bit / 8 < object->seen_size) {
        object->seen[bit / 8] &= (uint8_t)((1u << bit % 8) - 1);
        memset(object->seen + bit / 8 + 1, 0,
               object->seen_size - (size_t)(bit / 8) - 1);
    }
}

/* Reads up to `size` bytes into scratch. */
static int copy_out(lkv_posix *posix, lkv_posix_object *object, uint64_t offset,
                    size_t size, lkv_bytes *view, lkv_error *err)
{
    size_t got = 0;
    int rc;
    if (size > posix->scratch_size) {
        uint8_t *moved = lkv_os_resize(posix->os, posix->scratch, size);
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        posix->scratch = moved;
        posix->scratch_size = size;
    }
    rc = lkv_posix_open_to_read(posix, object);
    if (rc == 0) {
        rc = posix->os->files->read(posix->os->ctx, object->file, offset,
                                    posix->scratch, size, &got);
    }
    if (rc != 0) {
        return lkv_posix_object_failed(posix, err, rc, "read", object->number);
    }
    *view = (lkv_bytes){posix->scratch, got};
    return LKV_OK;
}

/* Without maps: a block by way of the cache, or what is longer by itself. */
static int read_copy(lkv_posix *posix, lkv_posix_object *object, uint64_t offset,
                     size_t want, lkv_bytes *view, lkv_error *err)
{
    uint32_t block = posix->base.block;
    uint64_t start = offset - offset % block;
    size_t skip = (size_t)(offset - start);
    uint64_t left = object->size - offset;
    int rc = LKV_OK;

    posix->base.fresh = 1;
    want = want > left ? (size_t)left : want;
    if (skip + want > block || start + block > object->stable) {
        size_t size = want < block ? block : want;
        return copy_out(posix, object, offset, size > left ? (size_t)left : size, view,
                        err);
    }
    *view =
        lkv_cache_find(posix->cache, lkv_posix_block_id(posix, object->number, offset),
                       &posix->base.hint);
    if (view->data != NULL) {
        posix->base.fresh = 0;
    } else {
        rc = copy_out(posix, object, start, block, view, err);
        if (rc == LKV_OK && view->size == block) {
            rc = lkv_cache_put(posix->cache,
                               lkv_posix_block_id(posix, object->number, offset), *view,
                               view);
        }
    }
    if (rc == LKV_OK) {
        skip = skip > view->size ? view->size : skip;
        *view = (lkv_bytes){(const uint8_t *)view->data + skip, view->size - skip};
    }
    return rc;
}

int lkv_posix_read(lkv_storage *storage, uint32_t number, uint64_t offset, size_t want,
                   lkv_bytes *view, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_posix_object *object;
    int rc = lkv_posix_find_or_open(posix, number, &object, err);

    *view = (lkv_bytes){NULL, 0};
    if (rc != LKV_OK || object == NULL) {
        return rc;
    }
    if (lkv_posix_is_segment(object) && !object->touched &&
        (offset > object->size || want > object->size - offset)) {
        rc = look_again(posix, object, err);
    }
    if (rc != LKV_OK || offset >= object->size) {
        return rc;
    }
    if (!posix->mapped) {
        return read_copy(posix, object, offset, want, view, err);
    }
    if (object->size > object->mapped) {
        rc = lkv_posix_map(posix, object, err);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    storage->fresh = is_fresh(posix, object, offset);
    *view = (lkv_bytes){object->map + offset, (size_t)(object->size - offset)};
    return LKV_OK;
}

void lkv_posix_forget(lkv_storage *storage, uint32_t number, uint64_t offset)
{
    lkv_posix *posix = lkv_posix_of(storage);
    if (number == 0) {
        for (size_t i = 0; i < LKV_POSIX_HEADS; i++) {
            for (lkv_posix_object *at = posix->heads[i]; at != NULL; at = at->next) {
                forget_seen(posix, at, 0);
            }
        }
        lkv_cache_drop(posix->cache, 0, UINT64_MAX);
    } else {
        lkv_posix_object *object = lkv_posix_find(posix, number);
        uint64_t last = (uint64_t)number << 32 | UINT32_MAX;
        if (object != NULL) {
            forget_seen(posix, object, offset);
            if (offset >= object->stable) {
                return; /* what is not stable is not in the cache */
            }
            last = lkv_posix_block_id(posix, number, object->stable);
        }
        lkv_cache_drop(posix->cache, lkv_posix_block_id(posix, number, offset), last);
    }
}

/* --- all of them ---------------------------------------------------------------- */

typedef struct listing {
    int (*each)(void *arg, uint32_t object);
    void *arg;
    int rc;
} listing;

static int see_name(void *arg, const char *name)
{
    listing *of = arg;
    uint32_t number = lkv_posix_number(name);
    if (number == 0) {
        return 0;
    }
    of->rc = of->each(of->arg, number);
    return of->rc == 0 ? 0 : ECANCELED;
}

int lkv_posix_list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                   void *arg, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    listing of = {each, arg, 0};
    int rc = lkv_posix_same(posix);
    if (rc == 0) {
        rc = lkv_posix_each(posix, see_name, &of);
    }
    if (of.rc != 0) {
        return of.rc;
    }
    return rc == 0 ? LKV_OK : lkv_posix_failed(posix, err, rc, "list", "");
}

static int wrong_file(lkv_posix *posix, uint32_t number, int rc, const char *why,
                      lkv_error *err)
{
    char text[80];
    snprintf(text, sizeof(text), "file %08x %s", (unsigned)number, why);
    return lkv_posix_error(posix, err, rc, text);
}

static int missing(lkv_posix *posix, uint32_t number, lkv_error *err)
{
    return wrong_file(posix, number, LKV_MOVED, "is missing, which the root names",
                      err);
}

static int hold_one(lkv_posix *posix, const lkv_held *held, lkv_error *err)
{
    lkv_posix_object *object = lkv_posix_find(posix, held->number);
    int rc, grows;

    if (object != NULL && object->round == 0) {
        /* Made here, and perhaps never committed: then others may have made another. */
        lkv_posix_drop(posix, object);
    }
    rc = lkv_posix_find_or_open(posix, held->number, &object, err);
    if (rc == LKV_OK && object == NULL) {
        return missing(posix, held->number, err);
    }
    grows = rc == LKV_OK && posix->mapped && object->mapped < object->size;
    if (rc == LKV_OK && (object->size < held->size || (grows && object->file < 0))) {
        rc = look_again(posix, object, err);
        if (rc == LKV_OK && object->file < 0) { /* what is mapped lacks the end */
            return missing(posix, held->number, err);
        }
    }
    if (rc == LKV_OK && object->size < held->size) {
        return wrong_file(posix, held->number, LKV_CORRUPT,
                          "is shorter than the root says", err);
    }
    if (rc == LKV_OK && !lkv_posix_is_run(object) &&
        object->size > LKV_SEGMENT_MAX + (uint64_t)LONGER) { /* all is looked at */
        return wrong_file(posix, held->number, LKV_CORRUPT,
                          "is longer than a segment can be", err);
    }
    if (rc == LKV_OK && posix->mapped && object->mapped < object->size) {
        rc = lkv_posix_map(posix, object, err);
    }
    if (rc == LKV_OK) {
        if (posix->mapped && object->number != posix->end.segment) {
            lkv_posix_close_file(posix, object);
        }
        object->round = posix->round;
        if (held->size < object->stable) {
            lkv_posix_forget(&posix->base, held->number, held->size);
        }
        object->stable = held->size;
    }
    return rc;
}

int lkv_posix_hold(lkv_storage *storage, const lkv_held *objects, size_t count,
                   lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    posix->round++;
    posix->held = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = hold_one(posix, &objects[i], err);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    for (size_t i = 0; i < LKV_POSIX_HEADS; i++) {
        lkv_posix_object *next;
        for (lkv_posix_object *at = posix->heads[i]; at != NULL; at = next) {
            next = at->next;
            if (at->round != posix->round) {
                lkv_posix_drop(posix, at);
            }
        }
    }
    posix->held = 1;
    return LKV_OK;
}
