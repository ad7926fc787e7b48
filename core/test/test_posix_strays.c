/*
 * test_posix_strays.c - files of objects that were taken back are removed later, and no
 * other file is, whoever lets go of the lock meanwhile.
 */
#include "fixture.h"
#include "party.h"
#include "posix.h"
#include "rescue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LONG_TEXT                                                                      \
    "a value that is so long that a few of them fill a segment of 200 bytes"

/* A handle with strays reads, others go on, and it asks in vain to write on what it
 * read. */
static void lock_given_back(void)
{
    static const enum lkv_sync to[] = {LKV_SYNC_FULL, LKV_SYNC_OFF};
    for (int i = 0; i < 2; i++) {
        guest a, b, c;
        party p;

        party_begin(&p, &a, PARTY_FILES, LKV_SYNC_NORMAL);
        a.storage->segment = 200;
        commit_text(a.store, "a", "1");
        guest_open(&b, &p);
        b.storage->segment = 200;
        begin(a.store);
        for (int k = 0; k < 20; k++) {
            CHECK_INT(put_text(a.store, "x", LONG_TEXT), LKV_OK);
        }
        CHECK_INT(lkv_prepare(a.store, &a.err), LKV_OK);
        lkv_rollback(a.store);
        CHECK(lkv_posix_of(a.storage)->strays);
        begin(b.store);
        CHECK_INT(lkv_set_sync(b.store, to[i], &b.err), LKV_OK);
        prepare_and_commit(b.store);
        CHECK_TEXT(guest_seen(&a), "a=1");
        for (int k = 0; k < 6; k++) {
            commit_text(b.store, "b", LONG_TEXT);
        }
        commit_text(b.store, "b", "2");
        CHECK_INT(lkv_begin_here(a.store, 0, &a.err), LKV_BUSY_SNAPSHOT);
        guest_open(&c, &p);
        CHECK_TEXT(guest_seen(&c), "a=1 b=2");
        CHECK_TEXT(guest_seen(&b), "a=1 b=2");
        guest_close(&c);
        guest_close(&a);
        guest_close(&b);
        party_close(&p);
    }
}

/* Files of objects; `*run` becomes the name of the first of a run. */
static int count_objects(const char *path, char *run, size_t size)
{
    static const uint32_t kinds[] = {1, LKV_PART_FIRST, LKV_RUN_FIRST};
    int files = 0;

    run[0] = '\0';
    for (uint32_t i = 0; i < 0x40 * 3; i++) {
        char name[40];
        snprintf(name, sizeof(name), "%08x", (unsigned)(kinds[i % 3] + i / 3));
        if (directory_size(path, name) >= 0) {
            files++;
            if (i % 3 == 2 && run[0] == '\0') {
                snprintf(run, size, "%s", name);
            }
        }
    }
    return files;
}

/* A recovery that is taken back has opened no run of those that the root still names.
 */
static void recovery_taken_back(void)
{
    report said = {0};
    char file[350], run[40];
    int before;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    u.storage->segment = 4000;
    u.store->flush_size = 600;
    for (int i = 0; i < 60; i++) {
        char key[20];
        snprintf(key, sizeof(key), "k%03d", i);
        commit_text(u.store, key, LONG_TEXT);
    }
    guest_close(&u);
    (void)count_objects(p.path, run, sizeof(run));
    CHECK(run[0] != '\0');
    snprintf(file, sizeof(file), "%s/%s", p.path, run);
    CHECK_INT(remove(file), 0);
    before = count_objects(p.path, run, sizeof(run));
    CHECK(before > 4);
    guest_open(&u, &p);
    CHECK_INT(salvage(u.store, 1, &said, &u.err), LKV_OK);
    lkv_rollback(u.store);
    CHECK(count_objects(p.path, run, sizeof(run)) >= before);
    guest_close(&u);
    party_close(&p);
}

/* What is behind the end is nothing. */
static void check_zeros(const char *path, const lkv_end *end)
{
    char name[40];
    snprintf(name, sizeof(name), "%08x", (unsigned)end->segment);
    for (long at = end->offset; at < directory_size(path, name); at++) {
        if (!CHECK_INT(directory_peek(path, name, at), 0)) {
            break;
        }
    }
}

static int not_ours(void *ctx, const char *name, int memory)
{
    (void)ctx;
    (void)name;
    (void)memory;
    return EPERM;
}

/* Files that another user made, in a directory where each removes his own alone, as
 * that of shared memory. What cannot be removed does not stop a writer: not what
 * compaction leaves, nor a file that has the name of a new one, of a writer that died.
 */
static void of_another_user(void)
{
    for (int kind = 0; kind < PARTY_KINDS; kind++) {
        lkv_os_shared shared = *lkv_os_posix.shared;
        lkv_os os = lkv_os_posix;
        uint64_t left;
        party p;
        guest u, v;

        party_begin(&p, &u, (enum party_kind)kind, LKV_SYNC_FULL);
        u.storage->segment = 200;
        begin(u.store);
        for (int i = 0; i < 20; i++) {
            CHECK_INT(put_text(u.store, "x", LONG_TEXT), LKV_OK);
        }
        prepare_and_commit(u.store);
        shared.remove = not_ours;
        os.shared = &shared;
        lkv_posix_of(u.storage)->os = &os;
        begin(u.store); /* it dies, and leaves files that a next one would make */
        for (int i = 0; i < 20; i++) {
            CHECK_INT(put_filler(u.store, "x", 600, 1), LKV_OK);
        }
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
        lkv_rollback(u.store);
        guest_open(&v, &p);
        v.storage->segment = 200;
        lkv_posix_of(v.storage)->os = &os;
        for (int i = 0; i < 20; i++) {
            const char value[] = {(char)('a' + i), '\0'};
            begin(v.store);
            CHECK_INT(put_text(v.store, "y", LONG_TEXT), LKV_OK);
            CHECK_INT(put_text(v.store, "x", value), LKV_OK);
            prepare_and_commit(v.store);
            if (kind != PARTY_SHARED) {
                check_zeros(p.path, &v.store->log.at);
            }
            if (i % 4 == 0) {
                begin(v.store);
                CHECK_INT(lkv_compact(v.store, UINT64_MAX, &left, &v.err), LKV_OK);
                prepare_and_commit(v.store);
            }
        }
        CHECK_INT(lkv_refresh(u.store, &u.err), LKV_OK);
        CHECK_TEXT(get_text(u.store, "x"), "t");
        CHECK_TEXT(get_text(u.store, "y"), LONG_TEXT);
        CHECK_SIZE(lkv_count(u.store), 2);
        CHECK_INT(lkv_verify(v.store, NULL, NULL, &v.err), LKV_OK);
        lkv_posix_of(u.storage)->os = lkv_posix_of(v.storage)->os = &lkv_os_posix;
        guest_close(&u);
        guest_close(&v);
        party_close(&p);
    }
}

static const check_case cases[] = {CASE(lock_given_back), CASE(recovery_taken_back),
                                   CASE(of_another_user)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
