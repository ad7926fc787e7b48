/*
 * decode.c - see decode.h.
 */
#include "decode.h"

#include "format.h"
#include "input.h"

#include <stdlib.h>
#include <string.h>

static void must_decode_commit(const uint8_t *at, const lkv_record *record)
{
    uint8_t again[LKV_COMMIT_SIZE];
    lkv_commit_record commit;
    int rc = lkv_format_parse_commit(record, &commit);
    MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    if (rc == LKV_OK) {
        lkv_format_commit(again, &commit);
        MUST(record->size == sizeof(again) && memcmp(again, at, sizeof(again)) == 0);
    }
}

static void must_decode_seal(const uint8_t *at, const lkv_record *record)
{
    uint8_t again[LKV_SEAL_SIZE];
    lkv_seal_record seal;
    int rc = lkv_format_parse_seal(record, &seal);
    MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    if (rc == LKV_OK) {
        lkv_format_seal(again, &seal);
        MUST(record->size == sizeof(again) && memcmp(again, at, sizeof(again)) == 0);
    }
}

static void must_encode_record(const uint8_t *at, const lkv_record *record)
{
    uint8_t *again = malloc(record->size);
    MUST(again != NULL);
    if (record->moved) {
        lkv_format_moved(again, record->tag, record->key, record->value,
                         record->revision, record->time_ms);
    } else {
        lkv_format_record(again, record->kind, record->tag, record->key, record->value);
    }
    MUST(memcmp(again, at, record->size) == 0);
    free(again);
}

/* Fewer bytes than a record has: always a question for more, never beyond its size. */
static void must_ask_for_more(const uint8_t *at, size_t size)
{
    for (size_t have = 0; have < size; have = have < 80 ? have + 1 : have * 2) {
        lkv_record record;
        const char *why = NULL;
        size_t need = 0;
        MUST(lkv_format_parse(at, have, &record, &need, &why) == LKV_ABSENT);
        MUST(need > have && need <= size);
    }
}

static void must_decode_record(uint8_t *at, size_t size, int seal)
{
    lkv_record record, shape;
    const char *why = NULL;
    size_t need = 0;
    int rc = lkv_format_shape(at, size, &shape, &need, &why);

    MUST(rc == LKV_OK || (rc == LKV_ABSENT && need > size) ||
         (rc == LKV_CORRUPT && why != NULL));
    if (rc == LKV_OK && seal) {
        lkv_format_u32(at, lkv_crc32(0, at + 4, shape.size - 4));
    }
    if (lkv_format_parse(at, size, &record, &need, &why) != LKV_OK) {
        MUST(rc != LKV_OK || !seal);
        return;
    }
    MUST(rc == LKV_OK && record.size == shape.size && record.size <= size);
    MUST((const uint8_t *)record.value.data + record.value.size == at + record.size);
    MUST(LKV_RECORD_HEADER + record.key.size + record.value.size +
             (record.moved ? 16u : 0u) ==
         record.size);
    must_encode_record(at, &record);
    must_ask_for_more(at, record.size);
    must_decode_commit(at, &record);
    must_decode_seal(at, &record);
}

static void must_decode_segment(uint8_t *at, size_t size, int seal)
{
    uint8_t again[LKV_SEGMENT_HEADER];
    lkv_segment_header header;
    const char *why = NULL;
    int rc;

    if (seal && size >= LKV_SEGMENT_HEADER) {
        static const lkv_segment_header none;
        lkv_format_segment(again, &none);
        memcpy(at, again, 8);
        lkv_format_u32(at + 60, lkv_crc32(0, at, 60));
    }
    rc = lkv_format_parse_segment((lkv_bytes){at, size}, &header, &why);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && why != NULL));
    if (rc == LKV_OK) {
        lkv_format_segment(again, &header);
        MUST(memcmp(again, at, sizeof(again)) == 0);
    }
}

static void must_encode_root(lkv_bytes bytes, const lkv_root *root)
{
    lkv_segment *segments = malloc(root->segments * sizeof(*segments));
    size_t parts = (size_t)root->parts + root->pass.out;
    size_t runs = (size_t)root->runs + root->merges;
    lkv_part *part = malloc((parts + 1) * sizeof(*part));
    lkv_run *index = malloc((runs + 1) * sizeof(*index));
    lkv_gone *gone = malloc(((size_t)root->gone + 1) * sizeof(*gone));
    uint8_t *again = malloc(bytes.size);

    MUST(segments != NULL && part != NULL && index != NULL && gone != NULL &&
         again != NULL);
    for (uint32_t i = 0; i < root->segments; i++) {
        lkv_format_root_segment(bytes, i, &segments[i]);
    }
    for (uint32_t i = 0; i < parts; i++) {
        lkv_format_root_part(bytes, root, i, &part[i]);
    }
    for (uint32_t i = 0; i < runs; i++) {
        lkv_format_root_run(bytes, root, i, &index[i]);
    }
    for (uint32_t i = 0; i < root->gone; i++) {
        lkv_format_root_gone(bytes, root, i, &gone[i]);
    }
    MUST(lkv_format_root_size(root) == bytes.size);
    lkv_format_root(again, root, segments, part, part + root->parts, index,
                    index + root->runs, gone);
    MUST(memcmp(again, bytes.data, bytes.size) == 0);
    free(segments);
    free(part);
    free(index);
    free(gone);
    free(again);
}

static void must_decode_root(uint8_t *at, size_t size, int seal)
{
    static const uint8_t magic[8] = {'L', 'K', 'V', 'r', 'o', 'o', 't', '1'};
    lkv_bytes bytes = {at, size};
    lkv_root root;
    const char *why = NULL;
    int rc;

    if (seal && size >= LKV_ROOT_HEADER + 4) {
        memcpy(at, magic, sizeof(magic));
        lkv_format_u32(at + size - 4, lkv_crc32(0, at, size - 4));
    }
    rc = lkv_format_parse_root(bytes, &root, &why);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && why != NULL));
    if (rc == LKV_OK) {
        must_encode_root(bytes, &root);
    }
}

static void must_decode_end(uint8_t *at, size_t size, int seal)
{
    uint8_t again[LKV_END_SIZE];
    lkv_end end;
    int rc;

    if (size < LKV_END_SIZE) {
        return;
    }
    if (seal) {
        lkv_format_u32(at + LKV_END_SIZE - 4, lkv_crc32(0, at, LKV_END_SIZE - 4));
    }
    rc = lkv_end_decode(at, &end);
    MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    if (rc == LKV_OK) {
        lkv_end_encode(again, &end);
        MUST(memcmp(again, at, sizeof(again)) == 0);
    }
}

/* Each decoder has a copy of exactly the input's size: a sanitizer sees the first byte
 * read beyond. */
void decode_must_hold(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(uint8_t *, size_t, int) = {
        must_decode_record, must_decode_segment, must_decode_root, must_decode_end};
    for (size_t i = 0; i < sizeof(decoders) / sizeof(decoders[0]); i++) {
        for (int seal = 0; seal < 2; seal++) {
            uint8_t *copy = malloc(size > 0 ? size : 1);
            MUST(copy != NULL);
            memcpy(copy, data, size);
            decoders[i](copy, size, seal);
            free(copy);
        }
    }
}
