/*
 * test_run_damage.c - runs when memory, the storage or their bytes fail: nothing wrong
 * is believed, nothing is lost, and it ends.
 */
#include "check.h"
#include "run_bench.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    uint32_t block;
    enum keys_shape shape;
    size_t count;
} small_runs[] = {
    {473, KEYS_ALIKE, 400}, {100, KEYS_LONG, 12}, {4057, KEYS_NUMBERS, 900}};

static void make_small(bench *b, size_t which)
{
    uint64_t random = which + 1;
    bench_open(b, small_runs[which].block);
    keys_make(&b->all, small_runs[which].shape, small_runs[which].count, &random);
}

/* Each allocation and each call of the storage fails while a run is written; then it is
 * written again. */
static void writing_fails_anywhere(void)
{
    for (size_t which = 0; which < CASES(small_runs); which++) {
        for (int k = 0; k < 4; k++) {
            unsigned failed = 0;
            for (uint64_t n = 1;; n++) {
                uint64_t pauses = 5, failures;
                bench b;
                int rc;
                make_small(&b, which);
                os_fault_arm(&b.os, k % 2 ? 0 : n, k / 2);
                storage_fault_arm(&b.fault, k % 2 ? n : 0, k / 2, LKV_FAILED);
                rc = bench_write(&b, &pauses);
                failures = b.os.failures + b.fault.failures;
                CHECK_INT(rc, failures == 0 ? LKV_OK : k % 2 ? LKV_FAILED : LKV_NOMEM);
                os_fault_arm(&b.os, 0, 0);
                storage_fault_arm(&b.fault, 0, 0, LKV_OK);
                if (failures > 0) {
                    b.storage->ops->rewind(b.storage, BENCH_OBJECT, 0);
                    CHECK_INT(bench_write(&b, NULL), LKV_OK);
                    failed++;
                }
                if (n % 7 == 1 || failures == 0) {
                    bench_check_walks(&b);
                }
                bench_close(&b);
                if (failures == 0 || check_failures() > 0) {
                    break;
                }
            }
            CHECK(failed >= 3);
        }
    }
}

/* One way to read; the cursor stands somewhere before. */
static int read_somehow(bench *b, lkv_run_cursor *cursor, int how)
{
    lkv_bytes key = b->all.key[b->all.count / 3];
    lkv_place found;
    switch (how) {
    case 0:
        return lkv_run_find(b->storage, &b->run, key, lkv_filter_hash(key), &found,
                            &b->err);
    case 1:
        return lkv_run_floor(b->storage, &b->run, key, NULL, &found, NULL, &b->err);
    case 2:
        return lkv_run_first(cursor, &b->err);
    case 3:
        return lkv_run_last(cursor, &b->err);
    case 4:
        return lkv_run_seek(cursor, key, LKV_SEEK_GT, &b->err);
    case 5:
        return lkv_run_seek(cursor, key, LKV_SEEK_LT, &b->err);
    default: /* over the end of a leaf */
        for (size_t i = 0; i < 2000; i++) {
            int rc = how == 6 ? lkv_run_next(cursor, &b->err)
                              : lkv_run_prev(cursor, &b->err);
            if (rc != LKV_OK) {
                return rc < 0 ? rc : LKV_OK;
            }
        }
        return LKV_OK;
    }
}

