/*
 * test_flush.c - the index in memory becomes a run: inside of transactions, under
 * rollbacks, and when a store is opened. The measure is a second store where that never
 * happens. What becomes of the runs: test_slice.c.
 */
#include "layers.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A run for each so many bytes of log, in small transactions and in large ones. */
static void by_size(void)
{
    for (unsigned each = 1; each < 200; each *= 6) {
        uint64_t flushes;
        twin p;
        twin_open(&p);
        for (unsigned i = 0; i < 400; i += each) {
            twin_fill(&p, i, i + each, 1);
            CHECK(twin_tail_bytes(&p) < TWIN_FLUSH + 500);
        }
        flushes = twin_runs(&p)->next_run - LKV_RUN_FIRST;
        CHECK(flushes >= 400 * 171 / (TWIN_FLUSH + 500) &&
              flushes < 600 * 440 / TWIN_FLUSH);
        CHECK(lkv_memindex_count(p.f.store->index) < 40);
        CHECK_SIZE(p.plain.store->log.runs->count, 0);
        twin_close(&p);
    }
}

/* What is deleted leaves no entry when no older run can have it, and one otherwise. */
static void tombstones_of_a_flush(void)
{
    lkv_bytes one = text_bytes("one");
    lkv_place found;
    twin p;

    twin_open(&p);
    twin_begin(&p);
    CHECK_INT(put_text(p.f.store, "one", "1"), LKV_OK);
    CHECK_INT(delete_text(p.f.store, "one"), LKV_OK);
    CHECK_INT(lkv_flush(p.f.store, &p.f.err), LKV_OK);
    twin_commit(&p);
    CHECK_SIZE(twin_runs(&p)->count, 0); /* nothing was left to write */
    CHECK_SIZE(twin_tail_bytes(&p), LKV_COMMIT_SIZE);
    CHECK_INT(twin_runs(&p)->next_run, LKV_RUN_FIRST);
    twin_begin(&p);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(put_text(i ? p.f.store : p.plain.store, "one", "1"), LKV_OK);
        CHECK_INT(put_text(i ? p.f.store : p.plain.store, "two", "1"), LKV_OK);
    }
    CHECK_INT(lkv_flush(p.f.store, &p.f.err), LKV_OK);
    CHECK_SIZE(lkv_memindex_count(p.f.store->index), 0);
    CHECK_INT(delete_text(p.f.store, "one"), LKV_OK);
    CHECK_INT(delete_text(p.plain.store, "one"), LKV_OK);
    CHECK_INT(lkv_flush(p.f.store, &p.f.err), LKV_OK);
    twin_commit(&p);
    CHECK_SIZE(twin_runs(&p)->count, 2);
    CHECK_SIZE(twin_runs(&p)->run[0].entries, 2);
    CHECK_SIZE(twin_runs(&p)->run[0].live_bytes, 34);
    CHECK_SIZE(twin_runs(&p)->run[1].entries, 1);
    CHECK_SIZE(twin_runs(&p)->run[1].live_bytes, 0);
    CHECK_INT(lkv_run_find(p.f.storage, &twin_runs(&p)->run[1], one,
                           lkv_filter_hash(one), &found, &p.f.err),
              LKV_OK);
    CHECK(!lkv_loc_live(found.loc));
    CHECK_TEXT(get_text(p.f.store, "one"), NULL);
    twin_close(&p);
}

/* Others see nothing of a transaction's runs before it is committed, and all of it
 * then, in whichever state they were. */
