/*
 * test_external.c - tables in files: what a statement sees while others commit, and who
 * waits for whom. What SQL alone shows stands in sql-tests/path.slt.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A connection whose table kv is at `store`; each has a database of its own, so that
 * SQLite's locks are in nobody's way. */
static sqlite3 *open_table(const char *name)
{
    sqlite3 *db = check_open(name);
    char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE IF NOT EXISTS kv USING "
                                "litekv(key, value, path='%q', sync=off)",
                                check_path("store"));
    RUN(db, sql);
    sqlite3_free(sql);
    return db;
}

static void remove_all(sqlite3 *db)
{
    char *sql = sqlite3_mprintf("SELECT litekv_remove('%q')", check_path("store"));
    RUN(db, "DROP TABLE kv");
    QUERY(db, sql, "1");
    sqlite3_free(sql);
    check_close(db);
    check_remove("one.db");
    check_remove("two.db");
}

static sqlite3_stmt *start(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    return statement;
}

static void expect(sqlite3_stmt *statement, const char *text)
{
    const char *got = (const char *)sqlite3_column_text(statement, 0);
    check_that(got != NULL && strcmp(got, text) == 0, __FILE__, __LINE__, "%s, not %s",
               got == NULL ? "NULL" : got, text);
}

/* A statement that has begun goes on in its snapshot, with the subqueries that come
 * later; so do other statements meanwhile. */
static void one_snapshot(void)
{
    sqlite3 *one = open_table("one.db"), *two = open_table("two.db");
    sqlite3_stmt *reader;

    RUN(one, "INSERT INTO kv VALUES(1, 'a'), (2, 'b'), (3, 'c')");
    reader = start(one, "SELECT (SELECT count(*) || value FROM kv AS inner WHERE "
                        "inner.key >= outer.key) FROM kv AS outer");
    expect(reader, "3a");
    RUN(two, "UPDATE kv SET value = 'x'; INSERT INTO kv VALUES(4, 'd')");
    QUERY(one, "SELECT group_concat(value, '') FROM kv", "abc");
    QUERY(one, "SELECT litekv_stats('kv') ->> 'live_keys'", "3");
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    expect(reader, "2b");
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    expect(reader, "1c");
    CHECK(sqlite3_step(reader) == SQLITE_DONE);
    sqlite3_finalize(reader);
    QUERY(one, "SELECT group_concat(value, '') FROM kv", "xxxd");
    check_close(two);
    remove_all(one);
}

/* Who reads an older commit cannot write behind the newest one. */
static void older_snapshot(void)
{
    sqlite3 *one = open_table("one.db"), *two = open_table("two.db");
    sqlite3_stmt *reader;

    RUN(one, "INSERT INTO kv VALUES(1, 'a'), (2, 'b'), (3, 'c')");
    reader = start(one, "SELECT value FROM kv");
    RUN(one, "INSERT INTO kv VALUES(4, 'd')"); /* nobody has written since */
    RUN(two, "UPDATE kv SET value = 'x'");
    FAIL(one, "INSERT INTO kv VALUES(5, 'e')", SQLITE_BUSY_SNAPSHOT, "locked");
    FAIL(one, "UPDATE kv SET value = 'y' WHERE 0", SQLITE_BUSY_SNAPSHOT, "locked");
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    expect(reader, "b");
    sqlite3_finalize(reader);
    RUN(one, "INSERT INTO kv VALUES(5, 'e')");
    QUERY(one, "SELECT group_concat(value, '') FROM kv", "xxxxe");
    /* The same in a transaction that was a reader's until now. */
    RUN(one, "BEGIN");
    reader = start(one, "SELECT value FROM kv");
    RUN(two, "DELETE FROM kv WHERE key > 2");
    FAIL(one, "DELETE FROM kv", SQLITE_BUSY_SNAPSHOT, "locked");
    sqlite3_finalize(reader);
    RUN(one, "DELETE FROM kv WHERE key = 1; COMMIT");
    QUERY(two, "SELECT group_concat(value, '') FROM kv", "x");
    check_close(two);
    remove_all(one);
}

/* A table that was made or found in this transaction hears nothing of statements that
 * will write (SQLite takes it for a part of the transaction already). */
