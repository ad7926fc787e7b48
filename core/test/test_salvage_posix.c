/*
 * test_salvage_posix.c - what is proven of a damaged store in files, and that others
 * can go on with what is made of it.
 */
#include "directory.h"
#include "rescue.h"

#include "posix.h"
#include "storage_posix.h"
#include "store.h"

#include <stdio.h>
#include <string.h>

#define SEGMENT_1 "00000001"

typedef struct place {
    directory directory;
    char path[300];
    os_fault os;
} place;

typedef struct user {
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err;
} user;

static void user_open(user *u, place *p, const char *path)
{
    lkv_posix_options options = {
        .path = path, .mode = 0600, .mapped = 1, .cache_bytes = 1 << 20};
    memset(u, 0, sizeof(*u));
    CHECK_INT(lkv_storage_posix_open(&p->os.os, &options, &u->storage), LKV_OK);
    CHECK_INT(lkv_open(u->storage, &p->os.os, &u->store), LKV_OK);
    lkv_sync_fallback(u->store, LKV_SYNC_FULL);
}

static void user_close(user *u)
{
    lkv_close(u->store);
    lkv_storage_posix_close(u->storage);
}

static const char *seen(user *u)
{
    return lkv_refresh(u->store, &u->err) == LKV_OK ? contents(u->store) : u->err.text;
}

/* A store with `a=1` to `d=4`, each a commit: a record and commit take 84 bytes. */
static void place_open(place *p)
{
    static const char *const keys[] = {"a", "b", "c", "d"};
    int made = 0;
    user u;

    os_fault_init(&p->os);
    directory_make(&p->directory);
    directory_path(&p->directory, "kv", p->path, sizeof(p->path));
    user_open(&u, p, p->path);
    CHECK_INT(lkv_storage_posix_make(u.storage, &made, &u.err), LKV_OK);
    CHECK_INT(lkv_create(u.storage, &p->os.os, text_bytes("about"), &u.err), LKV_OK);
    for (int i = 0; i < 4; i++) {
        static const char *const values[] = {"1", "2", "3", "4"};
        commit_text(u.store, keys[i], values[i]);
    }
    CHECK_SIZE(u.store->log.at.offset, 64 + 4 * 84);
    user_close(&u);
}

static void place_close(place *p)
{
    CHECK_SIZE(p->os.live, 0);
    CHECK_SIZE(p->os.open_files, 0);
    CHECK_SIZE(p->os.maps, 0);
    directory_remove(&p->directory);
}

/* Looks, applies, and checks that another sees it. */
static void check_recovered(place *p, const char *path, const char *want,
                            const char *lost)
{
    report said = {0};
    user u, other;

    user_open(&u, p, path);
    CHECK(lkv_refresh(u.store, &u.err) <= 0);
    u.err.text[0] = '\0';
    CHECK_INT(salvage(u.store, 0, &said, &u.err), LKV_OK);
    CHECK_TEXT(u.err.text, "");
    CHECK_TEXT(said.text, lost);
    CHECK_INT(salvage(u.store, 1, &said, &u.err), LKV_OK);
    CHECK_TEXT(said.text, lost);
    user_open(&other, p, path);
    CHECK_HAS(seen(&other), ""); /* whatever it was, until that is committed */
    prepare_and_commit(u.store);
    CHECK_TEXT(seen(&u), want);
    CHECK_TEXT(seen(&other), want);
    CHECK_TEXT(verified(u.store), "ok");
    commit_text(other.store, "z", "9");
    CHECK_HAS(seen(&u), "z=9");
    CHECK_TEXT(verified(other.store), "ok");
    user_close(&other);
    user_close(&u);
    user_open(&u, p, path);
    CHECK_HAS(seen(&u), "z=9");
    CHECK_TEXT(verified(u.store), "ok");
    user_close(&u);
}

static void every_byte(void)
{
    place p;

    place_open(&p);
    for (long at = 0; at < 64 + 3 * 84 && check_failures() == 0; at++) {
        static const char *const left[] = {"b=2 c=3 d=4", "a=1 c=3 d=4", "a=1 b=2 d=4"};
        char path[300], name[40], lost[60];
        long commit = at < 64 ? 0 : (at - 64) / 84, in = (at - 64) % 84;
        const char *want = at < 64 || in >= 15 ? "a=1 b=2 c=3 d=4" : left[commit];

        snprintf(name, sizeof(name), "damaged%ld", at);
        directory_path(&p.directory, name, path, sizeof(path));
        directory_copy(p.path, path);
        directory_poke(path, SEGMENT_1, at, directory_peek(path, SEGMENT_1, at) ^ 0x11);
        if (at < 64) {
            snprintf(lost, sizeof(lost), "segment 1: 0+64 -..a");
        } else if (in < 15) {
            snprintf(lost, sizeof(lost), "segment 1: %ld+15 %s..%c", 64 + commit * 84,
                     commit == 0   ? "-"
                     : commit == 1 ? "a"
                                   : "b",
                     (int)('b' + commit));
        } else {
            snprintf(lost, sizeof(lost), "segment 1: %ld+69 %c..%c",
                     64 + commit * 84 + 15, (int)('a' + commit), (int)('b' + commit));
        }
        check_recovered(&p, path, want, lost);
    }
    place_close(&p);
}

