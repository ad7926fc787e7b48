/*
 * partwriter.c - writing a part and its index from front to back; part.h tells them.
 *
 * Bytes go to storage up to the end of a block, in pieces of about 64 KiB; a pause
 * writes all. What was written is never written over.
 */
#include "part.h"

#include <string.h>

#define OUT_SIZE (64u << 10)

static int append(lkv_buffer *buffer, const lkv_os *os, const void *bytes, size_t size)
{
    if (lkv_buffer_reserve(buffer, os, size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (size > 0) {
        memcpy(buffer->bytes + buffer->size, bytes, size);
    }
    buffer->size += size;
    return LKV_OK;
}

int lkv_part_writer_begin(lkv_part_writer *writer, lkv_storage *storage,
                          const lkv_os *os, const lkv_segment_header *header,
                          uint32_t index)
{
    memset(writer, 0, sizeof(*writer));
    writer->storage = storage;
    writer->os = os;
    writer->part.number = header->number;
    writer->part.index = index;
    writer->part.size = LKV_SEGMENT_HEADER;
    lkv_run_writer_init(&writer->index, storage, os, index);
    if (lkv_buffer_reserve(&writer->out, os, LKV_SEGMENT_HEADER) != LKV_OK) {
        lkv_part_writer_free(writer);
        return LKV_NOMEM;
    }
    lkv_format_segment(writer->out.bytes, header);
    writer->out.size = LKV_SEGMENT_HEADER;
    return LKV_OK;
}

int lkv_part_writer_next(lkv_part_writer *writer, lkv_log *log,
                         const lkv_segment_header *like, uint32_t *part, uint32_t *run,
                         lkv_error *err)
{
    lkv_segment_header header = *like;
    int rc;

    if (*part >= LKV_RUN_FIRST || *run > LKV_RUN_LAST) {
        return lkv_log_error(err, LKV_TOO_BIG, "there are no part numbers left");
    }
    header.number = *part;
    header.kind = 1;
    memcpy(header.store_id, log->at.store_id, LKV_ID_SIZE);
    rc = lkv_part_writer_begin(writer, log->storage, log->os, &header, *run);
    if (rc == LKV_OK) {
        ++*part;
        ++*run;
    }
    return rc;
}

void lkv_part_writer_free(lkv_part_writer *writer)
{
    if (writer->os != NULL) {
        lkv_run_writer_free(&writer->index);
        lkv_os_free(writer->os, writer->out.bytes);
        lkv_os_free(writer->os, writer->fence.bytes);
        lkv_os_free(writer->os, writer->last.bytes);
        memset(writer, 0, sizeof(*writer));
    }
}

/* The last record's key, of the chunk that was written last. */
static int take_last(lkv_part_writer *writer, lkv_log *log, lkv_error *err)
{
    lkv_runs one = {.parts = 1, .part = &writer->part};
    lkv_base_cursor cursor;
    int rc = lkv_part_check_header(log, &writer->part, err);

    writer->part.checked = 1; /* it has no seal yet */
    lkv_base_init(&cursor, log, &one);
    rc = rc == LKV_OK ? lkv_base_last(&cursor, err) : rc;
    if (rc == LKV_OK) {
        lkv_place at = lkv_base_place(&cursor);
        lkv_bytes key = lkv_base_key(&cursor);
        rc = lkv_loc_offset(at.loc) + at.size + LKV_MOVED_SIZE == writer->part.size
                 ? append(&writer->last, writer->os, key.data, key.size)
                 : lkv_log_damage(err, writer->part.number, writer->part.size,
                                  "a part under way does not end where the root says");
    } else if (rc == LKV_ABSENT) {
        rc = lkv_log_damage(err, writer->part.number, writer->part.size,
                            "a part under way has no records");
    }
    lkv_base_free(&cursor);
    return rc;
}

int lkv_part_writer_resume(lkv_part_writer *writer, lkv_log *log, const lkv_part *part,
                           lkv_error *err)
{
    lkv_storage *storage = log->storage;
    lkv_run index = lkv_part_index(part);
    int rc;

    memset(writer, 0, sizeof(*writer));
    writer->storage = storage;
    writer->os = log->os;
    writer->part = *part;
    writer->out_at = part->size;
    rc = take_last(writer, log, err);
    if (rc == LKV_OK) {
        rc = lkv_run_writer_resume(&writer->index, storage, log->os, &index, err);
    }
    if (rc != LKV_OK) {
        lkv_part_writer_free(writer);
    }
    return rc;
}

/* Writes what is pending as far as the end of a block, or `all` of it. */
static int write_out(lkv_part_writer *writer, int all, lkv_error *err)
{
    size_t end = writer->out_at + writer->out.size;
    size_t over = all ? 0 : end % writer->storage->block;
    size_t size = writer->out.size > over ? writer->out.size - over : 0;
    int rc = LKV_OK;

    if (size > 0) {
        rc = writer->storage->ops->write(writer->storage, writer->part.number,
                                         writer->out_at,
                                         (lkv_bytes){writer->out.bytes, size}, err);
        writer->written += size;
        writer->out_at += (uint32_t)size;
        writer->out.size -= size;
        memmove(writer->out.bytes, writer->out.bytes + size, writer->out.size);
    }
    return rc;
}

/* What the index wrote counts as well. */
static int count_index(lkv_part_writer *writer, uint32_t blocks_before, int rc)
{
    writer->written +=
        (uint64_t)(writer->index.run.blocks - blocks_before) * writer->storage->block;
    writer->part.blocks = writer->index.run.blocks;
    writer->part.top = writer->index.run.top;
    return rc;
}

static int end_chunk(lkv_part_writer *writer, lkv_error *err)
{
    uint32_t before = writer->index.run.blocks;
    lkv_place fence = {
        lkv_loc_make(0, writer->part.number, writer->chunk) | writer->whole,
        writer->part.size - writer->chunk,
    };
    lkv_bytes key = {writer->fence.bytes, writer->fence.size};
    int rc;

    if (writer->chunk == 0) {
        return LKV_OK;
    }
    rc = lkv_run_writer_add_entry(&writer->index, key, fence, err);
    writer->chunk = 0;
    return count_index(writer, before, rc);
}

uint8_t *lkv_part_writer_room(lkv_part_writer *writer, size_t size)
{
    if (lkv_buffer_reserve(&writer->out, writer->os, size) != LKV_OK) {
        return NULL;
    }
    return writer->out.bytes + writer->out.size;
}

/* The record of `key` begins a chunk: whether its fence needs the whole key. */
static int begin_chunk(lkv_part_writer *writer, lkv_bytes key, int whole)
{
    const uint8_t *at = key.data, *last = writer->last.bytes;
    size_t size = 0;

    if (!whole && writer->part.keys > 0) {
        while (size < writer->last.size && size < key.size && at[size] == last[size]) {
            size++;
        }
        key.size = size < key.size ? size + 1 : key.size;
    }
    writer->fence.size = 0;
    writer->chunk = writer->part.size;
    return append(&writer->fence, writer->os, key.data, key.size);
}

/* Whether a record at the end of the part begins in the piece of a block that the chunk
 * began in: in four, so that few records are passed over by who looks for one. */
static int goes_on(const lkv_part_writer *writer)
{
    uint32_t block = writer->storage->block, piece = (block + 3) / 4;
    uint32_t begin = writer->chunk, end = writer->part.size;
    return end / block == begin / block && end % block / piece == begin % block / piece;
}

int lkv_part_writer_index(lkv_part_writer *writer, const uint8_t *record, size_t size,
                          size_t key_size, unsigned tag, lkv_error *err)
{
    lkv_bytes key = {lkv_format_key(record), key_size};
    int whole = size > LKV_CHUNK_MAX || (size > LKV_WHOLE_MIN && key_size < size / 8);
    int rc = LKV_OK;

    if (size > LKV_SEGMENT_MAX - LKV_SEAL_SIZE - writer->part.size) {
        return lkv_log_error(err, LKV_TOO_BIG, "the record is longer than a part");
    }
    if (writer->chunk != 0 &&
        (whole || !goes_on(writer) ||
         size > LKV_CHUNK_MAX - (writer->part.size - writer->chunk))) {
        rc = end_chunk(writer, err);
    }
    if (rc == LKV_OK && writer->chunk == 0) {
        rc = begin_chunk(writer, key, whole);
        writer->whole = whole ? lkv_loc_make(tag, 0, 0) | LKV_LOC_WHOLE : 0;
    }
    if (rc == LKV_OK) {
        rc = lkv_run_writer_add_hash(&writer->index, lkv_filter_hash(key));
    }
    if (rc == LKV_OK) {
        writer->last.size = 0;
        rc = append(&writer->last, writer->os, key.data, key.size);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    writer->part.digest = lkv_format_digest(writer->part.digest, record);
    writer->part.keys++;
    writer->part.bytes += size - LKV_MOVED_SIZE;
    writer->part.size += (uint32_t)size;
    return whole ? end_chunk(writer, err) : LKV_OK;
}

int lkv_part_writer_added(lkv_part_writer *writer, size_t size, size_t key_size,
                          unsigned tag, lkv_error *err)
{
    int rc = lkv_part_writer_index(writer, writer->out.bytes + writer->out.size, size,
                                   key_size, tag, err);
    if (rc != LKV_OK) {
        return rc;
    }
    writer->out.size += size;
    return writer->out.size >= OUT_SIZE ? write_out(writer, 0, err) : LKV_OK;
}

int lkv_part_writer_pause(lkv_part_writer *writer, lkv_error *err)
{
    int rc = end_chunk(writer, err);
    if (rc == LKV_OK) {
        uint32_t before = writer->index.run.blocks;
        rc = count_index(writer, before, lkv_run_writer_pause(&writer->index, err));
    }
    return rc == LKV_OK ? write_out(writer, 1, err) : rc;
}

int lkv_part_writer_finish_index(lkv_part_writer *writer, lkv_error *err)
{
    int rc = end_chunk(writer, err);
    if (rc == LKV_OK) {
        uint32_t before = writer->index.run.blocks;
        rc = count_index(writer, before, lkv_run_writer_finish(&writer->index, err));
    }
    return rc;
}

int lkv_part_writer_finish(lkv_part_writer *writer, uint64_t revision, uint64_t chain,
                           lkv_error *err)
{
    lkv_seal_record seal = {revision, chain, writer->part.keys, writer->part.bytes,
                            writer->part.digest};
    uint8_t *at;
    int rc = lkv_part_writer_finish_index(writer, err);

    if (rc != LKV_OK) {
        return rc;
    }
    at = lkv_part_writer_room(writer, LKV_SEAL_SIZE);
    if (at == NULL) {
        return LKV_NOMEM;
    }
    lkv_format_seal(at, &seal);
    writer->out.size += LKV_SEAL_SIZE;
    writer->part.size += LKV_SEAL_SIZE;
    rc = write_out(writer, 1, err);
    if (rc == LKV_OK) {
        rc = writer->storage->ops->seal(writer->storage, writer->part.number, err);
    }
    return rc;
}
