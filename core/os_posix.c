/*
 * os_posix.c - os.h on a POSIX system: with os_shared.c the only file of core that
 * allocates by malloc or makes a system call.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void *resize(void *ctx, void *old, size_t size)
{
    (void)ctx;
    return realloc(old, size);
}

_Static_assert(sizeof(off_t) == 8, "files of more than 2 GiB: -D_FILE_OFFSET_BITS=64");

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

static int open_file(void *ctx, const char *path, enum lkv_os_open how, int *file)
{
    /* Without O_NONBLOCK a FIFO would wait for its other end. */
    static const int flags[] = {
        [LKV_OS_READ] = O_RDONLY | O_NONBLOCK,
        [LKV_OS_READ_SELF] = O_RDONLY | O_NONBLOCK | O_NOFOLLOW,
        [LKV_OS_CREATE] = O_WRONLY | O_CREAT | O_EXCL,
        [LKV_OS_DIRECTORY] = O_RDONLY | O_DIRECTORY,
    };
    struct stat about;
    int rc = 0;

    (void)ctx;
    *file = open(path, flags[how] | O_CLOEXEC | O_NOCTTY, 0666);
    if (*file < 0) {
        return errno;
    }
    if (how == LKV_OS_READ || how == LKV_OS_READ_SELF) {
        if (fstat(*file, &about) != 0) {
            rc = errno;
        } else if (!S_ISREG(about.st_mode)) {
            rc = EINVAL;
        }
    }
    if (rc != 0) {
        (void)close(*file);
        *file = -1;
    }
    return rc;
}

static int file_size(void *ctx, int file, uint64_t *size)
{
    struct stat about;
    (void)ctx;
    if (fstat(file, &about) != 0) {
        return errno;
    }
    *size = (uint64_t)about.st_size;
    return 0;
}

static int read_file(void *ctx, int file, uint64_t offset, void *out, size_t size,
                     size_t *got)
{
    char *at = out;
    (void)ctx;
    *got = 0;
    while (*got < size) {
        ssize_t n = pread(file, at + *got, size - *got, (off_t)(offset + *got));
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n == 0) {
            break;
        }
        *got += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int write_file(void *ctx, int file, const void *bytes, size_t size)
{
    const char *at = bytes;
    (void)ctx;
    while (size > 0) {
        ssize_t n = write(file, at, size);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            at += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

static int sync_file(void *ctx, int file)
{
    (void)ctx;
    return fsync(file) == 0 ? 0 : errno;
}

static int close_file(void *ctx, int file)
{
    (void)ctx;
    /* Linux has closed the file when it says EINTR. */
    return close(file) == 0 || errno == EINTR ? 0 : errno;
}

static int remove_file(void *ctx, const char *path)
{
    (void)ctx;
    return unlink(path) == 0 ? 0 : errno;
}

static int rename_file(void *ctx, const char *from, const char *to, int replace)
{
    if (replace) {
        return rename(from, to) == 0 ? 0 : errno;
    }
#ifdef RENAME_NOREPLACE
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
#endif
    /* A file system that cannot: a second name, and then the first one goes. */
    return link(from, to) == 0 ? remove_file(ctx, from) : errno;
}

const lkv_os_files lkv_os_posix_files = {open_file,   file_size,  read_file,
                                         write_file,  sync_file,  close_file,
                                         rename_file, remove_file};

const lkv_os lkv_os_posix = {NULL,
                             resize,
                             release,
                             now_ms,
                             random_bytes,
                             &lkv_os_posix_files,
                             &lkv_os_posix_shared};
