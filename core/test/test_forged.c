/*
 * test_forged.c - bytes that a stranger changed, and made every checksum right again:
 * they are refused, or what is read is what was there, and using the store all the same
 * ends in an error at worst.
 */
#include "exports.h"
#include "layers.h"
#include "part.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of them with LONG, and else so many fewer; no multiple of the masks. */
static size_t one_in(size_t few)
{
    return check_long() ? 1 : few;
}

static const uint8_t masks[] = {0x01, 0x02, 0x10, 0x80, 0xff};

static int no_more(void *arg, const lkv_lost *lost)
{
    (void)arg;
    return lost->bytes > 0 ? LKV_OK : LKV_FAILED;
}

/* A checksum of all that it holds, in this direction; 0 when that cannot be read. Twice
 * as many rows as there are is no end. */
static uint64_t read_all(lkv_store *store, int forward)
{
    lkv_cursor *cursor;
    lkv_error err = {0, ""};
    uint64_t hash = 1, rows = 0;
    int rc;

    CHECK_INT(lkv_cursor_open(store, &cursor), LKV_OK);
    rc = forward ? lkv_cursor_first(cursor, &err) : lkv_cursor_last(cursor, &err);
    while (rc == LKV_OK) {
        lkv_bytes key = lkv_cursor_key(cursor), value;
        uint64_t row = lkv_hash_once(key.data, key.size);
        rc = lkv_cursor_value(cursor, &value, &err);
        if (rc == LKV_OK) {
            hash += row * (lkv_hash_once(value.data, value.size) | 1);
            rc = ++rows > 5000 ? LKV_CORRUPT
                 : forward     ? lkv_cursor_next(cursor, &err)
                               : lkv_cursor_prev(cursor, &err);
        }
    }
    lkv_cursor_close(cursor);
    CHECK(rc == LKV_ABSENT || rc == LKV_CORRUPT);
    CHECK(rc == LKV_ABSENT || rows > 5000 || err.text[0] != '\0');
    return rc == LKV_ABSENT ? hash : 0;
}

static unsigned used;      /* how often */
static uint64_t truth;     /* what it held before */
static uint64_t keys_most; /* that could be kept: deleted ones too */

