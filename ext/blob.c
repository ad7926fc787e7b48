/*
 * blob.c - see blob.h.
 */
#include "blob.h"

#include "home.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

int lkv_blob_put(void *arg, lkv_bytes bytes)
{
    lkv_blob *blob = arg;
    uint64_t limit = (uint64_t)sqlite3_limit(blob->handle->db, SQLITE_LIMIT_LENGTH, -1);
    int rc = lkv_home_go_on(blob->handle);

    if (rc != LKV_OK) {
        return rc;
    }
    if (bytes.size > limit || blob->size > limit - bytes.size) {
        return LKV_TOO_BIG;
    }
    if (bytes.size > blob->room - blob->size) {
        uint64_t room = (blob->size + bytes.size) * 2;
        uint8_t *moved;
        room = room < limit ? room : limit;
        moved = sqlite3_realloc64(blob->bytes, room);
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        blob->bytes = moved;
        blob->room = room;
    }
    if (bytes.size > 0) {
        memcpy(blob->bytes + blob->size, bytes.data, bytes.size);
        blob->size += bytes.size;
    }
    return LKV_OK;
}

void lkv_blob_result(lkv_blob *blob, sqlite3_context *context)
{
    sqlite3_result_blob64(context, blob->bytes, blob->size, sqlite3_free);
    blob->bytes = NULL;
}

void lkv_blob_clear(lkv_blob *blob)
{
    sqlite3_free(blob->bytes);
    blob->bytes = NULL;
}

static int read_given(void *arg, uint64_t offset, void *out, size_t size)
{
    const lkv_blob_given *given = arg;
    int rc = lkv_home_go_on(given->handle);
    if (rc == LKV_OK && (offset > given->size || size > given->size - offset)) {
        rc = LKV_CORRUPT;
    }
    if (rc == LKV_OK && size > 0) {
        memcpy(out, given->bytes + offset, size);
    }
    return rc;
}

int lkv_blob_give(lkv_blob_given *given, lkv_handle *handle, sqlite3_value *value,
                  lkv_source *source)
{
    given->handle = handle;
    given->bytes = sqlite3_value_blob(value);
    given->size = (uint64_t)sqlite3_value_bytes(value);
    *source = (lkv_source){read_given, given, given->size};
    return given->size > 0 && given->bytes == NULL ? SQLITE_NOMEM : SQLITE_OK;
}
