/*
 * test_posix.c - a store in files and in shared memory: several handles, what a writer
 * leaves that dies, torn tails and damage. Each runs with maps and without.
 */
#include "directory.h"
#include "fixture.h"

#include "storage_posix.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEGMENT_1 "00000001"

typedef struct place {
    directory directory;
    char path[300];
    lkv_posix_options options;
    os_fault os;
} place;

typedef struct user {
    place *place;
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err;
} user;

static int mapped = 1;

static void place_open(place *p)
{
    directory_make(&p->directory);
    directory_path(&p->directory, "kv", p->path, sizeof(p->path));
    p->options = (lkv_posix_options){
        .path = p->path, .mode = 0600, .mapped = mapped, .cache_bytes = 1 << 20};
    os_fault_init(&p->os);
}

static void place_close(place *p)
{
    CHECK_SIZE(p->os.live, 0);
    CHECK_SIZE(p->os.open_files, 0);
    CHECK_SIZE(p->os.maps, 0);
    directory_remove(&p->directory);
}

static void user_open(user *u, place *p, enum lkv_sync sync)
{
    memset(u, 0, sizeof(*u));
    u->place = p;
    CHECK_INT(lkv_storage_posix_open(&p->os.os, &p->options, &u->storage), LKV_OK);
    CHECK_INT(lkv_open(u->storage, &p->os.os, &u->store), LKV_OK);
    lkv_sync_fallback(u->store, sync);
}

static void user_close(user *u)
{
    lkv_close(u->store);
    lkv_storage_posix_close(u->storage);
}

static void make(user *u)
{
    int made = 0;
    CHECK_INT(lkv_storage_posix_make(u->storage, &made, &u->err), LKV_OK);
    CHECK_INT(made, 1);
    CHECK_INT(lkv_create(u->storage, &u->place->os.os, text_bytes("about"), &u->err),
              LKV_OK);
}

static const char *seen(user *u)
{
    if (lkv_refresh(u->store, &u->err) != LKV_OK) {
        return u->err.text;
    }
    return contents(u->store);
}

static void two_handles(void)
{
    place p;
    user a, b;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_NORMAL);
    user_open(&b, &p, LKV_SYNC_NORMAL);
    CHECK_HAS(seen(&b), "there is no store");
    make(&a);
    CHECK_TEXT(seen(&a), "");
    CHECK_TEXT(seen(&b), "");
    commit_text(a.store, "a", "1");
    CHECK_TEXT(seen(&b), "a=1");
    commit_text(b.store, "b", "2");
    commit_text(b.store, "a", "3");
    CHECK_TEXT(seen(&a), "a=3 b=2");
    /* One writer. */
    begin(a.store);
    CHECK_INT(put_text(a.store, "c", "4"), LKV_OK);
    CHECK_INT(lkv_begin(b.store, 0, &b.err), LKV_BUSY);
    CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
    CHECK_TEXT(seen(&b), "a=3 b=2"); /* prepared, and not published */
    lkv_rollback(a.store);
    CHECK_TEXT(seen(&a), "a=3 b=2");
    begin(b.store);
    CHECK_INT(delete_text(b.store, "a"), LKV_OK);
    prepare_and_commit(b.store);
    CHECK_TEXT(seen(&a), "b=2");
    user_close(&b);
    user_close(&a);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_TEXT(seen(&a), "b=2");
    CHECK_BYTES(lkv_meta(a.store).data, lkv_meta(a.store).size, "about", 5);
    user_close(&a);
    place_close(&p);
}

/* The store as it stands, opened by another who knows nothing. */
static void check_copy(place *p, const char *name, const char *want)
{
    char path[300];
    place other = *p;
    user u;
    directory_path(&p->directory, name, path, sizeof(path));
    directory_copy(p->path, path);
    other.options.path = path;
    os_fault_init(&other.os);
    user_open(&u, &other, LKV_SYNC_FULL);
    CHECK_HAS(seen(&u), want);
    CHECK_SIZE(strlen(seen(&u)), strlen(want));
    if (strchr(want, ':') == NULL) { /* and it can be written */
        commit_text(u.store, "z", "9");
        CHECK_HAS(seen(&u), "z=9");
        CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
        user_close(&u);
        user_open(&u, &other, LKV_SYNC_FULL);
        CHECK_HAS(seen(&u), want);
        CHECK_HAS(seen(&u), "z=9");
    }
    user_close(&u);
    CHECK_SIZE(other.os.live, 0);
}

