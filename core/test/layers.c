/*
 * layers.c - see layers.h.
 */
#include "layers.h"

#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_SIZE 1200u
#define SEGMENT_SIZE 4000u
#define KEYS 900u

void layers_open(fixture *f)
{
    fixture_open(f, 64);
    f->storage->segment = SEGMENT_SIZE;
    f->storage->spill = 256;
    f->store->flush_size = FLUSH_SIZE;
}

void layers_reopen(fixture *f)
{
    fixture_reopen(f);
    f->store->flush_size = FLUSH_SIZE;
}

lkv_store *layers_handle(fixture *f)
{
    lkv_store *store = NULL;
    CHECK_INT(lkv_open(f->storage, &f->os.os, &store), LKV_OK);
    store->flush_size = FLUSH_SIZE;
    return store;
}

static lkv_bytes key_of(unsigned i)
{
    static char key[400];
    if (i == 0) {
        return (lkv_bytes){NULL, 0};
    }
    memset(key, 'l', sizeof(key));
    snprintf(key, sizeof(key), "k%03u", i);
    key[4] = 'l';
    return (lkv_bytes){key, i == 7 ? sizeof(key) : 4};
}

void layers_change(lkv_store *store, uint64_t *random, unsigned changes)
{
    for (unsigned i = 0; i < changes; i++) {
        lkv_bytes key = key_of((unsigned)check_below(random, KEYS));
        uint64_t what = check_below(random, 60);
        size_t size = (size_t)check_below(random, what == 0  ? 1500
                                                  : what < 4 ? 150
                                                             : 20);
        lkv_error err = {0, ""};
        int rc;
        if (check_below(random, 4) == 0) {
            rc = lkv_delete(store, key, &err);
            rc = rc == LKV_ABSENT ? LKV_OK : rc;
        } else {
            lkv_row row = {key, filler(size, (unsigned)check_random(random)),
                           (unsigned)check_below(random, 4)};
            rc = lkv_put(store, &row, &err);
        }
        CHECK_INT(rc, LKV_OK);
        CHECK_TEXT(err.text, "");
    }
}

void layers_commit(lkv_store *store, uint64_t *random, unsigned changes)
{
    begin(store);
    layers_change(store, random, changes);
    prepare_and_commit(store);
}

static int has_all(const lkv_store *store)
{
    const lkv_runs *runs = store->log.runs;
    return runs->parts > 1 && runs->pass.open && runs->count > 1 && runs->merges > 0 &&
           runs->merge[runs->merges - 1].live_bytes > 0 &&
           lkv_memindex_count(store->index) > 1 && store->log.count > 1;
}

void layers_fill(fixture *f, uint64_t *random)
{
    uint64_t left;
    lkv_auto_compact_fallback(f->store, 0);
    for (unsigned i = 0; i < 150; i++) {
        layers_commit(f->store, random, 10);
    }
    begin(f->store);
    CHECK_INT(lkv_compact(f->store, UINT64_MAX, &left, &f->err), LKV_OK);
    prepare_and_commit(f->store);
    for (unsigned i = 0; i < 1000 && !has_all(f->store); i++) {
        if (i % 30 == 15) {
            begin(f->store);
            CHECK_INT(lkv_compact(f->store, 600, &left, &f->err), LKV_OK);
            prepare_and_commit(f->store);
        }
        if (i % 5 == 0) { /* a little at a time, so that one is left half done */
            uint32_t blocks = 4;
            begin(f->store);
            CHECK(lkv_merge_some(f->store, &blocks, &f->err) >= 0);
            prepare_and_commit(f->store);
        }
        layers_commit(f->store, random, 2);
    }
    CHECK(has_all(f->store));
}

/* Small enough to be damaged everywhere: two parts' worth of keys, two runs, and more.
 */
