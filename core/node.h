/*
 * node.h - one node of the tree of memindex.c: a sorted array of keys with payloads.
 *
 *   node  | links, counts | slot 0 | slot 1 | ... -->   free   <-- ... | entry 1 |
 * entry 0 | slot  head u32, place of the entry u16      entry  key size u8, key,
 * payload u64, size u32
 *
 * All keys of a node share `prefix` bytes; a slot's head is the four bytes of its key
 * after them, so that a search mostly ends within the slots. The payload is a location
 * in a leaf, with its record's size, a child in an inner node; there the first entry's
 * key counts as below all others. A key too long for an entry stands in memory of its
 * own, and the entry holds the pointer.
 */
#ifndef LKV_NODE_H
#define LKV_NODE_H

#include "format.h"

#include <string.h>

#define LKV_NODE_SIZE                                                                  \
    1024u /* 512 and 2048 looked keys up no faster; see bench/memindex.c */
#define LKV_NODE_INLINE_MAX                                                            \
    200u /* longest key inside a node, so that five or more entries fit */
#define LKV_NODE_LONG_KEY 255u
#define LKV_NODE_SLOT 6u
#define LKV_NODE_PAYLOAD 12u

typedef struct lkv_node {
    struct lkv_node *next, *prev; /* leaves in order; a free node's `next` */
    uint16_t count;
    uint16_t heap; /* lowest byte in use by entries */
    uint16_t dead; /* bytes above it that no entry uses */
    uint16_t prefix;
    uint32_t leaf;
    uint8_t bytes[LKV_NODE_SIZE - 28];
} lkv_node;

#define LKV_NODE_ROOM ((unsigned)sizeof(((lkv_node *)0)->bytes))

typedef struct lkv_long_key {
    size_t size;
    uint8_t bytes[];
} lkv_long_key;

static inline uint32_t lkv_node_slot_head(const lkv_node *n, unsigned i)
{
    uint32_t head;
    memcpy(&head, n->bytes + i * LKV_NODE_SLOT, sizeof(head));
    return head;
}

static inline unsigned lkv_node_slot_place(const lkv_node *n, unsigned i)
{
    uint16_t place;
    memcpy(&place, n->bytes + i * LKV_NODE_SLOT + 4, sizeof(place));
    return place;
}

static inline void lkv_node_set_slot(lkv_node *n, unsigned i, uint32_t head,
                                     unsigned place)
{
    uint16_t short_place = (uint16_t)place;
    memcpy(n->bytes + i * LKV_NODE_SLOT, &head, sizeof(head));
    memcpy(n->bytes + i * LKV_NODE_SLOT + 4, &short_place, sizeof(short_place));
}

static inline lkv_long_key *lkv_node_entry_long(const uint8_t *entry)
{
    void *key;
    memcpy(&key, entry + 1, sizeof(key));
    return key;
}

static inline lkv_bytes lkv_node_entry_key(const lkv_node *n, unsigned i)
{
    const uint8_t *entry = n->bytes + lkv_node_slot_place(n, i);
    if (entry[0] == LKV_NODE_LONG_KEY) {
        const lkv_long_key *key = lkv_node_entry_long(entry);
        return (lkv_bytes){key->bytes, key->size};
    }
    return (lkv_bytes){entry + 1, entry[0]};
}

static inline unsigned lkv_node_stored_size(const uint8_t *entry)
{
    return entry[0] == LKV_NODE_LONG_KEY ? (unsigned)sizeof(void *) : entry[0];
}

static inline unsigned lkv_node_entry_size(const uint8_t *entry)
{
    return 1 + lkv_node_stored_size(entry) + LKV_NODE_PAYLOAD;
}

static inline uint64_t lkv_node_entry_payload(const lkv_node *n, unsigned i)
{
    const uint8_t *entry = n->bytes + lkv_node_slot_place(n, i);
    uint64_t payload;
    memcpy(&payload, entry + 1 + lkv_node_stored_size(entry), sizeof(payload));
    return payload;
}

