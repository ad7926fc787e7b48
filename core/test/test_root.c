/*
 * test_root.c - making a store, and what of a root is believed.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

/* Three segments, a commit in each. */
static void craft_three_from(craft *c, uint32_t number)
{
    craft_begin_at(c, number);
    craft_record(c, LKV_KIND_PUT, "a", "1");
    craft_commit(c, 1);
    craft_segment(c, number + 1);
    craft_record(c, LKV_KIND_PUT, "b", "2");
    craft_commit(c, 2);
    craft_segment(c, number + 2);
    craft_record(c, LKV_KIND_PUT, "c", "3");
    craft_commit(c, 3);
    craft_end(c);
}

static void craft_three(craft *c)
{
    craft_three_from(c, 5);
}

static void numbers_begin_anywhere(void)
{
    static const uint32_t firsts[] = {1, 2, 5, 1000, LKV_SEGMENT_NUMBER_MAX - 2};
    for (size_t k = 0; k < CASES(firsts); k++) {
        craft c;
        craft_three_from(&c, firsts[k]);
        CHECK_TEXT(contents_of(&c.image), "a=1 b=2 c=3");
        image_free(&c.image);
    }
}

/* No location can hold them. */
static void numbers_too_great(void)
{
    static const uint32_t firsts[] = {0, LKV_SEGMENT_NUMBER_MAX - 1,
                                      LKV_SEGMENT_NUMBER_MAX, UINT32_MAX - 2,
                                      UINT32_MAX};
    for (size_t k = 0; k < CASES(firsts); k++) {
        craft c;
        craft_three_from(&c, firsts[k]);
        CHECK_TEXT(contents_of(&c.image),
                   "error -2: root: the list of segments is wrong");
        image_free(&c.image);
    }
}

/* F9 */
static void wrong_lists(void)
{
    static const struct {
        unsigned i;
        int32_t number, size;
        int base;
    } changes[] = {
        {0, 1, 0, 0},    /* numbers that do not follow each other */
        {0, -1, 0, 0},   /* */
        {1, 1, 0, 0},    /* */
        {1, -1, 0, 0},   /* the same twice */
        {2, -1, 0, 0},   /* */
        {2, 1, 0, 0},    /* */
        {1, 0, -84, 0},  /* no record */
        {1, 0, -85, 0},  /* part of a header */
        {1, 0, -148, 0}, /* closed, and as if it were open */
        {1, 0, 1, 0},    /* a hole between two */
        {1, 0, -1, 0},   /* an overlap */
        {1, 0, 0, 1},    /* */
        {1, 0, 0, -1},   /* */
        {2, 0, 0, 1},    /* */
        {2, 0, 148, 0}   /* the last one closed */
    };
    for (size_t k = 0; k < CASES(changes); k++) {
        lkv_segment *at;
        craft c;
        craft_three(&c);
        at = &c.list[changes[k].i];
        at->number += (uint32_t)changes[k].number;
        at->size += (uint32_t)changes[k].size;
        at->base += (uint64_t)(int64_t)changes[k].base;
        craft_root(&c);
        if (!CHECK_TEXT(contents_of(&c.image),
                        "error -2: root: the list of segments is wrong")) {
            CHECK_INT(k, -1);
        }
        image_free(&c.image);
    }
}

/* Sizes and bases that agree with each other but cannot be. */
static void sizes_out_of_range(void)
{
    static const uint32_t sizes[] = {0, 63, 64, 0x80000000u, 0xffffffffu};
    for (size_t k = 0; k < CASES(sizes); k++) {
        craft c;
        craft_three(&c);
        c.list[1].size = sizes[k];
        c.list[2].base = c.list[1].base + sizes[k] - LKV_SEGMENT_HEADER;
        craft_root(&c);
        CHECK_TEXT(contents_of(&c.image),
                   "error -2: root: the list of segments is wrong");
        image_free(&c.image);
    }
}

static void every_byte(void)
{
    craft c;
    craft_three(&c);
    for (size_t i = 0; i < c.image.root_size; i++) {
        uint8_t old = c.image.root[i];
        const uint8_t tries[] = {(uint8_t)(old ^ 1), (uint8_t)(old ^ 0x80), 0, 0xff};
        for (size_t k = 0; k < CASES(tries); k++) {
            c.image.root[i] = tries[k];
            if (tries[k] != old) {
                CHECK_HAS(contents_of(&c.image), "error -2: root: ");
            }
        }
        c.image.root[i] = old;
    }
    CHECK_TEXT(contents_of(&c.image), "a=1 b=2 c=3");
    while (c.image.root_size-- > 0) {
        CHECK_HAS(contents_of(&c.image), "error -2: root: ");
    }
    image_free(&c.image);
}

