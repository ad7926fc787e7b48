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
#include "storage.h"

#include <string.h>

#define LKV_ID_SIZE 16u
#define LKV_RECORD_HEADER 13u
#define LKV_SEGMENT_HEADER 64u
#define LKV_COMMIT_SIZE (LKV_RECORD_HEADER + 56u)
#define LKV_SEAL_SIZE (LKV_RECORD_HEADER + 40u)
#define LKV_MOVED_SIZE 16u /* what the long form of a record adds */
#define LKV_ROOT_HEADER 208u
#define LKV_ROOT_SEGMENT 16u /* bytes of the root for each segment */
#define LKV_ROOT_PART 48u    /* for each part, and each that is being written */
#define LKV_ROOT_RUN 48u     /* for each run, and each that is being merged */
#define LKV_ROOT_GONE 8u     /* for each object that is to be removed */
#define LKV_META_MAX 65536u
#define LKV_BLOCK_MIN                                                                  \
    32u /* of a storage's block: the header of a block of a run fits */
#define LKV_BLOCK_MAX 65536u

/* No byte of a segment stands at or beyond this offset. */
#define LKV_SEGMENT_MAX 0x7fffffffu

/* Where a record stands: bit 63 set for a tombstone, 2 bits of tag, 30 bits of object
 * number, 31 bits of offset. All ones is no location: no record is so near the end of a
 * segment. */
typedef uint64_t lkv_loc;
#define LKV_NOWHERE UINT64_MAX
#define LKV_LOC_TOMBSTONE (1ull << 63)
#define LKV_SEGMENT_NUMBER_MAX (LKV_PART_FIRST - 1)

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
    return (uint32_t)(loc >> 31) & 0x3fffffffu;
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

/* What the index knows of a key's newest record. */
typedef struct lkv_place {
    lkv_loc loc;
    uint32_t size; /* bytes of the record, in its plain form */
} lkv_place;

enum lkv_kind { /* the low 3 bits of a record's type */
                LKV_KIND_PUT = 1,
                LKV_KIND_TOMBSTONE = 2,
                LKV_KIND_COMMIT = 3,
                LKV_KIND_SEAL = 5,
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
    uint64_t live_bytes; /* of their records, in the plain form */
    uint64_t chain;
} lkv_commit_record;

/* What ends a part. */
typedef struct lkv_seal_record {
    uint64_t revision, chain; /* of the last commit that the part takes in */
    uint64_t keys;            /* records */
    uint64_t bytes;           /* of them, in the plain form */
    uint64_t digest;          /* lkv_format_digest() over them, from 0 on */
} lkv_seal_record;

typedef struct lkv_segment_header {
    uint8_t store_id[LKV_ID_SIZE];
    uint32_t number;
    uint32_t kind; /* 0: of the log; 1: a part */
    uint64_t base; /* logical offset of the first byte after the header; of a part: up
                      to which it takes in the log */
    uint64_t chain_before;
    uint64_t revision_before;
} lkv_segment_header;

typedef struct lkv_segment { /* as the root lists it */
    uint32_t number;
    uint32_t size; /* bytes, header included; 0 for the open one, which is the last */
    uint64_t base;
} lkv_segment;

/* A segment in key order, which compaction wrote, as the root lists it. Its index is a
 * run with an entry for each chunk of it. */
typedef struct lkv_part {
    uint32_t number;
    uint32_t size; /* bytes so far; of a finished part: header and seal included */
    uint32_t index, blocks, top; /* as of a run */
    uint64_t keys;               /* records */
    uint64_t bytes;              /* of them, in the plain form */
    uint64_t digest;
    uint64_t prefix; /* in memory: of its first key (part.c), once it is known */
    int known;
    int checked; /* likewise: header and seal do not say that it is another */
} lkv_part;

/* A compaction under way: it takes in the log below `to`. */
typedef struct lkv_pass {
    uint64_t to;   /* logical offset where a segment begins; 0: there is none */
    uint32_t next; /* parts before this one are its work, or need none */
    uint32_t out;  /* parts written that do not stand among the parts yet */
    uint32_t open; /* 1: the last of them is not finished */
} lkv_pass;

/* A run of the index, as the root lists it. */
typedef struct lkv_run {
    uint32_t number;   /* of its object */
    uint32_t blocks;   /* of the storage that the object takes */
    uint32_t top;      /* block where a search begins */
    uint64_t from, to; /* the part of the log that it covers: logical offsets */
    uint64_t entries;
    uint64_t live_bytes; /* of the records that its puts name */
} lkv_run;

/* An object that no root needs any more. */
typedef struct lkv_gone {
    uint32_t number;
    uint32_t blocks; /* that are still there */
} lkv_gone;

/* Where the part of the log begins that no run covers, and what reading on from there
 * needs: it may lie inside a transaction. */
typedef struct lkv_tail {
    uint32_t segment, offset;
    uint64_t revision, chain; /* of the commit before */
    uint64_t covered;         /* bytes since that commit */
    lkv_hash hash;            /* over them */
} lkv_tail;

