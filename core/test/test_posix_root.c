/*
 * test_posix_root.c - roots of a store in files that are damaged, missing or lie.
 */
#include "fixture.h"
#include "party.h"
#include "posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* As a bad disk leaves the sector that a file begins with. */
static void zero_sector(const char *path, const char *name)
{
    for (long i = 0; i < 512 && i < directory_size(path, name); i++) {
        directory_poke(path, name, i, 0);
    }
}

/* Each root in turn damaged, emptied or without its first sector, in copies: all that
 * was committed is there, or that a root is lost is said; so it is three times. */
static void lose_each_root(party *p, int restarted, const char *want)
{
    static unsigned copies;
    unsigned whole = 0, refused = 0;
    for (int i = 0; i < 9; i++) {
        char path[300], name[40];
        party other = *p;
        guest u;
        snprintf(name, sizeof(name), "lost%u", copies++);
        directory_path(&p->directory, name, path, sizeof(path));
        directory_copy(p->path, path);
        snprintf(name, sizeof(name), "root%d", i / 3);
        if (directory_size(path, name) > 0 && i % 3 == 0) {
            directory_poke(path, name, 100, directory_peek(path, name, 100) ^ 1);
        } else if (directory_size(path, name) > 0 && i % 3 == 1) {
            directory_cut(path, name, 0);
        } else if (directory_size(path, name) > 0) {
            zero_sector(path, name);
        }
        if (restarted) {
            directory_poke(path, "lock", 8, directory_peek(path, "lock", 8) ^ 1);
        }
        other.options.path = path;
        guest_open(&u, &other);
        if (strcmp(guest_seen(&u), want) == 0) {
            whole++;
        } else {
            CHECK_HAS(guest_seen(&u),
                      "the root of the newest commit is missing or damaged");
            CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_CORRUPT);
            refused++;
        }
        guest_close(&u);
    }
    CHECK_SIZE(whole, 6);
    CHECK_SIZE(refused, 3);
}

/* Commits in a segment that only the newest root lists: without that root they are not
 * taken for what never was. As long as the machine runs the page tells of them, and
 * after that any commit behind them. */
static void newest_root_lost(void)
{
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_NORMAL);
    u.storage->segment = 200;
    commit_text(u.store, "a", "1");
    commit_text(u.store, "b", "2");
    commit_text(u.store, "c", "3");
    CHECK(u.store->log.count > 1);
    u.storage->segment = LKV_SEGMENT_SIZE;
    lose_each_root(&p, 0, "a=1 b=2 c=3");
    commit_text(u.store, "d", "4");
    lose_each_root(&p, 1, "a=1 b=2 c=3 d=4");
    guest_close(&u);

    /* The first writer after a restart leaves zeros where the other roots were. */
    directory_poke(p.path, "lock", 8, directory_peek(p.path, "lock", 8) ^ 1);
    guest_open(&u, &p);
    u.storage->segment = 200;
    commit_text(u.store, "e", "5");
    u.storage->segment = LKV_SEGMENT_SIZE;
    commit_text(u.store, "f", "6");
    lose_each_root(&p, 1, "a=1 b=2 c=3 d=4 e=5 f=6");
    guest_close(&u);
    party_close(&p);
}

static unsigned maps; /* of anything but the page */

static int count_maps(void *ctx, int file, size_t size, int writes, void **out)
{
    maps += size != LKV_POSIX_PAGE;
    return lkv_os_posix.shared->map(ctx, file, size, writes, out);
}

/* Without maps no byte of a file is mapped but the page, whether the store is whole, or
 * a lost root is looked for in the segments behind the end. */
