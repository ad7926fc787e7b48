/*
 * crash_os.c - see crash_os.h.
 *
 * The files are those of the page cache: the death of the process leaves them as they
 * are. What the disk has is kept beside them.
 */
#include "crash_os.h"

#include "check.h"
#include "crash_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES 1024
#define MAPS 4096

typedef struct opened {
    int is_open, is_directory;
    crash_file *file;
    char text[CRASH_NAME];
} opened;

typedef struct map {
    void *at;
    size_t size;
} map;

/* Before each allocation, in a ring, so that a process that dies leaks nothing. */
typedef union memory {
    struct {
        union memory *before, *after;
    } ring;
    max_align_t align;
} memory;

struct crash_os {
    lkv_os os;
    lkv_os_files files;
    lkv_os_shared shared;
    const char *path;
    uint64_t random;
    int64_t now_ms;
    uint8_t boots;

    uint64_t countdown; /* events until death; 0: none */
    int syncs_only;
    jmp_buf *death;
    char last[80];

    memory memory;
    opened opened[FILES];
    map maps[MAPS];
    size_t map_count;
    crash_disk *disk;
};

/* The name of a file in the directory. */
static const char *name_of(const crash_os *c, const char *path)
{
    size_t size = strlen(c->path);
    if (strncmp(path, c->path, size) != 0 || path[size] != '/') {
        abort();
    }
    return path + size + 1;
}

/* --- events ----------------------------------------------------------------------- */

static void event(crash_os *c, const char *what, const char *text, uint64_t at)
{
    snprintf(c->last, sizeof(c->last), "%s %s %llu", what, text,
             (unsigned long long)at);
    if (check_below(&c->random, 25) == 0) {
        crash_disk_write_back(c->disk);
    }
    if (c->countdown > 0 && (!c->syncs_only || strcmp(what, "sync") == 0) &&
        --c->countdown == 0) {
        longjmp(*c->death, 1);
    }
}

static opened *opened_of(crash_os *c, int file)
{
    if (file < 0 || file >= FILES) {
        abort();
    }
    return &c->opened[file];
}

static int open_shared(void *ctx, const char *path, int shared, enum lkv_os_use use,
                       unsigned mode, int *file)
{
    crash_os *c = ctx;
    const char *name = name_of(c, path);
    int rc;
    if (use == LKV_OS_MAKE) {
        event(c, "make", name, 0);
    }
    rc = lkv_os_posix_shared.open(NULL, path, shared, use, mode, file);
    if (rc == 0) {
        opened *o = opened_of(c, *file);
        o->is_open = 1;
        o->is_directory = 0;
        o->file = use == LKV_OS_MAKE ? crash_disk_make(c->disk, name)
                                     : crash_disk_find(c->disk, name);
        snprintf(o->text, sizeof(o->text), "%s", name);
        if (o->file == NULL) {
            abort();
        }
    }
    return rc;
}

static int write_shared(void *ctx, int file, uint64_t offset, const void *bytes,
                        size_t size)
{
    opened *o = opened_of(ctx, file);
    event(ctx, "write", o->text, offset);
    crash_disk_write(o->file, offset, bytes, size);
    return lkv_os_posix_shared.write(NULL, file, offset, bytes, size);
}

/* The disk is the one here: none is asked. */
static int sync_shared(void *ctx, int file)
{
    crash_os *c = ctx;
    opened *o = opened_of(c, file);
    event(c, "sync", o->text, 0);
    crash_disk_sync(c->disk, o->file);
    event(c, "synced", o->text, 0);
    return 0;
}

static int remove_shared(void *ctx, const char *path, int shared)
{
    crash_os *c = ctx;
    const char *name = name_of(c, path);
    int rc;
    event(c, "remove", name, 0);
    rc = lkv_os_posix_shared.remove(NULL, path, shared);
    if (rc == 0) {
        crash_disk_remove(c->disk, name);
    }
    return rc;
}

static int lock(void *ctx, int file, uint64_t byte, enum lkv_os_lock how)
{
    event(ctx, how == LKV_OS_UNLOCK ? "unlock" : "lock", "byte", byte);
    return lkv_os_posix_shared.lock(NULL, file, byte, how);
}

static int list(void *ctx, const char *path, int shared,
                int (*each)(void *arg, const char *name), void *arg)
{
    crash_os *c = ctx;
    if (shared || strcmp(path, c->path) != 0) {
        abort();
    }
    return crash_disk_each(c->disk, each, arg);
}

static int open_plain(void *ctx, const char *path, enum lkv_os_open how, int *file)
{
    crash_os *c = ctx;
    int rc = lkv_os_posix_files.open(NULL, path, how, file);
    if (rc == 0) {
        *opened_of(c, *file) =
            (opened){.is_open = 1, .is_directory = strcmp(path, c->path) == 0};
    }
    return rc;
}

static int sync_plain(void *ctx, int file)
{
    crash_os *c = ctx;
    event(c, "sync", "the directory", 0);
    if (opened_of(c, file)->is_directory) {
        crash_disk_sync_names(c->disk);
    }
    return 0;
}

static int close_plain(void *ctx, int file)
{
    opened_of(ctx, file)->is_open = 0;
    return lkv_os_posix_files.close(NULL, file);
}