static void a_writer_dies(void)
{
    place p;
    user a;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_FULL);
    make(&a);
    check_copy(&p, "empty", "");
    commit_text(a.store, "a", "1");
    check_copy(&p, "one", "a=1");
    begin(a.store);
    CHECK_INT(put_text(a.store, "b", "2"), LKV_OK);
    check_copy(&p, "open", "a=1");
    CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
    check_copy(&p, "prepared", "a=1 b=2");
    lkv_rollback(a.store);
    check_copy(&p, "undone", "a=1");
    begin(a.store);
    CHECK_INT(put_text(a.store, "c", "3"), LKV_OK);
    CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
    CHECK_INT(put_text(a.store, "d", "4"), LKV_OK);
    CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
    check_copy(&p, "twice", "a=1 c=3 d=4");
    lkv_rollback(a.store);
    check_copy(&p, "twice undone", "a=1");
    user_close(&a);
    check_copy(&p, "closed", "a=1");
    place_close(&p);
}

/* A savepoint that lies before a prepared commit. */
static void rolls_back_behind_a_prepare(void)
{
    place p;
    user a;
    uint32_t depth;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_FULL);
    make(&a);
    begin(a.store);
    CHECK_INT(put_text(a.store, "a", "1"), LKV_OK);
    depth = mark(a.store);
    CHECK_INT(put_text(a.store, "b", "2"), LKV_OK);
    CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
    lkv_rollback_to(a.store, depth);
    check_copy(&p, "back", "");
    CHECK_INT(put_text(a.store, "c", "3"), LKV_OK);
    CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
    lkv_commit(a.store);
    check_copy(&p, "other", "a=1 c=3");
    CHECK_TEXT(seen(&a), "a=1 c=3");
    user_close(&a);
    place_close(&p);
}

/* Runs, merges, parts: transactions of many sizes by two handles, one reading. */
static void much(void)
{
    static char key[32], value[200];
    place p;
    user a, b;
    uint64_t random = check_seed();

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_NORMAL);
    user_open(&b, &p, LKV_SYNC_NORMAL);
    a.store->flush_size = b.store->flush_size = 2048;
    make(&a);
    for (int i = 0; i < 300 && check_failures() == 0; i++) {
        user *u = check_below(&random, 2) == 0 ? &a : &b;
        user *reader = u == &a ? &b : &a;
        uint64_t rows = 1 + check_below(&random, 60);
        uint64_t total = 0;
        begin(u->store);
        for (uint64_t k = 0; k < rows; k++) {
            snprintf(key, sizeof(key), "k%03d", (int)check_below(&random, 500));
            snprintf(value, sizeof(value), "%d-%0*d", i, (int)check_below(&random, 90),
                     7);
            CHECK_INT(put_text(u->store, key, value), LKV_OK);
        }
        if (check_below(&random, 4) == 0) {
            lkv_rollback(u->store);
        } else {
            prepare_and_commit(u->store);
        }
        CHECK_INT(lkv_refresh(reader->store, &reader->err), LKV_OK);
        CHECK_TEXT(reader->err.text, "");
        total = lkv_count(reader->store);
        CHECK_SIZE(total, lkv_count(u->store));
        if (i % 20 == 0) {
            CHECK_INT(lkv_verify(reader->store, NULL, NULL, &reader->err), LKV_OK);
            CHECK_TEXT(reader->err.text, "");
        }
    }
    {
        char *mine = strdup(seen(&a));
        CHECK_TEXT(seen(&b), mine);
        user_close(&a);
        user_open(&a, &p, LKV_SYNC_NORMAL);
        CHECK_TEXT(seen(&a), mine);
        begin(a.store);
        uint64_t left = 1;
        while (left > 0) {
            CHECK_INT(lkv_compact(a.store, 3000, &left, &a.err), LKV_OK);
        }
        prepare_and_commit(a.store);
        CHECK_TEXT(seen(&b), mine);
        CHECK_INT(lkv_verify(b.store, NULL, NULL, &b.err), LKV_OK);
        CHECK_TEXT(b.err.text, "");
        free(mine);
    }
    user_close(&b);
    user_close(&a);
    place_close(&p);
}

