/*
 * transfer.c - the index as one string of bytes: giving it out, and taking it back.
 *
 *      "LKVindx1" | size of the root u32 | root | blocks | xxh64 u64 over all before it
 *
 * The root is one as a store has it (FORMAT.md), with the log's segments up to the
 * tail, the last of them without a size, the parts and the runs; nothing is under way
 * there, nothing is garbage, and there is no description. The blocks are those of each
 * part's index and then of each run, in the order of the lists. What the tail does not
 * cover, the index in memory, is not in it: who takes it back reads that part of the
 * log.
 *
 * Taking back reads all of it twice: to see that everything in it is right and belongs
 * to this log, before anything changes; and to write it.
 */
#include "rebuild.h"
#include "runcheck.h"
#include "stream.h"

#include <stdio.h>
#include <string.h>

#define HEAD 12u               /* what stands before the root */
#define PIECE_SIZE (64u << 10) /* is written at once, in whole blocks */

/* Fills `err` with "index: what, why" and returns LKV_CORRUPT. */
static int refuse_for(lkv_error *err, const char *what, const char *why)
{
    char text[sizeof(err->text)];
    snprintf(text, sizeof(text), "index: %.40s%.200s", what, why);
    lkv_log_error(err, LKV_CORRUPT, text);
    return LKV_CORRUPT;
}

static int refuse(lkv_error *err, const char *why)
{
    return refuse_for(err, "", why);
}

/* The same of what `err` says; other results go on. */
static int refuse_because(lkv_error *err, int rc, const char *what)
{
    lkv_error said;
    if (rc != LKV_CORRUPT || err == NULL) {
        return rc;
    }
    said = *err;
    return refuse_for(err, what, said.text);
}

static const lkv_run *find_object(const lkv_runs *runs, uint32_t i, lkv_run *index)
{
    if (i < runs->parts) {
        *index = lkv_part_index(&runs->part[i]);
        return index;
    }
    return &runs->run[i - runs->parts];
}

/* Giving it out */

/* The head and the root, in memory of their own. */
static int make_root(const lkv_store *store, lkv_buffer *out)
{
    const lkv_log *log = &store->log;
    const lkv_runs *runs = log->runs;
    const lkv_segment *last = lkv_log_segment(log, runs->tail.segment);
    size_t count = (size_t)(last - log->segments) - log->first + 1;
    lkv_segment *segments = lkv_os_alloc(log->os, count * sizeof(*segments));
    lkv_root root = {.generation = log->at.generation,
                     .block = log->storage->block,
                     .segments = (uint32_t)count,
                     .parts = runs->parts,
                     .runs = runs->count,
                     .next_part = runs->next_part,
                     .next_run = runs->next_run,
                     .tail = runs->tail};
    size_t size = lkv_format_root_size(&root);

    if (segments == NULL || lkv_buffer_reserve(out, log->os, HEAD + size) != LKV_OK) {
        lkv_os_free(log->os, segments);
        return LKV_NOMEM;
    }
    memcpy(root.store_id, log->at.store_id, LKV_ID_SIZE);
    memcpy(segments, log->segments + log->first, count * sizeof(*segments));
    segments[count - 1].size = 0;
    memcpy(out->bytes, LKV_EXPORT_MAGIC, 8);
    lkv_format_u32(out->bytes + 8, (uint32_t)size);
    lkv_format_root(out->bytes + HEAD, &root, segments, runs->part, NULL, runs->run,
                    NULL, NULL);
    out->size = HEAD + size;
    lkv_os_free(log->os, segments);
    return LKV_OK;
}

static int give_object(lkv_store *store, const lkv_run *run, lkv_sink *to,
                       lkv_error *err)
{
    lkv_storage *storage = store->log.storage;
    uint32_t at = 0;
    int rc = LKV_OK;

    while (at < run->blocks && rc == LKV_OK) {
        lkv_block block;
        store->log.views++;
        rc = lkv_run_block(storage, run, at, &block, err);
        if (rc == LKV_OK) {
            at += (uint32_t)(block.size / storage->block);
            rc = lkv_sink_give(to, block.bytes, block.size);
        }
    }
    return rc;
}

