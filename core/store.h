/*
 * store.h - the store's own parts, for the files that make it up: store.c, recover.c,
 * cursor.c, flush.c, slice.c, and those that work on a whole store.
 */
#ifndef LKV_STORE_H
#define LKV_STORE_H

#include "compact.h"
#include "gap.h"
#include "journal.h"
#include "log.h"
#include "memindex.h"
#include "merge.h"

/* So many bytes of log are indexed in memory before they become a run. */
#ifndef LKV_FLUSH_SIZE
#define LKV_FLUSH_SIZE (256u << 10)
#endif

/* A part is ended before it would grow past so many times that, or such a share of what
 * is live: each is a file with another for its index where the storage has files, and
 * stands in every root. */
#define LKV_PART_FLUSHES 16u
#define LKV_PART_SHARE 256u
#define LKV_PART_MOST (256u << 20)

/* Thousandths of the log that are dead when commits begin to compact it. */
#define LKV_AUTO_COMPACT 500u

/* What the last lookup found: an INSERT asks for its key once to see whether it is
 * there, and once more to put it. */
#define LKV_MEMO_KEY 64u
typedef struct lkv_memo {
    int known;
    size_t size;
    lkv_place place;
    uint8_t key[LKV_MEMO_KEY]; /* longer ones are not kept */
} lkv_memo;

struct lkv_store {
    lkv_log log;
    /* The newest records, tombstones included: what the log's runs do not cover. */
    lkv_memindex *index;
    int stale; /* `index` must be made anew before it is asked: a rollback went back
                  past a flush */
    lkv_journal journal;
    size_t prepared; /* bytes of the journal that the last lkv_prepare() covers ... */
    uint64_t prepared_flushes; /* ... and `flushes` then */
    uint64_t live_keys, live_bytes;
    uint64_t undone;   /* moves when records that locations name may have gone */
    uint64_t flushes;  /* moves when the index in memory becomes a run */
    uint64_t paid;     /* bytes written for runs in this transaction, beyond flushes */
    uint64_t removed;  /* blocks of garbage that this transaction removed */
    lkv_merge *merges; /* at work here; each goes with an entry of log.runs */
    lkv_compaction *compaction; /* at work here on the pass of log.runs, or NULL */
    int wrote;                  /* this transaction has changed keys */
    int owes;      /* it has published what the next lkv_prepare() pays for */
    int work_void; /* a rollback came: merges and compaction are to be forgotten */
    int work_off;  /* a run, part or segment is damaged */
    unsigned auto_compact; /* when the root has no word of it */
    uint32_t flush_size;
    lkv_buffer counted; /* measure.c: records of committed segments; empty when the log
                           is another */
    lkv_cursor *cursors;
    lkv_cursor *spare; /* one that was closed, for the next that is opened, or NULL */
    lkv_memo memo;
    lkv_gaps gaps;
};

struct lkv_cursor {
    lkv_store *store;
    lkv_cursor *next, **link; /* the store's list */
    enum lkv_cursor_state {
        LKV_CURSOR_NOWHERE,
        LKV_CURSOR_ON,    /* the sources stand at or behind the row */
        LKV_CURSOR_SAVED, /* the index in memory changed: the row's key is in `key` */
        LKV_CURSOR_LOST,  /* it changed, and there was no memory for the key */
    } state;
    int forward;
    /* The sources, oldest first: the base, one for each run of `runs`, and the index in
     * memory. */
    lkv_runs *runs; /* held; NULL before the first move */
    lkv_base_cursor base;
    lkv_run_cursor *run;
    lkv_memindex_cursor memory;
    uint8_t *on;     /* whether source i stands on a key; the last one is memory */
    uint8_t *equal;  /* whether that is the row's key */
    uint32_t count;  /* of sources */
    uint32_t best;   /* the newest source that has the row's key */
    uint32_t second; /* a source with the next key after it, or `count` */
    uint32_t dead;   /* keys without a row that this move has passed */
    lkv_place place; /* the row's record when the cursor came */
    uint64_t undone; /* store->undone then */
    uint8_t *key;
    size_t key_size, key_capacity;
};

/* recover.c: see lkv_refresh(). */
LKV_MUST_CHECK int lkv_recover(lkv_store *store, lkv_error *err);
/* After LKV_UNSURE, with the lock: makes out the newest commit as far as the root is
 * the one that the handle has, which stays where it is. Else `end` is that of the root.
 */
LKV_MUST_CHECK int lkv_make_out_aside(lkv_store *store, lkv_end *end, lkv_error *err);
/* Makes the index in memory whole again when a rollback left it stale. */
LKV_MUST_CHECK int lkv_refill(lkv_store *store, lkv_error *err);

