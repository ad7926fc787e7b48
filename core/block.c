/*
 * block.c - see block.h, which tells the bytes.
 */
#include "block.h"

#include <string.h>

#define RESTARTS_ASKED 32u /* for at once; a block of a page has about 15 */

static size_t get_long_varint(const uint8_t *at, const uint8_t *end, uint64_t *out)
{
    uint64_t n = 0;
    for (unsigned i = 0; at + i < end && i < 9; i++) {
        n |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if ((at[i] & 0x80) == 0) {
            *out = n;
            return i + 1;
        }
    }
    return 0;
}

/* Bytes read, or 0 when no whole varint below 2^63 stands there. */
static inline size_t get_varint(const uint8_t *at, const uint8_t *end, uint64_t *out)
{
    if (at < end && *at < 0x80) {
        *out = *at;
        return 1;
    }
    return get_long_varint(at, end, out);
}

static uint8_t *put_varint(uint8_t *out, uint64_t n)
{
    while (n >= 0x80) {
        *out++ = (uint8_t)(n | 0x80);
        n >>= 7;
    }
    *out++ = (uint8_t)n;
    return out;
}

uint32_t lkv_block_span(const uint8_t *at, size_t have)
{
    return have < LKV_BLOCK_HEADER ? 0 : lkv_format_get_u32(at + 12);
}

static uint32_t checksum(const uint8_t *at, size_t size, uint64_t place)
{
    uint8_t where[8];
    lkv_format_u32(where, (uint32_t)(place >> 32));
    lkv_format_u32(where + 4, (uint32_t)place);
    return lkv_crc32(lkv_crc32(0, where, sizeof(where)), at + 4, size - 4);
}

void lkv_block_seal(uint8_t *at, size_t size, uint64_t place)
{
    lkv_format_u32(at, checksum(at, size, place));
}

int lkv_block_open(lkv_block *block, lkv_bytes bytes, uint64_t place, const char **why)
{
    const uint8_t *at = bytes.data;

    *why = "not a block of a run";
    if (bytes.size < LKV_BLOCK_HEADER || bytes.size > UINT32_MAX) {
        return LKV_CORRUPT;
    }
    if (place != 0 && lkv_format_get_u32(at) != checksum(at, bytes.size, place)) {
        *why = "checksum mismatch";
        return LKV_CORRUPT;
    }
    if (at[4] < LKV_BLOCK_LEAF || at[4] > LKV_BLOCK_TOP || at[5] != 0) {
        return LKV_CORRUPT;
    }
    block->bytes = at;
    block->size = bytes.size;
    block->kind = (enum lkv_block_kind)at[4];
    block->restarts = (uint32_t)at[6] | (uint32_t)at[7] << 8;
    block->count = lkv_format_get_u32(at + 8);
    block->table = lkv_format_get_u32(at + 16);
    block->filter = lkv_format_get_u32(at + 20);
    block->before = lkv_format_get_u32(at + 24);
    if (block->restarts == 0 || block->count == 0 || block->table <= LKV_BLOCK_HEADER ||
        block->table > block->size ||
        block->restarts * 4 > block->size - block->table ||
        (block->filter != 0 && (block->filter < block->table + block->restarts * 4 ||
                                block->filter > block->size ||
                                block->size - block->filter < LKV_FILTER_LINE))) {
        *why = "lengths in the block do not fit together";
        return LKV_CORRUPT;
    }
    return LKV_OK;
}

int lkv_block_may_have(const lkv_block *block, uint64_t hash)
{
    return block->filter == 0 ||
           lkv_filter_has(block->bytes + block->filter,
                          (uint32_t)((block->size - block->filter) / LKV_FILTER_LINE),
                          hash);
}

