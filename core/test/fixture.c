/*
 * fixture.c - see fixture.h.
 */
#include "fixture.h"

#include "format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 65536u

void fixture_open(fixture *f, uint32_t block)
{
    memset(f, 0, sizeof(*f));
    os_fault_init(&f->os);
    CHECK_INT(lkv_storage_mem_open(&f->os.os, block, &f->memory), LKV_OK);
    storage_fault_init(&f->fault, f->memory);
    f->storage = &f->fault.base;
    CHECK_INT(lkv_create(f->storage, &f->os.os, text_bytes("about"), &f->err), LKV_OK);
    CHECK_INT(lkv_open(f->storage, &f->os.os, &f->store), LKV_OK);
    CHECK_INT(lkv_refresh(f->store, &f->err), LKV_OK);
}

void fixture_close(fixture *f)
{
    os_fault_arm(&f->os, 0, 0);
    storage_fault_arm(&f->fault, 0, 0, LKV_OK);
    lkv_close(f->store);
    storage_fault_free(&f->fault);
    lkv_storage_mem_close(f->memory);
    CHECK_SIZE(f->os.live, 0);
}

void fixture_reopen(fixture *f)
{
    lkv_close(f->store);
    f->store = NULL;
    CHECK_INT(lkv_open(f->storage, &f->os.os, &f->store), LKV_OK);
    CHECK_INT(lkv_refresh(f->store, &f->err), LKV_OK);
}

lkv_bytes text_bytes(const char *text)
{
    return (lkv_bytes){text, strlen(text)};
}

int put_text(lkv_store *store, const char *key, const char *value)
{
    lkv_row row = {text_bytes(key), text_bytes(value), 0};
    lkv_error err;
    return lkv_put(store, &row, &err);
}

int delete_text(lkv_store *store, const char *key)
{
    lkv_error err;
    return lkv_delete(store, text_bytes(key), &err);
}

const char *get_text(lkv_store *store, const char *key)
{
    static char text[TEXT_SIZE];
    lkv_error err;
    lkv_row row;
    int rc = lkv_get(store, text_bytes(key), &row, &err);
    if (rc == LKV_ABSENT) {
        return NULL;
    }
    if (!CHECK_INT(rc, LKV_OK) || !CHECK(row.value.size < TEXT_SIZE)) {
        return "error";
    }
    memcpy(text, row.value.data, row.value.size);
    text[row.value.size] = '\0';
    return text;
}

lkv_bytes filler(size_t size, unsigned seed)
{
    static uint8_t bytes[1u << 20];
    uint64_t state = seed;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)check_random(&state);
    }
    return (lkv_bytes){bytes, size};
}

int put_filler(lkv_store *store, const char *key, size_t size, unsigned seed)
{
    lkv_row row = {text_bytes(key), filler(size, seed), 0};
    lkv_error err;
    return lkv_put(store, &row, &err);
}

