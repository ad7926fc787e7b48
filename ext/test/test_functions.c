/*
 * test_functions.c - the functions and commands that work for long, interrupted at
 * every point: what was committed is there, what they do is done or not, nothing is
 * left behind, and they go on where they stopped.
 */
#include "check.h"

#include "../core/store.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

static lkv_registry *registry;

/* A connection whose table has runs after some hundred bytes. */
static sqlite3 *open_db(void)
{
    sqlite3 *db = check_open("functions.db");
    registry = lkv_registry_new();
    CHECK(lkv_functions_register(db, registry) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(db, "litekv", lkv_module(), registry,
                                   lkv_registry_free) == SQLITE_OK);
    return db;
}

static void shrink(sqlite3 *db)
{
    lkv_handle *handle;
    RUN(db, "SELECT count(key) FROM kv");
    handle = lkv_handle_find(registry, "main", "kv");
    CHECK(handle != NULL);
    if (handle != NULL) {
        handle->storage->segment = 20000;
        handle->store->flush_size = 2000;
    }
}

/* --- interrupts --- */

static int countdown, calls_after;
static sqlite3 *to_interrupt; /* by sqlite3_interrupt(), or NULL: by the handler */

static int progress(void *arg)
{
    (void)arg;
    if (--countdown > 0) {
        return 0;
    }
    calls_after += countdown < 0;
    if (to_interrupt != NULL) {
        sqlite3_interrupt(to_interrupt);
        return 0;
    }
    return 1;
}

/* Runs `sql` and stops it at the `n`th call of the handler. */
static int stopped_run(sqlite3 *db, const char *sql, int n, int by_flag)
{
    int rc;
    countdown = n;
    calls_after = 0;
    to_interrupt = by_flag ? db : NULL;
    sqlite3_progress_handler(db, 1, progress, NULL);
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return rc;
}

/* What the table holds, and the plain table beside it. */
#define CONTENT                                                                        \
    "SELECT count(*), sum(length(value)), min(key), max(key), (SELECT "                \
    "group_concat(a) "                                                                 \
    "FROM t) FROM kv"

#define FILL                                                                           \
    "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 60) "   \
    "REPLACE INTO kv SELECT i * 37 % 50, zeroblob(i * 10) FROM n;"

/* Only who reads everything sees it. */
#define BREAK_SEAL                                                                     \
    "UPDATE kv_base SET block = CAST(substr(block, 1, length(block) - 1) || x'a5' AS " \
    "BLOB) WHERE id = (SELECT max(id) FROM kv_base)"

static const struct {
    const char *before, *sql;
} scenes[] = {
    {"", "SELECT litekv_compact('kv')"},
    {"", "SELECT litekv_compact('kv', 1)"},
    {"SELECT litekv_compact('kv', 5000)", "SELECT litekv_compact('kv', 5000)"},
    {"SELECT litekv_compact('kv'); DELETE FROM kv WHERE key < 20",
     "INSERT INTO kv(kv) VALUES('compact')"},
    {"BEGIN; INSERT INTO t VALUES(2); REPLACE INTO kv VALUES(5, 'pending')",
     "SELECT litekv_compact('kv')"},
    {"BEGIN; SAVEPOINT s; REPLACE INTO kv VALUES(5, 'pending')",
     "INSERT INTO t SELECT litekv_compact('kv', 100) >= 0"},
    {"", "SELECT litekv_rebuild_index('kv')"},
    {"SELECT litekv_compact('kv', 9000)", "SELECT litekv_rebuild_index('kv')"},
    {"BEGIN; INSERT INTO t VALUES(2); REPLACE INTO kv VALUES(5, 'pending')",
     "INSERT INTO kv(kv) VALUES('rebuild')"},
    {"", "SELECT litekv_verify('kv')"},
    {"SELECT litekv_compact('kv', 9000)", "SELECT litekv_verify('kv')"},
    {"", "INSERT INTO kv(kv) VALUES('integrity-check')"},
    {"SELECT litekv_compact('kv', 9000)", "SELECT * FROM litekv_segments('kv')"},
    {"BEGIN; INSERT INTO t VALUES(2)", "SELECT litekv_stats('kv')"},
    {"", "SELECT litekv_export_index('kv')"},
    {"SELECT litekv_compact('kv')",
     "SELECT litekv_export_index('kv', 'functions.idx', 'replace')"},
    {"CREATE TABLE i AS SELECT litekv_export_index('kv') AS i; REPLACE INTO kv "
     "VALUES(5, "
     "'new')",
     "SELECT litekv_import_index('kv', i) FROM i"},
    {"SELECT litekv_export_index('kv', 'functions.idx', 'replace')",
     "SELECT litekv_import_index('kv', 'functions.idx')"},
    {"BEGIN; INSERT INTO t VALUES(2)", "INSERT INTO kv(kv) VALUES('auto_compact=0.9')"},
    {"SELECT litekv_compact('kv')", "SELECT litekv_recover('kv')"},
    {"SELECT litekv_compact('kv')", "SELECT litekv_recover('kv', 'apply')"},
    {"SELECT litekv_compact('kv'); " BREAK_SEAL,
     "SELECT litekv_recover('kv', 'apply')"},
    {"SELECT litekv_compact('kv'); " BREAK_SEAL "; BEGIN; REPLACE INTO kv VALUES(5, "
     "'pending')",
     "INSERT INTO kv(kv) VALUES('recover')"},
    {"BEGIN; REPLACE INTO kv VALUES(5, 'pending')", "SELECT litekv_serialize('kv')"},
    {"CREATE TABLE i AS SELECT litekv_serialize('kv') AS i",
     "SELECT litekv_deserialize('kv', i) FROM i"},
    {"CREATE TABLE i AS SELECT litekv_serialize('kv') AS i; BEGIN; INSERT INTO t "
     "VALUES(2); REPLACE INTO kv VALUES(5, 'pending')",
     "INSERT INTO kv(kv, value) SELECT 'deserialize', i FROM i"},
};

