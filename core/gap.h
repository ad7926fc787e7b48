/*
 * gap.h - a stretch of keys without a row, which the last long search walked through.
 *
 * Who takes rows from the front of a table and puts others at its end leaves tombstones
 * in front until a compaction: without this each look for the first row would walk
 * through all of them.
 */
#ifndef LKV_GAP_H
#define LKV_GAP_H

#include "litekv.h"

#define LKV_GAP_KEY 64u   /* longer keys are not kept */
#define LKV_GAP_LEAST 64u /* dead keys that are worth it */

typedef struct lkv_gap {
    int known;
    int to_end;     /* no key is beyond it: `high` says nothing */
    uint32_t least; /* dead keys that a search must have passed */
    size_t low_size, high_size;
    uint8_t low[LKV_GAP_KEY], high[LKV_GAP_KEY]; /* from `low` to below `high` */
} lkv_gap;

/* Where a search is to begin that would begin at `key`, NULL for the end that it comes
 * from: 0 when it is to begin there; 1 at `*out`, which is `high` (and may be a row) or
 * `low` (and is none); -1: it would find nothing. */
int lkv_gap_skip(const lkv_gap *gap, const lkv_bytes *key, enum lkv_seek how,
                 lkv_bytes *out);

/* A search from `key`, as above, has passed `dead` keys, come to `found`, NULL for
 * nothing, and begun where lkv_gap_skip() `skipped` to. */
void lkv_gap_note(lkv_gap *gap, const lkv_bytes *key, enum lkv_seek how, int skipped,
                  uint32_t dead, const lkv_bytes *found);

/* There may be a row of this key from here on. */
void lkv_gap_put(lkv_gap *gap, lkv_bytes key);

#endif
