/*
 * map.h - the truth beside a store under test: a sorted array of rows, so plain that it
 * is right; a copy is an assignment.
 */
#ifndef LKV_FUZZ_MAP_H
#define LKV_FUZZ_MAP_H

#include "litekv.h"

#define MAP_MAX 256u

typedef struct map {
    size_t count;
    lkv_row row[MAP_MAX]; /* the bytes are the caller's */
} map;

/* The first row whose key is >= `key`; `*equal` says whether it is that key's. */
size_t map_find(const map *m, lkv_bytes key, int *equal);
/* MUST have room: callers count what they put in. */
void map_put(map *m, const lkv_row *row);
void map_remove(map *m, lkv_bytes key);

int map_same_bytes(lkv_bytes a, lkv_bytes b);
/* Bytes of the rows as records in the plain form. */
uint64_t map_bytes(const map *m);
/* Whether they hold the same rows. */
int map_is_equal(const map *a, const map *b);
/* Aborts unless `store` answers every question as `m` does. */
void map_must_be(const map *m, lkv_store *store);

#endif
