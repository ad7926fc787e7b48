/*
 * test_store.c - litekv.h as its callers see it, and what it promises when something
 * fails: all or nothing, nothing lost, nothing leaked.
 */
#include "fixture.h"
#include "store.h"

#include <stdio.h>
#include <string.h>

static void rows_and_tags(void)
{
    fixture f;
    lkv_row row;

    fixture_open(&f, 64);
    begin(f.store);
    for (unsigned tag = 0; tag <= LKV_TAG_MAX; tag++) {
        row = (lkv_row){text_bytes("k"), text_bytes("v"), tag};
        CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
        CHECK_INT(lkv_get(f.store, text_bytes("k"), &row, &f.err), LKV_OK);
        CHECK_INT(row.tag, tag);
        CHECK_SIZE(lkv_count(f.store), 1);
    }
    row.tag = LKV_TAG_MAX + 1;
    row.key = text_bytes("k");
    row.value = text_bytes("v");
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "the tag has more than two bits");
    row = (lkv_row){{NULL, 0}, {NULL, 0}, 0};
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
    CHECK_TEXT(contents(f.store), "= k=v");
    prepare_and_commit(f.store);
    fixture_reopen(&f);
    CHECK_INT(lkv_get(f.store, text_bytes("k"), &row, &f.err), LKV_OK);
    CHECK_INT(row.tag, 3);
    CHECK_TEXT(contents(f.store), "= k=v");
    CHECK_INT(lkv_exists(f.store, (lkv_bytes){NULL, 0}, NULL), LKV_OK);
    CHECK_INT(lkv_exists(f.store, text_bytes("j"), NULL), LKV_ABSENT);
    CHECK_TEXT(get_text(f.store, "j"), NULL);
    fixture_close(&f);
}

static void deletes(void)
{
    fixture f;
    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    begin(f.store);
    CHECK_INT(delete_text(f.store, "a"), LKV_OK);
    CHECK_INT(delete_text(f.store, "a"), LKV_ABSENT);
    CHECK_INT(lkv_exists(f.store, text_bytes("a"), NULL), LKV_ABSENT);
    CHECK_TEXT(get_text(f.store, "a"), NULL);
    CHECK_SIZE(lkv_count(f.store), 0);
    CHECK_INT(put_text(f.store, "a", "2"), LKV_OK);
    CHECK_SIZE(lkv_count(f.store), 1);
    CHECK_INT(put_text(f.store, "b", "2"), LKV_OK);
    CHECK_INT(delete_text(f.store, "b"), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_TEXT(contents(f.store), "a=2");
    CHECK_SIZE(lkv_memindex_count(f.store->index), 2); /* a run could have it */
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=2");
    fixture_close(&f);
}

static void misuse(void)
{
    lkv_store *unread;
    lkv_stats stats;
    lkv_row row = {text_bytes("a"), text_bytes("1"), 0};
    fixture f;

    fixture_open(&f, 64);
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "no transaction is open");
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
    lkv_commit(f.store);
    lkv_rollback(f.store);
    CHECK_SIZE(lkv_rollbacks(f.store), 0);
    commit_text(f.store, "a", "1");
    CHECK_INT(lkv_delete(f.store, row.key, &f.err), LKV_MISUSE);
    begin(f.store);
    CHECK_INT(lkv_in_transaction(f.store), 1);
    CHECK_INT(lkv_begin(f.store, 0, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "a transaction is already open");
    CHECK_INT(put_text(f.store, "b", "2"), LKV_OK);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK); /* nothing happens */
    CHECK_TEXT(contents(f.store), "a=1 b=2");
    lkv_rollback(f.store);
    CHECK_SIZE(lkv_rollbacks(f.store), 1);
    /* A handle that has read nothing. */
    CHECK_INT(lkv_open(f.storage, &f.os.os, &unread), LKV_OK);
    CHECK_TEXT(contents(unread), "");
    CHECK_TEXT(get_text(unread, "a"), NULL);
    CHECK_INT(lkv_measure(unread, &stats, &f.err), LKV_OK);
    CHECK_SIZE(stats.log_bytes + stats.segments + stats.records, 0);
    CHECK_SIZE(lkv_meta(unread).size, 0);
    lkv_commit(unread);
    lkv_rollback(unread);
    lkv_close(unread);
    lkv_close(NULL);
    lkv_cursor_close(NULL);
    lkv_storage_mem_close(NULL);
    CHECK_TEXT(contents(f.store), "a=1");
    fixture_close(&f);
}