static inline int lkv_store_ready(lkv_store *store, lkv_error *err)
{
    return store->stale ? lkv_refill(store, err) : LKV_OK;
}

/* store.c: what the store knows of `key`; a location of LKV_NOWHERE when nothing. */
LKV_MUST_CHECK int lkv_lookup(lkv_store *store, lkv_bytes key, lkv_place *place,
                              lkv_error *err);

/* flush.c. After an error the store is as it was, or the storage's owner has rolled the
 * transaction back. */

/* The index in memory becomes the newest run; the tail moves to the end of the log. */
LKV_MUST_CHECK int lkv_flush(lkv_store *store, lkv_error *err);
/* The same of an index in memory that knows the log up to `tail` and no further. */
LKV_MUST_CHECK int lkv_flush_at(lkv_store *store, const lkv_tail *tail,
                                uint64_t tail_at, lkv_error *err);
/* Works on a merge; `*blocks` becomes what is left to spend. LKV_ABSENT: there is
 * none. */
LKV_MUST_CHECK int lkv_merge_some(lkv_store *store, uint32_t *blocks, lkv_error *err);
/* A copy of the list of runs, of such lengths; what is longer than it was ends in
 * entries that are not set. NULL without memory. */
lkv_runs *lkv_flush_copy(const lkv_store *store, uint32_t count, uint32_t merges,
                         uint32_t gone);
/* Lets go of merges and of a compaction that the list does not name as they stand. */
void lkv_work_sweep(lkv_store *store);

/* store.c: a transaction begins where the log stands; the storage is locked. */
void lkv_store_enter(lkv_store *store);
/* Before a commit in the middle of the caller's transaction, for what is to be done to
 * the store: a participle. Where others take such a commit up when the process dies,
 * none of the transaction's changes may be in it: LKV_MISUSE. */
LKV_MUST_CHECK int lkv_store_may_commit(const lkv_store *store, const char *what,
                                        lkv_error *err);
/* lkv_prepare() without paying. */
LKV_MUST_CHECK int lkv_store_prepare(lkv_store *store, lkv_error *err);

/* slice.c: before a record is appended: makes a run of the index in memory when the log
 * has grown enough since the last one, and works as far as the transaction pays. */
LKV_MUST_CHECK int lkv_flush_if_due(lkv_store *store, lkv_error *err);
/* Works on merges and compaction in a transaction that is about to be committed. */
LKV_MUST_CHECK int lkv_pay(lkv_store *store, lkv_error *err);
/* Bytes that merging and compaction have still to write, as far as is known. */
uint64_t lkv_work_left(const lkv_store *store);
/* Bytes of the log, and of what they would be with nothing dead. */
uint64_t lkv_log_bytes(const lkv_store *store);
uint64_t lkv_live_size(const lkv_store *store);
/* The share of dead bytes above which commits compact, in thousandths. */
unsigned lkv_auto_compact(const lkv_store *store);
/* Bytes of a part of a store with so many that are live. */
uint32_t lkv_part_most(const lkv_store *store, uint64_t live);

/* The put at `loc`, which is of `key`. Valid and errors as lkv_get(). */
LKV_MUST_CHECK int lkv_store_read(lkv_store *store, lkv_loc loc, lkv_bytes key,
                                  lkv_row *row, lkv_error *err);

/* cursor.c: to be called before keys enter or leave the index in memory, and before the
 * list of runs becomes one that leads to other places. */
void lkv_cursor_save_all(lkv_store *store);
/* Frees the memory that is kept for the next cursor. */
void lkv_cursor_free_spare(lkv_store *store);

/* The index is about to change, and no row with it but those that lkv_gap_put() is told
 * of. */
static inline void lkv_store_before_move(lkv_store *store)
{
    store->memo.known = 0;
    if (store->cursors != NULL) {
        lkv_cursor_save_all(store);
    }
}

/* Anything may be another from here on. */
static inline void lkv_store_before_change(lkv_store *store)
{
    store->gaps.count = 0;
    lkv_store_before_move(store);
}

/* Who is asked now and then whether to go on. */
typedef struct lkv_asking {
    int (*go_on)(void *arg); /* as of lkv_verify(); may be NULL */
    void *arg;
    size_t work; /* since then */
} lkv_asking;

/* A record, key or block more was looked at, and `bytes` of it read: asks at every
 * 1,024th, or after 64 KiB. LKV_OK, or what ends the work. */
static inline int lkv_ask(lkv_asking *asking, size_t bytes)
{
    asking->work += 64 + bytes;
    if (asking->go_on == NULL || asking->work < 65536) {
        return LKV_OK;
    }
    asking->work = 0;
    return asking->go_on(asking->arg);
}

#endif
