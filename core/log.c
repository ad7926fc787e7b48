/*
 * log.c - reading the log and appending to it. See log.h.
 */
#include "log.h"

#include <stdio.h>
#include <string.h>

#define FIRST_BUFFER 4096u
#define LINE 64u /* bytes that a processor fetches from memory at once */
#define VOUCH_EVERY (4u << 20)

int lkv_log_error(lkv_error *err, int rc, const char *why)
{
    if (err != NULL) {
        err->os_errno = 0;
        snprintf(err->text, sizeof(err->text), "%s", why);
    }
    return rc;
}

int lkv_log_damage(lkv_error *err, uint32_t segment, uint64_t offset, const char *why)
{
    int part = segment >= LKV_PART_FIRST;
    if (err != NULL) {
        err->os_errno = 0;
        snprintf(err->text, sizeof(err->text), "%s %u, offset %llu: %s",
                 part ? "part" : "segment",
                 part ? segment - LKV_PART_FIRST + 1 : segment,
                 (unsigned long long)offset, why);
    }
    return LKV_CORRUPT;
}

void lkv_log_init(lkv_log *log, lkv_storage *storage, const lkv_os *os)
{
    memset(log, 0, sizeof(*log));
    log->storage = storage;
    log->os = os;
    log->vouch_every = VOUCH_EVERY;
    lkv_tops_init(&log->tops, storage, os);
}

void lkv_log_free(lkv_log *log)
{
    lkv_log_mark_pop(log, 0);
    lkv_tops_free(&log->tops);
    lkv_runs_release(log->os, log->runs);
    lkv_os_free(log->os, log->segments);
    lkv_os_free(log->os, log->meta);
    lkv_os_free(log->os, log->buffer);
    lkv_os_free(log->os, log->marks);
    lkv_os_free(log->os, log->scratch);
}

const lkv_segment *lkv_log_segment(const lkv_log *log, uint32_t number)
{
    /* Numbers follow each other. F9 */
    uint32_t first = log->count == 0 ? 0 : log->segments[0].number;
    return number >= first && number - first < log->count
               ? &log->segments[number - first]
               : NULL;
}

uint32_t lkv_log_limit(const lkv_log *log, size_t i)
{
    if (i + 1 < log->count) {
        return log->segments[i].size;
    }
    return log->open ? log->end : log->at.offset;
}

static int grow(const lkv_os *os, uint8_t **bytes, size_t *have, size_t want)
{
    size_t size = *have < FIRST_BUFFER ? FIRST_BUFFER : *have;
    uint8_t *moved;
    if (want <= *have) {
        return LKV_OK;
    }
    while (size < want) {
        size = size < LKV_SEGMENT_SIZE ? size * 2 : want + FIRST_BUFFER;
    }
    moved = lkv_os_resize(os, *bytes, size);
    if (moved == NULL) {
        return LKV_NOMEM;
    }
    *bytes = moved;
    *have = size;
    return LKV_OK;
}

/* The record at `offset` of the open segment, which starts below `buffer_at` and may
 * end above it. */
