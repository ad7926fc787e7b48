/*
 * litekv.h - the store as its callers see it.
 *
 * A store keeps keys and values as records in an append-only log, with an ordered index
 * beside it. The bytes are kept by a storage (storage.h) that the caller supplies.
 *
 * Results: 0 is success, above 0 an ordinary answer, below 0 an error.
 * Handles: one thread at a time. Who opens it closes it; closing NULL does nothing.
 * Bytes:   arguments are borrowed for the call; results are views, never freed by the
 *          caller, valid until the moment their comment names.
 */
#ifndef LITEKV_H
#define LITEKV_H

#include <stddef.h>
#include <stdint.h>

#include "os.h"

#define LKV_VERSION "0.1.0"

#define LKV_MUST_CHECK __attribute__((warn_unused_result))

typedef struct lkv_storage lkv_storage; /* where the bytes are kept: storage.h */
typedef struct lkv_store lkv_store;     /* one store, opened on a storage */
typedef struct lkv_cursor lkv_cursor;   /* a position in key order */

typedef struct lkv_bytes {
    const void *data; /* may be NULL when size is 0 */
    size_t size;      /* bytes */
} lkv_bytes;

enum lkv_status {
    LKV_OK = 0,
    LKV_ABSENT = 1,   /* no live record has this key; no such position */
    LKV_IO = -1,      /* the system refused: see lkv_error.os_errno */
    LKV_CORRUPT = -2, /* bytes that break FORMAT.md */
    LKV_BUSY = -3,    /* another writer holds the store */
    LKV_NOMEM = -4,   /* no memory; what was true before the call still is */
    LKV_MISUSE = -5,  /* the caller broke a rule above; nothing changed */
    LKV_TOO_BIG = -6, /* a record beyond what the format can say */
    LKV_FAILED = -7,  /* the storage failed in its own way and keeps the reason */
    /* Of storages in files and shared memory: */
    LKV_BUSY_SNAPSHOT = -8, /* others have committed since the handle read */
    LKV_FULL = -9,          /* no room */
    LKV_READONLY = -10,     /* it may be read, and not written */
    LKV_CANTOPEN = -11,     /* there is no store, or none that can be opened */
};

typedef struct lkv_error { /* why, for people; the caller owns it, or passes NULL */
    int os_errno;          /* errno, or 0 when the system was not the cause */
    char text[256];        /* "segment 7, offset 4096: checksum mismatch" */
} lkv_error;

/* No error yet. To set all of the text to zeros takes a fifth of the time of a row. */
static inline lkv_error *lkv_error_none(lkv_error *err)
{
    err->os_errno = 0;
    err->text[0] = 0;
    return err;
}

/* A record's tag: two bits that the store keeps beside the key and does not interpret.
 */
#define LKV_TAG_MAX 3u

typedef struct lkv_row {
    lkv_bytes key;
    lkv_bytes value;
    unsigned tag;
} lkv_row;

/*
 * Opening
 */

/* Makes an empty store on `storage`: a root that keeps `meta` (the caller's own
 * description of it, at most 64 KiB) and one empty segment. Not yet durable before the
 * storage's owner commits. Errors: LKV_MISUSE (meta too long), LKV_IO, LKV_NOMEM,
 * LKV_FAILED. */
LKV_MUST_CHECK int lkv_create(lkv_storage *storage, const lkv_os *os, lkv_bytes meta,
                              lkv_error *err);

/* A handle on the store of `storage`. Reads nothing yet: the first lkv_refresh() or
 * lkv_begin() does. `storage` and `os` must outlive it. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_open(lkv_storage *storage, const lkv_os *os, lkv_store **out);
void lkv_close(lkv_store *store);

/* Brings the handle to the newest commit that the storage shows: nothing when that is
 * where it stands, the new part of the log when others have extended it, everything
 * from the start when the log was replaced. Not inside a transaction: there it does
 * nothing. Errors: LKV_IO, LKV_CORRUPT, LKV_NOMEM, LKV_FAILED; the handle then knows
 * nothing and the next call starts afresh. */
LKV_MUST_CHECK int lkv_refresh(lkv_store *store, lkv_error *err);

