/*
 * crash_os.h - an lkv_os on the real files of one directory, whose user dies at a
 * chosen call; then the machine may have lost its power as well.
 *
 * All who use it are one process: what dies are all handles that were opened on it.
 */
#ifndef LKV_TEST_CRASH_OS_H
#define LKV_TEST_CRASH_OS_H

#include "os.h"

#include <setjmp.h>

typedef struct crash_os crash_os;

/* Makes the directory `path`, a text that must stay. Clock, random bytes and cuts
 * follow from `seed`. */
crash_os *crash_os_open(const char *path, uint64_t seed);
/* Whatever is still open on it dies. The files stay. */
void crash_os_close(crash_os *c);
const lkv_os *crash_os_os(crash_os *c);

/* The process dies before event number `events` from now on: it goes on at `death`, and
 * crash_os_die() is to follow. An event is a call that changes something; with
 * `syncs_only` none counts but one that syncs. */
void crash_os_arm(crash_os *c, uint64_t events, int syncs_only, jmp_buf *death);
/* Takes all that the process had: memory, maps, open files and with them locks. Its
 * handles must not be touched again, not even to close them. */
void crash_os_die(crash_os *c);
/* After it: makes of the files what a power cut may leave of them, and another run of
 * the machine. */
void crash_os_cut(crash_os *c);

/* The last event, for people. */
const char *crash_os_last(const crash_os *c);

#endif
