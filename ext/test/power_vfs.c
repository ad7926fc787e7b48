/*
 * power_vfs.c - see power_vfs.h.
 */
#include "power_vfs.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

#define NOW 212000000000000 /* some day in ms of the Julian day number */

typedef struct power_open_file {
    sqlite3_file base;
    power_disk *disk;
    int inode;
    int level;       /* of its lock */
    int syncs_names; /* its name was not synced yet, and is with the file */
    int maps;        /* the WAL index */
    int slots;       /* bits of locks there that are held shared */
    int own;         /* and alone */
} power_open_file;

static power_disk *used;

static power_open_file *self(sqlite3_file *file)
{
    return (power_open_file *)(void *)file;
}

static power_inode *inode_of(sqlite3_file *file)
{
    return power_at(self(file)->disk, self(file)->inode);
}

/* --- bytes ---------------------------------------------------------------------- */

static int read_file(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    const power_bytes *now = &inode_of(file)->now;
    size_t have = 0;
    if ((size_t)offset < now->size) {
        have = now->size - (size_t)offset;
        have = have < (size_t)size ? have : (size_t)size;
        memcpy(to, now->data + offset, have);
    }
    memset((char *)to + have, 0, (size_t)size - have);
    return have == (size_t)size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int write_file(sqlite3_file *file, const void *from, int size,
                      sqlite3_int64 offset)
{
    power_write(self(file)->disk, self(file)->inode, (uint64_t)offset, from,
                (size_t)size);
    return SQLITE_OK;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
    power_truncate(self(file)->disk, self(file)->inode, (uint64_t)size);
    return SQLITE_OK;
}

static int sync_file(sqlite3_file *file, int flags)
{
    (void)flags;
    power_sync(self(file)->disk, self(file)->inode);
    if (self(file)->syncs_names) {
        power_sync_names(self(file)->disk);
        self(file)->syncs_names = 0;
    }
    return SQLITE_OK;
}

static int size_of_file(sqlite3_file *file, sqlite3_int64 *size)
{
    *size = (sqlite3_int64)inode_of(file)->now.size;
    return SQLITE_OK;
}

/* --- locks ---------------------------------------------------------------------- */

static int is_others(const void *owner, const sqlite3_file *file)
{
    return owner != NULL && owner != file;
}

static int lock_file(sqlite3_file *file, int level)
{
    power_inode *inode = inode_of(file);
    int *own = &self(file)->level;

    if (level <= *own) {
        return SQLITE_OK;
    }
    if (is_others(inode->exclusive, file) ||
        (*own == SQLITE_LOCK_NONE && inode->pending != NULL) ||
        (level > SQLITE_LOCK_SHARED &&
         (is_others(inode->reserved, file) || is_others(inode->pending, file)))) {
        return SQLITE_BUSY;
    }
    if (*own == SQLITE_LOCK_NONE) {
        inode->shared++;
        *own = SQLITE_LOCK_SHARED;
    }
    if (level == SQLITE_LOCK_RESERVED) {
        inode->reserved = file;
        *own = level;
    } else if (level == SQLITE_LOCK_EXCLUSIVE) {
        inode->pending = file;
        *own = SQLITE_LOCK_PENDING;
        if (inode->shared > 1) {
            return SQLITE_BUSY;
        }
        inode->exclusive = file;
        *own = level;
    }
    return SQLITE_OK;
}

static int unlock_file(sqlite3_file *file, int level)
{
    power_inode *inode = inode_of(file);
    const void **owners[] = {&inode->reserved, &inode->pending, &inode->exclusive};

    if (level >= self(file)->level) {
        return SQLITE_OK;
    }
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        if (*owners[i] == file) {
            *owners[i] = NULL;
        }
    }
    if (level == SQLITE_LOCK_NONE) {
        inode->shared--;
    }
    self(file)->level = level;
    return SQLITE_OK;
}

static int check_lock(sqlite3_file *file, int *is_reserved)
{
    const power_inode *inode = inode_of(file);
    *is_reserved =
        inode->reserved != NULL || inode->pending != NULL || inode->exclusive != NULL;
    return SQLITE_OK;
}

