/*
 * posix_end.c - the end of a store in files: published in a page that all map, and kept
 * with each root.
 *
 * A commit goes so. Its bytes are written, its record last; with sync=full they are
 * synced; when the root changes, the new one goes into the free slot, and if it is to
 * be durable, after a sync of all that it names, and is synced (posix_root.c). Then the
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

#define UNFINISHED "there is no store yet: it was not finished; create the table again"
#define SPINS 10000 /* reads of the page while it is being written */

static int same_bytes(const lkv_end *a, const lkv_end *b)
{
    return a->generation == b->generation && a->revision == b->revision &&
           a->chain == b->chain && a->segment == b->segment && a->offset == b->offset &&
           memcmp(a->store_id, b->store_id, LKV_ID_SIZE) == 0;
}

/* --- the page ------------------------------------------------------------------- */

static int is_of_this_run(const lkv_posix *posix)
{
    return memcmp(posix->page->boot, posix->boot, sizeof(posix->boot)) == 0;
}

/* Who may write has looked at `boot` when it opened the store. */
static int read_page(lkv_posix *posix, lkv_end *end)
{
    uint64_t words[LKV_END_SIZE / 8], sequence = 1;
    lkv_end read;
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
            break;
        }
        sequence = 1;
    }
    if ((sequence & 1) != 0 ||
        lkv_end_decode((const uint8_t *)words, &read) != LKV_OK ||
        (posix->read_only && !is_of_this_run(posix))) {
        return LKV_CORRUPT;
    }
    posix->sequence = sequence;
    *end = read;
    return LKV_OK;
}

/* What the page names, whether it is to be believed or not. */
static int decode_page(const lkv_posix *posix, lkv_end *end)
{
    uint64_t words[LKV_END_SIZE / 8];
    for (size_t i = 0; i < LKV_END_SIZE / 8; i++) {
        words[i] = atomic_load(&posix->page->end[i]);
    }
    return lkv_end_decode((const uint8_t *)words, end);
}

int lkv_posix_has_commits(const lkv_posix *posix)
{
    lkv_end end;
    return decode_page(posix, &end) == LKV_OK && end.revision > 0;
}

/* Who only reads leaves the page with the old `boot`: the next writer has to clean up.
 */
static void write_page(lkv_posix *posix, const lkv_end *end, int writer)
{
    uint64_t words[LKV_END_SIZE / 8];
    uint64_t sequence = atomic_load(&posix->page->sequence) | 1;

    lkv_end_encode((uint8_t *)words, end);
    atomic_store(&posix->page->sequence, sequence);
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < LKV_END_SIZE / 8; i++) {
        atomic_store_explicit(&posix->page->end[i], words[i], memory_order_relaxed);
    }
    if (writer && !is_of_this_run(posix)) { /* others may be reading it */
        memcpy(posix->page->boot, posix->boot, sizeof(posix->boot));
    }
    posix->sequence = sequence + 1;
    atomic_store(&posix->page->sequence, sequence + 1);
}

void lkv_posix_writes(lkv_posix *posix)
{
    if (posix->cleaned || atomic_load(&posix->page->writing) == 0) {
        atomic_store(&posix->page->writing, posix->broken ? 2 : 1);
    }
}

void lkv_posix_break(lkv_posix *posix)
{
    posix->broken = 1;
    atomic_store(&posix->page->writing, 2);
}

/* Kept until its end is published. */
int lkv_posix_write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                         lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    uint8_t *copy =
        lkv_os_resize(posix->os, posix->new_root, LKV_POSIX_SLOT_HEADER + root.size);
    (void)generation;
    (void)err;
    if (copy == NULL) {
        return LKV_NOMEM;
    }
    memcpy(copy + LKV_POSIX_SLOT_HEADER, root.data, root.size);
    posix->new_root = copy;
    posix->new_root_size = root.size;
    return LKV_OK;
}

/* --- reading the end ------------------------------------------------------------ */

/* Waits for the lock of a writer, or until another has made out the end, which is then
 * taken, and the lock not (LKV_ABSENT): a writer does that first, and may keep the lock
 * for long. */
static int lock_to_settle(lkv_posix *posix, lkv_error *err)
{
    int rc = LKV_BUSY;
    for (unsigned waited = 0; waited < LKV_POSIX_PATIENCE; waited++) {
        rc = lkv_posix_wait(posix, LKV_POSIX_WRITER, LKV_OS_EXCLUDE, 0, err);
        if (rc != LKV_BUSY) {
            posix->locked = posix->settling = rc == LKV_OK;
            return rc;
        }
        if (read_page(posix, &posix->end) == LKV_OK) {
            return LKV_ABSENT;
        }
        posix->os->shared->sleep_ms(posix->os->ctx, 1);
    }
    return rc;
}

