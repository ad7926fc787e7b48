/*
 * cursor.c - walking the keys in order while the store may change under the walk.
 *
 * A cursor merges its sources, base, runs and the index in memory: of equal keys the
 * newest source has the row, and a tombstone hides it. While the key after a step still
 * comes before those of all other sources, which `second` tells, no other is asked.
 *
 * Before the index in memory changes, every cursor takes a copy of its key, and finds
 * its way again from there at its next move: strictly past the key, so that the row it
 * stood on comes no second time whatever was put in or taken out meanwhile. The runs do
 * not change; when there are others, all sources find their way again.
 */
#include "store.h"

#include <string.h>

#define KEY_KEPT 1024u /* the room for a key that a spare cursor may hold */

int lkv_cursor_open(lkv_store *store, lkv_cursor **out)
{
    lkv_cursor *cursor = store->spare;
    if (cursor == NULL) {
        cursor = lkv_os_alloc(store->log.os, sizeof(*cursor));
        if (cursor == NULL) {
            return LKV_NOMEM;
        }
        memset(cursor, 0, sizeof(*cursor));
        cursor->store = store;
    }
    store->spare = NULL;
    cursor->state = LKV_CURSOR_NOWHERE;
    cursor->next = store->cursors;
    cursor->link = &store->cursors;
    if (cursor->next != NULL) {
        cursor->next->link = &cursor->next;
    }
    store->cursors = cursor;
    *out = cursor;
    return LKV_OK;
}

/* Lets the sources go. */
static void drop_sources(lkv_cursor *cursor)
{
    const lkv_os *os = cursor->store->log.os;
    for (uint32_t i = 0; i + 2 < cursor->count; i++) {
        lkv_run_cursor_free(&cursor->run[i]);
    }
    lkv_base_free(&cursor->base);
    lkv_os_free(os, cursor->run);
    lkv_runs_release(os, cursor->runs);
    cursor->run = NULL;
    cursor->runs = NULL;
    cursor->count = 0;
}

static void free_cursor(const lkv_os *os, lkv_cursor *cursor)
{
    lkv_os_free(os, cursor->key);
    lkv_os_free(os, cursor);
}

/* A query for one key opens a cursor and closes it: the memory stays for the next. */
void lkv_cursor_close(lkv_cursor *cursor)
{
    if (cursor != NULL) {
        const lkv_os *os = cursor->store->log.os;
        *cursor->link = cursor->next;
        if (cursor->next != NULL) {
            cursor->next->link = cursor->link;
        }
        drop_sources(cursor);
        if (cursor->key_capacity > KEY_KEPT) {
            lkv_os_free(os, cursor->key);
            cursor->key = NULL;
            cursor->key_capacity = 0;
        }
        if (cursor->store->spare == NULL) {
            cursor->store->spare = cursor;
        } else {
            free_cursor(os, cursor);
        }
    }
}

void lkv_cursor_free_spare(lkv_store *store)
{
    if (store->spare != NULL) {
        free_cursor(store->log.os, store->spare);
        store->spare = NULL;
    }
}

/* The sources become those of the store as it is now. LKV_NOMEM. */
static int take_sources(lkv_cursor *cursor)
{
    lkv_store *store = cursor->store;
    lkv_runs *runs = store->log.runs;
    uint32_t count = (runs == NULL ? 0 : runs->count) + 2;

    if (cursor->count > 0 && cursor->runs == runs) {
        return LKV_OK;
    }
    drop_sources(cursor);
    cursor->run = lkv_os_alloc(store->log.os, count * (sizeof(*cursor->run) + 2));
    if (cursor->run == NULL) {
        return LKV_NOMEM;
    }
    cursor->on = (uint8_t *)(cursor->run + count);
    cursor->equal = cursor->on + count;
    memset(cursor->on, 0, 2 * (size_t)count);
    cursor->runs = runs == NULL ? NULL : lkv_runs_hold(runs);
    cursor->count = count;
    lkv_base_init(&cursor->base, &store->log, cursor->runs);
    for (uint32_t i = 0; i + 2 < count; i++) {
        lkv_run_cursor_init(&cursor->run[i], store->log.storage, store->log.os,
                            &runs->run[i]);
    }
    return LKV_OK;
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
            at->state = save(at, lkv_cursor_key(at)) == LKV_OK ? LKV_CURSOR_SAVED
                                                               : LKV_CURSOR_LOST;
        }
    }
}

static lkv_bytes source_key(const lkv_cursor *cursor, uint32_t i)
{
    if (i == 0) {
        return lkv_base_key(&cursor->base);
    }
    return i + 1 < cursor->count ? lkv_run_key(&cursor->run[i - 1])
                                 : lkv_memindex_key(&cursor->memory);
}

