/*
 * format.c - see format.h and FORMAT.md, whose rules the comments cite.
 *
 *   record   crc32 u32 | type u8 | key length u32 | value length u32 | key | value
 *   type     bits 0-2 kind, bits 3-4 tag, bit 5 long form, bits 6-7 reserved
 */
#include "format.h"

#include <string.h>

#define TYPE_KIND 0x07u
#define TYPE_TAG_SHIFT 3
#define TYPE_TAG 0x18u
#define TYPE_MOVED 0x20u
#define MOVED_SIZE 16u /* revision u64, time i64, before the value */

static const uint8_t segment_magic[8] = {'L', 'K', 'V', 's', 'e', 'g', '1', '\n'};
static const uint8_t root_magic[8] = {'L', 'K', 'V', 'r', 'o', 'o', 't', '1'};

void lkv_format_u32(uint8_t *out, uint32_t n)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(n >> (8 * i));
    }
}

void lkv_format_u64(uint8_t *out, uint64_t n)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(n >> (8 * i));
    }
}

uint32_t lkv_format_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
           (uint32_t)at[3] << 24;
}

uint64_t lkv_format_get_u64(const uint8_t *at)
{
    return lkv_format_get_u32(at) | (uint64_t)lkv_format_get_u32(at + 4) << 32;
}

static void copy(uint8_t *out, lkv_bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(out, bytes.data, bytes.size);
    }
}

static void header(uint8_t *out, unsigned type, size_t key_size, size_t value_size)
{
    out[4] = (uint8_t)type;
    lkv_format_u32(out + 5, (uint32_t)key_size);
    lkv_format_u32(out + 9, (uint32_t)value_size);
}

static void seal_record(uint8_t *out, size_t size)
{
    lkv_format_u32(out, lkv_crc32(0, out + 4, size - 4));
}

void lkv_format_record(uint8_t *out, enum lkv_kind kind, unsigned tag, lkv_bytes key,
                       lkv_bytes value)
{
    header(out, (unsigned)kind | tag << TYPE_TAG_SHIFT, key.size, value.size);
    copy(out + LKV_RECORD_HEADER, key);
    copy(out + LKV_RECORD_HEADER + key.size, value);
    seal_record(out, lkv_format_size(key, value));
}

void lkv_format_moved(uint8_t *out, unsigned tag, lkv_bytes key, lkv_bytes value,
                      uint64_t revision, int64_t time_ms)
{
    uint8_t *at = out + LKV_RECORD_HEADER + key.size;
    header(out, LKV_KIND_PUT | tag << TYPE_TAG_SHIFT | TYPE_MOVED, key.size,
           value.size + MOVED_SIZE);
    copy(out + LKV_RECORD_HEADER, key);
    lkv_format_u64(at, revision);
    lkv_format_u64(at + 8, (uint64_t)time_ms);
    copy(at + MOVED_SIZE, value);
    seal_record(out, lkv_format_size(key, value) + MOVED_SIZE);
}

static int known_type(unsigned type, const char **why)
{
    unsigned kind = type & TYPE_KIND;
    if (kind < LKV_KIND_PUT || kind > LKV_KIND_COMMIT ||
        (type & ~(TYPE_KIND | TYPE_TAG | TYPE_MOVED)) != 0 ||
        ((type & TYPE_MOVED) != 0 && kind != LKV_KIND_PUT) ||
        ((type & TYPE_TAG) != 0 && kind != LKV_KIND_PUT)) {
        *why = "record type is not known to this release"; /* F3 */
        return LKV_CORRUPT;
    }
    return LKV_OK;
}