static int leaf_numbers(const uint8_t **at, const uint8_t *end, lkv_entry *entry)
{
    uint64_t place, offset, size;
    size_t a = get_varint(*at, end, &place);
    size_t b = a == 0 ? 0 : get_varint(*at + a, end, &offset);
    size_t c = b == 0 ? 0 : get_varint(*at + a + b, end, &size);
    if (c == 0 || place >> 3 >= LKV_RUN_FIRST || offset > LKV_SEGMENT_MAX ||
        size < LKV_RECORD_HEADER || size > LKV_SEGMENT_MAX) {
        return LKV_CORRUPT;
    }
    entry->place.size = (uint32_t)size;
    entry->place.loc =
        lkv_loc_make((unsigned)place & 3u, (uint32_t)(place >> 3), (uint32_t)offset) |
        ((place & 4) != 0 ? LKV_LOC_TOMBSTONE : 0);
    *at += a + b + c;
    return LKV_OK;
}

/* The lengths and the rest of the key at `*at`, which moves behind them. */
static inline int next_key(const lkv_block *block, const uint8_t **at, lkv_entry *entry)
{
    const uint8_t *end = block->bytes + block->table;
    uint64_t shared, rest;
    size_t a = get_varint(*at, end, &shared);
    size_t b = a == 0 ? 0 : get_varint(*at + a, end, &rest);

    if (b == 0 || rest > (size_t)(end - *at) - a - b || shared > block->size) {
        return LKV_CORRUPT;
    }
    entry->shared = (size_t)shared;
    entry->rest = (lkv_bytes){*at + a + b, (size_t)rest};
    *at += a + b + rest;
    return LKV_OK;
}

static inline int next_numbers(const lkv_block *block, const uint8_t **at,
                               lkv_entry *entry)
{
    const uint8_t *end = block->bytes + block->table;
    uint64_t child;
    size_t a;

    if (block->kind == LKV_BLOCK_LEAF) {
        return leaf_numbers(at, end, entry);
    }
    a = get_varint(*at, end, &child);
    if (a == 0 || child > UINT32_MAX) {
        return LKV_CORRUPT;
    }
    entry->child = (uint32_t)child;
    *at += a;
    return LKV_OK;
}

int lkv_block_next(const lkv_block *block, size_t *where, lkv_entry *entry)
{
    const uint8_t *at = block->bytes + *where;

    if (*where >= block->table) { /* as a restart may say that lies */
        return LKV_ABSENT;
    }
    if (next_key(block, &at, entry) != LKV_OK ||
        next_numbers(block, &at, entry) != LKV_OK) {
        return LKV_CORRUPT;
    }
    *where = (size_t)(at - block->bytes);
    return LKV_OK;
}

/* Passes over the numbers of a leaf's entry, which nobody wants to know: three bytes
 * without a high bit among those that follow, as a rule within eight. */
static inline int pass_numbers(const lkv_block *block, const uint8_t **at,
                               lkv_entry *entry)
{
    uint64_t ends;
    if (block->size - (size_t)(*at - block->bytes) >= 8) {
        ends = ~lkv_format_get_u64(*at) & 0x8080808080808080u;
        ends &= ends - 1;
        ends &= ends - 1;
        if (ends != 0) {
            *at += (unsigned)__builtin_ctzll(ends) / 8 + 1;
            return *at <= block->bytes + block->table ? LKV_OK : LKV_CORRUPT;
        }
    }
    return leaf_numbers(at, block->bytes + block->table, entry);
}

/* How `a` compares with `b`, and `*same` bytes that they share. */
static inline int compare_same(lkv_bytes a, lkv_bytes b, size_t *same)
{
    const uint8_t *x = a.data, *y = b.data;
    size_t size = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i + 8 <= size) {
        uint64_t differ = lkv_format_get_u64(x + i) ^ lkv_format_get_u64(y + i);
        if (differ != 0) {
            i += (unsigned)__builtin_ctzll(differ) / 8;
            *same = i;
            return x[i] < y[i] ? -1 : 1;
        }
        i += 8;
    }
    while (i < size && x[i] == y[i]) {
        i++;
    }
    *same = i;
    if (i < size) {
        return x[i] < y[i] ? -1 : 1;
    }
    return (a.size > b.size) - (a.size < b.size);
}

