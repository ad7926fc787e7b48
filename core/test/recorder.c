/*
 * recorder.c - see recorder.h.
 *
 * A file's bytes are those of its last sync and, of the writes since, what the kind of
 * the cut says, sector by sector. A name is there for certain when the directory was
 * synced since it was made; before, by chance, but for RECORDER_KEPT. A removed one may
 * be there still. The page in `lock` is mapped and comes as it is.
 */
#include "recorder.h"

#include "check.h"
#include "directory.h"
#include "filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECTOR 512u
#define FILES 4096
#define NAMES 512

enum what { WRITE, SYNC, MAKE, REMOVE, SYNC_NAMES, RETURNED };

typedef struct event {
    enum what what;
    int name; /* index of the file's name */
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
} event;

struct recorder {
    lkv_os os;
    lkv_os_files files;
    lkv_os_shared shared;
    os_fault *inner;
    const char *directory;
    event *events;
    size_t count, room;
    char *names[NAMES];
    int name_count;
    int of_file[FILES]; /* name of an open file; -1: none; -2: the directory */
};

static recorder *self(void *ctx)
{
    return (recorder *)ctx;
}

static void note(recorder *r, enum what what, int name, uint64_t offset,
                 const void *bytes, size_t size)
{
    event *at;
    if (r->count == r->room) {
        r->room = r->room == 0 ? 1024 : r->room * 2;
        r->events = realloc(r->events, r->room * sizeof(*r->events));
    }
    at = &r->events[r->count++];
    *at = (event){what, name, offset, size, size == 0 ? NULL : malloc(size)};
    if (size > 0) {
        memcpy(at->bytes, bytes, size);
    }
}

/* -1: not in the directory. */
static int name_of(recorder *r, const char *path)
{
    size_t size = strlen(r->directory);
    if (strncmp(path, r->directory, size) != 0 || path[size] != '/') {
        return -1;
    }
    for (int i = 0; i < r->name_count; i++) {
        if (strcmp(r->names[i], path + size + 1) == 0) {
            return i;
        }
    }
    if (r->name_count == NAMES) {
        abort();
    }
    r->names[r->name_count] = strdup(path + size + 1);
    return r->name_count++;
}

static int open_plain(void *ctx, const char *path, enum lkv_os_open how, int *file)
{
    recorder *r = ctx;
    int rc = r->inner->os.files->open(r->inner, path, how, file);
    if (rc == 0) {
        r->of_file[*file] = strcmp(path, r->directory) == 0 ? -2 : -1;
    }
    return rc;
}

static int sync_plain(void *ctx, int file)
{
    recorder *r = ctx;
    if (r->of_file[file] == -2) {
        note(r, SYNC_NAMES, 0, 0, NULL, 0);
    }
    return r->inner->os.files->sync(r->inner, file);
}

static int open_shared(void *ctx, const char *path, int shared, enum lkv_os_use use,
                       unsigned mode, int *file)
{
    recorder *r = ctx;
    int rc = r->inner->os.shared->open(r->inner, path, shared, use, mode, file);
    if (rc == 0) {
        r->of_file[*file] = name_of(r, path);
        if (use == LKV_OS_MAKE) {
            note(r, MAKE, r->of_file[*file], 0, NULL, 0);
        }
    }
    return rc;
}

static int write_shared(void *ctx, int file, uint64_t offset, const void *bytes,
                        size_t size)
{
    recorder *r = ctx;
    note(r, WRITE, r->of_file[file], offset, bytes, size);
    return r->inner->os.shared->write(r->inner, file, offset, bytes, size);
}

static int sync_shared(void *ctx, int file)
{
    recorder *r = ctx;
    note(r, SYNC, r->of_file[file], 0, NULL, 0);
    return r->inner->os.shared->sync(r->inner, file);
}

static int remove_shared(void *ctx, const char *path, int shared)
{
    recorder *r = ctx;
    int rc = r->inner->os.shared->remove(r->inner, path, shared);
    if (rc == 0) {
        note(r, REMOVE, name_of(r, path), 0, NULL, 0);
    }
    return rc;
}

/* --- what is only passed on --------------------------------------------------------
 */

