/*
 * test_log.c - what a transaction writes: segments, spills, and in which order.
 */
#include "fixture.h"

#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Checks that a segment is whole records, and counts them by kind. */
static void count_records(const struct image_segment *segment, unsigned *kinds)
{
    size_t offset = LKV_SEGMENT_HEADER;
    while (offset < segment->size && check_failures() == 0) {
        const char *why = "";
        lkv_record record = {.size = 0};
        size_t need;
        CHECK_INT(lkv_format_parse(segment->bytes + offset, segment->size - offset,
                                   &record, &need, &why),
                  LKV_OK);
        kinds[record.kind]++;
        offset += record.size;
    }
    CHECK_SIZE(offset, segment->size);
}

/* F5: a transaction over many segments, none larger than told, each record whole. */
static void roll_inside_a_transaction(void)
{
    for (uint32_t limit = 148; limit < 700; limit += 23) {
        unsigned kinds[8] = {0};
        store_image image;
        fixture f;

        fixture_open(&f, 64);
        f.storage->segment = limit;
        commit_text(f.store, "x", "0");
        begin(f.store);
        for (unsigned i = 0; i < 26; i++) {
            char key[2] = {(char)('a' + i), '\0'};
            CHECK_INT(put_filler(f.store, key, i % 6 * 10, i), LKV_OK);
        }
        CHECK_INT(delete_text(f.store, "a"), LKV_OK);
        prepare_and_commit(f.store);
        CHECK_SIZE(lkv_count(f.store), 25);
        CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
        image_take(&image, f.storage);
        CHECK(image.count > 1);
        for (unsigned i = 0; i < image.count; i++) {
            const struct image_segment *at = &image.segments[i];
            CHECK(at->size <= limit);
            CHECK_INT(at->number, i + 1);
            count_records(at, kinds);
        }
        CHECK_INT(kinds[LKV_KIND_PUT], 27);
        CHECK_INT(kinds[LKV_KIND_TOMBSTONE], 1);
        CHECK_INT(kinds[LKV_KIND_COMMIT], 2);
        CHECK_SIZE(image.end.generation, 2); /* one root for all of them */
        image_free(&image);
        fixture_close(&f);
    }
}

/* What stands in the headers of segments: where they are, and the commit before. */
static void headers(void)
{
    uint64_t base = 0, chain = 0, revision = 0;
    store_image image;
    fixture f;

    fixture_open(&f, 64);
    f.storage->segment = 300;
    for (unsigned i = 0; i < 12; i++) {
        begin(f.store);
        CHECK_INT(put_filler(f.store, "a", 40 + i * 20, i), LKV_OK);
        CHECK_INT(put_filler(f.store, "b", 30, i), LKV_OK);
        prepare_and_commit(f.store);
    }
    image_take(&image, f.storage);
    CHECK(image.count > 4);
    for (unsigned i = 0; i < image.count; i++) {
        const struct image_segment *at = &image.segments[i];
        size_t need, offset = LKV_SEGMENT_HEADER;
        lkv_segment_header header;
        const char *why = "";
        CHECK_INT(
            lkv_format_parse_segment((lkv_bytes){at->bytes, at->size}, &header, &why),
            LKV_OK);
        CHECK_INT(header.number, i + 1);
        CHECK_SIZE(header.base, base);
        CHECK_SIZE(header.chain_before, chain);
        CHECK_SIZE(header.revision_before, revision);
        CHECK_BYTES(header.store_id, 16, image.end.store_id, 16);
        while (offset < at->size) {
            lkv_commit_record commit;
            lkv_record record;
            CHECK_INT(lkv_format_parse(at->bytes + offset, at->size - offset, &record,
                                       &need, &why),
                      LKV_OK);
            if (lkv_format_parse_commit(&record, &commit) == LKV_OK) {
                chain = commit.chain;
                CHECK_SIZE(commit.revision, ++revision);
                CHECK_SIZE(commit.synced_end,
                           base + offset - LKV_SEGMENT_HEADER + LKV_COMMIT_SIZE);
            }
            offset += record.size;
        }
        base += at->size - LKV_SEGMENT_HEADER;
    }
    CHECK_SIZE(revision, 12);
    CHECK_SIZE(image.end.chain, chain);
    image_free(&image);
    fixture_close(&f);
}

