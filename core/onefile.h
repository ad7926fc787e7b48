/*
 * onefile.h - one file, read or written whole.
 *
 * What is written goes to a file with a name of its own in the same directory, which is
 * synced and only then gets the name that was asked for: at every moment there is the
 * whole old file under that name, or the whole new one, or none where none was.
 */
#ifndef LKV_ONEFILE_H
#define LKV_ONEFILE_H

#include "litekv.h"

typedef struct lkv_onefile {
    const lkv_os *os;
    int file;      /* -1: not open */
    uint64_t size; /* when it was opened to be read; otherwise written so far */
    char *path;    /* of what is written ... */
    char *made;    /* ... and of the file that it is in so far; NULL: there is none */
    int replace;
    lkv_error *err; /* of the call that opened it, for all that follow */
} lkv_onefile;

/* Opens a regular file to be read. After an error, too, lkv_onefile_close() follows.
 * `err` must outlive the file. Errors: LKV_IO. */
LKV_MUST_CHECK int lkv_onefile_open(lkv_onefile *one, const lkv_os *os,
                                    const char *path, lkv_error *err);
/* Reads `size` bytes at `offset`: the function of an lkv_source. LKV_IO, LKV_CORRUPT
 * when the file is shorter. */
LKV_MUST_CHECK int lkv_onefile_read(void *one, uint64_t offset, void *out, size_t size);

/* Begins to write a file. Nothing may be there under its name, or, when `replace` is
 * not empty, a regular file that begins with these bytes. After an error, too,
 * lkv_onefile_close() follows. Errors: LKV_MISUSE when something else is there; LKV_IO,
 * LKV_NOMEM. */
LKV_MUST_CHECK int lkv_onefile_create(lkv_onefile *one, const lkv_os *os,
                                      const char *path, lkv_bytes replace,
                                      lkv_error *err);
/* Writes on. LKV_IO. */
LKV_MUST_CHECK int lkv_onefile_write(void *one, lkv_bytes bytes);
/* All is written: the file gets its name. LKV_IO; LKV_MISUSE as above. */
LKV_MUST_CHECK int lkv_onefile_finish(lkv_onefile *one);

/* Closes it; what was not finished is removed. */
void lkv_onefile_close(lkv_onefile *one);

#endif
