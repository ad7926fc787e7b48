/*
 * test_partscan.c - what begins and ends a part.
 */
#include "layers.h"
#include "store.h"

#include "partscan.h"

#include <stdlib.h>
#include <string.h>

/* Headers and seals that are not those of the part, with right checksums. */
static void wrong_ends_of_parts(void)
{
    lkv_segment_header header = {.number = 0};
    lkv_seal_record seal;
    lkv_record record;
    const char *why;
    lkv_bytes object;
    uint8_t *at, *last;
    uint32_t number;
    size_t need;
    fixture f;

    layers_small(&f);
    number = f.store->log.runs->part[0].number;
    object = layers_object(f.storage, number);
    at = (uint8_t *)(uintptr_t)object.data;
    last = at + object.size - LKV_SEAL_SIZE;
    CHECK_INT(lkv_format_parse_segment(object, &header, &why), LKV_OK);
    CHECK_INT(lkv_format_parse(last, LKV_SEAL_SIZE, &record, &need, &why), LKV_OK);
    CHECK_INT(lkv_format_parse_seal(&record, &seal), LKV_OK);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t *const fields[] = {&seal.keys, &seal.bytes, &seal.digest,
                                    &seal.revision, &seal.chain};
        ++*fields[i];
        lkv_format_seal(last, &seal);
        layers_put_object(f.storage, number, object);
        CHECK_HAS(verified(f.store), i < 3 ? ": the seal is of other records"
                                           : ": the seal names another commit");
        --*fields[i];
    }
    lkv_format_seal(last, &seal);
    for (unsigned i = 0; i < 4; i++) {
        lkv_segment_header other = header;
        other.number += i == 0;
        other.kind -= i == 1;
        other.store_id[5] ^= i == 2;
        other.base += i == 3 ? 1000000 : 0;
        lkv_format_segment(at, &other);
        layers_put_object(f.storage, number, object);
        CHECK_HAS(verified(f.store), i < 3 ? "offset 0: the segment is not the root's"
                                           : "the part takes in more than the log");
    }
    lkv_format_segment(at, &header);
    layers_put_object(f.storage, number, object);
    CHECK_TEXT(verified(f.store), "ok");
    free(at);
    fixture_close(&f);
}

/* What reading all of a part says: "ok", or its text. */
static const char *scanned(fixture *f, const lkv_part *part, int finished)
{
    static lkv_error err;
    lkv_part_scan scan;
    lkv_record record;
    lkv_loc loc;
    int rc;

    err.text[0] = '\0';
    rc = lkv_part_scan_open(&scan, &f->store->log, part, finished, &err);
    while (rc == LKV_OK) {
        rc = lkv_part_scan_next(&scan, &record, &loc, &err);
    }
    lkv_part_scan_free(&scan);
    lkv_part_scan_free(&scan); /* nothing is left of it */
    CHECK_INT(rc, err.text[0] == '\0' ? LKV_ABSENT : LKV_CORRUPT);
    return rc == LKV_ABSENT ? "ok" : err.text;
}

/* The part of the small store ends elsewhere than where the root says. */
static void wrong_sizes_of_parts(void)
{
    lkv_bytes object;
    uint8_t *longer;
    lkv_part part;
    fixture f;

    layers_small(&f);
    part = f.store->log.runs->part[0];
    CHECK_TEXT(scanned(&f, &part, 1), "ok");
    CHECK_HAS(scanned(&f, &part, 0), ": the record is not of a part");
    part.size -= LKV_SEAL_SIZE;
    CHECK_TEXT(scanned(&f, &part, 0), "ok");
    CHECK_HAS(scanned(&f, &part, 1), ": the part ends without a seal");
    part.size--;
    CHECK_HAS(scanned(&f, &part, 0), ": record runs past the end");
    part.size += LKV_SEAL_SIZE + 1 + 20;
    CHECK_HAS(scanned(&f, &part, 1), ": the part does not end in its seal");
    part.size -= 20;
    object = layers_object(f.storage, part.number);
    longer = calloc(1, object.size + 20);
    if (longer == NULL) {
        abort();
    }
    memcpy(longer, object.data, object.size);
    layers_put_object(f.storage, part.number, (lkv_bytes){longer, object.size + 20});
    CHECK_TEXT(scanned(&f, &part, 1), "ok"); /* what is behind it is no matter */
    layers_put_object(f.storage, part.number, (lkv_bytes){longer, part.size - 3});
    CHECK_HAS(scanned(&f, &part, 1), ": it is cut short");
    layers_put_object(f.storage, part.number, object);
    part.keys++;
    CHECK_HAS(scanned(&f, &part, 1), ": the root counts other records");
    part.keys--;
    part.bytes++;
    CHECK_HAS(scanned(&f, &part, 1), ": the root counts other records");
    part.bytes--;
    part.digest++;
    CHECK_HAS(scanned(&f, &part, 1), ": the root counts other records");
    free(longer);
    free((void *)(uintptr_t)object.data);
    fixture_close(&f);
}

/* Where the record of `key` begins in the part. */
static size_t place_of(fixture *f, const char *key)
{
    lkv_place place;
    CHECK_INT(lkv_lookup(f->store, text_bytes(key), &place, &f->err), LKV_OK);
    return lkv_loc_offset(place.loc);
}

/* Records with right checksums that no part has: of another kind, or out of order. */
static void wrong_records_of_parts(void)
{
    static const char *const keys[] = {"dddddddddddd", "ddddddddddde"};
    enum { SIZE = LKV_RECORD_HEADER + LKV_MOVED_SIZE + 12 + 10 };
    uint8_t records[2][SIZE];
    lkv_bytes object;
    size_t at[2];
    uint8_t *bytes;
    lkv_part part;
    fixture f;

    layers_small(&f);
    part = f.store->log.runs->part[0];
    object = layers_object(f.storage, part.number);
    bytes = (uint8_t *)(uintptr_t)object.data;
    for (int i = 0; i < 2; i++) {
        at[i] = place_of(&f, keys[i]);
        memcpy(records[i], bytes + at[i], SIZE);
    }
    CHECK_SIZE(at[1], at[0] + SIZE);
    for (int i = 0; i < 2; i++) {
        memcpy(bytes + at[i], records[1 - i], SIZE);
    }
    layers_put_object(f.storage, part.number, object);
    CHECK_HAS(scanned(&f, &part, 1), ": the keys do not ascend");
    memcpy(bytes + at[0], records[1], SIZE); /* twice the same */
    layers_put_object(f.storage, part.number, object);
    CHECK_HAS(scanned(&f, &part, 1), ": the keys do not ascend");
    memcpy(bytes + at[0], records[0], SIZE);
    for (int i = 0; i < 2; i++) {
        static const enum lkv_kind kinds[] = {LKV_KIND_PUT, LKV_KIND_TOMBSTONE};
        static const uint8_t filling[SIZE];
        lkv_bytes key = {filling, i == 0 ? 12 : SIZE - LKV_RECORD_HEADER};
        lkv_bytes value = {filling, SIZE - LKV_RECORD_HEADER - key.size};
        lkv_format_record(bytes + at[0], kinds[i], 0, key, value);
        layers_put_object(f.storage, part.number, object);
        CHECK_HAS(scanned(&f, &part, 1), ": the record is not of a part");
    }
    free(bytes);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(wrong_ends_of_parts),
                                   CASE(wrong_sizes_of_parts),
                                   CASE(wrong_records_of_parts)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
