/*
 * test_compact.c - passes of compaction: what they keep, what they give back, and that
 * they can be left off and taken up anywhere.
 */
#include "fixture.h"
#include "store.h"

#include <stdio.h>
#include <string.h>

#define KEYS 60u

static void open_small(fixture *f, uint32_t block, uint32_t flush_size)
{
    fixture_open(f, block);
    f->storage->segment = 1500;
    f->store->flush_size = flush_size;
    f->store->auto_compact = 0;
}

static const char *key_name(unsigned i)
{
    static char name[16];
    snprintf(name, sizeof(name), "key%05u", i * 7919 % 10007);
    return name;
}

/* Transactions of three, each a millisecond after the one before. */
static void fill(fixture *f, unsigned from, unsigned to, unsigned seed)
{
    for (unsigned i = from; i < to; i += 3) {
        f->os.now_ms++;
        begin(f->store);
        for (unsigned k = i; k < i + 3 && k < to; k++) {
            CHECK_INT(put_filler(f->store, key_name(k), 10 + (k + seed) % 60, seed + k),
                      LKV_OK);
        }
        prepare_and_commit(f->store);
    }
}

static uint64_t log_bytes(fixture *f)
{
    return lkv_log_bytes(f->store);
}

/* What is there, by the handle, by a new one, and by an index made anew. */
static void check_contents(fixture *f, const char *want)
{
    static char copy[1 << 16];
    snprintf(copy, sizeof(copy), "%s", want);
    CHECK_TEXT(contents(f->store), copy);
    CHECK_TEXT(contents_anew(f->storage, &f->os.os), copy);
    begin(f->store);
    if (!CHECK_INT(lkv_rebuild(f->store, NULL, NULL, &f->err), LKV_OK)) {
        CHECK_TEXT(f->err.text, "");
    }
    CHECK_TEXT(contents(f->store), copy);
    lkv_rollback(f->store);
    CHECK_TEXT(contents(f->store), copy);
}

static void gives_back_what_is_dead(void)
{
    static char want[1 << 16];
    fixture f;

    open_small(&f, 128, 400);
    fill(&f, 0, KEYS, 1);
    fill(&f, 0, KEYS, 2);
    fill(&f, 0, KEYS / 2, 3);
    for (unsigned i = 0; i < KEYS; i += 4) {
        commit_text(f.store, key_name(i), NULL);
    }
    snprintf(want, sizeof(want), "%s", contents(f.store));
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    check_contents(&f, want);
    CHECK_SIZE(f.store->log.count, 1);
    CHECK_SIZE(f.store->log.runs->count, 0);
    CHECK(f.store->log.runs->parts > 0);
    /* Headers, seals and the commit of the compaction come to what is live. */
    CHECK(log_bytes(&f) <= lkv_live_size(f.store) + 200 +
                               f.store->log.runs->parts * (64u + LKV_SEAL_SIZE));
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0); /* nothing is left to do */
    fixture_reopen(&f);
    check_contents(&f, want);
    fixture_close(&f);
}

/* Everything was deleted: no part is left, and a new key is all there is. */
static void to_nothing(void)
{
    fixture f;
    open_small(&f, 64, 300);
    fill(&f, 0, 30, 1);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    for (unsigned i = 0; i < 30; i++) {
        commit_text(f.store, key_name(i), NULL);
    }
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    CHECK_SIZE(f.store->log.runs->parts, 0);
    check_contents(&f, "");
    commit_text(f.store, "a", "1");
    check_contents(&f, "a=1");
    fixture_close(&f);
}

/* A record that moved keeps revision and time of its commit, also when it moves again.
 */
