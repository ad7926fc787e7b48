/*
 * os_shared.c - os.h on a POSIX system: files that processes share, locks, maps and
 * shared memory.
 *
 * A forked child inherits the open files of its parent, and with them the locks: they
 * would outlive a parent that is killed. So files with locks are on a list here, and
 * closed in the child before fork() returns in it.
 */
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* Where shm_open() keeps names, on Linux with any C library. */
#define SHARED_MEMORY "/dev/shm"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static int open_shared(void *ctx, const char *path, int shared, enum lkv_os_use use,
                       unsigned mode, int *file)
{
    static const int flags[] = {
        [LKV_OS_LOOK] = O_RDONLY,
        [LKV_OS_UPDATE] = O_RDWR,
        [LKV_OS_MAKE] = O_RDWR | O_CREAT | O_EXCL,
    };
    struct stat about;
    int rc;

    (void)ctx;
    *file =
        shared ? shm_open(path, flags[use], (mode_t)mode)
               : open(path, flags[use] | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK,
                      (mode_t)mode);
    if (*file < 0) {
        return errno;
    }
    rc = fstat(*file, &about) == 0 ? 0 : errno;
    if (rc == 0 && !S_ISREG(about.st_mode)) {
        rc = EINVAL;
    }
    /* The umask is for what has no mode of its own. */
    if (rc == 0 && use == LKV_OS_MAKE && fchmod(*file, (mode_t)mode) != 0) {
        rc = errno;
    }
    if (rc != 0) {
        (void)close(*file);
        *file = -1;
    }
    return rc;
}

static int write_at(void *ctx, int file, uint64_t offset, const void *bytes,
                    size_t size)
{
    const char *at = bytes;
    (void)ctx;
    while (size > 0) {
        ssize_t n = pwrite(file, at, size, (off_t)offset);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            at += n;
            offset += (uint64_t)n;
            size -= (size_t)n;
        }
    }
    return 0;
}

static int sync_data(void *ctx, int file)
{
    int rc;
    (void)ctx;
    do {
        rc = fdatasync(file) == 0 ? 0 : errno;
    } while (rc == EINTR);
    return rc;
}

static int extend(void *ctx, int file, uint64_t offset, uint64_t size)
{
    int rc;
    (void)ctx;
    do {
        rc = posix_fallocate(file, (off_t)offset, (off_t)size);
    } while (rc == EINTR);
    return rc;
}

/* Some file systems have no number of blocks: they grow. */
static uint64_t room(void *ctx, int file)
{
    struct statvfs about;
    (void)ctx;
    return fstatvfs(file, &about) == 0 && about.f_blocks > 0
               ? (uint64_t)about.f_bavail * about.f_frsize
               : UINT64_MAX;
}

static int map_file(void *ctx, int file, size_t size, int writable, void **map)
{
    (void)ctx;
    *map =
        mmap(NULL, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, file, 0);
    if (*map == MAP_FAILED) {
        *map = NULL;
        return errno;
    }
    return 0;
}

static void unmap(void *ctx, void *map, size_t size)
{
    (void)ctx;
    (void)munmap(map, size);
}

static int lock_byte(void *ctx, int file, uint64_t byte, enum lkv_os_lock lock)
{
    static const short types[] = {F_UNLCK, F_RDLCK, F_WRLCK};
    struct flock what = {.l_type = types[lock],
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)byte,
                         .l_len = 1};
    (void)ctx;
    if (fcntl(file, F_OFD_SETLK, &what) == 0) {
        return 0;
    }
    return errno == EACCES ? EAGAIN : errno;
}

/* Without a descriptor, of which there may be none left. */
static int stat_shared(const char *name, struct stat *about)
{
    char path[sizeof(SHARED_MEMORY) + NAME_MAX + 1];
    int size = snprintf(path, sizeof(path), SHARED_MEMORY "%s", name);
    if (size < 0 || (size_t)size >= sizeof(path)) {
        return ENAMETOOLONG;
    }
    return stat(path, about) == 0 ? 0 : errno;
}

static int same_file(void *ctx, int file, const char *path, int shared)
{
    struct stat is, named;
    int rc = 0;
    (void)ctx;
    if (fstat(file, &is) != 0) {
        return errno;
    }
    if (shared) {
        rc = stat_shared(path, &named);
    } else if (stat(path, &named) != 0) {
        rc = errno;
    }
    if (rc == ENOENT || rc == ENOTDIR) {
        return ESTALE;
    }
    if (rc == 0 && (is.st_ino != named.st_ino || is.st_dev != named.st_dev)) {
        return ESTALE;
    }
    return rc;
}

static int remove_shared(void *ctx, const char *path, int shared)
{
    (void)ctx;
    return (shared ? shm_unlink(path) : unlink(path)) == 0 ? 0 : errno;
}