int lkv_posix_read_end(lkv_storage *storage, lkv_end *end, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int rc = lkv_posix_ready(posix, err);

    if (rc != LKV_OK) {
        return rc;
    }
    lkv_os_rest(posix->os, &posix->scratch, &posix->scratch_size);
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
        rc = lock_to_settle(posix, err);
        if (rc < 0) {
            return rc;
        }
        if (rc == LKV_ABSENT || read_page(posix, &posix->end) == LKV_OK) {
            *end = posix->end; /* another was faster */
            return rc == LKV_ABSENT ? LKV_OK : lkv_posix_settle(storage, NULL, 0, err);
        }
    }
    posix->restarted = !is_of_this_run(posix);
    rc = lkv_posix_load_root(posix, 0, end, err);
    if (rc != LKV_OK) {
        (void)lkv_posix_settle(storage, NULL, 0, NULL);
        return rc == LKV_ABSENT ? lkv_posix_error(posix, err, LKV_CANTOPEN, UNFINISHED)
               : rc == LKV_MOVED
                   ? lkv_posix_error(posix, err, LKV_CORRUPT, "no root is right")
                   : rc;
    }
    posix->end = *end;
    return LKV_UNSURE;
}

int lkv_posix_published(const lkv_posix *posix, const lkv_end *like, lkv_end *last)
{
    return is_of_this_run(posix) && decode_page(posix, last) == LKV_OK &&
           memcmp(last->store_id, like->store_id, LKV_ID_SIZE) == 0;
}

/* A root is written before it is published, and while the machine runs it stays. So one
 * that the page names and nobody finds is missing or damaged; and when the commits that
 * follow the one before it do not come as far, the rest is in segments that only it
 * lists. F42 */
static int lost_root(const lkv_posix *posix, const lkv_end *end)
{
    lkv_end last;
    return lkv_posix_published(posix, end, &last) &&
           last.generation > end->generation && last.revision > end->revision;
}

/* Who only reads holds no lock: a segment behind the end may be a writer's, whose root
 * is still to come. */
static int has_newest_root(lkv_posix *posix, const lkv_end *end, lkv_error *err)
{
    if (lost_root(posix, end)) {
        return lkv_posix_error(posix, err, LKV_CORRUPT, LKV_POSIX_ROOT_LOST);
    }
    return posix->read_only ? LKV_OK : lkv_posix_look_beyond(posix, end, err);
}

int lkv_posix_root_lost(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    if (posix->read_only && read_page(posix, &posix->end) == LKV_OK) {
        return LKV_OK; /* a writer has come since, and may have written it */
    }
    return posix->wrong ? lkv_posix_error(posix, err, LKV_CORRUPT, LKV_POSIX_ROOT_LOST)
                        : has_newest_root(posix, end, err);
}

/* A writer's: what is torn must complete nothing later, and what a writer that was
 * killed has left to be synced, or taken back, is what others stand on. */
static int clean_up(lkv_posix *posix, const lkv_end *end, lkv_error *err)
{
    uint64_t writing = atomic_load(&posix->page->writing);
    int rc = LKV_OK;

    posix->again = writing > 1; /* after a restart too: it may be of this run */
    if (posix->again) {
        rc =
            lkv_posix_sync_root(posix, (lkv_bytes){posix->root, posix->root_size}, err);
    }
    if (rc == LKV_OK && writing != 0 && (posix->again || !posix->restarted)) {
        rc = lkv_posix_sync_roots(posix, err);
    }
    posix->again = 0;
    if (rc == LKV_OK) {
        rc = lkv_posix_clean(posix, end->segment, end->offset, err);
    }
    if (rc == LKV_OK && posix->restarted) {
        rc = lkv_posix_blot_others(posix, err);
        posix->restarted = 0;
    }
    posix->strays = 1;
    posix->cleaned = rc == LKV_OK;
    return rc;
}

