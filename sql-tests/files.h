/*
 * files.h - directories of files: made for a test, copied, removed, listed.
 */
#ifndef LKV_FILES_H
#define LKV_FILES_H

#include "text.h"

#include <stdbool.h>

/* A new empty directory below $TMPDIR or /tmp; the caller frees the name. NULL when it
 * cannot be made. */
char *lkv_files_make_dir(void);
/* With all that is in it. 0, or -1 when something stays. */
int lkv_files_remove_dir(const char *dir);
/* What is left of POSIX shared memory whose names begin so. */
void lkv_files_remove_shared(const char *prefix);
/* The files of one directory into another, and those in directories below; all but the
 * shared memory of SQLite's WAL, which dies with the last process that used it. */
int lkv_files_copy_dir(const char *from, const char *to);

bool lkv_files_is_dir(const char *path);
/* Adds the paths of the test files in a directory (not of those below) in order of
 * their names. */
int lkv_files_list_tests(const char *dir, lkv_lines *paths);

#endif
