/*
 * test_kill_db.c - a writer of a table in the database is killed at any moment, over
 * and over, in each journal mode. What it said to be committed is there, and at most
 * one transaction more, in the litekv table and in an ordinary one; both are whole, and
 * the next writer goes on at once.
 *
 * Transaction N is made of N alone, so that what the tables have to hold follows from
 * the number of transactions that the database tells. The writer is this program once
 * more, since SQLite's locks do not go through fork(); it tells each transaction that
 * was committed by a pipe.
 *
 *      test_kill_db                    50 kills; LONG=1: 1,000
 *      test_kill_db MODE               in one journal mode
 */
#include "check.h"

#include "../core/store.h"
#include "random.h"
#include "table.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEYS 200
#define NAME "kill.db"
/* As in power_story.c: with 3.40.1 commits may be lost by SQLite itself. */
#define SPILLS_WELL 3052000

/* --- transactions --------------------------------------------------------------- */

/* Key and version (0: it is deleted) of change number `at` of transaction `n`. */
static int change_of(long long n, int at, long long *version)
{
    uint64_t random = (uint64_t)n * 1000 + (uint64_t)at;
    int key = (int)random_below(&random, KEYS);
    *version = random_below(&random, 4) == 0 ? 0 : n;
    return key;
}

static int changes_of(long long n)
{
    uint64_t random = (uint64_t)n;
    return random_below(&random, 12) == 0 ? 120 : 1 + (int)random_below(&random, 10);
}

static int size_of(long long version, int key)
{
    uint64_t random = (uint64_t)version * KEYS + (uint64_t)key;
    return random_below(&random, 40) == 0 ? 5000 : (int)random_below(&random, 200);
}

/* --- the writer ----------------------------------------------------------------- */

typedef struct victim {
    const char *path, *mode;
    uint64_t random;
    int pipe;
    sqlite3 *db;
    lkv_registry *registry;
} victim;

/* Ends the writer when the statement fails. */
static void must(victim *v, int rc, const char *sql)
{
    if (rc != SQLITE_OK) {
        fprintf(stderr, "%s: %d, %s\n", sql, rc, sqlite3_errmsg(v->db));
        exit(1);
    }
}

static void run(victim *v, const char *sql)
{
    must(v, sqlite3_exec(v->db, sql, NULL, NULL, NULL), sql);
}

static void pragma(victim *v, const char *sql)
{
    sqlite3_free(check_result(v->db, sql));
}

static void open_victim(victim *v)
{
    char mode[60];
    must(v, sqlite3_open(v->path, &v->db), "open");
    v->registry = lkv_registry_new();
    must(v, lkv_functions_register(v->db, v->registry), "functions");
    must(v,
         sqlite3_create_module_v2(v->db, "litekv", lkv_module(), v->registry,
                                  lkv_registry_free),
         "module");
    snprintf(mode, sizeof(mode), "PRAGMA journal_mode = %s", v->mode);
    pragma(v, mode);
    pragma(v, "PRAGMA synchronous = OFF"); /* nobody cuts the power */
    pragma(v, "PRAGMA cache_size = 20");
    pragma(v, "PRAGMA wal_autocheckpoint = 50");
    if (strcmp(v->mode, "WAL") == 0 && sqlite3_libversion_number() < SPILLS_WELL) {
        pragma(v, "PRAGMA cache_spill = OFF");
    }
}

/* Small bounds, so that there is much to merge and to compact. */
static void shrink(victim *v)
{
    lkv_handle *handle = lkv_handle_find(v->registry, "main", "kv");
    if (handle != NULL) {
        handle->storage->spill = 1000 + (uint32_t)random_below(&v->random, 8000);
        handle->storage->segment = 20000;
        handle->store->flush_size = 4000;
    }
}

/* The same in both tables. */
static void change(victim *v, int key, long long version)
{
    static const char *const tables[] = {"kv", "o"};
    for (int i = 0; i < 2; i++) {
        char *sql =
            version == 0
                ? sqlite3_mprintf("DELETE FROM %s WHERE key = 'k%d'", tables[i], key)
                : sqlite3_mprintf("REPLACE INTO %s VALUES('k%d', "
                                  "printf('%%lld.%%.*c', %lld, %d, 'v'))",
                                  tables[i], key, version, size_of(version, key));
        run(v, sql);
        sqlite3_free(sql);
    }
}