static void seen_by_others(void)
{
    lkv_store *behind, *young;
    const char *before;
    twin p;

    twin_open(&p);
    twin_fill(&p, 0, 5, 1);
    behind = layers_handle(&p.f);
    CHECK_INT(lkv_refresh(behind, &p.f.err), LKV_OK);
    before = summary(behind);
    twin_begin(&p);
    for (unsigned i = 0; i < 200; i++) {
        twin_set(&p, i, 2);
    }
    CHECK(twin_runs(&p)->next_run > LKV_RUN_FIRST + 4);
    twin_check(&p);
    young = layers_handle(&p.f);
    CHECK_INT(lkv_refresh(young, &p.f.err), LKV_OK);
    CHECK_INT(lkv_refresh(behind, &p.f.err), LKV_OK);
    CHECK_TEXT(summary(young), before);
    CHECK_TEXT(summary(behind), before);
    twin_commit(&p);
    CHECK_INT(lkv_refresh(young, &p.f.err), LKV_OK);
    CHECK_INT(lkv_refresh(behind, &p.f.err), LKV_OK);
    CHECK_TEXT(summary(young), summary(p.plain.store));
    CHECK_TEXT(summary(behind), summary(p.plain.store));
    /* And the other way round: the one that was behind goes on. */
    twin_make_small(behind);
    begin(behind);
    begin(p.plain.store);
    for (unsigned i = 50; i < 200; i++) {
        twin_put(behind, i, 3);
        twin_put(p.plain.store, i, 3);
    }
    prepare_and_commit(behind);
    prepare_and_commit(p.plain.store);
    CHECK_INT(lkv_refresh(p.f.store, &p.f.err), LKV_OK);
    lkv_close(behind);
    lkv_close(young);
    twin_close(&p);
}

/* Nothing is left of a transaction that flushed and merged: no run, no bytes. */
static void whole_rollback(void)
{
    for (int prepares = 0; prepares < 3; prepares++) {
        uint64_t bytes;
        uint32_t next;
        twin p;
        twin_open(&p);
        twin_fill(&p, 0, 60, 1);
        CHECK_SIZE(twin_runs(&p)->gone, 0);
        bytes = twin_run_bytes(&p);
        next = twin_runs(&p)->next_run;
        begin(p.f.store);
        for (unsigned i = 0; i < 400; i++) {
            twin_put(p.f.store, i % 150, i % 5);
            if (prepares > 0 && i % 90 == 0) {
                CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
            }
        }
        if (prepares == 2) {
            CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        }
        CHECK(twin_runs(&p)->next_run > next + 8);
        CHECK(twin_runs(&p)->gone > 4); /* it merged */
        lkv_rollback(p.f.store);
        CHECK_INT(twin_runs(&p)->next_run, next);
        CHECK_SIZE(twin_run_bytes(&p), bytes);
        twin_check(&p);
        twin_fill(&p, 30, 90, 2);
        twin_close(&p);
    }
}

/* Marks before, between and after flushes; back over some of them, then again, then
 * over all. */
static void marks_around_flushes(void)
{
    for (unsigned between = 1; between < 80; between += 13) {
        uint32_t depths[3];
        twin p;
        twin_open(&p);
        twin_fill(&p, 0, 20, 1);
        twin_begin(&p);
        twin_set(&p, 1, 2);
        depths[0] = mark(p.f.store);
        twin_set(&p, 2, 2);
        depths[1] = mark(p.f.store);
        for (unsigned i = 0; i < between; i++) {
            twin_put(p.f.store, i, 3);
        }
        depths[2] = mark(p.f.store);
        for (unsigned i = 0; i < between; i++) {
            twin_put(p.f.store, i + 10, i % 3);
        }
        lkv_rollback_to(p.f.store, depths[2]);
        CHECK(strstr(contents(p.f.store), "error") == NULL);
        for (unsigned i = 0; i < 20; i++) {
            twin_put(p.f.store, i + 40, 4);
        }
        lkv_rollback_to(p.f.store, depths[2]); /* again, to the same */
        twin_put(p.f.store, 3, 5);
        lkv_rollback_to(p.f.store, depths[1]);
        twin_check(&p);
        lkv_rollback_to(p.f.store, depths[1]); /* with nothing between, stale or not */
        lkv_rollback_to(p.f.store, depths[1]);
        for (unsigned i = 0; i < between; i++) {
            twin_set(&p, i + 5, 6);
        }
        twin_check(&p);
        twin_commit(&p);
        twin_check(&p);
        twin_begin(&p);
        depths[0] = mark(p.f.store);
        for (unsigned i = 0; i < 60; i++) {
            twin_put(p.f.store, i, 0);
        }
        lkv_rollback_to(p.f.store, depths[0]);
        twin_set(&p, 7, 7);
        twin_commit(&p);
        twin_close(&p);
    }
}

