/*
 * root.c - making an empty log, taking the lists from a root, and writing one.
 */
#include "log.h"

#include <string.h>

int lkv_log_create(lkv_storage *storage, const lkv_os *os, lkv_bytes meta,
                   lkv_error *err)
{
    const lkv_storage_ops *ops = storage->ops;
    lkv_segment_header header = {.number = 1};
    lkv_segment first = {.number = 1};
    lkv_root root = {.generation = 1,
                     .block = storage->block,
                     .segments = 1,
                     .next_part = LKV_PART_FIRST,
                     .next_run = LKV_RUN_FIRST,
                     .tail = {.segment = 1, .offset = LKV_SEGMENT_HEADER},
                     .meta = meta};
    lkv_end end = {.generation = 1, .segment = 1, .offset = LKV_SEGMENT_HEADER};
    uint8_t bytes[LKV_SEGMENT_HEADER];
    uint8_t *root_bytes;
    int rc;

    if (meta.size > LKV_META_MAX) {
        return lkv_log_error(err, LKV_MISUSE,
                             "the description of the store is too long");
    }
    rc = os->random(os->ctx, header.store_id, LKV_ID_SIZE);
    if (rc != 0) {
        lkv_log_error(err, LKV_IO, "no random bytes for the identity of the store");
        if (err != NULL) {
            err->os_errno = rc;
        }
        return LKV_IO;
    }
    memcpy(root.store_id, header.store_id, LKV_ID_SIZE);
    memcpy(end.store_id, header.store_id, LKV_ID_SIZE);
    lkv_format_chain_start(&root.tail.hash, header.store_id, 0, 0);
    root_bytes = lkv_os_alloc(os, lkv_format_root_size(&root));
    if (root_bytes == NULL) {
        return LKV_NOMEM;
    }
    lkv_format_segment(bytes, &header);
    lkv_format_root(root_bytes, &root, &first, NULL, NULL, NULL, NULL, NULL);
    rc = ops->write(storage, 1, 0, (lkv_bytes){bytes, sizeof(bytes)}, err);
    storage->durable = storage->sync != LKV_SYNC_OFF;
    if (rc == LKV_OK) {
        lkv_bytes all = {root_bytes, lkv_format_root_size(&root)};
        rc = ops->write_root(storage, 1, all, err);
    }
    if (rc == LKV_OK) {
        rc = ops->sync(storage, 1, LKV_SEGMENT_HEADER, err);
    }
    if (rc == LKV_OK) {
        rc = ops->publish_end(storage, &end, err);
    }
    lkv_os_free(os, root_bytes);
    return rc;
}

/* Segments lie one after the other, and have numbers that a location can hold. A closed
 * one holds something and the bases do not run over: so each base is greater than the
 * one before, and no segment, whose header tells its base, is listed twice. F9 */
static int check_segments(const lkv_segment *segments, uint32_t count, lkv_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const lkv_segment *at = &segments[i];
        int last = i + 1 == count;
        if (at->number == 0 || at->number > LKV_SEGMENT_NUMBER_MAX ||
            at->number != segments[0].number + i ||
            (last ? at->size != 0
                  : at->size <= LKV_SEGMENT_HEADER || at->size > LKV_SEGMENT_MAX ||
                        segments[i + 1].base < at->base ||
                        segments[i + 1].base - at->base !=
                            at->size - LKV_SEGMENT_HEADER)) {
            return lkv_log_error(err, LKV_CORRUPT,
                                 "root: the list of segments is wrong");
        }
    }
    return LKV_OK;
}

/* Runs follow each other in the log, the tail follows them. Where no run is, no key is.
 * Numbers were all given out. F18 */
