/*
 * test_mark.c - going back inside a transaction. The measure is mostly the log itself:
 * what was taken back leaves the same bytes as if it had never been. F13
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two stores of one identity; the first goes back and forth, the second only does what
 * stays. */
typedef struct pair {
    fixture f, plain;
} pair;

static void pair_open(pair *p, uint32_t spill, uint32_t segment)
{
    fixture_open(&p->f, 64);
    fixture_open(&p->plain, 64);
    p->f.storage->spill = p->plain.storage->spill = spill;
    p->f.storage->segment = p->plain.storage->segment = segment;
    commit_text(p->f.store, "before", "0");
    commit_text(p->plain.store, "before", "0");
}

static void pair_close(pair *p)
{
    store_image a, b;
    image_take(&a, p->f.storage);
    image_take(&b, p->plain.storage);
    CHECK_SAME_IMAGE(&a, &b);
    CHECK_TEXT(contents(p->f.store), contents(p->plain.store));
    CHECK_TEXT(contents_anew(p->f.storage, &p->f.os.os), contents(p->f.store));
    image_free(&a);
    image_free(&b);
    fixture_close(&p->f);
    fixture_close(&p->plain);
}

static void both_put(pair *p, const char *key, size_t size, unsigned seed)
{
    CHECK_INT(put_filler(p->f.store, key, size, seed), LKV_OK);
    CHECK_INT(put_filler(p->plain.store, key, size, seed), LKV_OK);
}

static void chain_after_rollback(void)
{
    pair p;
    uint32_t depth;

    pair_open(&p, 1 << 20, 1 << 20);
    begin(p.f.store);
    begin(p.plain.store);
    both_put(&p, "a", 10, 1);
    depth = mark(p.f.store);
    CHECK_INT(put_text(p.f.store, "b", "gone"), LKV_OK);
    CHECK_INT(delete_text(p.f.store, "a"), LKV_OK);
    lkv_rollback_to(p.f.store, depth);
    both_put(&p, "c", 10, 2);
    CHECK_INT(put_text(p.f.store, "c", "gone too"), LKV_OK);
    lkv_rollback_to(p.f.store, depth);
    both_put(&p, "d", 10, 3);
    CHECK_INT(delete_text(p.plain.store, "c"), LKV_OK); /* a difference, on purpose */
    CHECK(strcmp(contents(p.f.store), contents(p.plain.store)) == 0);
    lkv_rollback(p.f.store);
    lkv_rollback(p.plain.store);
    begin(p.f.store);
    begin(p.plain.store);
    both_put(&p, "e", 10, 2);
    prepare_and_commit(p.f.store);
    prepare_and_commit(p.plain.store);
    pair_close(&p);
}

/* Marks before and after spills and new segments; back over some of them, then over
 * all. */
static void spill_and_roll_back(void)
{
    for (uint32_t spill = 1; spill <= 1000; spill = spill * 3 + 1) {
        for (uint32_t segment = 200; segment <= 4000; segment *= 2) {
            uint32_t depths[3];
            pair p;

            pair_open(&p, spill, segment);
            begin(p.f.store);
            begin(p.plain.store);
            both_put(&p, "a", 30, 1);
            depths[0] = mark(p.f.store);
            both_put(&p, "b", 31, 2);
            depths[1] = mark(p.f.store);
            for (unsigned i = 0; i < 20; i++) {
                char key[16];
                (void)snprintf(key, sizeof(key), "c%u", i);
                CHECK_INT(put_filler(p.f.store, key, 40 + i, i), LKV_OK);
            }
            depths[2] = mark(p.f.store);
            CHECK_INT(put_filler(p.f.store, "d", 500, 4), LKV_OK);
            lkv_rollback_to(p.f.store, depths[2]);
            CHECK_INT(put_filler(p.f.store, "e", 500, 5), LKV_OK);
            CHECK(strstr(contents(p.f.store), "error") == NULL);
            lkv_rollback_to(p.f.store, depths[1]);
            CHECK_TEXT(contents(p.f.store), contents(p.plain.store));
            both_put(&p, "f", 300, 6);
            both_put(&p, "g", 10, 7);
            prepare_and_commit(p.f.store);
            prepare_and_commit(p.plain.store);
            pair_close(&p);
        }
    }
}

