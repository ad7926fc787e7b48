/*
 * test_posix_stranger.c - a directory from a stranger: any of its files may be
 * anything. Who reads it gets an error or what was once committed there, and writes
 * nothing but the page of `lock`.
 */
#include "fixture.h"
#include "party.h"
#include "rescue.h"

#include "posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMITS 40
#define FILES_MAX 100
#define PAGE_USED 128 /* bytes of `lock` */

static uint64_t states[COMMITS + 2]; /* what was committed, as checksums */
static int state_count;

/* A checksum of all that the store holds; 0: an error. */
static uint64_t content_of(guest *u)
{
    lkv_cursor *cursor;
    uint64_t hash = 1;
    int rc = lkv_refresh(u->store, &u->err);

    if (rc != LKV_OK) {
        CHECK(rc < 0);
        CHECK(rc == LKV_NOMEM || u->err.text[0] != 0);
        return 0;
    }
    CHECK_INT(lkv_cursor_open(u->store, &cursor), LKV_OK);
    rc = lkv_cursor_first(cursor, &u->err);
    while (rc == LKV_OK) {
        lkv_bytes value;
        rc = lkv_cursor_value(cursor, &value, &u->err);
        if (rc == LKV_OK) {
            lkv_bytes key = lkv_cursor_key(cursor);
            hash = hash * 31 + lkv_hash_once(key.data, key.size);
            hash = hash * 31 + lkv_hash_once(value.data, value.size);
            rc = lkv_cursor_next(cursor, &u->err);
        }
    }
    lkv_cursor_close(cursor);
    return rc == LKV_ABSENT ? hash : 0;
}

static void fill(party *p)
{
    char key[16], value[400];
    guest u;
    state_count = 0;
    guest_open(&u, p);
    guest_make(&u);
    states[state_count++] = content_of(&u);
    for (int i = 0; i < COMMITS; i++) {
        int rows = i % 8 == 7 ? 20 : 1;
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        for (int k = 0; k < rows; k++) {
            lkv_row row = {{key, 4}, {value, 300}, 0};
            snprintf(key, sizeof(key), "k%03d", (i * 7 + k) % 50);
            snprintf(value, sizeof(value), "%0300d", i);
            CHECK_INT(lkv_put(u.store, &row, &u.err), LKV_OK);
        }
        CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
        lkv_commit(u.store);
        states[state_count++] = content_of(&u);
    }
    guest_close(&u);
}

static int was_committed(uint64_t hash)
{
    for (int i = 0; i < state_count; i++) {
        if (states[i] == hash) {
            return 1;
        }
    }
    return 0;
}

/* Opens it as a reader. Of what was forged, checksums and all, nothing is known. */
static void look(const party *p, const char *what, int forged)
{
    guest u;
    uint64_t hash;
    guest_open(&u, p);
    hash = content_of(&u);
    if (hash != 0 && !forged && !CHECK(was_committed(hash))) {
        printf("  after %s\n", what);
    }
    if (hash != 0 && lkv_verify(u.store, NULL, NULL, &u.err) != LKV_OK) {
        CHECK(u.err.text[0] != 0);
    }
    guest_close(&u);
}

/* All bytes of all files but the page, and their names and sizes. */
static uint64_t bytes_of(const char *path)
{
    static uint8_t bytes[1 << 16];
    uint64_t hash = 0;
    const struct dirent *entry;
    DIR *at = opendir(path);

    while (at != NULL && (entry = readdir(at)) != NULL) {
        int file = strcmp(entry->d_name, "lock") == 0
                       ? -1
                       : openat(dirfd(at), entry->d_name, O_RDONLY | O_NONBLOCK);
        uint64_t of = lkv_hash_once(entry->d_name, strlen(entry->d_name));
        ssize_t got = file < 0 ? 0 : read(file, bytes, sizeof(bytes));
        if (got > 0) {
            of = of * 31 + lkv_hash_once(bytes, (size_t)got);
        }
        if (file >= 0) {
            of = of * 31 + (uint64_t)lseek(file, 0, SEEK_END);
            (void)close(file);
        }
        hash += of; /* in any order */
    }
    if (at != NULL) {
        (void)closedir(at);
    }
    return hash;
}

