/*
 * filter.h - a filter for keys that are not there: a Bloom filter whose bits for one
 * key all lie in one cache line (Putze, Sanders, Singler: "Cache-, Hash- and
 * Space-Efficient Bloom Filters", 2007). Ten bits a key let about 1 absent key in 80
 * pass.
 */
#ifndef LKV_FILTER_H
#define LKV_FILTER_H

#include "format.h"

#define LKV_FILTER_LINE 64u /* bytes */

/* What the filter knows of a key: XXH64 of its bytes. */
uint64_t lkv_filter_hash(lkv_bytes key);

/* Where the line of such a hash is, in bytes: the high half picks it. */
static inline size_t lkv_filter_line(uint32_t count, uint64_t hash)
{
    return (size_t)((hash >> 32) * count >> 32) * LKV_FILTER_LINE;
}

/* Lines for so many keys. */
uint32_t lkv_filter_lines(uint64_t keys);

/* `lines` is `count` > 0 lines, zero before the first key is added. */
void lkv_filter_add(uint8_t *lines, uint32_t count, uint64_t hash);
/* 0 when the key was never added. */
int lkv_filter_has(const uint8_t *lines, uint32_t count, uint64_t hash);

#endif