static void reading_fails_anywhere(void)
{
    for (size_t which = 0; which < CASES(small_runs); which++) {
        for (int how = 0; how < 8; how++) {
            for (int storage = 0; storage < 2; storage++) {
                unsigned failed = 0;
                for (uint64_t n = 1;; n++) {
                    lkv_run_cursor cursor;
                    uint64_t failures;
                    bench b;
                    int rc;
                    make_small(&b, which);
                    CHECK_INT(bench_write(&b, NULL), LKV_OK);
                    lkv_run_cursor_init(&cursor, b.storage, &b.os.os, &b.run);
                    rc = how == 6 ? lkv_run_first(&cursor, &b.err)
                                  : lkv_run_last(&cursor, &b.err);
                    CHECK_INT(rc, LKV_OK);
                    os_fault_arm(&b.os, storage ? 0 : n, 0);
                    storage_fault_arm(&b.fault, storage ? n : 0, 0, LKV_FAILED);
                    rc = read_somehow(&b, &cursor, how);
                    failures = b.os.failures + b.fault.failures;
                    os_fault_arm(&b.os, 0, 0);
                    storage_fault_arm(&b.fault, 0, 0, LKV_OK);
                    CHECK_INT(rc, failures == 0 ? LKV_OK
                                  : storage     ? LKV_FAILED
                                                : LKV_NOMEM);
                    if (failures > 0 && how > 1) { /* it stands nowhere */
                        CHECK_INT(lkv_run_next(&cursor, &b.err), LKV_ABSENT);
                        CHECK_INT(lkv_run_prev(&cursor, &b.err), LKV_ABSENT);
                        bench_check_seek(&b, &cursor, b.all.key[3], LKV_SEEK_GE);
                    }
                    lkv_run_cursor_free(&cursor);
                    bench_close(&b);
                    if (failures == 0 || check_failures() > 0) {
                        break;
                    }
                    failed++;
                }
                CHECK(failed > 0 || !storage);
            }
        }
    }
}

static uint8_t *bytes_of(bench *b)
{
    lkv_bytes view;
    CHECK_INT(b->memory->ops->read(b->memory, BENCH_OBJECT, 0, 1, &view, NULL), LKV_OK);
    return (uint8_t *)(uintptr_t)view.data;
}

/* Whether an answer is right or says that the run is damaged. */
static int right_or_damaged(bench *b, int rc, int is_right)
{
    if (rc == LKV_CORRUPT) {
        int told = CHECK_HAS(b->err.text, "run 1, block ");
        b->err.text[0] = '\0';
        return told;
    }
    return CHECK(is_right);
}

/* Everything that reads, in a run that is damaged somewhere. With `verify` nothing
 * wrong is believed; without, it ends and stays within. */
static void read_damaged(bench *b, int verify)
{
    lkv_run_cursor cursor;
    size_t i = 0, steps = 0;
    int rc;

    for (size_t k = 0; k < b->all.count; k += 1 + b->all.count / 40) {
        lkv_place found = {LKV_NOWHERE, 0};
        lkv_bytes key = b->all.key[k];
        rc = lkv_run_find(b->storage, &b->run, key, lkv_filter_hash(key), &found,
                          &b->err);
        if (verify) {
            right_or_damaged(b, rc,
                             rc == LKV_OK && found.loc == b->all.place[k].loc &&
                                 found.size == b->all.place[k].size);
        }
        (void)(lkv_run_floor(b->storage, &b->run, key, NULL, &found, NULL, NULL) == 0);
    }
    lkv_run_cursor_init(&cursor, b->storage, &b->os.os, &b->run);
    for (rc = lkv_run_first(&cursor, &b->err); rc == LKV_OK && steps < 100000;
         rc = lkv_run_next(&cursor, &b->err), i++, steps++) {
        if (verify && !(i < b->all.count &&
                        keys_compare(lkv_run_key(&cursor), b->all.key[i]) == 0)) {
            CHECK_SIZE(i, SIZE_MAX);
        }
    }
    if (verify) {
        right_or_damaged(b, rc, rc == LKV_ABSENT && i == b->all.count);
    }
    for (rc = lkv_run_last(&cursor, &b->err), i = b->all.count;
         rc == LKV_OK && steps < 200000; rc = lkv_run_prev(&cursor, &b->err), steps++) {
        i--;
        if (verify && !(i < b->all.count &&
                        keys_compare(lkv_run_key(&cursor), b->all.key[i]) == 0)) {
            CHECK_SIZE(i, SIZE_MAX);
        }
    }
    if (verify) {
        right_or_damaged(b, rc, rc == LKV_ABSENT && i == 0);
    }
    CHECK(steps < 200000);
    lkv_run_cursor_free(&cursor);
}

