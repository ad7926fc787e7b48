/*
 * test_root_lists.c - what a root lists besides segments: as bytes, and what of it is
 * believed. What a store does with such lists: test_flush.c.
 */
#include "fixture.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_MOST 4096u

/* A root with something in each list, each number another one. */
typedef struct lists {
    lkv_root root;
    lkv_segment segments[3];
    lkv_part parts[2], outs[1];
    lkv_run runs[3], merges[2];
    lkv_gone gone[2];
} lists;

static uint64_t next_number(void)
{
    static uint64_t number;
    number += 0x0102030405060709;
    return number;
}

static uint32_t next_word(void)
{
    return (uint32_t)next_number();
}

/* Compared as bytes, of which some are no member's. */
static lkv_run make_run(void)
{
    lkv_run run;
    memset(&run, 0, sizeof(run));
    run.number = next_word();
    run.blocks = next_word();
    run.top = next_word();
    run.from = next_number();
    run.to = next_number();
    run.entries = next_number();
    run.live_bytes = next_number();
    return run;
}

static lkv_part make_part(void)
{
    return (lkv_part){.number = next_word(),
                      .size = next_word(),
                      .index = next_word(),
                      .blocks = next_word(),
                      .top = next_word(),
                      .keys = next_number(),
                      .bytes = next_number(),
                      .digest = next_number()};
}

static void make_lists(lists *l)
{
    memset(l, 0, sizeof(*l));
    l->root = (lkv_root){.generation = next_number(),
                         .block = next_word(),
                         .segments = 3,
                         .parts = 2,
                         .runs = 3,
                         .merges = 2,
                         .gone = 2,
                         .next_part = next_word(),
                         .next_run = next_word(),
                         .auto_compact = next_word(),
                         .tail = {.segment = next_word(),
                                  .offset = next_word(),
                                  .revision = next_number(),
                                  .chain = next_number(),
                                  .covered = next_number()},
                         .pass = {next_number(), next_word(), 1, next_word()},
                         .meta = {"about", 5}};
    lkv_format_chain_start(&l->root.tail.hash, (const uint8_t *)"0123456789abcdef", 7,
                           8);
    lkv_hash_add(&l->root.tail.hash, "some bytes", 10);
    for (int i = 0; i < 3; i++) {
        l->runs[i] = make_run();
        l->segments[i] = (lkv_segment){next_word(), next_word(), next_number()};
    }
    for (int i = 0; i < 2; i++) {
        l->parts[i] = make_part();
        l->merges[i] = make_run();
        l->gone[i] = (lkv_gone){next_word(), next_word()};
    }
    l->outs[0] = make_part();
}

static size_t put_lists(const lists *l, uint8_t *out)
{
    lkv_format_root(out, &l->root, l->segments, l->parts, l->outs, l->runs, l->merges,
                    l->gone);
    return lkv_format_root_size(&l->root);
}

static void check_root_header(const lkv_root *got, const lkv_root *want)
{
    CHECK_BYTES(got->store_id, LKV_ID_SIZE, want->store_id, LKV_ID_SIZE);
    CHECK_SIZE(got->generation, want->generation);
    CHECK_INT(got->block, want->block);
    CHECK_INT(got->next_part, want->next_part);
    CHECK_INT(got->next_run, want->next_run);
    CHECK_INT(got->auto_compact, want->auto_compact);
    CHECK_INT(got->tail.segment, want->tail.segment);
    CHECK_INT(got->tail.offset, want->tail.offset);
    CHECK_SIZE(got->tail.revision, want->tail.revision);
    CHECK_SIZE(got->tail.chain, want->tail.chain);
    CHECK_SIZE(got->tail.covered, want->tail.covered);
    CHECK_SIZE(lkv_hash_value(&got->tail.hash), lkv_hash_value(&want->tail.hash));
    CHECK_SIZE(got->pass.to, want->pass.to);
    CHECK_INT(got->pass.next, want->pass.next);
    CHECK_INT(got->pass.out, want->pass.out);
    CHECK_INT(got->pass.open, want->pass.open);
    CHECK_BYTES(got->meta.data, got->meta.size, want->meta.data, want->meta.size);
}