int lkv_export(lkv_store *store, int (*put)(void *arg, lkv_bytes bytes), void *arg,
               lkv_error *err)
{
    const lkv_log *log = &store->log;
    lkv_sink to = {.put = put, .arg = arg};
    lkv_buffer root = {NULL, 0, 0};
    int rc;

    if (!log->known || lkv_changed(store)) {
        return lkv_log_error(err, LKV_MISUSE,
                             log->known ? "the transaction has changed something"
                                        : "nothing was read yet");
    }
    lkv_hash_start(&to.hash);
    rc = make_root(store, &root);
    if (rc == LKV_OK) {
        rc = lkv_sink_give(&to, root.bytes, root.size);
    }
    lkv_os_free(log->os, root.bytes);
    for (uint32_t i = 0; rc == LKV_OK && i < log->runs->parts + log->runs->count; i++) {
        lkv_run index;
        rc = give_object(store, find_object(log->runs, i, &index), &to, err);
    }
    return rc == LKV_OK ? lkv_sink_end(&to) : rc;
}

/* Taking it back */

#define ANOTHER_HISTORY "it is of another history of the store"
#define CHANGED "it changed while it was read"

typedef struct importing {
    lkv_store *store;
    lkv_stream stream;
    lkv_segment *segments;
    uint32_t count;     /* of these */
    lkv_runs *runs;     /* as it was exported */
    uint64_t blocks_at; /* of the source: where the blocks begin */
    uint64_t sum;       /* found over all of it */
    lkv_asking asking;
} importing;

/* The next `size` bytes, in one piece, until the next call. */
static int take(importing *in, size_t size, const uint8_t **out, lkv_error *err)
{
    int rc = lkv_stream_take(&in->stream, size, out);
    return rc == LKV_ABSENT ? refuse(err, "it is cut short") : rc;
}

