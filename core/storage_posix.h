/*
 * storage_posix.h - a storage in files of a directory, or in POSIX shared memory,
 * shared by processes.
 *
 *      lock        the page where the newest commit is published, and the locks
 *      root0 ...   three roots, each with the end that it was written with
 *      0000000a    an object: segment, part or run, by its number in hexadecimal
 *
 * In shared memory the same names follow that of the store and a dot. FORMAT.md tells
 * the bytes. Nothing is opened before it is needed.
 */
#ifndef LKV_STORAGE_POSIX_H
#define LKV_STORAGE_POSIX_H

#include "storage.h"

typedef struct lkv_posix_options {
    const char *path;  /* of the directory; of shared memory its name, "/name" */
    int shared_memory; /* whether it is that */
    unsigned mode;     /* rights of files that are made; x is added for a directory */
    int mapped;        /* read through maps, or else by pread into a cache, ... */
    uint64_t cache_bytes; /* ... which takes at most so much memory */
} lkv_posix_options;

/* Touches no file; the path is copied. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_storage_posix_open(const lkv_os *os,
                                          const lkv_posix_options *options,
                                          lkv_storage **out);
void lkv_storage_posix_close(lkv_storage *storage);

/* Makes room for a new store where there is nothing, or an empty directory: `*made`
 * becomes 1, and lkv_create() is to follow. 0: there is a store; the page of its locks
 * is made anew where it is damaged and nobody has it open. Errors: LKV_CANTOPEN
 * when something else is there, LKV_BUSY, LKV_FULL, LKV_READONLY, LKV_IO. */
LKV_MUST_CHECK int lkv_storage_posix_make(lkv_storage *storage, int *made,
                                          lkv_error *err);
/* Takes away what lkv_storage_posix_make() made, unless another has it open or has
 * written to it. */
void lkv_storage_posix_unmake(lkv_storage *storage);

/* Deletes a store. LKV_BUSY: somebody has it open. LKV_CANTOPEN: there is none, or
 * something that is no part of one. Errors as above. */
LKV_MUST_CHECK int lkv_storage_posix_remove(const lkv_os *os,
                                            const lkv_posix_options *options,
                                            lkv_error *err);

/* Bytes behind the last commit that belonged to none when the store was opened. */
uint64_t lkv_storage_posix_torn(const lkv_storage *storage);
/* Memory of the cache of blocks, and its bound; 0 when files are mapped. */
uint64_t lkv_storage_posix_cached(const lkv_storage *storage, uint64_t *limit);

#endif
