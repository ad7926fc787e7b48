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
    if (fault->before != NULL) {
        if (fault->calls == fault->fail_at) {
            fault->failures++;
            fault->before(fault->before_arg);
        }
        return 0;
    }
    if (fault->fail_at != 0 && (fault->calls == fault->fail_at ||
                                (fault->for_good && fault->calls > fault->fail_at))) {
        fault->failures++;
        return 1;
    }
    return 0;
}

/* The errno of a call that fails. */
static int as(const void *ctx, int usual)
{
    const os_fault *fault = ctx;
    return fault->as != 0 ? fault->as : usual;
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
    if (fault->before == NULL && fault->as == 0 && fails(fault)) {
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
        return as(ctx, EAGAIN);
    }
    while (size-- > 0) {
        *at++ = fault->next_random++;
    }
    return 0;
}

/* --- files: one that fails does nothing, but a write does half, and close closes ---
 */

static int open_file(void *ctx, const char *path, enum lkv_os_open how, int *file)
{
    os_fault *fault = ctx;
    int rc = fails(fault) ? as(fault, EMFILE)
                          : lkv_os_posix_files.open(NULL, path, how, file);
    fault->open_files += rc == 0;
    return rc;
}

static int file_size(void *ctx, int file, uint64_t *size)
{
    return fails(ctx) ? as(ctx, EIO) : lkv_os_posix_files.size(NULL, file, size);
}

static int read_file(void *ctx, int file, uint64_t offset, void *out, size_t size,
                     size_t *got)
{
    return fails(ctx) ? as(ctx, EIO)
                      : lkv_os_posix_files.read(NULL, file, offset, out, size, got);
}

static int write_file(void *ctx, int file, const void *bytes, size_t size)
{
    if (fails(ctx)) {
        (void)lkv_os_posix_files.write(NULL, file, bytes, size / 2);
        return as(ctx, ENOSPC);
    }
    return lkv_os_posix_files.write(NULL, file, bytes, size);
}

static int sync_file(void *ctx, int file)
{
    return fails(ctx) ? as(ctx, EIO) : lkv_os_posix_files.sync(NULL, file);
}

static int close_file(void *ctx, int file)
{
    os_fault *fault = ctx;
    int rc = lkv_os_posix_files.close(NULL, file);
    fault->open_files--;
    return fails(fault) ? as(fault, EIO) : rc;
}

static int rename_file(void *ctx, const char *from, const char *to, int replace)
{
    return fails(ctx) ? as(ctx, EIO)
                      : lkv_os_posix_files.rename(NULL, from, to, replace);
}

static int remove_file(void *ctx, const char *path)
{
    return fails(ctx) ? as(ctx, EIO) : lkv_os_posix_files.remove(NULL, path);
}

/* --- files that are shared: the same ------------------------------------------ */

static int open_shared(void *ctx, const char *path, int shared, enum lkv_os_use use,
                       unsigned mode, int *file)
{
    os_fault *fault = ctx;
    int rc = fails(fault) ? as(fault, EMFILE)
             : fault->only_reads && use != LKV_OS_LOOK
                 ? EACCES
                 : lkv_os_posix_shared.open(NULL, path, shared, use, mode, file);
    if (rc != 0) {
        *file = -1;
    }
    fault->open_files += rc == 0;
    return rc;
}

static int write_at(void *ctx, int file, uint64_t offset, const void *bytes,
                    size_t size)
{
    if (fails(ctx)) {
        (void)lkv_os_posix_shared.write(NULL, file, offset, bytes, size / 2);
        return as(ctx, ENOSPC);
    }
    return lkv_os_posix_shared.write(NULL, file, offset, bytes, size);
}

static int sync_shared(void *ctx, int file)
{
    return fails(ctx) ? as(ctx, EIO) : lkv_os_posix_shared.sync(NULL, file);
}

static int extend(void *ctx, int file, uint64_t offset, uint64_t size)
{
    return fails(ctx) ? as(ctx, ENOSPC)
                      : lkv_os_posix_shared.extend(NULL, file, offset, size);
}

