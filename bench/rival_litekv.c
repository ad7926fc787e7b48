/*
 * rival_litekv.c - litekv's core itself, without SQLite: on a storage in files, and on
 * one in memory.
 */
#include "rivals.h"

#include <litekv.h>
#include <storage.h>
#include <storage_posix.h>

#include <stdio.h>
#include <stdlib.h>

#define BLOCK 4096u

typedef struct core {
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err;
} core;

/* A store in memory stays when its handle is closed, as files would. */
static lkv_storage *kept;

static void check(core *c, int rc)
{
    if (rc < 0) {
        bench_fail("litekv", c->err.text);
    }
}

static void make(core *c)
{
    check(c, lkv_create(c->storage, &lkv_os_posix, (lkv_bytes){NULL, 0}, &c->err));
}

static void *open_store(core *c)
{
    check(c, lkv_open(c->storage, &lkv_os_posix, &c->store));
    check(c, lkv_refresh(c->store, &c->err));
    return c;
}

static void *open_memory(const char *directory, int fresh, uint64_t keys)
{
    core *c = rival_memory(sizeof(*c));
    (void)directory;
    (void)keys;
    if (fresh) {
        check(c, lkv_storage_mem_open(&lkv_os_posix, BLOCK, &kept));
    }
    c->storage = kept;
    if (fresh) {
        make(c);
    }
    return open_store(c);
}

static void close_memory(void *arg)
{
    core *c = arg;
    lkv_close(c->store);
    free(c);
}

static void begin(void *arg)
{
    core *c = arg;
    check(c, lkv_begin(c->store, 0, &c->err));
}

static void put(void *arg, const char *key, const unsigned char *value)
{
    core *c = arg;
    const lkv_row row = {{key, BENCH_KEY_SIZE}, {value, BENCH_VALUE_SIZE}, 0};
    check(c, lkv_put(c->store, &row, &c->err));
}

static void commit(void *arg)
{
    core *c = arg;
    check(c, lkv_prepare(c->store, &c->err));
    lkv_commit(c->store);
}

static int get(void *arg, const char *key, unsigned char *value)
{
    core *c = arg;
    lkv_row row;
    int rc = lkv_get(c->store, (lkv_bytes){key, BENCH_KEY_SIZE}, &row, &c->err);
    check(c, rc);
    if (rc == LKV_ABSENT) {
        return 0;
    }
    rival_take(value, row.value.data, row.value.size);
    return 1;
}

static uint64_t scan(void *arg)
{
    core *c = arg;
    lkv_cursor *cursor;
    lkv_bytes value;
    uint64_t rows = 0;
    unsigned sum = 0;
    int rc;

    check(c, lkv_cursor_open(c->store, &cursor));
    for (rc = lkv_cursor_first(cursor, &c->err); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, &c->err)) {
        check(c, lkv_cursor_value(cursor, &value, &c->err));
        sum += rival_touch(lkv_cursor_key(cursor).data, value.data);
        rows++;
    }
    check(c, rc);
    lkv_cursor_close(cursor);
    rival_keep(sum);
    return rows;
}

static void compact(void *arg)
{
    core *c = arg;
    uint64_t left = 1;
    begin(c);
    while (left > 0) {
        check(c, lkv_compact(c->store, UINT64_C(1) << 40, &left, &c->err));
    }
    commit(c);
}

static const rival engine_memory = {
    .name = "litekv, memory",
    .settings =
        "core on the storage in memory, blocks of 4,096 bytes, checksums; merges "
        "in its commits",
    .open = open_memory,
    .close = close_memory,
    .begin = begin,
    .put = put,
    .commit = commit,
    .get = get,
    .scan = scan,
    .compact = compact,
};

const rival *rival_litekv_memory(void)
{
    return &engine_memory;
}

static void *open_files(const char *directory, int fresh, uint64_t keys)
{
    core *c = rival_memory(sizeof(*c));
    char path[600];
    const lkv_posix_options options = {.path = path, .mode = 0600, .mapped = 1};
    int made = 0;

    (void)keys;
    snprintf(path, sizeof(path), "%s/kv.litekv", directory);
    check(c, lkv_storage_posix_open(&lkv_os_posix, &options, &c->storage));
    if (fresh) {
        check(c, lkv_storage_posix_make(c->storage, &made, &c->err));
        make(c);
    }
    (void)open_store(c);
    lkv_sync_fallback(c->store, LKV_SYNC_NORMAL);
    return c;
}

static void close_files(void *arg)
{
    core *c = arg;
    lkv_storage *storage = c->storage;
    close_memory(c);
    lkv_storage_posix_close(storage);
}

static const rival engine_files = {
    .name = "litekv, files",
    .settings =
        "core on the storage in files, read through maps, checksums of all, "
        "sync=normal: a power cut leaves a prefix of the batches; merges in its "
        "commits",
    .keeps_files = 1,
    .open = open_files,
    .close = close_files,
    .begin = begin,
    .put = put,
    .commit = commit,
    .get = get,
    .scan = scan,
    .compact = compact,
};

const rival *rival_litekv_files(void)
{
    return &engine_files;
}
