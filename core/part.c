/*
 * part.c - reading the base: one key, or keys in order. See part.h.
 */
#include "part.h"

#include <string.h>

/* The first eight bytes as a number, zeros where there are fewer: orders as the keys do
 * where it differs. */
static uint64_t prefix_of(lkv_bytes key)
{
    const uint8_t *at = key.data;
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++) {
        prefix = prefix << 8 | (i < key.size ? at[i] : 0);
    }
    return prefix;
}

/* The first key of a part, from the first leaf of its index, with which that begins. */
static int first_key(lkv_log *log, const lkv_part *part, lkv_bytes *key, lkv_error *err)
{
    lkv_run index = lkv_part_index(part);
    size_t at = LKV_BLOCK_HEADER;
    lkv_block block;
    lkv_entry entry = {0};
    int rc = lkv_run_block(log->storage, &index, 0, &block, err);

    if (rc == LKV_OK &&
        (block.kind != LKV_BLOCK_LEAF ||
         lkv_block_next(&block, &at, &entry) != LKV_OK || entry.shared != 0)) {
        rc = lkv_run_damage(err, &index, 0, "not the first leaf");
    }
    if (rc == LKV_OK) {
        *key = entry.rest;
    }
    return rc;
}

int lkv_base_reaches(lkv_log *log, lkv_runs *runs, uint32_t i, lkv_bytes key,
                     lkv_error *err)
{
    lkv_part *part = &runs->part[i];
    uint64_t own = prefix_of(key);
    lkv_bytes first = {NULL, 0};
    int rc;

    if (part->known && own != part->prefix) {
        return own > part->prefix;
    }
    rc = first_key(log, part, &first, err);
    if (rc != LKV_OK) {
        return rc;
    }
    part->prefix = prefix_of(first);
    part->known = 1;
    return lkv_compare(key, first) >= 0;
}

/* The last part that begins at or before `key`: its index in the list, which is -1 when
 * there is none; less is an error. */
