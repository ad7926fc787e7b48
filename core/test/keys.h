/*
 * keys.h - sorted keys with places, for what keeps such: blocks, runs, merges.
 */
#ifndef LKV_TEST_KEYS_H
#define LKV_TEST_KEYS_H

#include "format.h"

enum keys_shape {
    KEYS_NUMBERS, /* 4 random bytes */
    KEYS_ALIKE,   /* 0 to 39 bytes, most of them begin alike */
    KEYS_BEGINS,  /* each begins the next; the first is empty */
    KEYS_LONG,    /* 1 to 3000 bytes that begin alike */
    KEYS_SHAPES
};

typedef struct keys {
    lkv_bytes *key; /* in order, no two alike */
    lkv_place *place;
    size_t count;
} keys;

/* At most `count` keys; some places are tombstones, some at the edges of the format. */
void keys_make(keys *all, enum keys_shape shape, size_t count, uint64_t *random);
/* None, with room for `room`; and one more, which is copied: the caller keeps order. */
void keys_begin(keys *all, size_t room);
void keys_add(keys *all, lkv_bytes key, lkv_place place);
void keys_free(keys *all);

int keys_compare(lkv_bytes a, lkv_bytes b);
/* How many are <= `key`, and whether the last of these is equal. */
size_t keys_rank(const keys *all, lkv_bytes key, int *equal);

/* A key that differs from `key` by little, one for each `how` below KEYS_NEAR; valid
 * until the next call. */
#define KEYS_NEAR 5
lkv_bytes keys_near(lkv_bytes key, int how);

#endif
