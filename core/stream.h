/*
 * stream.h - bytes that come piece by piece from a caller's source, or go to a caller's
 * sink, with their XXH64: what is exported and imported, serialized and deserialized.
 */
#ifndef LKV_STREAM_H
#define LKV_STREAM_H

#include "block.h"

/* Reading from front to back. `os` and `source` are set by the caller, the rest is
 * zero; `buffer.bytes` is the caller's to give back. */
typedef struct lkv_stream {
    const lkv_os *os;
    const lkv_source *source;
    uint64_t at;       /* of the source: what was read of it, and stands in ... */
    lkv_buffer buffer; /* ... from `taken` on */
    size_t taken;
    lkv_hash hash; /* over what was taken */
} lkv_stream;

/* Begins anew, at the source's front. */
void lkv_stream_start(lkv_stream *in);
/* The next `size` bytes in one piece, valid until the next call; LKV_ABSENT when there
 * are not so many left. Errors: LKV_NOMEM, the source's. */
LKV_MUST_CHECK int lkv_stream_take(lkv_stream *in, size_t size, const uint8_t **out);
/* The same, and they are still the next ones afterwards. */
LKV_MUST_CHECK int lkv_stream_peek(lkv_stream *in, size_t size, const uint8_t **out);

/* Offset of the next byte in the source, and how many are left from there on. */
static inline uint64_t lkv_stream_offset(const lkv_stream *in)
{
    return in->at - (in->buffer.size - in->taken);
}

static inline uint64_t lkv_stream_left(const lkv_stream *in)
{
    return in->source->size - lkv_stream_offset(in);
}

typedef struct lkv_sink {
    int (*put)(void *arg, lkv_bytes bytes);
    void *arg;
    lkv_hash hash; /* over what was given; lkv_hash_start() by the caller */
} lkv_sink;

/* What `put` says. */
LKV_MUST_CHECK int lkv_sink_give(lkv_sink *to, const void *bytes, size_t size);
/* The last eight bytes: the XXH64 of all before them. */
LKV_MUST_CHECK int lkv_sink_end(lkv_sink *to);

#endif