/* Whether the storage holds the store of the identity `id` (16 bytes), wherever the
 * handle stands: LKV_OK or LKV_ABSENT. For a storage whose owner can take a store away
 * in the middle of a transaction. Errors: LKV_CORRUPT, the storage's. */
LKV_MUST_CHECK int lkv_is_there(lkv_store *store, const uint8_t *id, lkv_error *err);

/* Whether the end of the log that the storage shows is the one that the transaction
 * stands on, which is the one before it or what lkv_prepare() wrote last: LKV_OK or
 * LKV_ABSENT. For a storage whose owner goes back to marks of its own. In a
 * transaction, right after lkv_rollback_to(). Errors: LKV_CORRUPT, the storage's. */
LKV_MUST_CHECK int lkv_stands(lkv_store *store, lkv_error *err);

/* The store's 16-byte identity and the caller's description, both as of the last
 * refresh; valid until the next call that refreshes. */
lkv_bytes lkv_id(const lkv_store *store);
lkv_bytes lkv_meta(const lkv_store *store);

/*
 * Transactions: one at a time on a handle, with nested marks
 */

/* Starts a transaction on the newest commit. LKV_MISUSE inside one. Errors as
 * lkv_refresh(), and LKV_BUSY after `wait_ms` for the lock of another writer. */
LKV_MUST_CHECK int lkv_begin(lkv_store *store, int64_t wait_ms, lkv_error *err);
/* The same where the handle stands: LKV_BUSY_SNAPSHOT when others have committed since
 * its last refresh, and it must not move because something is still being read. */
LKV_MUST_CHECK int lkv_begin_here(lkv_store *store, int64_t wait_ms, lkv_error *err);
int lkv_in_transaction(const lkv_store *store);
/* Whether it has changed anything that stands, prepared or not. */
int lkv_changed(const lkv_store *store);
/* Whether lkv_prepare() would write anything. */
int lkv_pending(const lkv_store *store);
/* In a transaction, after something failed that may have left more in the storage than
 * was taken back: lkv_prepare() will write the end of the log, whatever has changed. */
void lkv_touch(lkv_store *store);

/* Stores `row`; replaces what its key had. All or nothing.
 * Errors: LKV_MISUSE outside a transaction, LKV_TOO_BIG, LKV_NOMEM, and the storage's.
 */
LKV_MUST_CHECK int lkv_put(lkv_store *store, const lkv_row *row, lkv_error *err);

/* Takes `key` out; LKV_ABSENT when there is none. All or nothing. Errors as lkv_put().
 */
LKV_MUST_CHECK int lkv_delete(lkv_store *store, lkv_bytes key, lkv_error *err);

/* Marks this point of the transaction; the mark is named by `*depth`: 0, 1, 2, ...
 * LKV_MISUSE outside of one, LKV_NOMEM. */
LKV_MUST_CHECK int lkv_mark(lkv_store *store, uint32_t *depth);

/* Undoes everything after mark `depth`, which stays; younger marks go. Cannot fail. */
void lkv_rollback_to(lkv_store *store, uint32_t depth);

/* Forgets mark `depth` and the younger ones; what was done after them stays done. */
void lkv_release(lkv_store *store, uint32_t depth);

/* Writes all that the transaction did and its commit record, and syncs as the storage
 * does; what is left for lkv_commit() cannot fail. Nothing to do when nothing changed.
 * More changes, a rollback to a mark or another lkv_prepare() may follow.
 * Errors: as lkv_put(); the transaction stands as before the call, or has been rolled
 * back by the storage's owner. */
LKV_MUST_CHECK int lkv_prepare(lkv_store *store, lkv_error *err);

/* As lkv_prepare(), if the storage has anything behind the end that it shows, or with
 * `all`; but does no work on the index. For a storage whose owner may go back to any
 * point between two calls, and keep what is there. */
LKV_MUST_CHECK int lkv_publish(lkv_store *store, int all, lkv_error *err);

/* Ends the transaction; what lkv_prepare() wrote is the store's content: what came
 * after the last one is undone. */
void lkv_commit(lkv_store *store);

/* Ends the transaction and undoes it; also after lkv_prepare(). Cannot fail; harmless
 * outside a transaction. The storage's owner may already have undone its bytes. */
