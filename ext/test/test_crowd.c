/*
 * test_crowd.c - processes and threads, a connection each, that read and write one
 * table through SQL: in the database (WAL and rollback journal), in files and in shared
 * memory, while runs are merged, the log is compacted and the index rebuilt.
 *
 * What each statement sees must be one commit as a whole: the sum of all accounts stays
 * the same; every commit adds one to `total`, to each stamp and to the counter of who
 * made it; nothing goes back and no update is lost. SQLITE_BUSY comes only where SQLite
 * has it for a table of its own: to a transaction that has read before it writes, and
 * to a statement that writes while another of its connection reads.
 *
 * They end by counts; with a number as argument new rounds begin for so many seconds.
 */
#include "crowd.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WRITERS 5 /* of each; the others read */

typedef struct worker {
    const crowd *crowd;
    uint64_t random;
    int number, commits;
    unsigned refused; /* with SQLITE_BUSY, where it may be */
} worker;

static int is_busy(int rc)
{
    return (rc & 0xff) == SQLITE_BUSY;
}

static int fail(const worker *w, sqlite3 *db, const char *what)
{
    printf("%s, number %d: %s: %d %s\n", w->crowd->name, w->number, what,
           sqlite3_extended_errcode(db), sqlite3_errmsg(db));
    fflush(stdout);
    return 1;
}

static unsigned below(worker *w, unsigned limit)
{
    uint64_t z = (w->random += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % limit);
}

/* --- writing -------------------------------------------------------------------- */

/* All that a commit counts, in one statement. */
static int count_one(const worker *w, sqlite3 *db)
{
    char sql[160];
    sqlite3_snprintf(sizeof(sql), sql,
                     "UPDATE kv SET value = value + 1 WHERE key IN ('total', 's1', "
                     "'s2', 's3', 'w%d')",
                     w->number);
    return crowd_run(db, sql);
}

static int move_money(worker *w, sqlite3 *db)
{
    char sql[200];
    unsigned from = below(w, ACCOUNTS),
             to = (from + 1 + below(w, ACCOUNTS - 1)) % ACCOUNTS;
    int amount = (int)below(w, 20);
    sqlite3_snprintf(sizeof(sql), sql,
                     "UPDATE kv SET value = value + CASE key WHEN 'a%02u' THEN %d ELSE "
                     "%d END WHERE key IN ('a%02u', 'a%02u')",
                     from, -amount, amount, from, to);
    return crowd_run(db, sql);
}

static int change_fillers(worker *w, sqlite3 *db)
{
    char sql[300];
    unsigned start = below(w, 300), count = below(w, 12) == 0 ? 150 : 1 + below(w, 6);
    sqlite3_snprintf(
        sizeof(sql), sql,
        below(w, 3) == 0
            ? "DELETE FROM kv WHERE key BETWEEN printf('f%%03d', %u) AND "
              "printf('f%%03d', %u)"
            : "WITH n(i) AS (VALUES(%u) UNION ALL SELECT i + 1 FROM n WHERE i < %u) "
              "REPLACE INTO kv SELECT printf('f%%03d', i), hex(randomblob(30)) FROM n",
        start, start + count);
    return crowd_run(db, sql);
}

static int change_all(worker *w, sqlite3 *db)
{
    int rc = count_one(w, db);
    rc = rc == SQLITE_OK ? move_money(w, db) : rc;
    return rc == SQLITE_OK ? change_fillers(w, db) : rc;
}

/* Something inside of a transaction that is taken back. */
static int change_in_vain(worker *w, sqlite3 *db)
{
    int rc = crowd_run(db, "SAVEPOINT s");
    rc = rc == SQLITE_OK ? change_all(w, db) : rc;
    rc = rc == SQLITE_OK && below(w, 2) == 0
             ? crowd_run(db, "UPDATE kv SET value = 0 WHERE key < 'e'")
             : rc;
    return rc == SQLITE_OK ? crowd_run(db, "ROLLBACK TO s; RELEASE s") : rc;
}

/* A transaction that begins by writing: it waits for others, and is not refused. */
static int write_first(worker *w, sqlite3 *db, int *counts)
{
    sqlite3_int64 total = 0, again = 0;
    int rc = crowd_run(db, "BEGIN");
    if (rc == SQLITE_OK) {
        rc = change_all(w, db);
    }
    if (rc == SQLITE_OK && below(w, 4) == 0) {
        rc = change_in_vain(w, db);
    }
    /* What was read after the first write stays as it is. */
    if (rc == SQLITE_OK) {
        rc = crowd_number(db, "SELECT value FROM kv WHERE key = 'total'", &total);
    }
    if (rc == SQLITE_OK) {
        rc = crowd_number(db, "SELECT min(value) FROM kv WHERE key GLOB 's*'", &again);
    }
    if (rc == SQLITE_OK && total != again) {
        return fail(w, db, "a transaction sees others");
    }
    *counts = rc == SQLITE_OK && below(w, 6) != 0;
    return rc == SQLITE_OK ? crowd_run(db, *counts ? "COMMIT" : "ROLLBACK") : rc;
}

