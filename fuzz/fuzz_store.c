/*
 * fuzz_store.c - bytes from outside as the directory of a store in files.
 *
 * A store is made of one of eight kinds: with one segment, with runs, with parts, with
 * work under way; with all of its commits synced, or not. The input says which; then
 * how its files are damaged, cut, exchanged, taken away (files.h); then what is done
 * with the store, by one handle or two, through maps or reads.
 *
 * Aborts unless
 *   - what nobody touched is right;
 *   - what lkv_verify() passes is right, and stays so;
 *   - after damage of the log, a part or the index whose checksums do not fit, every
 *     answer is right or an error;
 *   - after damage of the roots, or of which file is which, no key has a value that it
 *     never had, and keys come in order;
 *   - what was recovered is whole;
 *   - memory stays in bounds, and all of it comes back.
 */
#include "../core/test/directory.h"
#include "files.h"
#include "storage_posix.h"
#include "store.h"
#include "written.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS WRITTEN_KEYS
#define SHAPES 8
#define MEMORY (8u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct shape { /* a store that nobody has touched */
    int made, vouched;
    files files;
    written is;
} shape;

typedef struct handle {
    lkv_storage *storage;
    lkv_store *store; /* NULL: not open */
} handle;

typedef struct scene {
    input in;
    bounded_os memory;
    directory directory;
    char path[300];
    handle handle[2];
    written is;
    enum files_damage damage;
    int in_the_way; /* what is no file has the name of one */
    uint8_t number;
} scene;

/* Handles */

static int is_answer(const scene *s, int rc)
{
    switch (rc) {
    case LKV_OK:
    case LKV_ABSENT:
        return 1;
    case LKV_CORRUPT:
        return s->damage != FILES_WHOLE;
    case LKV_CANTOPEN: /* something that is no part of a store */
    case LKV_IO:       /* a directory, or a link, where a file should be, or is to be */
        return s->damage != FILES_WHOLE || s->in_the_way;
    case LKV_TOO_BIG:
    case LKV_FULL:
        return s->damage == FILES_FORGED;
    default:
        return 0;
    }
}

static int judge(const scene *s, int rc)
{
    if (!is_answer(s, rc)) {
        (void)fprintf(stderr, "damage %d: result %d\n", (int)s->damage, rc);
        abort();
    }
    return rc;
}

static void close_handle(handle *h)
{
    lkv_close(h->store);
    if (h->storage != NULL) {
        lkv_storage_posix_close(h->storage);
    }
    h->store = NULL;
    h->storage = NULL;
}

static void small(handle *h, uint8_t number)
{
    h->store->flush_size = number & 1 ? 400 : 900;
    h->store->gaps.least = 1;
    h->storage->segment = number & 2 ? 700 : 1500;
    h->storage->spill = 600;
    lkv_auto_compact_fallback(h->store, 0);
}

static int open_handle(scene *s, handle *h, int make)
{
    lkv_posix_options options = {.path = s->path,
                                 .mode = 0600,
                                 .mapped = s->number >> 3 & 1,
                                 .cache_bytes = s->number & 16 ? 0 : 1u << 16};
    int made = 0;

    MUST(lkv_storage_posix_open(&s->memory.os, &options, &h->storage) == LKV_OK);
    if (make) {
        MUST(lkv_storage_posix_make(h->storage, &made, NULL) == LKV_OK && made);
        MUST(lkv_create(h->storage, &s->memory.os, (lkv_bytes){"meta", 4}, NULL) ==
             LKV_OK);
    }
    MUST(lkv_open(h->storage, &s->memory.os, &h->store) == LKV_OK);
    lkv_sync_fallback(h->store, s->number & 4 ? LKV_SYNC_NORMAL : LKV_SYNC_FULL);
    small(h, s->number);
    return lkv_refresh(h->store, NULL);
}

