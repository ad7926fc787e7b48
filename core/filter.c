/*
 * filter.c - see filter.h. Nine bits at a time of the hash times an odd number pick the
 * bits of a line.
 */
#include "filter.h"

#define BITS_A_KEY 10u
#define PROBES 6

uint64_t lkv_filter_hash(lkv_bytes key)
{
    return lkv_hash_once(key.data, key.size);
}

uint32_t lkv_filter_lines(uint64_t keys)
{
    uint64_t lines =
        (keys * BITS_A_KEY + LKV_FILTER_LINE * 8 - 1) / (LKV_FILTER_LINE * 8);
    return lines == 0 ? 1 : (uint32_t)lines;
}

static uint64_t bits_of(uint64_t hash)
{
    return hash * 0x9e3779b97f4a7c15u;
}

void lkv_filter_add(uint8_t *lines, uint32_t count, uint64_t hash)
{
    uint8_t *line = lines + lkv_filter_line(count, hash);
    uint64_t bits = bits_of(hash);
    for (int i = 0; i < PROBES; i++, bits >>= 9) {
        line[(bits >> 3) & 63] |= (uint8_t)(1u << (bits & 7));
    }
}

int lkv_filter_has(const uint8_t *lines, uint32_t count, uint64_t hash)
{
    const uint8_t *line = lines + lkv_filter_line(count, hash);
    uint64_t bits = bits_of(hash);
    unsigned all = 1;
    for (int i = 0; i < PROBES; i++, bits >>= 9) { /* to the end: a guess costs more */
        all &= (unsigned)line[(bits >> 3) & 63] >> (bits & 7);
    }
    return (int)all;
}
