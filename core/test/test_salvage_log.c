/*
 * test_salvage_log.c - what is believed of a log, and what is not.
 */
#include "exports.h"
#include "rescue.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Puts the store made by hand in the place of the one that is there. */
static void put(fixture *f, craft *c)
{
    image_put(&c->image, f->memory);
    lkv_close(f->store);
    CHECK_INT(lkv_open(f->storage, &f->os.os, &f->store), LKV_OK);
}

/* A commit `a=1`, a commit `b=2`, `c=3`; then what is to be lost. */
static void three(craft *c)
{
    craft_begin(c);
    craft_record(c, LKV_KIND_PUT, "a", "1"); /* 64 to 79; the commit to 148 */
    craft_commit(c, 1);
    craft_record(c, LKV_KIND_PUT, "b", "2"); /* 148 to 163 */
    craft_record(c, LKV_KIND_PUT, "c", "3"); /* 163 to 178; the commit to 247 */
    craft_commit(c, 3);
}

static void end_lost(void)
{
    report said = {0};
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_end(&c);
    c.image.end.generation = 9;
    put(&f, &c);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_CORRUPT);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3");
    CHECK_TEXT(said.text, "");
    CHECK_SIZE(f.store->log.at.revision, 3);
    CHECK_SIZE(f.store->log.at.generation, 2);
    image_free(&c.image);

    /* What has no commit was never committed. */
    three(&c);
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_record(&c, LKV_KIND_TOMBSTONE, "a", "");
    craft_end(&c);
    c.image.end.generation = 9;
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3");
    CHECK_TEXT(said.text, "segment 1: 247+29 c..-");
    image_free(&c.image);

    fixture_close(&f);
}

static void commit_of_another_past(void)
{
    report said = {0};
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    c.covered++; /* it will say so, and the chain is of that */
    craft_commit(&c, 4);
    craft_end(&c);
    c.image.end.generation = 9;
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3");
    CHECK_TEXT(said.text, "segment 1: 247+84 c..-");
    image_free(&c.image);
    three(&c);
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    lkv_hash_add(&c.hash, "x", 1); /* as if another byte had been there */
    craft_commit(&c, 4);
    craft_end(&c);
    c.image.end.generation = 9;
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3");
    CHECK_TEXT(said.text, "segment 1: 247+84 c..-");
    image_free(&c.image);
    fixture_close(&f);
}

/* Behind the last commit another segment had begun. */
static void end_lost_in_another_segment(void)
{
    report said = {0};
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_segment(&c, 2);
    craft_record(&c, LKV_KIND_PUT, "e", "5");
    craft_end(&c);
    c.image.end.generation = 9;
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3");
    CHECK_TEXT(said.text, "segment 1: 247+15 c..-; segment 2: 0+79 -..-");
    image_free(&c.image);
    fixture_close(&f);
}

/* With its end, every record counts, whatever became of its commit; it is of the next
 * revision then. */
static void commit_lost(void)
{
    report said = {0};
    export out;
    lkv_record record;
    const char *why = "";
    size_t need, at = 12 + 5 + 4;
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_commit(&c, 4);
    craft_end(&c);
    *image_at(&c.image, 1, 148 + 30 + 20) ^= 1;
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3 d=4");
    CHECK_TEXT(said.text, "segment 1: 178+69 c..d");
    take_serial(f.store, &out);
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t revisions[] = {1, 2, 2, 3};
        CHECK_INT(lkv_format_parse(out.bytes + at, out.size - at, &record, &need, &why),
                  LKV_OK);
        CHECK_SIZE(record.revision, revisions[i]);
        at += record.size;
    }
    CHECK_SIZE(f.store->log.at.revision, 4);
    free(out.bytes);
    image_free(&c.image);
    fixture_close(&f);
}