void lkv_rollback(lkv_store *store);

/* A number that changes with every lkv_rollback(): who calls a storage that may roll
 * back behind its back compares before and after. */
uint64_t lkv_rollbacks(const lkv_store *store);

/*
 * Reading: the handle's own transaction included
 */

/* Whether `key` is there: LKV_OK or LKV_ABSENT. Reads no value. Errors as lkv_get(). */
LKV_MUST_CHECK int lkv_exists(lkv_store *store, lkv_bytes key, lkv_error *err);

/* The row of `key`, valid until the next call on `store`; or LKV_ABSENT.
 * Errors: LKV_IO, LKV_CORRUPT, LKV_NOMEM, LKV_FAILED. */
LKV_MUST_CHECK int lkv_get(lkv_store *store, lkv_bytes key, lkv_row *row,
                           lkv_error *err);

/* A cursor that stands nowhere. It must be closed before its store. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_cursor_open(lkv_store *store, lkv_cursor **out);
void lkv_cursor_close(lkv_cursor *cursor);

/* Where to go: the first key at or after `key`, after it, the last at or before,
 * before. */
enum lkv_seek { LKV_SEEK_GE, LKV_SEEK_GT, LKV_SEEK_LE, LKV_SEEK_LT };

/* Each moves the cursor: LKV_OK on a row, LKV_ABSENT beyond the ends. After changes to
 * the store, next and prev go on from the key last stood on: no row comes twice, and
 * none is invented. Errors as lkv_get(). */
