/*
 * test_transfer.c - an index that was given out is taken back when it fits, and nothing
 * changes when it does not.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One that is refused with such a text, and leaves no trace. */
static void check_refused(fixture *f, export *from, const char *text)
{
    lkv_runs *runs = f->store->log.runs;
    begin(f->store);
    storage_fault_arm(&f->fault, 0, 0, LKV_OK);
    CHECK_INT(import(f->store, from, &f->err), LKV_CORRUPT);
    CHECK_HAS(f->err.text, text);
    CHECK(strncmp(f->err.text, "index: ", 7) == 0);
    CHECK_SIZE(f->fault.writes, 0);
    CHECK(!lkv_log_changed(&f->store->log));
    CHECK(f->store->log.runs == runs);
    prepare_and_commit(f->store);
}

static void there_and_back(void)
{
    uint64_t random = check_seed(), left;
    const char *want;
    export out, again;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    want = summary(f.store);
    take_export(f.store, &out);
    import_and_commit(&f, &out);
    CHECK_SIZE(f.store->log.runs->pass.to, 0); /* it knows of none */
    check_good(&f, want);
    /* It gives the same again, but for the numbers in its root. */
    take_export(f.store, &again);
    CHECK_SIZE(again.size, out.size);
    import_and_commit(&f, &again);
    check_good(&f, want);
    layers_reopen(&f);
    import_and_commit(&f, &out);
    check_good(&f, want);
    for (unsigned i = 0; i < 40; i++) {
        layers_commit(f.store, &random, 5);
    }
    want = summary(f.store);
    begin(f.store);
    CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_OK);
    prepare_and_commit(f.store);
    check_good(&f, want);
    free(out.bytes);
    free(again.bytes);
    fixture_close(&f);
}

/* What was appended since is read from the log, however much. */
static void older_than_the_log(void)
{
    uint64_t random = check_seed();
    export out;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    for (unsigned i = 0; i < 120; i++) {
        layers_commit(f.store, &random, 5);
    }
    take_export(f.store, &out);
    for (unsigned i = 0; i < 9 && check_failures() == 0; i++) {
        const char *want;
        unsigned commits = i * i;
        while (commits-- > 0) {
            layers_commit(f.store, &random, 5);
        }
        want = summary(f.store);
        import_and_commit(&f, &out);
        CHECK(lkv_log_end(&f.store->log) - f.store->log.runs->tail_at <
              2 * f.store->flush_size);
        check_good(&f, want);
    }
    free(out.bytes);
    fixture_close(&f);
}

/* In place of an index that cannot be read any more. */
static void in_place_of_damage(void)
{
    uint64_t random = check_seed();
    const char *want;
    lkv_runs *runs;
    export out;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    want = summary(f.store);
    take_export(f.store, &out);
    runs = f.store->log.runs;
    for (uint32_t i = 0; i < runs->count + runs->merges + runs->parts; i++) {
        uint32_t number =
            i < runs->parts ? runs->part[i].index : runs->run[i - runs->parts].number;
        layers_put_object(f.storage, number, text_bytes("nothing of any use"));
    }
    layers_reopen(&f);
    CHECK_HAS(summary(f.store), "error");
    import_and_commit(&f, &out);
    check_good(&f, want);
    free(out.bytes);
    fixture_close(&f);
}

static void inside_a_transaction(void)
{
    uint64_t random = check_seed();
    unsigned taken = 0;
    export out;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    take_export(f.store, &out);
    for (unsigned i = 0; i < 8 && check_failures() == 0; i++) {
        const char *before = summary(f.store), *at_mark, *last;
        uint32_t depth;
        int rc;
        begin(f.store);
        layers_change(f.store, &random, 10);
        depth = mark(f.store);
        at_mark = summary(f.store);
        if (i % 3 == 0) {
            CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        }
        rc = import(f.store, &out, &f.err);
        taken += rc == LKV_OK;
        CHECK(rc == LKV_OK ||
              strcmp(f.err.text, "index: the log was compacted since") == 0);
        CHECK_TEXT(summary(f.store), at_mark);
        layers_change(f.store, &random, 30);
        last = summary(f.store);
        CHECK_TEXT(verified(f.store), "ok");
        if (i % 2 == 0) {
            lkv_rollback_to(f.store, depth);
            last = at_mark;
            CHECK_TEXT(summary(f.store), at_mark);
        }
        if (i % 4 < 2) {
            lkv_rollback(f.store);
            last = before;
        } else {
            prepare_and_commit(f.store);
        }
        check_good(&f, last);
    }
    CHECK(taken > 0);
    free(out.bytes);
    fixture_close(&f);
}

