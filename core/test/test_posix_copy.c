/*
 * test_posix_copy.c - the newest root of a store in files is damaged where none before
 * it could be gone on from: there is a second one.
 */
#include "fixture.h"
#include "party.h"
#include "posix.h"
#include "rescue.h"

#include <stdio.h>
#include <string.h>

enum harm { A_BYTE, FIRST_SECTOR, ALL, HARMS };

static void harm(const char *path, const char *root, enum harm how)
{
    CHECK(directory_size(path, root) > 100);
    if (how == A_BYTE) {
        directory_poke(path, root, 100, directory_peek(path, root, 100) ^ 1);
    }
    for (long i = 8; how == FIRST_SECTOR && i < 512 && i < directory_size(path, root);
         i++) {
        directory_poke(path, root, i, 0x42);
    }
    if (how == ALL) {
        directory_cut(path, root, 0);
    }
}

/* Copies without the root that `u` has published last hold `want` all the same, to who
 * reads, recovers and writes, before a restart of the machine and after one. */
static void check_copies(party *p, guest *u, const char *want)
{
    char root[] = "root0";

    root[4] = (char)('0' + lkv_posix_of(u->storage)->slot);
    for (int i = 0; i < 2 * HARMS; i++) {
        static unsigned copies;
        report said = {0};
        char path[300], name[40];
        party other = *p;
        guest at;

        snprintf(name, sizeof(name), "copy%u", copies++);
        directory_path(&p->directory, name, path, sizeof(path));
        directory_copy(p->path, path);
        harm(path, root, (enum harm)(i % HARMS));
        if (i >= HARMS) {
            directory_poke(path, "lock", 8, directory_peek(path, "lock", 8) ^ 1);
        }
        other.options.path = path;
        guest_open(&at, &other);
        CHECK_INT(salvage(at.store, 0, &said, &at.err), LKV_OK);
        /* After a restart nobody knows that it was no newer one. */
        CHECK_TEXT(said.text, i == HARMS + FIRST_SECTOR ? "root 0: 0+0 -..-" : "");
        CHECK_TEXT(guest_seen(&at), want);
        CHECK_INT(lkv_verify(at.store, NULL, NULL, &at.err), LKV_OK);
        commit_text(at.store, "z", "9");
        guest_close(&at);
    }
}

static void first_root(void)
{
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    commit_text(u.store, "a", "1");
    check_copies(&p, &u, "a=1");
    guest_close(&u);
    party_close(&p);
}

/* The first writer after a restart leaves no root but the one that counts. */
static void after_a_restart(void)
{
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    u.storage->segment = 200;
    for (const char *at = "123456"; *at != '\0'; at++) {
        const char value[] = {*at, '\0'};
        commit_text(u.store, "a", value);
    }
    u.storage->segment = LKV_SEGMENT_SIZE;
    guest_close(&u);
    directory_poke(p.path, "lock", 8, directory_peek(p.path, "lock", 8) ^ 1);
    guest_open(&u, &p);
    commit_text(u.store, "b", "2");
    check_copies(&p, &u, "a=6 b=2");
    guest_close(&u);
    party_close(&p);
}

/* Six commits to `a` and `b` of few segments, and all of them compacted. */
static void fill_and_compact(guest *u)
{
    uint64_t left = 1;

    u->storage->segment = 200;
    for (const char *at = "123456"; *at != '\0'; at++) {
        const char value[] = {*at, '\0'};
        commit_text(u->store, "a", value);
        commit_text(u->store, "b", value);
    }
    CHECK_INT(lkv_begin(u->store, 0, &u->err), LKV_OK);
    CHECK_INT(lkv_compact(u->store, UINT64_MAX, &left, &u->err), LKV_OK);
    prepare_and_commit(u->store);
}

/* What the root before the newest names is gone, and again. */
static void after_compaction(void)
{
    static const enum lkv_sync syncs[] = {LKV_SYNC_FULL, LKV_SYNC_NORMAL};
    for (int i = 0; i < 2; i++) {
        party p;
        guest u;

        party_begin(&p, &u, PARTY_FILES, syncs[i]);
        for (int again = 0; again < 2; again++) {
            fill_and_compact(&u);
            CHECK_INT(lkv_posix_of(u.storage)->durable_slot,
                      lkv_posix_of(u.storage)->slot);
            CHECK_INT(directory_size(p.path, "00000001"), -1);
            check_copies(&p, &u, "a=6 b=6");
        }
        guest_close(&u);
        party_close(&p);
    }
}

static int count_file(void *arg, const char *name)
{
    unsigned *files = arg;
    *files += strlen(name) == 8;
    return 0;
}

/* Of objects. */
static unsigned count_files(lkv_posix *posix)
{
    unsigned files = 0;
    CHECK_INT(lkv_posix_each(posix, count_file, &files), 0);
    return files;
}

