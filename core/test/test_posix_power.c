/*
 * test_posix_power.c - a store in files after a power cut at every write, whatever the
 * system had written by then: with sync=full each commit that returned is there, with
 * sync=normal the first ones up to some commit; the last one as a whole or not at all.
 * LONG=1 makes many more cuts at each place.
 */
#include "directory.h"
#include "fixture.h"
#include "recorder.h"

#include "storage_posix.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 40
#define SLOTS (1u << 20) /* of a table of hashes */

typedef struct power {
    directory directory;
    char path[300];
    os_fault os;
    recorder *recorder;
    char *expected[STEPS + 1]; /* after so many commits */
    char *attempt[STEPS];      /* what a step prepared and then took back, or NULL */
    size_t commits;
    enum lkv_sync sync;
    enum lkv_sync second; /* of the second writer */
    uint64_t random;
    /* What was done. */
    uint64_t *hashes;
    size_t images, distinct;
    size_t kinds[RECORDER_KINDS];
} power;

static int open_on(const lkv_os *os, const char *path, enum lkv_sync sync,
                   lkv_storage **storage, lkv_store **store)
{
    lkv_posix_options options = {.path = path, .mode = 0600, .mapped = 1};
    int rc = lkv_storage_posix_open(os, &options, storage);
    *store = NULL;
    if (rc == LKV_OK) {
        rc = lkv_open(*storage, os, store);
    }
    if (rc == LKV_OK) {
        (*store)->flush_size = 700;
        (*store)->log.vouch_every = 1500;
        lkv_sync_fallback(*store, sync);
    }
    return rc;
}

static int is_second(size_t step)
{
    return step % 3 == 1;
}

static int is_taken_back(size_t step)
{
    return step % 11 == 10;
}

static void change(power *p, lkv_store *store, size_t step)
{
    char key[16], value[32];
    int rows = step % 7 == 6 ? 30 : (int)(step % 4) + 1;
    begin(store);
    if (step == STEPS / 2) {
        uint64_t left;
        CHECK_INT(lkv_compact(store, UINT64_MAX, &left, NULL), LKV_OK);
    }
    for (int i = 0; i < rows; i++) {
        snprintf(key, sizeof(key), "k%02d", (int)check_below(&p->random, 60));
        snprintf(value, sizeof(value), "v%zu.%d", step, i);
        CHECK_INT(put_text(store, key, value), LKV_OK);
    }
    if (step % 5 == 4 &&
        !is_taken_back(step)) { /* an attempt to commit that did not end in one */
        uint32_t depth = mark(store);
        CHECK_INT(put_text(store, "zz", "never"), LKV_OK);
        CHECK_INT(lkv_prepare(store, NULL), LKV_OK);
        p->attempt[step] = strdup(contents(store));
        lkv_rollback_to(store, depth);
    }
    if (is_taken_back(step)) {
        CHECK_INT(lkv_prepare(store, NULL), LKV_OK);
        free(p->attempt[step]);
        p->attempt[step] = strdup(contents(store));
        lkv_rollback(store);
    } else {
        prepare_and_commit(store);
    }
}

/* Two writers take turns: what one wrote the other has to make last. */
static void record(power *p)
{
    lkv_storage *storage, *second_storage;
    lkv_store *store, *second;
    lkv_error err = {0};
    int made;

    CHECK_INT(open_on(recorder_os(p->recorder), p->path, p->sync, &storage, &store),
              LKV_OK);
    CHECK_INT(lkv_storage_posix_make(storage, &made, &err), LKV_OK);
    CHECK_INT(lkv_create(storage, recorder_os(p->recorder), text_bytes("about"), &err),
              LKV_OK);
    CHECK_INT(
        open_on(recorder_os(p->recorder), p->path, p->second, &second_storage, &second),
        LKV_OK);
    for (size_t step = 0; step < STEPS; step++) {
        CHECK_INT(lkv_refresh(store, &err), LKV_OK);
        p->expected[p->commits++] = strdup(contents(store));
        recorder_returned(p->recorder);
        if (step == STEPS * 3 / 4) { /* a clean close between */
            lkv_close(store);
            lkv_storage_posix_close(storage);
            CHECK_INT(
                open_on(recorder_os(p->recorder), p->path, p->sync, &storage, &store),
                LKV_OK);
        }
        change(p, is_second(step) ? second : store, step);
    }
    CHECK_INT(lkv_refresh(store, &err), LKV_OK);
    p->expected[p->commits++] = strdup(contents(store));
    lkv_close(store);
    lkv_storage_posix_close(storage);
    lkv_close(second);
    lkv_storage_posix_close(second_storage);
}

