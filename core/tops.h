/*
 * tops.h - what is kept in memory of the upper levels of runs, so that a lookup finds a
 * key's branch without reading blocks, and its filter without looking at the branch's
 * header.
 *
 * The table is filled as runs are asked. It holds no more than LKV_TOPS_MOST bytes:
 * runs that find no room (of more than about 20 million keys, or of very long ones) are
 * searched from their top block, as they are without memory. What found no room is not
 * tried again at each lookup: a run never, the leaves of branches when something has
 * gone. Leaves leave a quarter of the room to the tops of runs to come.
 */
#ifndef LKV_TOPS_H
#define LKV_TOPS_H

#include "run.h"
#include "runs.h"

#define LKV_TOPS_MOST (2u << 20)
#define LKV_TOPS_LEAVES (LKV_TOPS_MOST / 4 * 3)
#define LKV_TOPS_HEADS 64u

typedef struct lkv_top lkv_top;

typedef struct lkv_tops {
    lkv_storage *storage;
    const lkv_os *os;
    lkv_runs *runs;   /* held: the list that the table was made fit for */
    uint64_t rewound; /* as lkv_tops_follow() was told */
    lkv_top *head[LKV_TOPS_HEADS];
    uint64_t memory; /* bytes */
    int full;        /* no more leaves fit */
    uint32_t stamp;
} lkv_tops;

void lkv_tops_init(lkv_tops *tops, lkv_storage *storage, const lkv_os *os);
void lkv_tops_free(lkv_tops *tops);

/* To be called before a lookup: forgets what `runs` does not list, and everything when
 * `rewound` moved, which says that numbers of objects may have another meaning. */
void lkv_tops_follow(lkv_tops *tops, lkv_runs *runs, uint64_t rewound);

/* A search for a key in all runs, in two steps. The first finds where their filters are
 * and has the processor fetch them, so that there is time for something else until the
 * second looks at them: LKV_OK, or errors as lkv_run_find(). The first `left` of the
 * runs are searched; the table follows the list as above. The second: what the newest
 * run that knows `key` says of it; LKV_ABSENT when none does. */
#define LKV_TOPS_AHEAD 16u /* runs that are asked at once */

typedef struct lkv_tops_search {
    uint32_t left, count; /* runs to be asked, and of these now */
    lkv_top *top[LKV_TOPS_AHEAD];
    uint32_t at[LKV_TOPS_AHEAD];
} lkv_tops_search;

LKV_MUST_CHECK int lkv_tops_ahead(lkv_tops *tops, lkv_runs *runs, uint64_t rewound,
                                  uint32_t left, lkv_bytes key, uint64_t hash,
                                  lkv_tops_search *search, lkv_error *err);
LKV_MUST_CHECK int lkv_tops_find(lkv_tops *tops, lkv_tops_search *search, lkv_bytes key,
                                 uint64_t hash, lkv_place *found, lkv_error *err);
/* As lkv_run_floor(), of a run that the list names. */
LKV_MUST_CHECK int lkv_tops_floor(lkv_tops *tops, const lkv_run *run, lkv_bytes key,
                                  uint64_t hash, lkv_place *found, int *exact,
                                  lkv_error *err);

#endif
