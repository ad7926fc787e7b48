/*
 * test_format.c - the bytes of FORMAT.md, written down as literals; and that nothing
 * but them is taken for a record, a segment or a root.
 */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>

/* The example of FORMAT.md: a store with `a` = `1`, committed at 1970-01-01 00:00:01.
 * The checksums were computed by another program than this one. */
#define HEADER_HEX                                                                     \
    "4c4b56736567310a 000102030405060708090a0b0c0d0e0f 01000000 00000000"              \
    "0000000000000000 0000000000000000 0000000000000000 00000000 3b96b4db"
#define RECORD_HEX "6b8cafa3 01 01000000 01000000 61 31"
#define COMMIT_HEX                                                                     \
    "8dc38337 03 00000000 38000000 0100000000000000 e803000000000000"                  \
    "0f00000000000000 5400000000000000 0100000000000000 0f00000000000000"              \
    "2df0d186e6945f00"
#define ROOT_HEX                                                                       \
    "4c4b56726f6f7431 000102030405060708090a0b0c0d0e0f 0100000000000000"               \
    "40000000 01000000 05000000 00000000 00000000 00000000 00000000"                   \
    "00000010 00000020 00000000 0000000000000000"                                      \
    "0000000000000000 00000000 00000000 00000000 00000000"                             \
    "01000000 40000000 0000000000000000 0000000000000000 0000000000000000"             \
    "995e6b40573bb5f4 6125c31f514bd3c3 0000000000000000 912f294d79d27a6d"              \
    "2000000000000000 0000000000000000 0000000000000000 0000000000000000"              \
    "0000000000000000"                                                                 \
    "01000000 00000000 0000000000000000 61626f7574 c1ff7364"
#define END_HEX                                                                        \
    "000102030405060708090a0b0c0d0e0f 0100000000000000 0100000000000000"               \
    "2df0d186e6945f00 0100000000000000 0f00000000000000 01000000 94000000 00000000"    \
    "1b30a1c2"
/* The seal of a part: commit 7 and its chain value, 3 keys, 45 bytes, a digest. */
#define SEAL_HEX                                                                       \
    "e8077ffb 05 00000000 28000000 0700000000000000 8877665544332211"                  \
    "0300000000000000 2d00000000000000 01ffeeddccbbaa99"
/* The long form: `a` = `1` with tag 2, of revision 7 and time -1. */
#define MOVED_HEX                                                                      \
    "68dd5796 31 01000000 11000000 61 0700000000000000 ffffffffffffffff 31"

static size_t unhex(const char *text, uint8_t *out)
{
    size_t size = 0;
    for (; *text != '\0'; text++) {
        char pair[3] = {text[0], text[1], '\0'};
        if (*text != ' ') {
            out[size++] = (uint8_t)strtoul(pair, NULL, 16);
            text++;
        }
    }
    return size;
}

static void golden_bytes(void)
{
    static const char *const parts[] = {HEADER_HEX, RECORD_HEX, COMMIT_HEX};
    uint8_t want[512], end[LKV_END_SIZE];
    store_image image;
    size_t size = 0;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    image_take(&image, f.storage);
    for (size_t i = 0; i < 3; i++) {
        size += unhex(parts[i], want + size);
    }
    CHECK_INT(image.count, 1);
    CHECK_BYTES(image.segments[0].bytes, image.segments[0].size, want, size);
    size = unhex(ROOT_HEX, want);
    CHECK_BYTES(image.root, image.root_size, want, size);
    size = unhex(END_HEX, want);
    lkv_end_encode(end, &image.end);
    CHECK_BYTES(end, LKV_END_SIZE, want, size);
    image_free(&image);
    fixture_close(&f);
}