static inline lkv_place lkv_node_place(const lkv_node *n, unsigned i)
{
    const uint8_t *entry = n->bytes + lkv_node_slot_place(n, i);
    const uint8_t *at = entry + 1 + lkv_node_stored_size(entry);
    lkv_place place;
    memcpy(&place.loc, at, 8);
    memcpy(&place.size, at + 8, 4);
    return place;
}

static inline void lkv_node_put_place(uint8_t *at, lkv_place place)
{
    memcpy(at, &place.loc, 8);
    memcpy(at + 8, &place.size, 4);
}

static inline void lkv_node_set_place(lkv_node *n, unsigned i, lkv_place place)
{
    uint8_t *entry = n->bytes + lkv_node_slot_place(n, i);
    lkv_node_put_place(entry + 1 + lkv_node_stored_size(entry), place);
}

static inline lkv_node *lkv_node_child(const lkv_node *n, unsigned i)
{
    return (lkv_node *)(uintptr_t)lkv_node_entry_payload(n, i);
}

static inline uint32_t lkv_node_head_of(lkv_bytes key, size_t prefix)
{
    const uint8_t *at;
    size_t left = key.size > prefix ? key.size - prefix : 0;
    uint32_t head = 0;
    if (left == 0) {
        return 0; /* nor may a byte be looked for: there may be no data */
    }
    at = (const uint8_t *)key.data + prefix;
    if (left >= 4) {
        return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 |
               at[3];
    }
    for (size_t i = 0; i < left; i++) {
        head |= (uint32_t)at[i] << (24 - 8 * i);
    }
    return head;
}

static inline size_t lkv_node_common(lkv_bytes a, lkv_bytes b)
{
    const uint8_t *x = a.data, *y = b.data;
    size_t size = a.size < b.size ? a.size : b.size;
    size_t i = 0;
    while (i < size && x[i] == y[i]) {
        i++;
    }
    return i;
}

/* The first slot whose key says something: an inner node's slot 0 does not. */
static inline unsigned lkv_node_first_slot(const lkv_node *n)
{
    return n->leaf ? 0 : 1;
}

/* The first slot from lkv_node_first_slot() on whose key is >= `key`. */
static inline unsigned lkv_node_lower_bound(const lkv_node *n, lkv_bytes key,
                                            int *equal)
{
    unsigned low = lkv_node_first_slot(n), high = n->count;
    uint32_t head;

    *equal = 0;
    if (low >= high) {
        return low;
    }
    if (n->prefix > 0) {
        size_t shared = lkv_node_common(
            key, (lkv_bytes){lkv_node_entry_key(n, low).data, n->prefix});
        if (shared < n->prefix) {
            const uint8_t *own = lkv_node_entry_key(n, low).data, *other = key.data;
            return shared < key.size && other[shared] > own[shared] ? high : low;
        }
    }
    head = lkv_node_head_of(key, n->prefix);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        uint32_t at = lkv_node_slot_head(n, middle);
        if (at == head) {
            int rc = lkv_compare(lkv_node_entry_key(n, middle), key);
            if (rc == 0) {
                *equal = 1;
                return middle;
            }
            if (rc < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        } else if (at < head) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* node.c */

/* Puts `entry` in as slot `i`; there is room. */
void lkv_node_insert_entry(lkv_node *n, unsigned i, const uint8_t *entry);
/* The same for the first child of an inner node, whose key says nothing. */
void lkv_node_insert_first(lkv_node *n, const uint8_t *entry);
/* Whether an entry of `size` bytes fits; moves entries together if need be. */
int lkv_node_has_room(lkv_node *n, unsigned size);
void lkv_node_delete_slot(lkv_node *n, unsigned i);
/* Where to cut a full node that takes one more entry at `i`: slots from the result on
 * go right. At either end of the map the node stays whole. */
unsigned lkv_node_cut_at(const lkv_node *n, unsigned i);
/* Drops the slots from `cut` on, or moves them to the empty leaf `to`. */
void lkv_node_cut_off(lkv_node *n, unsigned cut);
void lkv_node_move_right(lkv_node *from, lkv_node *to, unsigned cut);
/* Makes the heads tell as much as they can. */
void lkv_node_set_prefix(lkv_node *n);
/* Makes `n` the child that `entry` points to. */
void lkv_node_point_to(uint8_t *entry, const lkv_node *n);

#endif
