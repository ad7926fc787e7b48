/*
 * format.h - the bytes of a record, a commit, a segment header and a root: FORMAT.md in
 * C.
 *
 * Encodes and decodes; no I/O, no allocation. All numbers are little-endian.
 */
#ifndef LKV_FORMAT_H
#define LKV_FORMAT_H

#include "checksum.h"
#include "litekv.h"

#define LKV_ID_SIZE 16u
#define LKV_RECORD_HEADER 13u
#define LKV_SEGMENT_HEADER 64u
#define LKV_COMMIT_SIZE (LKV_RECORD_HEADER + 48u)
#define LKV_ROOT_HEADER 48u
#define LKV_ROOT_SEGMENT 16u /* bytes of the root for each segment */
#define LKV_META_MAX 65536u
#define LKV_BLOCK_MIN 16u /* of a storage's block */
#define LKV_BLOCK_MAX 65536u

/* No byte of a segment stands at or beyond this offset. */
#define LKV_SEGMENT_MAX 0x7fffffffu

/* Where a record stands: bit 63 set for a tombstone, 2 bits of tag, 30 bits of segment
 * number, 31 bits of offset. All ones is no location: no record is so near the end of a
 * segment. */
typedef uint64_t lkv_loc;
#define LKV_NOWHERE UINT64_MAX
#define LKV_LOC_TOMBSTONE (1ull << 63)
#define LKV_SEGMENT_NUMBER_MAX 0x3fffffffu

static inline lkv_loc lkv_loc_make(unsigned tag, uint32_t segment, uint32_t offset)
{
    return (uint64_t)tag << 61 | (uint64_t)segment << 31 | offset;
}

static inline unsigned lkv_loc_tag(lkv_loc loc)
{
    return (unsigned)(loc >> 61) & 3u;
}

static inline uint32_t lkv_loc_segment(lkv_loc loc)
{
    return (uint32_t)(loc >> 31) & LKV_SEGMENT_NUMBER_MAX;
}

static inline uint32_t lkv_loc_offset(lkv_loc loc)
{
    return (uint32_t)loc & LKV_SEGMENT_MAX;
}

/* Whether `loc` says that a key is there: a place, and not a tombstone's. */
static inline int lkv_loc_live(lkv_loc loc)
{
    return (loc & LKV_LOC_TOMBSTONE) == 0;
}

enum lkv_kind { /* the low 3 bits of a record's type */
                LKV_KIND_PUT = 1,
                LKV_KIND_TOMBSTONE = 2,
                LKV_KIND_COMMIT = 3,
};

typedef struct lkv_record {
    enum lkv_kind kind;
    unsigned tag;
    int moved; /* the long form: revision and time_ms are the record's own */
    uint64_t revision;
    int64_t time_ms;
    lkv_bytes key;
    lkv_bytes value;
    size_t size; /* bytes of the record, header included */
} lkv_record;

typedef struct lkv_commit_record {
    uint64_t revision;
    int64_t time_ms;
    uint64_t covered;    /* bytes of records since the commit before */
    uint64_t synced_end; /* logical offset that a completed sync vouches for */
    uint64_t live_keys;
    uint64_t chain;
} lkv_commit_record;

typedef struct lkv_segment_header {
    uint8_t store_id[LKV_ID_SIZE];
    uint32_t number;
    uint64_t base; /* logical offset of the first byte after the header */
    uint64_t chain_before;
    uint64_t revision_before;
} lkv_segment_header;

typedef struct lkv_segment { /* as the root lists it */
    uint32_t number;
    uint32_t size; /* bytes, header included; 0 for the open one, which is the last */
    uint64_t base;
} lkv_segment;

typedef struct lkv_root {
    uint8_t store_id[LKV_ID_SIZE];
    uint64_t generation;
    uint32_t block;
    uint32_t segments;
    lkv_bytes meta;
} lkv_root;

void lkv_format_u32(uint8_t *out, uint32_t n);
void lkv_format_u64(uint8_t *out, uint64_t n);
uint32_t lkv_format_get_u32(const uint8_t *at);
uint64_t lkv_format_get_u64(const uint8_t *at);

/* Bytes that a plain record of such a key and value takes. */
static inline size_t lkv_format_size(lkv_bytes key, lkv_bytes value)
{
    return LKV_RECORD_HEADER + key.size + value.size;
}

/* Writes a plain record (not the long form) of lkv_format_size() bytes. */
void lkv_format_record(uint8_t *out, enum lkv_kind kind, unsigned tag, lkv_bytes key,
                       lkv_bytes value);

/* Writes the long form of a PUT, as compaction moves it: 16 bytes more. */
void lkv_format_moved(uint8_t *out, unsigned tag, lkv_bytes key, lkv_bytes value,
                      uint64_t revision, int64_t time_ms);

/* Looks at the `have` bytes at `at`. LKV_OK: `*record` is one whole record with a right
 * checksum, its views into `at`. LKV_ABSENT: `*need` bytes must be there to say more.
 * LKV_CORRUPT: `*why` says what is wrong. */
LKV_MUST_CHECK int lkv_format_parse(const uint8_t *at, size_t have, lkv_record *record,
                                    size_t *need, const char **why);

/* As lkv_format_parse() but does not compute the checksum: for bytes that were checked.
 */
LKV_MUST_CHECK int lkv_format_shape(const uint8_t *at, size_t have, lkv_record *record,
                                    size_t *need, const char **why);

/* Writes a commit record of LKV_COMMIT_SIZE bytes, and reads the value of one. */
void lkv_format_commit(uint8_t *out, const lkv_commit_record *commit);
LKV_MUST_CHECK int lkv_format_parse_commit(const lkv_record *record,
                                           lkv_commit_record *commit);

/* The chain checksum: start, then every byte covered by lkv_hash_add(), then end. */
void lkv_format_chain_start(lkv_hash *hash, const uint8_t *store_id, uint64_t chain,
                            uint64_t place);
uint64_t lkv_format_chain_end(const lkv_hash *hash, const lkv_commit_record *commit);

void lkv_format_segment(uint8_t *out, const lkv_segment_header *header);
LKV_MUST_CHECK int lkv_format_parse_segment(lkv_bytes bytes, lkv_segment_header *header,
                                            const char **why);

/* Bytes of a root with `segments` segments and `meta` bytes of description. */
static inline size_t lkv_format_root_size(size_t segments, size_t meta)
{
    return LKV_ROOT_HEADER + segments * LKV_ROOT_SEGMENT + meta + 4;
}

/* Writes a root; and reads one: LKV_OK, or LKV_CORRUPT with `*why`. `root->meta` is a
 * view into `bytes`; the segments are then read one by one. */
void lkv_format_root(uint8_t *out, const lkv_root *root, const lkv_segment *segments);
LKV_MUST_CHECK int lkv_format_parse_root(lkv_bytes bytes, lkv_root *root,
                                         const char **why);
void lkv_format_root_segment(lkv_bytes bytes, uint32_t i, lkv_segment *segment);

#endif
