/*
 * ram.c - see ram.h.
 */
#include "ram.h"

#include <stdlib.h>
#include <string.h>

#define REGIONS 16
#define PATH_SIZE 512

typedef struct content { /* of a file */
    struct content *next;
    char path[PATH_SIZE];
    unsigned char *bytes;
    size_t size, room;
    void *region[REGIONS]; /* of a WAL's shared memory */
} content;

typedef struct file {
    sqlite3_file base; /* SQLite's; first */
    struct file *next; /* that is open */
    content *of;
    int passing;          /* gone when it is closed */
    int level;            /* SQLITE_LOCK_... */
    unsigned read, write; /* locks of the shared memory, a bit for each */
} file;

static content *contents;
static file *files;

int (*ram_fails)(enum ram_call call);

static int fails(enum ram_call call)
{
    return ram_fails == NULL ? SQLITE_OK : ram_fails(call);
}

static content *find(const char *path)
{
    content *at = contents;
    while (at != NULL && strcmp(at->path, path) != 0) {
        at = at->next;
    }
    return at;
}

static content *make(const char *path)
{
    content *made = calloc(1, sizeof(*made));
    if (made != NULL) {
        if (path != NULL) { /* a passing one is found by nobody */
            strncpy(made->path, path, sizeof(made->path) - 1);
        }
        made->next = contents;
        contents = made;
    }
    return made;
}

static void free_regions(content *of)
{
    for (int i = 0; i < REGIONS; i++) {
        free(of->region[i]);
        of->region[i] = NULL;
    }
}

static void unlink_content(content *of)
{
    content **link = &contents;
    while (*link != of) {
        link = &(*link)->next;
    }
    *link = of->next;
    free_regions(of);
    free(of->bytes);
    free(of);
}

static int resize(content *of, size_t size)
{
    if (size > of->room) {
        size_t room = size * 2;
        unsigned char *moved = realloc(of->bytes, room);
        if (moved == NULL) {
            return SQLITE_IOERR_NOMEM;
        }
        of->bytes = moved;
        of->room = room;
    }
    if (size > of->size) {
        memset(of->bytes + of->size, 0, size - of->size);
    }
    of->size = size;
    return SQLITE_OK;
}

/* Files */

static int close_file(sqlite3_file *base)
{
    file *at = (file *)base;
    file **link = &files;
    while (*link != at) {
        link = &(*link)->next;
    }
    *link = at->next;
    if (at->passing) {
        unlink_content(at->of);
    }
    return SQLITE_OK;
}

static int read_file(sqlite3_file *base, void *out, int size, sqlite3_int64 offset)
{
    const content *of = ((file *)base)->of;
    size_t start = (size_t)offset;
    size_t have = start < of->size ? of->size - start : 0;
    int rc = fails(RAM_READ);

    if (rc != SQLITE_OK) {
        return rc;
    }
    have = have < (size_t)size ? have : (size_t)size;
    if (have > 0) {
        memcpy(out, of->bytes + start, have);
    }
    memset((unsigned char *)out + have, 0, (size_t)size - have);
    return have < (size_t)size ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int write_file(sqlite3_file *base, const void *bytes, int size,
                      sqlite3_int64 offset)
{
    content *of = ((file *)base)->of;
    int rc = fails(RAM_WRITE);
    size_t part = (size_t)(rc == SQLITE_OK ? size : size / 2);
    size_t end = (size_t)offset + part;

    if (end > of->size && resize(of, end) != SQLITE_OK) {
        return SQLITE_IOERR_NOMEM;
    }
    if (part > 0) {
        memcpy(of->bytes + offset, bytes, part);
    }
    return rc;
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size)
{
    int rc = fails(RAM_TRUNCATE);
    return rc == SQLITE_OK ? resize(((file *)base)->of, (size_t)size) : rc;
}

static int sync_file(sqlite3_file *base, int flags)
{
    (void)base;
    (void)flags;
    return fails(RAM_SYNC);
}

static int size_of_file(sqlite3_file *base, sqlite3_int64 *size)
{
    *size = (sqlite3_int64)((file *)base)->of->size;
    return SQLITE_OK;
}

/* The highest level of anybody else. */
static int others(const file *at)
{
    int level = SQLITE_LOCK_NONE;
    for (const file *other = files; other != NULL; other = other->next) {
        if (other != at && other->of == at->of && other->level > level) {
            level = other->level;
        }
    }
    return level;
}

static int lock(sqlite3_file *base, int level)
{
    file *at = (file *)base;
    int other = others(at);

    if (at->level >= level) {
        return SQLITE_OK;
    }
    if (other >=
        (level == SQLITE_LOCK_SHARED ? SQLITE_LOCK_PENDING : SQLITE_LOCK_RESERVED)) {
        return SQLITE_BUSY;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE && other >= SQLITE_LOCK_SHARED) {
        at->level = SQLITE_LOCK_PENDING;
        return SQLITE_BUSY;
    }
    at->level = level;
    return SQLITE_OK;
}

static int unlock(sqlite3_file *base, int level)
{
    file *at = (file *)base;
    at->level = level < at->level ? level : at->level;
    return SQLITE_OK;
}

static int is_reserved(sqlite3_file *base, int *out)
{
    const file *at = (const file *)base;
    *out = at->level >= SQLITE_LOCK_RESERVED || others(at) >= SQLITE_LOCK_RESERVED;
    return SQLITE_OK;
}

static int control(sqlite3_file *base, int what, void *arg)
{
    (void)base;
    (void)what;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *base)
{
    (void)base;
    return 512;
}

static int characteristics(sqlite3_file *base)
{
    (void)base;
    return 0;
}

/* The shared memory of a WAL */

static int map_region(sqlite3_file *base, int i, int size, int extend,
                      void volatile **out)
{
    content *of = ((file *)base)->of;
    if (i >= REGIONS) {
        return SQLITE_IOERR_SHMMAP;
    }
    if (of->region[i] == NULL && extend) {
        of->region[i] = calloc(1, (size_t)size);
    }
    *out = of->region[i];
    return SQLITE_OK;
}

static int lock_region(sqlite3_file *base, int offset, int count, int flags)
{
    file *at = (file *)base;
    unsigned mask = ((1u << count) - 1) << offset;
    int shared = (flags & SQLITE_SHM_SHARED) != 0;

    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
        at->read &= ~mask;
        at->write &= ~mask;
        return SQLITE_OK;
    }
    for (const file *other = files; other != NULL; other = other->next) {
        if (other != at && other->of == at->of &&
            ((other->write & mask) != 0 || (!shared && (other->read & mask) != 0))) {
            return SQLITE_BUSY;
        }
    }
    *(shared ? &at->read : &at->write) |= mask;
    return SQLITE_OK;
}

