/*
 * diff_random.h - the random numbers of the differential test.
 *
 * splitmix64 (Steele, Lea, Flood 2014): one word of state, every seed as good as any
 * other, the same numbers on every machine. Or, where bytes are told, those: a choice
 * takes one byte, or two where one cannot tell all of it, and zeros follow the last.
 * So a fuzzer that changes a byte changes one choice.
 */
#ifndef LKV_DIFF_RANDOM_H
#define LKV_DIFF_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct diff_random {
    uint64_t state;
    const uint8_t *told; /* NULL: nothing is told */
    size_t left;
} diff_random;

static inline uint64_t diff_next(diff_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline int diff_told(diff_random *random)
{
    if (random->left == 0) {
        return 0;
    }
    random->left--;
    return *random->told++;
}

/* One of 0 .. n - 1. */
static inline int diff_below(diff_random *random, int n)
{
    if (random->told != NULL) {
        int byte = diff_told(random);
        return (n > 256 ? byte << 8 | diff_told(random) : byte) % n;
    }
    return (int)((diff_next(random) >> 33) % (uint64_t)n);
}

static inline int diff_between(diff_random *random, int low, int high)
{
    return low + diff_below(random, high - low + 1);
}

static inline bool diff_chance(diff_random *random, int percent)
{
    return diff_below(random, 100) < percent;
}

#define DIFF_PICK(random, array)                                                       \
    ((array)[diff_below((random), (int)(sizeof(array) / sizeof((array)[0])))])

#endif
