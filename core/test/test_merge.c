/*
 * test_merge.c - one run of several: against an array that tells for each key what the
 * newest of them has; in slices of all sizes, taken up by others, and failing.
 */
#include "check.h"
#include "merge.h"
#include "run_bench.h"

#include <stdlib.h>
#include <string.h>

#define MOST 6u

/* Runs that follow each other, and all their keys. A place of LKV_NOWHERE: not in it.
 */
typedef struct stack {
    bench b; /* `all` and `run` are what is expected of the output, and it */
    keys pool;
    lkv_place *in[MOST];
    lkv_runs *runs;
    lkv_run entry; /* of the merge */
    uint32_t first, count;
} stack;

static void write_input(stack *s, uint32_t i)
{
    lkv_run *run = &s->runs->run[i];
    lkv_run_writer writer;

    lkv_run_writer_init(&writer, s->b.storage, &s->b.os.os, LKV_RUN_FIRST + i);
    for (size_t k = 0; k < s->pool.count; k++) {
        if (s->in[i][k].loc != LKV_NOWHERE) {
            CHECK_INT(lkv_run_writer_add(&writer, s->pool.key[k], s->in[i][k], NULL),
                      LKV_OK);
        }
    }
    if (writer.run.entries > 0) {
        CHECK_INT(lkv_run_writer_finish(&writer, NULL), LKV_OK);
    }
    *run = writer.run;
    run->from = i * 100;
    run->to = i * 100 + 100;
    lkv_run_writer_free(&writer);
}

/* `all_gone`: nothing but tombstones. The merge is of runs `first` to `first + count`.
 */
static void stack_open(stack *s, uint32_t block, uint32_t inputs, size_t keys_most,
                       int all_gone, uint64_t *random)
{
    lkv_runs like = {.count = inputs, .next_run = LKV_RUN_FIRST + inputs};

    memset(s, 0, sizeof(*s));
    bench_open(&s->b, block);
    keys_make(&s->pool, check_below(random, 2) ? KEYS_ALIKE : KEYS_NUMBERS, keys_most,
              random);
    s->runs = lkv_runs_new(&s->b.os.os, &like);
    for (uint32_t i = 0; i < inputs; i++) {
        uint64_t share = 1 + check_below(random, 9);
        s->in[i] = calloc(s->pool.count, sizeof(lkv_place));
        if (s->in[i] == NULL) {
            abort();
        }
        for (size_t k = 0; k < s->pool.count; k++) {
            lkv_place place = {lkv_loc_make(k & 3, i + 1, (uint32_t)k), 100 + i};
            int gone = all_gone || check_below(random, 4) == 0;
            s->in[i][k] = check_below(random, 10) < share || k == i
                              ? place
                              : (lkv_place){LKV_NOWHERE, 0};
            if (s->in[i][k].loc != LKV_NOWHERE && gone) {
                s->in[i][k].loc |= LKV_LOC_TOMBSTONE;
                s->in[i][k].loc &= ~(3ull << 61);
            }
        }
        write_input(s, i);
    }
}

/* A merge of so many of them, and what it has to give. */
static void expect(stack *s, uint32_t first, uint32_t count, int drops)
{
    keys_free(&s->b.all);
    keys_begin(&s->b.all, s->pool.count);
    for (size_t k = 0; k < s->pool.count; k++) {
        for (uint32_t i = first + count; i-- > first;) {
            lkv_place place = s->in[i][k];
            if (place.loc != LKV_NOWHERE) {
                if (!drops || lkv_loc_live(place.loc)) {
                    keys_add(&s->b.all, s->pool.key[k], place);
                }
                break;
            }
        }
    }
    s->first = first;
    s->count = count;
    memset(&s->entry, 0, sizeof(s->entry));
    s->entry.number = s->runs->next_run;
    s->entry.from = s->runs->run[first].from;
    s->entry.to = s->runs->run[first + count - 1].to;
}

static void stack_close(stack *s)
{
    for (uint32_t i = 0; i < MOST; i++) {
        free(s->in[i]);
    }
    os_fault_arm(&s->b.os, 0, 0);
    lkv_runs_release(&s->b.os.os, s->runs);
    keys_free(&s->pool);
    bench_close(&s->b);
}

