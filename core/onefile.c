/*
 * onefile.c - see onefile.h.
 *
 * The order of writing: write, sync the file, give it its name, sync the directory. A
 * name that reached the disk before the bytes would be a whole file without content
 * after a power cut.
 */
#include "onefile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNWRITABLE "it cannot be written"
#define TAKEN "there is a file of this name already"

static int fail(lkv_onefile *one, int rc, int os_errno, const char *why)
{
    if (one->err != NULL) {
        one->err->os_errno = os_errno;
        snprintf(one->err->text, sizeof(one->err->text), "%s", why);
    }
    return rc;
}

static void init(lkv_onefile *one, const lkv_os *os, lkv_error *err)
{
    memset(one, 0, sizeof(*one));
    one->os = os;
    one->file = -1;
    one->err = err;
}

static int close_file(lkv_onefile *one)
{
    int rc = 0;
    if (one->file >= 0) {
        rc = one->os->files->close(one->os->ctx, one->file);
        one->file = -1;
    }
    return rc;
}

int lkv_onefile_open(lkv_onefile *one, const lkv_os *os, const char *path,
                     lkv_error *err)
{
    int rc;
    init(one, os, err);
    rc = os->files->open(os->ctx, path, LKV_OS_READ, &one->file);
    if (rc == EINVAL) {
        return fail(one, LKV_IO, 0, "it is not a regular file");
    }
    if (rc == 0) {
        rc = os->files->size(os->ctx, one->file, &one->size);
    }
    return rc == 0 ? LKV_OK : fail(one, LKV_IO, rc, "it cannot be opened");
}

int lkv_onefile_read(void *arg, uint64_t offset, void *out, size_t size)
{
    lkv_onefile *one = arg;
    size_t got;
    int rc = one->os->files->read(one->os->ctx, one->file, offset, out, size, &got);
    if (rc != 0) {
        return fail(one, LKV_IO, rc, "it cannot be read");
    }
    return got == size ? LKV_OK : fail(one, LKV_CORRUPT, 0, "it is cut short");
}

/* Whether what has the name may be replaced. */
static int may_replace(lkv_onefile *one, lkv_bytes replace)
{
    const lkv_os *os = one->os;
    uint8_t begin[64];
    size_t got = 0;
    int file;
    int rc = os->files->open(os->ctx, one->path, LKV_OS_READ_SELF, &file);

    if (rc == ENOENT) {
        return LKV_OK;
    }
    if (rc == 0) {
        if (replace.size > 0 && replace.size <= sizeof(begin)) {
            rc = os->files->read(os->ctx, file, 0, begin, replace.size, &got);
        }
        (void)os->files->close(os->ctx, file);
    }
    if (rc != 0 && rc != EINVAL && rc != ELOOP) {
        return fail(one, LKV_IO, rc, "what is there cannot be read");
    }
    if (replace.size == 0) {
        return fail(one, LKV_MISUSE, 0, TAKEN);
    }
    if (rc != 0 || got != replace.size || memcmp(begin, replace.data, got) != 0) {
        return fail(one, LKV_MISUSE, 0,
                    "what is there is something else and is not overwritten");
    }
    return LKV_OK;
}

/* Bytes of `path` up to the last slash, which counts. */
static size_t directory_size(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* Opens a file with a random name beside the one that was asked for. */
static int make_file(lkv_onefile *one)
{
    const lkv_os *os = one->os;
    size_t directory = directory_size(one->path);
    size_t room = directory + sizeof(".litekv-0123456789abcdef.tmp");
    uint8_t random[8];
    int rc = os->random(os->ctx, random, sizeof(random));

    if (rc != 0) {
        return fail(one, LKV_IO, rc, UNWRITABLE);
    }
    one->made = lkv_os_alloc(os, room);
    if (one->made == NULL) {
        return LKV_NOMEM;
    }
    memcpy(one->made, one->path, directory);
    snprintf(one->made + directory, room - directory,
             ".litekv-%02x%02x%02x%02x%02x%02x%02x%02x.tmp", random[0], random[1],
             random[2], random[3], random[4], random[5], random[6], random[7]);
    rc = os->files->open(os->ctx, one->made, LKV_OS_CREATE, &one->file);
    if (rc != 0) { /* it is not ours to remove */
        lkv_os_free(os, one->made);
        one->made = NULL;
        return fail(one, LKV_IO, rc, UNWRITABLE);
    }
    return LKV_OK;
}

int lkv_onefile_create(lkv_onefile *one, const lkv_os *os, const char *path,
                       lkv_bytes replace, lkv_error *err)
{
    size_t size = strlen(path) + 1;
    int rc;

    init(one, os, err);
    one->replace = replace.size > 0;
    one->path = lkv_os_alloc(os, size);
    if (one->path == NULL) {
        return LKV_NOMEM;
    }
    memcpy(one->path, path, size);
    rc = may_replace(one, replace);
    return rc == LKV_OK ? make_file(one) : rc;
}

int lkv_onefile_write(void *arg, lkv_bytes bytes)
{
    lkv_onefile *one = arg;
    int rc = one->os->files->write(one->os->ctx, one->file, bytes.data, bytes.size);
    if (rc != 0) {
        return fail(one, LKV_IO, rc, UNWRITABLE);
    }
    one->size += bytes.size;
    return LKV_OK;
}

static int sync_directory(lkv_onefile *one)
{
    const lkv_os *os = one->os;
    size_t size = directory_size(one->path);
    int file, rc;

    one->path[size] = 0; /* of no more use as a whole */
    rc = os->files->open(os->ctx, size == 0 ? "." : one->path, LKV_OS_DIRECTORY, &file);
    if (rc == 0) {
        rc = os->files->sync(os->ctx, file);
        (void)os->files->close(os->ctx, file);
    }
    return rc == 0 ? LKV_OK
                   : fail(one, LKV_IO, rc,
                          "it is written, but may not survive a power cut");
}

int lkv_onefile_finish(lkv_onefile *one)
{
    const lkv_os *os = one->os;
    int rc = os->files->sync(os->ctx, one->file);
    int closed = close_file(one);

    rc = rc == 0 ? closed : rc;
    if (rc == 0) {
        rc = os->files->rename(os->ctx, one->made, one->path, one->replace);
        if (rc == EEXIST) {
            return fail(one, LKV_MISUSE, 0, TAKEN);
        }
    }
    if (rc != 0) {
        return fail(one, LKV_IO, rc, UNWRITABLE);
    }
    lkv_os_free(os, one->made);
    one->made = NULL;
    return sync_directory(one);
}

void lkv_onefile_close(lkv_onefile *one)
{
    (void)close_file(one);
    if (one->made != NULL) {
        (void)one->os->files->remove(one->os->ctx, one->made);
    }
    lkv_os_free(one->os, one->made);
    lkv_os_free(one->os, one->path);
    one->made = one->path = NULL;
}
