/*
 * memindex.c - an ordered map in memory: a B+tree of nodes of one size (node.h).
 *
 * Appending at either end of the map leaves full leaves behind. Nodes come from slabs.
 * What a put may need is there before it changes anything; a removal needs nothing: a
 * node is given back when it is empty.
 */
#include "memindex.h"

#include "node.h"

/* A level comes when the root splits, and a node splits after at least two splits of
 * its children (four of the longest entries and a first one fit into it): 2^40 and more
 * insertions for this many levels, whatever was taken out in between. */
#define MAX_DEPTH 40
#define FIRST_SLAB (16u << 10)
#define LAST_SLAB (1u << 20)
#define KEPT_SLABS (512u << 10)

typedef struct slab {
    struct slab *older;
    size_t size;
} slab;

struct lkv_memindex {
    const lkv_os *os;
    lkv_node *root;
    lkv_node *free;
    uint32_t free_count;
    slab *slabs;
    uint64_t count;
    uint64_t changes;
    uint64_t memory;
};

typedef struct path { /* from the root: which child was taken at each lkv_node */
    lkv_node *at[MAX_DEPTH];
    unsigned slot[MAX_DEPTH];
    int depth; /* of the leaf */
} path;

static unsigned child_slot(const lkv_node *n, lkv_bytes key)
{
    int equal;
    unsigned i = lkv_node_lower_bound(n, key, &equal);
    return equal ? i : i - 1;
}

/* A node is several cache lines: all are asked for at once, not one after the other. */
static void prefetch(const lkv_node *n)
{
    const char *at = (const char *)n;
    for (unsigned i = 0; i < 6; i++) {
        __builtin_prefetch(at + (size_t)i * 64);
    }
}

static lkv_node *find_leaf(const lkv_memindex *index, lkv_bytes key)
{
    lkv_node *n = index->root;
    while (n != NULL && !n->leaf) {
        n = lkv_node_child(n, child_slot(n, key));
        prefetch(n);
    }
    return n;
}

/* Memory */

int lkv_memindex_open(const lkv_os *os, lkv_memindex **out)
{
    lkv_memindex *index = lkv_os_alloc(os, sizeof(*index));
    if (index == NULL) {
        return LKV_NOMEM;
    }
    memset(index, 0, sizeof(*index));
    index->os = os;
    index->memory = sizeof(*index);
    *out = index;
    return LKV_OK;
}

static void free_long_keys(lkv_memindex *index, const lkv_node *n)
{
    for (unsigned i = 0; i < n->count; i++) {
        const uint8_t *entry = n->bytes + lkv_node_slot_place(n, i);
        if (!n->leaf) {
            free_long_keys(index, lkv_node_child(n, i));
        }
        if (entry[0] == LKV_NODE_LONG_KEY) {
            lkv_os_free(index->os, lkv_node_entry_long(entry));
        }
    }
}

static void give_node(lkv_memindex *index, lkv_node *n)
{
    n->next = index->free;
    index->free = n;
    index->free_count++;
}

static void give_nodes(lkv_memindex *index, slab *of)
{
    for (size_t at = 64; at + LKV_NODE_SIZE <= of->size; at += LKV_NODE_SIZE) {
        give_node(index, (lkv_node *)(void *)((uint8_t *)of + at));
    }
}

/* Takes everything out, and keeps at most `kept` bytes of slabs for what comes next. */
static void empty(lkv_memindex *index, size_t kept)
{
    slab **link = &index->slabs;

    if (index->root != NULL) {
        free_long_keys(index, index->root);
    }
    index->root = index->free = NULL;
    index->free_count = 0;
    index->count = 0;
    index->memory = sizeof(*index);
    index->changes++;
    while (*link != NULL) {
        slab *at = *link;
        if (at->size <= kept) {
            kept -= at->size;
            index->memory += at->size;
            give_nodes(index, at);
            link = &at->older;
        } else {
            *link = at->older;
            lkv_os_free(index->os, at);
        }
    }
}

/* An index is filled and emptied over and over: giving its memory back each time would
 * cost the system more than the keys do. */
void lkv_memindex_clear(lkv_memindex *index)
{
    empty(index, KEPT_SLABS);
}

void lkv_memindex_close(lkv_memindex *index)
{
    if (index != NULL) {
        empty(index, 0);
        lkv_os_free(index->os, index);
    }
}

