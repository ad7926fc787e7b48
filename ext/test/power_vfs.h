/*
 * power_vfs.h - an SQLite VFS on a power_disk, with locks and the WAL's shared memory
 * for the connections of one process. Directories are synced where SQLite's own for
 * Unix does it: with the first sync of a journal or WAL, and when xDelete asks.
 */
#ifndef LKV_TEST_POWER_VFS_H
#define LKV_TEST_POWER_VFS_H

#include "power_disk.h"

/* Makes it SQLite's default, with a clock that stands; and takes it away again. */
void power_vfs_begin(void);
void power_vfs_end(void);

/* The disk of files that are opened from here on. */
void power_vfs_use(power_disk *disk);

#endif