static void write_file(const char *name, size_t size)
{
    FILE *to = fopen(name, "wb");
    for (size_t i = 0; to != NULL && i < size; i++) {
        (void)fputc((int)(i * 37 + 11) & 255, to);
    }
    CHECK(to != NULL && fclose(to) == 0);
}

#define WAYS 10

/* Puts something else in the place of the file; its name is `name`, what it was still
 * stands at `original`. */
static void replace(const char *name, const char *original, int way)
{
    if (way != 8) {
        CHECK_INT(unlink(name), 0);
    }
    switch (way) {
    case 0:
        break; /* gone */
    case 1:
        write_file(name, 0);
        break;
    case 2:
        write_file(name, 100);
        break;
    case 3:
        write_file(name, 200000);
        break;
    case 4:
        CHECK_INT(mkdir(name, 0700), 0);
        break;
    case 5:
        CHECK_INT(mkfifo(name, 0600), 0);
        break;
    case 6:
        CHECK_INT(symlink(original, name), 0);
        break;
    case 7:
        CHECK_INT(symlink("/nowhere", name), 0);
        break;
    case 8: /* longer by much that is not there */
        CHECK_INT(truncate(name, (off_t)1 << 38), 0);
        break;
    default:
        write_file(name, 0);
        CHECK_INT(truncate(name, (off_t)1 << 38), 0);
        break;
    }
}

typedef struct names {
    char name[FILES_MAX][16];
    int count;
} names;

static void list_names(const char *path, names *out)
{
    const struct dirent *entry;
    DIR *at = opendir(path);
    out->count = 0;
    while (at != NULL && out->count < FILES_MAX && (entry = readdir(at)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(out->name[out->count++], sizeof(out->name[0]), "%.15s",
                     entry->d_name);
        }
    }
    if (at != NULL) {
        (void)closedir(at);
    }
}

static void replaced(enum party_kind kind)
{
    static names all;
    party p, other;

    party_open(&p, kind);
    p.flush_size = 1000;
    p.segment = 1 << 13;
    fill(&p);
    list_names(p.path, &all);
    CHECK(all.count > 8);
    for (int i = 0; i < all.count && check_failures() == 0; i++) {
        for (int way = 0; way < WAYS; way++) {
            char path[300], name[1000], original[1000], what[64];
            uint64_t before;
            lkv_error err = {0};
            guest u;
            int made = 0;

            directory_path(&p.directory, "other", path, sizeof(path));
            directory_copy(p.path, path);
            snprintf(name, sizeof(name), "%.300s/%s", path, all.name[i]);
            snprintf(original, sizeof(original), "%.300s/%s", p.path, all.name[i]);
            snprintf(what, sizeof(what), "%.16s, way %d", all.name[i], way);
            replace(name, original, way);
            other = p;
            other.options.path = path;
            before = bytes_of(path);
            look(&other, what, 0);
            look(&other, what, 0);
            if (!CHECK_SIZE(bytes_of(path), before)) {
                printf("  after %s\n", what);
            }
            /* Nor is it taken for a place where a new store may be made. */
            guest_open(&u, &other);
            (void)!lkv_storage_posix_make(u.storage, &made, &err);
            CHECK_INT(made, 0);
            guest_close(&u);
            if (!CHECK_SIZE(bytes_of(path), before)) {
                printf("  after make, %s\n", what);
            }
            snprintf(other.directory.path, sizeof(other.directory.path), "%.200s",
                     path);
            directory_remove(&other.directory);
        }
    }
    party_close(&p);
}

static void files_replaced(void)
{
    replaced(PARTY_FILES);
}

static void files_replaced_without_maps(void)
{
    replaced(PARTY_COPIES);
}

