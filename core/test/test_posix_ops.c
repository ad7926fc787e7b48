/*
 * test_posix_ops.c - a storage in files and in shared memory by itself: what it says to
 * a user that does not keep to storage.h, and which files it takes for its own.
 */
#include "directory.h"
#include "fixture.h"

#include "posix.h"
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct bench {
    directory directory;
    char path[300];
    lkv_posix_options options;
    os_fault os;
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err;
} bench;

static void bench_open(bench *b, int shared, int mapped)
{
    int made = 0;
    memset(b, 0, sizeof(*b));
    directory_make(&b->directory);
    directory_path(&b->directory, "kv", b->path, sizeof(b->path));
    if (shared) {
        snprintf(b->path, sizeof(b->path), "/litekv-ops.%d", (int)getpid());
    }
    b->options = (lkv_posix_options){.path = b->path,
                                     .shared_memory = shared,
                                     .mode = 0600,
                                     .mapped = mapped,
                                     .cache_bytes = 1 << 20};
    os_fault_init(&b->os);
    CHECK_INT(lkv_storage_posix_open(&b->os.os, &b->options, &b->storage), LKV_OK);
    CHECK_INT(lkv_open(b->storage, &b->os.os, &b->store), LKV_OK);
    CHECK_INT(lkv_storage_posix_make(b->storage, &made, &b->err), LKV_OK);
    CHECK_INT(made, 1);
    CHECK_INT(lkv_create(b->storage, &b->os.os, text_bytes("about"), &b->err), LKV_OK);
}

static void bench_reopen(bench *b)
{
    lkv_close(b->store);
    lkv_storage_posix_close(b->storage);
    CHECK_INT(lkv_storage_posix_open(&b->os.os, &b->options, &b->storage), LKV_OK);
    CHECK_INT(lkv_open(b->storage, &b->os.os, &b->store), LKV_OK);
}

static void bench_close(bench *b)
{
    lkv_close(b->store);
    lkv_storage_posix_close(b->storage);
    CHECK_INT(lkv_storage_posix_remove(&b->os.os, &b->options, &b->err), LKV_OK);
    CHECK_SIZE(b->os.live, 0);
    CHECK_SIZE(b->os.open_files, 0);
    CHECK_SIZE(b->os.maps, 0);
    directory_remove(&b->directory);
}

static int write_to(bench *b, uint32_t object, uint64_t offset, const char *text)
{
    b->err.text[0] = '\0';
    return b->storage->ops->write(b->storage, object, offset, text_bytes(text),
                                  &b->err);
}

static const char *read_from(bench *b, uint32_t object)
{
    static char text[32];
    lkv_bytes view;
    CHECK_INT(b->storage->ops->read(b->storage, object, 0, 16, &view, &b->err), LKV_OK);
    snprintf(text, sizeof(text), "%.*s", (int)view.size, (const char *)view.data);
    return text;
}

