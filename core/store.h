/*
 * store.h - the store's own parts, for the files that make it up: store.c, recover.c,
 * cursor.c.
 */
#ifndef LKV_STORE_H
#define LKV_STORE_H

#include "journal.h"
#include "log.h"
#include "memindex.h"

struct lkv_store {
    lkv_log log;
    lkv_memindex
        *index; /* every key that is live; in a transaction also its tombstones */
    lkv_journal journal;
    size_t prepared; /* bytes of the journal that the last lkv_prepare() covers */
    uint64_t live_keys;
    uint64_t deletes; /* in this transaction: tombstones may be in the index */
    uint64_t undone;  /* moves when records that locations name may have gone */
    lkv_cursor *cursors;
};

struct lkv_cursor {
    lkv_store *store;
    lkv_cursor *next, **link; /* the store's list */
    enum lkv_cursor_state {
        LKV_CURSOR_NOWHERE,
        LKV_CURSOR_ON,    /* `at` stands on the row */
        LKV_CURSOR_SAVED, /* the index changed: the row's key is in `key` */
        LKV_CURSOR_LOST,  /* it changed, and there was no memory for the key */
    } state;
    lkv_memindex_cursor at;
    lkv_loc loc;     /* the row's record when the cursor came */
    uint64_t undone; /* store->undone then */
    uint8_t *key;
    size_t key_size, key_capacity;
};

/* recover.c: see lkv_refresh(). */
LKV_MUST_CHECK int lkv_recover(lkv_store *store, lkv_error *err);

/* The put at `loc`, which is of `key`. Valid and errors as lkv_get(). */
LKV_MUST_CHECK int lkv_store_read(lkv_store *store, lkv_loc loc, lkv_bytes key,
                                  lkv_row *row, lkv_error *err);

/* cursor.c: to be called before keys enter or leave the index. */
void lkv_cursor_save_all(lkv_store *store);

static inline void lkv_store_before_change(lkv_store *store)
{
    if (store->cursors != NULL) {
        lkv_cursor_save_all(store);
    }
}

#endif