/* Two of them, with their keys; and an older value that comes up again. */
static void two_places(void)
{
    report said = {0};
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_record(&c, LKV_KIND_PUT, "b", "new"); /* 247 to 264 */
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_commit(&c, 4);
    craft_end(&c);
    *image_at(&c.image, 1, 64 + 14) ^= 1;  /* the value of a */
    *image_at(&c.image, 1, 247 + 10) ^= 1; /* the length of the newer b */
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "b=2 c=3 d=4");
    CHECK_TEXT(said.text, "segment 1: 64+15 -..b; segment 1: 247+17 c..d");
    image_free(&c.image);
    fixture_close(&f);
}

/* A value that holds the log so far, in a record whose lengths are damaged: its records
 * are not those of the log. The index tells, or the places of the commits. */
static void log_inside_a_value(void)
{
    static const char *const seen[] = {"a=2 z=1", "a=2 z=1"};
    for (int covered = 0; covered < 2; covered++) {
        report said = {0};
        uint8_t log[600];
        lkv_bytes view;
        lkv_place place;
        store_image image;
        uint32_t at;
        fixture f;

        fixture_open(&f, 64);
        f.store->flush_size = covered ? 200 : 100000;
        lkv_auto_compact_fallback(f.store, 0);
        commit_text(f.store, "a", "1");
        commit_text(f.store, "gone", "1");
        commit_text(f.store, "gone", NULL);
        at = f.store->log.at.offset;
        CHECK_INT(f.storage->ops->read(f.storage, 1, 64, at - 64, &view, &f.err),
                  LKV_OK);
        memcpy(log, view.data, at - 64);
        commit_text(f.store, "a", "2");
        begin(f.store);
        CHECK_INT(
            lkv_put(f.store, &(lkv_row){text_bytes("log"), {log, at - 64}, 0}, &f.err),
            LKV_OK);
        CHECK_INT(put_text(f.store, "z", "1"), LKV_OK);
        prepare_and_commit(f.store);
        CHECK_INT(lkv_lookup(f.store, text_bytes("log"), &place, &f.err), LKV_OK);
        if (covered) {
            commit_text(f.store, "y", "1");
            commit_text(f.store, "y", NULL);
            CHECK(f.store->log.runs->tail_at >=
                  lkv_loc_offset(place.loc) + place.size - 64);
        }
        image_take(&image, f.memory);
        *image_at(&image, 1, lkv_loc_offset(place.loc) + 9) ^= 8;
        image_put(&image, f.memory);
        CHECK_TEXT(recover(&f, &said), seen[covered]);
        CHECK_SIZE(said.count, 1);
        CHECK_SIZE(said.bytes, place.size);
        image_free(&image);
        fixture_close(&f);
    }
}

/* Records of a value that end with it, and no commit among them: only the index can
 * tell that no such key is in the log. */
static void records_inside_a_value(void)
{
    report said = {0};
    uint8_t fake[40];
    size_t size = lkv_format_size(text_bytes("fake"), text_bytes("1"));
    lkv_place place;
    store_image image;
    fixture f;

    fixture_open(&f, 64);
    f.store->flush_size = 200;
    lkv_auto_compact_fallback(f.store, 0);
    lkv_format_record(fake, LKV_KIND_PUT, 0, text_bytes("fake"), text_bytes("1"));
    begin(f.store);
    CHECK_INT(lkv_put(f.store, &(lkv_row){text_bytes("b"), {fake, size}, 0}, &f.err),
              LKV_OK);
    CHECK_INT(put_text(f.store, "c", "1"), LKV_OK);
    CHECK_INT(put_text(f.store, "d", "1"), LKV_OK);
    CHECK_INT(put_filler(f.store, "e", 200, 1), LKV_OK);
    CHECK_INT(put_text(f.store, "f", "1"), LKV_OK);
    prepare_and_commit(f.store);
    CHECK(f.store->log.runs->count > 0);
    CHECK_INT(lkv_lookup(f.store, text_bytes("b"), &place, &f.err), LKV_OK);
    CHECK_SIZE(lkv_loc_offset(place.loc), 64);
    image_take(&image, f.memory);
    *image_at(&image, 1, 64 + 9) ^= 8;
    image_put(&image, f.memory);
    CHECK_HAS(recover(&f, &said), "c=1 d=1 <1 ");
    CHECK_TEXT(said.text, "segment 1: 64+32 -..c");
    CHECK_SIZE(lkv_count(f.store), 4);
    image_free(&image);
    fixture_close(&f);
}