static void writes(int shared, int mapped)
{
    bench b;
    lkv_end none = {0};
    const lkv_storage_ops *ops;

    bench_open(&b, shared, mapped);
    ops = b.storage->ops;
    CHECK_INT(write_to(&b, 7, 0, "some"), LKV_MISUSE);
    CHECK_HAS(b.err.text, "written without the lock");
    CHECK_INT(ops->pin(b.storage, &b.err), LKV_OK);
    CHECK_INT(ops->lock(b.storage, 0, &b.err), LKV_OK);
    CHECK_INT(write_to(&b, 7, 5, "some"), LKV_MISUSE);
    CHECK_HAS(b.err.text, "no such object to write to");
    CHECK_INT(write_to(&b, 7, 0, "some"), LKV_OK);
    CHECK_INT(write_to(&b, 7, 5, "more"), LKV_MISUSE);
    CHECK_HAS(b.err.text, "written beyond its end");
    CHECK_TEXT(read_from(&b, 7), "some");
    CHECK_INT(write_to(&b, 7, 4, "thing"), LKV_OK);
    CHECK_TEXT(read_from(&b, 7), "something");
    CHECK_INT(ops->remove(b.storage, 7, 4, &b.err), LKV_OK); /* cuts nothing */
    CHECK_TEXT(read_from(&b, 7), "something");
    CHECK_INT(ops->seal(b.storage, 7, &b.err), LKV_OK);
    CHECK_INT(ops->sync(b.storage, 7, 9, &b.err), LKV_OK);
    ops->unlock(b.storage, &none);
    ops->unpin(b.storage);
    ops->unlock(b.storage, &none); /* it has it no more */
    /* And takes nothing back. */
    ops->rewind(b.storage, 7, 4);
    CHECK_TEXT(read_from(&b, 7), "something");
    ops->rewind(b.storage, 7, 0);
    CHECK_TEXT(read_from(&b, 7), "something");
    bench_reopen(&b);

    /* Known and not written by who writes now: it is another's, and made anew. */
    CHECK_INT(ops->lock(b.storage, 0, &b.err), LKV_OK);
    CHECK_TEXT(read_from(&b, 7), "something");
    CHECK_INT(write_to(&b, 7, 0, "new"), LKV_OK);
    CHECK_TEXT(read_from(&b, 7), "new");
    CHECK_INT(ops->remove(b.storage, 7, 0, &b.err), LKV_OK);
    ops->unlock(b.storage, &none);
    bench_close(&b);
}

static void writes_out_of_turn(void)
{
    for (int kind = 0; kind < 4; kind++) {
        writes(kind / 2, kind % 2);
    }
}

static void cached(void)
{
    for (int mapped = 0; mapped < 2; mapped++) {
        uint64_t limit = 77;
        bench b;
        bench_open(&b, 0, mapped);
        commit_text(b.store, "a", "1");
        bench_reopen(&b);
        CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
        CHECK_TEXT(get_text(b.store, "a"), "1");
        CHECK(mapped == (lkv_storage_posix_cached(b.storage, &limit) == 0));
        CHECK_SIZE(limit, mapped ? 0 : 1 << 20);
        bench_close(&b);
    }
}

static int add_number(void *arg, uint32_t object)
{
    *(uint64_t *)arg = *(uint64_t *)arg * 1000 + object;
    return object == 444 ? LKV_FAILED : LKV_OK;
}

static void make_file(const bench *b, const char *name)
{
    char path[600];
    int file;
    snprintf(path, sizeof(path), b->options.shared_memory ? "%s.%s" : "%s/%s", b->path,
             name);
    file = b->options.shared_memory ? shm_open(path, O_RDWR | O_CREAT, 0600)
                                    : open(path, O_RDWR | O_CREAT, 0600);
    CHECK(file >= 0);
    (void)close(file);
}

static void remove_file(const bench *b, const char *name)
{
    char path[600];
    snprintf(path, sizeof(path), b->options.shared_memory ? "%s.%s" : "%s/%s", b->path,
             name);
    CHECK_INT(b->options.shared_memory ? shm_unlink(path) : unlink(path), 0);
}

/* None of these is an object: not eight digits of those that are written, or too
 * great. */
static const char *const strangers[] = {"0000000g",  "0000000/", "0000000A",
                                        "000000001", "0000001",  "ffffffff",
                                        "00000000",  "lock2",    "root3"};

