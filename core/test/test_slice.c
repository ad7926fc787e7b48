/*
 * test_slice.c - what commits pay for: runs are merged and garbage goes, whoever
 * writes, with failures everywhere and with damage.
 */
#include "layers.h"
#include "twin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs stay few, and what they were made of goes, in transactions of every size. */
/* The list of garbage tells what is still there. */
static void check_garbage(twin *p)
{
    const lkv_runs *runs = twin_runs(p);
    for (uint32_t i = 0; i < runs->gone; i++) {
        lkv_bytes object = layers_object(p->f.memory, runs->garbage[i].number);
        CHECK_SIZE(object.size,
                   (uint64_t)runs->garbage[i].blocks * p->f.storage->block);
        free((void *)(uintptr_t)object.data);
    }
}

static void merges_and_garbage(void)
{
    static const unsigned sizes[] = {1, 7, 40, 300};
    for (size_t k = 0; k < CASES(sizes); k++) {
        uint32_t most_gone = 0, most_runs = 0;
        twin p;
        twin_open(&p);
        for (unsigned i = 0; i < 1200; i += sizes[k]) {
            twin_begin(&p);
            for (unsigned n = i; n < i + sizes[k]; n++) {
                twin_set(&p, n * 31 % 300, n % 6);
            }
            twin_commit(&p);
            most_runs =
                twin_runs(&p)->count > most_runs ? twin_runs(&p)->count : most_runs;
            most_gone =
                twin_runs(&p)->gone > most_gone ? twin_runs(&p)->gone : most_gone;
            (void)twin_run_bytes(&p);
            check_garbage(&p);
        }
        CHECK(twin_runs(&p)->next_run > LKV_RUN_FIRST + 40);
        CHECK(most_runs <= 6);
        CHECK(most_gone >= 4 && most_gone <= (sizes[k] < 300 ? 8 : 24));
        twin_close(&p);
    }
}

/* What one handle has begun to merge another goes on with; the first notices. */
static void merges_change_hands(void)
{
    lkv_store *stores[2];
    twin p;

    twin_open(&p);
    stores[0] = p.f.store;
    CHECK_INT(lkv_open(p.f.storage, &p.f.os.os, &stores[1]), LKV_OK);
    twin_make_small(stores[1]);
    for (unsigned i = 0; i < 900; i += 3) {
        lkv_store *store = stores[i / 3 % 5 % 2];
        begin(store);
        begin(p.plain.store);
        for (unsigned n = i; n < i + 3; n++) {
            twin_put(store, n * 31 % 300, n % 6);
            twin_put(p.plain.store, n * 31 % 300, n % 6);
        }
        prepare_and_commit(store);
        prepare_and_commit(p.plain.store);
    }
    lkv_close(stores[1]);
    CHECK_INT(lkv_refresh(p.f.store, &p.f.err), LKV_OK);
    CHECK(twin_runs(&p)->count < 16);
    twin_close(&p);
}

/* A handle of a storage that undoes removes what its own transaction made garbage. */
static void garbage_of_a_long_transaction(void)
{
    for (int undoes = 0; undoes < 2; undoes++) {
        uint64_t bytes;
        twin p;
        twin_open(&p);
        p.f.storage->undoes = undoes;
        twin_begin(&p);
        for (unsigned i = 0; i < 3000; i++) {
            twin_set(&p, i % 500, 1 + i % 7);
        }
        bytes = twin_run_bytes(&p);
        CHECK(undoes ? bytes < 40000 : bytes > 200000);
        twin_commit(&p);
        for (unsigned i = 0; i < 40; i++) { /* a little at a time */
            twin_fill(&p, i, i + 1, 2);
            check_garbage(&p);
        }
        for (unsigned i = 1; i <= 4; i++) { /* now it is an earlier transaction's */
            twin_fill(&p, 0, 100, i);
        }
        CHECK(twin_run_bytes(&p) < 40000);
        twin_close(&p);
    }
}

