/*
 * recover.c - bringing a handle to the newest commit, whatever happened to the log
 * since.
 *
 * The storage tells its end. If that is where the handle stands, nothing is to be done.
 * If the handle's own commit still stands in the log where it stood, with its chain
 * value, what comes after it is replayed: the chain value covers the whole history, so
 * that an equal one means an equal past. Otherwise (a restored backup, a store made
 * anew) everything is read again.
 */
#include "replay.h"
#include "store.h"
#include "torn.h"

#include <string.h>

static void forget(lkv_store *store)
{
    lkv_log *log = &store->log;
    lkv_store_before_change(store);
    lkv_memindex_clear(store->index);
    store->stale = 0;
    log->storage->ops->rewind(log->storage, 0, 0);
    store->work_void = 1;
    store->work_off = 0;
    store->live_keys = store->live_bytes = 0;
    store->undone++;
    store->counted.size = 0;
    log->views++;
    log->rewound++;
    log->known = 0;
    memset(&log->at, 0, sizeof(log->at));
}

static int same_end(const lkv_end *a, const lkv_end *b)
{
    return memcmp(a->store_id, b->store_id, LKV_ID_SIZE) == 0 &&
           a->generation == b->generation && a->revision == b->revision &&
           a->chain == b->chain && a->live_keys == b->live_keys &&
           a->live_bytes == b->live_bytes && a->segment == b->segment &&
           a->offset == b->offset;
}

/* Whether the commit that the handle stands on is still in the log: 1, 0, or an error.
 * Anything that cannot be read there is simply not that commit; damage shows when it is
 * replayed. */
static int stands(lkv_log *log, const lkv_end *own, lkv_error *err)
{
    const lkv_segment *segment = lkv_log_segment(log, own->segment);
    lkv_commit_record commit;
    lkv_record record;
    int rc;

    if (segment == NULL ||
        own->offset > lkv_log_limit(log, (size_t)(segment - log->segments))) {
        return 0;
    }
    if (own->offset == LKV_SEGMENT_HEADER) {
        lkv_segment_header header;
        rc = lkv_replay_header(log, (size_t)(segment - log->segments), &header, err);
        if (rc == LKV_OK) {
            return header.chain_before == own->chain &&
                   header.revision_before == own->revision;
        }
    } else if (own->offset < LKV_SEGMENT_HEADER + LKV_COMMIT_SIZE) {
        return 0;
    } else {
        rc = lkv_log_read(log,
                          lkv_loc_make(0, own->segment, own->offset - LKV_COMMIT_SIZE),
                          &record, err);
        if (rc == LKV_OK) {
            return lkv_format_parse_commit(&record, &commit) == LKV_OK &&
                   commit.chain == own->chain && commit.revision == own->revision;
        }
    }
    return rc == LKV_CORRUPT ? 0 : rc;
}

static int apply(lkv_store *store, const lkv_record *record, lkv_loc loc)
{
    lkv_place old;
    if (record->kind != LKV_KIND_TOMBSTONE) {
        lkv_gap_put(&store->gaps, record->key);
    }
    return lkv_memindex_put(store->index, record->key,
                            (lkv_place){loc, lkv_format_plain(record)}, &old);
}

