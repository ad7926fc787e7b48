/*
 * rival_litekv.c - litekv's core itself, without SQLite: on a storage in memory.
 */
#include "rivals.h"

#include <litekv.h>
#include <storage.h>

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

static void *open_memory(const char *directory, int fresh, uint64_t keys)
{
    core *c = rival_memory(sizeof(*c));
    (void)directory;
    (void)keys;
    if (fresh) {
        check(c, lkv_storage_mem_open(&lkv_os_posix, BLOCK, &kept));
        check(c, lkv_create(kept, &lkv_os_posix, (lkv_bytes){NULL, 0}, &c->err));
    }
    c->storage = kept;
    check(c, lkv_open(c->storage, &lkv_os_posix, &c->store));
    check(c, lkv_refresh(c->store, &c->err));
    return c;
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

const rival *rival_litekv_files(void)
{
    return NULL;
}
