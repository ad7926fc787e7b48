/*
 * test_runcheck.c - blocks of a run that are right one by one and not together: left
 * out, doubled, in another order, leading elsewhere. They are refused; what is taken
 * after a change works as a run.
 */
#include "check.h"
#include "run_bench.h"
#include "runcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 100u
#define BLOCKS_MOST 2000u

/* A run as a list of its blocks. */
typedef struct blocks {
    uint8_t *bytes;
    size_t at[BLOCKS_MOST], size[BLOCKS_MOST];
    size_t count, all;
} blocks;

static void blocks_take(blocks *out, bench *b)
{
    lkv_bytes view;
    size_t at = 0;
    memset(out, 0, sizeof(*out));
    out->all = (size_t)b->run.blocks * UNIT;
    CHECK_INT(b->memory->ops->read(b->memory, BENCH_OBJECT, 0, 1, &view, NULL), LKV_OK);
    CHECK_SIZE(view.size, out->all);
    out->bytes = malloc(view.size);
    if (out->bytes == NULL) {
        abort();
    }
    memcpy(out->bytes, view.data, view.size);
    while (at < view.size && out->count < BLOCKS_MOST) {
        out->at[out->count] = at;
        out->size[out->count] = lkv_block_span(out->bytes + at, UNIT) * UNIT;
        at += out->size[out->count++];
    }
    CHECK_SIZE(at, view.size);
}

static int any_place(void *arg, lkv_bytes key, lkv_place place, const char **why)
{
    (void)arg;
    (void)key;
    (void)place;
    (void)why;
    return LKV_OK;
}

/* What is said of the blocks `order`, as all of `run`. */
static int look(const bench *b, const blocks *of, const size_t *order, size_t count,
                const lkv_run *run, int finished)
{
    lkv_run_check check;
    const char *why = "";
    int rc = LKV_OK;
    lkv_run_check_init(&check, &b->os.os, UNIT, BENCH_OBJECT, 0, any_place, NULL);
    for (size_t i = 0; i < count && rc == LKV_OK; i++) {
        size_t n = order[i];
        if (lkv_block_span(of->bytes + of->at[n], UNIT) != of->size[n] / UNIT) {
            why = "other bytes would be read";
            rc = LKV_CORRUPT;
            break;
        }
        /* All may stand where they are, as far as checksums tell. */
        lkv_block_seal(of->bytes + of->at[n], of->size[n],
                       lkv_block_place(BENCH_OBJECT, check.next));
        rc = lkv_run_check_block(&check,
                                 (lkv_bytes){of->bytes + of->at[n], of->size[n]}, &why);
    }
    if (rc == LKV_OK) {
        rc = lkv_run_check_end(&check, run, finished, &why);
    }
    lkv_run_check_free(&check);
    CHECK(rc == LKV_OK || (rc == LKV_CORRUPT && why[0] != '\0'));
    return rc;
}

static void bench_make(bench *b, blocks *of, size_t count)
{
    uint64_t random = count;
    bench_open(b, UNIT);
    keys_make(&b->all, KEYS_ALIKE, count, &random);
    CHECK_INT(bench_write(b, NULL), LKV_OK);
    blocks_take(of, b);
}

static void bench_end(bench *b, blocks *of)
{
    free(of->bytes);
    bench_close(b);
}

static const size_t sizes[] = {1, 9, 40, 150};

/* A block is missing, there twice, or changes places with the next one. */
static void order_of_blocks(void)
{
    for (size_t k = 0; k < CASES(sizes); k++) {
        size_t order[BLOCKS_MOST + 1];
        blocks of;
        bench b;
        bench_make(&b, &of, sizes[k]);
        for (size_t i = 0; i < of.count; i++) {
            order[i] = i;
        }
        CHECK_INT(look(&b, &of, order, of.count, &b.run, 1), LKV_OK);
        for (size_t i = 0; i < of.count; i += 1 + of.count / 60) {
            lkv_run run = b.run;
            uint32_t span = (uint32_t)(of.size[i] / UNIT);
            size_t n = 0;
            for (size_t j = 0; j < of.count; j++) {
                order[n] = j;
                n += j != i;
            }
            run.blocks -= span;
            run.top -= run.top >= of.at[i] / UNIT ? span : 0;
            CHECK_INT(look(&b, &of, order, n, &run, 1), LKV_CORRUPT);
            run = b.run;
            for (size_t j = n = 0; j < of.count; j++) {
                order[n++] = j;
                if (j == i) {
                    order[n++] = j;
                }
            }
            run.blocks += span;
            run.top += span;
            CHECK_INT(look(&b, &of, order, n, &run, 1), LKV_CORRUPT);
            for (size_t j = 0; j < of.count; j++) {
                order[j] = j == i ? (i + 1) % of.count : j == i + 1 ? i : j;
            }
            CHECK(i + 1 == of.count ||
                  look(&b, &of, order, of.count, &b.run, 1) == LKV_CORRUPT);
        }
        bench_end(&b, &of);
    }
}