int lkv_format_shape(const uint8_t *at, size_t have, lkv_record *record, size_t *need,
                     const char **why)
{
    unsigned type;
    size_t key_size, value_size;

    if (have < LKV_RECORD_HEADER) {
        *need = LKV_RECORD_HEADER;
        return LKV_ABSENT;
    }
    type = at[4];
    key_size = lkv_format_get_u32(at + 5);
    value_size = lkv_format_get_u32(at + 9);
    if (known_type(type, why) != LKV_OK) {
        return LKV_CORRUPT;
    }
    if ((uint64_t)key_size + value_size > LKV_SEGMENT_MAX - LKV_RECORD_HEADER) {
        *why = "record is longer than a segment";
        return LKV_CORRUPT;
    }
    record->size = LKV_RECORD_HEADER + key_size + value_size;
    if (have < record->size) {
        *need = record->size;
        return LKV_ABSENT;
    }
    record->kind = (enum lkv_kind)(type & TYPE_KIND);
    record->tag = (type & TYPE_TAG) >> TYPE_TAG_SHIFT;
    record->moved = (type & TYPE_MOVED) != 0;
    record->revision = 0;
    record->time_ms = 0;
    record->key = (lkv_bytes){at + LKV_RECORD_HEADER, key_size};
    record->value = (lkv_bytes){at + LKV_RECORD_HEADER + key_size, value_size};
    if (record->moved) {
        if (value_size < MOVED_SIZE) {
            *why = "moved record is too short";
            return LKV_CORRUPT;
        }
        record->revision = lkv_format_get_u64(record->value.data);
        record->time_ms =
            (int64_t)lkv_format_get_u64((const uint8_t *)record->value.data + 8);
        record->value.data = (const uint8_t *)record->value.data + MOVED_SIZE;
        record->value.size -= MOVED_SIZE;
    }
    return LKV_OK;
}

int lkv_format_parse(const uint8_t *at, size_t have, lkv_record *record, size_t *need,
                     const char **why)
{
    int rc = lkv_format_shape(at, have, record, need, why);
    if (rc == LKV_OK &&
        lkv_format_get_u32(at) != lkv_crc32(0, at + 4, record->size - 4)) {
        *why = "checksum mismatch"; /* F2 */
        rc = LKV_CORRUPT;
    }
    return rc;
}

static void commit_value(uint8_t *out, const lkv_commit_record *commit)
{
    lkv_format_u64(out, commit->revision);
    lkv_format_u64(out + 8, (uint64_t)commit->time_ms);
    lkv_format_u64(out + 16, commit->covered);
    lkv_format_u64(out + 24, commit->synced_end);
    lkv_format_u64(out + 32, commit->live_keys);
    lkv_format_u64(out + 40, commit->chain);
}

void lkv_format_commit(uint8_t *out, const lkv_commit_record *commit)
{
    uint8_t value[48];
    commit_value(value, commit);
    lkv_format_record(out, LKV_KIND_COMMIT, 0, (lkv_bytes){NULL, 0},
                      (lkv_bytes){value, sizeof(value)});
}

int lkv_format_parse_commit(const lkv_record *record, lkv_commit_record *commit)
{
    const uint8_t *at = record->value.data;
    if (record->kind != LKV_KIND_COMMIT || record->key.size != 0 ||
        record->value.size != 48) {
        return LKV_CORRUPT;
    }
    commit->revision = lkv_format_get_u64(at);
    commit->time_ms = (int64_t)lkv_format_get_u64(at + 8);
    commit->covered = lkv_format_get_u64(at + 16);
    commit->synced_end = lkv_format_get_u64(at + 24);
    commit->live_keys = lkv_format_get_u64(at + 32);
    commit->chain = lkv_format_get_u64(at + 40);
    return LKV_OK;
}

void lkv_format_chain_start(lkv_hash *hash, const uint8_t *store_id, uint64_t chain,
                            uint64_t place)
{
    uint8_t start[LKV_ID_SIZE + 16];
    memcpy(start, store_id, LKV_ID_SIZE);
    lkv_format_u64(start + LKV_ID_SIZE, chain);
    lkv_format_u64(start + LKV_ID_SIZE + 8, place);
    lkv_hash_start(hash);
    lkv_hash_add(hash, start, sizeof(start));
}

uint64_t lkv_format_chain_end(const lkv_hash *hash, const lkv_commit_record *commit)
{
    lkv_hash last = *hash;
    uint8_t value[48];
    commit_value(value, commit);
    lkv_hash_add(&last, value, 40); /* all fields but the chain itself */
    return lkv_hash_value(&last);
}

void lkv_format_segment(uint8_t *out, const lkv_segment_header *header_in)
{
    memset(out, 0, LKV_SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof(segment_magic));
    memcpy(out + 8, header_in->store_id, LKV_ID_SIZE);
    lkv_format_u32(out + 24, header_in->number);
    lkv_format_u64(out + 32, header_in->base);
    lkv_format_u64(out + 40, header_in->chain_before);
    lkv_format_u64(out + 48, header_in->revision_before);
    lkv_format_u32(out + 60, lkv_crc32(0, out, 60));
}

