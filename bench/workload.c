/*
 * workload.c - the data set, and operations on it.
 */
#include "bench.h"

#include <string.h>

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
    for (int k = BENCH_KEY_SIZE - 1; k >= 0; k--, x >>= 4) {
        key[k] = hex[x & 15];
    }
}

void bench_value(uint64_t i, unsigned char *value)
{
    for (int k = 0; k < BENCH_VALUE_SIZE; k += 4) {
        uint32_t part = (uint32_t)mix(i * 32 + (uint64_t)k);
        memcpy(value + k, &part, 4);
    }
}

uint64_t bench_in_order(uint64_t i, uint64_t keys)
{
    (void)keys;
    return i;
}

uint64_t bench_any(uint64_t i, uint64_t keys)
{
    return mix(i ^ 0x5bd1e995u) % keys;
}

uint64_t bench_absent(uint64_t i, uint64_t keys)
{
    return keys * 2 + i;
}

uint64_t bench_new(uint64_t i, uint64_t keys)
{
    return keys * 3 + i;
}

/* In an order that is not the order of insertion: i * 7919 is a permutation where 7919,
 * a prime, does not divide the number of keys. */
uint64_t bench_each_once(uint64_t i, uint64_t keys)
{
    return i * (keys % 7919 == 0 ? 7927 : 7919) % keys;
}

void bench_run_one(bench *b, sqlite3_stmt *statement, const operation *op, uint64_t i)
{
    uint64_t at = op->pick(i, b->keys);
    unsigned char value[BENCH_VALUE_SIZE];
    char key[BENCH_KEY_SIZE];
    int rows = 0;

    bench_key(at, key);
    sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
    if (op->has_value) {
        bench_value(at, value);
        sqlite3_bind_blob(statement, 2, value, sizeof(value), SQLITE_STATIC);
    }
    while (sqlite3_step(statement) == SQLITE_ROW) {
        rows++;
        if (op->reads == 1 && sqlite3_column_bytes(statement, 0) != BENCH_VALUE_SIZE) {
            bench_fail(op->sql, "a value has the wrong size");
        }
    }
    if (sqlite3_reset(statement) != SQLITE_OK || rows != op->reads) {
        bench_fail(op->sql, rows == op->reads ? sqlite3_errmsg(b->db)
                                              : "the wrong number of rows");
    }
}

double bench_run(bench *b, operation op)
{
    sqlite3_stmt *statement = bench_prepare(b, op.sql);
    double start = bench_clock(), took;
    for (uint64_t i = 0; i < op.count; i++) {
        if (op.batch > 0 && i % op.batch == 0) {
            bench_exec(b, i == 0 ? "BEGIN" : "COMMIT; BEGIN");
        }
        bench_run_one(b, statement, &op, i);
    }
    if (op.batch > 0) {
        bench_exec(b, "COMMIT");
    }
    took = bench_clock() - start;
    sqlite3_finalize(statement);
    return took * 1e6 / (double)op.count;
}

static uint64_t step_through(sqlite3_stmt *statement)
{
    uint64_t count = 0;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            (void)sqlite3_column_blob(statement, i);
        }
        count++;
    }
    return count;
}

double bench_scan(bench *b, const char *sql, uint64_t rows)
{
    sqlite3_stmt *statement = bench_prepare(b, sql);
    double start = bench_clock();
    uint64_t count = step_through(statement);
    if (sqlite3_finalize(statement) != SQLITE_OK || count != rows) {
        bench_fail(sql, "the wrong number of rows");
    }
    return (bench_clock() - start) * 1e6 / (double)rows;
}

double bench_ranges(bench *b, uint64_t count)
{
    static const char sql[] =
        "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key LIMIT 100";
    sqlite3_stmt *statement = bench_prepare(b, sql);
    double start = bench_clock();
    uint64_t rows = 0;
    char key[BENCH_KEY_SIZE];

    for (uint64_t i = 0; i < count; i++) {
        bench_key(bench_any(i, b->keys), key);
        sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
        rows += step_through(statement);
        if (sqlite3_reset(statement) != SQLITE_OK) {
            bench_fail(sql, sqlite3_errmsg(b->db));
        }
    }
    /* Only the ranges that begin among the last 99 keys are shorter. */
    if (rows < count * 50 || rows > count * 100) {
        bench_fail(sql, "the wrong number of rows");
    }
    sqlite3_finalize(statement);
    return (bench_clock() - start) * 1e6 / (double)count;
}

double bench_count_rows(bench *b, uint64_t rows)
{
    double start = bench_clock();
    if ((uint64_t)bench_number(b, "SELECT count(*) FROM kv") != rows) {
        bench_fail("count(*)", "the wrong number");
    }
    return (bench_clock() - start) * 1e6 / (double)rows;
}
