/*
 * runcheck.h - reading a run from front to back and proving that all of it is as a
 * writer makes it: what lookups rely on without looking.
 */
#ifndef LKV_RUNCHECK_H
#define LKV_RUNCHECK_H

#include "part.h"

/* Given each entry in order. LKV_OK goes on; LKV_CORRUPT with `*why` and anything else
 * ends the check and becomes its result. */
typedef int lkv_run_check_entry(void *arg, lkv_bytes key, lkv_place place,
                                const char **why);

typedef struct lkv_run_check {
    const lkv_os *os;
    uint32_t unit; /* bytes of a block of the storage */
    uint32_t number;
    int fences; /* the index of a part: its filters are over other keys */
    lkv_run_check_entry *each;
    void *arg;
    uint32_t next;                /* the block that comes next */
    uint32_t leaf, branch, top;   /* the last ones, plus 1; 0: none yet */
    uint64_t entries, live_bytes; /* so far */
    lkv_buffer last;              /* the last key of the leaves */
    lkv_buffer key;               /* the last one of another block */
    lkv_buffer group;             /* leaves since the last branch (see runcheck.c) */
    lkv_buffer hashes;            /* of their keys */
    lkv_buffer below, above;      /* what tops lead to, and what leads to them */
    size_t below_at;              /* what was led to of `below` */
} lkv_run_check;

/* `number` is that of the object. */
void lkv_run_check_init(lkv_run_check *check, const lkv_os *os, uint32_t unit,
                        uint32_t number, int fences, lkv_run_check_entry *each,
                        void *arg);
void lkv_run_check_free(lkv_run_check *check);

/* Looks at the next block, all of it; its checksum too. Errors: LKV_CORRUPT with
 * `*why`, LKV_NOMEM, and what `each` returns. */
LKV_MUST_CHECK int lkv_run_check_block(lkv_run_check *check, lkv_bytes bytes,
                                       const char **why);
/* Whether the blocks that were looked at are all of `run`: finished, or only paused.
 * For a part's index `run` has no counts. LKV_OK, LKV_CORRUPT with `*why`, LKV_NOMEM.
 */
LKV_MUST_CHECK int lkv_run_check_end(lkv_run_check *check, const lkv_run *run,
                                     int finished, const char **why);

/* What entries may say. Of a run of the log: places of records in the part of the log
 * that it covers. Of a part's index: the chunks of the part, each behind the one before
 * it. */
typedef struct lkv_expected {
    const lkv_log *log;
    const lkv_run *run;   /* or ... */
    const lkv_part *part; /* ... this */
    uint32_t offset;      /* where the next chunk begins */
} lkv_expected;

/* lkv_run_check_entry(); `expected` is a struct lkv_expected. */
int lkv_expected_place(void *expected, lkv_bytes key, lkv_place place,
                       const char **why);
int lkv_expected_fence(void *expected, lkv_bytes key, lkv_place place,
                       const char **why);

#endif
