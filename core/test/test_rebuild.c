/*
 * test_rebuild.c - an index that is made anew is as good as the one before, whatever
 * that was; and when it cannot be made, nothing has changed.
 */
#include "layers.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An owner that rolls back has to undo what was written; the one of these tests does
 * not.
 */
static int may_leave_strays;

static void check_verified(lkv_store *store)
{
    const char *text = verified(store);
    if (!may_leave_strays || strstr(text, ": the root does not name it") == NULL) {
        CHECK_TEXT(text, "ok");
    }
}

static void check_good(fixture *f, const char *want)
{
    CHECK_TEXT(summary(f->store), want);
    check_verified(f->store);
    CHECK_TEXT(summary_anew(f), want);
}

static void rebuild(fixture *f)
{
    f->err.text[0] = '\0';
    CHECK_INT(lkv_rebuild(f->store, NULL, NULL, &f->err), LKV_OK);
    CHECK_TEXT(f->err.text, "");
}

/* With everything under way; and the store goes on as any other. */
static void same_content(void)
{
    uint64_t random = check_seed(), left;
    const char *want;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    want = summary(f.store);
    begin(f.store);
    rebuild(&f);
    CHECK_SIZE(f.store->log.runs->pass.to, 0);
    CHECK_TEXT(summary(f.store), want);
    prepare_and_commit(f.store);
    check_good(&f, want);
    for (unsigned i = 0; i < 60; i++) {
        layers_commit(f.store, &random, 5);
    }
    want = summary(f.store);
    check_good(&f, want);
    begin(f.store);
    CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_OK);
    prepare_and_commit(f.store);
    check_good(&f, want);
    fixture_close(&f);
}

/* No block of the index can be read any more. */
static void damaged_index(void)
{
    uint64_t random = check_seed();
    const char *want;
    lkv_runs *runs;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    want = summary(f.store);
    runs = f.store->log.runs;
    for (uint32_t i = 0; i < runs->count + runs->merges + runs->parts; i++) {
        uint32_t number =
            i < runs->parts ? runs->part[i].index : runs->run[i - runs->parts].number;
        lkv_bytes object = layers_object(f.storage, number);
        memset((uint8_t *)(uintptr_t)object.data, 0xff, object.size);
        layers_put_object(f.storage, number, object);
        free((uint8_t *)(uintptr_t)object.data);
    }
    layers_reopen(&f);
    CHECK_HAS(summary(f.store), "error");
    begin(f.store);
    rebuild(&f);
    prepare_and_commit(f.store);
    check_good(&f, want);
    fixture_close(&f);
}

