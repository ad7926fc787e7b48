/*
 * measure.c - what a store is made of, in numbers.
 *
 * Only records have to be counted by reading them. What is committed does not change,
 * so the numbers of each segment stay in the handle, and only what was appended since
 * is read the next time.
 */
#include "store.h"

#include <string.h>

static uint64_t beyond(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* Compaction to the end leaves one part, or as many as there are, and a segment with
 * its commit. */
static uint64_t compacted(const lkv_stats *stats)
{
    uint64_t parts = stats->parts > 0 ? stats->parts : 1;
    uint64_t bytes = LKV_SEGMENT_HEADER + (stats->revision > 0 ? LKV_COMMIT_SIZE : 0);
    return stats->live_keys == 0
               ? bytes
               : bytes + stats->live_bytes + stats->live_keys * LKV_MOVED_SIZE +
                     parts * (LKV_SEGMENT_HEADER + LKV_SEAL_SIZE);
}

void lkv_sizes(const lkv_store *store, lkv_stats *stats)
{
    const lkv_log *log = &store->log;
    const lkv_runs *runs = log->runs;
    uint64_t blocks = 0;

    memset(stats, 0, sizeof(*stats));
    if (!log->known) {
        return;
    }
    stats->live_keys = store->live_keys;
    stats->live_bytes = store->live_bytes;
    stats->parts = runs->parts + runs->pass.out;
    stats->segments = log->count - log->first + stats->parts;
    stats->revision = log->at.revision;
    stats->index_memory = lkv_memindex_memory(store->index) + log->tops.memory;
    stats->runs = runs->count;
    stats->log_bytes = lkv_log_bytes(store);
    for (uint32_t i = 0; i < stats->parts; i++) {
        stats->records += runs->part[i].keys;
        blocks += runs->part[i].blocks;
    }
    for (uint32_t i = 0; i < runs->count + runs->merges; i++) {
        blocks += runs->run[i].blocks;
    }
    stats->run_bytes = blocks * log->storage->block;
    for (uint32_t i = 0; i < runs->gone; i++) {
        stats->garbage_bytes += (uint64_t)runs->garbage[i].blocks * log->storage->block;
    }
    stats->compact_left = lkv_work_left(store);
    stats->dead_bytes = beyond(
        stats->log_bytes, stats->live_bytes + stats->segments * LKV_SEGMENT_HEADER +
                              stats->records * LKV_MOVED_SIZE);
    stats->compact_gain = beyond(stats->log_bytes, compacted(stats));
    stats->auto_compact = lkv_auto_compact(store);
}

/* Of a segment: its puts and tombstones below `offset`. */
typedef struct counted {
    uint32_t segment, offset;
    uint64_t records;
} counted;

static counted *entries(const lkv_store *store, size_t *count)
{
    *count = store->counted.size / sizeof(counted);
    return (counted *)(void *)store->counted.bytes;
}

/* Forgets segments that left the list; all, when a rollback brought older ones back. */
static void drop_old(lkv_store *store)
{
    const lkv_log *log = &store->log;
    uint32_t first = log->segments[log->first].number;
    size_t count, gone = 0;
    const counted *at = entries(store, &count);
    while (gone < count && at[gone].segment < first) {
        gone++;
    }
    if (gone < count && at[gone].segment > first) {
        gone = count;
    }
    if (gone > 0) {
        store->counted.size -= gone * sizeof(*at);
        memmove(store->counted.bytes, at + gone, store->counted.size);
    }
}

/* Adds a segment of which nothing is counted yet. */
static int add_segment(lkv_store *store, uint32_t number)
{
    counted fresh = {number, LKV_SEGMENT_HEADER, 0};
    if (lkv_buffer_reserve(&store->counted, store->log.os, sizeof(fresh)) != LKV_OK) {
        return LKV_NOMEM;
    }
    memcpy(store->counted.bytes + store->counted.size, &fresh, sizeof(fresh));
    store->counted.size += sizeof(fresh);
    return LKV_OK;
}

/* Counts on to the last commit. */
static int count_committed(lkv_store *store, lkv_log_scan *scan, lkv_error *err)
{
    lkv_log *log = &store->log;
    const lkv_end *to = log->open ? &log->begin.at : &log->at;
    size_t count;

    for (;;) {
        const lkv_segment *segment = &log->segments[scan->segment];
        uint32_t limit = segment->number == to->segment
                             ? to->offset
                             : lkv_log_limit(log, scan->segment);
        counted *last = entries(store, &count);
        if (count == 0 || last[count - 1].segment != segment->number) {
            if (add_segment(store, segment->number) != LKV_OK) {
                return LKV_NOMEM;
            }
            last = entries(store, &count);
        }
        last += count - 1;
        while (scan->offset < limit) {
            lkv_record record;
            lkv_loc loc;
            int rc = lkv_log_next(scan, &record, &loc, err);
            if (rc != LKV_OK) {
                return rc;
            }
            last->records += record.kind != LKV_KIND_COMMIT;
            last->offset = scan->offset;
        }
        if (segment->number == to->segment) {
            return LKV_OK;
        }
        scan->segment++;
        scan->offset = LKV_SEGMENT_HEADER;
        scan->view.size = 0;
    }
}

/* The records of each listed segment, from the first on, are added to `out`. */
static int count_records(lkv_store *store, uint64_t *out, lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_log_scan scan = {
        .log = log, .segment = log->first, .offset = LKV_SEGMENT_HEADER};
    uint32_t first = log->segments[log->first].number;
    const counted *at;
    lkv_record record;
    lkv_loc loc;
    size_t count;
    int rc = LKV_OK;

    drop_old(store);
    at = entries(store, &count);
    if (count > 0) {
        scan.segment += at[count - 1].segment - first;
        scan.offset = at[count - 1].offset;
    }
    /* A transaction may have compacted all that was committed before it. */
    if ((log->open ? log->begin.at.segment : log->at.segment) >= first) {
        rc = count_committed(store, &scan, err);
    }
    at = entries(store, &count);
    for (size_t i = 0; i < count; i++) {
        out[at[i].segment - first] += at[i].records;
    }
    while (rc == LKV_OK) { /* and what the open transaction has appended */
        rc = lkv_log_next(&scan, &record, &loc, err);
        if (rc == LKV_OK) {
            out[lkv_loc_segment(loc) - first] += record.kind != LKV_KIND_COMMIT;
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_measure(lkv_store *store, lkv_stats *stats, lkv_error *err)
{
    const lkv_log *log = &store->log;
    size_t count = log->count - log->first;
    uint64_t *records;
    int rc;

    lkv_sizes(store, stats);
    if (!log->known) {
        return LKV_OK;
    }
    records = lkv_os_alloc(log->os, count * sizeof(*records));
    if (records == NULL) {
        return LKV_NOMEM;
    }
    memset(records, 0, count * sizeof(*records));
    rc = count_records(store, records, err);
    for (size_t i = 0; i < count; i++) {
        stats->records += records[i];
    }
    lkv_os_free(log->os, records);
    return rc;
}

/* The list of objects */

typedef struct listing {
    lkv_store *store;
    int (*each)(void *arg, const lkv_object *object);
    void *arg;
    size_t segments;
    uint64_t *records; /* of each segment, */
    uint64_t *live;    /* live bytes of it; those of the parts follow */
    uint32_t part;     /* where the last live record of a part was */
} listing;

/* Where the live bytes of object `number` are summed up. */
static uint64_t *live_of(listing *list, uint32_t number)
{
    const lkv_log *log = &list->store->log;
    const lkv_runs *runs = log->runs;
    if (number < LKV_PART_FIRST) {
        const lkv_segment *segment = lkv_log_segment(log, number);
        return segment == NULL ? NULL
                               : list->live + (segment - log->segments) - log->first;
    }
    for (uint32_t tried = 0; tried < runs->parts; tried++) {
        /* Rows come in the order of the parts. */
        uint32_t i = (list->part + tried) % runs->parts;
        if (runs->part[i].number == number) {
            list->part = i;
            return &list->live[list->segments + i];
        }
    }
    return NULL;
}

static int sum_live(listing *list, lkv_error *err)
{
    lkv_cursor *cursor;
    int rc = lkv_cursor_open(list->store, &cursor);

    if (rc != LKV_OK) {
        return rc;
    }
    for (rc = lkv_cursor_first(cursor, err); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, err)) {
        uint64_t *live = live_of(list, lkv_loc_segment(cursor->place.loc));
        if (live == NULL) {
            rc = lkv_log_damage(err, lkv_loc_segment(cursor->place.loc),
                                lkv_loc_offset(cursor->place.loc), "no such segment");
            break;
        }
        *live += cursor->place.size;
    }
    lkv_cursor_close(cursor);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int tell_segments(listing *list)
{
    const lkv_log *log = &list->store->log;
    const lkv_runs *runs = log->runs;
    int rc = LKV_OK;

    for (uint32_t i = 0; rc == LKV_OK && i < runs->parts + runs->pass.out; i++) {
        const lkv_part *part = &runs->part[i]; /* what a pass has written follows */
        lkv_object object = {LKV_OBJECT_PART, part->number - LKV_PART_FIRST + 1,
                             part->size,      0,
                             part->keys,      part->keys};
        object.live_bytes = i < runs->parts ? list->live[list->segments + i] : 0;
        rc = list->each(list->arg, &object);
    }
    for (size_t i = 0; rc == LKV_OK && i < list->segments; i++) {
        lkv_object object = {LKV_OBJECT_SEGMENT,
                             log->segments[log->first + i].number,
                             lkv_log_limit(log, log->first + i),
                             list->live[i],
                             list->records[i],
                             list->records[i]};
        rc = list->each(list->arg, &object);
    }
    return rc;
}

/* The entries of a part's index, which no list counts. */
static int count_fences(listing *list, const lkv_part *part, uint64_t *out,
                        lkv_error *err)
{
    lkv_storage *storage = list->store->log.storage;
    lkv_run index = lkv_part_index(part);
    uint32_t at = 0;
    *out = 0;
    while (at < index.blocks) {
        lkv_block block;
        int rc = lkv_run_block(storage, &index, at, &block, err);
        if (rc != LKV_OK) {
            return rc;
        }
        *out += block.kind == LKV_BLOCK_LEAF ? block.count : 0;
        at += (uint32_t)(block.size / storage->block);
    }
    return LKV_OK;
}

static int tell_runs(listing *list, lkv_error *err)
{
    const lkv_runs *runs = list->store->log.runs;
    uint64_t block = list->store->log.storage->block;
    uint32_t parts = runs->parts + runs->pass.out;
    int rc = LKV_OK;

    for (uint32_t i = 0; rc == LKV_OK && i < parts + runs->count + runs->merges; i++) {
        lkv_object object = {.kind = LKV_OBJECT_RUN};
        if (i < parts) {
            const lkv_part *part = &runs->part[i];
            object.number = part->index - LKV_RUN_FIRST + 1;
            object.bytes = part->blocks * block;
            rc = count_fences(list, part, &object.keys, err);
        } else {
            const lkv_run *run = &runs->run[i - parts]; /* the merges follow */
            object.number = run->number - LKV_RUN_FIRST + 1;
            object.bytes = run->blocks * block;
            object.keys = run->entries;
        }
        if (rc == LKV_OK && object.bytes > 0) {
            rc = list->each(list->arg, &object);
        }
    }
    return rc;
}

int lkv_list(lkv_store *store, int (*each)(void *arg, const lkv_object *object),
             void *arg, lkv_error *err)
{
    const lkv_log *log = &store->log;
    listing list = {.store = store, .each = each, .arg = arg};
    size_t size;
    int rc;

    if (!log->known) {
        return LKV_OK;
    }
    list.segments = log->count - log->first;
    size = (2 * list.segments + log->runs->parts) * sizeof(uint64_t);
    list.records = lkv_os_alloc(log->os, size);
    if (list.records == NULL) {
        return LKV_NOMEM;
    }
    memset(list.records, 0, size);
    list.live = list.records + list.segments;
    rc = count_records(store, list.records, err);
    if (rc == LKV_OK) {
        rc = sum_live(&list, err);
    }
    if (rc == LKV_OK) {
        rc = tell_segments(&list);
    }
    if (rc == LKV_OK) {
        rc = tell_runs(&list, err);
    }
    lkv_os_free(log->os, list.records);
    return rc;
}
