/*
 * os_fault.h - an lkv_os that fails on demand and knows what it gave out.
 *
 * Every resize moves, and what was given back is overwritten first: a view that
 * outlived its memory shows. Time and random bytes are the same in every run. Files are
 * real ones.
 */
#ifndef LKV_TEST_OS_FAULT_H
#define LKV_TEST_OS_FAULT_H

#include "os.h"

typedef struct os_fault {
    lkv_os os;        /* to hand in; os.ctx is the struct itself, which must not move */
    uint64_t calls;   /* of all but release and now_ms, since armed */
    uint64_t fail_at; /* the call that fails, counted from 1; 0: none */
    int for_good;     /* and all after it */
    /* With either of these two, allocations do not count. */
    int as; /* the errno of calls that fail; 0: each has its own */
    /* Instead of failing: is called first, and the call is made. */
    void (*before)(void *arg);
    void *before_arg;
    uint64_t failures;
    uint64_t live; /* allocations not given back */
    uint64_t live_bytes;
    uint64_t open_files, maps;
    uint64_t room;     /* bytes that are said to be left; 0: those that are */
    uint64_t slept_ms; /* it does not sleep really */
    int only_reads;    /* files of a store can be opened for no more */
    uint8_t boots;     /* another number: the machine was started again */
    int64_t now_ms;
    uint8_t next_random; /* random bytes count upwards from here */
} os_fault;

void os_fault_init(os_fault *fault);

/* Lets the `nth` call from here on fail, and with `for_good` all after it; 0: none. */
void os_fault_arm(os_fault *fault, uint64_t nth, int for_good);

#endif
