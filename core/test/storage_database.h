/*
 * storage_database.h - a storage as one in a database is: a rollback undoes everything
 * that was written and removed, whether its user forgets it or not, and each handle
 * caches whole blocks of parts and runs, which nothing but its own calls takes out
 * again.
 *
 * Several lie around one storage in memory, one for each handle.
 */
#ifndef LKV_TEST_STORAGE_DATABASE_H
#define LKV_TEST_STORAGE_DATABASE_H

#include "storage.h"

#define DATABASE_BUCKETS 256u

struct database_undo;
struct database_block;

typedef struct storage_database {
    lkv_storage base; /* to hand in; `undoes` is set */
    lkv_storage *inner;
    int keeps; /* removes nothing: readers of older roots go on, as in a snapshot */
    struct database_undo *undo; /* newest first: what objects held before */
    uint64_t writes;            /* and how many there are */
    struct database_block *cache[DATABASE_BUCKETS];
    uint8_t *view; /* put together of several blocks */
    int locked;
} storage_database;

void storage_database_init(storage_database *database, lkv_storage *inner);
void storage_database_free(storage_database *database);

/* The point that a savepoint remembers, and going back to it: before the store does. */
uint64_t storage_database_mark(const storage_database *database);
void storage_database_undo(storage_database *database, uint64_t mark);

#endif