/* Makes sure that `count` nodes can be taken. */
static int reserve_nodes(lkv_memindex *index, uint32_t count)
{
    while (index->free_count < count) {
        size_t size = index->slabs == NULL ? FIRST_SLAB : index->slabs->size * 2;
        slab *added;
        size = size > LAST_SLAB ? LAST_SLAB : size;
        added = lkv_os_alloc(index->os, size);
        if (added == NULL) {
            return LKV_NOMEM;
        }
        added->older = index->slabs;
        added->size = size;
        index->slabs = added;
        index->memory += size;
        give_nodes(index, added);
    }
    return LKV_OK;
}

static lkv_node *take_node(lkv_memindex *index, int leaf)
{
    lkv_node *n = index->free;
    index->free = n->next;
    index->free_count--;
    n->next = n->prev = NULL;
    n->count = n->dead = n->prefix = 0;
    n->heap = LKV_NODE_ROOM;
    n->leaf = (uint32_t)leaf;
    return n;
}

/* Writes an entry for `key` into `out` (of 1 + LKV_NODE_INLINE_MAX + LKV_NODE_PAYLOAD
 * bytes). */
static int make_entry(lkv_memindex *index, uint8_t *out, lkv_bytes key, lkv_place place)
{
    unsigned size = (unsigned)key.size;
    if (key.size > LKV_NODE_INLINE_MAX) {
        lkv_long_key *copy = lkv_os_alloc(index->os, sizeof(*copy) + key.size);
        if (copy == NULL) {
            return LKV_NOMEM;
        }
        index->memory += sizeof(*copy) + key.size;
        copy->size = key.size;
        memcpy(copy->bytes, key.data, key.size);
        out[0] = LKV_NODE_LONG_KEY;
        size = (unsigned)sizeof(void *);
        memcpy(out + 1, &copy, size);
    } else {
        out[0] = (uint8_t)size;
        if (size > 0) {
            memcpy(out + 1, key.data, size);
        }
    }
    lkv_node_put_place(out + 1 + size, place);
    return LKV_OK;
}

static void drop_entry(lkv_memindex *index, const uint8_t *entry)
{
    if (entry[0] == LKV_NODE_LONG_KEY) {
        lkv_long_key *key = lkv_node_entry_long(entry);
        index->memory -= sizeof(*key) + key->size;
        lkv_os_free(index->os, key);
    }
}

/* A new root above the old one and the node that `entry` points to. */
static void grow_root(lkv_memindex *index, const uint8_t *entry)
{
    uint8_t first[1 + LKV_NODE_PAYLOAD] = {0};
    lkv_node *root = take_node(index, 0);
    lkv_node_point_to(first, index->root);
    lkv_node_insert_entry(root, 0, first);
    lkv_node_insert_entry(root, 1, entry);
    index->root = root;
}

/* Puts `entry` in at slot path->slot of the node at `depth`, splitting upwards. The
 * nodes that this takes are reserved. */
static void insert_up(lkv_memindex *index, path *p, int depth, const uint8_t *entry)
{
    uint8_t up[1 + LKV_NODE_INLINE_MAX + LKV_NODE_PAYLOAD],
        own[1 + LKV_NODE_INLINE_MAX + LKV_NODE_PAYLOAD];

    memcpy(own, entry, lkv_node_entry_size(entry));
    for (;;) {
        lkv_node *n = p->at[depth];
        unsigned i = p->slot[depth];
        lkv_node *right;
        unsigned cut;

        if (lkv_node_has_room(n, lkv_node_entry_size(own))) {
            lkv_node_insert_entry(n, i, own);
            return;
        }
        /* Inner nodes only: a leaf is split before by split_leaf(). */
        right = take_node(index, 0);
        cut = lkv_node_cut_at(n, i);
        if (cut == n->count) { /* the new child alone goes right */
            memcpy(up, own, lkv_node_entry_size(own));
            lkv_node_insert_first(right, own);
        } else {
            const uint8_t *first = n->bytes + lkv_node_slot_place(n, cut);
            memcpy(up, first, lkv_node_entry_size(first));
            lkv_node_insert_first(right, first);
            lkv_node_delete_slot(n, cut);
            for (unsigned k = cut; k < n->count; k++) {
                lkv_node_insert_entry(right, k - cut + 1,
                                      n->bytes + lkv_node_slot_place(n, k));
            }
            lkv_node_cut_off(n, cut);
            lkv_node_set_prefix(right);
            lkv_node_insert_entry(i <= cut ? n : right, i <= cut ? i : i - cut, own);
        }
        lkv_node_point_to(up, right);
        memcpy(own, up, lkv_node_entry_size(up));
        if (depth == 0) {
            grow_root(index, own);
            return;
        }
        depth--;
        p->slot[depth]++; /* right of the child that was split */
    }
}

