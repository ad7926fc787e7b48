/*
 * fixture.h - an empty store in faulty memory, and short ways to fill it and look at
 * it.
 */
#ifndef LKV_TEST_FIXTURE_H
#define LKV_TEST_FIXTURE_H

#include "check.h"
#include "image.h"
#include "os_fault.h"
#include "storage_fault.h"

typedef struct fixture {
    os_fault os;
    lkv_storage *memory;
    storage_fault fault;  /* around `memory` */
    lkv_storage *storage; /* the same */
    lkv_store *store;     /* a handle that has seen the empty store */
    lkv_error err;
} fixture;

/* With small blocks, no spill and no roll: a test lowers storage->spill and ->segment.
 */
void fixture_open(fixture *f, uint32_t block);
/* Closes everything and checks that nothing is left allocated. */
void fixture_close(fixture *f);
/* Closes the handle and opens another. */
void fixture_reopen(fixture *f);

lkv_bytes text_bytes(const char *text);
int put_text(lkv_store *store, const char *key, const char *value);
int delete_text(lkv_store *store, const char *key);
/* The value of `key` as a text, or NULL; valid until the next call. */
const char *get_text(lkv_store *store, const char *key);
/* `size` bytes of which each call makes others by `seed`; valid until the next call. */
lkv_bytes filler(size_t size, unsigned seed);
int put_filler(lkv_store *store, const char *key, size_t size, unsigned seed);

/* One transaction, checked: begins, does `key`=`value` (NULL deletes), commits. */
void commit_text(lkv_store *store, const char *key, const char *value);
void begin(lkv_store *store);
void prepare_and_commit(lkv_store *store);
/* A transaction of that; what is left. */
uint64_t compact_some(fixture *f, uint64_t budget);
uint32_t mark(lkv_store *store);
/* Five transactions with all kinds of records, in three segments. */
void fill_three(fixture *f);

/* All that the store holds as "a=1 b=2", what is long or no text as its length and
 * checksum. Checks on the way that both directions, lkv_get() and lkv_count() agree.
 * The texts of the last four calls are valid; begins with "error" when something
 * failed. */
const char *contents(lkv_store *store);
/* The same of a new handle on `storage`. */
const char *contents_anew(lkv_storage *storage, const lkv_os *os);
/* The same of a store with the bytes of `image`, looked at but not written to: by a
 * storage that shows more than it was asked for, and by one that does not. */
const char *contents_of(const store_image *image);

#endif