static uint64_t room(void *ctx, int file)
{
    const os_fault *fault = ctx;
    return fault->room != 0 ? fault->room : lkv_os_posix_shared.room(NULL, file);
}

static int map(void *ctx, int file, size_t size, int writable, void **out)
{
    os_fault *fault = ctx;
    int rc = fails(fault) ? as(fault, ENOMEM)
                          : lkv_os_posix_shared.map(NULL, file, size, writable, out);
    fault->maps += rc == 0;
    return rc;
}

static void unmap(void *ctx, void *at, size_t size)
{
    ((os_fault *)ctx)->maps--;
    lkv_os_posix_shared.unmap(NULL, at, size);
}

static int lock(void *ctx, int file, uint64_t byte, enum lkv_os_lock how)
{
    /* Giving back does not fail. */
    return how != LKV_OS_UNLOCK && fails(ctx)
               ? as(ctx, EIO)
               : lkv_os_posix_shared.lock(NULL, file, byte, how);
}

static int same(void *ctx, int file, const char *path, int shared)
{
    return fails(ctx) ? as(ctx, EIO)
                      : lkv_os_posix_shared.same(NULL, file, path, shared);
}

static int remove_shared(void *ctx, const char *path, int shared)
{
    return fails(ctx) ? as(ctx, EIO) : lkv_os_posix_shared.remove(NULL, path, shared);
}

static int make_directory(void *ctx, const char *path, unsigned mode)
{
    return fails(ctx) ? as(ctx, EACCES)
                      : lkv_os_posix_shared.make_directory(NULL, path, mode);
}

static int remove_directory(void *ctx, const char *path)
{
    return fails(ctx) ? as(ctx, EIO) : lkv_os_posix_shared.remove_directory(NULL, path);
}

static int list(void *ctx, const char *path, int shared,
                int (*each)(void *arg, const char *name), void *arg)
{
    return fails(ctx) ? as(ctx, EIO)
                      : lkv_os_posix_shared.list(NULL, path, shared, each, arg);
}

/* Nobody waits in a test for a lock that it has itself. */
static void sleep_ms(void *ctx, unsigned ms)
{
    ((os_fault *)ctx)->slept_ms += ms;
}

static void why(void *ctx, int os_errno, char *out, size_t size)
{
    (void)ctx;
    lkv_os_posix_shared.why(NULL, os_errno, out, size);
}

static int boot(void *ctx, uint8_t *out)
{
    os_fault *fault = ctx;
    int rc = fails(fault) ? as(fault, EIO) : lkv_os_posix_shared.boot(NULL, out);
    out[0] ^= fault->boots;
    return rc;
}

static uint64_t forks(void *ctx)
{
    (void)ctx;
    return lkv_os_posix_shared.forks(NULL);
}

static int guard(void *ctx, int file)
{
    return fails(ctx) ? as(ctx, ENOMEM) : lkv_os_posix_shared.guard(NULL, file);
}

static void unguard(void *ctx, int file)
{
    (void)ctx;
    lkv_os_posix_shared.unguard(NULL, file);
}

static const lkv_os_shared shared_files = {.open = open_shared,
                                           .write = write_at,
                                           .sync = sync_shared,
                                           .extend = extend,
                                           .room = room,
                                           .map = map,
                                           .unmap = unmap,
                                           .lock = lock,
                                           .same = same,
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

static const lkv_os_files files = {open_file, file_size,  read_file,   write_file,
                                   sync_file, close_file, rename_file, remove_file};

void os_fault_init(os_fault *fault)
{
    memset(fault, 0, sizeof(*fault));
    fault->os =
        (lkv_os){fault, resize, release, now_ms, random_bytes, &files, &shared_files};
    fault->now_ms = 1000;
}

void os_fault_arm(os_fault *fault, uint64_t nth, int for_good)
{
    fault->calls = 0;
    fault->fail_at = nth;
    fault->for_good = for_good;
    fault->failures = 0;
}