/* Where the lengths are right, nothing is looked for in the value. */
static void lengths_are_right(void)
{
    report said = {0};
    char fake[40];
    size_t size = lkv_format_size(text_bytes("fake"), text_bytes("1"));
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    memset(fake, 0, sizeof(fake));
    lkv_format_record((uint8_t *)fake, LKV_KIND_PUT, 0, text_bytes("fake"),
                      text_bytes("1"));
    craft_bytes(&c, (lkv_bytes){"0123\1\1\0\0\0\22\0\0\0b", 14}, 1);
    CHECK_SIZE(size, 18);
    craft_bytes(&c, (lkv_bytes){fake, size}, 1); /* its value */
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_commit(&c, 4);
    craft_end(&c);
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3 d=4");
    CHECK_TEXT(said.text, "segment 1: 247+32 c..d");
    image_free(&c.image);
    fixture_close(&f);
}

/* A damaged length leads to a record all the same, but not to the next one: the index
 * names that. In the log, and in a part. */
static void length_leads_over_others(void)
{
    for (int in_part = 0; in_part < 2; in_part++) {
        report said = {0};
        lkv_bytes object;
        lkv_place place;
        fixture f;

        fixture_open(&f, 64);
        f.store->flush_size = 400;
        lkv_auto_compact_fallback(f.store, 0);
        begin(f.store);
        for (unsigned i = 0; i < 40; i++) { /* each has 64 bytes there */
            char key[8];
            snprintf(key, sizeof(key), "k%02u", i);
            CHECK_INT(put_filler(f.store, key, in_part ? 32 : 48, i), LKV_OK);
        }
        prepare_and_commit(f.store);
        if (in_part) {
            CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
        }
        CHECK_INT(lkv_lookup(f.store, text_bytes("k05"), &place, &f.err), LKV_OK);
        CHECK_INT(lkv_loc_segment(place.loc) >= LKV_PART_FIRST, in_part);
        object = layers_object(f.memory, lkv_loc_segment(place.loc));
        ((uint8_t *)(uintptr_t)object.data)[lkv_loc_offset(place.loc) + 9] ^= 64;
        layers_put_object(f.memory, lkv_loc_segment(place.loc), object);
        free((void *)(uintptr_t)object.data);
        reopen(&f);
        (void)recover(&f, &said);
        CHECK_SIZE(said.kept, 39);
        CHECK(get_text(f.store, "k05") == NULL && get_text(f.store, "k06") != NULL);
        fixture_close(&f);
    }
}

/* Right, and of a type that a log does not have. */
static void types_that_do_not_belong(void)
{
    report said = {0};
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_record(&c, LKV_KIND_SEAL, "s", "1");
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_commit(&c, 4);
    craft_end(&c);
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3 d=4");
    CHECK_TEXT(said.text, "segment 1: 247+15 c..d");
    image_free(&c.image);
    fixture_close(&f);
}

/* An end that is far from where the bytes end, and blocks that may be in between. */
static void end_far_away(void)
{
    report said = {0};
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_end(&c);
    c.image.end.offset = LKV_SEGMENT_MAX - 1000;
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "a=1 b=2 c=3");
    CHECK_SIZE(said.count, 1);
    CHECK_SIZE(said.bytes, LKV_SEGMENT_MAX - 1000 - 247);
    image_free(&c.image);
    fixture_close(&f);
}

