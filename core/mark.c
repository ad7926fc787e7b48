/*
 * mark.c - going back inside a transaction: marks of the log, and the bytes they need.
 *
 * A mark remembers how far the log went and how much of it storage had. Going back
 * gives the buffer what it held then: the bytes from the mark's `flushed` to its `end`,
 * which storage did not have at that time and, once its owner has undone its writes,
 * does not have now. As long as the buffer still begins at or before them they are only
 * cut. When the buffer lets go of such bytes (a spill, a new segment) a stash keeps one
 * copy of them for all marks.
 */
#include "log.h"

#include <string.h>

void lkv_log_mark_here(const lkv_log *log, lkv_log_mark *mark)
{
    mark->at = log->at;
    mark->segments = log->count;
    mark->first = log->first;
    mark->flushed = log->flushed;
    mark->end = log->end;
    mark->hashed = log->hashed;
    mark->root_changed = log->root_changed;
    mark->covered = log->covered;
    mark->hash = log->hash;
    mark->logical = lkv_log_end(log);
    mark->synced = log->synced;
    mark->runs = log->runs;
    mark->prepared_runs = log->prepared_runs;
    mark->prepared_first = log->prepared_first;
    mark->journal = 0;
    mark->prepared = 0;
    mark->live_keys = mark->live_bytes = 0;
    mark->flushes = 0;
    mark->wrote = 0;
}

int lkv_log_mark_push(lkv_log *log)
{
    lkv_log_mark *mark;
    if (log->mark_count == log->mark_capacity) {
        size_t capacity = log->mark_capacity == 0 ? 4 : log->mark_capacity * 2;
        lkv_log_mark *moved =
            lkv_os_resize(log->os, log->marks, capacity * sizeof(*moved));
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        log->marks = moved;
        log->mark_capacity = capacity;
    }
    mark = &log->marks[log->mark_count++];
    lkv_log_mark_here(log, mark);
    lkv_runs_hold(mark->runs);
    lkv_runs_hold(mark->prepared_runs);
    return LKV_OK;
}

void lkv_log_mark_pop(lkv_log *log, size_t count)
{
    while (count < log->mark_count) {
        log->mark_count--;
        lkv_runs_release(log->os, log->marks[log->mark_count].runs);
        lkv_runs_release(log->os, log->marks[log->mark_count].prepared_runs);
    }
    while (log->stash != NULL && log->stash->first_mark >= log->mark_count) {
        lkv_log_stash *gone = log->stash;
        log->stash = gone->older;
        lkv_os_free(log->os, gone);
    }
}

/* The stash that holds what `mark` needs, or NULL. */
static const lkv_log_stash *find_stash(const lkv_log *log, const lkv_log_mark *mark)
{
    const lkv_log_stash *stash = log->stash;
    while (stash != NULL &&
           (stash->segments != mark->segments || stash->start > mark->flushed ||
            stash->start + stash->size < mark->end)) {
        stash = stash->older;
    }
    return stash;
}

/* Whether `mark` needs bytes that only the buffer has. After a rollback to a mark the
 * buffer and a stash both hold them. */
static int needs_buffer(const lkv_log *log, const lkv_log_mark *mark)
{
    return mark->segments == log->count && mark->end > mark->flushed &&
           mark->flushed >= log->buffer_at && find_stash(log, mark) == NULL;
}

int lkv_log_stash_keep(lkv_log *log)
{
    size_t first = log->mark_count;
    uint32_t start = 0, end = 0;
    lkv_log_stash *stash;

    for (size_t i = log->mark_count; i-- > 0;) {
        const lkv_log_mark *mark = &log->marks[i];
        if (mark->segments != log->count || mark->end < log->buffer_at) {
            break; /* older marks lie further back */
        }
        if (needs_buffer(log, mark)) {
            first = i;
            start = mark->flushed; /* older marks were flushed less far */
            end = mark->end > end ? mark->end : end;
        }
    }
    if (first == log->mark_count) {
        return LKV_OK;
    }
    stash = lkv_os_alloc(log->os, sizeof(*stash) + (end - start));
    if (stash == NULL) {
        return LKV_NOMEM;
    }
    stash->first_mark = first;
    stash->segments = log->count;
    stash->start = start;
    stash->size = end - start;
    memcpy(stash->bytes, log->buffer + (start - log->buffer_at), stash->size);
    stash->older = log->stash;
    log->stash = stash;
    return LKV_OK;
}