/* A commit that nothing vouches for is torn when it cannot be read, as for who opens
 * the store; one before that is not. */
static void torn_tail(void)
{
    char path[300];
    place p;
    user u;

    place_open(&p);
    user_open(&u, &p, p.path);
    commit_text(u.store, "e", "5");
    commit_text(u.store, "f", "6");
    directory_path(&p.directory, "torn", path, sizeof(path));
    directory_copy(p.path, path);
    directory_poke(path, SEGMENT_1, 64 + 5 * 84 + 14, 'x');
    check_recovered(&p, path, "a=1 b=2 c=3 d=4 e=5", "");
    directory_path(&p.directory, "damaged", path, sizeof(path));
    directory_copy(p.path, path);
    directory_poke(path, SEGMENT_1, 64 + 4 * 84 + 14, 'x');
    check_recovered(&p, path, "a=1 b=2 c=3 d=4 f=6", "segment 1: 400+15 d..f");
    user_close(&u);
    place_close(&p);
}

static void short_and_missing_files(void)
{
    char path[300], file[310];
    place p;

    place_open(&p);
    directory_path(&p.directory, "short", path, sizeof(path));
    directory_copy(p.path, path);
    directory_cut(path, SEGMENT_1, 64 + 2 * 84 + 10);
    check_recovered(&p, path, "a=1 b=2", "segment 1: 232+168 b..-");
    directory_path(&p.directory, "missing", path, sizeof(path));
    directory_copy(p.path, path);
    snprintf(file, sizeof(file), "%s/" SEGMENT_1, path);
    CHECK_INT(remove(file), 0);
    check_recovered(&p, path, "", "segment 1: 0+400 -..-");
    place_close(&p);
}

/* What the root says that the log has, and the file has not, is lost as well. */
static void shorter_than_the_root(void)
{
    char path[300];
    place p;
    user u;

    place_open(&p);
    user_open(&u, &p, p.path);
    CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
    CHECK_INT(lkv_set_auto_compact(u.store, 0, &u.err), LKV_OK); /* a root */
    prepare_and_commit(u.store);
    user_close(&u);
    directory_path(&p.directory, "short", path, sizeof(path));
    directory_copy(p.path, path);
    directory_cut(path, SEGMENT_1, 64 + 2 * 84);
    check_recovered(&p, path, "a=1 b=2", "segment 1: 232+237 b..-");
    place_close(&p);
}

/* The newest root cannot be read; the one before it leads as far as it goes. */
static void newest_root_damaged(void)
{
    char path[300], root[] = "root0", file[310];
    place p;
    user u;

    place_open(&p);
    user_open(&u, &p, p.path);
    u.storage->segment = 200;
    commit_text(u.store, "e", "5");
    commit_text(u.store, "f", "6"); /* in the next segment */
    root[4] = (char)('0' + lkv_posix_of(u.storage)->slot);
    for (int gone = 0; gone < 2; gone++) {
        directory_path(&p.directory, gone ? "gone" : "damaged", path, sizeof(path));
        directory_copy(p.path, path);
        snprintf(file, sizeof(file), "%s/%s", path, root);
        if (gone) {
            CHECK_INT(remove(file), 0);
        } else {
            directory_poke(path, root, 100, 99);
        }
        check_recovered(&p, path, "a=1 b=2 c=3 d=4 e=5 f=6", "root 0: 0+0 -..-");
    }
    user_close(&u);
    place_close(&p);
}

#define DAMAGE 0x42
#define BEFORE "a=1 b=2 c=3 d=4 e=5"
#define F "<1 76d32be0>=<60 84566879>"
#define G "<1 01d41b76>=<60 84566879>"
#define H "<1 916b06e7>=<60 84566879>"

/* A transaction of several segments, which only the newest root leads to; it is
 * damaged. Its number. */
