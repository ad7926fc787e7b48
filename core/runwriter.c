/*
 * runwriter.c - writing a run from front to back; run.h tells its parts.
 *
 * Separators are the shortest keys that keep two leaves apart. Blocks go to storage in
 * pieces of about 64 KiB.
 */
#include "run.h"

#include <string.h>

#define OUT_SIZE (64u << 10)

void lkv_run_writer_init(lkv_run_writer *writer, lkv_storage *storage, const lkv_os *os,
                         uint32_t number)
{
    memset(writer, 0, sizeof(*writer));
    writer->storage = storage;
    writer->os = os;
    writer->run.number = number;
    lkv_builder_init(&writer->leaf, os);
    lkv_builder_init(&writer->branch, os);
}

void lkv_run_writer_free(lkv_run_writer *writer)
{
    if (writer->os != NULL) {
        lkv_builder_free(&writer->leaf);
        lkv_builder_free(&writer->branch);
        lkv_os_free(writer->os, writer->hashes.bytes);
        lkv_os_free(writer->os, writer->tops.bytes);
        lkv_os_free(writer->os, writer->last.bytes);
        lkv_os_free(writer->os, writer->out.bytes);
        memset(writer, 0, sizeof(*writer));
    }
}

static int write_out(lkv_run_writer *writer, lkv_error *err)
{
    lkv_storage *storage = writer->storage;
    int rc = LKV_OK;
    if (writer->out.size > 0) {
        rc = storage->ops->write(storage, writer->run.number,
                                 (uint64_t)writer->out_at * storage->block,
                                 (lkv_bytes){writer->out.bytes, writer->out.size}, err);
        writer->out.size = 0;
        writer->out_at = writer->run.blocks;
    }
    return rc;
}