/* The shortest key that is above `left` and not above `right`. */
static lkv_bytes separator(lkv_bytes left, lkv_bytes right)
{
    size_t size = lkv_node_common(left, right) + 1;
    return (lkv_bytes){right.data, size < right.size ? size : right.size};
}

static void link_after(lkv_node *n, lkv_node *right)
{
    right->prev = n;
    right->next = n->next;
    if (n->next != NULL) {
        n->next->prev = right;
    }
    n->next = right;
}

/* Splits the full leaf that the path ends in and puts `entry`, of `key`, in. LKV_NOMEM:
 * nothing has changed. */
static int split_leaf(lkv_memindex *index, path *p, lkv_bytes key, const uint8_t *entry)
{
    lkv_node *n = p->at[p->depth];
    unsigned i = p->slot[p->depth];
    unsigned cut = lkv_node_cut_at(n, i);
    lkv_bytes left = cut == 0 || i == cut ? key : lkv_node_entry_key(n, cut - 1);
    uint8_t up[1 + LKV_NODE_INLINE_MAX + LKV_NODE_PAYLOAD];
    lkv_node *right;

    if (cut == n->count) {
        left = lkv_node_entry_key(n, cut - 1);
    }
    if (reserve_nodes(index, (uint32_t)p->depth + 2) != LKV_OK ||
        make_entry(index, up,
                   separator(left, cut == n->count ? key : lkv_node_entry_key(n, cut)),
                   (lkv_place){0, 0}) != LKV_OK) {
        return LKV_NOMEM;
    }
    right = take_node(index, 1);
    lkv_node_point_to(up, right);
    link_after(n, right);
    if (cut == n->count) {
        lkv_node_insert_entry(right, 0, entry);
    } else {
        lkv_node_move_right(n, right, cut);
        lkv_node_insert_entry(i <= cut ? n : right, i <= cut ? i : i - cut, entry);
    }
    if (p->depth == 0) {
        grow_root(index, up);
    } else {
        p->slot[p->depth - 1]++;
        insert_up(index, p, p->depth - 1, up);
    }
    return LKV_OK;
}

/* Goes down to the leaf where `key` is or belongs; whether it is there. */
static int descend(const lkv_memindex *index, lkv_bytes key, path *p)
{
    lkv_node *n = index->root;
    int equal;

    p->depth = 0;
    while (!n->leaf) {
        unsigned i = child_slot(n, key);
        p->at[p->depth] = n;
        p->slot[p->depth++] = i;
        n = lkv_node_child(n, i);
        prefetch(n);
    }
    p->at[p->depth] = n;
    p->slot[p->depth] = lkv_node_lower_bound(n, key, &equal);
    return equal;
}

int lkv_memindex_put(lkv_memindex *index, lkv_bytes key, lkv_place place,
                     lkv_place *old)
{
    uint8_t entry[1 + LKV_NODE_INLINE_MAX + LKV_NODE_PAYLOAD];
    lkv_node *n;
    path p;
    int rc;

    if (index->root == NULL) {
        if (reserve_nodes(index, 1) != LKV_OK) {
            return LKV_NOMEM;
        }
        index->root = take_node(index, 1);
    }
    if (descend(index, key, &p)) {
        n = p.at[p.depth];
        *old = lkv_node_place(n, p.slot[p.depth]);
        lkv_node_set_place(n, p.slot[p.depth], place);
        return LKV_OK;
    }
    rc = make_entry(index, entry, key, place);
    n = p.at[p.depth];
    if (rc != LKV_OK) {
        if (n->count == 0) { /* the root, made for it: no node is empty */
            index->root = NULL;
            give_node(index, n);
        }
        return rc;
    }
    if (lkv_node_has_room(n, lkv_node_entry_size(entry))) {
        lkv_node_insert_entry(n, p.slot[p.depth], entry);
    } else if (split_leaf(index, &p, key, entry) != LKV_OK) {
        drop_entry(index, entry);
        return LKV_NOMEM;
    }
    index->count++;
    index->changes++;
    *old = (lkv_place){LKV_NOWHERE, 0};
    return LKV_OK;
}

/* Takes empty nodes out, from the leaf upwards, and a root that has one child. */
static void remove_empty(lkv_memindex *index, path *p)
{
    int depth = p->depth;
    lkv_node *n = p->at[depth];

    if (n->prev != NULL) {
        n->prev->next = n->next;
    }
    if (n->next != NULL) {
        n->next->prev = n->prev;
    }
    while (n->count == 0) {
        give_node(index, n);
        if (depth == 0) {
            index->root = NULL;
            return;
        }
        n = p->at[--depth];
        drop_entry(index, n->bytes + lkv_node_slot_place(n, p->slot[depth]));
        lkv_node_delete_slot(n, p->slot[depth]);
    }
    while (!index->root->leaf && index->root->count == 1) {
        lkv_node *gone = index->root;
        index->root = lkv_node_child(gone, 0);
        drop_entry(index, gone->bytes + lkv_node_slot_place(gone, 0));
        give_node(index, gone);
    }
}