static lkv_bytes after(lkv_bytes key, size_t size)
{
    return (lkv_bytes){(const uint8_t *)key.data + size, key.size - size};
}

/* The key of restart `i`; `*at` moves behind it. */
static inline int restart_key(const lkv_block *block, uint32_t i, const uint8_t **at,
                              lkv_entry *entry)
{
    uint32_t where = lkv_format_get_u32(block->bytes + block->table + (size_t)i * 4);
    if (where < LKV_BLOCK_HEADER || where >= block->table) {
        return LKV_CORRUPT;
    }
    *at = block->bytes + where;
    return next_key(block, at, entry) == LKV_OK && entry->shared == 0 ? LKV_OK
                                                                      : LKV_CORRUPT;
}

/* A search jumps from one restart to the next, each a wait for memory where the block
 * was not used of late: all are asked for before. */
static void ask_for_restarts(const lkv_block *block)
{
    if (block->restarts > 2 && block->restarts <= RESTARTS_ASKED) {
        for (uint32_t i = 1; i < block->restarts; i++) {
            uint32_t at =
                lkv_format_get_u32(block->bytes + block->table + (size_t)i * 4);
            __builtin_prefetch(block->bytes + (at < block->table ? at : 0));
        }
    }
}

int lkv_block_group(const lkv_block *block, lkv_bytes key, uint32_t *group)
{
    uint32_t low = 0, high = block->restarts;
    ask_for_restarts(block);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *at;
        lkv_entry entry;
        size_t same;
        if (restart_key(block, middle, &at, &entry) != LKV_OK) {
            return LKV_CORRUPT;
        }
        if (compare_same(entry.rest, key, &same) <= 0) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *group = low;
    return LKV_OK;
}

void lkv_block_bounds(const lkv_block *block, uint32_t group, size_t *begin,
                      size_t *end)
{
    const uint8_t *at = block->bytes + block->table + (size_t)group * 4;
    *begin = lkv_format_get_u32(at);
    *end = group + 1 < block->restarts ? lkv_format_get_u32(at + 4) : block->table;
}

/* The last restart whose key is <= `key`, or the first one. `*at` is behind its key,
 * `*order` how that compares, `*same` what they share. */
static int find_restart(const lkv_block *block, lkv_bytes key, const uint8_t **at,
                        lkv_entry *entry, int *order, size_t *same)
{
    uint32_t group;
    if (lkv_block_group(block, key, &group) != LKV_OK ||
        restart_key(block, group, at, entry) != LKV_OK) {
        return LKV_CORRUPT;
    }
    *order = compare_same(entry->rest, key, same);
    return LKV_OK;
}

/* Both searches go on from an entry that is below `key`, of which it shares `same`
 * bytes, without putting keys together: an entry that shares more with the one before
 * it is below `key` as that was, one that shares less is above. */