/* Each byte of `file`, changed; with `sum` the root's checksum is right again. */
static void change_bytes(const party *p, const char *file, long size, int sum)
{
    static uint8_t whole[8192], changed[8192];
    char name[400], what[64];
    size_t got;
    FILE *at;

    snprintf(name, sizeof(name), "%s/%s", p->path, file);
    at = fopen(name, "rb");
    got = at == NULL ? 0 : fread(whole, 1, sizeof(whole), at);
    CHECK(got >= (size_t)size && got < sizeof(whole));
    (void)fclose(at);
    for (long i = 0; i < size && check_failures() == 0; i++) {
        for (int how = 0; how < (check_long() ? 3 : 1); how++) {
            static const uint8_t by[] = {0xff, 1, 0x80};
            memcpy(changed, whole, got);
            changed[i] ^= by[how];
            if (sum) {
                size_t root = lkv_format_get_u32(whole);
                lkv_format_u32(changed + LKV_POSIX_SLOT_HEADER + root - 4,
                               lkv_crc32(0, changed + LKV_POSIX_SLOT_HEADER, root - 4));
            }
            at = fopen(name, "r+b");
            CHECK(at != NULL && fwrite(changed, 1, got, at) == got && fclose(at) == 0);
            snprintf(what, sizeof(what), "%s, byte %ld", file, i);
            look(p, what, sum);
        }
    }
    at = fopen(name, "r+b");
    CHECK(at != NULL && fwrite(whole, 1, got, at) == got && fclose(at) == 0);
}

static void bytes_changed(void)
{
    party p;
    guest u;

    party_open(&p, PARTY_FILES);
    fill(&p);
    change_bytes(&p, "lock", PAGE_USED, 0);
    for (int slot = 0; slot < 2; slot++) {
        const char *name = slot == 0 ? "root0" : "root1";
        long size = directory_size(p.path, name);
        change_bytes(&p, name, size, 0);
        change_bytes(&p, name, size, 1);
    }
    look(&p, "nothing", 0);
    /* And while another has it open. */
    guest_open(&u, &p);
    CHECK(was_committed(content_of(&u)));
    change_bytes(&p, "lock", PAGE_USED, 0);
    CHECK(was_committed(content_of(&u)));
    guest_close(&u);
    party_close(&p);
}

/* A directory of others in which a file happens to be called as ours. */
static void not_ours(void)
{
    static const char *const taken[] = {"lock", "root0", "00000001"};
    party p;
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        char name[400];
        uint64_t before;
        int made = 0;
        guest u;
        party_open(&p, PARTY_FILES);
        CHECK_INT(mkdir(p.path, 0700), 0);
        snprintf(name, sizeof(name), "%s/letters.txt", p.path);
        write_file(name, 10);
        snprintf(name, sizeof(name), "%s/%s", p.path, taken[i]);
        write_file(name, 0);
        before = bytes_of(p.path);
        guest_open(&u, &p);
        CHECK_INT(lkv_storage_posix_make(u.storage, &made, &u.err), LKV_CANTOPEN);
        CHECK_HAS(u.err.text, "something else is there");
        CHECK_INT(made, 0);
        guest_close(&u);
        CHECK_INT(lkv_storage_posix_remove(&lkv_os_posix, &p.options, &u.err),
                  LKV_CANTOPEN);
        CHECK_SIZE(bytes_of(p.path), before);
        CHECK_INT(access(name, F_OK), 0);
        directory_remove(&p.directory);
    }
}

/* The same, and nothing of others beside it. */
static void no_root_of_ours(void)
{
    static const char *const taken[] = {"root0", "00000001", "00000002"};
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        char name[400];
        int made = 0;
        party p;
        guest u;
        party_open(&p, PARTY_FILES);
        CHECK_INT(mkdir(p.path, 0700), 0);
        snprintf(name, sizeof(name), "%s/%s", p.path, taken[i]);
        write_file(name, 0);
        guest_open(&u, &p);
        CHECK_INT(lkv_storage_posix_make(u.storage, &made, &u.err), LKV_CANTOPEN);
        CHECK_HAS(u.err.text, "something else is there");
        CHECK_INT(made, 0);
        CHECK_INT(directory_size(p.path, "lock"), -1);
        guest_close(&u);
        directory_remove(&p.directory);
    }
}