/* Nothing is left of a transaction that spilled, rolled and was prepared. */
static void whole_rollback(void)
{
    for (int prepares = 0; prepares < 3; prepares++) {
        pair p;
        pair_open(&p, 100, 500);
        begin(p.f.store);
        for (unsigned i = 0; i < 30; i++) {
            CHECK_INT(put_filler(p.f.store, i % 2 ? "a" : "before", 60, i), LKV_OK);
            if (i % 10 == 0 && prepares > 0) {
                CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
            }
        }
        if (prepares == 2) {
            CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        }
        lkv_rollback(p.f.store);
        CHECK_TEXT(contents(p.f.store), "before=0");
        commit_text(p.f.store, "z", "1");
        commit_text(p.plain.store, "z", "1");
        pair_close(&p);
    }
}

/* What a prepare wrote is taken back by a mark before it, as when COMMIT was busy. */
static void prepare_then_back(void)
{
    for (uint32_t segment = 200; segment <= 1600; segment *= 2) {
        uint32_t depth, younger;
        pair p;

        pair_open(&p, 100, segment);
        begin(p.f.store);
        begin(p.plain.store);
        both_put(&p, "a", 50, 1);
        depth = mark(p.f.store);
        CHECK_INT(put_filler(p.f.store, "b", 90, 2), LKV_OK);
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        CHECK_INT(put_filler(p.f.store, "c", 200, 3), LKV_OK);
        younger = mark(p.f.store);
        CHECK_INT(put_filler(p.f.store, "d", 100, 4), LKV_OK);
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        CHECK_INT(delete_text(p.f.store, "b"), LKV_OK);
        lkv_rollback_to(p.f.store, younger);
        CHECK_INT(put_filler(p.f.store, "e", 10, 5), LKV_OK);
        lkv_rollback_to(p.f.store, depth);
        CHECK_TEXT(contents(p.f.store), contents(p.plain.store));
        both_put(&p, "f", 70, 6);
        prepare_and_commit(p.f.store);
        prepare_and_commit(p.plain.store);
        pair_close(&p);
    }
}

/* Several prepares are several commits; going back between them keeps the first. */
static void prepare_twice(void)
{
    uint32_t depth;
    pair p;

    pair_open(&p, 100, 300);
    begin(p.f.store);
    begin(p.plain.store);
    both_put(&p, "a", 50, 1);
    CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
    CHECK_INT(lkv_prepare(p.plain.store, &p.plain.err), LKV_OK);
    CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK); /* nothing to do */
    depth = mark(p.f.store);
    CHECK_INT(put_filler(p.f.store, "b", 200, 2), LKV_OK);
    CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
    lkv_rollback_to(p.f.store, depth);
    CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
    both_put(&p, "c", 100, 3);
    prepare_and_commit(p.f.store);
    prepare_and_commit(p.plain.store);
    pair_close(&p);
}

/* What a mark brings back, of the index: new keys, replaced ones, deleted ones. */
static void nested_marks(void)
{
    uint32_t outer, middle, inner;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    commit_text(f.store, "b", "1");
    begin(f.store);
    CHECK_INT(put_text(f.store, "c", "2"), LKV_OK);
    outer = mark(f.store);
    CHECK_INT(outer, 0);
    CHECK_INT(put_text(f.store, "a", "3"), LKV_OK);
    CHECK_INT(delete_text(f.store, "b"), LKV_OK);
    middle = mark(f.store);
    CHECK_INT(middle, 1);
    CHECK_INT(put_text(f.store, "b", "4"), LKV_OK);
    CHECK_INT(delete_text(f.store, "a"), LKV_OK);
    CHECK_INT(delete_text(f.store, "c"), LKV_OK);
    inner = mark(f.store);
    CHECK_INT(inner, 2);
    CHECK_INT(put_text(f.store, "a", "5"), LKV_OK);
    CHECK_INT(put_text(f.store, "d", "5"), LKV_OK);
    CHECK_TEXT(contents(f.store), "a=5 b=4 d=5");
    lkv_rollback_to(f.store, inner);
    CHECK_TEXT(contents(f.store), "b=4");
    lkv_rollback_to(f.store, inner); /* again */
    CHECK_TEXT(contents(f.store), "b=4");
    lkv_rollback_to(f.store, middle);
    CHECK_TEXT(contents(f.store), "a=3 c=2");
    lkv_rollback_to(f.store, inner); /* gone: nothing happens */
    CHECK_TEXT(contents(f.store), "a=3 c=2");
    inner = mark(f.store);
    CHECK_INT(inner, 2);
    CHECK_INT(put_text(f.store, "e", "6"), LKV_OK);
    lkv_release(f.store, middle); /* and the inner one */
    CHECK_TEXT(contents(f.store), "a=3 c=2 e=6");
    lkv_rollback_to(f.store, middle);
    CHECK_TEXT(contents(f.store), "a=3 c=2 e=6");
    lkv_rollback_to(f.store, outer);
    CHECK_TEXT(contents(f.store), "a=1 b=1 c=2");
    prepare_and_commit(f.store);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "a=1 b=1 c=2");
    fixture_close(&f);
}

