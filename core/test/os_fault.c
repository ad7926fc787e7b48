/*
 * os_fault.c - see os_fault.h. A header before each allocation keeps its size.
 */
#include "os_fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef union header {
    size_t size;
    max_align_t align;
} header;

/* Counts a call; whether it is one to fail. */
static int fails(os_fault *fault)
{
    fault->calls++;
    if (fault->fail_at != 0 && (fault->calls == fault->fail_at ||
                                (fault->for_good && fault->calls > fault->fail_at))) {
        fault->failures++;
        return 1;
    }
    return 0;
}

static void release(void *ctx, void *memory)
{
    os_fault *fault = ctx;
    if (memory != NULL) {
        header *at = (header *)memory - 1;
        fault->live--;
        fault->live_bytes -= at->size;
        memset(memory, 0xdd, at->size);
        free(at);
    }
}

static void *resize(void *ctx, void *old, size_t size)
{
    os_fault *fault = ctx;
    header *made;

    if (size == 0) {
        abort(); /* os.h: size > 0 */
    }
    if (fails(fault)) {
        return NULL;
    }
    made = malloc(sizeof(*made) + size);
    if (made == NULL) {
        return NULL;
    }
    made->size = size;
    memset(made + 1, 0xaa, size);
    if (old != NULL) {
        size_t had = ((header *)old - 1)->size;
        memcpy(made + 1, old, had < size ? had : size);
        release(ctx, old);
    }
    fault->live++;
    fault->live_bytes += size;
    return made + 1;
}

static int64_t now_ms(void *ctx)
{
    return ((os_fault *)ctx)->now_ms;
}

static int random_bytes(void *ctx, void *out, size_t size)
{
    os_fault *fault = ctx;
    uint8_t *at = out;
    if (fails(fault)) {
        return EAGAIN;
    }
    while (size-- > 0) {
        *at++ = fault->next_random++;
    }
    return 0;
}

void os_fault_init(os_fault *fault)
{
    memset(fault, 0, sizeof(*fault));
    fault->os = (lkv_os){fault, resize, release, now_ms, random_bytes};
    fault->now_ms = 1000;
}

void os_fault_arm(os_fault *fault, uint64_t nth, int for_good)
{
    fault->calls = 0;
    fault->fail_at = nth;
    fault->for_good = for_good;
    fault->failures = 0;
}