static void work_on_it(victim *v)
{
    switch (random_below(&v->random, 12)) {
    case 0:
        run(v, "SELECT litekv_rebuild_index('kv')");
        break;
    case 1:
        run(v, "SELECT litekv_compact('kv')");
        break;
    case 2:
        run(v, "SELECT litekv_compact('kv', 3000)");
        break;
    case 3:
        run(v, "SELECT litekv_import_index('kv', litekv_export_index('kv'))");
        break;
    default:
        break;
    }
}

/* 0: it was taken back. */
static long long transact(victim *v)
{
    long long n;
    uint64_t how = random_below(&v->random, 8);

    run(v, "BEGIN IMMEDIATE");
    shrink(v);
    work_on_it(v);
    n = check_number(v->db, "SELECT n FROM c") + 1;
    if (how < 2) { /* changes in vain */
        run(v, "SAVEPOINT s");
        for (int i = 0; i < 30; i++) {
            change(v, i, n + 7);
        }
        run(v, "ROLLBACK TO s; RELEASE s");
    }
    for (int at = 0; at < changes_of(n); at++) {
        long long version;
        int key = change_of(n, at, &version);
        change(v, key, version);
    }
    run(v, "UPDATE c SET n = n + 1");
    run(v, how == 1 ? "ROLLBACK" : "COMMIT");
    return how == 1 ? 0 : n;
}

static int write_until_killed(victim *v)
{
    open_victim(v);
    for (;;) {
        long long n = transact(v);
        if (n > 0 && write(v->pipe, &n, sizeof(n)) != sizeof(n)) {
            return 1;
        }
        if (random_below(&v->random, 20) == 0) {
            sqlite3_close(v->db);
            open_victim(v);
        } else if (random_below(&v->random, 15) == 0) {
            pragma(v, "PRAGMA wal_checkpoint(RESTART)");
        }
    }
}

/* --- who kills it --------------------------------------------------------------- */

typedef struct model {
    long long done; /* when it was looked at last */
    long long told; /* since then, the last */
    long long kills;
    long long version[KEYS];
} model;

static void model_go_on(model *m, long long to)
{
    while (m->done < to) {
        m->done++;
        for (int at = 0; at < changes_of(m->done); at++) {
            long long version;
            int key = change_of(m->done, at, &version);
            m->version[key] = version;
        }
    }
}

/* Does not return. */
static void become_writer(const char *mode, uint64_t seed, int pipe)
{
    char number[30], end[20], path[600];
    char *arguments[] = {"test_kill_db", "write", path, NULL, number, end, NULL};
    char name[20];

    snprintf(path, sizeof(path), "%s", check_path(NAME));
    snprintf(name, sizeof(name), "%s", mode);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)seed);
    snprintf(end, sizeof(end), "%d", pipe);
    arguments[3] = name;
    execv("/proc/self/exe", arguments);
    perror("/proc/self/exe");
    _exit(1);
}

/* `most` transactions are waited for before it is killed. */
static void run_and_kill(const char *mode, uint64_t *random, uint64_t most, model *m)
{
    uint64_t seed = random_next(random);
    volatile uint64_t spin = random_below(random, 4) * random_below(random, 400000);
    long long n;
    int ends[2], status = 0;
    pid_t child;

    if (most == 0) { /* it has to start first, and to open the database */
        spin += random_below(random, 8000000);
    }
    if (pipe(ends) != 0) {
        perror("pipe");
        exit(1);
    }
    fflush(stdout);
    child = fork();
    if (child == 0) {
        become_writer(mode, seed, ends[1]);
    }
    (void)close(ends[1]);
    for (uint64_t i = 0; i < most && read(ends[0], &n, sizeof(n)) == sizeof(n); i++) {
        m->told = n;
    }
    while (spin > 0) { /* somewhere in what it does next */
        spin--;
    }
    CHECK(kill(child, SIGKILL) == 0);
    while (read(ends[0], &n, sizeof(n)) == sizeof(n)) {
        m->told = n;
    }
    (void)close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    m->kills++;
}