static int check_runs(const lkv_runs *runs, lkv_error *err)
{
    uint64_t at = 0;
    if (runs->next_run < LKV_RUN_FIRST || runs->next_run > LKV_RUN_LAST + 1 ||
        (uint64_t)runs->count + runs->merges > LKV_RUNS_MOST) {
        return lkv_log_error(err, LKV_CORRUPT, "root: the list of runs is wrong");
    }
    for (uint32_t i = 0; i < runs->count + runs->merges; i++) {
        const lkv_run *run = &runs->run[i];
        if (i == runs->count) {
            at = 0;
        }
        if (run->number < LKV_RUN_FIRST || run->number >= runs->next_run ||
            run->from < at || run->to < run->from || run->to > runs->tail_at ||
            (run->top >= run->blocks && run->blocks > 0) ||
            (i < runs->count && run->blocks == 0)) {
            return lkv_log_error(err, LKV_CORRUPT, "root: the list of runs is wrong");
        }
        at = run->to;
    }
    return LKV_OK;
}

/* A part holds something and has an index. What a pass has only begun may have none. */
static int check_parts(const lkv_runs *runs, lkv_error *err)
{
    if (runs->next_part < LKV_PART_FIRST || runs->next_part > LKV_RUN_FIRST) {
        return lkv_log_error(err, LKV_CORRUPT, "root: the list of parts is wrong");
    }
    for (uint32_t i = 0; i < runs->parts + runs->pass.out; i++) {
        const lkv_part *part = &runs->part[i];
        int begun = runs->pass.open && i + 1 == runs->parts + runs->pass.out;
        if (part->number < LKV_PART_FIRST || part->number >= runs->next_part ||
            part->size <= LKV_SEGMENT_HEADER || part->size > LKV_SEGMENT_MAX ||
            part->index < LKV_RUN_FIRST || part->index >= runs->next_run ||
            part->keys == 0 || (part->blocks == 0 && !begun) ||
            (part->top >= part->blocks && part->blocks > 0)) {
            return lkv_log_error(err, LKV_CORRUPT, "root: the list of parts is wrong");
        }
    }
    return LKV_OK;
}

/* A pass takes in whole segments, all of whose keys the runs hold. */
static int check_pass(const lkv_runs *runs, const lkv_segment *segments, uint32_t count,
                      lkv_error *err)
{
    const lkv_pass *pass = &runs->pass;
    int found = pass->to == 0 && pass->next == 0 && pass->out == 0 && pass->open == 0;
    for (uint32_t i = 1; i < count && !found; i++) {
        found = pass->to != 0 && segments[i].base == pass->to;
    }
    if (!found || pass->next > runs->parts || pass->open > (pass->out > 0) ||
        pass->to > runs->tail_at) {
        return lkv_log_error(err, LKV_CORRUPT, "root: the compaction is wrong");
    }
    return LKV_OK;
}

static int check_tail(lkv_runs *runs, const lkv_segment *segments, uint32_t count,
                      lkv_error *err)
{
    for (uint32_t i = count; i-- > 0;) {
        if (segments[i].number == runs->tail.segment) {
            if (runs->tail.offset < LKV_SEGMENT_HEADER ||
                (i + 1 < count && runs->tail.offset > segments[i].size)) {
                break;
            }
            runs->tail_at = segments[i].base + runs->tail.offset - LKV_SEGMENT_HEADER;
            return LKV_OK;
        }
    }
    return lkv_log_error(err, LKV_CORRUPT, "root: the tail is not in the log");
}

/* Generation 0 tells a storage that nothing was read, so that a commit under it would
 * be lost; and no commit may come back to it. F9 */
static int check_numbers(const lkv_root *root, lkv_error *err)
{
    const char *why = NULL;
    if (root->block < LKV_BLOCK_MIN || root->block > LKV_BLOCK_MAX) {
        why = "root: the block size is wrong";
    } else if (root->generation == 0 || root->generation > INT64_MAX) {
        why = "root: the generation is wrong";
    }
    return why == NULL ? LKV_OK : lkv_log_error(err, LKV_CORRUPT, why);
}

