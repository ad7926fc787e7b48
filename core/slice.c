/*
 * slice.c - what commits pay for: merging, compaction, and removing what nothing needs.
 *
 * The work is cut into slices. Beyond its own records and the runs that they fill, a
 * commit writes at most SLICE_SIZE, or PAY_FACTOR times its own bytes when that is
 * more. Removing garbage is not counted, although SQLite writes the pages that it frees
 * to a WAL: up to 1 MiB more, or twice those bytes. A commit that makes a run pays, and
 * so does one between two runs, of single rows fewer than one in a thousand; twice as
 * many while there is a pass of compaction, which gets most of it; and of transactions
 * of many rows those that come to another sixth of a run. So merging may
 * write as many bytes as single rows append to the log, or three times as many; it
 * needs about as many, and three times as many where values are short. A pass is
 * through before half of what it writes was appended by transactions of many rows, and
 * as much as that by single rows.
 */
#include "store.h"

#include <string.h>

/* Sizes are told in those of a run's log, so that a test with small runs has all of it
 * small. */
#define SLICE_SIZE(store) ((store)->flush_size / 2)
#define PAY_FACTOR 3u
#define MANY_ROWS 512u     /* this part of a run, 1 KiB, is more than one row */
#define PASS_SHARE 3u      /* quarters of a slice that a pass gets */
#define REMOVE_BLOCKS 256u /* of garbage, each time at least: 1 MiB */
#define COMPACT_FROM(store) ((store)->flush_size * 2) /* bytes: less are no reason */

/* Garbage */

/* Whether the object was garbage before the transaction began. */
static int is_old(const lkv_store *store, const lkv_gone *gone)
{
    const lkv_runs *begin = store->log.begin.runs;
    for (uint32_t i = 0; i < begin->gone; i++) {
        if (begin->garbage[i].number == gone->number) {
            return 1;
        }
    }
    return 0;
}

/* Removes garbage that an earlier transaction left: what this one made may be needed
 * again when it is undone. */
static int remove_garbage(lkv_store *store, uint64_t blocks, lkv_error *err)
{
    const lkv_runs *old = store->log.runs;
    lkv_storage *storage = store->log.storage;
    uint64_t rollbacks = store->log.rollbacks;
    uint64_t left = blocks;
    uint32_t whole = 0, cut = 0;
    lkv_runs *runs;

    /* Entries are added at the end and go from the front. */
    while (whole < old->gone && left > 0 &&
           (storage->undoes || is_old(store, &old->garbage[whole]))) {
        const lkv_gone *at = &old->garbage[whole];
        int rc;
        cut = at->blocks > left ? (uint32_t)left : at->blocks;
        rc = storage->ops->remove(storage, at->number,
                                  (uint64_t)(at->blocks - cut) * storage->block, err);
        if (rc != LKV_OK || rollbacks != store->log.rollbacks) {
            return rc;
        }
        left -= cut;
        if (cut == at->blocks) {
            whole++;
            cut = 0;
        }
    }
    if (left == blocks) {
        return LKV_OK;
    }
    store->removed += blocks - left;
    runs = lkv_flush_copy(store, old->count, old->merges, old->gone - whole);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    LKV_RUNS_COPY(runs->garbage, old->garbage + whole, old->gone - whole);
    if (cut > 0) {
        runs->garbage[0].blocks -= cut;
    }
    lkv_log_set_runs(&store->log, runs);
    return LKV_OK;
}

/* Passes */

uint64_t lkv_log_bytes(const lkv_store *store)
{
    const lkv_log *log = &store->log;
    const lkv_runs *runs = log->runs;
    uint64_t bytes = 0;
    for (size_t i = log->first; i < log->count; i++) {
        bytes += lkv_log_limit(log, i);
    }
    for (uint32_t i = 0; i < runs->parts + runs->pass.out; i++) {
        bytes += runs->part[i].size;
    }
    return bytes;
}

uint64_t lkv_live_size(const lkv_store *store)
{
    return store->live_bytes + store->live_keys * LKV_MOVED_SIZE;
}

uint32_t lkv_part_most(const lkv_store *store, uint64_t live)
{
    uint64_t least = (uint64_t)LKV_PART_FLUSHES * store->flush_size;
    uint64_t most = live / LKV_PART_SHARE;
    most = most > LKV_PART_MOST ? LKV_PART_MOST : most;
    return (uint32_t)(most > least ? most : least);
}

void lkv_auto_compact_fallback(lkv_store *store, unsigned fallback)
{
    store->auto_compact = fallback;
}

/* The same list, to be given other settings; NULL without memory. */
static lkv_runs *copy_list(const lkv_store *store)
{
    const lkv_runs *old = store->log.runs;
    return lkv_flush_copy(store, old->count, old->merges, old->gone);
}

int lkv_set_auto_compact(lkv_store *store, unsigned share, lkv_error *err)
{
    lkv_runs *runs;
    if (!store->log.open || share > 999) {
        return lkv_log_error(err, LKV_MISUSE,
                             "no such share, or no transaction is open");
    }
    runs = copy_list(store);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    runs->auto_compact = share + 1;
    lkv_log_set_runs(&store->log, runs);
    return LKV_OK;
}

