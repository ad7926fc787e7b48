/*
 * blocks.c - see blocks.h.
 *
 * A block is read here by the words of FORMAT.md, from front to back and into whole
 * keys. When nothing is wrong with it, every way in which core searches it must agree;
 * when something is, core may say so or answer anything, but reads no byte outside.
 */
#include "blocks.h"

#include "damage.h"
#include "map.h"
#include "runcheck.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 256u
#define MAX_KEY 512u

typedef struct plain_entry {
    uint8_t bytes[MAX_KEY];
    lkv_bytes key;
    uint64_t number[3]; /* as they stand in the block */
} plain_entry;

typedef struct plain_block {
    uint32_t count;
    plain_entry entry[MAX_ENTRIES];
} plain_block;

static int compare(lkv_bytes a, lkv_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int rc = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return rc != 0 ? rc : (a.size > b.size) - (a.size < b.size);
}

/* A number of at most nine bytes; 0 when none stands there. */
static int varint(const uint8_t *bytes, size_t end, size_t *at, uint64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < 9 && *at < end; i++) {
        uint8_t byte = bytes[(*at)++];
        *out |= (uint64_t)(byte & 127) << (7 * i);
        if (byte < 128) {
            return 1;
        }
    }
    return 0;
}

static int read_entry(const uint8_t *bytes, size_t end, size_t *at, int numbers,
                      const plain_entry *before, plain_entry *entry)
{
    uint64_t shared, rest;
    if (!varint(bytes, end, at, &shared) || !varint(bytes, end, at, &rest) ||
        rest > end - *at || shared > (before == NULL ? 0 : before->key.size) ||
        shared + rest > MAX_KEY) {
        return 0;
    }
    if (shared > 0) {
        memcpy(entry->bytes, before->bytes, (size_t)shared);
    }
    memcpy(entry->bytes + shared, bytes + *at, (size_t)rest);
    *at += (size_t)rest;
    entry->key = (lkv_bytes){entry->bytes, (size_t)(shared + rest)};
    for (int i = 0; i < numbers; i++) {
        if (!varint(bytes, end, at, &entry->number[i])) {
            return 0;
        }
    }
    return before == NULL || compare(before->key, entry->key) < 0;
}

static int numbers_are_right(const plain_entry *entry, int leaf)
{
    return leaf ? entry->number[0] >> 3 < LKV_RUN_FIRST &&
                      entry->number[1] <= LKV_SEGMENT_MAX &&
                      entry->number[2] >= LKV_RECORD_HEADER &&
                      entry->number[2] <= LKV_SEGMENT_MAX
                : entry->number[0] <= UINT32_MAX;
}

/* Whether the block that core has opened is one that a writer makes: entries in order,
 * and its table all of those that share nothing with the one before them by choice. */
static int read_plainly(const lkv_block *block, plain_block *out)
{
    const uint8_t *bytes = block->bytes;
    size_t at = LKV_BLOCK_HEADER;
    int leaf = block->kind == LKV_BLOCK_LEAF;
    uint32_t restart = 0;

    for (out->count = 0; at < block->table; out->count++) {
        plain_entry *entry = &out->entry[out->count % MAX_ENTRIES];
        int jumped_to = restart < block->restarts &&
                        lkv_format_get_u32(bytes + block->table + restart * 4) == at;
        if (out->count == MAX_ENTRIES || (out->count == 0 && !jumped_to) ||
            (jumped_to && bytes[at] != 0) ||
            !read_entry(bytes, block->table, &at, leaf ? 3 : 1,
                        out->count == 0 ? NULL : entry - 1, entry) ||
            !numbers_are_right(entry, leaf)) {
            return 0;
        }
        restart += (uint32_t)jumped_to;
    }
    return out->count == block->count && restart == block->restarts;
}

