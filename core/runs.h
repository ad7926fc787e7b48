/*
 * runs.h - what a root lists besides the log's segments: parts, runs, what is being
 * made of them, and the objects that are to be removed. Oldest first; parts by key.
 *
 * A list never changes, but that a part was `checked`: whoever needs another makes one.
 * So a mark of a transaction, or a cursor, keeps the list that it began with by holding
 * it.
 */
#ifndef LKV_RUNS_H
#define LKV_RUNS_H

#include "format.h"

/* No store comes near to so many, and cursors of that many fit into 32 bits. */
#define LKV_RUNS_MOST (1u << 20)

typedef struct lkv_runs {
    int references;
    uint32_t parts, count, merges, gone; /* with pass.out, lengths of the lists */
    uint32_t next_part, next_run;        /* numbers not yet given out */
    uint32_t auto_compact, sync;         /* as in the root */
    lkv_pass pass;
    lkv_tail tail;
    uint64_t tail_at; /* the tail's logical offset */
    /* Within this allocation: */
    lkv_part *part;
    lkv_part *out; /* of the pass, so far */
    lkv_run *run;
    lkv_run *merge; /* outputs so far; from and to are those of their inputs */
    lkv_gone *garbage;
} lkv_runs;

/* A list with the counts and all plain fields of `like`, its entries not set, held
 * once; NULL without memory. */
lkv_runs *lkv_runs_new(const lkv_os *os, const lkv_runs *like);
static inline lkv_runs *lkv_runs_hold(lkv_runs *runs)
{
    runs->references++;
    return runs;
}
void lkv_runs_release(const lkv_os *os, lkv_runs *runs); /* NULL does nothing */

/* Entries of such lists; where there are none, `from` may be NULL. */
#define LKV_RUNS_COPY(to, from, count)                                                 \
    ((count) == 0 ? (void)0 : (void)memcpy(to, from, (size_t)(count) * sizeof(*(from))))

/* Bytes, written so far, of object `number` among parts, runs and what is being made;
 * 0 when it is not there. */
uint64_t lkv_runs_bytes(const lkv_runs *runs, uint32_t number, uint32_t block);

/* Puts an object of so many blocks on the list of garbage, where there is room for it.
 * What has no blocks is not there. */
static inline void lkv_runs_add_gone(lkv_runs *runs, uint32_t number, uint32_t blocks)
{
    if (blocks > 0) {
        runs->garbage[runs->gone++] = (lkv_gone){number, blocks};
    }
}

static inline uint32_t lkv_blocks_of(uint32_t bytes, uint32_t block)
{
    return (uint32_t)(((uint64_t)bytes + block - 1) / block);
}

/* A part and its index. */
static inline void lkv_runs_add_gone_part(lkv_runs *runs, const lkv_part *part,
                                          uint32_t block)
{
    lkv_runs_add_gone(runs, part->number, lkv_blocks_of(part->size, block));
    lkv_runs_add_gone(runs, part->index, part->blocks);
}

/* Whether nothing older than the runs is left, so that a tombstone hides nothing. */
static inline int lkv_runs_at_bottom(const lkv_runs *runs)
{
    return runs->parts == 0 && runs->pass.out == 0;
}

#endif
