/*
 * test_forged.c - bytes that a stranger changed, and made every checksum right again:
 * they are refused, or what is read is what was there, and using the store all the same
 * ends in an error at worst.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t masks[] = {0x01, 0x02, 0x10, 0x80, 0xff};

static int no_more(void *arg, const lkv_lost *lost)
{
    (void)arg;
    return lost->bytes > 0 ? LKV_OK : LKV_FAILED;
}

/* What it holds, or "" when that cannot be read. */
static const char *read_all(lkv_store *store)
{
    static char text[1000];
    lkv_cursor *cursor;
    lkv_error err = {0, ""};
    size_t at = 0;
    int rc;

    CHECK_INT(lkv_cursor_open(store, &cursor), LKV_OK);
    rc = lkv_cursor_first(cursor, &err);
    while (rc == LKV_OK) {
        lkv_bytes key = lkv_cursor_key(cursor), value;
        rc = lkv_cursor_value(cursor, &value, &err);
        if (rc == LKV_OK) {
            key = lkv_cursor_key(cursor);
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.*s=%.*s",
                                   at > 0 ? " " : "", (int)key.size,
                                   (const char *)key.data, (int)value.size,
                                   (const char *)value.data);
            rc = at < sizeof(text) ? lkv_cursor_next(cursor, &err) : LKV_CORRUPT;
        }
    }
    lkv_cursor_close(cursor);
    CHECK(rc == LKV_ABSENT || rc == LKV_CORRUPT);
    return rc == LKV_ABSENT ? text : "";
}

static unsigned used; /* how often */

/* Everything that can be done with the store, with a new handle. */
static void use(fixture *f)
{
    lkv_salvage_calls calls = {no_more, NULL, NULL};
    lkv_error err = {0, ""};
    uint64_t kept = 0, left;
    lkv_store *store;
    lkv_row row;
    int rc;

    CHECK_INT(lkv_open(f->storage, &f->os.os, &store), LKV_OK);
    store->flush_size = 150;
    rc = lkv_refresh(store, &err);
    CHECK(rc <= 0);
    used++;
    if (rc == LKV_OK) {
        const char *found = read_all(store);
        if (strcmp(verified(store), "ok") == 0) {
            CHECK_TEXT(found, LAYERS_SMALL);
        }
        rc = lkv_get(store, text_bytes("dddddddddddd"), &row, &err);
        CHECK(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
        rc = lkv_begin(store, 0, &err);
    }
    if (rc == LKV_OK) {
        rc = put_text(store, "e", "6");
        rc = rc == LKV_OK ? lkv_compact(store, UINT64_MAX, &left, &err) : rc;
        rc = rc == LKV_OK ? lkv_prepare(store, &err) : rc;
        CHECK(rc <= 0);
        lkv_rollback(store);
    }
    rc = lkv_salvage(store, 0, &calls, &kept, &err);
    CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
    CHECK(kept <= 9);
    lkv_close(store);
}

/* All objects, to put them back: what a rollback of a store that is not right leaves of
 * them is no matter. */
typedef struct objects {
    uint32_t number[64];
    lkv_bytes bytes[64];
    size_t count;
} objects;

static int see_object(void *arg, uint32_t object)
{
    objects *all = arg;
    if (CHECK(all->count < 64)) {
        all->number[all->count++] = object;
    }
    return 0;
}

static void objects_take(objects *all, fixture *f)
{
    all->count = 0;
    CHECK_INT(f->memory->ops->list(f->memory, see_object, all, NULL), LKV_OK);
    for (size_t i = 0; i < all->count; i++) {
        all->bytes[i] = layers_object(f->memory, all->number[i]);
    }
}

static void objects_put(const objects *all, fixture *f)
{
    for (size_t i = 0; i < all->count; i++) {
        layers_put_object(f->memory, all->number[i], all->bytes[i]);
    }
}

static void objects_free(objects *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free((void *)(uintptr_t)all->bytes[i].data);
    }
}

static void put_root(fixture *f, lkv_bytes root, const lkv_end *end)
{
    CHECK_INT(f->memory->ops->write_root(f->memory, end->generation, root, NULL),
              LKV_OK);
    CHECK_INT(f->memory->ops->publish_end(f->memory, end, NULL), LKV_OK);
}

static uint8_t *copy_of(lkv_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size + 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, bytes.data, bytes.size);
    return copy;
}

static void check_whole(fixture *f)
{
    CHECK(used > 300);
    used = 0;
    CHECK_TEXT(contents_anew(f->storage, &f->os.os), LAYERS_SMALL);
    fixture_reopen(f);
    CHECK_TEXT(verified(f->store), "ok");
}