/* Marks are a transaction's. */
static void outside_a_transaction(void)
{
    uint32_t depth = 77;
    lkv_store *unread;
    fixture f;

    fixture_open(&f, 64);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &unread), LKV_OK);
    CHECK_INT(lkv_mark(unread, &depth), LKV_MISUSE);
    lkv_rollback_to(unread, 0);
    lkv_release(unread, 0);
    lkv_close(unread);
    CHECK_INT(lkv_mark(f.store, &depth), LKV_MISUSE);
    CHECK_INT(depth, 77);
    begin(f.store);
    CHECK_INT(mark(f.store), 0);
    CHECK_INT(put_text(f.store, "a", "1"), LKV_OK);
    prepare_and_commit(f.store);
    lkv_rollback_to(f.store, 0);
    CHECK_TEXT(contents(f.store), "a=1");
    begin(f.store);
    CHECK_INT(mark(f.store), 0);
    lkv_rollback(f.store);
    lkv_rollback_to(f.store, 0);
    CHECK_TEXT(contents(f.store), "a=1");
    fixture_close(&f);
}

/* Storage is told what is gone, of the open segment and of later ones: it may have
 * cached it. */
static void storage_is_told(void)
{
    for (int rolls = 0; rolls < 2; rolls++) {
        lkv_bytes view;
        uint32_t depth;
        fixture f;

        fixture_open(&f, 64);
        f.storage->spill = 100;
        f.storage->segment = rolls ? 400 : 100000;
        begin(f.store);
        CHECK_INT(put_filler(f.store, "a", 200, 1), LKV_OK); /* 64 to 278 */
        CHECK_INT(put_filler(f.store, "b", 10, 1), LKV_OK);  /* it has 256 */
        depth = mark(f.store);
        CHECK_INT(put_filler(f.store, "c", 200, 2), LKV_OK);
        CHECK_INT(put_filler(f.store, "d", 200, 3), LKV_OK);
        lkv_rollback_to(f.store, depth);
        CHECK_INT(f.memory->ops->read(f.memory, 1, 0, 1, &view, NULL), LKV_OK);
        CHECK_SIZE(view.size, 256);
        CHECK_INT(f.memory->ops->read(f.memory, 2, 0, 1, &view, NULL), LKV_OK);
        CHECK_SIZE(view.size, 0);
        lkv_rollback(f.store);
        CHECK_INT(f.memory->ops->read(f.memory, 1, 0, 1, &view, NULL), LKV_OK);
        CHECK_SIZE(view.size, 64);
        fixture_close(&f);
    }
}

/* Going back to one mark again and again keeps one copy of what it needs. */
static void memory_of_a_loop(void)
{
    for (uint32_t segment = 1000; segment <= 1000000; segment *= 1000) {
        uint64_t first = 0;
        uint32_t depth;
        fixture f;

        fixture_open(&f, 64);
        f.storage->spill = 500;
        f.storage->segment = segment;
        begin(f.store);
        CHECK_INT(put_filler(f.store, "a", 300, 1), LKV_OK);
        depth = mark(f.store);
        for (unsigned i = 0; i < 100; i++) {
            for (unsigned k = 0; k < 5; k++) {
                CHECK_INT(put_filler(f.store, "b", 300, k), LKV_OK);
            }
            lkv_rollback_to(f.store, depth);
            first = i == 2 ? f.os.live : first;
        }
        CHECK_SIZE(f.os.live, first);
        prepare_and_commit(f.store);
        CHECK_TEXT(contents_anew(f.storage, &f.os.os), contents(f.store));
        fixture_close(&f);
    }
}

/* Two marks share a copy; after going back to the first, other bytes come where the
 * second had its own, and a new mark stands there. */