static lkv_place source_place(const lkv_cursor *cursor, uint32_t i)
{
    if (i == 0) {
        return lkv_base_place(&cursor->base);
    }
    return i + 1 < cursor->count ? lkv_run_place(&cursor->run[i - 1])
                                 : lkv_memindex_place(&cursor->memory);
}

static int order(const lkv_cursor *cursor, lkv_bytes a, lkv_bytes b)
{
    int rc = lkv_compare(a, b);
    return cursor->forward ? rc : -rc;
}

static int step(lkv_cursor *cursor, uint32_t i, lkv_error *err)
{
    int rc;
    if (i == 0) {
        rc = cursor->forward ? lkv_base_next(&cursor->base, err)
                             : lkv_base_prev(&cursor->base, err);
    } else if (i + 1 < cursor->count) {
        rc = cursor->forward ? lkv_run_next(&cursor->run[i - 1], err)
                             : lkv_run_prev(&cursor->run[i - 1], err);
    } else {
        int on = cursor->forward ? lkv_memindex_next(&cursor->memory)
                                 : lkv_memindex_prev(&cursor->memory);
        rc = on ? LKV_OK : LKV_ABSENT;
    }
    cursor->on[i] = rc == LKV_OK;
    return rc < 0 ? rc : LKV_OK;
}

static int seek_source(lkv_cursor *cursor, uint32_t i, lkv_bytes key, enum lkv_seek how,
                       lkv_error *err)
{
    int rc;
    if (i == 0) {
        rc = lkv_base_seek(&cursor->base, key, how, err);
    } else if (i + 1 < cursor->count) {
        rc = lkv_run_seek(&cursor->run[i - 1], key, how, err);
    } else {
        rc = lkv_memindex_seek(&cursor->memory, cursor->store->index, key, how)
                 ? LKV_OK
                 : LKV_ABSENT;
    }
    cursor->on[i] = rc == LKV_OK;
    return rc < 0 ? rc : LKV_OK;
}

/* Finds the first key among the sources, who has it, and who has the one after it. */
static void choose(lkv_cursor *cursor)
{
    uint32_t none = cursor->count;
    lkv_bytes best = {NULL, 0}, second = {NULL, 0};

    cursor->best = cursor->second = none;
    for (uint32_t i = cursor->count; i-- > 0;) {
        lkv_bytes key;
        int rc;
        cursor->equal[i] = 0;
        if (!cursor->on[i]) {
            continue;
        }
        key = source_key(cursor, i);
        rc = cursor->best == none ? -1 : order(cursor, key, best);
        if (rc < 0) {
            cursor->second = cursor->best;
            second = best;
            cursor->best = i;
            best = key;
        } else if (rc > 0 &&
                   (cursor->second == none || order(cursor, key, second) < 0)) {
            cursor->second = i;
            second = key;
        }
    }
    if (cursor->best == none) {
        return;
    }
    for (uint32_t i = 0; i <= cursor->best; i++) { /* older ones */
        cursor->equal[i] =
            cursor->on[i] &&
            (i == cursor->best || lkv_compare(source_key(cursor, i), best) == 0);
    }
}

/* Moves all sources off the key that was chosen, and chooses the next. */
static int leave(lkv_cursor *cursor, lkv_error *err)
{
    uint32_t best = cursor->best;
    int alone = 1, rc;

    for (uint32_t i = 0; i < best; i++) {
        if (cursor->equal[i]) {
            alone = 0;
            rc = step(cursor, i, err);
            if (rc != LKV_OK) {
                return rc;
            }
        }
    }
    rc = step(cursor, best, err);
    if (rc != LKV_OK) {
        return rc;
    }
    if (!alone || !cursor->on[best] ||
        (cursor->second < cursor->count &&
         order(cursor, source_key(cursor, best), source_key(cursor, cursor->second)) >=
             0)) {
        choose(cursor);
    }
    return LKV_OK;
}

/* Stands on the row that was chosen, or on the next one that is not hidden. */
static int settle(lkv_cursor *cursor, int rc, lkv_error *err)
{
    while (rc == LKV_OK && cursor->best < cursor->count) {
        cursor->place = source_place(cursor, cursor->best);
        if (lkv_loc_live(cursor->place.loc)) {
            cursor->state = LKV_CURSOR_ON;
            cursor->undone = cursor->store->undone;
            return LKV_OK;
        }
        cursor->dead++;
        rc = leave(cursor, err);
    }
    cursor->state = LKV_CURSOR_NOWHERE;
    return rc == LKV_OK ? LKV_ABSENT : rc;
}