int lkv_block_find(const lkv_block *block, lkv_bytes key, lkv_entry *entry)
{
    const uint8_t *at, *end = block->bytes + block->table;
    size_t same, more;
    int order;
    int rc = find_restart(block, key, &at, entry, &order, &same);

    while (rc == LKV_OK && order < 0) {
        if (pass_numbers(block, &at, entry) != LKV_OK) {
            return LKV_CORRUPT;
        }
        if (at >= end) {
            return LKV_ABSENT;
        }
        rc = next_key(block, &at, entry);
        if (rc == LKV_OK && entry->shared < same) {
            return LKV_ABSENT;
        }
        if (rc == LKV_OK && entry->shared == same) {
            order = compare_same(entry->rest, after(key, same), &more);
            same += more;
        }
    }
    if (rc != LKV_OK || order != 0) {
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    return next_numbers(block, &at, entry);
}

int lkv_block_floor(const lkv_block *block, lkv_bytes key, lkv_entry *entry)
{
    const uint8_t *at, *end = block->bytes + block->table;
    size_t same, more;
    int order;
    int rc = find_restart(block, key, &at, entry, &order, &same);

    if (rc != LKV_OK || order > 0) {
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    for (;;) {
        /* One at a time: the last one that is not above is the answer. */
        const uint8_t *numbers = at;
        lkv_entry next;
        rc = block->kind == LKV_BLOCK_LEAF ? pass_numbers(block, &at, entry)
                                           : next_numbers(block, &at, entry);
        if (rc != LKV_OK) {
            return rc;
        }
        if (order == 0 || at >= end) {
            entry->exact = order == 0;
            return next_numbers(block, &numbers, entry);
        }
        if (next_key(block, &at, &next) != LKV_OK) {
            return LKV_CORRUPT;
        }
        entry->exact = 0;
        if (next.shared < same) {
            return next_numbers(block, &numbers, entry);
        }
        if (next.shared == same) {
            order = compare_same(next.rest, after(key, same), &more);
            if (order > 0) {
                return next_numbers(block, &numbers, entry);
            }
            same += more;
        }
        *entry = next;
    }
}

int lkv_block_child(const lkv_block *block, lkv_bytes key, uint32_t *child)
{
    lkv_entry entry = {0};
    int rc = lkv_block_floor(block, key, &entry);
    if (rc == LKV_ABSENT) { /* below all: the first child's */
        size_t at = LKV_BLOCK_HEADER;
        rc = lkv_block_next(block, &at, &entry) == LKV_OK ? LKV_OK : LKV_CORRUPT;
    }
    if (rc == LKV_OK) {
        *child = entry.child;
    }
    return rc;
}

/* Building */

int lkv_buffer_reserve(lkv_buffer *buffer, const lkv_os *os, size_t more)
{
    size_t want = buffer->size + more;
    size_t room = buffer->room == 0 ? 256 : buffer->room;
    uint8_t *moved;
    if (want < more) {
        return LKV_NOMEM;
    }
    if (want <= buffer->room) {
        return LKV_OK;
    }
    while (room < want) {
        room = room > SIZE_MAX / 2 ? want : room * 2;
    }
    moved = lkv_os_resize(os, buffer->bytes, room);
    if (moved == NULL) {
        return LKV_NOMEM;
    }
    buffer->bytes = moved;
    buffer->room = room;
    return LKV_OK;
}

void lkv_builder_clear(lkv_builder *builder)
{
    builder->block.size = LKV_BLOCK_HEADER;
    builder->restarts.size = 0;
    builder->last.size = 0;
    builder->count = 0;
}

void lkv_builder_init(lkv_builder *builder, const lkv_os *os)
{
    memset(builder, 0, sizeof(*builder));
    builder->os = os;
    lkv_builder_clear(builder);
}

void lkv_builder_free(lkv_builder *builder)
{
    lkv_os_free(builder->os, builder->block.bytes);
    lkv_os_free(builder->os, builder->restarts.bytes);
    lkv_os_free(builder->os, builder->last.bytes);
    lkv_builder_init(builder, builder->os);
}

#define ENTRY_MOST 40u /* two varints of lengths and three numbers, and a restart */

size_t lkv_builder_size_with(const lkv_builder *builder, lkv_bytes key)
{
    size_t same = 0;
    if (builder->count % LKV_BLOCK_RESTART != 0) {
        (void)compare_same((lkv_bytes){builder->last.bytes, builder->last.size}, key,
                           &same);
    }
    /* The lengths and numbers of a short key at a usual place take about ten bytes. */
    return builder->block.size + builder->restarts.size + ENTRY_MOST + key.size - same;
}

static int start_entry(lkv_builder *builder, lkv_bytes key, uint8_t **out)
{
    size_t same = 0;
    uint8_t *at;
    if (lkv_buffer_reserve(&builder->block, builder->os, ENTRY_MOST + key.size) !=
            LKV_OK ||
        lkv_buffer_reserve(&builder->restarts, builder->os, 4) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (key.size > builder->last.room &&
        lkv_buffer_reserve(&builder->last, builder->os,
                           key.size - builder->last.size) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (builder->count % LKV_BLOCK_RESTART == 0) {
        lkv_format_u32(builder->restarts.bytes + builder->restarts.size,
                       (uint32_t)builder->block.size);
        builder->restarts.size += 4;
    } else {
        (void)compare_same((lkv_bytes){builder->last.bytes, builder->last.size}, key,
                           &same);
    }
    at = put_varint(builder->block.bytes + builder->block.size, same);
    at = put_varint(at, key.size - same);
    if (key.size > same) {
        memcpy(at, (const uint8_t *)key.data + same, key.size - same);
        memcpy(builder->last.bytes + same, (const uint8_t *)key.data + same,
               key.size - same);
    }
    builder->last.size = key.size;
    builder->count++;
    *out = at + (key.size - same);
    return LKV_OK;
}

int lkv_builder_add_leaf(lkv_builder *builder, lkv_bytes key, lkv_place place)
{
    uint8_t *at;
    uint64_t first = (uint64_t)lkv_loc_segment(place.loc) << 3 | lkv_loc_tag(place.loc);
    if (!lkv_loc_live(place.loc)) {
        first |= 4;
    }
    if (start_entry(builder, key, &at) != LKV_OK) {
        return LKV_NOMEM;
    }
    at = put_varint(at, first);
    at = put_varint(at, lkv_loc_offset(place.loc));
    at = put_varint(at, place.size);
    builder->block.size = (size_t)(at - builder->block.bytes);
    return LKV_OK;
}

int lkv_builder_add_child(lkv_builder *builder, lkv_bytes key, uint32_t child)
{
    uint8_t *at;
    if (start_entry(builder, key, &at) != LKV_OK) {
        return LKV_NOMEM;
    }
    at = put_varint(at, child);
    builder->block.size = (size_t)(at - builder->block.bytes);
    return LKV_OK;
}

int lkv_builder_finish(lkv_builder *builder, enum lkv_block_kind kind, uint32_t before,
                       uint32_t unit, const uint64_t *hashes, size_t hash_count)
{
    size_t used = builder->block.size + builder->restarts.size;
    size_t table = builder->block.size, filter = 0, size;
    uint32_t lines = 0;
    uint8_t *at;

    size = (used + unit - 1) / unit * unit;
    if (hash_count > 0) {
        /* What the last storage block has room for, when that is about enough. */
        uint32_t wanted = lkv_filter_lines(hash_count);
        lines = (uint32_t)((size - used) / LKV_FILTER_LINE);
        if (lines < wanted - wanted / 4) {
            lines = wanted;
            size = (used + (size_t)lines * LKV_FILTER_LINE + unit - 1) / unit * unit;
        }
        lines = lines > wanted ? wanted : lines;
        filter = size - (size_t)lines * LKV_FILTER_LINE;
    }
    if (lkv_buffer_reserve(&builder->block, builder->os, size - table) != LKV_OK) {
        return LKV_NOMEM;
    }
    at = builder->block.bytes;
    memcpy(at + table, builder->restarts.bytes, builder->restarts.size);
    memset(at + used, 0, size - used);
    for (size_t i = 0; i < hash_count; i++) {
        lkv_filter_add(at + filter, lines, hashes[i]);
    }
    memset(at, 0, LKV_BLOCK_HEADER);
    at[4] = (uint8_t)kind;
    at[6] = (uint8_t)(builder->restarts.size / 4);
    at[7] = (uint8_t)(builder->restarts.size / 4 >> 8);
    lkv_format_u32(at + 8, builder->count);
    lkv_format_u32(at + 12, (uint32_t)(size / unit));
    lkv_format_u32(at + 16, (uint32_t)table);
    lkv_format_u32(at + 20, (uint32_t)filter);
    lkv_format_u32(at + 24, before);
    builder->block.size = size;
    return LKV_OK;
}