static void must_be_entry(const lkv_block *block, const plain_entry *entry,
                          const lkv_entry *found)
{
    if (block->kind == LKV_BLOCK_LEAF) {
        uint64_t first = entry->number[0];
        MUST(lkv_loc_segment(found->place.loc) == first >> 3);
        MUST(lkv_loc_live(found->place.loc) == ((first & 4) == 0));
        MUST(lkv_loc_tag(found->place.loc) == (first & 3));
        MUST(lkv_loc_offset(found->place.loc) == entry->number[1]);
        MUST(found->place.size == entry->number[2]);
    } else {
        MUST(found->child == entry->number[0]);
    }
}

/* `plain` is NULL when the block is none that anyone may rely on. */
static void must_search(const lkv_block *block, const plain_block *plain, lkv_bytes key)
{
    lkv_entry entry;
    uint32_t child, i = 0;
    int rc = lkv_block_floor(block, key, &entry);

    MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
    while (plain != NULL && i < plain->count &&
           compare(plain->entry[i].key, key) <= 0) {
        i++;
    }
    if (plain != NULL) {
        MUST(rc == (i > 0 ? LKV_OK : LKV_ABSENT));
        if (i > 0) {
            must_be_entry(block, &plain->entry[i - 1], &entry);
        }
    }
    if (block->kind == LKV_BLOCK_LEAF) {
        rc = lkv_block_find(block, key, &entry);
        MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
        if (plain != NULL) {
            int equal = i > 0 && compare(plain->entry[i - 1].key, key) == 0;
            MUST(rc == (equal ? LKV_OK : LKV_ABSENT));
        }
    } else {
        rc = lkv_block_child(block, key, &child);
        MUST(rc == LKV_OK || rc == LKV_CORRUPT);
        if (plain != NULL) {
            MUST(rc == LKV_OK && child == plain->entry[i > 0 ? i - 1 : 0].number[0]);
        }
    }
    (void)lkv_block_may_have(block, lkv_filter_hash(key));
}

static void must_search_near(const lkv_block *block, const plain_block *plain,
                             lkv_bytes key)
{
    uint8_t near[MAX_KEY + 1];
    must_search(block, plain, key);
    if (key.size == 0 || key.size > MAX_KEY) {
        return;
    }
    memcpy(near, key.data, key.size);
    near[key.size] = 0;
    must_search(block, plain, (lkv_bytes){near, key.size + 1});
    near[key.size - 1]--;
    must_search(block, plain, (lkv_bytes){near, key.size});
    must_search(block, plain, (lkv_bytes){near, key.size - 1});
}

void blocks_must_read(input *in)
{
    static plain_block plain;
    size_t size = in->left, at = LKV_BLOCK_HEADER;
    uint8_t *bytes = malloc(size > 0 ? size : 1); /* exactly: a sanitizer looks on */
    const char *why = NULL;
    lkv_block block;
    lkv_entry entry;
    int rc, right;

    MUST(bytes != NULL);
    input_take(in, bytes, size);
    if (size >= 4) {
        lkv_block_seal(bytes, size, 1);
    }
    rc = lkv_block_open(&block, (lkv_bytes){bytes, size}, 1, &why);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && why != NULL));
    if (rc == LKV_OK) {
        right = read_plainly(&block, &plain);
        must_search_near(&block, right ? &plain : NULL, (lkv_bytes){NULL, 0});
        must_search_near(&block, right ? &plain : NULL, (lkv_bytes){"\xff\xff", 2});
        for (uint32_t i = 0; right && i < plain.count; i++) {
            must_search_near(&block, &plain, plain.entry[i].key);
        }
        while ((rc = lkv_block_next(&block, &at, &entry)) == LKV_OK) {
            must_search_near(&block, right ? &plain : NULL, entry.rest);
        }
        MUST(rc == LKV_ABSENT || (rc == LKV_CORRUPT && !right));
    }
    free(bytes);
}

/* Objects */

