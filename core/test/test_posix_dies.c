/*
 * test_posix_dies.c - what a process leaves that dies in a transaction or forks in one,
 * for those who go on: step by step. test_posix_kill.c does it at random.
 */
#include "fixture.h"
#include "party.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void put(guest *u, const char *key, const char *value)
{
    CHECK_INT(put_text(u->store, key, value), LKV_OK);
}

static void prepare(guest *u)
{
    CHECK_INT(lkv_prepare(u->store, &u->err), LKV_OK);
    CHECK_TEXT(u->err.text, "");
}

/* A store that holds a=1, and a handle on it. */
static void start(party *p, guest *u, enum party_kind kind)
{
    party_begin(p, u, kind, LKV_SYNC_FULL);
    commit_text(u->store, "a", "1");
}

/* Of many commits that are taken back none is left to be found, or to be taken for
 * damage. */
static void many_prepared(enum party_kind kind)
{
    party p;
    guest u;
    uint32_t depth;

    start(&p, &u, kind);
    begin(u.store);
    for (int i = 0; i < 5; i++) {
        put(&u, "b", "2");
        prepare(&u);
    }
    lkv_rollback(u.store);
    guest_close(&u);
    guest_open(&u, &p);
    CHECK_TEXT(guest_seen(&u), "a=1");
    begin(u.store);
    put(&u, "c", "3");
    prepare(&u);
    depth = mark(u.store);
    for (int i = 0; i < 5; i++) {
        put(&u, "d", "4");
        prepare(&u);
    }
    lkv_rollback_to(u.store, depth);
    put(&u, "e", "5");
    prepare_and_commit(u.store);
    guest_close(&u);
    guest_open(&u, &p);
    CHECK_TEXT(guest_seen(&u), "a=1 c=3 e=5");
    guest_close(&u);
    party_close(&p);
}

static void many_prepared_in_files(void)
{
    many_prepared(PARTY_FILES);
    many_prepared(PARTY_COPIES);
}

static void many_prepared_in_memory(void)
{
    many_prepared(PARTY_SHARED);
}

/* A child that closes what it got from its parent, or goes on with it, does no harm. */
static int close_it(void *arg)
{
    guest *u = arg;
    lkv_error err = {0};
    int rc = lkv_prepare(u->store, &err);
    if (rc != LKV_MISUSE && rc != LKV_OK) {
        return PARTY_FAIL(rc, err.text);
    }
    guest_close(u);
    return 0;
}

static int go_on(void *arg)
{
    guest *u = arg;
    for (int i = 0; i < 3; i++) {
        if (put_filler(u->store, "x", 100000, 1) == LKV_OK &&
            lkv_prepare(u->store, &u->err) == LKV_OK) {
            return PARTY_FAIL(0, "it could write");
        }
    }
    lkv_commit(u->store);
    guest_close(u);
    return 0;
}

static void forks_in(enum party_kind kind, int (*child)(void *arg), int prepared)
{
    party p;
    guest u;

    start(&p, &u, kind);
    u.storage->spill = 4096;
    begin(u.store);
    CHECK_INT(put_filler(u.store, "b", 3000, 1), LKV_OK);
    CHECK_INT(put_filler(u.store, "c", 3000, 2), LKV_OK);
    put(&u, "d", "4");
    if (prepared) {
        prepare(&u);
    }
    CHECK_INT(party_wait(party_fork(child, &u)), 0);
    put(&u, "e", "5");
    prepare_and_commit(u.store);
    CHECK_HAS(guest_seen(&u), "d=4 e=5");
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    guest_close(&u);
    guest_open(&u, &p);
    CHECK_HAS(guest_seen(&u), "d=4 e=5");
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    CHECK_TEXT(u.err.text, "");
    guest_close(&u);
    party_close(&p);
}

static void forks_in_a_transaction(void)
{
    for (int kind = 0; kind < PARTY_KINDS; kind++) {
        for (int prepared = 0; prepared < 2; prepared++) {
            forks_in((enum party_kind)kind, close_it, prepared);
            forks_in((enum party_kind)kind, go_on, prepared);
        }
    }
}

