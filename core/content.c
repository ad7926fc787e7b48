/*
 * content.c - see content.h.
 *
 * The open segment is closed, and the parts take in the log up to there: the next
 * segment, which is empty, is the first one that the new list has. Its header names the
 * revision from which the store goes on. All of it happens behind a mark of the
 * transaction, and what fails goes back there.
 */
#include "content.h"

#include <string.h>

/* A segment of its own for what comes, behind a commit of at least that revision. */
static int close_log(lkv_log *log, uint64_t revision, lkv_error *err)
{
    if (log->at.revision < revision) { /* goes with the mark when it is undone */
        log->at.revision = revision;
    }
    return lkv_log_roll(log, err);
}

static void forget_parts(lkv_content *content)
{
    lkv_log *log = &content->store->log;
    for (uint32_t n = log->runs->next_part; n < content->next_part; n++) {
        log->storage->ops->rewind(log->storage, n, 0);
    }
    for (uint32_t n = log->runs->next_run; n < content->next_run; n++) {
        log->storage->ops->rewind(log->storage, n, 0);
    }
}

/* Back to the mark. */
static void undo(lkv_content *content)
{
    lkv_store *store = content->store;
    if (content->rollbacks == store->log.rollbacks) {
        lkv_rollback_to(store, content->depth);
        forget_parts(content);
        lkv_release(store, content->depth);
    }
}

int lkv_content_begin(lkv_content *content, lkv_store *store, uint64_t revision,
                      lkv_error *err)
{
    int rc;

    memset(content, 0, sizeof(*content));
    content->store = store;
    rc = lkv_store_may_commit(store, "replaced", err);
    if (rc == LKV_OK) {
        rc = lkv_store_prepare(store, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_mark(store, &content->depth);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    content->rollbacks = store->log.rollbacks;
    content->next_part = store->log.runs->next_part;
    content->next_run = store->log.runs->next_run;
    rc = close_log(&store->log, revision, err);
    if (rc != LKV_OK) {
        undo(content);
    }
    return rc;
}

static int begin_part(lkv_content *content, lkv_error *err)
{
    lkv_log *log = &content->store->log;
    lkv_segment_header header = {.base = lkv_log_end(log),
                                 .chain_before = log->at.chain,
                                 .revision_before = log->at.revision};
    int rc = lkv_part_writer_next(&content->writer, log, &header, &content->next_part,
                                  &content->next_run, err);
    content->writing |= rc == LKV_OK;
    return rc;
}

static int end_part(lkv_content *content, lkv_error *err)
{
    const lkv_end *at = &content->store->log.at;
    lkv_part *part = &content->writer.part;
    int rc = LKV_OK;

    if (content->writing) {
        rc = lkv_part_writer_finish(&content->writer, at->revision, at->chain, err);
        if (rc == LKV_OK) {
            rc = lkv_buffer_reserve(&content->parts, content->store->log.os,
                                    sizeof(*part));
        }
        if (rc == LKV_OK) {
            memcpy(content->parts.bytes + content->parts.size, part, sizeof(*part));
            content->parts.size += sizeof(*part);
            content->keys += part->keys;
            content->bytes += part->bytes;
        }
        lkv_part_writer_free(&content->writer);
        content->writing = 0;
    }
    return rc;
}

int lkv_content_add(lkv_content *content, const uint8_t *bytes,
                    const lkv_record *record, lkv_error *err)
{
    uint32_t most = lkv_part_most(content->store, content->bytes);
    uint8_t *to;
    int rc = LKV_OK;

    if (content->writing &&
        content->writer.part.size + record->size + LKV_SEAL_SIZE > most) {
        rc = end_part(content, err);
    }
    if (rc == LKV_OK && !content->writing) {
        rc = begin_part(content, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    to = lkv_part_writer_room(&content->writer, record->size);
    if (to == NULL) {
        return LKV_NOMEM;
    }
    memcpy(to, bytes, record->size);
    return lkv_part_writer_added(&content->writer, record->size, record->key.size,
                                 record->tag, err);
}

/* The parts, and all that was before to be removed. NULL without memory. */
static lkv_runs *make_list(const lkv_content *content)
{
    const lkv_log *log = &content->store->log;
    const lkv_runs *old = log->runs;
    uint32_t block = log->storage->block, parts = old->parts + old->pass.out;
    uint32_t runs = old->count + old->merges;
    size_t last = log->count - 1;
    lkv_runs like = *old, *list;

    like.parts = (uint32_t)(content->parts.size / sizeof(lkv_part));
    like.count = like.merges = 0;
    like.gone = old->gone + runs + 2 * parts + (uint32_t)(last - log->first);
    like.next_part = content->next_part;
    like.next_run = content->next_run;
    memset(&like.pass, 0, sizeof(like.pass));
    list = lkv_runs_new(log->os, &like);
    if (list == NULL) {
        return NULL;
    }
    LKV_RUNS_COPY(list->part, (const lkv_part *)(const void *)content->parts.bytes,
                  like.parts);
    LKV_RUNS_COPY(list->garbage, old->garbage, old->gone);
    list->gone = old->gone;
    for (uint32_t i = 0; i < runs; i++) { /* the merges follow */
        lkv_runs_add_gone(list, old->run[i].number, old->run[i].blocks);
    }
    for (uint32_t i = 0; i < parts; i++) { /* what a pass wrote follows */
        lkv_runs_add_gone_part(list, &old->part[i], block);
    }
    for (size_t i = log->first; i < last; i++) {
        lkv_runs_add_gone(list, log->segments[i].number,
                          lkv_blocks_of(log->segments[i].size, block));
    }
    return list;
}

static int install(lkv_content *content, lkv_error *err)
{
    lkv_store *store = content->store;
    lkv_runs *list;
    int rc = end_part(content, err);

    if (rc != LKV_OK) {
        return rc;
    }
    list = make_list(content);
    if (list == NULL) {
        return LKV_NOMEM;
    }
    lkv_log_tail(&store->log, &list->tail, &list->tail_at);
    lkv_reindex_set(store, list);
    store->undone++; /* no record is where it was */
    store->live_keys = content->keys;
    store->live_bytes = content->bytes;
    store->log.views++;
    store->log.first = store->log.count - 1;
    store->wrote = 1;
    /* Where a commit would stand alone, it is the caller's. */
    return store->log.storage->ops->settle != NULL ? LKV_OK
                                                   : lkv_store_prepare(store, err);
}

int lkv_content_end(lkv_content *content, int rc, lkv_error *err)
{
    const lkv_os *os = content->store->log.os;
    rc = rc == LKV_OK ? install(content, err) : rc;
    if (rc != LKV_OK) {
        undo(content);
    } else if (content->rollbacks == content->store->log.rollbacks) {
        lkv_release(content->store, content->depth);
    }
    lkv_part_writer_free(&content->writer);
    lkv_os_free(os, content->parts.bytes);
    return rc;
}
