/*
 * scenes.c - the workloads, in three scenes that each begin with an empty file.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RANDOM_SIZE 100

void bench_fail(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

double bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* splitmix64 (Steele, Lea, Flood, 2014): a bijection, so that keys are distinct. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void bench_key(uint64_t i, char *key)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t x = mix(i);
    for (int k = 15; k >= 0; k--, x >>= 4) {
        key[k] = hex[x & 15];
    }
}

void bench_value(uint64_t i, unsigned char *value)
{
    for (int k = 0; k < RANDOM_SIZE; k += 4) {
        uint32_t part = (uint32_t)mix(i * 32 + (uint64_t)k);
        memcpy(value + k, &part, 4);
    }
}

void bench_exec(bench *b, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(b->db, sql, NULL, NULL, &text) != SQLITE_OK) {
        bench_fail(sql, text);
    }
}

void bench_open(bench *b, int fresh)
{
    if (sqlite3_open(b->path, &b->db) != SQLITE_OK) {
        bench_fail(b->path, sqlite3_errmsg(b->db));
    }
    if (b->of->extension != NULL) {
        char *text = NULL;
        sqlite3_enable_load_extension(b->db, 1);
        if (sqlite3_load_extension(b->db, b->of->extension, "sqlite3_litekv_init",
                                   &text) != SQLITE_OK) {
            bench_fail(b->of->extension, text);
        }
    }
    if (fresh) {
        bench_exec(b, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL");
        bench_exec(b, b->of->create);
    }
    bench_exec(b, "PRAGMA synchronous=NORMAL");
}

void bench_close(bench *b)
{
    if (sqlite3_close(b->db) != SQLITE_OK) {
        bench_fail("close", sqlite3_errmsg(b->db));
    }
    b->db = NULL;
}

static sqlite3_stmt *prepare(bench *b, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(b->db, sql, -1, &statement, NULL) != SQLITE_OK) {
        bench_fail(sql, sqlite3_errmsg(b->db));
    }
    return statement;
}

typedef struct operation {
    const char *sql; /* ?1 the key, ?2 the value */
    uint64_t count;
    uint64_t batch; /* operations in a transaction; 0: each by itself */
    uint64_t (*pick)(uint64_t i, uint64_t keys); /* the key of operation `i` */
    int reads;                                   /* rows that each gives */
    int has_value;
} operation;

static uint64_t in_order(uint64_t i, uint64_t keys)
{
    (void)keys;
    return i;
}

static uint64_t any_present(uint64_t i, uint64_t keys)
{
    return mix(i ^ 0x5bd1e995u) % keys;
}

static uint64_t absent(uint64_t i, uint64_t keys)
{
    return keys * 2 + i;
}

/* Each key once, in an order that is not the order of insertion: i * 7919 is a
 * permutation where 7919, a prime, does not divide the number of keys. */
static uint64_t each_once(uint64_t i, uint64_t keys)
{
    return i * (keys % 7919 == 0 ? 7927 : 7919) % keys;
}

static void run_one(bench *b, sqlite3_stmt *statement, const operation *op, uint64_t i)
{
    uint64_t at = op->pick(i, b->keys);
    unsigned char value[RANDOM_SIZE];
    char key[16];
    int rows = 0;

    bench_key(at, key);
    sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
    if (op->has_value) {
        bench_value(at, value);
        sqlite3_bind_blob(statement, 2, value, sizeof(value), SQLITE_STATIC);
    }
    while (sqlite3_step(statement) == SQLITE_ROW) {
        rows++;
        if (op->reads == 1 && sqlite3_column_bytes(statement, 0) != RANDOM_SIZE) {
            bench_fail(op->sql, "a value has the wrong size");
        }
    }
    if (sqlite3_reset(statement) != SQLITE_OK || rows != op->reads) {
        bench_fail(op->sql, rows == op->reads ? sqlite3_errmsg(b->db)
                                              : "the wrong number of rows");
    }
}

static double run(bench *b, operation op)
{
    sqlite3_stmt *statement = prepare(b, op.sql);
    double start = bench_now(), took;
    for (uint64_t i = 0; i < op.count; i++) {
        if (op.batch > 0 && i % op.batch == 0) {
            bench_exec(b, i == 0 ? "BEGIN" : "COMMIT; BEGIN");
        }
        run_one(b, statement, &op, i);
    }
    if (op.batch > 0) {
        bench_exec(b, "COMMIT");
    }
    took = bench_now() - start;
    sqlite3_finalize(statement);
    return took * 1e6 / (double)op.count;
}

