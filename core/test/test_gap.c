/*
 * test_gap.c - what a search that walked through many dead keys is remembered by, and
 * what makes it forgotten.
 */
#include "fixture.h"
#include "gap.h"
#include "store.h"

#include <stdio.h>
#include <string.h>

#define ROWS 300

static void name(char *key, int i)
{
    snprintf(key, 8, "k%04d", i);
}

static void put_rows(lkv_store *store, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[8];
        name(key, i);
        CHECK_INT(put_text(store, key, "v"), LKV_OK);
    }
}

static void delete_rows(lkv_store *store, int from, int to)
{
    for (int i = from; i < to; i++) {
        char key[8];
        name(key, i);
        CHECK_INT(delete_text(store, key), LKV_OK);
    }
}

/* The key that a search comes to ("" for none), and how many dead ones it passed. */
static uint32_t search(lkv_store *store, const char *from, enum lkv_seek how,
                       const char *expected)
{
    char got[100] = "";
    lkv_cursor *cursor;
    uint32_t dead;
    int rc, forward = how == LKV_SEEK_GE || how == LKV_SEEK_GT;
    CHECK_INT(lkv_cursor_open(store, &cursor), LKV_OK);
    rc = from != NULL ? lkv_cursor_seek(cursor, text_bytes(from), how, NULL)
         : forward    ? lkv_cursor_first(cursor, NULL)
                      : lkv_cursor_last(cursor, NULL);
    CHECK_INT(rc, expected[0] != 0 ? LKV_OK : LKV_ABSENT);
    if (rc == LKV_OK) {
        lkv_bytes key = lkv_cursor_key(cursor);
        memcpy(got, key.data, key.size);
    }
    CHECK_TEXT(got, expected);
    dead = cursor->dead;
    lkv_cursor_close(cursor);
    return dead;
}

static uint32_t first(lkv_store *store, const char *expected)
{
    return search(store, NULL, LKV_SEEK_GE, expected);
}

/* k0000 to k0299, of which the first 200 are dead. */
static void open_queue(fixture *f)
{
    fixture_open(f, 512);
    begin(f->store);
    put_rows(f->store, 0, ROWS);
    prepare_and_commit(f->store);
    begin(f->store);
    delete_rows(f->store, 0, 200);
    prepare_and_commit(f->store);
    CHECK_SIZE(first(f->store, "k0200"), 200);
    CHECK_SIZE(first(f->store, "k0200"), 0);
}

/* Rows go in front and come at the end, in all kinds of transactions. */
static void queue(void)
{
    fixture f;
    open_queue(&f);
    f.store->flush_size = 2000;
    f.store->gaps.least = 1;
    for (int i = 200; i < 1200; i++) {
        char key[8], next[8];
        int tries = i % 50 == 0 ? 2 : 1;
        while (tries-- > 0) {
            begin(f.store);
            put_rows(f.store, i + 100, i + 101);
            delete_rows(f.store, i, i + 1);
            name(next, i + 1);
            CHECK(first(f.store, next) <= 1);
            if (tries == 0) {
                prepare_and_commit(f.store);
            } else {
                lkv_rollback(f.store);
                name(key, i);
                CHECK(first(f.store, key) > 1); /* all of it is looked at again */
            }
        }
        CHECK(first(f.store, next) <= 1);
    }
    CHECK(f.store->log.runs->next_run > LKV_RUN_FIRST + 5);
    fixture_close(&f);
}

/* What a search beyond a row has passed does not begin with that row. */
static void beyond_a_row(void)
{
    fixture f;

    fixture_open(&f, 512);
    begin(f.store);
    put_rows(f.store, 0, ROWS);
    prepare_and_commit(f.store);
    begin(f.store);
    delete_rows(f.store, 1, 200);
    prepare_and_commit(f.store);
    CHECK_SIZE(search(f.store, "k0000", LKV_SEEK_GT, "k0200"), 199);
    (void)search(f.store, "k0000", LKV_SEEK_GE, "k0000");
    (void)first(f.store, "k0000");
    CHECK_SIZE(search(f.store, "k0001", LKV_SEEK_GE, "k0200"), 199);
    CHECK_SIZE(search(f.store, "k0001", LKV_SEEK_GE, "k0200"), 0);
    fixture_close(&f);
}

/* Queues side by side, and more of them than are remembered: each look is short where
 * they are, and right in any case. */
static void queues(void)
{
    for (int count = 2; count <= 40; count += 19) {
        uint64_t passed = 0;
        int looks = 0;
        fixture f;

        fixture_open(&f, 512);
        f.store->gaps.least = 4;
        lkv_auto_compact_fallback(f.store, 0);
        for (int i = 0; i < 60; i++) {
            for (int queue = 0; queue < count; queue++) {
                char key[16], next[16], from[8];
                snprintf(key, sizeof(key), "q%02d:%03d", queue, i);
                commit_text(f.store, key, "v");
                if (i < 10) {
                    continue;
                }
                snprintf(key, sizeof(key), "q%02d:%03d", queue, i - 10);
                snprintf(next, sizeof(next), "q%02d:%03d", queue, i - 9);
                snprintf(from, sizeof(from), "q%02d:", queue);
                commit_text(f.store, key, NULL);
                passed += search(f.store, from, LKV_SEEK_GE, next);
                looks++;
            }
        }
        CHECK(count > (int)LKV_GAPS || passed < 3u * (unsigned)looks);
        fixture_close(&f);
    }
}