static void barrier(sqlite3_file *base)
{
    (void)base;
}

static int unmap_regions(sqlite3_file *base, int gone)
{
    file *at = (file *)base;
    at->read = at->write = 0;
    if (gone) {
        free_regions(at->of);
    }
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = close_file,
                                           .xRead = read_file,
                                           .xWrite = write_file,
                                           .xTruncate = truncate_file,
                                           .xSync = sync_file,
                                           .xFileSize = size_of_file,
                                           .xLock = lock,
                                           .xUnlock = unlock,
                                           .xCheckReservedLock = is_reserved,
                                           .xFileControl = control,
                                           .xSectorSize = sector_size,
                                           .xDeviceCharacteristics = characteristics,
                                           .xShmMap = map_region,
                                           .xShmLock = lock_region,
                                           .xShmBarrier = barrier,
                                           .xShmUnmap = unmap_regions};

/* The VFS */

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags,
                     int *out_flags)
{
    file *at = (file *)base;
    int rc = fails(RAM_OPEN);

    (void)vfs;
    memset(at, 0, sizeof(*at));
    if (rc != SQLITE_OK) {
        return rc;
    }
    at->of = path == NULL ? NULL : find(path);
    if (at->of == NULL && (flags & SQLITE_OPEN_CREATE) != 0) {
        at->of = make(path);
    }
    if (at->of == NULL) {
        return SQLITE_CANTOPEN;
    }
    at->base.pMethods = &methods;
    at->passing = path == NULL || (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    at->next = files;
    files = at;
    if (out_flags != NULL) {
        *out_flags = flags;
    }
    return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int sync)
{
    content *of = find(path);
    int rc = fails(RAM_DELETE);

    (void)vfs;
    (void)sync;
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (of == NULL) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    unlink_content(of);
    return SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    (void)vfs;
    (void)flags;
    *out = find(path) != NULL;
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *path, int size, char *out)
{
    (void)vfs;
    sqlite3_snprintf(size, out, "%s", path);
    return SQLITE_OK;
}

void ram_install(void)
{
    static sqlite3_vfs ram;
    ram = *sqlite3_vfs_find(NULL); /* time and random bytes are the real one's */
    ram.szOsFile = sizeof(file);
    ram.mxPathname = PATH_SIZE - 1;
    ram.zName = "ram";
    ram.xOpen = open_file;
    ram.xDelete = delete_file;
    ram.xAccess = access_file;
    ram.xFullPathname = full_path;
    sqlite3_vfs_register(&ram, 1);
}

void ram_clear(void)
{
    CHECK(files == NULL);
    while (contents != NULL && files == NULL) {
        unlink_content(contents);
    }
}

void *ram_copy(const char *path, size_t *size)
{
    const content *of = find(path);
    void *bytes = of == NULL ? NULL : malloc(of->size + 1);
    if (bytes != NULL) {
        *size = of->size;
        memcpy(bytes, of->bytes, of->size);
    }
    return bytes;
}

void ram_put(const char *path, const void *bytes, size_t size)
{
    content *of = find(path);
    of = of == NULL ? make(path) : of;
    if (CHECK(of != NULL && resize(of, size) == SQLITE_OK)) {
        memcpy(of->bytes, bytes, size);
    }
}
