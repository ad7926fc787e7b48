/*
 * top.c - see top.h.
 */
#include "top.h"

#include <string.h>

#define LEVELS_MOST 32u /* a top has two entries at least */

/* What the blocks of a level lead to, with the separators put together. */
typedef struct child {
    uint32_t block;
    uint32_t key; /* where in `keys` */
} child;

typedef struct level {
    lkv_buffer keys;
    lkv_buffer children;
} level;

static void free_level(const lkv_tops *tops, level *at)
{
    lkv_os_free(tops->os, at->keys.bytes);
    lkv_os_free(tops->os, at->children.bytes);
    memset(at, 0, sizeof(*at));
}

static child *children_of(const level *at)
{
    return (child *)(void *)at->children.bytes;
}

static size_t count_of(const level *at)
{
    return at->children.size / sizeof(child);
}

static lkv_bytes key_of(const level *at, size_t i)
{
    const child *of = children_of(at) + i;
    size_t end = i + 1 < count_of(at) ? of[1].key : at->keys.size;
    return (lkv_bytes){at->keys.bytes + of->key, end - of->key};
}

/* The bytes that all keys but the first begin with: those that the second and the last
 * share. */
static uint32_t common(const level *at)
{
    size_t count = count_of(at), size, i = 0;
    lkv_bytes second, last;
    if (count < 2) {
        return 0;
    }
    second = key_of(at, 1);
    last = key_of(at, count - 1);
    size = second.size < last.size ? second.size : last.size;
    while (i < size &&
           ((const uint8_t *)second.data)[i] == ((const uint8_t *)last.data)[i]) {
        i++;
    }
    return (uint32_t)i;
}

/* `last` is where in `to->keys` the entry before it in its block begins. */
static int append(const lkv_tops *tops, level *to, const lkv_entry *entry, size_t last)
{
    size_t size = entry->shared + entry->rest.size;
    uint8_t *key;
    child *added;

    if (entry->shared > to->keys.size - last ||
        to->keys.size + size + to->children.size > LKV_TOPS_MOST) {
        return LKV_ABSENT;
    }
    if (lkv_buffer_reserve(&to->keys, tops->os, size + 1) != LKV_OK ||
        lkv_buffer_reserve(&to->children, tops->os, sizeof(*added)) != LKV_OK) {
        return LKV_NOMEM;
    }
    key = to->keys.bytes + to->keys.size;
    memcpy(key, to->keys.bytes + last, entry->shared);
    if (entry->rest.size > 0) {
        memcpy(key + entry->shared, entry->rest.data, entry->rest.size);
    }
    added = children_of(to) + count_of(to);
    added->block = entry->child;
    added->key = (uint32_t)to->keys.size;
    to->keys.size += size;
    to->children.size += sizeof(*added);
    return LKV_OK;
}

/* Adds the entries of block `number`, which is of such a kind, to `to`. LKV_ABSENT: it
 * is not, or there is too much. */
static int descend(const lkv_tops *tops, const lkv_run *run, uint32_t number,
                   enum lkv_block_kind kind, level *to, lkv_error *err)
{
    size_t at = LKV_BLOCK_HEADER, last = to->keys.size;
    lkv_block block;
    lkv_entry entry;
    int rc = lkv_run_block(tops->storage, run, number, &block, err);

