/*
 * test_changed.c - objects that change under a handle that has read them: cut short, or
 * with the bytes of another object, which are right. What the handle then does ends in
 * an error at worst, and once they are as they were it goes on.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int each_object(void *arg, const lkv_object *object)
{
    (void)arg;
    return object->keys > 1000 ? LKV_FAILED : LKV_OK;
}

static int take_bytes(void *arg, lkv_bytes bytes)
{
    *(uint64_t *)arg += bytes.size;
    return LKV_OK;
}

static int lost(void *arg, const lkv_lost *what)
{
    (void)arg;
    (void)what;
    return LKV_OK;
}

/* An error at worst, and that it is damage. */
static void fine_at(int line, int rc)
{
    if (!CHECK(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT)) {
        printf("  %d at line %d\n", rc, line);
    }
}
#define fine(rc) fine_at(__LINE__, rc)

static void read_rows(lkv_store *store)
{
    static const char *const keys[] = {
        "a", "b", "c", "dddddddddddd", "ddddddddddde", "e", "f", "g", "h", "x"};
    lkv_error err = {0, ""};
    lkv_cursor *cursor;
    lkv_bytes value;
    int rc;
    for (size_t i = 0; i < CASES(keys); i++) {
        lkv_row row;
        fine(lkv_get(store, text_bytes(keys[i]), &row, &err));
    }
    CHECK_INT(lkv_cursor_open(store, &cursor), LKV_OK);
    for (int forward = 0; forward < 2; forward++) {
        rc = forward ? lkv_cursor_first(cursor, &err) : lkv_cursor_last(cursor, &err);
        for (unsigned n = 0; rc == LKV_OK && n < 100; n++) {
            fine(lkv_cursor_value(cursor, &value, &err));
            rc =
                forward ? lkv_cursor_next(cursor, &err) : lkv_cursor_prev(cursor, &err);
        }
        CHECK(rc == LKV_ABSENT || rc == LKV_CORRUPT);
    }
    lkv_cursor_close(cursor);
}

/* With the handle that has read the store before. */
static void use(lkv_store *store)
{
    lkv_salvage_calls calls = {lost, NULL, NULL};
    lkv_error err = {0, ""};
    uint64_t number = 0;
    lkv_stats stats;
    read_rows(store);
    fine(lkv_measure(store, &stats, &err));
    fine(lkv_list(store, each_object, NULL, &err));
    fine(lkv_serialize(store, take_bytes, &number, &err));
    fine(lkv_export(store, take_bytes, &number, &err));
    fine(lkv_verify(store, NULL, NULL, &err));
    CHECK_INT(lkv_salvage(store, 0, &calls, &number, &err), LKV_OK);
    for (int i = 0; i < 2; i++) {
        int rc = lkv_begin(store, 0, &err);
        rc = rc == LKV_OK ? put_text(store, "x", "y") : rc;
        if (rc == LKV_OK) {
            rc = i == 0 ? lkv_compact(store, UINT64_MAX, &number, &err)
                        : lkv_rebuild(store, NULL, NULL, &err);
        }
        if (rc == LKV_OK) {
            read_rows(store);
        }
        if (rc != LKV_MISUSE) { /* of the storage: written beyond what was cut off */
            fine(rc);
        }
        lkv_rollback(store);
    }
}

/* What was taken back writes over nothing: the storage of a database undoes it all. */
static void check_after(fixture *f, const objects *all, lkv_store *store)
{
    objects_put(all, f);
    lkv_close(store);
    CHECK_TEXT(contents_anew(f->storage, &f->os.os), LAYERS_SMALL);
}

static lkv_store *reader(fixture *f)
{
    lkv_store *store = layers_handle(f);
    lkv_error err = {0, ""};
    CHECK_INT(lkv_refresh(store, &err), LKV_OK);
    read_rows(store);
    return store;
}

static void cut_short(void)
{
    objects all;
    fixture f;
    layers_small(&f);
    objects_take(&all, &f);
    for (size_t i = 0; i < all.count; i++) {
        for (size_t k = 0; k < all.bytes[i].size && check_failures() == 0; k += 5) {
            lkv_store *store = reader(&f);
            layers_put_object(f.memory, all.number[i],
                              (lkv_bytes){all.bytes[i].data, k});
            use(store);
            check_after(&f, &all, store);
        }
    }
    objects_free(&all);
    fixture_close(&f);
}