static void maps_the_page_alone(void)
{
    for (int lost = 0; lost < 2; lost++) {
        lkv_os_shared shared;
        lkv_os os = lkv_os_posix;
        char root[] = "root0", path[300];
        party p, other;
        guest u;

        party_begin(&p, &u, PARTY_COPIES, LKV_SYNC_NORMAL);
        u.storage->segment = 200;
        commit_text(u.store, "a", "1");
        commit_text(u.store, "b", "2");
        commit_text(u.store, "c", "3");
        u.storage->segment = LKV_SEGMENT_SIZE;
        commit_text(u.store, "d", "4");
        root[4] = (char)('0' + lkv_posix_of(u.storage)->slot);
        directory_path(&p.directory, "cut", path, sizeof(path));
        directory_copy(p.path, path);
        guest_close(&u);
        directory_poke(path, "lock", 8, directory_peek(path, "lock", 8) ^ 1);
        if (lost) {
            directory_cut(path, root, 0);
        }
        memcpy(&shared, os.shared, sizeof(shared));
        shared.map = count_maps;
        os.shared = &shared;
        maps = 0;
        other = p;
        other.options.path = path;
        guest_open(&u, &other);
        lkv_posix_of(u.storage)->os = &os;
        CHECK_HAS(guest_seen(&u), lost ? LKV_POSIX_ROOT_LOST : "a=1 b=2 c=3 d=4");
        CHECK_SIZE(maps, 0);
        lkv_posix_of(u.storage)->os = &lkv_os_posix;
        guest_close(&u);
        party_close(&p);
    }
}

/* With sync=normal, when no commit of the segment before leads to the next one. */
static void root_of_a_segment_is_durable(void)
{
    lkv_posix *posix;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_NORMAL);
    posix = lkv_posix_of(u.storage);
    u.store->log.vouch_every = UINT64_MAX;
    u.storage->segment = 200;
    for (int i = 0; i < 6; i++) {
        commit_text(u.store, "a", "1");
        CHECK_INT(posix->durable_slot, posix->slot);
    }
    CHECK(u.store->log.count > 2);
    guest_close(&u);
    party_close(&p);
}

static int refused; /* by the next */

/* A disk that has room in the files that there are, and for no new one. */
static int no_new_file(void *ctx, int file, uint64_t offset, const void *bytes,
                       size_t size)
{
    struct stat found;
    if (fstat(file, &found) == 0 && found.st_size == 0) {
        refused = 1;
        return ENOSPC;
    }
    return lkv_os_posix.shared->write(ctx, file, offset, bytes, size);
}

static int no_sync_then(void *ctx, int file)
{
    return refused ? EIO : lkv_os_posix.files->sync(ctx, file);
}

/* The root cannot be written, nor what says that there is none: the commit fails, and
 * the handle goes on, unless it is not sure that the root is gone. */
static void no_room_for_a_root(void)
{
    static const enum lkv_sync kinds[] = {LKV_SYNC_FULL, LKV_SYNC_NORMAL, LKV_SYNC_OFF};
    for (size_t i = 0; i < 5; i++) {
        lkv_os_shared shared;
        lkv_os_files files;
        lkv_os full = lkv_os_posix;
        lkv_posix *posix;
        party p;
        guest u;

        party_begin(&p, &u, PARTY_FILES, kinds[i % 3]);
        commit_text(u.store, "a", "1");
        posix = lkv_posix_of(u.storage);
        memcpy(&shared, full.shared, sizeof(shared));
        shared.write = no_new_file;
        full.shared = &shared;
        memcpy(&files, full.files, sizeof(files));
        files.sync = i < 3 ? files.sync : no_sync_then;
        refused = 0;
        full.files = &files;
        posix->os = &full;
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        CHECK_INT(lkv_set_auto_compact(u.store, 0, &u.err), LKV_OK);
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_FULL);
        CHECK_HAS(u.err.text, "cannot write root1");
        lkv_rollback(u.store);
        CHECK_INT(directory_size(p.path, "root1"), -1);
        if (i >= 3) {
            posix->os = &lkv_os_posix;
            CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_IO);
            guest_close(&u);
            party_close(&p);
            continue;
        }
        commit_text(u.store, "b", "2");
        CHECK_TEXT(guest_seen(&u), "a=1 b=2");
        posix->os = &lkv_os_posix;
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        CHECK_INT(lkv_set_auto_compact(u.store, 0, &u.err), LKV_OK);
        prepare_and_commit(u.store);
        CHECK(directory_size(p.path, "root1") > 0);
        CHECK_TEXT(guest_seen(&u), "a=1 b=2");
        guest_close(&u);
        party_close(&p);
    }
}