LKV_MUST_CHECK int lkv_cursor_first(lkv_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_cursor_last(lkv_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_cursor_seek(lkv_cursor *cursor, lkv_bytes key, enum lkv_seek how,
                                   lkv_error *err);
/* To `key` and no other: asks the filters, and so is much cheaper than a seek. */
LKV_MUST_CHECK int lkv_cursor_find(lkv_cursor *cursor, lkv_bytes key, lkv_error *err);
LKV_MUST_CHECK int lkv_cursor_next(lkv_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_cursor_prev(lkv_cursor *cursor, lkv_error *err);

/* The key of the row that the cursor stands on; valid until the next change to the
 * store or move of the cursor. */
lkv_bytes lkv_cursor_key(const lkv_cursor *cursor);
/* The tag of that key. LKV_NOMEM: when the store changed there was no memory to keep
 * the key, and lkv_cursor_key() is not it. Other errors as lkv_get(). */
LKV_MUST_CHECK int lkv_cursor_tag(lkv_cursor *cursor, unsigned *tag, lkv_error *err);

/* The value, as it was when the cursor came to the row. After a rollback, or a refresh
 * that found something new, value and tag are what the key has then, and the value is
 * LKV_ABSENT when it has none or the cursor stands on no row. Valid until the next call
 * on the store, other cursors included: a caller that keeps it compares lkv_views().
 * Errors as lkv_get(). */
LKV_MUST_CHECK int lkv_cursor_value(lkv_cursor *cursor, lkv_bytes *value,
                                    lkv_error *err);

/* A number that changes whenever views of values that were given out become void. */
uint64_t lkv_views(const lkv_store *store);

/*
 * Giving space back: see FORMAT.md. All of it belongs to a transaction and is undone
 * with it; commits do it in slices by themselves when the store's dead share is too
 * great.
 */

/* The share of dead bytes, in thousandths, above which commits compact: 0 for never.
 * What the store itself keeps (lkv_set_auto_compact) wins over `fallback`. */
void lkv_auto_compact_fallback(lkv_store *store, unsigned fallback);
/* Keeps it in the store. In a transaction, LKV_MISUSE otherwise or above 999. */
LKV_MUST_CHECK int lkv_set_auto_compact(lkv_store *store, unsigned share,
                                        lkv_error *err);

/* Works on merging and compaction and writes about `budget` bytes, where a dead key
 * counts as 16, and passes at least one key; `*left` is what is still to be written, 0
 * when nothing is left to do. In a transaction, of which it may prepare what was done
 * so far; in files and shared memory this must not have put or deleted anything yet.
 * Errors: LKV_MISUSE, and as lkv_put().
 */
LKV_MUST_CHECK int lkv_compact(lkv_store *store, uint64_t budget, uint64_t *left,
                               lkv_error *err);

/*
 * What commits survive, for storages in files
 */

enum lkv_sync {
    LKV_SYNC_FULL,   /* a power cut, each that returned */
    LKV_SYNC_NORMAL, /* the death of the process; a power cut leaves a prefix of them */
    LKV_SYNC_OFF,    /* the death of the process; a power cut may cost the store */
};
/* What the store itself keeps (lkv_set_sync) wins over `fallback`. */
void lkv_sync_fallback(lkv_store *store, enum lkv_sync fallback);
/* Keeps it in the store, for this commit and those after it. LKV_MISUSE outside a
 * transaction. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_set_sync(lkv_store *store, enum lkv_sync sync, lkv_error *err);
/* As of the last refresh. */
enum lkv_sync lkv_sync_of(const lkv_store *store);

/*
 * The index as a thing of its own
 */

/* Makes all runs anew from the log. In a transaction. `go_on` as of lkv_verify().
 * Errors as lkv_put(). */
LKV_MUST_CHECK int lkv_rebuild(lkv_store *store, int (*go_on)(void *arg), void *arg,
                               lkv_error *err);

/* What an exported index begins with. */
#define LKV_EXPORT_MAGIC "LKVindx1"

/* Gives the index as bytes to `put`, piece by piece; what `put` returns other than
 * LKV_OK ends it. Not inside a transaction that has changed something: LKV_MISUSE.
 * Errors as lkv_get(). */
LKV_MUST_CHECK int lkv_export(lkv_store *store, int (*put)(void *arg, lkv_bytes bytes),
                              void *arg, lkv_error *err);

/* Reads `size` bytes at `offset` of what lkv_export() gave. */
typedef struct lkv_source {
    int (*read)(void *arg, uint64_t offset, void *out, size_t size);
    void *arg;
    uint64_t size; /* bytes of all */
} lkv_source;

/* Puts the runs of an exported index in the place of those that the store has, once all
 * of it was found right; the log that it does not cover is read. In a transaction.
 * `go_on` as of lkv_verify(). Errors: LKV_CORRUPT with what is wrong with the export,
 * nothing changed; as lkv_put(). */
LKV_MUST_CHECK int lkv_import(lkv_store *store, const lkv_source *source,
                              int (*go_on)(void *arg), void *arg, lkv_error *err);

/*
 * All that a store holds as one string of bytes
 */

/* What it begins with. */
#define LKV_SERIAL_MAGIC "LKVstor1"

/* Gives every record, with the revision and time of its own, to `put`, piece by piece,
 * the transaction's changes included; what `put` returns other than LKV_OK ends it.
 * Errors: LKV_MISUSE before the first refresh, and as lkv_get(). */
LKV_MUST_CHECK int lkv_serialize(lkv_store *store,
                                 int (*put)(void *arg, lkv_bytes bytes), void *arg,
                                 lkv_error *err);

/* Puts what was serialized, by this store or another one with the same description, in
 * the place of all that the store holds, once all of it was found right. `check` (may
 * be NULL) is asked of every row: LKV_CORRUPT when the caller could not read it. In a
 * transaction, of which it prepares what was done before. Errors: LKV_CORRUPT with what
 * is wrong with what was given, nothing changed; LKV_MISUSE when the transaction has
 * changed rows, and others would take up what is prepared; as lkv_put(). */
LKV_MUST_CHECK int lkv_deserialize(lkv_store *store, const lkv_source *source,
                                   int (*check)(void *arg, const lkv_row *row),
                                   void *arg, lkv_error *err);

/*
 * A damaged store
 */

enum lkv_object_kind {
    LKV_OBJECT_SEGMENT,
    LKV_OBJECT_PART,
    LKV_OBJECT_RUN,
    LKV_OBJECT_ROOT
};

/* Bytes of a segment or part that could not be read as records that are proven to be
 * there, and the keys that were read before and behind them in it; no `data` where
 * there are none. Valid during the call. */
typedef struct lkv_lost {
    enum lkv_object_kind
        kind;        /* a root: a newer one than was read, and what needs it */
    uint32_t number; /* from 1 on, of its kind; 0: of a root, with no bytes */
    uint64_t offset, bytes;
    lkv_bytes first_key, last_key;
} lkv_lost;

typedef struct lkv_salvage_calls {
    int (*lost)(void *arg, const lkv_lost *lost); /* told of each, at the end */
    int (*go_on)(void *arg);                      /* as of lkv_verify(); may be NULL */
    void *arg;
} lkv_salvage_calls;

/* Reads everything that the root lists, whether lkv_refresh(), which the caller tries
 * before, can read it or not, and finds what of it is proven (FORMAT.md, F35): `*kept`
 * keys. Memory grows with the keys that the log has outside of parts.
 *
 * With `apply`, and if anything is wrong, that becomes the store's content: lkv_begin()
 * is called if no transaction is open, or what it would do is done without it, with a
 * mark before all else. What was done before is prepared, or LKV_MISUSE, as in
 * lkv_deserialize(). Without, nothing is written;
 * LKV_MISUSE in a transaction that has changed something. Errors: LKV_CORRUPT when the
 * root is damaged; as lkv_put(); after an error nothing has changed, and the
 * transaction may be over. */
LKV_MUST_CHECK int lkv_salvage(lkv_store *store, int apply,
                               const lkv_salvage_calls *calls, uint64_t *kept,
                               lkv_error *err);

/*
 * Knowing it
 */

/* Reads everything: every record, block, filter, and each reference between them.
 * LKV_OK, or LKV_CORRUPT with the first problem. `go_on` (may be NULL) is asked now and
 * then; what it returns other than LKV_OK ends it. */
LKV_MUST_CHECK int lkv_verify(lkv_store *store, int (*go_on)(void *arg), void *arg,
                              lkv_error *err);

typedef struct lkv_object {
    enum lkv_object_kind kind;
    uint32_t number;     /* from 1 on, of its kind */
    uint64_t bytes;      /* in the storage */
    uint64_t live_bytes; /* of segments and parts: records that are the newest */
    uint64_t records;    /* of segments and parts: puts and deletes */
    uint64_t keys;       /* records or entries that name a key */
} lkv_object;

/* Tells of every part, segment and run, in that order, oldest first; reads the whole
 * log and index once. What `each` returns other than LKV_OK ends it. Errors as
 * lkv_get(). */
LKV_MUST_CHECK int lkv_list(lkv_store *store,
                            int (*each)(void *arg, const lkv_object *object), void *arg,
                            lkv_error *err);

typedef struct lkv_stats {
    uint64_t live_keys;
    uint64_t records;    /* puts and deletes in the log */
    uint64_t log_bytes;  /* all segments, headers included */
    uint64_t live_bytes; /* records that hold the newest value of their key */
    uint64_t dead_bytes; /* others, those of commits among them */
    uint64_t segments;   /* of the log, parts included */
    uint64_t parts;      /* of these, in key order */
    uint64_t runs;
    uint64_t run_bytes;    /* of the index in storage */
    uint64_t revision;     /* of the last commit */
    uint64_t index_memory; /* bytes of the index in memory */
    uint64_t compact_left; /* bytes that merging and compaction have still to write */
    uint64_t compact_gain; /* of the log, that compaction to the end would give back */
    /* What merging and compaction replaced, as long as the root lists it: files of it
     * may be gone already. */
    uint64_t garbage_bytes;
    unsigned auto_compact; /* the share above which commits compact, in thousandths */
} lkv_stats;

/* Number of live keys; exact, at no cost. Of a forged store no more than its log has
 * room for. */
uint64_t lkv_count(const lkv_store *store);

/* Fills `stats` of where the handle stands, with zeros before the first refresh; for
 * `records` it reads what the log, without its parts, has grown by since it was asked
 * last. Errors as lkv_refresh(). */
LKV_MUST_CHECK int lkv_measure(lkv_store *store, lkv_stats *stats, lkv_error *err);
/* The same, with those of the parts alone in `records`: reads nothing. */
void lkv_sizes(const lkv_store *store, lkv_stats *stats);

#endif
