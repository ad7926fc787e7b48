/*
 * cache.c - blocks by id in a hash table, and a clock hand that goes round over them.
 *
 * The hand takes one from what a slot is to be spared, and the block of one that has
 * nothing left. The memory of a victim of the same size is taken over by the block that
 * replaces it.
 *
 * A block that is not favoured takes the place of the last such block, if nobody asked
 * for that again. So reads here and there of more than the cache holds turn nothing
 * over; one in ADMITTED stays all the same, so that blocks that are asked for often
 * come to stay (bimodal insertion: Qureshi and others, "Adaptive Insertion Policies for
 * High Performance Caching", 2007).
 */
#include "cache.h"

#include <string.h>

#define NO_SLOT UINT32_MAX
#define FIRST_SLOTS 64u

typedef struct slot {
    uint64_t id;
    uint8_t *bytes; /* NULL: the slot is free */
    uint32_t size;
    uint32_t next;   /* in the chain of its hash, or of the free slots */
    uint32_t spared; /* how often the hand will pass */
} slot;

#define SPARED_FAVOURED 15u
#define ADMITTED 8u

#define SLOT_SIZE (sizeof(slot) + sizeof(uint32_t)) /* and the head of a chain */

struct lkv_cache {
    const lkv_os *os;
    uint64_t limit, memory;
    slot *slots;
    uint32_t *heads;  /* of the chains, behind the slots; as many, a power of two */
    uint32_t room;    /* slots in memory */
    uint32_t touched; /* slots ever in use: those above are new */
    uint32_t free;
    uint32_t count;
    uint32_t hand;
    uint64_t favoured; /* the least id */
    uint32_t
        passing; /* slot of the last block that came in and is not favoured; or none */
    uint32_t passed; /* how many such took each other's place */
};

int lkv_cache_open(const lkv_os *os, uint64_t limit, lkv_cache **out)
{
    lkv_cache *cache = lkv_os_alloc(os, sizeof(*cache));
    if (cache == NULL) {
        return LKV_NOMEM;
    }
    memset(cache, 0, sizeof(*cache));
    cache->os = os;
    cache->limit = limit;
    cache->memory = sizeof(*cache);
    cache->free = NO_SLOT;
    cache->favoured = UINT64_MAX;
    cache->passing = NO_SLOT;
    *out = cache;
    return LKV_OK;
}

void lkv_cache_close(lkv_cache *cache)
{
    if (cache != NULL) {
        lkv_cache_drop(cache, 0, UINT64_MAX);
        lkv_os_free(cache->os, cache->slots);
        lkv_os_free(cache->os, cache);
    }
}

void lkv_cache_favour(lkv_cache *cache, uint64_t first)
{
    cache->favoured = first;
}

static uint32_t *head_of(const lkv_cache *cache, uint64_t id)
{
    uint64_t mixed =
        id * 0x9e3779b97f4a7c15u; /* Fibonacci hashing, Knuth, TAOCP 3, 6.4 */
    return &cache->heads[(mixed >> 32) & (cache->room - 1)];
}

static uint32_t find(const lkv_cache *cache, uint64_t id, uint32_t hint)
{
    uint32_t i = hint;
    if (i < cache->touched && cache->slots[i].bytes != NULL &&
        cache->slots[i].id == id) {
        return i;
    }
    i = cache->room == 0 ? NO_SLOT : *head_of(cache, id);
    while (i != NO_SLOT && cache->slots[i].id != id) {
        i = cache->slots[i].next;
    }
    return i;
}

lkv_bytes lkv_cache_find(lkv_cache *cache, uint64_t id, uint32_t *hint)
{
    uint32_t i = find(cache, id, *hint);
    if (i == NO_SLOT) {
        return (lkv_bytes){NULL, 0};
    }
    cache->slots[i].spared = id >= cache->favoured ? SPARED_FAVOURED : 1;
    *hint = i;
    return (lkv_bytes){cache->slots[i].bytes, cache->slots[i].size};
}

static void unlink_slot(lkv_cache *cache, uint32_t i)
{
    uint32_t *link = head_of(cache, cache->slots[i].id);
    while (*link != i) {
        link = &cache->slots[*link].next;
    }
    *link = cache->slots[i].next;
}

/* Takes the block out and hands its memory over. */
static uint8_t *take_out(lkv_cache *cache, uint32_t i)
{
    slot *at = &cache->slots[i];
    uint8_t *bytes = at->bytes;
    unlink_slot(cache, i);
    cache->passing = cache->passing == i ? NO_SLOT : cache->passing;
    at->bytes = NULL;
    at->next = cache->free;
    cache->free = i;
    cache->count--;
    cache->memory -= at->size;
    return bytes;
}

