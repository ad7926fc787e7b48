/*
 * gap.h - stretches of keys without a row, which the last long searches walked through.
 *
 * Who takes rows from the front of a table and puts others at its end leaves tombstones
 * in front until a compaction: without this each look for the first row would walk
 * through all of them. Where several such queues lie in one table each has its own.
 */
#ifndef LKV_GAP_H
#define LKV_GAP_H

#include "litekv.h"

#define LKV_GAP_KEY 64u   /* longer keys are not kept */
#define LKV_GAP_LEAST 64u /* dead keys that are worth it */

#define LKV_GAPS 16u

typedef struct lkv_gap {
    int known;
    int to_end; /* no key is beyond it: `high` says nothing */
    size_t low_size, high_size;
    uint8_t low[LKV_GAP_KEY], high[LKV_GAP_KEY]; /* from `low` to below `high` */
} lkv_gap;

typedef struct lkv_gaps {
    uint32_t least; /* dead keys that a search must have passed */
    uint32_t count;
    uint32_t next; /* the place for a new one when all are taken, counted on and on */
    lkv_gap at[LKV_GAPS];
} lkv_gaps;

/* The gap in which a search would begin that begins at `key`, NULL for the end that it
 * comes from; NULL: none is known. Valid until the next call below. */
lkv_gap *lkv_gap_find(lkv_gaps *gaps, const lkv_bytes *key, enum lkv_seek how);

/* Where such a search is to begin: 1 at `*out`, which is the gap's `high` (and may be a
 * row) or `low` (and is none); -1: it would find nothing. */
int lkv_gap_skip(const lkv_gap *gap, enum lkv_seek how, lkv_bytes *out);

/* A search from `key`, as above, which skipped a gap or (NULL) none, has passed `dead`
 * keys since, and come to `found`, NULL for nothing. */
void lkv_gap_note(lkv_gaps *gaps, lkv_gap *skipped, const lkv_bytes *key,
                  enum lkv_seek how, uint32_t dead, const lkv_bytes *found);

/* There may be a row of this key from here on. */
void lkv_gap_put(lkv_gaps *gaps, lkv_bytes key);

#endif