static void own_files(int shared)
{
    uint64_t seen = 0;
    bench b;

    bench_open(&b, shared, 1);
    commit_text(b.store, "a", "1");
    CHECK_INT(b.storage->ops->list(b.storage, add_number, &seen, &b.err), LKV_OK);
    CHECK_SIZE(seen, 1);
    for (size_t i = 0; i < CASES(strangers); i++) {
        if (strchr(strangers[i], '/') == NULL) {
            make_file(&b, strangers[i]);
        }
        CHECK_SIZE(lkv_posix_number(strangers[i]), 0);
    }
    seen = 0;
    CHECK_INT(b.storage->ops->list(b.storage, add_number, &seen, &b.err), LKV_OK);
    CHECK_SIZE(seen, 1);
    make_file(&b, "000001bc");
    CHECK_INT(b.storage->ops->list(b.storage, add_number, &seen, &b.err), LKV_FAILED);
    remove_file(&b, "000001bc");
    os_fault_arm(&b.os, 1, 0);
    CHECK_INT(b.storage->ops->list(b.storage, add_number, &seen, &b.err), LKV_IO);
    CHECK_HAS(b.err.text, "cannot list");
    CHECK_TEXT(get_text(b.store, "a"), "1");

    lkv_close(b.store);
    lkv_storage_posix_close(b.storage);
    b.store = NULL;
    b.storage = NULL;
    if (!shared) { /* there the names of others stand beside */
        CHECK_INT(lkv_storage_posix_remove(&b.os.os, &b.options, &b.err), LKV_CANTOPEN);
        CHECK_HAS(b.err.text, "which is not litekv's: nothing was removed");
        CHECK_INT(directory_size(b.path, "00000001") > 0, 1);
    }
    CHECK_INT(lkv_storage_posix_open(&b.os.os, &b.options, &b.storage), LKV_OK);
    CHECK_INT(lkv_open(b.storage, &b.os.os, &b.store), LKV_OK);
    CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
    CHECK_TEXT(get_text(b.store, "a"), "1");
    for (size_t i = 0; !shared && i < CASES(strangers); i++) {
        if (strchr(strangers[i], '/') == NULL) {
            remove_file(&b, strangers[i]);
        }
    }
    bench_close(&b);
    for (size_t i = 0; shared && i < CASES(strangers); i++) {
        if (strchr(strangers[i], '/') == NULL) {
            remove_file(&b, strangers[i]); /* they are still there */
        }
    }
}

static void own_files_in_a_directory(void)
{
    own_files(0);
}

static void own_files_in_shared_memory(void)
{
    own_files(1);
}

/* Objects without any root are no place for a new store. */
static void roots_missing(void)
{
    static const char *const roots[] = {"root0", "root1", "root2"};
    int made = 77;
    bench b;
    bench_open(&b, 0, 1);
    make_file(&b, "00000002");
    lkv_close(b.store);
    lkv_storage_posix_close(b.storage);
    for (size_t i = 0; i < 3; i++) {
        if (directory_size(b.path, roots[i]) >= 0) {
            remove_file(&b, roots[i]);
        }
    }
    CHECK_INT(lkv_storage_posix_open(&b.os.os, &b.options, &b.storage), LKV_OK);
    CHECK_INT(lkv_open(b.storage, &b.os.os, &b.store), LKV_OK);
    CHECK_INT(lkv_storage_posix_make(b.storage, &made, &b.err), LKV_CORRUPT);
    CHECK_HAS(b.err.text, "its roots are missing");
    CHECK_INT(made, 0);
    /* Two roots that are wrong are no less a store. */
    make_file(&b, "root0");
    directory_poke(b.path, "root0", 100, 1);
    directory_poke(b.path, "root0", 0, 21);
    CHECK_INT(lkv_storage_posix_make(b.storage, &made, &b.err), LKV_CORRUPT);
    CHECK_HAS(b.err.text, "no root is right");
    CHECK_INT(lkv_refresh(b.store, &b.err), LKV_CORRUPT);
    CHECK_HAS(b.err.text, "no root is right");
    bench_close(&b);
}

/* A relative path has no directory of its own in it. */
static void relative_path(void)
{
    char before[400];
    bench b;
    lkv_posix_options options;
    lkv_storage *storage;
    int made = 0;

    CHECK(getcwd(before, sizeof(before)) != NULL);
    bench_open(&b, 0, 1);
    CHECK_INT(chdir(b.directory.path), 0);
    options = b.options;
    options.path = "beside";
    CHECK_INT(lkv_storage_posix_open(&b.os.os, &options, &storage), LKV_OK);
    CHECK_INT(lkv_storage_posix_make(storage, &made, &b.err), LKV_OK);
    CHECK_INT(made, 1);
    lkv_storage_posix_unmake(storage);
    lkv_storage_posix_unmake(storage); /* nothing is open any more */
    CHECK_INT(access("beside", F_OK), -1);
    lkv_storage_posix_close(storage);
    CHECK_INT(chdir(before), 0);
    bench_close(&b);
}

