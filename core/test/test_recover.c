/*
 * test_recover.c - what a handle finds in a log, whatever was done to it: by other
 * handles, by a backup put back, by damage.
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#define NOT_THE_END "the log does not end in the commit that was published"

/* A transaction that was undone, and a retry of equal size over it that was torn: its
 * record is there, its commit is still the old one's. F6 */
static void commit_of_another_past(void)
{
    uint8_t *value;
    craft c;

    craft_begin(&c);
    craft_record(&c, LKV_KIND_PUT, "a", "0");
    craft_commit(&c, 1);
    craft_record(&c, LKV_KIND_PUT, "a", "1");
    craft_commit(&c, 1);
    craft_end(&c);
    CHECK_TEXT(contents_of(&c.image), "a=1");
    value = image_at(&c.image, 1, 64 + 15 + LKV_COMMIT_SIZE);
    lkv_format_record(value, LKV_KIND_PUT, 0, text_bytes("a"), text_bytes("2"));
    CHECK_TEXT(contents_of(&c.image),
               "error -2: segment 1, offset 163: chain checksum mismatch");
    image_free(&c.image);
}

/* Commits that are right but for one thing. F6 */
static void commit_out_of_place(void)
{
    for (int wrong = 0; wrong < 7; wrong++) {
        static const char *const texts[] = {
            "a=0 b=1",
            "error -2: segment 1, offset 163: the commit does not follow the one "
            "before it",
            "error -2: segment 1, offset 163: the commit does not follow the one "
            "before it",
            "error -2: segment 1, offset 163: the commit does not follow the one "
            "before it",
            "error -2: segment 1, offset 163: chain checksum mismatch",
            "error -2: segment 1, offset 163: chain checksum mismatch",
            "error -2: segment 1, offset 163: chain checksum mismatch",
        };
        lkv_commit_record before;
        craft c;

        craft_begin(&c);
        craft_record(&c, LKV_KIND_PUT, "a", "0");
        craft_commit(&c, 1);
        before = c.commit;
        craft_record(&c, LKV_KIND_PUT, "b", "1");
        c.commit.revision += wrong == 1;
        c.commit.revision -= wrong == 2;
        c.covered += wrong == 3;
        if (wrong == 4) { /* as if it were the first */
            lkv_format_chain_start(&c.hash, c.image.end.store_id, 0, 84);
            lkv_hash_add(&c.hash, image_at(&c.image, 1, 148), 15);
        } else if (wrong == 5) { /* at another offset */
            lkv_format_chain_start(&c.hash, c.image.end.store_id, before.chain, 85);
            lkv_hash_add(&c.hash, image_at(&c.image, 1, 148), 15);
        } else if (wrong == 6) { /* in another store */
            uint8_t id[LKV_ID_SIZE] = {1};
            lkv_format_chain_start(&c.hash, id, before.chain, 84);
            lkv_hash_add(&c.hash, image_at(&c.image, 1, 148), 15);
        }
        craft_commit(&c, 2);
        craft_end(&c);
        CHECK_TEXT(contents_of(&c.image), texts[wrong]);
        image_free(&c.image);
    }
}

/* The chain value goes over each field of the commit but itself. */
static void every_field_of_a_commit(void)
{
    for (size_t at = LKV_RECORD_HEADER; at < LKV_COMMIT_SIZE; at++) {
        uint8_t *commit;
        craft c;
        craft_begin(&c);
        craft_record(&c, LKV_KIND_PUT, "a", "0");
        craft_commit(&c, 1);
        craft_end(&c);
        commit = image_at(&c.image, 1, 79);
        commit[at] ^= 1;
        lkv_format_u32(commit, lkv_crc32(0, commit + 4, LKV_COMMIT_SIZE - 4));
        CHECK_HAS(contents_of(&c.image), "error -2: segment 1, offset 79: ");
        image_free(&c.image);
    }
}

/* A value that is a log with commits: of another store, and of this one. F6 */
static void commit_inside_a_value(void)
{
    lkv_row row = {text_bytes("log"), {NULL, 0}, 0};
    store_image image, inner;
    fixture f;
    const char *want;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    commit_text(f.store, "a", "2");
    image_take(&inner, f.storage);
    begin(f.store);
    row.value = (lkv_bytes){inner.segments[0].bytes, inner.segments[0].size};
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
    row.key = text_bytes("log2");
    row.value =
        (lkv_bytes){inner.segments[0].bytes + 148, 84}; /* begins with a record */
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
    prepare_and_commit(f.store);
    want = contents(f.store);
    CHECK_HAS(want, "a=2 <3 ");
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), want);

    /* An end that points behind a commit within the value. */
    image_take(&image, f.storage);
    image.end = inner.end;
    image.end.offset = inner.end.offset + 13 + 3 + inner.end.offset;
    CHECK_TEXT(contents_of(&image), "error -2: segment 1, offset 480: " NOT_THE_END);
    image_free(&image);
    image_free(&inner);
    fixture_close(&f);
}

