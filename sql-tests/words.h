/*
 * words.h - the state of a test file while it runs, and its records, one by one.
 */
#ifndef LKV_WORDS_H
#define LKV_WORDS_H

#include "script.h"
#include "session.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct lkv_options {
    const char *extension; /* or NULL */
    bool verbose;
    bool only_sum;
    bool require_all; /* a skip is a failure */
} lkv_options;

typedef struct lkv_sum {
    long passed;
    long failed;
    long skipped;
} lkv_sum;

typedef struct lkv_run {
    const lkv_options *options; /* borrowed */
    lkv_script script;
    lkv_session session;
    lkv_sum sum;
    size_t line;      /* of the record at hand */
    lkv_lines labels; /* label and hash of its result in turn */
    bool skip_next;   /* what a skipif or onlyif before the next record said */
    bool stop;        /* the rest of the file does not run */
} lkv_run;

/* Runs the record that begins with the line `header`, which it cuts to pieces. */
void lkv_words_record(lkv_run *run, char *header);

/* Counts a failure and prints its first line; false when nothing may be printed. */
bool lkv_words_fail(lkv_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
