/*
 * merge.h - making one run of several that follow each other, in slices.
 */
#ifndef LKV_MERGE_H
#define LKV_MERGE_H

#include "run.h"
#include "runs.h"

/* A merge at work: what the root says of it, and what goes on from there. */
typedef struct lkv_merge {
    struct lkv_merge *next;
    lkv_run_writer writer;
    uint32_t inputs;
    uint32_t done;  /* inputs that are at their end */
    int oldest;     /* nothing older is left below: tombstones go */
    lkv_run *input; /* oldest first; copies */
    lkv_run_cursor *cursor;
    uint64_t *prefix; /* of each input's key: what mostly tells their order */
    uint32_t *same;   /* inputs with the least key, but the newest of them, ... */
    uint32_t same_count;
    uint8_t *on;
} lkv_merge;

/* The newest runs that should become one, which no merge has taken and no pass takes
 * in: the first and how many; 0 when there are none. */
uint32_t lkv_merge_choose(const lkv_runs *runs, uint32_t *first);

/* Blocks that the merges under way and the ones to come have still to read. */
uint64_t lkv_merge_left(const lkv_runs *runs);

/* The merge of `runs` whose output is `entry`, taken up where it was left. Errors:
 * LKV_CORRUPT, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_merge_open(lkv_storage *storage, const lkv_os *os,
                                  const lkv_runs *runs, const lkv_run *entry,
                                  lkv_merge **out, lkv_error *err);
void lkv_merge_close(lkv_merge *merge);

/* Writes about `blocks` more blocks. LKV_OK: the output is whole. LKV_ABSENT: there is
 * more to do; the output was paused. Errors as above: `merge` is good for nothing but
 * closing. */
LKV_MUST_CHECK int lkv_merge_step(lkv_merge *merge, uint32_t blocks, lkv_error *err);

#endif
