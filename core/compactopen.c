/*
 * compactopen.c - taking up a pass of compaction where the root says that it stands.
 */
#include "compact.h"

#include <string.h>

void lkv_compaction_close(lkv_compaction *compaction)
{
    if (compaction != NULL) {
        lkv_log *log = compaction->log;
        for (uint32_t i = 0; i < compaction->inputs; i++) {
            lkv_run_cursor_free(&compaction->cursor[i]);
        }
        lkv_base_free(&compaction->base);
        lkv_part_writer_free(&compaction->writer);
        lkv_history_close(&compaction->history);
        lkv_runs_release(log->os, compaction->runs);
        lkv_os_free(log->os, compaction->outs);
        lkv_os_free(log->os, compaction);
    }
}

/* The segment where the pass ends: its header tells the last commit before it. */
static int read_end(lkv_compaction *compaction, lkv_error *err)
{
    lkv_log *log = compaction->log;
    size_t i = log->first;
    lkv_segment_header header;
    int rc;

    while (i + 1 < log->count && log->segments[i].base != compaction->pass.to) {
        i++;
    }
    rc = lkv_log_header(log, i, &header, err);
    if (rc == LKV_OK) {
        compaction->revision = header.revision_before;
        compaction->chain = header.chain_before;
    }
    return rc;
}

int lkv_compaction_add(lkv_compaction *compaction, const lkv_part *part)
{
    if (compaction->out_count == compaction->out_room) {
        uint32_t room = compaction->out_room == 0 ? 8 : compaction->out_room * 2;
        lkv_part *moved =
            lkv_os_resize(compaction->log->os, compaction->outs, room * sizeof(*moved));
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        compaction->outs = moved;
        compaction->out_room = room;
    }
    compaction->outs[compaction->out_count++] = *part;
    return LKV_OK;
}

/* What the pass has written already, its open part last. */
static int take_outs(lkv_compaction *compaction, lkv_error *err)
{
    const lkv_runs *runs = compaction->runs;
    uint32_t finished = runs->pass.out - runs->pass.open;
    int rc = LKV_OK;
    for (uint32_t i = 0; i < finished && rc == LKV_OK; i++) {
        rc = lkv_compaction_add(compaction, &runs->out[i]);
    }
    if (rc == LKV_OK && runs->pass.open) {
        rc = lkv_part_writer_resume(&compaction->writer, compaction->log,
                                    &runs->out[finished], err);
        compaction->writing = rc == LKV_OK;
    }
    compaction->taken_up = runs->pass.out;
    return rc;
}

static int seek_all(lkv_compaction *compaction, lkv_bytes key, enum lkv_seek how,
                    lkv_error *err)
{
    int rc = lkv_base_seek(&compaction->base, key, how, err);
    compaction->on[0] = rc == LKV_OK;
    for (uint32_t i = 0; i < compaction->inputs && rc >= 0; i++) {
        rc = lkv_run_seek(&compaction->cursor[i], key, how, err);
        compaction->on[i + 1] = rc == LKV_OK;
    }
    return rc < 0 ? rc : LKV_OK;
}

static int go_to_first(lkv_compaction *compaction, lkv_error *err)
{
    int rc = lkv_base_first(&compaction->base, err);
    compaction->on[0] = rc == LKV_OK;
    for (uint32_t i = 0; i < compaction->inputs && rc >= 0; i++) {
        rc = lkv_run_first(&compaction->cursor[i], err);
        compaction->on[i + 1] = rc == LKV_OK;
    }
    return rc < 0 ? rc : LKV_OK;
}

int lkv_compaction_crosses(const lkv_compaction *compaction, lkv_bytes key,
                           lkv_error *err)
{
    lkv_runs *runs = compaction->log->runs;
    uint32_t i = runs->pass.next + compaction->crossed + 1;
    return i < runs->parts ? lkv_base_reaches(compaction->log, runs, i, key, err) : 0;
}

/* Goes on behind `key`, the last one that was written: the old parts that end before it
 * are done, and it is of the one after them. */
static int go_on(lkv_compaction *compaction, lkv_bytes key, lkv_error *err)
{
    int rc;
    while ((rc = lkv_compaction_crosses(compaction, key, err)) == 1) {
        compaction->crossed++;
    }
    compaction->got = 1;
    return rc < 0 ? rc : seek_all(compaction, key, LKV_SEEK_GT, err);
}