/* A root counts with the end that it was written with. */
static void roots_with_other_ends(void)
{
    party p;
    guest u;

    party_open(&p, PARTY_FILES);
    guest_open(&u, &p);
    guest_make(&u);
    commit_text(u.store, "a", "1");
    guest_close(&u);
    for (int i = 0; i < 3; i++) {
        uint8_t bytes[LKV_END_SIZE];
        char name[8];
        lkv_end end;
        snprintf(name, sizeof(name), "root%d", i);
        if (directory_size(p.path, name) <= 0) {
            continue;
        }
        for (int at = 0; at < (int)LKV_END_SIZE; at++) {
            bytes[at] = (uint8_t)directory_peek(p.path, name, 8 + at);
        }
        CHECK_INT(lkv_end_decode(bytes, &end), LKV_OK);
        end.generation++;
        lkv_end_encode(bytes, &end);
        for (int at = 0; at < (int)LKV_END_SIZE; at++) {
            directory_poke(p.path, name, 8 + at, bytes[at]);
        }
    }
    guest_open(&u, &p);
    CHECK_HAS(guest_seen(&u), "no root is right");
    guest_close(&u);
    party_close(&p);
}

/* A copy in which the root with the greatest generation is damaged; as it is after a
 * restart, or after its writer was killed. */
static void copy_without_newest(party *p, int restarted, char *path, size_t size)
{
    int newest = -1;
    uint64_t best = 0;
    char name[40];

    directory_path(&p->directory, restarted ? "cut" : "kill", path, size);
    directory_copy(p->path, path);
    for (int i = 0; i < 3; i++) {
        uint64_t generation = 0;
        snprintf(name, sizeof(name), "root%d", i);
        for (int k = 7; k >= 0 && directory_size(path, name) > 0; k--) {
            generation =
                generation << 8 | (uint64_t)directory_peek(path, name, 8 + 16 + k);
        }
        if (generation > best) {
            best = generation;
            newest = i;
        }
    }
    snprintf(name, sizeof(name), "root%d", newest);
    directory_poke(path, name, 200, directory_peek(path, name, 200) ^ 1);
    if (restarted) {
        directory_poke(path, "lock", 8, directory_peek(path, "lock", 8) ^ 1);
    }
}

static void check_copy(const party *p, char *path, const char *want)
{
    party other = *p;
    guest u;
    other.options.path = path;
    guest_open(&u, &other);
    CHECK_HAS(guest_seen(&u), want);
    guest_close(&u);
}

/* A transaction that began a segment is prepared twice, and dies while it writes the
 * second root over its first: nothing that was published is lost. */
static void second_root_torn(void)
{
    static const enum lkv_sync syncs[] = {LKV_SYNC_FULL, LKV_SYNC_NORMAL};
    for (unsigned i = 0; i < 4; i++) {
        char path[300];
        party p;
        guest u;

        party_open(&p, PARTY_FILES);
        p.sync = syncs[i % 2];
        guest_open(&u, &p);
        guest_make(&u);
        commit_text(u.store, "a", "1");
        begin(u.store);
        u.storage->segment = 100;
        CHECK_INT(put_text(u.store, "b", "2"), LKV_OK);
        u.storage->segment = LKV_SEGMENT_SIZE;
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
        CHECK_INT(put_text(u.store, "c", "3"), LKV_OK);
        CHECK_INT(lkv_set_auto_compact(u.store, 300, &u.err), LKV_OK);
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
        CHECK(u.store->log.count > 1);
        copy_without_newest(&p, i > 1, path, sizeof(path));
        check_copy(&p, path, "a=1");
        lkv_rollback(u.store);
        guest_close(&u);
        party_close(&p);
    }
}

