/*
 * vfs.h - a VFS that counts what SQLite writes, by the kind of file.
 */
#ifndef LKV_BENCH_VFS_H
#define LKV_BENCH_VFS_H

#include <stdint.h>

enum vfs_kind { VFS_DATABASE, VFS_WAL, VFS_JOURNAL, VFS_OTHER, VFS_KINDS };

typedef struct vfs_counts {
    uint64_t bytes[VFS_KINDS]; /* of all xWrite calls */
    uint64_t syncs;            /* calls of xSync, whatever the file */
} vfs_counts;

/* Since the program began. One thread. */
extern vfs_counts vfs_counted;

/* Registers it, over SQLite's own default, and gives its name for sqlite3_open_v2(). */
const char *vfs_register(void);

vfs_counts vfs_since(const vfs_counts *before);

#endif