/* The slot to be given up next for a block that is favoured or not: there is one. */
static uint32_t victim(lkv_cache *cache, int favoured)
{
    uint32_t passing = cache->passing;
    if (!favoured && passing != NO_SLOT && cache->slots[passing].spared == 0 &&
        ++cache->passed % ADMITTED != 0) {
        return passing;
    }
    for (;;) {
        uint32_t i = cache->hand++ % cache->touched;
        slot *at = &cache->slots[i];
        if (at->bytes != NULL && at->spared == 0) {
            return i;
        }
        at->spared -= at->spared > 0;
    }
}

static int is_full(const lkv_cache *cache)
{
    return cache->free == NO_SLOT && cache->touched == cache->room;
}

/* Bytes that a block of `size` adds, larger tables included where it needs them. */
static uint64_t cost(const lkv_cache *cache, size_t size)
{
    uint64_t slots = !is_full(cache) ? 0 : cache->room == 0 ? FIRST_SLOTS : cache->room;
    return slots * SLOT_SIZE + size;
}

static int grow(lkv_cache *cache)
{
    uint32_t room = cache->room == 0 ? FIRST_SLOTS : cache->room * 2;
    slot *slots = lkv_os_resize(cache->os, cache->slots, room * SLOT_SIZE);
    uint32_t *heads;

    if (slots == NULL) {
        return LKV_NOMEM;
    }
    heads = (uint32_t *)(void *)(slots + room);
    cache->memory += (room - cache->room) * SLOT_SIZE;
    cache->slots = slots;
    cache->heads = heads;
    cache->room = room;
    for (uint32_t i = 0; i < room; i++) {
        heads[i] = NO_SLOT;
    }
    for (uint32_t i = 0; i < cache->touched; i++) {
        if (slots[i].bytes != NULL) {
            uint32_t *head = head_of(cache, slots[i].id);
            slots[i].next = *head;
            *head = i;
        }
    }
    return LKV_OK;
}

static uint32_t take_slot(lkv_cache *cache)
{
    uint32_t i = cache->free;
    if (i == NO_SLOT) {
        return cache->touched++;
    }
    cache->free = cache->slots[i].next;
    return i;
}

int lkv_cache_put(lkv_cache *cache, uint64_t id, lkv_bytes block, lkv_bytes *copy)
{
    uint8_t *bytes = NULL;
    size_t have = 0;
    uint32_t i = find(cache, id, NO_SLOT);
    int favoured = id >= cache->favoured;
    slot *at;

    /* The old block goes first: whatever fails then, it is not found again. */
    while (i != NO_SLOT || (cache->count > 0 &&
                            cache->memory + cost(cache, block.size) > cache->limit)) {
        i = i == NO_SLOT ? victim(cache, favoured) : i;
        lkv_os_free(cache->os, bytes);
        have = cache->slots[i].size;
        bytes = take_out(cache, i);
        i = NO_SLOT;
    }
    if (is_full(cache) && grow(cache) != LKV_OK) {
        lkv_os_free(cache->os, bytes);
        return LKV_NOMEM;
    }
    if (bytes == NULL || have != block.size) {
        lkv_os_free(cache->os, bytes);
        bytes = lkv_os_alloc(cache->os, block.size == 0 ? 1 : block.size);
        if (bytes == NULL) {
            return LKV_NOMEM;
        }
    }
    if (block.size > 0) {
        memcpy(bytes, block.data, block.size);
    }
    i = take_slot(cache);
    at = &cache->slots[i];
    at->id = id;
    at->bytes = bytes;
    at->size = (uint32_t)block.size;
    at->spared = (uint32_t)favoured; /* once used is not yet used again */
    cache->passing = favoured ? cache->passing : i;
    at->next = *head_of(cache, id);
    *head_of(cache, id) = i;
    cache->count++;
    cache->memory += block.size;
    *copy = (lkv_bytes){bytes, block.size};
    return LKV_OK;
}

void lkv_cache_drop(lkv_cache *cache, uint64_t first, uint64_t last)
{
    if (last - first < cache->count) {
        for (uint64_t id = first;; id++) {
            uint32_t i = find(cache, id, NO_SLOT);
            if (i != NO_SLOT) {
                lkv_os_free(cache->os, take_out(cache, i));
            }
            if (id == last) {
                return;
            }
        }
    }
    for (uint32_t i = 0; i < cache->touched && cache->count > 0; i++) {
        if (cache->slots[i].bytes != NULL && cache->slots[i].id >= first &&
            cache->slots[i].id <= last) {
            lkv_os_free(cache->os, take_out(cache, i));
        }
    }
}

uint64_t lkv_cache_memory(const lkv_cache *cache)
{
    return cache->memory;
}

uint64_t lkv_cache_limit(const lkv_cache *cache)
{
    return cache->limit;
}