/* With what the transaction did, and undone with it. */
static void inside_a_transaction(void)
{
    uint64_t random = check_seed();
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    for (unsigned i = 0; i < 8 && check_failures() == 0; i++) {
        const char *before = summary(f.store), *at_mark, *last;
        uint32_t depth;
        begin(f.store);
        layers_change(f.store, &random, 30);
        depth = mark(f.store);
        at_mark = summary(f.store);
        if (i % 3 == 0) {
            CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        }
        rebuild(&f);
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
    fixture_close(&f);
}

static void little_to_do(void)
{
    fixture f;

    layers_open(&f);
    CHECK_INT(lkv_rebuild(f.store, NULL, NULL, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "no transaction is open");
    begin(f.store);
    rebuild(&f);
    CHECK_INT(put_text(f.store, "a", "1"), LKV_OK);
    rebuild(&f);
    rebuild(&f);
    prepare_and_commit(f.store);
    CHECK_TEXT(contents(f.store), "a=1");
    check_good(&f, summary(f.store));
    commit_text(f.store, "a", NULL);
    begin(f.store);
    rebuild(&f);
    prepare_and_commit(f.store);
    CHECK_SIZE(lkv_count(f.store), 0);
    check_good(&f, summary(f.store));
    fixture_close(&f);
}

/* The index in memory stays as small as it is when the log is written. */
static void bounded_memory(void)
{
    uint64_t random = check_seed();
    uint64_t calls;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    for (unsigned i = 0; i < 300; i++) {
        layers_commit(f.store, &random, 10);
    }
    begin(f.store);
    rebuild(&f);
    CHECK(lkv_log_end(&f.store->log) - f.store->log.runs->tail_at <
          2 * f.store->flush_size);
    calls = f.store->log.runs->count;
    CHECK(calls > 0 && calls < 16); /* merged as any others are */
    prepare_and_commit(f.store);
    check_good(&f, summary(f.store));
    fixture_close(&f);
}

/* Cursors find their way again. */
static void under_a_cursor(void)
{
    lkv_cursor *cursor;
    fixture f;

    layers_small(&f);
    CHECK_INT(lkv_cursor_open(f.store, &cursor), LKV_OK);
    CHECK_INT(lkv_cursor_seek(cursor, text_bytes("c"), LKV_SEEK_GE, &f.err), LKV_OK);
    begin(f.store);
    rebuild(&f);
    CHECK_INT(lkv_cursor_next(cursor, &f.err), LKV_OK);
    CHECK_BYTES(lkv_cursor_key(cursor).data, lkv_cursor_key(cursor).size,
                "dddddddddddd", 12);
    lkv_rollback(f.store);
    CHECK_INT(lkv_cursor_next(cursor, &f.err), LKV_OK);
    CHECK_BYTES(lkv_cursor_key(cursor).data, lkv_cursor_key(cursor).size,
                "ddddddddddde", 12);
    lkv_cursor_close(cursor);
    fixture_close(&f);
}

/* A log that the last commit tells wrong things of, and damaged ones: told, and nothing
 * has changed. */
static void refused(void)
{
    static const char *const texts[] = {"checksum mismatch", "checksum mismatch",
                                        "the log holds other keys than its end says"};
    for (unsigned which = 0; which < 3; which++) {
        uint32_t number;
        lkv_bytes object;
        store_image image, after;
        fixture f;

        layers_small(&f);
        number = which == 0 ? f.store->log.runs->part[0].number
                            : f.store->log.segments[0].number;
        object = layers_object(f.storage, number);
        if (which < 2) {
            ((uint8_t *)(uintptr_t)object.data)[object.size - 60] ^= 1;
            layers_put_object(f.storage, number, object);
        }
        begin(f.store);
        image_take(&image, f.memory);
        if (which == 2) {
            f.store->live_keys++;
        }
        CHECK_INT(lkv_rebuild(f.store, NULL, NULL, &f.err), LKV_CORRUPT);
        CHECK_HAS(f.err.text, texts[which]);
        CHECK(!f.store->log.root_changed);
        if (which == 2) {
            f.store->live_keys--;
        } else {
            ((uint8_t *)(uintptr_t)object.data)[object.size - 60] ^= 1;
            layers_put_object(f.storage, number, object);
        }
        CHECK_TEXT(contents(f.store), LAYERS_SMALL);
        CHECK_TEXT(verified(f.store), "ok");
        CHECK(!lkv_log_changed(&f.store->log));
        prepare_and_commit(f.store);
        if (which == 2) {
            image_take(&after, f.memory);
            CHECK_SAME_IMAGE(&after, &image);
            image_free(&after);
        }
        image_free(&image);
        free((uint8_t *)(uintptr_t)object.data);
        fixture_close(&f);
    }
}

/* A damaged header of a segment that the tail has passed stops nobody; but a new tail
 * would be before it, and the store could not be opened any more. */
static void damaged_header(void)
{
    uint64_t random = check_seed();
    const char *want;
    const lkv_log *log;
    lkv_bytes object;
    uint32_t number;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    for (unsigned i = 0; i < 120; i++) {
        layers_commit(f.store, &random, 5);
    }
    log = &f.store->log;
    number = log->segments[log->first].number + 1;
    CHECK(number < log->runs->tail.segment);
    want = summary(f.store);
    object = layers_object(f.memory, number);
    ((uint8_t *)(uintptr_t)object.data)[20] ^= 1;
    layers_put_object(f.memory, number, object);
    free((uint8_t *)(uintptr_t)object.data);
    begin(f.store);
    CHECK_INT(lkv_rebuild(f.store, NULL, NULL, &f.err), LKV_CORRUPT);
    CHECK_HAS(f.err.text, "offset 0: segment header: checksum mismatch");
    prepare_and_commit(f.store);
    layers_reopen(&f);
    CHECK_TEXT(summary(f.store), want);
    fixture_close(&f);
}

typedef struct sweep {
    int storage, for_good, owner, all;
} sweep;

/* One failure, and whether there was one. */
static int one_failure(const sweep *s, uint64_t n)
{
    uint64_t random = 5, failures;
    const char *before, *want;
    fixture f;
    int rc;

    if (s->all) {
        layers_open(&f);
        layers_fill(&f, &random);
    } else {
        layers_small(&f);
    }
    may_leave_strays = s->owner;
    before = summary(f.store);
    begin(f.store);
    CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    want = summary(f.store);
    f.fault.owner = s->owner ? f.store : NULL;
    os_fault_arm(&f.os, s->storage ? 0 : n, s->for_good);
    storage_fault_arm(&f.fault, s->storage ? n : 0, s->for_good, LKV_FAILED);
    rc = lkv_rebuild(f.store, NULL, NULL, &f.err);
    failures = f.os.failures + f.fault.failures;
    os_fault_arm(&f.os, 0, 0);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    if (failures == 0) {
        CHECK_INT(rc, LKV_OK);
    } else {
        CHECK_INT(rc, s->storage ? LKV_FAILED : LKV_NOMEM);
    }
    if (failures > 0 && s->owner) {
        CHECK(!lkv_in_transaction(f.store));
        check_good(&f, before);
        begin(f.store);
        CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    }
    CHECK_TEXT(summary(f.store), want);
    check_verified(f.store);
    prepare_and_commit(f.store);
    check_good(&f, want);
    fixture_close(&f);
    return failures > 0;
}

static void failures(void)
{
    for (int i = 0; i < 6 && check_failures() == 0; i++) {
        sweep s = {i >= 2, i % 2, i >= 4, 0};
        uint64_t n = 1;
        while (one_failure(&s, n) && check_failures() == 0) {
            n++;
        }
        CHECK(n > 20);
    }
}

/* The same of a store with everything under way, here and there. */
static void failures_in_layers(void)
{
    for (int i = 0; i < 6 && check_failures() == 0; i += check_long() ? 1 : 2) {
        sweep s = {i >= 2, i % 2, i >= 4, 1};
        uint64_t n = 1;
        while (one_failure(&s, n) && check_failures() == 0) {
            n += check_long() ? 1 : s.storage ? 593 : 29;
        }
        CHECK(n > 100);
    }
}

static int ask(void *arg)
{
    return --*(int *)arg > 0 ? LKV_OK : LKV_FAILED;
}

/* Parts, log and the look at all of it: each can be ended. */
static void ended(void)
{
    const char *want;
    fixture f;
    int n = 0, rc;

    fixture_open(&f, 512);
    for (int part = 1; part >= 0; part--) {
        begin(f.store);
        for (int i = part; i < 3000; i += 2) {
            char key[16];
            snprintf(key, sizeof(key), "key%05d", i);
            CHECK_INT(put_text(f.store, key, "1"), LKV_OK);
        }
        prepare_and_commit(f.store);
        if (part) {
            (void)compact_some(&f, UINT64_MAX);
        }
    }
    want = summary(f.store);
    do {
        int left = ++n;
        begin(f.store);
        rc = lkv_rebuild(f.store, ask, &left, &f.err);
        CHECK_TEXT(summary(f.store), want);
        lkv_rollback(f.store);
    } while (rc == LKV_FAILED);
    CHECK_INT(rc, LKV_OK);
    CHECK_INT(n, 8); /* asked once and again in the part, in the log, among all keys */
    check_good(&f, want);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(ended),
                                   CASE(same_content),
                                   CASE(damaged_index),
                                   CASE(inside_a_transaction),
                                   CASE(little_to_do),
                                   CASE(bounded_memory),
                                   CASE(under_a_cursor),
                                   CASE(refused),
                                   CASE(damaged_header),
                                   CASE(failures),
                                   CASE(failures_in_layers)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
