/*
 * test_partscan.c - what begins and ends a part.
 */
#include "layers.h"
#include "store.h"

#include <stdlib.h>

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

static const check_case cases[] = {CASE(wrong_ends_of_parts)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