/* F7. The counts that a commit tells are the end's too. Whether they are true shows
 * when everything is read. */
static void wrong_live_keys(void)
{
    static const uint64_t says[] = {0, 1, 3, 13, 14, UINT64_MAX};
    for (size_t k = 0; k < CASES(says); k++) {
        craft c;
        craft_begin(&c);
        craft_record(&c, LKV_KIND_PUT, "a", "1");
        craft_record(&c, LKV_KIND_PUT, "b", "1");
        craft_record(&c, LKV_KIND_PUT, "a", "2");
        craft_commit(&c, says[k]);
        craft_end(&c);
        CHECK_TEXT(contents_of(&c.image),
                   says[k] <= 13 ? "error: lkv_count() is wrong"
                                 : "error -2: segment 1, offset 178: the commit counts "
                                   "more keys than the log has room for");
        c.image.end.live_keys = 2;
        CHECK_TEXT(contents_of(&c.image),
                   "error -2: segment 1, offset 178: " NOT_THE_END);
        c.image.end.live_keys = says[k];
        c.image.end.live_bytes++;
        CHECK_TEXT(contents_of(&c.image),
                   "error -2: segment 1, offset 178: " NOT_THE_END);
        image_free(&c.image);
    }
}

static void fix_header(uint8_t *header)
{
    lkv_format_u32(header + 60, lkv_crc32(0, header, 60));
}

/* F8 */
static void foreign_segment(void)
{
    static const size_t fields[] = {8, 15, 23, 24, 32, 39};
    store_image image;
    fixture f;
    const char *want;

    fixture_open(&f, 64);
    fill_three(&f);
    want = contents(f.store);
    image_take(&image, f.storage);
    CHECK_INT(image.count, 3);
    for (uint32_t number = 1; number <= 3; number++) {
        uint8_t *header = image_at(&image, number, 0);
        for (size_t k = 0; k < CASES(fields); k++) {
            char text[100] =
                "error -2: segment ?, offset 0: the segment is not the root's";
            text[18] = (char)('0' + number);
            header[fields[k]] ^= 4;
            fix_header(header);
            CHECK_TEXT(contents_of(&image), text);
            header[fields[k]] ^= 4;
            fix_header(header);
        }
    }
    CHECK_TEXT(contents_of(&image), want);
    image_free(&image);
    fixture_close(&f);
}

/* F10: each field of the end. */
static void end_differs(void)
{
    static const char *const roots = "the root and the end of the log differ";
    static const char *const record = "record runs past the end";
    const struct {
        lkv_end more; /* is added */
        const char *text;
    } changes[] = {{{.store_id = {1}}, roots},
                   {{.generation = 1}, roots},
                   {{.segment = UINT32_MAX}, roots}, /* the one before */
                   {{.segment = 1}, roots},
                   {{.offset = 63u - 217u}, roots},
                   {{.offset = 0u - 217u}, roots},
                   {{.offset = LKV_SEGMENT_MAX - 216u}, roots},
                   {{.revision = 1}, NOT_THE_END},
                   {{.revision = UINT64_MAX}, NOT_THE_END},
                   {{.chain = 1}, NOT_THE_END},
                   {{.live_keys = 1}, NOT_THE_END},
                   {{.live_bytes = 1}, NOT_THE_END},
                   {{.offset = 0u - 84u}, NOT_THE_END}, /* behind the commit before */
                   {{.offset = 0u - 69u}, NOT_THE_END}, /* behind a record */
                   {{.offset = 64u - 217u}, NOT_THE_END},
                   {{.offset = 0u - 1u}, record},
                   {{.offset = 1}, record},
                   {{.offset = LKV_SEGMENT_MAX - 217u}, "it is cut short"}};
    store_image image;
    lkv_end end;
    fixture f;

    fixture_open(&f, 64);
    fill_three(&f);
    image_take(&image, f.storage);
    end = image.end;
    CHECK_INT(end.segment, 3);
    CHECK_INT(end.offset, 217);
    for (size_t i = 0; i < CASES(changes); i++) {
        const lkv_end *more = &changes[i].more;
        image.end = end;
        image.end.store_id[0] ^= more->store_id[0];
        image.end.generation += more->generation;
        image.end.revision += more->revision;
        image.end.chain += more->chain;
        image.end.live_keys += more->live_keys;
        image.end.live_bytes += more->live_bytes;
        image.end.segment += more->segment;
        image.end.offset += more->offset;
        CHECK_HAS(contents_of(&image), "error -2: ");
        if (!CHECK_HAS(contents_of(&image), changes[i].text)) {
            CHECK_SIZE(i, SIZE_MAX);
        }
    }
    image_free(&image);
    fixture_close(&f);
}