static int read_both(lkv_log *log, uint32_t offset, size_t need, lkv_bytes *view,
                     lkv_error *err)
{
    uint32_t number = log->segments[log->count - 1].number;
    size_t below = log->buffer_at - offset;
    int rc;

    if (need > log->end - offset) {
        return lkv_log_damage(err, number, offset, "record runs past the end");
    }
    rc = grow(log->os, &log->scratch, &log->scratch_size, need);
    if (rc == LKV_OK) {
        rc = log->storage->ops->read(log->storage, number, offset, below, view, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    if (view->size < below) {
        return lkv_log_damage(err, number, offset, "it is cut short");
    }
    memcpy(log->scratch, view->data, below);
    memcpy(log->scratch + below, log->buffer, need - below);
    *view = (lkv_bytes){log->scratch, need};
    return LKV_OK;
}

/* At least `want` bytes at `offset` of listed segment `i`, in one piece. */
static int read_bytes(lkv_log *log, size_t i, uint32_t offset, size_t want,
                      lkv_bytes *view, lkv_error *err)
{
    uint32_t number = log->segments[i].number;
    uint32_t limit = lkv_log_limit(log, i);
    int rc;

    if (i + 1 == log->count && log->open) {
        if (offset >= log->buffer_at && offset <= log->end) {
            *view =
                (lkv_bytes){log->buffer + (offset - log->buffer_at), log->end - offset};
            return view->size < want
                       ? lkv_log_damage(err, number, offset, "record runs past the end")
                       : LKV_OK;
        }
        if (limit > log->buffer_at) {
            limit = log->buffer_at;
        }
        if (offset < limit && want > limit - offset) {
            return read_both(log, offset, want, view, err);
        }
    }
    if (offset > limit || want > limit - offset) {
        return lkv_log_damage(err, number, offset, "record runs past the end");
    }
    rc = log->storage->ops->read(log->storage, number, offset, want, view, err);
    if (rc == LKV_OK && view->size < want) {
        return lkv_log_damage(err, number, offset, "it is cut short");
    }
    if (rc == LKV_OK && view->size > limit - offset) {
        view->size = limit - offset;
    }
    return rc;
}

int lkv_log_header(lkv_log *log, size_t i, lkv_segment_header *header, lkv_error *err)
{
    const char *why = "";
    lkv_bytes view;
    int rc = read_bytes(log, i, 0, LKV_SEGMENT_HEADER, &view, err);
    if (rc == LKV_OK && lkv_format_parse_segment(view, header, &why) != LKV_OK) {
        rc = lkv_log_damage(err, log->segments[i].number, 0, why);
    }
    return rc;
}

/* The same of a part. */
static int read_part(lkv_log *log, uint32_t number, uint32_t offset, size_t want,
                     lkv_bytes *view, lkv_error *err)
{
    int rc = log->storage->ops->read(log->storage, number, offset, want, view, err);
    if (rc == LKV_OK && view->size < want) {
        return lkv_log_damage(err, number, offset, "it is cut short");
    }
    return rc;
}

int lkv_log_read(lkv_log *log, lkv_loc loc, lkv_record *record, lkv_error *err)
{
    uint32_t offset = lkv_loc_offset(loc);
    uint32_t number = lkv_loc_segment(loc);
    const lkv_segment *segment = lkv_log_segment(log, number);
    const char *why = "";
    size_t need = LKV_RECORD_HEADER;
    lkv_bytes view;
    int rc;

    log->views++;
    if (segment == NULL && number < LKV_PART_FIRST) {
        return lkv_log_damage(err, number, offset, "no such segment");
    }
    do {
        size_t want = need;
        rc = segment == NULL ? read_part(log, number, offset, want, &view, err)
                             : read_bytes(log, (size_t)(segment - log->segments),
                                          offset, want, &view, err);
        if (rc != LKV_OK) {
            return rc;
        }
        if (view.size > 2 * LINE) { /* of a record of usual size all at the same time */
            __builtin_prefetch((const uint8_t *)view.data + LINE);
            __builtin_prefetch((const uint8_t *)view.data + 2 * LINE);
        }
        rc = lkv_format_parse(view.data, view.size, record, &need, &why);
    } while (rc == LKV_ABSENT);
    return rc == LKV_OK ? LKV_OK : lkv_log_damage(err, number, offset, why);
}

int lkv_log_next(lkv_log_scan *scan, lkv_record *record, lkv_loc *loc, lkv_error *err)
{
    lkv_log *log = scan->log;
    size_t need = LKV_RECORD_HEADER;
    const char *why = "";
    int rc;

    while (scan->offset == lkv_log_limit(log, scan->segment)) {
        if (scan->segment + 1 >= log->count) {
            return LKV_ABSENT;
        }
        scan->segment++;
        scan->offset = LKV_SEGMENT_HEADER;
        scan->view.size = 0;
    }
    while ((rc = lkv_format_parse(scan->view.data, scan->view.size, record, &need,
                                  &why)) == LKV_ABSENT) {
        size_t want = need;
        log->views++;
        rc = read_bytes(log, scan->segment, scan->offset, want, &scan->view, err);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    if (rc != LKV_OK) {
        return lkv_log_damage(err, log->segments[scan->segment].number, scan->offset,
                              why);
    }
    *loc = lkv_loc_make(record->tag, log->segments[scan->segment].number, scan->offset);
    if (record->kind == LKV_KIND_TOMBSTONE) {
        *loc |= LKV_LOC_TOMBSTONE;
    }
    scan->bytes = scan->view.data;
    scan->view.data = scan->bytes + record->size;
    scan->view.size -= record->size;
    scan->offset += (uint32_t)record->size;
    return LKV_OK;
}

uint64_t lkv_log_end(const lkv_log *log)
{
    return log->segments[log->count - 1].base + log->end - LKV_SEGMENT_HEADER;
}

uint64_t lkv_log_synced(const lkv_log *log)
{
    return log->synced < log->begin.logical ? log->synced : log->begin.logical;
}

uint64_t lkv_log_grown(const lkv_log *log)
{
    return lkv_log_end(log) - log->begin.logical;
}

static void start_chain(lkv_log *log)
{
    log->hashed = log->end;
    log->covered = 0;
    lkv_format_chain_start(&log->hash, log->at.store_id, log->at.chain,
                           lkv_log_end(log));
}

void lkv_log_choose_sync(lkv_log *log)
{
    log->storage->sync =
        log->runs->sync > 0 ? (enum lkv_sync)(log->runs->sync - 1) : log->sync;
}

void lkv_log_set_runs(lkv_log *log, lkv_runs *runs)
{
    lkv_runs_release(log->os, log->runs);
    log->runs = runs;
    log->root_changed = 1;
    lkv_log_choose_sync(log);
}

void lkv_log_begin(lkv_log *log)
{
    log->open = 1;
    log->root_changed = 0;
    log->buffer_at = log->flushed = log->end = log->at.offset;
    start_chain(log);
    log->prepared_runs = lkv_runs_hold(log->runs);
    lkv_log_mark_here(log, &log->begin);
    lkv_runs_hold(log->begin.runs);
    lkv_runs_hold(log->begin.prepared_runs);
}

static void hash_to(lkv_log *log, uint32_t offset)
{
    if (offset > log->hashed) {
        lkv_hash_add(&log->hash, log->buffer + (log->hashed - log->buffer_at),
                     offset - log->hashed);
        log->covered += offset - log->hashed;
        log->hashed = offset;
    }
}

void lkv_log_tail(lkv_log *log, lkv_tail *tail, uint64_t *logical)
{
    hash_to(log, log->end);
    tail->segment = log->segments[log->count - 1].number;
    tail->offset = log->end;
    tail->revision = log->at.revision;
    tail->chain = log->at.chain;
    tail->covered = log->covered;
    tail->hash = log->hash;
    *logical = lkv_log_end(log);
}

/* Writes the buffer up to `offset`. After a failure nothing here may be touched: the
 * storage's owner may have rolled the transaction back. */
static int flush(lkv_log *log, uint32_t offset, lkv_error *err)
{
    lkv_bytes bytes = {NULL, offset - log->flushed};
    int rc = LKV_OK;

    hash_to(log, offset);
    if (bytes.size > 0) {
        bytes.data = log->buffer + (log->flushed - log->buffer_at);
        log->views++; /* what storage showed may move */
        rc =
            log->storage->ops->write(log->storage, log->segments[log->count - 1].number,
                                     log->flushed, bytes, err);
    }
    if (rc == LKV_OK) {
        log->flushed = offset;
    }
    return rc;
}

/* Lets go of the buffer below `flushed`. */
static void slide(lkv_log *log)
{
    memmove(log->buffer, log->buffer + (log->flushed - log->buffer_at),
            log->end - log->flushed);
    log->buffer_at = log->flushed;
    log->views++;
}

static int spill(lkv_log *log, lkv_error *err)
{
    uint32_t whole = log->end - log->end % log->storage->block;
    int rc = lkv_log_stash_keep(log);
    if (rc == LKV_OK && whole > log->flushed) {
        rc = flush(log, whole, err);
    }
    if (rc == LKV_OK) {
        slide(log);
    }
    return rc;
}

static int roll(lkv_log *log, lkv_error *err)
{
    lkv_segment *open = &log->segments[log->count - 1];
    lkv_segment_header header = {.number = open->number + 1,
                                 .base = lkv_log_end(log),
                                 .chain_before = log->at.chain,
                                 .revision_before = log->at.revision};
    int rc;

    if (header.number > LKV_SEGMENT_NUMBER_MAX) {
        return lkv_log_error(err, LKV_TOO_BIG, "the log has no segment numbers left");
    }
    if (log->count == log->capacity) {
        size_t capacity = log->capacity * 2;
        lkv_segment *moved =
            lkv_os_resize(log->os, log->segments, capacity * sizeof(*moved));
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        log->segments = moved;
        log->capacity = capacity;
        open = &moved[log->count - 1];
    }
    rc = lkv_log_stash_keep(log);
    if (rc == LKV_OK) {
        rc = flush(log, log->end, err);
    }
    if (rc == LKV_OK) {
        rc = log->storage->ops->seal(log->storage, open->number, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    open->size = log->end;
    log->segments[log->count++] = (lkv_segment){header.number, 0, header.base};
    log->root_changed = 1;
    log->views++;
    memcpy(header.store_id, log->at.store_id, LKV_ID_SIZE);
    lkv_format_segment(log->buffer, &header);
    log->buffer_at = log->flushed = 0;
    log->end = log->hashed = LKV_SEGMENT_HEADER;
    return LKV_OK;
}

int lkv_log_roll(lkv_log *log, lkv_error *err)
{
    int rc = grow(log->os, &log->buffer, &log->buffer_size, LKV_SEGMENT_HEADER);
    return rc == LKV_OK ? roll(log, err) : rc;
}

int lkv_log_reserve(lkv_log *log, size_t size, lkv_error *err)
{
    int rc = LKV_OK;

    if (size > LKV_SEGMENT_MAX - LKV_SEGMENT_HEADER - 2 * LKV_COMMIT_SIZE) {
        return lkv_log_error(err, LKV_TOO_BIG, "the record is longer than a segment");
    }
    /* A record that begins inside the target may end beyond it; a commit always fits.
     */
    if (log->end + size > log->storage->segment && log->end > LKV_SEGMENT_HEADER) {
        rc = lkv_log_roll(log, err);
    } else if (log->end - log->buffer_at >= log->storage->spill) {
        rc = spill(log, err);
    }
    if (rc == LKV_OK && log->end - log->buffer_at + size > log->buffer_size) {
        log->views++;
        rc = grow(log->os, &log->buffer, &log->buffer_size,
                  log->end - log->buffer_at + size);
    }
    return rc;
}

lkv_loc lkv_log_place(const lkv_log *log, unsigned tag)
{
    return lkv_loc_make(tag, log->segments[log->count - 1].number, log->end);
}

void lkv_log_append(lkv_log *log, enum lkv_kind kind, unsigned tag, lkv_bytes key,
                    lkv_bytes value)
{
    lkv_format_record(log->buffer + (log->end - log->buffer_at), kind, tag, key, value);
    log->end += (uint32_t)lkv_format_size(key, value);
}

/* Writes and publishes what was appended, `end` last. */
static int write_out(lkv_log *log, const lkv_end *end, lkv_error *err)
{
    const lkv_storage_ops *ops = log->storage->ops;
    int rc = flush(log, log->end, err);
    if (rc == LKV_OK && end->generation != log->at.generation) {
        rc = lkv_log_write_root(log, end->generation, err);
    }
    if (rc == LKV_OK) {
        rc = ops->sync(log->storage, end->segment, end->offset, err);
    }
    if (rc == LKV_OK) {
        rc = ops->publish_end(log->storage, end, err);
    }
    if (rc == LKV_OK && !log->storage->atomic) {
        log->synced = log->storage->synced ? lkv_log_end(log) : log->synced;
        log->unvouched =
            !(end->generation != log->at.generation && log->storage->durable);
    }
    return rc;
}

int lkv_log_vouch(lkv_log *log, lkv_error *err)
{
    lkv_end end = log->at;
    int rc;
    end.generation++;
    log->wants_durable = 1;
    rc = write_out(log, &end, err);
    log->wants_durable = 0;
    if (rc == LKV_OK) {
        log->at = end;
    }
    return rc;
}

int lkv_log_changed(const lkv_log *log)
{
    return log->end != log->at.offset || log->root_changed;
}

int lkv_log_is_ahead(const lkv_log *log)
{
    return log->root_changed || log->flushed != log->at.offset ||
           log->segments[log->count - 1].number != log->at.segment;
}

int lkv_log_prepare(lkv_log *log, uint64_t live_keys, uint64_t live_bytes,
                    lkv_error *err)
{
    lkv_commit_record commit = {0};
    uint64_t rollbacks = log->rollbacks, synced;
    lkv_log_mark before;
    lkv_end end;
    int rc;

    if (!lkv_log_changed(log)) {
        return LKV_OK;
    }
    rc = lkv_log_reserve(log, LKV_COMMIT_SIZE, err);
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_log_mark_here(log, &before);
    if (log->storage->unsafe && log->storage->sync != LKV_SYNC_OFF) {
        log->root_changed = log->wants_durable =
            1; /* nothing leads here that would last */
    }
    hash_to(log, log->end);
    commit.revision = log->at.revision + 1;
    commit.time_ms = log->os->now_ms(log->os->ctx);
    commit.covered = log->covered;
    synced = lkv_log_synced(log);
    commit.synced_end =
        log->storage->atomic ? lkv_log_end(log) + LKV_COMMIT_SIZE : synced;
    commit.live_keys = live_keys;
    commit.live_bytes = live_bytes;
    commit.chain = lkv_format_chain_end(&log->hash, &commit);
    lkv_format_commit(log->buffer + (log->end - log->buffer_at), &commit);
    log->end += LKV_COMMIT_SIZE;

    end = log->at;
    end.generation += log->root_changed ? 1 : 0;
    end.revision = commit.revision;
    end.chain = commit.chain;
    end.live_keys = live_keys;
    end.live_bytes = live_bytes;
    end.segment = log->segments[log->count - 1].number;
    end.offset = log->end;
    rc = write_out(log, &end, err);
    log->wants_durable = 0;
    if (rc == LKV_OK) {
        log->at = end;
        log->root_changed = 0;
        lkv_runs_release(log->os, log->prepared_runs);
        log->prepared_runs = lkv_runs_hold(log->runs);
        log->prepared_first = log->first;
        start_chain(log);
    } else if (rollbacks == log->rollbacks) {
        lkv_log_rewind(log, &before);
    }
    return rc;
}

static void leave(lkv_log *log)
{
    log->open = 0;
    lkv_log_mark_pop(log, 0);
    lkv_runs_release(log->os, log->begin.runs);
    lkv_runs_release(log->os, log->begin.prepared_runs);
    lkv_runs_release(log->os, log->prepared_runs);
    log->begin.runs = log->begin.prepared_runs = log->prepared_runs = NULL;
    log->count -= log->first; /* those have left the list for good */
    memmove(log->segments, log->segments + log->first,
            log->count * sizeof(lkv_segment));
    log->first = log->prepared_first = 0;
    log->views++;
}

/* What was appended after the last prepare is not part of any commit. */
static void drop_unprepared(lkv_log *log)
{
    lkv_storage *storage = log->storage;
    lkv_log_rewind_runs(log, log->prepared_runs);
    while (log->segments[log->count - 1].number != log->at.segment) {
        storage->ops->rewind(storage, log->segments[log->count - 1].number, 0);
        log->count--;
    }
    log->segments[log->count - 1].size = 0;
    log->first = log->prepared_first;
    storage->ops->rewind(storage, log->at.segment, log->at.offset);
    log->end = log->at.offset;
}

void lkv_log_commit(lkv_log *log)
{
    if (log->end != log->at.offset || log->root_changed) {
        drop_unprepared(log);
    }
    leave(log);
    log->buffer_at = log->flushed = log->end;
    lkv_os_rest(log->os, &log->buffer, &log->buffer_size);
    lkv_os_free(log->os, log->scratch);
    log->scratch = NULL;
    log->scratch_size = 0;
}

/* The buffer's memory stays: a storage whose write is failing may still look at it. */
void lkv_log_rollback(lkv_log *log)
{
    lkv_log_rewind(log, &log->begin);
    leave(log);
    log->rollbacks++;
}
