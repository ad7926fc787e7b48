/*
 * test_posix_fails.c - a store in files when the system refuses: each allocation and
 * system call of a script fails, once and from there on. Whatever happened, the store
 * opens afterwards with all commits that returned, and with the one that failed as a
 * whole or not at all.
 */
#include "directory.h"
#include "fixture.h"

#include "storage_posix.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 9

typedef struct script {
    lkv_posix_options options;
    os_fault os;
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err;
    int made;
} script;

static void start(script *s, const char *path, int mapped)
{
    memset(s, 0, sizeof(*s));
    s->options = (lkv_posix_options){
        .path = path, .mode = 0600, .mapped = mapped, .cache_bytes = 1 << 16};
    os_fault_init(&s->os);
}

static int open_store(script *s)
{
    int rc = lkv_storage_posix_open(&s->os.os, &s->options, &s->storage);
    if (rc == LKV_OK) {
        rc = lkv_open(s->storage, &s->os.os, &s->store);
    }
    if (rc == LKV_OK) {
        s->store->flush_size = 600;
        lkv_sync_fallback(s->store, LKV_SYNC_FULL);
    }
    return rc;
}

static void close_store(script *s)
{
    lkv_close(s->store);
    lkv_storage_posix_close(s->storage);
    s->store = NULL;
    s->storage = NULL;
}

/* A transaction that does `before`, puts `rows` rows "kNN" = "vSTEP", and does `also`.
 */
static int change(script *s, int step, int rows, int (*before)(script *s),
                  int (*also)(script *s))
{
    char key[16], value[16];
    int rc = lkv_begin(s->store, 0, &s->err);
    if (rc != LKV_OK) {
        return rc;
    }
    rc = before != NULL ? before(s) : LKV_OK;
    for (int i = 0; i < rows && rc == LKV_OK; i++) {
        snprintf(key, sizeof(key), "k%02d", (i * 7 + step) % 40);
        snprintf(value, sizeof(value), "v%d", step);
        rc = put_text(s->store, key, value);
    }
    if (rc == LKV_OK && also != NULL) {
        rc = also(s);
    }
    if (rc == LKV_OK) {
        rc = lkv_prepare(s->store, &s->err);
    }
    if (rc == LKV_OK) {
        lkv_commit(s->store);
    } else {
        lkv_rollback(s->store);
    }
    return rc;
}

static int compact(script *s)
{
    uint64_t left;
    return lkv_compact(s->store, UINT64_MAX, &left, &s->err);
}

static int rebuild(script *s)
{
    return lkv_rebuild(s->store, NULL, NULL, &s->err);
}

static int back(script *s)
{
    uint32_t depth;
    int rc = lkv_mark(s->store, &depth);
    if (rc == LKV_OK) {
        rc = put_text(s->store, "zz", "never");
    }
    if (rc == LKV_OK) {
        rc = lkv_prepare(s->store, &s->err);
    }
    if (rc == LKV_OK) {
        lkv_rollback_to(s->store, depth);
    }
    return rc;
}

static int run_step(script *s, int step)
{
    int rc = LKV_OK;
    switch (step) {
    case 0:
        rc = lkv_storage_posix_make(s->storage, &s->made, &s->err);
        if (rc == LKV_OK && s->made) {
            rc = lkv_create(s->storage, &s->os.os, text_bytes("about"), &s->err);
        }
        return rc;
    case 1:
        return change(s, step, 3, NULL, NULL);
    case 2:
    case 3:
        return change(s, step, 12, NULL, NULL);
    case 4:
        return change(s, step, 40, NULL, NULL);
    case 5:
        return change(s, step, 2, compact, NULL);
    case 6:
        return change(s, step, 20, NULL, back);
    case 7:
        return change(s, step, 1, NULL, rebuild);
    default:
        return change(s, step, 4, NULL, NULL);
    }
}

/* What the store holds after each step when nothing fails. */
static char *expected[STEPS + 1];

static char *look(const char *path, int mapped)
{
    script s;
    char *found;
    start(&s, path, mapped);
    CHECK_INT(open_store(&s), LKV_OK);
    if (lkv_refresh(s.store, &s.err) != LKV_OK) {
        found = strdup(s.err.text);
    } else {
        found = strdup(contents(s.store));
        CHECK_INT(lkv_verify(s.store, NULL, NULL, &s.err), LKV_OK);
    }
    close_store(&s);
    CHECK_SIZE(s.os.live, 0);
    return found;
}

static void learn(int mapped)
{
    char path[300];
    directory d;
    script s;
    directory_make(&d);
    start(&s, directory_path(&d, "kv", path, sizeof(path)), mapped);
    expected[0] = strdup("none");
    CHECK_INT(open_store(&s), LKV_OK);
    for (int i = 0; i < STEPS; i++) {
        CHECK_INT(run_step(&s, i), LKV_OK);
        expected[i + 1] = look(path, mapped);
    }
    close_store(&s);
    directory_remove(&d);
}

/* The script with its call `n` failing; whether anything failed. */
static int sweep_one(uint64_t n, int for_good, int mapped)
{
    char path[300];
    directory d;
    script s;
    int step = 0, rc;
    uint64_t failures;
    char *found;

    directory_make(&d);
    start(&s, directory_path(&d, "kv", path, sizeof(path)), mapped);
    os_fault_arm(&s.os, n, for_good);
    rc = open_store(&s);
    while (rc == LKV_OK && step < STEPS) {
        rc = run_step(&s, step);
        step += rc == LKV_OK;
    }
    close_store(&s);
    failures = s.os.failures;
    CHECK_SIZE(s.os.live, 0);
    CHECK_SIZE(s.os.open_files, 0);
    CHECK_SIZE(s.os.maps, 0);
    if (step == 0) {
        int made;
        start(&s, path, mapped); /* the next CREATE finds what is there, or makes it */
        CHECK_INT(open_store(&s), LKV_OK);
        CHECK_INT(lkv_storage_posix_make(s.storage, &made, &s.err), LKV_OK);
        if (made) {
            CHECK_INT(lkv_create(s.storage, &s.os.os, text_bytes("about"), &s.err),
                      LKV_OK);
        }
        close_store(&s);
        step = 1;
    }
    found = look(path, mapped);
    if (strcmp(found, expected[step]) != 0 &&
        (step == STEPS || rc == LKV_OK || strcmp(found, expected[step + 1]) != 0) &&
        !(step == 6 && for_good && strstr(found, "zz=never") != NULL)) {
        printf("call %llu%s, after step %d\n", (unsigned long long)n,
               for_good ? " and all that follow" : "", step);
        CHECK_TEXT(found, expected[step]);
    }
    free(found);
    directory_remove(&d);
    return failures > 0;
}

static void sweep(int mapped)
{
    uint64_t n = 0;
    learn(mapped);
    for (int for_good = 0; for_good < 2; for_good++) {
        for (n = 1; sweep_one(n, for_good, mapped) && check_failures() == 0; n++) {
        }
        CHECK(n > 300);
    }
    for (int i = 0; i <= STEPS; i++) {
        free(expected[i]);
    }
}

static void each_call(void)
{
    sweep(1);
}

static void each_call_without_maps(void)
{
    sweep(0);
}

static const check_case cases[] = {
    CASE(each_call),
    CASE(each_call_without_maps),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
