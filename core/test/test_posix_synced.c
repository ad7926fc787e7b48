/*
 * test_posix_synced.c - what has to be synced by whom, in a store in files, when a
 * transaction is prepared twice, a writer was killed, or several write. What a power
 * cut makes of a store that is written by one is in test_posix_power.c.
 */
#include "fixture.h"
#include "party.h"
#include "posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A copy of the store as it stands, on a machine that was started again. */
static void check_restarted(const party *p, const char *want)
{
    char path[300];
    party other = *p;
    guest u;

    directory_path(&other.directory, "restarted", path, sizeof(path));
    directory_copy(p->path, path);
    directory_poke(path, "lock", 8, directory_peek(path, "lock", 8) ^ 1);
    other.options.path = path;
    guest_open(&u, &other);
    CHECK_TEXT(guest_seen(&u), want);
    guest_close(&u);
}

/* The second root of a transaction that began a segment stands where its first one
 * stood, so it has to be as durable: the commits that follow name that sync. */
static void prepared_twice(void)
{
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_NORMAL);
    commit_text(u.store, "a", "1");
    begin(u.store);
    u.storage->segment = 100;
    CHECK_INT(put_text(u.store, "b", "2"), LKV_OK);
    u.storage->segment = LKV_SEGMENT_SIZE;
    CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    CHECK_INT(put_text(u.store, "c", "3"), LKV_OK);
    CHECK_INT(lkv_set_auto_compact(u.store, 300, &u.err), LKV_OK);
    prepare_and_commit(u.store);
    commit_text(u.store, "d", "4");
    CHECK(u.store->log.count > 1);
    check_restarted(&p, "a=1 b=2 c=3 d=4");
    guest_close(&u);
    party_close(&p);
}

static ino_t roots[LKV_POSIX_SLOTS];
static unsigned synced[LKV_POSIX_SLOTS];

static int count_sync(void *ctx, int file)
{
    struct stat found;
    for (int i = 0; i < LKV_POSIX_SLOTS && fstat(file, &found) == 0; i++) {
        synced[i] += roots[i] != 0 && found.st_ino == roots[i];
    }
    return lkv_os_posix.shared->sync(ctx, file);
}

static void watch_roots(const char *path)
{
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        char name[400];
        struct stat found;
        snprintf(name, sizeof(name), "%s/root%d", path, i);
        roots[i] = stat(name, &found) == 0 ? found.st_ino : 0;
        synced[i] = 0;
    }
}

static const char *copy_from, *copy_to; /* once, as a root is about to be synced */

static int copy_then_sync(void *ctx, int file)
{
    watch_roots(copy_from);
    (void)count_sync(ctx, file);
    if (synced[0] + synced[1] + synced[2] > 0 && copy_to != NULL) {
        directory_copy(copy_from, copy_to);
        copy_to = NULL;
    }
    return 0;
}

enum death { PREPARED, TAKEN_BACK, MADE_DURABLE, DEATHS };

/* Of a writer, which has committed `a=1`, in `path`. */
static void die(guest *u, const party *p, enum death how, const char *path)
{
    lkv_posix *posix = lkv_posix_of(u->storage);
    lkv_os_shared shared;
    lkv_os os = lkv_os_posix;

    begin(u->store);
    if (how == MADE_DURABLE) { /* a root that is written before anything else is */
        memcpy(&shared, os.shared, sizeof(shared));
        shared.sync = copy_then_sync;
        os.shared = &shared;
        posix->os = &os;
        copy_from = p->path;
        copy_to = path;
        CHECK_INT(lkv_log_vouch(&u->store->log, &u->err), LKV_OK);
        CHECK(copy_to == NULL);
        posix->os = &lkv_os_posix;
        return;
    }
    CHECK_INT(put_text(u->store, "b", "2"), LKV_OK);
    CHECK_INT(lkv_set_auto_compact(u->store, 300, &u->err), LKV_OK);
    CHECK_INT(lkv_prepare(u->store, &u->err), LKV_OK);
    if (how == TAKEN_BACK) { /* and nothing was done after that */
        lkv_posix_undo(posix, 0);
    }
    directory_copy(p->path, path);
}

/* A writer was killed before it could sync a root that it wrote or took back. Who
 * writes next stands on it, and syncs it before anything else. */
