/*
 * stream.c - see stream.h.
 */
#include "stream.h"

#include <string.h>

#define PIECE_SIZE (64u << 10) /* is read at once, or more on demand */

void lkv_stream_start(lkv_stream *in)
{
    in->at = 0;
    in->buffer.size = in->taken = 0;
    lkv_hash_start(&in->hash);
}

/* What was not taken moves to the front, and `more` bytes come behind it. */
static int read_more(lkv_stream *in, size_t more)
{
    lkv_buffer *buffer = &in->buffer;
    size_t have = buffer->size - in->taken;
    int rc;

    if (have > 0) {
        memmove(buffer->bytes, buffer->bytes + in->taken, have);
    }
    buffer->size = have;
    in->taken = 0;
    if (lkv_buffer_reserve(buffer, in->os, more) != LKV_OK) {
        return LKV_NOMEM;
    }
    rc = in->source->read(in->source->arg, in->at, buffer->bytes + have, more);
    if (rc == LKV_OK) {
        in->at += more;
        buffer->size += more;
    }
    return rc;
}

int lkv_stream_peek(lkv_stream *in, size_t size, const uint8_t **out)
{
    size_t have = in->buffer.size - in->taken;
    int rc = LKV_OK;

    if (have < size) {
        uint64_t left = in->source->size - in->at;
        size_t more = size - have > PIECE_SIZE ? size - have : PIECE_SIZE;
        more = left < more ? (size_t)left : more;
        rc = more < size - have ? LKV_ABSENT : read_more(in, more);
    }
    if (rc == LKV_OK) {
        *out = in->buffer.bytes + in->taken;
    }
    return rc;
}

int lkv_stream_take(lkv_stream *in, size_t size, const uint8_t **out)
{
    int rc = lkv_stream_peek(in, size, out);
    if (rc == LKV_OK) {
        lkv_hash_add(&in->hash, *out, size);
        in->taken += size;
    }
    return rc;
}

int lkv_sink_give(lkv_sink *to, const void *bytes, size_t size)
{
    lkv_hash_add(&to->hash, bytes, size);
    return to->put(to->arg, (lkv_bytes){bytes, size});
}

int lkv_sink_end(lkv_sink *to)
{
    uint8_t sum[8];
    lkv_format_u64(sum, lkv_hash_value(&to->hash));
    return to->put(to->arg, (lkv_bytes){sum, sizeof(sum)});
}
