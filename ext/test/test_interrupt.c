/*
 * test_interrupt.c - statements that are stopped in the middle: by a progress handler
 * after N instructions, and by sqlite3_interrupt() from another thread.
 */
#include "check.h"

#include <pthread.h>
#include <string.h>

static int countdown;

static int progress(void *arg)
{
    (void)arg;
    return --countdown <= 0;
}

/* Runs `sql` with a handler that stops it at the `n`th call. */
static int stopped_run(sqlite3 *db, const char *sql, int n)
{
    int rc;
    countdown = n;
    sqlite3_progress_handler(db, 1, progress, NULL);
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    return rc;
}

#define CONTENT "SELECT count(*), sum(length(value)), min(key), max(key) FROM kv"

static const struct {
    const char *before, *sql;
} scenes[] = {
    {"", "SELECT count(*), sum(length(value)) FROM kv"},
    {"", "INSERT INTO kv VALUES(100, 'x')"},
    {"", "INSERT INTO kv VALUES(100, 'x'), (101, zeroblob(5000)), (102, 'y')"},
    {"", "DELETE FROM kv WHERE key > 5"},
    {"", "UPDATE kv SET key = key + 1000"},
    {"BEGIN; INSERT INTO kv VALUES(200, 'pending')",
     "INSERT INTO kv VALUES(100, zeroblob(3000000)), (101, zeroblob(3000000)), (102, "
     "1)"},
    {"BEGIN; INSERT INTO kv VALUES(200, zeroblob(20000))", "SAVEPOINT s"},
    {"BEGIN; INSERT INTO kv VALUES(200, zeroblob(20000))", "COMMIT"},
    {"BEGIN; INSERT INTO kv VALUES(200, 1); SAVEPOINT s; DELETE FROM kv; SAVEPOINT t",
     "ROLLBACK TO s"},
    {"", "CREATE VIRTUAL TABLE two USING litekv"},
};

static sqlite3 *prepare(size_t which, char **begin)
{
    sqlite3 *db = check_open("interrupt.db");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 20) INSERT INTO kv SELECT i, zeroblob(1000) FROM n");
    *begin = check_result(db, CONTENT);
    RUN(db, scenes[which].before);
    return db;
}

/* What is there after the statement is there after COMMIT and in the file. */
static void finish(sqlite3 *db, const char *expected)
{
    if (!sqlite3_get_autocommit(db)) {
        RUN(db, "COMMIT");
    }
    QUERY(db, CONTENT, expected);
    check_close(db);
    db = check_open("interrupt.db");
    QUERY(db, CONTENT, expected);
    RUN(db, "INSERT INTO kv(kv) VALUES('integrity-check')");
    check_close(db);
    check_remove("interrupt.db");
}

/* Whether it was stopped. SQLite also asks the handler when the statement has ended. */
static int stop_at(size_t which, int n, const char *done)
{
    char *begin;
    sqlite3 *db = prepare(which, &begin);
    char *before = check_result(db, CONTENT);
    int open = !sqlite3_get_autocommit(db);
    int rc = stopped_run(db, scenes[which].sql, n);
    char *now = check_result(db, CONTENT);
    int undone = open && sqlite3_get_autocommit(db);

    check_that(rc == SQLITE_OK || rc == SQLITE_INTERRUPT, __FILE__, __LINE__,
               "%s: %d: %s", scenes[which].sql, rc, sqlite3_errmsg(db));
    check_that(strcmp(now, done) == 0 ||
                   (rc != SQLITE_OK && strcmp(now, undone ? begin : before) == 0),
               __FILE__, __LINE__, "%s at %d: %d, %s", scenes[which].sql, n, rc, now);
    finish(db, now);
    sqlite3_free(begin);
    sqlite3_free(before);
    sqlite3_free(now);
    return rc != SQLITE_OK;
}

/* Whichever instruction it is: all of the statement is done or nothing, and an undone
 * transaction is undone as a whole. */
static void at_every_instruction(size_t which)
{
    char *begin, *done;
    sqlite3 *db = prepare(which, &begin);
    int n = 1;

    RUN(db, scenes[which].sql);
    done = check_result(db, CONTENT);
    finish(db, done);
    while (n < 100000 && stop_at(which, n, done)) {
        n += 1 + n / 12;
    }
    CHECK(n < 100000);
    sqlite3_free(begin);
    sqlite3_free(done);
}

/* A ROLLBACK TO takes a new table away, which is not told of it, and brings back the
 * old one of that name. Whichever instruction before it or after it was the last: what
 * comes then is kept, or undone by the next ROLLBACK TO. */
static void create_undone(const char *before, const char *after, const char *then,
                          const char *expected)
{
    int n = 1, stopped = 1;
    while (stopped && n < 1000) {
        sqlite3 *db = check_open(":memory:");

        RUN(db,
            "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 'old');"
            "BEGIN; SAVEPOINT s; DROP TABLE kv; CREATE VIRTUAL TABLE kv USING litekv");
        stopped = stopped_run(db, before, n) != SQLITE_OK;
        RUN(db, "ROLLBACK TO s");
        stopped |= stopped_run(db, after, n) != SQLITE_OK;
        RUN(db, then);
        RUN(db, "COMMIT");
        QUERY(db, "SELECT key, value FROM kv", expected);
        RUN(db, "INSERT INTO kv(kv) VALUES('integrity-check')");
        check_close(db);
        n++;
    }
    CHECK(!stopped);
}

