/*
 * rebuild.c - making the index anew from the records. See rebuild.h.
 *
 * A part's index is made of the part. The log is read into the index in memory, which
 * becomes a run whenever as much was read as a run takes, so that memory stays bounded.
 * A pass of compaction under way is given up: the parts that it finished stay, since
 * they and the log give the same content at any time.
 */
#include "rebuild.h"

#include "partscan.h"

#include <string.h>

#define MERGE_BLOCKS 256u /* at once */

void lkv_before_take(lkv_before *before, lkv_store *store)
{
    before->runs = lkv_runs_hold(store->log.runs);
    before->root_changed = store->log.root_changed;
    before->rollbacks = store->log.rollbacks;
}

int lkv_before_is_void(const lkv_before *before, const lkv_store *store)
{
    return before->rollbacks != store->log.rollbacks;
}

int lkv_before_end(lkv_before *before, lkv_store *store, int rc)
{
    lkv_log *log = &store->log;
    if (rc != LKV_OK && !lkv_before_is_void(before, store) &&
        log->runs != before->runs) {
        lkv_store_before_change(store);
        lkv_log_rewind_runs(log, before->runs);
        log->root_changed = before->root_changed;
        lkv_memindex_clear(store->index);
        lkv_journal_clear(&store->journal);
        store->stale = 1;
        store->flushes++;
        store->work_void = 1;
    }
    lkv_runs_release(log->os, before->runs);
    before->runs = NULL;
    return rc;
}

lkv_runs *lkv_reindex_list(const lkv_store *store, uint32_t count)
{
    const lkv_runs *old = store->log.runs;
    uint32_t block = store->log.storage->block;
    lkv_runs like = *old, *runs;

    like.count = count;
    like.merges = 0;
    like.gone = old->gone + old->count + old->merges + old->parts + 2 * old->pass.out;
    memset(&like.pass, 0, sizeof(like.pass));
    runs = lkv_runs_new(store->log.os, &like);
    if (runs == NULL) {
        return NULL;
    }
    LKV_RUNS_COPY(runs->part, old->part, old->parts);
    LKV_RUNS_COPY(runs->garbage, old->garbage, old->gone);
    runs->gone = old->gone;
    for (uint32_t i = 0; i < old->count + old->merges; i++) { /* the merges follow */
        lkv_runs_add_gone(runs, old->run[i].number, old->run[i].blocks);
    }
    for (uint32_t i = 0; i < old->parts; i++) {
        lkv_runs_add_gone(runs, old->part[i].index, old->part[i].blocks);
    }
    for (uint32_t i = 0; i < old->pass.out; i++) {
        lkv_runs_add_gone_part(runs, &old->out[i], block);
    }
    return runs;
}

void lkv_reindex_set(lkv_store *store, lkv_runs *runs)
{
    lkv_store_before_change(store);
    lkv_memindex_clear(store->index);
    lkv_journal_clear(&store->journal); /* older marks make the index anew */
    store->flushes++;
    store->stale = 0;
    store->work_void = 1;
    store->work_off = 0;
    lkv_log_set_runs(&store->log, runs);
}