static void another_object(void)
{
    objects all;
    fixture f;
    layers_small(&f);
    objects_take(&all, &f);
    for (size_t i = 0; i < all.count; i++) {
        for (size_t k = 0; k < all.count && check_failures() == 0; k++) {
            lkv_store *store = reader(&f);
            layers_put_object(f.memory, all.number[i], all.bytes[k]);
            use(store);
            check_after(&f, &all, store);
        }
    }
    objects_free(&all);
    fixture_close(&f);
}

/* A record of the log gives its place to another one of the same size. */
static void another_record(void)
{
    lkv_store *store;
    objects all;
    fixture f;
    layers_small(&f);
    objects_take(&all, &f);
    for (size_t i = 0; i < all.count; i++) {
        uint8_t *bytes = (uint8_t *)(uintptr_t)all.bytes[i].data;
        size_t size = all.bytes[i].size, at = LKV_SEGMENT_HEADER;
        lkv_record record;
        const char *why;
        size_t need;
        while (all.number[i] < LKV_RUN_FIRST && at < size &&
               lkv_format_parse(bytes + at, size - at, &record, &need, &why) ==
                   LKV_OK) {
            static const uint8_t zeros[100];
            uint8_t was[sizeof(zeros)];
            if (record.size > sizeof(was)) {
                break;
            }
            memcpy(was, bytes + at, record.size);
            for (int kind = 0; kind < 2; kind++) {
                lkv_format_record(bytes + at,
                                  kind == 0 ? LKV_KIND_PUT : LKV_KIND_TOMBSTONE, 0,
                                  (lkv_bytes){zeros, record.size - LKV_RECORD_HEADER},
                                  (lkv_bytes){NULL, 0});
                store = reader(&f);
                layers_put_object(f.memory, all.number[i], all.bytes[i]);
                use(store);
                memcpy(bytes + at, was, record.size);
                check_after(&f, &all, store);
            }
            at += record.size;
        }
    }
    objects_free(&all);
    fixture_close(&f);
}

/* The open segment is cut where a transaction has written some of its records. */
static void cut_in_a_transaction(void)
{
    char key[16];
    fixture f;
    lkv_bytes object;
    uint32_t number;

    layers_small(&f);
    f.storage->segment = 1 << 16;
    f.store->flush_size = 1 << 16;
    begin(f.store);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "k%02u", i);
        CHECK_INT(put_filler(f.store, key, 25, i), LKV_OK);
    }
    number = f.store->log.segments[f.store->log.count - 1].number;
    object = layers_object(f.memory, number);
    CHECK(object.size > 500);
    for (size_t k = 0; k <= object.size; k++) {
        unsigned wrong = 0;
        layers_put_object(f.memory, number, (lkv_bytes){object.data, k});
        for (unsigned i = 0; i < 40; i++) {
            lkv_error err = {0, ""};
            lkv_row row;
            int rc;
            snprintf(key, sizeof(key), "k%02u", i);
            rc = lkv_get(f.store, text_bytes(key), &row, &err);
            wrong += rc == LKV_CORRUPT;
            CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
            if (rc == LKV_OK) {
                CHECK_BYTES(row.value.data, row.value.size, filler(25, i).data, 25);
            } else {
                CHECK_HAS(err.text, "cut short");
            }
        }
        CHECK((wrong > 0) == (k < object.size));
    }
    lkv_rollback(f.store);
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    free((void *)(uintptr_t)object.data);
    fixture_close(&f);
}

/* Another store took its place, or nothing. */
static void another_store(void)
{
    unsigned told = 0;
    lkv_bytes root;
    uint8_t *copy;
    lkv_end end;
    fixture f;

    layers_small(&f);
    for (uint64_t n = 1; n < 8; n++) {
        lkv_error err = {0, ""};
        storage_fault_arm(&f.fault, n, 0, LKV_ABSENT);
        CHECK(lkv_verify(f.store, NULL, NULL, &err) != LKV_OK);
        told += strcmp(err.text, "the log is empty") == 0;
    }
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK_SIZE(told, 1);
    CHECK_TEXT(verified(f.store), "ok");
    CHECK_INT(f.memory->ops->read_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    copy = malloc(root.size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, root.data, root.size);
    copy[9] ^= 1;
    lkv_format_u32(copy + root.size - 4, lkv_crc32(0, copy, root.size - 4));
    CHECK_INT(f.memory->ops->write_root(f.memory, end.generation,
                                        (lkv_bytes){copy, root.size}, NULL),
              LKV_OK);
    CHECK_TEXT(verified(f.store), "root: it is gone, or of another store");
    free(copy);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(cut_short), CASE(another_object),
                                   CASE(another_record), CASE(cut_in_a_transaction),
                                   CASE(another_store)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