static void check_output(stack *s)
{
    s->b.run = s->entry;
    CHECK_SIZE(s->b.run.entries, s->b.all.count);
    if (s->b.all.count > 0) {
        bench_check_all(&s->b, 1 + s->b.all.count / 50);
    } else {
        CHECK_INT(s->b.run.blocks, 0);
    }
}

/* Works until it is done, `slice` blocks at a time; now and then it is put down and
 * taken up again. The entry goes along. */
static int run_merge(stack *s, uint32_t slice, uint64_t *random)
{
    lkv_merge *merge = NULL;
    unsigned slices = 0;
    int rc = LKV_ABSENT;

    while (rc == LKV_ABSENT && slices++ < 100000) {
        uint32_t before = s->entry.blocks;
        if (merge == NULL) {
            rc = lkv_merge_open(s->b.storage, &s->b.os.os, s->runs, &s->entry, &merge,
                                &s->b.err);
            if (rc != LKV_OK) {
                return rc;
            }
            CHECK_INT(merge->inputs, s->count);
        }
        rc = lkv_merge_step(merge, slice, &s->b.err);
        if (rc < 0) {
            break;
        }
        s->entry.blocks = merge->writer.run.blocks;
        s->entry.top = merge->writer.run.top;
        s->entry.entries = merge->writer.run.entries;
        s->entry.live_bytes = merge->writer.run.live_bytes;
        CHECK(rc == LKV_OK || s->entry.blocks - before >= slice);
        if (rc == LKV_ABSENT && random != NULL && check_below(random, 3) == 0) {
            lkv_merge_close(merge);
            merge = NULL;
        }
    }
    lkv_merge_close(merge);
    return rc;
}

static void newest_wins(void)
{
    static const uint32_t slices[] = {1, 3, 20, 1000000};
    uint64_t random = check_seed();
    unsigned rounds = check_long() ? 300 : 30;
    for (unsigned i = 0; i < rounds && check_failures() == 0; i++) {
        uint32_t inputs = 1 + i % MOST;
        stack s;
        stack_open(&s, i % 2 ? 473 : 1500, inputs, 30 + check_below(&random, 900), 0,
                   &random);
        for (size_t k = 0; k < CASES(slices); k++) {
            uint32_t first = (uint32_t)check_below(&random, inputs);
            uint32_t count = 1 + (uint32_t)check_below(&random, inputs - first);
            s.runs->parts = k % 2;
            expect(&s, first, count, first == 0 && k % 2 == 0);
            CHECK_INT(run_merge(&s, slices[k], &random), LKV_OK);
            check_output(&s);
            s.b.storage->ops->rewind(s.b.storage, s.entry.number, 0);
        }
        s.runs->parts = 0;
        stack_close(&s);
    }
}

/* Tombstones leave when nothing older is left that they could hide, and not before. */
static void tombstones(void)
{
    uint64_t random = check_seed();
    for (int bottom = 0; bottom < 4; bottom++) {
        stack s;
        stack_open(&s, 473, 3, 400, 1, &random);
        s.runs->parts = bottom == 1;
        s.runs->pass.out = bottom == 2;
        expect(&s, bottom == 3, 2, bottom == 0);
        CHECK((s.b.all.count == 0) == (bottom == 0));
        CHECK_INT(run_merge(&s, 5, &random), LKV_OK);
        check_output(&s);
        s.runs->parts = s.runs->pass.out = 0;
        stack_close(&s);
    }
}

/* Each allocation and each call of the storage fails; then it is taken up where the
 * list has it. */
static void fails_anywhere(void)
{
    for (int k = 0; k < 4; k++) {
        unsigned failed = 0;
        for (uint64_t n = 1;; n++) {
            uint64_t random = 5, again = 6, failures;
            stack s;
            int rc;
            stack_open(&s, 473, 4, 150, 0, &random);
            expect(&s, 0, 4, 1);
            os_fault_arm(&s.b.os, k % 2 ? 0 : n, k / 2);
            storage_fault_arm(&s.b.fault, k % 2 ? n : 0, k / 2, LKV_FAILED);
            rc = run_merge(&s, 4, &again);
            failures = s.b.os.failures + s.b.fault.failures;
            os_fault_arm(&s.b.os, 0, 0);
            storage_fault_arm(&s.b.fault, 0, 0, LKV_OK);
            CHECK_INT(rc, failures == 0 ? LKV_OK : k % 2 ? LKV_FAILED : LKV_NOMEM);
            if (failures > 0) {
                s.b.storage->ops->rewind(s.b.storage, s.entry.number,
                                         (uint64_t)s.entry.blocks * 473);
                CHECK_INT(run_merge(&s, 4, &again), LKV_OK);
            }
            if (n % 9 == 1 || failures == 0) {
                check_output(&s);
            }
            stack_close(&s);
            if (failures == 0 || check_failures() > 0) {
                break;
            }
            failed++;
        }
        CHECK(failed > 10);
    }
}