static int make_long(place *p)
{
    char root[] = "root0", text[61] = "";
    int slot;
    user u;

    place_open(p);
    user_open(&u, p, p->path);
    memset(text, 'x', 60);
    commit_text(u.store, "e", "5");
    begin(u.store);
    u.storage->segment = 100;
    CHECK_INT(put_text(u.store, "f", text), LKV_OK);
    CHECK_INT(put_text(u.store, "g", text), LKV_OK);
    CHECK_INT(put_text(u.store, "h", text), LKV_OK);
    u.storage->segment = LKV_SEGMENT_SIZE;
    prepare_and_commit(u.store);
    CHECK_SIZE(u.store->log.count, 4);
    slot = lkv_posix_of(u.storage)->slot;
    user_close(&u);
    root[4] = (char)('0' + slot);
    directory_poke(p->path, root, 100, directory_peek(p->path, root, 100) ^ DAMAGE);
    return slot;
}

/* As a transaction leaves it whose process dies: a segment that no commit leads to. */
static void add_segment(const char *path, const char *name, uint32_t number,
                        uint64_t base)
{
    uint8_t bytes[LKV_SEGMENT_HEADER];
    lkv_segment_header header = {.number = number, .base = base};
    char file[400];
    FILE *to;

    for (unsigned i = 0; i < LKV_ID_SIZE; i++) {
        header.store_id[i] = (uint8_t)directory_peek(path, SEGMENT_1, 8 + i);
    }
    lkv_format_segment(bytes, &header);
    snprintf(file, sizeof(file), "%s/%s", path, name);
    to = fopen(file, "wb");
    CHECK(to != NULL && fwrite(bytes, sizeof(bytes), 1, to) == 1 && fclose(to) == 0);
}

/* Commits are followed into the segments that only the lost root listed, and no
 * further. */
static void behind_a_lost_root(void)
{
    static const struct {
        const char *file;
        long at; /* damaged there; -1: it is gone */
        const char *kept, *lost;
    } tries[] = {
        {NULL, 0, BEFORE " " F " " G " " H, "root 0: 0+0 -..-"},
        {"00000003", 20, BEFORE, "root 0: 0+0 -..-"},
        {"00000003", 80, BEFORE " " F " " H, "root 0: 0+0 -..-; segment 3: 64+74 -..-"},
        {"00000004", -1, BEFORE, "root 0: 0+0 -..-"},
        {"00000004", 140, BEFORE, "root 0: 0+0 -..-"},
    };
    place p;

    (void)make_long(&p);
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        for (int stray = 0; stray < 2; stray++) {
            char path[300], name[40], file[400];
            snprintf(name, sizeof(name), "copy%zu.%d", i, stray);
            directory_path(&p.directory, name, path, sizeof(path));
            directory_copy(p.path, path);
            if (stray) {
                add_segment(path, "00000005", 5, 1000);
            }
            snprintf(file, sizeof(file), "%s/%s", path,
                     tries[i].file == NULL ? "" : tries[i].file);
            if (tries[i].file != NULL && tries[i].at < 0) {
                CHECK_INT(remove(file), 0);
            } else if (tries[i].file != NULL) {
                directory_poke(path, tries[i].file, tries[i].at, 99);
            }
            check_recovered(&p, path, tries[i].kept, tries[i].lost);
        }
    }
    place_close(&p);
}

/* A root that cannot be read is no loss where a newer one is there. */
static void older_root_damaged(void)
{
    for (int restarted = 0; restarted < 2; restarted++) {
        report said = {0};
        char root[] = "root0", file[310];
        const lkv_posix *posix;
        place p;
        user u;

        place_open(&p);
        user_open(&u, &p, p.path);
        u.storage->segment = 200;
        commit_text(u.store, "e", "5");
        commit_text(u.store, "f", "6");
        posix = lkv_posix_of(u.storage);
        root[4] = (char)('0' + (posix->slot == 0));
        CHECK(directory_size(p.path, root) > 100);
        directory_poke(p.path, root, 100, 99);
        snprintf(file, sizeof(file), "%s/" SEGMENT_1, p.path);
        CHECK_INT(remove(file), 0);
        user_close(&u);
        if (restarted) {
            directory_poke(p.path, "lock", 8, directory_peek(p.path, "lock", 8) ^ 1);
        }
        user_open(&u, &p, p.path);
        CHECK_HAS(seen(&u), "file 00000001 is missing");
        CHECK_INT(salvage(u.store, 0, &said, &u.err), LKV_OK);
        CHECK(strstr(said.text, "root") == NULL &&
              strstr(said.text, "segment 1") != NULL);
        user_close(&u);
        place_close(&p);
    }
}

