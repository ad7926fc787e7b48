/*
 * test_os.c - what os_posix.c and os_shared.c make of system calls that fail, are
 * interrupted or do half: here these are functions of the program itself, which refuse
 * when they are told to and otherwise call the C library's.
 */
#include "directory.h"

#include "os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *told; /* the call that fails */
static int told_errno, told_times;

/* Lets the next `times` calls of `name` fail. */
static void refuse(const char *name, int os_errno, int times)
{
    told = name;
    told_errno = os_errno;
    told_times = times;
}

static int refused(const char *name)
{
    if (told_times == 0 || strcmp(told, name) != 0) {
        return 0;
    }
    told_times--;
    errno = told_errno;
    return 1;
}

#define CALL(type, bad, name, parameters, arguments)                                   \
    type name parameters                                                               \
    {                                                                                  \
        __typeof__(&(name)) real;                                                      \
        void *found = dlsym(RTLD_NEXT, #name);                                         \
        memcpy(&real, &found, sizeof(real));                                           \
        return refused(#name) ? (bad) : real arguments;                                \
    }

CALL(int, -1, clock_gettime, (clockid_t clock, struct timespec *now), (clock, now))
CALL(ssize_t, -1, getrandom, (void *out, size_t size, unsigned flags),
     (out, size, flags))
CALL(int, -1, fstat, (int file, struct stat *about), (file, about))
CALL(ssize_t, -1, pread, (int file, void *out, size_t size, off_t at),
     (file, out, size, at))
CALL(ssize_t, -1, pwrite, (int file, const void *bytes, size_t size, off_t at),
     (file, bytes, size, at))
CALL(ssize_t, -1, write, (int file, const void *bytes, size_t size),
     (file, bytes, size))
CALL(int, -1, fsync, (int file), (file))
CALL(int, -1, fdatasync, (int file), (file))
CALL(int, -1, close, (int file), (file))
CALL(int, -1, unlink, (const char *path), (path))
CALL(int, -1, rename, (const char *from, const char *to), (from, to))
CALL(int, -1, renameat2,
     (int from_in, const char *from, int to_in, const char *to, unsigned flags),
     (from_in, from, to_in, to, flags))
CALL(int, told_errno, posix_fallocate, (int file, off_t at, off_t size),
     (file, at, size))
CALL(void *, MAP_FAILED, mmap,
     (void *at, size_t size, int rights, int flags, int file, off_t offset),
     (at, size, rights, flags, file, offset))
CALL(int, -1, fchmod, (int file, mode_t mode), (file, mode))
CALL(int, -1, chmod, (const char *path, mode_t mode), (path, mode))
CALL(int, -1, rmdir, (const char *path), (path))
CALL(DIR *, NULL, opendir, (const char *path), (path))
CALL(struct dirent *, NULL, readdir, (DIR * dir), (dir))

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...);
    void *found = dlsym(RTLD_NEXT, "open");
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    memcpy(&real, &found, sizeof(real));
    return refused("open") ? -1 : real(path, flags, mode);
}

/* Only locks. */
int fcntl(int file, int what, ...)
{
    int (*real)(int, int, ...);
    void *found = dlsym(RTLD_NEXT, "fcntl");
    struct flock *lock;
    va_list more;
    va_start(more, what);
    lock = va_arg(more, struct flock *);
    va_end(more);
    memcpy(&real, &found, sizeof(real));
    return refused("fcntl") ? -1 : real(file, what, lock);
}

/* Refused without an errno: gives bytes that are no boot id. */
ssize_t read(int file, void *out, size_t size)
{
    ssize_t (*real)(int, void *, size_t);
    void *found = dlsym(RTLD_NEXT, "read");
    memcpy(&real, &found, sizeof(real));
    if (!refused("read")) {
        return real(file, out, size);
    }
    memset(out, 'f', size);
    return told_errno == 0 ? (ssize_t)size : -1;
}

/* Nothing forks here. */
int pthread_atfork(void (*before)(void), void (*in_parent)(void),
                   void (*in_child)(void))
{
    (void)before;
    (void)in_parent;
    (void)in_child;
    return refused("pthread_atfork") ? told_errno : 0;
}