/* An empty store has an index too. */
static void nothing_in_it(void)
{
    export out;
    fixture f;

    layers_open(&f);
    take_export(f.store, &out);
    import_and_commit(&f, &out);
    commit_text(f.store, "a", "1");
    import_and_commit(&f, &out);
    CHECK_TEXT(contents(f.store), "a=1");
    check_good(&f, summary(f.store));
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
    take_export(f.store, &out);
    CHECK(out.size > 1000);
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
    check_refused(&f, &out, "index: its length is not what its root says");
    image_take(&after, f.memory);
    CHECK_SAME_IMAGE(&after, &before);
    image_free(&after);
    image_free(&before);
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* The texts */
static void texts(void)
{
    size_t root;
    export out;
    fixture f;

    layers_small(&f);
    take_export(f.store, &out);
    root = lkv_format_get_u32(out.bytes + 8);
    out.bytes[3] ^= 1;
    check_refused(&f, &out, "index: not an exported index of this format");
    out.bytes[3] ^= 1;
    out.bytes[40] ^= 1;
    check_refused(&f, &out, "index: root: checksum mismatch");
    out.bytes[40] ^= 1;
    out.bytes[12 + root + 64 + 40] ^= 1;
    check_refused(&f, &out, "index: block 1: checksum mismatch");
    out.bytes[12 + root + 64 + 40] ^= 1;
    out.bytes[out.size - 1] ^= 1;
    check_refused(&f, &out, "index: checksum mismatch");
    out.bytes[out.size - 1] ^= 1;
    out.size = 10;
    check_refused(&f, &out, "index: it is cut short");
    free(out.bytes);
    fixture_close(&f);
}

static void of_another_store(void)
{
    export out;
    fixture f, g;

    layers_small(&f);
    fixture_open(&g, 64);
    CHECK_INT(lkv_create(g.storage, &f.os.os, text_bytes("about"), &g.err), LKV_OK);
    fixture_reopen(&g); /* with another identity: the random bytes of `f` went on */
    take_export(f.store, &out);
    check_refused(&g, &out, "index: it is of another store");
    free(out.bytes);
    fixture_close(&g);
    fixture_close(&f);
}

static void compacted_since(void)
{
    uint64_t left;
    export out;
    fixture f;

    layers_small(&f);
    take_export(f.store, &out);
    begin(f.store);
    CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_OK);
    CHECK_INT(import(f.store, &out, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "index: the log was compacted since");
    lkv_rollback(f.store);
    import_and_commit(&f, &out);
    begin(f.store);
    CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_OK);
    prepare_and_commit(f.store);
    check_refused(&f, &out, "index: the log was compacted since");
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* Two stores with one past, and different things since. */
static void another_history(void)
{
    store_image image;
    export now, longer, other;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    f.store->flush_size = 150;
    commit_text(f.store, "a", "1");
    commit_text(f.store, "b", "1");
    commit_text(f.store, "c", "1");
    CHECK(f.store->log.runs->count > 0);
    take_export(f.store, &now);
    image_take(&image, f.memory);
    for (int i = 0; i < 8; i++) {
        commit_text(f.store, "d", "1");
    }
    take_export(f.store, &longer);
    image_put(&image, f.memory);
    layers_reopen(&f);
    lkv_auto_compact_fallback(f.store, 0);
    f.store->flush_size = 150;
    check_refused(&f, &longer, "index: it covers more than the log has");
    import_and_commit(&f, &now);
    for (int i = 0; i < 9; i++) {
        commit_text(f.store, "d", "2");
    }
    CHECK_TEXT(contents(f.store), "a=1 b=1 c=1 d=2");
    check_refused(&f, &longer, "index: it does not fit the log: ");
    take_export(f.store, &other);
    import_and_commit(&f, &other);
    CHECK_TEXT(contents(f.store), "a=1 b=1 c=1 d=2");
    import_and_commit(&f, &now);
    CHECK_TEXT(contents(f.store), "a=1 b=1 c=1 d=2");
    CHECK_TEXT(verified(f.store), "ok");
    image_free(&image);
    free(now.bytes);
    free(longer.bytes);
    free(other.bytes);
    fixture_close(&f);
}

/* Made by hand, with right checksums */

/* Where block `i` of an export of the store stands. */
static uint64_t place_of(const fixture *f, uint32_t i)
{
    const lkv_runs *runs = f->store->log.runs;
    uint32_t k = 0;
    for (; k < runs->parts && i >= runs->part[k].blocks; k++) {
        i -= runs->part[k].blocks;
    }
    if (k < runs->parts) {
        return lkv_block_place(runs->part[k].index, i);
    }
    for (k = 0; i >= runs->run[k].blocks; k++) {
        i -= runs->run[k].blocks;
    }
    return lkv_block_place(runs->run[k].number, i);
}

/* The block that begins at `at`, of so many bytes, and all of it. */
static void seal_again(export *out, size_t at, size_t size, uint64_t place)
{
    lkv_block_seal(out->bytes + at, size, place);
    lkv_format_u64(out->bytes + out->size - 8,
                   lkv_hash_once(out->bytes, out->size - 8));
}

/* Whatever stands in a block, it is refused, or does no harm that a rollback would not
 * undo. */
static void every_byte_of_the_blocks(void)
{
    unsigned refused = 0, taken = 0;
    export out;
    size_t from;
    fixture f;

    layers_small(&f);
    take_export(f.store, &out);
    from = 12 + lkv_format_get_u32(out.bytes + 8);
    for (size_t at = from; at + 64 <= out.size - 8 && check_failures() == 0;) {
        size_t span = lkv_format_get_u32(out.bytes + at + 12);
        uint64_t place = place_of(&f, (uint32_t)((at - from) / 64));
        for (size_t k = 4; k < span * 64; k++) {
            uint8_t was = out.bytes[at + k];
            int rc;
            out.bytes[at + k] = (uint8_t)(was ^ (1u << k % 8));
            seal_again(&out, at, span * 64, place);
            begin(f.store);
            rc = import(f.store, &out, &f.err);
            CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
            if (rc == LKV_OK) {
                lkv_error err = {0, ""};
                taken++;
                CHECK(contents(f.store) != NULL);
                CHECK(lkv_verify(f.store, NULL, NULL, &err) <= 0);
            } else {
                refused++;
                CHECK(!lkv_log_changed(&f.store->log));
            }
            lkv_rollback(f.store);
            CHECK_TEXT(contents(f.store), LAYERS_SMALL);
            out.bytes[at + k] = was;
            seal_again(&out, at, span * 64, place);
        }
        at += span * 64;
    }
    CHECK(taken > 0); /* padding, and bits of filters */
    CHECK(refused > 400);
    check_good(&f, summary(f.store));
    import_and_commit(&f, &out);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* The keys of the log, but not all. */
static void a_key_is_missing(void)
{
    lkv_run_writer writer;
    lkv_run_cursor cursor;
    lkv_run *run, was;
    export out;
    fixture f;

    layers_small(&f);
    run = &f.store->log.runs->run[2];
    was = *run;
    lkv_run_cursor_init(&cursor, f.storage, &f.os.os, &was);
    lkv_run_writer_init(&writer, f.storage, &f.os.os, f.store->log.runs->next_run++);
    for (int rc = lkv_run_first(&cursor, NULL); rc == LKV_OK;
         rc = lkv_run_next(&cursor, NULL)) {
        if (lkv_run_key(&cursor).size > 0 &&
            ((const char *)lkv_run_key(&cursor).data)[0] != 'b') {
            CHECK_INT(lkv_run_writer_add(&writer, lkv_run_key(&cursor),
                                         lkv_run_place(&cursor), NULL),
                      LKV_OK);
        }
    }
    CHECK_INT(lkv_run_writer_finish(&writer, NULL), LKV_OK);
    lkv_run_cursor_free(&cursor);
    *run = writer.run;
    run->from = was.from;
    run->to = was.to;
    take_export(f.store, &out);
    *run = was;
    f.store->log.runs->next_run--;
    f.storage->ops->rewind(f.storage, writer.run.number, 0);
    lkv_run_writer_free(&writer);
    begin(f.store);
    CHECK_INT(import(f.store, &out, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "index: it does not have the keys of the log");
    CHECK(!lkv_log_changed(&f.store->log));
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    prepare_and_commit(f.store);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* The export with another root, which is right by itself. */
static void check_root_refused(fixture *f, const export *from, int way)
{
    lkv_bytes all = {from->bytes + 12, lkv_format_get_u32(from->bytes + 8)};
    size_t rest = from->size - 8 - 12 - all.size, size;
    lkv_segment segments[8];
    lkv_part parts[4];
    lkv_run runs[8];
    lkv_gone gone = {LKV_RUN_FIRST, 1};
    export other = {.bytes = malloc(from->size + 500)};
    const char *why;
    lkv_root root;

    if (other.bytes == NULL) {
        abort();
    }
    CHECK_INT(lkv_format_parse_root(all, &root, &why), LKV_OK);
    CHECK(root.segments <= 8 && root.parts <= 4 && root.runs <= 8);
    for (uint32_t i = 0; i < root.segments; i++) {
        lkv_format_root_segment(all, i, &segments[i]);
    }
    for (uint32_t i = 0; i < root.parts; i++) {
        lkv_format_root_part(all, &root, i, &parts[i]);
    }
    for (uint32_t i = 0; i < root.runs; i++) {
        lkv_format_root_run(all, &root, i, &runs[i]);
    }
    root.merges = way == 1;
    root.gone = way == 2;
    root.pass.out = way == 3;
    root.pass.to = way == 4 ? segments[1].base : 0;
    root.meta = (lkv_bytes){"x", way == 5};
    root.block *= way == 6 ? 2 : 1;
    root.tail.segment = way == 7 ? segments[0].number : root.tail.segment;
    size = lkv_format_root_size(&root);
    memcpy(other.bytes, from->bytes, 8);
    lkv_format_u32(other.bytes + 8, (uint32_t)size);
    lkv_format_root(other.bytes + 12, &root, segments, parts, parts, runs, runs, &gone);
    memcpy(other.bytes + 12 + size, from->bytes + 12 + all.size, rest);
    other.size = 12 + size + rest + 8;
    lkv_format_u64(other.bytes + other.size - 8,
                   lkv_hash_once(other.bytes, other.size - 8));
    if (way == 0) {
        CHECK_BYTES(other.bytes, other.size, from->bytes, from->size);
    } else {
        check_refused(f, &other, "index: ");
    }
    free(other.bytes);
}

/* What is under way, gone or described is of no index. */
static void roots_of_no_index(void)
{
    export out;
    fixture f;
    layers_small(&f);
    take_export(f.store, &out);
    for (int way = 0; way < 8; way++) {
        check_root_refused(&f, &out, way);
    }
    import_and_commit(&f, &out);
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

/* What the tail of the index covers beyond a commit is read in the log: the place of
 * damage there is told. */
static void damage_before_the_tail(void)
{
    const lkv_log *log;
    lkv_bytes bytes;
    uint64_t tail;
    uint8_t *at;
    export out;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    f.store->flush_size = 400;
    commit_text(f.store, "a", "1");
    begin(f.store);
    for (char key[] = "b"; key[0] < 'r'; key[0]++) {
        CHECK_INT(put_text(f.store, key, "a value of some length"), LKV_OK);
    }
    prepare_and_commit(f.store);
    log = &f.store->log;
    CHECK(log->runs->tail.covered > 40);
    CHECK_SIZE(log->count, 1);
    take_export(f.store, &out);
    tail = log->runs->tail_at - log->segments[0].base + LKV_SEGMENT_HEADER;
    bytes = layers_object(f.storage, log->segments[0].number);
    CHECK(tail <= bytes.size);
    at = (uint8_t *)(uintptr_t)bytes.data;
    at[tail - 1] ^= 1;
    layers_put_object(f.storage, log->segments[0].number, bytes);
    check_refused(&f, &out, "index: it does not fit the log: segment 1, offset ");
    free(at);
    free(out.bytes);
    fixture_close(&f);
}

/* A header behind the tail of the index is damaged: the store could not be opened with
 * it. */
static void damaged_header(void)
{
    uint64_t random = check_seed();
    lkv_bytes object;
    uint32_t number;
    export out;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    layers_commit(f.store, &random, 5);
    take_export(f.store, &out);
    for (unsigned i = 0; i < 120; i++) {
        layers_commit(f.store, &random, 5);
    }
    number = f.store->log.segments[f.store->log.first].number + 1;
    CHECK(number < f.store->log.runs->tail.segment);
    object = layers_object(f.memory, number);
    ((uint8_t *)(uintptr_t)object.data)[20] ^= 1;
    layers_put_object(f.memory, number, object);
    free((uint8_t *)(uintptr_t)object.data);
    begin(f.store);
    CHECK_INT(import(f.store, &out, &f.err), LKV_CORRUPT);
    CHECK_HAS(f.err.text, "offset 0: segment header: checksum mismatch");
    prepare_and_commit(f.store);
    layers_reopen(&f);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    free(out.bytes);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(there_and_back),
                                   CASE(older_than_the_log),
                                   CASE(in_place_of_damage),
                                   CASE(inside_a_transaction),
                                   CASE(nothing_in_it),
                                   CASE(every_byte),
                                   CASE(texts),
                                   CASE(of_another_store),
                                   CASE(compacted_since),
                                   CASE(another_history),
                                   CASE(every_byte_of_the_blocks),
                                   CASE(a_key_is_missing),
                                   CASE(roots_of_no_index),
                                   CASE(damage_before_the_tail),
                                   CASE(damaged_header)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