void lkv_memindex_remove(lkv_memindex *index, lkv_bytes key)
{
    path p;
    lkv_node *n;

    if (index->root == NULL || !descend(index, key, &p)) {
        return;
    }
    n = p.at[p.depth];
    drop_entry(index, n->bytes + lkv_node_slot_place(n, p.slot[p.depth]));
    lkv_node_delete_slot(n, p.slot[p.depth]);
    index->count--;
    index->changes++;
    if (n->count == 0) {
        remove_empty(index, &p);
    }
}

lkv_place lkv_memindex_get(const lkv_memindex *index, lkv_bytes key)
{
    const lkv_node *n = find_leaf(index, key);
    unsigned i;
    int equal;

    if (n == NULL) {
        return (lkv_place){LKV_NOWHERE, 0};
    }
    i = lkv_node_lower_bound(n, key, &equal);
    return equal ? lkv_node_place(n, i) : (lkv_place){LKV_NOWHERE, 0};
}

uint64_t lkv_memindex_count(const lkv_memindex *index)
{
    return index->count;
}

uint64_t lkv_memindex_memory(const lkv_memindex *index)
{
    return index->memory;
}

uint64_t lkv_memindex_changes(const lkv_memindex *index)
{
    return index->changes;
}

/* Cursors */

static int stand(lkv_memindex_cursor *cursor, const lkv_node *n, unsigned slot)
{
    cursor->leaf = n;
    cursor->slot = slot;
    return n != NULL;
}

/* An empty leaf is taken out at once, the last one too. */
int lkv_memindex_first(lkv_memindex_cursor *cursor, const lkv_memindex *index)
{
    const lkv_node *n = index->root;
    while (n != NULL && !n->leaf) {
        n = lkv_node_child(n, 0);
    }
    return stand(cursor, n, 0);
}

int lkv_memindex_last(lkv_memindex_cursor *cursor, const lkv_memindex *index)
{
    const lkv_node *n = index->root;
    while (n != NULL && !n->leaf) {
        n = lkv_node_child(n, n->count - 1u);
    }
    return stand(cursor, n, n == NULL ? 0 : n->count - 1u);
}

int lkv_memindex_next(lkv_memindex_cursor *cursor)
{
    const lkv_node *n = cursor->leaf;
    if (n == NULL) {
        return 0;
    }
    if (cursor->slot + 1 < n->count) {
        cursor->slot++;
        return 1;
    }
    if (n->next != NULL && n->next->next != NULL) {
        __builtin_prefetch(n->next->next);
    }
    return stand(cursor, n->next, 0);
}

int lkv_memindex_prev(lkv_memindex_cursor *cursor)
{
    const lkv_node *n = cursor->leaf;
    if (n == NULL) {
        return 0;
    }
    if (cursor->slot > 0) {
        cursor->slot--;
        return 1;
    }
    n = n->prev;
    return stand(cursor, n, n == NULL ? 0 : n->count - 1u);
}

int lkv_memindex_seek(lkv_memindex_cursor *cursor, const lkv_memindex *index,
                      lkv_bytes key, enum lkv_seek how)
{
    const lkv_node *n = find_leaf(index, key);
    unsigned i;
    int equal;

    if (n == NULL) {
        return stand(cursor, NULL, 0);
    }
    i = lkv_node_lower_bound(n, key, &equal);
    cursor->leaf = n;
    cursor->slot = i;
    if (how == LKV_SEEK_GE || how == LKV_SEEK_GT) {
        if (equal && how == LKV_SEEK_GT) {
            return lkv_memindex_next(cursor);
        }
        return i < n->count ? 1 : stand(cursor, n->next, 0);
    }
    if (equal && how == LKV_SEEK_LE) {
        return 1;
    }
    return lkv_memindex_prev(cursor);
}

lkv_bytes lkv_memindex_key(const lkv_memindex_cursor *cursor)
{
    return lkv_node_entry_key(cursor->leaf, cursor->slot);
}

lkv_place lkv_memindex_place(const lkv_memindex_cursor *cursor)
{
    return lkv_node_place(cursor->leaf, cursor->slot);
}
