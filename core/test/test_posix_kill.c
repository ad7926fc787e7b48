/*
 * test_posix_kill.c - a writer that is killed at any moment, over and over. What it
 * said to be committed is there, and at most one transaction more; the store is whole,
 * and the next writer goes on at once.
 *
 * Transaction N is made of N alone, so that what the store has to hold follows from the
 * number of transactions that it tells. The writer tells each that was committed by a
 * pipe.
 */
#include "party.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS 300
#define COUNTER "counter"

/* What a transaction does with a key: a value of this version, or 0 to delete it. */
typedef struct model {
    uint64_t done;
    uint64_t version[KEYS];
} model;

static lkv_bytes key_of(uint64_t i)
{
    static char key[16];
    snprintf(key, sizeof(key), "k%03d", (int)i);
    return (lkv_bytes){key, 4};
}

static lkv_bytes value_of(uint64_t i, uint64_t version)
{
    static char value[9000];
    uint64_t random = version * KEYS + i;
    int size = snprintf(value, 32, "%llu.", (unsigned long long)version);
    size_t filling = check_below(&random, 50) == 0 ? 8000 : check_below(&random, 200);
    memset(value + size, (int)('a' + version % 26), filling);
    return (lkv_bytes){value, (size_t)size + filling};
}

/* Key and version of change number `at` of transaction `n`. */
static uint64_t change_of(uint64_t n, uint64_t at, uint64_t *version)
{
    uint64_t random = n * 1000 + at;
    uint64_t key = check_below(&random, KEYS);
    *version = check_below(&random, 4) == 0 ? 0 : n;
    return key;
}

static uint64_t changes_of(uint64_t n)
{
    uint64_t random = n;
    return check_below(&random, 12) == 0 ? 200 : 1 + check_below(&random, 10);
}

static void model_go_on(model *m, uint64_t to)
{
    while (m->done < to) {
        m->done++;
        for (uint64_t at = 0; at < changes_of(m->done); at++) {
            uint64_t version, key = change_of(m->done, at, &version);
            m->version[key] = version;
        }
    }
}

/* --- the writer ----------------------------------------------------------------- */

typedef struct victim {
    const party *party;
    uint64_t random;
    int pipe;
} victim;

static int put(guest *u, lkv_bytes key, lkv_bytes value)
{
    lkv_row row = {key, value, 0};
    return lkv_put(u->store, &row, &u->err);
}

static int counter_of(guest *u, uint64_t *n)
{
    lkv_row row;
    int rc = lkv_get(u->store, (lkv_bytes){COUNTER, 7}, &row, &u->err);
    *n = rc == LKV_OK ? strtoull(row.value.data, NULL, 10) : 0;
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int change_all(guest *u, uint64_t n)
{
    char text[32];
    int rc = LKV_OK;
    for (uint64_t at = 0; at < changes_of(n) && rc >= 0; at++) {
        uint64_t version, key = change_of(n, at, &version);
        rc = version == 0 ? lkv_delete(u->store, key_of(key), &u->err)
                          : put(u, key_of(key), value_of(key, version));
    }
    if (rc >= 0) {
        snprintf(text, sizeof(text), "%llu.", (unsigned long long)n);
        rc = put(u, (lkv_bytes){COUNTER, 7}, (lkv_bytes){text, strlen(text)});
    }
    return rc;
}

/* Changes that are taken back, prepared or not. */
static int change_in_vain(guest *u, victim *v, uint64_t n)
{
    uint32_t depth;
    int rc = lkv_mark(u->store, &depth);
    for (uint64_t i = check_below(&v->random, 4); rc == LKV_OK && i > 0; i--) {
        rc = put(u, key_of(i), value_of(i + 7, n));
    }
    if (rc == LKV_OK) {
        lkv_rollback_to(u->store, depth);
    }
    return rc;
}

static int work_on_it(guest *u, uint64_t *random)
{
    uint64_t left;
    switch (check_below(random, 12)) {
    case 0:
        return lkv_rebuild(u->store, NULL, NULL, &u->err);
    case 1:
        return lkv_compact(u->store, UINT64_MAX, &left, &u->err);
    case 2:
        return lkv_compact(u->store, 3000, &left, &u->err);
    default:
        return LKV_OK;
    }
}

static int transact(guest *u, victim *v, uint64_t *n)
{
    uint64_t how = check_below(&v->random, 8);
    int rc = lkv_begin(u->store, 0, &u->err);
    if (rc == LKV_OK) {
        rc = work_on_it(u, &v->random);
    }
    if (rc == LKV_OK) {
        rc = counter_of(u, n);
    }
    if (rc == LKV_OK && how == 0) {
        rc = change_in_vain(u, v, *n + 1);
    }
    if (rc == LKV_OK) {
        rc = change_all(u, ++*n);
    }
    if (rc == LKV_OK && how != 1) {
        rc = lkv_prepare(u->store, &u->err);
    }
    if (rc == LKV_OK && how > 1) {
        lkv_commit(u->store);
    } else {
        lkv_rollback(u->store);
        *n = 0;
    }
    return rc;
}

static int write_until_killed(void *arg)
{
    victim *v = arg;
    guest u;
    guest_open(&u, v->party);
    for (;;) {
        uint64_t n;
        int rc = transact(&u, v, &n);
        if (rc != LKV_OK) {
            return PARTY_FAIL(rc, u.err.text);
        }
        if (n > 0 && write(v->pipe, &n, sizeof(n)) != sizeof(n)) {
            return PARTY_FAIL(errno, "pipe");
        }
        if (check_below(&v->random, 20) == 0) {
            guest_close(&u);
            guest_open(&u, v->party);
        }
    }
}

/* --- who kills it --------------------------------------------------------------- */

/* The last transaction that it told of; `most` are waited for before it is killed. */
static uint64_t run_and_kill(const party *p, uint64_t *random, uint64_t most)
{
    victim v = {.party = p, .random = check_random(random)};
    uint64_t told = 0, n;
    volatile uint64_t spin = check_below(random, 4) * check_below(random, 400000);
    int ends[2], status = 0;
    pid_t child;

    CHECK_INT(pipe(ends), 0);
    v.pipe = ends[1];
    child = party_fork(write_until_killed, &v);
    (void)close(ends[1]);
    for (uint64_t i = 0; i < most && read(ends[0], &n, sizeof(n)) == sizeof(n); i++) {
        told = n;
    }
    while (spin > 0) { /* somewhere in what it does next */
        spin--;
    }
    CHECK_INT(kill(child, SIGKILL), 0);
    while (read(ends[0], &n, sizeof(n)) == sizeof(n)) {
        told = n;
    }
    (void)close(ends[0]);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status));
    return told;
}