static void *resize(void *ctx, void *old, size_t size)
{
    return self(ctx)->inner->os.resize(self(ctx)->inner, old, size);
}
static void release(void *ctx, void *memory)
{
    self(ctx)->inner->os.release(self(ctx)->inner, memory);
}
static int64_t now_ms(void *ctx)
{
    return self(ctx)->inner->os.now_ms(self(ctx)->inner);
}
static int random_bytes(void *ctx, void *out, size_t size)
{
    return self(ctx)->inner->os.random(self(ctx)->inner, out, size);
}
static int size_plain(void *ctx, int file, uint64_t *size)
{
    return self(ctx)->inner->os.files->size(self(ctx)->inner, file, size);
}
static int read_plain(void *ctx, int file, uint64_t offset, void *out, size_t size,
                      size_t *got)
{
    return self(ctx)->inner->os.files->read(self(ctx)->inner, file, offset, out, size,
                                            got);
}
static int close_plain(void *ctx, int file)
{
    return self(ctx)->inner->os.files->close(self(ctx)->inner, file);
}
static uint64_t room(void *ctx, int file)
{
    return self(ctx)->inner->os.shared->room(self(ctx)->inner, file);
}

static int map(void *ctx, int file, size_t size, int writable, void **out)
{
    return self(ctx)->inner->os.shared->map(self(ctx)->inner, file, size, writable,
                                            out);
}
static void unmap(void *ctx, void *at, size_t size)
{
    self(ctx)->inner->os.shared->unmap(self(ctx)->inner, at, size);
}
static int lock(void *ctx, int file, uint64_t byte, enum lkv_os_lock how)
{
    return self(ctx)->inner->os.shared->lock(self(ctx)->inner, file, byte, how);
}
static int same(void *ctx, int file, const char *path, int shared)
{
    return self(ctx)->inner->os.shared->same(self(ctx)->inner, file, path, shared);
}
static int make_directory(void *ctx, const char *path, unsigned mode)
{
    return self(ctx)->inner->os.shared->make_directory(self(ctx)->inner, path, mode);
}
static int list(void *ctx, const char *path, int shared,
                int (*each)(void *arg, const char *name), void *arg)
{
    return self(ctx)->inner->os.shared->list(self(ctx)->inner, path, shared, each, arg);
}
static void sleep_ms(void *ctx, unsigned ms)
{
    self(ctx)->inner->os.shared->sleep_ms(self(ctx)->inner, ms);
}
static void why(void *ctx, int os_errno, char *out, size_t size)
{
    self(ctx)->inner->os.shared->why(self(ctx)->inner, os_errno, out, size);
}
static int boot(void *ctx, uint8_t *out)
{
    return self(ctx)->inner->os.shared->boot(self(ctx)->inner, out);
}
static uint64_t forks(void *ctx)
{
    return self(ctx)->inner->os.shared->forks(self(ctx)->inner);
}
static int guard(void *ctx, int file)
{
    return self(ctx)->inner->os.shared->guard(self(ctx)->inner, file);
}
static void unguard(void *ctx, int file)
{
    self(ctx)->inner->os.shared->unguard(self(ctx)->inner, file);
}

recorder *recorder_open(os_fault *os, const char *path)
{
    recorder *r = calloc(1, sizeof(*r));
    r->inner = os;
    r->directory = path;
    r->files = (lkv_os_files){.open = open_plain,
                              .size = size_plain,
                              .read = read_plain,
                              .sync = sync_plain,
                              .close = close_plain};
    r->shared = (lkv_os_shared){.open = open_shared,
                                .write = write_shared,
                                .sync = sync_shared,
                                .room = room,
                                .map = map,
                                .unmap = unmap,
                                .lock = lock,
                                .same = same,
                                .remove = remove_shared,
                                .make_directory = make_directory,
                                .list = list,
                                .sleep_ms = sleep_ms,
                                .why = why,
                                .boot = boot,
                                .forks = forks,
                                .guard = guard,
                                .unguard = unguard};
    r->os = (lkv_os){r, resize, release, now_ms, random_bytes, &r->files, &r->shared};
    return r;
}

void recorder_close(recorder *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->events[i].bytes);
    }
    for (int i = 0; i < r->name_count; i++) {
        free(r->names[i]);
    }
    free(r->events);
    free(r);
}

const lkv_os *recorder_os(recorder *r)
{
    return &r->os;
}

void recorder_returned(recorder *r)
{
    note(r, RETURNED, 0, 0, NULL, 0);
}

size_t recorder_events(const recorder *r)
{
    return r->count;
}

