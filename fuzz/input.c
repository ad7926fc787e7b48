/*
 * input.c - see input.h.
 */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY (1u << 20)
#define BLOCK_HEADER 16u /* keeps what follows aligned */

static uint8_t memory[MEMORY];
static size_t memory_used;

void lkv_fuzz_fail(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

uint8_t input_byte(input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

uint32_t input_u32(input *in)
{
    uint32_t n = 0;
    for (int i = 0; i < 4; i++) {
        n |= (uint32_t)input_byte(in) << (8 * i);
    }
    return n;
}

void input_take(input *in, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = input_byte(in);
    }
}

void input_reset(void)
{
    memory_used = 0;
}

uint8_t *input_memory(size_t size)
{
    uint8_t *at = memory + memory_used;
    if (size > MEMORY - memory_used) {
        return NULL;
    }
    memory_used += size;
    return at;
}

lkv_bytes input_key(input *in)
{
    uint8_t how = input_byte(in);
    size_t size;
    uint8_t *at;

    if (how < 128) { /* any bytes, also none */
        size = how % 10u;
    } else if (how < 224) { /* one of few: keys meet again */
        size = 3;
    } else { /* around the longest key that stands inside a node of the index */
        size = 180u + (how & 31u) * 2u;
    }
    at = input_memory(size);
    if (at == NULL) {
        return (lkv_bytes){NULL, 0};
    }
    if (how < 128) {
        input_take(in, at, size);
    } else if (how < 224) {
        at[0] = 'k';
        at[1] = (uint8_t)('0' + (how & 3));
        at[2] = (uint8_t)('a' + (how >> 2 & 15));
    } else {
        memset(at, 'p', size);
        at[size - 1] = input_byte(in);
    }
    return (lkv_bytes){at, size};
}

lkv_bytes input_value(input *in)
{
    uint8_t how = input_byte(in);
    size_t size = how < 128 ? how % 20u : how < 240 ? how - 64u : (how - 239u) * 60u;
    uint8_t *at = input_memory(size);

    if (at == NULL) {
        return (lkv_bytes){NULL, 0};
    }
    if (how < 128) {
        input_take(in, at, size);
    } else {
        memset(at, how, size);
    }
    return (lkv_bytes){at, size};
}

/* Before each block stands its size. */
static void *resize(void *ctx, void *old, size_t size)
{
    bounded_os *bounded = ctx;
    uint8_t *start = old == NULL ? NULL : (uint8_t *)old - BLOCK_HEADER;
    uint8_t *moved;
    uint64_t had = 0, now = size;

    MUST(size > 0);
    if (bounded->fail_in > 0 && --bounded->fail_in == 0) {
        bounded->failed = 1;
        return NULL;
    }
    if (start != NULL) {
        memcpy(&had, start, sizeof(had));
    }
    MUST(now <= bounded->limit && bounded->held - had <= bounded->limit - now);
    moved = malloc(BLOCK_HEADER + size); /* moves always: old views go bad at once */
    MUST(moved != NULL);
    memcpy(moved, &now, sizeof(now));
    if (start != NULL) {
        memcpy(moved + BLOCK_HEADER, start + BLOCK_HEADER, had < size ? had : size);
        free(start);
    }
    bounded->held = bounded->held - had + now;
    return moved + BLOCK_HEADER;
}

static void release(void *ctx, void *block)
{
    bounded_os *bounded = ctx;
    if (block != NULL) {
        uint8_t *start = (uint8_t *)block - BLOCK_HEADER;
        uint64_t had;
        memcpy(&had, start, sizeof(had));
        bounded->held -= had;
        free(start);
    }
}

static int64_t now_ms(void *ctx)
{
    (void)ctx;
    return 1700000000000;
}

static int random_bytes(void *ctx, void *out, size_t size)
{
    bounded_os *bounded = ctx;
    uint8_t *at = out;
    for (size_t i = 0; i < size; i++) {
        at[i] = bounded->random++;
    }
    return 0;
}

void bounded_os_init(bounded_os *bounded, uint64_t limit)
{
    memset(bounded, 0, sizeof(*bounded));
    bounded->os = (lkv_os){.ctx = bounded,
                           .resize = resize,
                           .release = release,
                           .now_ms = now_ms,
                           .random = random_bytes};
    bounded->limit = limit;
}
