/*
 * verify.h - what the files of lkv_verify() share: verify.c, verifyparts.c.
 */
#ifndef LKV_VERIFY_H
#define LKV_VERIFY_H

#include "runcheck.h"
#include "store.h"

typedef struct lkv_verify_state {
    lkv_store *store;
    lkv_asking asking;
    lkv_buffer key, block; /* copies of what is looked at */
    uint32_t run;          /* that covers the record which was read last */
    uint64_t *hits;        /* of each run, and of the index in memory */
    int tail_seen;         /* the tail stands behind a record as it says */
} lkv_verify_state;

/* Reads a run from front to back: see runcheck.h. `each` may read; with an empty `*why`
 * its text is in `err`. Errors as lkv_verify(). */
LKV_MUST_CHECK int lkv_verify_run(lkv_verify_state *v, const lkv_run *run, int fences,
                                  int finished, lkv_run_check_entry *each, void *arg,
                                  lkv_error *err);

/* verifyparts.c: the parts, with their indexes; and the objects that storage has,
 * against those that the root names. Errors as lkv_verify(). */
LKV_MUST_CHECK int lkv_verify_parts(lkv_verify_state *v, lkv_error *err);
LKV_MUST_CHECK int lkv_verify_objects(lkv_verify_state *v, lkv_error *err);

/* The numbers (u32) of all objects that the storage has and nothing names; `numbers` is
 * the caller's to free, after an error too. None where others may have left them by
 * right: in files. LKV_NOMEM, and the storage's errors. */
LKV_MUST_CHECK int lkv_verify_strays(lkv_log *log, lkv_buffer *numbers, lkv_error *err);

#endif