/* The buffer gets back what it held above `mark->flushed`. It was large enough to hold
 * it once and does not shrink inside a transaction. */
static void refill(lkv_log *log, const lkv_log_mark *mark)
{
    uint32_t size = mark->end - mark->flushed;
    const lkv_log_stash *stash = size == 0 ? NULL : find_stash(log, mark);
    log->buffer_at = mark->flushed;
    if (stash != NULL) {
        memcpy(log->buffer, stash->bytes + (mark->flushed - stash->start), size);
    }
}

/* Where other bytes will come now, no stash may still speak for them. */
static void cut_stashes(lkv_log *log, const lkv_log_mark *mark)
{
    for (lkv_log_stash *stash = log->stash; stash != NULL; stash = stash->older) {
        if (stash->segments == mark->segments &&
            stash->start + stash->size > mark->end) {
            stash->size = mark->end > stash->start ? mark->end - stash->start : 0;
        }
    }
}

/* What was written of an object since the list was `runs` is forgotten. */
static void rewind_object(lkv_log *log, const lkv_runs *runs, uint32_t number)
{
    lkv_storage *storage = log->storage;
    uint64_t then = lkv_runs_bytes(runs, number, storage->block);
    if (number != 0 && then != lkv_runs_bytes(log->runs, number, storage->block)) {
        storage->ops->rewind(storage, number, then);
    }
}

/* The same of what was made since then and is garbage now. Segments of the log are not
 * touched: their place in it is taken back. */
static void rewind_garbage(lkv_log *log, const lkv_runs *runs, const lkv_gone *gone)
{
    lkv_storage *storage = log->storage;
    uint64_t then = lkv_runs_bytes(runs, gone->number, storage->block);
    int was = gone->number < LKV_PART_FIRST;
    for (uint32_t i = 0; i < runs->gone && !was; i++) {
        was = runs->garbage[i].number == gone->number;
    }
    if (!was && (uint64_t)gone->blocks * storage->block > then) {
        storage->ops->rewind(storage, gone->number, then);
    }
}

void lkv_log_rewind_runs(lkv_log *log, lkv_runs *runs)
{
    lkv_runs *now = log->runs;

    if (now == runs) {
        return;
    }
    for (uint32_t i = 0; i < now->count + now->merges; i++) {
        rewind_object(log, runs, now->run[i].number);
    }
    for (uint32_t i = 0; i < now->parts + now->pass.out; i++) {
        rewind_object(log, runs, now->part[i].index);
        rewind_object(log, runs, now->part[i].number);
    }
    for (uint32_t i = 0; i < now->gone; i++) {
        rewind_garbage(log, runs, &now->garbage[i]);
    }
    log->runs = lkv_runs_hold(runs);
    lkv_log_choose_sync(log);
    log->rewound++;
    lkv_runs_release(log->os, now);
}

void lkv_log_rewind(lkv_log *log, const lkv_log_mark *mark)
{
    lkv_storage *storage = log->storage;
    lkv_runs *prepared = log->prepared_runs;
    int rolled = log->count > mark->segments;

    lkv_log_rewind_runs(log, mark->runs);
    log->prepared_runs = lkv_runs_hold(mark->prepared_runs);
    log->prepared_first = mark->prepared_first;
    lkv_runs_release(log->os, prepared);
    while (log->count > mark->segments) {
        storage->ops->rewind(storage, log->segments[log->count - 1].number, 0);
        log->count--;
    }
    log->segments[log->count - 1].size = 0;
    cut_stashes(log, mark);
    if (rolled || log->buffer_at > mark->flushed) {
        refill(log, mark);
    }
    if (rolled || log->flushed > mark->flushed) {
        storage->ops->rewind(storage, log->segments[log->count - 1].number,
                             mark->flushed);
    }
    log->at = mark->at;
    /* What vouched for more is taken back, or was a root that did not list all of it.
     */
    log->synced = mark->synced;
    log->first = mark->first;
    log->flushed = mark->flushed;
    log->end = mark->end;
    log->hashed = mark->hashed;
    log->root_changed = mark->root_changed;
    log->covered = mark->covered;
    log->hash = mark->hash;
    log->views++;
}
