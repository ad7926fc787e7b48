/*
 * posix_end.c - the end of a store in files: published in a page that all map, and kept
 * with each root.
 *
 * A commit goes so. Its bytes are written, its record last; what must survive a power
 * cut is synced; when the root changes, the new one goes into the slot that the
 * published one is not in, after a sync of all that it names, and is synced. Then the
 * commit is prepared. unlock() publishes it in the page, or takes it back: the root's
 * slot and the commit record are blotted out, so that nobody who looks for the end in
 * the log finds them.
 *
 * The page is believed only while others have the store open, and in the run of the
 * machine that wrote it: who opens it first looks for the end in the log.
 */
#include "posix.h"

#include <errno.h>
#include <string.h>

#define SPINS 10000 /* reads of the page while it is being written */

static int same_bytes(const lkv_end *a, const lkv_end *b)
{
    return a->generation == b->generation && a->revision == b->revision &&
           a->chain == b->chain && a->segment == b->segment && a->offset == b->offset &&
           memcmp(a->store_id, b->store_id, LKV_ID_SIZE) == 0;
}

/* --- the page ------------------------------------------------------------------- */

static int read_page(lkv_posix *posix, lkv_end *end)
{
    uint64_t words[LKV_END_SIZE / 8], sequence;
    for (int spins = 0; spins < SPINS; spins++) {
        sequence = atomic_load(&posix->page->sequence);
        if ((sequence & 1) != 0) {
            continue;
        }
        for (size_t i = 0; i < LKV_END_SIZE / 8; i++) {
            words[i] = atomic_load_explicit(&posix->page->end[i], memory_order_relaxed);
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&posix->page->sequence) == sequence) {
            posix->sequence = sequence;
            return lkv_end_decode((const uint8_t *)words, end);
        }
    }
    return LKV_CORRUPT;
}

static void write_page(lkv_posix *posix, const lkv_end *end)
{
    uint64_t words[LKV_END_SIZE / 8];
    uint64_t sequence = atomic_load(&posix->page->sequence) | 1;

    lkv_end_encode((uint8_t *)words, end);
    atomic_store(&posix->page->sequence, sequence);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < LKV_END_SIZE / 8; i++) {
        atomic_store_explicit(&posix->page->end[i], words[i], memory_order_relaxed);
    }
    memcpy(posix->page->boot, posix->boot, sizeof(posix->boot));
    posix->sequence = sequence + 1;
    atomic_store(&posix->page->sequence, sequence + 1);
}

/* --- roots ---------------------------------------------------------------------- */

static const char *slot_name(int slot)
{
    return slot == 0 ? "root0" : "root1";
}

/* Reads a slot. LKV_ABSENT: there is nothing right in it. `*bytes` is the caller's to
 * free. */
static int read_slot(lkv_posix *posix, int slot, lkv_end *end, uint8_t **bytes,
                     size_t *size, lkv_error *err)
{
    const lkv_os *os = posix->os;
    uint8_t *all = NULL;
    uint64_t length = 0;
    size_t got = 0, have;
    const char *why;
    lkv_root root;
    int file;
    int rc = os->shared->open(os->ctx, lkv_posix_name(posix, slot_name(slot)),
                              posix->shared_memory, LKV_OS_LOOK, posix->mode, &file);

    *bytes = NULL;
    if (rc == ENOENT) {
        return LKV_ABSENT;
    }
    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "open", slot_name(slot));
    }
    rc = os->files->size(os->ctx, file, &length);
    if (rc == 0 && length > LKV_POSIX_SLOT_HEADER && length < 1u << 30) {
        all = lkv_os_alloc(os, (size_t)length);
        rc = all == NULL ? ENOMEM
                         : os->files->read(os->ctx, file, 0, all, (size_t)length, &got);
    }
    (void)os->files->close(os->ctx, file);
    if (rc != 0) {
        lkv_os_free(os, all);
        return lkv_posix_failed(posix, err, rc, "read", slot_name(slot));
    }
    have = got < LKV_POSIX_SLOT_HEADER ? 0 : lkv_format_get_u32(all);
    if (have == 0 || have > got - LKV_POSIX_SLOT_HEADER ||
        lkv_end_decode(all + 8, end) != LKV_OK ||
        lkv_format_parse_root((lkv_bytes){all + LKV_POSIX_SLOT_HEADER, have}, &root,
                              &why) != LKV_OK ||
        root.generation != end->generation ||
        memcmp(root.store_id, end->store_id, LKV_ID_SIZE) != 0) {
        lkv_os_free(os, all);
        return LKV_ABSENT;
    }
    memmove(all, all + LKV_POSIX_SLOT_HEADER, have);
    *bytes = all;
    *size = have;
    return LKV_OK;
}