/* Steps through a query that must give `rows` rows; microseconds for each. */
static double scan(bench *b, const char *sql, uint64_t rows)
{
    sqlite3_stmt *statement = prepare(b, sql);
    double start = bench_now();
    uint64_t count = 0;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            (void)sqlite3_column_blob(statement, i);
        }
        count++;
    }
    if (sqlite3_finalize(statement) != SQLITE_OK || count != rows) {
        bench_fail(sql, "the wrong number of rows");
    }
    return (bench_now() - start) * 1e6 / (double)rows;
}

static double count_rows(bench *b, uint64_t rows)
{
    sqlite3_stmt *statement = prepare(b, "SELECT count(*) FROM kv");
    double start = bench_now();
    if (sqlite3_step(statement) != SQLITE_ROW ||
        (uint64_t)sqlite3_column_int64(statement, 0) != rows) {
        bench_fail("count(*)", "the wrong number");
    }
    sqlite3_finalize(statement);
    return (bench_now() - start) * 1e6 / (double)rows;
}

#define SELECT "SELECT value FROM kv WHERE key=?1"
#define INSERT "INSERT INTO kv(key, value) VALUES(?1, ?2)"

void bench_scene_random(bench *b)
{
    double *r = b->result;
    bench_open(b, 1);
    r[INSERT_1000] = run(b, (operation){INSERT, b->keys, 1000, in_order, 0, 1});
    r[READ_HIT] =
        run(b, (operation){SELECT, b->changes, b->changes, any_present, 1, 0});
    r[READ_MISS] = run(b, (operation){SELECT, b->changes, b->changes, absent, 0, 0});
    r[READ_AUTO] = run(b, (operation){SELECT, b->changes, 0, any_present, 1, 0});
    r[OVERWRITE_1000] =
        run(b, (operation){"INSERT OR REPLACE INTO kv(key, value) VALUES(?1, ?2)",
                           b->changes, 1000, any_present, 0, 1});
    r[UPDATE_1000] = run(b, (operation){"UPDATE kv SET value=?2 WHERE key=?1",
                                        b->changes, 1000, any_present, 0, 1});
    if (count_rows(b, b->keys) < 0) {
        bench_fail("count", "after overwriting");
    }
    r[DELETE_1000] = run(b, (operation){"DELETE FROM kv WHERE key=?1", b->changes, 1000,
                                        each_once, 0, 0});
    (void)count_rows(b, b->keys - b->changes);
    r[INSERT_AUTO] = run(b, (operation){INSERT, b->changes / 4, 0, absent, 0, 1});
    bench_close(b);
}

void bench_scene_one(bench *b)
{
    bench_open(b, 1);
    b->result[INSERT_ONE] =
        run(b, (operation){INSERT, b->keys, b->keys, in_order, 0, 1});
    (void)count_rows(b, b->keys);
    bench_close(b);
}

void bench_scene_ordered(bench *b)
{
    double *r = b->result;
    char sql[400];
    bench_open(b, 1);
    snprintf(
        sql, sizeof(sql),
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n LIMIT %llu) "
        "INSERT INTO kv(key, value) SELECT printf('%%016x', i*1000), randomblob(100) "
        "FROM n",
        (unsigned long long)b->keys);
    bench_exec(b, sql);
    (void)count_rows(b, b->keys); /* once unmeasured, so that both are warm */
    r[COUNT] = count_rows(b, b->keys);
    (void)scan(b, "SELECT key, value FROM kv ORDER BY key", b->keys);
    r[SCAN] = scan(b, "SELECT key, value FROM kv ORDER BY key", b->keys);
    r[SCAN_KEYS] = scan(b, "SELECT key FROM kv ORDER BY key", b->keys);
    bench_close(b);
}

double bench_first_row(bench *b)
{
    char key[16];
    double start = bench_now();
    sqlite3_stmt *statement;
    bench_open(b, 0);
    statement = prepare(b, SELECT);
    bench_key(1, key);
    sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_ROW) {
        bench_fail("open", "the first query finds nothing");
    }
    sqlite3_finalize(statement);
    return bench_now() - start;
}

double bench_private_kib(void)
{
    FILE *in = fopen("/proc/self/smaps_rollup", "r");
    char line[200];
    double kib = 0, part;
    if (in == NULL) {
        return 0;
    }
    while (fgets(line, sizeof(line), in) != NULL) {
        if (sscanf(line, "Private_Clean: %lf", &part) == 1 ||
            sscanf(line, "Private_Dirty: %lf", &part) == 1) {
            kib += part;
        }
    }
    fclose(in);
    return kib;
}