/* Field by field: what is between them may be anything. */
static void check_part(const lkv_part *got, const lkv_part *want)
{
    CHECK_INT(got->number, want->number);
    CHECK_INT(got->size, want->size);
    CHECK_INT(got->index, want->index);
    CHECK_INT(got->blocks, want->blocks);
    CHECK_INT(got->top, want->top);
    CHECK_SIZE(got->keys, want->keys);
    CHECK_SIZE(got->bytes, want->bytes);
    CHECK_SIZE(got->digest, want->digest);
}

static void check_run(const lkv_run *got, const lkv_run *want)
{
    CHECK_INT(got->number, want->number);
    CHECK_INT(got->blocks, want->blocks);
    CHECK_INT(got->top, want->top);
    CHECK_SIZE(got->from, want->from);
    CHECK_SIZE(got->to, want->to);
    CHECK_SIZE(got->entries, want->entries);
    CHECK_SIZE(got->live_bytes, want->live_bytes);
}

static void lists_of_a_root(void)
{
    uint8_t *bytes = malloc(BYTES_MOST);
    const char *why = "";
    lkv_bytes all = {bytes, 0};
    lkv_segment segment;
    lkv_root root;
    lists l;

    if (bytes == NULL) {
        abort();
    }
    make_lists(&l);
    all.size = put_lists(&l, bytes);
    CHECK_SIZE(all.size, 208 + 3 * 16 + 3 * 48 + 5 * 48 + 2 * 8 + 5 + 4);
    CHECK_INT(lkv_format_parse_root(all, &root, &why), LKV_OK);
    check_root_header(&root, &l.root);
    for (uint32_t i = 0; i < 2; i++) {
        lkv_gone gone;
        lkv_format_root_gone(all, &root, i, &gone);
        CHECK_BYTES(&gone, sizeof(gone), &l.gone[i], sizeof(gone));
    }
    for (uint32_t i = 0; i < 3; i++) {
        lkv_part part;
        lkv_format_root_segment(all, i, &segment);
        CHECK_BYTES(&segment, sizeof(segment), &l.segments[i], sizeof(segment));
        lkv_format_root_part(all, &root, i, &part);
        check_part(&part, i < 2 ? &l.parts[i] : &l.outs[0]);
    }
    for (uint32_t i = 0; i < 5; i++) {
        lkv_run run;
        lkv_format_root_run(all, &root, i, &run);
        check_run(&run, i < 3 ? &l.runs[i] : &l.merges[i - 3]);
    }
    free(bytes);
}

/* F1: the words of parts and runs that are zero. */
static void reserved_words(void)
{
    uint8_t *bytes = malloc(BYTES_MOST);
    const char *why = "";
    lkv_root root;
    lists l;
    size_t size;

    if (bytes == NULL) {
        abort();
    }
    make_lists(&l);
    size = put_lists(&l, bytes);
    for (size_t i = 0; i < 8; i++) {
        size_t at = LKV_ROOT_HEADER + 3 * LKV_ROOT_SEGMENT;
        at += i < 3 ? i * LKV_ROOT_PART + 20
                    : 3 * LKV_ROOT_PART + (i - 3) * LKV_ROOT_RUN + 12;
        for (size_t k = at; k < at + 4; k++) {
            CHECK_INT(bytes[k], 0);
            bytes[k] = 1;
            lkv_format_u32(bytes + size - 4, lkv_crc32(0, bytes, size - 4));
            CHECK_INT(lkv_format_parse_root((lkv_bytes){bytes, size}, &root, &why),
                      LKV_CORRUPT);
            bytes[k] = 0;
        }
    }
    lkv_format_u32(bytes + size - 4, lkv_crc32(0, bytes, size - 4));
    CHECK_INT(lkv_format_parse_root((lkv_bytes){bytes, size}, &root, &why), LKV_OK);
    free(bytes);
}

/*
 * What is believed
 */

static lkv_part part_of(uint32_t number, uint32_t index, uint32_t blocks)
{
    return (lkv_part){.number = number,
                      .size = 200,
                      .index = index,
                      .blocks = blocks,
                      .keys = 1,
                      .bytes = 15};
}

