/*
 * bench.h - what the benchmarks share: the data set, one engine under measurement, the
 * operations that it goes through, and how a figure is printed.
 *
 * Everything here ends the program when anything goes wrong: a figure of a wrong answer
 * is worth nothing. A figure that cannot be had (a function that this litekv.so has
 * not) is NAN, and printed as `-`.
 */
#ifndef LKV_BENCH_H
#define LKV_BENCH_H

#include <sqlite3.h>
#include <stdint.h>

#define BENCH_KEY_SIZE 16
#define BENCH_VALUE_SIZE 100

typedef struct engine {
    const char *name;
    const char *create;
    int is_litekv;
} engine;

extern const engine bench_litekv, bench_table;

/*
 * What the command line says
 */

typedef struct bench_setup {
    const char *help; /* what --help prints */
    const char *extension;
    const char *arguments; /* more of them for litekv's table, or NULL */
    uint64_t keys;
    char directory[400]; /* a new one for this run's files, removed at the end */
} bench_setup;

/* The next option that is the program's own, one of `letters` (as getopt has them), or
 * -1 after the last. Sees to those that all programs have: -e, -n, -d, -o, --help. */
int bench_option(bench_setup *setup, int argc, char **argv, const char *letters);

/* The number that `text` is, from `least` to `most`. */
uint64_t bench_count(const char *text, uint64_t least, uint64_t most);

/* After the options: makes the directory, and takes it away when the program ends. */
void bench_begin(bench_setup *setup);

/* Empties that directory. */
void bench_empty(void);

/*
 * The data set
 */

/* The `i`th key (16 hex digits) and value (100 bytes that do not compress). */
void bench_key(uint64_t i, char *key);
void bench_value(uint64_t i, unsigned char *value);

/* Which key operation `i` has, of a table of `keys` keys. */
uint64_t bench_in_order(uint64_t i, uint64_t keys);
uint64_t bench_any(uint64_t i, uint64_t keys);       /* present, with repetitions */
uint64_t bench_absent(uint64_t i, uint64_t keys);    /* each another one */
uint64_t bench_new(uint64_t i, uint64_t keys);       /* the same, and others still */
uint64_t bench_each_once(uint64_t i, uint64_t keys); /* present, each another one */

/*
 * One engine and its file
 */

typedef struct bench {
    const engine *of;
    const char *extension;
    const char *arguments; /* of litekv's table, or NULL */
    const char *vfs;       /* NULL: SQLite's own */
    const char *journal;   /* the journal mode; NULL: WAL */
    sqlite3 *db;
    char path[512];
    uint64_t keys; /* in the table */
} bench;

/* An engine without a file: all files of the engine before are removed. */
void bench_start(bench *b, const bench_setup *setup, const engine *of);
void bench_open(bench *b, int fresh); /* fresh: makes the table */
void bench_close(bench *b);
void bench_exec(bench *b, const char *sql);
sqlite3_stmt *bench_prepare(bench *b, const char *sql);
int64_t bench_number(bench *b, const char *sql); /* the first column of its one row */

/* Whether `sql`, of an engine, can be prepared: the way to ask for a function. */
int bench_has(bench *b, const char *sql);

/* Calls litekv_compact('kv', 64 MiB) until nothing is left to do; seconds, or NAN
 * without such a function. */
double bench_compact(bench *b);

/* What litekv_stats('kv') says; -1 where it says nothing, and for another engine. */
typedef struct bench_stats {
    int64_t log_bytes, live_bytes, runs, segments, compact_left;
} bench_stats;
bench_stats bench_ask(bench *b);

/* Whether litekv's table keeps its rows outside the database. */
int bench_is_external(const char *arguments);

/* Bytes of the database's file as it lies there, and of all in its directory that is
 * not a journal. */
double bench_file_bytes(const bench *b);

/*
 * Operations; each figure is microseconds for one of them
 */

#define BENCH_SELECT "SELECT value FROM kv WHERE key=?1"
#define BENCH_INSERT "INSERT INTO kv(key, value) VALUES(?1, ?2)"
#define BENCH_REPLACE "INSERT OR REPLACE INTO kv(key, value) VALUES(?1, ?2)"
#define BENCH_DELETE "DELETE FROM kv WHERE key=?1"

typedef struct operation {
    const char *sql; /* ?1 the key, ?2 the value */
    uint64_t count;
    uint64_t batch; /* operations in a transaction; 0: each by itself */
    uint64_t (*pick)(uint64_t i, uint64_t keys);
    int reads; /* rows that each gives */
    int has_value;
} operation;

double bench_run(bench *b, operation op);

/* Fills the empty table with its keys, sorted piece by piece: load.c says why. */
double bench_load(bench *b);

/* One operation of those, number `i`, by the caller's statement. */
void bench_run_one(bench *b, sqlite3_stmt *statement, const operation *op, uint64_t i);

/* Rows in key order: all of them (`sql` must give `rows`), a figure for each row; and
 * `count` times 100 rows from a random key on, a figure for each time. */
double bench_scan(bench *b, const char *sql, uint64_t rows);
double bench_ranges(bench *b, uint64_t count);

/* count(*), which must be `rows`; a figure for each row. */
double bench_count_rows(bench *b, uint64_t rows);

/*
 * Figures
 */

double bench_now(void); /* seconds */

/* Seconds, too: what operations are measured by. The same clock; after the call below
 * the processor's time that this process took, without what it waited for a disk or for
 * other processes. */
double bench_clock(void);
void bench_count_processor_time(void);
double bench_median(double *of, int count);

/* A line of two figures, litekv's and the ordinary table's, with their ratio and the
 * most that is wanted of the ratio (0: nothing is). The head names the columns. */
void bench_print_head(const char *title);
void bench_print(const char *name, const char *unit, double litekv, double table,
                 double bound);

/* The same figures with tabs between them, for programs. */
void bench_print_tabs(double litekv, double table, double bound);

_Noreturn void bench_fail(const char *what, const char *why);

#endif