/* A few bytes of log can make much of the parts dead. */
static void dead_parts_are_enough(void)
{
    uint64_t garbage = 0;
    lkv_stats stats;
    char key[8];
    fixture f;

    fixture_open(&f, 128);
    f.storage->segment = 1 << 14;
    f.store->flush_size = 4000;
    begin(f.store);
    for (unsigned i = 0; i < 60; i++) {
        snprintf(key, sizeof(key), "k%02u", i);
        CHECK_INT(put_filler(f.store, key, 1000, i), LKV_OK);
    }
    prepare_and_commit(f.store);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    begin(f.store);
    for (unsigned i = 1; i < 60; i++) {
        snprintf(key, sizeof(key), "k%02u", i);
        CHECK_INT(delete_text(f.store, key), LKV_OK);
    }
    prepare_and_commit(f.store);
    CHECK(lkv_log_bytes(f.store) > 60000);
    for (unsigned i = 0; i < 80; i++) {
        commit_text(f.store, "x", "y");
    }
    CHECK(lkv_log_end(&f.store->log) - f.store->log.segments[f.store->log.first].base <
          2 * 4000);
    CHECK(lkv_log_bytes(f.store) < 20000);
    CHECK_SIZE(lkv_count(f.store), 2);
    lkv_sizes(f.store, &stats);
    for (uint32_t i = 0; i < f.store->log.runs->gone; i++) {
        garbage += (uint64_t)f.store->log.runs->garbage[i].blocks * 128;
    }
    CHECK(garbage > 0);
    CHECK_SIZE(stats.garbage_bytes, garbage);
    CHECK_TEXT(verified(f.store), "ok");
    fixture_close(&f);
}

/* Values that are copies of a part: whoever takes an open part up does not take the end
 * of the last one for its seal. */
static void values_like_parts(void)
{
    const lkv_part *part;
    lkv_bytes copy;
    uint64_t left;
    fixture f;

    fixture_open(&f, 128);
    f.storage->segment = 1500;
    f.store->flush_size = 400;
    f.store->auto_compact = 0;
    commit_text(f.store, "m", "1");
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    part = &f.store->log.runs->part[0];
    copy = layers_object(f.memory, part->number);
    copy.size = part->size;
    for (unsigned i = 0; i < 40; i++) {
        char key[8];
        lkv_row row = {{key, 3}, copy, 0};
        snprintf(key, sizeof(key), "k%02u", i);
        begin(f.store);
        CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
        prepare_and_commit(f.store);
    }
    left = 1;
    for (unsigned i = 0; i < 200 && left > 0 && check_failures() == 0; i++) {
        fixture_reopen(&f);
        f.store->flush_size = 400;
        f.store->auto_compact = 0;
        CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
        left = compact_some(&f, 1);
    }
    CHECK_SIZE(left, 0);
    CHECK_SIZE(lkv_count(f.store), 41);
    CHECK_INT(lkv_verify(f.store, NULL, NULL, &f.err), LKV_OK);
    free((void *)(uintptr_t)copy.data);
    fixture_close(&f);
}

/* A part that others have written, and that is to take the place of what its rows are
 * in, is read before: when it is damaged nothing is lost. */
static void damaged_before_it_counts(void)
{
    static char want[1 << 14];
    const lkv_runs *runs;
    uint64_t left = 1;
    lkv_bytes object;
    uint32_t number;
    fixture f;

    fixture_open(&f, 128);
    f.storage->segment = 1500;
    f.store->flush_size = 60;
    f.store->auto_compact = 0;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 60; i++) {
            char key[8];
            snprintf(key, sizeof(key), "k%02u", i);
            commit_text(f.store, key, round == 0 ? "a value" : "one of theirs");
        }
        if (round == 0) {
            CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
        }
    }
    snprintf(want, sizeof(want), "%s", contents(f.store));
    for (unsigned i = 0; i < 200; i++) {
        runs = f.store->log.runs;
        if (runs->pass.out > runs->pass.open) {
            break;
        }
        left = compact_some(&f, 60);
    }
    runs = f.store->log.runs;
    CHECK(left > 0 && runs->pass.out > runs->pass.open);
    number = runs->out[0].number;
    object = layers_object(f.memory, number);
    ((uint8_t *)(uintptr_t)object.data)[LKV_SEGMENT_HEADER + 40] ^= 1;
    layers_put_object(f.memory, number, object);
    fixture_reopen(&f);
    f.store->auto_compact = 0;
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    begin(f.store);
    CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_CORRUPT);
    CHECK_HAS(f.err.text, "part ");
    lkv_rollback(f.store);
    CHECK_TEXT(contents(f.store), want);
    begin(f.store);
    CHECK_INT(lkv_rebuild(f.store, NULL, NULL, &f.err), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_SIZE(compact_some(&f, UINT64_MAX), 0);
    CHECK_TEXT(contents(f.store), want);
    CHECK_TEXT(verified(f.store), "ok");
    free((void *)(uintptr_t)object.data);
    fixture_close(&f);
}

static uint64_t garbage_blocks(const twin *p)
{
    const lkv_runs *runs = twin_runs(p);
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < runs->gone; i++) {
        blocks += runs->garbage[i].blocks;
    }
    return blocks;
}