/* A damaged input makes no output. */
static void damaged_inputs(void)
{
    uint64_t random = check_seed();
    lkv_bytes view;
    stack s;

    stack_open(&s, 473, 3, 120, 0, &random);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t blocks = s.runs->run[i].blocks;
        for (size_t at = 0; at < (size_t)blocks * 473; at += 61) {
            uint8_t *bytes;
            int rc;
            CHECK_INT(
                s.b.memory->ops->read(s.b.memory, LKV_RUN_FIRST + i, 0, 1, &view, NULL),
                LKV_OK);
            bytes = (uint8_t *)(uintptr_t)view.data;
            bytes[at] ^= 0x40;
            expect(&s, 0, 3, 1);
            rc = run_merge(&s, 7, &random);
            bytes[at] ^= 0x40;
            if (rc == LKV_OK) { /* what a search begins with is not read by a merge */
                check_output(&s);
            } else {
                CHECK_INT(rc, LKV_CORRUPT);
                CHECK_HAS(s.b.err.text, "run ");
            }
            s.b.storage->ops->rewind(s.b.storage, s.entry.number, 0);
        }
    }
    stack_close(&s);
}

static void no_inputs(void)
{
    uint64_t random = 1;
    lkv_merge *merge;
    stack s;

    stack_open(&s, 473, 3, 20, 0, &random);
    expect(&s, 1, 1, 0);
    s.entry.from++; /* none lies within */
    CHECK_INT(
        lkv_merge_open(s.b.storage, &s.b.os.os, s.runs, &s.entry, &merge, &s.b.err),
        LKV_CORRUPT);
    CHECK_TEXT(s.b.err.text, "run 4, block 0: a merge has no inputs");
    lkv_merge_close(NULL);
    stack_close(&s);
}

/* The policy */

/* A list of runs of such sizes, 100 bytes of log each; 0 ends it. */
static lkv_runs *list_of(const os_fault *os, const uint32_t *blocks)
{
    lkv_runs like = {.count = 0}, *runs;
    while (blocks[like.count] != 0) {
        like.count++;
    }
    like.merges = 1;
    runs = lkv_runs_new(&os->os, &like);
    for (uint32_t i = 0; i < like.count; i++) {
        runs->run[i] = (lkv_run){LKV_RUN_FIRST + i, blocks[i],        0, i * 100,
                                 i * 100 + 100,     blocks[i] * 100u, 0};
    }
    runs->merges = 0;
    return runs;
}

static void choice(void)
{
    static const struct {
        uint32_t blocks[10];
        uint32_t first, count;
    } lists[] = {
        {{0}, 0, 0},
        {{20, 20, 20, 0}, 0, 0}, /* less than four */
        {{20, 20, 20, 20, 0}, 0, 4},
        {{20, 20, 20, 20, 20, 0}, 0, 5},
        {{120, 20, 20, 20, 20, 0}, 0, 5}, /* one and a half times what is newer */
        {{121, 20, 20, 20, 20, 0}, 1, 4}, /* more than that */
        {{20, 20, 20, 30, 20, 0}, 0, 5},
        {{20, 20, 20, 31, 20, 0}, 0, 0}, /* nothing goes past a large one */
        {{100, 1, 1, 1, 1, 0}, 1, 4},
        {{1, 1, 1, 1, 1000, 1, 0}, 0, 0},
        {{8, 4, 2, 1, 0}, 0, 0},
        {{9, 4, 2, 1, 1, 0}, 0, 5},
        {{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, 0}, 0, 4}};
    for (size_t i = 0; i < CASES(lists); i++) {
        uint32_t first = 0;
        lkv_runs *runs;
        os_fault os;
        os_fault_init(&os);
        runs = list_of(&os, lists[i].blocks);
        if (!CHECK_INT(lkv_merge_choose(runs, &first), lists[i].count) ||
            !CHECK_INT(lists[i].count > 0 ? first : 0, lists[i].first)) {
            CHECK_SIZE(i, SIZE_MAX); /* tells which */
        }
        lkv_runs_release(&os.os, runs);
    }
}

