/*
 * verify.c - reading everything, and proving each thing by what it is derived from.
 *
 * The log is read from its first segment on, commits proven by the chain. Each record
 * is then looked up in the run that covers its place: that must have its key, at this
 * record or at a later one. As many records as the run has entries must be found at
 * exactly their place; then each entry leads to a record with its key, the newest of
 * the range, and the filters know every key. The oldest run may lack keys that are
 * deleted in its range: what it must not lack shows in the number of live keys and
 * bytes that all of it gives.
 *
 * Parts are read in the same way, each record looked up among the fences.
 */
#include "verify.h"

#include "rebuild.h"

#include <stdio.h>
#include <string.h>

static int copy(lkv_verify_state *v, lkv_buffer *to, lkv_bytes bytes)
{
    to->size = 0;
    if (lkv_buffer_reserve(to, v->store->log.os, bytes.size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (bytes.size > 0) {
        memcpy(to->bytes, bytes.data, bytes.size);
    }
    to->size = bytes.size;
    return LKV_OK;
}

int lkv_verify_run(lkv_verify_state *v, const lkv_run *run, int fences, int finished,
                   lkv_run_check_entry *each, void *arg, lkv_error *err)
{
    lkv_storage *storage = v->store->log.storage;
    lkv_run_check check;
    const char *why = "";
    uint32_t at = 0;
    int rc = LKV_OK;

    lkv_run_check_init(&check, v->store->log.os, storage->block, run->number, fences,
                       each, arg);
    while (at < run->blocks && rc == LKV_OK) {
        lkv_block block;
        rc = lkv_run_block(storage, run, at, &block, err);
        if (rc == LKV_OK) { /* a copy: `each` may read */
            rc = copy(v, &v->block, (lkv_bytes){block.bytes, block.size});
        }
        if (rc == LKV_OK) {
            why = "";
            rc = lkv_run_check_block(&check, (lkv_bytes){v->block.bytes, v->block.size},
                                     &why);
            if (rc == LKV_CORRUPT && why[0] != '\0') {
                rc = lkv_run_damage(err, run, at, why);
            }
        }
        if (rc == LKV_OK) {
            at += (uint32_t)(v->block.size / storage->block);
            rc = lkv_ask(&v->asking, v->block.size);
        }
    }
    if (rc == LKV_OK && lkv_run_check_end(&check, run, finished, &why) != LKV_OK) {
        rc = lkv_run_damage(err, run, run->top, why);
    }
    lkv_run_check_free(&check);
    return rc;
}

/* Runs */

/* An entry of a merge that is under way. */
typedef struct merged {
    lkv_expected expected; /* first */
    lkv_verify_state *v;
    lkv_error *err;
} merged;

/* It must be what the newest of the inputs that has the key says. */
static int check_merged(void *arg, lkv_bytes key, lkv_place place, const char **why)
{
    merged *at = arg;
    lkv_log *log = &at->v->store->log;
    const lkv_run *output = at->expected.run;
    uint64_t hash = lkv_filter_hash(key);
    int rc = lkv_expected_place(&at->expected, key, place, why);

    for (uint32_t i = log->runs->count; i-- > 0 && rc == LKV_OK;) {
        const lkv_run *input = &log->runs->run[i];
        lkv_place found;
        if (input->from < output->from || input->to > output->to) {
            continue;
        }
        rc = lkv_run_find(log->storage, input, key, hash, &found, at->err);
        if (rc == LKV_OK && found.loc == place.loc && found.size == place.size) {
            return LKV_OK;
        }
        if (rc != LKV_ABSENT) {
            *why = rc == LKV_OK ? "an entry is not what was merged" : "";
            return rc == LKV_OK ? LKV_CORRUPT : rc;
        }
        rc = LKV_OK;
    }
    if (rc == LKV_OK) {
        *why = "an entry is not what was merged";
        rc = LKV_CORRUPT;
    }
    return rc;
}

static int check_runs(lkv_verify_state *v, lkv_error *err)
{
    lkv_log *log = &v->store->log;
    const lkv_runs *runs = log->runs;
    int rc = LKV_OK;

    for (uint32_t i = 0; i < runs->count && rc == LKV_OK; i++) {
        lkv_expected expected = {log, &runs->run[i], NULL, 0};
        rc = lkv_verify_run(v, &runs->run[i], 0, 1, lkv_expected_place, &expected, err);
    }
    for (uint32_t i = 0; i < runs->merges && rc == LKV_OK; i++) {
        merged at = {{log, &runs->merge[i], NULL, 0}, v, err};
        rc = lkv_verify_run(v, &runs->merge[i], 0, 0, check_merged, &at, err);
    }
    return rc;
}

/* The log */

static uint64_t logical_of(const lkv_log *log, lkv_loc loc)
{
    const lkv_segment *segment = lkv_log_segment(log, lkv_loc_segment(loc));
    return segment == NULL ? 0
                           : segment->base + lkv_loc_offset(loc) - LKV_SEGMENT_HEADER;
}

static int misses(lkv_loc loc, const lkv_run *run, const char *what, lkv_error *err)
{
    char text[96];
    if (run == NULL) {
        snprintf(text, sizeof(text), "the index in memory %s", what);
    } else {
        snprintf(text, sizeof(text), "run %u %s", run->number - LKV_RUN_FIRST + 1,
                 what);
    }
    return lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc), text);
}

