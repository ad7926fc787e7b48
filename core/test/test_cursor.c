/*
 * test_cursor.c - walking a store that changes under the walk.
 */
#include "fixture.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lkv_cursor *open_cursor(fixture *f)
{
    lkv_cursor *cursor = NULL;
    CHECK_INT(lkv_cursor_open(f->store, &cursor), LKV_OK);
    return cursor;
}

static unsigned tag_of(lkv_cursor *cursor)
{
    lkv_error err = {0, ""};
    unsigned tag = 0;
    CHECK_INT(lkv_cursor_tag(cursor, &tag, &err), LKV_OK);
    return tag;
}

/* The row that the cursor stands on as "key=value"; "" for a row that is no more. */
static const char *here(lkv_cursor *cursor)
{
    static char texts[4][100];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    lkv_error err = {0, ""};
    lkv_bytes value = {NULL, 0}, key;
    int rc = lkv_cursor_value(cursor, &value, &err);

    key = lkv_cursor_key(cursor);
    if (rc == LKV_OK) {
        (void)snprintf(text, sizeof(texts[0]), "%.*s=%.*s", (int)key.size,
                       (const char *)key.data, (int)value.size,
                       (const char *)value.data);
    } else {
        (void)snprintf(text, sizeof(texts[0]), "%s%s",
                       rc == LKV_ABSENT ? "" : "error: ", err.text);
    }
    return text;
}

static const char *moved(lkv_cursor *cursor, int rc)
{
    return rc == LKV_OK ? here(cursor) : rc == LKV_ABSENT ? "end" : "error";
}

#define NEXT(cursor) moved(cursor, lkv_cursor_next(cursor, NULL))
#define PREV(cursor) moved(cursor, lkv_cursor_prev(cursor, NULL))
#define SEEK(cursor, key, how)                                                         \
    moved(cursor, lkv_cursor_seek(cursor, text_bytes(key), how, NULL))

static void fill(fixture *f)
{
    fixture_open(f, 64);
    begin(f->store);
    CHECK_INT(put_text(f->store, "b", "1"), LKV_OK);
    CHECK_INT(put_text(f->store, "d", "1"), LKV_OK);
    CHECK_INT(put_text(f->store, "f", "1"), LKV_OK);
    prepare_and_commit(f->store);
}

static void seeks(void)
{
    lkv_cursor *c;
    fixture f;

    fill(&f);
    c = open_cursor(&f);
    CHECK_TEXT(NEXT(c), "end"); /* it stands nowhere */
    CHECK_TEXT(PREV(c), "end");
    CHECK_TEXT(here(c), "");
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GE), "d=1");
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GT), "f=1");
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_LE), "d=1");
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_LT), "b=1");
    CHECK_TEXT(SEEK(c, "c", LKV_SEEK_GE), "d=1");
    CHECK_TEXT(SEEK(c, "c", LKV_SEEK_GT), "d=1");
    CHECK_TEXT(SEEK(c, "c", LKV_SEEK_LE), "b=1");
    CHECK_TEXT(SEEK(c, "c", LKV_SEEK_LT), "b=1");
    CHECK_TEXT(SEEK(c, "", LKV_SEEK_GE), "b=1");
    CHECK_TEXT(SEEK(c, "", LKV_SEEK_LE), "end");
    CHECK_TEXT(SEEK(c, "f", LKV_SEEK_GT), "end");
    CHECK_TEXT(here(c), "");
    CHECK_TEXT(SEEK(c, "z", LKV_SEEK_LE), "f=1");
    CHECK_TEXT(NEXT(c), "end");
    CHECK_TEXT(here(c), "");
    CHECK_TEXT(PREV(c), "end");
    CHECK_TEXT(moved(c, lkv_cursor_first(c, NULL)), "b=1");
    CHECK_TEXT(moved(c, lkv_cursor_last(c, NULL)), "f=1");
    CHECK_TEXT(PREV(c), "d=1");
    CHECK_TEXT(NEXT(c), "f=1");
    lkv_cursor_close(c);
    fixture_close(&f);
}