/* A transaction that is prepared again and again, as the one of a database is for every
 * savepoint, removes no more than another. */
static void garbage_of_many_prepares(void)
{
    uint64_t before;
    twin p;
    twin_open(&p);
    twin_begin(&p);
    for (unsigned i = 0; i < 3000; i++) {
        twin_set(&p, i % 500, 1 + i % 7);
    }
    twin_commit(&p);
    before = garbage_blocks(&p);
    CHECK(before > 512);
    twin_begin(&p);
    for (unsigned i = 0; i < 20; i++) {
        twin_set(&p, i, 1);
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
    }
    CHECK(garbage_blocks(&p) < before);
    CHECK(garbage_blocks(&p) >= before - 256);
    twin_commit(&p);
    twin_check(&p);
    twin_close(&p);
}

/* A damaged run: keys in it are not found, others are; commits go on without merging; a
 * handle that forgets begins again. */
static void damaged_run(void)
{
    lkv_bytes view;
    lkv_row row;
    uint32_t count;
    twin p;

    twin_open(&p);
    twin_fill(&p, 0, 25, 1);
    CHECK_INT(twin_runs(&p)->run[0].number, LKV_RUN_FIRST);
    CHECK_INT(
        p.f.memory->ops->read(p.f.memory, LKV_RUN_FIRST, 0, TWIN_BLOCK, &view, NULL),
        LKV_OK);
    *((uint8_t *)(uintptr_t)view.data + 40) ^= 1; /* in its first leaf */
    CHECK_INT(lkv_get(p.f.store, text_bytes(twin_key(0)), &row, &p.f.err), LKV_CORRUPT);
    CHECK_TEXT(p.f.err.text, "run 1, block 0: checksum mismatch");
    count = twin_runs(&p)->count;
    for (unsigned i = 30; i < 200;
         i++) { /* each of them passes no filter, or is here */
        twin_begin(&p);
        if (lkv_exists(p.f.store, text_bytes(twin_key(i)), NULL) >= 0) {
            twin_set(&p, i, 1);
        }
        CHECK_INT(lkv_prepare(p.f.store, &p.f.err), LKV_OK);
        lkv_commit(p.f.store);
        prepare_and_commit(p.plain.store);
    }
    CHECK(p.f.store->work_off);
    CHECK(twin_runs(&p)->count > count + 8);
    CHECK_HAS(contents(p.f.store), "error -2: run 1, block 0: checksum mismatch");
    CHECK_TEXT(verified(p.f.store), "run 1, block 0: checksum mismatch");
    *((uint8_t *)(uintptr_t)view.data + 40) ^= 1;
    twin_check(&p);
    fixture_reopen(&p.f);
    twin_make_small(p.f.store);
    twin_fill(&p, 200, 300, 2);
    twin_fill(&p, 200, 300, 3);
    CHECK(!p.f.store->work_off);
    CHECK(twin_runs(&p)->count < 8);
    twin_close(&p);
}

/* Failures */

static int act_put(lkv_store *store, lkv_error *err)
{
    lkv_row row = {text_bytes(twin_key(700)), filler(200, 5), 1};
    return lkv_put(store, &row, err);
}

static int act_delete(lkv_store *store, lkv_error *err)
{
    return lkv_delete(store, text_bytes(twin_key(3)), err);
}

static int act_get(lkv_store *store, lkv_error *err)
{
    lkv_row row;
    return lkv_get(store, text_bytes(twin_key(3)), &row, err);
}

static int act_cursor(lkv_store *store, lkv_error *err)
{
    lkv_cursor *cursor;
    int rc = lkv_cursor_open(store, &cursor);
    if (rc == LKV_OK) {
        rc = lkv_cursor_last(cursor, err);
        for (int i = 0; i < 30 && rc == LKV_OK; i++) {
            rc = lkv_cursor_prev(cursor, err);
        }
        lkv_cursor_close(cursor);
    }
    return rc;
}

/* What is to happen, and where the transaction is before it. */
static const struct {
    const char *name;
    int (*run)(lkv_store *store, lkv_error *err);
    int full;  /* 1: the next record flushes, and pays; 2: a prepare merges */
    int stale; /* a rollback went back past a flush */
} actions[] = {{"put", act_put, 1, 0},         {"delete", act_delete, 1, 0},
               {"prepare", lkv_prepare, 2, 0}, {"get", act_get, 0, 1},
               {"stale put", act_put, 0, 1},   {"stale cursor", act_cursor, 0, 1},
               {"cursor", act_cursor, 0, 0},   {"stale prepare", lkv_prepare, 0, 1}};