static void every_byte(void)
{
    static const struct {
        uint32_t block;
        enum keys_shape shape;
        size_t count;
    } runs[] = {{473, KEYS_ALIKE, 90}, {100, KEYS_LONG, 3}};
    for (size_t which = 0; which < CASES(runs); which++) {
        uint64_t random = 7;
        uint8_t *at;
        bench b;
        bench_open(&b, runs[which].block);
        keys_make(&b.all, runs[which].shape, runs[which].count, &random);
        CHECK_INT(bench_write(&b, NULL), LKV_OK);
        at = bytes_of(&b);
        for (size_t i = 0; i < (size_t)b.run.blocks * b.storage->block; i++) {
            for (int k = 0; k < 4 && check_failures() == 0; k++) {
                static const uint8_t flips[] = {1, 0x80, 0x81, 0xff};
                at[i] ^= flips[k];
                b.memory->fresh = k % 2;
                read_damaged(&b, k % 2);
                at[i] ^= flips[k];
            }
        }
        bench_close(&b);
    }
}

/* A block that was changed, with a right checksum again. */
static void seal_block(bench *b, uint32_t number)
{
    uint8_t *at = bytes_of(b) + (size_t)number * b->storage->block;
    size_t size = (size_t)lkv_block_span(at, LKV_BLOCK_HEADER) * b->storage->block;
    lkv_block_seal(at, size, lkv_block_place(b->run.number, number));
}

/* A block behind the last one is not looked for: other bytes may stand there. */
static void no_such_block(void)
{
    uint64_t random = 7;
    lkv_block block;
    bench b;
    bench_open(&b, 473);
    keys_make(&b.all, KEYS_NUMBERS, 90, &random);
    CHECK_INT(bench_write(&b, NULL), LKV_OK);
    b.run.blocks--;
    CHECK_INT(lkv_run_block(b.storage, &b.run, b.run.blocks, &block, &b.err),
              LKV_CORRUPT);
    CHECK_HAS(b.err.text, "there is no such block");
    bench_close(&b);
}

/* Runs of a root that lie, and blocks that lead in circles. */
static void hostile_runs(void)
{
    static const uint32_t words[] = {0, 1, 2, 5, 40, 1000, UINT32_MAX - 1, UINT32_MAX};
    uint64_t random = check_seed();
    lkv_run right;
    bench b;

    bench_open(&b, 473);
    keys_make(&b.all, KEYS_NUMBERS, 900, &random);
    CHECK_INT(bench_write(&b, NULL), LKV_OK);
    right = b.run;
    for (size_t i = 0; i < CASES(words); i++) {
        b.run = right;
        b.run.top = words[i];
        read_damaged(&b, 0);
        b.run = right;
        b.run.blocks = words[i];
        read_damaged(&b, 0);
        b.run.top = 0;
        read_damaged(&b, 0);
        b.run = right;
        b.run.number += words[i] & 0xff;
        read_damaged(&b, 0);
    }
    b.run = right;
    for (uint32_t block = 0; block < right.blocks; block++) {
        uint8_t *at = bytes_of(&b) + (size_t)block * 473;
        uint8_t old[473];
        memcpy(old, at, sizeof(old));
        for (size_t i = 0; i < CASES(words); i++) {
            lkv_format_u32(at + 12, words[i]); /* blocks that it takes */
            read_damaged(&b, 0);
            memcpy(at, old, sizeof(old));
            lkv_format_u32(at + 24, words[i]); /* the one before it */
            seal_block(&b, block);
            read_damaged(&b, 0);
            memcpy(at, old, sizeof(old));
        }
        at[4] = (uint8_t)(1 + at[4] % 3); /* another kind */
        seal_block(&b, block);
        read_damaged(&b, 0);
        memcpy(at, old, sizeof(old));
    }
    CHECK_INT(b.err.os_errno, 0);
    bench_close(&b);
}