/* Errors may be of no interest. */
static void no_error_wanted(void)
{
    fixture f;
    fixture_open(&f, 64);
    CHECK_INT(lkv_begin(f.store, 0, NULL), LKV_OK);
    CHECK_INT(lkv_begin(f.store, 0, NULL), LKV_MISUSE);
    f.fault.owner = NULL;
    storage_fault_arm(&f.fault, 1, 1, LKV_IO);
    CHECK_INT(put_text(f.store, "a", "1"), LKV_OK);
    CHECK_INT(lkv_prepare(f.store, NULL), LKV_IO);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    lkv_rollback(f.store);
    fixture_close(&f);
}

static void one_writer(void)
{
    lkv_store *other;
    fixture f;

    fixture_open(&f, 64);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    begin(f.store);
    CHECK_INT(put_text(f.store, "a", "1"), LKV_OK);
    CHECK_INT(lkv_begin(other, 0, &f.err), LKV_BUSY);
    CHECK_INT(lkv_in_transaction(other), 0);
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
    CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
    CHECK_TEXT(contents(other), ""); /* prepared is not committed */
    lkv_commit(f.store);
    begin(other);
    CHECK_TEXT(contents(other), "a=1");
    CHECK_INT(lkv_begin(f.store, 0, &f.err), LKV_BUSY);
    lkv_close(other); /* gives the lock back */
    begin(f.store);
    lkv_rollback(f.store);
    fixture_close(&f);
}

/* What comes after the last prepare is undone by a commit. */
static void commit_of_the_unprepared(void)
{
    for (uint32_t segment = 200; segment < 5000; segment *= 5) {
        uint32_t depth;
        fixture f;

        fixture_open(&f, 64);
        f.storage->segment = segment;
        f.storage->spill = 100;
        commit_text(f.store, "a", "1");
        begin(f.store);
        CHECK_INT(put_filler(f.store, "x", 300, 1), LKV_OK);
        CHECK_INT(delete_text(f.store, "a"), LKV_OK);
        lkv_commit(f.store);
        CHECK_TEXT(contents(f.store), "a=1");
        begin(f.store);
        CHECK_INT(put_text(f.store, "b", "2"), LKV_OK);
        depth = mark(f.store);
        CHECK_INT(put_text(f.store, "c", "3"), LKV_OK);
        CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        CHECK_INT(delete_text(f.store, "c"), LKV_OK);
        CHECK_INT(put_filler(f.store, "d", 300, 1), LKV_OK);
        lkv_commit(f.store);
        CHECK_TEXT(contents(f.store), "a=1 b=2 c=3");
        begin(f.store);
        CHECK_INT(put_text(f.store, "a", "4"), LKV_OK);
        CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        CHECK_INT(mark(f.store), depth);
        CHECK_INT(put_filler(f.store, "a", 300, 1), LKV_OK);
        CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        lkv_rollback_to(f.store, depth);
        CHECK_INT(delete_text(f.store, "b"), LKV_OK);
        lkv_commit(f.store);
        CHECK_TEXT(contents(f.store), "a=4 b=2 c=3");
        CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=4 b=2 c=3");
        commit_text(f.store, "z", "5");
        CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=4 b=2 c=3 z=5");
        fixture_close(&f);
    }
}