/* An end in a segment without a commit, which no writer leaves: the commit that it
 * speaks of is the last one, but a record stands between. F10 */
static void end_in_an_empty_segment(void)
{
    for (int record = 0; record < 2; record++) {
        craft c;
        craft_begin(&c);
        craft_record(&c, LKV_KIND_PUT, "a", "1");
        craft_commit(&c, 1);
        if (record) {
            craft_record(&c, LKV_KIND_PUT, "a", "2");
        }
        craft_segment(&c, 2);
        craft_end(&c);
        CHECK_TEXT(contents_of(&c.image),
                   "error -2: segment 2, offset 64: " NOT_THE_END);
        image_free(&c.image);
    }
}

/* Records before the end that no commit covers; one of them where, in the segment
 * before, the last commit ends. F6, F10 */
static void records_without_a_commit(void)
{
    craft c;

    craft_begin(&c);
    craft_record(&c, LKV_KIND_PUT, "a", "1");
    craft_commit(&c, 1);
    craft_record(&c, LKV_KIND_PUT, "a", "2");
    craft_end(&c);
    CHECK_TEXT(contents_of(&c.image), "error -2: segment 1, offset 163: " NOT_THE_END);
    image_free(&c.image);
    craft_begin(&c);
    craft_record(&c, LKV_KIND_PUT, "a", "1");
    craft_commit(&c, 1);
    craft_segment(&c, 2);
    craft_record(
        &c, LKV_KIND_PUT, "a",
        "1234567890123456789012345678901234567890123456789012345678901234567890");
    craft_end(&c);
    CHECK_INT(c.image.end.offset, 148);
    CHECK_TEXT(contents_of(&c.image), "error -2: segment 2, offset 148: " NOT_THE_END);
    image_free(&c.image);
}

/* F10: whole transactions behind the end, and garbage. */
static void bytes_after_the_end(void)
{
    store_image image;
    lkv_bytes more = filler(300, 9);
    lkv_end first;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    image_take(&image, f.storage);
    first = image.end;
    image_free(&image);
    commit_text(f.store, "b", "2");
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1 b=2");
    CHECK_INT(f.storage->ops->publish_end(f.storage, &first, NULL), LKV_OK);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1");
    fixture_reopen(&f);
    commit_text(f.store, "c", "3");
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1 c=3");
    image_take(&image, f.storage);
    CHECK_INT(f.storage->ops->write(f.storage, 1, image.end.offset, more, NULL),
              LKV_OK);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1 c=3");
    image_free(&image);
    fixture_close(&f);
}

/* Where the record, or the header, begins that holds byte `at` of a segment. */
static unsigned long beginning(const struct image_segment *segment, size_t at)
{
    size_t offset = LKV_SEGMENT_HEADER;
    if (at < LKV_SEGMENT_HEADER) {
        return 0;
    }
    for (;;) {
        const char *why = "";
        lkv_record record;
        size_t need;
        if (lkv_format_parse(segment->bytes + offset, segment->size - offset, &record,
                             &need, &why) != LKV_OK) {
            abort();
        }
        if (at < offset + record.size) {
            return (unsigned long)offset;
        }
        offset += record.size;
    }
}

/* F11: each byte of the log, another: an error that names the place, and no write. */
static void every_byte(void)
{
    store_image image;
    fixture f;
    const char *want;

    fixture_open(&f, 64);
    fill_three(&f);
    want = contents(f.store);
    image_take(&image, f.storage);
    CHECK_TEXT(contents_of(&image), want);
    for (unsigned i = 0; i < image.count; i++) {
        struct image_segment *at = &image.segments[i];
        for (size_t k = 0; k < at->size; k++) {
            uint8_t old = at->bytes[k];
            const uint8_t tries[] = {(uint8_t)(old ^ 1), (uint8_t)(old ^ 0x80), 0,
                                     0xff};
            unsigned long offset = beginning(at, k);
            for (size_t t = 0; t < CASES(tries); t++) {
                char text[64];
                if (tries[t] == old) {
                    continue;
                }
                at->bytes[k] = tries[t];
                (void)snprintf(text, sizeof(text),
                               "error -2: segment %u, offset %lu: ", at->number,
                               offset);
                CHECK_HAS(contents_of(&image), text);
            }
            at->bytes[k] = old;
        }
    }
    image_free(&image);
    fixture_close(&f);
}

