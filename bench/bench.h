/*
 * bench.h - one engine under measurement, and the workloads that it goes through.
 */
#ifndef LKV_BENCH_H
#define LKV_BENCH_H

#include <sqlite3.h>
#include <stdint.h>

enum workload {
    INSERT_1000,
    READ_HIT,
    READ_MISS,
    READ_AUTO,
    OVERWRITE_1000,
    UPDATE_1000,
    INSERT_AUTO,
    DELETE_1000,
    INSERT_ONE,
    COUNT,
    SCAN,
    SCAN_KEYS,
    OPEN_WARM,
    OPEN_COLD,
    MEMORY,
    SIZE,
    WORKLOADS
};

typedef struct engine {
    const char *name;
    const char *create;
    const char *extension; /* NULL: none to load */
} engine;

typedef struct bench {
    const engine *of;
    sqlite3 *db;
    char path[512];
    uint64_t keys;    /* in the table */
    uint64_t changes; /* operations of a workload that changes rows */
    double
        result[WORKLOADS]; /* microseconds an operation; KiB for memory, MB for size */
} bench;

/* The `i`th key (16 hex digits) and value (100 bytes) of the data set. */
void bench_key(uint64_t i, char *key);
void bench_value(uint64_t i, unsigned char *value);

/* Opens the engine's file, and makes the table when it is new. Ends the program when
 * anything goes wrong, as all that follow do: a figure of a wrong answer is worth
 * nothing. */
void bench_open(bench *b, int fresh);
void bench_close(bench *b);
void bench_exec(bench *b, const char *sql);

/* The scenes: each fills in the results of its workloads. */
void bench_scene_random(bench *b);
void bench_scene_one(bench *b);
void bench_scene_ordered(bench *b);

/* What a new process measures: seconds to the first row, private memory after reads. */
double bench_first_row(bench *b);
double bench_private_kib(void);
double bench_now(void);
_Noreturn void bench_fail(const char *what, const char *why);

#endif
