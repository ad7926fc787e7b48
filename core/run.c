/*
 * run.c - reading a run: one key, or keys in order.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

#define LINE 64u /* bytes that a processor fetches at once */

int lkv_run_damage(lkv_error *err, const lkv_run *run, uint32_t block, const char *why)
{
    if (err != NULL) {
        err->os_errno = 0;
        snprintf(err->text, sizeof(err->text), "run %u, block %u: %s",
                 run->number - LKV_RUN_FIRST + 1, block, why);
    }
    return LKV_CORRUPT;
}

static int read_block(lkv_storage *storage, const lkv_run *run, uint32_t number,
                      lkv_block *block, lkv_error *err)
{
    uint64_t unit = storage->block;
    const char *why = "";
    uint32_t span;
    lkv_bytes view;
    int fresh, rc;

    rc = storage->ops->read(storage, run->number, number * unit, (size_t)unit, &view,
                            err);
    if (rc != LKV_OK) {
        return rc;
    }
    fresh = storage->fresh;
    if (view.size >= unit && unit > LINE) {
        /* The table stands at the end: both come from memory at the same time. */
        __builtin_prefetch((const uint8_t *)view.data + unit - LINE);
    }
    span = lkv_block_span(view.data, view.size);
    if (view.size < unit || span == 0 || span > run->blocks - number) {
        return lkv_run_damage(err, run, number, "not a block of a run");
    }
    if (span > 1) {
        rc = storage->ops->read(storage, run->number, number * unit,
                                (size_t)(span * unit), &view, err);
        if (rc != LKV_OK) {
            return rc;
        }
        if (view.size < span * unit) {
            return lkv_run_damage(err, run, number, "the run is cut short");
        }
        fresh = 1;
    }
    view.size = (size_t)(span * unit);
    if (lkv_block_open(block, view, fresh ? lkv_block_place(run->number, number) : 0,
                       &why) != LKV_OK) {
        return lkv_run_damage(err, run, number, why);
    }
    return LKV_OK;
}

int lkv_run_block(lkv_storage *storage, const lkv_run *run, uint32_t number,
                  lkv_block *block, lkv_error *err)
{
    int rc;
    if (number >= run->blocks) {
        return lkv_run_damage(err, run, number, "there is no such block");
    }
    rc = read_block(storage, run, number, block, err);
    if (rc == LKV_CORRUPT) { /* what is cached now was not found right */
        storage->ops->forget(storage, run->number, number * (uint64_t)storage->block);
    }
    return rc;
}

/* Goes down from block `from` to the leaf that `key` belongs to. With `hash`,
 * LKV_ABSENT when a filter knows that it is not there. */
static int go_down(lkv_storage *storage, const lkv_run *run, uint32_t from,
                   lkv_bytes key, const uint64_t *hash, uint32_t *number,
                   lkv_block *block, lkv_error *err)
{
    uint32_t child = from;
    int rc;

    do {
        *number = child;
        rc = lkv_run_block(storage, run, child, block, err);
        if (rc != LKV_OK || block->kind == LKV_BLOCK_LEAF) {
            return rc;
        }
        if (hash != NULL && !lkv_block_may_have(block, *hash)) {
            return LKV_ABSENT;
        }
        if (lkv_block_child(block, key, &child) != LKV_OK) {
            return lkv_run_damage(err, run, *number, "malformed entry");
        }
    } while (child < *number); /* what a block leads to was written before it */
    return lkv_run_damage(err, run, *number, "an entry leads to a later block");
}

static int find(lkv_storage *storage, const lkv_run *run, uint32_t from, lkv_bytes key,
                const uint64_t *hash, lkv_place *found, lkv_error *err)
{
    lkv_block block;
    lkv_entry entry;
    uint32_t number;
    int rc = go_down(storage, run, from, key, hash, &number, &block, err);

    if (rc == LKV_OK) {
        rc = lkv_block_find(&block, key, &entry);
        if (rc == LKV_CORRUPT) {
            return lkv_run_damage(err, run, number, "malformed entry");
        }
    }
    if (rc == LKV_OK) {
        *found = entry.place;
    }
    return rc;
}

int lkv_run_find(lkv_storage *storage, const lkv_run *run, lkv_bytes key, uint64_t hash,
                 lkv_place *found, lkv_error *err)
{
    return find(storage, run, run->top, key, &hash, found, err);
}

int lkv_run_find_below(lkv_storage *storage, const lkv_run *run, uint32_t from,
                       lkv_bytes key, lkv_place *found, lkv_error *err)
{
    return find(storage, run, from, key, NULL, found, err);
}