int lkv_format_parse_segment(lkv_bytes bytes, lkv_segment_header *out, const char **why)
{
    const uint8_t *at = bytes.data;
    if (bytes.size < LKV_SEGMENT_HEADER ||
        memcmp(at, segment_magic, sizeof(segment_magic)) != 0) {
        *why = "not a segment of this format";
        return LKV_CORRUPT;
    }
    if (lkv_format_get_u32(at + 60) != lkv_crc32(0, at, 60)) {
        *why = "segment header: checksum mismatch";
        return LKV_CORRUPT;
    }
    if (lkv_format_get_u32(at + 28) != 0 || lkv_format_get_u32(at + 56) != 0) {
        *why = "segment header: not of this format"; /* F1 */
        return LKV_CORRUPT;
    }
    memcpy(out->store_id, at + 8, LKV_ID_SIZE);
    out->number = lkv_format_get_u32(at + 24);
    out->base = lkv_format_get_u64(at + 32);
    out->chain_before = lkv_format_get_u64(at + 40);
    out->revision_before = lkv_format_get_u64(at + 48);
    return LKV_OK;
}

void lkv_format_root(uint8_t *out, const lkv_root *root, const lkv_segment *segments)
{
    size_t size = lkv_format_root_size(root->segments, root->meta.size);
    uint8_t *at = out + LKV_ROOT_HEADER;

    memset(out, 0, LKV_ROOT_HEADER);
    memcpy(out, root_magic, sizeof(root_magic));
    memcpy(out + 8, root->store_id, LKV_ID_SIZE);
    lkv_format_u64(out + 24, root->generation);
    lkv_format_u32(out + 32, root->block);
    lkv_format_u32(out + 36, root->segments);
    lkv_format_u32(out + 40, (uint32_t)root->meta.size);
    for (uint32_t i = 0; i < root->segments; i++, at += LKV_ROOT_SEGMENT) {
        lkv_format_u32(at, segments[i].number);
        lkv_format_u32(at + 4, segments[i].size);
        lkv_format_u64(at + 8, segments[i].base);
    }
    copy(at, root->meta);
    lkv_format_u32(out + size - 4, lkv_crc32(0, out, size - 4));
}

int lkv_format_parse_root(lkv_bytes bytes, lkv_root *root, const char **why)
{
    const uint8_t *at = bytes.data;
    uint64_t size;

    if (bytes.size < LKV_ROOT_HEADER + 4 ||
        memcmp(at, root_magic, sizeof(root_magic)) != 0) {
        *why = "not a root of this format";
        return LKV_CORRUPT;
    }
    if (lkv_format_get_u32(at + bytes.size - 4) != lkv_crc32(0, at, bytes.size - 4)) {
        *why = "checksum mismatch";
        return LKV_CORRUPT;
    }
    memcpy(root->store_id, at + 8, LKV_ID_SIZE);
    root->generation = lkv_format_get_u64(at + 24);
    root->block = lkv_format_get_u32(at + 32);
    root->segments = lkv_format_get_u32(at + 36);
    root->meta.size = lkv_format_get_u32(at + 40);
    size = (uint64_t)LKV_ROOT_HEADER + (uint64_t)root->segments * LKV_ROOT_SEGMENT +
           root->meta.size + 4;
    if (root->segments == 0 || root->block == 0 || size != bytes.size ||
        lkv_format_get_u32(at + 44) != 0) {
        *why = "lengths do not fit together";
        return LKV_CORRUPT;
    }
    root->meta.data = at + LKV_ROOT_HEADER + (size_t)root->segments * LKV_ROOT_SEGMENT;
    return LKV_OK;
}

void lkv_format_root_segment(lkv_bytes bytes, uint32_t i, lkv_segment *segment)
{
    const uint8_t *at =
        (const uint8_t *)bytes.data + LKV_ROOT_HEADER + (size_t)i * LKV_ROOT_SEGMENT;
    segment->number = lkv_format_get_u32(at);
    segment->size = lkv_format_get_u32(at + 4);
    segment->base = lkv_format_get_u64(at + 8);
}