/* Tombstones of the open transaction are no rows, wherever they lie. */
static void over_tombstones(void)
{
    for (unsigned gone = 0; gone < 8; gone++) {
        static const char *const keys[] = {"b", "d", "f"};
        char forward[32] = "", back[32] = "";
        lkv_cursor *c;
        fixture f;
        int rc;

        fill(&f);
        c = open_cursor(&f);
        begin(f.store);
        for (unsigned i = 0; i < 3; i++) {
            if (gone >> i & 1) {
                CHECK_INT(delete_text(f.store, keys[i]), LKV_OK);
            } else {
                strncat(forward, keys[i], 1);
            }
        }
        for (unsigned i = 3; i-- > 0;) {
            strncat(back, gone >> i & 1 ? "" : keys[i], 1);
        }
        for (int pass = 0; pass < 2; pass++) {
            char got[32] = "";
            for (rc = lkv_cursor_first(c, NULL); rc == LKV_OK;
                 rc = lkv_cursor_next(c, NULL)) {
                strncat(got, lkv_cursor_key(c).data, 1);
            }
            CHECK_TEXT(got, forward);
            got[0] = '\0';
            for (rc = lkv_cursor_last(c, NULL); rc == LKV_OK;
                 rc = lkv_cursor_prev(c, NULL)) {
                strncat(got, lkv_cursor_key(c).data, 1);
            }
            CHECK_TEXT(got, back);
            rc = lkv_cursor_seek(c, text_bytes("d"), LKV_SEEK_GE, NULL);
            CHECK_INT(rc, (gone & 6) == 6 ? LKV_ABSENT : LKV_OK);
            rc = lkv_cursor_seek(c, text_bytes("d"), LKV_SEEK_LE, NULL);
            CHECK_INT(rc, (gone & 3) == 3 ? LKV_ABSENT : LKV_OK);
            if (pass == 0) {
                prepare_and_commit(f.store);
            }
        }
        lkv_cursor_close(c);
        fixture_close(&f);
    }
}

/* The row that it stands on goes, or comes again, or neighbours come and go. */
static void changes_under_it(void)
{
    lkv_cursor *c, *back;
    fixture f;

    fill(&f);
    c = open_cursor(&f);
    back = open_cursor(&f);
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GE), "d=1");
    CHECK_TEXT(SEEK(back, "d", LKV_SEEK_GE), "d=1");
    begin(f.store);
    CHECK_INT(put_text(f.store, "d", "2"), LKV_OK);
    CHECK_TEXT(here(c), "d=1"); /* as it was when the cursor came */
    CHECK_INT(delete_text(f.store, "d"), LKV_OK);
    CHECK_TEXT(here(c), "d=1");
    CHECK_INT(put_text(f.store, "c", "2"), LKV_OK);
    CHECK_INT(put_text(f.store, "e", "2"), LKV_OK);
    CHECK_TEXT(here(c), "d=1");
    CHECK_BYTES(lkv_cursor_key(c).data, lkv_cursor_key(c).size, "d", 1);
    CHECK_TEXT(NEXT(c), "e=2");
    CHECK_TEXT(PREV(back), "c=2");
    CHECK_INT(put_text(f.store, "d", "3"), LKV_OK);
    CHECK_TEXT(NEXT(back), "d=3");
    CHECK_TEXT(NEXT(c), "f=1");
    CHECK_INT(delete_text(f.store, "f"), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_TEXT(here(c), "f=1"); /* gone from the index, not from the log */
    CHECK_TEXT(NEXT(c), "end");
    CHECK_TEXT(NEXT(back), "e=2");
    lkv_cursor_close(c);
    CHECK_TEXT(NEXT(back), "end");
    lkv_cursor_close(back);
    fixture_close(&f);
}