/* The handle, at the newest commit; NULL when it cannot be. */
static lkv_store *ready(scene *s, int which)
{
    handle *h = &s->handle[which & 1];
    if (h->store == NULL) {
        return judge(s, open_handle(s, h, 0)) == LKV_OK ? h->store : NULL;
    }
    return judge(s, lkv_refresh(h->store, NULL)) == LKV_OK ? h->store : NULL;
}

/* Looking */

static lkv_bytes key_of(int key, char *out)
{
    /* One is longer than a node of the index takes in. */
    int size = snprintf(out, 400, key == 7 ? "k%02d%0299d" : "k%02d", key, 0);
    return (lkv_bytes){out, (size_t)size};
}

static int number_of(lkv_bytes key)
{
    char own[400];
    for (int i = 0; i < KEYS; i++) {
        lkv_bytes bytes = key_of(i, own);
        if (bytes.size == key.size && memcmp(own, key.data, key.size) == 0) {
            return i;
        }
    }
    return WRITTEN_NONE;
}

static int exact(const scene *s)
{
    return s->damage < FILES_MOVED;
}

static void value_must_be(const scene *s, int key, lkv_bytes value)
{
    if (s->damage != FILES_FORGED) {
        int write = written_must_have(&s->is, key, value);
        MUST(!exact(s) || s->is.now[key] == write);
    }
}

static void look_at_each(scene *s, lkv_store *store)
{
    char own[400];
    for (int key = 0; key < KEYS; key++) {
        lkv_row row;
        int rc = judge(s, lkv_get(store, key_of(key, own), &row, NULL));
        if (rc == LKV_OK) {
            value_must_be(s, key, row.value);
        }
        MUST(rc != LKV_ABSENT || !exact(s) || s->is.now[key] == WRITTEN_NONE);
    }
}

static void look_at_all(scene *s, lkv_store *store, int forward)
{
    int step = forward ? 1 : -1, at = forward ? -1 : KEYS, rc;
    lkv_cursor *cursor;

    MUST(lkv_cursor_open(store, &cursor) == LKV_OK);
    rc = forward ? lkv_cursor_first(cursor, NULL) : lkv_cursor_last(cursor, NULL);
    while (judge(s, rc) == LKV_OK) {
        lkv_bytes value;
        int key = number_of(lkv_cursor_key(cursor));
        if (s->damage != FILES_FORGED) {
            MUST(key != WRITTEN_NONE && (key - at) * step > 0);
            for (at += step; exact(s) && at != key; at += step) {
                MUST(s->is.now[at] == WRITTEN_NONE);
            }
            at = key;
        }
        rc = judge(s, lkv_cursor_value(cursor, &value, NULL));
        MUST(rc != LKV_ABSENT);
        if (rc == LKV_OK) {
            value_must_be(s, key, value);
        }
        rc = forward ? lkv_cursor_next(cursor, NULL) : lkv_cursor_prev(cursor, NULL);
    }
    for (at += step; rc == LKV_ABSENT && exact(s) && at >= 0 && at < KEYS; at += step) {
        MUST(s->is.now[at] == WRITTEN_NONE);
    }
    lkv_cursor_close(cursor);
}

static void look(scene *s, uint8_t how)
{
    lkv_store *store = ready(s, how);
    if (store == NULL) {
        return;
    }
    if (how & 2) {
        look_at_each(s, store);
    }
    look_at_all(s, store, how & 4);
}

/* What is whole is right from here on. */
static void verify(scene *s, uint8_t how)
{
    lkv_store *store = ready(s, how);
    if (store != NULL && judge(s, lkv_verify(store, NULL, NULL, NULL)) == LKV_OK &&
        s->damage == FILES_BROKEN) {
        s->damage = FILES_WHOLE;
        look(s, how | 6);
    }
}

/* Changing */