static void golden_bytes_are_read(void)
{
    uint8_t bytes[256];
    lkv_record record;
    lkv_commit_record commit;
    lkv_segment_header header;
    lkv_segment segment;
    lkv_root root;
    const char *why = "";
    size_t need, size = unhex(RECORD_HEX, bytes);

    CHECK_INT(lkv_format_parse(bytes, size, &record, &need, &why), LKV_OK);
    CHECK_INT(record.kind, LKV_KIND_PUT);
    CHECK_INT(record.tag, 0);
    CHECK_INT(record.moved, 0);
    CHECK_BYTES(record.key.data, record.key.size, "a", 1);
    CHECK_BYTES(record.value.data, record.value.size, "1", 1);
    CHECK_SIZE(record.size, size);
    size = unhex(COMMIT_HEX, bytes);
    CHECK_INT(lkv_format_parse(bytes, size, &record, &need, &why), LKV_OK);
    CHECK_INT(lkv_format_parse_commit(&record, &commit), LKV_OK);
    CHECK_SIZE(commit.revision, 1);
    CHECK_INT(commit.time_ms, 1000);
    CHECK_SIZE(commit.covered, 15);
    CHECK_SIZE(commit.synced_end, 84);
    CHECK_SIZE(commit.live_keys, 1);
    CHECK_SIZE(commit.live_bytes, 15);
    CHECK_SIZE(commit.chain, 0x005f94e686d1f02d);
    size = unhex(HEADER_HEX, bytes);
    CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, size}, &header, &why),
              LKV_OK);
    CHECK_INT(header.number, 1);
    CHECK_SIZE(header.base, 0);
    size = unhex(ROOT_HEX, bytes);
    CHECK_INT(lkv_format_parse_root((lkv_bytes){bytes, size}, &root, &why), LKV_OK);
    CHECK_SIZE(root.generation, 1);
    CHECK_INT(root.block, 64);
    CHECK_INT(root.segments, 1);
    CHECK_INT(root.parts + root.runs + root.merges + root.gone, 0);
    CHECK_SIZE(root.pass.to, 0);
    CHECK_INT(root.next_part, LKV_PART_FIRST);
    CHECK_INT(root.next_run, LKV_RUN_FIRST);
    CHECK_INT(root.auto_compact, 0);
    CHECK_INT(root.tail.segment, 1);
    CHECK_INT(root.tail.offset, 64);
    CHECK_SIZE(lkv_format_root_size(&root), size);
    CHECK_BYTES(root.meta.data, root.meta.size, "about", 5);
    lkv_format_root_segment((lkv_bytes){bytes, size}, 0, &segment);
    CHECK_INT(segment.number, 1);
    CHECK_INT(segment.size, 0);
    CHECK_SIZE(segment.base, 0);
}

/* Numbers whose bytes all differ, so that none is cut or swapped. */
static void wide_numbers(void)
{
    lkv_commit_record in = {0x1122334455667788, -2, 3, 4, 5, 6, 7}, out;
    lkv_segment_header header = {.number = 0x12345678,
                                 .kind = 1,
                                 .base = 0x1122334455667788,
                                 .chain_before = 0x99aabbccddeeff01,
                                 .revision_before = 0x23456789abcdef01},
                       header_out;
    lkv_record record;
    uint8_t bytes[256];
    const char *why = "";
    size_t need;

    lkv_format_commit(bytes, &in);
    CHECK_INT(lkv_format_parse(bytes, LKV_COMMIT_SIZE, &record, &need, &why), LKV_OK);
    CHECK_INT(lkv_format_parse_commit(&record, &out), LKV_OK);
    CHECK_BYTES(&out, sizeof(out), &in, sizeof(in));
    CHECK_INT(bytes[LKV_RECORD_HEADER], 0x88);
    lkv_format_segment(bytes, &header);
    CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, LKV_SEGMENT_HEADER},
                                       &header_out, &why),
              LKV_OK);
    CHECK_INT(header_out.number, header.number);
    CHECK_INT(header_out.kind, 1);
    CHECK_SIZE(header_out.base, header.base);
    CHECK_SIZE(header_out.chain_before, header.chain_before);
    CHECK_SIZE(header_out.revision_before, header.revision_before);
    CHECK_INT(lkv_loc_segment(lkv_loc_make(3, 0x3fffffff, 5)), 0x3fffffff);
    CHECK_INT(lkv_loc_offset(lkv_loc_make(3, 1, 0x7ffffffe)), 0x7ffffffe);
    CHECK_INT(lkv_loc_tag(lkv_loc_make(3, 1, 5)), 3);
    CHECK_INT(lkv_loc_segment(lkv_loc_make(3, 1, 0x7ffffffe)), 1);
    CHECK(lkv_loc_live(lkv_loc_make(3, 0x3fffffff, 0x7ffffffe)));
    CHECK(!lkv_loc_live(LKV_LOC_TOMBSTONE) && !lkv_loc_live(LKV_NOWHERE));
}

static void fix_crc(uint8_t *bytes, size_t size)
{
    lkv_format_u32(bytes + size - 4, lkv_crc32(0, bytes, size - 4));
}