static void long_path(void)
{
    char path[300];
    os_fault os;
    lkv_error err = {0};
    lkv_posix_options options = {.path = path};
    os_fault_init(&os);
    memset(path, 'x', sizeof(path));
    snprintf(path + 200, sizeof(path) - 200, "/end");
    CHECK_INT(lkv_storage_posix_remove(&os.os, &options, &err), LKV_CANTOPEN);
    CHECK_HAS(err.text, "\"...xxxx");
    CHECK_HAS(err.text, "xxx/end\": there is no store");
    CHECK_SIZE(os.live, 0);
}

/* Who may not write reads what is there, after a writer died as well. */
static void read_only(void)
{
    for (int torn = 0; torn < 3; torn++) {
        int made = 0;
        bench b;
        bench_open(&b, 0, torn != 1);
        commit_text(b.store, "a", "1");
        bench_reopen(&b);
        if (torn > 0) {
            directory_poke(b.path, "00000001", directory_size(b.path, "00000001") + 9,
                           7);
            b.os.boots = 1;
        }
        b.os.as = EACCES;
        os_fault_arm(&b.os, 1, 0);
        CHECK_INT(torn == 2 ? lkv_storage_posix_make(b.storage, &made, &b.err)
                            : lkv_refresh(b.store, &b.err),
                  LKV_OK);
        CHECK_INT(made, 0);
        CHECK_SIZE(b.os.failures, 1);
        CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
        CHECK_TEXT(get_text(b.store, "a"), "1");
        CHECK(torn == 0 || lkv_storage_posix_torn(b.storage) > 0);
        CHECK_INT(lkv_begin(b.store, 0, &b.err), LKV_READONLY);
        CHECK_HAS(b.err.text, "it may not be written");
        lkv_storage_posix_unmake(b.storage); /* others may have it open */
        CHECK(directory_size(b.path, "00000001") > 0);
        lkv_close(b.store);
        lkv_storage_posix_close(b.storage);
        os_fault_arm(&b.os, 1, 0);
        CHECK_INT(lkv_storage_posix_remove(&b.os.os, &b.options, &b.err), LKV_READONLY);
        CHECK_HAS(b.err.text, "it may not be written");
        b.os.as = 0;
        CHECK_INT(lkv_storage_posix_open(&b.os.os, &b.options, &b.storage), LKV_OK);
        CHECK_INT(lkv_open(b.storage, &b.os.os, &b.store), LKV_OK);
        CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
        commit_text(b.store, "b", "2");
        CHECK_TEXT(contents(b.store), "a=1 b=2");
        bench_close(&b);
    }
}

/* A store that is being removed, and made again, for ever. */
static int another(void *ctx, int file, const char *path, int shared)
{
    (void)ctx;
    (void)file;
    (void)path;
    (void)shared;
    return ESTALE;
}

static int is_there(void *ctx, const char *path, unsigned mode)
{
    (void)ctx;
    (void)path;
    (void)mode;
    return EEXIST;
}

static int has_lock(void *ctx, const char *path, int shared,
                    int (*each)(void *arg, const char *name), void *arg)
{
    (void)ctx;
    (void)path;
    (void)shared;
    return each(arg, "lock");
}