int lkv_log_read_lists(const lkv_os *os, lkv_bytes bytes, const lkv_root *root,
                       lkv_segment **segments, lkv_runs **runs, lkv_error *err)
{
    int rc;
    lkv_runs like = {.parts = root->parts,
                     .count = root->runs,
                     .merges = root->merges,
                     .gone = root->gone,
                     .next_part = root->next_part,
                     .next_run = root->next_run,
                     .auto_compact = root->auto_compact,
                     .sync = root->sync,
                     .pass = root->pass,
                     .tail = root->tail};
    *segments = lkv_os_alloc(os, root->segments * sizeof(**segments));
    *runs = lkv_runs_new(os, &like);
    if (*segments == NULL || *runs == NULL) {
        return LKV_NOMEM;
    }
    for (uint32_t i = 0; i < root->segments; i++) {
        lkv_format_root_segment(bytes, i, &(*segments)[i]);
    }
    for (uint32_t i = 0; i < root->runs + root->merges; i++) {
        lkv_format_root_run(bytes, root, i, &(*runs)->run[i]);
    }
    for (uint32_t i = 0; i < root->parts + root->pass.out; i++) {
        lkv_format_root_part(bytes, root, i, &(*runs)->part[i]);
    }
    for (uint32_t i = 0; i < root->gone; i++) {
        lkv_format_root_gone(bytes, root, i, &(*runs)->garbage[i]);
    }
    rc = check_segments(*segments, root->segments, err);
    if (rc == LKV_OK) {
        rc = check_tail(*runs, *segments, root->segments, err);
    }
    if (rc == LKV_OK) {
        rc = check_runs(*runs, err);
    }
    if (rc == LKV_OK) {
        rc = check_parts(*runs, err);
    }
    if (rc == LKV_OK) {
        rc = check_pass(*runs, *segments, root->segments, err);
    }
    return rc == LKV_OK ? check_numbers(root, err) : rc;
}

int lkv_log_read_root(lkv_log *log, lkv_bytes *bytes, lkv_root *root, lkv_error *err)
{
    const char *why = "";
    char text[96] = "root: ";
    int rc = log->storage->ops->read_root(log->storage, bytes, err);

    if (rc == LKV_OK && lkv_format_parse_root(*bytes, root, &why) != LKV_OK) {
        strncat(text, why, sizeof(text) - strlen(text) - 1);
        rc = lkv_log_error(err, LKV_CORRUPT, text);
    }
    return rc;
}

int lkv_log_is_there(lkv_log *log, const uint8_t *id, lkv_error *err)
{
    lkv_bytes bytes;
    lkv_root root;
    int rc = lkv_log_read_root(log, &bytes, &root, err);

    if (rc == LKV_OK && memcmp(root.store_id, id, LKV_ID_SIZE) != 0) {
        rc = LKV_ABSENT;
    }
    return rc;
}

int lkv_log_load_root(lkv_log *log, lkv_error *err)
{
    lkv_segment *segments = NULL;
    lkv_runs *runs = NULL;
    uint8_t *meta = NULL;
    lkv_bytes bytes;
    lkv_root root;
    int rc = lkv_log_read_root(log, &bytes, &root, err);

    if (rc != LKV_OK) {
        return rc == LKV_ABSENT ? lkv_log_error(err, LKV_CORRUPT, "root: there is none")
                                : rc;
    }
    rc = lkv_log_read_lists(log->os, bytes, &root, &segments, &runs, err);
    if (rc == LKV_OK) {
        meta = lkv_os_alloc(log->os, root.meta.size + 1);
        rc = meta == NULL ? LKV_NOMEM : LKV_OK;
    }
    if (rc != LKV_OK) {
        lkv_os_free(log->os, segments);
        lkv_runs_release(log->os, runs);
        return rc;
    }
    log->storage->block = root.block;
    if (root.meta.size > 0) {
        memcpy(meta, root.meta.data, root.meta.size);
    }
    lkv_os_free(log->os, log->segments);
    lkv_os_free(log->os, log->meta);
    lkv_runs_release(log->os, log->runs);
    log->segments = segments;
    log->count = log->capacity = root.segments;
    log->runs = runs;
    log->meta = meta;
    log->meta_size = root.meta.size;
    if (log->synced < root.synced ||
        memcmp(log->at.store_id, root.store_id, LKV_ID_SIZE) != 0) {
        log->synced = root.synced;
    }
    lkv_log_choose_sync(log);
    log->at.generation = root.generation;
    memcpy(log->at.store_id, root.store_id, LKV_ID_SIZE);
    return LKV_OK;
}