/* After a rollback: key, tag and value of what is there then. */
static void rollbacks_under_it(void)
{
    lkv_row row = {text_bytes("d"), text_bytes("3"), 2};
    lkv_cursor *c, *fresh;
    uint32_t depth;
    fixture f;

    fill(&f);
    c = open_cursor(&f);
    fresh = open_cursor(&f);
    begin(f.store);
    CHECK_INT(put_text(f.store, "d", "2"), LKV_OK);
    depth = mark(f.store);
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
    CHECK_INT(put_text(f.store, "e", "3"), LKV_OK);
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GE), "d=3");
    CHECK_INT(tag_of(c), 2);
    CHECK_TEXT(SEEK(fresh, "e", LKV_SEEK_GE), "e=3");
    lkv_rollback_to(f.store, depth);
    CHECK_INT(tag_of(c), 0);
    CHECK_TEXT(here(c), "d=2");
    CHECK_INT(tag_of(c), 0);
    CHECK_TEXT(here(fresh), "");
    CHECK_TEXT(PREV(fresh), "d=2");
    lkv_rollback(f.store);
    CHECK_TEXT(here(c), "d=1");
    CHECK_TEXT(here(fresh), "d=1");
    CHECK_TEXT(NEXT(c), "f=1");
    begin(f.store);
    CHECK_INT(put_filler(f.store, "f", 200, 1), LKV_OK);
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
    CHECK_TEXT(here(c), "f=1");
    lkv_commit(f.store);
    CHECK_TEXT(here(c), "f=1");
    lkv_cursor_close(fresh);
    lkv_cursor_close(c);
    CHECK(f.store->cursors == NULL);
    fixture_close(&f);
}

/* Other handles' commits, and another log. */
static void refreshes_under_it(void)
{
    lkv_store *other;
    lkv_cursor *c;
    fixture f;

    fill(&f);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    c = open_cursor(&f);
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GE), "d=1");
    commit_text(other, "d", "2");
    commit_text(other, "e", "2");
    CHECK_TEXT(here(c), "d=1");
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_TEXT(here(c), "d=2");
    CHECK_TEXT(NEXT(c), "e=2");
    CHECK_INT(lkv_create(f.storage, &f.os.os, text_bytes(""), &f.err), LKV_OK);
    commit_text(other, "g", "3");
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_TEXT(here(c), "");
    CHECK_TEXT(NEXT(c), "g=3");
    lkv_cursor_close(c);
    lkv_close(other);
    fixture_close(&f);
}

/* No memory to keep its place: it says so, and can be placed again. */
static void place_lost(void)
{
    lkv_cursor *c, *other;
    fixture f;

    fill(&f);
    other = open_cursor(&f);
    CHECK_TEXT(SEEK(other, "d", LKV_SEEK_GE), "d=1");
    begin(f.store);
    CHECK_INT(put_text(f.store, "x", "1"), LKV_OK); /* everything else has room now */
    c = open_cursor(&f);
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GE), "d=1");
    os_fault_arm(&f.os, 1, 1);
    CHECK_INT(put_text(f.store, "c", "1"), LKV_OK);
    os_fault_arm(&f.os, 0, 0);
    CHECK_INT(lkv_cursor_next(c, NULL), LKV_NOMEM);
    CHECK_INT(lkv_cursor_prev(c, NULL), LKV_NOMEM);
    {
        lkv_bytes value;
        CHECK_INT(lkv_cursor_value(c, &value, &f.err), LKV_NOMEM);
    }
    CHECK_TEXT(moved(c, lkv_cursor_first(c, NULL)), "b=1");
    CHECK_TEXT(NEXT(c), "c=1");
    lkv_rollback(f.store);
    lkv_cursor_close(c);
    lkv_cursor_close(other);
    fixture_close(&f);
}

/* Whatever may bring blocks in makes a value void that another cursor gave out. */
static void values_become_void(void)
{
    lkv_cursor *c;
    uint64_t views;
    fixture f;

    fill(&f);
    c = open_cursor(&f);
    views = lkv_views(f.store);
    CHECK_INT(lkv_cursor_seek(c, text_bytes("d"), LKV_SEEK_GE, NULL), LKV_OK);
    CHECK(lkv_views(f.store) != views);
    CHECK_INT(lkv_cursor_first(c, NULL), LKV_OK);
    views = lkv_views(f.store);
    CHECK_INT(lkv_cursor_next(c, NULL), LKV_OK);
    CHECK(lkv_views(f.store) != views);
    views = lkv_views(f.store);
    CHECK_INT(lkv_exists(f.store, text_bytes("nobody"), NULL), LKV_ABSENT);
    CHECK(lkv_views(f.store) != views);
    lkv_cursor_close(c);
    fixture_close(&f);
}

