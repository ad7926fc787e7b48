/*
 * test_checksum.c - the two checksums against values that others published and against
 * themselves in pieces.
 */
#include "checksum.h"

#include <stdio.h>
#include <string.h>

static unsigned long passed, failed;

static void check(int good, const char *what, size_t size)
{
    if (good) {
        passed++;
    } else {
        failed++;
        printf("not ok %s, %zu bytes\n", what, size);
    }
}

/* Bit by bit, as the standard says it: nothing of the libraries. */
static uint32_t plain_crc(uint32_t crc, const uint8_t *at, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

static uint64_t hash_of(const void *data, size_t size)
{
    lkv_hash hash;
    lkv_hash_start(&hash);
    lkv_hash_add(&hash, data, size);
    return lkv_hash_value(&hash);
}

static void published_values(void)
{
    /* The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC
     * algorithms. */
    check(lkv_crc32(0, "123456789", 9) == 0xcbf43926, "crc32", 9);
    check(lkv_crc32(0, NULL, 0) == 0, "crc32 of nothing", 0);
    check(lkv_crc32(7, NULL, 0) == 7, "crc32 that goes on with nothing", 0);
    check(lkv_crc32(0, "a", 1) == 0xe8b7be43, "crc32", 1);
    /* XXH64 with seed 0, from the tests of several implementations. */
    check(hash_of(NULL, 0) == 0xef46db3751d8e999u, "xxh64 of nothing", 0);
    check(hash_of("a", 1) == 0xd24ec4f1a98c6e5bu, "xxh64", 1);
    check(hash_of("abc", 3) == 0x44bc2cf5ad770999u, "xxh64", 3);
}

static void in_pieces(void)
{
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 167 + 13);
    }
    for (size_t size = 0; size <= sizeof(bytes); size++) {
        uint32_t crc = plain_crc(0, bytes, size);
        uint64_t value = hash_of(bytes, size);
        check(lkv_crc32(0, bytes, size) == crc, "crc32", size);
        check(lkv_hash_once(bytes, size) == value, "xxh64 by the library", size);
        for (size_t cut = 0; cut <= size; cut += 1 + size / 7) {
            lkv_hash hash, copy;
            check(lkv_crc32(lkv_crc32(0, bytes, cut), bytes + cut, size - cut) == crc,
                  "crc32 in two pieces", size);
            lkv_hash_start(&hash);
            lkv_hash_add(&hash, bytes, cut);
            copy = hash; /* a mark keeps one, and goes on from it */
            check(lkv_hash_value(&hash) == hash_of(bytes, cut), "xxh64 so far", cut);
            lkv_hash_add(&hash, "other", 5);
            lkv_hash_add(&copy, bytes + cut, size - cut);
            check(lkv_hash_value(&copy) == value, "xxh64 in two pieces", size);
        }
    }
}

/* A hash goes on from its saved bytes as if it had never been saved, and they are the
 * same however its bytes came. */
static void saved_state(void)
{
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 59 + 7);
    }
    for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
        uint8_t saved[LKV_HASH_SIZE], again[LKV_HASH_SIZE];
        lkv_hash hash, loaded;
        lkv_hash_start(&hash);
        lkv_hash_add(&hash, bytes, cut / 3);
        lkv_hash_add(&hash, bytes + cut / 3, cut - cut / 3);
        lkv_hash_save(&hash, saved);
        lkv_hash_start(&hash);
        lkv_hash_add(&hash, bytes, cut);
        lkv_hash_save(&hash, again);
        check(memcmp(saved, again, sizeof(saved)) == 0, "saved state", cut);
        memset(&loaded, 0xaa, sizeof(loaded));
        lkv_hash_load(&loaded, saved);
        check(lkv_hash_value(&loaded) == hash_of(bytes, cut), "loaded state", cut);
        lkv_hash_save(&loaded, again);
        check(memcmp(saved, again, sizeof(saved)) == 0, "saved again", cut);
        lkv_hash_add(&loaded, bytes + cut, sizeof(bytes) - cut);
        check(lkv_hash_value(&loaded) == hash_of(bytes, sizeof(bytes)),
              "gone on from a saved state", cut);
    }
}

/* Bytes that nobody saved are no state, and no danger. */
static void any_state(void)
{
    uint8_t saved[LKV_HASH_SIZE];
    for (unsigned fill = 0; fill < 256; fill += 5) {
        lkv_hash hash;
        memset(saved, (int)fill, sizeof(saved));
        lkv_hash_load(&hash, saved);
        lkv_hash_add(&hash, saved, sizeof(saved));
        (void)lkv_hash_value(&hash);
        lkv_hash_save(&hash, saved);
        check(saved[0] != fill || saved[32] != fill, "any_state", fill);
    }
}

/* No change of one bit goes unnoticed, at any alignment. */
static void every_bit(void)
{
    uint8_t bytes[72];
    memset(bytes, 0x5a, sizeof(bytes));
    for (size_t size = 1; size <= 64; size += 9) {
        const uint8_t *at = bytes + size % 8;
        uint32_t crc = lkv_crc32(0, at, size);
        uint64_t value = hash_of(at, size);
        int good = 1;
        for (size_t bit = 0; bit < size * 8; bit++) {
            bytes[size % 8 + bit / 8] ^= (uint8_t)(1 << bit % 8);
            good = good && lkv_crc32(0, at, size) != crc && hash_of(at, size) != value;
            bytes[size % 8 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        check(good, "every_bit", size);
    }
}

int main(void)
{
    published_values();
    in_pieces();
    saved_state();
    any_state();
    every_bit();
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
