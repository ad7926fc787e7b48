/*
 * test_posix_broken.c - a write or a sync of a store in files has failed: what the
 * handle reads then, what it does not promise any more, and what the next one does.
 */
#include "fixture.h"
#include "party.h"
#include "posix.h"
#include "rescue.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int to_fail; /* so many calls from here on */

static int half_a_write(void *ctx, int file, uint64_t offset, const void *bytes,
                        size_t size)
{
    if (to_fail > 0) {
        to_fail--;
        (void)lkv_os_posix.shared->write(ctx, file, offset, bytes, size / 2);
        return ENOSPC;
    }
    return lkv_os_posix.shared->write(ctx, file, offset, bytes, size);
}

static int room;    /* zeros were written, which are synced at once */
static int of_room; /* the sync of these fails */

static int see_room(void *ctx, int file, uint64_t offset, const void *bytes,
                    size_t size)
{
    const uint8_t *at = bytes;
    room = size >= 4096 && at[0] == 0 && memcmp(at, at + 1, size - 1) == 0;
    return lkv_os_posix.shared->write(ctx, file, offset, bytes, size);
}

static int no_sync(void *ctx, int file)
{
    if (to_fail > 0 && room == of_room) {
        to_fail--;
        return EIO;
    }
    return lkv_os_posix.shared->sync(ctx, file);
}

/* Without maps: what a failed write leaves behind the end is not kept for what comes to
 * stand there, which is another's. */
static void half_written(void)
{
    for (int shared_memory = 0; shared_memory < 2; shared_memory++) {
        lkv_os_shared shared = *lkv_os_posix.shared;
        lkv_os os = lkv_os_posix;
        party p;
        guest u, v;

        party_open(&p, shared_memory ? PARTY_SHARED : PARTY_COPIES);
        p.options.mapped = 0;
        p.sync = LKV_SYNC_FULL;
        guest_open(&u, &p);
        guest_make(&u);
        guest_open(&v, &p);
        v.store->flush_size = 2000;
        commit_text(v.store, "a", "1");
        begin(u.store);
        CHECK_INT(put_text(u.store, "k", "never to be seen"), LKV_OK);
        CHECK_INT(put_filler(u.store, "f", 1200, 1), LKV_OK);
        CHECK_INT(put_filler(u.store, "g", 3000, 2), LKV_OK);
        shared.write = half_a_write;
        os.shared = &shared;
        lkv_posix_of(u.storage)->os = &os;
        to_fail = 1;
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_FULL);
        lkv_rollback(u.store);
        CHECK_INT(to_fail, 0);
        lkv_posix_of(u.storage)->os = &lkv_os_posix;
        CHECK_TEXT(get_text(u.store, "a"), "1");

        begin(v.store);
        CHECK_INT(put_text(v.store, "k", "what there is..."), LKV_OK);
        CHECK_INT(put_filler(v.store, "f", 1200, 1), LKV_OK);
        CHECK_INT(put_filler(v.store, "g", 3000, 2), LKV_OK);
        prepare_and_commit(v.store);
        for (const char *at = "mnop"; *at != '\0'; at++) {
            const char key[] = {*at, '\0'};
            begin(v.store);
            CHECK_INT(put_filler(v.store, key, 2500, 1), LKV_OK);
            prepare_and_commit(v.store);
        }
        CHECK(v.store->log.runs->count > 0);
        CHECK_INT(lkv_refresh(u.store, &u.err), LKV_OK);
        CHECK_TEXT(get_text(u.store, "k"), "what there is...");
        CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
        guest_close(&u);
        guest_close(&v);
        party_close(&p);
    }
}

/* A handle with a commit that no root vouches for, and one whose sync has failed. */
enum failed_sync { OF_A_ROOT, OF_ROOM, NO_ROOT };

static void fail_a_sync(party *p, guest *u, enum failed_sync kind)
{
    static lkv_os_shared shared;
    static lkv_os os;

    party_begin(p, u, PARTY_FILES, kind == NO_ROOT ? LKV_SYNC_FULL : LKV_SYNC_NORMAL);
    commit_text(u->store, "a", "1");
    commit_text(u->store, "b", "2");
    memcpy(&shared, lkv_os_posix.shared, sizeof(shared));
    of_room = kind == OF_ROOM;
    shared.sync = no_sync;
    shared.write = see_room;
    os = lkv_os_posix;
    os.shared = &shared;
    lkv_posix_of(u->storage)->os = &os;
    begin(u->store);
    CHECK_INT(put_text(u->store, "c", "3"), LKV_OK);
    if (kind != NO_ROOT) {
        CHECK_INT(lkv_set_sync(u->store, LKV_SYNC_FULL, &u->err), LKV_OK);
    }
    to_fail = 1;
    CHECK_INT(lkv_prepare(u->store, &u->err), LKV_IO);
    CHECK_INT(to_fail, 0);
    lkv_rollback(u->store);
    CHECK_INT(directory_peek(p->path, "lock", 104), 2);
}

