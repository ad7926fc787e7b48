/*
 * ram.h - a VFS whose files are memory, and whose calls fail on demand.
 *
 * It has what SQLite asks of one: locks between the connections of this process, the
 * shared memory of a WAL, files that are gone when they are closed. A sync does
 * nothing: no test here cuts the power. Tests of thousands of small databases take a
 * fraction of the time that files would.
 */
#ifndef RAM_H
#define RAM_H

#include "check.h"

enum ram_call { RAM_OPEN, RAM_READ, RAM_WRITE, RAM_TRUNCATE, RAM_SYNC, RAM_DELETE };

/* Asked before each call, unless it is NULL: SQLITE_OK, or the code to fail with. A
 * write that fails has written half. */
extern int (*ram_fails)(enum ram_call call);

/* All connections that are opened from here on have it. */
void ram_install(void);
/* Removes every file; none may be open. */
void ram_clear(void);
/* Takes a copy of a file, for free(); NULL when there is none. */
void *ram_copy(const char *path, size_t *size);
/* Makes a file of that content. */
void ram_put(const char *path, const void *bytes, size_t size);

#endif
