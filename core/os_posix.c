/*
 * os_posix.c - os.h on a POSIX system: the only file of core that allocates by malloc
 * or makes a system call.
 */
#include "os.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static void *resize(void *ctx, void *old, size_t size)
{
    (void)ctx;
    return realloc(old, size);
}

static void release(void *ctx, void *memory)
{
    (void)ctx;
    free(memory);
}

static int64_t now_ms(void *ctx)
{
    struct timespec now;
    (void)ctx;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return 0;
    }
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int random_bytes(void *ctx, void *out, size_t size)
{
    unsigned char *at = out;
    (void)ctx;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
    return 0;
}

const lkv_os lkv_os_posix = {NULL, resize, release, now_ms, random_bytes};
