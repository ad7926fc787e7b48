/*
 * replay.c - see replay.h.
 */
#include "replay.h"

#include <string.h>

int lkv_replay_header(lkv_log *log, size_t i, lkv_segment_header *header,
                      lkv_error *err)
{
    const lkv_segment *segment = &log->segments[i];
    int rc = lkv_log_header(log, i, header, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (header->kind != 0 || header->number != segment->number ||
        header->base != segment->base ||
        memcmp(header->store_id, log->at.store_id, LKV_ID_SIZE) != 0) {
        return lkv_log_damage(err, segment->number, 0, "the segment is not the root's");
    }
    return LKV_OK;
}

uint64_t lkv_replay_logical(const lkv_replay *replay)
{
    const lkv_log_scan *scan = &replay->scan;
    return scan->log->segments[scan->segment].base + scan->offset - LKV_SEGMENT_HEADER;
}

static void start_commit(lkv_replay *replay)
{
    replay->covered = 0;
    lkv_format_chain_start(&replay->hash, replay->at.store_id, replay->at.chain,
                           lkv_replay_logical(replay));
}

static size_t index_of(const lkv_log *log, uint32_t number)
{
    const lkv_segment *segment = lkv_log_segment(log, number);
    return segment == NULL ? 0 : (size_t)(segment - log->segments);
}

void lkv_replay_at_tail(lkv_replay *replay, lkv_log *log, const lkv_tail *tail)
{
    memset(replay, 0, sizeof(*replay));
    replay->scan.log = log;
    replay->scan.segment = index_of(log, tail->segment);
    replay->scan.offset = tail->offset;
    replay->at = log->at;
    replay->at.revision = tail->revision;
    replay->at.chain = tail->chain;
    replay->at.segment = tail->segment;
    replay->at.offset = tail->offset;
    replay->covered = tail->covered;
    replay->hash = tail->hash;
}

void lkv_replay_at_commit(lkv_replay *replay, lkv_log *log, const lkv_end *commit)
{
    memset(replay, 0, sizeof(*replay));
    replay->scan.log = log;
    replay->scan.segment = index_of(log, commit->segment);
    replay->scan.offset = commit->offset;
    replay->at = *commit;
    start_commit(replay);
}

int lkv_replay_at_start(lkv_replay *replay, lkv_log *log, lkv_error *err)
{
    lkv_segment_header header;
    int rc;

    memset(replay, 0, sizeof(*replay));
    replay->scan.log = log;
    replay->scan.segment = log->first;
    replay->scan.offset = LKV_SEGMENT_HEADER;
    rc = lkv_replay_header(log, log->first, &header, err);
    if (rc == LKV_OK) {
        replay->at = log->at;
        replay->at.revision = header.revision_before;
        replay->at.chain = header.chain_before;
        replay->at.segment = header.number;
        replay->at.offset = LKV_SEGMENT_HEADER;
        start_commit(replay);
    }
    return rc;
}

/* The commit's own words must be those that the records before it make true. F6 */
static int check_commit(lkv_replay *replay, const lkv_record *record, const char **why)
{
    lkv_end *at = &replay->at;
    lkv_commit_record commit;
    if (lkv_format_parse_commit(record, &commit) != LKV_OK) {
        *why = "not a commit record of this format";
    } else if (commit.covered != replay->covered ||
               commit.revision != at->revision + 1) {
        *why = "the commit does not follow the one before it";
    } else if (commit.chain != lkv_format_chain_end(&replay->hash, &commit)) {
        *why = "chain checksum mismatch";
    } else {
        at->revision = commit.revision;
        at->chain = commit.chain;
        at->live_keys = commit.live_keys;
        at->live_bytes = commit.live_bytes;
        if (commit.synced_end > replay->synced) {
            replay->synced = commit.synced_end;
        }
        return LKV_OK;
    }
    return LKV_CORRUPT;
}

/* At the end of a segment: the next one goes on from the commit that was passed last.
 */
static int check_next_header(lkv_replay *replay, lkv_error *err)
{
    lkv_log_scan *scan = &replay->scan;
    lkv_segment_header header;
    int rc;

    if (scan->offset != lkv_log_limit(scan->log, scan->segment) ||
        scan->segment + 1 == scan->log->count) {
        return LKV_OK;
    }
    rc = lkv_replay_header(scan->log, scan->segment + 1, &header, err);
    if (rc == LKV_OK && (header.chain_before != replay->at.chain ||
                         header.revision_before != replay->at.revision)) {
        rc = lkv_log_damage(err, header.number, 0,
                            "the header names another commit than the last one");
    }
    scan->view.size = 0;
    return rc;
}

int lkv_replay_next(lkv_replay *replay, lkv_record *record, lkv_loc *loc,
                    lkv_error *err)
{
    const lkv_log_scan *scan = &replay->scan;
    const char *why = "";
    int rc;

    for (;;) {
        rc = replay->headers ? check_next_header(replay, err) : LKV_OK;
        if (rc == LKV_OK) {
            rc = lkv_log_next(&replay->scan, record, loc, err);
        }
        if (rc != LKV_OK) {
            return rc;
        }
        if (record->kind == LKV_KIND_PUT || record->kind == LKV_KIND_TOMBSTONE) {
            lkv_hash_add(&replay->hash, scan->bytes, record->size);
            replay->covered += record->size;
            return LKV_OK;
        }
        if (check_commit(replay, record, &why) != LKV_OK) {
            return lkv_log_damage(err, lkv_loc_segment(*loc), lkv_loc_offset(*loc),
                                  why);
        }
        replay->at.segment = scan->log->segments[scan->segment].number;
        replay->at.offset = scan->offset;
        start_commit(replay);
    }
}

void lkv_replay_tail(const lkv_replay *replay, lkv_tail *tail)
{
    const lkv_log_scan *scan = &replay->scan;
    tail->segment = scan->log->segments[scan->segment].number;
    tail->offset = scan->offset;
    tail->revision = replay->at.revision;
    tail->chain = replay->at.chain;
    tail->covered = replay->covered;
    tail->hash = replay->hash;
}
