/*
 * compact.c - see compact.h.
 */
#include "compact.h"

#include "partscan.h"

#include <string.h>

/* The list */

/* A list with the pass as it stands: `installs` puts the finished parts among the
 * others, in the place of those whose keys were gone past; no part is open then. */
static lkv_runs *next_list(const lkv_compaction *compaction, int installs)
{
    const lkv_runs *old = compaction->log->runs;
    uint32_t next = old->pass.next, outs = compaction->out_count;
    uint32_t replaced = installs && next < old->parts ? compaction->crossed + 1 : 0;
    uint32_t open = (uint32_t)compaction->writing;
    lkv_runs like = *old, *runs;
    lkv_part *to;

    like.next_part = compaction->next_part;
    like.next_run = compaction->next_run;
    like.gone += 2 * replaced;
    if (installs) {
        like.parts = old->parts - replaced + outs;
        like.pass.next = next + outs;
    }
    like.pass.out = (installs ? 0 : outs) + open;
    like.pass.open = open;
    runs = lkv_runs_new(compaction->log->os, &like);
    if (runs == NULL) {
        return NULL;
    }
    to = runs->part;
    LKV_RUNS_COPY(to, old->part, next);
    if (installs) {
        LKV_RUNS_COPY(to + next, compaction->outs, outs);
        LKV_RUNS_COPY(to + next + outs, old->part + next + replaced,
                      old->parts - next - replaced);
    } else {
        LKV_RUNS_COPY(to + next, old->part + next, old->parts - next);
        LKV_RUNS_COPY(runs->out, compaction->outs, outs);
    }
    if (open) {
        runs->out[like.pass.out - 1] = compaction->writer.part;
    }
    LKV_RUNS_COPY(runs->run, old->run, old->count);
    LKV_RUNS_COPY(runs->merge, old->merge, old->merges);
    LKV_RUNS_COPY(runs->garbage, old->garbage, old->gone);
    runs->gone = old->gone;
    for (uint32_t i = 0; i < replaced; i++) {
        lkv_runs_add_gone_part(runs, &old->part[next + i],
                               compaction->log->storage->block);
    }
    return runs;
}

static void take_list(lkv_compaction *compaction, lkv_runs *runs)
{
    compaction->pass = runs->pass;
    compaction->parts = runs->parts;
    lkv_log_set_runs(compaction->log, runs);
}

/* What no list names yet is forgotten. */
static void forget(lkv_compaction *compaction)
{
    lkv_log *log = compaction->log;
    const lkv_runs *runs = log->runs;
    for (uint32_t n = runs->next_part; n < compaction->next_part; n++) {
        log->storage->ops->rewind(log->storage, n, 0);
    }
    for (uint32_t n = runs->next_run; n < compaction->next_run; n++) {
        log->storage->ops->rewind(log->storage, n, 0);
    }
    if (runs->pass.open) {
        const lkv_part *open = &runs->out[runs->pass.out - 1];
        log->storage->ops->rewind(log->storage, open->number, open->size);
        log->storage->ops->rewind(log->storage, open->index,
                                  (uint64_t)open->blocks * log->storage->block);
    }
}

/* Writing */

static int begin_part(lkv_compaction *compaction, lkv_error *err)
{
    lkv_segment_header header = {.base = compaction->pass.to,
                                 .chain_before = compaction->chain,
                                 .revision_before = compaction->revision};
    int rc = lkv_part_writer_next(&compaction->writer, compaction->log, &header,
                                  &compaction->next_part, &compaction->next_run, err);
    compaction->writing |= rc == LKV_OK;
    return rc;
}

static int end_part(lkv_compaction *compaction, lkv_error *err)
{
    int rc = LKV_OK;
    if (compaction->writing) {
        rc = lkv_part_writer_finish(&compaction->writer, compaction->revision,
                                    compaction->chain, err);
        if (rc == LKV_OK) {
            rc = lkv_compaction_add(compaction, &compaction->writer.part);
        }
        compaction->written += compaction->writer.written;
        lkv_part_writer_free(&compaction->writer);
        compaction->writing = 0;
    }
    return rc;
}

