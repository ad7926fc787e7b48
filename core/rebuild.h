/*
 * rebuild.h - putting another index in the place of the one that is, and going back
 * when that fails: what lkv_rebuild() and lkv_import() share.
 */
#ifndef LKV_REBUILD_H
#define LKV_REBUILD_H

#include "replay.h"
#include "store.h"

/* What there was before. */
typedef struct lkv_before {
    lkv_runs *runs; /* held */
    int root_changed;
    uint64_t rollbacks;
} lkv_before;

void lkv_before_take(lkv_before *before, lkv_store *store);
/* Whether the storage's owner rolled the transaction back meanwhile. */
int lkv_before_is_void(const lkv_before *before, const lkv_store *store);
/* `rc` is what became of it: after an error all is again as it was, unless the owner
 * rolled back. Returns `rc`. */
int lkv_before_end(lkv_before *before, lkv_store *store, int rc);

/* A list with room for `count` runs, nothing under way, the same parts; all of the
 * index that there is, and what a pass of compaction has begun, is garbage. The caller
 * sets the runs, the tail, and where the indexes of the parts are. NULL without memory.
 */
lkv_runs *lkv_reindex_list(const lkv_store *store, uint32_t count);
/* It becomes the store's. The index in memory is empty. */
void lkv_reindex_set(lkv_store *store, lkv_runs *runs);
/* Reads the log on from where `replay` stands, which is the tail of the list, into the
 * index in memory and into runs, and merges what there is to merge. After an error the
 * list tells how far it came. Errors as lkv_put(). */
LKV_MUST_CHECK int lkv_reindex_log(lkv_store *store, lkv_replay *replay,
                                   lkv_asking *asking, lkv_error *err);
/* Whether the index gives as many live keys and bytes as the store has: LKV_OK, or
 * LKV_CORRUPT with `why`. Errors as lkv_get(). */
LKV_MUST_CHECK int lkv_reindex_check(lkv_store *store, lkv_asking *asking,
                                     const char *why, lkv_error *err);

#endif
