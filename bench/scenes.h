/*
 * scenes.h - the workloads of the table of figures, in scenes that each begin with an
 * empty file.
 */
#ifndef LKV_BENCH_SCENES_H
#define LKV_BENCH_SCENES_H

#include "bench.h"

enum workload {
    LOAD, /* how the table of a sampled scene came to be */
    INSERT_1000,
    INSERT_ONE,
    OVERWRITE_1000,
    UPDATE_1000,
    DELETE_1000,
    READ_HIT,
    READ_HIT_COMPACT,
    READ_MISS,
    COUNT,
    RANGE,
    RANGE_COMPACT,
    SCAN,
    SCAN_COMPACT,
    RANGE_SORTED,
    RANGE_SORTED_COMPACT,
    SCAN_SORTED,
    SCAN_SORTED_COMPACT,
    SCAN_KEYS,
    QUEUE,
    INSERT_AUTO,
    READ_AUTO,
    DURABLE,
    DURABLE_BESIDE,
    SHELL_WARM,
    SHELL_COLD,
    OPEN_WARM,
    OPEN_COLD,
    MEMORY,
    MAPPED,
    SIZE,
    COMPACT,
    WORKLOADS
};

enum scenes {
    ALL,   /* everything */
    SHORT, /* what is wanted of a large table */
    CHART  /* what the chart draws */
};

typedef struct scene {
    enum scenes which;
    uint64_t changes;      /* operations of a workload that changes rows */
    uint64_t reads;        /* of one that reads */
    uint64_t memory_reads; /* before private memory is looked at */
    int sampled;           /* the ordinary table is filled by bench_load(), and random
                              inserts into the full table are measured, `changes` of them */
} scene;

/* Each fills in `result` of its workloads: microseconds an operation, milliseconds of
 * opening, KiB of memory, MB of size. */
void bench_scene_random(bench *b, const scene *s, double *result);
void bench_scene_one(bench *b, double *result);
void bench_scene_sorted(bench *b, const scene *s, double *result);

/* Commits that survive a power cut; and a write of 4 KiB over what was written before
 * with its sync, which is the least that such a commit has to wait for. */
void bench_scene_durable(bench *b, double *result);

#endif