static void keeps_revision_and_time(void)
{
    fixture f;
    open_small(&f, 100, 500);
    f.os.now_ms = 1000;
    fill(&f, 0, KEYS, 1); /* key k: revision k / 3 + 1, a millisecond each */
    for (int times = 0; times < 3; times++) {
        CHECK_SIZE(compact_some(&f, times == 1 ? 700 : UINT64_MAX) == 0, times != 1);
        for (unsigned k = times == 0 ? 0 : 3; k < KEYS; k++) {
            lkv_place place;
            lkv_record record;
            CHECK_INT(lkv_lookup(f.store, text_bytes(key_name(k)), &place, &f.err),
                      LKV_OK);
            CHECK_INT(lkv_log_read(&f.store->log, place.loc, &record, &f.err), LKV_OK);
            if (lkv_loc_segment(place.loc) >= LKV_PART_FIRST) {
                CHECK(record.moved);
                CHECK_SIZE(record.revision, k / 3 + 1);
                CHECK_INT(record.time_ms, 1001 + k / 3);
            }
            CHECK_SIZE(place.size, lkv_format_size(record.key, record.value));
        }
        f.os.now_ms = 500000;
        fill(&f, 0, 3, 9); /* something for the next pass */
    }
    fixture_close(&f);
}

/* Small slices, while more is written: after each the content is right, and so it is by
 * an index made anew. Every other slice is another handle's. */
static void slices_of_two_handles(void)
{
    static char want[1 << 16];
    unsigned slices = 0;
    uint64_t left = 1;
    lkv_store *other;
    fixture f;

    open_small(&f, 64, 350);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    other->flush_size = 350;
    other->auto_compact = 0;
    fill(&f, 0, KEYS, 1);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    fill(&f, 10, KEYS + 20, 2);
    while (left > 0 && slices < 200 && check_failures() == 0) {
        lkv_store *own = f.store;
        f.store = slices % 2 == 0 ? own : other;
        left = compact_some(&f, 300);
        CHECK_INT(lkv_refresh(own, &f.err), LKV_OK);
        snprintf(want, sizeof(want), "%s", contents(own));
        check_contents(&f, want);
        f.store = own;
        if (slices < 12) {
            commit_text(f.store, key_name(slices * 5), slices % 3 == 0 ? NULL : "new");
            commit_text(f.store, key_name(slices + 200), "more");
        }
        slices++;
    }
    CHECK(slices > 12);
    CHECK_SIZE(left, 0);
    lkv_close(other);
    fixture_close(&f);
}

/* A slice that is rolled back, to a mark or with all of its transaction, leaves
 * nothing. */
static void undone(void)
{
    static char want[1 << 16];
    uint64_t left;
    fixture f;

    open_small(&f, 64, 350);
    fill(&f, 0, KEYS, 1);
    fill(&f, 0, KEYS, 2);
    snprintf(want, sizeof(want), "%s", contents(f.store));
    for (int i = 0; i < 12; i++) {
        begin(f.store);
        CHECK_INT(put_text(f.store, "temporary", "1"), LKV_OK);
        CHECK_INT(mark(f.store), 0);
        CHECK_INT(lkv_compact(f.store, i % 3 == 0 ? UINT64_MAX : 400, &left, &f.err),
                  LKV_OK);
        CHECK_INT(put_text(f.store, "temporary", "2"), LKV_OK);
        lkv_rollback_to(f.store, 0);
        CHECK_TEXT(get_text(f.store, "temporary"), "1");
        if (i % 2 == 0) {
            CHECK_INT(lkv_compact(f.store, 500, &left, &f.err), LKV_OK);
        }
        lkv_rollback(f.store);
        check_contents(&f, want);
        CHECK(compact_some(&f, 200) > 0);
        check_contents(&f, want);
    }
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    check_contents(&f, want);
    fixture_close(&f);
}

/* The share is kept beside the runs, not in their place. */
static void a_share_is_set(void)
{
    static char want[1 << 16];
    lkv_store *other;
    fixture f;

    open_small(&f, 128, 400);
    fill(&f, 0, KEYS, 1);
    snprintf(want, sizeof(want), "%s", contents(f.store));
    CHECK(f.store->log.runs->count > 0);
    CHECK_INT(lkv_set_auto_compact(f.store, 300, &f.err), LKV_MISUSE);
    begin(f.store);
    CHECK_INT(lkv_set_auto_compact(f.store, 1000, &f.err), LKV_MISUSE);
    CHECK_INT(lkv_set_auto_compact(f.store, 300, &f.err), LKV_OK);
    CHECK_TEXT(contents(f.store), want);
    prepare_and_commit(f.store);
    check_contents(&f, want);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
    CHECK_INT(other->log.runs->auto_compact, 301);
    lkv_close(other);
    fixture_close(&f);
}