static int progress_once(void *arg)
{
    (void)arg;
    return --countdown == 0;
}

/* What a plan has to know is asked in statements, which may be stopped while the one
 * that is planned goes on: then it has all its rows, and so has the next. BINARY
 * compares UTF-16 bytes here, in which \u0100 stands before 'a'. */
static void planning(void)
{
    static const char *const queries[] = {
        "SELECT key FROM kv WHERE key < 'a'", "SELECT key FROM kv ORDER BY key LIMIT 1",
        "SELECT key FROM kv WHERE key GLOB '\xc4\x80*'"};
    sqlite3 *db = check_open("planning.db");
    RUN(db, "PRAGMA encoding = 'UTF-16le'; CREATE VIRTUAL TABLE kv USING litekv(key "
            "TEXT, value); INSERT INTO kv VALUES('\xc4\x80', 1), ('b', 2)");
    check_close(db);
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        for (int n = 1; n < 60; n++) {
            char *rows;
            db = check_open("planning.db");
            countdown = n;
            sqlite3_progress_handler(db, 1, progress_once, NULL);
            rows = check_result(db, queries[i]);
            sqlite3_progress_handler(db, 0, NULL, NULL);
            check_that(strcmp(rows, "\xc4\x80") == 0 || strstr(rows, "[9: ") != NULL,
                       __FILE__, __LINE__, "%s, stopped at %d: %s", queries[i], n,
                       rows);
            sqlite3_free(rows);
            QUERY(db, queries[i], "\xc4\x80");
            check_close(db);
        }
    }
    check_remove("planning.db");
}

/* A scan without end is stopped from another thread. */
static void *interrupt(void *db)
{
    sqlite3_interrupt(db);
    return NULL;
}

static void start_thread(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    pthread_create(sqlite3_user_data(context), NULL, interrupt,
                   sqlite3_context_db_handle(context));
}

static void from_a_thread(void)
{
    sqlite3 *db = check_open(":memory:");
    pthread_t thread;

    CHECK(sqlite3_create_function(db, "interrupt_soon", 0, SQLITE_UTF8, &thread,
                                  start_thread, NULL, NULL) == SQLITE_OK);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 1000) INSERT INTO kv SELECT i, i FROM n");
    /* 10^12 rows: it ends by the interrupt or not at all. */
    FAIL(db,
         "SELECT interrupt_soon() UNION ALL "
         "SELECT count(a.value + b.value + c.value + d.value) FROM kv a, kv b, kv c, "
         "kv d",
         SQLITE_INTERRUPT, "interrupted");
    pthread_join(thread, NULL);
    QUERY(db, "SELECT count(*), sum(value) FROM kv", "1000,500500");
    RUN(db, "INSERT INTO kv VALUES(0, 0)");
    check_close(db);
}

/* How often SQLite may stop `sql` on a table of `rows` rows, half of them compacted; it
 * does at the time `stop`. */
static int chances(const char *declared, int rows, const char *sql, int stop)
{
    sqlite3 *db = check_open(":memory:");
    char *fill = sqlite3_mprintf(
        "CREATE VIRTUAL TABLE kv USING litekv(%s);"
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
        "INSERT INTO kv SELECT i, zeroblob(1000) FROM n; SELECT litekv_compact('kv');"
        "UPDATE kv SET value = zeroblob(999) WHERE key %% 2;"
        "CREATE TABLE exported AS SELECT litekv_export_index('kv') AS x",
        declared, rows);
    int n;

    RUN(db, fill);
    CHECK(stopped_run(db, sql, stop) ==
          (stop < 1000000 ? SQLITE_INTERRUPT : SQLITE_OK));
    n = stop - countdown;
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    check_close(db);
    sqlite3_free(fill);
    return n;
}

/* Work in private memory runs no statement of its own but to see whether to go on. */
static void long_work(void)
{
    static const char *const work[] = {
        "SELECT litekv_rebuild_index('kv')",
        "SELECT litekv_import_index('kv', x) FROM exported",
        "SELECT litekv_compact('kv', 100000000)"};
    for (size_t i = 0; i < sizeof(work) / sizeof(work[0]); i++) {
        int few = chances("memory=on, auto_compact=0", 10, work[i], 1000000);
        int many = chances("memory=on, auto_compact=0", 6000, work[i], 1000000);
        check_that(many > few + 5, __FILE__, __LINE__, "%s: %d, %d", work[i], few,
                   many);
        (void)chances("memory=on, auto_compact=0", 6000, work[i], many - 5);
    }
}

int main(void)
{
    check_begin();
    long_work();
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        at_every_instruction(i);
    }
    create_undone("SELECT * FROM kv", "",
                  "INSERT INTO kv VALUES(2, 'new'); ROLLBACK TO s", "1,old");
    create_undone("", "SELECT * FROM kv",
                  "INSERT INTO kv VALUES(2, 'new'); ROLLBACK TO s", "1,old");
    create_undone("", "SELECT * FROM kv", "INSERT INTO kv VALUES(2, 'new')",
                  "1,old;2,new");
    planning();
    from_a_thread();
    return check_end();
}