/* A cursor that is made of the memory of one that was closed stands nowhere. */
static void opened_again(void)
{
    lkv_bytes value;
    lkv_cursor *c;
    fixture f;

    fill(&f);
    c = open_cursor(&f);
    CHECK_TEXT(SEEK(c, "d", LKV_SEEK_GE), "d=1");
    lkv_cursor_close(c);
    c = open_cursor(&f);
    CHECK_INT(lkv_cursor_next(c, NULL), LKV_ABSENT);
    CHECK_INT(lkv_cursor_value(c, &value, &f.err), LKV_ABSENT);
    CHECK_INT(lkv_cursor_find(c, text_bytes("d"), &f.err), LKV_OK);
    lkv_cursor_close(c);
    c = open_cursor(&f);
    CHECK_INT(lkv_cursor_prev(c, NULL), LKV_ABSENT);
    CHECK_TEXT(moved(c, lkv_cursor_first(c, NULL)), "b=1");
    lkv_cursor_close(c);
    fixture_close(&f);
}

/* Bytes that are another row's are not taken for this one's. */
static void damage_under_it(void)
{
    lkv_bytes view;
    lkv_cursor *c;
    uint8_t *log;
    fixture f;

    fill(&f);
    c = open_cursor(&f);
    CHECK_TEXT(SEEK(c, "b", LKV_SEEK_GE), "b=1");
    CHECK_INT(f.memory->ops->read(f.memory, 1, 0, 200, &view, NULL), LKV_OK);
    log = (uint8_t *)(uintptr_t)view.data;
    memcpy(log + 64, log + 79, 15);
    CHECK_TEXT(here(c), "error: segment 1, offset 64: the record has another key than "
                        "the index");
    log[70] ^= 1;
    CHECK_HAS(here(c), "error: segment 1, offset 64: ");
    lkv_cursor_close(c);
    fixture_close(&f);
}

/* Many cursors walk while keys come and go at random: each sees keys in order, none
 * twice, none that never was, and every key that stayed throughout. */
#define KEYS 300u

typedef struct walker {
    lkv_cursor *cursor;
    int forward;
    unsigned at;           /* the last key's number */
    uint8_t through[KEYS]; /* key was there ever since the walk began, not yet seen */
} walker;

static void key_of(unsigned i, char *out)
{
    (void)snprintf(out, 16, "%05u", i);
}

static unsigned number_of(lkv_bytes key)
{
    char text[16] = "";
    CHECK_SIZE(key.size, 5);
    memcpy(text, key.data, key.size < 15 ? key.size : 15);
    return (unsigned)strtoul(text, NULL, 10);
}

static void start(walker *w, uint64_t *random, const uint8_t *there)
{
    int rc;
    w->forward = (int)check_below(random, 2);
    rc = w->forward ? lkv_cursor_first(w->cursor, NULL)
                    : lkv_cursor_last(w->cursor, NULL);
    memcpy(w->through, there, KEYS);
    w->at = KEYS;
    if (rc == LKV_OK) {
        w->at = number_of(lkv_cursor_key(w->cursor));
        CHECK(there[w->at]);
        for (unsigned i = 0; i < KEYS; i++) {
            CHECK(!(w->forward ? i < w->at : i > w->at) || !there[i]);
        }
    }
}

static void go(walker *w, uint64_t *random, const uint8_t *there)
{
    int rc = w->forward ? lkv_cursor_next(w->cursor, NULL)
                        : lkv_cursor_prev(w->cursor, NULL);
    unsigned from = w->at, to;

    if (w->at == KEYS) {
        CHECK_INT(rc, LKV_ABSENT);
        start(w, random, there);
        return;
    }
    CHECK(rc == LKV_OK || rc == LKV_ABSENT);
    to = w->forward ? KEYS : 0;
    if (rc == LKV_OK) {
        to = number_of(lkv_cursor_key(w->cursor));
        CHECK(w->forward ? to > from : to < from);
        CHECK(there[to]);
        w->at = to;
    }
    for (unsigned i = w->forward ? from + 1 : to + (rc == LKV_OK);
         i < (w->forward ? to : from); i++) {
        CHECK(!w->through[i]);
    }
    if (rc == LKV_ABSENT) {
        start(w, random, there);
    }
}

