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

/* How a file of a store is opened. */
enum lkv_os_use {
    LKV_OS_LOOK,   /* to read: a regular file that is there, and no link to one */
    LKV_OS_UPDATE, /* to read and write: the same */
    LKV_OS_MAKE,   /* to read and write: one that is not there yet */
};

/* What a lock is asked for: F_OFD_SETLK of a byte, so that two handles of one process
 * exclude each other as two processes do. */
enum lkv_os_lock { LKV_OS_UNLOCK, LKV_OS_SHARE, LKV_OS_EXCLUDE };

/* Files that several processes have open, and map; with `shared`, POSIX shared memory:
 * a path is then a name that begins with a slash. Each function returns 0 or an errno.
 */
typedef struct lkv_os_shared {
    int (*open)(void *ctx, const char *path, int shared, enum lkv_os_use use,
                unsigned mode, int *file);
    /* Writes all of it at `offset`. */
    int (*write)(void *ctx, int file, uint64_t offset, const void *bytes, size_t size);
    /* What was written survives a power cut, and the size when it has grown. */
    int (*sync)(void *ctx, int file);
    /* Room for `size` bytes at `offset`, which are zero from the old end on. */
    int (*extend)(void *ctx, int file, uint64_t offset, uint64_t size);
    /* Bytes that can still be written where the file is; UINT64_MAX: not known. */
    uint64_t (*room)(void *ctx, int file);
    /* The first `size` bytes, shared with all who map or write them. What lies beyond
     * the end of the file must not be touched. */
    int (*map)(void *ctx, int file, size_t size, int writable, void **map);
    void (*unmap)(void *ctx, void *map, size_t size);
    /* EAGAIN: another has it. Locks go with the file that was opened. */
    int (*lock)(void *ctx, int file, uint64_t byte, enum lkv_os_lock lock);
    /* Whether `path` is still a name of the file: 0, or ESTALE when it names nothing or
     * another one. */
    int (*same)(void *ctx, int file, const char *path, int shared);
    int (*remove)(void *ctx, const char *path, int shared);
    /* ESTALE: it was made, and others have removed it. */
    int (*make_directory)(void *ctx, const char *path, unsigned mode);
    int (*remove_directory)(void *ctx, const char *path);
    /* Calls `each` with the name of everything in a directory, or of all shared memory,
     * until it returns something other than 0, which becomes the result. */
    int (*list)(void *ctx, const char *path, int shared,
                int (*each)(void *arg, const char *name), void *arg);
    void (*sleep_ms)(void *ctx, unsigned ms);
    /* What an errno is called, for people. */
    void (*why)(void *ctx, int os_errno, char *out, size_t size);
    /* A number that is another after the machine was started again: 16 bytes. */
    int (*boot)(void *ctx, uint8_t *out);
    /* How often the process has been forked from one that had run this. In the child
     * the files that were given to guard() are closed: it would keep their locks. */
    uint64_t (*forks)(void *ctx);
    int (*guard)(void *ctx, int file);
    void (*unguard)(void *ctx, int file);
} lkv_os_shared;

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
    const lkv_os_shared *shared;
} lkv_os;

/* The functions of the C library and the kernel; those for files need no `ctx`. */
extern const lkv_os lkv_os_posix;
extern const lkv_os_files lkv_os_posix_files;
extern const lkv_os_shared lkv_os_posix_shared;

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

/* Frees a buffer of `*size` bytes that has grown beyond LKV_OS_KEPT: what a great value
 * took is not kept for the next one. */
#define LKV_OS_KEPT (64u << 10)
static inline void lkv_os_rest(const lkv_os *os, uint8_t **bytes, size_t *size)
{
    if (*size > LKV_OS_KEPT) {
        os->release(os->ctx, *bytes);
        *bytes = NULL;
        *size = 0;
    }
}

#endif
