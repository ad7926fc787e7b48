/*
 * os.h - every allocation and system call that core makes, as one struct of functions.
 *
 * The struct is handed in when a store is opened, so that a test can fail each call in
 * turn and an extension can account its memory where its host does. `ctx` is the first
 * argument of each function.
 */
#ifndef LKV_OS_H
#define LKV_OS_H

#include <stddef.h>
#include <stdint.h>

typedef struct lkv_os {
    void *ctx;
    /* At least `size` > 0 bytes aligned for any type, holding what `old` held (as far
     * as it fits) when `old` is not NULL; NULL when there is no memory, and then `old`
     * still stands. */
    void *(*resize)(void *ctx, void *old, size_t size);
    /* Gives memory of `resize` back; NULL is allowed. */
    void (*release)(void *ctx, void *memory);
    /* Milliseconds since 1970-01-01 UTC by the wall clock. */
    int64_t (*now_ms)(void *ctx);
    /* Fills `out` with `size` unpredictable bytes; 0, or an errno. */
    int (*random)(void *ctx, void *out, size_t size);
} lkv_os;

/* The functions of the C library and the kernel. */
extern const lkv_os lkv_os_posix;

static inline void *lkv_os_resize(const lkv_os *os, void *old, size_t size)
{
    return os->resize(os->ctx, old, size);
}

static inline void *lkv_os_alloc(const lkv_os *os, size_t size)
{
    return os->resize(os->ctx, NULL, size);
}

static inline void lkv_os_free(const lkv_os *os, void *memory)
{
    os->release(os->ctx, memory);
}

#endif