static uint64_t newest_generation(const char *path)
{
    int newest = 0;
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        char root[] = "root0";
        root[4] = (char)('0' + i);
        if (directory_size(path, root) > 100 && directory_peek(path, root, 0) != 0 &&
            directory_peek(path, root, 8 + 16) > newest) {
            newest = directory_peek(path, root, 8 + 16);
        }
    }
    return (uint64_t)newest;
}

/* What was written before may be lost, so that it vouches for nothing any more, not
 * when it is closed either. */
static void vouches_no_more(void)
{
    for (enum failed_sync kind = OF_A_ROOT; kind <= NO_ROOT; kind++) {
        uint64_t newest;
        party p;
        guest u;

        fail_a_sync(&p, &u, kind);
        newest = newest_generation(p.path);
        CHECK_SIZE(newest, u.store->log.at.generation);
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_IO);
        CHECK_HAS(u.err.text, "a write could not be made to last");
        guest_close(&u);
        CHECK_SIZE(newest_generation(p.path), newest);
        party_close(&p);
    }
}

static struct {
    ino_t file;
    uint64_t written; /* from the first byte on, without a gap */
    int synced;
} seen[20];

static unsigned files; /* seen */

static unsigned find(int file)
{
    struct stat found;
    unsigned i = 0;
    CHECK_INT(fstat(file, &found), 0);
    while (i < files && seen[i].file != found.st_ino) {
        i++;
    }
    if (i == files && CHECK(files < 20)) {
        seen[files++].file = found.st_ino;
    }
    return i;
}

static int note_write(void *ctx, int file, uint64_t offset, const void *bytes,
                      size_t size)
{
    unsigned i = find(file);
    if (offset <= seen[i].written && offset + size > seen[i].written) {
        seen[i].written = offset + size;
    }
    return lkv_os_posix.shared->write(ctx, file, offset, bytes, size);
}

/* The first sync of a file is of all that is in it. */
static int note_sync(void *ctx, int file)
{
    unsigned i = find(file);
    struct stat found;
    CHECK_INT(fstat(file, &found), 0);
    CHECK(seen[i].synced || seen[i].written >= (uint64_t)found.st_size);
    seen[i].synced = 1;
    return lkv_os_posix.shared->sync(ctx, file);
}

/* The system takes for written what was to be synced: the next writer writes it again
 * before it syncs it. */
static void written_again(void)
{
    lkv_os_shared shared = *lkv_os_posix.shared;
    lkv_os os = lkv_os_posix;
    unsigned synced = 0;
    party p;
    guest u, v;

    fail_a_sync(&p, &u, OF_A_ROOT);
    guest_close(&u);
    memset(seen, 0, sizeof(seen));
    files = 0;
    guest_open(&v, &p);
    CHECK_TEXT(guest_seen(&v), "a=1 b=2");
    CHECK_INT(directory_peek(p.path, "lock", 104), 2);
    shared.write = note_write;
    shared.sync = note_sync;
    os.shared = &shared;
    lkv_posix_of(v.storage)->os = &os;
    commit_text(v.store, "d", "4");
    lkv_posix_of(v.storage)->os = &lkv_os_posix;
    for (unsigned i = 0; i < files; i++) {
        synced += (unsigned)seen[i].synced;
    }
    CHECK(synced >= 3); /* the segment, the root and the second one */
    CHECK_INT(directory_peek(p.path, "lock", 104), 0);
    CHECK_TEXT(guest_seen(&v), "a=1 b=2 d=4");
    CHECK_INT(lkv_verify(v.store, NULL, NULL, &v.err), LKV_OK);
    guest_close(&v);
    party_close(&p);
}

/* Of a damaged store nothing is written again, so that it is left to the next writer:
 * also when a recovery is taken back, or committed. */
static void left_by_a_recovery(void)
{
    for (int commits = 0; commits < 2; commits++) {
        report said = {0};
        party p;
        guest u, v;

        fail_a_sync(&p, &u, NO_ROOT);
        guest_close(&u);
        directory_poke(p.path, "00000001", 64 + 14,
                       directory_peek(p.path, "00000001", 64 + 14) ^ 1);
        guest_open(&v, &p);
        CHECK_INT(salvage(v.store, 1, &said, &v.err), LKV_OK);
        CHECK_HAS(said.text, "segment 1");
        CHECK_INT(directory_peek(p.path, "lock", 104), 2);
        if (commits) {
            prepare_and_commit(v.store);
        } else {
            lkv_rollback(v.store);
        }
        CHECK_INT(directory_peek(p.path, "lock", 104), 2);
        if (commits) {
            commit_text(v.store, "d", "4");
            CHECK_INT(directory_peek(p.path, "lock", 104), 0);
        }
        guest_close(&v);
        party_close(&p);
    }
}

static const check_case cases[] = {CASE(half_written), CASE(vouches_no_more),
                                   CASE(written_again), CASE(left_by_a_recovery)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