/* --- what stands below the files of an index ------------------------------------ */

static const lkv_os_files *const files = &lkv_os_posix_files;
static const lkv_os_shared *const shared = &lkv_os_posix_shared;

static void time_and_chance(void)
{
    uint8_t bytes[64], zeros[64] = {0};
    refuse("clock_gettime", EINVAL, 1);
    CHECK_INT(lkv_os_posix.now_ms(NULL), 0);
    CHECK(lkv_os_posix.now_ms(NULL) > 1000000000000);
    memset(bytes, 0, sizeof(bytes));
    refuse("getrandom", ENOSYS, 1);
    CHECK_INT(lkv_os_posix.random(NULL, bytes, sizeof(bytes)), ENOSYS);
    CHECK_BYTES(bytes, sizeof(bytes), zeros, sizeof(zeros));
    refuse("getrandom", EINTR, 3);
    CHECK_INT(lkv_os_posix.random(NULL, bytes, sizeof(bytes)), 0);
    CHECK_INT(told_times, 0);
    CHECK(memcmp(bytes, zeros, sizeof(bytes)) != 0);
}

static void one_file(void)
{
    directory d;
    char path[300];
    uint64_t size = 77;
    uint8_t bytes[8];
    size_t got;
    int file;

    directory_make(&d);
    directory_path(&d, "a", path, sizeof(path));
    CHECK_INT(files->open(NULL, path, LKV_OS_CREATE, &file), 0);
    refuse("write", EINTR, 2);
    CHECK_INT(files->write(NULL, file, "some", 4), 0);
    refuse("write", ENOSPC, 1);
    CHECK_INT(files->write(NULL, file, "more", 4), ENOSPC);
    refuse("fsync", EIO, 1);
    CHECK_INT(files->sync(NULL, file), EIO);
    CHECK_INT(files->sync(NULL, file), 0);
    CHECK_INT(files->close(NULL, file), 0);
    CHECK_INT(files->close(NULL, -1), EBADF);
    refuse("close", EINTR, 1);
    CHECK_INT(files->close(NULL, -1), 0);

    refuse("fstat", EOVERFLOW, 1);
    CHECK_INT(files->open(NULL, path, LKV_OS_READ, &file), EOVERFLOW);
    CHECK_INT(file, -1);
    CHECK_INT(files->open(NULL, path, LKV_OS_READ_SELF, &file), 0);
    refuse("fstat", EIO, 1);
    CHECK_INT(files->size(NULL, file, &size), EIO);
    CHECK_SIZE(size, 77);
    CHECK_INT(files->size(NULL, file, &size), 0);
    CHECK_SIZE(size, 4);
    refuse("pread", EINTR, 2);
    CHECK_INT(files->read(NULL, file, 1, bytes, sizeof(bytes), &got), 0);
    CHECK_BYTES(bytes, got, "ome", 3);
    refuse("pread", EIO, 1);
    CHECK_INT(files->read(NULL, file, 1, bytes, sizeof(bytes), &got), EIO);
    CHECK_SIZE(got, 0);
    CHECK_INT(files->close(NULL, file), 0);
    directory_remove(&d);
}

/* Of a file system that cannot rename without replacing. */
static void names(void)
{
    directory d;
    char a[300], b[300];
    int file;

    directory_make(&d);
    directory_path(&d, "a", a, sizeof(a));
    directory_path(&d, "b", b, sizeof(b));
    CHECK_INT(files->open(NULL, a, LKV_OS_CREATE, &file), 0);
    CHECK_INT(files->close(NULL, file), 0);
    refuse("rename", EXDEV, 1);
    CHECK_INT(files->rename(NULL, a, b, 1), EXDEV);
#ifdef RENAME_NOREPLACE
    refuse("renameat2", EXDEV, 1);
    CHECK_INT(files->rename(NULL, a, b, 0), EXDEV);
    for (int i = 0; i < 2; i++) {
        static const int cannot[] = {EINVAL, ENOSYS};
        refuse("renameat2", cannot[i], 1);
        CHECK_INT(files->rename(NULL, a, b, 0), 0);
        CHECK_SIZE(directory_size(d.path, "a"), (unsigned long long)-1);
        CHECK_SIZE(directory_size(d.path, "b"), 0);
        refuse("renameat2", cannot[i], 1);
        CHECK_INT(files->rename(NULL, b, b, 0), EEXIST);
        CHECK_SIZE(directory_size(d.path, "b"), 0);
        CHECK_INT(files->rename(NULL, b, a, 1), 0);
    }
#endif
    refuse("unlink", EROFS, 1);
    CHECK_INT(files->remove(NULL, a), EROFS);
    CHECK_INT(files->remove(NULL, a), 0);
    CHECK_INT(files->remove(NULL, a), ENOENT);
    directory_remove(&d);
}