int lkv_posix_settle(lkv_storage *storage, const lkv_end *end, uint64_t torn,
                     lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int rc = LKV_OK;

    /* Who only reads holds no lock: a writer may have come, made out the end, and
     * published others since. */
    if (end != NULL && posix->read_only && read_page(posix, &posix->end) == LKV_OK) {
        return LKV_MOVED;
    }
    if (end != NULL) {
        rc = has_newest_root(posix, end, err);
    }
    end = rc == LKV_OK ? end : NULL;
    if (end != NULL && posix->read_only) {
        posix->end = *end;
        posix->torn = torn;
        posix->sequence = atomic_load(&posix->page->sequence);
        return LKV_OK;
    }
    if (end != NULL) {
        posix->torn = torn;
        if (!posix->settling) {
            rc = clean_up(posix, end, err);
        } else if (posix->restarted ||
                   (torn > 0 && atomic_load(&posix->page->writing) == 0)) {
            atomic_store(&posix->page->writing, 1); /* the next writer's to clean */
        }
        if (rc == LKV_OK) {
            posix->end = *end;
            write_page(posix, end, !posix->settling);
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

/* What is written to files that have no name any more is lost with the last who has
 * them open. It is looked at once in a millisecond: small commits would notice. */
static int still_named(lkv_posix *posix, lkv_error *err)
{
    int64_t now = posix->os->now_ms(posix->os->ctx);
    int rc;
    if (posix->seen_named == now) {
        return LKV_OK;
    }
    rc = lkv_posix_same(posix);
    if (rc == 0) {
        posix->seen_named = now;
        return LKV_OK;
    }
    (void)posix->os->shared->lock(posix->os->ctx, posix->lock_file, LKV_POSIX_WRITER,
                                  LKV_OS_UNLOCK);
    return rc == ESTALE ? lkv_posix_error(posix, err, LKV_READONLY, LKV_POSIX_GONE)
                        : lkv_posix_failed(posix, err, rc, "find", "lock");
}

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
    if (posix->broken) {
        return lkv_posix_error(posix, err, LKV_IO, LKV_POSIX_SHUT);
    }
    rc = lkv_posix_wait(posix, LKV_POSIX_WRITER, LKV_OS_EXCLUDE, wait_ms, err);
    if (rc == LKV_OK) {
        rc = still_named(posix, err);
    }
    if (rc == LKV_OK) {
        posix->locked = 1;
        posix->copied = 0;
        /* A writer died, or left a torn tail: the log tells what stands. */
        posix->cleaned = atomic_load(&posix->page->writing) == 0;
        if (!posix->cleaned) {
            lkv_posix_distrust(posix);
        }
    }
    return rc;
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
    *at =
        (lkv_posix_prepared){.end = *end,
                             .root = posix->new_root,
                             .root_size = posix->new_root_size,
                             .durable = posix->new_root != NULL && posix->base.durable};
    posix->new_root = NULL;
    posix->new_root_size = 0;
    return LKV_OK;
}

int lkv_posix_publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int has_root = posix->new_root != NULL;
    int syncs = storage->sync == LKV_SYNC_FULL || (has_root && storage->durable);
    int rc = lkv_posix_ours(posix) ? note_prepared(posix, end)
                                   : lkv_posix_forked(posix, err);

    if (rc == LKV_OK && syncs) {
        const lkv_posix_prepared *last = &posix->prepared[posix->prepared_count - 1];
        rc = last->durable
                 ? lkv_posix_sync_root(
                       posix,
                       (lkv_bytes){last->root + LKV_POSIX_SLOT_HEADER, last->root_size},
                       err)
                 : lkv_posix_sync_all(posix, err);
        if (rc != LKV_OK) {
            lkv_posix_break(posix);
        }
    }
    if (rc == LKV_OK && has_root) {
        rc =
            lkv_posix_put_root(posix, &posix->prepared[posix->prepared_count - 1], err);
    }
    storage->synced = syncs;
    if (rc != LKV_OK) {
        if (rc != LKV_MISUSE && posix->prepared_count > 0 &&
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
    int took_durable = 0;

    if (!posix->locked || !lkv_posix_ours(posix)) {
        return;
    }
    if (end->generation != 0) { /* 0: the handle could not read the store */
        for (size_t i = 0; i < posix->prepared_count; i++) {
            keep = same_bytes(&posix->prepared[i].end, end) ? i + 1 : keep;
        }
        if (keep < posix->prepared_count) {
            lkv_posix_undo(posix, keep);
        }
        if (keep > 0) {
            posix->end = *end;
            write_page(posix, end, 1);
        }
        /* Only now: a reader that finds a file gone looks for a newer end. */
        took_durable = lkv_posix_took_root(posix, keep);
        if (posix->cleaned && !posix->broken) {
            atomic_store(&posix->page->writing, 0);
        }
    }
    lkv_posix_free_prepared(posix, 0);
    /* No durable root may name them any more, and this handle knows what the newest
     * does: it has not only asked for the lock, and found no fault in what it read. */
    if (end->generation != 0 && posix->held && posix->strays && !posix->broken &&
        (took_durable || !lkv_posix_may_come_back(posix))) {
        lkv_posix_remove_strays(posix);
        posix->strays = 0;
    }
    lkv_posix_rest(posix);
    posix->locked = 0;
    (void)posix->os->shared->lock(posix->os->ctx, posix->lock_file, LKV_POSIX_WRITER,
                                  LKV_OS_UNLOCK);
}