static int merge_all(lkv_store *store, lkv_asking *asking, lkv_error *err)
{
    int rc = LKV_OK;
    while (rc == LKV_OK) {
        uint32_t blocks = MERGE_BLOCKS;
        rc = lkv_merge_some(store, &blocks, err);
        if (rc == LKV_OK) {
            rc = lkv_ask(asking, (size_t)MERGE_BLOCKS * store->log.storage->block);
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_reindex_log(lkv_store *store, lkv_replay *replay, lkv_asking *asking,
                    lkv_error *err)
{
    lkv_record record;
    lkv_loc loc;
    int rc;

    while ((rc = lkv_replay_next(replay, &record, &loc, err)) == LKV_OK) {
        lkv_place place = {loc, lkv_format_plain(&record)}, old;
        uint64_t at = lkv_replay_logical(replay);
        rc = lkv_memindex_put(store->index, record.key, place, &old);
        if (rc == LKV_OK && at - store->log.runs->tail_at >= store->flush_size) {
            lkv_tail tail;
            lkv_replay_tail(replay, &tail);
            rc = lkv_flush_at(store, &tail, at, err);
            if (rc == LKV_OK) {
                rc = merge_all(store, asking, err);
            }
            lkv_replay_moved(replay);
        }
        rc = rc == LKV_OK ? lkv_ask(asking, place.size) : rc;
        if (rc != LKV_OK) {
            return rc;
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_reindex_check(lkv_store *store, lkv_asking *asking, const char *why,
                      lkv_error *err)
{
    uint64_t keys = 0, bytes = 0;
    int rc, stop = LKV_OK;
    lkv_cursor *cursor;

    rc = lkv_cursor_open(store, &cursor);
    if (rc != LKV_OK) {
        return rc;
    }
    for (rc = lkv_cursor_first(cursor, err); rc == LKV_OK && stop == LKV_OK;
         rc = lkv_cursor_next(cursor, err)) {
        keys++;
        bytes += cursor->place.size;
        stop = lkv_ask(asking, 0);
    }
    lkv_cursor_close(cursor);
    if (stop != LKV_OK || rc != LKV_ABSENT) {
        return stop != LKV_OK ? stop : rc;
    }
    return keys == store->live_keys && bytes == store->live_bytes
               ? LKV_OK
               : lkv_log_error(err, LKV_CORRUPT, why);
}

/* The records' headers and keys go to the writer by memory of its own: a view of them
 * would not outlive what it writes. */
static int index_records(lkv_part_scan *scan, lkv_part_writer *writer,
                         lkv_asking *asking, lkv_error *err)
{
    lkv_buffer copy = {NULL, 0, 0};
    const lkv_os *os = writer->os;
    lkv_record record;
    lkv_loc loc;
    int rc;

    while ((rc = lkv_part_scan_next(scan, &record, &loc, err)) == LKV_OK) {
        size_t size = lkv_format_size(record.key, (lkv_bytes){NULL, 0});
        const uint8_t *bytes = (const uint8_t *)scan->view.data - record.size;
        uint32_t blocks = writer->part.blocks;
        rc = lkv_buffer_reserve(&copy, os, size);
        if (rc != LKV_OK) {
            break;
        }
        memcpy(copy.bytes, bytes, size);
        rc = lkv_part_writer_index(writer, copy.bytes, record.size, record.key.size,
                                   record.tag, err);
        if (rc != LKV_OK) {
            break;
        }
        if (blocks != writer->part.blocks) {
            lkv_part_scan_moved(scan);
        }
        rc = lkv_ask(asking, record.size);
        if (rc != LKV_OK) {
            break;
        }
    }
    lkv_os_free(os, copy.bytes);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* Makes the index of listed part `i` as object `number`. */
static int index_part(lkv_store *store, const lkv_before *before, uint32_t i,
                      uint32_t number, lkv_asking *asking, lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_part part = log->runs->part[i];
    lkv_part_writer writer;
    lkv_part_scan scan;
    int rc = lkv_part_scan_open(&scan, log, &part, 1, err);

    memset(&writer, 0, sizeof(writer));
    if (rc == LKV_OK) {
        rc =
            lkv_part_writer_begin(&writer, log->storage, log->os, &scan.header, number);
    }
    if (rc == LKV_OK) {
        rc = index_records(&scan, &writer, asking, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_part_writer_finish_index(&writer, err);
    }
    if (!lkv_before_is_void(before, store)) {
        if (rc == LKV_OK) {
            lkv_part *to = &log->runs->part[i];
            to->index = number;
            to->blocks = writer.part.blocks;
            to->top = writer.part.top;
        } else {
            log->storage->ops->rewind(log->storage, number, 0);
        }
    }
    lkv_part_writer_free(&writer);
    lkv_part_scan_free(&scan);
    return rc;
}

static int rebuild(lkv_store *store, const lkv_before *before, lkv_asking *asking,
                   lkv_error *err)
{
    lkv_replay replay;
    lkv_runs *runs;
    int rc = lkv_replay_at_start(&replay, &store->log, err);

    if (rc != LKV_OK) {
        return rc;
    }
    runs = lkv_reindex_list(store, 0);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    replay.headers = 1; /* who opens the store next replays what is behind the tail */
    lkv_replay_tail(&replay, &runs->tail);
    runs->tail_at = lkv_replay_logical(&replay);
    lkv_reindex_set(store, runs);
    /* Nobody else holds the list yet: it is filled in as it grows. */
    for (uint32_t i = 0; rc == LKV_OK && i < runs->parts; i++) {
        rc = index_part(store, before, i, runs->next_run++, asking, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_reindex_log(store, &replay, asking, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_reindex_check(store, asking,
                               "the log holds other keys than its end says", err);
    }
    return rc;
}

int lkv_rebuild(lkv_store *store, int (*go_on)(void *arg), void *arg, lkv_error *err)
{
    lkv_asking asking = {go_on, arg, 0};
    lkv_before before;
    if (!store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    lkv_before_take(&before, store);
    return lkv_before_end(&before, store, rebuild(store, &before, &asking, err));
}