/* An object that is right, and another one's. */
static void foreign_objects(void)
{
    report said = {0};
    uint8_t *bytes;
    lkv_segment_header header;
    const char *why = "";
    fixture f;
    craft c;

    fixture_open(&f, 64);
    three(&c);
    craft_segment(&c, 2);
    craft_record(&c, LKV_KIND_PUT, "d", "4");
    craft_commit(&c, 4);
    craft_end(&c);
    bytes = image_at(&c.image, 1, 0);
    CHECK_INT(lkv_format_parse_segment((lkv_bytes){bytes, 64}, &header, &why), LKV_OK);
    header.store_id[3]++;
    lkv_format_segment(bytes, &header);
    put(&f, &c);
    CHECK_TEXT(recover(&f, &said), "d=4");
    CHECK_TEXT(said.text, "segment 1: 0+247 -..-");
    image_free(&c.image);
    fixture_close(&f);
}

/* Without its root a store is nothing, and nothing is changed. */
static void root_damaged(void)
{
    store_image image;
    report said = {0};
    fixture f;

    layers_small(&f);
    image_take(&image, f.memory);
    for (size_t k = 0; k < image.root_size && check_failures() == 0; k++) {
        image.root[k] ^= 4;
        image_put(&image, f.memory);
        reopen(&f);
        storage_fault_arm(&f.fault, 0, 0, LKV_OK);
        for (int apply = 0; apply < 2; apply++) {
            CHECK_INT(salvage(f.store, apply, &said, &f.err), LKV_CORRUPT);
            CHECK_HAS(f.err.text,
                      "; without the root nothing is proven to be of the table");
            CHECK(strncmp(f.err.text, "root: ", 6) == 0);
            CHECK(!lkv_in_transaction(f.store));
        }
        CHECK_SIZE(f.fault.writes, 0);
        image.root[k] ^= 4;
    }
    image_put(&image, f.memory);
    reopen(&f);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), LAYERS_SMALL);
    image_free(&image);
    fixture_close(&f);
}

/* It is undone with its transaction. */
static void undone(void)
{
    store_image image, after;
    report said = {0};
    fixture f;

    layers_small(&f);
    image_take(&image, f.memory);
    *image_at(&image, f.store->log.at.segment, f.store->log.at.offset - 100) ^= 1;
    image_put(&image, f.memory);
    reopen(&f);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_CORRUPT);
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_SIZE(said.count, 1);
    CHECK_INT(put_text(f.store, "new", "1"), LKV_OK);
    lkv_rollback(f.store);
    image_take(&after, f.memory);
    CHECK_SAME_IMAGE(&after, &image);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_CORRUPT);
    image_free(&after);
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_INT(put_text(f.store, "new", "1"), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_TEXT(get_text(f.store, "new"), "1");
    CHECK_TEXT(verified(f.store), "ok");
    image_free(&image);
    fixture_close(&f);
}

/* A part is damaged, which a handle does not see that opens the store. */
static void inside_a_transaction(void)
{
    report said = {0};
    uint32_t number, depth;
    lkv_bytes part;
    fixture f;

    layers_small(&f);
    number = f.store->log.runs->part[0].number;
    part = layers_object(f.storage, number);
    ((uint8_t *)(uintptr_t)part.data)[part.size - LKV_SEAL_SIZE - 3] ^= 1;
    layers_put_object(f.storage, number, part);
    begin(f.store);
    CHECK_INT(put_text(f.store, "a", "3"), LKV_OK);
    CHECK_INT(salvage(f.store, 0, &said, &f.err), LKV_MISUSE);
    depth = mark(f.store);
    for (int i = 0; i < 40; i++) { /* goes on in another segment */
        CHECK_INT(put_text(f.store, "a", "4"), LKV_OK);
    }
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_SIZE(said.count, 1);
    CHECK_TEXT(contents(f.store), "a=4 c= dddddddddddd=some value e=5 g=3 h=h");
    CHECK_TEXT(verified(f.store), "ok");
    lkv_rollback_to(f.store, depth);
    CHECK_TEXT(get_text(f.store, "a"), "3");
    CHECK_HAS(verified(f.store), "part 1, offset ");
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_TEXT(said.text, "");
    prepare_and_commit(f.store);
    CHECK_TEXT(contents(f.store), "a=3 c= dddddddddddd=some value e=5 g=3 h=h");
    CHECK_TEXT(verified(f.store), "ok");
    free((void *)(uintptr_t)part.data);
    fixture_close(&f);
}