/* A transaction that writes what it has read: in the database nobody comes between, or
 * it is refused; elsewhere each of its statements may see a new commit. */
static int read_first(worker *w, sqlite3 *db, int *counts)
{
    char sql[200];
    sqlite3_int64 total;
    int rc = crowd_run(db, "BEGIN");
    if (rc == SQLITE_OK) {
        rc = crowd_number(db, "SELECT value FROM kv WHERE key = 'total'", &total);
    }
    if (rc == SQLITE_OK) {
        sched_yield();
        rc = count_one(w, db);
    }
    if (rc == SQLITE_OK && w->crowd->journal != NULL) {
        sqlite3_snprintf(sizeof(sql), sql,
                         "UPDATE kv SET value = %lld WHERE key IN ('total', 's1')",
                         total + 1);
        rc = crowd_run(db, sql);
    }
    rc = rc == SQLITE_OK ? move_money(w, db) : rc;
    *counts = rc == SQLITE_OK;
    if (rc == SQLITE_OK) {
        return crowd_run(db, "COMMIT");
    }
    if (is_busy(rc) && w->crowd->journal != NULL) {
        w->refused++;
        return crowd_run(db, "ROLLBACK");
    }
    return rc;
}

/* A statement that writes while another reads an older commit. */
static int write_beside(worker *w, sqlite3 *db, int *counts)
{
    sqlite3_stmt *reader = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT key FROM kv", -1, &reader, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(reader) == SQLITE_ROW ? SQLITE_OK : sqlite3_errcode(db);
    }
    if (rc == SQLITE_OK) {
        sched_yield();
        rc = count_one(w, db);
        *counts = rc == SQLITE_OK;
        if (is_busy(rc)) {
            w->refused++;
            rc = SQLITE_OK;
        }
    }
    sqlite3_finalize(reader);
    return rc;
}

static int work_on_it(worker *w, sqlite3 *db)
{
    switch (below(w, 40)) {
    case 0:
        return crowd_run(db, "SELECT litekv_compact('kv')");
    case 1:
        return crowd_run(db, "SELECT litekv_rebuild_index('kv')");
    case 2:
    case 3:
    case 4:
        return crowd_run(db, "SELECT litekv_compact('kv', 5000)");
    default:
        return SQLITE_OK;
    }
}

static int write_once(worker *w, sqlite3 *db, int *counts)
{
    int rc = work_on_it(w, db);
    *counts = 0;
    if (rc != SQLITE_OK) {
        return rc;
    }
    switch (below(w, 6)) {
    case 0:
        return read_first(w, db, counts);
    case 1:
        return write_beside(w, db, counts);
    case 2:
        rc = count_one(w, db);
        *counts = rc == SQLITE_OK;
        return rc;
    default:
        return write_first(w, db, counts);
    }
}

static int write_much(worker *w)
{
    sqlite3 *db = crowd_join(w->crowd);
    int done = 0, counts, wrong = 0;
    while (done < w->commits && !wrong) {
        wrong = write_once(w, db, &counts) != SQLITE_OK && fail(w, db, "it fails");
        done += counts;
        if (below(w, 20) == 0) {
            sqlite3_close(db);
            db = crowd_join(w->crowd);
        }
    }
    sqlite3_close(db);
    return wrong;
}

/* --- reading -------------------------------------------------------------------- */

/* Of one statement. */
typedef struct sight {
    sqlite3_int64 accounts, sum, least, most, workers, total, keys;
} sight;

static void see(sight *s, sqlite3_stmt *row)
{
    const char *key = (const char *)sqlite3_column_text(row, 0);
    sqlite3_int64 value = sqlite3_column_int64(row, 1);
    s->keys++;
    switch (key[0]) {
    case 'a':
        s->accounts++;
        s->sum += value;
        break;
    case 's':
        s->least = s->least < 0 || value < s->least ? value : s->least;
        s->most = value > s->most ? value : s->most;
        break;
    case 'w':
        s->workers += value;
        break;
    case 't':
        s->total = value;
        break;
    default:
        break;
    }
}

static int look(worker *w, sqlite3 *db, const char *sql, sight *s)
{
    sqlite3_stmt *rows = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &rows, NULL);
    memset(s, 0, sizeof(*s));
    s->least = -1;
    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        see(s, rows);
        rc = SQLITE_OK;
        if (s->keys % 100 == 0) {
            sched_yield();
        }
    }
    sqlite3_finalize(rows);
    if (rc != SQLITE_DONE) {
        return fail(w, db, sql);
    }
    if (s->accounts != ACCOUNTS || s->sum != ACCOUNTS * EACH) {
        return fail(w, db, "money is lost");
    }
    return s->least == s->total && s->most == s->total && s->workers == s->total
               ? 0
               : fail(w, db, "a transaction is torn");
}

