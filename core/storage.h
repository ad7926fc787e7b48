/*
 * storage.h - where a store's bytes are kept: what the log asks of a storage.
 *
 * A storage keeps numbered objects (segments of the log, parts, index runs), one root
 * and one published end. An object is a byte string that grows at its open end. The
 * store that uses it is the only one that writes to it under the lock; others may read.
 *
 * Results are those of litekv.h. LKV_FAILED is for a storage whose failures have a
 * vocabulary of their own: its owner asks it what happened.
 */
#ifndef LKV_STORAGE_H
#define LKV_STORAGE_H

#include "litekv.h"

/* The newest commit that a storage shows. A store is where its handle stands exactly
 * when all of it is equal. */
typedef struct lkv_end {
    uint8_t store_id[16];
    uint64_t generation; /* of the root: a handle reads the root again when it moves */
    uint64_t revision;   /* of the commit; 0 before the first */
    uint64_t chain;      /* its chain checksum */
    uint64_t live_keys;
    uint64_t live_bytes; /* of their records, in the plain form */
    uint32_t segment;    /* number of the segment that the commit ends in */
    uint32_t offset;     /* where in it */
} lkv_end;

/* Kinds of objects, by number: segments of the log; then parts, which are segments in
 * key order; then runs of the index, which are written in whole blocks. */
#define LKV_PART_FIRST 0x10000000u
#define LKV_RUN_FIRST 0x20000000u
#define LKV_RUN_LAST 0x7fffffffu /* so that a database's row ids are above 0 */

/* Answers of storages that several processes write, beside those of litekv.h: */
#define LKV_UNSURE 2 /* read_end: the newest commit must be looked for in the log */
#define LKV_MOVED 3  /* read_root, hold: others have committed; read_end tells what */

/* An object that a root names, and the bytes that it has at least. */
typedef struct lkv_held {
    uint32_t number;
    uint64_t size;
} lkv_held;

#define LKV_SPILL_SIZE (4u << 20)
#define LKV_SEGMENT_SIZE (64u << 20)

typedef struct lkv_storage_ops {
    /* Bytes of `object` from `offset` on: at least `want` in one piece when the object
     * has them, more where that costs nothing, fewer only at the object's end. Valid
     * until the next call on the storage. */
    int (*read)(lkv_storage *storage, uint32_t object, uint64_t offset, size_t want,
                lkv_bytes *view, lkv_error *err);
    /* Puts `bytes` at `offset`, which is at or before the end of `object` (0 makes it);
     * what stood from there on is gone. */
    int (*write)(lkv_storage *storage, uint32_t object, uint64_t offset,
                 lkv_bytes bytes, lkv_error *err);
    /* Forgets the bytes of `object` from `offset` on, and whatever was cached of them;
     * of all objects when `object` is 0. Cannot fail; the next write does what is left
     * to do. */
    void (*rewind)(lkv_storage *storage, uint32_t object, uint64_t offset);
    /* No more writes to `object` will come. */
    int (*seal)(lkv_storage *storage, uint32_t object, lkv_error *err);
    /* Gives the bytes of `object` from `offset` on back; none of it is in the root that
     * will be written. For good, unless the storage `undoes`. Nothing happens where
     * there is no such object. */
    int (*remove)(lkv_storage *storage, uint32_t object, uint64_t offset,
                  lkv_error *err);
    /* Calls `each` with the number of every object that holds something, in any order,
     * until it returns something other than 0, which becomes the result. Bytes that
     * belong to none, where a storage can have such, are object 0, which can only be
     * removed. */
    int (*list)(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                void *arg, lkv_error *err);
    /* Everything of `object` below `offset` survives a power cut from here on. */
    int (*sync)(lkv_storage *storage, uint32_t object, uint64_t offset, lkv_error *err);
    /* The root as last written; valid until the next call on the storage. LKV_ABSENT
     * when there is none. */
    int (*read_root)(lkv_storage *storage, lkv_bytes *root, lkv_error *err);
    int (*write_root)(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                      lkv_error *err);
    /* The end as last published: comes after all writes that it covers, so that who
     * believes it finds them. LKV_ABSENT when there is no store. LKV_UNSURE: `*end` is
     * only that of the root; the log may go on, and settle() is to follow. */
    int (*read_end)(lkv_storage *storage, lkv_end *end, lkv_error *err);
    int (*publish_end)(lkv_storage *storage, const lkv_end *end, lkv_error *err);
    /* One writer: waits at most `wait_ms`, then LKV_BUSY. */
    int (*lock)(lkv_storage *storage, int64_t wait_ms, lkv_error *err);
    /* `end` is what stands from here on: the end that was published last, or an earlier
     * one (with the root of its generation) when what came after it was undone. */
    void (*unlock)(lkv_storage *storage, const lkv_end *end);
    /* Between pin and unpin the storage shows one state, whatever others commit. */
    int (*pin)(lkv_storage *storage, lkv_error *err);
    void (*unpin)(lkv_storage *storage);
    /* What is only a copy of `object` from `offset` on, or of all objects when `object`
     * is 0, goes: it was found wrong, or is to be looked at again. The next read of it
     * is `fresh`. Cannot fail. */
    void (*forget)(lkv_storage *storage, uint32_t object, uint64_t offset);
    /* These are NULL where nobody else removes objects and the end is always known. */
    /* The objects can be read from now on, whatever others remove, until the next
     * call. LKV_MOVED; LKV_CORRUPT when one is too short. */
    int (*hold)(lkv_storage *storage, const lkv_held *objects, size_t count,
                lkv_error *err);
    /* After LKV_UNSURE: the newest commit, and how many bytes behind it belong to
     * none; or NULL when it cannot be told. */
    int (*settle)(lkv_storage *storage, const lkv_end *end, uint64_t torn,
                  lkv_error *err);
    /* After LKV_UNSURE, when what was read is damaged and `end` is as far as the log
     * goes: LKV_CORRUPT when there was a newer root, or may have been. */
    int (*root_lost)(lkv_storage *storage, const lkv_end *end, lkv_error *err);
} lkv_storage_ops;