/* Each byte of a torn last commit: the one before is what stands; what was vouched for
 * is damage. */
static void torn_tails(void)
{
    place p;
    user a;
    long end, before;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_FULL);
    make(&a);
    commit_text(a.store, "a", "1");
    commit_text(a.store, "b", "2");
    before = (long)a.store->log.at.offset;
    commit_text(a.store, "c", "longer than what comes in its place");
    end = (long)a.store->log.at.offset;
    for (long at = LKV_SEGMENT_HEADER; at < end; at++) {
        char path[300], name[40];
        place other = p;
        user u;
        snprintf(name, sizeof(name), "torn%ld", at);
        directory_path(&p.directory, name, path, sizeof(path));
        directory_copy(p.path, path);
        directory_poke(path, SEGMENT_1, at, directory_peek(path, SEGMENT_1, at) ^ 0x55);
        other.options.path = path;
        os_fault_init(&other.os);
        user_open(&u, &other, LKV_SYNC_FULL);
        if (at < before) {
            CHECK_HAS(seen(&u), "segment 1, offset ");
        } else {
            CHECK_TEXT(seen(&u), "a=1 b=2");
            CHECK_SIZE(lkv_storage_posix_torn(u.storage), end - before);
            commit_text(u.store, "d", "4");
            CHECK_TEXT(seen(&u), "a=1 b=2 d=4");
            for (long i = (long)u.store->log.at.offset; i < end; i++) {
                CHECK_INT(directory_peek(path, SEGMENT_1, i), 0);
            }
        }
        user_close(&u);
    }
    user_close(&a);
    place_close(&p);
}

static void files_of_wrong_length(void)
{
    place p;
    user a;
    char name[sizeof(p.path) + 12];

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_FULL);
    make(&a);
    commit_text(a.store, "a", "1");
    user_close(&a);
    directory_cut(p.path, SEGMENT_1, 100);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_HAS(seen(&a), "file 00000001 is shorter than the root says");
    user_close(&a);
    snprintf(name, sizeof(name), "%s/" SEGMENT_1, p.path);
    CHECK_INT(truncate(name, (off_t)1 << 32), 0);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_HAS(seen(&a), "file 00000001 is longer than a segment can be");
    user_close(&a);
    CHECK_INT(unlink(name), 0);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_HAS(seen(&a), "file 00000001 is missing");
    user_close(&a);
    directory_cut(p.path, "lock", 10);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_HAS(seen(&a), "its file lock is damaged, or not finished; if");
    user_close(&a);
    place_close(&p);
}

static void removing(void)
{
    place p;
    user a;
    lkv_error err = {0};

    place_open(&p);
    CHECK_INT(lkv_storage_posix_remove(&p.os.os, &p.options, &err), LKV_CANTOPEN);
    user_open(&a, &p, LKV_SYNC_FULL);
    make(&a);
    CHECK_INT(lkv_storage_posix_remove(&p.os.os, &p.options, &err), LKV_BUSY);
    CHECK_HAS(err.text, "somebody has it open");
    user_close(&a);
    CHECK_INT(lkv_storage_posix_remove(&p.os.os, &p.options, &err), LKV_OK);
    CHECK_INT(access(p.path, F_OK), -1);
    user_open(&a, &p, LKV_SYNC_FULL);
    make(&a);
    lkv_storage_posix_unmake(a.storage);
    CHECK_INT(access(p.path, F_OK), -1);
    CHECK_HAS(seen(&a), "there is no store");
    user_close(&a);
    place_close(&p);
}

static void forked(void)
{
    place p;
    user a;
    pid_t child;
    int status = 0;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_NORMAL);
    make(&a);
    commit_text(a.store, "a", "1");
    child = fork();
    if (child == 0) {
        lkv_error err = {0};
        _exit(lkv_refresh(a.store, &err) == LKV_MISUSE &&
                      strstr(err.text, "fork") != NULL &&
                      lkv_begin(a.store, 0, &err) == LKV_MISUSE
                  ? 0
                  : 1);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    commit_text(a.store, "b", "2");
    CHECK_TEXT(seen(&a), "a=1 b=2");
    user_close(&a);
    place_close(&p);
}

