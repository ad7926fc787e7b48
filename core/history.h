/*
 * history.h - which commit a record of the log came with: revision and time of what
 * compaction moves.
 */
#ifndef LKV_HISTORY_H
#define LKV_HISTORY_H

#include "log.h"
#include "memindex.h"

typedef struct lkv_history {
    lkv_log *log;
    lkv_memindex *known; /* long commits, by the logical offset of their records' end */
} lkv_history;

/* LKV_NOMEM. */
LKV_MUST_CHECK int lkv_history_open(lkv_history *history, lkv_log *log);
void lkv_history_close(lkv_history *history);

/* The commit of the record at `loc`, which is committed. Moves views of the log. Errors
 * as lkv_log_read(). */
LKV_MUST_CHECK int lkv_history_find(lkv_history *history, lkv_loc loc,
                                    uint64_t *revision, int64_t *time_ms,
                                    lkv_error *err);

#endif