static void change(scene *s, lkv_store *store, uint8_t how)
{
    char own[400], value[WRITTEN_ROOM];
    int key = (how & 127) % KEYS, rc, write;
    lkv_row row = {key_of(key, own), {value, 0}, 0};

    if (how & 128) {
        rc = judge(s, lkv_delete(store, row.key, NULL));
        if (rc == LKV_OK || rc == LKV_ABSENT) {
            s->is.now[key] = WRITTEN_NONE;
        }
        return;
    }
    write = written_next(&s->is, key);
    if (write == WRITTEN_NONE) {
        return;
    }
    row.value.size = written_value(write, value);
    if (judge(s, lkv_put(store, &row, NULL)) == LKV_OK) {
        s->is.now[key] = write;
    }
}

enum work { WORK_NONE, WORK_COMPACT, WORK_REBUILD };

static int work(lkv_store *store, enum work which, uint64_t budget)
{
    uint64_t left;
    return which == WORK_COMPACT   ? lkv_compact(store, budget, &left, NULL)
           : which == WORK_REBUILD ? lkv_rebuild(store, NULL, NULL, NULL)
                                   : LKV_OK;
}

static void transact(scene *s, int who, unsigned changes, enum work which,
                     uint64_t budget, int commits)
{
    lkv_store *store = ready(s, who);
    written before = s->is;
    int rc;

    if (store == NULL || judge(s, lkv_begin(store, 0, NULL)) != LKV_OK) {
        return;
    }
    rc = judge(s, work(store, which, budget));
    for (; changes > 0; changes--) {
        change(s, store, input_byte(&s->in));
    }
    if (rc == LKV_OK && commits) {
        rc = judge(s, lkv_prepare(store, NULL));
    }
    if (rc == LKV_OK && commits) {
        lkv_commit(store);
    } else {
        lkv_rollback(store);
        memcpy(s->is.now, before.now, sizeof(before.now));
    }
}

static int see_lost(void *arg, const lkv_lost *lost)
{
    (void)arg;
    MUST(lost->kind == LKV_OBJECT_ROOT ? lost->bytes == 0 : lost->number > 0);
    return LKV_OK;
}

/* What was recovered is whole; what it is must be read. */
static void recover(scene *s, int who)
{
    handle *h = &s->handle[who & 1];
    lkv_salvage_calls calls = {.lost = see_lost};
    enum files_damage damage = s->damage;
    lkv_cursor *cursor;
    uint64_t kept;
    int rc;

    (void)ready(s, who);
    rc = judge(s, lkv_salvage(h->store, 1, &calls, &kept, NULL));
    if (rc == LKV_OK && lkv_in_transaction(h->store)) {
        rc = judge(s, lkv_prepare(h->store, NULL));
    }
    if (rc != LKV_OK) {
        if (lkv_in_transaction(h->store)) {
            lkv_rollback(h->store);
        }
        return;
    }
    if (lkv_in_transaction(h->store)) {
        lkv_commit(h->store);
    }
    s->damage = FILES_WHOLE;
    MUST(ready(s, who) != NULL && lkv_count(h->store) == kept);
    MUST(lkv_verify(h->store, NULL, NULL, NULL) == LKV_OK);
    s->damage = damage == FILES_FORGED ? FILES_FORGED : FILES_MOVED;
    look_at_each(s, h->store);
    if (damage == FILES_FORGED) {
        return;
    }
    for (int i = 0; i < KEYS; i++) {
        s->is.now[i] = WRITTEN_NONE;
    }
    MUST(lkv_cursor_open(h->store, &cursor) == LKV_OK);
    for (rc = lkv_cursor_first(cursor, NULL); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, NULL)) {
        lkv_bytes value;
        int key = number_of(lkv_cursor_key(cursor));
        MUST(key != WRITTEN_NONE && lkv_cursor_value(cursor, &value, NULL) == LKV_OK);
        s->is.now[key] = written_must_have(&s->is, key, value);
    }
    MUST(rc == LKV_ABSENT);
    lkv_cursor_close(cursor);
    s->damage = FILES_WHOLE;
}

