/*
 * memindex.c - the index in memory by itself (core/memindex.h), beside what memory can
 * do at best.
 *
 *   build/bench-memindex [-l LOOKUPS] [KEYS ...]
 *
 * For each number of keys (100,000, 1,000,000 and 10,000,000): the keys are 16 hex
 * digits, go in one by one in random order, and nothing is sized in advance. Then some
 * are looked up, in random order again: keys that are there, and keys that are not. One
 * line a size:
 *
 *   hit, miss      nanoseconds for a lookup
 *   insert         nanoseconds for a put of a new key, the growth of the tree included
 *   over           bytes of memory for a key, its own 16 left out (8 are the location)
 *   one, two       nanoseconds for one and for two loads of which each needs the one
 *                  before, anywhere in an array as large as the index: a lookup that
 *                  touched memory once, or twice, could take no less
 *   hit/one, /two  how far a lookup is from that
 *
 * Times are CPU time of the thread, which other processes disturb least; keys are made
 * in small batches outside the measured time. The answers are checked: a figure of a
 * wrong answer is worth nothing.
 */
#include "memindex.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_SIZE 16u
#define BATCH 1024u /* keys of 16 KiB: they stay in a cache */
#define LINE 64u    /* bytes of a cache line */

typedef struct batch {
    uint64_t id[BATCH];
    char key[BATCH][KEY_SIZE];
} batch;

typedef struct line {
    uint32_t next;
    uint8_t rest[LINE - sizeof(uint32_t)];
} line;

static void stop(const char *why)
{
    (void)fprintf(stderr, "bench-memindex: %s\n", why);
    exit(1);
}

static double now_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) != 0) {
        stop(strerror(errno));
    }
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The finalizer of SplitMix64 (Steele, Lea and Flood 2014): it takes no two numbers to
 * the same one, so that different ids have different keys. */
static uint64_t mix(uint64_t n)
{
    n += 0x9e3779b97f4a7c15u;
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    return n ^ n >> 31;
}

static void make_keys(batch *b, uint32_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n = mix(b->id[i]);
        for (unsigned k = 0; k < KEY_SIZE; k++, n >>= 4) {
            b->key[i][k] = digits[n & 15];
        }
    }
}

static lkv_bytes key_of(const batch *b, uint32_t i)
{
    return (lkv_bytes){b->key[i], KEY_SIZE};
}

/* Puts in keys 0 to `keys` - 1; nanoseconds for each. */
static double insert(lkv_memindex *index, uint64_t keys)
{
    static batch b;
    double spent = 0;
    for (uint64_t at = 0; at < keys; at += BATCH) {
        uint32_t count = keys - at < BATCH ? (uint32_t)(keys - at) : BATCH;
        double start;
        for (uint32_t i = 0; i < count; i++) {
            b.id[i] = at + i;
        }
        make_keys(&b, count);
        start = now_ns();
        for (uint32_t i = 0; i < count; i++) {
            lkv_place place = {at + i, 1}, old;
            if (lkv_memindex_put(index, key_of(&b, i), place, &old) != LKV_OK ||
                old.loc != LKV_NOWHERE) {
                stop("a new key does not go in");
            }
        }
        spent += now_ns() - start;
    }
    return spent / (double)keys;
}

/* Looks keys up; `first` is 0 for those that are there, and the number of keys for as
 * many that are not. */
static double look_up(const lkv_memindex *index, uint64_t keys, uint64_t first,
                      uint64_t lookups)
{
    static batch b;
    uint64_t done = 0;
    double spent = 0;
    for (; done < lookups; done += BATCH) {
        uint64_t wrong = 0;
        double start;
        for (uint32_t i = 0; i < BATCH; i++) {
            b.id[i] = first + mix(~(done + i)) % keys;
        }
        make_keys(&b, BATCH);
        start = now_ns();
        for (uint32_t i = 0; i < BATCH; i++) {
            lkv_loc should = first == 0 ? b.id[i] : LKV_NOWHERE;
            wrong += lkv_memindex_get(index, key_of(&b, i)).loc != should;
        }
        spent += now_ns() - start;
        if (wrong > 0) {
            stop("a lookup has the wrong answer");
        }
    }
    return spent / (double)done;
}

/* One cycle through all lines, in random order (Sattolo 1986). */
static line *make_cycle(uint32_t lines)
{
    line *array = malloc((size_t)lines * sizeof(*array));
    if (array == NULL) {
        stop("no memory for the array");
        return NULL;
    }
    for (uint32_t i = 0; i < lines; i++) {
        array[i].next = i;
    }
    for (uint32_t i = lines - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(mix(i) % i);
        uint32_t next = array[i].next;
        array[i].next = array[other].next;
        array[other].next = next;
    }
    return array;
}

/* Nanoseconds for `loads` loads of which each needs the one before; `*at` moves. */
static double chase(const line *array, uint32_t *at, uint64_t times, unsigned loads)
{
    uint32_t i = *at;
    double start = now_ns();
    for (uint64_t turn = 0; turn < times; turn++) {
        i = array[i].next;
        if (loads == 2) {
            i = array[i].next;
        }
    }
    *at = i;
    return (now_ns() - start) / (double)times;
}

static void measure(uint64_t keys, uint64_t lookups)
{
    lkv_memindex *index;
    double put, hit, miss, over, one, two;
    uint64_t memory;
    uint32_t lines, at = 0;
    line *array;

    if (lkv_memindex_open(&lkv_os_posix, &index) != LKV_OK) {
        stop("no memory for the index");
    }
    put = insert(index, keys);
    memory = lkv_memindex_memory(index);
    over = (double)memory / (double)keys - KEY_SIZE;
    (void)look_up(index, keys, 0, lookups / 10); /* caches and TLB as in long use */
    hit = look_up(index, keys, 0, lookups);
    miss = look_up(index, keys, keys, lookups);
    lkv_memindex_close(index);

    lines = memory / LINE < UINT32_MAX ? (uint32_t)(memory / LINE) : UINT32_MAX;
    array = make_cycle(lines);
    (void)chase(array, &at, lookups / 10, 1);
    one = chase(array, &at, lookups, 1);
    two = chase(array, &at, lookups, 2);
    if (at >= lines) {
        stop("the cycle leads out of the array");
    }
    free(array);
    printf("memindex %9llu keys: hit %4.0f ns, miss %4.0f ns, insert %4.0f ns, over "
           "%4.1f bytes; one %4.0f ns, two %4.0f ns; hit/one %.2f, hit/two %.2f\n",
           (unsigned long long)keys, hit, miss, put, over, one, two, hit / one,
           hit / two);
    (void)fflush(stdout);
}

static uint64_t number(const char *text)
{
    char *rest;
    unsigned long long n;
    errno = 0;
    n = strtoull(text, &rest, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *rest != 0 || n == 0 ||
        n > 1000000000) {
        stop("a number from 1 to 1000000000 is expected");
    }
    return n;
}

int main(int argc, char **argv)
{
    static const uint64_t sizes[] = {100000, 1000000, 10000000};
    uint64_t lookups = 1000000;
    int i = 1;

    if (argc > 1 && argv[1][0] == '-') {
        if (argc < 3 || strcmp(argv[1], "-l") != 0) {
            stop("usage: bench-memindex [-l LOOKUPS] [KEYS ...]");
        }
        lookups = number(argv[2]);
        i = 3;
    }
    for (size_t k = 0; i == argc && k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        measure(sizes[k], lookups);
    }
    for (; i < argc; i++) {
        measure(number(argv[i]), lookups);
    }
    return 0;
}