static int map_shared(void *ctx, int file, size_t size, int writable, void **out)
{
    crash_os *c = ctx;
    int rc = lkv_os_posix_shared.map(NULL, file, size, writable, out);
    if (rc == 0) {
        if (c->map_count == MAPS) {
            abort();
        }
        c->maps[c->map_count++] = (map){*out, size};
    }
    return rc;
}

static void unmap_shared(void *ctx, void *at, size_t size)
{
    crash_os *c = ctx;
    for (size_t i = 0; i < c->map_count; i++) {
        if (c->maps[i].at == at) {
            c->maps[i] = c->maps[--c->map_count];
            break;
        }
    }
    lkv_os_posix_shared.unmap(NULL, at, size);
}

/* --- memory, and what is the same in each run --------------------------------------
 */

static void unlink_memory(memory *at)
{
    at->ring.before->ring.after = at->ring.after;
    at->ring.after->ring.before = at->ring.before;
}

static void release(void *ctx, void *bytes)
{
    (void)ctx;
    if (bytes != NULL) {
        memory *at = (memory *)bytes - 1;
        unlink_memory(at);
        free(at);
    }
}

static void *resize(void *ctx, void *old, size_t size)
{
    memory *all = &((crash_os *)ctx)->memory;
    memory *at = old == NULL ? NULL : (memory *)old - 1;
    if (at != NULL) {
        unlink_memory(at);
    }
    at = realloc(at, sizeof(*at) + size);
    if (at == NULL) {
        abort();
    }
    at->ring.before = all;
    at->ring.after = all->ring.after;
    all->ring.after->ring.before = at;
    all->ring.after = at;
    return at + 1;
}

static int64_t now_ms(void *ctx)
{
    crash_os *c = ctx;
    c->now_ms += (int64_t)check_below(&c->random, 2);
    return c->now_ms;
}

static void sleep_ms(void *ctx, unsigned ms)
{
    ((crash_os *)ctx)->now_ms += ms;
}

static int random_bytes(void *ctx, void *out, size_t size)
{
    uint8_t *at = out;
    while (size-- > 0) {
        *at++ = (uint8_t)check_random(&((crash_os *)ctx)->random);
    }
    return 0;
}

static uint64_t room(void *ctx, int file)
{
    (void)ctx;
    (void)file;
    return UINT64_MAX;
}

static int boot(void *ctx, uint8_t *out)
{
    memset(out, 7, 16);
    out[0] = ((crash_os *)ctx)->boots;
    return 0;
}

/* Nobody forks here; and who dies could not take a file off the list again. */
static uint64_t forks(void *ctx)
{
    (void)ctx;
    return 0;
}
static int guard(void *ctx, int file)
{
    (void)ctx;
    (void)file;
    return 0;
}
static void unguard(void *ctx, int file)
{
    (void)ctx;
    (void)file;
}

/* --- death ------------------------------------------------------------------------ */

void crash_os_die(crash_os *c)
{
    c->countdown = 0;
    for (memory *at = c->memory.ring.after; at != &c->memory;) {
        memory *after = at->ring.after;
        free(at);
        at = after;
    }
    c->memory.ring.before = c->memory.ring.after = &c->memory;
    for (size_t i = 0; i < c->map_count; i++) {
        lkv_os_posix_shared.unmap(NULL, c->maps[i].at, c->maps[i].size);
    }
    c->map_count = 0;
    for (int file = 0; file < FILES; file++) {
        if (c->opened[file].is_open) {
            (void)close_plain(c, file);
        }
    }
}

void crash_os_cut(crash_os *c)
{
    crash_disk_cut(c->disk);
    c->boots++;
}

/* --- opening ---------------------------------------------------------------------- */

crash_os *crash_os_open(const char *path, uint64_t seed)
{
    crash_os *c = calloc(1, sizeof(*c));
    if (c == NULL || lkv_os_posix_shared.make_directory(NULL, path, 0700) != 0) {
        abort();
    }
    c->path = path;
    c->random = seed;
    c->disk = crash_disk_open(path, &c->random);
    c->memory.ring.before = c->memory.ring.after = &c->memory;
    c->files = (lkv_os_files){.open = open_plain,
                              .size = lkv_os_posix_files.size,
                              .read = lkv_os_posix_files.read,
                              .sync = sync_plain,
                              .close = close_plain};
    c->shared = (lkv_os_shared){.open = open_shared,
                                .write = write_shared,
                                .sync = sync_shared,
                                .room = room,
                                .map = map_shared,
                                .unmap = unmap_shared,
                                .lock = lock,
                                .same = lkv_os_posix_shared.same,
                                .remove = remove_shared,
                                .make_directory = lkv_os_posix_shared.make_directory,
                                .list = list,
                                .sleep_ms = sleep_ms,
                                .why = lkv_os_posix_shared.why,
                                .boot = boot,
                                .forks = forks,
                                .guard = guard,
                                .unguard = unguard};
    c->os = (lkv_os){c, resize, release, now_ms, random_bytes, &c->files, &c->shared};
    return c;
}

void crash_os_close(crash_os *c)
{
    crash_os_die(c);
    crash_disk_close(c->disk);
    free(c);
}

const lkv_os *crash_os_os(crash_os *c)
{
    return &c->os;
}

void crash_os_arm(crash_os *c, uint64_t events, int syncs_only, jmp_buf *death)
{
    c->syncs_only = syncs_only;
    c->countdown = events;
    c->death = death;
}

const char *crash_os_last(const crash_os *c)
{
    return c->last;
}