static void root_of_a_killed_writer(void)
{
    for (int how = 0; how < DEATHS; how++) {
        lkv_os_shared shared;
        lkv_os counting = lkv_os_posix;
        char path[300];
        party p, other;
        guest u, v;

        party_begin(&p, &u, PARTY_FILES,
                    how == MADE_DURABLE ? LKV_SYNC_NORMAL : LKV_SYNC_FULL);
        commit_text(u.store, "a", "1");
        directory_path(&p.directory, "killed", path, sizeof(path));
        die(&u, &p, (enum death)how, path);
        lkv_rollback(u.store);
        guest_close(&u);
        watch_roots(path);
        memcpy(&shared, counting.shared, sizeof(shared));
        shared.sync = count_sync;
        counting.shared = &shared;
        other = p;
        other.options.path = path;
        guest_open(&v, &other);
        CHECK_TEXT(guest_seen(&v),
                   how == PREPARED ? "a=1 b=2" : "a=1"); /* only reads */
        lkv_posix_of(v.storage)->os = &counting;
        commit_text(v.store, "d", "4");
        for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
            CHECK(roots[i] == 0 || synced[i] > 0);
        }
        CHECK(roots[0] != 0 && roots[1] != 0);
        lkv_posix_of(v.storage)->os = &lkv_os_posix;
        guest_close(&v);
        party_close(&p);
    }
}

static void compact_all(guest *u)
{
    uint64_t left = 0;
    do {
        CHECK_INT(lkv_compact(u->store, 1 << 20, &left, &u->err), LKV_OK);
    } while (left > 0 && check_failures() == 0);
}

/* What a file has behind the bytes that a root names is no one's, and was not synced
 * for whoever writes there next. */
static void synced_as_named(void)
{
    const lkv_posix_object *object;
    char name[400];
    lkv_part part;
    party p;
    guest u, v;
    FILE *file;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_OFF);
    commit_text(u.store, "a", "1");
    begin(u.store);
    compact_all(&u);
    prepare_and_commit(u.store);
    CHECK_SIZE(u.store->log.runs->parts, 1);
    part = u.store->log.runs->part[0];
    guest_close(&u);
    snprintf(name, sizeof(name), "%s/%08x", p.path, part.number);
    file = fopen(name, "ab");
    CHECK(file != NULL && fwrite(name, 100, 1, file) == 1 && fclose(file) == 0);
    p.sync = LKV_SYNC_FULL;
    guest_open(&v, &p);
    commit_text(v.store, "b", "2");
    object = lkv_posix_find(lkv_posix_of(v.storage), part.number);
    CHECK(object != NULL);
    CHECK_SIZE(object == NULL ? 0 : object->synced, part.size);
    guest_close(&v);
    party_close(&p);
}

/* A root that is taken back was synced with all that it listed: not with the segment
 * that its compaction had put into a part, and that another handle wrote. */
static void root_taken_back(void)
{
    uint64_t before;
    party p;
    guest u, v;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_NORMAL);
    commit_text(u.store, "a", "1");
    commit_text(u.store, "a", "2");
    guest_open(&v, &p);
    begin(v.store);
    before = v.store->log.synced;
    CHECK(before < lkv_log_end(&v.store->log));
    compact_all(&v);
    CHECK_INT(lkv_prepare(v.store, &v.err), LKV_OK);
    CHECK(v.store->log.synced > before);
    lkv_rollback(v.store);
    CHECK_SIZE(v.store->log.synced, before);
    guest_close(&v);
    guest_close(&u);
    party_close(&p);
}

/* A root that is taken back must not come back, by a power cut after a commit that is
 * to last: with sync=off it is synced too. */
static void taken_back_with_sync_off(void)
{
    lkv_os_shared shared;
    lkv_os counting = lkv_os_posix;
    lkv_posix *posix;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_OFF);
    posix = lkv_posix_of(u.storage);
    commit_text(u.store, "a", "1");
    begin(u.store);
    CHECK_INT(lkv_set_auto_compact(u.store, 300, &u.err), LKV_OK);
    CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    watch_roots(p.path);
    memcpy(&shared, counting.shared, sizeof(shared));
    shared.sync = count_sync;
    counting.shared = &shared;
    posix->os = &counting;
    lkv_rollback(u.store);
    posix->os = &lkv_os_posix;
    CHECK_SIZE(synced[0] + synced[1] + synced[2], 1);
    CHECK_SIZE(synced[posix->slot], 0);
    guest_close(&u);
    party_close(&p);
}

static int room, refused; /* zeros were written; their sync did not work */

static int see_room(void *ctx, int file, uint64_t offset, const void *bytes,
                    size_t size)
{
    const uint8_t *at = bytes;
    room = size >= 4096 && at[0] == 0 && memcmp(at, at + 1, size - 1) == 0;
    return lkv_os_posix.shared->write(ctx, file, offset, bytes, size);
}

static int no_sync_once(void *ctx, int file)
{
    if (room && !refused) {
        refused = 1;
        return ENOSPC;
    }
    return lkv_os_posix.shared->sync(ctx, file);
}

/* A sync of room that was made ahead fails, with what means for a write that there is
 * no more of it: what was written before may be lost, and no later sync tells. */