/* A log of three segments, 84 bytes of records in each, and lists that go with it. */
static void make_right(lists *l, craft *c)
{
    craft_begin_at(c, 5);
    for (uint32_t i = 0; i < 3; i++) {
        if (i > 0) {
            craft_segment(c, 5 + i);
        }
        craft_record(c, LKV_KIND_PUT, "a", "1");
        craft_commit(c, 1);
    }
    craft_end(c);
    memset(l, 0, sizeof(*l));
    l->root = (lkv_root){.generation = 1,
                         .block = 64,
                         .segments = 3,
                         .parts = 2,
                         .runs = 3,
                         .merges = 2,
                         .gone = 2,
                         .next_part = LKV_PART_FIRST + 3,
                         .next_run = LKV_RUN_FIRST + 8,
                         .tail = {7, 148, 3, c->commit.chain, 0, {.lane = {0}}},
                         .pass = {84, 1, 1, 1}};
    memcpy(l->root.store_id, c->image.end.store_id, LKV_ID_SIZE);
    lkv_format_chain_start(&l->root.tail.hash, l->root.store_id, c->commit.chain, 252);
    for (uint32_t i = 0; i < 3; i++) {
        l->segments[i] = c->list[i];
        l->runs[i] = (lkv_run){LKV_RUN_FIRST + i, 2, 1, 84 * i, 84 * i + 84, 1, 15};
    }
    l->merges[0] = (lkv_run){LKV_RUN_FIRST + 3, 0, 0, 0, 84, 0, 0};
    l->merges[1] = (lkv_run){LKV_RUN_FIRST + 4, 3, 2, 84, 252, 1, 15};
    for (uint32_t i = 0; i < 2; i++) {
        l->parts[i] = part_of(LKV_PART_FIRST + i, LKV_RUN_FIRST + 5 + i, 1);
        l->gone[i] = (lkv_gone){LKV_RUN_FIRST + 1, 1};
    }
    l->outs[0] = part_of(LKV_PART_FIRST + 2, LKV_RUN_FIRST + 7, 0);
}

/* What opening a store of such lists comes to: "" when it opens. */
static const char *opened(const lists *l, craft *c)
{
    static lkv_error err;
    lkv_storage *memory;
    lkv_store *store;
    os_fault os;
    int rc;

    free(c->image.root);
    c->image.root_size = lkv_format_root_size(&l->root);
    c->image.root = malloc(c->image.root_size);
    if (c->image.root == NULL) {
        abort();
    }
    lkv_format_root(c->image.root, &l->root, l->segments, l->parts, l->outs, l->runs,
                    l->merges, l->gone);
    err.text[0] = '\0';
    os_fault_init(&os);
    CHECK_INT(lkv_storage_mem_open(&os.os, 64, &memory), LKV_OK);
    image_put(&c->image, memory);
    CHECK_INT(lkv_open(memory, &os.os, &store), LKV_OK);
    rc = lkv_refresh(store, &err);
    CHECK_INT(rc, err.text[0] == '\0' ? LKV_OK : LKV_CORRUPT);
    lkv_close(store);
    lkv_storage_mem_close(memory);
    CHECK_SIZE(os.live, 0);
    return err.text;
}

#define RUNS "root: the list of runs is wrong"
#define PARTS "root: the list of parts is wrong"
#define TAIL "root: the tail is not in the log"
#define PASS "root: the compaction is wrong"
#define U32(what) offsetof(lists, what), 4
#define U64(what) offsetof(lists, what), 8

/* A number of the lists, another value for it, and what is wrong then. */
typedef struct change {
    size_t at, width;
    uint64_t value;
    const char *text;
} change;

static void check_change(const change *to)
{
    uint32_t word = (uint32_t)to->value;
    craft c;
    lists l;

    make_right(&l, &c);
    if (to->width == 4) {
        memcpy((uint8_t *)&l + to->at, &word, 4);
    } else {
        memcpy((uint8_t *)&l + to->at, &to->value, 8);
    }
    if (!CHECK_TEXT(opened(&l, &c), to->text)) {
        CHECK_SIZE(to->at, to->value); /* tells which */
    }
    image_free(&c.image);
}

