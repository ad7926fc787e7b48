/*
 * recorder.h - an lkv_os that notes what is written to the files of one directory, and
 * makes of it the directory as a power cut would leave it at any moment.
 */
#ifndef LKV_TEST_RECORDER_H
#define LKV_TEST_RECORDER_H

#include "os_fault.h"

enum recorder_kind { /* of a cut: what became of writes that no sync covers */
                     RECORDER_DROPPED,   /* none was done */
                     RECORDER_KEPT,      /* all were done */
                     RECORDER_TORN,      /* the last one up to a sector */
                     RECORDER_REORDERED, /* each sector was written or not */
                     RECORDER_SCRAMBLED, /* or holds anything */
                     RECORDER_KINDS
};

typedef struct recorder recorder;

/* Calls go on to `os`; `path` is that of the directory that is watched. */
recorder *recorder_open(os_fault *os, const char *path);
void recorder_close(recorder *r);
const lkv_os *recorder_os(recorder *r);

/* Notes that what was done until here has returned to its caller. */
void recorder_returned(recorder *r);

/* How many events there are, and how many recorder_returned() before event `i`. */
size_t recorder_events(const recorder *r);
size_t recorder_returns(const recorder *r, size_t i);

/* Writes directory `to` as it may be after a power cut before event `i`. The result is
 * a hash of its bytes. */
uint64_t recorder_cut(const recorder *r, size_t i, enum recorder_kind kind,
                      uint64_t *random, const char *to);

#endif
