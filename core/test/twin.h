/*
 * twin.h - two stores that are to hold the same: one whose index in memory becomes a
 * run again and again, and one where that never happens.
 */
#ifndef LKV_TEST_TWIN_H
#define LKV_TEST_TWIN_H

#include "fixture.h"
#include "store.h"

/* About twenty records to a run: then merges are as cheap, beside the log, as with the
 * sizes of a real store. */
#define TWIN_FLUSH 6000u
#define TWIN_BLOCK 473u

typedef struct twin {
    fixture f, plain; /* `plain` does only what stays */
} twin;

void twin_open(twin *p);
/* Checks first. */
void twin_close(twin *p);
/* The handle, a new one and the plain store hold the same; nothing is damaged. */
void twin_check(twin *p);
/* Such a handle as that of `f`: small runs, no compaction. */
void twin_make_small(lkv_store *store);

const char *twin_key(unsigned i); /* valid until the next call */
/* A value for key `i`; each `version` another. Version 0 takes the key out. */
void twin_put(lkv_store *store, unsigned i, unsigned version);
/* The same in both stores, and transactions of both. */
void twin_set(twin *p, unsigned i, unsigned version);
void twin_begin(twin *p);
void twin_commit(twin *p);
/* A transaction of keys `from` to `to`. */
void twin_fill(twin *p, unsigned from, unsigned to, unsigned version);

const lkv_runs *twin_runs(const twin *p);
/* Bytes of log that the index in memory covers. */
uint64_t twin_tail_bytes(const twin *p);
/* Bytes that the storage has of runs; checks that the list names each of them. */
uint64_t twin_run_bytes(const twin *p);

#endif
