/*
 * top.h - the upper levels of one run, taken apart: for tops.c.
 *
 * Of each branch there is its separator, where its block is, and where in that its
 * filter. What is compared first are the eight bytes of a separator behind what all
 * begin with, as numbers, which lie together: 26 KB for 10 million keys. Below a branch
 * that was gone through there are its leaves in the same way, but without their
 * separators, so that now and then the branch itself has to be asked.
 */
#ifndef LKV_TOP_H
#define LKV_TOP_H

#include "tops.h"

typedef struct lkv_leaf_at {
    uint64_t prefix;     /* of its separator; 0 of the first one's */
    const uint8_t *seen; /* where the block was last: not to be followed */
    uint32_t block;
    uint32_t hint;  /* the storage's, of the block */
    uint32_t table; /* where in it the restarts stand */
} lkv_leaf_at;

typedef struct lkv_leaves {
    uint32_t count;
    uint32_t common;      /* bytes that all separators but the first begin with, */
    const uint8_t *bytes; /* and these bytes */
    lkv_leaf_at at[];
} lkv_leaves;

typedef struct lkv_branch_at {
    uint32_t block;
    uint32_t key;    /* where in `keys` its separator begins; the next one's: ends */
    uint32_t filter; /* where in the block; 0: the block has to be looked at */
    uint32_t hint;   /* the storage's, of the block */
    const uint8_t *seen; /* where the filter was last: not to be followed */
    lkv_leaves *leaves;  /* NULL: not taken apart */
} lkv_branch_at;

struct lkv_top {
    lkv_top *next;
    uint32_t number; /* of the run */
    uint32_t stamp;
    uint32_t count;  /* of branches; 0: the run is searched from its top block */
    uint32_t common; /* bytes that all separators but the first begin with */
    size_t memory;   /* without leaves */
    uint64_t *prefix;
    lkv_branch_at *branch; /* and one more, for its `key` */
    uint8_t *keys;
};

/* Takes a run's tops apart; NULL in `*out` when memory failed, an entry without
 * branches for a run that has too many for the room that is left or is damaged: that is
 * told by whoever comes upon it, since a newer run may have the answer. Errors:
 * LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_top_open(lkv_tops *tops, const lkv_run *run, lkv_top **out,
                                lkv_error *err);
/* Takes a branch apart; its `leaves` stay NULL when that cannot be. Errors as above. */
LKV_MUST_CHECK int lkv_top_open_branch(lkv_tops *tops, const lkv_run *run,
                                       lkv_branch_at *at, lkv_error *err);
void lkv_top_close(lkv_tops *tops, lkv_top *top);

/* Eight bytes of `key` behind the first `skip`, with zeros for those that are not
 * there, as a number that is ordered as they are. */
static inline uint64_t lkv_top_number(lkv_bytes key, size_t skip)
{
    const uint8_t *at = (const uint8_t *)key.data + skip;
    size_t size = key.size < skip ? 0 : key.size - skip;
    uint64_t n = 0;

    if (size >= 8) {
        return __builtin_bswap64(lkv_format_get_u64(at));
    }
    for (size_t i = 0; i < 8; i++) {
        n = n << 8 | (i < size ? at[i] : 0);
    }
    return n;
}

static inline lkv_bytes lkv_top_separator(const lkv_top *top, uint32_t i)
{
    return (lkv_bytes){top->keys + top->branch[i].key,
                       top->branch[i + 1].key - top->branch[i].key};
}

#endif