typedef struct sweep {
    int storage, for_good, apply;
} sweep;

static int one_failure(const sweep *s, const store_image *image, uint64_t n)
{
    uint64_t failures;
    report said = {0};
    fixture f;
    int rc;

    layers_small(&f);
    image_put(image, f.memory);
    reopen(&f);
    os_fault_arm(&f.os, s->storage ? 0 : n, s->for_good);
    storage_fault_arm(&f.fault, s->storage ? n : 0, s->for_good, LKV_FAILED);
    rc = salvage(f.store, s->apply, &said, &f.err);
    failures = f.os.failures + f.fault.failures;
    os_fault_arm(&f.os, 0, 0);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK_INT(rc, failures == 0 ? LKV_OK : s->storage ? LKV_FAILED : LKV_NOMEM);
    lkv_rollback(f.store);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_CORRUPT);
    CHECK_TEXT(recover(&f, &said), "a=2 c= dddddddddddd=some value "
                                   "ddddddddddde=some value e=4 g=3 h=h");
    fixture_close(&f);
    return failures > 0;
}

static void failures(void)
{
    store_image image;
    lkv_place place;
    fixture f;

    layers_small(&f);
    image_take(&image, f.memory);
    CHECK_INT(lkv_lookup(f.store, text_bytes("e"), &place, &f.err), LKV_OK);
    *image_at(&image, lkv_loc_segment(place.loc), lkv_loc_offset(place.loc) + 14) ^= 1;
    for (int i = 0; i < 8 && check_failures() == 0; i++) {
        sweep s = {i >= 4, i % 2, i / 2 % 2};
        uint64_t n = 1;
        while (one_failure(&s, &image, n) && check_failures() == 0) {
            n++;
        }
        CHECK(n > 8);
    }
    image_free(&image);
    fixture_close(&f);
}

/* Much of everything, and one byte of it wrong. */
static void large(void)
{
    uint64_t random = check_seed(), all, lost = 0;
    store_image image;
    const char *want;
    export before;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    all = lkv_count(f.store);
    want = summary(f.store);
    take_serial(f.store, &before);
    image_take(&image, f.memory);
    for (unsigned i = 0; i < 60 && check_failures() == 0; i++) {
        unsigned n = (unsigned)check_below(&random, image.objects);
        size_t k = (size_t)check_below(&random, image.segments[n].size);
        report said = {.object = image.segments[n].number, .offset = k};
        export after;
        image.segments[n].bytes[k] ^= 1;
        image_put(&image, f.memory);
        recover(&f, &said);
        image.segments[n].bytes[k] ^= 1;
        CHECK(said.named == (image.segments[n].number < LKV_PART_FIRST));
        CHECK(said.count <= 1 && said.kept + 1 >= all && said.kept <= all + 1);
        take_serial(f.store, &after);
        lost += said.count;
        if (said.count == 0) { /* with its revisions and times */
            CHECK_BYTES(after.bytes, after.size - 8 - LKV_SEAL_SIZE, before.bytes,
                        before.size - 8 - LKV_SEAL_SIZE);
            CHECK_TEXT(summary(f.store), want);
        }
        free(after.bytes);
    }
    CHECK(lost > 0);
    image_free(&image);
    free(before.bytes);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(end_lost),
                                   CASE(commit_of_another_past),
                                   CASE(end_lost_in_another_segment),
                                   CASE(commit_lost),
                                   CASE(two_places),
                                   CASE(log_inside_a_value),
                                   CASE(records_inside_a_value),
                                   CASE(lengths_are_right),
                                   CASE(length_leads_over_others),
                                   CASE(types_that_do_not_belong),
                                   CASE(end_far_away),
                                   CASE(foreign_objects),
                                   CASE(root_damaged),
                                   CASE(undone),
                                   CASE(inside_a_transaction),
                                   CASE(failures),
                                   CASE(large)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
