/*
 * engine.c - one engine under measurement: its connection, its table, what it says of
 * itself.
 */
#include "bench.h"

#include <ftw.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const engine bench_litekv = {
    "litekv", "CREATE VIRTUAL TABLE kv USING litekv(key TEXT, value BLOB)", 1};
const engine bench_table = {
    "table", "CREATE TABLE kv(key TEXT PRIMARY KEY NOT NULL, value BLOB) WITHOUT ROWID",
    0};

void bench_exec(bench *b, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(b->db, sql, NULL, NULL, &text) != SQLITE_OK) {
        bench_fail(sql, text);
    }
}

sqlite3_stmt *bench_prepare(bench *b, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(b->db, sql, -1, &statement, NULL) != SQLITE_OK) {
        bench_fail(sql, sqlite3_errmsg(b->db));
    }
    return statement;
}

int64_t bench_number(bench *b, const char *sql)
{
    sqlite3_stmt *statement = bench_prepare(b, sql);
    int64_t number;
    if (sqlite3_step(statement) != SQLITE_ROW) {
        bench_fail(sql, sqlite3_errmsg(b->db));
    }
    number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

int bench_has(bench *b, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int rc = b->of->is_litekv ? sqlite3_prepare_v2(b->db, sql, -1, &statement, NULL)
                              : SQLITE_ERROR;
    sqlite3_finalize(statement);
    return rc == SQLITE_OK;
}

int bench_is_external(const char *arguments)
{
    return arguments != NULL &&
           (strstr(arguments, "path") != NULL || strstr(arguments, "shm") != NULL);
}

/* A store in shared memory outlives the files of a run: the scene before left it. */
static void remove_shared(bench *b)
{
    const char *at = strstr(b->arguments, "shm=");
    char sql[300];
    if (at != NULL) {
        at += strspn(at, "shm='\"");
        snprintf(sql, sizeof(sql), "SELECT litekv_remove('shm:%.*s')",
                 (int)strcspn(at, "'\", "), at);
        (void)sqlite3_exec(b->db, sql, NULL, NULL, NULL); /* often there is none */
    }
}

/* With the arguments of the command line behind the engine's own. */
static void create(bench *b)
{
    char sql[1000];
    if (!b->of->is_litekv || b->arguments == NULL) {
        bench_exec(b, b->of->create);
        return;
    }
    remove_shared(b);
    snprintf(sql, sizeof(sql), "%.*s, %s)", (int)strlen(b->of->create) - 1,
             b->of->create, b->arguments);
    bench_exec(b, sql);
}

void bench_open(bench *b, int fresh)
{
    if (sqlite3_open_v2(b->path, &b->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                        b->vfs) != SQLITE_OK) {
        bench_fail(b->path, sqlite3_errmsg(b->db));
    }
    if (b->of->is_litekv) {
        char *text = NULL;
        sqlite3_enable_load_extension(b->db, 1);
        if (sqlite3_load_extension(b->db, b->extension, "sqlite3_litekv_init", &text) !=
            SQLITE_OK) {
            bench_fail(b->extension, text);
        }
    }
    if (fresh) {
        char sql[80];
        snprintf(sql, sizeof(sql), "PRAGMA page_size=4096; PRAGMA journal_mode=%s",
                 b->journal == NULL ? "WAL" : b->journal);
        bench_exec(b, sql);
        create(b);
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

/* In pieces, as README.md advises: all of a gigabyte in one transaction makes a WAL
 * that is slow to search, and takes several times as long. */
double bench_compact(bench *b)
{
    static const char sql[] = "SELECT litekv_compact('kv', 67108864)";
    double start = bench_clock();
    if (!bench_has(b, sql)) {
        return NAN;
    }
    while (bench_number(b, sql) > 0) {
    }
    return bench_clock() - start;
}

/* The number after "name": in JSON of one level; -1 without one. */
static int64_t member(const char *json, const char *name)
{
    char quoted[40];
    const char *at;
    snprintf(quoted, sizeof(quoted), "\"%s\":", name);
    at = strstr(json, quoted);
    return at == NULL ? -1 : strtoll(at + strlen(quoted), NULL, 10);
}

bench_stats bench_ask(bench *b)
{
    static const char sql[] = "SELECT litekv_stats('kv')";
    bench_stats stats = {-1, -1, -1, -1, -1};
    sqlite3_stmt *statement;
    const char *json;

    if (!bench_has(b, sql)) {
        return stats;
    }
    statement = bench_prepare(b, sql);
    if (sqlite3_step(statement) != SQLITE_ROW) {
        bench_fail(sql, sqlite3_errmsg(b->db));
    }
    json = (const char *)sqlite3_column_text(statement, 0);
    if (json == NULL) {
        bench_fail(sql, "no text");
    }
    stats.log_bytes = member(json, "log_bytes");
    stats.live_bytes = member(json, "live_bytes");
    if (stats.live_bytes < 0) {
        int64_t dead = member(json, "dead_bytes");
        stats.live_bytes = dead < 0 ? -1 : stats.log_bytes - dead;
    }
    stats.runs = member(json, "runs");
    stats.segments = member(json, "segments");
    stats.compact_left = member(json, "compact_left");
    sqlite3_finalize(statement);
    return stats;
}

static double bytes_found;

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    int is_journal = strstr(path + at->base, "kv.db-") != NULL;
    bytes_found += kind == FTW_F && !is_journal ? (double)info->st_size : 0;
    return 0;
}

double bench_file_bytes(const bench *b)
{
    char directory[sizeof(b->path)];
    bytes_found = 0;
    memcpy(directory, b->path, sizeof(directory));
    (void)nftw(dirname(directory), add_size, 16, FTW_PHYS);
    return bytes_found;
}