/* A segment that storage has less of than the root says, or nothing. F11 */
static void cut_short(void)
{
    store_image image;
    fixture f;

    fixture_open(&f, 64);
    fill_three(&f);
    image_take(&image, f.storage);
    for (unsigned i = 0; i < image.count; i++) {
        size_t size = image.segments[i].size;
        for (size_t less = 0; less < size; less += 1 + less / 16) {
            image.segments[i].size = less;
            CHECK_HAS(contents_of(&image), "error -2: segment ");
        }
        image.segments[i].size = size;
    }
    image_free(&image);
    fixture_close(&f);
}

/* F12: what a handle has read it does not read again, which damage there shows. Where a
 * new segment made the root another one, it reads on from that root's tail. */
static void goes_on_from_its_commit(void)
{
    for (int rolls = 0; rolls < 2; rolls++) {
        lkv_store *other;
        lkv_bytes view;
        uint8_t *early;
        fixture f;

        fixture_open(&f, 64);
        f.storage->segment = rolls ? 270 : 100000;
        CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
        CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        commit_text(f.store, "a", "1");
        commit_text(f.store, "b", "1");
        CHECK_TEXT(contents(other), "");
        CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        CHECK_TEXT(contents(other), "a=1 b=1");
        CHECK_INT(f.memory->ops->read(f.memory, 1, 64, 15, &view, NULL), LKV_OK);
        early = (uint8_t *)(uintptr_t)view.data;
        early[14] ^= rolls ? 0 : 1;
        commit_text(f.store, "a", "2");
        commit_text(f.store, "b", NULL);
        commit_text(f.store, "c", "3");
        CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        CHECK_TEXT(contents(other), "a=2 c=3");
        CHECK_HAS(contents_anew(f.storage, &f.os.os),
                  rolls ? "a=2 c=3"
                        : "error -2: segment 1, offset 64: checksum mismatch");
        /* The other way round: the handle that was behind writes. */
        commit_text(other, "d", "4");
        begin(f.store);
        CHECK_TEXT(contents(f.store), "a=2 c=3 d=4");
        lkv_rollback(f.store);
        lkv_close(other);
        fixture_close(&f);
    }
}

/* Another log takes the place of the one that the handle stands in. */
static void check_replaced(const char *first, const char *second, unsigned same,
                           unsigned only_first, unsigned only_second)
{
    store_image replaced;
    lkv_cursor *cursor;
    fixture f, g;
    const char *want;

    fixture_open(&f, 64);
    fixture_open(&g, 64); /* the same identity */
    for (unsigned i = 0; i < same; i++) {
        commit_text(f.store, "k", "0");
        commit_text(g.store, "k", "0");
    }
    for (unsigned i = 0; i < only_first; i++) {
        commit_text(f.store, first, "1");
    }
    for (unsigned i = 0; i < only_second; i++) {
        commit_text(g.store, second, "2");
    }
    image_take(&replaced, g.storage);
    CHECK_INT(lkv_cursor_open(f.store, &cursor), LKV_OK);
    CHECK(lkv_cursor_first(cursor, NULL) >= 0);
    image_put(&replaced, f.storage);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    want = contents(g.store);
    CHECK_TEXT(contents(f.store), want);
    CHECK(lkv_cursor_next(cursor, NULL) >= 0);
    lkv_cursor_close(cursor);
    commit_text(f.store, "z", "9");
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
    image_free(&replaced);
    fixture_close(&f);
    fixture_close(&g);
}

/* F12: as a backup put back does, or a follower that went another way. */
static void replaced_log(void)
{
    check_replaced("a", "a", 0, 1, 1); /* equal sizes and revisions */
    check_replaced("a", "b", 0, 1, 1);
    check_replaced("a", "a", 3, 2, 2);
    check_replaced("a", "b", 3, 1, 2); /* longer */
    check_replaced("a", "b", 1, 2, 7);
    check_replaced("a", "a", 1, 5, 9);
    check_replaced("aaaaaaaaaaaaaaaaaaaa", "b", 1, 1, 9); /* commits elsewhere */
}

/* F12 */
static void shorter_log(void)
{
    check_replaced("a", "b", 0, 2, 1);
    check_replaced("a", "b", 3, 2, 0);
    check_replaced("a", "b", 0, 3, 0);
    check_replaced("a", "a", 2, 9, 3);
}

static const check_case cases[] = {CASE(commit_of_another_past),
                                   CASE(commit_out_of_place),
                                   CASE(every_field_of_a_commit),
                                   CASE(commit_inside_a_value),
                                   CASE(wrong_live_keys),
                                   CASE(foreign_segment),
                                   CASE(end_differs),
                                   CASE(end_in_an_empty_segment),
                                   CASE(records_without_a_commit),
                                   CASE(bytes_after_the_end),
                                   CASE(every_byte),
                                   CASE(cut_short),
                                   CASE(goes_on_from_its_commit),
                                   CASE(replaced_log),
                                   CASE(shorter_log)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
