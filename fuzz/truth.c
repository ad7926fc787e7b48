/*
 * truth.c - image_truth() of image.h: the rules of the format in the plainest words,
 * for a store that fits in memory. Shares with core the decoding of single records and
 * headers, which have checks of their own in fuzz_log.c.
 */
#include "image.h"

#include <string.h>

typedef struct truth {
    lkv_storage *storage;
    lkv_end end;
    lkv_root root;
    lkv_bytes root_bytes;
    uint64_t chain, revision, covered;
    uint32_t segment, offset; /* behind the last commit */
    lkv_hash hash;
    map now; /* with records that no commit covers yet */
} truth;

/* A copy in input_memory(); 0 when there is no room. */
static int keep(lkv_bytes *bytes)
{
    uint8_t *copy = input_memory(bytes->size);
    if (copy == NULL) {
        return 0;
    }
    if (bytes->size > 0) {
        memcpy(copy, bytes->data, bytes->size);
    }
    bytes->data = copy;
    return 1;
}

/* Segments lie one after the other, none but the last is empty or open, and their
 * numbers are such as a location can hold. */
static int list_is_right(const truth *t)
{
    lkv_segment at, next;
    for (uint32_t i = 0; i < t->root.segments; i++) {
        lkv_format_root_segment(t->root_bytes, i, &at);
        if (at.number < 1 || at.number > LKV_SEGMENT_NUMBER_MAX) {
            return 0;
        }
        if (i + 1 == t->root.segments) {
            return at.size == 0 && at.number == t->end.segment;
        }
        lkv_format_root_segment(t->root_bytes, i + 1, &next);
        if (at.size <= LKV_SEGMENT_HEADER || at.size > LKV_SEGMENT_MAX ||
            next.base < at.base ||
            next.base - at.base != at.size - LKV_SEGMENT_HEADER) {
            return 0;
        }
    }
    return 0;
}

static int root_is_right(truth *t)
{
    const char *why;
    return lkv_format_parse_root(t->root_bytes, &t->root, &why) == LKV_OK &&
           t->root.generation == t->end.generation && t->root.generation > 0 &&
           t->root.generation <= INT64_MAX && t->root.block >= LKV_BLOCK_MIN &&
           t->root.block <= LKV_BLOCK_MAX && t->root.meta.size <= LKV_META_MAX &&
           memcmp(t->root.store_id, t->end.store_id, LKV_ID_SIZE) == 0 &&
           t->end.offset >= LKV_SEGMENT_HEADER && t->end.offset <= LKV_SEGMENT_MAX &&
           list_is_right(t);
}

static int commit_is_right(truth *t, const lkv_record *record, const lkv_segment *at,
                           uint32_t offset)
{
    uint64_t end = at->base + offset - LKV_SEGMENT_HEADER;
    lkv_commit_record commit;
    if (lkv_format_parse_commit(record, &commit) != LKV_OK ||
        commit.revision != t->revision + 1 || commit.covered != t->covered ||
        commit.chain != lkv_format_chain_end(&t->hash, &commit)) {
        return 0;
    }
    t->revision = commit.revision;
    t->chain = commit.chain;
    t->covered = 0;
    t->segment = at->number;
    t->offset = offset;
    lkv_format_chain_start(&t->hash, t->end.store_id, t->chain, end);
    return 1;
}

/* The records of one segment; its bytes are kept. */
static int segment_is_right(truth *t, const lkv_segment *at, lkv_bytes bytes)
{
    size_t offset = LKV_SEGMENT_HEADER, need;
    const char *why;
    while (offset < bytes.size) {
        const uint8_t *start = (const uint8_t *)bytes.data + offset;
        lkv_record record;
        if (lkv_format_parse(start, bytes.size - offset, &record, &need, &why) !=
            LKV_OK) {
            return 0;
        }
        offset += record.size;
        if (record.kind == LKV_KIND_COMMIT) {
            if (!commit_is_right(t, &record, at, (uint32_t)offset)) {
                return 0;
            }
            continue;
        }
        lkv_hash_add(&t->hash, start, record.size);
        t->covered += record.size;
        if (record.kind == LKV_KIND_PUT) {
            lkv_row row = {record.key, record.value, record.tag};
            map_put(&t->now, &row);
        } else {
            map_remove(&t->now, record.key);
        }
    }
    return 1;
}

/* Reads listed segment `i`: 1, 0, or -1 as image_truth(). */
static int read_segment(truth *t, uint32_t i)
{
    lkv_segment at;
    lkv_segment_header header;
    const char *why;
    lkv_bytes bytes;
    size_t size;

    lkv_format_root_segment(t->root_bytes, i, &at);
    size = i + 1 < t->root.segments ? at.size : t->end.offset;
    MUST(t->storage->ops->read(t->storage, at.number, 0, 1, &bytes, NULL) == LKV_OK);
    if (bytes.size < size) {
        return 0;
    }
    bytes.size = size;
    if (lkv_format_parse_segment(bytes, &header, &why) != LKV_OK ||
        header.number != at.number || header.base != at.base ||
        memcmp(header.store_id, t->end.store_id, LKV_ID_SIZE) != 0) {
        return 0;
    }
    if (!keep(&bytes)) {
        return -1;
    }
    if (i == 0) {
        t->revision = header.revision_before;
        t->chain = header.chain_before;
        t->segment = at.number;
        t->offset = LKV_SEGMENT_HEADER;
        lkv_format_chain_start(&t->hash, t->end.store_id, t->chain, at.base);
    }
    return segment_is_right(t, &at, bytes);
}

int image_truth(lkv_storage *storage, map *rows)
{
    static truth t;
    int right = 1;

    t.storage = storage;
    t.now.count = 0;
    t.covered = 0;
    if (storage->ops->read_end(storage, &t.end, NULL) != LKV_OK ||
        storage->ops->read_root(storage, &t.root_bytes, NULL) != LKV_OK) {
        return 0;
    }
    if (!keep(&t.root_bytes)) {
        return -1;
    }
    if (!root_is_right(&t)) {
        return 0;
    }
    for (uint32_t i = 0; i < t.root.segments && right == 1; i++) {
        right = read_segment(&t, i);
    }
    if (right == 1) {
        right = t.covered == 0 && t.segment == t.end.segment &&
                t.offset == t.end.offset && t.revision == t.end.revision &&
                t.chain == t.end.chain && t.now.count == t.end.live_keys;
        *rows = t.now;
    }
    return right;
}