/* The lists, and whether they are those of an export that is whole. */
static int read_root(importing *in, lkv_error *err)
{
    const lkv_log *log = &in->store->log;
    uint64_t bytes;
    const uint8_t *at = NULL;
    const char *why = "";
    lkv_root root;
    size_t size = 0;
    int rc = take(in, HEAD, &at, err);

    if (rc == LKV_OK) {
        if (memcmp(at, LKV_EXPORT_MAGIC, 8) != 0) {
            return refuse(err, "not an exported index of this format");
        }
        size = lkv_format_get_u32(at + 8);
        rc = size > in->stream.source->size ? refuse(err, "it is cut short")
                                            : take(in, size, &at, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    if (lkv_format_parse_root((lkv_bytes){at, size}, &root, &why) != LKV_OK) {
        return refuse_for(err, "root: ", why);
    }
    if (memcmp(root.store_id, log->at.store_id, LKV_ID_SIZE) != 0) {
        return refuse(err, "it is of another store");
    }
    if (root.block != log->storage->block || root.merges > 0 || root.gone > 0 ||
        root.pass.to != 0 || root.pass.out > 0 || root.meta.size > 0) {
        return refuse(err, "root: not that of an index");
    }
    rc = lkv_log_read_lists(log->os, (lkv_bytes){at, size}, &root, &in->segments,
                            &in->runs, err);
    if (rc != LKV_OK) {
        return refuse_because(err, rc, "");
    }
    if (in->runs->tail.segment != in->segments[root.segments - 1].number) {
        return refuse(err, "root: not that of an index");
    }
    in->count = root.segments;
    in->blocks_at = bytes = HEAD + (uint64_t)size;
    for (uint32_t i = 0; i < in->runs->parts + in->runs->count; i++) {
        lkv_run index;
        bytes += (uint64_t)find_object(in->runs, i, &index)->blocks * root.block;
    }
    return bytes + sizeof(in->sum) == in->stream.source->size
               ? LKV_OK
               : refuse(err, "its length is not what its root says");
}

static int same_part(const lkv_part *a, const lkv_part *b)
{
    return a->number == b->number && a->size == b->size && a->keys == b->keys &&
           a->bytes == b->bytes && a->digest == b->digest;
}

/* What it leans on must be in the log as it is now. */
static int check_lists(const importing *in, lkv_error *err)
{
    const lkv_log *log = &in->store->log;
    const lkv_runs *now = log->runs;
    const lkv_segment *first = &log->segments[log->first];
    int compacted = in->runs->parts != now->parts ||
                    in->segments[0].number != first->number ||
                    in->segments[0].base != first->base;

    for (uint32_t i = 0; i < now->parts && !compacted; i++) {
        compacted = !same_part(&in->runs->part[i], &now->part[i]);
    }
    if (compacted) {
        return refuse(err, "the log was compacted since");
    }
    for (uint32_t i = 0; i < in->count; i++) {
        size_t k = log->first + i;
        uint32_t limit = k < log->count ? lkv_log_limit(log, k) : 0;
        if (k >= log->count || (i + 1 == in->count ? in->runs->tail.offset
                                                   : in->segments[i].size) > limit) {
            return refuse(err, "it covers more than the log has");
        }
        if (first[i].base != in->segments[i].base) {
            return refuse(err, ANOTHER_HISTORY);
        }
    }
    return LKV_OK;
}

/* Reads the log from the commit that the tail names to the tail, and `replay` stands
 * there. The chain value it begins with is proven with the tail. */
static int go_to_tail(const importing *in, lkv_replay *replay, lkv_error *err)
{
    lkv_log *log = &in->store->log;
    const lkv_runs *runs = in->runs;
    const lkv_tail *tail = &runs->tail;
    uint64_t place = runs->tail_at - tail->covered;
    size_t i = log->first + in->count - 1;
    lkv_end commit = log->at;
    lkv_record record;
    lkv_loc loc;
    int rc = LKV_OK;

    while (i > log->first && log->segments[i].base > place) {
        i--;
    }
    if (tail->covered > runs->tail_at || place < log->segments[i].base ||
        place - log->segments[i].base >
            lkv_log_limit(log, i) - (uint64_t)LKV_SEGMENT_HEADER) {
        return refuse(err, ANOTHER_HISTORY);
    }
    commit.revision = tail->revision;
    commit.chain = tail->chain;
    commit.segment = log->segments[i].number;
    commit.offset = (uint32_t)(place - log->segments[i].base) + LKV_SEGMENT_HEADER;
    lkv_replay_at_commit(replay, log, &commit);
    while (rc == LKV_OK && lkv_replay_logical(replay) < runs->tail_at) {
        rc = lkv_replay_next(replay, &record, &loc, err);
    }
    if (rc < 0) {
        return refuse_because(err, rc, "it does not fit the log: ");
    }
    return lkv_replay_logical(replay) == runs->tail_at &&
                   replay->at.revision == tail->revision &&
                   replay->covered == tail->covered &&
                   lkv_hash_value(&replay->hash) == lkv_hash_value(&tail->hash)
               ? LKV_OK
               : refuse(err, ANOTHER_HISTORY);
}

/* Whether the tail stands in this log. The next commit proves it, whose chain value
 * goes on from the tail's; behind the last one the tail must be where that ends. */
static int check_tail(const importing *in, lkv_error *err)
{
    lkv_log *log = &in->store->log;
    const lkv_tail *tail = &in->runs->tail;
    const lkv_segment *segment = lkv_log_segment(log, log->at.segment);
    lkv_replay replay;
    lkv_record record;
    lkv_loc loc;
    int rc = go_to_tail(in, &replay, err);

    if (rc != LKV_OK) {
        return rc;
    }
    while ((rc = lkv_replay_next(&replay, &record, &loc, err)) == LKV_OK &&
           replay.at.revision == tail->revision) {
    }
    if (rc < 0) {
        return refuse_because(err, rc, "it does not fit the log: ");
    }
    if (replay.at.revision != tail->revision) {
        return LKV_OK;
    }
    return tail->revision == log->at.revision && tail->chain == log->at.chain &&
                   tail->covered == 0 &&
                   in->runs->tail_at ==
                       segment->base + log->at.offset - LKV_SEGMENT_HEADER
               ? LKV_OK
               : refuse(err, ANOTHER_HISTORY);
}

static int block_damage(lkv_error *err, uint64_t number, const char *why)
{
    char what[40];
    snprintf(what, sizeof(what), "block %llu: ", (unsigned long long)number);
    return refuse_for(err, what, why);
}

/* The next block of an object of which `left` storage blocks are to come, and how many
 * of them it takes; 0 when it does not say that soundly, and is not taken. */
static int take_block(importing *in, uint32_t left, const uint8_t **at, uint32_t *span,
                      lkv_error *err)
{
    uint32_t unit = in->store->log.storage->block;
    int rc = lkv_stream_peek(&in->stream, unit, at);
    if (rc != LKV_OK) {
        return rc == LKV_ABSENT ? refuse(err, "it is cut short") : rc;
    }
    *span = lkv_block_span(*at, unit);
    *span = *span <= left ? *span : 0;
    return *span == 0 ? LKV_OK : take(in, (size_t)*span * unit, at, err);
}

/* Looks at the blocks of object `i`; `*number` of them came before it. */
static int check_object(importing *in, uint32_t i, uint64_t *number, lkv_error *err)
{
    uint32_t unit = in->store->log.storage->block, left;
    int is_part = i < in->runs->parts;
    lkv_run index;
    const lkv_run *run = find_object(in->runs, i, &index);
    lkv_expected want = {&in->store->log, run, is_part ? &in->runs->part[i] : NULL,
                         LKV_SEGMENT_HEADER};
    lkv_run_check check;
    const char *why = "";
    const uint8_t *at = NULL;
    int rc = LKV_OK;

    lkv_run_check_init(&check, in->store->log.os, unit, run->number, is_part,
                       is_part ? lkv_expected_fence : lkv_expected_place, &want);
    for (left = run->blocks; left > 0 && rc == LKV_OK;) {
        uint32_t span;
        rc = take_block(in, left, &at, &span, err);
        if (rc == LKV_OK && span == 0) {
            rc = block_damage(err, *number, "not a block of a run");
        }
        if (rc == LKV_OK) {
            rc =
                lkv_run_check_block(&check, (lkv_bytes){at, (size_t)span * unit}, &why);
            rc = rc == LKV_CORRUPT ? block_damage(err, *number, why) : rc;
            left -= span;
            *number += span;
        }
    }
    if (rc == LKV_OK) {
        rc = lkv_run_check_end(&check, run, 1, &why);
        if (rc == LKV_OK && is_part && want.offset != want.part->size - LKV_SEAL_SIZE) {
            why = "the locations are not all of the part";
            rc = LKV_CORRUPT;
        }
        rc = rc == LKV_CORRUPT ? block_damage(err, *number - 1, why) : rc;
    }
    lkv_run_check_free(&check);
    return rc;
}

static int check_blocks(importing *in, lkv_error *err)
{
    uint64_t number = 0;
    const uint8_t *at = NULL;
    int rc = LKV_OK;

    for (uint32_t i = 0; rc == LKV_OK && i < in->runs->parts + in->runs->count; i++) {
        rc = check_object(in, i, &number, err);
    }
    if (rc == LKV_OK) {
        in->sum = lkv_hash_value(&in->stream.hash);
        rc = take(in, sizeof(in->sum), &at, err);
    }
    if (rc == LKV_OK && lkv_format_get_u64(at) != in->sum) {
        rc = refuse(err, "checksum mismatch");
    }
    return rc;
}

/* The list with the index that was given, as new objects. */
static lkv_runs *make_list(const importing *in)
{
    const lkv_runs *from = in->runs;
    lkv_runs *runs = lkv_reindex_list(in->store, from->count);

    if (runs == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < from->parts; i++) {
        runs->part[i].index = runs->next_run++;
        runs->part[i].blocks = from->part[i].blocks;
        runs->part[i].top = from->part[i].top;
        runs->part[i].known = 0;
    }
    for (uint32_t i = 0; i < from->count; i++) {
        runs->run[i] = from->run[i];
        runs->run[i].number = runs->next_run++;
    }
    runs->tail = from->tail;
    runs->tail_at = from->tail_at;
    return runs;
}

/* Writes the blocks of a run, with the checksums of their new place. */
static int write_object(importing *in, const lkv_run *run, lkv_buffer *out,
                        lkv_error *err)
{
    lkv_storage *storage = in->store->log.storage;
    size_t unit = storage->block;
    uint32_t number = 0, from = 0;
    int rc = LKV_OK;

    out->size = 0;
    while (rc == LKV_OK && number < run->blocks) {
        const uint8_t *at = NULL;
        uint32_t span;
        rc = take_block(in, run->blocks - number, &at, &span, err);
        if (rc == LKV_OK && span == 0) {
            rc = refuse(err, CHANGED);
        }
        if (rc == LKV_OK) {
            rc = lkv_buffer_reserve(out, in->store->log.os, span * unit);
        }
        if (rc != LKV_OK) {
            return rc;
        }
        memcpy(out->bytes + out->size, at, span * unit);
        lkv_block_seal(out->bytes + out->size, span * unit,
                       lkv_block_place(run->number, number));
        out->size += span * unit;
        number += span;
        if (out->size >= PIECE_SIZE || number == run->blocks) {
            rc = storage->ops->write(storage, run->number, (uint64_t)from * unit,
                                     (lkv_bytes){out->bytes, out->size}, err);
            out->size = 0;
            from = number;
        }
    }
    return rc;
}

/* Writes the blocks as the objects of the list. They must be those that were seen. */
static int write_objects(importing *in, lkv_error *err)
{
    lkv_buffer piece = {.size = 0};
    uint64_t sum = in->sum;
    const uint8_t *at = NULL;
    int rc;

    lkv_stream_start(&in->stream);
    rc = take(in, (size_t)in->blocks_at, &at, err);
    for (uint32_t i = 0; rc == LKV_OK && i < in->runs->parts + in->runs->count; i++) {
        lkv_run index, run = *find_object(in->store->log.runs, i, &index);
        rc = write_object(in, &run, &piece, err);
    }
    lkv_os_free(in->store->log.os, piece.bytes);
    if (rc == LKV_OK && lkv_hash_value(&in->stream.hash) != sum) {
        rc = refuse(err, CHANGED);
    }
    return rc;
}

/* Each fence leads to records: what stands in parts is as the index tells. */
static int check_parts(lkv_store *store, lkv_asking *asking, lkv_error *err)
{
    lkv_base_cursor cursor;
    int rc;

    lkv_base_init(&cursor, &store->log, store->log.runs);
    rc = lkv_base_first(&cursor, err);
    while (rc == LKV_OK) {
        rc = lkv_base_check(&cursor, err);
        if (rc == LKV_OK) {
            rc = lkv_ask(asking, lkv_base_place(&cursor).size);
        }
        rc = rc == LKV_OK ? lkv_base_next(&cursor, err) : rc;
    }
    lkv_base_free(&cursor);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int replace(importing *in, lkv_error *err)
{
    lkv_asking *asking = &in->asking;
    lkv_store *store = in->store;
    lkv_runs *runs = make_list(in);
    lkv_replay replay;
    int rc;

    if (runs == NULL) {
        return LKV_NOMEM;
    }
    lkv_reindex_set(store, runs);
    rc = write_objects(in, err);
    if (rc == LKV_OK) {
        rc = check_parts(store, asking, err);
    }
    if (rc == LKV_OK) {
        lkv_replay_at_tail(&replay, &store->log, &store->log.runs->tail);
        replay.headers = 1;
        rc = lkv_reindex_log(store, &replay, asking, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_reindex_check(store, asking,
                               "index: it does not have the keys of the log", err);
    }
    return rc;
}

int lkv_import(lkv_store *store, const lkv_source *source, int (*go_on)(void *arg),
               void *arg, lkv_error *err)
{
    importing in = {.store = store,
                    .stream = {.os = store->log.os, .source = source},
                    .asking = {go_on, arg, 0}};
    lkv_before before;
    int rc;

    if (!store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    lkv_stream_start(&in.stream);
    rc = read_root(&in, err);
    if (rc == LKV_OK) {
        rc = check_lists(&in, err);
    }
    if (rc == LKV_OK) {
        rc = check_tail(&in, err);
    }
    if (rc == LKV_OK) {
        rc = check_blocks(&in, err);
    }
    if (rc == LKV_OK) {
        lkv_before_take(&before, store);
        rc = lkv_before_end(&before, store, replace(&in, err));
    }
    lkv_os_free(store->log.os, in.stream.buffer.bytes);
    lkv_os_free(store->log.os, in.segments);
    lkv_runs_release(store->log.os, in.runs);
    return rc;
}