/* Writing one */

/* Whether a root is to survive a power cut: with sync=normal one now and then, and each
 * one that no commit of the open segment leads to from the one before. */
static int is_durable(const lkv_log *log)
{
    switch (log->storage->sync) {
    case LKV_SYNC_FULL:
        return 1;
    case LKV_SYNC_NORMAL:
        return log->wants_durable ||
               lkv_log_synced(log) <= log->segments[log->count - 1].base ||
               lkv_log_end(log) - log->synced >= log->vouch_every;
    case LKV_SYNC_OFF:
    default:
        return 0;
    }
}

/* The root as the handle knows it; `*bytes` is to be freed. */
static int encode(const lkv_log *log, uint64_t generation, uint64_t synced,
                  uint8_t **bytes, size_t *size)
{
    const lkv_runs *runs = log->runs;
    lkv_root root = {.generation = generation,
                     .block = log->storage->block,
                     .segments = (uint32_t)(log->count - log->first),
                     .parts = runs->parts,
                     .runs = runs->count,
                     .merges = runs->merges,
                     .gone = runs->gone,
                     .next_part = runs->next_part,
                     .next_run = runs->next_run,
                     .auto_compact = runs->auto_compact,
                     .sync = runs->sync,
                     .synced = synced,
                     .tail = runs->tail,
                     .pass = runs->pass,
                     .meta = {log->meta, log->meta_size}};

    *size = lkv_format_root_size(&root);
    *bytes = lkv_os_alloc(log->os, *size);
    if (*bytes == NULL) {
        return LKV_NOMEM;
    }
    memcpy(root.store_id, log->at.store_id, LKV_ID_SIZE);
    lkv_format_root(*bytes, &root, log->segments + log->first, runs->part, runs->out,
                    runs->run, runs->merge, runs->garbage);
    return LKV_OK;
}

int lkv_log_write_root(lkv_log *log, uint64_t generation, lkv_error *err)
{
    uint64_t synced = 0;
    uint8_t *bytes;
    size_t size;
    int rc;

    if (log->runs->next_run > LKV_RUN_LAST + 1) {
        return lkv_log_error(err, LKV_TOO_BIG, "the index has no run numbers left");
    }
    if (!log->storage->atomic) {
        log->storage->durable = is_durable(log);
        synced = log->storage->durable ? lkv_log_end(log) : log->synced;
    }
    rc = encode(log, generation, synced, &bytes, &size);
    if (rc == LKV_OK) {
        rc = log->storage->ops->write_root(log->storage, generation,
                                           (lkv_bytes){bytes, size}, err);
        lkv_os_free(log->os, bytes);
    }
    return rc;
}

int lkv_log_same_root(lkv_log *log, lkv_error *err)
{
    lkv_bytes read;
    lkv_root root;
    uint8_t *bytes;
    size_t size;
    int rc = lkv_log_read_root(log, &read, &root, err);

    if (rc != LKV_OK || root.generation != log->at.generation) {
        return rc;
    }
    rc = encode(log, root.generation, root.synced, &bytes, &size);
    if (rc == LKV_OK) {
        if (size != read.size || memcmp(bytes, read.data, size) != 0) {
            rc = lkv_log_error(err, LKV_CORRUPT,
                               "root: it is not the one that was read");
        }
        lkv_os_free(log->os, bytes);
    }
    return rc;
}
