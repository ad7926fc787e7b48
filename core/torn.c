/*
 * torn.c - see torn.h.
 *
 * A transaction that closes a segment writes a root, with which it is committed; so
 * behind the commit of the newest root there is the open segment alone. Commits are
 * followed there by their chain as far as they go. What comes then was being written
 * when the power failed, unless a commit record behind it says that a sync had vouched
 * for that place before: such a record is believed by its checksum and its numbers,
 * since the chain cannot reach it.
 */
#include "torn.h"

#include "replay.h"

#include <string.h>

#define PIECE (256u << 10)

/* Follows the commits. */
static int follow(lkv_log *log, lkv_end *end, uint64_t *synced, lkv_error *err)
{
    lkv_replay replay;
    lkv_record record;
    lkv_loc loc;
    int rc;

    log->at = *end;
    log->at.offset = LKV_SEGMENT_MAX; /* as far as there are bytes */
    lkv_replay_at_commit(&replay, log, end);
    do {
        rc = lkv_replay_next(&replay, &record, &loc, err);
    } while (rc == LKV_OK);
    *end = replay.at;
    *synced = replay.synced > log->synced ? replay.synced : log->synced;
    log->at = *end;
    return rc == LKV_ABSENT || rc == LKV_CORRUPT ? LKV_OK : rc;
}

/* A commit record at `at` that can only be of this store, behind `end`. */
static int vouches(const uint8_t *at, const lkv_end *end, uint64_t place,
                   uint64_t logical)
{
    lkv_commit_record commit;
    lkv_record record;
    const char *why;
    size_t need;

    /* First, for a checksum is of all that the bytes claim to be. */
    return lkv_format_looks_commit(at) &&
           lkv_format_parse(at, LKV_COMMIT_SIZE, &record, &need, &why) == LKV_OK &&
           lkv_format_parse_commit(&record, &commit) == LKV_OK &&
           commit.revision > end->revision && commit.synced_end > logical &&
           commit.synced_end <= place && commit.covered <= place;
}

/* Reads what is behind the end: how much of it is not zero, and whether a commit there
 * vouches for bytes at or before it. */
static int look_behind(lkv_log *log, const lkv_end *end, uint64_t logical,
                       uint64_t *torn, int *vouched, lkv_error *err)
{
    const lkv_storage_ops *ops = log->storage->ops;
    uint64_t offset = end->offset;

    *torn = 0;
    *vouched = 0;
    for (;;) {
        const uint8_t *at;
        lkv_bytes view;
        size_t i, whole;
        int rc = ops->read(log->storage, end->segment, offset, PIECE, &view, err);
        if (rc != LKV_OK || view.size == 0) {
            return rc;
        }
        at = view.data;
        /* A record may go on in the next piece. */
        whole = view.size < PIECE ? view.size : view.size - LKV_COMMIT_SIZE + 1;
        for (i = 0; i < whole; i++) {
            if (at[i] == 0) {
                continue;
            }
            *torn = offset + i + 1 - end->offset;
            if (i >= 4 && i - 4 + LKV_COMMIT_SIZE <= view.size &&
                vouches(at + i - 4, end, logical + offset + i - 4 - end->offset,
                        logical)) {
                *vouched = 1;
            }
        }
        if (view.size < PIECE) {
            return LKV_OK;
        }
        offset += whole > LKV_COMMIT_SIZE ? whole - 4 : whole;
    }
}

int lkv_torn_find(lkv_log *log, lkv_end *end, uint64_t *torn, lkv_error *err)
{
    const lkv_segment *open = &log->segments[log->count - 1];
    uint64_t synced, logical;
    int vouched = 0;
    int rc = follow(log, end, &synced, err);

    if (rc != LKV_OK) {
        return rc;
    }
    logical = open->base + end->offset - LKV_SEGMENT_HEADER;
    rc = look_behind(log, end, logical, torn, &vouched, err);
    if (rc == LKV_OK && (vouched || synced > logical)) {
        rc = lkv_log_damage(err, end->segment, end->offset,
                            "damaged: a commit behind it says that it had been synced");
    }
    if (rc == LKV_OK && err != NULL) {
        err->text[0] = 0; /* of where the commits ended */
    }
    return rc;
}
