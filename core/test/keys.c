/*
 * keys.c - see keys.h.
 */
#include "keys.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST 100000u

int keys_compare(lkv_bytes a, lkv_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int rc = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return rc != 0 ? rc : (a.size > b.size) - (a.size < b.size);
}

static int compare(const void *a, const void *b)
{
    return keys_compare(*(const lkv_bytes *)a, *(const lkv_bytes *)b);
}

static uint8_t *allocate(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL) {
        abort();
    }
    return bytes;
}

static lkv_bytes make_key(enum keys_shape shape, size_t i, uint64_t *random)
{
    size_t size = shape == KEYS_NUMBERS  ? 4
                  : shape == KEYS_ALIKE  ? check_below(random, 40)
                  : shape == KEYS_BEGINS ? i
                                         : 1 + check_below(random, 3000);
    uint8_t *bytes = allocate(size);
    memset(bytes, 'k', size);
    for (size_t k = size < 4 ? 0 : size - 4; k < size && shape != KEYS_BEGINS; k++) {
        bytes[k] = (uint8_t)check_random(random);
    }
    return (lkv_bytes){bytes, size};
}

static lkv_place make_place(size_t i, uint64_t *random)
{
    static const lkv_place ends[] = {
        {0, LKV_RECORD_HEADER},
        {LKV_LOC_TOMBSTONE, LKV_RECORD_HEADER},
        {3ull << 61 | (uint64_t)(LKV_RUN_FIRST - 1) << 31 | LKV_SEGMENT_MAX,
         LKV_SEGMENT_MAX}};
    lkv_loc loc = lkv_loc_make((unsigned)check_below(random, 4),
                               (uint32_t)check_below(random, LKV_RUN_FIRST),
                               (uint32_t)check_below(random, LKV_SEGMENT_MAX));
    if (i < CASES(ends) || check_below(random, 5) == 0) {
        return ends[i % CASES(ends)];
    }
    return (lkv_place){loc, LKV_RECORD_HEADER + (uint32_t)i * 1001 % 100000};
}

void keys_begin(keys *all, size_t room)
{
    all->count = 0;
    all->key = calloc(room + 1, sizeof(*all->key));
    all->place = calloc(room + 1, sizeof(*all->place));
    if (all->key == NULL || all->place == NULL) {
        abort();
    }
}

void keys_add(keys *all, lkv_bytes key, lkv_place place)
{
    uint8_t *bytes = allocate(key.size);
    if (key.size > 0) {
        memcpy(bytes, key.data, key.size);
    }
    all->key[all->count] = (lkv_bytes){bytes, key.size};
    all->place[all->count++] = place;
}

void keys_make(keys *all, enum keys_shape shape, size_t count, uint64_t *random)
{
    size_t kept = 0;
    keys_begin(all, count);
    for (size_t i = 0; i < count; i++) {
        all->key[i] = make_key(shape, i, random);
    }
    qsort(all->key, count, sizeof(all->key[0]), compare);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && keys_compare(all->key[kept - 1], all->key[i]) == 0) {
            free((void *)(uintptr_t)all->key[i].data);
        } else {
            all->key[kept] = all->key[i];
            all->place[kept] = make_place(kept, random);
            kept++;
        }
    }
    all->count = kept;
}

void keys_free(keys *all)
{
    for (size_t i = 0; i < all->count; i++) {
        free((void *)(uintptr_t)all->key[i].data);
    }
    free(all->key);
    free(all->place);
    memset(all, 0, sizeof(*all));
}

size_t keys_rank(const keys *all, lkv_bytes key, int *equal)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (keys_compare(all->key[middle], key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *equal = low > 0 && keys_compare(all->key[low - 1], key) == 0;
    return low;
}

lkv_bytes keys_near(lkv_bytes key, int how)
{
    static uint8_t room[LONGEST + 1];
    size_t size = key.size;
    if (size > LONGEST) {
        abort();
    }
    memcpy(room, size > 0 ? key.data : "", size);
    if (how == 0) {
        room[size++] = 0;
    } else if (how == 1 && size > 0) {
        size--;
    } else if (how == 2 && size > 0) {
        room[size - 1]++;
    } else if (how == 3 && size > 0) {
        room[size - 1]--;
    } else if (how == 4 && size > 0) {
        room[size / 2] ^= 0x80;
    }
    return (lkv_bytes){room, size};
}
