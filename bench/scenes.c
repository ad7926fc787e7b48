/*
 * scenes.c - the workloads of the table of figures.
 *
 * Reads come twice: of a table as it was loaded, and of one that has been overwritten
 * and deleted from and then compacted by litekv_compact(). The ordinary table goes
 * through the same, but for the compaction.
 */
#include "scenes.h"

#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ORDERED "SELECT key, value FROM kv ORDER BY key"
#define WARM_TRIES 7
#define COLD_TRIES 3

/* Of the closed database, just loaded. */
static void measure_opening(bench *b, const scene *s, double *r)
{
    double tries[WARM_TRIES];
    fresh found;

    bench_make_warm(b);
    (void)bench_shell(b);
    for (int i = 0; i < WARM_TRIES; i++) {
        tries[i] = bench_shell(b);
    }
    r[SHELL_WARM] = bench_median(tries, WARM_TRIES) * 1e3;
    found = bench_fresh(b, s->memory_reads);
    r[OPEN_WARM] = found.first_row_s * 1e3;
    if (bench_is_external(b->arguments)) {
        /* Pages of a map that nobody else has would count as private. */
        r[MEMORY] = found.anonymous_kib;
        r[MAPPED] = found.mapped_kib;
    } else {
        r[MEMORY] = found.read_kib;
    }
    for (int i = 0; i < COLD_TRIES; i++) {
        bench_make_cold(b);
        tries[i] = bench_shell(b);
    }
    r[SHELL_COLD] = bench_median(tries, COLD_TRIES) * 1e3;
    bench_make_cold(b);
    found = bench_fresh(b, 0);
    r[OPEN_COLD] = found.first_row_s * 1e3;
    r[SIZE] = bench_file_bytes(b) / 1e6;
    bench_make_warm(b);
}

static void load(bench *b, const scene *s, double *r)
{
    bench_open(b, 1);
    if (s->sampled && !b->of->is_litekv) {
        r[LOAD] = bench_load(b);
    } else {
        double took = bench_run(
            b, (operation){BENCH_INSERT, b->keys, 1000, bench_in_order, 0, 1});
        r[s->sampled ? LOAD : INSERT_1000] = took;
    }
    bench_close(b);
}

/* Of a table of `rows`. */
static void change_all(bench *b, const scene *s, uint64_t rows, double *r)
{
    uint64_t n = s->changes;
    r[OVERWRITE_1000] =
        bench_run(b, (operation){BENCH_REPLACE, n, 1000, bench_any, 0, 1});
    if (s->which == ALL) {
        r[UPDATE_1000] = bench_run(b, (operation){"UPDATE kv SET value=?2 WHERE key=?1",
                                                  n, 1000, bench_any, 0, 1});
    }
    (void)bench_count_rows(b, rows);
    r[DELETE_1000] =
        bench_run(b, (operation){BENCH_DELETE, n, 1000, bench_each_once, 0, 0});
    (void)bench_count_rows(b, rows - n);
    /* Back again, so that the reads before and after have the same keys to find. */
    (void)bench_run(b, (operation){BENCH_INSERT, n, 1000, bench_each_once, 0, 1});
}

void bench_scene_random(bench *b, const scene *s, double *r)
{
    uint64_t rows = b->keys;

    load(b, s, r);
    if (s->which != CHART) {
        measure_opening(b, s, r);
    }
    bench_open(b, 0);
    r[READ_HIT] =
        bench_run(b, (operation){BENCH_SELECT, s->reads, s->reads, bench_any, 1, 0});
    r[READ_MISS] =
        bench_run(b, (operation){BENCH_SELECT, s->reads, s->reads, bench_absent, 0, 0});
    if (s->which == ALL) {
        r[READ_AUTO] =
            bench_run(b, (operation){BENCH_SELECT, s->reads, 0, bench_any, 1, 0});
    }
    r[RANGE] = bench_ranges(b, s->reads / 20);
    r[SCAN] = bench_scan(b, ORDERED, rows);
    if (s->sampled) {
        r[INSERT_1000] =
            bench_run(b, (operation){BENCH_INSERT, s->changes, 1000, bench_new, 0, 1});
        rows += s->changes;
    }
    change_all(b, s, rows, r);
    if (s->which == ALL) {
        r[INSERT_AUTO] = bench_run(
            b, (operation){BENCH_INSERT, s->changes / 4, 0, bench_absent, 0, 1});
        rows += s->changes / 4;
    }
    r[COMPACT] = bench_compact(b) * 1e6 / (double)rows;
    if (!b->of->is_litekv || !isnan(r[COMPACT])) {
        r[READ_HIT_COMPACT] = bench_run(
            b, (operation){BENCH_SELECT, s->reads, s->reads, bench_any, 1, 0});
        r[RANGE_COMPACT] = bench_ranges(b, s->reads / 20);
        r[SCAN_COMPACT] = bench_scan(b, ORDERED, rows);
    }
    bench_close(b);
}