/* A writer that died is no reason to say for ever that others have committed. */
static int dies_writing(void *arg)
{
    guest u;
    guest_open(&u, arg);
    u.storage->spill = 4096;
    if (lkv_begin(u.store, 0, &u.err) != LKV_OK) {
        return PARTY_FAIL(0, u.err.text);
    }
    return put_filler(u.store, "x", 9000, 1) == LKV_OK &&
                   put_filler(u.store, "y", 9000, 1) == LKV_OK
               ? 0
               : PARTY_FAIL(0, "put");
}

static void begins_where_it_stands(void)
{
    party p;
    guest u;

    start(&p, &u, PARTY_FILES);
    CHECK_TEXT(guest_seen(&u), "a=1");
    CHECK_INT(party_wait(party_fork(dies_writing, &p)), 0);
    CHECK_TEXT(guest_seen(&u), "a=1");
    CHECK_INT(lkv_begin_here(u.store, 0, &u.err), LKV_OK);
    CHECK_TEXT(u.err.text, "");
    put(&u, "b", "2");
    prepare_and_commit(u.store);
    CHECK_TEXT(guest_seen(&u), "a=1 b=2");
    guest_close(&u);
    guest_open(&u, &p);
    CHECK_TEXT(guest_seen(&u), "a=1 b=2");
    guest_close(&u);
    party_close(&p);
}

/* What a writer had prepared when it died is there, as a whole: who writes next, with
 * the store open all the while, goes on behind it. */
static int dies_prepared(void *arg)
{
    guest u;
    guest_open(&u, arg);
    if (lkv_begin(u.store, 0, &u.err) != LKV_OK) {
        return PARTY_FAIL(0, u.err.text);
    }
    for (int i = 0; i < 3; i++) {
        if (put_filler(u.store, "x", 300, 1) != LKV_OK ||
            lkv_prepare(u.store, &u.err) != LKV_OK) {
            return PARTY_FAIL(i, u.err.text);
        }
    }
    return 0;
}

static void written_over(void)
{
    char want[300];
    party p;
    guest u;

    start(&p, &u, PARTY_FILES);
    CHECK_INT(party_wait(party_fork(dies_prepared, &p)), 0);
    commit_text(u.store, "b", "2");
    snprintf(want, sizeof(want), "%s", guest_seen(&u));
    CHECK_HAS(want, "a=1 b=2 ");
    CHECK_HAS(want, "=<300 "); /* it was whole */
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    guest_close(&u);
    guest_open(&u, &p);
    CHECK_TEXT(guest_seen(&u), want);
    CHECK_SIZE(lkv_storage_posix_torn(u.storage), 0);
    guest_close(&u);
    party_close(&p);
}

static uint8_t kept[1000];
static size_t kept_size;

static int keep(void *arg, lkv_bytes bytes)
{
    (void)arg;
    if (bytes.size > sizeof(kept) - kept_size) {
        return LKV_TOO_BIG;
    }
    memcpy(kept + kept_size, bytes.data, bytes.size);
    kept_size += bytes.size;
    return LKV_OK;
}

static int read_kept(void *arg, uint64_t offset, void *out, size_t size)
{
    (void)arg;
    memcpy(out, kept + offset, size);
    return LKV_OK;
}

static int compact(guest *u)
{
    uint64_t left;
    return lkv_compact(u->store, 1 << 20, &left, &u->err);
}

static int deserialize(guest *u)
{
    lkv_source source = {read_kept, NULL, kept_size};
    return lkv_deserialize(u->store, &source, NULL, NULL, &u->err);
}

static int recover(guest *u)
{
    static const lkv_salvage_calls calls = {NULL, NULL, NULL};
    uint64_t count;
    return lkv_salvage(u->store, 1, &calls, &count, &u->err);
}

/* A writer dies in a transaction of which compaction has prepared a part: not of what
 * it had changed before. Nor is what replaces all that there is prepared. */
static int (*work)(guest *u);

