/*
 * test_tops.c - lookups in several runs by what is kept in memory of them, against
 * arrays: whatever room there is, whatever the list becomes, with failures and damage.
 */
#include "check.h"
#include "run_bench.h"
#include "top.h"

#include <stdlib.h>
#include <string.h>

#define MOST 20u /* more than are asked at once */

/* Runs over parts of one set of keys. A place of LKV_NOWHERE: the run has it not. */
typedef struct stack {
    bench b;
    lkv_place *in[MOST];
    lkv_runs *runs;
    lkv_tops tops;
    uint64_t rewound;
} stack;

static void write_input(stack *s, uint32_t i)
{
    lkv_run_writer writer;
    lkv_run_writer_init(&writer, s->b.storage, &s->b.os.os, LKV_RUN_FIRST + i);
    for (size_t k = 0; k < s->b.all.count; k++) {
        if (s->in[i][k].loc != LKV_NOWHERE) {
            CHECK_INT(lkv_run_writer_add(&writer, s->b.all.key[k], s->in[i][k], NULL),
                      LKV_OK);
        }
    }
    CHECK_INT(lkv_run_writer_finish(&writer, NULL), LKV_OK);
    s->runs->run[i] = writer.run;
    lkv_run_writer_free(&writer);
}

static void fill_input(stack *s, uint32_t i, uint64_t *random)
{
    uint64_t share = 1 + check_below(random, 9);
    for (size_t k = 0; k < s->b.all.count; k++) {
        int is_in = check_below(random, 10) < share || k == i % s->b.all.count;
        s->in[i][k] = is_in ? (lkv_place){lkv_loc_make(1, 1 + i, (uint32_t)k),
                                          100 + (uint32_t)check_below(random, 99)}
                            : (lkv_place){LKV_NOWHERE, 0};
    }
    write_input(s, i);
}

static void stack_open(stack *s, uint32_t block, uint32_t inputs, enum keys_shape shape,
                       size_t count, uint64_t *random)
{
    lkv_runs like = {.count = inputs};
    memset(s, 0, sizeof(*s));
    bench_open(&s->b, block);
    keys_make(&s->b.all, shape, count, random);
    s->runs = lkv_runs_new(&s->b.os.os, &like);
    lkv_tops_init(&s->tops, s->b.storage, &s->b.os.os);
    for (uint32_t i = 0; i < inputs; i++) {
        s->in[i] = calloc(s->b.all.count + 1, sizeof(lkv_place));
        if (s->in[i] == NULL) {
            abort();
        }
        fill_input(s, i, random);
    }
}

static void stack_close(stack *s)
{
    for (uint32_t i = 0; i < MOST; i++) {
        free(s->in[i]);
    }
    os_fault_arm(&s->b.os, 0, 0);
    lkv_tops_free(&s->tops);
    CHECK_SIZE(s->tops.memory, 0);
    lkv_runs_release(&s->b.os.os, s->runs);
    bench_close(&s->b);
}

static int look_up(stack *s, lkv_bytes key, uint32_t left, lkv_place *found)
{
    uint64_t hash = lkv_filter_hash(key);
    lkv_tops_search search;
    int rc = lkv_tops_ahead(&s->tops, s->runs, s->rewound, left, key, hash, &search,
                            &s->b.err);
    found->loc = LKV_NOWHERE;
    return rc == LKV_OK ? lkv_tops_find(&s->tops, &search, key, hash, found, &s->b.err)
                        : rc;
}

/* What the newest of the first `left` runs has of `key`. */
static lkv_place expected(const stack *s, lkv_bytes key, uint32_t left)
{
    int equal;
    size_t below = keys_rank(&s->b.all, key, &equal);
    while (equal && left-- > 0) {
        if (s->in[left][below - 1].loc != LKV_NOWHERE) {
            return s->in[left][below - 1];
        }
    }
    return (lkv_place){LKV_NOWHERE, 0};
}