/* What comes after the last prepare is undone by a commit, flushed or not; and a
 * rollback to before that prepare takes it back. */
static void commit_of_the_unprepared(void)
{
    for (unsigned more = 1; more < 100; more += 16) {
        uint32_t depth;
        twin p;
        twin_open(&p);
        twin_fill(&p, 0, 30, 1);
        twin_begin(&p);
        for (unsigned i = 10; i < 10 + more; i++) {
            twin_set(&p, i, 2);
        }
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        for (unsigned i = 0; i < more; i++) {
            twin_put(p.f.store, i, i % 4);
        }
        lkv_commit(p.f.store);
        prepare_and_commit(p.plain.store);
        twin_check(&p);
        /* A prepare in between, gone back over. */
        twin_begin(&p);
        twin_set(&p, 1, 3);
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        depth = mark(p.f.store);
        for (unsigned i = 0; i < more; i++) {
            twin_put(p.f.store, i, i % 3);
        }
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        lkv_rollback_to(p.f.store, depth);
        for (unsigned i = 0; i < more; i++) {
            twin_put(p.f.store, i, 9);
        }
        lkv_commit(p.f.store);
        prepare_and_commit(p.plain.store);
        twin_check(&p);
        twin_fill(&p, 0, 40, 8);
        twin_close(&p);
    }
}

/* Opening */

static uint8_t *log_byte(twin *p, uint64_t logical)
{
    const lkv_log *log = &p->f.store->log;
    size_t i = log->count - 1;
    lkv_bytes view;
    while (log->segments[i].base > logical) {
        i--;
    }
    CHECK_INT(p->f.memory->ops->read(
                  p->f.memory, log->segments[i].number,
                  logical - log->segments[i].base + LKV_SEGMENT_HEADER, 1, &view, NULL),
              LKV_OK);
    return (uint8_t *)(uintptr_t)view.data;
}

/* What comes before the tail is not read when a store is opened, and what comes after
 * it is, from the middle of a transaction on. */
static void opening_replays_the_tail(void)
{
    for (unsigned count = 20; count < 60; count++) {
        lkv_error err = {0, ""};
        lkv_store *store;
        uint64_t tail, end;
        twin p;

        twin_open(&p);
        twin_fill(&p, 0, 10, 1);
        twin_fill(&p, 0, count, 2); /* the first values are dead */
        tail = twin_runs(&p)->tail_at;
        end = tail + twin_tail_bytes(&p);
        CHECK(tail > 0);
        *log_byte(&p, 20) ^= 1;
        CHECK_TEXT(summary_anew(&p.f), summary(p.plain.store));
        CHECK_HAS(verified(p.f.store), "segment 1, offset 64: ");
        *log_byte(&p, 20) ^= 1;
        for (uint64_t at = tail; at < end; at += 1 + (end - tail) / 50) {
            int rc;
            *log_byte(&p, at) ^= 1;
            CHECK_INT(lkv_open(p.f.storage, &p.f.os.os, &store), LKV_OK);
            rc = lkv_refresh(store, &err);
            CHECK_INT(rc, LKV_CORRUPT);
            CHECK_HAS(err.text, "segment ");
            lkv_close(store);
            *log_byte(&p, at) ^= 1;
        }
        twin_close(&p);
    }
}

/* A transaction that is flushed after each of its records in turn: the tail begins
 * there, and tells what the commit's chain needs. */