static void step(scene *s)
{
    uint8_t how = input_byte(&s->in);
    if (how < 70) {
        look(s, how);
    } else if (how < 150) {
        transact(s, how, how >> 1 & 7, WORK_NONE, 0, how < 140);
    } else if (how < 180) {
        transact(s, how, how & 3, WORK_COMPACT, how & 4 ? 1u << 20 : 300, how & 8);
    } else if (how < 190) {
        transact(s, how, 0, WORK_REBUILD, 0, how & 2);
    } else if (how < 210) {
        verify(s, how);
    } else if (how < 220) {
        recover(s, how);
    } else {
        close_handle(&s->handle[how & 1]);
    }
}

/* The stores */

static void scene_open(scene *s, uint8_t number)
{
    memset(s->handle, 0, sizeof(s->handle));
    s->number = number;
    s->damage = FILES_WHOLE;
    s->in_the_way = 0;
    bounded_os_init(&s->memory, MEMORY);
    s->memory.os.files = &lkv_os_posix_files;
    s->memory.os.shared = &lkv_os_posix_shared;
    directory_make(&s->directory);
    (void)directory_path(&s->directory, "store", s->path, sizeof(s->path));
}

static void scene_close(scene *s)
{
    close_handle(&s->handle[0]);
    close_handle(&s->handle[1]);
    directory_remove(&s->directory);
    MUST(s->memory.held == 0);
}

static void fill(scene *s, lkv_store *store, int from, int to)
{
    while (from < to) {
        MUST(lkv_begin(store, 0, NULL) == LKV_OK);
        for (int i = 0; i < 3 && from < to; i++, from++) {
            change(s, store, (uint8_t)((from * 7 % KEYS) | (from % 6 == 5 ? 128 : 0)));
        }
        MUST(lkv_prepare(store, NULL) == LKV_OK);
        lkv_commit(store);
    }
}

static void make(uint8_t number, shape *out)
{
    static scene s;
    handle *h = &s.handle[0];

    scene_open(&s, number);
    written_init(&s.is);
    MUST(open_handle(&s, h, 1) == LKV_OK);
    if ((number & 3) == 0) {
        h->store->flush_size = LKV_FLUSH_SIZE;
        h->storage->segment = LKV_SEGMENT_SIZE;
    }
    fill(&s, h->store, 0, 24);
    if (number & 2) {
        transact(&s, 0, 0, WORK_COMPACT, 1u << 20, 1);
        fill(&s, h->store, 24, 40);
    }
    if ((number & 3) == 3) {
        transact(&s, 0, 0, WORK_COMPACT, 700, 1);
    }
    close_handle(h);
    files_load(&out->files, s.path);
    out->is = s.is;
    out->vouched = !(number & 4);
    out->made = 1;
    scene_close(&s);
}

static void damage(scene *s, const shape *from, unsigned changes)
{
    static files f;
    files_copy(&f, &from->files);
    for (; changes > 0; changes--) {
        enum files_damage done = files_change(&f, &s->in, from->vouched);
        s->damage = done > s->damage ? done : s->damage;
    }
    MUST(lkv_os_posix_shared.make_directory(NULL, s->path, 0700) == 0);
    for (size_t i = 0; i < f.count; i++) {
        s->in_the_way |=
            f.file[i].kind == FILE_DIRECTORY || f.file[i].kind == FILE_LINK;
    }
    files_put(&f, s->path);
    files_free(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static shape shapes[SHAPES];
    static scene s;
    input in = {data, size};
    uint8_t number = input_byte(&in);
    shape *from = &shapes[number % SHAPES];

    if (!from->made) {
        make(number % SHAPES, from);
    }
    scene_open(&s, number);
    s.in = in;
    s.is = from->is;
    damage(&s, from, input_byte(&s.in) & 3);
    for (int i = 0; i < 8 && s.in.left > 0; i++) {
        step(&s);
    }
    look(&s, 6);
    scene_close(&s);
    return 0;
}