static void check_find(stack *s, lkv_bytes key, uint32_t left)
{
    lkv_place want = expected(s, key, left), found;
    int rc = look_up(s, key, left, &found);
    CHECK_INT(rc, want.loc == LKV_NOWHERE ? LKV_ABSENT : LKV_OK);
    if (rc == LKV_OK) {
        CHECK_SIZE(found.loc, want.loc);
        CHECK_INT(found.size, want.size);
    }
    CHECK(s->tops.memory <= LKV_TOPS_MOST);
}

static void check_all(stack *s, size_t step)
{
    check_find(s, (lkv_bytes){NULL, 0}, s->runs->count);
    check_find(s, (lkv_bytes){"\xff\xff\xff", 3}, s->runs->count);
    for (size_t k = 0; k < s->b.all.count && check_failures() == 0; k += step) {
        check_find(s, s->b.all.key[k], s->runs->count);
        check_find(s, s->b.all.key[k], (uint32_t)(k % (s->runs->count + 1)));
        for (int how = 0; how < KEYS_NEAR; how++) {
            check_find(s, keys_near(s->b.all.key[k], how), s->runs->count);
        }
    }
}

static void newest_answers(void)
{
    static const uint32_t blocks[] = {64, 473, 1000, 4057};
    static const uint32_t inputs[] = {1, 3, 16, 17, MOST};
    uint64_t random = check_seed();
    for (size_t i = 0; i < 4 * KEYS_SHAPES * 5 && check_failures() == 0; i += 3) {
        enum keys_shape shape = (enum keys_shape)(i % KEYS_SHAPES);
        stack s;
        stack_open(&s, blocks[i / KEYS_SHAPES % 4], inputs[i % 5], shape,
                   shape < KEYS_BEGINS ? 900 : 120, &random);
        check_all(&s, 7);
        check_all(&s, 11); /* again, with all of it there */
        stack_close(&s);
    }
}

/* No run, and no list ever seen. */
static void nothing(void)
{
    uint64_t random = 1;
    stack s;
    stack_open(&s, 473, 0, KEYS_NUMBERS, 3, &random);
    check_all(&s, 1);
    stack_close(&s);
}

/* A list of some of the runs, in another allocation. */
static void change_list(stack *s, uint32_t from, uint32_t count)
{
    lkv_runs like = {.count = count}, *old = s->runs;
    s->runs = lkv_runs_new(&s->b.os.os, &like);
    memmove(s->runs->run, old->run + from, count * sizeof(lkv_run));
    for (uint32_t i = 0; i < from; i++) {
        free(s->in[i]);
    }
    memmove(s->in, s->in + from, (MOST - from) * sizeof(void *));
    memset(s->in + MOST - from, 0, from * sizeof(void *));
    lkv_runs_release(&s->b.os.os, old);
}

/* What leaves the list leaves memory; what stays is not read again. */
static void lists_change(void)
{
    uint64_t random = check_seed(), before, reads;
    stack s;

    stack_open(&s, 473, 8, KEYS_NUMBERS, 900, &random);
    check_all(&s, 5);
    before = s.tops.memory;
    change_list(&s, 0, 8);
    storage_fault_arm(&s.b.fault, 0, 0, LKV_OK);
    lkv_tops_follow(&s.tops, s.runs, s.rewound);
    CHECK_SIZE(s.tops.memory, before);
    check_find(&s, s.b.all.key[0], 8);
    reads = s.b.fault.reads;
    CHECK(reads <= 2 * 8); /* a filter and a leaf each: no tops, no branches */
    change_list(&s, 3, 4);
    lkv_tops_follow(&s.tops, s.runs, s.rewound);
    CHECK(s.tops.memory < before);
    check_all(&s, 5);
    change_list(&s, 4, 0);
    lkv_tops_follow(&s.tops, s.runs, s.rewound);
    CHECK_SIZE(s.tops.memory, 0);
    check_all(&s, 50);
    stack_close(&s);
}