/* What `run`, or the index in memory, has for the key of the record at `loc`. */
static int compare_found(lkv_verify_state *v, lkv_loc loc, uint32_t size,
                         const lkv_run *run, uint64_t *hits, lkv_place found,
                         lkv_error *err)
{
    const lkv_log *log = &v->store->log;
    if (found.loc == loc) {
        ++*hits;
        return found.size == size
                   ? LKV_OK
                   : misses(loc, run, "tells another size of the record", err);
    }
    return logical_of(log, found.loc) > logical_of(log, loc)
               ? LKV_OK
               : misses(loc, run, "leads to another record than the newest", err);
}

/* Whether the oldest run, or none, may lack the key: nothing older must be hidden. */
static int check_absent(lkv_verify_state *v, lkv_loc loc, const lkv_run *run,
                        uint64_t hash, lkv_error *err)
{
    lkv_log *log = &v->store->log;
    lkv_bytes key = {v->key.bytes, v->key.size};
    lkv_place found;
    int rc = LKV_OK;

    if (run == NULL || run == &log->runs->run[0]) {
        rc = lkv_base_find(log, key, hash, &found, err);
        if (rc != LKV_OK) {
            return rc == LKV_ABSENT ? LKV_OK : rc;
        }
    }
    return run == NULL ? lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc),
                                        "no run has the key of the record")
                       : misses(loc, run, "does not have the key of the record", err);
}

/* Looks the record that was read up where the index must have it. */
static int check_record(lkv_verify_state *v, const lkv_record *record, lkv_loc loc,
                        lkv_error *err)
{
    lkv_log *log = &v->store->log;
    const lkv_runs *runs = log->runs;
    const lkv_run *run;
    uint32_t size = lkv_format_plain(record);
    uint64_t at = logical_of(log, loc), hash;
    lkv_place found;
    int rc;

    if (at >= runs->tail_at) {
        found = lkv_memindex_get(v->store->index, record->key);
        return found.loc == LKV_NOWHERE
                   ? misses(loc, NULL, "does not have the key of the record", err)
                   : compare_found(v, loc, size, NULL, &v->hits[runs->count], found,
                                   err);
    }
    while (v->run < runs->count && runs->run[v->run].to <= at) {
        v->run++;
    }
    run = v->run < runs->count && runs->run[v->run].from <= at ? &runs->run[v->run]
                                                               : NULL;
    rc = copy(v, &v->key, record->key);
    if (rc != LKV_OK) {
        return rc;
    }
    hash = lkv_filter_hash((lkv_bytes){v->key.bytes, v->key.size});
    rc = run == NULL
             ? LKV_ABSENT
             : lkv_run_find(log->storage, run, (lkv_bytes){v->key.bytes, v->key.size},
                            hash, &found, err);
    if (rc == LKV_OK) {
        return compare_found(v, loc, size, run, &v->hits[v->run], found, err);
    }
    return rc == LKV_ABSENT ? check_absent(v, loc, run, hash, err) : rc;
}