static unsigned kept; /* files */

static int keep(void *ctx, const char *name, int memory)
{
    (void)ctx;
    (void)name;
    (void)memory;
    kept++;
    return 0;
}

/* `u` has compacted, and so does another, which dies before it has the root twice and
 * removes what it should. */
static void leave_garbage(party *p, guest *u)
{
    const lkv_os *real;
    lkv_os_shared shared = *lkv_os_posix.shared;
    lkv_os os = lkv_os_posix;
    char copy[] = "root0";
    guest dies;

    party_begin(p, u, PARTY_FILES, LKV_SYNC_FULL);
    fill_and_compact(u);
    guest_open(&dies, p);
    shared.remove = keep;
    os.shared = &shared;
    real = lkv_posix_of(dies.storage)->os;
    lkv_posix_of(dies.storage)->os = &os;
    kept = 0;
    fill_and_compact(&dies);
    CHECK(kept > 0);
    lkv_posix_of(dies.storage)->os = real;
    copy[4] = (char)('0' + (lkv_posix_of(dies.storage)->slot + 2) % LKV_POSIX_SLOTS);
    CHECK_INT(directory_peek(p->path, copy, 4), 1 | 4);
    directory_cut(p->path, copy, 0);
    guest_close(&dies);
}

/* What the next one finds and removes, the root before the newest names. */
static void after_a_death(void)
{
    unsigned files;
    party p;
    guest u;

    leave_garbage(&p, &u);
    files = count_files(lkv_posix_of(u.storage));
    directory_poke(p.path, "lock", 104, 1);
    commit_text(u.store, "c", "7");
    CHECK(count_files(lkv_posix_of(u.storage)) < files);
    check_copies(&p, &u, "a=6 b=6 c=7");
    guest_close(&u);
    party_close(&p);
}

/* So does what is removed by a transaction that is taken back. */
static void after_a_rollback(void)
{
    uint64_t left = 1;
    unsigned files;
    party p;
    guest u;

    leave_garbage(&p, &u);
    files = count_files(lkv_posix_of(u.storage));
    CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
    CHECK_INT(lkv_compact(u.store, UINT64_MAX, &left, &u.err), LKV_OK);
    lkv_rollback(u.store);
    CHECK(count_files(lkv_posix_of(u.storage)) < files);
    check_copies(&p, &u, "a=6 b=6");
    guest_close(&u);
    party_close(&p);
}

/* With sync=off what was there before is removed as well; but a root that promises
 * nothing does not take the place of the durable one. */
static void durable_one_stays(void)
{
    char root[] = "root0";
    lkv_posix *posix;
    int byte;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    posix = lkv_posix_of(u.storage);
    u.storage->segment = 200;
    for (int i = 0; i < 20 && posix->durable_slot != 1; i++) {
        commit_text(u.store, "a", "1");
    }
    root[4] = (char)('0' + posix->durable_slot);
    byte = directory_peek(p.path, root, 8 + 16); /* of the generation */
    lkv_sync_fallback(u.store, LKV_SYNC_OFF);
    for (int i = 0; i < 6; i++) {
        uint64_t left = 1;
        commit_text(u.store, "a", "2");
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        CHECK_INT(lkv_compact(u.store, UINT64_MAX, &left, &u.err), LKV_OK);
        prepare_and_commit(u.store);
        CHECK(posix->slot != posix->durable_slot);
        CHECK_INT(posix->durable_slot, root[4] - '0');
        CHECK_INT(directory_peek(p.path, root, 8 + 16), byte);
    }
    CHECK_INT(directory_size(p.path, "00000001"), -1);
    guest_close(&u);
    party_close(&p);
}

/* Both are right: whoever opens the store goes by the first one, wherever it stands. */
static void first_one_counts(void)
{
    for (int turned = 0; turned < 2; turned++) {
        party p;
        guest u;

        party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
        guest_close(&u);
        CHECK_INT(directory_peek(p.path, "root0", 4), 1);
        CHECK_INT(directory_peek(p.path, "root2", 4), 1 | 4);
        if (turned) {
            directory_poke(p.path, "root0", 4, 1 | 4);
            directory_poke(p.path, "root2", 4, 1);
        }
        guest_open(&u, &p);
        CHECK_TEXT(guest_seen(&u), "");
        CHECK_INT(lkv_posix_of(u.storage)->slot, turned ? 2 : 0);
        CHECK_INT(lkv_posix_of(u.storage)->durable_slot, turned ? 2 : 0);
        guest_close(&u);
        party_close(&p);
    }
}

static const check_case cases[] = {CASE(first_root),       CASE(after_a_restart),
                                   CASE(after_compaction), CASE(after_a_death),
                                   CASE(after_a_rollback), CASE(durable_one_stays),
                                   CASE(first_one_counts)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