/* Makes the sources ready for a move in such a direction. While they move the cursor
 * stands nowhere: when storage fails, its owner may roll back in the middle of it, and
 * no source may then be asked for a key. */
static int prepare(lkv_cursor *cursor, int forward, lkv_error *err)
{
    int rc = lkv_store_ready(cursor->store, err);
    cursor->store->log.views++; /* blocks of runs come in where a value was */
    if (rc == LKV_OK) {
        rc = take_sources(cursor);
    }
    cursor->forward = forward;
    cursor->state = LKV_CURSOR_NOWHERE;
    cursor->dead = 0;
    return rc;
}

static int seek_sources(lkv_cursor *cursor, lkv_bytes key, enum lkv_seek how,
                        lkv_error *err)
{
    int rc = LKV_OK;
    for (uint32_t i = 0; i < cursor->count && rc == LKV_OK; i++) {
        rc = seek_source(cursor, i, key, how, err);
    }
    if (rc == LKV_OK) {
        choose(cursor);
    }
    return settle(cursor, rc, err);
}

static int go_to_end(lkv_cursor *cursor, int forward, lkv_error *err)
{
    int rc = forward ? lkv_base_first(&cursor->base, err)
                     : lkv_base_last(&cursor->base, err);
    cursor->on[0] = rc == LKV_OK;
    for (uint32_t i = 1; i + 1 < cursor->count && rc >= 0; i++) {
        rc = forward ? lkv_run_first(&cursor->run[i - 1], err)
                     : lkv_run_last(&cursor->run[i - 1], err);
        cursor->on[i] = rc == LKV_OK;
    }
    cursor->on[cursor->count - 1] =
        (uint8_t)(forward ? lkv_memindex_first(&cursor->memory, cursor->store->index)
                          : lkv_memindex_last(&cursor->memory, cursor->store->index));
    if (rc >= 0) {
        choose(cursor);
        rc = LKV_OK;
    }
    return settle(cursor, rc, err);
}

/* From `key` on; NULL: from the end that comes first. */
static int seek(lkv_cursor *cursor, const lkv_bytes *key, enum lkv_seek how,
                lkv_error *err)
{
    int forward = how == LKV_SEEK_GE || how == LKV_SEEK_GT, skipped;
    lkv_gaps *gaps = &cursor->store->gaps;
    lkv_gap *gap;
    lkv_bytes from, found;
    int rc = prepare(cursor, forward, err);

    if (rc != LKV_OK) {
        return rc;
    }
    gap = lkv_gap_find(gaps, key, how);
    skipped = gap == NULL ? 0 : lkv_gap_skip(gap, how, &from);
    if (skipped < 0) {
        return LKV_ABSENT;
    }
    if (skipped) {
        rc = seek_sources(cursor, from, forward ? LKV_SEEK_GE : LKV_SEEK_LT, err);
    } else if (key != NULL) {
        rc = seek_sources(cursor, *key, how, err);
    } else {
        rc = go_to_end(cursor, forward, err);
    }
    if (rc >= 0 && cursor->dead > 0) {
        found = rc == LKV_OK ? lkv_cursor_key(cursor) : (lkv_bytes){NULL, 0};
        lkv_gap_note(gaps, gap, key, how, cursor->dead, rc == LKV_OK ? &found : NULL);
    }
    return rc;
}

int lkv_cursor_first(lkv_cursor *cursor, lkv_error *err)
{
    return seek(cursor, NULL, LKV_SEEK_GE, err);
}

int lkv_cursor_last(lkv_cursor *cursor, lkv_error *err)
{
    return seek(cursor, NULL, LKV_SEEK_LT, err);
}

int lkv_cursor_seek(lkv_cursor *cursor, lkv_bytes key, enum lkv_seek how,
                    lkv_error *err)
{
    return seek(cursor, &key, how, err);
}