/* --- what stands below a store in files ------------------------------------------ */

static void opening(void)
{
    directory d;
    char path[300];
    int file;

    directory_make(&d);
    directory_path(&d, "a", path, sizeof(path));
    refuse("fchmod", EPERM, 1);
    CHECK_INT(shared->open(NULL, path, 0, LKV_OS_MAKE, 0600, &file), EPERM);
    CHECK_INT(file, -1);
    refuse("fstat", EOVERFLOW, 1);
    CHECK_INT(shared->open(NULL, path, 0, LKV_OS_UPDATE, 0, &file), EOVERFLOW);
    CHECK_INT(file, -1);
    CHECK_INT(shared->open(NULL, d.path, 0, LKV_OS_LOOK, 0, &file), EINVAL);
    CHECK_INT(shared->open(NULL, path, 0, LKV_OS_MAKE, 0600, &file), EEXIST);
    CHECK_INT(shared->remove(NULL, path, 0), 0);
    CHECK_INT(shared->remove(NULL, path, 0), ENOENT);
    CHECK_INT(shared->remove(NULL, "/litekv-test.none", 1), ENOENT);
    directory_remove(&d);
}

static void shared_file(void)
{
    directory d;
    char path[300];
    uint8_t bytes[8];
    char other[310];
    size_t got;
    void *map;
    int file;

    directory_make(&d);
    directory_path(&d, "a", path, sizeof(path));
    CHECK_INT(shared->open(NULL, path, 0, LKV_OS_MAKE, 0600, &file), 0);
    refuse("pwrite", EINTR, 2);
    CHECK_INT(shared->write(NULL, file, 2, "some", 4), 0);
    refuse("pwrite", ENOSPC, 1);
    CHECK_INT(shared->write(NULL, file, 0, "more", 4), ENOSPC);
    CHECK_INT(files->read(NULL, file, 0, bytes, sizeof(bytes), &got), 0);
    CHECK_BYTES(bytes, got, "\0\0some", 6);
    refuse("fdatasync", EINTR, 2);
    CHECK_INT(shared->sync(NULL, file), 0);
    CHECK_INT(told_times, 0);
    refuse("fdatasync", EIO, 1);
    CHECK_INT(shared->sync(NULL, file), EIO);
    refuse("posix_fallocate", EINTR, 2);
    CHECK_INT(shared->extend(NULL, file, 6, 2), 0);
    CHECK_SIZE(directory_size(d.path, "a"), 8);
    refuse("posix_fallocate", ENOSPC, 1);
    CHECK_INT(shared->extend(NULL, file, 8, 2), ENOSPC);
    refuse("mmap", ENOMEM, 1);
    CHECK_INT(shared->map(NULL, file, 8, 0, &map), ENOMEM);
    CHECK(map == NULL);
    refuse("fcntl", EACCES, 1);
    CHECK_INT(shared->lock(NULL, file, 0, LKV_OS_EXCLUDE), EAGAIN);
    refuse("fcntl", ENOLCK, 1);
    CHECK_INT(shared->lock(NULL, file, 0, LKV_OS_EXCLUDE), ENOLCK);
    refuse("fstat", EIO, 1);
    CHECK_INT(shared->same(NULL, file, path, 0), EIO);
    CHECK_INT(shared->same(NULL, file, path, 0), 0);
    CHECK_INT(shared->same(NULL, file, d.path, 0), ESTALE);
    CHECK_INT(shared->same(NULL, file, "/nonexistent/a", 0), ESTALE);
    CHECK_INT(shared->same(NULL, file, "/litekv-test.none", 1), ESTALE);
    snprintf(other, sizeof(other), "%s/b", path);
    CHECK_INT(shared->same(NULL, file, other, 0), ESTALE); /* ENOTDIR */
    CHECK_INT(files->close(NULL, file), 0);
    directory_remove(&d);
}