static void undone(void)
{
    report said = {0};
    place p;
    user u;

    place_open(&p);
    directory_poke(p.path, SEGMENT_1, 64 + 14, 'x');
    user_open(&u, &p, p.path);
    CHECK_HAS(seen(&u), "segment 1, offset 64");
    CHECK_INT(salvage(u.store, 1, &said, &u.err), LKV_OK);
    CHECK_INT(put_text(u.store, "x", "1"), LKV_OK);
    CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    lkv_rollback(u.store);
    CHECK_HAS(seen(&u), "segment 1, offset 64");
    user_close(&u);
    directory_poke(p.path, SEGMENT_1, 64 + 14, '1');
    user_open(&u, &p, p.path);
    CHECK_TEXT(seen(&u), "a=1 b=2 c=3 d=4");
    CHECK_TEXT(verified(u.store), "ok");
    user_close(&u);
    place_close(&p);
}

static void take_back(place *p, int prepared)
{
    report said = {0};
    user u;

    user_open(&u, p, p->path);
    CHECK_HAS(seen(&u), "the root of the newest commit is missing or damaged");
    CHECK_INT(salvage(u.store, 1, &said, &u.err), LKV_OK);
    CHECK_TEXT(said.text, "root 0: 0+0 -..-");
    CHECK_INT(put_text(u.store, "x", "1"), LKV_OK);
    if (prepared) {
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    }
    lkv_rollback(u.store);
    user_close(&u);
}

/* So are the segments that were followed: they are there again, or still, with and
 * without the root that was lost. */
static void undone_behind_a_lost_root(void)
{
    char root[] = "root0";
    place p;
    user u;

    root[4] = (char)('0' + make_long(&p));
    take_back(&p, 0);
    directory_poke(p.path, root, 100, directory_peek(p.path, root, 100) ^ DAMAGE);
    user_open(&u, &p, p.path);
    CHECK_TEXT(seen(&u), BEFORE " " F " " G " " H);
    CHECK_TEXT(verified(u.store), "ok");
    user_close(&u);
    directory_poke(p.path, root, 100, directory_peek(p.path, root, 100) ^ DAMAGE);
    take_back(&p, 1);
    take_back(&p, 0);
    check_recovered(&p, p.path, BEFORE " " F " " G " " H, "root 0: 0+0 -..-");
    place_close(&p);
}

/* Calls of the system and allocations fail on the way there: each of the first, and
 * ever fewer of those that look for blocks where there are none. */
static void fails_behind_a_lost_root(void)
{
    report said = {0};
    uint64_t n = 0;
    place p;
    user u;

    (void)make_long(&p);
    do {
        int rc;
        user_open(&u, &p, p.path);
        n += 1 + n / 15;
        os_fault_arm(&p.os, n, 0);
        u.err.text[0] = '\0';
        rc = salvage(u.store, 1, &said, &u.err);
        p.os.fail_at = 0;
        if (rc == LKV_OK) {
            CHECK_TEXT(said.text, "root 0: 0+0 -..-");
            CHECK_SIZE(said.kept, 8);
        } else {
            CHECK(p.os.failures > 0 && (rc == LKV_NOMEM || u.err.text[0] != '\0'));
        }
        lkv_rollback(u.store);
        user_close(&u);
    } while (p.os.failures > 0 && check_failures() == 0);
    CHECK(n > 50);
    check_recovered(&p, p.path, BEFORE " " F " " G " " H, "root 0: 0+0 -..-");
    place_close(&p);
}

static void roots_damaged(void)
{
    report said = {0};
    place p;
    user u;

    place_open(&p);
    for (char root[] = "root0"; root[4] <= '2'; root[4]++) {
        if (directory_size(p.path, root) > 0) {
            directory_poke(p.path, root, 100, 99);
        }
    }
    user_open(&u, &p, p.path);
    CHECK_HAS(seen(&u), "no root is right");
    for (int apply = 0; apply < 2; apply++) {
        CHECK_INT(salvage(u.store, apply, &said, &u.err), LKV_CORRUPT);
        CHECK_HAS(u.err.text,
                  "; without the root nothing is proven to be of the table");
    }
    user_close(&u);
    place_close(&p);
}

static const check_case cases[] = {CASE(every_byte),
                                   CASE(torn_tail),
                                   CASE(short_and_missing_files),
                                   CASE(shorter_than_the_root),
                                   CASE(newest_root_damaged),
                                   CASE(behind_a_lost_root),
                                   CASE(older_root_damaged),
                                   CASE(undone),
                                   CASE(undone_behind_a_lost_root),
                                   CASE(fails_behind_a_lost_root),
                                   CASE(roots_damaged)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
