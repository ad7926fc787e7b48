/*
 * vfs.c - a VFS over the default one. Every call goes through unchanged; xWrite and
 * xSync are counted on their way.
 *
 * The memory behind a file is one piece: this file's own struct, then the real one's,
 * whose size the real VFS names.
 */
#include "vfs.h"

#include "bench.h"

#include <string.h>

typedef struct counted {
    sqlite3_file base;
    enum vfs_kind kind;
} counted;

vfs_counts vfs_counted;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((counted *)(void *)file + 1);
}

#define REAL(file) real_of(file)->pMethods

static int close_file(sqlite3_file *file)
{
    return REAL(file)->xClose(real_of(file));
}

static int read_file(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    return REAL(file)->xRead(real_of(file), to, size, offset);
}

static int write_file(sqlite3_file *file, const void *from, int size,
                      sqlite3_int64 offset)
{
    vfs_counted.bytes[((counted *)(void *)file)->kind] += (uint64_t)size;
    return REAL(file)->xWrite(real_of(file), from, size, offset);
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
    return REAL(file)->xTruncate(real_of(file), size);
}

static int sync_file(sqlite3_file *file, int flags)
{
    vfs_counted.syncs++;
    return REAL(file)->xSync(real_of(file), flags);
}

static int size_of_file(sqlite3_file *file, sqlite3_int64 *size)
{
    return REAL(file)->xFileSize(real_of(file), size);
}

static int lock_file(sqlite3_file *file, int level)
{
    return REAL(file)->xLock(real_of(file), level);
}

static int unlock_file(sqlite3_file *file, int level)
{
    return REAL(file)->xUnlock(real_of(file), level);
}

static int check_lock(sqlite3_file *file, int *is_reserved)
{
    return REAL(file)->xCheckReservedLock(real_of(file), is_reserved);
}

static int control(sqlite3_file *file, int what, void *argument)
{
    return REAL(file)->xFileControl(real_of(file), what, argument);
}

static int sector_size(sqlite3_file *file)
{
    return REAL(file)->xSectorSize(real_of(file));
}

static int characteristics(sqlite3_file *file)
{
    return REAL(file)->xDeviceCharacteristics(real_of(file));
}

static int shm_map(sqlite3_file *file, int page, int size, int extend,
                   void volatile **out)
{
    return REAL(file)->xShmMap(real_of(file), page, size, extend, out);
}

static int shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return REAL(file)->xShmLock(real_of(file), offset, count, flags);
}

static void shm_barrier(sqlite3_file *file)
{
    REAL(file)->xShmBarrier(real_of(file));
}

static int shm_unmap(sqlite3_file *file, int remove)
{
    return REAL(file)->xShmUnmap(real_of(file), remove);
}

/* Version 2: without xFetch, which would only serve PRAGMA mmap_size. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = size_of_file,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = check_lock,
    .xFileControl = control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

static enum vfs_kind kind_of(int flags)
{
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        return VFS_DATABASE;
    }
    if ((flags & SQLITE_OPEN_WAL) != 0) {
        return VFS_WAL;
    }
    return (flags & SQLITE_OPEN_MAIN_JOURNAL) != 0 ? VFS_JOURNAL : VFS_OTHER;
}

static int open_file(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file,
                     int flags, int *out_flags)
{
    sqlite3_vfs *under = vfs->pAppData;
    int rc = under->xOpen(under, name, real_of(file), flags, out_flags);
    ((counted *)(void *)file)->kind = kind_of(flags);
    /* A real file without methods failed to open, and must not be closed. */
    file->pMethods = REAL(file) != NULL ? &methods : NULL;
    return rc;
}

const char *vfs_register(void)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *under = sqlite3_vfs_find(NULL);

    if (under == NULL) {
        bench_fail("vfs", "SQLite has none");
    }
    /* Its other methods do not look at the struct that they are called with, or only at
     * pAppData, which the default VFS's xOpen needs: it is called with its own. */
    vfs = *under;
    vfs.zName = "counting";
    vfs.pAppData = under;
    vfs.szOsFile += (int)sizeof(counted);
    vfs.xOpen = open_file;
    if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK) {
        bench_fail("vfs", "cannot be registered");
    }
    return vfs.zName;
}

vfs_counts vfs_since(const vfs_counts *before)
{
    vfs_counts since = vfs_counted;
    for (int kind = 0; kind < VFS_KINDS; kind++) {
        since.bytes[kind] -= before->bytes[kind];
    }
    since.syncs -= before->syncs;
    return since;
}
