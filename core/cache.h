/*
 * cache.h - a bounded cache of blocks, for storages whose reads are copies.
 *
 * Blocks are byte strings named by a 64-bit id. Eviction is by the clock algorithm, an
 * approximation of least recently used: a block that was asked for again is spared by
 * the hand once, and one that is favoured up to fifteen times, so that blocks that lead
 * to many others stay. Handles: one thread at a time.
 */
#ifndef LKV_CACHE_H
#define LKV_CACHE_H

#include "litekv.h"
#include "os.h"

typedef struct lkv_cache lkv_cache;

/* A cache that holds at most `limit` bytes of memory, its own tables included (at least
 * one block is always held). Allocates nothing that grows before blocks come in.
 * LKV_NOMEM. */
LKV_MUST_CHECK int lkv_cache_open(const lkv_os *os, uint64_t limit, lkv_cache **out);
void lkv_cache_close(lkv_cache *cache);

/* Favours all blocks with an id >= `first` that come in from now on. */
void lkv_cache_favour(lkv_cache *cache, uint64_t first);

/* The block `id`, marked as used; data is NULL when the cache does not hold it. Valid
 * until the next lkv_cache_put or drop. It is looked for where `*hint` says first,
 * which becomes where it is; any number will do, and is never more than slower. */
lkv_bytes lkv_cache_find(lkv_cache *cache, uint64_t id, uint32_t *hint);

/* Makes room, evicting others if need be, and copies `block` in as `id` (replacing it
 * if it is there); the result is the copy. LKV_NOMEM: it is not in, and others may have
 * gone. */
LKV_MUST_CHECK int lkv_cache_put(lkv_cache *cache, uint64_t id, lkv_bytes block,
                                 lkv_bytes *copy);

/* Forgets all blocks with an id >= `first` and <= `last`. Never fails. */
void lkv_cache_drop(lkv_cache *cache, uint64_t first, uint64_t last);

/* Bytes of memory held now, and the bound. */
uint64_t lkv_cache_memory(const lkv_cache *cache);
uint64_t lkv_cache_limit(const lkv_cache *cache);

#endif