static void other_bytes_for_a_second_mark(void)
{
    uint32_t first, second;
    pair p;

    pair_open(&p, 600, 100000);
    begin(p.f.store);
    begin(p.plain.store);
    both_put(&p, "a", 100, 1);
    first = mark(p.f.store);
    CHECK_INT(put_filler(p.f.store, "b", 200, 2), LKV_OK);
    second = mark(p.f.store);
    CHECK_INT(put_filler(p.f.store, "c", 900, 3), LKV_OK);
    CHECK_INT(put_filler(p.f.store, "d", 900, 4), LKV_OK); /* spills */
    lkv_rollback_to(p.f.store, first);
    both_put(&p, "b", 200, 5);
    CHECK_INT(mark(p.f.store), second);
    CHECK_INT(put_filler(p.f.store, "c", 900, 6), LKV_OK);
    CHECK_INT(put_filler(p.f.store, "d", 900, 7), LKV_OK);
    lkv_rollback_to(p.f.store, second);
    CHECK_TEXT(contents(p.f.store), contents(p.plain.store));
    prepare_and_commit(p.f.store);
    prepare_and_commit(p.plain.store);
    pair_close(&p);
}

/* Random marks, puts, deletes, prepares; then the same without what was taken back. */
typedef struct step {
    enum { STEP_PUT, STEP_DELETE, STEP_PREPARE } kind;
    char key[8];
    size_t size;
    unsigned seed;
} step;

static void do_step(lkv_store *store, const step *at)
{
    lkv_error err;
    if (at->kind == STEP_PUT) {
        CHECK_INT(put_filler(store, at->key, at->size, at->seed), LKV_OK);
    } else if (at->kind == STEP_DELETE) {
        CHECK(delete_text(store, at->key) >= 0);
    } else {
        CHECK_INT(lkv_prepare(store, &err), LKV_OK);
    }
}

static step random_step(uint64_t *random)
{
    step made = {STEP_PUT, "", 0, (unsigned)check_below(random, 1000)};
    uint64_t kind = check_below(random, 20);
    made.kind = kind == 0 ? STEP_PREPARE : kind < 4 ? STEP_DELETE : STEP_PUT;
    (void)snprintf(made.key, sizeof(made.key), "k%u",
                   (unsigned)check_below(random, 12));
    made.size = check_below(random, check_below(random, 10) == 0 ? 900 : 60);
    return made;
}

static void one_random_transaction(pair *p, uint64_t *random)
{
    step done[64] = {{STEP_PUT, "", 0, 0}};
    size_t count = 0, at_mark[8] = {0};
    uint32_t marks = 0;

    begin(p->f.store);
    for (uint64_t i = check_below(random, 60); i > 0; i--) {
        uint64_t what = check_below(random, 12);
        if (what == 0 && marks < CASES(at_mark)) {
            at_mark[marks] = count;
            CHECK_INT(mark(p->f.store), marks);
            marks++;
        } else if (what == 1 && marks > 0) {
            uint32_t depth = (uint32_t)check_below(random, marks);
            lkv_rollback_to(p->f.store, depth);
            count = at_mark[depth];
            marks = depth + 1;
        } else if (what == 2 && marks > 0) {
            marks = (uint32_t)check_below(random, marks);
            lkv_release(p->f.store, marks);
        } else {
            done[count] = random_step(random);
            do_step(p->f.store, &done[count++]);
        }
    }
    if (check_below(random, 5) == 0) {
        lkv_rollback(p->f.store);
        return;
    }
    prepare_and_commit(p->f.store);
    begin(p->plain.store);
    for (size_t i = 0; i < count; i++) {
        do_step(p->plain.store, &done[i]);
    }
    prepare_and_commit(p->plain.store);
}

static void same_bytes_as_without(void)
{
    uint64_t random = check_seed();
    int rounds = check_long() ? 40000 : 4000;
    for (int i = 0; i < rounds && check_failures() == 0; i++) {
        pair p;
        uint32_t spill = 1 + (uint32_t)check_below(&random, 700);
        pair_open(&p, spill, 200 + (uint32_t)check_below(&random, 1500));
        for (int k = 0; k < 4; k++) {
            one_random_transaction(&p, &random);
        }
        pair_close(&p);
    }
}

static const check_case cases[] = {
    CASE(chain_after_rollback),  CASE(spill_and_roll_back),
    CASE(whole_rollback),        CASE(prepare_then_back),
    CASE(prepare_twice),         CASE(nested_marks),
    CASE(outside_a_transaction), CASE(storage_is_told),
    CASE(memory_of_a_loop),      CASE(other_bytes_for_a_second_mark),
    CASE(same_bytes_as_without)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
