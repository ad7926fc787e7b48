/*
 * node.c - changing a node; node.h tells its bytes.
 */
#include "node.h"

void lkv_node_set_prefix(lkv_node *n)
{
    unsigned first = lkv_node_first_slot(n);
    size_t prefix = 0;
    if (n->count > first + 1) {
        prefix = lkv_node_common(lkv_node_entry_key(n, first),
                                 lkv_node_entry_key(n, n->count - 1u));
        prefix = prefix > UINT16_MAX ? UINT16_MAX : prefix;
    }
    n->prefix = (uint16_t)prefix;
    for (unsigned i = first; i < n->count; i++) {
        lkv_node_set_slot(n, i, lkv_node_head_of(lkv_node_entry_key(n, i), prefix),
                          lkv_node_slot_place(n, i));
    }
}

/* Puts `entry` in as slot `i`; there is room. */
void lkv_node_insert_entry(lkv_node *n, unsigned i, const uint8_t *entry)
{
    unsigned size = lkv_node_entry_size(entry);
    lkv_bytes key;

    memmove(n->bytes + (i + 1) * LKV_NODE_SLOT, n->bytes + i * LKV_NODE_SLOT,
            (n->count - i) * LKV_NODE_SLOT);
    n->heap = (uint16_t)(n->heap - size);
    memcpy(n->bytes + n->heap, entry, size);
    lkv_node_set_slot(n, i, 0, n->heap);
    n->count++;
    key = lkv_node_entry_key(n, i);
    if (i < lkv_node_first_slot(n)) {
        return;
    }
    /* A new key with less in common changes all heads; now and then they are made to
     * tell more. */
    if ((n->count & (n->count - 1)) == 0 ||
        (n->prefix > 0 &&
         lkv_node_common(key,
                         lkv_node_entry_key(n, i + 1 < n->count ? i + 1u : i - 1u)) <
             n->prefix)) {
        lkv_node_set_prefix(n);
    } else {
        lkv_node_set_slot(n, i, lkv_node_head_of(key, n->prefix), n->heap);
    }
}

static unsigned free_room(const lkv_node *n)
{
    return n->heap - n->count * LKV_NODE_SLOT;
}

/* Moves the entries together, so that dead bytes become room. */
static void compact(lkv_node *n)
{
    uint8_t old[LKV_NODE_SIZE];
    unsigned heap = LKV_NODE_ROOM;
    memcpy(old, n->bytes, LKV_NODE_ROOM);
    for (unsigned i = 0; i < n->count; i++) {
        const uint8_t *entry = old + lkv_node_slot_place(n, i);
        unsigned size = lkv_node_entry_size(entry);
        heap -= size;
        memcpy(n->bytes + heap, entry, size);
        lkv_node_set_slot(n, i, lkv_node_slot_head(n, i), heap);
    }
    n->heap = (uint16_t)heap;
    n->dead = 0;
}

int lkv_node_has_room(lkv_node *n, unsigned size)
{
    if (free_room(n) >= size + LKV_NODE_SLOT) {
        return 1;
    }
    if (free_room(n) + n->dead < size + LKV_NODE_SLOT) {
        return 0;
    }
    compact(n);
    return 1;
}

void lkv_node_delete_slot(lkv_node *n, unsigned i)
{
    n->dead =
        (uint16_t)(n->dead + lkv_node_entry_size(n->bytes + lkv_node_slot_place(n, i)));
    n->count--;
    memmove(n->bytes + i * LKV_NODE_SLOT, n->bytes + (i + 1) * LKV_NODE_SLOT,
            (n->count - i) * LKV_NODE_SLOT);
    if (n->count == 0) {
        n->heap = LKV_NODE_ROOM;
        n->dead = n->prefix = 0;
    }
}

/* Where to cut a full node that takes one more entry at `i`: slots from the result on
 * go right. At either end of the map the node stays whole. */
unsigned lkv_node_cut_at(const lkv_node *n, unsigned i)
{
    unsigned half = 0, cut = 0;
    if (i == n->count && n->next == NULL) {
        return n->count;
    }
    if (n->leaf && i == 0 && n->prev == NULL) {
        return 0;
    }
    while (cut < n->count && half < (LKV_NODE_ROOM - n->dead - free_room(n)) / 2) {
        half += LKV_NODE_SLOT +
                lkv_node_entry_size(n->bytes + lkv_node_slot_place(n, cut++));
    }
    if (cut < 1) {
        cut = 1;
    }
    return cut < n->count ? cut : n->count - 1u;
}

/* Drops the slots from `cut` on. */
void lkv_node_cut_off(lkv_node *n, unsigned cut)
{
    while (n->count > cut) {
        lkv_node_delete_slot(n, n->count - 1u);
    }
    compact(n);
    lkv_node_set_prefix(n);
}

void lkv_node_point_to(uint8_t *entry, const lkv_node *n)
{
    uint64_t payload = (uint64_t)(uintptr_t)n;
    memcpy(entry + 1 + lkv_node_stored_size(entry), &payload, sizeof(payload));
}

/* The child of `entry` as the first of an inner node, where its key says nothing. */
void lkv_node_insert_first(lkv_node *n, const uint8_t *entry)
{
    uint8_t first[1 + LKV_NODE_PAYLOAD] = {0};
    memcpy(first + 1, entry + 1 + lkv_node_stored_size(entry), 8);
    lkv_node_insert_entry(n, 0, first);
}

void lkv_node_move_right(lkv_node *from, lkv_node *to, unsigned cut)
{
    for (unsigned i = cut; i < from->count; i++) {
        lkv_node_insert_entry(to, i - cut, from->bytes + lkv_node_slot_place(from, i));
    }
    lkv_node_cut_off(from, cut);
    lkv_node_set_prefix(to);
}
