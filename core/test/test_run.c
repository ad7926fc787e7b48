/*
 * test_run.c - runs against a sorted array: written at once or in pieces, read key by
 * key and in both directions. Failures and damage: test_run_damage.c.
 */
#include "check.h"
#include "run_bench.h"

#include <stdlib.h>
#include <string.h>

/* The sizes of a block in a database with pages of 512 bytes to 65,536, and others. */
static const uint32_t blocks[] = {473, 500, 985, 4057, 8153, 65496};

static void round_trip(void)
{
    static const size_t counts[] = {1, 2, 17, 300, 6000};
    uint64_t random = check_seed();
    for (size_t k = 0; k < CASES(blocks); k++) {
        for (int shape = 0; shape < KEYS_SHAPES; shape++) {
            for (size_t n = 0; n < CASES(counts) && check_failures() == 0; n++) {
                size_t count = counts[n] / (shape < KEYS_BEGINS ? 1 : 10) + 1;
                bench b;
                bench_open(&b, blocks[k]);
                keys_make(&b.all, (enum keys_shape)shape, count, &random);
                CHECK_INT(bench_write(&b, NULL), LKV_OK);
                CHECK_SIZE(b.fault.uneven, 0);
                bench_check_all(&b, 1 + count / 300);
                bench_close(&b);
            }
        }
    }
}

/* Blocks that are too small for anything but one entry: more levels than ever. */
static void tiny_blocks(void)
{
    uint64_t random = check_seed();
    for (uint32_t block = LKV_BLOCK_MIN; block < 300; block += 37) {
        bench b;
        bench_open(&b, block);
        keys_make(&b.all, KEYS_ALIKE, 300, &random);
        CHECK_INT(bench_write(&b, &random), LKV_OK);
        bench_check_all(&b, 3);
        bench_close(&b);
    }
}

/* The same keys whatever pauses came between, and about the same room. */
static void pause_and_resume(void)
{
    uint64_t random = check_seed();
    unsigned rounds = check_long() ? 400 : 40;
    for (unsigned i = 0; i < rounds && check_failures() == 0; i++) {
        uint64_t pauses = random + i;
        bench b;
        bench_open(&b, blocks[i % CASES(blocks)]);
        keys_make(&b.all, (enum keys_shape)(i % KEYS_SHAPES), 10 + i * 20, &random);
        CHECK_INT(bench_write(&b, &pauses), LKV_OK);
        bench_check_all(&b, 1 + i / 4);
        bench_close(&b);
    }
}

/* What is paused is a run already, but for what came after. */
static void paused_runs_are_read(void)
{
    uint64_t random = check_seed();
    lkv_run_writer writer;
    lkv_run_cursor cursor;
    size_t count, i;
    bench b;

    bench_open(&b, 473);
    keys_make(&b.all, KEYS_NUMBERS, 3000, &random);
    count = b.all.count;
    lkv_run_writer_init(&writer, b.storage, &b.os.os, BENCH_OBJECT);
    CHECK_INT(lkv_run_writer_pause(&writer, &b.err), LKV_OK); /* of nothing */
    CHECK_INT(writer.run.blocks, 0);
    for (i = 0; i < count; i++) {
        CHECK_INT(lkv_run_writer_add(&writer, b.all.key[i], b.all.place[i], &b.err),
                  LKV_OK);
        if (i % 500 == 499) {
            CHECK_INT(lkv_run_writer_pause(&writer, &b.err), LKV_OK);
            CHECK_INT(lkv_run_writer_pause(&writer, &b.err), LKV_OK); /* nothing more */
            b.run = writer.run;
            b.all.count = i + 1;
            bench_check_counts(&b);
            lkv_run_cursor_init(&cursor, b.storage, &b.os.os, &b.run);
            bench_check_at(&b, &cursor, lkv_run_last(&cursor, &b.err), i);
            bench_check_at(&b, &cursor, lkv_run_first(&cursor, &b.err), 0);
            lkv_run_cursor_free(&cursor);
            b.all.count = count;
        }
    }
    lkv_run_writer_free(&writer);
    bench_close(&b);
}

