/*
 * cursor.c - walking the keys in order while the store may change under the walk.
 *
 * A cursor points into the index. Before the index changes, every cursor takes a copy
 * of its key, and finds its way again from there at its next move: strictly past the
 * key, so that the row it stood on comes no second time whatever was put in or taken
 * out meanwhile.
 */
#include "store.h"

#include <string.h>

int lkv_cursor_open(lkv_store *store, lkv_cursor **out)
{
    lkv_cursor *cursor = lkv_os_alloc(store->log.os, sizeof(*cursor));
    if (cursor == NULL) {
        return LKV_NOMEM;
    }
    memset(cursor, 0, sizeof(*cursor));
    cursor->store = store;
    cursor->next = store->cursors;
    cursor->link = &store->cursors;
    if (cursor->next != NULL) {
        cursor->next->link = &cursor->next;
    }
    store->cursors = cursor;
    *out = cursor;
    return LKV_OK;
}

void lkv_cursor_close(lkv_cursor *cursor)
{
    if (cursor != NULL) {
        const lkv_os *os = cursor->store->log.os;
        *cursor->link = cursor->next;
        if (cursor->next != NULL) {
            cursor->next->link = cursor->link;
        }
        lkv_os_free(os, cursor->key);
        lkv_os_free(os, cursor);
    }
}

static int save(lkv_cursor *cursor, lkv_bytes key)
{
    if (key.size > cursor->key_capacity) {
        size_t capacity = key.size * 2;
        uint8_t *moved = lkv_os_resize(cursor->store->log.os, cursor->key, capacity);
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        cursor->key = moved;
        cursor->key_capacity = capacity;
    }
    if (key.size > 0) {
        memcpy(cursor->key, key.data, key.size);
    }
    cursor->key_size = key.size;
    return LKV_OK;
}

void lkv_cursor_save_all(lkv_store *store)
{
    for (lkv_cursor *at = store->cursors; at != NULL; at = at->next) {
        if (at->state == LKV_CURSOR_ON) {
            at->state = save(at, lkv_memindex_key(&at->at)) == LKV_OK ? LKV_CURSOR_SAVED
                                                                      : LKV_CURSOR_LOST;
        }
    }
}

/* Takes the position that `found` tells, or the next one that holds a row, going
 * forward or back over tombstones. */
static int settle(lkv_cursor *cursor, int found, int forward)
{
    while (found) {
        cursor->loc = lkv_memindex_loc(&cursor->at);
        if (lkv_loc_live(cursor->loc)) {
            cursor->state = LKV_CURSOR_ON;
            cursor->undone = cursor->store->undone;
            return LKV_OK;
        }
        found =
            forward ? lkv_memindex_next(&cursor->at) : lkv_memindex_prev(&cursor->at);
    }
    cursor->state = LKV_CURSOR_NOWHERE;
    return LKV_ABSENT;
}

int lkv_cursor_first(lkv_cursor *cursor)
{
    return settle(cursor, lkv_memindex_first(&cursor->at, cursor->store->index), 1);
}

int lkv_cursor_last(lkv_cursor *cursor)
{
    return settle(cursor, lkv_memindex_last(&cursor->at, cursor->store->index), 0);
}

int lkv_cursor_seek(lkv_cursor *cursor, lkv_bytes key, enum lkv_seek how)
{
    int forward = how == LKV_SEEK_GE || how == LKV_SEEK_GT;
    return settle(cursor,
                  lkv_memindex_seek(&cursor->at, cursor->store->index, key, how),
                  forward);
}

static int move(lkv_cursor *cursor, int forward)
{
    lkv_bytes key = {cursor->key, cursor->key_size};
    switch (cursor->state) {
    case LKV_CURSOR_ON:
        return settle(cursor,
                      forward ? lkv_memindex_next(&cursor->at)
                              : lkv_memindex_prev(&cursor->at),
                      forward);
    case LKV_CURSOR_SAVED:
        return lkv_cursor_seek(cursor, key, forward ? LKV_SEEK_GT : LKV_SEEK_LT);
    case LKV_CURSOR_LOST:
        return LKV_NOMEM;
    case LKV_CURSOR_NOWHERE:
        break;
    }
    return LKV_ABSENT;
}

int lkv_cursor_next(lkv_cursor *cursor)
{
    return move(cursor, 1);
}

int lkv_cursor_prev(lkv_cursor *cursor)
{
    return move(cursor, 0);
}

lkv_bytes lkv_cursor_key(const lkv_cursor *cursor)
{
    if (cursor->state == LKV_CURSOR_ON) {
        return lkv_memindex_key(&cursor->at);
    }
    return (lkv_bytes){cursor->key, cursor->key_size};
}

/* The record that the cursor came to, or what the key has now when that one may be
 * gone; LKV_NOWHERE when there is none. */
static lkv_loc place(const lkv_cursor *cursor)
{
    lkv_loc loc = cursor->loc;
    if (cursor->state == LKV_CURSOR_NOWHERE) {
        return LKV_NOWHERE;
    }
    if (cursor->undone != cursor->store->undone) {
        loc = lkv_memindex_get(cursor->store->index, lkv_cursor_key(cursor));
    }
    return lkv_loc_live(loc) ? loc : LKV_NOWHERE;
}

unsigned lkv_cursor_tag(const lkv_cursor *cursor)
{
    lkv_loc loc = place(cursor);
    return loc == LKV_NOWHERE ? 0 : lkv_loc_tag(loc);
}

int lkv_cursor_value(lkv_cursor *cursor, lkv_bytes *value, lkv_error *err)
{
    lkv_store *store = cursor->store;
    lkv_row row;
    int rc;

    if (cursor->state == LKV_CURSOR_LOST) {
        return LKV_NOMEM;
    }
    cursor->loc = place(cursor);
    cursor->undone = store->undone;
    if (cursor->loc == LKV_NOWHERE) {
        return LKV_ABSENT;
    }
    rc = lkv_store_read(store, cursor->loc, lkv_cursor_key(cursor), &row, err);
    if (rc == LKV_OK) {
        *value = row.value;
    }
    return rc;
}