/* A record longer than a segment has one of its own. */
static void long_record_alone(void)
{
    store_image image;
    fixture f;

    fixture_open(&f, 64);
    f.storage->segment = 200;
    begin(f.store);
    CHECK_INT(put_text(f.store, "a", "1"), LKV_OK);
    CHECK_INT(put_filler(f.store, "b", 5000, 1), LKV_OK);
    CHECK_INT(put_text(f.store, "c", "3"), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
    image_take(&image, f.storage);
    CHECK_INT(image.count, 3);
    CHECK_SIZE(image.segments[0].size, 64 + 15);
    CHECK_SIZE(image.segments[1].size, 64 + 13 + 1 + 5000);
    image_free(&image);
    fixture_close(&f);
}

/* The same as the very first. */
static void long_record_first(void)
{
    store_image image;
    fixture f;

    fixture_open(&f, 64);
    f.storage->segment = 200;
    begin(f.store);
    CHECK_INT(put_filler(f.store, "a", 5000, 1), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
    image_take(&image, f.storage);
    CHECK_INT(image.count, 2);
    CHECK_SIZE(image.segments[0].size, 64 + 13 + 1 + 5000);
    image_free(&image);
    fixture_close(&f);
}

/* A record that just fits stays; one byte more, and it goes into the next segment. */
static void a_segment_is_filled_to_its_limit(void)
{
    for (unsigned more = 0; more < 2; more++) {
        store_image image;
        fixture f;
        fixture_open(&f, 64);
        f.storage->segment = 300;
        begin(f.store);
        CHECK_INT(put_filler(f.store, "a", 100, 1), LKV_OK);
        CHECK_INT(
            put_filler(f.store, "b", 300 - 64 - 114 - 14 - LKV_COMMIT_SIZE + more, 2),
            LKV_OK);
        prepare_and_commit(f.store);
        image_take(&image, f.storage);
        CHECK_INT(image.count, more + 1);
        CHECK_SIZE(image.segments[0].size, more ? 300 - LKV_COMMIT_SIZE + 1 : 300);
        image_free(&image);
        fixture_close(&f);
    }
}

/* Before it is prepared, a transaction writes whole blocks, and keeps in memory only
 * about `spill` bytes. */
static void spill_writes_whole_blocks(void)
{
    uint64_t bytes, writes;
    fixture f;

    fixture_open(&f, 64);
    f.storage->spill = 4096;
    begin(f.store);
    bytes = f.os.live_bytes;
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    for (unsigned i = 0; i < 100; i++) {
        CHECK_INT(put_filler(f.store, "a", 1000, i), LKV_OK);
    }
    CHECK_SIZE(f.fault.uneven, 0);
    writes = f.fault.writes;
    CHECK(writes >= 17 && writes <= 25);
    CHECK_SIZE(f.fault.ends + f.fault.roots, 0);
    /* The storage is in memory too: it holds the 100 records. */
    CHECK(f.os.live_bytes - bytes < 2 * 101400 + 4 * 4096);
    prepare_and_commit(f.store);
    CHECK(f.fault.writes <= writes + 2);
    CHECK_SIZE(f.fault.ends, 1);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
    fixture_close(&f);
}

/* Records that storage has a part of, or all, or nothing, read inside the transaction;
 * and the same by a scan. */
static void record_across_the_spill(void)
{
    for (uint32_t spill = 1; spill < 400; spill += 13) {
        lkv_stats stats;
        fixture f;
        fixture_open(&f, 64);
        f.storage->spill = spill;
        begin(f.store);
        for (unsigned i = 0; i < 26; i++) {
            char key[2] = {(char)('a' + i), '\0'};
            CHECK_INT(put_filler(f.store, key, 5 + i * 7 % 120, i), LKV_OK);
            CHECK(strstr(contents(f.store), "error") == NULL);
        }
        CHECK_INT(lkv_measure(f.store, &stats, &f.err), LKV_OK);
        CHECK_SIZE(stats.records, 26);
        CHECK_SIZE(stats.live_keys, 26);
        CHECK_SIZE(stats.log_bytes, stats.live_bytes + 64);
        prepare_and_commit(f.store);
        CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
        fixture_close(&f);
    }
}

/* A length that went bad in the part that storage has does not lead out of the buffer.
 */
static void damage_across_the_spill(void)
{
    lkv_bytes view;
    lkv_row row;
    fixture f;

    fixture_open(&f, 64);
    f.storage->spill = 100;
    begin(f.store);
    CHECK_INT(put_filler(f.store, "a", 100, 1), LKV_OK); /* 64 to 178 */
    CHECK_INT(put_filler(f.store, "b", 10, 2), LKV_OK);  /* storage has it to 128 */
    CHECK_INT(f.memory->ops->read(f.memory, 1, 0, 128, &view, NULL), LKV_OK);
    CHECK_SIZE(view.size, 128);
    *((uint8_t *)(uintptr_t)view.data + 64 + 11) = 1; /* 65,536 more */
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "segment 1, offset 64: record runs past the end");
    *((uint8_t *)(uintptr_t)view.data + 64 + 11) = 0;
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_OK);
    lkv_rollback(f.store);
    fixture_close(&f);
}