static int64_t locate(lkv_log *log, lkv_runs *runs, lkv_bytes key, lkv_error *err)
{
    int64_t low = -1, high = runs->parts; /* low reaches, high does not */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        int rc = lkv_base_reaches(log, runs, (uint32_t)middle, key, err);
        if (rc < 0) {
            return (int64_t)rc - 1;
        }
        if (rc) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static int damage(lkv_error *err, const lkv_part *part, uint32_t offset,
                  const char *why)
{
    return lkv_log_damage(err, part->number, offset, why);
}

/* The bytes of a header or a seal, unless they are damaged (LKV_ABSENT), which touches
 * no record. */
static int look_at(lkv_log *log, const lkv_part *part, uint32_t offset, size_t size,
                   lkv_bytes *view, lkv_error *err)
{
    lkv_storage *storage = log->storage;
    lkv_error damaged = {0};
    int rc;

    log->views++;
    rc = storage->ops->read(storage, part->number, offset, size, view, &damaged);
    if (rc != LKV_OK && rc != LKV_CORRUPT && err != NULL) {
        *err = damaged;
    }
    return rc == LKV_CORRUPT ? LKV_ABSENT : rc;
}

int lkv_part_check_header(lkv_log *log, const lkv_part *part, lkv_error *err)
{
    lkv_segment_header header;
    const char *why;
    lkv_bytes view;
    int rc = look_at(log, part, 0, LKV_SEGMENT_HEADER, &view, err);

    if (rc == LKV_OK && lkv_format_parse_segment(view, &header, &why) == LKV_OK &&
        !lkv_format_heads_part(&header, part, log->at.store_id)) {
        return damage(err, part, 0, "the segment is not the root's");
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* Whether header and seal, where they can be read, are those of the part that the root
 * lists. */
static int check_object(lkv_log *log, const lkv_part *part, lkv_error *err)
{
    uint32_t end = part->size < LKV_SEAL_SIZE ? 0 : part->size - LKV_SEAL_SIZE;
    lkv_seal_record seal;
    lkv_record record;
    const char *why;
    lkv_bytes view;
    size_t need;
    int rc = lkv_part_check_header(log, part, err);

    if (rc == LKV_OK) {
        rc = look_at(log, part, end, LKV_SEAL_SIZE, &view, err);
    }
    if (rc == LKV_OK &&
        lkv_format_parse(view.data, view.size, &record, &need, &why) == LKV_OK &&
        lkv_format_parse_seal(&record, &seal) == LKV_OK &&
        !lkv_format_seals_part(&seal, part)) {
        return damage(err, part, end, "the seal is of other records");
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int check_once(lkv_log *log, lkv_part *part, lkv_error *err)
{
    int rc = part->checked ? LKV_OK : check_object(log, part, err);
    part->checked |= rc == LKV_OK;
    return rc;
}

/* Whether a fence names bytes between the header and the end of its part. */
static int check_fence(const lkv_part *part, lkv_place fence, lkv_error *err)
{
    uint32_t offset = lkv_loc_offset(fence.loc);
    if (lkv_loc_segment(fence.loc) != part->number || offset < LKV_SEGMENT_HEADER ||
        fence.size <= LKV_MOVED_SIZE || fence.size > part->size ||
        offset > part->size - fence.size) {
        return damage(err, part, offset, "a fence leads out of the part");
    }
    return LKV_OK;
}

typedef int parser(const uint8_t *at, size_t have, lkv_record *record, size_t *need,
                   const char **why);

/* The record at `offset` of a chunk that ends at `end`, verified: a damaged length must
 * not hide a key. `view` is what was read there before, if anything. */
static int record_at(lkv_log *log, const lkv_part *part, uint32_t offset, uint32_t end,
                     parser *parse, lkv_bytes *view, lkv_record *record, lkv_error *err)
{
    lkv_storage *storage = log->storage;
    size_t need = LKV_RECORD_HEADER;
    const char *why = "";

    for (;;) {
        int rc = parse(view->data, view->size, record, &need, &why);
        if (rc == LKV_OK && (record->kind != LKV_KIND_PUT || !record->moved)) {
            rc = LKV_CORRUPT;
            why = "the record is not of a part";
        }
        if (rc != LKV_ABSENT) {
            return rc == LKV_OK ? LKV_OK : damage(err, part, offset, why);
        }
        if (need > end - offset) {
            return damage(err, part, offset, "record runs past its chunk");
        }
        rc = storage->ops->read(storage, part->number, offset, need, view, err);
        if (rc != LKV_OK) {
            return rc;
        }
        if (view->size < need) {
            return damage(err, part, offset, "it is cut short");
        }
        if (view->size > end - offset) {
            view->size = end - offset;
        }
    }
}

/* Looks for `key` in a chunk, of which `parse` says what is believed. */
static int search_chunk(lkv_log *log, const lkv_part *part, lkv_place fence,
                        lkv_bytes key, parser *parse, lkv_place *found, lkv_error *err)
{
    uint32_t offset = lkv_loc_offset(fence.loc), end = offset + fence.size;
    lkv_bytes view = {NULL, 0};
    lkv_record record;
    int rc;

    log->views++;
    while (offset < end) {
        int order;
        rc = record_at(log, part, offset, end, parse, &view, &record, err);
        if (rc != LKV_OK) {
            return rc;
        }
        order = lkv_compare(record.key, key);
        if (order == 0) {
            rc = record_at(log, part, offset, end, lkv_format_parse, &view, &record,
                           err);
            if (rc != LKV_OK) {
                return rc;
            }
            *found = (lkv_place){lkv_loc_make(record.tag, part->number, offset),
                                 (uint32_t)record.size - LKV_MOVED_SIZE};
            return LKV_OK;
        }
        if (order > 0) {
            return LKV_ABSENT;
        }
        offset += (uint32_t)record.size;
        view.data = (const uint8_t *)view.data + record.size;
        view.size -= record.size;
    }
    return LKV_ABSENT;
}

/* What is passed on the way is believed as it looks: where that leads to the key, the
 * key's own checksum is proof; where it does not, all of them are asked. */
static int find_in_chunk(lkv_log *log, const lkv_part *part, lkv_place fence,
                         lkv_bytes key, lkv_place *found, lkv_error *err)
{
    int rc = search_chunk(log, part, fence, key, lkv_format_shape, found, err);
    /* Not after another error: the storage's owner may have rolled back. */
    return rc == LKV_ABSENT || rc == LKV_CORRUPT
               ? search_chunk(log, part, fence, key, lkv_format_parse, found, err)
               : rc;
}

int lkv_base_find(lkv_log *log, lkv_bytes key, uint64_t hash, lkv_place *found,
                  lkv_error *err)
{
    lkv_runs *runs = log->runs;
    lkv_part *part;
    lkv_place fence;
    lkv_run index;
    int64_t i;
    int rc, exact;

    if (runs->parts == 0) {
        return LKV_ABSENT;
    }
    i = locate(log, runs, key, err);
    if (i < 0) {
        return i == -1 ? LKV_ABSENT : (int)(i + 1);
    }
    part = &runs->part[i];
    index = lkv_part_index(part);
    rc = check_once(log, part, err);
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_tops_follow(&log->tops, runs, log->rewound);
    rc = lkv_tops_floor(&log->tops, &index, key, hash, &fence, &exact, err);
    if (rc == LKV_OK) {
        rc = check_fence(part, fence, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    if (!lkv_fence_whole(fence)) {
        return find_in_chunk(log, part, fence, key, found, err);
    }
    if (!exact) {
        return LKV_ABSENT;
    }
    *found = (lkv_place){fence.loc & ~LKV_LOC_WHOLE, fence.size - LKV_MOVED_SIZE};
    return LKV_OK;
}

/* Cursors */

void lkv_base_init(lkv_base_cursor *cursor, lkv_log *log, lkv_runs *runs)
{
    memset(cursor, 0, sizeof(*cursor));
    cursor->log = log;
    cursor->runs = runs;
    lkv_run_cursor_init(&cursor->fence, log->storage, log->os, &cursor->index);
}

void lkv_base_free(lkv_base_cursor *cursor)
{
    if (cursor->log != NULL) {
        lkv_run_cursor_free(&cursor->fence);
        lkv_os_free(cursor->log->os, cursor->bytes.bytes);
        lkv_os_free(cursor->log->os, cursor->items);
        memset(cursor, 0, sizeof(*cursor));
    }
}

static int nowhere(lkv_base_cursor *cursor, int rc)
{
    cursor->count = cursor->at = 0;
    return rc;
}

/* The cursor's fences are those of listed part `i`. */
static void enter(lkv_base_cursor *cursor, uint32_t i)
{
    if (cursor->index.number != cursor->runs->part[i].index) {
        lkv_run_cursor_forget(&cursor->fence);
    }
    cursor->part = i;
    cursor->index = lkv_part_index(&cursor->runs->part[i]);
}

static int add_item(lkv_base_cursor *cursor, const lkv_record *record,
                    const void *bytes)
{
    const lkv_os *os = cursor->log->os;
    lkv_base_item *item;

    if (cursor->count == cursor->room) {
        uint32_t room = cursor->room == 0 ? 64 : cursor->room * 2;
        lkv_base_item *moved = lkv_os_resize(os, cursor->items, room * sizeof(*moved));
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        cursor->items = moved;
        cursor->room = room;
    }
    if (lkv_buffer_reserve(&cursor->bytes, os, record->size) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (bytes != NULL && record->size > 0) { /* a whole fence's key may be empty */
        memcpy(cursor->bytes.bytes + cursor->bytes.size, bytes, record->size);
    }
    item = &cursor->items[cursor->count++];
    item->at = (uint32_t)cursor->bytes.size;
    item->key_size = (uint32_t)record->key.size;
    item->size = (uint32_t)record->size;
    item->tag = record->tag;
    cursor->bytes.size += record->size;
    return LKV_OK;
}

/* The chunk of a whole fence is not read: the fence has all that is asked for. */
static int load_whole(lkv_base_cursor *cursor, lkv_place fence)
{
    lkv_bytes key = lkv_run_key(&cursor->fence);
    lkv_record record = {.size = key.size, .key = key};
    int rc = add_item(cursor, &record, key.data);
    if (rc == LKV_OK) {
        cursor->items[0].size = fence.size;
        cursor->items[0].tag = lkv_loc_tag(fence.loc);
        cursor->whole = 1;
    }
    return rc;
}

/* Copies the chunk of the fence stood on; stands on its first key. */
static int load(lkv_base_cursor *cursor, lkv_error *err)
{
    lkv_part *part = &cursor->runs->part[cursor->part];
    lkv_place fence = lkv_run_place(&cursor->fence);
    uint32_t offset = lkv_loc_offset(fence.loc), end = offset + fence.size;
    lkv_bytes view = {NULL, 0};
    lkv_record record;
    int rc = check_once(cursor->log, part, err);

    rc = rc == LKV_OK ? check_fence(part, fence, err) : rc;
    cursor->count = cursor->at = 0;
    cursor->bytes.size = 0;
    cursor->offset = offset;
    cursor->whole = 0;
    cursor->log->views++;
    if (rc == LKV_OK && lkv_fence_whole(fence)) {
        rc = load_whole(cursor, fence);
        return rc == LKV_OK ? LKV_OK : nowhere(cursor, rc);
    }
    if (rc == LKV_OK) { /* at once, what would grow with each record */
        rc = lkv_buffer_reserve(&cursor->bytes, cursor->log->os, fence.size);
    }
    while (rc == LKV_OK && offset < end) {
        rc = record_at(cursor->log, part, offset, end, lkv_format_parse, &view, &record,
                       err);
        if (rc == LKV_OK) {
            rc = add_item(cursor, &record, view.data);
        }
        if (rc == LKV_OK) {
            offset += (uint32_t)record.size;
            view.data = (const uint8_t *)view.data + record.size;
            view.size -= record.size;
        }
    }
    if (rc == LKV_OK && cursor->count == 0) {
        rc = damage(err, part, offset, "a fence leads to nothing");
    }
    return rc == LKV_OK ? LKV_OK : nowhere(cursor, rc);
}

static int has_parts(const lkv_base_cursor *cursor)
{
    return cursor->runs != NULL && cursor->runs->parts > 0;
}

int lkv_base_first(lkv_base_cursor *cursor, lkv_error *err)
{
    int rc = LKV_ABSENT;
    if (has_parts(cursor)) {
        enter(cursor, 0);
        rc = lkv_run_first(&cursor->fence, err);
    }
    return rc == LKV_OK ? load(cursor, err) : nowhere(cursor, rc);
}

static int load_last(lkv_base_cursor *cursor, int rc, lkv_error *err)
{
    rc = rc == LKV_OK ? load(cursor, err) : nowhere(cursor, rc);
    cursor->at = rc == LKV_OK ? cursor->count - 1 : 0;
    return rc;
}

int lkv_base_last(lkv_base_cursor *cursor, lkv_error *err)
{
    int rc = LKV_ABSENT;
    if (has_parts(cursor)) {
        enter(cursor, cursor->runs->parts - 1);
        rc = lkv_run_last(&cursor->fence, err);
    }
    return load_last(cursor, rc, err);
}

int lkv_base_next(lkv_base_cursor *cursor, lkv_error *err)
{
    int rc;
    if (cursor->count == 0) {
        return LKV_ABSENT;
    }
    if (cursor->at + 1 < cursor->count) {
        cursor->at++;
        return LKV_OK;
    }
    rc = lkv_run_next(&cursor->fence, err);
    if (rc == LKV_ABSENT && cursor->part + 1 < cursor->runs->parts) {
        enter(cursor, cursor->part + 1);
        rc = lkv_run_first(&cursor->fence, err);
    }
    return rc == LKV_OK ? load(cursor, err) : nowhere(cursor, rc);
}

int lkv_base_prev(lkv_base_cursor *cursor, lkv_error *err)
{
    int rc;
    if (cursor->count == 0) {
        return LKV_ABSENT;
    }
    if (cursor->at > 0) {
        cursor->at--;
        return LKV_OK;
    }
    rc = lkv_run_prev(&cursor->fence, err);
    if (rc == LKV_ABSENT && cursor->part > 0) {
        enter(cursor, cursor->part - 1);
        rc = lkv_run_last(&cursor->fence, err);
    }
    return load_last(cursor, rc, err);
}

int lkv_base_check(const lkv_base_cursor *cursor, lkv_error *err)
{
    const lkv_part *part = &cursor->runs->part[cursor->part];
    const lkv_base_item *item = &cursor->items[cursor->at];
    lkv_bytes key = lkv_base_key(cursor), view = {NULL, 0};
    lkv_record record;
    int rc;

    if (!cursor->whole) {
        return LKV_OK;
    }
    cursor->log->views++;
    rc = record_at(cursor->log, part, cursor->offset, cursor->offset + item->size,
                   lkv_format_parse, &view, &record, err);
    if (rc == LKV_OK && (record.size != item->size || record.tag != item->tag ||
                         lkv_compare(record.key, key) != 0)) {
        rc = damage(err, part, cursor->offset, "the index tells another record");
    }
    return rc;
}

/* The first item >= `key` in the chunk, and whether it is equal. */
static uint32_t lower_bound(lkv_base_cursor *cursor, lkv_bytes key, int *equal)
{
    uint32_t low = 0, high = cursor->count;
    *equal = 0;
    while (low < high) {
        int order;
        cursor->at = (low + high) / 2;
        order = lkv_compare(lkv_base_key(cursor), key);
        if (order == 0) {
            *equal = 1;
            return cursor->at;
        }
        if (order < 0) {
            low = cursor->at + 1;
        } else {
            high = cursor->at;
        }
    }
    return low;
}

int lkv_base_seek(lkv_base_cursor *cursor, lkv_bytes key, enum lkv_seek how,
                  lkv_error *err)
{
    int forward = how == LKV_SEEK_GE || how == LKV_SEEK_GT;
    int64_t i = has_parts(cursor) ? locate(cursor->log, cursor->runs, key, err) : -1;
    uint32_t at;
    int equal, rc;

    if (i < -1) {
        return nowhere(cursor, (int)(i + 1));
    }
    if (i == -1) { /* before the first key */
        return forward ? lkv_base_first(cursor, err) : nowhere(cursor, LKV_ABSENT);
    }
    enter(cursor, (uint32_t)i);
    rc = lkv_run_seek(&cursor->fence, key, LKV_SEEK_LE, err);
    rc = rc == LKV_OK ? load(cursor, err) : nowhere(cursor, rc);
    if (rc != LKV_OK) {
        return rc;
    }
    at = lower_bound(cursor, key, &equal);
    cursor->at = at;
    if (forward) {
        if ((equal && how == LKV_SEEK_GT) || at == cursor->count) {
            cursor->at = at == cursor->count ? at - 1 : at;
            return lkv_base_next(cursor, err);
        }
        return LKV_OK;
    }
    if (equal && how == LKV_SEEK_LE) {
        return LKV_OK;
    }
    if (at > 0) {
        cursor->at = at - 1;
        return LKV_OK;
    }
    return lkv_base_prev(cursor, err);
}