/* After the last key of what was written of a part's range; or else, when all before
 * the next old part is done, from that one's first key on. */
static int position(lkv_compaction *compaction, lkv_error *err)
{
    lkv_runs *runs = compaction->runs;
    lkv_base_cursor at;
    lkv_runs last = {.parts = 1};
    enum lkv_seek how = LKV_SEEK_GT;
    int rc;

    if (compaction->writing) {
        return go_on(
            compaction,
            (lkv_bytes){compaction->writer.last.bytes, compaction->writer.last.size},
            err);
    }
    if (compaction->out_count > 0) {
        last.part = &compaction->outs[compaction->out_count - 1];
    } else if (runs->pass.next > 0 && runs->pass.next < runs->parts) {
        last.part = &runs->part[runs->pass.next];
        how = LKV_SEEK_GE;
    } else if (runs->pass.next > 0) {
        last.part = &runs->part[runs->pass.next - 1];
    } else {
        return go_to_first(compaction, err);
    }
    lkv_base_init(&at, compaction->log, &last);
    rc = how == LKV_SEEK_GE ? lkv_base_first(&at, err) : lkv_base_last(&at, err);
    if (rc == LKV_ABSENT) { /* of a part that is listed */
        lkv_run index = lkv_part_index(last.part);
        rc = lkv_run_damage(err, &index, 0, "there is no first leaf");
    }
    if (rc == LKV_OK) {
        rc = how == LKV_SEEK_GE ? seek_all(compaction, lkv_base_key(&at), how, err)
                                : go_on(compaction, lkv_base_key(&at), err);
    }
    lkv_base_free(&at);
    return rc;
}

int lkv_compaction_open(lkv_log *log, uint32_t most, lkv_compaction **out,
                        lkv_error *err)
{
    lkv_runs *runs = log->runs;
    size_t each = sizeof(lkv_run) + sizeof(lkv_run_cursor) + 1;
    lkv_compaction *compaction =
        lkv_os_alloc(log->os, sizeof(*compaction) + runs->count * each + 1);
    int rc;

    if (compaction == NULL) {
        return LKV_NOMEM;
    }
    memset(compaction, 0, sizeof(*compaction) + runs->count * each + 1);
    compaction->log = log;
    compaction->most = most;
    compaction->runs = lkv_runs_hold(runs);
    compaction->pass = runs->pass;
    compaction->parts = runs->parts;
    compaction->cursor = (lkv_run_cursor *)(void *)(compaction + 1);
    compaction->input = (lkv_run *)(void *)(compaction->cursor + runs->count);
    compaction->on = (uint8_t *)(compaction->input + runs->count);
    lkv_base_init(&compaction->base, log, runs);
    for (uint32_t i = 0; i < runs->count && runs->run[i].to <= runs->pass.to; i++) {
        compaction->input[i] = runs->run[i];
        lkv_run_cursor_init(&compaction->cursor[i], log->storage, log->os,
                            &compaction->input[i]);
        compaction->inputs++;
    }
    rc = lkv_history_open(&compaction->history, log);
    if (rc == LKV_OK) {
        rc = read_end(compaction, err);
    }
    if (rc == LKV_OK) {
        rc = take_outs(compaction, err);
    }
    if (rc == LKV_OK) {
        rc = position(compaction, err);
    }
    if (rc != LKV_OK) {
        lkv_compaction_close(compaction);
        return rc;
    }
    *out = compaction;
    return LKV_OK;
}

int lkv_compaction_fits(const lkv_compaction *compaction, const lkv_runs *runs)
{
    const lkv_pass *own = &compaction->pass, *pass = &runs->pass;
    const lkv_part *open;

    if (own->to != pass->to || own->next != pass->next || own->out != pass->out ||
        own->open != pass->open || compaction->parts != runs->parts) {
        return 0;
    }
    if (!compaction->writing) {
        return pass->out == 0 || runs->out[pass->out - 1].number ==
                                     compaction->outs[compaction->out_count - 1].number;
    }
    open = &runs->out[pass->out - 1];
    return pass->open && open->number == compaction->writer.part.number &&
           open->size == compaction->writer.part.size;
}