/* After a rollback a number may name another run. */
static void numbers_come_again(void)
{
    uint64_t random = check_seed();
    stack s;

    stack_open(&s, 473, 4, KEYS_ALIKE, 500, &random);
    for (int turn = 0; turn < 5; turn++) {
        check_all(&s, 5);
        for (uint32_t i = 0; i < 4; i++) {
            s.b.storage->ops->rewind(s.b.storage, LKV_RUN_FIRST + i, 0);
            fill_input(&s, i, &random);
        }
        s.rewound++;
    }
    check_all(&s, 5);
    stack_close(&s);
}

/* More separators than there is room for: some runs are searched without. */
static void bounded_memory(void)
{
    uint64_t random = check_seed(), used;
    stack s;

    stack_open(&s, 473, 3, KEYS_LONG, 2500, &random);
    used = s.b.os.live_bytes;
    check_all(&s, 40);
    CHECK(s.tops.memory > LKV_TOPS_MOST / 4);
    CHECK(s.b.os.live_bytes - used <= LKV_TOPS_MOST + 4096);
    stack_close(&s);
}

/* Where the room is used up, nothing more is kept, and everything is found. */
static void no_room(void)
{
    uint64_t random = check_seed();
    stack s;

    stack_open(&s, 473, 3, KEYS_LONG, 500, &random);
    s.tops.memory = LKV_TOPS_MOST;
    check_all(&s, 10);
    CHECK_SIZE(s.tops.memory, LKV_TOPS_MOST);
    s.tops.memory = 0;
    stack_close(&s);
}

/* Reads that looking up every `step`th key of the oldest run takes. */
static uint64_t reads_of(stack *s, size_t step)
{
    lkv_place found;
    storage_fault_arm(&s->b.fault, 0, 0, LKV_OK);
    for (size_t k = 0; k < s->b.all.count; k += step) {
        if (s->in[0][k].loc != LKV_NOWHERE) {
            CHECK_INT(look_up(s, s->b.all.key[k], 1, &found), LKV_OK);
        }
    }
    return s->b.fault.reads;
}

/* What found no room costs a lookup nothing: neither a run's tops nor the leaves of a
 * branch are taken apart again for each. */
static void no_room_is_no_work(void)
{
    uint64_t random = check_seed(), bare = 0, reads;
    stack s;

    stack_open(&s, 473, 1, KEYS_NUMBERS, 3000, &random);
    for (size_t k = 0; k < s.b.all.count; k += 7) { /* as without memory */
        lkv_place found;
        lkv_bytes key = s.b.all.key[k];
        storage_fault_arm(&s.b.fault, 0, 0, LKV_OK);
        if (s.in[0][k].loc != LKV_NOWHERE) {
            CHECK_INT(lkv_run_find(s.b.storage, &s.runs->run[0], key,
                                   lkv_filter_hash(key), &found, NULL),
                      LKV_OK);
            bare += s.b.fault.reads;
        }
    }
    s.tops.memory = LKV_TOPS_MOST;
    (void)reads_of(&s, 7);
    CHECK_SIZE(reads_of(&s, 7), bare);
    lkv_tops_free(&s.tops);

    s.tops.memory = LKV_TOPS_LEAVES - 10; /* room for tops, and for no leaves */
    (void)reads_of(&s, 7);
    reads = reads_of(&s, 7);
    CHECK(reads <= bare);
    CHECK(s.tops.full);
    lkv_tops_free(&s.tops);
    CHECK(!s.tops.full);
    s.tops.memory -= LKV_TOPS_LEAVES - 10;
    stack_close(&s);
}