typedef struct seen { /* what runcheck.c was shown */
    uint32_t count;
    lkv_bytes key[MAX_ENTRIES]; /* in input_memory() */
    lkv_place place[MAX_ENTRIES];
} seen;

static int see(void *arg, lkv_bytes key, lkv_place place, const char **why)
{
    seen *all = arg;
    uint8_t *copy = input_memory(key.size);
    *why = "more than the target looks at";
    if (all->count == MAX_ENTRIES || copy == NULL) {
        return LKV_CORRUPT;
    }
    if (key.size > 0) {
        memcpy(copy, key.data, key.size);
    }
    all->key[all->count] = (lkv_bytes){copy, key.size};
    all->place[all->count++] = place;
    return LKV_OK;
}

/* 1 when every block of the object, and the object as a whole, is as a writer makes it.
 */
static int check(const lkv_os *os, const uint8_t *bytes, const lkv_run *run,
                 uint32_t unit, int finished, seen *all)
{
    lkv_run_check walk;
    const char *why = "";
    uint32_t at = 0;
    int rc = LKV_OK;

    all->count = 0;
    lkv_run_check_init(&walk, os, unit, run->number, 0, see, all);
    while (at < run->blocks && rc == LKV_OK) {
        const uint8_t *block = bytes + (size_t)at * unit;
        uint32_t span = lkv_block_span(block, unit);
        if (span == 0 || span > run->blocks - at) {
            rc = LKV_CORRUPT;
        } else {
            rc = lkv_run_check_block(&walk, (lkv_bytes){block, (size_t)span * unit},
                                     &why);
            at += span;
        }
        MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    }
    if (rc == LKV_OK) {
        lkv_run told = *run; /* its counts are the root's to tell */
        told.entries = walk.entries;
        told.live_bytes = walk.live_bytes;
        rc = lkv_run_check_end(&walk, &told, finished, &why);
    }
    lkv_run_check_free(&walk);
    return rc == LKV_OK;
}

static void must_stand(const seen *all, const lkv_run_cursor *cursor, int rc, size_t i)
{
    MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
    if (all == NULL) {
        return;
    }
    MUST(rc == (i < all->count ? LKV_OK : LKV_ABSENT));
    if (rc == LKV_OK) {
        lkv_place place = lkv_run_place(cursor);
        MUST(compare(lkv_run_key(cursor), all->key[i]) == 0);
        MUST(place.loc == all->place[i].loc && place.size == all->place[i].size);
    }
}

/* A walk ends: every step goes to another entry of the object. */
static void must_walk(lkv_run_cursor *cursor, const seen *all, size_t most)
{
    size_t steps = 0, i = 0;
    int rc = lkv_run_first(cursor, NULL);
    for (; rc == LKV_OK; rc = lkv_run_next(cursor, NULL), i++) {
        must_stand(all, cursor, rc, i);
        MUST(steps++ <= most);
    }
    must_stand(all, cursor, rc, i);
    rc = lkv_run_last(cursor, NULL);
    i = all == NULL ? 0 : all->count;
    for (steps = 0; rc == LKV_OK; rc = lkv_run_prev(cursor, NULL)) {
        must_stand(all, cursor, rc, --i);
        MUST(steps++ <= most);
    }
    must_stand(all, cursor, rc, i - 1);
}

static void must_find(lkv_run_cursor *cursor, const seen *all, lkv_bytes key)
{
    static const enum lkv_seek hows[] = {LKV_SEEK_GE, LKV_SEEK_GT, LKV_SEEK_LE,
                                         LKV_SEEK_LT};
    uint64_t hash = lkv_filter_hash(key);
    size_t i = 0, equal = 0;
    lkv_place place;
    int rc = lkv_run_find(cursor->storage, cursor->run, key, hash, &place, NULL);

    MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
    while (all != NULL && i < all->count && compare(all->key[i], key) < 0) {
        i++;
    }
    if (all != NULL) {
        equal = i < all->count && compare(all->key[i], key) == 0;
        MUST(rc == (equal ? LKV_OK : LKV_ABSENT));
        MUST(!equal || (place.loc == all->place[i].loc));
    }
    for (size_t k = 0; k < 4; k++) {
        size_t to[] = {i, i + equal, i + equal - 1, i - 1};
        rc = lkv_run_seek(cursor, key, hows[k], NULL);
        must_stand(all, cursor, rc, to[k]);
    }
    rc = lkv_run_floor(cursor->storage, cursor->run, key, NULL, &place, NULL, NULL);
    MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT);
    MUST(all == NULL || rc == (i + equal > 0 ? LKV_OK : LKV_ABSENT));
}