static void others_at_it(void)
{
    const lkv_os_shared *right;
    lkv_os_shared shared;
    lkv_storage *storage;
    int made = 77;
    bench b;

    bench_open(&b, 0, 1);
    bench_reopen(&b);
    right = b.os.os.shared;
    shared = *right;
    shared.same = another;
    b.os.os.shared = &shared;
    CHECK_INT(lkv_refresh(b.store, &b.err), LKV_CANTOPEN);
    CHECK_HAS(b.err.text, "it is being removed");
    CHECK_SIZE(b.os.open_files, 0);

    b.options.path = "/nonexistent/kv";
    CHECK_INT(lkv_storage_posix_open(&b.os.os, &b.options, &storage), LKV_OK);
    shared.make_directory = is_there;
    shared.list = has_lock;
    b.os.os.shared = &shared;
    CHECK_INT(lkv_storage_posix_make(storage, &made, &b.err), LKV_CANTOPEN);
    CHECK_HAS(b.err.text, "others make and remove it");
    CHECK_INT(made, 0);
    lkv_storage_posix_close(storage);
    b.options.path = b.path;
    b.os.os.shared = right;
    bench_close(&b);
}

static int refuse_zeros(void *ctx, int file, uint64_t offset, const void *bytes,
                        size_t size)
{
    return size > 6000 && *(const char *)bytes == 0
               ? ENOSPC
               : lkv_os_posix.shared->write(ctx, file, offset, bytes, size);
}

/* With sync=full a segment grows in steps of zeros, and not beyond its end; but where
 * they would fill the disk, or do, by what is written. */
static void grows_to_its_end(void)
{
    for (int way = 0; way < 3; way++) {
        lkv_os_shared shared;
        bench b;
        bench_open(&b, 0, 1);
        bench_reopen(&b);
        b.storage->segment = 100 << 10;
        b.os.room = way == 1 ? (1 << 20) - 1 : 1 << 20;
        memcpy(&shared, b.os.os.shared, sizeof(shared));
        shared.write = way == 2 ? refuse_zeros : shared.write;
        b.os.os.shared = &shared;
        for (unsigned i = 0; i < 18; i++) {
            CHECK_INT(lkv_begin(b.store, 0, &b.err), LKV_OK);
            CHECK_INT(put_filler(b.store, "a", 5000, i), LKV_OK);
            prepare_and_commit(b.store);
            CHECK(i != 1 || directory_size(b.path, "00000001") == 64 << 10);
        }
        CHECK((directory_size(b.path, "00000001") == 100 << 10) == !way);
        CHECK_INT(lkv_verify(b.store, NULL, NULL, &b.err), LKV_OK);
        bench_close(&b);
    }
}

/* What is mapped stays readable when its file is gone; there is no more of it. */
static void removed_under_a_reader(void)
{
    lkv_bytes view;
    bench b;
    bench_open(&b, 0, 1);
    commit_text(b.store, "a", "1");
    bench_reopen(&b);
    CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
    lkv_posix_close_file(lkv_posix_of(b.storage),
                         lkv_posix_find(lkv_posix_of(b.storage), 1));
    remove_file(&b, "00000001");
    CHECK_TEXT(get_text(b.store, "a"), "1");
    CHECK_INT(b.storage->ops->read(b.storage, 1, 1 << 20, 10, &view, &b.err), LKV_OK);
    CHECK_SIZE(view.size, 0);
    CHECK_TEXT(get_text(b.store, "a"), "1");
    bench_close(&b);
}

/* What was prepared and is not named when the lock is given back never was. */
static void prepared_in_vain(void)
{
    for (int kind = 0; kind < 2; kind++) {
        lkv_end before;
        bench b;
        bench_open(&b, 0, kind);
        commit_text(b.store, "a", "1");
        CHECK_INT(b.storage->ops->read_end(b.storage, &before, &b.err), LKV_OK);
        CHECK_INT(lkv_begin(b.store, 0, &b.err), LKV_OK);
        CHECK_INT(put_text(b.store, "b", "2"), LKV_OK);
        CHECK_INT(lkv_prepare(b.store, &b.err), LKV_OK);
        b.storage->ops->unlock(b.storage, &before);
        bench_reopen(&b);
        CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
        CHECK_TEXT(contents(b.store), "a=1");
        commit_text(b.store, "c", "3");
        bench_reopen(&b);
        b.os.boots = 1;
        CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
        CHECK_TEXT(contents(b.store), "a=1 c=3");
        bench_close(&b);
    }
}