/* The empty key, keys longer than a block, and longer ones that begin alike. */
/* A root may say of a paused run that it is longer or shorter than it is. */
static void resumes_at_its_end(void)
{
    uint64_t random = 1;
    lkv_run_writer writer;
    lkv_run so_far;
    bench b;

    bench_open(&b, 192);
    keys_make(&b.all, KEYS_NUMBERS, 100, &random);
    lkv_run_writer_init(&writer, b.storage, &b.os.os, BENCH_OBJECT);
    for (size_t i = 0; i < b.all.count; i++) {
        CHECK_INT(lkv_run_writer_add(&writer, b.all.key[i], b.all.place[i], &b.err),
                  LKV_OK);
    }
    CHECK_INT(lkv_run_writer_pause(&writer, &b.err), LKV_OK);
    so_far = writer.run;
    lkv_run_writer_free(&writer);
    for (int by = -1; by <= 1; by++) {
        lkv_run said = so_far;
        said.blocks = (uint32_t)((int)said.blocks + by);
        CHECK_INT(lkv_run_writer_resume(&writer, b.storage, &b.os.os, &said, &b.err),
                  by == 0 ? LKV_OK : LKV_CORRUPT);
        lkv_run_writer_free(&writer);
    }
    bench_close(&b);
}

static void unusual_keys(void)
{
    static const size_t lengths[] = {0, 1, 100, 470, 473, 474, 5000, 70000};
    for (size_t k = 0; k < CASES(blocks); k += 2) {
        uint8_t *bytes = calloc(1, 70001);
        bench b;
        if (bytes == NULL) {
            abort();
        }
        bench_open(&b, blocks[k]);
        keys_begin(&b.all, 100);
        for (size_t i = 0; i < CASES(lengths); i++) {
            keys_add(&b.all, (lkv_bytes){bytes, lengths[i]},
                     (lkv_place){lkv_loc_make(1, 2, (uint32_t)i * 100), 50});
        }
        for (uint8_t i = 1; i < 20; i++) { /* a difference at the very end */
            bytes[69999] = i;
            keys_add(&b.all, (lkv_bytes){bytes, 70000},
                     (lkv_place){LKV_LOC_TOMBSTONE | i, 13});
        }
        CHECK_INT(bench_write(&b, NULL), LKV_OK);
        bench_check_all(&b, 1);
        bench_close(&b);
        free(bytes);
    }
}

/* Fences */

/* The array's keys in chunks of `each`: a fence for the first of each, and the hashes
 * of all, before or after it. */
static void write_fences(bench *b, size_t each, int before, uint64_t *pauses)
{
    lkv_run_writer writer;

    lkv_run_writer_init(&writer, b->storage, &b->os.os, BENCH_OBJECT);
    for (size_t i = 0; i < b->all.count; i += each) {
        if (check_below(pauses, 20) == 0) {
            lkv_run so_far;
            CHECK_INT(lkv_run_writer_pause(&writer, &b->err), LKV_OK);
            so_far = writer.run;
            lkv_run_writer_free(&writer);
            CHECK_INT(
                lkv_run_writer_resume(&writer, b->storage, &b->os.os, &so_far, &b->err),
                LKV_OK);
        }
        for (int part = 0; part < 2; part++) {
            for (size_t k = i; k < i + each && k < b->all.count; k++) {
                if (part == before) {
                    CHECK_INT(lkv_run_writer_add_hash(&writer,
                                                      lkv_filter_hash(b->all.key[k])),
                              LKV_OK);
                }
            }
            if (part == 0) {
                CHECK_INT(lkv_run_writer_add_entry(&writer, b->all.key[i],
                                                   b->all.place[i], &b->err),
                          LKV_OK);
            }
        }
    }
    CHECK_INT(lkv_run_writer_finish(&writer, &b->err), LKV_OK);
    b->run = writer.run;
    lkv_run_writer_free(&writer);
}

static void check_floor(bench *b, lkv_bytes key, size_t each, int *absent)
{
    lkv_place found = {LKV_NOWHERE, 0};
    uint64_t hash = lkv_filter_hash(key);
    int equal, rc;
    size_t below = keys_rank(&b->all, key, &equal);
    size_t fence = below == 0 ? 0 : (below - 1) / each * each;

    rc = lkv_run_floor(b->storage, &b->run, key, NULL, &found, NULL, &b->err);
    CHECK_INT(rc, below == 0 ? LKV_ABSENT : LKV_OK);
    if (below > 0) {
        CHECK_SIZE(found.loc, b->all.place[fence].loc);
    }
    found.loc = LKV_NOWHERE;
    rc = lkv_run_floor(b->storage, &b->run, key, &hash, &found, NULL, &b->err);
    if (equal) {
        CHECK_INT(rc, LKV_OK);
    }
    if (rc == LKV_OK) {
        CHECK_SIZE(found.loc, b->all.place[fence].loc);
    } else {
        CHECK_INT(rc, LKV_ABSENT);
        *absent += below > 0;
    }
}