/* Another writer goes on with the object, as one that was paused. */
static void must_resume(lkv_storage *storage, const lkv_os *os, const lkv_run *run,
                        const seen *all)
{
    lkv_run_writer writer;
    lkv_run_cursor cursor;
    lkv_place place = {lkv_loc_make(0, 1, LKV_SEGMENT_HEADER), 99};
    int rc = lkv_run_writer_resume(&writer, storage, os, run, NULL);

    MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    MUST(rc == LKV_OK || all == NULL);
    if (rc == LKV_OK) {
        lkv_bytes key = {"\xff\xff\xff\xff\xff\xff\xff\xff", 8};
        rc = lkv_run_writer_add(&writer, key, place, NULL);
        if (rc == LKV_OK) {
            rc = lkv_run_writer_finish(&writer, NULL);
        }
        MUST(rc == LKV_OK);
        lkv_run_cursor_init(&cursor, storage, os, &writer.run);
        rc = lkv_run_last(&cursor, NULL);
        MUST(rc == LKV_OK || all == NULL);
        MUST(rc != LKV_OK || all == NULL || compare(lkv_run_key(&cursor), key) == 0);
        lkv_run_cursor_free(&cursor);
    }
    lkv_run_writer_free(&writer);
}

void blocks_must_walk(input *in)
{
    static seen all;
    bounded_os memory;
    lkv_storage *storage;
    lkv_run_cursor cursor;
    uint8_t how = input_byte(in);
    uint32_t unit = 32u << (how & 3);
    uint32_t top = input_byte(in);
    size_t size = in->left / unit * unit;
    lkv_run run = {.number = LKV_RUN_FIRST + 1, .blocks = (uint32_t)(size / unit)};
    uint8_t *bytes = input_memory(size);
    int right;

    if (size == 0 || bytes == NULL) {
        return;
    }
    input_take(in, bytes, size);
    damage_seal_blocks(bytes, size, unit, run.number);
    run.top = top % run.blocks;
    bounded_os_init(&memory, (4u << 20) + 64 * (uint64_t)size);
    MUST(lkv_storage_mem_open(&memory.os, unit, &storage) == LKV_OK);
    MUST(storage->ops->write(storage, run.number, 0, (lkv_bytes){bytes, size}, NULL) ==
         LKV_OK);
    right = check(&memory.os, bytes, &run, unit, 1, &all);
    lkv_run_cursor_init(&cursor, storage, &memory.os, &run);
    must_walk(&cursor, right ? &all : NULL, size);
    must_find(&cursor, right ? &all : NULL, (lkv_bytes){NULL, 0});
    must_find(&cursor, right ? &all : NULL, (lkv_bytes){"k1b", 3});
    for (uint32_t i = 0; i < all.count; i++) {
        must_find(&cursor, right ? &all : NULL, all.key[i]);
    }
    lkv_run_cursor_free(&cursor);
    if (how & 4) {
        right = check(&memory.os, bytes, &run, unit, 0, &all) && all.count > 0 &&
                compare(all.key[all.count - 1], (lkv_bytes){"\xff", 1}) < 0;
        must_resume(storage, &memory.os, &run, right ? &all : NULL);
    }
    lkv_storage_mem_close(storage);
    MUST(memory.held == 0);
}
