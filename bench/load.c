/*
 * load.c - fills a large table in a bearable time, so that it is like one that was
 * filled in random order.
 *
 * A random insert into a B-tree that is larger than the page cache reads a page and
 * writes one: ten million of them take half an hour. In key order they take a minute,
 * but leave every page full, and then each insert that follows splits one, which no
 * table in use does. So the keys come in passes: the first half of them in its order,
 * then a quarter in its order, an eighth, and the rest. They fall between those that
 * are there, everywhere in the tree, and split its pages as random inserts would, while
 * all that goes to one page comes at once.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define PASSES 6
/* Large enough that a commit's pages hold many rows each, small enough for the WAL. */
#define BATCH 50000

static uint64_t *order; /* numbers of keys, those of a pass in the order of the keys */

static int by_key(const void *a, const void *b)
{
    char x[BENCH_KEY_SIZE], y[BENCH_KEY_SIZE];
    bench_key(*(const uint64_t *)a, x);
    bench_key(*(const uint64_t *)b, y);
    return memcmp(x, y, sizeof(x));
}

static uint64_t in_passes(uint64_t i, uint64_t keys)
{
    (void)keys;
    return order[i];
}

double bench_load(bench *b)
{
    uint64_t from = 0;
    double took;

    order = malloc((size_t)b->keys * sizeof(*order));
    if (order == NULL) {
        bench_fail("memory", "too many keys");
        return 0;
    }
    for (uint64_t i = 0; i < b->keys; i++) {
        order[i] = i;
    }
    for (int pass = 1; pass <= PASSES; pass++) {
        uint64_t left = b->keys - from;
        uint64_t count = pass < PASSES ? left / 2 : left;
        qsort(order + from, (size_t)count, sizeof(*order), by_key);
        from += count;
    }
    took = bench_run(b, (operation){BENCH_INSERT, b->keys, BATCH, in_passes, 0, 1});
    free(order);
    order = NULL;
    return took;
}
