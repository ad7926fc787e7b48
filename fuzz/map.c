/*
 * map.c - see map.h.
 */
#include "map.h"

#include "format.h"
#include "input.h"

#include <string.h>

static int compare(lkv_bytes a, lkv_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int rc = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return rc != 0 ? rc : (a.size > b.size) - (a.size < b.size);
}

int map_same_bytes(lkv_bytes a, lkv_bytes b)
{
    return compare(a, b) == 0;
}

uint64_t map_bytes(const map *m)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        bytes += lkv_format_size(m->row[i].key, m->row[i].value);
    }
    return bytes;
}

size_t map_find(const map *m, lkv_bytes key, int *equal)
{
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(m->row[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *equal = low < m->count && compare(m->row[low].key, key) == 0;
    return low;
}

void map_put(map *m, const lkv_row *row)
{
    int equal;
    size_t i = map_find(m, row->key, &equal);
    if (!equal) {
        MUST(m->count < MAP_MAX);
        memmove(&m->row[i + 1], &m->row[i], (m->count - i) * sizeof(m->row[0]));
        m->count++;
    }
    m->row[i] = *row;
}

void map_remove(map *m, lkv_bytes key)
{
    int equal;
    size_t i = map_find(m, key, &equal);
    if (equal) {
        m->count--;
        memmove(&m->row[i], &m->row[i + 1], (m->count - i) * sizeof(m->row[0]));
    }
}

static int same_row(const lkv_row *a, const lkv_row *b)
{
    return map_same_bytes(a->key, b->key) && map_same_bytes(a->value, b->value) &&
           a->tag == b->tag;
}

int map_is_equal(const map *a, const map *b)
{
    int equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = same_row(&a->row[i], &b->row[i]);
    }
    return equal;
}

/* The cursor stands on row `i`, or nowhere when there is no such row. */
static void must_stand(const map *m, lkv_cursor *cursor, int rc, size_t i)
{
    lkv_bytes value;
    unsigned tag;
    MUST(rc == (i < m->count ? LKV_OK : LKV_ABSENT));
    if (rc == LKV_OK) {
        MUST(map_same_bytes(lkv_cursor_key(cursor), m->row[i].key));
        MUST(lkv_cursor_tag(cursor, &tag, NULL) == LKV_OK);
        MUST(tag == m->row[i].tag);
        MUST(lkv_cursor_value(cursor, &value, NULL) == LKV_OK);
        MUST(map_same_bytes(value, m->row[i].value));
        MUST(map_same_bytes(lkv_cursor_key(cursor), m->row[i].key));
    }
}

/* Row SIZE_MAX is before the first, and no row either. */
static void must_walk(const map *m, lkv_cursor *cursor)
{
    int rc = lkv_cursor_first(cursor, NULL);
    for (size_t i = 0; i < m->count; i++, rc = lkv_cursor_next(cursor, NULL)) {
        must_stand(m, cursor, rc, i);
    }
    must_stand(m, cursor, rc, m->count);
    MUST(lkv_cursor_next(cursor, NULL) == LKV_ABSENT);
    rc = lkv_cursor_last(cursor, NULL);
    for (size_t i = m->count; i-- > 0; rc = lkv_cursor_prev(cursor, NULL)) {
        must_stand(m, cursor, rc, i);
    }
    must_stand(m, cursor, rc, SIZE_MAX);
}

/* By lookup, and on from there in both directions. */
static void must_find(const map *m, lkv_cursor *cursor, lkv_bytes key)
{
    int equal;
    size_t i = map_find(m, key, &equal);
    for (int forward = 0; forward < 2; forward++) {
        int rc = lkv_cursor_find(cursor, key, NULL);
        if (!equal) {
            MUST(rc == LKV_ABSENT);
            return;
        }
        must_stand(m, cursor, rc, i);
        rc = forward ? lkv_cursor_next(cursor, NULL) : lkv_cursor_prev(cursor, NULL);
        must_stand(m, cursor, rc, forward ? i + 1 : i - 1);
    }
}

static void must_seek(const map *m, lkv_cursor *cursor, lkv_bytes key)
{
    int equal;
    size_t i = map_find(m, key, &equal);
    must_stand(m, cursor, lkv_cursor_seek(cursor, key, LKV_SEEK_GE, NULL), i);
    must_stand(m, cursor, lkv_cursor_seek(cursor, key, LKV_SEEK_GT, NULL),
               equal ? i + 1 : i);
    must_stand(m, cursor, lkv_cursor_seek(cursor, key, LKV_SEEK_LE, NULL),
               equal ? i : i - 1);
    must_stand(m, cursor, lkv_cursor_seek(cursor, key, LKV_SEEK_LT, NULL), i - 1);
}

void map_must_be(const map *m, lkv_store *store)
{
    static const uint8_t high = 0xff;
    size_t one = m->count == 0 ? 0 : map_bytes(m) % m->count;
    lkv_cursor *cursor;
    lkv_row row;

    MUST(lkv_count(store) == m->count);
    MUST(lkv_cursor_open(store, &cursor) == LKV_OK);
    must_walk(m, cursor);
    for (size_t i = 0; i < m->count; i++) {
        lkv_bytes key = m->row[i].key;
        lkv_bytes shorter = {key.data, key.size > 0 ? key.size - 1 : 0};
        MUST(lkv_exists(store, key, NULL) == LKV_OK);
        MUST(lkv_get(store, key, &row, NULL) == LKV_OK);
        MUST(same_row(&row, &m->row[i]));
        if (i == one) { /* a fuzzer lives on speed; in other maps it is another */
            must_seek(m, cursor, key);
            must_seek(m, cursor, shorter);
            must_find(m, cursor, key);
            must_find(m, cursor, shorter);
        }
    }
    must_seek(m, cursor, (lkv_bytes){NULL, 0});
    must_seek(m, cursor, (lkv_bytes){&high, 1});
    lkv_cursor_close(cursor);
}