/* lkv_views() moves with everything that may end a view. */
static void views_move(void)
{
    lkv_row row;
    uint64_t views;
    uint32_t depth;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    begin(f.store);
    CHECK_INT(put_filler(f.store, "b", 200, 1), LKV_OK);
    depth = mark(f.store);
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_OK);
    views = lkv_views(f.store);
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK); /* writes: the storage may move */
    CHECK(views != lkv_views(f.store));
    views = lkv_views(f.store);
    lkv_rollback_to(f.store, depth);
    CHECK(views != lkv_views(f.store));
    views = lkv_views(f.store);
    CHECK_INT(put_filler(f.store, "c", 9000, 1), LKV_OK); /* the buffer grows */
    CHECK(views != lkv_views(f.store));
    views = lkv_views(f.store);
    f.storage->spill = 100;
    CHECK_INT(put_filler(f.store, "d", 10, 1), LKV_OK); /* spills */
    CHECK(views != lkv_views(f.store));
    views = lkv_views(f.store);
    f.storage->segment = 300;
    CHECK_INT(put_filler(f.store, "e", 10, 1), LKV_OK); /* rolls */
    CHECK(views != lkv_views(f.store));
    views = lkv_views(f.store);
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_OK);
    CHECK(views != lkv_views(f.store));
    views = lkv_views(f.store);
    prepare_and_commit(f.store);
    CHECK(views != lkv_views(f.store));
    begin(f.store);
    views = lkv_views(f.store);
    lkv_rollback(f.store);
    CHECK(views != lkv_views(f.store));
    fixture_close(&f);
}

static void measures(void)
{
    lkv_stats stats;
    fixture f;

    fixture_open(&f, 64);
    f.storage->segment = 280;
    CHECK_INT(lkv_measure(f.store, &stats, &f.err), LKV_OK);
    CHECK_SIZE(stats.log_bytes, 64);
    CHECK_SIZE(stats.segments, 1);
    CHECK_SIZE(stats.revision, 0);
    commit_text(f.store, "a", "1");  /* 84 */
    commit_text(f.store, "a", "22"); /* 85, live 16 */
    commit_text(f.store, "b", "1");  /* 84, commit in the next segment */
    commit_text(f.store, "b", NULL); /* 83 */
    CHECK_INT(lkv_measure(f.store, &stats, &f.err), LKV_OK);
    CHECK_SIZE(stats.live_keys, 1);
    CHECK_SIZE(stats.records, 4);
    CHECK_SIZE(stats.log_bytes, 64 * 2 + 84 + 85 + 84 + 83);
    CHECK_SIZE(stats.live_bytes, 16);
    CHECK_SIZE(stats.segments, 2);
    CHECK_SIZE(stats.revision, 4);
    CHECK(stats.index_memory >= 1024);
    begin(f.store);
    CHECK_INT(delete_text(f.store, "a"), LKV_OK);
    CHECK_INT(lkv_measure(f.store, &stats, &f.err), LKV_OK);
    CHECK_SIZE(stats.live_keys, 0);
    CHECK_SIZE(stats.live_bytes, 0); /* a tombstone is no value */
    CHECK_SIZE(stats.records, 5);
    lkv_rollback(f.store);
    commit_text(f.store, "c", "1"); /* only what is new is read */
    storage_fault_arm(&f.fault, 1, 0, LKV_IO);
    CHECK_INT(lkv_measure(f.store, &stats, &f.err), LKV_IO);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    fixture_close(&f);
}

/* Bytes that go bad while a handle is open are found when they are read. */
static void damage_under_a_handle(void)
{
    lkv_bytes view;
    uint8_t *log;
    lkv_row row;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    commit_text(f.store, "b", "2");
    CHECK_INT(f.memory->ops->read(f.memory, 1, 0, 232, &view, NULL), LKV_OK);
    log = (uint8_t *)(uintptr_t)view.data;
    log[78] ^= 1;
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "segment 1, offset 64: checksum mismatch");
    CHECK_INT(f.err.os_errno, 0);
    CHECK_TEXT(get_text(f.store, "b"), "2"); /* others go on answering */
    log[78] ^= 1;
    memcpy(log + 64, log + 148, 15); /* another record, right in itself */
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text,
               "segment 1, offset 64: the record has another key than the index");
    lkv_format_record(log + 64, LKV_KIND_TOMBSTONE, 0, text_bytes("a"),
                      (lkv_bytes){NULL, 0});
    CHECK_INT(lkv_get(f.store, text_bytes("a"), &row, &f.err), LKV_CORRUPT);
    lkv_format_record(log + 64, LKV_KIND_PUT, 0, text_bytes("a"), text_bytes("1"));
    CHECK_TEXT(contents(f.store), "a=1 b=2");
    fixture_close(&f);
}

/* One of many ways through a transaction; `*rc` says how the call that was to fail
 * went. */
