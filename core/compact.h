/*
 * compact.h - rewriting the log in key order, in slices.
 *
 * A pass takes in the log below a place where a segment and a commit end: it merges the
 * base and the runs of that log, in the order of their keys, into new parts. When it
 * has gone past the keys of an old part, the new ones take its place; but where the
 * last of them is still short, it goes on with the keys of the next old part, and both
 * are replaced at once. When the pass is through, the segments and runs below its place
 * leave the root. What others append meanwhile stays as it is. At any time the base,
 * and the log listed after it, give the same content: a new part holds what the base
 * and all of that log make of its keys, and replaying that log over it changes nothing.
 *
 * What one handle leaves unfinished another takes up: the root tells how far it came.
 */
#ifndef LKV_COMPACT_H
#define LKV_COMPACT_H

#include "history.h"
#include "part.h"

/* Bytes that could be written in the time that a dead key takes. */
#define LKV_COMPACTION_DEAD 16u
/* Parts of full length that one short part may keep from being replaced. */
#define LKV_COMPACTION_WAITS 4u

typedef struct lkv_compaction {
    lkv_log *log;
    lkv_runs *runs; /* held: the list that it reads from */
    lkv_pass pass;  /* as the root has it */
    uint32_t parts; /* in the root: one that is replaced by nothing shows here */
    uint64_t revision, chain; /* of the last commit below pass.to */
    uint32_t most;            /* bytes of a part */
    uint32_t next_part, next_run;
    lkv_part *outs; /* finished and not yet among the parts */
    uint32_t out_count, out_room;
    uint32_t taken_up; /* the first ones, of other transactions, not read again yet */
    int writing;       /* a part is open */
    uint32_t crossed;  /* old parts from pass.next on whose keys are all gone past */
    int got; /* something was written of the keys of the old part after them */
    lkv_part_writer writer;
    uint64_t written; /* bytes, of parts that are finished */
    uint64_t passed;  /* keys of which nothing was written */
    int warm;         /* a step was made, or a part was done */
    lkv_history history;
    lkv_base_cursor base;
    lkv_run *input; /* oldest first; copies */
    lkv_run_cursor *cursor;
    uint8_t *on; /* whether source i stands on a key: the base, then the inputs */
    uint32_t inputs;
} lkv_compaction;

/* Takes up the pass of the log's list. A part is ended before it would grow past `most`
 * bytes; one that begins with a longer record holds that record. Errors: LKV_CORRUPT,
 * LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_compaction_open(lkv_log *log, uint32_t most,
                                       lkv_compaction **out, lkv_error *err);
void lkv_compaction_close(lkv_compaction *compaction);

/* A finished part that does not stand among the parts yet. LKV_NOMEM. For compact.c. */
LKV_MUST_CHECK int lkv_compaction_add(lkv_compaction *compaction, const lkv_part *part);

/* Whether `key` is not below the first one of the old part after those that are gone
 * past: 1, 0 (or there is none) or an error. For compact.c. */
LKV_MUST_CHECK int lkv_compaction_crosses(const lkv_compaction *compaction,
                                          lkv_bytes key, lkv_error *err);

/* Whether the list's pass stands where `compaction` left it. */
int lkv_compaction_fits(const lkv_compaction *compaction, const lkv_runs *runs);

/* Writes about `budget` bytes; a key that is dead counts as LKV_COMPACTION_DEAD.
 * LKV_OK: the pass is through. LKV_ABSENT: there is more to do. `*spent` is what it
 * was. A first step goes on until something is written or a part is done, so that
 * whoever makes one step and closes comes to an end, too. The list changes; before it
 * does, `before_change` is called. Errors as above: the compaction is good for nothing
 * but closing, and what it wrote since the list changed last is forgotten, unless the
 * storage's owner rolled back.
 */
LKV_MUST_CHECK int lkv_compaction_step(lkv_compaction *compaction, uint64_t budget,
                                       void (*before_change)(void *arg), void *arg,
                                       uint64_t *spent, lkv_error *err);

#endif