/* Lengths that do not fit together, under a right checksum. */
static void wrong_lengths(void)
{
    static const struct {
        size_t at;
        uint32_t value;
    } changes[] = {
        {36, 0},           {36, 2},           {36, 4},           {36, 0xffffffffu},
        {36, 0x10000003u}, {40, 4},           {40, 6},           {40, 0},
        {40, 0xffffffffu}, {40, 0xfffffff5u}, {44, 1},           {44, 0xffffffffu},
        {44, 0x55555556u}, {48, 1},           {48, 0xffffffffu}, {48, 0x55555556u},
        {52, 1},           {52, 0xffffffffu}, {52, 0x55555556u}, {56, 1},
        {56, 0xffffffffu}, {56, 0x20000000u}, {92, 1},           {92, 0xffffffffu},
        {92, 0x55555556u}};
    for (size_t k = 0; k < CASES(changes); k++) {
        craft c;
        craft_three(&c);
        lkv_format_u32(c.image.root + changes[k].at, changes[k].value);
        lkv_format_u32(c.image.root + c.image.root_size - 4,
                       lkv_crc32(0, c.image.root, c.image.root_size - 4));
        CHECK_TEXT(contents_of(&c.image),
                   "error -2: root: lengths do not fit together");
        image_free(&c.image);
    }
}

static void no_segments(void)
{
    lkv_root root;
    const char *why = "";
    craft c;
    craft_three(&c);
    c.image.count = 0;
    craft_root(&c);
    CHECK_INT(lkv_format_parse_root((lkv_bytes){c.image.root, c.image.root_size}, &root,
                                    &why),
              LKV_CORRUPT);
    CHECK_TEXT(why, "lengths do not fit together");
    c.image.count = 3;
    image_free(&c.image);
}

static void block_sizes(void)
{
    static const struct {
        uint32_t block;
        int good;
    } sizes[] = {{0, 0}, {1, 0}, {16, 0}, {31, 0}, {32, 1}, {65536, 1}, {65537, 0}};
    for (size_t k = 0; k < CASES(sizes); k++) {
        const char *got;
        craft c;
        craft_three(&c);
        lkv_format_u32(c.image.root + 32, sizes[k].block);
        lkv_format_u32(c.image.root + c.image.root_size - 4,
                       lkv_crc32(0, c.image.root, c.image.root_size - 4));
        got = contents_of(&c.image);
        if (sizes[k].good) {
            CHECK_TEXT(got, "a=1 b=2 c=3");
        } else {
            CHECK_HAS(got, "error -2: root: ");
        }
        image_free(&c.image);
    }
}

/* A store made with one block size is read by that size. */
static void block_of_the_root(void)
{
    fixture f;
    fixture_open(&f, 64);
    f.storage->block = 4096;
    commit_text(f.store, "a", "1");
    fixture_reopen(&f);
    CHECK_INT(f.storage->block, 64);
    fixture_close(&f);
}

static void description(void)
{
    static const size_t sizes[] = {0, 1, LKV_META_MAX, LKV_META_MAX + 1};
    for (size_t k = 0; k < CASES(sizes); k++) {
        lkv_bytes meta = filler(sizes[k], 3);
        int fits = sizes[k] <= LKV_META_MAX;
        fixture f;
        fixture_open(&f, 64);
        CHECK_INT(lkv_create(f.storage, &f.os.os, meta, &f.err),
                  fits ? LKV_OK : LKV_MISUSE);
        CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
        if (fits) {
            CHECK_BYTES(lkv_meta(f.store).data, lkv_meta(f.store).size, meta.data,
                        meta.size);
            CHECK_INT(((const uint8_t *)lkv_id(f.store).data)[0], 16);
        } else {
            CHECK_TEXT(f.err.text, "the description of the store is too long");
            CHECK_BYTES(lkv_meta(f.store).data, lkv_meta(f.store).size, "about", 5);
        }
        CHECK_SIZE(lkv_id(f.store).size, 16);
        fixture_close(&f);
    }
}

/* Whatever the handle knows: nothing, the store, or the one that was there before it.
 */