static void attached_in_a_transaction(void)
{
    sqlite3 *two = open_table("two.db"), *one = check_open("one.db");
    char *sql = sqlite3_mprintf("BEGIN; CREATE VIRTUAL TABLE kv USING litekv(key, "
                                "value, path='%q')",
                                check_path("store"));

    RUN(two, "INSERT INTO kv VALUES(1, 1)");
    RUN(one, sql);
    RUN(two, "UPDATE kv SET value = 2");
    RUN(one, "UPDATE kv SET value = value + 1");
    FAIL(two, "UPDATE kv SET value = 3", SQLITE_BUSY, "locked");
    RUN(one, "COMMIT");
    QUERY(two, "SELECT value FROM kv", "3");
    sqlite3_free(sql);
    check_close(two);
    remove_all(one);
}

enum { PROCESSES = 3, TIMES = 150 };

static int count_up(int i)
{
    char name[16];
    sqlite3 *db;
    int rc = SQLITE_OK;
    sqlite3_snprintf(sizeof(name), name, "p%d.db", i);
    db = open_table(name);
    sqlite3_busy_timeout(db, 60000);
    for (int n = 0; n < TIMES && rc == SQLITE_OK; n++) {
        rc = sqlite3_exec(db,
                          n % 3 == 0 ? "BEGIN; UPDATE kv SET value = value + 1 WHERE "
                                       "key = 'n'; COMMIT"
                                     : "UPDATE kv SET value = value + 1",
                          NULL, NULL, NULL);
    }
    check_close(db);
    check_remove(name);
    return rc;
}

/* Several processes read and write one row: no update is lost. */
static void no_update_is_lost(void)
{
    sqlite3 *one;
    pid_t child[PROCESSES];
    int status;

    one = open_table("one.db");
    RUN(one, "INSERT INTO kv VALUES('n', 0)");
    check_close(one);
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            _exit(count_up(i) == SQLITE_OK ? 0 : 1);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        CHECK(waitpid(child[i], &status, 0) == child[i] && status == 0);
    }
    one = open_table("one.db");
    check_that(check_number(one, "SELECT value FROM kv") ==
                   (sqlite3_int64)PROCESSES * TIMES,
               __FILE__, __LINE__, "an update was lost");
    remove_all(one);
}

static atomic_int waiting;

/* Again and again, since what has not begun cannot be interrupted. */
static void *interrupt(void *db)
{
    while (waiting) {
        sqlite3_interrupt(db);
        usleep(1000);
    }
    return NULL;
}

/* The user can end the wait for another writer. */
static void interrupted_wait(void)
{
    sqlite3 *one = open_table("one.db"), *two = open_table("two.db");
    pthread_t thread;

    RUN(one, "BEGIN; INSERT INTO kv VALUES(1, 1)");
    sqlite3_busy_timeout(two, 600000);
    waiting = 1;
    CHECK(pthread_create(&thread, NULL, interrupt, two) == 0);
    FAIL(two, "INSERT INTO kv VALUES(2, 2)", SQLITE_INTERRUPT, "interrupted");
    waiting = 0;
    CHECK(pthread_join(thread, NULL) == 0);
    RUN(one, "COMMIT");
    RUN(two, "INSERT INTO kv VALUES(2, 2)");
    check_close(two);
    remove_all(one);
}

static void redeclare(sqlite3 *db, const char *path)
{
    char *declaration = sqlite3_mprintf(
        "CREATE VIRTUAL TABLE kv USING litekv(key, value, path=%Q)", path);
    char *sql = sqlite3_mprintf(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = %Q WHERE name = "
        "'kv'; PRAGMA writable_schema = RESET",
        declaration);
    RUN(db, sql);
    sqlite3_free(sql);
    sqlite3_free(declaration);
}

/* The schema says another path, while a statement on the old one is there yet. A
 * relative one is nowhere, since the database is no file. */
static void other_path(void)
{
    sqlite3 *db = open_table(":memory:");
    sqlite3_stmt *old[4] = {NULL};
    const char *query = "SELECT key FROM kv";

    RUN(db, "INSERT INTO kv VALUES(1, 1)");
    for (int i = 0; i < 4; i++) { /* a statement keeps what it was prepared on */
        sqlite3_prepare_v2(db, query, -1, &old[i], NULL);
        redeclare(db, i == 0   ? check_path("else")
                      : i == 3 ? check_path("store")
                               : "here");
        if (i == 3) {
            QUERY(db, query, "1");
        } else {
            FAIL(db, query, SQLITE_CANTOPEN, i == 0 ? "there is no store" : "relative");
        }
    }
    for (int i = 0; i < 4; i++) {
        sqlite3_finalize(old[i]);
    }
    remove_all(db);
}