static int is_expected(const power *p, const char *found, size_t from, size_t to)
{
    for (size_t i = from; i < p->commits && i <= to; i++) {
        if (strcmp(found, p->expected[i]) == 0) {
            return 1;
        }
    }
    /* An attempt to commit that was under way. */
    return to > 0 && p->attempt[to - 1] != NULL &&
           strcmp(found, p->attempt[to - 1]) == 0;
}

/* How many commits are to last when so many have returned: those up to the last one
 * with sync=full. */
static size_t lasting(const power *p, size_t returned)
{
    size_t steps = returned > 0 ? returned - 1 : 0;
    while (steps > 0 && (p->sync != LKV_SYNC_FULL ||
                         (is_second(steps - 1) && p->second != LKV_SYNC_FULL) ||
                         (is_taken_back(steps - 1) && p->second != LKV_SYNC_FULL))) {
        steps--;
    }
    return steps;
}

/* Changes of the root. */
static void write_on(lkv_store *store)
{
    char key[16];
    for (int k = 0; k < 3; k++) {
        begin(store);
        for (int i = 0; i < 15; i++) {
            snprintf(key, sizeof(key), "y%d.%02d", k, i);
            CHECK_INT(put_text(store, key, "later"), LKV_OK);
        }
        prepare_and_commit(store);
    }
}