/* F1: bytes called zero are refused when they are not, under a right checksum. */
static void reserved_bytes(void)
{
    uint8_t bytes[256];
    lkv_segment_header header;
    lkv_root root;
    lkv_end end;
    const char *why = "";
    static const size_t in_segment[] = {28, 29, 30, 31, 56, 57, 58, 59};
    static const size_t in_root[] = {100, 101, 102, 103}; /* 0 to 3 is right */

    for (size_t i = 0; i < CASES(in_segment); i++) {
        size_t size = unhex(HEADER_HEX, bytes);
        bytes[in_segment[i]] = 2; /* 1 at 28 is a part */
        fix_crc(bytes, size);
        CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, size}, &header, &why),
                  LKV_CORRUPT);
        CHECK_TEXT(why, "segment header: not of this format");
    }
    for (size_t i = 0; i < CASES(in_root); i++) {
        size_t size = unhex(ROOT_HEX, bytes);
        bytes[in_root[i]] = 4;
        fix_crc(bytes, size);
        CHECK_INT(lkv_format_parse_root((lkv_bytes){bytes, size}, &root, &why),
                  LKV_CORRUPT);
    }
    for (size_t i = 64; i < 68; i++) {
        size_t size = unhex(END_HEX, bytes);
        CHECK_INT(lkv_end_decode(bytes, &end), LKV_OK);
        bytes[i] = 1;
        fix_crc(bytes, size);
        CHECK_INT(lkv_end_decode(bytes, &end), LKV_CORRUPT);
    }
}

static void magic_and_size(void)
{
    uint8_t bytes[256];
    lkv_segment_header header;
    lkv_root root;
    const char *why = "";
    size_t size;

    for (size_t i = 0; i < 8; i++) {
        size = unhex(HEADER_HEX, bytes);
        bytes[i] ^= 1;
        fix_crc(bytes, size);
        CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, size}, &header, &why),
                  LKV_CORRUPT);
        size = unhex(ROOT_HEX, bytes);
        bytes[i] ^= 1;
        fix_crc(bytes, size);
        CHECK_INT(lkv_format_parse_root((lkv_bytes){bytes, size}, &root, &why),
                  LKV_CORRUPT);
    }
    size = unhex(HEADER_HEX, bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 4;
        CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, size}, &header, &why),
                  LKV_CORRUPT);
        bytes[i] ^= 4;
        CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, i}, &header, &why),
                  LKV_CORRUPT);
    }
}

/* F2: a record is believed when its checksum is right, whatever byte is another. */
static void every_byte_of_a_record(void)
{
    static const char *const records[] = {RECORD_HEX, COMMIT_HEX, MOVED_HEX, SEAL_HEX};
    for (size_t r = 0; r < CASES(records); r++) {
        uint8_t bytes[128];
        size_t size = unhex(records[r], bytes);
        for (size_t i = 0; i < size; i++) {
            for (unsigned flip = 1; flip < 256; flip++) {
                lkv_record record;
                const char *why = "";
                size_t need = 0;
                int rc;
                bytes[i] ^= (uint8_t)flip;
                rc = lkv_format_parse(bytes, size, &record, &need, &why);
                bytes[i] ^= (uint8_t)flip;
                if (rc == LKV_ABSENT && i >= 5 && i < 13) {
                    CHECK(need > size); /* a longer record */
                } else {
                    CHECK_INT(rc, LKV_CORRUPT);
                    CHECK_TEXT(why, i >= 8 && i < 13 && why[0] == 'r'
                                        ? "record is longer than a segment"
                                        : "checksum mismatch");
                }
            }
        }
    }
}

/* Bytes behind the cut are in memory that may not be read. */
static void cut_at_every_length(void)
{
    static const char *const records[] = {RECORD_HEX, COMMIT_HEX, MOVED_HEX, SEAL_HEX};
    for (size_t r = 0; r < CASES(records); r++) {
        uint8_t bytes[128];
        size_t size = unhex(records[r], bytes);
        for (size_t have = 0; have < size; have++) {
            uint8_t *cut = malloc(have + 1);
            lkv_record record;
            const char *why = "";
            size_t need = 0;
            if (cut == NULL) {
                abort();
            }
            memcpy(cut, bytes, have);
            cut[have] = 0xdd;
            CHECK_INT(lkv_format_parse(cut, have, &record, &need, &why), LKV_ABSENT);
            CHECK_SIZE(need, have < LKV_RECORD_HEADER ? LKV_RECORD_HEADER : size);
            free(cut);
        }
    }
}