/* The index of a part: fences, found by the keys that they are for. */
static void floors(void)
{
    uint64_t random = check_seed();
    for (size_t each = 1; each < 60; each = each * 3 + 1) {
        lkv_runs like = {.parts = 1};
        lkv_run_writer writer;
        lkv_run index;
        int absent = 0;
        stack s;

        stack_open(&s, 473, 0, KEYS_ALIKE, 3000, &random);
        lkv_runs_release(&s.b.os.os, s.runs);
        s.runs = lkv_runs_new(&s.b.os.os, &like);
        lkv_run_writer_init(&writer, s.b.storage, &s.b.os.os, LKV_RUN_FIRST);
        for (size_t k = 0; k < s.b.all.count; k++) {
            if (k % each == 0) {
                CHECK_INT(lkv_run_writer_add_entry(&writer, s.b.all.key[k],
                                                   s.b.all.place[k], NULL),
                          LKV_OK);
            }
            CHECK_INT(lkv_run_writer_add_hash(&writer, lkv_filter_hash(s.b.all.key[k])),
                      LKV_OK);
        }
        CHECK_INT(lkv_run_writer_finish(&writer, NULL), LKV_OK);
        index = writer.run;
        lkv_run_writer_free(&writer);
        s.runs->part[0].index = index.number;
        s.runs->part[0].number = LKV_PART_FIRST;
        lkv_tops_follow(&s.tops, s.runs, 0);
        for (size_t k = 0; k < s.b.all.count * (KEYS_NEAR + 1); k += 5) {
            int how = (int)(k % (KEYS_NEAR + 1)) - 1, equal, exact, rc;
            lkv_bytes key = s.b.all.key[k / (KEYS_NEAR + 1)];
            lkv_place found = {LKV_NOWHERE, 0};
            size_t below;
            key = how < 0 ? key : keys_near(key, how);
            below = keys_rank(&s.b.all, key, &equal);
            rc = lkv_tops_floor(&s.tops, &index, key, lkv_filter_hash(key), &found,
                                &exact, &s.b.err);
            CHECK(rc == LKV_OK || (rc == LKV_ABSENT && !equal));
            if (rc == LKV_OK && CHECK(below > 0)) {
                CHECK_SIZE(found.loc, s.b.all.place[(below - 1) / each * each].loc);
                CHECK_INT(exact, equal && (below - 1) % each == 0);
            }
            absent += rc == LKV_ABSENT;
        }
        CHECK(absent > 0);
        stack_close(&s);
    }
}

/* Each allocation and each call of the storage fails, for the first lookup and for one
 * that finds much of it there. */
static void fails_anywhere(void)
{
    for (int k = 0; k < 8; k++) {
        for (uint64_t n = 1;; n++) {
            uint64_t random = 3, failures;
            lkv_place found, want;
            lkv_bytes key;
            stack s;
            int rc;
            stack_open(&s, 473, 5, KEYS_NUMBERS, 500, &random);
            if (k & 4) {
                check_all(&s, 20);
            }
            key = s.b.all.key[s.b.all.count / 3];
            want = expected(&s, key, 5);
            os_fault_arm(&s.b.os, k & 1 ? 0 : n, k & 2);
            storage_fault_arm(&s.b.fault, k & 1 ? n : 0, k & 2, LKV_FAILED);
            rc = look_up(&s, key, 5, &found);
            failures = s.b.os.failures + s.b.fault.failures;
            os_fault_arm(&s.b.os, 0, 0);
            storage_fault_arm(&s.b.fault, 0, 0, LKV_OK);
            if (rc >= 0) { /* memory is not needed for everything */
                CHECK(failures == 0 || (k & 1) == 0);
                CHECK_SIZE(found.loc, want.loc);
            } else {
                CHECK_INT(rc, k & 1 ? LKV_FAILED : LKV_NOMEM);
                CHECK(failures > 0);
            }
            check_all(&s, 20);
            stack_close(&s);
            if (failures == 0 || check_failures() > 0) {
                CHECK(n > 1 || (k & 5) == 4);
                break;
            }
        }
    }
}