/* Another process sees the same. */
static void check_others(power *p, const lkv_os *os, const char *path, const char *want)
{
    char *wanted = strdup(want);
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err = {0};
    CHECK_INT(open_on(os, path, p->sync, &storage, &store), LKV_OK);
    CHECK_INT(lkv_refresh(store, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    CHECK_TEXT(contents(store), wanted);
    lkv_close(store);
    lkv_storage_posix_close(storage);
    free(wanted);
}

/* Opens what a cut left, and writes to it. */
static int check_image(power *p, size_t at, enum recorder_kind kind, const char *path)
{
    size_t returned = recorder_returns(p->recorder, at);
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err = {0};
    os_fault os;
    char *found;
    int made = 0, ok;

    os_fault_init(&os);
    os.boots = 1;
    CHECK_INT(open_on(&os.os, path, p->sync, &storage, &store), LKV_OK);
    if (returned == 0) {
        int rc = lkv_storage_posix_make(storage, &made, &err);
        if (rc == LKV_CANTOPEN && kind == RECORDER_SCRAMBLED) {
            lkv_close(store); /* not even the first page of it was written */
            lkv_storage_posix_close(storage);
            return 1;
        }
        CHECK_INT(rc, LKV_OK);
        if (made) {
            CHECK_INT(lkv_create(storage, &os.os, text_bytes("about"), &err), LKV_OK);
        }
    }
    found =
        lkv_refresh(store, &err) == LKV_OK ? strdup(contents(store)) : strdup(err.text);
    ok = is_expected(p, found, lasting(p, returned), returned);
    if (!ok) {
        printf("cut before event %zu, kind %d, %zu returned: %s\n", at, (int)kind,
               returned, found);
        CHECK(ok);
    } else {
        commit_text(store, "y", "after");
        CHECK_TEXT(get_text(store, "y"), "after");
        write_on(store);
        CHECK_INT(lkv_verify(store, NULL, NULL, &err), LKV_OK);
        CHECK_TEXT(err.text, "");
        check_others(p, &os.os, path, contents(store));
        os.boots = 2; /* and once more, with all that was written */
        check_others(p, &os.os, path, contents(store));
    }
    lkv_close(store);
    lkv_storage_posix_close(storage);
    free(found);
    CHECK_SIZE(os.live, 0);
    return check_failures() == 0;
}

static int is_new(power *p, uint64_t hash)
{
    size_t at = hash % SLOTS;
    while (p->hashes[at] != 0) {
        if (p->hashes[at] == hash) {
            return 0;
        }
        at = (at + 1) % SLOTS;
    }
    p->hashes[at] = hash;
    p->distinct++;
    return 1;
}

/* From the first write of a careless one until a commit with sync=full returns, nothing
 * is promised. */
static int is_promised(const power *p, size_t at)
{
    size_t returned = recorder_returns(p->recorder, at);
    int promised = 1;
    for (size_t step = 0; p->second == LKV_SYNC_OFF && step < returned; step++) {
        int done = step + 1 < returned;
        promised = !is_second(step) && (promised || (done && !is_taken_back(step)));
    }
    return promised;
}

static void cut_everywhere(enum lkv_sync sync, enum lkv_sync second)
{
    power p = {.sync = sync, .second = second, .random = check_seed()};
    int times = check_long() ? 60 : 2;

    directory_make(&p.directory);
    directory_path(&p.directory, "kv", p.path, sizeof(p.path));
    os_fault_init(&p.os);
    p.hashes = calloc(SLOTS, sizeof(uint64_t));
    p.recorder = recorder_open(&p.os, p.path);
    record(&p);
    for (size_t at = 0; at <= recorder_events(p.recorder) && check_failures() == 0;
         at++) {
        for (int kind = 0; kind < RECORDER_KINDS && is_promised(&p, at); kind++) {
            for (int i = 0; i < (kind < RECORDER_TORN ? 1 : times); i++) {
                directory d;
                char path[300];
                directory_make(&d);
                directory_path(&d, "kv", path, sizeof(path));
                p.images++;
                if (is_new(&p, recorder_cut(p.recorder, at, (enum recorder_kind)kind,
                                            &p.random, path))) {
                    p.kinds[kind]++;
                    if (!check_image(&p, at, (enum recorder_kind)kind, path)) {
                        i = times;
                    }
                }
                directory_remove(&d);
            }
        }
    }
    printf("%zu events, %zu images, %zu distinct: %zu dropped, %zu kept, %zu torn, "
           "%zu reordered, %zu scrambled\n",
           recorder_events(p.recorder), p.images, p.distinct, p.kinds[RECORDER_DROPPED],
           p.kinds[RECORDER_KEPT], p.kinds[RECORDER_TORN], p.kinds[RECORDER_REORDERED],
           p.kinds[RECORDER_SCRAMBLED]);
    CHECK(p.distinct > (second == LKV_SYNC_OFF ? 200 : 400));
    recorder_close(p.recorder);
    for (size_t i = 0; i < p.commits; i++) {
        free(p.expected[i]);
    }
    for (size_t i = 0; i < STEPS; i++) {
        free(p.attempt[i]);
    }
    free(p.hashes);
    directory_remove(&p.directory);
}

static void full(void)
{
    cut_everywhere(LKV_SYNC_FULL, LKV_SYNC_FULL);
}

static void full_after_off(void)
{
    cut_everywhere(LKV_SYNC_FULL, LKV_SYNC_OFF);
}

static void full_after_normal(void)
{
    cut_everywhere(LKV_SYNC_FULL, LKV_SYNC_NORMAL);
}

static void normal(void)
{
    cut_everywhere(LKV_SYNC_NORMAL, LKV_SYNC_NORMAL);
}

static const check_case cases[] = {CASE(full), CASE(full_after_off),
                                   CASE(full_after_normal), CASE(normal)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