/* The lost root listed segments that one transaction filled: a commit behind them
 * tells.
 */
static void root_of_long_transaction_lost(void)
{
    char path[300], long_text[60];
    party p;
    guest u;

    memset(long_text, 'x', sizeof(long_text));
    long_text[sizeof(long_text) - 1] = '\0';
    party_open(&p, PARTY_FILES);
    p.sync = LKV_SYNC_FULL;
    guest_open(&u, &p);
    guest_make(&u);
    commit_text(u.store, "a", "1");
    begin(u.store);
    u.storage->segment = 100;
    CHECK_INT(put_text(u.store, "b", long_text), LKV_OK);
    CHECK_INT(put_text(u.store, "c", long_text), LKV_OK);
    u.storage->segment = LKV_SEGMENT_SIZE;
    prepare_and_commit(u.store);
    CHECK(u.store->log.count > 2);
    commit_text(u.store, "d", "4");
    copy_without_newest(&p, 1, path, sizeof(path));
    check_copy(&p, path, LKV_POSIX_ROOT_LOST);
    guest_close(&u);
    party_close(&p);
}

/* Opening to look only: somebody else's directory. */
static int no_update(void *ctx, const char *path, int shared, enum lkv_os_use use,
                     unsigned mode, int *file)
{
    return use != LKV_OS_LOOK
               ? EACCES
               : lkv_os_posix.shared->open(ctx, path, shared, use, mode, file);
}

/* Who only reads looks for the end, while the first writer makes it out and goes on. */
static void reader_meets_first_writer(void)
{
    lkv_os_shared shared = *lkv_os_posix.shared;
    lkv_os os = lkv_os_posix;
    lkv_storage *reader;
    lkv_error err = {0, ""};
    lkv_end end;
    party p;
    guest u;

    shared.open = no_update;
    os.shared = &shared;
    memset(&end, 0, sizeof(end));
    party_open(&p, PARTY_FILES);
    p.sync = LKV_SYNC_FULL;
    guest_open(&u, &p);
    guest_make(&u);
    commit_text(u.store, "a", "1");
    guest_close(&u);
    guest_open(&u, &p);
    CHECK_INT(lkv_posix_ready(lkv_posix_of(u.storage), &u.err), LKV_OK);
    CHECK_INT(lkv_storage_posix_open(&os, &p.options, &reader), LKV_OK);
    CHECK_INT(reader->ops->read_end(reader, &end, &err), LKV_UNSURE);
    u.storage->segment = 100;
    commit_text(u.store, "b", "2");
    CHECK_INT(reader->ops->settle(reader, &end, 0, &err), LKV_MOVED);
    CHECK_INT(reader->ops->read_end(reader, &end, &err), LKV_OK);
    CHECK_SIZE(end.revision, u.store->log.at.revision);
    lkv_storage_posix_close(reader);
    guest_close(&u);
    party_close(&p);
}

/* A store with this sync, made and open. */
/* What was synced and then taken back is not, for others may write there. */
static void rewound_is_not_synced(void)
{
    const lkv_posix_object *object;
    uint64_t before;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    commit_text(u.store, "a", "1");
    object = lkv_posix_find(lkv_posix_of(u.storage), 1);
    CHECK(object != NULL && object->synced == object->size);
    before = object->synced;
    begin(u.store);
    CHECK_INT(put_text(u.store, "b", "2"), LKV_OK);
    CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    CHECK(object->synced > before);
    lkv_rollback(u.store);
    CHECK_SIZE(object->size, before);
    CHECK_SIZE(object->synced, before);
    guest_close(&u);
    party_close(&p);
}

