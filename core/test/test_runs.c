/*
 * test_runs.c - lists of parts and runs: made, shared, and asked for an object's bytes.
 */
#include "check.h"
#include "os_fault.h"
#include "runs.h"

#include <string.h>

static lkv_runs counts(uint32_t parts, uint32_t outs, uint32_t count, uint32_t merges,
                       uint32_t gone)
{
    return (lkv_runs){.references = 77,
                      .parts = parts,
                      .count = count,
                      .merges = merges,
                      .gone = gone,
                      .next_part = 1,
                      .next_run = 2,
                      .auto_compact = 3,
                      .pass = {4, 5, outs, 6},
                      .tail = {7, 8, 9, 10, 11, {.lane = {12}}},
                      .tail_at = 13};
}

static void made_like_another(void)
{
    static const uint32_t some[][5] = {
        {0, 0, 0, 0, 0}, {1, 0, 0, 0, 0}, {0, 1, 0, 0, 0}, {0, 0, 1, 0, 0},
        {0, 0, 0, 1, 0}, {0, 0, 0, 0, 1}, {3, 2, 5, 4, 7}};
    for (size_t i = 0; i < CASES(some); i++) {
        lkv_runs like =
            counts(some[i][0], some[i][1], some[i][2], some[i][3], some[i][4]);
        static const lkv_run no_run;
        static const lkv_part no_part;
        lkv_runs *made;
        os_fault os;

        os_fault_init(&os);
        os_fault_arm(&os, 1, 0);
        CHECK(lkv_runs_new(&os.os, &like) == NULL);
        made = lkv_runs_new(&os.os, &like);
        CHECK_INT(made->references, 1);
        CHECK_BYTES(&made->parts, offsetof(lkv_runs, part) - offsetof(lkv_runs, parts),
                    &like.parts, offsetof(lkv_runs, part) - offsetof(lkv_runs, parts));
        for (uint32_t k = 0; k < like.parts + like.pass.out; k++) {
            CHECK_BYTES(&made->part[k], sizeof(no_part), &no_part, sizeof(no_part));
            memset(&made->part[k], 0xee, sizeof(no_part)); /* it is there to be set */
        }
        for (uint32_t k = 0; k < like.count + like.merges; k++) {
            CHECK_BYTES(&made->run[k], sizeof(no_run), &no_run, sizeof(no_run));
            memset(&made->run[k], 0xee, sizeof(no_run));
        }
        for (uint32_t k = 0; k < like.gone; k++) {
            CHECK_INT(made->garbage[k].number + made->garbage[k].blocks, 0);
            memset(&made->garbage[k], 0xee, sizeof(lkv_gone));
        }
        CHECK(made->out == made->part + like.parts);
        CHECK(made->merge == made->run + like.count);
        lkv_runs_release(&os.os, made);
        CHECK_SIZE(os.live, 0);
    }
}

static void held_by_several(void)
{
    lkv_runs like = counts(0, 0, 1, 0, 0), *made;
    os_fault os;

    os_fault_init(&os);
    made = lkv_runs_new(&os.os, &like);
    CHECK(lkv_runs_hold(made) == made);
    CHECK(lkv_runs_hold(made) == made);
    lkv_runs_release(&os.os, made);
    lkv_runs_release(&os.os, made);
    CHECK_SIZE(os.live, 1);
    made->run[0].number = 5; /* it is still there */
    lkv_runs_release(&os.os, made);
    CHECK_SIZE(os.live, 0);
    lkv_runs_release(&os.os, NULL);
}

static void bytes_of_objects(void)
{
    lkv_runs like = counts(2, 1, 2, 2, 1), *runs;
    os_fault os;

    os_fault_init(&os);
    runs = lkv_runs_new(&os.os, &like);
    for (uint32_t i = 0; i < 2; i++) {
        runs->run[i].number = LKV_RUN_FIRST + i;
        runs->run[i].blocks = 10 + i;
        runs->merge[i].number = LKV_RUN_FIRST + 10 + i;
        runs->merge[i].blocks = i;
    }
    for (uint32_t i = 0; i < 3; i++) { /* the last one is the pass's */
        runs->part[i].number = LKV_PART_FIRST + i;
        runs->part[i].size = 1001 + i;
        runs->part[i].index = LKV_RUN_FIRST + 20 + i;
        runs->part[i].blocks = 3 + i;
    }
    runs->garbage[0] = (lkv_gone){LKV_RUN_FIRST + 30, 99};
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST, 500), 5000);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 1, 500), 5500);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 10, 500), 0);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 11, 500), 500);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_PART_FIRST + 1, 500), 1002);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_PART_FIRST + 2, 500), 1003);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 20, 500), 1500);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 22, 500), 2500);
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 30, 500), 0);
    CHECK_SIZE(lkv_runs_bytes(runs, 1, 500), 0);
    runs->run[1].blocks = UINT32_MAX;
    CHECK_SIZE(lkv_runs_bytes(runs, LKV_RUN_FIRST + 1, 65536),
               (uint64_t)UINT32_MAX * 65536);
    lkv_runs_release(&os.os, runs);
}

/* Parts, and what a pass has written of them, are older than all runs. */
static void bottom(void)
{
    lkv_runs runs = counts(0, 0, 3, 1, 1);
    CHECK(lkv_runs_at_bottom(&runs));
    runs.pass.out = 1;
    CHECK(!lkv_runs_at_bottom(&runs));
    runs.pass.out = 0;
    runs.parts = 1;
    CHECK(!lkv_runs_at_bottom(&runs));
}

static const check_case cases[] = {CASE(made_like_another), CASE(held_by_several),
                                   CASE(bytes_of_objects), CASE(bottom)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