void layers_small(fixture *f)
{
    static const char *const keys[] = {"a", "b", "c", "dddddddddddd", "ddddddddddde",
                                       "f"};
    uint64_t left;

    layers_open(f);
    lkv_auto_compact_fallback(f->store, 0);
    f->storage->segment = 400;
    f->store->flush_size = 150;
    for (size_t i = 0; i < 6; i++) {
        commit_text(f->store, keys[i], i == 2 ? "" : "some value");
    }
    commit_text(f->store, "f", NULL);
    begin(f->store);
    CHECK_INT(lkv_compact(f->store, UINT64_MAX, &left, &f->err), LKV_OK);
    prepare_and_commit(f->store);
    commit_text(f->store, "a", "2"); /* removes what the compaction left */
    commit_text(f->store, "e", "2");
    commit_text(f->store, "e", "3");
    commit_text(f->store, "b", NULL);
    commit_text(f->store, "g", "2");
    begin(f->store);
    CHECK_INT(put_text(f->store, "h", "h"), LKV_OK);
    CHECK_INT(put_text(f->store, "g", "3"), LKV_OK);
    CHECK_INT(put_text(f->store, "e", "4"), LKV_OK);
    prepare_and_commit(f->store);
    commit_text(f->store, "e", "5");
    CHECK_TEXT(contents(f->store), LAYERS_SMALL);
    CHECK_SIZE(f->store->log.runs->parts, 1);
    CHECK_SIZE(f->store->log.runs->count, 3);
    CHECK_SIZE(f->store->log.runs->gone, 0);
    CHECK(f->store->log.count > 1);
    CHECK_SIZE(lkv_memindex_count(f->store->index), 3);
    CHECK_TEXT(verified(f->store), "ok");
}

lkv_bytes layers_object(lkv_storage *storage, uint32_t number)
{
    lkv_bytes view = {NULL, 0};
    uint8_t *copy;
    CHECK_INT(storage->ops->read(storage, number, 0, 1u << 20, &view, NULL), LKV_OK);
    copy = malloc(view.size + 1);
    if (copy == NULL) {
        abort();
    }
    if (view.size > 0) {
        memcpy(copy, view.data, view.size);
    }
    return (lkv_bytes){copy, view.size};
}

void layers_put_object(lkv_storage *storage, uint32_t number, lkv_bytes bytes)
{
    CHECK_INT(storage->ops->write(storage, number, 0, bytes, NULL), LKV_OK);
}

static const char *sum_up(const char *text)
{
    static char texts[16][80];
    static unsigned turn;
    char *out = texts[turn++ % 16];
    if (strncmp(text, "error", 5) == 0) {
        snprintf(out, sizeof(texts[0]), "%s", text);
    } else {
        snprintf(out, sizeof(texts[0]), "%zu bytes, %08x", strlen(text),
                 lkv_crc32(0, text, strlen(text)));
    }
    return out;
}

const char *summary(lkv_store *store)
{
    return sum_up(contents(store));
}

const char *summary_anew(fixture *f)
{
    return sum_up(contents_anew(f->storage, &f->os.os));
}

const char *verified(lkv_store *store)
{
    static lkv_error err;
    int rc;
    memset(&err, 0, sizeof(err));
    rc = lkv_verify(store, NULL, NULL, &err);
    if (rc == LKV_OK) {
        return "ok";
    }
    if (rc != LKV_CORRUPT) {
        static char text[300];
        snprintf(text, sizeof(text), "%d %s", rc, err.text);
        return text;
    }
    return err.text;
}

static int see_object(void *arg, uint32_t object)
{
    objects *all = arg;
    if (CHECK(all->count < 64)) {
        all->number[all->count++] = object;
    }
    return 0;
}

void objects_take(objects *all, fixture *f)
{
    all->count = 0;
    CHECK_INT(f->memory->ops->list(f->memory, see_object, all, NULL), LKV_OK);
    for (size_t i = 0; i < all->count; i++) {
        all->bytes[i] = layers_object(f->memory, all->number[i]);
    }
}

void objects_put(const objects *all, fixture *f)
{
    for (size_t i = 0; i < all->count; i++) {
        layers_put_object(f->memory, all->number[i], all->bytes[i]);
    }
}

void objects_free(objects *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free((void *)(uintptr_t)all->bytes[i].data);
    }
}