/* A root of sync=normal is published, and the durable one before it names more: of
 * that, a writer with sync=full removes nothing, nor does its rollback. */
static void removes_nothing_that_may_come_back(void)
{
    const lkv_posix *posix;
    char name[16];
    uint32_t number;
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_NORMAL);
    posix = lkv_posix_of(u.storage);
    u.store->flush_size = 64;
    for (int i = 0; i < 20 && posix->slot == posix->durable_slot; i++) {
        commit_text(u.store, "a", "1");
        commit_text(u.store, "b", "a value that is long enough for a run of its own");
    }
    CHECK(posix->slot != posix->durable_slot);
    CHECK(u.store->log.runs->count > 0);
    number = u.store->log.runs->run[0].number;
    snprintf(name, sizeof(name), "%08x", number);
    CHECK(directory_size(p.path, name) > 0);
    lkv_sync_fallback(u.store, LKV_SYNC_FULL);
    begin(u.store);
    CHECK_INT(u.storage->ops->remove(u.storage, number, 0, &u.err), LKV_OK);
    CHECK(directory_size(p.path, name) > 0);
    lkv_rollback(u.store);
    CHECK(directory_size(p.path, name) > 0);
    guest_close(&u);
    party_close(&p);
}

/* All roots damaged while one has the store open: it can tell, and make a new one. */
static void damaged_while_open(void)
{
    party p;
    guest u, v;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    commit_text(u.store, "k", "v");
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        char name[8];
        snprintf(name, sizeof(name), "root%d", i);
        if (directory_size(p.path, name) > 100) {
            directory_poke(p.path, name, 100, directory_peek(p.path, name, 100) ^ 1);
        }
    }
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_CORRUPT);
    CHECK_TEXT(u.err.text, "root: it is missing or damaged");
    begin(u.store);
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_CORRUPT);
    CHECK_INT(lkv_set_auto_compact(u.store, 500, &u.err), LKV_OK); /* a new root */
    prepare_and_commit(u.store);
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    guest_open(&v, &p);
    CHECK_TEXT(guest_seen(&v), "k=v");
    guest_close(&v);
    guest_close(&u);
    party_close(&p);
}

/* Of a reader that has the commit before it: all roots, or but the newest. */
static void lost_before_it_was_read(void)
{
    for (int newest = 0; newest < 2; newest++) {
        party p;
        guest u, reader;

        party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
        commit_text(u.store, "k", "v");
        guest_open(&reader, &p);
        CHECK_TEXT(guest_seen(&reader), "k=v");
        begin(u.store);
        CHECK_INT(lkv_set_auto_compact(u.store, 500, &u.err), LKV_OK); /* a new root */
        prepare_and_commit(u.store);
        for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
            char name[8];
            snprintf(name, sizeof(name), "root%d", i);
            if (directory_size(p.path, name) > 0 &&
                (!newest || i == lkv_posix_of(u.storage)->slot)) {
                directory_cut(p.path, name, 0);
            }
        }
        CHECK_INT(lkv_refresh(reader.store, &reader.err), LKV_CORRUPT);
        CHECK_HAS(reader.err.text, LKV_POSIX_ROOT_LOST);
        guest_close(&reader);
        guest_close(&u);
        party_close(&p);
    }
}

static const check_case cases[] = {CASE(damaged_while_open),
                                   CASE(lost_before_it_was_read),
                                   CASE(newest_root_lost),
                                   CASE(roots_with_other_ends),
                                   CASE(root_of_a_segment_is_durable),
                                   CASE(maps_the_page_alone),
                                   CASE(no_room_for_a_root),
                                   CASE(second_root_torn),
                                   CASE(root_of_long_transaction_lost),
                                   CASE(reader_meets_first_writer),
                                   CASE(rewound_is_not_synced),
                                   CASE(removes_nothing_that_may_come_back)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