    if (rc != LKV_OK || block.kind != kind) {
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    while ((rc = lkv_block_next(&block, &at, &entry)) == LKV_OK) {
        size_t begin = to->keys.size;
        rc = entry.child < number ? append(tops, to, &entry, last) : LKV_ABSENT;
        if (rc != LKV_OK) {
            return rc;
        }
        last = begin;
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* The branches of `run`, in `*out`. LKV_ABSENT: there are too many, or none. */
static int collect(const lkv_tops *tops, const lkv_run *run, level *out, lkv_error *err)
{
    lkv_entry first = {.child = run->top};
    int rc = append(tops, out, &first, 0);

    for (unsigned depth = 0; rc == LKV_OK; depth++) {
        level below = {{NULL, 0, 0}, {NULL, 0, 0}};
        lkv_block block;
        rc = lkv_run_block(tops->storage, run, children_of(out)->block, &block, err);
        if (rc == LKV_OK && block.kind == LKV_BLOCK_BRANCH) {
            return LKV_OK;
        }
        if (rc == LKV_OK && depth == LEVELS_MOST) {
            rc = LKV_ABSENT;
        }
        for (size_t i = 0; rc == LKV_OK && i < count_of(out); i++) {
            rc = descend(tops, run, children_of(out)[i].block, LKV_BLOCK_TOP, &below,
                         err);
        }
        free_level(tops, out);
        *out = below;
    }
    return rc;
}

static size_t top_size(const level *from)
{
    size_t count = count_of(from);
    return sizeof(lkv_top) + count * sizeof(uint64_t) +
           (count + 1) * sizeof(lkv_branch_at) + from->keys.size;
}

/* Puts what was collected in one piece of memory. Nothing is always room for. */
static lkv_top *make(lkv_tops *tops, const level *from)
{
    size_t count = count_of(from), size = top_size(from);
    lkv_top *top = lkv_os_alloc(tops->os, size);
    if (top == NULL) {
        return NULL;
    }
    memset(top, 0, size);
    top->count = (uint32_t)count;
    top->common = common(from);
    top->memory = count > 0 ? size : 0;
    top->prefix = (uint64_t *)(void *)(top + 1);
    top->branch = (lkv_branch_at *)(void *)(top->prefix + count);
    top->keys = (uint8_t *)(top->branch + count + 1);
    for (size_t i = 0; i < count; i++) {
        top->prefix[i] = i == 0 ? 0 : lkv_top_number(key_of(from, i), top->common);
        top->branch[i].block = children_of(from)[i].block;
        top->branch[i].key = children_of(from)[i].key;
    }
    top->branch[count].key = (uint32_t)from->keys.size;
    if (from->keys.size > 0) {
        memcpy(top->keys, from->keys.bytes, from->keys.size);
    }
    tops->memory += top->memory;
    return top;
}

int lkv_top_open(lkv_tops *tops, const lkv_run *run, lkv_top **out, lkv_error *err)
{
    level all = {{NULL, 0, 0}, {NULL, 0, 0}};
    int rc = collect(tops, run, &all, err);

    if (rc == LKV_OK && tops->memory + top_size(&all) > LKV_TOPS_MOST) {
        rc = LKV_ABSENT;
    }
    if (rc == LKV_ABSENT || rc == LKV_CORRUPT) {
        all.keys.size = all.children.size = 0;
        rc = LKV_OK;
    }
    *out = rc == LKV_OK ? make(tops, &all) : NULL;
    if (*out != NULL) {
        (*out)->number = run->number;
    }
    free_level(tops, &all);
    return rc;
}

static size_t leaves_size(size_t count, size_t same)
{
    return sizeof(lkv_leaves) + count * sizeof(lkv_leaf_at) + same;
}

int lkv_top_open_branch(lkv_tops *tops, const lkv_run *run, lkv_branch_at *at,
                        lkv_error *err)
{
    level all = {{NULL, 0, 0}, {NULL, 0, 0}};
    lkv_leaves *leaves = NULL;
    size_t count, size;
    int rc;

    if (tops->full) {
        return LKV_OK;
    }
    rc = descend(tops, run, at->block, LKV_BLOCK_BRANCH, &all, err);
    count = count_of(&all);
    size = leaves_size(count, common(&all));
    if (rc == LKV_OK && count > 0) {
        tops->full = tops->memory + size > LKV_TOPS_LEAVES;
        leaves = tops->full ? NULL : lkv_os_alloc(tops->os, size);
    }
    if (leaves != NULL) {
        memset(leaves, 0, size);
        leaves->count = (uint32_t)count;
        leaves->common = common(&all);
        leaves->bytes = (const uint8_t *)(leaves->at + count);
        for (size_t i = 0; i < count; i++) {
            leaves->at[i].block = children_of(&all)[i].block;
            leaves->at[i].prefix =
                i == 0 ? 0 : lkv_top_number(key_of(&all, i), leaves->common);
        }
        if (leaves->common > 0) {
            memcpy(leaves->at + count, key_of(&all, 1).data, leaves->common);
        }
        at->leaves = leaves;
        tops->memory += size;
    }
    free_level(tops, &all);
    return rc == LKV_ABSENT || rc == LKV_CORRUPT ? LKV_OK : rc;
}

void lkv_top_close(lkv_tops *tops, lkv_top *top)
{
    for (uint32_t i = 0; i < top->count; i++) {
        lkv_leaves *leaves = top->branch[i].leaves;
        if (leaves != NULL) {
            tops->memory -= leaves_size(leaves->count, leaves->common);
            lkv_os_free(tops->os, leaves);
        }
    }
    tops->memory -= top->memory;
    tops->full = 0;
    lkv_os_free(tops->os, top);
}