/* Only the first blocks are there: that is a run which is under way, but no finished
 * one. */
static void ends_early(void)
{
    for (size_t k = 0; k < CASES(sizes); k++) {
        size_t order[BLOCKS_MOST];
        unsigned paused = 0;
        blocks of;
        bench b;
        bench_make(&b, &of, sizes[k]);
        for (size_t i = 0; i < of.count; i++) {
            lkv_run run = b.run;
            order[i] = i;
            run.blocks = (uint32_t)(of.at[i] / UNIT);
            CHECK_INT(look(&b, &of, order, i, &run, 1), LKV_CORRUPT);
            run.top = i == 0 ? 0 : (uint32_t)(of.at[i - 1] / UNIT);
            CHECK_INT(look(&b, &of, order, i, &run, 1), LKV_CORRUPT);
            paused += look(&b, &of, order, i, &run, 0) == LKV_OK;
        }
        CHECK_INT(look(&b, &of, order, of.count, &b.run, 1), LKV_OK);
        CHECK(paused < of.count || of.count < 3);
        bench_end(&b, &of);
    }
}

/* The root says other things of it. */
static void another_root(void)
{
    for (size_t k = 0; k < CASES(sizes); k++) {
        size_t order[BLOCKS_MOST];
        blocks of;
        bench b;
        bench_make(&b, &of, sizes[k]);
        for (size_t i = 0; i < of.count; i++) {
            order[i] = i;
        }
        for (int i = 0; i < 5; i++) {
            lkv_run run = b.run;
            run.blocks += i == 0;
            run.blocks -= i == 1;
            run.top += i == 2;
            run.entries += i == 3;
            run.live_bytes += i == 4;
            CHECK_INT(look(&b, &of, order, of.count, &run, 1), LKV_CORRUPT);
        }
        bench_end(&b, &of);
    }
}

/* Each byte of each block another, with a right checksum. */
static void forged(void)
{
    static const uint8_t masks[] = {1, 0x80, 0xff};
    size_t order[BLOCKS_MOST];
    unsigned taken = 0, refused = 0;
    blocks of;
    bench b;

    bench_make(&b, &of, 45);
    for (size_t i = 0; i < of.count; i++) {
        order[i] = i;
    }
    for (size_t i = 0; i < of.count && check_failures() == 0; i++) {
        uint8_t *block = of.bytes + of.at[i];
        /* All of what leads to others, and of leaves the headers. */
        size_t most = block[4] == LKV_BLOCK_LEAF ? LKV_BLOCK_HEADER + 8 : of.size[i];
        for (size_t n = 4 * sizeof(masks); n < most * sizeof(masks); n++) {
            uint8_t was = block[n / sizeof(masks)];
            block[n / sizeof(masks)] ^= masks[n % sizeof(masks)];
            if (look(&b, &of, order, of.count, &b.run, 1) == LKV_OK) {
                CHECK_INT(b.memory->ops->write(b.memory, BENCH_OBJECT, 0,
                                               (lkv_bytes){of.bytes, of.all}, NULL),
                          LKV_OK);
                for (size_t key = 0; key < b.all.count && taken < 40; key++) {
                    lkv_place found;
                    CHECK_INT(lkv_run_find(b.storage, &b.run, b.all.key[key],
                                           lkv_filter_hash(b.all.key[key]), &found,
                                           &b.err),
                              LKV_OK);
                }
                taken++;
                if (check_failures() > 0) {
                    printf("  block %zu, of kind %u, byte %zu of %zu\n", i, block[4],
                           n / sizeof(masks), of.size[i]);
                    break;
                }
            } else {
                refused++;
            }
            block[n / sizeof(masks)] = was;
        }
    }
    CHECK(taken > 0); /* bits of filters, and what no table names */
    CHECK(refused > 1000);
    bench_end(&b, &of);
}

static const check_case cases[] = {CASE(order_of_blocks), CASE(ends_early),
                                   CASE(another_root), CASE(forged)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