/* Reads on to the end that the log knows, and applies it. */
static int replay_all(lkv_store *store, lkv_replay *replay, lkv_error *err)
{
    const lkv_end *end = &store->log.at;
    lkv_record record;
    lkv_loc loc;
    int rc;

    while ((rc = lkv_replay_next(replay, &record, &loc, err)) == LKV_OK) {
        rc = apply(store, &record, loc);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    if (rc == LKV_ABSENT &&
        replay->covered > 0) { /* applied, and never happened. F10 */
        return lkv_log_damage(err, end->segment, end->offset,
                              "the log does not end in the commit that was published");
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* Each segment that will be read begins as the root says. */
static int check_headers(lkv_log *log, size_t from, lkv_error *err)
{
    lkv_segment_header header;
    int rc = LKV_OK;
    for (size_t i = from; i < log->count && rc == LKV_OK; i++) {
        rc = lkv_replay_header(log, i, &header, err);
    }
    return rc;
}

/* The log must end in the commit that was published. F10 */
static int check_end(const lkv_end *at, const lkv_end *end, lkv_error *err)
{
    if (at->revision != end->revision || at->chain != end->chain ||
        at->live_keys != end->live_keys || at->live_bytes != end->live_bytes ||
        at->segment != end->segment || at->offset != end->offset) {
        return lkv_log_damage(err, end->segment, end->offset,
                              "the log does not end in the commit that was published");
    }
    return LKV_OK;
}

/* `own` is where the handle stood, or NULL; the root was read just now. */
static int catch_up(lkv_store *store, const lkv_end *own, const lkv_end *end,
                    lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_replay replay;
    int rc = 0;

    if (own != NULL) {
        rc = stands(log, own, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (rc == 0) {
        lkv_runs *runs =
            lkv_runs_hold(log->runs); /* the list is not what is forgotten */
        forget(store);
        lkv_runs_release(log->os, runs);
        log->at = *end;
    }
    if (rc == 1 && own->generation == end->generation && !store->stale) {
        lkv_replay_at_commit(&replay, log, own);
    } else {
        /* The root is another: the index in memory begins at its tail. */
        lkv_replay_at_tail(&replay, log, &log->runs->tail);
        lkv_store_before_change(store);
        lkv_memindex_clear(store->index);
    }
    lkv_store_before_move(store);
    store->undone++;
    log->storage->passing = 1;
    rc = check_headers(log, replay.scan.segment, err);
    if (rc == LKV_OK) {
        rc = replay_all(store, &replay, err);
    }
    log->storage->passing = 0;
    if (replay.synced > log->synced) {
        log->synced = replay.synced;
    }
    return rc == LKV_OK ? check_end(&replay.at, end, err) : rc;
}

/* Inside a transaction: from the tail to all that was appended. Its own bytes need no
 * proof. */
static int refill_open(lkv_store *store, lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_record record;
    lkv_replay replay;
    lkv_loc loc;
    int rc;

    lkv_replay_at_tail(&replay, log, &log->runs->tail);
    lkv_store_before_change(store);
    lkv_memindex_clear(store->index);
    while ((rc = lkv_log_next(&replay.scan, &record, &loc, err)) == LKV_OK) {
        if (record.kind != LKV_KIND_COMMIT) {
            rc = apply(store, &record, loc);
            if (rc != LKV_OK) {
                return rc;
            }
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_refill(lkv_store *store, lkv_error *err)
{
    int rc;
    if (!store->log.open) {
        return lkv_recover(store, err);
    }
    rc = refill_open(store, err);
    store->stale = rc != LKV_OK;
    return rc;
}

/* What all that the root names is in the storage, so that nobody takes it away. */
static int hold(lkv_log *log, const lkv_end *end, lkv_error *err)
{
    const lkv_storage_ops *ops = log->storage->ops;
    const lkv_runs *runs = log->runs;
    uint64_t block = log->storage->block;
    uint32_t parts = runs->parts + runs->pass.out, lists = runs->count + runs->merges;
    size_t count = 0, most = log->count + lists + 2 * (size_t)parts;
    lkv_held *objects;
    int rc;

    if (ops->hold == NULL) {
        return LKV_OK;
    }
    objects = lkv_os_alloc(log->os, most * sizeof(*objects));
    if (objects == NULL) {
        return LKV_NOMEM;
    }
    for (size_t i = 0; i < log->count; i++) {
        const lkv_segment *at = &log->segments[i];
        objects[count++] =
            (lkv_held){at->number, i + 1 < log->count ? at->size : end->offset};
    }
    for (uint32_t i = 0; i < parts; i++) {
        const lkv_part *at = &runs->part[i];
        objects[count++] = (lkv_held){at->number, at->size};
        if (at->blocks > 0) { /* what a pass or merge has only begun may have none */
            objects[count++] = (lkv_held){at->index, at->blocks * block};
        }
    }
    for (uint32_t i = 0; i < lists; i++) {
        const lkv_run *at = &runs->run[i];
        if (at->blocks > 0) {
            objects[count++] = (lkv_held){at->number, at->blocks * block};
        }
    }
    rc = ops->hold(log->storage, objects, count, err);
    lkv_os_free(log->os, objects);
    return rc;
}

/* The root that goes with `end`. LKV_MOVED. */
static int take_root(lkv_log *log, const lkv_end *end, lkv_error *err)
{
    int rc = lkv_log_load_root(log, err);
    if (rc == LKV_OK &&
        (memcmp(end->store_id, log->at.store_id, LKV_ID_SIZE) != 0 ||
         end->generation != log->at.generation ||
         end->segment != log->segments[log->count - 1].number ||
         end->offset < LKV_SEGMENT_HEADER || end->offset > LKV_SEGMENT_MAX)) {
        return lkv_log_error(err, LKV_CORRUPT,
                             "the root and the end of the log differ");
    }
    return rc == LKV_OK ? hold(log, end, err) : rc;
}

/* Looks for the newest commit behind that of the root. */
static int make_out(lkv_log *log, lkv_end *end, lkv_error *err)
{
    const lkv_storage_ops *ops = log->storage->ops;
    lkv_error lost = {0};
    uint64_t torn = 0;
    int rc = take_root(log, end, err);
    if (rc == LKV_OK) {
        log->at = *end;
        rc = stands(log, end, err);
        rc = rc == 0   ? lkv_log_damage(err, end->segment, end->offset,
                                        "the commit of the root is not there")
             : rc == 1 ? lkv_torn_find(log, end, &torn, err)
                       : rc;
    }
    /* Files may be missing because a newer root, which is lost, did without them. */
    if (rc == LKV_MOVED && ops->root_lost(log->storage, end, &lost) == LKV_CORRUPT) {
        rc = lkv_log_error(err, LKV_CORRUPT, lost.text);
    }
    if (rc != LKV_OK) {
        (void)ops->settle(log->storage, NULL, 0, NULL);
        return rc;
    }
    return ops->settle(log->storage, end, torn, err);
}

int lkv_make_out_aside(lkv_store *store, lkv_end *end, lkv_error *err)
{
    const lkv_log *log = &store->log;
    lkv_log aside;
    int rc;

    if (memcmp(end->store_id, log->at.store_id, LKV_ID_SIZE) != 0 ||
        end->generation != log->at.generation) { /* what is held would be let go */
        return log->storage->ops->settle(log->storage, NULL, 0, err);
    }
    store->log.views++;
    lkv_log_init(&aside, log->storage, log->os);
    aside.sync = log->sync;
    rc = make_out(&aside, end, err);
    lkv_log_free(&aside);
    return rc == LKV_MOVED ? LKV_CORRUPT : rc;
}

/* The newest commit and, unless the handle stands there, its root: LKV_OK, or
 * LKV_ABSENT when nothing is new. */
static int take_end(lkv_store *store, const lkv_end *own, int had, lkv_end *end,
                    lkv_error *err)
{
    lkv_log *log = &store->log;
    uint64_t generation = 0;
    int rc;

    do {
        rc = log->storage->ops->read_end(log->storage, end, err);
        if (rc == LKV_OK && had && !store->stale && same_end(end, own)) {
            return LKV_ABSENT;
        }
        if (rc == LKV_ABSENT) {
            return lkv_log_error(err, LKV_CORRUPT, "the log is empty");
        }
        if (rc == LKV_UNSURE) {
            rc = make_out(log, end, err);
        } else if (rc == LKV_OK) {
            rc = take_root(log, end, err);
        }
        if (rc == LKV_MOVED && end->generation == generation) {
            return LKV_CORRUPT; /* it has not: hold told what is missing */
        }
        generation = end->generation;
    } while (rc == LKV_MOVED);
    return rc;
}

int lkv_recover(lkv_store *store, lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_end end = {0}, own = log->at;
    uint32_t block = log->storage->block;
    int had = log->known;
    int rc;

    log->views++; /* read_end may read over what a view of a cursor shows */
    rc = take_end(store, &own, had, &end, err);
    if (rc == LKV_ABSENT) {
        return LKV_OK;
    }
    if (rc == LKV_OK) {
        log->at = end; /* the scan reads up to here */
        /* What is kept in memory goes by blocks of that size. */
        had = had && memcmp(own.store_id, end.store_id, LKV_ID_SIZE) == 0 &&
              block == log->storage->block;
        rc = catch_up(store, had ? &own : NULL, &end, err);
    }
    /* So that who counts them comes to an end. */
    if (rc == LKV_OK && end.live_keys > lkv_log_bytes(store) / LKV_RECORD_HEADER) {
        rc = lkv_log_damage(err, end.segment, end.offset,
                            "the commit counts more keys than the log has room for");
    }
    if (rc != LKV_OK) {
        forget(store);
        lkv_runs_release(log->os, log->runs);
        log->runs = NULL;
        return rc;
    }
    log->at = end;
    log->known = 1;
    store->stale = 0;
    store->live_keys = end.live_keys;
    store->live_bytes = end.live_bytes;
    return LKV_OK;
}
