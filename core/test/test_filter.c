/*
 * test_filter.c - filters have every key that was added, and few others.
 */
#include "check.h"
#include "filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of exactly the size that it has: sanitizers see a bit beyond. */
static uint8_t *new_filter(uint32_t lines)
{
    uint8_t *filter = calloc(lines, LKV_FILTER_LINE);
    if (filter == NULL) {
        abort();
    }
    return filter;
}

static uint64_t hash_of(uint64_t i)
{
    char key[32];
    int size = snprintf(key, sizeof(key), "key %llu", (unsigned long long)i);
    return lkv_filter_hash((lkv_bytes){key, (size_t)size});
}

/* Filters are stored: the bits of a key never change. These were computed by another
 * program. */
static void golden_bits(void)
{
    static const struct {
        size_t at;
        uint8_t bits;
    } want[] = {{8, 0x08},   {12, 0x08},  {17, 0x80},  {40, 0x10},  {46, 0x20},
                {59, 0x02},  {132, 0x20}, {138, 0x02}, {140, 0x01}, {152, 0x60},
                {160, 0x02}, {169, 0x04}, {174, 0x80}, {177, 0x20}, {178, 0x01},
                {179, 0x80}, {180, 0x04}};
    static const char *const keys[] = {"", "a", "key"};
    uint8_t *filter = new_filter(3), *other = new_filter(3);

    CHECK_SIZE(lkv_filter_hash((lkv_bytes){NULL, 0}), 0xef46db3751d8e999);
    CHECK_SIZE(lkv_filter_hash((lkv_bytes){"abc", 3}), 0x44bc2cf5ad770999);
    for (size_t i = 0; i < CASES(keys); i++) {
        lkv_filter_add(filter, 3,
                       lkv_filter_hash((lkv_bytes){keys[i], strlen(keys[i])}));
    }
    for (size_t i = 0; i < CASES(want); i++) {
        other[want[i].at] = want[i].bits;
    }
    CHECK_BYTES(filter, 3 * LKV_FILTER_LINE, other, 3 * LKV_FILTER_LINE);
    free(filter);
    free(other);
}

static void sizes(void)
{
    CHECK_INT(lkv_filter_lines(0), 1);
    CHECK_INT(lkv_filter_lines(1), 1);
    CHECK_INT(lkv_filter_lines(51), 1); /* 510 of 512 bits */
    CHECK_INT(lkv_filter_lines(52), 2);
    CHECK_INT(lkv_filter_lines(102), 2);
    CHECK_INT(lkv_filter_lines(103), 3);
    CHECK_INT(lkv_filter_lines(1000000), 19532);
}

/* Whatever the number of lines, and of keys for them. */
static void every_key_is_there(void)
{
    for (uint32_t lines = 1; lines < 200; lines += 1 + lines / 8) {
        for (uint64_t count = 1; count < 20000; count *= 5) {
            uint8_t *filter = new_filter(lines);
            for (uint64_t i = 0; i < count; i++) {
                lkv_filter_add(filter, lines, hash_of(i));
            }
            for (uint64_t i = 0; i < count; i++) {
                CHECK(lkv_filter_has(filter, lines, hash_of(i)));
            }
            free(filter);
        }
    }
}

/* About one in 80 of the others; a little more where lines are filled unevenly. */
static void few_others(void)
{
    static const uint64_t counts[] = {51, 102, 1000, 20000};
    for (size_t k = 0; k < CASES(counts); k++) {
        uint32_t lines = lkv_filter_lines(counts[k]);
        uint8_t *filter = new_filter(lines);
        unsigned passed = 0;
        for (uint64_t i = 0; i < counts[k]; i++) {
            lkv_filter_add(filter, lines, hash_of(i));
        }
        for (uint64_t i = 0; i < 100000; i++) {
            passed += lkv_filter_has(filter, lines, hash_of(1000000 + i)) != 0;
        }
        printf("  %u keys: 1 in %u others passes\n", (unsigned)counts[k],
               100000 / (passed + 1));
        CHECK(passed > 100000 / 400);
        CHECK(passed < 100000 / 50);
        free(filter);
    }
}

/* An empty one has nothing, and each hash has its line: the first, the last. */
static void edges(void)
{
    static const uint64_t hashes[] = {
        0, 1, 0xffffffff, 0x100000000, UINT64_MAX - 1, UINT64_MAX};
    for (uint32_t lines = 1; lines < 70; lines++) {
        for (size_t i = 0; i < CASES(hashes); i++) {
            uint8_t *filter = new_filter(lines);
            size_t bits = 0;
            CHECK(!lkv_filter_has(filter, lines, hashes[i]));
            lkv_filter_add(filter, lines, hashes[i]);
            CHECK(lkv_filter_has(filter, lines, hashes[i]));
            for (size_t at = 0; at < (size_t)lines * LKV_FILTER_LINE; at++) {
                int here = filter[at] != 0;
                bits += (size_t)here;
                CHECK(!here || hashes[i] >> 32 != 0 || at < LKV_FILTER_LINE);
                CHECK(!here || hashes[i] >> 33 == 0 ||
                      at >= (size_t)(lines - 1) * LKV_FILTER_LINE);
            }
            CHECK(bits >= 1 && bits <= 6);
            free(filter);
        }
    }
}

static const check_case cases[] = {CASE(golden_bits), CASE(sizes),
                                   CASE(every_key_is_there), CASE(few_others),
                                   CASE(edges)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