/* Some entry of the run leads to no record of its key: says which. */
static int find_stray(lkv_verify_state *v, const lkv_run *run, lkv_error *err)
{
    lkv_log *log = &v->store->log;
    lkv_run_cursor cursor;
    int rc;

    lkv_run_cursor_init(&cursor, log->storage, log->os, run);
    for (rc = lkv_run_first(&cursor, err); rc == LKV_OK;
         rc = lkv_run_next(&cursor, err)) {
        lkv_bytes key = lkv_run_key(&cursor);
        lkv_place place = lkv_run_place(&cursor);
        lkv_loc loc = place.loc & ~LKV_LOC_TOMBSTONE;
        lkv_record record;
        rc = lkv_log_read(log, loc, &record, err);
        if (rc != LKV_OK) {
            break;
        }
        if ((record.kind != LKV_KIND_PUT && record.kind != LKV_KIND_TOMBSTONE) ||
            lkv_loc_live(place.loc) != (record.kind == LKV_KIND_PUT) ||
            lkv_loc_tag(place.loc) != record.tag || record.key.size != key.size ||
            (key.size > 0 && memcmp(record.key.data, key.data, key.size) != 0)) {
            rc = misses(loc, run, "has another key or kind than the record", err);
            break;
        }
    }
    lkv_run_cursor_free(&cursor);
    return rc == LKV_ABSENT ? lkv_run_damage(err, run, 0, "it has too many entries")
                            : rc;
}

static int check_hits(lkv_verify_state *v, lkv_error *err)
{
    const lkv_runs *runs = v->store->log.runs;
    for (uint32_t i = 0; i < runs->count; i++) {
        if (v->hits[i] != runs->run[i].entries) {
            return find_stray(v, &runs->run[i], err);
        }
    }
    return v->hits[runs->count] == lkv_memindex_count(v->store->index)
               ? LKV_OK
               : lkv_log_error(err, LKV_CORRUPT, "the index in memory has other keys");
}

/* The log must end in the commit that the handle stands on; only what a transaction has
 * appended may follow. */
static int check_end(const lkv_replay *replay, lkv_error *err)
{
    const lkv_log *log = replay->scan.log;
    return replay->at.revision == log->at.revision &&
                   replay->at.chain == log->at.chain &&
                   (log->open || replay->covered == 0)
               ? LKV_OK
               : lkv_log_damage(
                     err, log->at.segment, log->at.offset,
                     "the log does not end in the commit that was published");
}

/* A reader that begins at the tail must come to the same end. Behind a commit its hash
 * has nothing but how a commit begins; elsewhere check_log() has compared it. */
static int check_tail(lkv_verify_state *v, lkv_error *err)
{
    lkv_log *log = &v->store->log;
    const lkv_tail *tail = &log->runs->tail;
    lkv_replay replay;
    lkv_record record;
    lkv_hash fresh;
    lkv_loc loc;
    int rc;

    lkv_format_chain_start(&fresh, log->at.store_id, tail->chain, log->runs->tail_at);
    if (tail->covered == 0 ? lkv_hash_value(&fresh) != lkv_hash_value(&tail->hash)
                           : !v->tail_seen) {
        return lkv_log_error(err, LKV_CORRUPT, "root: the tail does not fit the log");
    }
    lkv_replay_at_tail(&replay, log, tail);
    while ((rc = lkv_replay_next(&replay, &record, &loc, err)) == LKV_OK) {
    }
    return rc == LKV_ABSENT ? check_end(&replay, err) : rc;
}

/* Whether the replay stands where the tail is, and knows what that says. */
static int is_tail(const lkv_replay *replay)
{
    const lkv_runs *runs = replay->scan.log->runs;
    const lkv_tail *tail = &runs->tail;
    return lkv_replay_logical(replay) == runs->tail_at &&
           replay->at.revision == tail->revision && replay->at.chain == tail->chain &&
           replay->covered == tail->covered &&
           lkv_hash_value(&replay->hash) == lkv_hash_value(&tail->hash);
}