/* Every byte of every run, another: what is said is right, or that it is damaged. */
static void every_byte(void)
{
    uint64_t random = check_seed();
    stack s;

    stack_open(&s, 473, 2, KEYS_ALIKE, 80, &random);
    for (uint32_t i = 0; i < 2; i++) {
        for (size_t at = 0; at < (size_t)s.runs->run[i].blocks * 473; at++) {
            lkv_bytes view;
            uint8_t *bytes;
            CHECK_INT(
                s.b.memory->ops->read(s.b.memory, LKV_RUN_FIRST + i, 0, 1, &view, NULL),
                LKV_OK);
            bytes = (uint8_t *)(uintptr_t)view.data;
            for (int turn = 0; turn < 4 && check_failures() == 0; turn++) {
                if (turn % 2 ==
                    0) { /* damaged before it was looked at, or behind that */
                    s.rewound++;
                }
                bytes[at] ^= turn == 1 ? 0 : turn == 2 ? 0x80 : 1;
                s.b.memory->fresh = turn != 3;
                for (size_t k = at % 5; k < s.b.all.count; k += 5) {
                    lkv_place want = expected(&s, s.b.all.key[k], 2), found;
                    int rc = look_up(&s, s.b.all.key[k], 2, &found);
                    if (turn != 3 && rc != LKV_CORRUPT) {
                        CHECK_SIZE(found.loc, want.loc);
                    }
                }
                bytes[at] ^= turn == 1 ? 1 : turn == 2 ? 0x80 : turn == 3 ? 1 : 0;
            }
            s.b.memory->fresh = 1;
        }
    }
    s.rewound++;
    check_all(&s, 3);
    stack_close(&s);
}

/* Runs of a root that lies. */
static void hostile_runs(void)
{
    static const uint32_t words[] = {0, 1, 2, 5, 40, 1000, UINT32_MAX - 1, UINT32_MAX};
    uint64_t random = check_seed();
    lkv_run right;
    stack s;

    stack_open(&s, 473, 1, KEYS_NUMBERS, 900, &random);
    right = s.runs->run[0];
    for (size_t i = 0; i < CASES(words) * 3; i++) {
        s.runs->run[0] = right;
        if (i % 3 == 0) {
            s.runs->run[0].top = words[i / 3];
        } else if (i % 3 == 1) {
            s.runs->run[0].blocks = words[i / 3];
        } else {
            s.runs->run[0].number += words[i / 3];
        }
        s.rewound++;
        for (size_t k = 0; k < s.b.all.count; k += 9) {
            lkv_place found;
            (void)(look_up(&s, s.b.all.key[k], 1, &found) == 0);
        }
    }
    stack_close(&s);
}

/* A topmost block whose header lies, with a right checksum. */
static void hostile_headers(void)
{
    static const uint32_t words[] = {0,  1,   2,   27,      28,
                                     29, 472, 473, 0x10000, UINT32_MAX};
    uint8_t *at, right[LKV_BLOCK_HEADER];
    uint64_t random = 3;
    uint32_t top;
    lkv_bytes view;
    stack s;

    stack_open(&s, 473, 1, KEYS_LONG, 300, &random);
    top = s.runs->run[0].top;
    CHECK_INT(s.b.memory->ops->read(s.b.memory, LKV_RUN_FIRST, (uint64_t)top * 473, 473,
                                    &view, NULL),
              LKV_OK);
    at = (uint8_t *)(uintptr_t)view.data;
    memcpy(right, at, sizeof(right));
    CHECK_INT(at[4], LKV_BLOCK_TOP);
    for (size_t field = 4; field + 4 <= LKV_BLOCK_HEADER; field += 2) {
        for (size_t i = 0; i < CASES(words); i++) {
            size_t size = (size_t)lkv_block_span(right, sizeof(right)) * 473;
            lkv_place found;
            int rc;
            lkv_format_u32(at + field, words[i]);
            lkv_block_seal(at, size, lkv_block_place(LKV_RUN_FIRST, top));
            s.rewound++;
            rc = look_up(&s, s.b.all.key[0], 1, &found);
            CHECK(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
            if (field == 16 && words[i] <= LKV_BLOCK_HEADER) { /* no entries */
                CHECK_INT(rc, LKV_CORRUPT);
            }
            memcpy(at, right, sizeof(right));
        }
    }
    s.rewound++;
    check_all(&s, 3);
    stack_close(&s);
}

static const check_case cases[] = {
    CASE(newest_answers),     CASE(nothing),        CASE(lists_change),
    CASE(numbers_come_again), CASE(bounded_memory), CASE(no_room),
    CASE(no_room_is_no_work), CASE(floors),         CASE(fails_anywhere),
    CASE(every_byte),         CASE(hostile_runs),   CASE(hostile_headers)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
