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
#define MOVED_SIZE LKV_MOVED_SIZE /* revision u64, time i64, before the value */
#define COMMIT_VALUE (LKV_COMMIT_SIZE - LKV_RECORD_HEADER)
#define SEAL_VALUE (LKV_SEAL_SIZE - LKV_RECORD_HEADER)

static const uint8_t segment_magic[8] = {'L', 'K', 'V', 's', 'e', 'g', '1', '\n'};
static const uint8_t root_magic[8] = {'L', 'K', 'V', 'r', 'o', 'o', 't', '1'};

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
    if (kind < LKV_KIND_PUT || kind == 4 || kind > LKV_KIND_SEAL ||
        (type & ~(TYPE_KIND | TYPE_TAG | TYPE_MOVED)) != 0 ||
        ((type & TYPE_MOVED) != 0 && kind != LKV_KIND_PUT) ||
        ((type & TYPE_TAG) != 0 && kind != LKV_KIND_PUT)) {
        *why = "record type is not known to this release"; /* F3 */
        return LKV_CORRUPT;
    }
    return LKV_OK;
}

/* How far the record goes: nothing else of it is looked at before its checksum. F2 */
static int extent(const uint8_t *at, size_t have, size_t *size, size_t *need,
                  const char **why)
{
    uint64_t lengths;

    if (have < LKV_RECORD_HEADER) {
        *need = LKV_RECORD_HEADER;
        return LKV_ABSENT;
    }
    lengths = (uint64_t)lkv_format_get_u32(at + 5) + lkv_format_get_u32(at + 9);
    if (lengths > LKV_SEGMENT_MAX - LKV_RECORD_HEADER) {
        *why = "record is longer than a segment";
        return LKV_CORRUPT;
    }
    *size = LKV_RECORD_HEADER + (size_t)lengths;
    if (have < *size) {
        *need = *size;
        return LKV_ABSENT;
    }
    return LKV_OK;
}

