/*
 * memindex.h - an ordered map in memory from keys to locations in the log.
 *
 * A B+tree of leaves of about 1 KiB. Keys are byte strings in memcmp order, a shorter
 * key before a longer one that it begins. Handles: one thread at a time.
 */
#ifndef LKV_MEMINDEX_H
#define LKV_MEMINDEX_H

#include "format.h"

typedef struct lkv_memindex lkv_memindex;

/* An empty index in `*out`, or LKV_NOMEM. `os` must outlive it. */
LKV_MUST_CHECK int lkv_memindex_open(const lkv_os *os, lkv_memindex **out);

/* Frees everything; NULL does nothing. */
void lkv_memindex_close(lkv_memindex *index);

/* Forgets all keys; the index stays usable, and keeps up to 512 KiB for what comes
 * next. Cannot fail. */
void lkv_memindex_clear(lkv_memindex *index);

/* The place stored for `key`, or one whose location is LKV_NOWHERE. */
lkv_place lkv_memindex_get(const lkv_memindex *index, lkv_bytes key);

/* Stores `place` for `key`; `*old` is what was stored before, or LKV_NOWHERE. Replacing
 * the place of a key that is there never fails and moves nothing. LKV_NOMEM leaves the
 * index as it was. */
LKV_MUST_CHECK int lkv_memindex_put(lkv_memindex *index, lkv_bytes key, lkv_place place,
                                    lkv_place *old);

/* Takes `key` out; nothing happens when it is not there. Never fails, never allocates.
 */
void lkv_memindex_remove(lkv_memindex *index, lkv_bytes key);

/* Number of keys, and bytes of memory held by the index, all included. */
uint64_t lkv_memindex_count(const lkv_memindex *index);
uint64_t lkv_memindex_memory(const lkv_memindex *index);

/* A number that changes whenever keys are added, removed or moved in memory (not when
 * only a location is replaced): a cursor is good for as long as it stands still. */
uint64_t lkv_memindex_changes(const lkv_memindex *index);

/* A position in key order. A value without owned memory: nothing to close, may be
 * copied. It is valid as long as lkv_memindex_changes() is what it was at the last
 * positioning call. */
typedef struct lkv_memindex_cursor {
    const void *leaf; /* NULL: at no key */
    uint32_t slot;
} lkv_memindex_cursor;

/* Each positions the cursor and says whether it stands on a key. */
int lkv_memindex_first(lkv_memindex_cursor *cursor, const lkv_memindex *index);
int lkv_memindex_last(lkv_memindex_cursor *cursor, const lkv_memindex *index);
int lkv_memindex_seek(lkv_memindex_cursor *cursor, const lkv_memindex *index,
                      lkv_bytes key, enum lkv_seek how);
int lkv_memindex_next(lkv_memindex_cursor *cursor);
int lkv_memindex_prev(lkv_memindex_cursor *cursor);

/* The key (contiguous bytes, valid until the index changes) and place under a cursor
 * that stands on a key. */
lkv_bytes lkv_memindex_key(const lkv_memindex_cursor *cursor);
lkv_place lkv_memindex_place(const lkv_memindex_cursor *cursor);

#endif