/* What a merge or a pass has taken is left alone. */
static void taken(void)
{
    static const uint32_t eight[] = {20, 20, 20, 20, 20, 20, 20, 20, 0};
    uint32_t first = 0;
    lkv_runs *runs;
    os_fault os;

    os_fault_init(&os);
    runs = list_of(&os, eight);
    CHECK_SIZE(lkv_merge_left(runs), 0);
    runs->merges = 1;
    runs->merge[0] = (lkv_run){.number = 9, .from = 400, .to = 800};
    CHECK_SIZE(lkv_merge_left(runs), 80);
    runs->merge[0].blocks = 30;
    CHECK_SIZE(lkv_merge_left(runs), 50);
    runs->merge[0].blocks = 300;
    CHECK_SIZE(lkv_merge_left(runs), 0);
    CHECK_INT(lkv_merge_choose(runs, &first), 0); /* the newest is taken */
    runs->merge[0].from = 0;
    runs->merge[0].to = 300;
    CHECK_INT(lkv_merge_choose(runs, &first), 5); /* one more than without a merge */
    CHECK_INT(first, 3);
    runs->merge[0].to = 400;
    CHECK_INT(lkv_merge_choose(runs, &first), 0);
    runs->merges = 0;
    runs->pass.to = 400; /* compaction reads the first four */
    CHECK_INT(lkv_merge_choose(runs, &first), 4);
    CHECK_INT(first, 4);
    runs->pass.to = 401; /* and now a part of the fifth, which waits */
    CHECK_INT(lkv_merge_choose(runs, &first), 0);
    lkv_runs_release(&os.os, runs);
}

/* Runs that come one at a time, and merges that follow the choice: the runs stay few,
 * and a key is copied a few times only. */
static void many_flushes(void)
{
    static uint32_t blocks[2000];
    uint32_t count = 0;
    uint64_t copied = 0;

    for (uint32_t n = 0; n < 1024; n++) {
        uint32_t first, taken_now;
        blocks[count++] = 20;
        blocks[count] = 0;
        for (;;) {
            uint32_t sum = 0;
            os_fault os;
            lkv_runs *runs;
            os_fault_init(&os);
            runs = list_of(&os, blocks);
            taken_now = lkv_merge_choose(runs, &first);
            lkv_runs_release(&os.os, runs);
            if (taken_now == 0) {
                break;
            }
            for (uint32_t i = first; i < first + taken_now; i++) {
                sum += blocks[i];
            }
            blocks[first] = sum;
            memmove(blocks + first + 1, blocks + first + taken_now,
                    (count - first - taken_now + 1) * sizeof(blocks[0]));
            count -= taken_now - 1;
            copied += sum;
        }
        CHECK(count <= 12);
    }
    CHECK(copied <= 6 * 1024 * 20);
}

/* Runs that a pass of compaction takes in are work that is left. */
static void left_of_a_pass(void)
{
    lkv_runs like = {.count = 2}, *runs;
    os_fault os;

    os_fault_init(&os);
    runs = lkv_runs_new(&os.os, &like);
    runs->run[0] = (lkv_run){.blocks = 7, .to = 100};
    runs->run[1] = (lkv_run){.blocks = 5, .from = 100, .to = 150};
    CHECK_SIZE(lkv_merge_left(runs), 0);
    runs->pass.to = 100;
    CHECK_SIZE(lkv_merge_left(runs), 7);
    lkv_runs_release(&os.os, runs);
    CHECK_SIZE(os.live, 0);
}

static const check_case cases[] = {
    CASE(left_of_a_pass), CASE(newest_wins),    CASE(tombstones),
    CASE(fails_anywhere), CASE(damaged_inputs), CASE(no_inputs),
    CASE(choice),         CASE(taken),          CASE(many_flushes)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