static void a_tail_anywhere(void)
{
    for (unsigned at = 0; at < 12; at++) {
        for (int prepares = 0; prepares < 2; prepares++) {
            twin p;
            twin_open(&p);
            p.f.storage->segment = p.plain.storage->segment = 900;
            twin_fill(&p, 0, 2, 1);
            twin_begin(&p);
            for (unsigned i = 0; i < 12; i++) {
                if (i == at) {
                    CHECK_INT(lkv_flush(p.f.store, &p.f.err), LKV_OK);
                }
                twin_set(&p, i, 2);
                if (prepares && i == 5) {
                    CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
                    CHECK_INT(lkv_prepare(p.plain.store, &p.plain.err), LKV_OK);
                }
            }
            twin_commit(&p);
            CHECK(twin_runs(&p)->count > 0);
            CHECK_SIZE(p.f.store->log.at.chain, p.plain.store->log.at.chain);
            twin_check(&p);
            fixture_reopen(&p.f);
            twin_fill(&p, 3, 6, 3);
            CHECK_SIZE(p.f.store->log.at.chain, p.plain.store->log.at.chain);
            twin_close(&p);
        }
    }
}

/* A tail that tells another hash, or another past, does not open. */
static void wrong_tails(void)
{
    static const size_t at[] = {108, 112, 128, 136, 160, 168, 176, 178};
    for (size_t i = 0; i < CASES(at); i++) {
        store_image image;
        twin p;
        twin_open(&p);
        twin_fill(&p, 0, 2, 1);
        twin_begin(&p);
        twin_set(&p, 5, 1);
        CHECK_INT(lkv_flush(p.f.store, &p.f.err), LKV_OK);
        twin_set(&p, 6, 1);
        twin_commit(&p);
        image_take(&image, p.f.storage);
        CHECK_TEXT(contents_of(&image), contents(p.plain.store));
        image.root[at[i]] ^= 4;
        lkv_format_u32(image.root + image.root_size - 4,
                       lkv_crc32(0, image.root, image.root_size - 4));
        if (!CHECK_HAS(contents_of(&image), "error -2: ")) {
            CHECK_SIZE(at[i], 0); /* tells which */
        }
        image_free(&image);
        twin_close(&p);
    }
}

/* A flush that fails at any allocation leaves no bytes of its run. */
static void fails_anywhere(void)
{
    unsigned failures = 0;
    for (uint64_t n = 1; failures + 1 == n; n++) {
        twin p;
        twin_open(&p);
        twin_begin(&p);
        for (unsigned i = 0; i < 20; i++) {
            twin_set(&p, i, 1);
        }
        os_fault_arm(&p.f.os, n, 0);
        failures += lkv_flush(p.f.store, &p.f.err) == LKV_NOMEM;
        os_fault_arm(&p.f.os, 0, 0);
        twin_commit(&p);
        twin_check(&p);
        CHECK_TEXT(verified(p.f.store), "ok");
        twin_close(&p);
    }
    CHECK(failures > 3);
}

/* The last number for a run may be given out; a commit that needs another fails. */
static void numbers_end(void)
{
    for (uint32_t left = 0; left < 2; left++) {
        twin p;
        twin_open(&p);
        begin(p.f.store);
        p.f.store->log.runs->next_run = LKV_RUN_LAST + 1 - left;
        CHECK_INT(put_text(p.f.store, "one", "1"), LKV_OK);
        CHECK_INT(lkv_flush(p.f.store, &p.f.err), LKV_OK);
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), left > 0 ? LKV_OK : LKV_TOO_BIG);
        if (left == 0) {
            CHECK_TEXT(p.f.err.text, "the index has no run numbers left");
        }
        lkv_rollback(p.f.store);
        CHECK_TEXT(contents(p.f.store), "");
        twin_close(&p);
    }
}

static const check_case cases[] = {CASE(by_size),
                                   CASE(fails_anywhere),
                                   CASE(numbers_end),
                                   CASE(tombstones_of_a_flush),
                                   CASE(seen_by_others),
                                   CASE(whole_rollback),
                                   CASE(marks_around_flushes),
                                   CASE(commit_of_the_unprepared),
                                   CASE(opening_replays_the_tail),
                                   CASE(a_tail_anywhere),
                                   CASE(wrong_tails)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