/* F18 */
static void wrong_runs(void)
{
    static const change changes[] = {
        {U32(runs[0].number), LKV_RUN_FIRST, ""},
        {U32(runs[0].number), LKV_RUN_FIRST - 1, RUNS},
        {U32(runs[0].number), LKV_RUN_FIRST + 8, RUNS},
        {U32(runs[2].number), 0, RUNS},
        {U32(merges[0].number), LKV_RUN_FIRST - 1, RUNS},
        {U32(merges[1].number), LKV_RUN_FIRST + 8, RUNS},
        {U32(root.next_run), LKV_RUN_FIRST + 4, RUNS},
        {U32(root.next_run), LKV_RUN_LAST + 1, ""},
        {U32(root.next_run), LKV_RUN_LAST + 2, RUNS},
        {U32(root.next_run), UINT32_MAX, RUNS},
        {U32(runs[0].blocks), 0, RUNS},
        {U32(runs[1].blocks), 1, RUNS},
        {U32(runs[1].top), 2, RUNS},
        {U32(runs[1].top), UINT32_MAX, RUNS},
        {U32(merges[1].blocks), 2, RUNS},
        {U32(merges[1].blocks), 0, ""},
        {U32(merges[0].blocks), 1, ""},
        {U64(runs[0].to), 85, RUNS}, /* an overlap */
        {U64(runs[0].to), 83, ""},   /* nothing of that record is in it */
        {U64(runs[1].from), 83, RUNS},
        {U64(runs[1].from), 169, RUNS},
        {U64(runs[1].from), UINT64_MAX, RUNS},
        {U64(runs[2].to), 251, ""},
        {U64(runs[2].to), 253, RUNS}, /* beyond the tail */
        {U64(runs[2].to), UINT64_MAX, RUNS},
        {U64(merges[0].to), 85, RUNS},
        {U64(merges[1].to), 253, RUNS},
        {U64(merges[1].from), 83, RUNS}};
    for (size_t i = 0; i < CASES(changes); i++) {
        check_change(&changes[i]);
    }
}

/* The numbers that will be given out next, where the lists have none to compare. */
static void wrong_next_numbers(void)
{
    static const struct {
        uint32_t part, run;
        const char *text;
    } next[] = {{LKV_PART_FIRST, LKV_RUN_FIRST, ""},
                {LKV_PART_FIRST, LKV_RUN_FIRST - 1, RUNS},
                {LKV_PART_FIRST, 0, RUNS},
                {LKV_PART_FIRST - 1, LKV_RUN_FIRST, PARTS},
                {0, LKV_RUN_FIRST, PARTS},
                {LKV_RUN_FIRST, LKV_RUN_LAST + 1, ""},
                {LKV_RUN_FIRST + 1, LKV_RUN_FIRST, PARTS}};
    for (size_t i = 0; i < CASES(next); i++) {
        craft c;
        lists l;
        make_right(&l, &c);
        l.root.runs = l.root.parts = l.root.merges = l.root.gone = 0;
        l.root.pass = (lkv_pass){0};
        l.root.next_part = next[i].part;
        l.root.next_run = next[i].run;
        CHECK_TEXT(opened(&l, &c), next[i].text);
        image_free(&c.image);
    }
}

static void wrong_parts(void)
{
    static const change changes[] = {
        {U32(parts[0].number), LKV_PART_FIRST - 1, PARTS},
        {U32(parts[1].number), LKV_PART_FIRST + 3, PARTS},
        {U32(parts[1].number), LKV_RUN_FIRST, PARTS},
        {U32(outs[0].number), 0, PARTS},
        {U32(outs[0].number), LKV_PART_FIRST + 3, PARTS},
        {U32(parts[0].size), 64, PARTS},
        {U32(parts[0].size), LKV_SEGMENT_MAX, ""},
        {U32(parts[0].size), LKV_SEGMENT_MAX + 1, PARTS},
        {U32(outs[0].size), 0, PARTS},
        {U32(parts[0].index), LKV_RUN_FIRST - 1, PARTS},
        {U32(parts[1].index), LKV_RUN_FIRST + 8, PARTS},
        {U32(outs[0].index), 0, PARTS},
        {U64(parts[0].keys), 0, PARTS},
        {U64(outs[0].keys), 0, PARTS},
        {U32(parts[0].blocks), 0, PARTS},
        {U32(parts[1].top), 1, PARTS},
        {U32(outs[0].blocks), 1, ""},
        {U32(root.pass.open), 0, PARTS}}; /* the last one is not finished then */
    for (size_t i = 0; i < CASES(changes); i++) {
        check_change(&changes[i]);
    }
}

