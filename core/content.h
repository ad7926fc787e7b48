/*
 * content.h - another content in the place of all that a store holds: records in the
 * order of their keys become new parts, with an empty log after them. What was before
 * is garbage then.
 */
#ifndef LKV_CONTENT_H
#define LKV_CONTENT_H

#include "rebuild.h"

#define LKV_REVISION_MAX (1ull << 62) /* of a record that is taken in */

typedef struct lkv_content {
    lkv_store *store;
    uint64_t rollbacks;
    uint32_t depth; /* mark to go back to */
    uint32_t next_part, next_run;
    lkv_buffer parts; /* lkv_part each: those that are finished */
    int writing;      /* one is open */
    lkv_part_writer writer;
    uint64_t keys, bytes; /* of them, in the plain form */
} lkv_content;

/* In a transaction; prepares what it did so far. The revision of the next commit is
 * above `revision`, which is at most LKV_REVISION_MAX. lkv_content_end() follows only
 * after LKV_OK. Errors as lkv_put(). */
LKV_MUST_CHECK int lkv_content_begin(lkv_content *content, lkv_store *store,
                                     uint64_t revision, lkv_error *err);
/* The next record, whose bytes in the long form are in memory of the caller's own; keys
 * ascend. Errors as lkv_put(). */
LKV_MUST_CHECK int lkv_content_add(lkv_content *content, const uint8_t *bytes,
                                   const lkv_record *record, lkv_error *err);
/* `rc` is what became of it. After LKV_OK the records are what the store holds, and
 * prepared; otherwise all is as before lkv_content_begin(), but prepared, unless the
 * storage's owner rolled back. Returns `rc`, or what went wrong here. */
LKV_MUST_CHECK int lkv_content_end(lkv_content *content, int rc, lkv_error *err);

#endif