static int newer(const lkv_end *a, const lkv_end *b)
{
    return a->generation != b->generation ? a->generation > b->generation
                                          : a->revision > b->revision;
}

/* Takes the root of `generation`, or the newest one when that is 0, and its end.
 * LKV_ABSENT. */
static int load_root(lkv_posix *posix, uint64_t generation, lkv_end *end,
                     lkv_error *err)
{
    int found = -1;
    for (int slot = 0; slot < 2; slot++) {
        uint8_t *bytes;
        size_t size = 0;
        lkv_end of;
        int rc = read_slot(posix, slot, &of, &bytes, &size, err);
        if (rc < 0) {
            return rc;
        }
        if (rc == LKV_OK && (generation == 0 ? found < 0 || newer(&of, end)
                                             : of.generation == generation)) {
            lkv_os_free(posix->os, posix->root);
            posix->root = bytes;
            posix->root_size = size;
            posix->slot = found = slot;
            *end = of;
        } else {
            lkv_os_free(posix->os, bytes);
        }
    }
    return found < 0 ? LKV_ABSENT : LKV_OK;
}

int lkv_posix_read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_end end;
    int rc = load_root(posix, posix->end.generation, &end, err);
    if (rc == LKV_OK) {
        *root = (lkv_bytes){posix->root, posix->root_size};
    }
    return rc == LKV_ABSENT ? LKV_MOVED : rc;
}

static int write_slot(lkv_posix *posix, int slot, const lkv_end *end, lkv_bytes root,
                      lkv_error *err)
{
    const lkv_os *os = posix->os;
    const char *name = lkv_posix_name(posix, slot_name(slot));
    uint8_t *bytes = lkv_os_alloc(os, LKV_POSIX_SLOT_HEADER + root.size);
    int file = -1;
    int rc;

    if (bytes == NULL) {
        return LKV_NOMEM;
    }
    memset(bytes, 0, LKV_POSIX_SLOT_HEADER);
    if (end != NULL) {
        lkv_format_u32(bytes, (uint32_t)root.size);
        lkv_end_encode(bytes + 8, end);
        memcpy(bytes + LKV_POSIX_SLOT_HEADER, root.data, root.size);
    }
    rc = os->shared->open(os->ctx, name, posix->shared_memory, LKV_OS_UPDATE,
                          posix->mode, &file);
    if (rc == ENOENT) {
        rc = os->shared->open(os->ctx, name, posix->shared_memory, LKV_OS_MAKE,
                              posix->mode, &file);
        posix->named = 1;
    }
    if (rc == 0) {
        rc = os->shared->write(os->ctx, file, 0, bytes,
                               LKV_POSIX_SLOT_HEADER + root.size);
    }
    if (rc == 0 && posix->base.sync != LKV_SYNC_OFF && !posix->shared_memory) {
        rc = os->shared->sync(os->ctx, file);
    }
    if (file >= 0) {
        (void)os->files->close(os->ctx, file);
    }
    lkv_os_free(os, bytes);
    return rc == 0 ? LKV_OK
                   : lkv_posix_failed(posix, err, rc, "write", slot_name(slot));
}

/* Kept until its end is published. */
int lkv_posix_write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                         lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    uint8_t *copy = lkv_os_resize(posix->os, posix->new_root, root.size);
    (void)generation;
    (void)err;
    if (copy == NULL) {
        return LKV_NOMEM;
    }
    memcpy(copy, root.data, root.size);
    posix->new_root = copy;
    posix->new_root_size = root.size;
    return LKV_OK;
}

/* --- reading the end ------------------------------------------------------------ */