/* A cursor that stands in what is being compacted goes on: every key comes once. */
static void under_a_cursor(void)
{
    static char last[16];
    lkv_cursor *cursor;
    unsigned count = 0;
    fixture f;
    int rc;

    open_small(&f, 64, 350);
    fill(&f, 0, KEYS, 1);
    fill(&f, 0, KEYS, 2);
    CHECK_INT(lkv_cursor_open(f.store, &cursor), LKV_OK);
    for (rc = lkv_cursor_first(cursor, &f.err); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, &f.err)) {
        lkv_bytes key = lkv_cursor_key(cursor), value;
        CHECK(key.size == 8 && memcmp(key.data, last, 8) > 0);
        memcpy(last, key.data, 8);
        count++;
        (void)compact_some(&f, 300);
        if (!CHECK_INT(lkv_cursor_value(cursor, &value, &f.err), LKV_OK)) {
            CHECK_TEXT(f.err.text, "");
        }
    }
    CHECK_INT(rc, LKV_ABSENT);
    CHECK_SIZE(count, KEYS);
    lkv_cursor_close(cursor);
    fixture_close(&f);
}

/* Overwriting goes on for ever in bounded space, by what commits pay alone. */
static void by_itself(void)
{
    fixture f;
    open_small(&f, 128, 600);
    f.store->auto_compact = 500;
    for (unsigned times = 0; times < 40; times++) {
        fill(&f, 0, KEYS, times);
        /* Each commit record is as long as a record here: 3 records, 135 bytes. */
        CHECK(log_bytes(&f) < 4 * lkv_live_size(f.store) + 4 * f.store->flush_size);
    }
    CHECK(f.store->log.runs->parts > 0);
    check_contents(&f, contents(f.store));
    fixture_close(&f);
}

static void check_commit(fixture *f, const char *key, uint64_t revision,
                         int64_t time_ms)
{
    lkv_place place;
    lkv_record record;
    CHECK_INT(lkv_lookup(f->store, text_bytes(key), &place, &f->err), LKV_OK);
    CHECK_INT(lkv_log_read(&f->store->log, place.loc, &record, &f->err), LKV_OK);
    CHECK(record.moved);
    CHECK_SIZE(record.revision, revision);
    CHECK_INT(record.time_ms, time_ms);
}

/* Records beyond a chunk, and beyond a part. */
static void long_records(void)
{
    static char want[1 << 16];
    fixture f;

    fixture_open(&f, 4056);
    f.store->flush_size = 4000;
    f.store->auto_compact = 0;
    f.os.now_ms = 5;
    begin(f.store);
    CHECK_INT(put_filler(f.store, "b", 200000, 1), LKV_OK);
    CHECK_INT(put_filler(f.store, "ba", 50, 2), LKV_OK);
    CHECK_INT(put_filler(f.store, "a", 70000, 3), LKV_OK);
    CHECK_INT(put_filler(f.store, "c", LKV_CHUNK_MAX, 4), LKV_OK);
    CHECK_INT(put_filler(f.store, "", 131000, 5), LKV_OK);
    CHECK_INT(put_filler(f.store, "d", 1, 6), LKV_OK);
    prepare_and_commit(f.store);
    snprintf(want, sizeof(want), "%s", contents(f.store));
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    check_contents(&f, want);
    CHECK_INT(lkv_exists(f.store, text_bytes("bb"), &f.err), LKV_ABSENT);
    CHECK_INT(lkv_exists(f.store, text_bytes("b"), &f.err), LKV_OK);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    commit_text(f.store, "e", "1"); /* and they move again */
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    check_commit(&f, "b", 1, 5);
    check_commit(&f, "ba", 1, 5);
    commit_text(f.store, "e", NULL);
    check_contents(&f, want);
    fixture_close(&f);
}

/* A commit that spans segments is found from each of its records, and not from those
 * before it, whose keys come after its own. */
