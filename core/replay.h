/*
 * replay.h - reading the log record by record while its commits are proven: the chain
 * value of each goes over the bytes read since the one before it.
 */
#ifndef LKV_REPLAY_H
#define LKV_REPLAY_H

#include "log.h"

typedef struct lkv_replay {
    lkv_log_scan scan;
    lkv_end at; /* the last commit passed; live keys and bytes only once one was */
    uint64_t covered; /* bytes of records since */
    lkv_hash hash;    /* over them */
    uint64_t synced;  /* the greatest synced end of the commits passed */
    int headers; /* set by the caller: each segment's header must name the last commit
                  */
} lkv_replay;

/* Where a replay begins: at a tail, behind a commit, both in listed segments, or at the
 * first segment, which begins behind a commit. The last one reads its header; errors as
 * lkv_log_read(). */
void lkv_replay_at_tail(lkv_replay *replay, lkv_log *log, const lkv_tail *tail);
void lkv_replay_at_commit(lkv_replay *replay, lkv_log *log, const lkv_end *commit);
LKV_MUST_CHECK int lkv_replay_at_start(lkv_replay *replay, lkv_log *log,
                                       lkv_error *err);

/* The next put or tombstone and where it stands, past commits, which are proven; its
 * views are valid until the next call on the log or the replay. LKV_ABSENT at the end.
 * Errors as lkv_log_read(). F6 */
LKV_MUST_CHECK int lkv_replay_next(lkv_replay *replay, lkv_record *record, lkv_loc *loc,
                                   lkv_error *err);

/* To be called when the storage was used between two records. */
static inline void lkv_replay_moved(lkv_replay *replay)
{
    replay->scan.view.size = 0;
}

/* Where the replay stands, as a tail, and its logical offset. */
uint64_t lkv_replay_logical(const lkv_replay *replay);
void lkv_replay_tail(const lkv_replay *replay, lkv_tail *tail);

/* Reads the header of listed segment `i` and compares it with the list. Errors as
 * lkv_log_read(). F8 */
LKV_MUST_CHECK int lkv_replay_header(lkv_log *log, size_t i, lkv_segment_header *header,
                                     lkv_error *err);

#endif
