/*
 * test_block.c - blocks of runs: what goes in comes out, and bytes that nobody wrote
 * lead nowhere.
 */
#include "block.h"
#include "check.h"
#include "keys.h"
#include "os_fault.h"

#include <stdlib.h>
#include <string.h>

#define MOST 400u

static const uint32_t units[] = {32, 64, 100, 473, 4056, 65496};

/* A block in memory of exactly its size: sanitizers see a read beyond. */
static lkv_bytes copy_of(const lkv_builder *builder)
{
    uint8_t *copy = malloc(builder->block.size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, builder->block.bytes, builder->block.size);
    return (lkv_bytes){copy, builder->block.size};
}

static lkv_bytes build(const keys *all, enum lkv_block_kind kind, uint32_t unit,
                       size_t hash_count)
{
    uint64_t hashes[MOST];
    lkv_builder builder;
    lkv_bytes made;
    os_fault os;

    os_fault_init(&os);
    lkv_builder_init(&builder, &os.os);
    for (size_t i = 0; i < all->count; i++) {
        size_t most = lkv_builder_size_with(&builder, all->key[i]);
        hashes[i] = lkv_filter_hash(all->key[i]);
        CHECK_INT(kind == LKV_BLOCK_LEAF
                      ? lkv_builder_add_leaf(&builder, all->key[i], all->place[i])
                      : lkv_builder_add_child(&builder, all->key[i], (uint32_t)i * 77),
                  LKV_OK);
        CHECK(builder.block.size + builder.restarts.size <= most);
    }
    CHECK_INT(lkv_builder_finish(&builder, kind, 12345, unit, hashes, hash_count),
              LKV_OK);
    lkv_block_seal(builder.block.bytes, builder.block.size, 1);
    CHECK_SIZE(builder.block.size % unit, 0);
    made = copy_of(&builder);
    lkv_builder_free(&builder);
    CHECK_SIZE(os.live, 0);
    return made;
}

static void open_it(lkv_block *block, lkv_bytes bytes, enum lkv_block_kind kind,
                    const keys *all)
{
    const char *why = "";
    memset(block, 0, sizeof(*block));
    CHECK_INT(lkv_block_open(block, bytes, 1, &why), LKV_OK);
    CHECK_INT(block->kind, kind);
    CHECK_SIZE(block->count, all->count);
    CHECK_SIZE(block->restarts, (all->count + 15) / 16);
    CHECK_INT(block->before, 12345);
}

/* Every entry in order: its key is put together of what is shared and the rest. */
static void check_walk(const lkv_block *block, const keys *all)
{
    static uint8_t key[4096];
    size_t at = LKV_BLOCK_HEADER, i = 0;
    lkv_entry entry;
    int rc;

    while ((rc = lkv_block_next(block, &at, &entry)) == LKV_OK && i < all->count) {
        if (entry.rest.size > 0) {
            memcpy(key + entry.shared, entry.rest.data, entry.rest.size);
        }
        CHECK_BYTES(key, entry.shared + entry.rest.size, all->key[i].data,
                    all->key[i].size);
        CHECK(i % 16 != 0 || entry.shared == 0);
        if (block->kind == LKV_BLOCK_LEAF) {
            CHECK_SIZE(entry.place.loc, all->place[i].loc);
            CHECK_INT(entry.place.size, all->place[i].size);
        } else {
            CHECK_INT(entry.child, i * 77);
        }
        i++;
    }
    CHECK_INT(rc, LKV_ABSENT);
    CHECK_SIZE(i, all->count);
    CHECK_INT(lkv_block_next(block, &at, &entry), LKV_ABSENT);
}

static void check_look(const lkv_block *block, const keys *all, lkv_bytes key)
{
    lkv_entry entry;
    uint32_t child = 0;
    int equal;
    size_t below = keys_rank(all, key, &equal);

    if (block->kind == LKV_BLOCK_LEAF) {
        CHECK_INT(lkv_block_find(block, key, &entry), equal ? LKV_OK : LKV_ABSENT);
        if (equal) {
            CHECK_SIZE(entry.place.loc, all->place[below - 1].loc);
            CHECK_INT(entry.place.size, all->place[below - 1].size);
        }
        CHECK_INT(lkv_block_floor(block, key, &entry), below > 0 ? LKV_OK : LKV_ABSENT);
        if (below > 0) {
            CHECK_SIZE(entry.place.loc, all->place[below - 1].loc);
            CHECK_INT(entry.exact, equal);
        }
    } else {
        CHECK_INT(lkv_block_child(block, key, &child), LKV_OK);
        CHECK_INT(child, below == 0 ? 0 : (below - 1) * 77);
    }
}