typedef int (*action)(fixture *f, uint32_t depth);

static int do_put(fixture *f, uint32_t depth)
{
    (void)depth;
    return put_filler(f->store, "new", 150, 9);
}

static int do_replace(fixture *f, uint32_t depth)
{
    (void)depth;
    return put_filler(f->store, "b", 150, 9);
}

static int do_long_key(fixture *f, uint32_t depth)
{
    lkv_row row = {filler(600, 1), text_bytes("1"), 0};
    (void)depth;
    return lkv_put(f->store, &row, &f->err);
}

static int do_delete(fixture *f, uint32_t depth)
{
    (void)depth;
    return delete_text(f->store, "b");
}

static int do_mark(fixture *f, uint32_t depth)
{
    int rc = LKV_OK;
    for (int i = 0; i < 9 && rc == LKV_OK; i++) {
        rc = lkv_mark(f->store, &depth);
    }
    return rc;
}

static int do_prepare(fixture *f, uint32_t depth)
{
    (void)depth;
    return lkv_prepare(f->store, &f->err);
}

static int do_second_prepare(fixture *f, uint32_t depth)
{
    int rc = put_text(f->store, "p", "1");
    (void)depth;
    return rc == LKV_OK ? lkv_prepare(f->store, &f->err) : rc;
}

static int do_get(fixture *f, uint32_t depth)
{
    lkv_row row;
    (void)depth;
    return lkv_get(f->store, text_bytes("b"), &row, &f->err);
}

static int do_cursor(fixture *f, uint32_t depth)
{
    lkv_cursor *cursor;
    lkv_bytes value;
    int rc = lkv_cursor_open(f->store, &cursor);
    (void)depth;
    if (rc == LKV_OK) {
        rc = lkv_cursor_first(cursor, NULL);
        if (rc == LKV_OK) {
            rc = lkv_cursor_value(cursor, &value, &f->err);
        }
        lkv_cursor_close(cursor);
    }
    return rc;
}

static const struct {
    const char *name;
    action run;
    int changes;
} actions[] = {{"put", do_put, 1},
               {"replace", do_replace, 1},
               {"long key", do_long_key, 1},
               {"delete", do_delete, 1},
               {"mark", do_mark, 0},
               {"prepare", do_prepare, 0},
               {"second prepare", do_second_prepare, 1},
               {"get", do_get, 0},
               {"cursor", do_cursor, 0}};

/* How the sweep below runs. */
typedef struct sweep {
    size_t action;
    uint32_t spill, segment;
    int storage;  /* the calls of the storage fail, otherwise the allocations */
    int for_good; /* from the nth on */
    int owner;    /* a failing storage rolls the transaction back */
} sweep;

/* A transaction that did something, in a store that holds something. */
static void set_up(fixture *f, const sweep *s, uint32_t *depth)
{
    fixture_open(f, 64);
    f->storage->spill = s->spill;
    f->storage->segment = s->segment;
    commit_text(f->store, "a", "1");
    commit_text(f->store, "b", "1");
    begin(f->store);
    CHECK_INT(put_filler(f->store, "c", 90, 1), LKV_OK);
    *depth = mark(f->store);
    CHECK_INT(put_filler(f->store, "a", 70, 2), LKV_OK);
    CHECK_INT(put_filler(f->store, "d", 70, 3), LKV_OK);
    if (actions[s->action].run == do_second_prepare) {
        CHECK_INT(lkv_prepare(f->store, &f->err), LKV_OK);
    }
}

/* After a failure: more, with `back` from the mark on, and commit; the same as in a
 * store where nothing failed. */