static void seal(uint8_t *bytes, size_t size)
{
    lkv_format_u32(bytes, lkv_crc32(0, bytes + 4, size - 4));
}

/* F3: with a right checksum, and by its name. The lengths are a long put's, so that
 * only the type can be what is wrong. */
static void unknown_types(void)
{
    for (unsigned type = 0; type < 256; type++) {
        unsigned kind = type & 7;
        int known = (kind == 1 && type < 64) || type == 2 || type == 3 || type == 5;
        uint8_t bytes[128];
        size_t need, size = unhex(type == 2 ? "00000000 02 05000000 00000000 6162636465"
                                            : MOVED_HEX,
                                  bytes);
        lkv_record record;
        const char *why = "";
        bytes[4] = (uint8_t)type;
        seal(bytes, size);
        CHECK_INT(lkv_format_parse(bytes, size, &record, &need, &why),
                  known ? LKV_OK : LKV_CORRUPT);
        CHECK_TEXT(why, known ? "" : "record type is not known to this release");
        if (known && kind == 1) {
            CHECK_INT(record.tag, type >> 3 & 3);
            CHECK_INT(record.moved, type >> 5);
        }
    }
}

/* F4 */
static void long_form(void)
{
    uint8_t bytes[128], want[128];
    lkv_bytes key = {"a", 1}, value = {"1", 1}, nothing = {NULL, 0};
    lkv_record record;
    const char *why = "";
    size_t need, size = unhex(MOVED_HEX, want);

    lkv_format_moved(bytes, 2, key, value, 7, -1);
    CHECK_BYTES(bytes, size, want, size);
    CHECK_INT(lkv_format_parse(bytes, size, &record, &need, &why), LKV_OK);
    CHECK_INT(record.moved, 1);
    CHECK_INT(record.tag, 2);
    CHECK_SIZE(record.revision, 7);
    CHECK_INT(record.time_ms, -1);
    CHECK_BYTES(record.value.data, record.value.size, "1", 1);
    CHECK_SIZE(record.size, size);
    lkv_format_moved(bytes, 0, key, nothing, 7, -1);
    CHECK_INT(lkv_format_parse(bytes, size - 1, &record, &need, &why), LKV_OK);
    CHECK_SIZE(record.value.size, 0);
    /* 15 bytes of value cannot hold revision and time. */
    lkv_format_record(bytes, LKV_KIND_PUT, 0, key, (lkv_bytes){"123456789012345", 15});
    bytes[4] |= 0x20;
    seal(bytes, 13 + 1 + 15);
    CHECK_INT(lkv_format_parse(bytes, 13 + 1 + 15, &record, &need, &why), LKV_CORRUPT);
    CHECK_TEXT(why, "moved record is too short");
}

static int is_commit(const lkv_record *record)
{
    lkv_commit_record commit;
    return lkv_format_parse_commit(record, &commit) == LKV_OK;
}

static int is_seal(const lkv_record *record)
{
    lkv_seal_record seal_out;
    return lkv_format_parse_seal(record, &seal_out) == LKV_OK;
}

/* What the table of kinds says of keys and values. */
static void shapes_of_kinds(void)
{
    static const struct {
        enum lkv_kind kind;
        size_t key, value;
        int good;
    } shapes[] = {{LKV_KIND_COMMIT, 0, 56, 1}, {LKV_KIND_COMMIT, 1, 56, 0},
                  {LKV_KIND_COMMIT, 0, 55, 0}, {LKV_KIND_COMMIT, 0, 57, 0},
                  {LKV_KIND_PUT, 0, 56, 0},    {LKV_KIND_SEAL, 0, 56, 0},
                  {LKV_KIND_COMMIT, 0, 48, 0}, {LKV_KIND_COMMIT, 0, 0, 0},
                  {LKV_KIND_SEAL, 0, 40, 1},   {LKV_KIND_SEAL, 1, 40, 0},
                  {LKV_KIND_SEAL, 0, 39, 0},   {LKV_KIND_SEAL, 0, 41, 0},
                  {LKV_KIND_PUT, 0, 40, 0},    {LKV_KIND_COMMIT, 0, 40, 0}};
    static const char words[64] = "1234567890";
    lkv_bytes key = {"a", 1}, nothing = {NULL, 0};
    lkv_record record;
    uint8_t bytes[128];
    const char *why = "";
    size_t need;

    lkv_format_record(bytes, LKV_KIND_TOMBSTONE, 0, key, key);
    CHECK_INT(lkv_format_parse(bytes, sizeof(bytes), &record, &need, &why),
              LKV_CORRUPT);
    CHECK_TEXT(why, "a tombstone has a value");
    lkv_format_record(bytes, LKV_KIND_TOMBSTONE, 0, nothing, nothing);
    CHECK_INT(lkv_format_parse(bytes, sizeof(bytes), &record, &need, &why), LKV_OK);
    for (size_t i = 0; i < CASES(shapes); i++) {
        lkv_bytes value = {words, shapes[i].value};
        int commit = shapes[i].good && shapes[i].kind == LKV_KIND_COMMIT;
        key.size = shapes[i].key;
        lkv_format_record(bytes, shapes[i].kind, 0, key, value);
        CHECK_INT(lkv_format_parse(bytes, sizeof(bytes), &record, &need, &why), LKV_OK);
        CHECK_INT(is_commit(&record), commit);
        CHECK_INT(is_seal(&record), shapes[i].good && !commit);
    }
}

