/*
 * test_serial.c - what was serialized is the same store again, and anything else
 * changes nothing.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Another store, with the description `about` and small pieces, and another identity.
 */
static void open_other(fixture *f, const fixture *first, const char *about)
{
    fixture_open(f, 96);
    CHECK_INT(lkv_create(f->storage, &first->os.os, text_bytes(about), &f->err),
              LKV_OK);
    f->storage->segment = 4000;
    f->storage->spill = 256;
    fixture_reopen(f);
    f->store->flush_size = 1200;
}

static void take_back(lkv_store *store, export *from)
{
    lkv_error err = {0, ""};
    begin(store);
    CHECK_INT(deserialize(store, from, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    prepare_and_commit(store);
}

/* One that is refused with such a text, and leaves no trace. */
static void check_refused(fixture *f, export *from, const char *text)
{
    lkv_runs *runs = f->store->log.runs;
    begin(f->store);
    storage_fault_arm(&f->fault, 0, 0, LKV_OK);
    CHECK_INT(deserialize(f->store, from, &f->err), LKV_CORRUPT);
    CHECK_HAS(f->err.text, text);
    CHECK(strncmp(f->err.text, "serialized table: ", 18) == 0);
    CHECK_SIZE(f->fault.writes, 0);
    CHECK(!lkv_log_changed(&f->store->log));
    CHECK(f->store->log.runs == runs);
    prepare_and_commit(f->store);
}

static void check_same(const export *a, const export *b)
{
    CHECK_BYTES(a->bytes, a->size, b->bytes, b->size);
}

/* The seal's revision is the store's, which went on; the rest says the same. */
static void check_same_records(const export *a, const export *b)
{
    size_t size = a->size - 8 - LKV_SEAL_SIZE;
    CHECK_SIZE(b->size, a->size);
    CHECK_BYTES(a->bytes, size, b->bytes, size);
}

/* To a store with other blocks, and on from there. */
static void there_and_back(void)
{
    uint64_t random = check_seed(), revision;
    const char *want;
    export out, again;
    fixture f, g;

    layers_open(&f);
    layers_fill(&f, &random);
    want = summary(f.store);
    take_serial(f.store, &out);
    open_other(&g, &f, "about");
    commit_text(g.store, "not for long", "1");
    take_back(g.store, &out);
    check_good(&g, want);
    CHECK(g.store->log.runs->parts > 1);
    CHECK_SIZE(g.store->log.runs->count, 0);
    CHECK(g.store->log.at.revision > f.store->log.at.revision);
    CHECK(memcmp(g.store->log.at.store_id, f.store->log.at.store_id, LKV_ID_SIZE) != 0);
    take_serial(g.store, &again); /* revisions and times included */
    check_same_records(&again, &out);
    free(again.bytes);
    for (unsigned i = 0; i < 60; i++) {
        layers_commit(g.store, &random, 10);
    }
    revision = g.store->log.at.revision;
    check_good(&g, summary(g.store));
    take_back(g.store, &out); /* its revision goes on, and never back */
    CHECK(g.store->log.at.revision > revision);
    check_good(&g, want);
    CHECK_INT(lkv_rebuild(g.store, NULL, NULL, &g.err), LKV_MISUSE);
    begin(g.store);
    CHECK_INT(lkv_rebuild(g.store, NULL, NULL, &g.err), LKV_OK);
    prepare_and_commit(g.store);
    check_good(&g, want);
    take_back(f.store, &out); /* with all that was under way there */
    check_good(&f, want);
    for (unsigned i = 0; i < 60; i++) {
        layers_commit(f.store, &random, 10);
    }
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&g);
    fixture_close(&f);
}

/* A record has the revision and time that it had, also when it has none yet. */
static void keeps_revision_and_time(void)
{
    static const char *const keys[] = {"a", "b", "c"};
    export out, again;
    size_t at;
    fixture f;

    layers_open(&f);
    f.os.now_ms = 7000;
    commit_text(f.store, "a", "1");
    f.os.now_ms = 8000;
    commit_text(f.store, "b", "2");
    begin(f.store);
    f.os.now_ms = 9000;
    CHECK_INT(put_text(f.store, "c", "3"), LKV_OK);
    take_serial(f.store, &out);
    at = 12 + 5 + 4;
    for (unsigned i = 0; i < 3; i++) {
        const char *why = "";
        lkv_record record;
        size_t need;
        CHECK_INT(lkv_format_parse(out.bytes + at, out.size - at, &record, &need, &why),
                  LKV_OK);
        CHECK_BYTES(record.key.data, record.key.size, keys[i], 1);
        CHECK_SIZE(record.revision, i + 1);
        CHECK_INT(record.time_ms, 7000 + 1000 * i);
        at += record.size;
    }
    CHECK_SIZE(at, out.size - 8 - LKV_SEAL_SIZE);
    prepare_and_commit(f.store);
    take_serial(f.store, &again);
    check_same(&again, &out);
    free(again.bytes);
    f.os.now_ms = 10000;
    take_back(f.store, &out);
    take_serial(f.store, &again);
    check_same_records(&again, &out);
    CHECK_SIZE(f.store->log.at.revision, 4);
    free(again.bytes);
    free(out.bytes);
    fixture_close(&f);
}

static void inside_a_transaction(void)
{
    uint64_t random = check_seed();
    char given[80];
    export out;
    fixture f, g;

    layers_open(&f);
    layers_fill(&f, &random);
    snprintf(given, sizeof(given), "%s", summary(f.store));
    take_serial(f.store, &out);
    layers_open(&g);
    layers_fill(&g, &random);
    for (unsigned i = 0; i < 12 && check_failures() == 0; i++) {
        const char *before = summary(g.store), *at_mark, *last;
        uint32_t depth;
        lkv_store *other;
        begin(g.store);
        layers_change(g.store, &random, i % 4 == 0 ? 0 : 40);
        depth = mark(g.store);
        at_mark = summary(g.store);
        layers_change(g.store, &random, 10);
        CHECK_INT(deserialize(g.store, &out, &g.err), LKV_OK);
        CHECK_TEXT(summary(g.store), given);
        layers_change(g.store, &random, i % 5 == 0 ? 0 : 40);
        last = summary(g.store);
        CHECK_TEXT(verified(g.store), "ok");
        if (i % 2 == 0) {
            lkv_rollback_to(g.store, depth);
            last = at_mark;
            CHECK_TEXT(summary(g.store), at_mark);
        }
        if (i % 4 < 2) {
            lkv_rollback(g.store);
            last = before;
        } else {
            prepare_and_commit(g.store);
        }
        check_good(&g, last);
        other = layers_handle(&g); /* it takes up what is left to do */
        layers_commit(other, &random, 20);
        lkv_close(other);
        CHECK_INT(lkv_refresh(g.store, &g.err), LKV_OK);
        check_good(&g, summary(g.store));
    }
    free(out.bytes);
    fixture_close(&g);
    fixture_close(&f);
}

/* A cursor goes on from its key. */
static void under_a_cursor(void)
{
    lkv_cursor *cursor;
    lkv_bytes value;
    export out;
    fixture f;

    layers_small(&f);
    take_serial(f.store, &out);
    begin(f.store);
    CHECK_INT(put_text(f.store, "a", "other"), LKV_OK);
    CHECK_INT(lkv_cursor_open(f.store, &cursor), LKV_OK);
    CHECK_INT(lkv_cursor_first(cursor, &f.err), LKV_OK);
    CHECK_INT(deserialize(f.store, &out, &f.err), LKV_OK);
    CHECK_INT(lkv_cursor_value(cursor, &value, &f.err), LKV_OK);
    CHECK_BYTES(value.data, value.size, "2", 1);
    CHECK_INT(lkv_cursor_next(cursor, &f.err), LKV_OK);
    CHECK_BYTES(lkv_cursor_key(cursor).data, lkv_cursor_key(cursor).size, "c", 1);
    lkv_cursor_close(cursor);
    prepare_and_commit(f.store);
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* Nothing, into nothing and into something; and much garbage is given back. */
static void nothing_in_it(void)
{
    uint64_t random = check_seed();
    export out, more;
    fixture f;

    layers_open(&f);
    take_serial(f.store, &out);
    CHECK_SIZE(out.size, 12 + 5 + 4 + LKV_SEAL_SIZE + 8);
    take_back(f.store, &out);
    check_good(&f, summary(f.store));
    layers_fill(&f, &random);
    take_serial(f.store, &more);
    take_back(f.store, &out);
    CHECK_SIZE(lkv_count(f.store), 0);
    check_good(&f, summary(f.store));
    for (unsigned i = 0; f.store->log.runs->gone > 0 && i < 100; i++) {
        uint64_t left;
        begin(f.store);
        CHECK_INT(lkv_compact(f.store, 1, &left, &f.err), LKV_OK);
        prepare_and_commit(f.store);
    }
    CHECK_SIZE(f.store->log.runs->gone, 0);
    CHECK_TEXT(verified(f.store), "ok");
    take_back(f.store, &more);
    check_good(&f, summary(f.store));
    free(more.bytes);
    free(out.bytes);
    fixture_close(&f);
}

/* Each byte, each length, one byte more. */
static void every_byte(void)
{
    store_image before, after;
    export out;
    fixture f;

    layers_small(&f);
    take_serial(f.store, &out);
    CHECK(out.size > 300);
    image_take(&before, f.memory);
    for (size_t k = 0; k < out.size && check_failures() == 0; k++) {
        size_t size = out.size;
        out.bytes[k] ^= (uint8_t)(1u << (k * 5 % 8));
        check_refused(&f, &out, "");
        out.bytes[k] ^= (uint8_t)(1u << (k * 5 % 8));
        out.size = k;
        check_refused(&f, &out, "");
        out.size = size;
    }
    CHECK_INT(export_put(&out, (lkv_bytes){"", 1}), LKV_OK);
    check_refused(&f, &out, "more follows than belongs there");
    out.size--;
    image_take(&after, f.memory);
    CHECK_SAME_IMAGE(&after, &before);
    image_free(&after);
    image_free(&before);
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    take_back(f.store, &out);
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* Made by hand, with right checksums. */
typedef struct hand {
    export out;
    lkv_seal_record seal;
} hand;

static void hand_begin(hand *h, const char *about)
{
    uint8_t head[64] = LKV_SERIAL_MAGIC;
    size_t length = strlen(about), size = 12 + length;
    memset(h, 0, sizeof(*h));
    lkv_format_u32(head + 8, (uint32_t)length);
    snprintf((char *)head + 12, sizeof(head) - 12, "%s", about);
    lkv_format_u32(head + size, lkv_crc32(0, head, size));
    CHECK_INT(export_put(&h->out, (lkv_bytes){head, size + 4}), LKV_OK);
}

static void hand_put(hand *h, const char *key, uint64_t revision)
{
    uint8_t record[64];
    lkv_format_moved(record, 0, text_bytes(key), text_bytes("v"), revision, 5);
    h->seal.keys++;
    h->seal.bytes += LKV_RECORD_HEADER + strlen(key) + 1;
    h->seal.digest = lkv_format_digest(h->seal.digest, record);
    CHECK_INT(export_put(&h->out, (lkv_bytes){record, LKV_RECORD_HEADER + strlen(key) +
                                                          LKV_MOVED_SIZE + 1}),
              LKV_OK);
}

static void hand_end(hand *h, uint64_t revision)
{
    uint8_t bytes[LKV_SEAL_SIZE];
    h->seal.revision = revision;
    lkv_format_seal(bytes, &h->seal);
    CHECK_INT(export_put(&h->out, (lkv_bytes){bytes, sizeof(bytes)}), LKV_OK);
    lkv_format_u64(bytes, lkv_hash_once(h->out.bytes, h->out.size));
    CHECK_INT(export_put(&h->out, (lkv_bytes){bytes, 8}), LKV_OK);
}

static void hand_refused(fixture *f, hand *h, const char *text)
{
    check_refused(f, &h->out, text);
    free(h->out.bytes);
}

static void texts(void)
{
    uint8_t plain[32];
    fixture f;
    hand h;

    layers_small(&f);
    hand_begin(&h, "about");
    hand_end(&h, 1);
    h.out.bytes[0] ^= 1;
    hand_refused(&f, &h, "serialized table: not a serialized table of this format");
    hand_begin(&h, "ebout");
    hand_end(&h, 1);
    hand_refused(&f, &h, "serialized table: it is of ebout, and this is about");
    hand_begin(&h, "about");
    h.out.bytes[13] ^= 1;
    hand_end(&h, 1);
    hand_refused(&f, &h, "serialized table: the description: checksum mismatch");
    hand_begin(&h, "about");
    lkv_format_u32(h.out.bytes + 8, LKV_META_MAX + 1);
    hand_refused(&f, &h, "offset 0: the description is too long");
    hand_begin(&h, "about");
    hand_put(&h, "b", 1);
    hand_put(&h, "a", 1);
    hand_end(&h, 1);
    hand_refused(&f, &h, "serialized table: offset 52: the keys do not ascend");
    hand_begin(&h, "about");
    hand_put(&h, "b", 1);
    hand_put(&h, "b", 1);
    hand_end(&h, 1);
    hand_refused(&f, &h, "offset 52: the keys do not ascend");
    hand_begin(&h, "about");
    lkv_format_record(plain, LKV_KIND_PUT, 0, text_bytes("a"), text_bytes("b"));
    CHECK_INT(export_put(&h.out, (lkv_bytes){plain, 15}), LKV_OK);
    hand_end(&h, 1);
    hand_refused(&f, &h, "offset 21: the record does not belong there");
    hand_begin(&h, "about");
    hand_put(&h, "a", 1);
    h.out.bytes[40] ^= 1;
    hand_end(&h, 1);
    hand_refused(&f, &h, "offset 21: checksum mismatch");
    hand_begin(&h, "about");
    hand_put(&h, "a", 7);
    hand_end(&h, 6);
    hand_refused(&f, &h, "offset 52: the revision is wrong");
    hand_begin(&h, "about");
    hand_end(&h, (1ull << 62) + 1);
    hand_refused(&f, &h, "offset 21: the revision is wrong");
    hand_begin(&h, "about");
    hand_put(&h, "a", 1);
    h.seal.keys++;
    hand_end(&h, 1);
    hand_refused(&f, &h, "offset 52: the seal is of other records");
    hand_begin(&h, "about");
    h.seal.chain = 1;
    hand_end(&h, 1);
    hand_refused(&f, &h, "offset 21: the seal is of other records");
    hand_begin(&h, "about");
    hand_end(&h, 1);
    h.out.bytes[h.out.size - 1] ^= 1;
    hand_refused(&f, &h, "offset 74: checksum mismatch");
    hand_begin(&h, "about");
    hand_end(&h, 1ull << 62); /* as far as revisions go */
    take_back(f.store, &h.out);
    CHECK_SIZE(f.store->log.at.revision, (1ull << 62) + 1);
    check_good(&f, "0 bytes, 00000000");
    free(h.out.bytes);
    fixture_close(&f);
}

/* Long descriptions are shown where they differ, and from their beginning otherwise. */
static void check_descriptions(const char *given, const char *own, const char *text)
{
    export out;
    fixture f, g, h;
    layers_open(&f);
    open_other(&g, &f, given);
    open_other(&h, &f, own);
    take_serial(g.store, &out);
    check_refused(&h, &out, text);
    free(out.bytes);
    fixture_close(&h);
    fixture_close(&g);
    fixture_close(&f);
}

static void long_descriptions(void)
{
    char one[201], two[202], text[300];

    memset(one, 'd', sizeof(one) - 1);
    one[sizeof(one) - 1] = '\0';
    memcpy(two, one, sizeof(one));
    memcpy(two + 200, "e", 2);
    check_descriptions(one, two,
                       "it is of ...dddddddddddddddddddd, and this is "
                       "...dddddddddddddddddddde");
    check_descriptions(two, one,
                       "it is of ...dddddddddddddddddddde, and this is "
                       "...dddddddddddddddddddd");
    check_descriptions("", "own", "it is of , and this is own");
    check_descriptions("given", "", "it is of given, and this is ");
    snprintf(text, sizeof(text), "it is of short, and this is %.90s", one);
    check_descriptions("short", one, text);
    snprintf(text, sizeof(text), "it is of %.90s, and this is short", one);
    check_descriptions(one, "short", text);
}

/* The caller has a say, and changes nothing by it. */
static int refuse_g(void *arg, const lkv_row *row)
{
    unsigned *rows = arg;
    CHECK_INT(row->tag, 0);
    CHECK(row->value.size < 20);
    return ++*rows == 6 ? LKV_CORRUPT : LKV_OK;
}

static int stop(void *arg, const lkv_row *row)
{
    (void)row;
    return ++*(unsigned *)arg == 3 ? 77 : LKV_OK;
}

static int give_back(void *arg, uint64_t offset, void *out, size_t size)
{
    memcpy(out, ((export *)arg)->bytes + offset, size);
    return LKV_OK;
}

static void checked_rows(void)
{
    unsigned rows = 0;
    lkv_source source = {give_back, NULL, 0};
    export out;
    fixture f;

    layers_small(&f);
    take_serial(f.store, &out);
    source.arg = &out;
    source.size = out.size;
    begin(f.store);
    CHECK_INT(lkv_deserialize(f.store, &source, refuse_g, &rows, &f.err), LKV_CORRUPT);
    CHECK_HAS(f.err.text, ": not a row of the table");
    rows = 0;
    CHECK_INT(lkv_deserialize(f.store, &source, stop, &rows, &f.err), 77);
    CHECK(!lkv_log_changed(&f.store->log));
    rows = 10;
    CHECK_INT(lkv_deserialize(f.store, &source, refuse_g, &rows, &f.err), LKV_OK);
    CHECK_SIZE(rows, 17); /* once for each row */
    prepare_and_commit(f.store);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

static void misuse(void)
{
    lkv_store *other;
    export out;
    fixture f;

    layers_small(&f);
    take_serial(f.store, &out);
    CHECK_INT(deserialize(f.store, &out, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "no transaction is open");
    other = layers_handle(&f);
    CHECK_INT(lkv_serialize(other, export_put, &out, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "nothing was read yet");
    lkv_close(other);
    free(out.bytes);
    fixture_close(&f);
}

static const check_case cases[] = {
    CASE(there_and_back), CASE(keeps_revision_and_time), CASE(inside_a_transaction),
    CASE(under_a_cursor), CASE(nothing_in_it),           CASE(every_byte),
    CASE(texts),          CASE(long_descriptions),       CASE(checked_rows),
    CASE(misuse)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