/* Nothing to write is nothing written. */
static void prepare_of_nothing(void)
{
    uint32_t depth;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    begin(f.store);
    prepare_and_commit(f.store);
    begin(f.store);
    depth = mark(f.store);
    CHECK_INT(put_text(f.store, "a", "2"), LKV_OK);
    CHECK_INT(delete_text(f.store, "a"), LKV_OK);
    lkv_rollback_to(f.store, depth);
    CHECK_INT(delete_text(f.store, "b"), LKV_ABSENT);
    prepare_and_commit(f.store);
    CHECK_SIZE(f.fault.writes + f.fault.ends + f.fault.roots + f.fault.syncs, 0);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1");
    fixture_close(&f);
}

/* A storage that is not atomic is told of no synced end that did not happen. */
static void synced_end(void)
{
    uint8_t *commit;
    store_image image;
    fixture f;

    fixture_open(&f, 64);
    f.storage->atomic = 0;
    commit_text(f.store, "a", "1");
    image_take(&image, f.storage);
    commit = image_at(&image, 1, 79);
    CHECK_SIZE(lkv_format_get_u64(commit + 37), 0);
    image_free(&image);
    fixture_close(&f);
}

static void too_big(void)
{
    static const uint8_t byte = 1;
    size_t most = LKV_SEGMENT_MAX - LKV_SEGMENT_HEADER - 2 * LKV_COMMIT_SIZE - 13;
    lkv_row row = {text_bytes("a"), {&byte, most}, 0};
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    begin(f.store);
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_TOO_BIG);
    CHECK_TEXT(f.err.text, "the record is longer than a segment");
    row.value.size = SIZE_MAX / 2;
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_TOO_BIG);
    CHECK_TEXT(contents(f.store), "a=1");
    prepare_and_commit(f.store);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1");
    fixture_close(&f);
}

/* The last number that a location can hold has been given. */
static void numbers_run_out(void)
{
    fixture f;
    craft c;

    craft_begin_at(&c, LKV_SEGMENT_NUMBER_MAX - 2);
    craft_record(&c, LKV_KIND_PUT, "a", "1");
    craft_commit(&c, 1);
    craft_segment(&c, LKV_SEGMENT_NUMBER_MAX - 1);
    craft_record(&c, LKV_KIND_PUT, "b", "2");
    craft_commit(&c, 2);
    craft_end(&c);
    fixture_open(&f, 64);
    image_put(&c.image, f.storage);
    image_free(&c.image);
    f.storage->segment = 200;
    begin(f.store);
    CHECK_INT(put_filler(f.store, "c", 50, 3), LKV_OK); /* in the last segment */
    prepare_and_commit(f.store);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
    begin(f.store);
    CHECK_INT(put_filler(f.store, "c", 200, 4), LKV_TOO_BIG);
    CHECK_INT(put_filler(f.store, "c", 100, 4), LKV_TOO_BIG);
    lkv_rollback(f.store);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
    fixture_close(&f);
}

/* After a large transaction little memory stays. */
static void memory_goes_back(void)
{
    uint64_t before;
    fixture f;
    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    before = f.os.live_bytes;
    begin(f.store);
    CHECK_INT(put_filler(f.store, "a", 500000, 1), LKV_OK);
    prepare_and_commit(f.store);
    /* The storage's own, which may double, and 64 KiB each of buffer and journal. */
    CHECK(f.os.live_bytes - before < 2 * 500200 + (128 << 10));
    fixture_close(&f);
}

/* However often the end is written in a transaction, memory does not grow with it. */
static void buffer_is_let_go(void)
{
    fixture f;
    fixture_open(&f, 64);
    f.storage->spill = 2000;
    begin(f.store);
    for (unsigned i = 0; i < 200; i++) {
        CHECK_INT(put_filler(f.store, "k", 100, i), LKV_OK);
        CHECK_INT(lkv_prepare(f.store, NULL), LKV_OK);
    }
    CHECK(f.store->log.buffer_size < 8000);
    lkv_commit(f.store);
    CHECK_INT(lkv_verify(f.store, NULL, NULL, NULL), LKV_OK);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(roll_inside_a_transaction),
                                   CASE(headers),
                                   CASE(long_record_alone),
                                   CASE(long_record_first),
                                   CASE(a_segment_is_filled_to_its_limit),
                                   CASE(spill_writes_whole_blocks),
                                   CASE(record_across_the_spill),
                                   CASE(damage_across_the_spill),
                                   CASE(prepare_of_nothing),
                                   CASE(synced_end),
                                   CASE(too_big),
                                   CASE(numbers_run_out),
                                   CASE(memory_goes_back),
                                   CASE(buffer_is_let_go)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