typedef struct lkv_root {
    uint8_t store_id[LKV_ID_SIZE];
    uint64_t generation;
    uint32_t block;
    uint32_t segments, parts, runs, merges, gone;
    uint32_t next_part, next_run; /* numbers not yet given out */
    uint32_t auto_compact;        /* dead share in thousandths, plus 1; 0: not set */
    uint32_t sync;                /* enum lkv_sync, plus 1; 0: not set */
    uint64_t synced; /* logical offset that a completed sync vouches for; 0 where every
                        commit is vouched for */
    lkv_tail tail;
    lkv_pass pass;
    lkv_bytes meta;
} lkv_root;

/* Written out, because compilers make one store of these but not of a loop. */
static inline void lkv_format_u32(uint8_t *out, uint32_t n)
{
    out[0] = (uint8_t)n;
    out[1] = (uint8_t)(n >> 8);
    out[2] = (uint8_t)(n >> 16);
    out[3] = (uint8_t)(n >> 24);
}
static inline void lkv_format_u64(uint8_t *out, uint64_t n)
{
    lkv_format_u32(out, (uint32_t)n);
    lkv_format_u32(out + 4, (uint32_t)(n >> 32));
}
static inline uint32_t lkv_format_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
           (uint32_t)at[3] << 24;
}
static inline uint64_t lkv_format_get_u64(const uint8_t *at)
{
    return lkv_format_get_u32(at) | (uint64_t)lkv_format_get_u32(at + 4) << 32;
}

/* The order of keys: as memcmp, and what begins another before it. */
static inline int lkv_compare(lkv_bytes a, lkv_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int rc = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return rc != 0 ? rc : (a.size > b.size) - (a.size < b.size);
}

/* Bytes that a plain record of such a key and value takes. */
static inline size_t lkv_format_size(lkv_bytes key, lkv_bytes value)
{
    return LKV_RECORD_HEADER + key.size + value.size;
}

/* Where the key stands in the bytes of a record. */
static inline const uint8_t *lkv_format_key(const uint8_t *record)
{
    return record + LKV_RECORD_HEADER;
}

/* The value in the bytes of a whole record in the long form. */
static inline lkv_bytes lkv_format_moved_value(lkv_bytes record, size_t key_size)
{
    size_t skip = LKV_RECORD_HEADER + key_size + LKV_MOVED_SIZE;
    return (lkv_bytes){(const uint8_t *)record.data + skip, record.size - skip};
}

/* Bytes of a record in its plain form. */
static inline uint32_t lkv_format_plain(const lkv_record *record)
{
    return (uint32_t)(record->size - (record->moved ? LKV_MOVED_SIZE : 0));
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

/* For who looks for records among damaged bytes, of which LKV_RECORD_HEADER are at
 * `at`: bytes that a record would take by its lengths; whether it would be of a type
 * that there is; whether by both it would be a commit. */
uint64_t lkv_format_claimed(const uint8_t *at);
int lkv_format_has_type(const uint8_t *at);
int lkv_format_looks_commit(const uint8_t *at);

/* Writes a seal record of LKV_SEAL_SIZE bytes, and reads the value of one. */
void lkv_format_seal(uint8_t *out, const lkv_seal_record *seal);
LKV_MUST_CHECK int lkv_format_parse_seal(const lkv_record *record,
                                         lkv_seal_record *seal);
/* Whether a part that a root lists, of the store of this id, may begin with such a
 * header, or end in such a seal. */
int lkv_format_heads_part(const lkv_segment_header *header, const lkv_part *part,
                          const uint8_t *store_id);
int lkv_format_seals_part(const lkv_seal_record *seal, const lkv_part *part);
/* The digest of a part's records, the next one, whose bytes are at `record`, added. */
uint64_t lkv_format_digest(uint64_t digest, const uint8_t *record);

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

/* Bytes of a root: the counts of `root`, and its description. */
size_t lkv_format_root_size(const lkv_root *root);

/* Writes a root; the lists follow the header in the order of the arguments. */
void lkv_format_root(uint8_t *out, const lkv_root *root, const lkv_segment *segments,
                     const lkv_part *parts, const lkv_part *outs, const lkv_run *runs,
                     const lkv_run *merges, const lkv_gone *gone);
/* Reads one: LKV_OK, or LKV_CORRUPT with `*why`. `root->meta` is a view into `bytes`;
 * the lists are then read one by one: what is being written follows what is there, a
 * merge counts as run `runs + i`, the pass's output as part `parts + i`. */
LKV_MUST_CHECK int lkv_format_parse_root(lkv_bytes bytes, lkv_root *root,
                                         const char **why);
void lkv_format_root_segment(lkv_bytes bytes, uint32_t i, lkv_segment *segment);
void lkv_format_root_part(lkv_bytes bytes, const lkv_root *root, uint32_t i,
                          lkv_part *part);
void lkv_format_root_run(lkv_bytes bytes, const lkv_root *root, uint32_t i,
                         lkv_run *run);
void lkv_format_root_gone(lkv_bytes bytes, const lkv_root *root, uint32_t i,
                          lkv_gone *gone);

#endif