/* Whether a record of `size` bytes would make the open part too long. */
static int is_full(const lkv_compaction *compaction, size_t size)
{
    return compaction->writing &&
           compaction->writer.part.size + size + LKV_SEAL_SIZE > compaction->most;
}

/* Room for a record of `size` bytes in a part, which may be a new one. */
static int make_room(lkv_compaction *compaction, size_t size, uint8_t **out,
                     lkv_error *err)
{
    int rc = LKV_OK;
    if (is_full(compaction, size)) {
        rc = end_part(compaction, err);
    }
    if (rc == LKV_OK && !compaction->writing) {
        rc = begin_part(compaction, err);
    }
    if (rc == LKV_OK) {
        *out = lkv_part_writer_room(&compaction->writer, size);
        rc = *out == NULL ? LKV_NOMEM : LKV_OK;
    }
    return rc;
}

/* A record that the log has, or a part in the long form. */
static int move_record(lkv_compaction *compaction, lkv_bytes key, lkv_loc loc,
                       lkv_error *err)
{
    lkv_log *log = compaction->log;
    uint64_t revision = 0;
    int64_t time_ms = 0;
    lkv_record record;
    uint8_t *at;
    size_t size;
    int rc = LKV_OK;

    if (lkv_loc_segment(loc) < LKV_PART_FIRST) {
        rc = lkv_history_find(&compaction->history, loc, &revision, &time_ms, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_log_read(log, loc, &record, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    if (record.kind != LKV_KIND_PUT || lkv_compare(record.key, key) != 0) {
        return lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc),
                              "the record has another key than the index");
    }
    if (record.moved) {
        revision = record.revision;
        time_ms = record.time_ms;
    }
    size = lkv_format_size(record.key, record.value) + LKV_MOVED_SIZE;
    /* A part that ends here moves what the storage showed. */
    if (is_full(compaction, size)) {
        rc = end_part(compaction, err);
        return rc == LKV_OK ? move_record(compaction, key, loc, err) : rc;
    }
    rc = make_room(compaction, size, &at, err);
    if (rc == LKV_OK) {
        lkv_format_moved(at, record.tag, record.key, record.value, revision, time_ms);
        rc = lkv_part_writer_added(&compaction->writer, size, record.key.size,
                                   record.tag, err);
    }
    return rc;
}

/* The record of source `i`, which has the row's newest version. */
static int add(lkv_compaction *compaction, uint32_t i, lkv_error *err)
{
    lkv_bytes record;
    uint8_t *at;
    int rc;

    if (i > 0) {
        lkv_place place = lkv_run_place(&compaction->cursor[i - 1]);
        return lkv_loc_live(place.loc)
                   ? move_record(compaction, lkv_run_key(&compaction->cursor[i - 1]),
                                 place.loc, err)
                   : LKV_OK;
    }
    record = lkv_base_record(&compaction->base);
    if (record.size == 0) {
        return move_record(compaction, lkv_base_key(&compaction->base),
                           lkv_base_place(&compaction->base).loc, err);
    }
    rc = make_room(compaction, record.size, &at, err);
    if (rc == LKV_OK) {
        const lkv_base_item *item = &compaction->base.items[compaction->base.at];
        memcpy(at, record.data, record.size);
        rc = lkv_part_writer_added(&compaction->writer, record.size, item->key_size,
                                   item->tag, err);
    }
    return rc;
}

static lkv_bytes source_key(const lkv_compaction *compaction, uint32_t i)
{
    return i == 0 ? lkv_base_key(&compaction->base)
                  : lkv_run_key(&compaction->cursor[i - 1]);
}

/* The newest of the sources with the least key; one more than there are when none is
 * left. */
static uint32_t least(const lkv_compaction *compaction)
{
    uint32_t none = compaction->inputs + 1, best = none;
    for (uint32_t i = none; i-- > 0;) {
        if (compaction->on[i] &&
            (best == none || lkv_compare(source_key(compaction, i),
                                         source_key(compaction, best)) < 0)) {
            best = i;
        }
    }
    return best;
}

static int step(lkv_compaction *compaction, uint32_t i, lkv_error *err)
{
    int rc = i == 0 ? lkv_base_next(&compaction->base, err)
                    : lkv_run_next(&compaction->cursor[i - 1], err);
    compaction->on[i] = rc == LKV_OK;
    return rc < 0 ? rc : LKV_OK;
}

/* Moves every source off the key of source `best`, that one last: the key is its view.
 */
static int move_past(lkv_compaction *compaction, uint32_t best, lkv_error *err)
{
    int rc = LKV_OK;
    for (uint32_t i = 0; i <= compaction->inputs && rc == LKV_OK; i++) {
        if (i != best && compaction->on[i] &&
            lkv_compare(source_key(compaction, i), source_key(compaction, best)) == 0) {
            rc = step(compaction, i, err);
        }
    }
    return rc == LKV_OK ? step(compaction, best, err) : rc;
}

/* Reads a part that an earlier transaction has begun: what it takes the place of is the
 * last that has its rows. */
static int check_out(lkv_compaction *compaction, const lkv_part *part, lkv_error *err)
{
    lkv_part_scan scan;
    lkv_record record;
    lkv_loc loc;
    int rc = lkv_part_scan_open(&scan, compaction->log, part, 1, err);

    while (rc == LKV_OK) {
        rc = lkv_part_scan_next(&scan, &record, &loc, err);
    }
    lkv_part_scan_free(&scan);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* The finished parts take the place of the old ones whose keys are all done. */
static int install(lkv_compaction *compaction, lkv_error *err)
{
    lkv_runs *runs;
    int rc = end_part(compaction, err);

    for (uint32_t i = 0; rc == LKV_OK && i < compaction->taken_up; i++) {
        rc = check_out(compaction, &compaction->outs[i], err);
    }
    if (rc == LKV_OK) {
        runs = next_list(compaction, 1);
        if (runs == NULL) {
            return LKV_NOMEM;
        }
        take_list(compaction, runs);
        compaction->out_count = compaction->taken_up = compaction->crossed = 0;
        compaction->got = 0;
        compaction->warm = 1;
    }
    return rc;
}

/* Everything that the pass took in leaves the list. */
static int finish(lkv_compaction *compaction, lkv_error *err)
{
    lkv_log *log = compaction->log;
    uint64_t to = compaction->pass.to;
    const lkv_runs *old;
    lkv_runs like, *runs;
    size_t first = log->first;
    uint32_t count = 0;
    int rc = install(compaction, err);

    if (rc != LKV_OK) {
        return rc;
    }
    old = log->runs;
    while (count < old->count && old->run[count].to <= to) {
        count++;
    }
    while (log->segments[first].base != to) {
        first++;
    }
    like = *old;
    like.count -= count;
    like.gone += count + (uint32_t)(first - log->first);
    memset(&like.pass, 0, sizeof(like.pass));
    runs = lkv_runs_new(log->os, &like);
    if (runs == NULL) {
        return LKV_NOMEM;
    }
    LKV_RUNS_COPY(runs->part, old->part, old->parts);
    LKV_RUNS_COPY(runs->run, old->run + count, like.count);
    LKV_RUNS_COPY(runs->merge, old->merge, old->merges);
    LKV_RUNS_COPY(runs->garbage, old->garbage, old->gone);
    runs->gone = old->gone;
    for (uint32_t i = 0; i < count; i++) {
        lkv_runs_add_gone(runs, old->run[i].number, old->run[i].blocks);
    }
    for (; log->first < first; log->first++) {
        const lkv_segment *segment = &log->segments[log->first];
        lkv_runs_add_gone(runs, segment->number,
                          lkv_blocks_of(segment->size, log->storage->block));
    }
    take_list(compaction, runs);
    return LKV_OK;
}

static uint64_t written(const lkv_compaction *compaction)
{
    return compaction->written + (compaction->writing ? compaction->writer.written +
                                                            compaction->writer.out.size
                                                      : 0);
}

static uint64_t cost(const lkv_compaction *compaction)
{
    return written(compaction) + compaction->passed * LKV_COMPACTION_DEAD;
}

/* Whether the open part goes on with the keys of the next old part: it is short, and
 * got something of this one, so that whoever takes the pass up comes behind it; and not
 * too much waits for it, which goes on taking space. */
static int joins(const lkv_compaction *compaction)
{
    const lkv_runs *runs = compaction->log->runs;
    const lkv_part *part = &runs->part[runs->pass.next];
    uint64_t waits = 0;
    for (uint32_t i = 0; i <= compaction->crossed + 1; i++) {
        waits += part[i].size;
    }
    return compaction->writing && compaction->got &&
           compaction->writer.part.size < compaction->most / 2 &&
           waits <= (uint64_t)LKV_COMPACTION_WAITS * compaction->most;
}

/* Goes past the ends of old parts that lie before `key`. LKV_ABSENT: parts were
 * installed. */
static int cross(lkv_compaction *compaction, lkv_bytes key, lkv_error *err)
{
    int rc;
    while ((rc = lkv_compaction_crosses(compaction, key, err)) == 1) {
        if (!joins(compaction)) {
            rc = install(compaction, err);
            return rc == LKV_OK ? LKV_ABSENT : rc;
        }
        compaction->crossed++;
        compaction->got = 0;
    }
    return rc;
}

/* The next key. LKV_OK: there was none, and the pass is through. */
static int work(lkv_compaction *compaction, lkv_error *err)
{
    uint32_t best = least(compaction);
    uint64_t before = written(compaction);
    int rc;

    if (best > compaction->inputs) {
        return finish(compaction, err);
    }
    rc = cross(compaction, source_key(compaction, best), err);
    if (rc != LKV_OK) {
        return rc;
    }
    rc = add(compaction, best, err);
    compaction->passed += written(compaction) == before;
    compaction->got |= written(compaction) != before;
    if (rc == LKV_OK) {
        rc = move_past(compaction, best, err);
    }
    return rc == LKV_OK ? LKV_ABSENT : rc;
}

int lkv_compaction_step(lkv_compaction *compaction, uint64_t budget,
                        void (*before_change)(void *arg), void *arg, uint64_t *spent,
                        lkv_error *err)
{
    lkv_log *log = compaction->log;
    uint64_t rollbacks = log->rollbacks, before = cost(compaction);
    uint64_t had = written(compaction);
    lkv_runs *runs;
    int rc;

    compaction->next_part = log->runs->next_part;
    compaction->next_run = log->runs->next_run;
    before_change(arg);
    do {
        rc = work(compaction, err);
    } while (rc == LKV_ABSENT && (cost(compaction) - before < budget ||
                                  (!compaction->warm && written(compaction) == had)));
    compaction->warm = 1;
    if (rollbacks != log->rollbacks) {
        return rc;
    }
    if (rc == LKV_ABSENT) {
        int paused = compaction->writing
                         ? lkv_part_writer_pause(&compaction->writer, err)
                         : LKV_OK;
        runs = paused == LKV_OK ? next_list(compaction, 0) : NULL;
        if (rollbacks != log->rollbacks) {
            return paused;
        }
        if (runs != NULL) {
            take_list(compaction, runs);
        } else {
            rc = paused == LKV_OK ? LKV_NOMEM : paused;
        }
    }
    *spent = cost(compaction) - before;
    if (rc < 0) {
        forget(compaction);
    }
    return rc;
}