struct lkv_storage {
    const lkv_storage_ops *ops;
    /* Writes that start and end at multiples of this many bytes are cheapest. > 0. */
    uint32_t block;
    /* A transaction keeps at most about `spill` bytes in memory before it writes them,
     * and a segment is closed before it would grow past `segment` bytes (one record
     * may). */
    uint32_t spill;
    uint32_t segment;
    /* Whether the last read brought in bytes that were not looked at before: their
     * reader verifies a checksum once, not at every read. */
    int fresh;
    /* Where a storage with a cache found the last block that it read, as a number that
     * only it understands: a reader that puts it back before it reads the block again
     * spares the search. Any number does no harm. */
    uint32_t hint;
    /* Committed bytes are all before the synced end: there is no torn tail here, and
     * bad bytes are always damage. */
    int atomic;
    /* A rollback undoes everything, removals too: its owner sees to that. */
    int undoes;
    /* How commits are to be synced: the store's own setting, where there is a choice.
     * After publish_end: whether all of it survives a power cut. */
    enum lkv_sync sync;
    int synced;
    /* What is read now will hardly be read again: it need not be kept. */
    int passing;
    /* The root that is published was written with sync=off: a power cut may leave
     * neither it nor what the one before named. */
    int unsafe;
    /* Before write_root: whether that root, and all that it names, is to survive a
     * power cut whatever comes after it. */
    int durable;
};

/* The end as bytes, for storages that keep it so. FORMAT.md tells them. */
#define LKV_END_SIZE 72u
void lkv_end_encode(uint8_t *out, const lkv_end *end);
/* LKV_OK, or LKV_CORRUPT when the checksum is wrong. */
LKV_MUST_CHECK int lkv_end_decode(const uint8_t *at, lkv_end *end);
/* The size of blocks that a root names; 0: it is damaged. */
uint32_t lkv_root_block(lkv_bytes root);

/* A storage in private memory, for tests and for stores that go with their process.
 * `block` as above; several stores opened on one storage see each other's commits.
 * LKV_NOMEM. */
LKV_MUST_CHECK int lkv_storage_mem_open(const lkv_os *os, uint32_t block,
                                        lkv_storage **out);
void lkv_storage_mem_close(lkv_storage *storage);

#endif