static void room_is_not_synced(void)
{
    lkv_os_shared shared;
    lkv_os os = lkv_os_posix;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    memcpy(&shared, os.shared, sizeof(shared));
    shared.sync = no_sync_once;
    shared.write = see_room;
    os.shared = &shared;
    room = refused = 0;
    lkv_posix_of(u.storage)->os = &os;
    for (int i = 0; i < 400 && refused == 0; i++) {
        begin(u.store);
        CHECK_INT(put_filler(u.store, "a", 2000, 1), LKV_OK);
        if (lkv_prepare(u.store, &u.err) != LKV_OK) {
            break;
        }
        lkv_commit(u.store);
    }
    CHECK(refused);
    CHECK_HAS(u.err.text, "cannot sync");
    lkv_rollback(u.store);
    CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_IO);
    CHECK_HAS(u.err.text, "a write could not be made to last");
    lkv_rollback(u.store);
    lkv_posix_of(u.storage)->os = &lkv_os_posix;
    guest_close(&u);
    party_close(&p);
}

static ino_t above; /* the directory that has the store's name */
static int above_synced, no_descriptor;

static int open_above(void *ctx, const char *path, enum lkv_os_open how, int *file)
{
    struct stat found;
    if (no_descriptor && stat(path, &found) == 0 && found.st_ino == above) {
        no_descriptor = 0;
        return EMFILE;
    }
    return lkv_os_posix.files->open(ctx, path, how, file);
}

static ino_t lock;
static int lock_synced;

static int see_lock(void *ctx, int file)
{
    struct stat found;
    lock_synced += fstat(file, &found) == 0 && found.st_ino == lock;
    return lkv_os_posix.shared->sync(ctx, file);
}

static int see_above(void *ctx, int file)
{
    struct stat found;
    above_synced += fstat(file, &found) == 0 && found.st_ino == above;
    return lkv_os_posix.files->sync(ctx, file);
}

/* A store is found by its own name, which its first durable root makes to last: however
 * the directory came about, and however its path is written. */
static void name_of_the_store(void)
{
    enum { PLAIN, SLASHES, WAS_THERE, MADE_WITH_OFF, HOWS };
    for (int how = 0; how < HOWS; how++) {
        lkv_os_files files = *lkv_os_posix.files;
        lkv_os_shared shared = *lkv_os_posix.shared;
        lkv_os os = lkv_os_posix;
        char path[310], name[320];
        struct stat found;
        party p;
        guest u;

        party_open(&p, PARTY_FILES);
        snprintf(path, sizeof(path), "%s%s", p.path, how == SLASHES ? "//" : "");
        p.options.path = path;
        p.sync = how == MADE_WITH_OFF ? LKV_SYNC_OFF : LKV_SYNC_FULL;
        if (how == WAS_THERE) {
            CHECK_INT(mkdir(p.path, 0700), 0);
        }
        CHECK_INT(stat(p.directory.path, &found), 0);
        above = found.st_ino;
        above_synced = 0;
        no_descriptor = 1;
        files.sync = see_above;
        files.open = open_above;
        os.files = &files;
        shared.sync = see_lock;
        os.shared = &shared;
        guest_open(&u, &p);
        lkv_posix_of(u.storage)->os = &os;
        guest_make(&u);
        CHECK_INT(above_synced, how == MADE_WITH_OFF ? 0 : 1);
        snprintf(name, sizeof(name), "%s/lock", p.path);
        CHECK_INT(stat(name, &found), 0);
        lock = found.st_ino;
        lock_synced = 0;
        lkv_sync_fallback(u.store, LKV_SYNC_FULL);
        commit_text(u.store, "a", "1");
        commit_text(u.store, "b", "2");
        CHECK_INT(above_synced, 1);
        CHECK(how != MADE_WITH_OFF || lock_synced > 0);
        lkv_posix_of(u.storage)->os = &lkv_os_posix;
        guest_close(&u);
        party_close(&p);
    }
}

static int removals; /* to come */

static int removed_at_once(void *ctx, const char *path, unsigned mode)
{
    return removals-- > 0 ? ESTALE
                          : lkv_os_posix.shared->make_directory(ctx, path, mode);
}

/* Who has just removed a store takes the new directory away with it: it is made again.
 */
static void directory_removed(void)
{
    lkv_os_shared shared = *lkv_os_posix.shared;
    lkv_os os = lkv_os_posix;
    party p;
    guest u;

    party_open(&p, PARTY_FILES);
    shared.make_directory = removed_at_once;
    os.shared = &shared;
    removals = 3;
    guest_open(&u, &p);
    lkv_posix_of(u.storage)->os = &os;
    guest_make(&u);
    commit_text(u.store, "a", "1");
    CHECK_INT(removals, -1);
    lkv_posix_of(u.storage)->os = &lkv_os_posix;
    guest_close(&u);
    party_close(&p);
}

static const check_case cases[] = {
    CASE(directory_removed),        CASE(room_is_not_synced), CASE(prepared_twice),
    CASE(root_of_a_killed_writer),  CASE(synced_as_named),    CASE(root_taken_back),
    CASE(taken_back_with_sync_off), CASE(name_of_the_store),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
