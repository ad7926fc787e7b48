/*
 * salvage.c - lkv_salvage(): what of a damaged store is proven, and making a whole
 * store of it again.
 *
 * The log is read first (salvagelog.c), into an index in memory. Then the parts are
 * read, which are in the order of the keys, and the index beside them
 * (salvageparts.c): of each key the log's record is the newer one. When that is to be
 * written, it is done a second time, with what it gives going into new parts
 * (content.c).
 */
#include "salvage.h"

#include "verify.h"

#include <stdio.h>
#include <string.h>

int lkv_survey_copy(const lkv_survey *s, lkv_buffer *to, lkv_bytes from)
{
    to->size = 0;
    if (lkv_buffer_reserve(to, s->os, from.size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (from.size > 0) {
        memcpy(to->bytes, from.data, from.size);
    }
    to->size = from.size;
    return LKV_OK;
}

/* What was lost */

static lkv_lost_range *ranges(const lkv_survey *s, size_t *count)
{
    *count = s->lost.size / sizeof(lkv_lost_range);
    return (lkv_lost_range *)(void *)s->lost.bytes;
}

void lkv_survey_object(lkv_survey *s, uint32_t limit)
{
    lkv_futile_clear(s->futile, limit);
    (void)ranges(s, &s->waiting);
    s->has_near = 0;
}

/* A copy of `key` for a range. */
static int keep_key(lkv_survey *s, lkv_bytes key, size_t *at)
{
    if (lkv_buffer_reserve(&s->keys, s->os, key.size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    *at = s->keys.size;
    if (key.size > 0) {
        memcpy(s->keys.bytes + *at, key.data, key.size);
    }
    s->keys.size += key.size;
    return LKV_OK;
}

int lkv_survey_lost(lkv_survey *s, uint32_t object, uint32_t offset, uint32_t bytes)
{
    lkv_lost_range range = {.object = object, .offset = offset, .bytes = bytes};
    lkv_lost_range *at;
    size_t count;

    if (s->quiet || bytes == 0) {
        return LKV_OK;
    }
    at = ranges(s, &count);
    if (count > s->waiting && at[count - 1].object == object &&
        at[count - 1].offset + at[count - 1].bytes == offset) {
        at[count - 1].bytes += bytes;
        return LKV_OK;
    }
    if (s->has_near) {
        lkv_bytes near = {s->near.bytes, s->near.size};
        if (keep_key(s, near, &range.first) != LKV_OK) {
            return LKV_NOMEM;
        }
        range.first_size = near.size;
        range.has_first = 1;
    }
    if (lkv_buffer_reserve(&s->lost, s->os, sizeof(range)) != LKV_OK) {
        return LKV_NOMEM;
    }
    memcpy(s->lost.bytes + s->lost.size, &range, sizeof(range));
    s->lost.size += sizeof(range);
    return LKV_OK;
}

int lkv_survey_key(lkv_survey *s, lkv_bytes key)
{
    lkv_lost_range *at;
    size_t count, where = 0;

    if (s->quiet) {
        return LKV_OK;
    }
    at = ranges(s, &count);
    if (s->waiting < count && keep_key(s, key, &where) != LKV_OK) {
        return LKV_NOMEM;
    }
    for (; s->waiting < count; s->waiting++) {
        at[s->waiting].last = where;
        at[s->waiting].last_size = key.size;
        at[s->waiting].has_last = 1;
    }
    s->has_near = 1;
    return lkv_survey_copy(s, &s->near, key);
}

static int tell_lost(const lkv_survey *s)
{
    size_t count;
    const lkv_lost_range *at = ranges(s, &count);
    int rc = LKV_OK;

    if (s->root_lost) {
        const lkv_lost lost = {.kind = LKV_OBJECT_ROOT};
        rc = s->calls->lost(s->calls->arg, &lost);
    }
    for (size_t i = 0; i < count && rc == LKV_OK; i++, at++) {
        int is_part = at->object >= LKV_PART_FIRST;
        lkv_lost lost = {.kind = is_part ? LKV_OBJECT_PART : LKV_OBJECT_SEGMENT,
                         .number = at->object - (is_part ? LKV_PART_FIRST - 1 : 0),
                         .offset = at->offset,
                         .bytes = at->bytes};
        if (at->has_first) {
            lost.first_key = (lkv_bytes){s->keys.bytes + at->first, at->first_size};
        }
        if (at->has_last) {
            lost.last_key = (lkv_bytes){s->keys.bytes + at->last, at->last_size};
        }
        rc = s->calls->lost(s->calls->arg, &lost);
    }
    return rc;
}

/* The survey as a whole */

/* Without the root nothing is known to be the store's. */
static int without_root(lkv_error *err)
{
    char text[sizeof(err->text)];
    if (err == NULL) {
        return LKV_CORRUPT;
    }
    snprintf(text, sizeof(text),
             "%.150s; without the root nothing is proven to be of the table",
             err->text);
    return lkv_log_error(err, LKV_CORRUPT, text);
}

/* What the handle has read, if it has; a transaction's root may be shown to nobody yet.
 */
static int take_lists(lkv_survey *s)
{
    const lkv_log *log = &s->store->log;
    size_t count = log->count - log->first;

    s->segments = lkv_os_alloc(s->os, count * sizeof(*s->segments));
    if (s->segments == NULL) {
        return LKV_NOMEM;
    }
    memcpy(s->segments, log->segments + log->first, count * sizeof(*s->segments));
    s->count = (uint32_t)count;
    s->runs = lkv_runs_hold(log->runs);
    s->end = log->at;
    s->end_known = 1;
    memcpy(s->id, log->at.store_id, LKV_ID_SIZE);
    return LKV_OK;
}

/* The lists of the storage's root. */
static int read_lists(lkv_survey *s, lkv_root *root, lkv_error *err)
{
    lkv_bytes bytes;
    int rc = lkv_log_read_root(&s->store->log, &bytes, root, err);

    if (rc == LKV_ABSENT || rc == LKV_MOVED) {
        rc = lkv_log_error(err, LKV_CORRUPT, "root: there is none");
    }
    if (rc == LKV_OK) {
        rc = lkv_log_read_lists(s->os, bytes, root, &s->segments, &s->runs, err);
    }
    return rc == LKV_CORRUPT ? without_root(err) : rc;
}

/* The root, and the end if it can be known; that of a root that has its own is at least
 * where the log goes on from. */
static int read_storage(lkv_survey *s, lkv_error *err)
{
    lkv_end end = {0};
    lkv_root root = {.segments = 0};
    int rc = s->storage->ops->read_end(s->storage, &end, err), read = rc;

    if (rc < 0 && rc != LKV_CORRUPT) {
        return rc;
    }
    s->unsure = rc == LKV_UNSURE;
    rc = read_lists(s, &root, err);
    if (rc != LKV_OK) {
        return rc;
    }
    memcpy(s->id, root.store_id, LKV_ID_SIZE);
    s->count = root.segments;
    s->storage->block = root.block;
    s->end.generation = root.generation;
    s->end.segment = s->segments[s->count - 1].number;
    if ((read == LKV_OK || read == LKV_UNSURE) &&
        memcmp(end.store_id, s->id, LKV_ID_SIZE) == 0 &&
        end.generation == root.generation && end.segment == s->end.segment &&
        end.offset >= LKV_SEGMENT_HEADER && end.offset <= LKV_SEGMENT_MAX) {
        s->end_known = read == LKV_OK;
        s->end = end;
    }
    return LKV_OK;
}

static int survey_open(lkv_survey *s, lkv_store *store, const lkv_salvage_calls *calls,
                       lkv_error *err)
{
    const lkv_log *log = &store->log;
    int knows = log->open || (log->known && !store->stale);
    int rc;

    memset(s, 0, sizeof(*s));
    s->store = store;
    s->storage = log->storage;
    s->os = log->os;
    s->calls = calls;
    s->asking = (lkv_asking){calls->go_on, calls->arg, 0};
    store->log.views++;
    rc = lkv_memindex_open(s->os, &s->index);
    s->futile = lkv_os_alloc(s->os, sizeof(*s->futile));
    if (s->futile == NULL) {
        rc = LKV_NOMEM;
    }
    if (rc == LKV_OK) {
        rc = knows ? take_lists(s) : read_storage(s, err);
    }
    if (rc == LKV_OK) {
        s->storage->ops->forget(s->storage, 0, 0);
        rc = lkv_survey_log(s, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_survey_merge(s, NULL, err);
    }
    if (rc == LKV_OK && s->revision > LKV_REVISION_MAX) {
        rc = lkv_log_error(err, LKV_CORRUPT, "a commit has an impossible revision");
    }
    if (s->unsure) { /* nobody else is told of what was found */
        (void)s->storage->ops->settle(s->storage, NULL, 0, NULL);
    }
    return rc;
}

static void survey_free(lkv_survey *s)
{
    lkv_memindex_close(s->index);
    lkv_runs_release(s->os, s->runs);
    lkv_os_free(s->os, s->futile);
    lkv_os_free(s->os, s->segments);
    lkv_os_free(s->os, s->epochs.bytes);
    lkv_os_free(s->os, s->lost.bytes);
    lkv_os_free(s->os, s->keys.bytes);
    lkv_os_free(s->os, s->near.bytes);
    lkv_os_free(s->os, s->key.bytes);
    lkv_os_free(s->os, s->last.bytes);
    lkv_os_free(s->os, s->record.bytes);
}

/* Making a store of it */

/* The log's list gets the segments that the survey has behind it. */
static int list_segments(const lkv_survey *s)
{
    lkv_log *log = &s->store->log;
    lkv_segment *copy = lkv_os_alloc(s->os, s->count * sizeof(*copy));
    if (copy == NULL) {
        return LKV_NOMEM;
    }
    memcpy(copy, s->segments, s->count * sizeof(*copy));
    lkv_os_free(s->os, log->segments);
    log->segments = copy;
    log->count = log->capacity = s->count;
    return LKV_OK;
}

/* What lkv_begin() would do, had the log been read; the storage is locked. Nothing is
 * known of the keys. The first mark is before all that is done. */
static int begin_wreck(lkv_survey *s, lkv_error *err)
{
    lkv_store *store = s->store;
    uint32_t depth;
    int rc = lkv_log_load_root(&store->log, err);

    if (rc == LKV_OK && s->count > store->log.count) {
        rc = list_segments(s);
    }
    if (rc == LKV_OK) {
        uint64_t generation = store->log.at.generation;
        lkv_store_before_change(store);
        store->log.at = s->end;
        store->log.at.generation = generation; /* of the root that is replaced */
        store->log.known = 1;
        store->live_keys = s->end.live_keys;
        store->live_bytes = s->end.live_bytes;
        store->stale = 1; /* a rollback reads all of it, and finds it damaged */
        lkv_store_enter(store);
        rc = lkv_mark(store, &depth);
    }
    return rc;
}

/* What the root does not name is no part of the store, and would be found wrong again.
 */
static int remove_strays(lkv_log *log, lkv_error *err)
{
    lkv_buffer strays = {.size = 0};
    uint64_t rollbacks = log->rollbacks;
    int rc = lkv_verify_strays(log, &strays, err);

    for (size_t at = 0; rc == LKV_OK && at < strays.size && rollbacks == log->rollbacks;
         at += sizeof(uint32_t)) {
        uint32_t number;
        memcpy(&number, strays.bytes + at, sizeof(number));
        rc = log->storage->ops->remove(log->storage, number, 0, err);
    }
    lkv_os_free(log->os, strays.bytes);
    return rc;
}

static int rewrite(lkv_survey *s, lkv_error *err)
{
    lkv_content content;
    int rc = s->store->log.open ? LKV_OK : begin_wreck(s, err);

    if (rc == LKV_OK) {
        rc = remove_strays(&s->store->log, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_content_begin(&content, s->store, s->revision, err);
    }
    if (rc == LKV_OK) {
        s->quiet = 1;
        rc = lkv_content_end(&content, lkv_survey_merge(s, &content, err), err);
    }
    return rc;
}

static int salvage(lkv_store *store, int apply, const lkv_salvage_calls *calls,
                   uint64_t *kept, lkv_error *err)
{
    lkv_survey survey;
    int rc = survey_open(&survey, store, calls, err);

    if (rc == LKV_OK) {
        rc = tell_lost(&survey);
    }
    if (rc == LKV_OK && apply) {
        rc = rewrite(&survey, err);
    }
    *kept = survey.kept;
    survey_free(&survey);
    return rc;
}

/* The storage is locked from here on, until the transaction ends that this begins. */
static int salvage_closed(lkv_store *store, const lkv_salvage_calls *calls,
                          uint64_t *kept, lkv_error *err)
{
    lkv_storage *storage = store->log.storage;
    uint64_t rollbacks = store->log.rollbacks;
    lkv_end none = {0};
    int rc = storage->ops->lock(storage, 0, err);

    if (rc != LKV_OK) {
        return rc;
    }
    rc = salvage(store, 1, calls, kept, err);
    if (rc != LKV_OK && store->log.open) {
        lkv_rollback(store);
    } else if (rc != LKV_OK && rollbacks == store->log.rollbacks) {
        storage->ops->unlock(storage, &none);
    }
    return rc;
}

/* LKV_OK: nothing is wrong with the store, whose transaction is open. LKV_CORRUPT:
 * something is; the transaction is open if it could be. */
static int look_whole(lkv_store *store, const lkv_salvage_calls *calls, lkv_error *err)
{
    int rc = LKV_OK;
    if (!store->log.open) {
        rc = lkv_begin(store, 0, err);
    } else {
        rc = lkv_store_may_commit(store, "recovered", err);
        rc = rc == LKV_OK ? lkv_store_prepare(store, err) : rc;
    }
    return rc == LKV_OK ? lkv_verify(store, calls->go_on, calls->arg, err) : rc;
}

int lkv_salvage(lkv_store *store, int apply, const lkv_salvage_calls *calls,
                uint64_t *kept, lkv_error *err)
{
    int rc;

    if (!apply) {
        return lkv_changed(store)
                   ? lkv_log_error(err, LKV_MISUSE,
                                   "the transaction has changed something")
                   : salvage(store, 0, calls, kept, err);
    }
    rc = look_whole(store, calls, err);
    *kept = store->live_keys;
    if (rc != LKV_CORRUPT) {
        return rc;
    }
    return store->log.open ? salvage(store, 1, calls, kept, err)
                           : salvage_closed(store, calls, kept, err);
}
