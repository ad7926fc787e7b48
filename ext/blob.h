/*
 * blob.h - BLOBs that core writes to and reads from, piece by piece; each piece can be
 * interrupted.
 */
#ifndef LKV_BLOB_H
#define LKV_BLOB_H

#include "handle.h"

/* One that is made. */
typedef struct lkv_blob {
    lkv_handle *handle;
    uint8_t *bytes;
    uint64_t size, room;
} lkv_blob;

/* For core's `put`: `arg` is the lkv_blob. LKV_TOO_BIG beyond SQLITE_LIMIT_LENGTH. */
int lkv_blob_put(void *arg, lkv_bytes bytes);
/* Makes it a function's result. */
void lkv_blob_result(lkv_blob *blob, sqlite3_context *context);
void lkv_blob_clear(lkv_blob *blob);

/* One that is given; borrowed from a value. */
typedef struct lkv_blob_given {
    lkv_handle *handle;
    const uint8_t *bytes;
    uint64_t size;
} lkv_blob_given;

/* Makes `source` read from `value`, which is a BLOB. SQLITE_NOMEM. */
int lkv_blob_give(lkv_blob_given *given, lkv_handle *handle, sqlite3_value *value,
                  lkv_source *source);

#endif