static void check_looks(const lkv_block *block, const keys *all)
{
    check_look(block, all, (lkv_bytes){NULL, 0});
    check_look(block, all, (lkv_bytes){"\xff\xff", 2});
    for (size_t i = 0; i < all->count && check_failures() == 0; i++) {
        check_look(block, all, all->key[i]);
        for (int how = 0; how < KEYS_NEAR; how++) {
            check_look(block, all, keys_near(all->key[i], how));
        }
    }
}

static void round_trip(void)
{
    uint64_t random = check_seed();
    for (int shape = 0; shape < KEYS_SHAPES; shape++) {
        /* From one restart to several, each length of the last one. */
        for (size_t count = 1; count < 70 && check_failures() == 0; count++) {
            keys all;
            keys_make(&all, (enum keys_shape)shape, count, &random);
            for (int kind = LKV_BLOCK_LEAF; kind <= LKV_BLOCK_TOP; kind++) {
                uint32_t unit = units[(count + (size_t)kind) % CASES(units)];
                lkv_bytes bytes = build(&all, (enum lkv_block_kind)kind, unit, 0);
                lkv_block block;
                open_it(&block, bytes, (enum lkv_block_kind)kind, &all);
                CHECK_INT(lkv_block_span(bytes.data, bytes.size), bytes.size / unit);
                CHECK_INT(lkv_block_span(bytes.data, LKV_BLOCK_HEADER),
                          bytes.size / unit);
                CHECK_INT(lkv_block_span(bytes.data, LKV_BLOCK_HEADER - 1), 0);
                check_walk(&block, &all);
                check_looks(&block, &all);
                free((void *)(uintptr_t)bytes.data);
            }
            keys_free(&all);
        }
    }
}

/* A filter has every hash that it was given, takes no more room than it needs, and
 * where there is none everything may be. */
static void filters(void)
{
    uint64_t random = check_seed();
    for (size_t k = 0; k < CASES(units); k++) {
        for (size_t count = 1; count <= MOST; count += 1 + count / 2) {
            unsigned passed = 0;
            lkv_block block;
            lkv_bytes bytes;
            keys all;
            keys_make(&all, KEYS_NUMBERS, count, &random);
            bytes = build(&all, LKV_BLOCK_BRANCH, units[k], all.count);
            open_it(&block, bytes, LKV_BLOCK_BRANCH, &all);
            CHECK((block.size - block.filter) % LKV_FILTER_LINE == 0);
            CHECK(block.size - block.filter <=
                  lkv_filter_lines(all.count) * LKV_FILTER_LINE);
            check_looks(&block, &all);
            for (size_t i = 0; i < all.count; i++) {
                CHECK(lkv_block_may_have(&block, lkv_filter_hash(all.key[i])));
            }
            for (uint32_t i = 0; i < 2000; i++) {
                uint8_t other[5] = {0};
                lkv_format_u32(other, i);
                passed += lkv_block_may_have(&block, lkv_filter_hash((lkv_bytes){
                                                         other, sizeof(other)})) != 0;
            }
            CHECK(passed < 2000 / 15); /* with a quarter less room, and by chance */
            free((void *)(uintptr_t)bytes.data);
            bytes = build(&all, LKV_BLOCK_BRANCH, units[k], 0);
            open_it(&block, bytes, LKV_BLOCK_BRANCH, &all);
            CHECK(lkv_block_may_have(&block, 0) && lkv_block_may_have(&block, 12345));
            free((void *)(uintptr_t)bytes.data);
            keys_free(&all);
        }
    }
}

