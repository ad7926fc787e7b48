/*
 * history.c - see history.h.
 *
 * A record's commit is the next one behind it. Of a small transaction it is found by
 * reading on from the record. The places of the commits of longer ones are kept, so
 * that each is looked for once; and where the headers of two segments name the same
 * commit as the last before them, none stands between, and the one's records are not
 * read.
 */
#include "history.h"

#include <string.h>

#define LONG (16u << 10) /* bytes of a transaction whose commit's place is kept */

int lkv_history_open(lkv_history *history, lkv_log *log)
{
    history->log = log;
    return lkv_memindex_open(log->os, &history->known);
}

void lkv_history_close(lkv_history *history)
{
    lkv_memindex_close(history->known);
    history->known = NULL;
}

/* Numbers in the order of memcmp. */
static lkv_bytes name_of(uint64_t offset, uint8_t *out)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(offset >> (56 - 8 * i));
    }
    return (lkv_bytes){out, 8};
}

static int read_commit(lkv_log *log, lkv_loc loc, lkv_commit_record *commit,
                       lkv_error *err)
{
    lkv_record record;
    int rc = lkv_log_read(log, loc, &record, err);
    if (rc == LKV_OK && lkv_format_parse_commit(&record, commit) != LKV_OK) {
        rc = lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc),
                            "not a commit record of this format");
    }
    return rc;
}

/* Among the places that are kept: LKV_OK or LKV_ABSENT. */
static int recall(lkv_history *history, uint64_t logical, lkv_commit_record *commit,
                  lkv_error *err)
{
    lkv_memindex_cursor at;
    const lkv_segment *segment;
    uint8_t name[8];
    uint64_t place;
    lkv_loc loc;
    int rc;

    if (!lkv_memindex_seek(&at, history->known, name_of(logical, name), LKV_SEEK_GE)) {
        return LKV_ABSENT;
    }
    loc = lkv_memindex_place(&at).loc;
    segment = lkv_log_segment(history->log, lkv_loc_segment(loc));
    if (segment == NULL) {
        return LKV_ABSENT;
    }
    place = segment->base + lkv_loc_offset(loc) - LKV_SEGMENT_HEADER;
    rc = read_commit(history->log, loc, commit, err);
    if (rc == LKV_OK && place - logical > commit->covered) {
        rc = LKV_ABSENT;
    }
    return rc;
}

/* Revision of the last commit before listed segment `i`. */
static int revision_before(lkv_log *log, size_t i, uint64_t *revision, lkv_error *err)
{
    lkv_segment_header header;
    int rc = lkv_log_header(log, i, &header, err);
    if (rc == LKV_OK) {
        *revision = header.revision_before;
    }
    return rc;
}

/* Whether listed segment `i`, which is not the last, holds no commit: 1, 0 or an error.
 */
static int has_none(lkv_log *log, size_t i, lkv_error *err)
{
    uint64_t before, behind;
    int rc = revision_before(log, i, &before, err);
    if (rc == LKV_OK) {
        rc = revision_before(log, i + 1, &behind, err);
    }
    return rc == LKV_OK ? before == behind : rc;
}

/* Goes to the start of the next segment that holds a commit, or of the last one. */
static int next_segment(lkv_log_scan *scan, lkv_error *err)
{
    int rc;
    do {
        scan->segment++;
        scan->offset = LKV_SEGMENT_HEADER;
        scan->view.size = 0;
        rc = scan->segment + 1 < scan->log->count
                 ? has_none(scan->log, scan->segment, err)
                 : 0;
    } while (rc == 1);
    return rc;
}

/* Where to look from. */
static int start(lkv_log_scan *scan, lkv_loc loc, lkv_error *err)
{
    lkv_log *log = scan->log;
    const lkv_segment *segment = lkv_log_segment(log, lkv_loc_segment(loc));

    if (segment == NULL) {
        return lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc),
                              "no such segment");
    }
    scan->segment = (size_t)(segment - log->segments);
    if (scan->segment + 1 < log->count) {
        int rc = has_none(log, scan->segment, err);
        if (rc != 0) {
            return rc == 1 ? next_segment(scan, err) : rc;
        }
    }
    scan->offset = lkv_loc_offset(loc);
    return LKV_OK;
}

/* Reads on to the commit. */
static int look(lkv_history *history, lkv_loc from, lkv_commit_record *commit,
                lkv_error *err)
{
    lkv_log_scan scan = {.log = history->log};
    lkv_record record;
    uint8_t name[8];
    lkv_place place = {0}, old;
    int rc = start(&scan, from, err);

    while (rc == LKV_OK) {
        if (scan.segment + 1 < history->log->count &&
            scan.offset == lkv_log_limit(history->log, scan.segment)) {
            rc = next_segment(&scan, err);
        }
        if (rc == LKV_OK) {
            rc = lkv_log_next(&scan, &record, &place.loc, err);
        }
        if (rc == LKV_OK && record.kind == LKV_KIND_COMMIT) {
            break;
        }
    }
    if (rc == LKV_ABSENT) {
        return lkv_log_damage(err, lkv_loc_segment(from), lkv_loc_offset(from),
                              "the record belongs to no commit");
    }
    if (rc == LKV_OK && lkv_format_parse_commit(&record, commit) != LKV_OK) {
        rc = lkv_log_damage(err, lkv_loc_segment(place.loc), lkv_loc_offset(place.loc),
                            "not a commit record of this format");
    }
    if (rc == LKV_OK && commit->covered >= LONG) {
        const lkv_segment *segment =
            lkv_log_segment(history->log, lkv_loc_segment(place.loc));
        uint64_t at = segment->base + lkv_loc_offset(place.loc) - LKV_SEGMENT_HEADER;
        place.loc = lkv_loc_make(0, segment->number, lkv_loc_offset(place.loc));
        place.size = LKV_COMMIT_SIZE;
        rc = lkv_memindex_put(history->known, name_of(at, name), place, &old);
    }
    return rc;
}

int lkv_history_find(lkv_history *history, lkv_loc loc, uint64_t *revision,
                     int64_t *time_ms, lkv_error *err)
{
    const lkv_segment *segment = lkv_log_segment(history->log, lkv_loc_segment(loc));
    lkv_commit_record commit = {0};
    int rc = LKV_ABSENT;

    if (segment != NULL) {
        rc = recall(history, segment->base + lkv_loc_offset(loc) - LKV_SEGMENT_HEADER,
                    &commit, err);
    }
    if (rc == LKV_ABSENT) {
        rc = look(history, loc, &commit, err);
    }
    *revision = commit.revision;
    *time_ms = commit.time_ms;
    return rc;
}