void begin(lkv_store *store)
{
    lkv_error err = {0, ""};
    CHECK_INT(lkv_begin(store, 0, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
}

void prepare_and_commit(lkv_store *store)
{
    lkv_error err = {0, ""};
    CHECK_INT(lkv_prepare(store, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    lkv_commit(store);
}

uint64_t compact_some(fixture *f, uint64_t budget)
{
    uint64_t left = UINT64_MAX;
    begin(f->store);
    if (!CHECK_INT(lkv_compact(f->store, budget, &left, &f->err), LKV_OK)) {
        CHECK_TEXT(f->err.text, "");
    }
    prepare_and_commit(f->store);
    return left;
}

void commit_text(lkv_store *store, const char *key, const char *value)
{
    begin(store);
    CHECK_INT(value == NULL ? delete_text(store, key) : put_text(store, key, value),
              LKV_OK);
    prepare_and_commit(store);
}

uint32_t mark(lkv_store *store)
{
    uint32_t depth = UINT32_MAX;
    CHECK_INT(lkv_mark(store, &depth), LKV_OK);
    return depth;
}

void fill_three(fixture *f)
{
    f->storage->segment = 316;
    commit_text(f->store, "a", "1");
    commit_text(f->store, "b", "2");
    begin(f->store);
    CHECK_INT(put_filler(f->store, "c", 70, 1), LKV_OK);
    CHECK_INT(put_text(f->store, "", ""), LKV_OK);
    CHECK_INT(delete_text(f->store, "a"), LKV_OK);
    CHECK_INT(put_filler(f->store, "b", 120, 2), LKV_OK);
    prepare_and_commit(f->store);
    commit_text(f->store, "b", NULL);
    commit_text(f->store, "d", "4");
}

/* Whether it is short and fit to be printed. */
static int is_text(lkv_bytes bytes)
{
    const uint8_t *at = bytes.data;
    for (size_t i = 0; i < bytes.size; i++) {
        if (at[i] < ' ' || at[i] > '~') {
            return 0;
        }
    }
    return bytes.size <= 40;
}

static size_t add_row(char *text, size_t at, lkv_bytes key, lkv_bytes value)
{
    const char *between = at > 0 ? " " : "";
    int size;
    if (!is_text(key) || !is_text(value)) {
        size = snprintf(text + at, TEXT_SIZE - at, "%s<%zu %08x>=<%zu %08x>", between,
                        key.size, lkv_crc32(0, key.data, key.size), value.size,
                        lkv_crc32(0, value.data, value.size));
    } else {
        size =
            snprintf(text + at, TEXT_SIZE - at, "%s%.*s=%.*s", between, (int)key.size,
                     (const char *)key.data, (int)value.size, (const char *)value.data);
    }
    return at + (size_t)size < TEXT_SIZE ? at + (size_t)size : TEXT_SIZE - 1;
}

/* One walk; forward it writes `text`. Returns the number of rows. */
static uint64_t walk(lkv_store *store, lkv_cursor *cursor, int forward, char *text)
{
    lkv_error err = {0, ""};
    size_t at = 0;
    uint64_t rows = 0;
    int rc = forward ? lkv_cursor_first(cursor, &err) : lkv_cursor_last(cursor, &err);

    for (; rc == LKV_OK;
         rc = forward ? lkv_cursor_next(cursor, &err) : lkv_cursor_prev(cursor, &err)) {
        lkv_bytes value;
        lkv_row row;
        uint32_t crc;
        unsigned tag;
        rows++;
        rc = lkv_cursor_value(cursor, &value, &err);
        if (rc != LKV_OK) {
            break;
        }
        if (forward) {
            at = add_row(text, at, lkv_cursor_key(cursor), value);
        }
        crc = lkv_crc32(0, value.data, value.size);
        rc = lkv_get(store, lkv_cursor_key(cursor), &row, &err);
        if (rc != LKV_OK) {
            break;
        }
        CHECK_SIZE(lkv_crc32(0, row.value.data, row.value.size), crc);
        CHECK_INT(lkv_cursor_tag(cursor, &tag, &err), LKV_OK);
        CHECK_INT(row.tag, tag);
        CHECK_INT(lkv_exists(store, lkv_cursor_key(cursor), &err), LKV_OK);
    }
    if (rc != LKV_ABSENT) {
        snprintf(text, TEXT_SIZE, "error %d: %s", rc, err.text);
    }
    return rows;
}

static int is_error(const char *text)
{
    return strncmp(text, "error", 5) == 0;
}

const char *contents(lkv_store *store)
{
    static char texts[4][TEXT_SIZE];
    static unsigned turn;
    char *text = texts[turn++ % 4];
    lkv_cursor *cursor;

    text[0] = '\0';
    if (lkv_cursor_open(store, &cursor) != LKV_OK) {
        return "error: no memory for a cursor";
    }
    if (walk(store, cursor, 1, text) != lkv_count(store) && !is_error(text)) {
        snprintf(text, TEXT_SIZE, "error: lkv_count() is wrong");
    }
    if (!is_error(text) && walk(store, cursor, 0, text) != lkv_count(store)) {
        snprintf(text, TEXT_SIZE, "error: backwards there are other rows");
    }
    lkv_cursor_close(cursor);
    return text;
}

const char *contents_anew(lkv_storage *storage, const lkv_os *os)
{
    static char texts[2][300];
    static unsigned turn;
    char *text = texts[turn++ % 2];
    const char *result;
    lkv_error err = {0, ""};
    lkv_store *store;
    int rc = lkv_open(storage, os, &store);

    if (rc != LKV_OK) {
        return "error: no memory for a handle";
    }
    rc = lkv_refresh(store, &err);
    if (rc == LKV_OK) {
        result = contents(store);
    } else {
        snprintf(text, sizeof(texts[0]), "error %d: %s", rc, err.text);
        result = text;
    }
    lkv_close(store);
    return result;
}

const char *contents_of(const store_image *image)
{
    lkv_storage *memory;
    storage_fault fault;
    const char *result, *with_long_views;
    os_fault os;

    os_fault_init(&os);
    CHECK_INT(lkv_storage_mem_open(&os.os, 64, &memory), LKV_OK);
    image_put(image, memory);
    with_long_views = contents_anew(memory, &os.os);
    storage_fault_init(&fault, memory);
    result = contents_anew(&fault.base, &os.os);
    CHECK_TEXT(with_long_views, result);
    CHECK_SIZE(fault.writes + fault.roots + fault.ends + fault.syncs, 0); /* F11 */
    storage_fault_free(&fault);
    lkv_storage_mem_close(memory);
    CHECK_SIZE(os.live, 0);
    return result;
}