/* Behind the end stands what looks like a commit; only one that can be of this store
 * and vouches for what is not there makes it damage. */
static void torn_commits(void)
{
    for (int way = 0; way < 6; way++) {
        uint8_t bytes[LKV_COMMIT_SIZE];
        lkv_commit_record commit;
        size_t last = sizeof(bytes);
        char path[600];
        uint64_t end;
        int file;
        bench b;

        bench_open(&b, 0, way % 2);
        commit_text(b.store, "a", "1");
        end = b.store->log.at.offset;
        commit = (lkv_commit_record){
            .revision =
                way == 1 ? b.store->log.at.revision : b.store->log.at.revision + 1,
            .covered = way == 2 ? end + 300 : 10,
            .synced_end = way == 3   ? end - LKV_SEGMENT_HEADER
                          : way == 4 ? end + 300
                                     : end - LKV_SEGMENT_HEADER + 15};
        lkv_format_commit(bytes, &commit);
        bytes[LKV_COMMIT_SIZE - 1] ^= way == 5;
        snprintf(path, sizeof(path), "%s/00000001", b.path);
        bench_reopen(&b);
        file = open(path, O_RDWR);
        CHECK_INT(pwrite(file, bytes, sizeof(bytes), (off_t)end + 15), sizeof(bytes));
        (void)close(file);
        b.os.boots = 1;
        if (way == 0) {
            CHECK_INT(lkv_refresh(b.store, &b.err), LKV_CORRUPT);
            CHECK_HAS(b.err.text, "a commit behind it says that it had been synced");
        } else {
            CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
            while (bytes[last - 1] == 0) {
                last--; /* zeros at its end were never anything else */
            }
            CHECK_SIZE(lkv_storage_posix_torn(b.storage), 15 + last);
            commit_text(b.store, "b", "2");
            CHECK_TEXT(contents(b.store), "a=1 b=2");
        }
        bench_close(&b);
    }
}

/* A root that was written with sync=off counts after a restart as well, and the durable
 * one before it goes. */
static void newest_root_is_not_durable(void)
{
    bench b;
    bench_open(&b, 0, 1);
    commit_text(b.store, "a", "1");
    bench_reopen(&b);
    b.storage->segment = 1 << 12;
    lkv_sync_fallback(b.store, LKV_SYNC_OFF);
    for (unsigned i = 0; i < 5; i++) {
        CHECK_INT(lkv_begin(b.store, 0, &b.err), LKV_OK);
        CHECK_INT(put_filler(b.store, "b", 1500, i), LKV_OK);
        prepare_and_commit(b.store);
    }
    bench_reopen(&b);
    lkv_sync_fallback(b.store, LKV_SYNC_OFF);
    b.os.boots = 1;
    CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
    CHECK_SIZE(lkv_count(b.store), 2);
    commit_text(b.store, "c", "3");
    CHECK_SIZE(lkv_count(b.store), 3);
    bench_reopen(&b);
    b.os.boots = 2;
    CHECK_INT(lkv_refresh(b.store, &b.err), LKV_OK);
    CHECK_SIZE(lkv_count(b.store), 3);
    CHECK_TEXT(get_text(b.store, "c"), "3");
    CHECK_INT(lkv_verify(b.store, NULL, NULL, &b.err), LKV_OK);
    bench_close(&b);
}

static const check_case cases[] = {CASE(writes_out_of_turn),
                                   CASE(cached),
                                   CASE(own_files_in_a_directory),
                                   CASE(own_files_in_shared_memory),
                                   CASE(roots_missing),
                                   CASE(relative_path),
                                   CASE(long_path),
                                   CASE(read_only),
                                   CASE(others_at_it),
                                   CASE(grows_to_its_end),
                                   CASE(removed_under_a_reader),
                                   CASE(newest_root_is_not_durable),
                                   CASE(prepared_in_vain),
                                   CASE(torn_commits)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
