/*
 * party.h - a store in files or in shared memory that several processes use, with the
 * real system beneath: os_fault.h belongs to one process.
 */
#ifndef LKV_TEST_PARTY_H
#define LKV_TEST_PARTY_H

#include "directory.h"

#include "storage_posix.h"
#include "store.h"

#include <sys/types.h>

enum party_kind { PARTY_FILES, PARTY_COPIES, PARTY_SHARED }; /* COPIES: mmap=off */
#define PARTY_KINDS 3

typedef struct party {
    directory directory;
    char path[300];
    lkv_posix_options options;
    uint32_t flush_size, segment;
    enum lkv_sync sync;
} party;

/* One handle. */
typedef struct guest {
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err;
} guest;

/* Small runs and segments, so that there is much to merge and to compact. */
void party_open(party *p, enum party_kind kind);
/* Removes the store, which nobody may have open, and checks that nothing is left. */
void party_close(party *p);

/* A handle; `u->err` tells why it could not be used. */
void guest_open(guest *u, const party *p);
void guest_make(guest *u);
void guest_close(guest *u);
/* A party with this setting, and a store that `u` has made. */
void party_begin(party *p, guest *u, enum party_kind kind, enum lkv_sync sync);
/* contents() of what was committed last, or the error. */
const char *guest_seen(guest *u);

/* Forks; the child runs `run` and ends with its result, which must be below 128. */
pid_t party_fork(int (*run)(void *arg), void *arg);
/* Waits for it; -1 when a signal ended it. */
int party_wait(pid_t child);

/* For a child, which has no cases: prints a line, and returns 1. */
int party_fail(const char *where, int line, int rc, const char *why);
#define PARTY_FAIL(rc, why) party_fail(__FILE__, __LINE__, rc, why)

#endif