static void seals(void)
{
    lkv_seal_record in = {7, 0x1122334455667788, 3, 45, 0x99aabbccddeeff01}, out;
    uint8_t bytes[128], want[128];
    lkv_record record;
    const char *why = "";
    size_t need, size = unhex(SEAL_HEX, want);

    lkv_format_seal(bytes, &in);
    CHECK_SIZE(LKV_SEAL_SIZE, size);
    CHECK_BYTES(bytes, LKV_SEAL_SIZE, want, size);
    CHECK_INT(lkv_format_parse(want, size, &record, &need, &why), LKV_OK);
    CHECK_INT(lkv_format_parse_seal(&record, &out), LKV_OK);
    CHECK_BYTES(&out, sizeof(out), &in, sizeof(in));
}

/* A digest tells records, and their order, apart. */
static void digests(void)
{
    uint8_t a[64], b[64];
    uint64_t both, turned;

    lkv_format_moved(a, 0, text_bytes("a"), text_bytes("1"), 7, 1000);
    lkv_format_moved(b, 0, text_bytes("b"), text_bytes("1"), 7, 1000);
    both = lkv_format_digest(lkv_format_digest(0, a), b);
    turned = lkv_format_digest(lkv_format_digest(0, b), a);
    CHECK(both != turned);
    CHECK(lkv_format_digest(0, a) != lkv_format_digest(0, b));
    CHECK(lkv_format_digest(0, a) != lkv_format_digest(1, a));
    lkv_format_moved(b, 0, text_bytes("b"), text_bytes("1"), 7, 1001);
    CHECK(both != lkv_format_digest(lkv_format_digest(0, a), b));
}

/* Lengths that a segment cannot hold are an answer, not a wish for more bytes. */
static void longer_than_a_segment(void)
{
    static const struct {
        uint32_t key, value;
        int rc;
    } sizes[] = {
        {0, LKV_SEGMENT_MAX - 13, LKV_ABSENT}, {0, LKV_SEGMENT_MAX - 12, LKV_CORRUPT},
        {LKV_SEGMENT_MAX - 13, 0, LKV_ABSENT}, {LKV_SEGMENT_MAX - 13, 1, LKV_CORRUPT},
        {UINT32_MAX, UINT32_MAX, LKV_CORRUPT}, {UINT32_MAX, 1, LKV_CORRUPT}};
    for (size_t i = 0; i < CASES(sizes); i++) {
        uint8_t bytes[LKV_RECORD_HEADER] = {0, 0, 0, 0, LKV_KIND_PUT};
        lkv_record record;
        const char *why = "";
        size_t need = 0;
        lkv_format_u32(bytes + 5, sizes[i].key);
        lkv_format_u32(bytes + 9, sizes[i].value);
        CHECK_INT(lkv_format_parse(bytes, sizeof(bytes), &record, &need, &why),
                  sizes[i].rc);
        if (sizes[i].rc == LKV_ABSENT) {
            CHECK_SIZE(need, LKV_SEGMENT_MAX);
        }
    }
}

static const check_case cases[] = {CASE(golden_bytes),
                                   CASE(golden_bytes_are_read),
                                   CASE(wide_numbers),
                                   CASE(reserved_bytes),
                                   CASE(magic_and_size),
                                   CASE(every_byte_of_a_record),
                                   CASE(cut_at_every_length),
                                   CASE(unknown_types),
                                   CASE(long_form),
                                   CASE(shapes_of_kinds),
                                   CASE(seals),
                                   CASE(digests),
                                   CASE(longer_than_a_segment)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
