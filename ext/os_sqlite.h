/*
 * os_sqlite.h - core's os.h on SQLite's own allocator, clock and random numbers, so
 * that memory is counted and failures are tested where the host application does.
 */
#ifndef LKV_OS_SQLITE_H
#define LKV_OS_SQLITE_H

#include "../core/os.h"

extern const lkv_os lkv_os_sqlite;

#endif
