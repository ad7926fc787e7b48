/*
 * run.h - one sorted, immutable run of the index: the keys of a range of the log, where
 * their records stand, and filters for keys that it does not hold.
 *
 * A run is an object of blocks (block.h), each one storage block unless its keys are
 * long:
 *
 *      leaf leaf ... branch | leaf leaf ... branch | ... | top ... top
 *
 * A branch follows the leaves that it leads to and holds a filter over their keys; the
 * tops lead to the branches. So a run is written from front to back, in bounded memory.
 */
#ifndef LKV_RUN_H
#define LKV_RUN_H

#include "block.h"
#include "storage.h"

/* LKV_OK: the run has a record or tombstone of `key`, whose lkv_filter_hash() is
 * `hash`. LKV_ABSENT. Errors: LKV_CORRUPT, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_run_find(lkv_storage *storage, const lkv_run *run, lkv_bytes key,
                                uint64_t hash, lkv_place *found, lkv_error *err);

/* The entry with the greatest key that is <= `key`, in a run whose filters are over
 * other keys than its entries' (a part's index). LKV_ABSENT when a filter knows that
 * `hash` was never added (NULL: none is asked), or `key` is below all entries. `*exact`
 * (or NULL): whether it is `key`. Errors as lkv_run_find(). */
LKV_MUST_CHECK int lkv_run_floor(lkv_storage *storage, const lkv_run *run,
                                 lkv_bytes key, const uint64_t *hash, lkv_place *found,
                                 int *exact, lkv_error *err);

/* Both again, from a branch at block `from` down, and without asking its filter. */
LKV_MUST_CHECK int lkv_run_find_below(lkv_storage *storage, const lkv_run *run,
                                      uint32_t from, lkv_bytes key, lkv_place *found,
                                      lkv_error *err);
LKV_MUST_CHECK int lkv_run_floor_below(lkv_storage *storage, const lkv_run *run,
                                       uint32_t from, lkv_bytes key, lkv_place *found,
                                       int *exact, lkv_error *err);

/* A position in a run. The leaf that it stands in is copied, so that a view of a key
 * lasts until the cursor moves, and the entries between two restarts are taken apart,
 * so that a step is cheap in both directions. */
typedef struct lkv_run_item {
    uint32_t key; /* where in `keys` */
    uint32_t key_size;
    uint32_t size;
    lkv_loc loc;
} lkv_run_item;

typedef struct lkv_run_cursor {
    lkv_storage *storage;
    const lkv_os *os;
    const lkv_run *run;    /* must outlive the cursor */
    uint32_t leaf;         /* its block; LKV_RUN_NO_BLOCK: none */
    uint32_t next, before; /* blocks of the leaves beside it */
    lkv_buffer bytes;      /* of the leaf */
    lkv_block block;       /* and what its header says */
    uint32_t group;        /* of the leaf, which is taken apart */
    uint32_t count;        /* of its entries */
    uint32_t at;           /* the one stood on */
    lkv_run_item items[LKV_BLOCK_RESTART];
    lkv_buffer keys;
} lkv_run_cursor;

#define LKV_RUN_NO_BLOCK UINT32_MAX

void lkv_run_cursor_init(lkv_run_cursor *cursor, lkv_storage *storage, const lkv_os *os,
                         const lkv_run *run);
void lkv_run_cursor_free(lkv_run_cursor *cursor);
/* Its run is another one now: what it keeps of the old one goes. */
void lkv_run_cursor_forget(lkv_run_cursor *cursor);

/* Each moves: LKV_OK on a key, LKV_ABSENT beyond the ends. Errors as lkv_run_find();
 * the cursor then stands nowhere. */
LKV_MUST_CHECK int lkv_run_first(lkv_run_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_run_last(lkv_run_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_run_seek(lkv_run_cursor *cursor, lkv_bytes key,
                                enum lkv_seek how, lkv_error *err);
LKV_MUST_CHECK int lkv_run_next(lkv_run_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_run_prev(lkv_run_cursor *cursor, lkv_error *err);

static inline lkv_bytes lkv_run_key(const lkv_run_cursor *cursor)
{
    const lkv_run_item *item = &cursor->items[cursor->at];
    return (lkv_bytes){cursor->keys.bytes + item->key, item->key_size};
}

static inline lkv_place lkv_run_place(const lkv_run_cursor *cursor)
{
    const lkv_run_item *item = &cursor->items[cursor->at];
    return (lkv_place){item->loc, item->size};
}

/* A block of a run, its checksum verified when it came in. For this file's neighbours.
 */
LKV_MUST_CHECK int lkv_run_block(lkv_storage *storage, const lkv_run *run,
                                 uint32_t number, lkv_block *block, lkv_error *err);
/* Fills `err` with "run N, block M: why" and returns LKV_CORRUPT. */
int lkv_run_damage(lkv_error *err, const lkv_run *run, uint32_t block, const char *why);

/*
 * Writing
 */
typedef struct lkv_run_writer {
    lkv_storage *storage;
    const lkv_os *os;
    lkv_run run; /* number; what it holds so far */
    lkv_builder leaf, branch;
    lkv_buffer hashes; /* of the keys since the last branch, u64 each */
    size_t loose;      /* bytes of them that came before or with the last entry */
    int fences;        /* entries are not keys of their own but what begins there */
    lkv_buffer tops;   /* separator size u32, block u32, separator; for each branch */
    lkv_buffer last;   /* the last key of the leaf before */
    lkv_buffer out;    /* blocks not yet written; the first is block `out_at` */
    uint32_t out_at;
    uint32_t last_leaf, last_branch; /* blocks, plus 1; 0: none yet */
} lkv_run_writer;

void lkv_run_writer_init(lkv_run_writer *writer, lkv_storage *storage, const lkv_os *os,
                         uint32_t number);
void lkv_run_writer_free(lkv_run_writer *writer);
/* Adds an entry; keys come in ascending order. Errors: LKV_NOMEM, LKV_TOO_BIG, the
 * storage's. */
LKV_MUST_CHECK int lkv_run_writer_add(lkv_run_writer *writer, lkv_bytes key,
                                      lkv_place place, lkv_error *err);
/* The same without putting the key into the filter: a fence for what lkv_run_floor() is
 * to find. And a filter's key without an entry, which comes before or after the fence
 * that it belongs to, with no other fence and no pause between them. */
LKV_MUST_CHECK int lkv_run_writer_add_entry(lkv_run_writer *writer, lkv_bytes key,
                                            lkv_place place, lkv_error *err);
LKV_MUST_CHECK int lkv_run_writer_add_hash(lkv_run_writer *writer, uint64_t hash);
/* Writes all that is pending and ends the group, so that the object can be gone on with
 * by another writer. */
LKV_MUST_CHECK int lkv_run_writer_pause(lkv_run_writer *writer, lkv_error *err);
/* Takes up an object that was paused: `run` as it was then. */
LKV_MUST_CHECK int lkv_run_writer_resume(lkv_run_writer *writer, lkv_storage *storage,
                                         const lkv_os *os, const lkv_run *run,
                                         lkv_error *err);
/* Writes the tops; `writer->run` is then the run. At least one entry was added. */
LKV_MUST_CHECK int lkv_run_writer_finish(lkv_run_writer *writer, lkv_error *err);

#endif