/* Twice in one read transaction; in the database both are the same. */
static int look_twice(worker *w, sqlite3 *db, sight *s)
{
    sight back;
    int wrong = crowd_run(db, "BEGIN") != SQLITE_OK && fail(w, db, "BEGIN");
    wrong = wrong || look(w, db, "SELECT * FROM kv ORDER BY key", s);
    wrong = wrong || look(w, db, "SELECT * FROM kv ORDER BY key DESC", &back);
    if (!wrong && w->crowd->journal != NULL && memcmp(s, &back, sizeof(back)) != 0) {
        wrong = fail(w, db, "a read transaction sees others");
    }
    if (!wrong && back.total < s->total) {
        wrong = fail(w, db, "it went back");
    }
    *s = back;
    return wrong || (crowd_run(db, "COMMIT") != SQLITE_OK && fail(w, db, "COMMIT"));
}

static int read_much(worker *w)
{
    sqlite3 *db = crowd_join(w->crowd);
    sqlite3_int64 last = -1, ok;
    sight s;
    int wrong = 0;
    while (!wrong && last < w->commits) {
        wrong = look_twice(w, db, &s);
        if (!wrong && s.total < last) {
            wrong = fail(w, db, "it went back");
        }
        last = s.total;
        if (!wrong && below(w, 8) == 0) {
            wrong = (crowd_number(db, "SELECT litekv_verify('kv') = 'ok'", &ok) !=
                         SQLITE_OK ||
                     ok != 1) &&
                    fail(w, db, "litekv_verify");
        }
        if (below(w, 8) == 0) {
            sqlite3_close(db);
            db = crowd_join(w->crowd);
        }
    }
    sqlite3_close(db);
    return wrong;
}

/* --- all together --------------------------------------------------------------- */

static int work(worker *w)
{
    return w->number % CROWD < WRITERS ? write_much(w) : read_much(w);
}

static void *work_in_thread(void *arg)
{
    return work(arg) == 0 ? NULL : arg;
}

/* Processes, threads of this process, or both; each writer commits so many times.
 * `total` is what it was before; returns what it has to be. */
static sqlite3_int64 round_of(const crowd *c, uint64_t seed, int processes, int threads,
                              sqlite3_int64 total)
{
    pid_t child[CROWD];
    pthread_t thread[CROWD];
    worker workers[2 * CROWD];
    sqlite3_int64 target =
        total + (sqlite3_int64)(processes + threads) * WRITERS * c->commits;

    fflush(stdout);
    for (int i = 0; i < 2 * CROWD; i++) {
        int writes = i % CROWD < WRITERS;
        workers[i] = (worker){c, seed * 1000 + (uint64_t)i, i,
                              writes ? c->commits : (int)target, 0};
    }
    /* First: a thread would not live on in a child of fork(). */
    for (int i = 0; processes && i < CROWD; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            _exit(work(&workers[i]));
        }
        CHECK(child[i] > 0);
    }
    for (int i = 0; threads && i < CROWD; i++) {
        CHECK(pthread_create(&thread[i], NULL, work_in_thread, &workers[CROWD + i]) ==
              0);
    }
    for (int i = 0; threads && i < CROWD; i++) {
        void *wrong = NULL;
        CHECK(pthread_join(thread[i], &wrong) == 0 && wrong == NULL);
    }
    for (int i = 0; processes && i < CROWD; i++) {
        int status = 0;
        CHECK(waitpid(child[i], &status, 0) == child[i] && status == 0);
    }
    return target;
}

/* With a rollback journal not both at once: SQLite gives a process whose threads read
 * another lock to read without a look at writers of other processes, which then wait
 * until no thread reads. A sanitizer of threads sees into this process alone. */
static sqlite3_int64 rounds(const crowd *c, uint64_t seed, sqlite3_int64 total)
{
#ifdef __SANITIZE_THREAD__
    return round_of(c, seed, 0, 1, total);
#else
    if (c->journal != NULL && strcmp(c->journal, "DELETE") == 0) {
        total = round_of(c, seed, 1, 0, total);
        return round_of(c, seed, 0, 1, total);
    }
    return round_of(c, seed, 1, 1, total);
#endif
}

static uint64_t seed_of_run(void)
{
    const char *text = getenv("SEED");
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : 1;
}

static void meet(crowd c, time_t until)
{
    const char *text = getenv("LONG");
    sqlite3_int64 total = 0;
    uint64_t seed = seed_of_run();

    if (text != NULL && *text != '\0') {
        c.commits *= 20;
    }
    crowd_make(&c);
    do {
        total = rounds(&c, seed++, total);
    } while (time(NULL) < until);
    {
        sqlite3 *db = crowd_join(&c);
        sqlite3_int64 found;
        CHECK(crowd_number(db, "SELECT value FROM kv WHERE key = 'total'", &found) ==
              SQLITE_OK);
        check_that(found == total, __FILE__, __LINE__, "%s: %lld commits, not %lld",
                   c.name, (long long)found, (long long)total);
        check_close(db);
    }
    crowd_remove(&c);
}

int main(int argc, char **argv)
{
    time_t now = time(NULL);
    long seconds = argc > 1 ? atol(argv[1]) : 0;

    check_begin();
    for (size_t i = 0; i < CROWDS; i++) {
        if (argc > 2 && strcmp(argv[2], crowds[i].name) != 0) {
            continue;
        }
        meet(crowds[i], now + seconds * (long)(i + 1) / (long)CROWDS);
    }
    return check_end();
}