static void wrong_tails(void)
{
    static const change changes[] = {
        {U32(root.tail.segment), 0, TAIL},
        {U32(root.tail.segment), 4, TAIL},
        {U32(root.tail.segment), 8, TAIL},
        {U32(root.tail.segment), UINT32_MAX, TAIL},
        {U32(root.tail.segment), 6, RUNS}, /* before the last run's end */
        {U32(root.tail.offset), 0, TAIL},
        {U32(root.tail.offset), 63, TAIL},
        {U32(root.tail.offset), 147, RUNS},
        {U32(root.tail.offset), 149, "segment 7, offset 149: record runs past the end"},
        {U32(root.tail.offset), UINT32_MAX,
         "segment 7, offset 4294967295: record runs past the end"},
        {U64(root.tail.revision), 2,
         "segment 7, offset 148: the log does not end in the commit that was "
         "published"},
        {U64(root.tail.chain), 0,
         "segment 7, offset 148: the log does not end in the commit that was "
         "published"},
        {U64(root.tail.covered), 1,
         "segment 7, offset 148: the log does not end in the commit that was "
         "published"}};
    for (size_t i = 0; i < CASES(changes); i++) {
        check_change(&changes[i]);
    }
}

/* A tail beyond the end of a closed segment. */
static void tail_beyond_its_segment(void)
{
    for (uint32_t offset = 147; offset < 150; offset++) {
        craft c;
        lists l;
        make_right(&l, &c);
        l.root.runs = l.root.merges = 0;
        l.root.tail = (lkv_tail){.segment = 5, .offset = offset, .revision = 1};
        l.root.pass = (lkv_pass){0, 0, 0, 0};
        if (offset == 149) {
            CHECK_TEXT(opened(&l, &c), TAIL);
        } else {
            CHECK_HAS(opened(&l, &c), "segment ");
        }
        image_free(&c.image);
    }
}

static void wrong_passes(void)
{
    static const change changes[] = {
        {U64(root.pass.to), 168, ""},           {U64(root.pass.to), 0, PASS},
        {U64(root.pass.to), 83, PASS},          {U64(root.pass.to), 85, PASS},
        {U64(root.pass.to), 252, PASS}, /* no segment begins there */
        {U64(root.pass.to), UINT64_MAX, PASS},  {U32(root.pass.next), 2, ""},
        {U32(root.pass.next), 3, PASS},         {U32(root.pass.open), 2, PASS},
        {U32(root.pass.open), UINT32_MAX, PASS}};
    for (size_t i = 0; i < CASES(changes); i++) {
        check_change(&changes[i]);
    }
}

/* No more than what the segments and the tail say. */
static void only_what_is_there(void)
{
    craft c;
    lists l;

    make_right(&l, &c);
    l.root.pass = (lkv_pass){0, 0, 0, 0};
    CHECK_TEXT(opened(&l, &c), "");
    l.root.pass.next = 1;
    CHECK_TEXT(opened(&l, &c), PASS);
    l.root.pass = (lkv_pass){0, 0, 0, 1};
    CHECK_TEXT(opened(&l, &c), PASS);
    l.root.pass = (lkv_pass){84, 0, 0, 0};
    CHECK_TEXT(opened(&l, &c), "");
    l.root.pass.open = 1; /* the last of no outputs */
    CHECK_TEXT(opened(&l, &c), PASS);
    l.root.pass.open = 0;
    l.root.parts = l.root.runs = l.root.merges = l.root.gone = 0;
    CHECK_TEXT(opened(&l, &c), "");
    image_free(&c.image);
}

static const check_case cases[] = {
    CASE(lists_of_a_root),   CASE(wrong_next_numbers),
    CASE(reserved_words),    CASE(wrong_runs),
    CASE(wrong_parts),       CASE(wrong_tails),
    CASE(wrong_passes),      CASE(tail_beyond_its_segment),
    CASE(only_what_is_there)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