/* Makes the block whole and takes it over; `*number` is where it stands. */
static int put_block(lkv_run_writer *writer, lkv_builder *builder,
                     enum lkv_block_kind kind, uint32_t before, uint32_t *number,
                     lkv_error *err)
{
    uint32_t unit = writer->storage->block;
    const uint64_t *hashes = NULL;
    size_t count = 0;
    int rc;

    if (kind == LKV_BLOCK_BRANCH) {
        hashes = (const uint64_t *)(const void *)writer->hashes.bytes;
        count = writer->hashes.size / sizeof(*hashes);
    }
    rc = lkv_builder_finish(builder, kind, before, unit, hashes, count);
    if (rc == LKV_OK) {
        rc = lkv_buffer_reserve(&writer->out, writer->os, builder->block.size);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    if (builder->block.size / unit > UINT32_MAX / 2 - writer->run.blocks) {
        return LKV_TOO_BIG;
    }
    lkv_block_seal(builder->block.bytes, builder->block.size,
                   lkv_block_place(writer->run.number, writer->run.blocks));
    memcpy(writer->out.bytes + writer->out.size, builder->block.bytes,
           builder->block.size);
    writer->out.size += builder->block.size;
    *number = writer->run.blocks;
    writer->run.blocks += (uint32_t)(builder->block.size / unit);
    lkv_builder_clear(builder);
    return writer->out.size >= OUT_SIZE ? write_out(writer, err) : LKV_OK;
}

static size_t common(lkv_bytes a, lkv_bytes b)
{
    const uint8_t *x = a.data, *y = b.data;
    size_t size = a.size < b.size ? a.size : b.size, i = 0;
    while (i < size && x[i] == y[i]) {
        i++;
    }
    return i;
}

static int remember(lkv_buffer *buffer, const lkv_os *os, lkv_bytes key)
{
    buffer->size = 0;
    if (lkv_buffer_reserve(buffer, os, key.size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (key.size > 0) {
        memcpy(buffer->bytes, key.data, key.size);
    }
    buffer->size = key.size;
    return LKV_OK;
}

/* The first key of the leaf that is being built: nothing is shared there, and a short
 * varint 0 and its size stand before it. */
static lkv_bytes first_key(const lkv_builder *leaf)
{
    const uint8_t *at = leaf->block.bytes + LKV_BLOCK_HEADER + 1;
    size_t size = 0;
    for (unsigned shift = 0;; shift += 7, at++) {
        size |= (size_t)(*at & 0x7f) << shift;
        if ((*at & 0x80) == 0) {
            break;
        }
    }
    return (lkv_bytes){at + 1, size};
}

static int add_top(lkv_buffer *tops, const lkv_os *os, lkv_bytes separator,
                   uint32_t block)
{
    uint8_t *at;
    if (lkv_buffer_reserve(tops, os, 8 + separator.size) != LKV_OK) {
        return LKV_NOMEM;
    }
    at = tops->bytes + tops->size;
    lkv_format_u32(at, (uint32_t)separator.size);
    lkv_format_u32(at + 4, block);
    if (separator.size > 0) {
        memcpy(at + 8, separator.data, separator.size);
    }
    tops->size += 8 + separator.size;
    return LKV_OK;
}

/* The branch ends here; the tops learn of it. */
static int end_group(lkv_run_writer *writer, lkv_error *err)
{
    uint32_t number;
    int rc;

    if (writer->branch.count == 0) {
        return LKV_OK;
    }
    rc = add_top(&writer->tops, writer->os, first_key(&writer->branch),
                 writer->run.blocks);
    if (rc == LKV_OK) {
        rc = put_block(writer, &writer->branch, LKV_BLOCK_BRANCH, writer->last_branch,
                       &number, err);
    }
    if (rc == LKV_OK) {
        /* Those after the last entry may be of the next one: both groups have them. */
        writer->last_branch = number + 1;
        writer->hashes.size -= writer->loose;
        memmove(writer->hashes.bytes, writer->hashes.bytes + writer->loose,
                writer->hashes.size);
        writer->loose = 0;
    }
    return rc;
}

/* Whether the branch, with its filter, would outgrow a storage block by one more leaf
 * like the ones it has. */
static int group_is_full(const lkv_run_writer *writer)
{
    size_t entries = writer->branch.block.size + writer->branch.restarts.size;
    size_t keys = writer->hashes.size / sizeof(uint64_t);
    size_t each = writer->branch.count;
    size_t lines = lkv_filter_lines(keys + keys / each);
    return entries + (entries - LKV_BLOCK_HEADER) / each + lines * LKV_FILTER_LINE >
           writer->storage->block;
}

static int end_leaf(lkv_run_writer *writer, lkv_error *err)
{
    lkv_bytes first, before = {writer->last.bytes, writer->last.size};
    uint32_t number;
    int rc;

    if (writer->leaf.count == 0) {
        return LKV_OK;
    }
    first = first_key(&writer->leaf);
    if (writer->last_leaf != 0 && writer->fences) {
        /* All of it: what lies below is to be found in the leaf before. */
    } else if (writer->last_leaf != 0) { /* not the first of the run */
        size_t size = common(before, first) + 1;
        first.size = size < first.size ? size : first.size;
    } else {
        first.size = 0;
    }
    /* The leaf will stand where the object ends now. */
    rc = lkv_builder_add_child(&writer->branch, first, writer->run.blocks);
    if (rc == LKV_OK) {
        rc = remember(&writer->last, writer->os,
                      (lkv_bytes){writer->leaf.last.bytes, writer->leaf.last.size});
    }
    if (rc == LKV_OK) {
        rc = put_block(writer, &writer->leaf, LKV_BLOCK_LEAF, writer->last_leaf,
                       &number, err);
    }
    if (rc == LKV_OK) {
        writer->last_leaf = number + 1;
        if (group_is_full(writer)) {
            rc = end_group(writer, err);
        }
    }
    return rc;
}

int lkv_run_writer_add_hash(lkv_run_writer *writer, uint64_t hash)
{
    int rc = lkv_buffer_reserve(&writer->hashes, writer->os, sizeof(hash));
    if (rc == LKV_OK) {
        memcpy(writer->hashes.bytes + writer->hashes.size, &hash, sizeof(hash));
        writer->hashes.size += sizeof(hash);
    }
    return rc;
}

/* Whether the filter over the leaf's keys leaves no room in the branch for more: a leaf
 * of fences is ended by that. */
static int filter_is_full(const lkv_run_writer *writer)
{
    size_t size = lkv_builder_size_with(&writer->branch, first_key(&writer->leaf));
    size_t lines = lkv_filter_lines(writer->hashes.size / sizeof(uint64_t));
    return size + lines * LKV_FILTER_LINE > writer->storage->block;
}

static int add_entry(lkv_run_writer *writer, lkv_bytes key, lkv_place place,
                     lkv_error *err)
{
    int rc = LKV_OK;

    if (writer->leaf.count > 0 &&
        (lkv_builder_size_with(&writer->leaf, key) > writer->storage->block ||
         filter_is_full(writer))) {
        rc = end_leaf(writer, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_builder_add_leaf(&writer->leaf, key, place);
    }
    if (rc == LKV_OK) {
        writer->loose = writer->hashes.size;
        writer->run.entries++;
        writer->run.live_bytes += lkv_loc_live(place.loc) ? place.size : 0;
    }
    return rc;
}

int lkv_run_writer_add_entry(lkv_run_writer *writer, lkv_bytes key, lkv_place place,
                             lkv_error *err)
{
    writer->fences = 1;
    return add_entry(writer, key, place, err);
}

int lkv_run_writer_add(lkv_run_writer *writer, lkv_bytes key, lkv_place place,
                       lkv_error *err)
{
    int rc = add_entry(writer, key, place, err);
    if (rc == LKV_OK) {
        rc = lkv_run_writer_add_hash(writer, lkv_filter_hash(key));
        writer->loose = writer->hashes.size;
    }
    return rc;
}

int lkv_run_writer_pause(lkv_run_writer *writer, lkv_error *err)
{
    int rc = end_leaf(writer, err);
    if (rc == LKV_OK) {
        rc = end_group(writer, err);
    }
    writer->run.top = writer->last_branch == 0 ? 0 : writer->last_branch - 1;
    return rc == LKV_OK ? write_out(writer, err) : rc;
}

/* One level of tops over the entries in `tops`, which become those of the level. */
static int write_level(lkv_run_writer *writer, lkv_error *err)
{
    lkv_buffer above = {NULL, 0, 0}, below = writer->tops;
    uint32_t before = 0, number = 0;
    size_t at = 0;
    int rc = LKV_OK;

    writer->tops = above;
    while (at < below.size && rc == LKV_OK) {
        lkv_bytes key = {below.bytes + at + 8, lkv_format_get_u32(below.bytes + at)};
        uint32_t child = lkv_format_get_u32(below.bytes + at + 4);
        /* Two at least, so that levels end. */
        if (writer->branch.count >= 2 &&
            lkv_builder_size_with(&writer->branch, key) > writer->storage->block) {
            rc =
                put_block(writer, &writer->branch, LKV_BLOCK_TOP, before, &number, err);
            before = number + 1;
        }
        if (rc == LKV_OK && writer->branch.count == 0) {
            /* The block begun here will stand where the object ends now. */
            rc = add_top(&above, writer->os, key, writer->run.blocks);
        }
        if (rc == LKV_OK) {
            rc = lkv_builder_add_child(&writer->branch, key, child);
        }
        at += 8 + key.size;
    }
    if (rc == LKV_OK) {
        rc = put_block(writer, &writer->branch, LKV_BLOCK_TOP, before, &number, err);
        writer->run.top = number;
    }
    lkv_os_free(writer->os, below.bytes);
    writer->tops = above;
    return rc;
}

static int more_than_one(const lkv_buffer *tops)
{
    return tops->bytes != NULL &&
           tops->size > 8 + (size_t)lkv_format_get_u32(tops->bytes);
}

int lkv_run_writer_finish(lkv_run_writer *writer, lkv_error *err)
{
    int rc = end_leaf(writer, err);
    if (rc == LKV_OK) {
        rc = end_group(writer, err);
    }
    if (rc == LKV_OK) {
        writer->run.top = writer->last_branch - 1;
        while (rc == LKV_OK && more_than_one(&writer->tops)) {
            rc = write_level(writer, err);
        }
    }
    return rc == LKV_OK ? write_out(writer, err) : rc;
}

/* The separators of the branches stand in their first entries; branches are chained
 * backwards, so that they are collected in that order and then turned round. */
static int collect_tops(lkv_run_writer *writer, lkv_error *err)
{
    uint32_t at = writer->last_branch;
    lkv_buffer turned = {NULL, 0, 0};
    size_t left;
    int rc = LKV_OK;

    while (at != 0 && rc == LKV_OK) {
        lkv_block block;
        lkv_entry entry;
        size_t where = LKV_BLOCK_HEADER;
        uint8_t *top;
        rc = lkv_run_block(writer->storage, &writer->run, at - 1, &block, err);
        if (rc != LKV_OK) {
            break;
        }
        if (block.kind != LKV_BLOCK_BRANCH || block.before >= at ||
            lkv_block_next(&block, &where, &entry) != LKV_OK) {
            return lkv_run_damage(err, &writer->run, at - 1, "not a branch");
        }
        if (at == writer->last_branch && /* else it is not there that it goes on */
            at - 1 + lkv_block_span(block.bytes, block.size) != writer->run.blocks) {
            return lkv_run_damage(err, &writer->run, at - 1, "not the last block");
        }
        rc = lkv_buffer_reserve(&writer->tops, writer->os, entry.rest.size + 12);
        if (rc == LKV_OK) { /* with its size behind it, to be read backwards */
            top = writer->tops.bytes + writer->tops.size;
            lkv_format_u32(top, (uint32_t)entry.rest.size);
            lkv_format_u32(top + 4, at - 1);
            if (entry.rest.size > 0) {
                memcpy(top + 8, entry.rest.data, entry.rest.size);
            }
            lkv_format_u32(top + 8 + entry.rest.size, (uint32_t)entry.rest.size);
            writer->tops.size += entry.rest.size + 12;
            at = block.before;
        }
    }
    left = writer->tops.size;
    if (rc == LKV_OK) {
        rc = lkv_buffer_reserve(&turned, writer->os, left + 1);
    }
    while (rc == LKV_OK && left > 0) {
        size_t size = lkv_format_get_u32(writer->tops.bytes + left - 4) + (size_t)8;
        left -= size + 4;
        memcpy(turned.bytes + turned.size, writer->tops.bytes + left, size);
        turned.size += size;
    }
    lkv_os_free(writer->os, writer->tops.bytes);
    writer->tops = turned;
    return rc;
}

int lkv_run_writer_resume(lkv_run_writer *writer, lkv_storage *storage,
                          const lkv_os *os, const lkv_run *run, lkv_error *err)
{
    lkv_run_cursor cursor;
    lkv_run so_far = *run;
    int rc;

    lkv_run_writer_init(writer, storage, os, run->number);
    writer->run = *run;
    writer->out_at = run->blocks;
    if (run->blocks == 0) {
        return LKV_OK;
    }
    /* A paused object ends in a branch, whose block `top` names. */
    writer->last_branch = run->top + 1;
    lkv_run_cursor_init(&cursor, storage, os, &so_far);
    rc = lkv_run_last(&cursor, err);
    if (rc == LKV_OK) {
        writer->last_leaf = cursor.leaf + 1;
        rc = remember(&writer->last, os, lkv_run_key(&cursor));
    }
    lkv_run_cursor_free(&cursor);
    return rc == LKV_OK ? collect_tops(writer, err) : rc;
}