/* The bytes of block.h as another program wrote them. */
static void golden_bytes(void)
{
    static const uint8_t want[64] = {
        0x4a, 0xfe, 0x22, 0xaf, 0x01, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01,
        0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x07, 0x00,
        0x00, 0x00, 0x00, 0x03, 0x61, 0x62, 0x63, 0x0a, 0xac, 0x02, 0xc8, 0x01, 0x02,
        0x01, 0x64, 0x2c, 0x40, 0x10, 0x1c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    lkv_builder builder;
    lkv_place place = {lkv_loc_make(2, 1, 300), 200};
    os_fault os;

    os_fault_init(&os);
    lkv_builder_init(&builder, &os.os);
    CHECK_INT(lkv_builder_add_leaf(&builder, (lkv_bytes){"abc", 3}, place), LKV_OK);
    place = (lkv_place){lkv_loc_make(0, 5, 64) | LKV_LOC_TOMBSTONE, 16};
    CHECK_INT(lkv_builder_add_leaf(&builder, (lkv_bytes){"abd", 3}, place), LKV_OK);
    CHECK_INT(lkv_builder_finish(&builder, LKV_BLOCK_LEAF, 7, 64, NULL, 0), LKV_OK);
    lkv_block_seal(builder.block.bytes, builder.block.size,
                   lkv_block_place(0x20000001, 5));
    CHECK_BYTES(builder.block.bytes, builder.block.size, want, sizeof(want));
    lkv_builder_free(&builder);
}

/* Everything that reads a block, on one that nobody may have written: it ends, and
 * touches nothing beyond. */
static void use(lkv_bytes bytes, const keys *all)
{
    size_t at = LKV_BLOCK_HEADER, steps = 0;
    const char *why = "";
    uint32_t child;
    lkv_entry entry;
    lkv_block block;
    int rc;

    if (lkv_block_open(&block, bytes, 0, &why) != LKV_OK) {
        CHECK(why[0] != '\0');
        return;
    }
    while ((rc = lkv_block_next(&block, &at, &entry)) == LKV_OK) {
        const uint8_t *rest = entry.rest.data;
        CHECK(entry.rest.size == 0 ||
              (rest >= block.bytes &&
               rest + entry.rest.size <= block.bytes + block.size));
        CHECK(block.kind != LKV_BLOCK_LEAF ||
              (entry.place.size >= LKV_RECORD_HEADER &&
               lkv_loc_segment(entry.place.loc) < LKV_RUN_FIRST));
        if (!CHECK(++steps <= bytes.size)) {
            break;
        }
    }
    CHECK(rc != LKV_NOMEM);
    for (size_t i = 0; i < all->count; i += 5) {
        (void)(lkv_block_find(&block, all->key[i], &entry) == 0);
        (void)(lkv_block_floor(&block, all->key[i], &entry) == 0);
        (void)(lkv_block_child(&block, all->key[i], &child) == 0);
        (void)(lkv_block_may_have(&block, lkv_filter_hash(all->key[i])) == 0);
    }
    (void)(lkv_block_find(&block, (lkv_bytes){NULL, 0}, &entry) == 0);
    (void)(lkv_block_child(&block, (lkv_bytes){NULL, 0}, &child) == 0);
    (void)(lkv_block_may_have(&block, UINT64_MAX) == 0);
}

static void every_byte(void)
{
    static const uint8_t flips[] = {1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x7f};
    uint64_t random = check_seed();
    for (int kind = LKV_BLOCK_LEAF; kind <= LKV_BLOCK_TOP; kind++) {
        keys all;
        lkv_bytes bytes;
        uint8_t *at;
        keys_make(&all, KEYS_ALIKE, 60, &random);
        bytes = build(&all, (enum lkv_block_kind)kind, 473,
                      kind == LKV_BLOCK_BRANCH ? all.count : 0);
        at = (uint8_t *)(uintptr_t)bytes.data;
        for (size_t i = 0; i < bytes.size && check_failures() == 0; i++) {
            for (size_t k = 0; k < CASES(flips); k++) {
                const char *why = "";
                lkv_block block;
                at[i] ^= flips[k];
                CHECK_INT(lkv_block_open(&block, bytes, 1, &why), LKV_CORRUPT);
                CHECK_TEXT(why, "checksum mismatch");
                use(bytes, &all);
                at[i] ^= flips[k];
            }
        }
        free(at);
        keys_free(&all);
    }
}

/* Words of the header that do not fit together. */
static void hostile_headers(void)
{
    uint64_t random = check_seed();
    lkv_bytes bytes;
    uint8_t *at;
    keys all;

    keys_make(&all, KEYS_ALIKE, 60, &random);
    bytes = build(&all, LKV_BLOCK_BRANCH, 473, all.count);
    at = (uint8_t *)(uintptr_t)bytes.data;
    for (size_t field = 4; field < LKV_BLOCK_HEADER; field += 2) {
        uint32_t size = (uint32_t)bytes.size;
        const uint32_t values[] = {0,          1,         2,          27,
                                   28,         29,        size - 65,  size - 64,
                                   size - 63,  size - 5,  size - 4,   size - 1,
                                   size,       size + 1,  0x3fffffff, 0x40000000,
                                   0x7fffffff, 1u << 31,  UINT32_MAX, UINT32_MAX - 63,
                                   0u - 64u,   0u - 473u, 0u - 28u,   0x00010000};
        for (size_t k = 0; k < CASES(values); k++) {
            uint8_t old[4];
            memcpy(old, at + field, 4);
            lkv_format_u32(at + field, values[k]);
            use(bytes, &all);
            memcpy(at + field, old, 4);
        }
    }
    free(at);
    keys_free(&all);
}

/* Random bytes in a block whose header is right, and blocks cut anywhere. */
static void hostile_entries(void)
{
    uint64_t random = check_seed();
    unsigned rounds = check_long() ? 200000 : 20000;
    keys all;

    keys_make(&all, KEYS_ALIKE, 60, &random);
    for (int kind = LKV_BLOCK_LEAF; kind <= LKV_BLOCK_BRANCH; kind++) {
        lkv_bytes bytes = build(&all, (enum lkv_block_kind)kind, 473,
                                kind == LKV_BLOCK_BRANCH ? all.count : 0);
        uint8_t *at = (uint8_t *)(uintptr_t)bytes.data;
        uint8_t *right = malloc(bytes.size);
        if (right == NULL) {
            abort();
        }
        memcpy(right, at, bytes.size);
        for (unsigned i = 0; i < rounds && check_failures() == 0; i++) {
            for (uint64_t n = 1 + check_below(&random, 6); n > 0; n--) {
                size_t where = LKV_BLOCK_HEADER +
                               check_below(&random, bytes.size - LKV_BLOCK_HEADER);
                at[where] = (uint8_t)(check_below(&random, 2) ? check_random(&random)
                                                              : 0x80 | at[where]);
            }
            use(bytes, &all);
            if (i % 8 == 7) {
                memcpy(at, right, bytes.size);
            }
        }
        for (size_t size = 0; size < bytes.size; size++) {
            uint8_t *cut = malloc(size + 1);
            if (cut == NULL) {
                abort();
            }
            memcpy(cut, right, size);
            use((lkv_bytes){cut, size}, &all);
            free(cut);
        }
        free(right);
        free(at);
    }
    keys_free(&all);
}

/* Each allocation fails: what was to be added can be added again. */
/* Behind the place where a key would stand others may share as many bytes with each
 * other as it did with those before it. */
static void shares_again(void)
{
    static const char *const texts[] = {"abx", "acb", "acz"};
    lkv_entry entry;
    lkv_block block;
    lkv_bytes bytes;
    keys all;

    keys_begin(&all, 3);
    for (size_t i = 0; i < 3; i++) {
        keys_add(&all, (lkv_bytes){texts[i], 3},
                 (lkv_place){lkv_loc_make(0, 1, 64), 16});
    }
    bytes = build(&all, LKV_BLOCK_LEAF, 100, 0);
    open_it(&block, bytes, LKV_BLOCK_LEAF, &all);
    CHECK_INT(lkv_block_find(&block, (lkv_bytes){"abz", 3}, &entry), LKV_ABSENT);
    CHECK_INT(lkv_block_find(&block, (lkv_bytes){"acz", 3}, &entry), LKV_OK);
    free((void *)(uintptr_t)bytes.data);
    keys_free(&all);
}

/* The table may lead to entries and nowhere else: the header's bytes would do as one.
 */
static void restart_in_the_header(void)
{
    uint64_t random = 1;
    lkv_entry entry;
    lkv_block block;
    lkv_bytes bytes;
    keys all;

    keys_make(&all, KEYS_NUMBERS, 20, &random);
    bytes = build(&all, LKV_BLOCK_LEAF, 473, 0);
    open_it(&block, bytes, LKV_BLOCK_LEAF, &all);
    CHECK_SIZE(block.restarts, 2);
    CHECK_INT(lkv_block_find(&block, all.key[19], &entry), LKV_OK);
    for (uint32_t where = 5; where < LKV_BLOCK_HEADER; where++) {
        lkv_format_u32((uint8_t *)(uintptr_t)bytes.data + block.table + 4, where);
        CHECK_INT(lkv_block_find(&block, all.key[19], &entry), LKV_CORRUPT);
    }
    free((void *)(uintptr_t)bytes.data);
    keys_free(&all);
}

static void no_memory_anywhere(void)
{
    uint64_t random = check_seed();
    unsigned long refused = 0;
    keys all;

    keys_make(&all, KEYS_LONG, 100, &random);
    for (int kind = LKV_BLOCK_LEAF; kind <= LKV_BLOCK_BRANCH; kind++) {
        uint64_t hashes[MOST];
        lkv_bytes want = build(&all, (enum lkv_block_kind)kind, 473,
                               kind == LKV_BLOCK_BRANCH ? all.count : 0);
        lkv_builder builder;
        os_fault os;
        int rc = LKV_NOMEM;
        os_fault_init(&os);
        lkv_builder_init(&builder, &os.os);
        for (size_t i = 0; i < all.count; i++) {
            hashes[i] = lkv_filter_hash(all.key[i]);
            rc = LKV_NOMEM;
            for (uint64_t n = 1; rc == LKV_NOMEM && n < 20; n++) {
                os_fault_arm(&os, n, 0);
                rc =
                    kind == LKV_BLOCK_LEAF
                        ? lkv_builder_add_leaf(&builder, all.key[i], all.place[i])
                        : lkv_builder_add_child(&builder, all.key[i], (uint32_t)i * 77);
                CHECK((rc == LKV_NOMEM) == (os.failures > 0));
                refused += os.failures > 0;
            }
            CHECK_INT(rc, LKV_OK);
        }
        os_fault_arm(&os, 1, 1);
        rc = lkv_builder_finish(&builder, (enum lkv_block_kind)kind, 12345, 473, hashes,
                                kind == LKV_BLOCK_BRANCH ? all.count : 0);
        if (os.failures > 0) {
            CHECK_INT(rc, LKV_NOMEM);
            os_fault_arm(&os, 0, 0);
            rc = lkv_builder_finish(&builder, (enum lkv_block_kind)kind, 12345, 473,
                                    hashes, kind == LKV_BLOCK_BRANCH ? all.count : 0);
        }
        CHECK_INT(rc, LKV_OK);
        lkv_block_seal(builder.block.bytes, builder.block.size, 1);
        CHECK_BYTES(builder.block.bytes, builder.block.size, want.data, want.size);
        lkv_builder_free(&builder);
        lkv_builder_free(&builder); /* harmless */
        CHECK_SIZE(os.live, 0);
        free((void *)(uintptr_t)want.data);
    }
    CHECK(refused > 10);
    keys_free(&all);
}

/* A builder that was cleared makes the same as a new one. */
static void builders_are_used_again(void)
{
    uint64_t random = check_seed();
    lkv_builder builder;
    os_fault os;
    keys all;

    os_fault_init(&os);
    lkv_builder_init(&builder, &os.os);
    for (int shape = KEYS_SHAPES; shape-- > 0;) {
        lkv_bytes want;
        keys_make(&all, (enum keys_shape)shape, 40, &random);
        want = build(&all, LKV_BLOCK_LEAF, 473, 0);
        for (size_t i = 0; i < all.count; i++) {
            CHECK_INT(lkv_builder_add_leaf(&builder, all.key[i], all.place[i]), LKV_OK);
        }
        CHECK_INT(lkv_builder_finish(&builder, LKV_BLOCK_LEAF, 12345, 473, NULL, 0),
                  LKV_OK);
        lkv_block_seal(builder.block.bytes, builder.block.size, 1);
        CHECK_BYTES(builder.block.bytes, builder.block.size, want.data, want.size);
        lkv_builder_clear(&builder);
        free((void *)(uintptr_t)want.data);
        keys_free(&all);
    }
    lkv_builder_free(&builder);
    CHECK_SIZE(os.live, 0);
}

static const check_case cases[] = {
    CASE(round_trip),         CASE(filters),
    CASE(golden_bytes),       CASE(every_byte),
    CASE(hostile_headers),    CASE(hostile_entries),
    CASE(shares_again),       CASE(restart_in_the_header),
    CASE(no_memory_anywhere), CASE(builders_are_used_again)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
