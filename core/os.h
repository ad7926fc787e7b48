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

/* How a file is opened. */
enum lkv_os_open {
    LKV_OS_READ, /* a regular file that is there; EINVAL when it is anything else */
    LKV_OS_READ_SELF, /* the same, and no symbolic link to one: ELOOP */
    LKV_OS_CREATE,    /* to write: one that is not there yet; EEXIST when it is */
    LKV_OS_DIRECTORY, /* to sync */
};

/* Files. Each function returns 0 or an errno; `file` is a number that open gave. */
typedef struct lkv_os_files {
    int (*open)(void *ctx, const char *path, enum lkv_os_open how, int *file);
    int (*size)(void *ctx, int file, uint64_t *size);
    /* Reads `size` bytes at `offset`; `*got` is less only at the end of the file. */
    int (*read)(void *ctx, int file, uint64_t offset, void *out, size_t size,
                size_t *got);
    /* Writes all of it behind what was written before. */
    int (*write)(void *ctx, int file, const void *bytes, size_t size);
    /* What was written, or the names in a directory, survives a power cut. */
    int (*sync)(void *ctx, int file);
    /* Nothing is open afterwards, whatever it returns. */
    int (*close)(void *ctx, int file);
    /* Gives `from` the name `to`, in one step. What has it already is replaced, or the
     * result is EEXIST. */
    int (*rename)(void *ctx, const char *from, const char *to, int replace);
    int (*remove)(void *ctx, const char *path);
} lkv_os_files;

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
    const lkv_os_files *files;
} lkv_os;

/* The functions of the C library and the kernel; those for files need no `ctx`. */
extern const lkv_os lkv_os_posix;
extern const lkv_os_files lkv_os_posix_files;

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