int lkv_cursor_find(lkv_cursor *cursor, lkv_bytes key, lkv_error *err)
{
    int rc = lkv_lookup(cursor->store, key, &cursor->place, err);
    cursor->state = LKV_CURSOR_NOWHERE;
    if (rc != LKV_OK || !lkv_loc_live(cursor->place.loc)) { /* nowhere is not live */
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    rc = save(cursor, key);
    if (rc == LKV_OK) {
        cursor->state = LKV_CURSOR_SAVED;
        cursor->undone = cursor->store->undone;
        cursor->forward = -1; /* no source stands anywhere: a step begins with a seek */
    }
    return rc;
}

/* The index in memory changed, the runs did not: its source alone finds its way again.
 */
static int go_on_in_memory(lkv_cursor *cursor, lkv_error *err)
{
    lkv_bytes key = {cursor->key, cursor->key_size};
    uint32_t memory = cursor->count - 1;
    int rc = LKV_OK;

    for (uint32_t i = 0; i < memory && rc == LKV_OK; i++) {
        if (cursor->equal[i]) {
            rc = step(cursor, i, err);
        }
    }
    if (rc == LKV_OK) {
        rc = seek_source(cursor, memory, key,
                         cursor->forward ? LKV_SEEK_GT : LKV_SEEK_LT, err);
    }
    if (rc == LKV_OK) {
        choose(cursor);
    }
    return settle(cursor, rc, err);
}

static int move(lkv_cursor *cursor, int forward, lkv_error *err)
{
    enum lkv_seek how = forward ? LKV_SEEK_GT : LKV_SEEK_LT;
    lkv_bytes key;

    cursor->store->log.views++; /* as in prepare() */
    switch (cursor->state) {
    case LKV_CURSOR_ON:
        if (forward == cursor->forward) {
            cursor->state = LKV_CURSOR_NOWHERE; /* as in prepare() */
            return settle(cursor, leave(cursor, err), err);
        }
        if (save(cursor, lkv_cursor_key(cursor)) != LKV_OK) {
            return LKV_NOMEM;
        }
        break;
    case LKV_CURSOR_SAVED:
        if (forward == cursor->forward && !cursor->store->stale &&
            cursor->runs == cursor->store->log.runs) {
            return go_on_in_memory(cursor, err);
        }
        break;
    case LKV_CURSOR_LOST:
        return LKV_NOMEM;
    case LKV_CURSOR_NOWHERE:
    default:
        return LKV_ABSENT;
    }
    key = (lkv_bytes){cursor->key, cursor->key_size};
    return seek(cursor, &key, how, err);
}

int lkv_cursor_next(lkv_cursor *cursor, lkv_error *err)
{
    return move(cursor, 1, err);
}

int lkv_cursor_prev(lkv_cursor *cursor, lkv_error *err)
{
    return move(cursor, 0, err);
}

lkv_bytes lkv_cursor_key(const lkv_cursor *cursor)
{
    if (cursor->state == LKV_CURSOR_ON) {
        return source_key(cursor, cursor->best);
    }
    return (lkv_bytes){cursor->key, cursor->key_size};
}

/* The record that the cursor came to, or what the key has now when that one may be
 * gone: LKV_ABSENT when there is none. */
static int find_place(lkv_cursor *cursor, lkv_error *err)
{
    int rc = LKV_OK;
    if (cursor->state == LKV_CURSOR_NOWHERE) {
        return LKV_ABSENT;
    }
    if (cursor->state == LKV_CURSOR_LOST) {
        return LKV_NOMEM;
    }
    if (cursor->undone != cursor->store->undone) {
        lkv_place place;
        rc = lkv_lookup(cursor->store, lkv_cursor_key(cursor), &place, err);
        if (rc == LKV_OK) {
            cursor->place = place;
            cursor->undone = cursor->store->undone;
        }
    }
    if (rc == LKV_OK && !lkv_loc_live(cursor->place.loc)) { /* nowhere is not live */
        rc = LKV_ABSENT;
    }
    return rc;
}

int lkv_cursor_tag(lkv_cursor *cursor, unsigned *tag, lkv_error *err)
{
    int rc = find_place(cursor, err);
    *tag = rc == LKV_OK ? lkv_loc_tag(cursor->place.loc) : 0;
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* The value where the cursor's own copy of the base has it. */
static int value_in_base(const lkv_cursor *cursor, lkv_bytes *value)
{
    lkv_bytes record;

    if (cursor->state != LKV_CURSOR_ON || cursor->best != 0 ||
        lkv_base_place(&cursor->base).loc != cursor->place.loc) {
        return 0;
    }
    record = lkv_base_record(&cursor->base);
    if (record.size == 0) {
        return 0;
    }
    *value = lkv_format_moved_value(record, lkv_base_key(&cursor->base).size);
    return 1;
}

int lkv_cursor_value(lkv_cursor *cursor, lkv_bytes *value, lkv_error *err)
{
    lkv_row row;
    int rc = find_place(cursor, err);

    if (rc == LKV_OK && value_in_base(cursor, value)) {
        return LKV_OK;
    }
    if (rc == LKV_OK) {
        rc = lkv_store_read(cursor->store, cursor->place.loc, lkv_cursor_key(cursor),
                            &row, err);
    }
    if (rc == LKV_OK) {
        *value = row.value;
    }
    return rc;
}