int lkv_posix_read_end(lkv_storage *storage, lkv_end *end, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int rc = lkv_posix_ready(posix, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (posix->end.generation != 0 &&
        atomic_load_explicit(&posix->page->sequence, memory_order_acquire) ==
            posix->sequence) {
        *end = posix->end;
        return LKV_OK;
    }
    if (read_page(posix, &posix->end) == LKV_OK) {
        *end = posix->end;
        return LKV_OK;
    }
    if (!posix->read_only && !posix->locked) {
        rc = lkv_posix_wait(posix, LKV_POSIX_WRITER, LKV_OS_EXCLUDE, LKV_POSIX_PATIENCE,
                            err);
        if (rc != LKV_OK) {
            return rc;
        }
        posix->locked = posix->settling = 1;
        if (read_page(posix, &posix->end) == LKV_OK) { /* another was faster */
            *end = posix->end;
            return lkv_posix_settle(storage, NULL, 0, err);
        }
    }
    rc = load_root(posix, 0, end, err);
    if (rc != LKV_OK) {
        (void)lkv_posix_settle(storage, NULL, 0, NULL);
        return rc == LKV_ABSENT
                   ? lkv_posix_error(posix, err, LKV_CORRUPT, "neither root is right")
                   : rc;
    }
    posix->end = *end;
    return LKV_UNSURE;
}

int lkv_posix_settle(lkv_storage *storage, const lkv_end *end, uint64_t torn,
                     lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int rc = LKV_OK;

    if (end != NULL && posix->read_only) {
        posix->end = *end;
        posix->torn = torn;
        posix->sequence = atomic_load(&posix->page->sequence);
        return LKV_OK;
    }
    if (end != NULL) {
        posix->torn = torn;
        if (!posix->settling) { /* a writer: what is torn must complete nothing later */
            rc = lkv_posix_clean(posix, end->segment, end->offset, err);
            if (rc == LKV_OK) {
                lkv_posix_remove_strays(posix);
            }
        } else if (torn > 0) {
            atomic_store(&posix->page->writing, 1); /* the next writer's to clean */
        }
        if (rc == LKV_OK) {
            posix->end = *end;
            write_page(posix, end);
        }
    }
    if (posix->settling) {
        posix->locked = posix->settling = 0;
        (void)posix->os->shared->lock(posix->os->ctx, posix->lock_file,
                                      LKV_POSIX_WRITER, LKV_OS_UNLOCK);
    }
    return rc;
}

/* --- writing -------------------------------------------------------------------- */

int lkv_posix_lock(lkv_storage *storage, int64_t wait_ms, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int rc = lkv_posix_ready(posix, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (posix->read_only) {
        return lkv_posix_error(posix, err, LKV_READONLY, "it may not be written");
    }
    rc = lkv_posix_wait(posix, LKV_POSIX_WRITER, LKV_OS_EXCLUDE, wait_ms, err);
    if (rc == LKV_OK) {
        posix->locked = 1;
        /* A writer died, or left a torn tail: the log tells what stands. */
        if (atomic_load(&posix->page->writing) != 0) {
            lkv_posix_distrust(posix);
        }
    }
    return rc;
}

static void free_prepared(lkv_posix *posix, size_t first)
{
    while (posix->prepared_count > first) {
        lkv_os_free(posix->os, posix->prepared[--posix->prepared_count].root);
    }
}

/* The slot that the published root is not in. */
static int other_slot(const lkv_posix *posix)
{
    return posix->slot == 0 ? 1 : 0;
}

static int blot_commit(lkv_posix *posix, const lkv_end *end)
{
    static const uint8_t zeros[LKV_COMMIT_SIZE];
    const lkv_os *os = posix->os;
    const lkv_posix_object *object = lkv_posix_find(posix, end->segment);
    int rc;

    if (object == NULL || end->offset < LKV_SEGMENT_HEADER + LKV_COMMIT_SIZE) {
        return 0; /* its segment is gone */
    }
    if (!object->writable) {
        return EBADF;
    }
    rc = os->shared->write(os->ctx, object->file, end->offset - LKV_COMMIT_SIZE, zeros,
                           sizeof(zeros));
    if (rc == 0 && posix->base.sync != LKV_SYNC_OFF && !posix->shared_memory) {
        rc = os->shared->sync(os->ctx, object->file);
    }
    return rc;
}

/* The slot gets the newest root of the first prepared commits, or none. */
static int blot_root(lkv_posix *posix, size_t first)
{
    const lkv_posix_prepared *keep = NULL;
    lkv_bytes root = {NULL, 0};
    int had = 0;

    for (size_t i = 0; i < posix->prepared_count; i++) {
        if (i < first) {
            keep = posix->prepared[i].root != NULL ? &posix->prepared[i] : keep;
        } else {
            had |= posix->prepared[i].root != NULL;
        }
    }
    if (keep != NULL) {
        root = (lkv_bytes){keep->root, keep->root_size};
    }
    return !had ? LKV_OK
                : write_slot(posix, other_slot(posix), keep == NULL ? NULL : &keep->end,
                             root, NULL);
}

void lkv_posix_undo(lkv_posix *posix, size_t first)
{
    int rc = LKV_IO;
    /* The root first: it must not be found without its commit. What fails is tried
     * again, for there is nobody to tell. */
    for (int tries = 0; tries < 3 && rc != LKV_OK; tries++) {
        rc = blot_root(posix, first);
    }
    /* The later commits follow from the first by their chain. One that is published
     * stays: a root was to vouch for it. */
    if (rc == LKV_OK && first < posix->prepared_count &&
        posix->prepared[first].end.revision > posix->end.revision) {
        rc = LKV_IO;
        for (int tries = 0; tries < 3 && rc != LKV_OK; tries++) {
            rc = blot_commit(posix, &posix->prepared[first].end) == 0 ? LKV_OK : LKV_IO;
        }
    }
    posix->broken |= rc != LKV_OK;
    free_prepared(posix, first);
}

static int note_prepared(lkv_posix *posix, const lkv_end *end)
{
    lkv_posix_prepared *at;
    if (posix->prepared_count == posix->prepared_room) {
        size_t room = posix->prepared_room == 0 ? 4 : posix->prepared_room * 2;
        at = lkv_os_resize(posix->os, posix->prepared, room * sizeof(*at));
        if (at == NULL) {
            return LKV_NOMEM;
        }
        posix->prepared = at;
        posix->prepared_room = room;
    }
    at = &posix->prepared[posix->prepared_count++];
    *at = (lkv_posix_prepared){*end, posix->new_root, posix->new_root_size};
    posix->new_root = NULL;
    posix->new_root_size = 0;
    return LKV_OK;
}

int lkv_posix_publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int has_root = posix->new_root != NULL;
    int syncs = storage->sync == LKV_SYNC_FULL ||
                (storage->sync == LKV_SYNC_NORMAL && has_root);
    int rc = note_prepared(posix, end);

    if (rc == LKV_OK && syncs) {
        rc = lkv_posix_sync_all(posix, err);
        posix->broken |= rc != LKV_OK;
    }
    if (rc == LKV_OK && has_root) {
        const lkv_posix_prepared *last = &posix->prepared[posix->prepared_count - 1];
        rc = write_slot(posix, other_slot(posix), end,
                        (lkv_bytes){last->root, last->root_size}, err);
        if (rc == LKV_OK && syncs && posix->named) { /* its own name */
            rc = lkv_posix_sync_all(posix, err);
            posix->broken |= rc != LKV_OK;
        }
    }
    storage->synced = syncs;
    if (rc != LKV_OK) {
        if (posix->prepared_count > 0 &&
            same_bytes(&posix->prepared[posix->prepared_count - 1].end, end)) {
            lkv_posix_undo(posix, posix->prepared_count - 1);
        }
        lkv_os_free(posix->os, posix->new_root);
        posix->new_root = NULL;
    } else if (posix->making) {
        posix->making = 0;
        lkv_posix_unlock(storage, end);
    }
    return rc;
}

void lkv_posix_unlock(lkv_storage *storage, const lkv_end *end)
{
    lkv_posix *posix = lkv_posix_of(storage);
    size_t keep = 0;

    if (!posix->locked || posix->forks != posix->os->shared->forks(posix->os->ctx)) {
        return;
    }
    if (end->generation != 0) { /* 0: the handle could not read the store */
        for (size_t i = 0; i < posix->prepared_count; i++) {
            keep = same_bytes(&posix->prepared[i].end, end) ? i + 1 : keep;
        }
        if (keep < posix->prepared_count) {
            lkv_posix_undo(posix, keep);
        }
        for (size_t i = 0; i < keep; i++) {
            if (posix->prepared[i].root != NULL) {
                posix->slot = other_slot(posix);
                break;
            }
        }
        if (keep > 0) {
            posix->end = *end;
            write_page(posix, end);
        }
        if (!posix->broken) {
            atomic_store(&posix->page->writing, 0);
        }
    }
    free_prepared(posix, 0);
    if (posix->strays && !posix->broken) {
        lkv_posix_remove_strays(posix);
        posix->strays = 0;
    }
    lkv_posix_rest(posix);
    posix->locked = 0;
    (void)posix->os->shared->lock(posix->os->ctx, posix->lock_file, LKV_POSIX_WRITER,
                                  LKV_OS_UNLOCK);
}