int lkv_set_sync(lkv_store *store, enum lkv_sync sync, lkv_error *err)
{
    lkv_runs *runs;
    if (!store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    runs = copy_list(store);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    runs->sync = (uint32_t)sync + 1;
    lkv_log_set_runs(&store->log, runs);
    return LKV_OK;
}

unsigned lkv_auto_compact(const lkv_store *store)
{
    const lkv_runs *runs = store->log.runs;
    return runs->auto_compact > 0 ? runs->auto_compact - 1 : store->auto_compact;
}

/* Whether so much of the log is dead that a pass is to begin; and it is worth one,
 * because the log has grown, or there is much of it in the parts, of which a few bytes
 * of tombstones can tell. */
static int is_due(const lkv_store *store)
{
    const lkv_log *log = &store->log;
    const lkv_runs *runs = log->runs;
    unsigned share = lkv_auto_compact(store);
    uint64_t grown, bytes, live, dead;

    if (share == 0 || runs->pass.to != 0 || store->work_off) {
        return 0;
    }
    grown = lkv_log_end(log) - log->segments[log->first].base;
    bytes = lkv_log_bytes(store);
    live = lkv_live_size(store);
    dead = bytes > live ? bytes - live : 0;
    return (grown >= COMPACT_FROM(store) || dead >= COMPACT_FROM(store)) &&
           (double)dead * 1000 >= (double)share * (double)bytes;
}

/* Begins a pass over the whole log, which ends in a commit: nothing was appended since.
 */
static int start_pass(lkv_store *store, lkv_error *err)
{
    lkv_log *log = &store->log;
    uint64_t rollbacks = log->rollbacks;
    const lkv_runs *old;
    lkv_runs *runs;
    int rc = LKV_OK;

    if (log->runs->tail_at != lkv_log_end(log)) {
        rc = lkv_flush(store, err);
    }
    if (rc == LKV_OK && log->end > LKV_SEGMENT_HEADER) {
        rc = lkv_log_roll(log, err);
    }
    if (rc != LKV_OK || rollbacks != log->rollbacks) {
        return rc;
    }
    old = log->runs;
    runs = lkv_flush_copy(store, old->count, 0, old->gone + old->merges);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    runs->gone = old->gone;
    for (uint32_t i = 0; i < old->merges; i++) {
        lkv_runs_add_gone(runs, old->merge[i].number, old->merge[i].blocks);
    }
    lkv_log_tail(log, &runs->tail, &runs->tail_at);
    runs->pass.to = runs->tail_at;
    lkv_log_set_runs(log, runs);
    return LKV_OK;
}

static void before_change(void *arg)
{
    lkv_store *store = arg;
    lkv_store_before_move(store);
    store->undone++; /* records move */
}

/* Works on the pass. LKV_ABSENT: there is none, or it is through. */
static int work_on_pass(lkv_store *store, uint64_t budget, uint64_t *spent,
                        lkv_error *err)
{
    uint64_t rollbacks = store->log.rollbacks;
    int rc = LKV_OK;

    *spent = 0;
    lkv_work_sweep(store);
    if (store->log.runs->pass.to == 0) {
        return LKV_ABSENT;
    }
    if (store->compaction == NULL) {
        rc =
            lkv_compaction_open(&store->log, lkv_part_most(store, lkv_live_size(store)),
                                &store->compaction, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_compaction_step(store->compaction, budget, before_change, store, spent,
                                 err);
    }
    if (rollbacks != store->log.rollbacks) {
        return rc;
    }
    store->paid += *spent;
    if (rc == LKV_ABSENT) {
        return LKV_OK;
    }
    lkv_compaction_close(store->compaction);
    store->compaction = NULL;
    return rc == LKV_OK ? LKV_ABSENT : rc;
}

uint64_t lkv_work_left(const lkv_store *store)
{
    const lkv_runs *runs = store->log.runs;
    uint64_t done = 0, all = lkv_live_size(store);

    if (runs->pass.to == 0) {
        return lkv_merge_left(runs) * store->log.storage->block;
    }
    for (uint32_t i = 0; i < runs->parts + runs->pass.out; i++) {
        done += i < runs->pass.next || i >= runs->parts ? runs->part[i].size : 0;
    }
    return all > done ? all - done : 1;
}

/* Paying */

/* A transaction of a database is prepared for every savepoint, and may pay each time:
 * what it removed counts, as what it wrote does. It may remove twice as much as it may
 * write for others, because its own records and runs are garbage one day, too. */
static int remove_some(lkv_store *store, uint64_t allowed, lkv_error *err)
{
    uint64_t blocks = 2 * allowed / store->log.storage->block;
    blocks = blocks > REMOVE_BLOCKS ? blocks : REMOVE_BLOCKS;
    return blocks <= store->removed
               ? LKV_OK
               : remove_garbage(store, blocks - store->removed, err);
}

static int spend(lkv_store *store, uint64_t allowed, lkv_error *err)
{
    uint64_t spent, block = store->log.storage->block;
    uint64_t rollbacks = store->log.rollbacks;
    uint64_t budget = allowed - store->paid;
    uint32_t blocks;
    int rc = remove_some(store, allowed, err);

    if (rc == LKV_OK) {
        rc = work_on_pass(store, budget * PASS_SHARE / 4, &spent, err);
        budget -= spent < budget ? spent : budget;
    }
    rc = rc == LKV_ABSENT ? LKV_OK : rc;
    for (blocks = (uint32_t)(budget / block); rc == LKV_OK && blocks > 0;) {
        rc = lkv_merge_some(store, &blocks, err);
        if (rollbacks != store->log.rollbacks) {
            return rc;
        }
    }
    if (rc == LKV_ABSENT && blocks > 0) {
        rc = work_on_pass(store, blocks * block, &spent, err);
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* Whether the transaction's commit is one that pays. */
static int pays(const lkv_store *store)
{
    const lkv_log *log = &store->log;
    /* Of records with short values the index is as large as half of the log and more:
     * merges keep up when three times that may be written, so many rows pay more often.
     */
    uint64_t every = lkv_log_grown(log) >= store->flush_size / MANY_ROWS
                         ? store->flush_size / 6
                         : store->flush_size / (log->runs->pass.to != 0 ? 4 : 2);
    uint64_t began = log->begin.runs->tail_at;
    return began != log->runs->tail_at ||
           (log->begin.logical - began) / every != (lkv_log_end(log) - began) / every;
}

int lkv_pay(lkv_store *store, lkv_error *err)
{
    uint64_t most = lkv_log_grown(&store->log) * PAY_FACTOR;
    uint64_t allowed = most > SLICE_SIZE(store) ? most : SLICE_SIZE(store);
    int rc;

    if (store->work_off || allowed <= store->paid || !pays(store)) {
        return LKV_OK;
    }
    /* More of it, at another savepoint, when it is worth to go on with a part and to
     * pause it again. */
    if (store->paid > 0 && allowed - store->paid < SLICE_SIZE(store) / 4) {
        return LKV_OK;
    }
    rc = spend(store, allowed, err);
    if (rc == LKV_CORRUPT) { /* damage is no reason to refuse a commit */
        store->work_off = 1;
        return LKV_OK;
    }
    return rc;
}

int lkv_flush_if_due(lkv_store *store, lkv_error *err)
{
    lkv_log *log = &store->log;
    int rc = LKV_OK;

    if (!lkv_log_changed(log) && is_due(store)) {
        rc = start_pass(store, err);
    }
    if (rc != LKV_OK || lkv_log_end(log) - log->runs->tail_at < store->flush_size) {
        return rc;
    }
    rc = lkv_flush(store, err);
    if (rc == LKV_OK && log->storage->undoes && is_due(store)) {
        /* A long transaction: a commit within it, which goes where it goes. */
        rc = lkv_store_prepare(store, err);
        if (rc == LKV_OK) {
            rc = start_pass(store, err);
        }
    }
    /* A small transaction pays when it commits. */
    if (rc == LKV_OK && lkv_log_grown(log) >= store->flush_size / 2) {
        rc = lkv_pay(store, err);
    }
    return rc;
}

/* Whether a pass would find anything. */
static int has_work(lkv_store *store)
{
    lkv_memindex_cursor at;
    return store->log.runs->count > 0 || lkv_memindex_first(&at, store->index);
}

int lkv_compact(lkv_store *store, uint64_t budget, uint64_t *left, lkv_error *err)
{
    lkv_log *log = &store->log;
    uint64_t rollbacks = log->rollbacks, spent;
    int rc;

    *left = 0;
    if (!log->open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    rc = lkv_store_may_commit(store, "compacted", err);
    rc = rc == LKV_OK ? lkv_store_ready(store, err) : rc;
    while (rc == LKV_OK && budget > 0) {
        if (log->runs->pass.to == 0) {
            if (!has_work(store)) {
                break;
            }
            rc = lkv_store_prepare(store, err);
            if (rc == LKV_OK) {
                rc = start_pass(store, err);
            }
        }
        if (rc == LKV_OK) {
            rc = work_on_pass(store, budget, &spent, err);
            budget -= spent < budget ? spent : budget;
            rc = rc == LKV_ABSENT ? LKV_OK : rc;
        }
        if (rollbacks != log->rollbacks) {
            return rc;
        }
    }
    if (rc == LKV_OK) {
        rc = remove_garbage(store, UINT64_MAX, err);
    }
    if (rc == LKV_OK && (log->runs->pass.to != 0 || has_work(store))) {
        *left = lkv_work_left(store);
        *left = *left == 0 ? 1 : *left;
    } else if (rc == LKV_OK) {
        log->wants_durable = 1; /* a durable root gives the space of files back */
    }
    return rc;
}
