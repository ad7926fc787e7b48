/*
 * log.h - the log as the store sees it: append, read, scan, marks, commit.
 *
 * The log is a list of segments; the last is open and takes what is appended. A
 * transaction appends to a buffer, which holds the open segment's bytes from
 * `buffer_at` on:
 *
 *      open segment   |header|.......committed........|....this transaction....|
 *      kept by                  storage only        buffer_at   flushed       end
 *                                                      |--both--|-buffer only--|
 *
 * What the buffer holds beyond `spill` bytes goes to storage in whole blocks; the rest
 * goes when the transaction is prepared.
 */
#ifndef LKV_LOG_H
#define LKV_LOG_H

#include "storage.h"
#include "tops.h"

/* Everything that going back to a point of a transaction restores. */
typedef struct lkv_log_mark {
    lkv_end at;
    size_t segments, first;
    uint32_t flushed;
    uint32_t end;
    uint32_t hashed;
    int root_changed;
    uint64_t covered;
    lkv_hash hash;
    uint64_t logical;        /* offset of `end` */
    uint64_t synced;         /* as the log's */
    lkv_runs *runs;          /* held by a mark on the list, as the next one */
    lkv_runs *prepared_runs; /* those of the last prepare then, */
    size_t prepared_first;   /* and its `first` */
    size_t journal;          /* the store's: size of its undo journal, */
    size_t prepared;         /* how much of that is prepared, */
    uint64_t prepared_flushes;
    uint64_t live_keys; /* its live keys and bytes, */
    uint64_t live_bytes;
    uint64_t flushes; /* flushes, */
    int wrote;        /* and whether it had changed keys */
} lkv_log_mark;

/* A copy of buffered bytes that marks still need although the buffer let go of them. */
typedef struct lkv_log_stash {
    struct lkv_log_stash *older;
    size_t first_mark; /* the oldest mark that needs it */
    size_t segments;   /* number of segments then: the bytes are the last one's */
    uint32_t start;
    uint32_t size;
    uint8_t bytes[];
} lkv_log_stash;

typedef struct lkv_log {
    lkv_storage *storage;
    const lkv_os *os;
    int known;  /* whether anything below has been read */
    lkv_end at; /* the commit that the handle stands on; in a transaction, the prepared
                   one */
    lkv_segment *segments;
    size_t count, capacity;
    size_t first; /* of the list: those before it were compacted in this transaction, */
    size_t prepared_first;   /* or were when it was last prepared */
    lkv_runs *runs;          /* NULL before the first root */
    lkv_tops tops;           /* of those that were asked */
    lkv_runs *prepared_runs; /* in a transaction: those of the last prepare, held */
    uint8_t *meta;
    size_t meta_size;
    uint64_t views;     /* moves when bytes given out may have moved */
    uint64_t rollbacks; /* moves with every rollback of a transaction */
    uint64_t rewound; /* moves when numbers of runs and parts may come to name others */

    enum lkv_sync sync;   /* when the root has no word of it */
    uint64_t synced;      /* logical offset that a completed sync vouches for */
    uint64_t vouch_every; /* bytes of log after which a root is to be durable */
    int wants_durable;    /* the next root is to be durable */
    int unvouched;        /* a commit of this handle is behind what a durable one has */

    int open; /* a transaction is; what follows is its state */
    int root_changed;
    uint32_t buffer_at, flushed, end;
    uint8_t *buffer;
    size_t buffer_size;
    uint32_t hashed;  /* `hash` covers the open segment up to here */
    uint64_t covered; /* bytes in `hash` */
    lkv_hash hash;
    lkv_log_mark begin;
    lkv_log_mark *marks;
    size_t mark_count, mark_capacity;
    lkv_log_stash *stash;
    uint8_t *scratch; /* a record that the buffer has only the end of */
    size_t scratch_size;
} lkv_log;

void lkv_log_init(lkv_log *log, lkv_storage *storage, const lkv_os *os);
void lkv_log_free(lkv_log *log);

/* Writes an empty store with a new identity. See lkv_create(). */
LKV_MUST_CHECK int lkv_log_create(lkv_storage *storage, const lkv_os *os,
                                  lkv_bytes meta, lkv_error *err);

/* Takes the root of the storage: segments, identity, description. Errors: LKV_CORRUPT,
 * LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_log_load_root(lkv_log *log, lkv_error *err);

/* What the root of the storage says; `bytes` are valid until the next call on it.
 * LKV_ABSENT when there is none. Errors: LKV_CORRUPT, the storage's. */
LKV_MUST_CHECK int lkv_log_read_root(lkv_log *log, lkv_bytes *bytes, lkv_root *root,
                                     lkv_error *err);
/* Gives the storage a root of `generation`, as the log stands. Errors: LKV_TOO_BIG,
 * LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_log_write_root(lkv_log *log, uint64_t generation,
                                      lkv_error *err);

/* The lists of a root whose bytes were parsed, also after an error, for the caller to
 * give back. Errors: LKV_CORRUPT, LKV_NOMEM. */
LKV_MUST_CHECK int lkv_log_read_lists(const lkv_os *os, lkv_bytes bytes,
                                      const lkv_root *root, lkv_segment **segments,
                                      lkv_runs **runs, lkv_error *err);