static void floors(void)
{
    static const size_t chunks[] = {1, 2, 7, 40, 500};
    uint64_t random = check_seed();
    for (size_t k = 0; k < CASES(blocks); k++) {
        for (size_t n = 0; n < 2 * CASES(chunks) && check_failures() == 0; n++) {
            size_t each = chunks[n / 2];
            int absent = 0;
            bench b;
            bench_open(&b, blocks[k]);
            keys_make(&b.all, n % 3 == 0 ? KEYS_ALIKE : KEYS_NUMBERS, 2000, &random);
            write_fences(&b, each, (int)(n % 2), &random);
            CHECK_SIZE(b.run.entries, (b.all.count + each - 1) / each);
            for (size_t i = 0; i < b.all.count; i += 1 + each / 9) {
                check_floor(&b, b.all.key[i], each, &absent);
                check_floor(&b, keys_near(b.all.key[i], (int)(i % KEYS_NEAR)), each,
                            &absent);
            }
            CHECK(absent > 0); /* a filter knew it */
            bench_close(&b);
        }
    }
}

/* The example of FORMAT.md, as another program wrote it. What is not named is zero. */
static void golden_bytes(void)
{
    static const uint8_t leaf[48] = {
        0xce, 0xea, 0xd2, 0xab, 0x01, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x61, 0x70, 0x70, 0x6c, 0x65, 0x09,
        0x40, 0x18, 0x04, 0x01, 0x79, 0x14, 0x40, 0x12, 0x1c, 0x00, 0x00, 0x00};
    static const uint8_t branch[35] = {
        0x0d, 0x21, 0x1a, 0xd1, 0x02, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00,
        0x01, 0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1c, 0x00, 0x00, 0x00};
    static const struct {
        uint8_t at, byte;
    } filter[] = {{134, 0x21}, {136, 0x80}, {140, 0x01}, {142, 0x10},
                  {147, 0x04}, {149, 0x04}, {156, 0x20}, {157, 0x08},
                  {161, 0x08}, {162, 0x40}, {180, 0x10}};
    uint8_t want[2 * 192] = {0};
    lkv_place put = {lkv_loc_make(1, 1, 64), 24};
    lkv_place tombstone = {lkv_loc_make(0, 2, 64) | LKV_LOC_TOMBSTONE, 18};
    lkv_run_writer writer;
    lkv_bytes got;
    bench b;

    memcpy(want, leaf, sizeof(leaf));
    memcpy(want + 192, branch, sizeof(branch));
    for (size_t i = 0; i < CASES(filter); i++) {
        want[192 + filter[i].at] = filter[i].byte;
    }
    bench_open(&b, 192);
    lkv_run_writer_init(&writer, b.storage, &b.os.os, BENCH_OBJECT);
    CHECK_INT(lkv_run_writer_add(&writer, (lkv_bytes){"apple", 5}, put, &b.err),
              LKV_OK);
    CHECK_INT(lkv_run_writer_add(&writer, (lkv_bytes){"apply", 5}, tombstone, &b.err),
              LKV_OK);
    CHECK_INT(lkv_run_writer_finish(&writer, &b.err), LKV_OK);
    CHECK_INT(writer.run.blocks, 2);
    CHECK_INT(writer.run.top, 1);
    CHECK_SIZE(writer.run.entries, 2);
    CHECK_SIZE(writer.run.live_bytes, 24);
    CHECK_INT(
        b.storage->ops->read(b.storage, BENCH_OBJECT, 0, sizeof(want), &got, &b.err),
        LKV_OK);
    CHECK_BYTES(got.data, got.size, want, sizeof(want));
    lkv_run_writer_free(&writer);
    bench_close(&b);
}

static const check_case cases[] = {CASE(golden_bytes),         CASE(round_trip),
                                   CASE(tiny_blocks),          CASE(pause_and_resume),
                                   CASE(paused_runs_are_read), CASE(resumes_at_its_end),
                                   CASE(unusual_keys),         CASE(floors)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