static int make_directory(void *ctx, const char *path, unsigned mode)
{
    (void)ctx;
    if (mkdir(path, (mode_t)mode) != 0) {
        return errno;
    }
    if (chmod(path, (mode_t)mode) != 0) {
        return errno == ENOENT ? ESTALE : errno;
    }
    return 0;
}

static int remove_directory(void *ctx, const char *path)
{
    (void)ctx;
    return rmdir(path) == 0 ? 0 : errno;
}

static int list(void *ctx, const char *path, int shared,
                int (*each)(void *arg, const char *name), void *arg)
{
    DIR *at = opendir(shared ? SHARED_MEMORY : path);
    const struct dirent *entry;
    int rc = 0;

    (void)ctx;
    if (at == NULL) {
        return errno;
    }
    do {
        errno = 0;
        entry = readdir(at);
        if (entry == NULL) {
            rc = errno;
        } else if (strcmp(entry->d_name, ".") != 0 &&
                   strcmp(entry->d_name, "..") != 0) {
            rc = each(arg, entry->d_name);
        }
    } while (entry != NULL && rc == 0);
    (void)closedir(at);
    return rc;
}

static void sleep_ms(void *ctx, unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000,
                            .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)ctx;
    (void)nanosleep(&left, NULL);
}

static void why(void *ctx, int os_errno, char *out, size_t size)
{
    char text[128] = "";
    (void)ctx;
#ifdef __GLIBC__ /* not POSIX's */
    snprintf(out, size, "%s", strerror_r(os_errno, text, sizeof(text)));
#else
    (void)strerror_r(os_errno, text, sizeof(text));
    snprintf(out, size, "%s", text);
#endif
}

static int boot(void *ctx, uint8_t *out)
{
    char text[36];
    size_t digits = 0;
    int file = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    (void)ctx;
    if (file < 0) {
        return errno;
    }
    got = read(file, text, sizeof(text));
    (void)close(file);
    memset(out, 0, 16);
    for (ssize_t i = 0; i < got && digits < 32; i++) {
        char c = text[i];
        if (c != '-') {
            int digit = c <= '9' ? c - '0' : c - 'a' + 10;
            out[digits / 2] = (uint8_t)(out[digits / 2] * 16 + (digit & 15));
            digits++;
        }
    }
    return digits == 32 ? 0 : EIO;
}

/* --- forks ---------------------------------------------------------------------- */

static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;
static int *guarded;
static size_t guarded_count, guarded_room;
static atomic_uint_fast64_t fork_count;
static int watching;

static void before_fork(void)
{
    (void)pthread_mutex_lock(&guard_lock);
}

static void in_parent(void)
{
    (void)pthread_mutex_unlock(&guard_lock);
}

static void in_child(void)
{
    for (size_t i = 0; i < guarded_count; i++) {
        (void)close(guarded[i]);
    }
    guarded_count = 0;
    atomic_fetch_add(&fork_count, 1);
    (void)pthread_mutex_unlock(&guard_lock);
}

static uint64_t forks(void *ctx)
{
    (void)ctx;
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}

static int guard(void *ctx, int file)
{
    int rc = 0;
    (void)ctx;
    (void)pthread_mutex_lock(&guard_lock);
    if (!watching) {
        rc = pthread_atfork(before_fork, in_parent, in_child);
        watching = rc == 0;
    }
    if (rc == 0 && guarded_count == guarded_room) {
        size_t room = guarded_room == 0 ? 8 : guarded_room * 2;
        int *moved = realloc(guarded, room * sizeof(*moved));
        if (moved == NULL) {
            rc = ENOMEM;
        } else {
            guarded = moved;
            guarded_room = room;
        }
    }
    if (rc == 0) {
        guarded[guarded_count++] = file;
    }
    (void)pthread_mutex_unlock(&guard_lock);
    return rc;
}

static void unguard(void *ctx, int file)
{
    (void)ctx;
    (void)pthread_mutex_lock(&guard_lock);
    for (size_t i = 0; i < guarded_count; i++) {
        if (guarded[i] == file) {
            guarded[i] = guarded[--guarded_count];
            break;
        }
    }
    if (guarded_count == 0) {
        free(guarded);
        guarded = NULL;
        guarded_room = 0;
    }
    (void)pthread_mutex_unlock(&guard_lock);
}

const lkv_os_shared lkv_os_posix_shared = {.open = open_shared,
                                           .write = write_at,
                                           .sync = sync_data,
                                           .extend = extend,
                                           .room = room,
                                           .map = map_file,
                                           .unmap = unmap,
                                           .lock = lock_byte,
                                           .same = same_file,
                                           .remove = remove_shared,
                                           .make_directory = make_directory,
                                           .remove_directory = remove_directory,
                                           .list = list,
                                           .sleep_ms = sleep_ms,
                                           .why = why,
                                           .boot = boot,
                                           .forks = forks,
                                           .guard = guard,
                                           .unguard = unguard};