static void look_up(lkv_store *store, const char *key)
{
    lkv_error err = {0, ""};
    lkv_cursor *cursor;
    lkv_row row;
    int rc = lkv_get(store, text_bytes(key), &row, &err);
    CHECK(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
    CHECK_INT(lkv_cursor_open(store, &cursor), LKV_OK);
    for (enum lkv_seek how = LKV_SEEK_GE; how <= LKV_SEEK_LT; how++) {
        rc = lkv_cursor_seek(cursor, text_bytes(key), how, &err);
        CHECK(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
    }
    lkv_cursor_close(cursor);
}

static int each_object(void *arg, const lkv_object *object)
{
    (void)arg;
    return object->bytes > 0 || object->keys == 0 ? LKV_OK : LKV_FAILED;
}

static int count_bytes(void *arg, lkv_bytes bytes)
{
    *(uint64_t *)arg += bytes.size;
    return LKV_OK;
}

static void give_out(lkv_store *store)
{
    lkv_error err = {0, ""};
    uint64_t bytes = 0;
    lkv_stats stats;
    int rc = lkv_list(store, each_object, NULL, &err);
    CHECK(rc == LKV_OK || rc == LKV_CORRUPT || rc == LKV_FAILED);
    rc = lkv_measure(store, &stats, &err);
    CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
    rc = lkv_serialize(store, count_bytes, &bytes, &err);
    CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
    rc = lkv_export(store, count_bytes, &bytes, &err);
    CHECK(rc == LKV_OK || rc == LKV_CORRUPT);
}

/* Everything that can be done with the store, with a new handle. */
static void use(fixture *f)
{
    lkv_salvage_calls calls = {no_more, NULL, NULL};
    lkv_error err = {0, ""};
    uint64_t kept = 0, left;
    lkv_store *store;
    int rc;

    CHECK_INT(lkv_open(f->storage, &f->os.os, &store), LKV_OK);
    store->flush_size = 150;
    rc = lkv_refresh(store, &err);
    CHECK(rc <= 0);
    used++;
    if (rc == LKV_OK) {
        uint64_t forward = read_all(store, 1), back = read_all(store, 0);
        if (strcmp(verified(store), "ok") == 0) {
            CHECK(forward == truth);
            CHECK(back == truth);
        }
        look_up(store, "dddddddddddd");
        look_up(store, "e");
        look_up(store, "zz");
        give_out(store);
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
    CHECK(kept <= keys_most);
    lkv_close(store);
}

/* The small store, or one with records that are chunks of their own. */
static void open_small(fixture *f, int with_long_records)
{
    uint64_t left;
    layers_small(f);
    keys_most = 9;
    if (with_long_records) {
        begin(f->store);
        CHECK_INT(put_filler(f->store, "dd", LKV_CHUNK_MAX + 9, 1), LKV_OK);
        CHECK_INT(put_filler(f->store, "ddd", 5000, 1), LKV_OK);
        CHECK_INT(put_filler(f->store, "z", LKV_CHUNK_MAX, 1), LKV_OK);
        CHECK_INT(lkv_compact(f->store, UINT64_MAX, &left, &f->err), LKV_OK);
        prepare_and_commit(f->store);
        commit_text(f->store, "ddd", "1");
        commit_text(f->store, "e", "7");
        keys_most = 12;
    }
    truth = read_all(f->store, 1);
    CHECK(truth == read_all(f->store, 0));
    CHECK_TEXT(verified(f->store), "ok");
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
    CHECK(used > 100);
    used = 0;
    fixture_reopen(f);
    CHECK(read_all(f->store, 1) == truth);
    CHECK_TEXT(verified(f->store), "ok");
}

static void root_of_a_store(void)
{
    lkv_bytes root;
    uint8_t *bytes;
    objects all;
    lkv_end end;
    fixture f;

    open_small(&f, 0);
    objects_take(&all, &f);
    CHECK_INT(f.memory->ops->read_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    bytes = copy_of(root);
    for (size_t i = 0; i < (root.size - 4) * sizeof(masks); i += one_in(4)) {
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

    open_small(&f, 0);
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
    open_small(&f, 0);
    for (int part = 0; part < 2; part++) {
        uint32_t number = part ? f.store->log.runs->part[0].number
                               : f.store->log.segments[f.store->log.first].number;
        lkv_bytes object = layers_object(f.memory, number);
        uint8_t *at = (uint8_t *)(uintptr_t)object.data;
        for (size_t i = 0; i < (LKV_SEGMENT_HEADER - 4) * sizeof(masks);
             i += one_in(2)) {
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
    open_small(&f, 0);
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
            for (size_t i = 0; i < (size - 4) * sizeof(masks); i += one_in(7)) {
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

/* The blocks of runs, and of the indexes of parts. */
static void blocks_of(fixture *f, uint32_t number, size_t step)
{
    lkv_bytes object = layers_object(f->memory, number);
    uint8_t *bytes = (uint8_t *)(uintptr_t)object.data;
    uint8_t *was = copy_of(object);
    size_t span;
    objects all;

    objects_take(&all, f);
    for (size_t at = 0; at + 64 <= object.size && check_failures() == 0; at += span) {
        span = (size_t)lkv_block_span(bytes + at, 64) * 64;
        for (size_t i = 0; i < (span - 4) * sizeof(masks); i += one_in(step)) {
            size_t k = 4 + i / sizeof(masks);
            bytes[at + k] ^= masks[i % sizeof(masks)];
            lkv_format_u32(bytes + at, lkv_crc32(0, bytes + at + 4, span - 4));
            layers_put_object(f->memory, number, object);
            use(f);
            objects_put(&all, f);
            memcpy(bytes, was, object.size);
            if (check_failures() > 0) {
                printf("  byte %zu of the block at %zu of %x\n", k, at, number);
                break;
            }
        }
    }
    objects_free(&all);
    free(was);
    free(bytes);
}

static void blocks(void)
{
    for (int with_long_records = 0; with_long_records < 2; with_long_records++) {
        int step = with_long_records ? 155 : 23;
        lkv_runs *runs;
        fixture f;
        open_small(&f, with_long_records);
        runs = lkv_runs_hold(f.store->log.runs);
        for (uint32_t i = 0; i < runs->count; i++) {
            blocks_of(&f, runs->run[i].number, (size_t)step);
        }
        for (uint32_t i = 0; i < runs->parts; i++) {
            blocks_of(&f, runs->part[i].index, (size_t)step / 2);
        }
        lkv_runs_release(&f.os.os, runs);
        check_whole(&f);
        fixture_close(&f);
    }
}

static void root_of_an_export(void)
{
    export out;
    size_t size;
    fixture f;

    open_small(&f, 0);
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
                                   CASE(headers),         CASE(records),
                                   CASE(blocks),          CASE(root_of_an_export)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
