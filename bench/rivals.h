/*
 * rivals.h - other engines under the same keys, values and order as litekv's core.
 *
 * A rival whose library is not there when this is compiled is NULL: nothing but the
 * benchmark needs any of them. Everything here ends the program when it goes wrong.
 */
#ifndef LKV_BENCH_RIVALS_H
#define LKV_BENCH_RIVALS_H

#include "bench.h"

#include <stddef.h>

/* What each engine may keep of its files in memory of its own. What a map of the files
 * brings in is the system's cache, and is printed apart. */
#define RIVAL_CACHE ((size_t)64 << 20)

typedef struct rival {
    const char *name;
    const char *settings; /* what was chosen for it; printed */
    int keeps_files;      /* its data outlives its process */
    /* In an empty directory when `fresh`; of `keys` keys in the end. */
    void *(*open)(const char *directory, int fresh, uint64_t keys);
    void (*close)(void *db);
    /* Puts between begin and commit are one batch; not synced. NULL: nothing to do. */
    void (*begin)(void *db);
    void (*put)(void *db, const char *key, const unsigned char *value);
    void (*commit)(void *db);
    /* Whether `key` is there; copies its value, so that all have done the same work
     * and every byte was read. */
    int (*get)(void *db, const char *key, unsigned char *value);
    /* All rows in the order of the keys; their number. NULL: it has no order. */
    uint64_t (*scan)(void *db);
    /* Puts the data in its best order. NULL: no such function. */
    void (*compact)(void *db);
} rival;

const rival *rival_litekv_memory(void);
const rival *rival_litekv_files(void);
const rival *rival_lmdb(void);
const rival *rival_leveldb(void);
const rival *rival_rocksdb(void);
const rival *rival_tkrzw_hash(void);
const rival *rival_tkrzw_tree(void);

/* Memory that is there, or the end of the program. */
void *rival_memory(size_t size);

/* Copies a value found; the wrong size ends the program. */
void rival_take(unsigned char *value, const void *found, size_t size);

/* What a scan does with a row, so that it has read of both key and value. */
static inline unsigned rival_touch(const void *key, const void *value)
{
    return *(const unsigned char *)key + (unsigned)*(const unsigned char *)value;
}
/* Keeps the sum of it from being left out. */
void rival_keep(unsigned sum);

#endif