/* The generation of root `i`, with the greatest byte first; zeros where there is none.
 */
static void read_generation(int i, char *path, size_t size, unsigned char *generation)
{
    char name[] = "store/root0";
    unsigned char bytes[8] = {0};
    FILE *file;
    name[sizeof(name) - 2] = (char)('0' + i);
    snprintf(path, size, "%s", check_path(name));
    file = fopen(path, "rb");
    if (file != NULL) {
        CHECK(fseek(file, 24, SEEK_SET) == 0 && fread(bytes, 1, 8, file) == 8 &&
              fclose(file) == 0);
    }
    for (int k = 0; k < 8; k++) {
        generation[k] = bytes[7 - k];
    }
}

/* The root with the greatest generation, and its copy, are roots no more. */
static void damage_newest_root(void)
{
    unsigned char newest[8] = {0}, generation[8];
    char path[512];
    for (int i = 0; i < 6; i++) {
        read_generation(i % 3, path, sizeof(path), generation);
        if (memcmp(generation, newest, 8) > 0) {
            memcpy(newest, generation, 8);
        } else if (i >= 3 && memcmp(generation, newest, 8) == 0) {
            FILE *file = fopen(path, "r+b");
            CHECK(file != NULL && fseek(file, 100, SEEK_SET) == 0 &&
                  fputc(0x5a, file) != EOF && fclose(file) == 0);
        }
    }
}

/* Recovery says that there was a newer root, follows the one before it into the segment
 * that is not listed any more, and then all is well. */
static void lost_root(void)
{
    sqlite3 *db = open_table("one.db");

    RUN(db, "INSERT INTO kv(kv) VALUES('sync=normal')");
    RUN(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < "
            "60) INSERT INTO kv SELECT i, zeroblob(1000000) FROM n");
    /* Ends in the next segment, which only its own root lists. */
    RUN(db,
        "WITH RECURSIVE n(i) AS (VALUES(61) UNION ALL SELECT i + 1 FROM n WHERE i < "
        "70) INSERT INTO kv SELECT i, zeroblob(1000000) FROM n");
    check_close(db);
    damage_newest_root();
    db = open_table("one.db");
    FAIL(db, "SELECT count(*) FROM kv", SQLITE_CORRUPT_VTAB,
         "the root of the newest commit is missing or damaged");
    QUERY(db,
          "SELECT r ->> 'kept', r ->> '$.dropped[0].kind', r ->> '$.dropped[0].bytes' "
          "FROM (SELECT litekv_recover('kv') AS r)",
          "70,root,0");
    FAIL(db, "INSERT INTO kv VALUES(99, 99)", SQLITE_CORRUPT_VTAB, "the root of");
    QUERY(db, "SELECT litekv_recover('kv', 'apply') ->> 'kept'", "70");
    QUERY(db, "SELECT count(*), max(key), litekv_verify('kv') FROM kv", "70,70,ok");
    QUERY(db, "SELECT litekv_recover('kv')", "{\"kept\":70,\"dropped\":[]}");
    remove_all(db);
}

/* The file with the locks is made anew by CREATE, as the message says. */
static void lost_lock(void)
{
    sqlite3 *db = open_table("one.db");

    RUN(db, "INSERT INTO kv VALUES(1, 1)");
    check_close(db);
    CHECK(truncate(check_path("store/lock"), 0) == 0);
    db = open_table("one.db");
    FAIL(db, "SELECT * FROM kv", SQLITE_CANTOPEN,
         "its file lock is damaged, or not finished");
    FAIL(db, "INSERT INTO kv VALUES(2, 2)", SQLITE_CANTOPEN, "create it anew");
    RUN(db, "DROP TABLE kv");
    check_close(db);
    db = open_table("one.db");
    QUERY(db, "SELECT * FROM kv", "1,1");
    RUN(db, "INSERT INTO kv VALUES(2, 2)");
    QUERY(db, "SELECT count(*), litekv_verify('kv') FROM kv", "2,ok");
    remove_all(db);
}

int main(void)
{
    check_begin();
    one_snapshot();
    older_snapshot();
    attached_in_a_transaction();
    no_update_is_lost();
    interrupted_wait();
    other_path();
    lost_root();
    lost_lock();
    return check_end();
}
