/*
 * run_bench.h - a run in faulty memory beside the sorted array that it was made of.
 */
#ifndef LKV_TEST_RUN_BENCH_H
#define LKV_TEST_RUN_BENCH_H

#include "keys.h"
#include "os_fault.h"
#include "run.h"
#include "storage_fault.h"

#define BENCH_OBJECT LKV_RUN_FIRST

typedef struct bench {
    os_fault os;
    lkv_storage *memory;
    storage_fault fault;
    lkv_storage *storage;
    lkv_run run;
    keys all;
    lkv_error err;
} bench;

/* The caller makes `all`, which bench_close() frees. */
void bench_open(bench *b, uint32_t block);
/* Checks that nothing is left allocated. */
void bench_close(bench *b);

/* Writes the run of all keys; with `pauses`, a state of random numbers, it pauses now
 * and then, sometimes with another writer after it. */
int bench_write(bench *b, uint64_t *pauses);

/* What the run says of itself, and the bytes that it has. */
void bench_check_counts(bench *b);
/* Whether `key` is found exactly when the array has it. */
void bench_check_find(bench *b, lkv_bytes key);
/* That the cursor, after a move that returned `rc`, stands on key `want`, or at the end
 * when there is no such. */
void bench_check_at(bench *b, const lkv_run_cursor *cursor, int rc, size_t want);
/* A seek, and one step on in its direction. */
void bench_check_seek(bench *b, lkv_run_cursor *cursor, lkv_bytes key,
                      enum lkv_seek how);
/* From end to end in both directions. */
void bench_check_walks(bench *b);
/* Every `step`th key and those around it are found, or not, and led to. */
void bench_check_looks(bench *b, size_t step);
void bench_check_all(bench *b, size_t step);

#endif
