/*
 * test_posix_many.c - processes and threads that read and write one store at a time,
 * with merges, compaction and rebuilds under way: what each reader sees must be one
 * commit as a whole, and no change may get lost. They end by counts.
 */
#include "fixture.h"
#include "party.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCOUNTS 64
#define EACH 1000 /* on an account in the beginning */
#define STAMPS 5  /* keys that every commit writes alike */
#define FILLERS 400
#define WRITERS 3
#define READERS 2
#define WAIT_MS 60000

/* What a worker has to do. */
typedef struct worker {
    const party *party;
    uint64_t random;
    int number; /* of the worker */
    int commits;
} worker;

static lkv_bytes bytes_of(const char *text)
{
    return (lkv_bytes){text, strlen(text)};
}

static int put(guest *u, const char *key, uint64_t number, size_t filling)
{
    char value[6000];
    size_t size = (size_t)snprintf(value, 24, "%llu ", (unsigned long long)number);
    lkv_row row = {bytes_of(key), {value, 0}, 0};
    memset(value + size, (int)('a' + number % 26), filling);
    row.value.size = size + filling;
    return lkv_put(u->store, &row, &u->err);
}

/* The number that a key has; 0 when it is not there. */
static int get(guest *u, const char *key, uint64_t *number)
{
    lkv_row row;
    int rc = lkv_get(u->store, bytes_of(key), &row, &u->err);
    *number = 0;
    if (rc == LKV_OK) {
        *number = strtoull(row.value.data, NULL, 10);
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int add(guest *u, const char *key, int64_t amount, size_t filling)
{
    uint64_t number;
    int rc = get(u, key, &number);
    return rc == LKV_OK ? put(u, key, number + (uint64_t)amount, filling) : rc;
}

static int move_money(guest *u, uint64_t *random)
{
    char from[8], to[8];
    int64_t amount = (int64_t)check_below(random, 20);
    int rc;
    snprintf(from, sizeof(from), "a%02d", (int)check_below(random, ACCOUNTS));
    snprintf(to, sizeof(to), "a%02d", (int)check_below(random, ACCOUNTS));
    rc = add(u, from, -amount, check_below(random, 100));
    return rc == LKV_OK ? add(u, to, amount, check_below(random, 100)) : rc;
}

static int change_fillers(guest *u, uint64_t *random)
{
    uint64_t count = check_below(random, 16) == 0 ? 200 : check_below(random, 8);
    char key[8];
    int rc = LKV_OK;
    for (uint64_t i = 0; i < count && rc >= 0; i++) {
        snprintf(key, sizeof(key), "f%03d", (int)check_below(random, FILLERS));
        rc = check_below(random, 3) == 0
                 ? lkv_delete(u->store, bytes_of(key), &u->err)
                 : put(u, key, i, check_below(random, 40) == 0 ? 5000 : i * 3 % 100);
    }
    return rc < 0 ? rc : LKV_OK;
}

static int change_all(guest *u, worker *w)
{
    char key[24];
    uint64_t total = 0;
    int rc = add(u, "total", 1, 0);
    if (rc == LKV_OK) {
        rc = get(u, "total", &total);
    }
    for (int i = 0; i < STAMPS && rc == LKV_OK; i++) {
        snprintf(key, sizeof(key), "%c stamp", 'a' + i * 5);
        rc = put(u, key, total, check_below(&w->random, 50));
    }
    if (rc == LKV_OK) {
        snprintf(key, sizeof(key), "worker%d", w->number);
        rc = add(u, key, 1, 10);
    }
    if (rc == LKV_OK) {
        rc = move_money(u, &w->random);
    }
    return rc == LKV_OK ? change_fillers(u, &w->random) : rc;
}

/* Something that is taken back. */
static int change_in_vain(guest *u, worker *w)
{
    uint32_t depth;
    int rc = lkv_mark(u->store, &depth);
    if (rc == LKV_OK) {
        rc = change_all(u, w);
    }
    if (rc == LKV_OK && check_below(&w->random, 2) == 0) {
        rc = lkv_prepare(u->store, &u->err);
    }
    if (rc == LKV_OK) {
        lkv_rollback_to(u->store, depth);
    }
    return rc;
}

static int work_on_it(guest *u, uint64_t *random)
{
    uint64_t left;
    switch (check_below(random, 24)) {
    case 0:
        return lkv_rebuild(u->store, NULL, NULL, &u->err);
    case 1:
        return lkv_compact(u->store, UINT64_MAX, &left, &u->err);
    case 2:
    case 3:
    case 4:
        return lkv_compact(u->store, 3000, &left, &u->err);
    default:
        return LKV_OK;
    }
}

/* One transaction; `*counts` becomes 1 when it is committed. */
static int transact(guest *u, worker *w, int *counts)
{
    uint64_t how = check_below(&w->random, 10);
    int rc = lkv_begin(u->store, WAIT_MS, &u->err);

    *counts = 0;
    if (rc != LKV_OK) {
        return rc;
    }
    rc = work_on_it(u, &w->random);
    if (rc == LKV_OK && how == 0) {
        rc = change_in_vain(u, w);
    }
    if (rc == LKV_OK) {
        rc = change_all(u, w);
    }
    if (rc == LKV_OK) {
        rc = lkv_prepare(u->store, &u->err);
    }
    if (rc == LKV_OK && how > 1) {
        *counts = 1;
        lkv_commit(u->store);
    } else {
        lkv_rollback(u->store);
    }
    return rc;
}

/* --- reading -------------------------------------------------------------------- */

typedef struct sight {
    uint64_t keys, sum, accounts, stamp, stamps, total, workers, hash;
} sight;

static int see(sight *s, const lkv_cursor *cursor, lkv_bytes value)
{
    lkv_bytes key = lkv_cursor_key(cursor);
    const char *name = key.data;
    uint64_t number = strtoull(value.data, NULL, 10);

    s->keys++;
    s->hash += lkv_filter_hash(key) * 31 + lkv_filter_hash(value);
    if (key.size == 3 && name[0] == 'a') {
        s->accounts++;
        s->sum += number;
    } else if (key.size == 5) {
        s->total = number;
    } else if (key.size == 7 && name[1] == ' ') {
        if (s->stamps++ > 0 && number != s->stamp) {
            return PARTY_FAIL((int)s->stamps, "a torn transaction");
        }
        s->stamp = number;
    } else if (key.size == 7) {
        s->workers += number;
    }
    return 0;
}

static int walk(guest *u, int forward, sight *s)
{
    lkv_cursor *cursor;
    int rc;

    memset(s, 0, sizeof(*s));
    if (lkv_cursor_open(u->store, &cursor) != LKV_OK) {
        return PARTY_FAIL(0, "cursor");
    }
    rc = forward ? lkv_cursor_first(cursor, &u->err) : lkv_cursor_last(cursor, &u->err);
    while (rc == LKV_OK) {
        lkv_bytes value;
        rc = lkv_cursor_value(cursor, &value, &u->err);
        if (rc == LKV_OK) {
            rc = see(s, cursor, value);
        }
        if (rc == LKV_OK) {
            rc = forward ? lkv_cursor_next(cursor, &u->err)
                         : lkv_cursor_prev(cursor, &u->err);
        }
    }
    lkv_cursor_close(cursor);
    return rc == LKV_ABSENT ? 0 : PARTY_FAIL(rc, u->err.text);
}

/* That what the handle stands on is right, by walks both ways while others commit. */
static int check_sight(guest *u, sight *s)
{
    sight back;
    if (walk(u, 1, s) != 0 || walk(u, 0, &back) != 0) {
        return 1;
    }
    if (memcmp(s, &back, sizeof(back)) != 0 || s->keys != lkv_count(u->store)) {
        return PARTY_FAIL((int)s->keys, "both ways are not alike");
    }
    if (s->accounts != ACCOUNTS || s->sum != (uint64_t)ACCOUNTS * EACH) {
        return PARTY_FAIL((int)s->sum, "money is lost");
    }
    if (s->total != s->workers || (s->total > 0 && s->stamp != s->total)) {
        return PARTY_FAIL((int)s->total, "a commit is lost");
    }
    return 0;
}

static int write_much(void *arg)
{
    worker *w = arg;
    guest u;
    int done = 0, counts;

    guest_open(&u, w->party);
    while (done < w->commits) {
        int rc = transact(&u, w, &counts);
        if (rc != LKV_OK) {
            return PARTY_FAIL(rc, u.err.text);
        }
        done += counts;
        if (check_below(&w->random, 30) == 0) {
            guest_close(&u);
            guest_open(&u, w->party);
        }
    }
    guest_close(&u);
    return 0;
}

static int read_much(void *arg)
{
    worker *w = arg;
    uint64_t revision = 0, want = (uint64_t)w->commits * WRITERS;
    sight s = {0};
    guest u;

    guest_open(&u, w->party);
    while (s.total < want) {
        uint64_t total = s.total;
        int rc = lkv_refresh(u.store, &u.err);
        if (rc != LKV_OK) {
            return PARTY_FAIL(rc, u.err.text);
        }
        if (check_sight(&u, &s) != 0) {
            return 1;
        }
        if (s.total < total || u.store->log.at.revision < revision) {
            return PARTY_FAIL((int)s.total, "it went back");
        }
        revision = u.store->log.at.revision;
        if (check_below(&w->random, 10) == 0) {
            rc = lkv_verify(u.store, NULL, NULL, &u.err);
            if (rc != LKV_OK) {
                return PARTY_FAIL(rc, u.err.text);
            }
        }
        if (check_below(&w->random, 10) == 0) {
            guest_close(&u);
            guest_open(&u, w->party);
        }
    }
    guest_close(&u);
    return 0;
}

/* --- who does it ---------------------------------------------------------------- */

static void fill(party *p)
{
    char key[8];
    guest u;
    guest_open(&u, p);
    guest_make(&u);
    CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
    for (int i = 0; i < ACCOUNTS; i++) {
        snprintf(key, sizeof(key), "a%02d", i);
        CHECK_INT(put(&u, key, EACH, 50), LKV_OK);
    }
    CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    lkv_commit(u.store);
    guest_close(&u);
}

static void check_end(party *p, int commits)
{
    sight s;
    guest u;
    guest_open(&u, p);
    CHECK_INT(lkv_refresh(u.store, &u.err), LKV_OK);
    CHECK_INT(check_sight(&u, &s), 0);
    CHECK_SIZE(s.total, (uint64_t)commits * WRITERS);
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    CHECK_TEXT(u.err.text, "");
    guest_close(&u);
    party_close(p);
}

static worker worker_of(const party *p, uint64_t *random, int number, int commits)
{
    return (worker){p, check_random(random), number, commits};
}

static void processes(enum party_kind kind, enum lkv_sync sync, int commits)
{
    uint64_t random = check_seed();
    pid_t child[WRITERS + READERS];
    party p;

    commits *= check_long() ? 20 : 1;
    party_open(&p, kind);
    p.sync = sync;
    fill(&p);
    for (int i = 0; i < WRITERS + READERS; i++) {
        worker w = worker_of(&p, &random, i, commits);
        child[i] = party_fork(i < WRITERS ? write_much : read_much, &w);
    }
    for (int i = 0; i < WRITERS + READERS; i++) {
        CHECK_INT(party_wait(child[i]), 0);
    }
    check_end(&p, commits);
}

static void processes_in_files(void)
{
    processes(PARTY_FILES, LKV_SYNC_OFF, 150);
}

static void processes_that_sync(void)
{
    processes(PARTY_FILES, LKV_SYNC_FULL, 12);
}

static void processes_without_maps(void)
{
    processes(PARTY_COPIES, LKV_SYNC_OFF, 100);
}

static void processes_in_shared_memory(void)
{
    processes(PARTY_SHARED, LKV_SYNC_FULL, 150);
}

static void *write_in_thread(void *arg)
{
    return write_much(arg) == 0 ? NULL : arg;
}

static void *read_in_thread(void *arg)
{
    return read_much(arg) == 0 ? NULL : arg;
}

static void threads(void)
{
    uint64_t random = check_seed();
    pthread_t thread[WRITERS + READERS];
    worker workers[WRITERS + READERS];
    int commits = check_long() ? 3000 : 60;
    party p;

    party_open(&p, PARTY_FILES);
    fill(&p);
    for (int i = 0; i < WRITERS + READERS; i++) {
        workers[i] = worker_of(&p, &random, i, commits);
        CHECK_INT(pthread_create(&thread[i], NULL,
                                 i < WRITERS ? write_in_thread : read_in_thread,
                                 &workers[i]),
                  0);
    }
    for (int i = 0; i < WRITERS + READERS; i++) {
        void *wrong;
        CHECK_INT(pthread_join(thread[i], &wrong), 0);
        CHECK(wrong == NULL);
    }
    check_end(&p, commits);
}

/* --- beginnings and ends -------------------------------------------------------- */

#define MAKERS 6

/* Makes the store or finds it made, writes once, and may remove it again. */
static int make_one(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < w->commits; i++) {
        lkv_error err = {0};
        guest u;
        int made = 0, rc;
        guest_open(&u, w->party);
        rc = lkv_storage_posix_make(u.storage, &made, &u.err);
        if (rc == LKV_OK && made) {
            rc = lkv_create(u.storage, &lkv_os_posix, (lkv_bytes){"x", 1}, &u.err);
        }
        if (rc == LKV_OK) {
            rc = lkv_begin(u.store, WAIT_MS, &u.err);
        }
        if (rc == LKV_OK) {
            rc = add(&u, "total", 1, 0);
        }
        if (rc == LKV_OK) {
            rc = lkv_prepare(u.store, &u.err);
        }
        if (rc != LKV_OK) {
            return PARTY_FAIL(rc, u.err.text);
        }
        lkv_commit(u.store);
        guest_close(&u);
        rc = check_below(&w->random, 2) == 0
                 ? LKV_OK
                 : lkv_storage_posix_remove(&lkv_os_posix, &w->party->options, &err);
        if (rc != LKV_OK && rc != LKV_BUSY && rc != LKV_CANTOPEN) {
            return PARTY_FAIL(rc, err.text);
        }
    }
    return 0;
}

static void makers(enum party_kind kind)
{
    uint64_t random = check_seed();
    pid_t child[MAKERS];
    lkv_error err = {0};
    party p;

    party_open(&p, kind);
    for (int i = 0; i < MAKERS; i++) {
        worker w = worker_of(&p, &random, i, check_long() ? 4000 : 200);
        child[i] = party_fork(make_one, &w);
    }
    for (int i = 0; i < MAKERS; i++) {
        CHECK_INT(party_wait(child[i]), 0);
    }
    (void)!lkv_storage_posix_remove(&lkv_os_posix, &p.options, &err);
    directory_remove(&p.directory);
}

static void makers_of_files(void)
{
    makers(PARTY_FILES);
}

static void makers_of_shared_memory(void)
{
    makers(PARTY_SHARED);
}

static unsigned open_files(void)
{
    unsigned count = 0;
    for (int file = 0; file < 256; file++) {
        count += fcntl(file, F_GETFD) >= 0;
    }
    return count;
}

/* What a child does that was forked by a process with a store open. */
static int remove_in_child(void *arg)
{
    const party *p = arg;
    unsigned before = open_files();
    lkv_error err = {0, ""};
    guest u;
    int rc;

    for (int i = 0; i < 2; i++) {
        rc = lkv_storage_posix_remove(&lkv_os_posix, &p->options, &err);
        if (rc != LKV_CANTOPEN || strstr(err.text, "is not litekv's") == NULL) {
            return PARTY_FAIL(rc, err.text);
        }
        if (open_files() != before) {
            return PARTY_FAIL((int)open_files(), "files are left open");
        }
    }
    guest_open(&u, p);
    rc = lkv_refresh(u.store, &u.err);
    if (rc != LKV_OK) {
        return PARTY_FAIL(rc, u.err.text);
    }
    guest_close(&u);
    return 0;
}

/* A removal that is refused leaves no lock and no open file, in a child as well. */
static void a_child_removes(void)
{
    char name[320];
    FILE *file;
    party p, other;
    guest u, keeps;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    commit_text(u.store, "a", "1");
    guest_close(&u);
    snprintf(name, sizeof(name), "%s/foreign", p.path);
    file = fopen(name, "w");
    CHECK(file != NULL && fclose(file) == 0);
    party_begin(&other, &keeps, PARTY_FILES, LKV_SYNC_FULL);
    CHECK_INT(party_wait(party_fork(remove_in_child, &p)), 0);
    guest_close(&keeps);
    party_close(&other);
    CHECK_INT(remove(name), 0);
    party_close(&p);
}

static const check_case cases[] = {
    CASE(a_child_removes),
    CASE(processes_in_files),
    CASE(processes_that_sync),
    CASE(processes_without_maps),
    CASE(processes_in_shared_memory),
    CASE(threads),
    CASE(makers_of_files),
    CASE(makers_of_shared_memory),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