static void check_content(guest *u, const model *m)
{
    uint64_t live = 1;
    for (uint64_t i = 0; i < KEYS && check_failures() == 0; i++) {
        lkv_row row;
        int rc = lkv_get(u->store, key_of(i), &row, &u->err);
        if (CHECK_INT(rc, m->version[i] == 0 ? LKV_ABSENT : LKV_OK) && rc == LKV_OK) {
            lkv_bytes want = value_of(i, m->version[i]);
            CHECK_BYTES(row.value.data, row.value.size, want.data, want.size);
            live++;
        }
    }
    CHECK_SIZE(lkv_count(u->store), m->done == 0 ? 0 : live);
}

/* What the dead writer left. */
static void check_left(guest *u, model *m, uint64_t told, int writes)
{
    uint64_t n = 0;
    int rc = writes ? lkv_begin(u->store, 0, &u->err) : lkv_refresh(u->store, &u->err);
    CHECK_INT(rc, LKV_OK);
    CHECK_TEXT(u->err.text, "");
    CHECK_INT(counter_of(u, &n), LKV_OK);
    CHECK(n >= told && n >= m->done);
    CHECK(n <= (told > m->done ? told : m->done) + 1);
    model_go_on(m, n);
    check_content(u, m);
    CHECK_INT(lkv_verify(u->store, NULL, NULL, &u->err), LKV_OK);
    CHECK_TEXT(u->err.text, "");
    if (writes) {
        lkv_rollback(u->store);
    }
}

static void kills(enum party_kind kind, enum lkv_sync sync, int times)
{
    uint64_t random = check_seed();
    guest u, other;
    model m = {0};
    party p;
    int open = 0;

    times *= check_long() ? 20 : 1;
    party_open(&p, kind);
    p.sync = sync;
    guest_open(&u, &p);
    guest_make(&u);
    guest_close(&u);
    for (int i = 0; i < times && check_failures() == 0; i++) {
        uint64_t told;
        int stays = check_below(&random, 2) == 0;
        if (stays && !open) { /* then the next one is not the first to open it */
            guest_open(&other, &p);
            CHECK_INT(lkv_refresh(other.store, &other.err), LKV_OK);
        } else if (!stays && open) {
            guest_close(&other);
        }
        open = stays;
        told = run_and_kill(&p, &random, 1 + check_below(&random, 30));
        if (open && check_below(&random, 2) == 0) {
            check_left(&other, &m, told, 0);
        }
        guest_open(&u, &p);
        check_left(&u, &m, told, check_below(&random, 2) == 0);
        guest_close(&u);
    }
    if (open) {
        guest_close(&other);
    }
    party_close(&p);
}

static void in_files(void)
{
    kills(PARTY_FILES, LKV_SYNC_OFF, 20);
}

static void in_files_that_are_synced(void)
{
    kills(PARTY_FILES, LKV_SYNC_FULL, 5);
}

static void without_maps(void)
{
    kills(PARTY_COPIES, LKV_SYNC_NORMAL, 5);
}

static void in_shared_memory(void)
{
    kills(PARTY_SHARED, LKV_SYNC_FULL, 20);
}

static const check_case cases[] = {
    CASE(in_files),
    CASE(in_files_that_are_synced),
    CASE(without_maps),
    CASE(in_shared_memory),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