/* The database of a scene; `*begin` is what is committed. */
static sqlite3 *prepare(size_t which, char **begin)
{
    sqlite3 *db = open_db();
    sqlite3 *other;

    RUN(db, "PRAGMA page_size = 1024; CREATE TABLE t(a); INSERT INTO t VALUES(1);"
            "CREATE VIRTUAL TABLE kv USING litekv(auto_compact = 0)");
    shrink(db);
    RUN(db, FILL);
    RUN(db, scenes[which].before);
    other = check_open("functions.db");
    *begin = check_result(other, CONTENT);
    check_close(other);
    return db;
}

static void finish(sqlite3 *db, const char *expected, const char *what)
{
    if (!sqlite3_get_autocommit(db)) {
        RUN(db, "COMMIT");
    }
    QUERY(db, CONTENT, expected);
    check_close(db);
    db = open_db();
    QUERY(db, CONTENT, expected);
    if (strstr(what, "recover") == NULL) { /* there it is damaged */
        QUERY(db, "SELECT litekv_verify('kv')", "ok");
    }
    shrink(db);
    /* It does now what it did not do. */
    if (strstr(what, "INTO t ") == NULL) {
        RUN(db, what);
        QUERY(db, CONTENT, expected);
        QUERY(db, "SELECT litekv_verify('kv')", "ok");
    }
    check_close(db);
    check_remove("functions.db");
    check_remove("functions.idx");
}

/* Whether it was stopped. */
static int stop_at(size_t which, int n, int by_flag, const char *done)
{
    const char *sql = scenes[which].sql;
    char *begin, *before, *now;
    sqlite3 *db = prepare(which, &begin);
    int open = !sqlite3_get_autocommit(db);
    int rc, undone;

    before = check_result(db, CONTENT);
    rc = stopped_run(db, sql, n, by_flag);
    undone = open && sqlite3_get_autocommit(db);
    now = check_result(db, CONTENT);
    check_that(rc == SQLITE_OK || rc == SQLITE_INTERRUPT, __FILE__, __LINE__,
               "%s at %d: %d: %s", sql, n, rc, sqlite3_errmsg(db));
    check_that(strcmp(now, rc == SQLITE_OK ? done
                           : undone        ? begin
                                           : before) == 0,
               __FILE__, __LINE__, "%s at %d: %d, %s", sql, n, rc, now);
    /* It does not go on as if nothing had been. (SQLite looks at the flag at jumps
     * only.) */
    check_that(calls_after <= (by_flag ? 40 : 4), __FILE__, __LINE__,
               "%s at %d: %d calls later", sql, n, calls_after);
    finish(db, now, sql);
    sqlite3_free(begin);
    sqlite3_free(before);
    sqlite3_free(now);
    return rc != SQLITE_OK;
}

static void at_every_point(size_t which)
{
    char *begin, *done;
    sqlite3 *db = prepare(which, &begin);

    RUN(db, scenes[which].sql);
    done = check_result(db, CONTENT);
    finish(db, done, scenes[which].sql);
    for (int by_flag = 0; by_flag < 2; by_flag++) {
        int n = 1;
        while (n < 100000 && stop_at(which, n, by_flag, done)) {
            n += 1 + n / 12;
        }
        check_that(n > (by_flag ? 0 : 5) && n < 100000, __FILE__, __LINE__,
                   "%s: %d points", scenes[which].sql, n);
    }
    sqlite3_free(begin);
    sqlite3_free(done);
}

int main(void)
{
    check_begin();
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        at_every_point(i);
    }
    return check_end();
}
