/*
 * flush.c - the life of runs: the index in memory becomes one, and several become one.
 *
 * Every step makes a new list of runs, which the commit writes with its root. A step
 * that fails leaves the list as it was. All of it belongs to the transaction and is
 * undone with it.
 */
#include "store.h"

#include <string.h>

static uint32_t less(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

lkv_runs *lkv_flush_copy(const lkv_store *store, uint32_t count, uint32_t merges,
                         uint32_t gone)
{
    const lkv_runs *old = store->log.runs;
    lkv_runs like = *old, *runs;
    like.count = count;
    like.merges = merges;
    like.gone = gone;
    runs = lkv_runs_new(store->log.os, &like);
    if (runs != NULL) {
        LKV_RUNS_COPY(runs->part, old->part, old->parts + old->pass.out);
        LKV_RUNS_COPY(runs->run, old->run, less(count, old->count));
        LKV_RUNS_COPY(runs->merge, old->merge, less(merges, old->merges));
        LKV_RUNS_COPY(runs->garbage, old->garbage, less(gone, old->gone));
    }
    return runs;
}

static int write_run(lkv_store *store, lkv_run_writer *writer, lkv_error *err)
{
    int oldest = store->log.runs->count == 0 && lkv_runs_at_bottom(store->log.runs);
    lkv_memindex_cursor at;
    int rc = LKV_OK;

    /* A write that fails may have rolled back: then the index is another one. */
    for (int on = lkv_memindex_first(&at, store->index); on;
         on = rc == LKV_OK && lkv_memindex_next(&at)) {
        lkv_place place = lkv_memindex_place(&at);
        if (!oldest || lkv_loc_live(place.loc)) {
            rc = lkv_run_writer_add(writer, lkv_memindex_key(&at), place, err);
        }
    }
    if (rc == LKV_OK && writer->run.entries > 0) {
        rc = lkv_run_writer_finish(writer, err);
    }
    return rc;
}

int lkv_flush_at(lkv_store *store, const lkv_tail *tail, uint64_t tail_at,
                 lkv_error *err)
{
    lkv_log *log = &store->log;
    const lkv_runs *old = log->runs;
    uint64_t rollbacks = log->rollbacks;
    lkv_run_writer writer;
    lkv_runs *runs;
    uint32_t added;
    int rc;

    lkv_run_writer_init(&writer, log->storage, log->os, old->next_run);
    rc = write_run(store, &writer, err);
    if (rollbacks != log->rollbacks) {
        lkv_run_writer_free(&writer);
        return rc;
    }
    added = writer.run.entries > 0;
    runs = rc == LKV_OK
               ? lkv_flush_copy(store, old->count + added, old->merges, old->gone)
               : NULL;
    if (runs == NULL) {
        log->storage->ops->rewind(log->storage, old->next_run, 0);
        lkv_run_writer_free(&writer);
        return rc == LKV_OK ? LKV_NOMEM : rc;
    }
    runs->tail = *tail;
    runs->tail_at = tail_at;
    if (added) {
        writer.run.from = old->tail_at;
        writer.run.to = tail_at;
        runs->run[old->count] = writer.run;
        runs->next_run++;
    }
    lkv_run_writer_free(&writer);
    lkv_store_before_move(store);
    lkv_memindex_clear(store->index);
    lkv_journal_clear(&store->journal); /* older marks make the index anew */
    store->flushes++;
    lkv_log_set_runs(log, runs);
    return LKV_OK;
}

int lkv_flush(lkv_store *store, lkv_error *err)
{
    uint64_t tail_at;
    lkv_tail tail;
    lkv_log_tail(&store->log, &tail, &tail_at);
    return lkv_flush_at(store, &tail, tail_at, err);
}

/* Puts a new merge on the list. */
static int start_merge(lkv_store *store, uint32_t first, uint32_t count)
{
    const lkv_runs *old = store->log.runs;
    lkv_runs *runs = lkv_flush_copy(store, old->count, old->merges + 1, old->gone);
    lkv_run *entry;

    if (runs == NULL) {
        return LKV_NOMEM;
    }
    /* In the order of the log, as the runs. */
    entry = runs->merge;
    for (uint32_t i = 0; i < old->merges && old->merge[i].to <= old->run[first].from;
         i++) {
        *entry++ = old->merge[i];
    }
    LKV_RUNS_COPY(entry + 1, old->merge + (entry - runs->merge),
                  old->merges - (uint32_t)(entry - runs->merge));
    memset(entry, 0, sizeof(*entry));
    entry->number = runs->next_run++;
    entry->from = old->run[first].from;
    entry->to = old->run[first + count - 1].to;
    lkv_log_set_runs(&store->log, runs);
    return LKV_OK;
}

/* The merge's output stands as far as it was written. */
static int note_progress(lkv_store *store, uint32_t i, const lkv_run *output)
{
    const lkv_runs *old = store->log.runs;
    lkv_runs *runs = lkv_flush_copy(store, old->count, old->merges, old->gone);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    runs->merge[i] = *output;
    lkv_log_set_runs(&store->log, runs);
    return LKV_OK;
}

/* The output takes the place of its inputs, which become garbage. */
static int end_merge(lkv_store *store, uint32_t i, const lkv_run *output,
                     uint32_t inputs)
{
    const lkv_runs *old = store->log.runs;
    uint32_t added = output->entries > 0;
    lkv_runs *runs = lkv_flush_copy(store, old->count - inputs + added, old->merges - 1,
                                    old->gone + inputs);
    lkv_run *to;
    int placed = 0;

    if (runs == NULL) {
        return LKV_NOMEM;
    }
    to = runs->run;
    runs->gone = old->gone;
    for (uint32_t k = 0; k < old->count; k++) {
        const lkv_run *run = &old->run[k];
        if (run->from < output->from || run->to > output->to) {
            *to++ = *run;
            continue;
        }
        lkv_runs_add_gone(runs, run->number, run->blocks);
        if (added && !placed) {
            *to++ = *output;
            placed = 1;
        }
    }
    LKV_RUNS_COPY(runs->merge, old->merge, i);
    LKV_RUNS_COPY(runs->merge + i, old->merge + i + 1, old->merges - i - 1);
    lkv_store_before_move(store);
    lkv_log_set_runs(&store->log, runs);
    return LKV_OK;
}

static const lkv_run *find_entry(const lkv_runs *runs, uint32_t number)
{
    for (uint32_t i = 0; i < runs->merges; i++) {
        if (runs->merge[i].number == number) {
            return &runs->merge[i];
        }
    }
    return NULL;
}

/* Whether the list does not name the merge as it stands. */
static int is_gone(const lkv_store *store, const lkv_merge *merge)
{
    const lkv_run *entry;
    if (store->work_void) {
        return 1;
    }
    entry = find_entry(store->log.runs, merge->writer.run.number);
    return entry == NULL || entry->blocks != merge->writer.run.blocks ||
           entry->entries != merge->writer.run.entries;
}

void lkv_work_sweep(lkv_store *store)
{
    lkv_merge **link = &store->merges;
    while (*link != NULL) {
        lkv_merge *at = *link;
        if (is_gone(store, at)) {
            *link = at->next;
            lkv_merge_close(at);
        } else {
            link = &at->next;
        }
    }
    if (store->compaction != NULL &&
        (store->work_void ||
         !lkv_compaction_fits(store->compaction, store->log.runs))) {
        lkv_compaction_close(store->compaction);
        store->compaction = NULL;
    }
    store->work_void = 0;
}

static int find_merge(lkv_store *store, const lkv_run *entry, lkv_merge **out,
                      lkv_error *err)
{
    int rc;
    for (lkv_merge *at = store->merges; at != NULL; at = at->next) {
        if (at->writer.run.number == entry->number) {
            *out = at;
            return LKV_OK;
        }
    }
    rc = lkv_merge_open(store->log.storage, store->log.os, store->log.runs, entry, out,
                        err);
    if (rc == LKV_OK) {
        (*out)->next = store->merges;
        store->merges = *out;
    }
    return rc;
}

/* Works on merge `i` of the list; `*blocks` becomes what is left to spend. */
static int work(lkv_store *store, uint32_t i, uint32_t *blocks, lkv_error *err)
{
    lkv_run entry = store->log.runs->merge[i];
    uint64_t rollbacks = store->log.rollbacks;
    lkv_merge *merge;
    lkv_run output;
    uint32_t inputs, before, spent;
    int rc = find_merge(store, &entry, &merge, err);

    if (rc != LKV_OK) {
        return rc;
    }
    before = merge->writer.run.blocks;
    rc = lkv_merge_step(merge, *blocks, err);
    if (rollbacks != store->log.rollbacks) {
        return rc;
    }
    output = merge->writer.run;
    output.from = entry.from;
    output.to = entry.to;
    inputs = merge->inputs;
    spent = output.blocks - before;
    *blocks = spent < *blocks ? *blocks - spent : 0;
    store->paid += (uint64_t)spent * store->log.storage->block;
    if (rc == LKV_OK) {
        rc = end_merge(store, i, &output, inputs);
    } else if (rc == LKV_ABSENT) {
        rc = note_progress(store, i, &output);
    }
    if (rc != LKV_OK) { /* the storage forgets what the list does not tell of */
        store->work_void = 1;
        store->log.storage->ops->rewind(store->log.storage, entry.number,
                                        (uint64_t)entry.blocks *
                                            store->log.storage->block);
    }
    return rc;
}

/* The merge that is the least work, or a new one; LKV_ABSENT when there is none. */
static int next_merge(lkv_store *store, uint32_t *out)
{
    const lkv_runs *runs = store->log.runs;
    uint32_t first = 0, count = lkv_merge_choose(runs, &first);
    if (count > 0) {
        int rc = start_merge(store, first, count);
        if (rc != LKV_OK) {
            return rc;
        }
        runs = store->log.runs;
    }
    if (runs->merges == 0) {
        return LKV_ABSENT;
    }
    *out = runs->merges - 1; /* the newest are the smallest */
    return LKV_OK;
}

int lkv_merge_some(lkv_store *store, uint32_t *blocks, lkv_error *err)
{
    uint32_t i;
    int rc;
    lkv_work_sweep(store);
    rc = next_merge(store, &i);
    return rc == LKV_OK ? work(store, i, blocks, err) : rc;
}