/* The file with the locks holds nothing that a store needs: it is made anew by who
 * makes the table again, and by nobody else, nor while others have the damaged one
 * open. */
static void lock_is_lost(void)
{
    for (int i = 0; i < 6; i++) {
        char name[400];
        int made = 1;
        uint64_t before;
        party p;
        guest u, v;
        party_open(&p, i < 3 ? PARTY_FILES : PARTY_SHARED);
        fill(&p);
        before = i < 3 ? bytes_of(p.path) : 0;
        snprintf(name, sizeof(name), i < 3 ? "%s/lock" : "/dev/shm%s.lock", p.path);
        guest_open(&v, &p);
        CHECK_SIZE(content_of(&v), states[state_count - 1]);
        if (i % 3 ==
            0) { /* that is still locked may be gone: it is the user's to say */
            guest_close(&v);
            CHECK_INT(unlink(name), 0);
            guest_open(&u, &p);
            CHECK_INT(lkv_storage_posix_make(u.storage, &made, &u.err), LKV_CANTOPEN);
            CHECK_HAS(u.err.text, "its file lock is missing; when nobody has it open");
            CHECK_INT(access(name, F_OK), -1);
            guest_close(&u);
            write_file(name, 0);
            guest_open(&v, &p);
        } else if (i % 3 == 1) {
            CHECK_INT(truncate(name, 0), 0);
            CHECK_INT(truncate(name, 4096), 0);
        } else {
            CHECK_INT(truncate(name, 100), 0);
        }
        guest_open(&u, &p);
        CHECK_SIZE(content_of(&u), 0);
        CHECK_HAS(u.err.text, "its file lock is damaged, or not finished");
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_CANTOPEN);
        if (i % 3 != 0) {
            CHECK_INT(lkv_storage_posix_make(u.storage, &made, &u.err), LKV_BUSY);
            CHECK_HAS(u.err.text, "somebody has it open");
        }
        guest_close(&v);
        CHECK_INT(lkv_storage_posix_make(u.storage, &made, &u.err), LKV_OK);
        CHECK_INT(made, 0);
        CHECK_SIZE(content_of(&u), states[state_count - 1]);
        CHECK_SIZE(i < 3 ? bytes_of(p.path) : 0, before);
        guest_open(&v, &p);
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        CHECK_INT(lkv_begin(v.store, 0, &v.err), LKV_BUSY);
        lkv_rollback(u.store);
        guest_close(&v);
        guest_close(&u);
        party_close(&p);
    }
}

static void fill_compacted(guest *u, const char *value)
{
    uint64_t left = 0;
    begin(u->store);
    CHECK_INT(put_text(u->store, "a", value), LKV_OK);
    CHECK_INT(put_text(u->store, "b", value), LKV_OK);
    prepare_and_commit(u->store);
    begin(u->store);
    do {
        CHECK_INT(lkv_compact(u->store, 1 << 20, &left, &u->err), LKV_OK);
    } while (left > 0 && check_failures() == 0);
    CHECK_SIZE(u->store->log.runs->parts, 1);
}

/* The part of another store, or of a compaction that was taken back, in the place of
 * that which the root lists: its rows are right by their checksums, and not the
 * store's. */