/* A block whose entries all share the whole of one long key does not make the reader
 * hold that key once for each of them. */
static void keys_that_share_too_much(void)
{
    static uint8_t long_key[30001];
    lkv_run_cursor cursor;
    uint8_t *at;
    bench b;

    bench_open(&b, 65496);
    keys_begin(&b.all, 2000);
    for (uint8_t i = 0; i < 15; i++) {
        long_key[30000] = i;
        keys_add(&b.all, (lkv_bytes){long_key, 30001}, (lkv_place){i, 13});
    }
    CHECK_INT(bench_write(&b, NULL), LKV_OK);
    at = bytes_of(&b);
    { /* the last entry again and again, up to where the restarts stand now */
        uint32_t table = lkv_format_get_u32(at + 16), moved = 65492;
        size_t size = 3 + 1 + 1 + 3; /* shared, rest, the byte, numbers */
        uint32_t count = 15;
        while (table + size <= moved) {
            memmove(at + table, at + table - size, size);
            at[table + 4]++;
            table += (uint32_t)size;
            count++;
        }
        lkv_format_u32(at + table, LKV_BLOCK_HEADER);
        lkv_format_u32(at + 8, count);
        lkv_format_u32(at + 16, table);
        lkv_block_seal(at, 65496, lkv_block_place(b.run.number, 0));
        CHECK(count > 4000);
    }
    lkv_run_cursor_init(&cursor, b.storage, &b.os.os, &b.run);
    CHECK_INT(lkv_run_first(&cursor, &b.err), LKV_CORRUPT);
    CHECK_TEXT(b.err.text, "run 1, block 0: malformed entry");
    CHECK(cursor.keys.room <= 17 * 65536);
    lkv_run_cursor_free(&cursor);
    bench_close(&b);
}

/* A word of the first block says something else: a walk comes to that. */
static void check_lie(bench *b, size_t where, uint32_t word)
{
    uint8_t *at = bytes_of(b);
    uint32_t old = lkv_format_get_u32(at + where);

    CHECK(old != word);
    lkv_format_u32(at + where, word);
    seal_block(b, 0);
    for (int forward = 0; forward < 2; forward++) {
        lkv_run_cursor cursor;
        int rc;
        lkv_run_cursor_init(&cursor, b->storage, &b->os.os, &b->run);
        rc = forward ? lkv_run_first(&cursor, &b->err) : lkv_run_last(&cursor, &b->err);
        while (rc == LKV_OK) {
            CHECK(cursor.at < cursor.count);
            rc = forward ? lkv_run_next(&cursor, &b->err)
                         : lkv_run_prev(&cursor, &b->err);
        }
        CHECK_INT(rc, LKV_CORRUPT);
        CHECK_TEXT(b->err.text, "run 1, block 0: malformed entry");
        b->err.text[0] = '\0';
        lkv_run_cursor_free(&cursor);
    }
    lkv_format_u32(at + where, old);
    seal_block(b, 0);
}

/* Restarts that do not stand where groups of entries begin, and other counts of them.
 */
