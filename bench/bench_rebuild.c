/*
 * bench_rebuild.c - how fast litekv_rebuild_index() goes through the log, beside plain
 * scans of it.
 *
 * The first scan is SQL: length() of a blob needs its page but not its bytes. The
 * second asks for the bytes of every block, as a rebuild has to.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define MOST_ROUNDS 25

static const char help[] =
    "bench-rebuild [options]: MB/s of litekv_rebuild_index beside plain scans of the\n"
    "log's shadow table and of the ordinary table\n"
    "\n"
    "  -n KEYS  of 16 bytes, with values of 100; default 1000000\n"
    "  -r N     rounds, of which the medians are printed; default 5\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

#define SUM_BLOCKS "SELECT count(*), sum(length(block)) FROM kv_log"
#define ALL_BLOCKS "SELECT block FROM kv_log"
#define SUM_VALUES "SELECT count(*), sum(length(value)) FROM kv"
#define ALL_VALUES "SELECT key, value FROM kv"

enum figure { SUM, BYTES, REBUILD, FIGURES };

static double seconds[2][FIGURES][MOST_ROUNDS];

static double scan(bench *b, const char *sql)
{
    sqlite3_stmt *statement = bench_prepare(b, sql);
    double start = bench_now();
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            if (sqlite3_column_type(statement, i) == SQLITE_BLOB) {
                (void)sqlite3_column_blob(statement, i);
            }
        }
    }
    if (sqlite3_finalize(statement) != SQLITE_OK) {
        bench_fail(sql, sqlite3_errmsg(b->db));
    }
    return bench_now() - start;
}

static double rebuild(bench *b)
{
    static const char sql[] = "SELECT litekv_rebuild_index('kv')";
    double start = bench_now();
    if (!bench_has(b, sql)) {
        return NAN;
    }
    bench_exec(b, sql);
    return bench_now() - start;
}

/* Bytes that a scan goes through. */
static double measure(const bench_setup *setup, int at, int rounds)
{
    bench b;
    double bytes;

    bench_start(&b, setup, at == 0 ? &bench_litekv : &bench_table);
    bench_open(&b, 1);
    (void)bench_run(&b,
                    (operation){BENCH_INSERT, b.keys, b.keys, bench_in_order, 0, 1});
    bench_exec(&b, "PRAGMA wal_checkpoint(TRUNCATE)");
    bytes = at == 0 ? (double)bench_ask(&b).log_bytes : bench_file_bytes(&b);
    for (int i = 0; i < rounds; i++) {
        seconds[at][SUM][i] = scan(&b, at == 0 ? SUM_BLOCKS : SUM_VALUES);
        seconds[at][BYTES][i] = scan(&b, at == 0 ? ALL_BLOCKS : ALL_VALUES);
        seconds[at][REBUILD][i] = rebuild(&b);
    }
    (void)bench_count_rows(&b, b.keys);
    bench_close(&b);
    return bytes;
}

int main(int argc, char **argv)
{
    static const char *const names[FIGURES] = {"scan, sum(length(block or value))",
                                               "scan that takes every byte",
                                               "litekv_rebuild_index"};
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 1000000};
    int rounds = 5;
    double rate[2][FIGURES];

    while (bench_option(&setup, argc, argv, "r:") != -1) {
        rounds = (int)bench_count(optarg, 1, MOST_ROUNDS);
    }
    bench_begin(&setup);
    printf("SQLite %s, %llu keys of %d bytes, values of %d; MB/s of the log, or of the "
           "ordinary table's file; %d rounds, medians\n",
           sqlite3_libversion(), (unsigned long long)setup.keys, BENCH_KEY_SIZE,
           BENCH_VALUE_SIZE, rounds);
    for (int at = 0; at < 2; at++) {
        double bytes = measure(&setup, at, rounds);
        for (int f = 0; f < FIGURES; f++) {
            rate[at][f] = bytes / 1e6 / bench_median(seconds[at][f], rounds);
        }
    }
    bench_print_head("");
    for (int f = 0; f < FIGURES; f++) {
        bench_print(names[f], "MB/s", rate[0][f], rate[1][f], 0);
    }
    if (isnan(rate[0][REBUILD])) {
        return 0;
    }
    printf("rebuild / scan: %.2f of sum(length(block)), %.2f of every byte\n",
           rate[0][REBUILD] / rate[0][SUM], rate[0][REBUILD] / rate[0][BYTES]);
    return 0;
}