static void walk_through_changes(uint32_t flush_size)
{
    uint64_t random = check_seed();
    uint8_t there[KEYS] = {0}, at_begin[KEYS];
    walker walkers[6];
    fixture f;
    unsigned steps = check_long() ? 400000 : 40000;

    fixture_open(&f, 64);
    f.storage->spill = 2000;
    f.store->flush_size = flush_size;
    f.store->gaps.least = 2;
    memset(walkers, 0, sizeof(walkers));
    for (size_t i = 0; i < CASES(walkers); i++) {
        walkers[i].cursor = open_cursor(&f);
        start(&walkers[i], &random, there);
    }
    begin(f.store);
    memcpy(at_begin, there, KEYS);
    for (unsigned step = 0; step < steps && check_failures() == 0; step++) {
        uint64_t what = check_below(&random, 200);
        unsigned i = (unsigned)check_below(&random, KEYS);
        char key[16];
        key_of(i, key);
        if (what < 50) {
            CHECK_INT(put_text(f.store, key, "v"), LKV_OK);
            there[i] = 1;
        } else if (what < 95) {
            CHECK_INT(delete_text(f.store, key), there[i] ? LKV_OK : LKV_ABSENT);
            there[i] = 0;
        } else if (what == 95) {
            prepare_and_commit(f.store);
            begin(f.store);
            memcpy(at_begin, there, KEYS);
        } else if (what == 96) {
            lkv_rollback(f.store);
            memcpy(there, at_begin, KEYS);
            begin(f.store);
        } else {
            go(&walkers[what % CASES(walkers)], &random, there);
        }
        for (size_t k = 0; what < 97 && k < CASES(walkers); k++) {
            for (unsigned n = 0; n < KEYS; n++) {
                walkers[k].through[n] &= there[n];
            }
        }
    }
    lkv_rollback(f.store);
    for (size_t i = 0; i < CASES(walkers); i++) {
        lkv_cursor_close(walkers[i].cursor);
    }
    fixture_close(&f);
}

/* The same where the keys are in memory, and where they become runs and parts. */
static void walks_through_changes(void)
{
    walk_through_changes(LKV_FLUSH_SIZE);
    walk_through_changes(1000);
    walk_through_changes(150);
}

/* When there is no memory to keep the key of a row that goes from under the cursor, it
 * says so, and does not give the key that it kept before. */
static void key_is_lost(void)
{
    const char *is_long =
        "a key that is longer than what a cursor keeps without asking "
        "for memory a second time, and so it has to";
    unsigned lost = 0;

    for (uint64_t n = 1; n < 30; n++) {
        lkv_error err = {0, ""};
        unsigned tag = 9;
        lkv_cursor *c;
        fixture f;
        int rc;

        fixture_open(&f, 64);
        begin(f.store);
        CHECK_INT(put_text(f.store, "a", "1"), LKV_OK);
        CHECK_INT(put_text(f.store, is_long, "2"), LKV_OK);
        c = open_cursor(&f);
        CHECK_INT(lkv_cursor_first(c, &err), LKV_OK);
        CHECK_INT(put_text(f.store, "z", "3"), LKV_OK); /* keeps "a" */
        CHECK_INT(lkv_cursor_next(c, &err), LKV_OK);
        os_fault_arm(&f.os, n, 0);
        rc = put_text(f.store, "y", "4");
        os_fault_arm(&f.os, 0, 0);
        CHECK(rc == LKV_OK || rc == LKV_NOMEM);
        rc = lkv_cursor_tag(c, &tag, &err);
        if (rc == LKV_NOMEM) {
            lost++;
        } else {
            CHECK_INT(rc, LKV_OK);
            CHECK_BYTES(lkv_cursor_key(c).data, lkv_cursor_key(c).size, is_long,
                        strlen(is_long));
        }
        CHECK_INT(tag, 0);
        lkv_cursor_close(c);
        lkv_rollback(f.store);
        fixture_close(&f);
    }
    CHECK(lost > 0);
}

static const check_case cases[] = {CASE(key_is_lost),          CASE(seeks),
                                   CASE(over_tombstones),      CASE(changes_under_it),
                                   CASE(rollbacks_under_it),   CASE(refreshes_under_it),
                                   CASE(place_lost),           CASE(opened_again),
                                   CASE(values_become_void),   CASE(damage_under_it),
                                   CASE(walks_through_changes)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
