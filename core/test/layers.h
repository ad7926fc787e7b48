/*
 * layers.h - a store with all that a log can become: parts, a pass of compaction under
 * way, runs, a merge under way, and an index in memory; everything small.
 */
#ifndef LKV_TEST_LAYERS_H
#define LKV_TEST_LAYERS_H

#include "fixture.h"

/* An empty store whose runs and segments are small, as those of `layers_reopen()`. */
void layers_open(fixture *f);
void layers_reopen(fixture *f);
/* Another handle on the same storage. */
lkv_store *layers_handle(fixture *f);

/* So many random changes in the transaction that is open, to a few hundred keys;
 * one of them is empty, and one long. */
void layers_change(lkv_store *store, uint64_t *random, unsigned changes);
/* The same as a transaction of its own. */
void layers_commit(lkv_store *store, uint64_t *random, unsigned changes);
/* Commits until every layer is there; checks that it comes to that. */
void layers_fill(fixture *f, uint64_t *random);

/* A store of a few hundred bytes, with a part, three runs and an index in memory,
 * nothing under way; and what it holds. */
void layers_small(fixture *f);
#define LAYERS_SMALL                                                                   \
    "a=2 c= dddddddddddd=some value ddddddddddde=some value e=5 g=3 h=h"

/* A copy of an object in storage, to be freed; and the other way round. */
lkv_bytes layers_object(lkv_storage *storage, uint32_t number);
void layers_put_object(lkv_storage *storage, uint32_t number, lkv_bytes bytes);

/* What contents() and contents_anew() say, in few words: equal when those are. The last
 * sixteen are valid. */
const char *summary(lkv_store *store);
const char *summary_anew(fixture *f);

/* What lkv_verify() says: "ok", or its text. */
const char *verified(lkv_store *store);

/* All objects of the memory below a fixture, to be put back as they were. */
typedef struct objects {
    uint32_t number[64];
    lkv_bytes bytes[64];
    size_t count;
} objects;

void objects_take(objects *all, fixture *f);
void objects_put(const objects *all, fixture *f);
void objects_free(objects *all);

#endif
