/*
 * directory.h - a directory for a test, and copies of a store in files as it stands: as
 * a power cut or the death of its writer would leave it.
 */
#ifndef LKV_TEST_DIRECTORY_H
#define LKV_TEST_DIRECTORY_H

#include "check.h"

typedef struct directory {
    char path[256];
} directory;

/* A new empty directory, and one more path in it that is free. */
void directory_make(directory *d);
const char *directory_path(directory *d, const char *name, char *out, size_t size);
/* Removes it with all that is in it. */
void directory_remove(directory *d);

/* Copies all files of directory `from` into a new directory `to`. */
void directory_copy(const char *from, const char *to);
/* Changes one file: sets byte `offset` to `byte`, or cuts it there. */
void directory_poke(const char *path, const char *file, long offset, int byte);
void directory_cut(const char *path, const char *file, long size);
/* Bytes of a file, -1 when there is none; a byte of it. */
long directory_size(const char *path, const char *file);
int directory_peek(const char *path, const char *file, long offset);

#endif