static int dies_after_work(void *arg)
{
    guest u;
    uint32_t depth;
    guest_open(&u, arg);
    if (lkv_begin(u.store, 0, &u.err) != LKV_OK ||
        lkv_mark(u.store, &depth) != LKV_OK || put_text(u.store, "b", "2") != LKV_OK) {
        return PARTY_FAIL(0, u.err.text);
    }
    if (work(&u) != LKV_MISUSE || strstr(u.err.text, "commit first") == NULL) {
        return PARTY_FAIL(0, u.err.text);
    }
    lkv_rollback_to(u.store, depth);
    if (work(&u) != LKV_OK) {
        return PARTY_FAIL(0, u.err.text);
    }
    return put_text(u.store, "c", "3") == LKV_OK ? 0 : PARTY_FAIL(0, "put");
}

static void no_half_transaction(void)
{
    static int (*const works[])(guest * u) = {compact, deserialize, recover};
    for (int i = 0; i < 3 * PARTY_KINDS; i++) {
        party p;
        guest u;
        work = works[i / PARTY_KINDS];
        start(&p, &u, (enum party_kind)(i % PARTY_KINDS));
        kept_size = 0;
        CHECK_INT(lkv_serialize(u.store, keep, NULL, &u.err), LKV_OK);
        commit_text(u.store, "s", "since");
        CHECK_INT(party_wait(party_fork(dies_after_work, &p)), 0);
        CHECK_TEXT(guest_seen(&u), "a=1 s=since");
        commit_text(u.store, "z", "9");
        CHECK_TEXT(guest_seen(&u), "a=1 s=since z=9");
        guest_close(&u);
        party_close(&p);
    }
}

/* A process that may have few files open reads and rewrites a store of many. */
#define MANY_FILES 60

static int use_few_files(void *arg)
{
    struct rlimit most = {24, 24};
    uint64_t left;
    guest u;

    if (setrlimit(RLIMIT_NOFILE, &most) != 0) {
        return PARTY_FAIL(0, "setrlimit");
    }
    guest_open(&u, arg);
    if (lkv_begin(u.store, 0, &u.err) != LKV_OK ||
        put_text(u.store, "b", "2") != LKV_OK ||
        lkv_prepare(u.store, &u.err) != LKV_OK) {
        return PARTY_FAIL(0, u.err.text);
    }
    lkv_commit(u.store);
    u.store->flush_size = 600; /* parts will be as many */
    if (lkv_begin(u.store, 0, &u.err) != LKV_OK ||
        lkv_compact(u.store, UINT64_MAX, &left, &u.err) != LKV_OK ||
        lkv_prepare(u.store, &u.err) != LKV_OK) {
        return PARTY_FAIL(0, u.err.text);
    }
    lkv_commit(u.store);
    if (lkv_verify(u.store, NULL, NULL, &u.err) != LKV_OK ||
        u.store->log.runs->parts < MANY_FILES / 2) {
        return PARTY_FAIL((int)u.store->log.runs->parts, u.err.text);
    }
    guest_close(&u);
    return 0;
}

static void few_files(void)
{
    char key[16];
    party p;
    guest u;

    start(&p, &u, PARTY_FILES);
    lkv_sync_fallback(u.store, LKV_SYNC_OFF);
    p.sync = LKV_SYNC_OFF;
    u.storage->segment = p.segment = 4096;
    lkv_auto_compact_fallback(u.store, 0);
    begin(u.store);
    for (int i = 0; i < MANY_FILES * 4; i++) {
        snprintf(key, sizeof(key), "k%03d", i);
        CHECK_INT(put_filler(u.store, key, 1500, (unsigned)i), LKV_OK);
    }
    prepare_and_commit(u.store);
    CHECK(u.store->log.count > MANY_FILES);
    CHECK_INT(party_wait(party_fork(use_few_files, &p)), 0);
    CHECK_INT(lkv_refresh(u.store, &u.err), LKV_OK);
    CHECK_SIZE(lkv_count(u.store), MANY_FILES * 4 + 2);
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    CHECK_TEXT(u.err.text, "");
    guest_close(&u);
    party_close(&p);
}

static const check_case cases[] = {
    CASE(many_prepared_in_files),
    CASE(many_prepared_in_memory),
    CASE(forks_in_a_transaction),
    CASE(begins_where_it_stands),
    CASE(written_over),
    CASE(no_half_transaction),
    CASE(few_files),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