static int check_log(lkv_verify_state *v, lkv_error *err)
{
    lkv_log *log = &v->store->log;
    size_t size = ((size_t)log->runs->count + 1) * sizeof(*v->hits);
    lkv_replay replay;
    lkv_record record;
    lkv_loc loc;
    int rc;

    v->hits = lkv_os_alloc(log->os, size);
    if (v->hits == NULL) {
        return LKV_NOMEM;
    }
    memset(v->hits, 0, size);
    rc = lkv_replay_at_start(&replay, log, err);
    replay.headers = 1;
    while (rc == LKV_OK) {
        rc = lkv_replay_next(&replay, &record, &loc, err);
        if (rc == LKV_OK) {
            v->tail_seen |= is_tail(&replay);
            rc = check_record(v, &record, loc, err);
            lkv_replay_moved(&replay);
        }
        if (rc == LKV_OK) {
            rc = lkv_ask(&v->asking, record.size);
        }
    }
    /* The open transaction may have compacted all that was committed before it. */
    if (rc == LKV_ABSENT && log->at.segment >= log->segments[log->first].number &&
        (replay.at.segment != log->at.segment || replay.at.offset != log->at.offset)) {
        rc = lkv_log_damage(err, log->at.segment, log->at.offset,
                            "no commit ends where the end says"); /* F10 */
    }
    if (rc == LKV_ABSENT) {
        rc = check_end(&replay, err);
    }
    if (rc == LKV_OK) {
        rc = check_tail(v, err);
    }
    return rc == LKV_OK ? check_hits(v, err) : rc;
}

/* Others may have published another root since, which a new end tells of; nobody can in
 * a transaction. */
static int moved(const lkv_log *log, lkv_error *err)
{
    lkv_end end = {0};
    int rc = log->open ? LKV_OK : log->storage->ops->read_end(log->storage, &end, err);
    if (rc < 0) {
        return rc;
    }
    return log->open || (rc == LKV_OK && end.generation == log->at.generation)
               ? lkv_log_error(err, LKV_CORRUPT, "root: it is missing or damaged")
               : LKV_OK;
}

/* Root and end as the storage has them now. Where others commit meanwhile they need not
 * be those of the handle, which were looked at when it came to them. */
static int check_root(lkv_store *store, lkv_error *err)
{
    const lkv_log *log = &store->log;
    lkv_end end;
    int rc = lkv_log_is_there(&store->log, log->at.store_id, err);

    if (rc == LKV_ABSENT) {
        return lkv_log_error(err, LKV_CORRUPT, "root: it is gone, or of another store");
    }
    if (rc == LKV_MOVED) {
        rc = moved(log, err);
    }
    if (rc == LKV_OK && !log->open && log->storage->ops->hold == NULL) {
        rc = log->storage->ops->read_end(log->storage, &end, err);
        rc =
            rc == LKV_ABSENT ? lkv_log_error(err, LKV_CORRUPT, "the log is empty") : rc;
    }
    return rc;
}

int lkv_verify(lkv_store *store, int (*go_on)(void *arg), void *arg, lkv_error *err)
{
    lkv_verify_state v = {.store = store, .asking = {go_on, arg, 0}};
    const lkv_os *os = store->log.os;
    int rc;

    if (!store->log.known) {
        return lkv_log_error(err, LKV_MISUSE, "nothing was read yet");
    }
    /* What was right when it was cached may be wrong in the storage now. */
    store->log.views++;
    store->log.storage->ops->forget(store->log.storage, 0, 0);
    rc = lkv_store_ready(store, err);
    if (rc == LKV_OK) {
        rc = check_root(store, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_verify_objects(&v, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_verify_parts(&v, err);
    }
    if (rc == LKV_OK) {
        rc = check_runs(&v, err);
    }
    if (rc == LKV_OK) {
        rc = check_log(&v, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_reindex_check(store, &v.asking,
                               "the index has other keys than the last commit counts",
                               err);
    }
    /* All this was of what had been read, or is being written. */
    if (rc == LKV_OK && !lkv_changed(store)) {
        rc = lkv_log_same_root(&store->log, err);
        rc = rc == LKV_MOVED ? moved(&store->log, err) : rc;
    }
    lkv_os_free(os, v.key.bytes);
    lkv_os_free(os, v.block.bytes);
    lkv_os_free(os, v.hits);
    return rc;
}