static void groups_that_lie(void)
{
    uint64_t random = 7;
    uint32_t table, third;
    uint8_t *at;
    bench b;

    bench_open(&b, 4057);
    keys_make(&b.all, KEYS_NUMBERS, 3 * LKV_BLOCK_RESTART, &random);
    CHECK_INT(bench_write(&b, NULL), LKV_OK);
    at = bytes_of(&b);
    table = lkv_format_get_u32(at + 16);
    CHECK_INT(at[4], LKV_BLOCK_LEAF);
    CHECK_INT(at[6], 3);
    third = lkv_format_get_u32(at + table + 8);
    check_lie(&b, 8, 3 * LKV_BLOCK_RESTART - 1);
    check_lie(&b, 8, 3 * LKV_BLOCK_RESTART + 1);
    check_lie(&b, 8, 4 * LKV_BLOCK_RESTART);
    check_lie(&b, 8, LKV_BLOCK_RESTART);
    check_lie(&b, table, LKV_BLOCK_HEADER + 1);
    check_lie(&b, table, LKV_BLOCK_HEADER - 1);
    check_lie(&b, table + 4, LKV_BLOCK_HEADER);
    check_lie(&b, table + 4, table);
    check_lie(&b, table + 4, table + 1);
    check_lie(&b, table + 4, UINT32_MAX);
    check_lie(&b, table + 4, lkv_format_get_u32(at + table + 8));
    check_lie(&b, table + 8, lkv_format_get_u32(at + table + 4));
    check_lie(&b, table + 8, table - 1);
    check_lie(&b, 16, table - 1);
    check_lie(&b, 16, lkv_format_get_u32(at + table + 4) - 1);
    lkv_format_u32(at + 8, 2 * LKV_BLOCK_RESTART); /* the last group has no entries */
    lkv_format_u32(at + table + 8, lkv_format_get_u32(at + 16) - 1);
    check_lie(&b, table + 8, table);
    lkv_format_u32(at + 8, 3 * LKV_BLOCK_RESTART);
    lkv_format_u32(at + table + 8, third);
    seal_block(&b, 0);
    bench_check_all(&b, 1);
    bench_close(&b);
}

/* Whole blocks in the place of others: of the same run, and of one that is the same but
 * for its number. F45 */
static void blocks_that_went_astray(void)
{
    uint64_t random = check_seed();
    uint32_t moved = 0;
    bench b;
    bench_open(&b, 473);
    keys_make(&b.all, KEYS_ALIKE, 300, &random);
    CHECK_INT(bench_write(&b, NULL), LKV_OK);
    for (uint32_t to = 0; to < b.run.blocks; to++) {
        for (uint32_t from = 0; from < b.run.blocks; from++) {
            uint8_t was[473], *at = bytes_of(&b);
            lkv_block block;
            memcpy(was, at + (size_t)to * 473, sizeof(was));
            memcpy(at + (size_t)to * 473, at + (size_t)from * 473, sizeof(was));
            CHECK_INT(lkv_run_block(b.storage, &b.run, to, &block, &b.err),
                      to == from ? LKV_OK : LKV_CORRUPT);
            memcpy(at + (size_t)to * 473, was, sizeof(was));
            moved++;
        }
        lkv_block_seal(bytes_of(&b) + (size_t)to * 473, 473,
                       lkv_block_place(BENCH_OBJECT + 1, to));
    }
    CHECK(moved > 100);
    for (uint32_t i = 0; i < b.run.blocks; i++) {
        lkv_block block;
        CHECK_INT(lkv_run_block(b.storage, &b.run, i, &block, &b.err), LKV_CORRUPT);
    }
    bench_close(&b);
}

/* A storage that has less of the run than the root says. */
static void cut_short(void)
{
    uint64_t random = check_seed();
    bench b;
    bench_open(&b, 473);
    keys_make(&b.all, KEYS_ALIKE, 300, &random);
    CHECK_INT(bench_write(&b, NULL), LKV_OK);
    for (uint64_t size = (uint64_t)b.run.blocks * 473;
         size > 0 && check_failures() == 0; size -= size > 200 ? 200 : size) {
        b.memory->ops->rewind(b.memory, BENCH_OBJECT, size);
        read_damaged(&b, 1);
    }
    CHECK_INT(b.memory->ops->remove(b.memory, BENCH_OBJECT, 0, NULL), LKV_OK);
    read_damaged(&b, 1);
    bench_close(&b);
}

static const check_case cases[] = {CASE(writing_fails_anywhere),
                                   CASE(reading_fails_anywhere),
                                   CASE(no_such_block),
                                   CASE(every_byte),
                                   CASE(hostile_runs),
                                   CASE(keys_that_share_too_much),
                                   CASE(groups_that_lie),
                                   CASE(blocks_that_went_astray),
                                   CASE(cut_short)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