static void long_transaction(void)
{
    fixture f;
    open_small(&f, 64, 400);
    f.os.now_ms = 70;
    commit_text(f.store, "x", "1");
    f.os.now_ms = 71;
    commit_text(f.store, "y", "2");
    f.os.now_ms = 77;
    begin(f.store);
    for (unsigned i = 0; i < 3 * KEYS; i++) {
        CHECK_INT(put_filler(f.store, key_name(i), 300, i), LKV_OK);
    }
    prepare_and_commit(f.store);
    CHECK(f.store->log.count > 10);
    f.os.now_ms = 99;
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    for (unsigned i = 0; i < 3 * KEYS; i++) {
        check_commit(&f, key_name(i), 3, 77);
    }
    check_commit(&f, "x", 1, 70);
    check_commit(&f, "y", 2, 71);
    fixture_close(&f);
}

/* Each call of the storage and each allocation fails, once and from then on. */
static void failures(int of_storage, int for_good)
{
    for (uint64_t n = 1;; n += 1 + n / 40) {
        static char want[1 << 16];
        uint64_t left, failed;
        fixture f;
        int rc;

        open_small(&f, 128, 400);
        fill(&f, 0, 30, 1);
        CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
        fill(&f, 10, 40, 2);
        snprintf(want, sizeof(want), "%s", contents(f.store));
        begin(f.store);
        os_fault_arm(&f.os, of_storage ? 0 : n, for_good);
        storage_fault_arm(&f.fault, of_storage ? n : 0, for_good, LKV_IO);
        rc = lkv_compact(f.store, UINT64_MAX, &left, &f.err);
        failed = f.os.failures + f.fault.failures;
        os_fault_arm(&f.os, 0, 0);
        storage_fault_arm(&f.fault, 0, 0, LKV_OK);
        CHECK_INT(rc, failed == 0 ? LKV_OK : of_storage ? LKV_IO : LKV_NOMEM);
        CHECK_TEXT(contents(f.store), want);
        if (n % 2 == 0) {
            CHECK_INT(lkv_compact(f.store, 300, &left, &f.err), LKV_OK);
            prepare_and_commit(f.store);
        } else {
            lkv_rollback(f.store);
        }
        check_contents(&f, want);
        CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
        check_contents(&f, want);
        fixture_close(&f);
        if (failed == 0 || check_failures() > 0) {
            break;
        }
    }
}

static void storage_fails(void)
{
    failures(1, 0);
    failures(1, 1);
}

static void memory_fails(void)
{
    failures(0, 0);
    failures(0, 1);
}

/* A store that is large for its parts' least size has larger ones, and no more of them.
 */
static void parts_grow(void)
{
    lkv_runs *runs;
    fixture f;
    open_small(&f, 512, 16); /* parts of 256 bytes at least */
    f.storage->segment = 1 << 20;
    for (int turn = 0; turn < 2; turn++) {
        begin(f.store);
        for (unsigned i = 0; i < 5000; i++) {
            CHECK_INT(put_filler(f.store, key_name(i), 100, i), LKV_OK);
        }
        prepare_and_commit(f.store);
        CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
        runs = f.store->log.runs;
        CHECK(runs->parts > LKV_PART_SHARE / 2);
        CHECK(runs->parts <= LKV_PART_SHARE * 11 / 10);
    }
    CHECK_INT(lkv_verify(f.store, NULL, NULL, &f.err), LKV_OK);
    CHECK_SIZE(lkv_part_most(f.store, UINT64_MAX), LKV_PART_MOST);
    CHECK_SIZE(lkv_part_most(f.store, 0), 256);
    fixture_close(&f);
}

/* Dead keys cost time, and a slice does not walk through any number of them. */
static void slices_of_dead_keys(void)
{
    unsigned calls = 0;
    fixture f;
    open_small(&f, 512, 1 << 16);
    f.storage->segment = 1 << 20;
    begin(f.store);
    for (unsigned i = 0; i < 5000; i++) {
        CHECK_INT(put_filler(f.store, key_name(i), 30, i), LKV_OK);
    }
    prepare_and_commit(f.store);
    f.store->flush_size = 256; /* parts of 4096 bytes */
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    begin(f.store);
    for (unsigned i = 0; i < 4900; i++) {
        CHECK_INT(delete_text(f.store, key_name(i)), LKV_OK);
    }
    prepare_and_commit(f.store);
    while (compact_some(&f, 100 * LKV_COMPACTION_DEAD) > 0) {
        calls++;
    }
    CHECK(calls > 40);
    CHECK_INT(lkv_verify(f.store, NULL, NULL, &f.err), LKV_OK);
    fixture_close(&f);
}