size_t recorder_returns(const recorder *r, size_t i)
{
    size_t returns = 0;
    while (i-- > 0) {
        returns += r->events[i].what == RETURNED;
    }
    return returns;
}

/* --- cuts ------------------------------------------------------------------------- */

typedef struct image {
    uint8_t *bytes;
    size_t size, room;
} image;

static void put(image *to, uint64_t offset, const uint8_t *bytes, size_t size)
{
    size_t end = (size_t)offset + size;
    if (end > to->room) {
        to->room = end * 2;
        to->bytes = realloc(to->bytes, to->room);
    }
    if (to->bytes == NULL) {
        abort();
    }
    if (end > to->size) {
        memset(to->bytes + to->size, 0, end - to->size);
        to->size = end;
    }
    memcpy(to->bytes + offset, bytes, size);
}

/* One write that no sync covers. */
static void put_some(image *to, const event *at, enum recorder_kind kind, int last,
                     uint64_t *random)
{
    for (size_t done = 0; done < at->size;) {
        size_t size = SECTOR - (size_t)(at->offset + done) % SECTOR;
        uint8_t noise[SECTOR];
        int keep = kind == RECORDER_KEPT || (kind == RECORDER_TORN && !last);
        size = size < at->size - done ? size : at->size - done;
        if (kind == RECORDER_TORN && last) {
            keep = check_below(random, 4) != 0;
            if (!keep) {
                return;
            }
        } else if (kind == RECORDER_REORDERED || kind == RECORDER_SCRAMBLED) {
            keep = check_below(random, 2) == 0;
        }
        if (keep) {
            put(to, at->offset + done, at->bytes + done, size);
        } else if (kind == RECORDER_SCRAMBLED && check_below(random, 2) == 0) {
            for (size_t i = 0; i < size; i++) {
                noise[i] = (uint8_t)check_random(random);
            }
            put(to, at->offset + done, noise, size);
        }
        done += size;
    }
}

/* The file's bytes; 0: there is none. */
static int cut_file(const recorder *r, int name, size_t end, enum recorder_kind kind,
                    uint64_t *random, image *to)
{
    size_t from = 0, synced = 0, last = 0;
    int there = 0, certain = 0, removed = 0;

    for (size_t i = 0; i < end; i++) {
        const event *at = &r->events[i];
        if (at->what == SYNC_NAMES) {
            certain = there;
            if (removed) {
                from = i;
                removed = 0;
            }
        } else if (at->name != name || at->what == RETURNED) {
            continue;
        } else if (at->what == MAKE) {
            from = synced = i; /* another file of the name */
            there = 1;
            certain = removed = 0;
        } else if (at->what == REMOVE) {
            there = 0;
            removed = 1;
        } else if (at->what == SYNC) {
            synced = i;
        } else {
            last = i;
        }
    }
    if (!there && !(removed && kind != RECORDER_KEPT && check_below(random, 2) == 0)) {
        return 0;
    }
    if (there && !certain && kind != RECORDER_KEPT && check_below(random, 2) == 0) {
        return 0;
    }
    to->size = 0;
    for (size_t i = from; i < end; i++) {
        const event *at = &r->events[i];
        if (at->what != WRITE || at->name != name) {
            continue;
        }
        if (i < synced) {
            put(to, at->offset, at->bytes, at->size);
        } else if (kind != RECORDER_DROPPED) {
            put_some(to, at, kind, i == last, random);
        }
    }
    return 1;
}

uint64_t recorder_cut(const recorder *r, size_t i, enum recorder_kind kind,
                      uint64_t *random, const char *to)
{
    image file = {0};
    uint64_t hash = 0;

    if (mkdir(to, 0700) != 0) {
        abort();
    }
    for (int name = 0; name < r->name_count; name++) {
        char path[600];
        FILE *out;
        if (!cut_file(r, name, i, kind, random, &file)) {
            continue;
        }
        hash = hash * 31 + (uint64_t)name +
               lkv_filter_hash((lkv_bytes){file.bytes, file.size});
        snprintf(path, sizeof(path), "%s/%s", to, r->names[name]);
        out = fopen(path, "wb");
        if (out == NULL ||
            (file.size > 0 && fwrite(file.bytes, 1, file.size, out) != file.size)) {
            abort();
        }
        (void)fclose(out);
    }
    free(file.bytes);
    return hash;
}