static int control(sqlite3_file *file, int what, void *argument)
{
    (void)file;
    (void)what;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int sector_of(sqlite3_file *file)
{
    int safe;
    return (int)power_disk_sector(self(file)->disk, &safe);
}

static int traits(sqlite3_file *file)
{
    int safe;
    (void)power_disk_sector(self(file)->disk, &safe);
    return safe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

/* --- the WAL's index ------------------------------------------------------------ */

static int map_region(sqlite3_file *file, int region, int size, int extend,
                      void volatile **out)
{
    power_inode *inode = inode_of(file);

    if (!self(file)->maps) {
        self(file)->maps = 1;
        inode->region_users++;
    }
    *out = NULL;
    if (region >= inode->region_count) {
        if (!extend) {
            return SQLITE_OK;
        }
        inode->regions = realloc(inode->regions, ((size_t)region + 1) * sizeof(void *));
        while (inode->regions != NULL && inode->region_count <= region) {
            inode->regions[inode->region_count++] = calloc(1, (size_t)size);
        }
    }
    if (inode->regions == NULL || inode->regions[region] == NULL) {
        abort();
    }
    *out = inode->regions[region];
    return SQLITE_OK;
}

static void unlock_slot(power_open_file *of, power_inode *inode, int slot)
{
    if ((of->own & 1 << slot) != 0) {
        inode->slot_owner[slot] = NULL;
    } else if ((of->slots & 1 << slot) != 0) {
        inode->slot_shared[slot]--;
    }
    of->own &= ~(1 << slot);
    of->slots &= ~(1 << slot);
}

static int can_lock_slot(const power_open_file *of, const power_inode *inode, int slot,
                         int flags)
{
    int others = inode->slot_shared[slot] - ((of->slots & 1 << slot) != 0);
    return !is_others(inode->slot_owner[slot], &of->base) &&
           ((flags & SQLITE_SHM_SHARED) != 0 || others == 0);
}

static void lock_slot(power_open_file *of, power_inode *inode, int slot, int flags)
{
    unlock_slot(of, inode, slot);
    if ((flags & SQLITE_SHM_SHARED) != 0) {
        inode->slot_shared[slot]++;
        of->slots |= 1 << slot;
    } else {
        inode->slot_owner[slot] = &of->base;
        of->own |= 1 << slot;
    }
}

static int lock_slots(sqlite3_file *file, int first, int count, int flags)
{
    power_open_file *of = self(file);
    power_inode *inode = inode_of(file);

    for (int i = first; i < first + count; i++) {
        if ((flags & SQLITE_SHM_LOCK) != 0 && !can_lock_slot(of, inode, i, flags)) {
            return SQLITE_BUSY;
        }
    }
    for (int i = first; i < first + count; i++) {
        if ((flags & SQLITE_SHM_LOCK) != 0) {
            lock_slot(of, inode, i, flags);
        } else {
            unlock_slot(of, inode, i);
        }
    }
    return SQLITE_OK;
}

static void barrier(sqlite3_file *file)
{
    (void)file;
}

static int unmap(sqlite3_file *file, int remove)
{
    power_inode *inode = inode_of(file);

    (void)remove;
    if (self(file)->maps) {
        self(file)->maps = 0;
        if (--inode->region_users == 0) {
            for (int i = 0; i < inode->region_count; i++) {
                free(inode->regions[i]);
            }
            free(inode->regions);
            inode->regions = NULL;
            inode->region_count = 0;
        }
    }
    return SQLITE_OK;
}

static int close_file(sqlite3_file *file)
{
    (void)unmap(file, 0);
    return unlock_file(file, SQLITE_LOCK_NONE);
}

static const sqlite3_io_methods methods = {.iVersion = 2,
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
                                           .xSectorSize = sector_of,
                                           .xDeviceCharacteristics = traits,
                                           .xShmMap = map_region,
                                           .xShmLock = lock_slots,
                                           .xShmBarrier = barrier,
                                           .xShmUnmap = unmap};

/* --- files by name -------------------------------------------------------------- */

static enum power_file kind_of(int flags)
{
    if ((flags & SQLITE_OPEN_MAIN_DB) != 0) {
        return POWER_DATABASE;
    }
    if ((flags & SQLITE_OPEN_WAL) != 0) {
        return POWER_WAL;
    }
    if ((flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0) {
        return POWER_JOURNAL;
    }
    return POWER_OTHER;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                     int *out_flags)
{
    power_open_file *of = self(file);
    enum power_file kind = kind_of(flags);
    int found = name == NULL ? -1 : power_find(used, name);

    (void)vfs;
    memset(of, 0, sizeof(*of));
    of->disk = used;
    of->inode = found;
    of->syncs_names = (flags & SQLITE_OPEN_CREATE) != 0 &&
                      (kind == POWER_JOURNAL || kind == POWER_WAL);
    if (found < 0) {
        if ((flags & SQLITE_OPEN_CREATE) == 0) {
            return SQLITE_CANTOPEN;
        }
        of->inode = power_make(used, name, kind);
    }
    if (out_flags != NULL) {
        *out_flags = flags;
    }
    of->base.pMethods = &methods;
    return SQLITE_OK;
}

static int remove_file(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    if (power_find(used, name) < 0) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    power_remove(used, name);
    if (sync) {
        power_sync_names(used);
    }
    return SQLITE_OK;
}

static int access_file(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    int inode = power_find(used, name);
    (void)vfs;
    /* As on Unix, an empty file is as good as none: xAccess is asked for journals. */
    *out = inode >= 0 &&
           (flags != SQLITE_ACCESS_EXISTS || power_at(used, inode)->now.size > 0);
    return SQLITE_OK;
}

static int full_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

static int random_bytes(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    memset(out, 0, (size_t)size); /* SQLITE_TESTCTRL_PRNG_SEED adds to it */
    return size;
}

static int wait_for(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int now_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    (void)vfs;
    *out = NOW;
    return SQLITE_OK;
}

static int now_days(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    *out = (double)NOW / 86400000;
    return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    (void)size;
    (void)out;
    return 0;
}

static sqlite3_vfs vfs = {.iVersion = 2,
                          .szOsFile = sizeof(power_open_file),
                          .mxPathname = 200,
                          .zName = "power",
                          .xOpen = open_file,
                          .xDelete = remove_file,
                          .xAccess = access_file,
                          .xFullPathname = full_path,
                          .xRandomness = random_bytes,
                          .xSleep = wait_for,
                          .xCurrentTime = now_days,
                          .xCurrentTimeInt64 = now_ms,
                          .xGetLastError = last_error};

void power_vfs_begin(void)
{
    if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK) {
        abort();
    }
}

void power_vfs_end(void)
{
    sqlite3_vfs_unregister(&vfs);
}

void power_vfs_use(power_disk *disk)
{
    used = disk;
}