/* The last entry of the leaf before `block`, which stands at `number`. */
static int last_before(lkv_storage *storage, const lkv_run *run, uint32_t number,
                       const lkv_block *block, lkv_entry *entry, lkv_error *err)
{
    uint32_t before = block->before;
    lkv_block leaf;
    size_t at = LKV_BLOCK_HEADER;
    int rc;

    if (before == 0) {
        return LKV_ABSENT;
    }
    if (before > number) {
        return lkv_run_damage(err, run, number, "leads back to a later block");
    }
    rc = lkv_run_block(storage, run, before - 1, &leaf, err);
    if (rc == LKV_OK && leaf.kind != LKV_BLOCK_LEAF) {
        return lkv_run_damage(err, run, before - 1, "not a leaf");
    }
    while (rc == LKV_OK) {
        rc = lkv_block_next(&leaf, &at, entry);
    }
    if (rc == LKV_CORRUPT) {
        return lkv_run_damage(err, run, before - 1, "malformed entry");
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int find_floor(lkv_storage *storage, const lkv_run *run, uint32_t from,
                      lkv_bytes key, const uint64_t *hash, lkv_place *found, int *exact,
                      lkv_error *err)
{
    lkv_block block;
    lkv_entry entry;
    uint32_t number;
    int rc = go_down(storage, run, from, key, hash, &number, &block, err);

    if (rc == LKV_OK) {
        rc = lkv_block_floor(&block, key, &entry);
        if (rc == LKV_CORRUPT) {
            return lkv_run_damage(err, run, number, "malformed entry");
        }
        if (rc == LKV_ABSENT) {
            rc = last_before(storage, run, number, &block, &entry, err);
            entry.exact = 0;
        }
    }
    if (rc == LKV_OK) {
        *found = entry.place;
        if (exact != NULL) {
            *exact = entry.exact;
        }
    }
    return rc;
}

int lkv_run_floor(lkv_storage *storage, const lkv_run *run, lkv_bytes key,
                  const uint64_t *hash, lkv_place *found, int *exact, lkv_error *err)
{
    return find_floor(storage, run, run->top, key, hash, found, exact, err);
}

int lkv_run_floor_below(lkv_storage *storage, const lkv_run *run, uint32_t from,
                        lkv_bytes key, lkv_place *found, int *exact, lkv_error *err)
{
    return find_floor(storage, run, from, key, NULL, found, exact, err);
}

/* Cursors */

void lkv_run_cursor_init(lkv_run_cursor *cursor, lkv_storage *storage, const lkv_os *os,
                         const lkv_run *run)
{
    memset(cursor, 0, sizeof(*cursor));
    cursor->storage = storage;
    cursor->os = os;
    cursor->run = run;
    cursor->leaf = LKV_RUN_NO_BLOCK;
}

void lkv_run_cursor_free(lkv_run_cursor *cursor)
{
    lkv_os_free(cursor->os, cursor->bytes.bytes);
    lkv_os_free(cursor->os, cursor->keys.bytes);
    memset(&cursor->bytes, 0, sizeof(cursor->bytes));
    memset(&cursor->keys, 0, sizeof(cursor->keys));
    lkv_run_cursor_forget(cursor);
}

void lkv_run_cursor_forget(lkv_run_cursor *cursor)
{
    cursor->leaf = LKV_RUN_NO_BLOCK;
    cursor->count = cursor->at = 0;
}

static int nowhere(lkv_run_cursor *cursor, int rc)
{
    lkv_run_cursor_forget(cursor);
    return rc;
}

static int add_item(lkv_run_cursor *cursor, const lkv_entry *entry)
{
    lkv_run_item *item = &cursor->items[cursor->count];
    lkv_bytes last = {NULL, 0};
    size_t size = entry->shared + entry->rest.size;
    uint8_t *key;

    if (cursor->count == LKV_BLOCK_RESTART) {
        return LKV_CORRUPT;
    }
    if (lkv_buffer_reserve(&cursor->keys, cursor->os, size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (cursor->count > 0) {
        last = (lkv_bytes){cursor->keys.bytes + item[-1].key, item[-1].key_size};
    }
    if (entry->shared > last.size || cursor->keys.size + size > UINT32_MAX) {
        return LKV_CORRUPT;
    }
    key = cursor->keys.bytes + cursor->keys.size;
    if (entry->shared > 0) {
        memcpy(key, last.data, entry->shared);
    }
    if (entry->rest.size > 0) {
        memcpy(key + entry->shared, entry->rest.data, entry->rest.size);
    }
    item->key = (uint32_t)cursor->keys.size;
    item->key_size = (uint32_t)size;
    item->size = entry->place.size;
    item->loc = entry->place.loc;
    cursor->count++;
    cursor->keys.size += size;
    return LKV_OK;
}

/* Takes a group of the leaf apart; stands on its first entry. */
static int load_group(lkv_run_cursor *cursor, uint32_t group, lkv_error *err)
{
    const lkv_block *block = &cursor->block;
    uint32_t left = block->count > group * LKV_BLOCK_RESTART
                        ? block->count - group * LKV_BLOCK_RESTART
                        : 0;
    size_t at, end;
    lkv_entry entry;
    int rc = LKV_OK;

    lkv_block_bounds(block, group, &at, &end);
    cursor->group = group;
    cursor->count = cursor->at = 0;
    cursor->keys.size = 0;
    while (rc == LKV_OK && at < end) {
        rc = lkv_block_next(block, &at, &entry);
        if (rc == LKV_OK) {
            rc = add_item(cursor, &entry);
        }
    }
    /* All groups are full but the last, which has what is left. */
    if (rc == LKV_OK &&
        (left == 0 || at != end ||
         cursor->count != (left < LKV_BLOCK_RESTART ? left : LKV_BLOCK_RESTART) ||
         (left > LKV_BLOCK_RESTART) != (group + 1 < block->restarts))) {
        rc = LKV_CORRUPT;
    }
    if (rc == LKV_CORRUPT || rc == LKV_ABSENT) {
        rc = lkv_run_damage(err, cursor->run, cursor->leaf, "malformed entry");
    }
    return rc == LKV_OK ? LKV_OK : nowhere(cursor, rc);
}

/* Stands on the last entry of a group. */
static int load_end(lkv_run_cursor *cursor, uint32_t group, lkv_error *err)
{
    int rc = load_group(cursor, group, err);
    cursor->at = rc == LKV_OK ? cursor->count - 1 : 0;
    return rc;
}

/* Copies leaf `number`, of which no group is taken apart yet. */
static int copy_leaf(lkv_run_cursor *cursor, uint32_t number, const lkv_block *block)
{
    cursor->bytes.size = 0;
    if (lkv_buffer_reserve(&cursor->bytes, cursor->os, block->size) != LKV_OK) {
        return nowhere(cursor, LKV_NOMEM);
    }
    memcpy(cursor->bytes.bytes, block->bytes, block->size);
    cursor->block = *block;
    cursor->block.bytes = cursor->bytes.bytes;
    cursor->leaf = number;
    cursor->next = number + lkv_block_span(block->bytes, block->size);
    cursor->before = block->before;
    return LKV_OK;
}

/* The leaf that begins at block `number` or after the branch that begins there. */
static int load_from(lkv_run_cursor *cursor, uint32_t number, lkv_error *err)
{
    lkv_block block = {0};
    int rc = LKV_OK;

    while (number < cursor->run->blocks) {
        rc = lkv_run_block(cursor->storage, cursor->run, number, &block, err);
        if (rc != LKV_OK) {
            return nowhere(cursor, rc);
        }
        if (block.kind == LKV_BLOCK_LEAF) {
            rc = copy_leaf(cursor, number, &block);
            return rc == LKV_OK ? load_group(cursor, 0, err) : rc;
        }
        if (block.kind == LKV_BLOCK_TOP) {
            break;
        }
        number += lkv_block_span(block.bytes, block.size);
    }
    return nowhere(cursor, LKV_ABSENT);
}

/* The last entry of leaf `number`. */
static int load_last(lkv_run_cursor *cursor, uint32_t number, lkv_error *err)
{
    lkv_block block = {0};
    int rc = lkv_run_block(cursor->storage, cursor->run, number, &block, err);
    if (rc == LKV_OK && block.kind != LKV_BLOCK_LEAF) {
        rc = lkv_run_damage(err, cursor->run, number, "not a leaf");
    }
    rc = rc == LKV_OK ? copy_leaf(cursor, number, &block) : nowhere(cursor, rc);
    return rc == LKV_OK ? load_end(cursor, block.restarts - 1, err) : rc;
}

int lkv_run_first(lkv_run_cursor *cursor, lkv_error *err)
{
    return load_from(cursor, 0, err);
}

int lkv_run_last(lkv_run_cursor *cursor, lkv_error *err)
{
    /* The last child, all the way down. */
    uint32_t number = cursor->run->top;
    for (;;) {
        lkv_block block;
        lkv_entry entry;
        size_t at;
        uint32_t above = number;
        int rc = lkv_run_block(cursor->storage, cursor->run, number, &block, err);
        if (rc != LKV_OK) {
            return nowhere(cursor, rc);
        }
        if (block.kind == LKV_BLOCK_LEAF) {
            rc = copy_leaf(cursor, number, &block);
            return rc == LKV_OK ? load_end(cursor, block.restarts - 1, err) : rc;
        }
        at = lkv_format_get_u32(block.bytes + block.table + (block.restarts - 1) * 4);
        if (at < LKV_BLOCK_HEADER) {
            at = block.size;
        }
        while (at < block.size &&
               (rc = lkv_block_next(&block, &at, &entry)) == LKV_OK) {
            number = entry.child;
        }
        if (rc != LKV_ABSENT || number >= above) {
            return nowhere(cursor,
                           lkv_run_damage(err, cursor->run, above, "malformed entry"));
        }
    }
}

/* The first item >= `key`, and whether it is equal. */
static uint32_t lower_bound(const lkv_run_cursor *cursor, lkv_bytes key, int *equal)
{
    uint32_t low = 0, high = cursor->count;
    *equal = 0;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const lkv_run_item *item = &cursor->items[middle];
        int rc = lkv_compare(
            (lkv_bytes){cursor->keys.bytes + item->key, item->key_size}, key);
        if (rc == 0) {
            *equal = 1;
            return middle;
        }
        if (rc < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Whether `key` lies between the first and the last key that are taken apart. */
static int in_group(const lkv_run_cursor *cursor, lkv_bytes key)
{
    const lkv_run_item *last;
    if (cursor->leaf == LKV_RUN_NO_BLOCK || cursor->count == 0) {
        return 0;
    }
    last = &cursor->items[cursor->count - 1];
    return lkv_compare((lkv_bytes){cursor->keys.bytes, cursor->items[0].key_size},
                       key) <= 0 &&
           lkv_compare(
               key, (lkv_bytes){cursor->keys.bytes + last->key, last->key_size}) <= 0;
}

/* Takes the group apart that `key` belongs to. */
static int go_to_group(lkv_run_cursor *cursor, lkv_bytes key, lkv_error *err)
{
    lkv_block block = {0};
    uint32_t number, group;
    int rc = go_down(cursor->storage, cursor->run, cursor->run->top, key, NULL, &number,
                     &block, err);

    rc = rc == LKV_OK ? copy_leaf(cursor, number, &block) : nowhere(cursor, rc);
    if (rc == LKV_OK && lkv_block_group(&block, key, &group) != LKV_OK) {
        rc = nowhere(cursor,
                     lkv_run_damage(err, cursor->run, number, "malformed entry"));
    }
    return rc == LKV_OK ? load_group(cursor, group, err) : rc;
}

int lkv_run_seek(lkv_run_cursor *cursor, lkv_bytes key, enum lkv_seek how,
                 lkv_error *err)
{
    int equal, rc = in_group(cursor, key) ? LKV_OK : go_to_group(cursor, key, err);

    if (rc != LKV_OK) {
        return rc;
    }
    cursor->at = lower_bound(cursor, key, &equal);
    if (how == LKV_SEEK_GE || how == LKV_SEEK_GT) {
        if (cursor->at < cursor->count && !(equal && how == LKV_SEEK_GT)) {
            return LKV_OK;
        }
        return lkv_run_next(cursor, err);
    }
    return equal && how == LKV_SEEK_LE ? LKV_OK : lkv_run_prev(cursor, err);
}

int lkv_run_next(lkv_run_cursor *cursor, lkv_error *err)
{
    if (cursor->leaf == LKV_RUN_NO_BLOCK) {
        return LKV_ABSENT;
    }
    if (cursor->at + 1 < cursor->count) {
        cursor->at++;
        return LKV_OK;
    }
    if (cursor->group + 1 < cursor->block.restarts) {
        return load_group(cursor, cursor->group + 1, err);
    }
    return load_from(cursor, cursor->next, err);
}

int lkv_run_prev(lkv_run_cursor *cursor, lkv_error *err)
{
    if (cursor->leaf == LKV_RUN_NO_BLOCK) {
        return LKV_ABSENT;
    }
    if (cursor->at > 0) {
        cursor->at--;
        return LKV_OK;
    }
    if (cursor->group > 0) {
        return load_end(cursor, cursor->group - 1, err);
    }
    if (cursor->before == 0) {
        return nowhere(cursor, LKV_ABSENT);
    }
    if (cursor->before > cursor->leaf) {
        return nowhere(cursor, lkv_run_damage(err, cursor->run, cursor->leaf,
                                              "leads back to a later block"));
    }
    return load_last(cursor, cursor->before - 1, err);
}
