/*
 * block.h - one block of an index run: keys in order with what they lead to.
 *
 *     0  crc32     u32   over the object's number, the block's number there, u32 each,
 *                         and all that follows in the block
 *     4  kind      u8    1 leaf, 2 branch, 3 top
 *     5  zero      u8
 *     6  restarts  u16
 *     8  entries   u32
 *    12  blocks    u32   of the storage that this one takes: 1, more for long keys
 *    16  table     u32   where the restarts stand
 *    20  filter    u32   where the filter's lines begin, up to the end; 0: no filter
 *    24  before    u32   number of the block of this kind before it, plus 1; 0: none
 *    28  entries:  shared varint | rest varint | rest of the key | numbers
 *        table:    offsets of the entries that share nothing, u32 each
 *
 * An entry shares its first bytes with the key before it. A leaf's numbers are
 * segment << 3 | tombstone << 2 | tag, the offset there, and the record's size; a
 * branch's or top's the number of the block below. A varint has seven bits a byte, the
 * lowest first, the high bit set in all but the last.
 */
#ifndef LKV_BLOCK_H
#define LKV_BLOCK_H

#include "filter.h"

#define LKV_BLOCK_HEADER 28u
/* One entry in so many shares nothing, so that it can be jumped to; and so that keys
 * that are put together take no more than so many times the room of their block. */
#define LKV_BLOCK_RESTART 16u

enum lkv_block_kind {
    LKV_BLOCK_LEAF = 1,
    LKV_BLOCK_BRANCH = 2,
    LKV_BLOCK_TOP = 3,
};

typedef struct lkv_entry {
    size_t shared;   /* bytes of the key that are the previous key's */
    lkv_bytes rest;  /* of the key */
    lkv_place place; /* of a leaf's entry */
    uint32_t child;  /* of another's */
    int exact;       /* lkv_block_floor() was asked for its key */
} lkv_entry;

/*
 * Reading. Views into bytes whose checksum was verified; bytes that break the format
 * all the same are told by LKV_CORRUPT, never followed.
 */
typedef struct lkv_block {
    const uint8_t *bytes;
    size_t size;
    enum lkv_block_kind kind;
    uint32_t count, restarts, table, filter, before;
} lkv_block;

/* Storage blocks that the block at `at` takes; 0 when that is not said soundly. */
uint32_t lkv_block_span(const uint8_t *at, size_t have);
/* Where a block stands. It is part of its checksum: a block in the place of another, as
 * a write that went astray leaves it, is not believed. */
static inline uint64_t lkv_block_place(uint32_t object, uint32_t number)
{
    return (uint64_t)object << 32 | number;
}
/* Looks at a block's header, and with a `place` (0: none) at its checksum. LKV_OK, or
 * LKV_CORRUPT with `*why`. */
LKV_MUST_CHECK int lkv_block_open(lkv_block *block, lkv_bytes bytes, uint64_t place,
                                  const char **why);
/* Writes the checksum of the block of `size` bytes that is to stand at `place`. */
void lkv_block_seal(uint8_t *at, size_t size, uint64_t place);
/* A leaf's entry of `key`: LKV_OK, LKV_ABSENT, LKV_CORRUPT. */
LKV_MUST_CHECK int lkv_block_find(const lkv_block *block, lkv_bytes key,
                                  lkv_entry *entry);
/* The last entry whose key is <= `key`, its place or child: `entry->rest` is not all of
 * its key. LKV_OK, LKV_ABSENT, LKV_CORRUPT. */
LKV_MUST_CHECK int lkv_block_floor(const lkv_block *block, lkv_bytes key,
                                   lkv_entry *entry);
/* The child of a branch or top that `key` belongs to. LKV_OK, LKV_CORRUPT. */
LKV_MUST_CHECK int lkv_block_child(const lkv_block *block, lkv_bytes key,
                                   uint32_t *child);
/* Groups: the entries from one restart to the next. The last one whose first key is <=
 * `key`, or the first of all. LKV_OK, LKV_CORRUPT. */
LKV_MUST_CHECK int lkv_block_group(const lkv_block *block, lkv_bytes key,
                                   uint32_t *group);
/* Where the entries of a group begin and end, as the block says. */
void lkv_block_bounds(const lkv_block *block, uint32_t group, size_t *begin,
                      size_t *end);
/* Whether a branch's keys may include one of such a hash. */
int lkv_block_may_have(const lkv_block *block, uint64_t hash);
/* The entry at `*at` (LKV_BLOCK_HEADER for the first); `*at` moves to the next one.
 * LKV_OK, LKV_ABSENT at the end, LKV_CORRUPT. */
LKV_MUST_CHECK int lkv_block_next(const lkv_block *block, size_t *at, lkv_entry *entry);

/*
 * Building.
 */
typedef struct lkv_buffer {
    uint8_t *bytes;
    size_t size, room;
} lkv_buffer;

/* Makes room for `more` bytes; LKV_NOMEM. */
LKV_MUST_CHECK int lkv_buffer_reserve(lkv_buffer *buffer, const lkv_os *os,
                                      size_t more);

typedef struct lkv_builder {
    const lkv_os *os;
    lkv_buffer block;    /* header (not yet written) and entries */
    lkv_buffer restarts; /* u32 each */
    lkv_buffer last;     /* the last key */
    uint32_t count;
} lkv_builder;

void lkv_builder_init(lkv_builder *builder, const lkv_os *os);
void lkv_builder_free(lkv_builder *builder);
void lkv_builder_clear(lkv_builder *builder);
/* Bytes of the block with one more entry of such a key: an upper bound. */
size_t lkv_builder_size_with(const lkv_builder *builder, lkv_bytes key);
/* LKV_NOMEM. Keys come in ascending order. */
LKV_MUST_CHECK int lkv_builder_add_leaf(lkv_builder *builder, lkv_bytes key,
                                        lkv_place place);
LKV_MUST_CHECK int lkv_builder_add_child(lkv_builder *builder, lkv_bytes key,
                                         uint32_t child);
/* Makes it whole but for its checksum, in `builder->block`, as a multiple of `unit`
 * bytes; a filter over `hashes` when there are any. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_builder_finish(lkv_builder *builder, enum lkv_block_kind kind,
                                      uint32_t before, uint32_t unit,
                                      const uint64_t *hashes, size_t hash_count);

#endif