static void foreign_part(void)
{
    static const char *const told[] = {
        "part 1, offset 0: the segment is not the root's",
        "part 1, offset 126: the seal is of other records"};
    for (int stale = 0; stale < 2; stale++) {
        char from[300], path[400], other[400];
        report said = {0};
        party p, q;
        guest u, v;

        party_open(&p, PARTY_FILES);
        party_open(&q, PARTY_FILES);
        guest_open(&u, &p);
        guest_make(&u);
        guest_open(&v, &q);
        guest_make(&v);
        fill_compacted(&u, "1");
        directory_path(&p.directory, "copy", from, sizeof(from));
        directory_copy(p.path, from);
        lkv_rollback(u.store);
        fill_compacted(&u, "2");
        prepare_and_commit(u.store);
        fill_compacted(&v, "2");
        prepare_and_commit(v.store);
        guest_close(&v);
        guest_close(&u);
        snprintf(path, sizeof(path), "%s/10000000", p.path);
        snprintf(other, sizeof(other), "%s/10000000", stale ? from : q.path);
        CHECK_INT(unlink(path), 0);
        CHECK_INT(link(other, path), 0);
        guest_open(&u, &p);
        CHECK_INT(lkv_refresh(u.store, &u.err), LKV_OK);
        for (int i = 0; i < 2; i++) {
            lkv_row got;
            CHECK_INT(lkv_get(u.store, text_bytes("a"), &got, &u.err), LKV_CORRUPT);
            CHECK_HAS(u.err.text, told[stale]);
        }
        CHECK_SIZE(content_of(&u), 0);
        CHECK_INT(salvage(u.store, 0, &said, &u.err), LKV_OK);
        CHECK_TEXT(said.text, "part 1: 0+179 -..-");
        CHECK_SIZE(said.kept, 0);
        guest_close(&u);
        party_close(&q);
        party_close(&p);
    }
}

static void remove_files(const char *path)
{
    struct dirent *entry;
    DIR *at = opendir(path);
    CHECK(at != NULL);
    while (at != NULL && (entry = readdir(at)) != NULL) {
        char name[600];
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') {
            CHECK_INT(unlink(name), 0);
        }
    }
    (void)closedir(at);
    CHECK_INT(rmdir(path), 0);
}

static void must_refuse(guest *u)
{
    CHECK_INT(lkv_begin(u->store, 0, &u->err), LKV_READONLY);
    CHECK_HAS(u->err.text, "it was moved or removed while it was open");
}

/* Who has a store open that somebody removes goes on to read it, and writes nothing
 * that would be gone when it closes: also when another store has come into its place.
 */
static void removed_while_open(void)
{
    for (int kind = 0; kind < 2; kind++) {
        party p;
        guest u, v;
        uint64_t before;
        party_open(&p, kind == 0 ? PARTY_FILES : PARTY_COPIES);
        fill(&p);
        guest_open(&u, &p);
        before = content_of(&u);
        CHECK(was_committed(before));
        remove_files(p.path);
        must_refuse(&u);
        guest_open(&v, &p);
        guest_make(&v);
        must_refuse(&u);
        if (kind == 0) { /* what is not mapped cannot be opened any more */
            CHECK_SIZE(content_of(&u), before);
        }
        CHECK_INT(lkv_begin(v.store, 0, &v.err), LKV_OK);
        lkv_rollback(v.store);
        guest_close(&v);
        guest_close(&u);
        party_close(&p);
    }
}

static int64_t clock_ms;

static int64_t told_ms(void *ctx)
{
    (void)ctx;
    return clock_ms;
}

/* Whoever has written before looks again when the clock has gone on. */
static void removed_between_writes(void)
{
    lkv_os os = lkv_os_posix;
    party p;
    guest u = {0};

    os.now_ms = told_ms;
    party_open(&p, PARTY_FILES);
    fill(&p);
    CHECK_INT(lkv_storage_posix_open(&os, &p.options, &u.storage), LKV_OK);
    CHECK_INT(lkv_open(u.storage, &os, &u.store), LKV_OK);
    for (clock_ms = 1; clock_ms < 3; clock_ms++) {
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        lkv_rollback(u.store);
    }
    remove_files(p.path);
    must_refuse(&u);
    guest_close(&u);
    directory_remove(&p.directory);
}

static const check_case cases[] = {
    CASE(files_replaced),         CASE(files_replaced_without_maps),
    CASE(bytes_changed),          CASE(not_ours),
    CASE(no_root_of_ours),        CASE(lock_is_lost),
    CASE(foreign_part),           CASE(removed_while_open),
    CASE(removed_between_writes),
};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