typedef struct sweep {
    size_t action;
    int storage;  /* the calls of the storage fail, otherwise the allocations */
    int for_good; /* from the nth on */
    int owner;    /* a failing storage rolls the transaction back */
} sweep;

/* Three runs and a merge to come, and a transaction with a mark. */
static void set_up(twin *p, const sweep *s)
{
    uint32_t depth;
    twin_open(p);
    for (unsigned i = 0; twin_runs(p)->count < 3; i += 5) {
        twin_fill(p, i, i + 5, 1);
    }
    twin_begin(p);
    for (unsigned i = 0; i < 15; i++) {
        twin_set(p, i, 2);
    }
    depth = mark(p->f.store);
    if (actions[s->action].stale) {
        uint64_t flushes = p->f.store->flushes;
        for (unsigned i = 0; p->f.store->flushes == flushes; i++) {
            twin_put(p->f.store, i, 3);
        }
        lkv_rollback_to(p->f.store, depth);
        CHECK(p->f.store->stale);
    }
    for (unsigned i = 100;
         actions[s->action].full == 1 && twin_tail_bytes(p) < TWIN_FLUSH; i++) {
        twin_set(p, i, 3);
    }
    if (actions[s->action].full == 2) {
        CHECK_INT(lkv_flush(p->f.store, &p->f.err), LKV_OK);
        CHECK_SIZE(twin_runs(p)->count, 4);
    }
}

static int one_failure(const sweep *s, uint64_t n)
{
    const char *committed, *before;
    uint64_t failures, flushes;
    twin p;
    int rc;

    set_up(&p, s);
    committed = summary_anew(&p.f);
    before = summary(p.plain.store);
    flushes = p.f.store->flushes;
    p.f.fault.owner = s->owner ? p.f.store : NULL;
    os_fault_arm(&p.f.os, s->storage ? 0 : n, s->for_good);
    storage_fault_arm(&p.f.fault, s->storage ? n : 0, s->for_good, LKV_FAILED);
    rc = actions[s->action].run(p.f.store, &p.f.err);
    failures = p.f.os.failures + p.f.fault.failures;
    os_fault_arm(&p.f.os, 0, 0);
    storage_fault_arm(&p.f.fault, 0, 0, LKV_OK);
    if (failures == 0 || rc == LKV_OK) { /* it did without, or needs no more memory */
        CHECK_INT(rc, LKV_OK);
        CHECK(actions[s->action].full != 1 || p.f.store->flushes > flushes);
        CHECK(actions[s->action].full != 2 || twin_runs(&p)->count == 1);
        CHECK_INT(actions[s->action].run(p.plain.store, &p.plain.err), LKV_OK);
        twin_commit(&p);
    } else if (!lkv_in_transaction(p.f.store)) {
        CHECK(s->owner);
        CHECK_TEXT(summary(p.f.store), committed);
        lkv_rollback(p.plain.store);
        twin_fill(&p, 20, 90, 4);
    } else {
        CHECK_INT(rc, s->storage ? LKV_FAILED : LKV_NOMEM);
        CHECK_TEXT(summary(p.f.store), before);
        CHECK_INT(actions[s->action].run(p.f.store, &p.f.err), LKV_OK);
        CHECK_INT(actions[s->action].run(p.plain.store, &p.plain.err), LKV_OK);
        twin_commit(&p);
        twin_fill(&p, 20, 90, 4);
    }
    twin_close(&p);
    return failures > 0;
}

static void fails_anywhere(void)
{
    for (size_t i = 0; i < CASES(actions); i++) {
        for (int k = 0; k < 8; k++) {
            sweep s = {i, k & 1, k >> 1 & 1, k >> 2 & 1};
            uint64_t n = 1;
            while (n < 1000 && check_failures() == 0 && one_failure(&s, n)) {
                n++;
            }
            CHECK(n > (s.storage ? 1 : 0));
            if (check_failures() > 0) {
                printf("  %s, %s%s%s, call %u\n", actions[i].name,
                       s.storage ? "storage" : "memory", s.for_good ? " for good" : "",
                       s.owner ? " rolls back" : "", (unsigned)n);
                return;
            }
        }
    }
}

static const check_case cases[] = {CASE(merges_and_garbage),
                                   CASE(merges_change_hands),
                                   CASE(garbage_of_a_long_transaction),
                                   CASE(garbage_of_many_prepares),
                                   CASE(dead_parts_are_enough),
                                   CASE(damaged_before_it_counts),
                                   CASE(values_like_parts),
                                   CASE(damaged_run),
                                   CASE(fails_anywhere)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