/* The storage is to sync as the list of runs, or else the log, says. */
void lkv_log_choose_sync(lkv_log *log);
/* In a transaction that has changed nothing: a root that vouches for the whole log. */
LKV_MUST_CHECK int lkv_log_vouch(lkv_log *log, lkv_error *err);
/* Takes over a list of runs in place of the one that is; the root will tell of it. */
void lkv_log_set_runs(lkv_log *log, lkv_runs *runs);
/* Logical offset of the end, and bytes that the transaction appended. */
uint64_t lkv_log_end(const lkv_log *log);
/* Up to where a sync vouches for what was published: of what its own transaction
 * prepared before, the root may be gone, or is written over by the next one's. */
uint64_t lkv_log_synced(const lkv_log *log);
uint64_t lkv_log_grown(const lkv_log *log);
/* Where a reader goes on who knows all that is in the log now, inside a transaction. */
void lkv_log_tail(lkv_log *log, lkv_tail *tail, uint64_t *logical);
/* LKV_OK when the root of the storage names the store `id`, LKV_ABSENT otherwise.
 * Errors: LKV_CORRUPT, the storage's. */
LKV_MUST_CHECK int lkv_log_is_there(lkv_log *log, const uint8_t *id, lkv_error *err);
/* LKV_CORRUPT when the root of the storage has the generation of the one that was read,
 * and is another; when no transaction has changed anything. Errors: as above,
 * LKV_NOMEM. */
LKV_MUST_CHECK int lkv_log_same_root(lkv_log *log, lkv_error *err);

/* The header of listed segment `i`. Errors: LKV_CORRUPT, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_log_header(lkv_log *log, size_t i, lkv_segment_header *header,
                                  lkv_error *err);
/* The listed segment with `number`, or NULL. */
const lkv_segment *lkv_log_segment(const lkv_log *log, uint32_t number);
/* Bytes that may be read of listed segment `i`. */
uint32_t lkv_log_limit(const lkv_log *log, size_t i);

/* The record at `loc`, its checksum verified; views valid until the next call on the
 * log. Errors: LKV_CORRUPT, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_log_read(lkv_log *log, lkv_loc loc, lkv_record *record,
                                lkv_error *err);

/* Reads committed records in log order, from `offset` of listed segment `segment` on.
 */
typedef struct lkv_log_scan {
    lkv_log *log;
    size_t segment;       /* index in the list */
    uint32_t offset;      /* of the next record */
    lkv_bytes view;       /* bytes from `offset` on */
    const uint8_t *bytes; /* of the record given out last */
} lkv_log_scan;

/* The next record and where it stands; LKV_ABSENT at the end. Views are valid until the
 * next call on the log or the scan. Errors as lkv_log_read(). */
LKV_MUST_CHECK int lkv_log_next(lkv_log_scan *scan, lkv_record *record, lkv_loc *loc,
                                lkv_error *err);

void lkv_log_begin(lkv_log *log);

/* Makes sure that the next lkv_log_append() of `size` bytes cannot fail; may write to
 * the storage. Errors: LKV_TOO_BIG, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_log_reserve(lkv_log *log, size_t size, lkv_error *err);
/* Where the next record will stand. */
lkv_loc lkv_log_place(const lkv_log *log, unsigned tag);
void lkv_log_append(lkv_log *log, enum lkv_kind kind, unsigned tag, lkv_bytes key,
                    lkv_bytes value);

/* Whether there is anything to prepare. */
int lkv_log_changed(const lkv_log *log);
/* Whether the storage may have something of the transaction that is behind the end
 * which it shows. */
int lkv_log_is_ahead(const lkv_log *log);
LKV_MUST_CHECK int lkv_log_prepare(lkv_log *log, uint64_t live_keys,
                                   uint64_t live_bytes, lkv_error *err);
/* Closes the open segment, which holds something, and starts the next. Errors:
 * LKV_TOO_BIG, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_log_roll(lkv_log *log, lkv_error *err);
void lkv_log_commit(lkv_log *log);
void lkv_log_rollback(lkv_log *log);

/* mark.c: going back inside a transaction. */
LKV_MUST_CHECK int lkv_log_mark_push(lkv_log *log);
void lkv_log_mark_pop(lkv_log *log, size_t count); /* keeps `count` marks */
void lkv_log_mark_here(const lkv_log *log, lkv_log_mark *mark);
void lkv_log_rewind(lkv_log *log, const lkv_log_mark *mark);
/* The list of runs goes back to `runs`, and storage forgets what was written since. */
void lkv_log_rewind_runs(lkv_log *log, lkv_runs *runs);
/* Before the buffer lets go of its bytes: keeps what marks need. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_log_stash_keep(lkv_log *log);

/* Fills `err` with "segment N, offset M: why", or "part N, ...", and returns
 * LKV_CORRUPT. */
int lkv_log_damage(lkv_error *err, uint32_t segment, uint64_t offset, const char *why);
/* Fills `err` with a text and returns `rc`. */
int lkv_log_error(lkv_error *err, int rc, const char *why);

#endif