static void go_on(fixture *f, const sweep *s, uint32_t depth, const char *before,
                  int back)
{
    fixture plain;
    uint32_t plain_depth;

    if (!lkv_in_transaction(f->store)) {
        CHECK(s->owner);
        CHECK_TEXT(contents(f->store), "a=1 b=1");
        begin(f->store);
        CHECK_INT(put_text(f->store, "e", "5"), LKV_OK);
        prepare_and_commit(f->store);
        CHECK_TEXT(contents(f->store), "a=1 b=1 e=5");
        CHECK_TEXT(contents_anew(f->storage, &f->os.os), "a=1 b=1 e=5");
        return;
    }
    CHECK_TEXT(contents(f->store), before);
    set_up(&plain, s, &plain_depth);
    if (back) {
        lkv_rollback_to(f->store, depth);
        lkv_rollback_to(plain.store, plain_depth);
    }
    CHECK_INT(put_text(f->store, "e", "5"), LKV_OK);
    prepare_and_commit(f->store);
    CHECK_INT(put_text(plain.store, "e", "5"), LKV_OK);
    prepare_and_commit(plain.store);
    CHECK_TEXT(contents(f->store), contents(plain.store));
    CHECK_TEXT(contents_anew(f->storage, &f->os.os), contents(plain.store));
    fixture_close(&plain);
}

static int one_failure(const sweep *s, uint64_t n, int back)
{
    const char *before;
    uint64_t failures;
    uint32_t depth;
    fixture f;
    int rc;

    set_up(&f, s, &depth);
    before = contents(f.store);
    f.fault.owner = s->owner ? f.store : NULL;
    os_fault_arm(&f.os, s->storage ? 0 : n, s->for_good);
    storage_fault_arm(&f.fault, s->storage ? n : 0, s->for_good, LKV_FAILED);
    rc = actions[s->action].run(&f, depth);
    failures = f.os.failures + f.fault.failures;
    os_fault_arm(&f.os, 0, 0);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    if (failures > 0) {
        CHECK_INT(rc, s->storage ? LKV_FAILED : LKV_NOMEM);
        if (actions[s->action].run == do_second_prepare &&
            lkv_in_transaction(f.store) &&
            lkv_exists(f.store, text_bytes("p"), NULL) == 0) {
            CHECK_INT(delete_text(f.store, "p"), LKV_OK);
        }
        go_on(&f, s, depth, before, back);
    } else {
        CHECK_INT(rc, LKV_OK);
        CHECK(!actions[s->action].changes || strcmp(before, contents(f.store)) != 0);
        CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        before = contents(f.store);
        lkv_commit(f.store);
        CHECK_TEXT(contents(f.store), before);
        CHECK_TEXT(contents_anew(f.storage, &f.os.os), before);
    }
    fixture_close(&f);
    return failures > 0;
}

/* Each call that each operation makes fails, alone and with all after it. */
static void fails_anywhere(void)
{
    unsigned long failures = 0;
    for (size_t i = 0; i < CASES(actions); i++) {
        for (unsigned k = 0; k < 2 * 2 * 2 * 4; k++) {
            static const uint32_t spills[] = {1, 100, 100, 100000};
            static const uint32_t segments[] = {100000, 100000, 300, 200};
            sweep s = {i,          spills[k & 3], segments[k & 3],
                       k >> 2 & 1, k >> 3 & 1,    k >> 4 & 1};
            uint64_t n = 1;
            while (n < 1000 && one_failure(&s, n, 0) && one_failure(&s, n, 1)) {
                n++;
            }
            failures += n - 1;
            if (check_failures() > 0) {
                printf("  %s, spill %u, segment %u, %s%s%s, call %u\n", actions[i].name,
                       s.spill, s.segment, s.storage ? "storage" : "memory",
                       s.for_good ? " for good" : "", s.owner ? " rolls back" : "",
                       (unsigned)n);
                return;
            }
        }
    }
    CHECK(failures > 300);
}

static void open_fails_anywhere(void)
{
    for (uint64_t n = 1; n <= 3; n++) {
        lkv_store *store = NULL;
        os_fault os;
        os_fault_init(&os);
        os_fault_arm(&os, n, 0);
        CHECK_INT(lkv_open(NULL, &os.os, &store), n < 3 ? LKV_NOMEM : LKV_OK);
        lkv_close(store);
        CHECK_SIZE(os.live, 0);
    }
}

static const check_case cases[] = {CASE(rows_and_tags),
                                   CASE(deletes),
                                   CASE(misuse),
                                   CASE(no_error_wanted),
                                   CASE(one_writer),
                                   CASE(commit_of_the_unprepared),
                                   CASE(views_move),
                                   CASE(measures),
                                   CASE(damage_under_a_handle),
                                   CASE(fails_anywhere),
                                   CASE(open_fails_anywhere)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
