/*
 * storage_fault.h - a storage that hands every call on to another, fails on demand, and
 * holds its user to the letter of storage.h.
 *
 * A view is a copy of no more bytes than were asked for, and is overwritten at the next
 * call of any kind. A write that fails has written half. With `owner` set, a failing
 * call rolls that store back before it returns, as SQLite does in the middle of a
 * nested statement.
 */
#ifndef LKV_TEST_STORAGE_FAULT_H
#define LKV_TEST_STORAGE_FAULT_H

#include "storage_database.h"

typedef struct storage_fault {
    lkv_storage base; /* to hand in */
    lkv_storage *inner;
    uint64_t calls;             /* that may fail, since armed */
    uint64_t fail_at;           /* the call that fails, counted from 1; 0: none */
    int for_good;               /* and all after it */
    int rc;                     /* what it returns */
    lkv_store *owner;           /* rolled back when a call fails; or NULL */
    storage_database *database; /* undone before that, when it is there */
    uint64_t failures;
    uint64_t reads, writes, roots, ends, syncs, rewinds, removes; /* since armed */
    uint64_t uneven; /* writes that began or ended off a multiple of `block` */
    uint8_t *view;   /* given out last */
    size_t view_size;
} storage_fault;

void storage_fault_init(storage_fault *fault, lkv_storage *inner);
void storage_fault_free(storage_fault *fault);

/* Lets the `nth` call from here on fail with `rc`, and with `for_good` all after it;
 * 0: none. Starts all counts again. */
void storage_fault_arm(storage_fault *fault, uint64_t nth, int for_good, int rc);

#endif
