/*
 * posix_name.c - names of the files of a store, and errors that tell them.
 */
#include "posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIGITS 8u /* of an object's name */

const char *lkv_posix_name(lkv_posix *posix, const char *file)
{
    memcpy(posix->name, posix->path, posix->path_size);
    posix->name[posix->path_size] = posix->shared_memory ? '.' : '/';
    memcpy(posix->name + posix->path_size + 1, file, strlen(file) + 1);
    return posix->name;
}

const char *lkv_posix_object_name(lkv_posix *posix, uint32_t number)
{
    char file[DIGITS + 1];
    snprintf(file, sizeof(file), "%08x", (unsigned)number);
    return lkv_posix_name(posix, file);
}

const char *lkv_posix_parent(lkv_posix *posix)
{
    size_t size = posix->path_size;

    while (size > 1 && posix->path[size - 1] == '/') {
        size--;
    }
    while (size > 0 && posix->path[size - 1] != '/') {
        size--;
    }
    memcpy(posix->name, posix->path, size);
    memcpy(posix->name + size, size == 0 ? "." : "", size == 0 ? 2 : 1);
    return posix->name;
}

uint32_t lkv_posix_number(const char *name)
{
    uint32_t number = 0;
    size_t i;
    for (i = 0; name[i] != 0; i++) {
        char c = name[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                                                : 16u;
        if (digit == 16 || i == DIGITS) {
            return 0;
        }
        number = number << 4 | digit;
    }
    return i == DIGITS && number <= LKV_RUN_LAST ? number : 0;
}

int lkv_posix_same(const lkv_posix *posix)
{
    const lkv_os *os = posix->os;
    return os->shared->same(os->ctx, posix->lock_file, posix->lock_name,
                            posix->shared_memory);
}

int lkv_posix_is_ours(const char *name)
{
    return strcmp(name, "lock") == 0 || strcmp(name, "root0") == 0 ||
           strcmp(name, "root1") == 0 || strcmp(name, "root2") == 0 ||
           lkv_posix_number(name) != 0;
}

typedef struct each_of {
    const lkv_posix *posix;
    int (*each)(void *arg, const char *name);
    void *arg;
} each_of;

/* In shared memory the names of others stand beside. */
static int own_name(void *arg, const char *name)
{
    const each_of *of = arg;
    const char *own = of->posix->path + 1;
    size_t size = of->posix->path_size - 1;
    if (!of->posix->shared_memory) {
        return of->each(of->arg, name);
    }
    if (strncmp(name, own, size) != 0 || name[size] != '.') {
        return 0;
    }
    name += size + 1;
    return lkv_posix_is_ours(name) ? of->each(of->arg, name) : 0;
}

int lkv_posix_each(lkv_posix *posix, int (*each)(void *arg, const char *name),
                   void *arg)
{
    each_of of = {posix, each, arg};
    return posix->os->shared->list(posix->os->ctx, posix->path, posix->shared_memory,
                                   own_name, &of);
}

int lkv_posix_error(lkv_posix *posix, lkv_error *err, int rc, const char *why)
{
    if (err != NULL) {
        /* Of a long path its end. */
        size_t skip = posix->path_size > 100 ? posix->path_size - 100 : 0;
        snprintf(err->text, sizeof(err->text), "%s\"%s%.100s\": %.120s",
                 posix->shared_memory ? "shared memory " : "", skip > 0 ? "..." : "",
                 posix->path + skip, why);
    }
    return rc;
}

static int status_of(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return LKV_FULL;
    case EROFS:
    case EACCES:
    case EPERM:
        return LKV_READONLY;
    case ENOMEM:
        return LKV_NOMEM;
    default:
        return LKV_IO;
    }
}

int lkv_posix_failed(lkv_posix *posix, lkv_error *err, int os_errno, const char *what,
                     const char *file)
{
    char why[128], reason[64];
    if (os_errno == ESTALE) {
        return lkv_posix_error(posix, err, LKV_CANTOPEN, LKV_POSIX_GONE);
    }
    posix->os->shared->why(posix->os->ctx, os_errno, reason, sizeof(reason));
    snprintf(why, sizeof(why), "cannot %s%s%s: %s", what, file[0] == 0 ? "" : " ", file,
             reason);
    if (err != NULL) {
        err->os_errno = os_errno;
    }
    return lkv_posix_error(posix, err, status_of(os_errno), why);
}