static void whose_it_is(void)
{
    static const uint8_t other[LKV_ID_SIZE] = {1};
    lkv_store *late = NULL;
    uint8_t first[LKV_ID_SIZE];
    fixture f;

    fixture_open(&f, 64);
    memcpy(first, lkv_id(f.store).data, sizeof(first));
    CHECK_INT(lkv_open(f.storage, &f.os.os, &late), LKV_OK);
    CHECK_INT(lkv_is_there(late, first, &f.err), LKV_OK);
    CHECK_INT(lkv_is_there(late, other, &f.err), LKV_ABSENT);
    CHECK_INT(lkv_is_there(f.store, first, &f.err), LKV_OK);
    CHECK_INT(lkv_create(f.storage, &f.os.os, text_bytes("new"), &f.err), LKV_OK);
    CHECK_INT(lkv_is_there(f.store, first, &f.err), LKV_ABSENT);
    CHECK_INT(lkv_is_there(late, first, &f.err), LKV_ABSENT);
    lkv_close(late);
    fixture_close(&f);
}

static void description_too_long_to_be_one(void)
{
    lkv_segment segment = {1, 0, 0};
    lkv_root root = {.generation = 1,
                     .block = 64,
                     .segments = 1,
                     .meta = filler(LKV_META_MAX + 1, 1)};
    size_t size = lkv_format_root_size(&root);
    const char *why = "";
    uint8_t *bytes = malloc(size);
    if (bytes == NULL) {
        abort();
    }
    lkv_format_root(bytes, &root, &segment, NULL, NULL, NULL, NULL, NULL);
    CHECK_INT(lkv_format_parse_root((lkv_bytes){bytes, size}, &root, &why),
              LKV_CORRUPT);
    CHECK_TEXT(why, "lengths do not fit together");
    free(bytes);
}

static void nothing_there(void)
{
    lkv_storage *memory;
    os_fault os;
    craft c;

    os_fault_init(&os);
    craft_three(&c);
    CHECK_INT(lkv_storage_mem_open(&os.os, 64, &memory), LKV_OK);
    CHECK_TEXT(contents_anew(memory, &os.os), "error -2: the log is empty");
    CHECK_INT(memory->ops->publish_end(memory, &c.image.end, NULL), LKV_OK);
    CHECK_TEXT(contents_anew(memory, &os.os), "error -2: root: there is none");
    lkv_storage_mem_close(memory);
    image_free(&c.image);
    CHECK_SIZE(os.live, 0);
}

/* Each allocation, and then each call of the storage, fails once. */
static void create_fails_anywhere(void)
{
    for (int part = 0; part < 2; part++) {
        for (uint64_t n = 1;; n++) {
            lkv_error err = {0, ""};
            lkv_storage *memory;
            storage_fault fault;
            os_fault os;
            int rc, failed;

            os_fault_init(&os);
            CHECK_INT(lkv_storage_mem_open(&os.os, 64, &memory), LKV_OK);
            storage_fault_init(&fault, memory);
            os_fault_arm(&os, part == 0 ? n : 0, 0);
            storage_fault_arm(&fault, part == 1 ? n : 0, 0, LKV_IO);
            rc = lkv_create(&fault.base, &os.os, text_bytes("about"), &err);
            failed = os.failures + fault.failures > 0;
            if (!failed) {
                CHECK_INT(rc, LKV_OK);
            } else if (part == 0 && n == 1) {
                CHECK_INT(rc, LKV_IO);
                CHECK(err.os_errno != 0);
                CHECK_TEXT(err.text, "no random bytes for the identity of the store");
            } else {
                CHECK_INT(rc, part == 0 ? LKV_NOMEM : LKV_IO);
            }
            /* What failed can be done again. */
            os_fault_arm(&os, 0, 0);
            storage_fault_arm(&fault, 0, 0, LKV_OK);
            if (failed) {
                CHECK_HAS(contents_anew(&fault.base, &os.os), "error -2: ");
                CHECK_INT(lkv_create(&fault.base, &os.os, text_bytes("about"), &err),
                          LKV_OK);
            }
            CHECK_TEXT(contents_anew(&fault.base, &os.os), "");
            storage_fault_free(&fault);
            lkv_storage_mem_close(memory);
            CHECK_SIZE(os.live, 0);
            if (!failed) {
                CHECK(n > 3);
                break;
            }
        }
    }
}

static const check_case cases[] = {CASE(numbers_begin_anywhere),
                                   CASE(numbers_too_great),
                                   CASE(wrong_lists),
                                   CASE(sizes_out_of_range),
                                   CASE(every_byte),
                                   CASE(wrong_lengths),
                                   CASE(no_segments),
                                   CASE(block_sizes),
                                   CASE(block_of_the_root),
                                   CASE(description),
                                   CASE(description_too_long_to_be_one),
                                   CASE(whose_it_is),
                                   CASE(nothing_there),
                                   CASE(create_fails_anywhere)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