static void shared_memory(void)
{
    place p;
    user a, b;
    char name[64];
    lkv_error err = {0};

    place_open(&p);
    snprintf(name, sizeof(name), "/litekv-test.%d", (int)getpid());
    p.options.path = name;
    p.options.shared_memory = 1;
    user_open(&a, &p, LKV_SYNC_FULL);
    user_open(&b, &p, LKV_SYNC_FULL);
    make(&a);
    commit_text(a.store, "a", "1");
    CHECK_TEXT(seen(&b), "a=1");
    commit_text(b.store, "b", "2");
    CHECK_TEXT(seen(&a), "a=1 b=2");
    user_close(&a);
    user_close(&b);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_TEXT(seen(&a), "a=1 b=2");
    user_close(&a);
    CHECK_INT(lkv_storage_posix_remove(&p.os.os, &p.options, &err), LKV_OK);
    user_open(&a, &p, LKV_SYNC_FULL);
    CHECK_HAS(seen(&a), "there is no store");
    user_close(&a);
    place_close(&p);
}

/* The page tells of another run of the machine: what it says is nothing. */
static void the_machine_was_started_again(void)
{
    char path[300];
    place p, other;
    user a, b;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_NORMAL);
    make(&a);
    commit_text(a.store, "a", "1");
    directory_path(&p.directory, "old", path, sizeof(path));
    directory_copy(p.path, path); /* its page says a=1, */
    commit_text(a.store, "b", "2");
    other = p;
    other.options.path = path;
    os_fault_init(&other.os);
    other.os.boots = 1;
    {
        char from[400], to[400];
        snprintf(from, sizeof(from), "%s/" SEGMENT_1, p.path);
        snprintf(to, sizeof(to), "%s/" SEGMENT_1, path);
        CHECK_INT(rename(from, to), 0); /* and its log b=2 as well */
        user_open(&b, &other, LKV_SYNC_NORMAL);
        CHECK_TEXT(seen(&b), "a=1 b=2");
    }
    user_close(&b);
    a.store->log.unvouched = 0; /* its file is gone */
    user_close(&a);
    place_close(&p);
}

/* A writer makes out the end when it begins, and keeps the lock: who opens the store
 * meanwhile does not wait for it. */
static void opened_while_a_writer_writes(void)
{
    place p;
    user a, b;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_NORMAL);
    user_open(&b, &p, LKV_SYNC_NORMAL);
    make(&a);
    commit_text(a.store, "a", "1");
    begin(a.store);
    CHECK_INT(put_text(a.store, "b", "2"), LKV_OK);
    p.os.slept_ms = 0;
    CHECK_TEXT(seen(&b), "a=1");
    CHECK_SIZE(p.os.slept_ms, 0);
    prepare_and_commit(a.store);
    CHECK_TEXT(seen(&b), "a=1 b=2");
    user_close(&a);
    user_close(&b);
    place_close(&p);
}

static void snapshots(void)
{
    place p;
    user a, b;

    place_open(&p);
    user_open(&a, &p, LKV_SYNC_NORMAL);
    user_open(&b, &p, LKV_SYNC_NORMAL);
    make(&a);
    commit_text(a.store, "a", "1");
    CHECK_TEXT(seen(&b), "a=1");
    CHECK_INT(lkv_begin_here(b.store, 0, &b.err), LKV_OK);
    lkv_rollback(b.store);
    commit_text(a.store, "a", "2");
    CHECK_INT(lkv_begin_here(b.store, 0, &b.err), LKV_BUSY_SNAPSHOT);
    CHECK_TEXT(contents(b.store), "a=1");
    commit_text(a.store, "a", "3"); /* the lock is free */
    CHECK_TEXT(seen(&b), "a=3");
    user_close(&a);
    user_close(&b);
    place_close(&p);
}

static void without_maps(void)
{
    mapped = 0;
    two_handles();
    a_writer_dies();
    rolls_back_behind_a_prepare();
    much();
    torn_tails();
    mapped = 1;
}

static const check_case cases[] = {
    CASE(two_handles),
    CASE(a_writer_dies),
    CASE(rolls_back_behind_a_prepare),
    CASE(much),
    CASE(torn_tails),
    CASE(files_of_wrong_length),
    CASE(removing),
    CASE(forked),
    CASE(shared_memory),
    CASE(snapshots),
    CASE(opened_while_a_writer_writes),
    CASE(the_machine_was_started_again),
    CASE(without_maps),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