/* Parts of which little is left become fewer, whoever goes on with the pass. */
static void joined_by(unsigned handles)
{
    static char want[1 << 16];
    lkv_store *other[3];
    unsigned slices = 0;
    uint32_t had;
    fixture f;
    open_small(&f, 512, 256); /* parts of 4096 bytes */
    f.storage->segment = 1 << 20;
    begin(f.store);
    for (unsigned i = 0; i < 2000; i++) {
        CHECK_INT(put_filler(f.store, key_name(i), 30, i), LKV_OK);
    }
    prepare_and_commit(f.store);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    had = f.store->log.runs->parts;
    begin(f.store);
    for (unsigned i = 0; i < 2000; i++) {
        if (i % 20 != 0) {
            CHECK_INT(delete_text(f.store, key_name(i)), LKV_OK);
        }
    }
    prepare_and_commit(f.store);
    snprintf(want, sizeof(want), "%s", contents(f.store));
    for (unsigned i = 0; i < handles; i++) {
        CHECK_INT(lkv_open(f.storage, &f.os.os, &other[i]), LKV_OK);
        other[i]->auto_compact = 0;
        other[i]->flush_size = 256;
    }
    for (uint64_t left = 1; left > 0 && check_failures() == 0; slices++) {
        lkv_store *own = f.store;
        f.store = handles > 0 ? other[slices % handles] : own;
        left = compact_some(&f, 1000);
        f.store = own;
        CHECK_INT(lkv_refresh(own, &f.err), LKV_OK);
        if (slices % 10 == 0 || left == 0) {
            check_contents(&f, want);
        }
    }
    CHECK(slices > 12);
    CHECK(f.store->log.runs->parts <= had / (LKV_COMPACTION_WAITS - 1));
    CHECK_INT(lkv_verify(f.store, NULL, NULL, &f.err), LKV_OK);
    for (unsigned i = 0; i < handles; i++) {
        lkv_close(other[i]);
    }
    fixture_close(&f);
}

static void parts_are_joined(void)
{
    for (unsigned handles = 0; handles <= 3; handles++) {
        joined_by(handles);
    }
}

/* One handle stands in an old part of which nothing is left, and another one is done
 * with that part: what the first keeps of the pass is good for nothing. */
static void dead_part_of_two_handles(void)
{
    lkv_store *own, *other;
    char key[16];
    fixture f;
    open_small(&f, 512, 256);
    f.storage->segment = 1 << 20;
    own = f.store;
    begin(own);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "key%05u", i);
        CHECK_INT(put_filler(own, key, 30, i), LKV_OK);
    }
    prepare_and_commit(own);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    begin(own);
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(key, sizeof(key), "key%05u", i);
        CHECK_INT(delete_text(own, key), LKV_OK);
    }
    prepare_and_commit(own);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    other->auto_compact = 0;
    other->flush_size = 256;
    for (unsigned turn = 0; turn < 6 && check_failures() == 0; turn++) {
        f.store = turn % 2 == 0 ? own : other;
        for (unsigned i = 0; i < 3; i++) {
            CHECK(compact_some(&f, i == 0 ? 16 : 160) > 0);
        }
    }
    f.store = own;
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    CHECK_SIZE(lkv_count(own), 500);
    CHECK_INT(lkv_verify(own, NULL, NULL, &f.err), LKV_OK);
    lkv_close(other);
    fixture_close(&f);
}

static const check_case cases[] = {
    CASE(gives_back_what_is_dead),
    CASE(to_nothing),
    CASE(keeps_revision_and_time),
    CASE(slices_of_two_handles),
    CASE(undone),
    CASE(a_share_is_set),
    CASE(under_a_cursor),
    CASE(by_itself),
    CASE(long_records),
    CASE(parts_grow),
    CASE(slices_of_dead_keys),
    CASE(parts_are_joined),
    CASE(dead_part_of_two_handles),
    CASE(long_transaction),
    CASE(storage_fails),
    CASE(memory_fails),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