void bench_scene_one(bench *b, double *r)
{
    bench_open(b, 1);
    r[INSERT_ONE] =
        bench_run(b, (operation){BENCH_INSERT, b->keys, b->keys, bench_in_order, 0, 1});
    (void)bench_count_rows(b, b->keys);
    bench_close(b);
}

/* The same keys in their order: what a B-tree is best at. */
static void fill_sorted(bench *b)
{
    char sql[400];
    bench_exec(b, "CREATE TEMP TABLE keys(key TEXT)");
    (void)bench_run(b, (operation){"INSERT INTO keys VALUES(?1)", b->keys, b->keys,
                                   bench_in_order, 0, 0});
    snprintf(sql, sizeof(sql),
             "INSERT INTO kv(key, value) SELECT key, randomblob(%d) FROM keys "
             "ORDER BY key",
             BENCH_VALUE_SIZE);
    bench_exec(b, sql);
    bench_exec(b, "DROP TABLE keys");
}

static void step(bench *b, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE || sqlite3_changes(b->db) != 1) {
        bench_fail(sqlite3_sql(statement), sqlite3_errmsg(b->db));
    }
    sqlite3_reset(statement);
}

/* A row is taken from the front and another put at the end, in transactions of 1,000:
 * rows that are gone pile up in front of the first one. */
static double run_queue(bench *b, uint64_t count)
{
    sqlite3_stmt *take =
        bench_prepare(b, "DELETE FROM kv WHERE key=(SELECT min(key) FROM kv)");
    sqlite3_stmt *put = bench_prepare(
        b, "INSERT INTO kv(key, value) VALUES(printf('g%015x', ?1), zeroblob(100))");
    double start = bench_clock();
    for (uint64_t i = 0; i < count; i++) {
        if (i % 1000 == 0) {
            bench_exec(b, i == 0 ? "BEGIN" : "COMMIT; BEGIN");
        }
        sqlite3_bind_int64(put, 1, (sqlite3_int64)i);
        step(b, put);
        step(b, take);
    }
    bench_exec(b, "COMMIT");
    start = bench_clock() - start;
    sqlite3_finalize(take);
    sqlite3_finalize(put);
    return start * 1e6 / (double)count;
}

void bench_scene_sorted(bench *b, const scene *s, double *r)
{
    double took;

    bench_open(b, 1);
    fill_sorted(b);
    (void)bench_count_rows(b, b->keys); /* once unmeasured, so that both are warm */
    r[COUNT] = bench_count_rows(b, b->keys);
    (void)bench_scan(b, ORDERED, b->keys);
    r[RANGE_SORTED] = bench_ranges(b, s->reads / 20);
    r[SCAN_SORTED] = bench_scan(b, ORDERED, b->keys);
    r[SCAN_KEYS] = bench_scan(b, "SELECT key FROM kv ORDER BY key", b->keys);
    took = bench_compact(b);
    if (!b->of->is_litekv || !isnan(took)) {
        r[RANGE_SORTED_COMPACT] = bench_ranges(b, s->reads / 20);
        r[SCAN_SORTED_COMPACT] = bench_scan(b, ORDERED, b->keys);
    }
    r[QUEUE] = run_queue(b, s->changes);
    bench_close(b);
}

/* Microseconds for a write of 4 KiB and its fdatasync, in a file whose space was
 * written before. */
static double write_and_sync(const bench *b, uint64_t count)
{
    static char block[4096];
    char path[sizeof(b->path) + 8];
    double begun, took;
    int file;

    snprintf(path, sizeof(path), "%s.sync", b->path);
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (uint64_t i = 0; i < count; i++) {
        if (write(file, block, sizeof(block)) != sizeof(block)) {
            bench_fail(path, strerror(errno));
        }
    }
    if (fsync(file) != 0) {
        bench_fail(path, strerror(errno));
    }
    begun = bench_now();
    for (uint64_t i = 0; i < count; i++) {
        block[0] = (char)i;
        if (pwrite(file, block, sizeof(block), (off_t)(i * sizeof(block))) !=
                sizeof(block) ||
            fdatasync(file) != 0) {
            bench_fail(path, strerror(errno));
        }
    }
    took = (bench_now() - begun) * 1e6 / (double)count;
    (void)close(file);
    (void)unlink(path);
    return took;
}

void bench_scene_durable(bench *b, double *r)
{
    const uint64_t count = 1000;
    bench_open(b, 1);
    bench_exec(b, "PRAGMA synchronous=FULL");
    if (b->of->is_litekv && bench_is_external(b->arguments)) {
        bench_exec(b, "INSERT INTO kv(kv) VALUES('sync=full')");
    }
    r[DURABLE] =
        bench_run(b, (operation){BENCH_INSERT, count, 0, bench_in_order, 0, 1});
    bench_close(b);
    /* Printed in the columns of both engines: litekv's commits, and this. */
    r[DURABLE_BESIDE] = b->of->is_litekv ? r[DURABLE] : write_and_sync(b, count);
}