static void root_of_a_store(void)
{
    lkv_bytes root;
    uint8_t *bytes;
    objects all;
    lkv_end end;
    fixture f;

    layers_small(&f);
    objects_take(&all, &f);
    CHECK_INT(f.memory->ops->read_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    bytes = copy_of(root);
    for (size_t i = 0; i < (root.size - 4) * sizeof(masks); i++) {
        size_t k = i / sizeof(masks);
        bytes[k] ^= masks[i % sizeof(masks)];
        lkv_format_u32(bytes + root.size - 4, lkv_crc32(0, bytes, root.size - 4));
        put_root(&f, (lkv_bytes){bytes, root.size}, &end);
        use(&f);
        objects_put(&all, &f);
        bytes[k] ^= masks[i % sizeof(masks)];
        if (check_failures() > 0) {
            printf("  byte %zu of the root\n", k);
            break;
        }
    }
    lkv_format_u32(bytes + root.size - 4, lkv_crc32(0, bytes, root.size - 4));
    put_root(&f, (lkv_bytes){bytes, root.size}, &end);
    check_whole(&f);
    objects_free(&all);
    free(bytes);
    fixture_close(&f);
}

static void end_of_a_store(void)
{
    uint8_t bytes[LKV_END_SIZE];
    lkv_bytes root;
    uint8_t *copy;
    lkv_end end, forged;
    fixture f;

    layers_small(&f);
    CHECK_INT(f.memory->ops->read_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    copy = copy_of(root);
    for (size_t i = 0; i < (LKV_END_SIZE - 4) * sizeof(masks); i++) {
        size_t k = i / sizeof(masks);
        lkv_end_encode(bytes, &end);
        bytes[k] ^= masks[i % sizeof(masks)];
        lkv_format_u32(bytes + LKV_END_SIZE - 4, lkv_crc32(0, bytes, LKV_END_SIZE - 4));
        if (lkv_end_decode(bytes, &forged) == LKV_OK) {
            put_root(&f, (lkv_bytes){copy, root.size}, &forged);
            use(&f);
        }
        if (check_failures() > 0) {
            printf("  byte %zu of the end\n", k);
            break;
        }
    }
    put_root(&f, (lkv_bytes){copy, root.size}, &end);
    check_whole(&f);
    free(copy);
    fixture_close(&f);
}

/* Headers of segments and parts. */
static void headers(void)
{
    fixture f;
    layers_small(&f);
    for (int part = 0; part < 2; part++) {
        uint32_t number = part ? f.store->log.runs->part[0].number
                               : f.store->log.segments[f.store->log.first].number;
        lkv_bytes object = layers_object(f.memory, number);
        uint8_t *at = (uint8_t *)(uintptr_t)object.data;
        for (size_t i = 0; i < (LKV_SEGMENT_HEADER - 4) * sizeof(masks); i++) {
            size_t k = i / sizeof(masks);
            at[k] ^= masks[i % sizeof(masks)];
            lkv_format_u32(at + LKV_SEGMENT_HEADER - 4,
                           lkv_crc32(0, at, LKV_SEGMENT_HEADER - 4));
            layers_put_object(f.memory, number, object);
            use(&f);
            at[k] ^= masks[i % sizeof(masks)];
            if (check_failures() > 0) {
                printf("  byte %zu of the header of %u\n", k, number);
                break;
            }
        }
        lkv_format_u32(at + LKV_SEGMENT_HEADER - 4,
                       lkv_crc32(0, at, LKV_SEGMENT_HEADER - 4));
        layers_put_object(f.memory, number, object);
        free(at);
    }
    check_whole(&f);
    fixture_close(&f);
}

/* Records, of the log and of a part: their sizes and types, and a byte of each key. */
static void records(void)
{
    fixture f;
    layers_small(&f);
    for (size_t n = 0; n < 3; n++) {
        const lkv_log *log = &f.store->log;
        uint32_t number = n == 0   ? log->runs->part[0].number
                          : n == 1 ? log->segments[log->first].number
                                   : log->at.segment;
        lkv_bytes object = layers_object(f.memory, number);
        uint8_t *at = (uint8_t *)(uintptr_t)object.data;
        size_t size;
        for (size_t from = LKV_SEGMENT_HEADER; from < object.size; from += size) {
            lkv_record record;
            const char *why;
            size_t need;
            if (lkv_format_parse(at + from, object.size - from, &record, &need, &why) !=
                LKV_OK) {
                break; /* only zeros behind it */
            }
            size = record.size;
            for (size_t i = 0; i < (size - 4) * sizeof(masks); i++) {
                size_t k = 4 + i / sizeof(masks);
                at[from + k] ^= masks[i % sizeof(masks)];
                lkv_format_u32(at + from, lkv_crc32(0, at + from + 4, size - 4));
                layers_put_object(f.memory, number, object);
                if (k < 40) {
                    use(&f);
                }
                at[from + k] ^= masks[i % sizeof(masks)];
                lkv_format_u32(at + from, lkv_crc32(0, at + from + 4, size - 4));
                if (check_failures() > 0) {
                    printf("  byte %zu of the record at %zu of %u\n", k, from, number);
                    break;
                }
            }
        }
        layers_put_object(f.memory, number, object);
        free(at);
    }
    check_whole(&f);
    fixture_close(&f);
}

static void root_of_an_export(void)
{
    export out;
    size_t size;
    fixture f;

    layers_small(&f);
    take_export(f.store, &out);
    size = lkv_format_get_u32(out.bytes + 8);
    for (size_t i = 0; i < (size - 4) * sizeof(masks) && check_failures() == 0; i++) {
        uint8_t *root = out.bytes + 12;
        size_t k = i / sizeof(masks);
        int rc;
        root[k] ^= masks[i % sizeof(masks)];
        lkv_format_u32(root + size - 4, lkv_crc32(0, root, size - 4));
        lkv_format_u64(out.bytes + out.size - 8,
                       lkv_hash_once(out.bytes, out.size - 8));
        begin(f.store);
        rc = import(f.store, &out, &f.err);
        CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
        if (rc == LKV_OK) {
            CHECK_TEXT(contents(f.store), LAYERS_SMALL);
            CHECK_TEXT(verified(f.store), "ok");
        } else {
            CHECK_HAS(f.err.text, "index: ");
            CHECK(!lkv_log_changed(&f.store->log));
        }
        lkv_rollback(f.store);
        root[k] ^= masks[i % sizeof(masks)];
        lkv_format_u32(root + size - 4, lkv_crc32(0, root, size - 4));
        if (check_failures() > 0) {
            printf("  byte %zu of the root\n", k);
        }
    }
    check_good(&f, summary(f.store));
    free(out.bytes);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(root_of_a_store), CASE(end_of_a_store),
                                   CASE(headers), CASE(records),
                                   CASE(root_of_an_export)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
