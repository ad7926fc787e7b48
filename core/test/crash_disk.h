/*
 * crash_disk.h - what a disk is sure of while a store in files is written to, and what
 * a power cut may leave of it.
 */
#ifndef LKV_TEST_CRASH_DISK_H
#define LKV_TEST_CRASH_DISK_H

#include <stddef.h>
#include <stdint.h>

#define CRASH_NAME 32

typedef struct crash_disk crash_disk;
/* A file that was made, wherever its name leads by now. Valid until the next cut. */
typedef struct crash_file crash_file;

/* Of the empty directory `path`; both arguments must stay. */
crash_disk *crash_disk_open(const char *path, uint64_t *random);
void crash_disk_close(crash_disk *d);

/* What was done to the directory, after it was done: `name` leads to a new file, or to
 * none. */
crash_file *crash_disk_make(crash_disk *d, const char *name);
void crash_disk_remove(crash_disk *d, const char *name);
void crash_disk_sync_names(crash_disk *d);
/* The file that `name` leads to, or NULL. */
crash_file *crash_disk_find(crash_disk *d, const char *name);
/* Calls `each` with each name that leads to a file, in an order that depends on nothing
 * else, until it returns something other than 0, which becomes the result. */
int crash_disk_each(crash_disk *d, int (*each)(void *arg, const char *name), void *arg);

/* What was done to a file. */
void crash_disk_write(crash_file *file, uint64_t offset, const void *bytes,
                      size_t size);
void crash_disk_sync(crash_disk *d, crash_file *file);
/* The kernel writes the page that is mapped back whenever it likes. */
void crash_disk_write_back(crash_disk *d);

/* Makes of the directory, in which nothing is open, what a power cut may leave. */
void crash_disk_cut(crash_disk *d);

#endif