static int count(void *arg, const char *name)
{
    (void)name;
    return --*(int *)arg == 0 ? ECANCELED : 0;
}

static void directories(void)
{
    directory d;
    char path[300];
    int file, left = 100;

    directory_make(&d);
    directory_path(&d, "a", path, sizeof(path));
    refuse("chmod", ENOENT, 1);
    CHECK_INT(shared->make_directory(NULL, path, 0700), ESTALE);
    CHECK_INT(shared->remove_directory(NULL, path), 0);
    refuse("chmod", EPERM, 1);
    CHECK_INT(shared->make_directory(NULL, path, 0700), EPERM);
    CHECK_INT(shared->make_directory(NULL, path, 0700), EEXIST);
    refuse("rmdir", EBUSY, 1);
    CHECK_INT(shared->remove_directory(NULL, path), EBUSY);
    CHECK_INT(shared->remove_directory(NULL, path), 0);
    CHECK_INT(shared->open(NULL, path, 0, LKV_OS_MAKE, 0600, &file), 0);
    CHECK_INT(files->close(NULL, file), 0);
    directory_path(&d, "b", path, sizeof(path));
    CHECK_INT(shared->open(NULL, path, 0, LKV_OS_MAKE, 0600, &file), 0);
    CHECK_INT(files->close(NULL, file), 0);
    refuse("opendir", EMFILE, 1);
    CHECK_INT(shared->list(NULL, d.path, 0, count, &left), EMFILE);
    refuse("readdir", EIO, 1);
    CHECK_INT(shared->list(NULL, d.path, 0, count, &left), EIO);
    CHECK_INT(left, 100);
    CHECK_INT(shared->list(NULL, d.path, 0, count, &left), 0);
    CHECK_INT(left, 98);
    left = 1;
    CHECK_INT(shared->list(NULL, d.path, 0, count, &left), ECANCELED);
    CHECK_INT(left, 0);
    directory_remove(&d);
}

static void boot_id(void)
{
    uint8_t a[16], b[16];
    char text[64];
    CHECK_INT(shared->boot(NULL, a), 0);
    CHECK_INT(shared->boot(NULL, b), 0);
    CHECK_BYTES(a, 16, b, 16);
    refuse("open", ENOENT, 1);
    CHECK_INT(shared->boot(NULL, b), ENOENT);
    refuse("read", EIO, 1);
    CHECK_INT(shared->boot(NULL, b), EIO);
    refuse("read", 0, 1); /* more digits than there is room for */
    CHECK_INT(shared->boot(NULL, b), 0);
    CHECK_INT(b[15], 0xff);
    shared->why(NULL, ENOSPC, text, sizeof(text));
    CHECK_TEXT(text, "No space left on device");
}

static void guards(void)
{
    int file[9];
    refuse("pthread_atfork", ENOMEM, 1);
    CHECK_INT(shared->guard(NULL, 1000), ENOMEM);
    for (int i = 0; i < 9; i++) { /* more than there is room for at first */
        file[i] = 1000 + i;
        CHECK_INT(shared->guard(NULL, file[i]), 0);
    }
    for (int i = 0; i < 9; i++) {
        shared->unguard(NULL, file[i]);
    }
    shared->unguard(NULL, 1000); /* that is not guarded */
    CHECK_SIZE(shared->forks(NULL), 0);
}

static const check_case cases[] = {
    CASE(time_and_chance), CASE(one_file),    CASE(names),   CASE(opening),
    CASE(shared_file),     CASE(directories), CASE(boot_id), CASE(guards)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