/* Takes apart a record that is all there. */
static int take(const uint8_t *at, size_t size, lkv_record *record, const char **why)
{
    unsigned type = at[4];
    size_t key_size = lkv_format_get_u32(at + 5);

    if (known_type(type, why) != LKV_OK) {
        return LKV_CORRUPT;
    }
    record->size = size;
    record->kind = (enum lkv_kind)(type & TYPE_KIND);
    record->tag = (type & TYPE_TAG) >> TYPE_TAG_SHIFT;
    record->moved = (type & TYPE_MOVED) != 0;
    record->revision = 0;
    record->time_ms = 0;
    record->key = (lkv_bytes){at + LKV_RECORD_HEADER, key_size};
    record->value = (lkv_bytes){at + LKV_RECORD_HEADER + key_size,
                                size - LKV_RECORD_HEADER - key_size};
    if (record->kind == LKV_KIND_TOMBSTONE && record->value.size > 0) {
        *why = "a tombstone has a value";
        return LKV_CORRUPT;
    }
    if (record->moved) {
        if (record->value.size < MOVED_SIZE) {
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

uint64_t lkv_format_claimed(const uint8_t *at)
{
    return LKV_RECORD_HEADER + (uint64_t)lkv_format_get_u32(at + 5) +
           lkv_format_get_u32(at + 9);
}

int lkv_format_has_type(const uint8_t *at)
{
    const char *why;
    return known_type(at[4], &why) == LKV_OK;
}

int lkv_format_looks_commit(const uint8_t *at)
{
    return at[4] == LKV_KIND_COMMIT && lkv_format_claimed(at) == LKV_COMMIT_SIZE;
}

int lkv_format_shape(const uint8_t *at, size_t have, lkv_record *record, size_t *need,
                     const char **why)
{
    size_t size = 0;
    int rc = extent(at, have, &size, need, why);
    return rc == LKV_OK ? take(at, size, record, why) : rc;
}

int lkv_format_parse(const uint8_t *at, size_t have, lkv_record *record, size_t *need,
                     const char **why)
{
    size_t size = 0;
    int rc = extent(at, have, &size, need, why);
    if (rc == LKV_OK && lkv_format_get_u32(at) != lkv_crc32(0, at + 4, size - 4)) {
        *why = "checksum mismatch"; /* F2 */
        rc = LKV_CORRUPT;
    }
    return rc == LKV_OK ? take(at, size, record, why) : rc;
}

static void commit_value(uint8_t *out, const lkv_commit_record *commit)
{
    lkv_format_u64(out, commit->revision);
    lkv_format_u64(out + 8, (uint64_t)commit->time_ms);
    lkv_format_u64(out + 16, commit->covered);
    lkv_format_u64(out + 24, commit->synced_end);
    lkv_format_u64(out + 32, commit->live_keys);
    lkv_format_u64(out + 40, commit->live_bytes);
    lkv_format_u64(out + 48, commit->chain);
}

void lkv_format_commit(uint8_t *out, const lkv_commit_record *commit)
{
    uint8_t value[COMMIT_VALUE];
    commit_value(value, commit);
    lkv_format_record(out, LKV_KIND_COMMIT, 0, (lkv_bytes){NULL, 0},
                      (lkv_bytes){value, sizeof(value)});
}

int lkv_format_parse_commit(const lkv_record *record, lkv_commit_record *commit)
{
    const uint8_t *at = record->value.data;
    if (record->kind != LKV_KIND_COMMIT || record->key.size != 0 ||
        record->value.size != COMMIT_VALUE) {
        return LKV_CORRUPT;
    }
    commit->revision = lkv_format_get_u64(at);
    commit->time_ms = (int64_t)lkv_format_get_u64(at + 8);
    commit->covered = lkv_format_get_u64(at + 16);
    commit->synced_end = lkv_format_get_u64(at + 24);
    commit->live_keys = lkv_format_get_u64(at + 32);
    commit->live_bytes = lkv_format_get_u64(at + 40);
    commit->chain = lkv_format_get_u64(at + 48);
    return LKV_OK;
}

void lkv_format_seal(uint8_t *out, const lkv_seal_record *seal)
{
    uint8_t value[SEAL_VALUE];
    lkv_format_u64(value, seal->revision);
    lkv_format_u64(value + 8, seal->chain);
    lkv_format_u64(value + 16, seal->keys);
    lkv_format_u64(value + 24, seal->bytes);
    lkv_format_u64(value + 32, seal->digest);
    lkv_format_record(out, LKV_KIND_SEAL, 0, (lkv_bytes){NULL, 0},
                      (lkv_bytes){value, sizeof(value)});
}

int lkv_format_parse_seal(const lkv_record *record, lkv_seal_record *seal)
{
    const uint8_t *at = record->value.data;
    if (record->kind != LKV_KIND_SEAL || record->key.size != 0 ||
        record->value.size != SEAL_VALUE) {
        return LKV_CORRUPT;
    }
    seal->revision = lkv_format_get_u64(at);
    seal->chain = lkv_format_get_u64(at + 8);
    seal->keys = lkv_format_get_u64(at + 16);
    seal->bytes = lkv_format_get_u64(at + 24);
    seal->digest = lkv_format_get_u64(at + 32);
    return LKV_OK;
}

int lkv_format_heads_part(const lkv_segment_header *header, const lkv_part *part,
                          const uint8_t *store_id)
{
    return header->kind == 1 && header->number == part->number &&
           memcmp(header->store_id, store_id, LKV_ID_SIZE) == 0;
}

int lkv_format_seals_part(const lkv_seal_record *seal, const lkv_part *part)
{
    return seal->keys == part->keys && seal->bytes == part->bytes &&
           seal->digest == part->digest;
}

uint64_t lkv_format_digest(uint64_t digest, const uint8_t *record)
{
    uint8_t bytes[12];
    lkv_format_u64(bytes, digest);
    memcpy(bytes + 8, record, 4); /* its checksum stands for it */
    return lkv_hash_once(bytes, sizeof(bytes));
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
    uint8_t value[COMMIT_VALUE];
    commit_value(value, commit);
    lkv_hash_add(&last, value, COMMIT_VALUE - 8); /* all fields but the chain itself */
    return lkv_hash_value(&last);
}

void lkv_format_segment(uint8_t *out, const lkv_segment_header *header_in)
{
    memset(out, 0, LKV_SEGMENT_HEADER);
    memcpy(out, segment_magic, sizeof(segment_magic));
    memcpy(out + 8, header_in->store_id, LKV_ID_SIZE);
    lkv_format_u32(out + 24, header_in->number);
    lkv_format_u32(out + 28, header_in->kind);
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
    if (lkv_format_get_u32(at + 28) > 1 || lkv_format_get_u32(at + 56) != 0) {
        *why = "segment header: not of this format"; /* F1 */
        return LKV_CORRUPT;
    }
    memcpy(out->store_id, at + 8, LKV_ID_SIZE);
    out->number = lkv_format_get_u32(at + 24);
    out->kind = lkv_format_get_u32(at + 28);
    out->base = lkv_format_get_u64(at + 32);
    out->chain_before = lkv_format_get_u64(at + 40);
    out->revision_before = lkv_format_get_u64(at + 48);
    return LKV_OK;
}

/* Where each list of a root begins, and where the description does. */
typedef struct lists {
    uint64_t parts, runs, gone, meta, size;
} lists;

static lists lists_of(const lkv_root *root)
{
    lists at;
    at.parts = LKV_ROOT_HEADER + (uint64_t)root->segments * LKV_ROOT_SEGMENT;
    at.runs = at.parts + ((uint64_t)root->parts + root->pass.out) * LKV_ROOT_PART;
    at.gone = at.runs + ((uint64_t)root->runs + root->merges) * LKV_ROOT_RUN;
    at.meta = at.gone + (uint64_t)root->gone * LKV_ROOT_GONE;
    at.size = at.meta + root->meta.size + 4;
    return at;
}

size_t lkv_format_root_size(const lkv_root *root)
{
    return (size_t)lists_of(root).size;
}

static void put_tail(uint8_t *out, const lkv_tail *tail)
{
    lkv_format_u32(out, tail->segment);
    lkv_format_u32(out + 4, tail->offset);
    lkv_format_u64(out + 8, tail->revision);
    lkv_format_u64(out + 16, tail->chain);
    lkv_format_u64(out + 24, tail->covered);
    lkv_hash_save(&tail->hash, out + 32);
}

static void get_tail(const uint8_t *at, lkv_tail *tail)
{
    tail->segment = lkv_format_get_u32(at);
    tail->offset = lkv_format_get_u32(at + 4);
    tail->revision = lkv_format_get_u64(at + 8);
    tail->chain = lkv_format_get_u64(at + 16);
    tail->covered = lkv_format_get_u64(at + 24);
    lkv_hash_load(&tail->hash, at + 32);
}

static uint8_t *put_part(uint8_t *out, const lkv_part *part)
{
    lkv_format_u32(out, part->number);
    lkv_format_u32(out + 4, part->size);
    lkv_format_u32(out + 8, part->index);
    lkv_format_u32(out + 12, part->blocks);
    lkv_format_u32(out + 16, part->top);
    lkv_format_u32(out + 20, 0);
    lkv_format_u64(out + 24, part->keys);
    lkv_format_u64(out + 32, part->bytes);
    lkv_format_u64(out + 40, part->digest);
    return out + LKV_ROOT_PART;
}

static uint8_t *put_run(uint8_t *out, const lkv_run *run)
{
    lkv_format_u32(out, run->number);
    lkv_format_u32(out + 4, run->blocks);
    lkv_format_u32(out + 8, run->top);
    lkv_format_u32(out + 12, 0);
    lkv_format_u64(out + 16, run->from);
    lkv_format_u64(out + 24, run->to);
    lkv_format_u64(out + 32, run->entries);
    lkv_format_u64(out + 40, run->live_bytes);
    return out + LKV_ROOT_RUN;
}

static void put_root_header(uint8_t *out, const lkv_root *root)
{
    memset(out, 0, LKV_ROOT_HEADER);
    memcpy(out, root_magic, sizeof(root_magic));
    memcpy(out + 8, root->store_id, LKV_ID_SIZE);
    lkv_format_u64(out + 24, root->generation);
    lkv_format_u32(out + 32, root->block);
    lkv_format_u32(out + 36, root->segments);
    lkv_format_u32(out + 40, (uint32_t)root->meta.size);
    lkv_format_u32(out + 44, root->parts);
    lkv_format_u32(out + 48, root->runs);
    lkv_format_u32(out + 52, root->merges);
    lkv_format_u32(out + 56, root->gone);
    lkv_format_u32(out + 60, root->next_part);
    lkv_format_u32(out + 64, root->next_run);
    lkv_format_u32(out + 68, root->auto_compact);
    lkv_format_u64(out + 72, root->synced);
    lkv_format_u64(out + 80, root->pass.to);
    lkv_format_u32(out + 88, root->pass.next);
    lkv_format_u32(out + 92, root->pass.out);
    lkv_format_u32(out + 96, root->pass.open);
    lkv_format_u32(out + 100, root->sync);
    put_tail(out + 104, &root->tail);
}

void lkv_format_root(uint8_t *out, const lkv_root *root, const lkv_segment *segments,
                     const lkv_part *parts, const lkv_part *outs, const lkv_run *runs,
                     const lkv_run *merges, const lkv_gone *gone)
{
    size_t size = lkv_format_root_size(root);
    uint8_t *at = out + LKV_ROOT_HEADER;

    put_root_header(out, root);
    for (uint32_t i = 0; i < root->segments; i++, at += LKV_ROOT_SEGMENT) {
        lkv_format_u32(at, segments[i].number);
        lkv_format_u32(at + 4, segments[i].size);
        lkv_format_u64(at + 8, segments[i].base);
    }
    for (uint32_t i = 0; i < root->parts; i++) {
        at = put_part(at, &parts[i]);
    }
    for (uint32_t i = 0; i < root->pass.out; i++) {
        at = put_part(at, &outs[i]);
    }
    for (uint32_t i = 0; i < root->runs; i++) {
        at = put_run(at, &runs[i]);
    }
    for (uint32_t i = 0; i < root->merges; i++) {
        at = put_run(at, &merges[i]);
    }
    for (uint32_t i = 0; i < root->gone; i++, at += LKV_ROOT_GONE) {
        lkv_format_u32(at, gone[i].number);
        lkv_format_u32(at + 4, gone[i].blocks);
    }
    copy(at, root->meta);
    lkv_format_u32(out + size - 4, lkv_crc32(0, out, size - 4));
}

static void get_root_header(const uint8_t *at, lkv_root *root)
{
    memcpy(root->store_id, at + 8, LKV_ID_SIZE);
    root->generation = lkv_format_get_u64(at + 24);
    root->block = lkv_format_get_u32(at + 32);
    root->segments = lkv_format_get_u32(at + 36);
    root->meta.size = lkv_format_get_u32(at + 40);
    root->parts = lkv_format_get_u32(at + 44);
    root->runs = lkv_format_get_u32(at + 48);
    root->merges = lkv_format_get_u32(at + 52);
    root->gone = lkv_format_get_u32(at + 56);
    root->next_part = lkv_format_get_u32(at + 60);
    root->next_run = lkv_format_get_u32(at + 64);
    root->auto_compact = lkv_format_get_u32(at + 68);
    root->synced = lkv_format_get_u64(at + 72);
    root->pass.to = lkv_format_get_u64(at + 80);
    root->pass.next = lkv_format_get_u32(at + 88);
    root->pass.out = lkv_format_get_u32(at + 92);
    root->pass.open = lkv_format_get_u32(at + 96);
    root->sync = lkv_format_get_u32(at + 100);
    get_tail(at + 104, &root->tail);
}

/* The words of parts and runs that are to be zero, and what the tail's hash has not got
 * of its last stripe. F1 */
static int reserved_are_zero(const uint8_t *at, const lists *where)
{
    uint64_t hashed = lkv_format_get_u64(at + 168) % 32;
    uint32_t bits = 0;
    for (uint64_t i = 176 + hashed; i < LKV_ROOT_HEADER; i++) {
        bits |= at[i];
    }
    for (uint64_t i = where->parts; i < where->runs; i += LKV_ROOT_PART) {
        bits |= lkv_format_get_u32(at + i + 20);
    }
    for (uint64_t i = where->runs; i < where->gone; i += LKV_ROOT_RUN) {
        bits |= lkv_format_get_u32(at + i + 12);
    }
    return bits == 0;
}

int lkv_format_parse_root(lkv_bytes bytes, lkv_root *root, const char **why)
{
    const uint8_t *at = bytes.data;
    lists where;

    if (bytes.size < LKV_ROOT_HEADER + 4 ||
        memcmp(at, root_magic, sizeof(root_magic)) != 0) {
        *why = "not a root of this format";
        return LKV_CORRUPT;
    }
    if (lkv_format_get_u32(at + bytes.size - 4) != lkv_crc32(0, at, bytes.size - 4)) {
        *why = "checksum mismatch";
        return LKV_CORRUPT;
    }
    get_root_header(at, root);
    where = lists_of(root);
    if (root->segments == 0 || root->block == 0 || root->meta.size > LKV_META_MAX ||
        where.size != bytes.size || root->sync > 3 || !reserved_are_zero(at, &where)) {
        *why = "lengths do not fit together";
        return LKV_CORRUPT;
    }
    root->meta.data = at + (size_t)where.meta;
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

void lkv_format_root_part(lkv_bytes bytes, const lkv_root *root, uint32_t i,
                          lkv_part *part)
{
    const uint8_t *at = (const uint8_t *)bytes.data + (size_t)lists_of(root).parts +
                        (size_t)i * LKV_ROOT_PART;
    part->number = lkv_format_get_u32(at);
    part->size = lkv_format_get_u32(at + 4);
    part->index = lkv_format_get_u32(at + 8);
    part->blocks = lkv_format_get_u32(at + 12);
    part->top = lkv_format_get_u32(at + 16);
    part->keys = lkv_format_get_u64(at + 24);
    part->bytes = lkv_format_get_u64(at + 32);
    part->digest = lkv_format_get_u64(at + 40);
}

void lkv_format_root_run(lkv_bytes bytes, const lkv_root *root, uint32_t i,
                         lkv_run *run)
{
    const uint8_t *at = (const uint8_t *)bytes.data + (size_t)lists_of(root).runs +
                        (size_t)i * LKV_ROOT_RUN;
    run->number = lkv_format_get_u32(at);
    run->blocks = lkv_format_get_u32(at + 4);
    run->top = lkv_format_get_u32(at + 8);
    run->from = lkv_format_get_u64(at + 16);
    run->to = lkv_format_get_u64(at + 24);
    run->entries = lkv_format_get_u64(at + 32);
    run->live_bytes = lkv_format_get_u64(at + 40);
}

void lkv_format_root_gone(lkv_bytes bytes, const lkv_root *root, uint32_t i,
                          lkv_gone *gone)
{
    const uint8_t *at = (const uint8_t *)bytes.data + (size_t)lists_of(root).gone +
                        (size_t)i * LKV_ROOT_GONE;
    gone->number = lkv_format_get_u32(at);
    gone->blocks = lkv_format_get_u32(at + 4);
}