/* All rows of a table as the model has them. */
static int check_rows(sqlite3 *db, const model *m, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int rows = 0, live = 0, all = 1,
        rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(statement, 0);
        const char *value = (const char *)sqlite3_column_text(statement, 1);
        int i = key != NULL && key[0] == 'k' ? (int)strtol(key + 1, NULL, 10) : -1;
        int good = i >= 0 && i < KEYS && value != NULL && m->version[i] > 0 &&
                   strtoll(value, NULL, 10) == m->version[i];
        if (good) { /* at least one filler; the number and the dot before */
            int size = size_of(m->version[i], i);
            good = (int)strlen(strchr(value, '.')) == 1 + (size > 0 ? size : 1);
        }
        check_that(good, __FILE__, __LINE__, "after %lld: %s: %s is %.40s", m->done,
                   sql, key, value);
        rows++;
        rc = SQLITE_OK;
    }
    check_that(rc == SQLITE_DONE, __FILE__, __LINE__, "%s: %d, %s", sql, rc,
               sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    for (int i = 0; i < KEYS; i++) {
        live += m->version[i] > 0;
    }
    return check_that(rows == live, __FILE__, __LINE__,
                      "after %lld: %s: %d rows, not %d", m->done, sql, rows, live) &&
           all;
}

static int is_text(sqlite3 *db, const char *sql, const char *want)
{
    char *got = check_result(db, sql);
    int good =
        check_that(strcmp(got, want) == 0, __FILE__, __LINE__, "%s: %s", sql, got);
    sqlite3_free(got);
    return good;
}

/* What dead writers left: each may have made one transaction that it did not tell. */
static int check_left(sqlite3 *db, model *m)
{
    long long n = check_number(db, "SELECT n FROM c");
    long long least = m->told > m->done ? m->told : m->done;
    int good = check_that(n >= least && n <= least + m->kills, __FILE__, __LINE__,
                          "transaction %lld was told, %lld is there, %lld was before",
                          m->told, n, m->done);
    model_go_on(m, n);
    m->kills = 0;
    return good && check_rows(db, m, "SELECT key, value FROM kv") &&
           check_rows(db, m, "SELECT key, value FROM o") &&
           is_text(db, "SELECT litekv_verify('kv')", "ok") &&
           is_text(db, "PRAGMA integrity_check", "ok");
}

static int check_in_new_connection(model *m)
{
    sqlite3 *db = check_open(NAME);
    int good = check_left(db, m);
    check_close(db);
    return good;
}

static void kills(const char *program, const char *mode, uint64_t seed, int times)
{
    uint64_t random = seed;
    sqlite3 *db = check_open(NAME), *other = NULL;
    model m = {0};
    int good = 1;

    RUN(db, "PRAGMA page_size = 1024; CREATE VIRTUAL TABLE kv USING litekv;"
            "CREATE TABLE o(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID;"
            "CREATE TABLE c(n); INSERT INTO c VALUES(0)");
    check_close(db);
    for (int i = 0; i < times && good; i++) {
        int stays = random_below(&random, 2) == 0;
        /* With another connection the next writer is not the first to open it. */
        if (stays && other == NULL) {
            other = check_open(NAME);
            RUN(other, "SELECT count(key) FROM kv");
        } else if (!stays && other != NULL) {
            check_close(other);
            other = NULL;
        }
        /* Now and then while it recovers from the one before. */
        run_and_kill(mode, &random,
                     random_below(&random, 4) == 0 ? 0 : random_below(&random, 20), &m);
        if (random_below(&random, 4) > 0) {
            good =
                (other == NULL || check_left(other, &m)) && check_in_new_connection(&m);
        }
    }
    if (good) {
        (void)check_in_new_connection(&m);
    }
    if (other != NULL) {
        check_close(other);
    }
    printf("%s: %d kills, %lld transactions; again: %sSEED=%llu %s %s\n", mode, times,
           m.done, getenv("LONG") != NULL ? "LONG=1 " : "", (unsigned long long)seed,
           program, mode);
    check_remove(NAME);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int times;
    } modes[] = {{"DELETE", 15}, {"TRUNCATE", 5}, {"PERSIST", 10}, {"WAL", 20}};
    const char *text = getenv("SEED");
    int is_long = getenv("LONG") != NULL;
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10)
                    : is_long    ? (uint64_t)time(NULL)
                                 : 1;

    if (argc == 6 && strcmp(argv[1], "write") == 0) {
        victim v = {.path = argv[2],
                    .mode = argv[3],
                    .random = strtoull(argv[4], NULL, 10),
                    .pipe = (int)strtol(argv[5], NULL, 10)};
        return write_until_killed(&v);
    }
    check_begin();
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (argc < 2 || strcmp(argv[1], modes[i].name) == 0) {
            kills(argv[0], modes[i].name, seed, modes[i].times * (is_long ? 20 : 1));
        }
    }
    return check_end();
}
