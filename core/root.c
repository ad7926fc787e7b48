/*
 * root.c - making an empty log, and taking the list of segments from a root.
 */
#include "log.h"

#include <string.h>

int lkv_log_create(lkv_storage *storage, const lkv_os *os, lkv_bytes meta,
                   lkv_error *err)
{
    const lkv_storage_ops *ops = storage->ops;
    lkv_segment_header header = {.number = 1};
    lkv_segment first = {.number = 1};
    lkv_root root = {
        .generation = 1, .block = storage->block, .segments = 1, .meta = meta};
    lkv_end end = {.generation = 1, .segment = 1, .offset = LKV_SEGMENT_HEADER};
    uint8_t bytes[LKV_SEGMENT_HEADER];
    uint8_t *root_bytes;
    int rc;

    if (meta.size > LKV_META_MAX) {
        return lkv_log_error(err, LKV_MISUSE,
                             "the description of the store is too long");
    }
    rc = os->random(os->ctx, header.store_id, LKV_ID_SIZE);
    if (rc != 0) {
        lkv_log_error(err, LKV_IO, "no random bytes for the identity of the store");
        if (err != NULL) {
            err->os_errno = rc;
        }
        return LKV_IO;
    }
    memcpy(root.store_id, header.store_id, LKV_ID_SIZE);
    memcpy(end.store_id, header.store_id, LKV_ID_SIZE);
    root_bytes = lkv_os_alloc(os, lkv_format_root_size(1, meta.size));
    if (root_bytes == NULL) {
        return LKV_NOMEM;
    }
    lkv_format_segment(bytes, &header);
    lkv_format_root(root_bytes, &root, &first);
    rc = ops->write(storage, 1, 0, (lkv_bytes){bytes, sizeof(bytes)}, err);
    if (rc == LKV_OK) {
        lkv_bytes all = {root_bytes, lkv_format_root_size(1, meta.size)};
        rc = ops->write_root(storage, 1, all, err);
    }
    if (rc == LKV_OK) {
        rc = ops->sync(storage, 1, LKV_SEGMENT_HEADER, err);
    }
    if (rc == LKV_OK) {
        rc = ops->publish_end(storage, &end, err);
    }
    lkv_os_free(os, root_bytes);
    return rc;
}

/* Segments lie one after the other, and have numbers that a location can hold. A closed
 * one holds something and the bases do not run over: so each base is greater than the
 * one before, and no segment, whose header tells its base, is listed twice. F9 */
static int check_segments(const lkv_segment *segments, uint32_t count, lkv_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const lkv_segment *at = &segments[i];
        int last = i + 1 == count;
        if (at->number == 0 || at->number > LKV_SEGMENT_NUMBER_MAX ||
            (last ? at->size != 0
                  : at->size <= LKV_SEGMENT_HEADER || at->size > LKV_SEGMENT_MAX ||
                        segments[i + 1].base < at->base ||
                        segments[i + 1].base - at->base !=
                            at->size - LKV_SEGMENT_HEADER)) {
            return lkv_log_error(err, LKV_CORRUPT,
                                 "root: the list of segments is wrong");
        }
    }
    return LKV_OK;
}

/* Generation 0 tells a storage that nothing was read, so that a commit under it would
 * be lost; and no commit may come back to it. F9 */
static int check_numbers(const lkv_root *root, lkv_error *err)
{
    const char *why = NULL;
    if (root->block < LKV_BLOCK_MIN || root->block > LKV_BLOCK_MAX) {
        why = "root: the block size is wrong";
    } else if (root->generation == 0 || root->generation > INT64_MAX) {
        why = "root: the generation is wrong";
    }
    return why == NULL ? LKV_OK : lkv_log_error(err, LKV_CORRUPT, why);
}

/* What the root says, or why it says nothing. */
static int read_root(lkv_log *log, lkv_bytes *bytes, lkv_root *root, lkv_error *err)
{
    const char *why = "";
    char text[96] = "root: ";
    int rc = log->storage->ops->read_root(log->storage, bytes, err);

    if (rc == LKV_OK && lkv_format_parse_root(*bytes, root, &why) != LKV_OK) {
        strncat(text, why, sizeof(text) - strlen(text) - 1);
        rc = lkv_log_error(err, LKV_CORRUPT, text);
    }
    return rc;
}

int lkv_log_is_there(lkv_log *log, const uint8_t *id, lkv_error *err)
{
    lkv_bytes bytes;
    lkv_root root;
    int rc = read_root(log, &bytes, &root, err);

    if (rc == LKV_OK && memcmp(root.store_id, id, LKV_ID_SIZE) != 0) {
        rc = LKV_ABSENT;
    }
    return rc;
}

int lkv_log_load_root(lkv_log *log, lkv_error *err)
{
    lkv_segment *segments = NULL;
    uint8_t *meta = NULL;
    lkv_bytes bytes;
    lkv_root root;
    int rc = read_root(log, &bytes, &root, err);

    if (rc != LKV_OK) {
        return rc == LKV_ABSENT ? lkv_log_error(err, LKV_CORRUPT, "root: there is none")
                                : rc;
    }
    rc = LKV_NOMEM;
    segments = lkv_os_alloc(log->os, root.segments * sizeof(*segments));
    meta = lkv_os_alloc(log->os, root.meta.size + 1);
    if (segments == NULL || meta == NULL) {
        goto done;
    }
    for (uint32_t i = 0; i < root.segments; i++) {
        lkv_format_root_segment(bytes, i, &segments[i]);
    }
    rc = check_segments(segments, root.segments, err);
    if (rc == LKV_OK) {
        rc = check_numbers(&root, err);
    }
    if (rc != LKV_OK) {
        goto done;
    }
    log->storage->block = root.block;
    if (root.meta.size > 0) {
        memcpy(meta, root.meta.data, root.meta.size);
    }
    lkv_os_free(log->os, log->segments);
    lkv_os_free(log->os, log->meta);
    log->segments = segments;
    log->count = log->capacity = root.segments;
    log->meta = meta;
    log->meta_size = root.meta.size;
    log->at.generation = root.generation;
    memcpy(log->at.store_id, root.store_id, LKV_ID_SIZE);
    return LKV_OK;
done:
    lkv_os_free(log->os, segments);
    lkv_os_free(log->os, meta);
    return rc;
}
