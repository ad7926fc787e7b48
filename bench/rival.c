/*
 * rival.c - what the rivals share.
 */
#include "rivals.h"

#include <stdlib.h>
#include <string.h>

static volatile unsigned kept;

void *rival_memory(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        bench_fail("memory", "there is none");
    }
    return memory;
}

void rival_take(unsigned char *value, const void *found, size_t size)
{
    if (size != BENCH_VALUE_SIZE) {
        bench_fail("get", "a value has the wrong size");
    }
    memcpy(value, found, BENCH_VALUE_SIZE);
}

void rival_keep(unsigned sum)
{
    kept += sum;
}