/* A row that comes into it is found, by whomever it was put, and one that comes back.
 */
static void rows_within(void)
{
    lkv_store *other;
    uint32_t depth;
    fixture f;

    open_queue(&f);
    commit_text(f.store, "k0100", "again");
    CHECK_SIZE(first(f.store, "k0100"), 0);
    CHECK_SIZE(search(f.store, "k0050", LKV_SEEK_GE, "k0100"), 0);
    CHECK(search(f.store, "k0101", LKV_SEEK_GE, "k0200") > 90);
    CHECK_SIZE(search(f.store, "k0150", LKV_SEEK_GT, "k0200"), 0);
    commit_text(f.store, "k0100", NULL);
    (void)first(f.store, "k0200");

    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    CHECK_INT(lkv_refresh(other, NULL), LKV_OK);
    commit_text(other, "k0120", "by another");
    commit_text(other, "k0130", "by another");
    CHECK_INT(lkv_refresh(f.store, NULL), LKV_OK);
    CHECK_SIZE(first(f.store, "k0120"), 0);
    commit_text(other, "k0120", NULL);
    CHECK_INT(lkv_refresh(f.store, NULL), LKV_OK);
    (void)first(f.store, "k0130");
    begin(other); /* with another root */
    CHECK_INT(put_text(other, "k0110", "by another"), LKV_OK);
    CHECK_INT(lkv_flush(other, NULL), LKV_OK);
    prepare_and_commit(other);
    lkv_close(other);
    CHECK_INT(lkv_refresh(f.store, NULL), LKV_OK);
    (void)first(f.store, "k0110");

    begin(f.store);
    depth = mark(f.store);
    delete_rows(f.store, 200, 210);
    CHECK_INT(delete_text(f.store, "k0110"), LKV_OK);
    CHECK_INT(delete_text(f.store, "k0130"), LKV_OK);
    (void)first(f.store, "k0210");
    lkv_rollback_to(f.store, depth);
    (void)first(f.store, "k0110");
    lkv_rollback(f.store);
    fixture_close(&f);
}

static void backward(void)
{
    fixture f;

    open_queue(&f);
    CHECK_SIZE(search(f.store, "k0200", LKV_SEEK_LT, ""), 0);
    CHECK_SIZE(search(f.store, "k0199", LKV_SEEK_LE, ""), 0);
    (void)search(f.store, "k0200", LKV_SEEK_LE, "k0200");
    begin(f.store);
    delete_rows(f.store, 210, ROWS);
    CHECK_SIZE(search(f.store, NULL, LKV_SEEK_LT, "k0209"), 90);
    CHECK_SIZE(search(f.store, NULL, LKV_SEEK_LT, "k0209"), 0);
    CHECK_SIZE(search(f.store, "k0250", LKV_SEEK_LE, "k0209"), 0);
    CHECK_SIZE(search(f.store, "k0209", LKV_SEEK_GT, ""), 90);
    CHECK_INT(put_text(f.store, "k0280", "v"), LKV_OK);
    CHECK_SIZE(search(f.store, NULL, LKV_SEEK_LT, "k0280"), 19);
    CHECK_SIZE(search(f.store, "k0250", LKV_SEEK_GE, "k0280"), 0);
    delete_rows(f.store, 200, 210);
    CHECK_SIZE(search(f.store, "k0280", LKV_SEEK_LT, ""), 210);
    CHECK_SIZE(search(f.store, "k0280", LKV_SEEK_LT, ""), 0);
    delete_rows(f.store, 280, 281);
    CHECK(first(f.store, "") > 0); /* up to the end */
    CHECK_SIZE(first(f.store, ""), 0);
    CHECK_INT(put_text(f.store, "z", "v"), LKV_OK);
    CHECK_SIZE(first(f.store, "z"), 0);
    CHECK_INT(put_text(f.store, "a", "v"), LKV_OK);
    CHECK_SIZE(first(f.store, "a"), 0);
    prepare_and_commit(f.store);
    fixture_close(&f);
}

/* Keys too long to be kept. */
static void long_keys(void)
{
    char longer[LKV_GAP_KEY + 2] = "", longest[LKV_GAP_KEY + 1] = "";
    fixture f;

    memset(longer, 'l', LKV_GAP_KEY + 1);
    memset(longest, 'k', LKV_GAP_KEY);
    open_queue(&f);
    commit_text(f.store, longer, "v");
    commit_text(f.store, longest, "v");
    begin(f.store);
    delete_rows(f.store, 200, ROWS);
    CHECK(first(f.store, longest) > 0);
    CHECK_SIZE(first(f.store, longest), 0);
    CHECK_INT(delete_text(f.store, longest), LKV_OK);
    CHECK_SIZE(first(f.store, longer), 1);
    CHECK_SIZE(first(f.store, longer), 1); /* its end cannot be said */
    CHECK_SIZE(search(f.store, longer, LKV_SEEK_LT, ""), 301);
    CHECK_INT(delete_text(f.store, longer), LKV_OK);
    CHECK(first(f.store, "") > 0);
    CHECK_INT(put_text(f.store, longer, "v"), LKV_OK);
    CHECK(first(f.store, longer) > 0);
    prepare_and_commit(f.store);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(queue),    CASE(beyond_a_row),
                                   CASE(queues),   CASE(rows_within),
                                   CASE(backward), CASE(long_keys)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
