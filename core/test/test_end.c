/*
 * test_end.c - the published end as bytes.
 */
#include "format.h"
#include "storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long passed, failed;

static void check(int good, const char *name)
{
    if (good) {
        passed++;
    } else {
        failed++;
        printf("not ok %s\n", name);
    }
}

static lkv_end sample(void)
{
    lkv_end end = {.generation = 0x1112131415161718u,
                   .revision = 0x2122232425262728u,
                   .chain = 0x3132333435363738u,
                   .live_keys = 0x4142434445464748u,
                   .live_bytes = 0x7172737475767778u,
                   .segment = 0x51525354u,
                   .offset = 0x61626364u};
    for (unsigned i = 0; i < sizeof(end.store_id); i++) {
        end.store_id[i] = (uint8_t)(0xa0 + i);
    }
    return end;
}

static int same(const lkv_end *a, const lkv_end *b)
{
    return memcmp(a->store_id, b->store_id, sizeof(a->store_id)) == 0 &&
           a->generation == b->generation && a->revision == b->revision &&
           a->chain == b->chain && a->live_keys == b->live_keys &&
           a->live_bytes == b->live_bytes && a->segment == b->segment &&
           a->offset == b->offset;
}

/* Decodes from memory of exactly the end's size. */
static int decode(const uint8_t *bytes, lkv_end *end)
{
    uint8_t *copy = malloc(LKV_END_SIZE);
    int rc;
    if (copy == NULL) {
        return LKV_NOMEM;
    }
    memcpy(copy, bytes, LKV_END_SIZE);
    rc = lkv_end_decode(copy, end);
    free(copy);
    return rc;
}

static void golden_bytes(void)
{
    static const uint8_t should[68] = {
        0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab,
        0xac, 0xad, 0xae, 0xaf, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35,
        0x34, 0x33, 0x32, 0x31, 0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41,
        0x78, 0x77, 0x76, 0x75, 0x74, 0x73, 0x72, 0x71, 0x54, 0x53, 0x52, 0x51,
        0x64, 0x63, 0x62, 0x61, 0,    0,    0,    0};
    lkv_end end = sample(), again;
    uint8_t bytes[LKV_END_SIZE];

    lkv_end_encode(bytes, &end);
    check(memcmp(bytes, should, sizeof(should)) == 0, "golden_bytes");
    check(lkv_format_get_u32(bytes + 68) == lkv_crc32(0, should, sizeof(should)),
          "golden_bytes: checksum");
    check(decode(bytes, &again) == LKV_OK && same(&end, &again), "golden_bytes: back");
}

static void every_byte(void)
{
    lkv_end end = sample(), again;
    uint8_t bytes[LKV_END_SIZE];
    int good = 1;

    lkv_end_encode(bytes, &end);
    for (size_t at = 0; at < sizeof(bytes); at++) {
        for (unsigned by = 1; by < 256; by++) {
            bytes[at] ^= (uint8_t)by;
            good = good && decode(bytes, &again) == LKV_CORRUPT;
            bytes[at] ^= (uint8_t)by;
        }
    }
    check(good, "every_byte");
    memset(bytes, 0, sizeof(bytes));
    check(decode(bytes, &again) == LKV_CORRUPT, "every_byte: zeros");
    memset(bytes, 0xff, sizeof(bytes));
    check(decode(bytes, &again) == LKV_CORRUPT, "every_byte: ones");
}

/* What is zero today is refused when it is not, whatever the checksum says. F1 */
static void reserved_bytes(void)
{
    lkv_end end = sample(), again;
    uint8_t bytes[LKV_END_SIZE];

    for (size_t at = 64; at < 68; at++) {
        lkv_end_encode(bytes, &end);
        bytes[at] = 1;
        lkv_format_u32(bytes + 68, lkv_crc32(0, bytes, 68));
        check(decode(bytes, &again) == LKV_CORRUPT, "reserved_bytes");
    }
}

/* A storage gives back what was published, and has none before. */
static void published(void)
{
    lkv_end end = sample(), again = {.revision = 1};
    lkv_storage *storage;
    if (lkv_storage_mem_open(&lkv_os_posix, 512, &storage) != LKV_OK) {
        check(0, "published: no memory");
        return;
    }
    check(storage->ops->read_end(storage, &again, NULL) == LKV_ABSENT,
          "published: none");
    check(storage->ops->publish_end(storage, &end, NULL) == LKV_OK &&
              storage->ops->read_end(storage, &again, NULL) == LKV_OK &&
              same(&end, &again),
          "published");
    lkv_storage_mem_close(storage);
}

int main(void)
{
    golden_bytes();
    every_byte();
    reserved_bytes();
    published();
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
