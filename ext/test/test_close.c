/*
 * test_close.c - sqlite3_close() in the middle of a transaction. When a statement is
 * unfinished it refuses, but has told the virtual tables of a rollback by then; what
 * the transaction has written to a table in the database is committed with the rest of
 * it all the same, or undone with it. sqlite3_close_v2() lets the transaction go on in
 * the statements that are left.
 */
#include "check.h"

#include <string.h>

#define ROWS                                                                           \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "

static const char *const writes[] = {
    "INSERT INTO kv VALUES('a', 1); INSERT INTO t VALUES('a', 1)",
    "SAVEPOINT s; INSERT INTO kv VALUES('a', 1), ('b', 2); INSERT INTO t VALUES('a', "
    "1), ('b', 2)",
    "INSERT INTO kv VALUES('a', zeroblob(2000000)); INSERT INTO kv VALUES('b', "
    "zeroblob(2000000)); INSERT INTO kv VALUES('c', zeroblob(2000000));"
    "INSERT INTO t SELECT * FROM kv WHERE key > 'A'",
    "SELECT litekv_compact('kv')",
    "SELECT litekv_compact('kv', 3000); DELETE FROM kv WHERE key > 500;"
    "DELETE FROM t WHERE key > 500",
    "DELETE FROM kv; DELETE FROM t; SELECT litekv_compact('kv')",
    "DROP TABLE kv; CREATE VIRTUAL TABLE kv USING litekv; DELETE FROM t;"
    "INSERT INTO kv VALUES(1, 2); INSERT INTO t VALUES(1, 2)",
    "ALTER TABLE kv RENAME TO b; ALTER TABLE b RENAME TO kv; DELETE FROM kv WHERE key "
    "= 3; DELETE FROM t WHERE key = 3",
};

#define SUM(table)                                                                     \
    "SELECT count(*), sum(length(value)), sum(length(value) * key) FROM " table

/* Both tables hold the same. */
static void must_agree(sqlite3 *db)
{
    char *expected = check_result(db, SUM("t"));
    QUERY(db, SUM("kv"), expected);
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    sqlite3_free(expected);
}

static sqlite3 *start(const char *write, sqlite3_stmt **left, const char *unfinished)
{
    sqlite3 *db = check_open("close.db");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "CREATE TABLE t(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID;"
            "CREATE TABLE o(a); INSERT INTO o VALUES(1), (2);" ROWS
            "INSERT INTO kv SELECT i, printf('%050d', i) FROM n;" ROWS
            "REPLACE INTO kv SELECT i, printf('%040d', i) FROM n WHERE i % 2;"
            "INSERT INTO t SELECT * FROM kv; BEGIN");
    RUN(db, write);
    CHECK(sqlite3_prepare_v2(db, unfinished, -1, left, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(*left) == SQLITE_ROW);
    return db;
}

/* In this connection and in the next. */
static void end(sqlite3 *db)
{
    must_agree(db);
    check_close(db);
    db = check_open("close.db");
    must_agree(db);
    check_close(db);
    check_remove("close.db");
}

static void refused(const char *write, const char *unfinished, const char *then)
{
    sqlite3_stmt *left;
    sqlite3 *db = start(write, &left, unfinished);

    CHECK(sqlite3_close(db) == SQLITE_BUSY);
    must_agree(db);
    RUN(db, "INSERT INTO kv VALUES('later', 1); INSERT INTO t VALUES('later', 1)");
    CHECK(sqlite3_finalize(left) == SQLITE_OK);
    must_agree(db);
    RUN(db, then);
    must_agree(db);
    RUN(db, "INSERT INTO kv VALUES('last', 1); INSERT INTO t VALUES('last', 1)");
    end(db);
}

/* Nothing but ROLLBACK or COMMIT follows. */
static void nothing_else(const char *write, const char *unfinished, const char *then)
{
    sqlite3_stmt *left;
    sqlite3 *db = start(write, &left, unfinished);
    CHECK(sqlite3_close(db) == SQLITE_BUSY);
    RUN(db, then);
    must_agree(db);
    (void)sqlite3_finalize(left); /* which a rollback may have ended */
    end(db);
}

static void zombie(const char *write)
{
    sqlite3_stmt *left, *commit;
    sqlite3 *db = start(write, &left, "SELECT a FROM o");
    CHECK(sqlite3_prepare_v2(db, "COMMIT", -1, &commit, NULL) == SQLITE_OK);
    CHECK(sqlite3_close_v2(db) == SQLITE_OK);
    CHECK(sqlite3_step(commit) == SQLITE_DONE);
    sqlite3_finalize(commit);
    sqlite3_finalize(left);
    db = check_open("close.db");
    must_agree(db);
    check_close(db);
    check_remove("close.db");
}

/* One that can close undoes the transaction. */
static void undone(const char *write)
{
    sqlite3_stmt *left;
    sqlite3 *db = start(write, &left, "SELECT a FROM o");
    CHECK(sqlite3_finalize(left) == SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    db = check_open("close.db");
    must_agree(db);
    QUERY(db, "SELECT count(*) FROM kv", "600");
    check_close(db);
    check_remove("close.db");
}

/* Outside of the database and in memory the rollback is taken for one. */
static void outside(const char *option)
{
    sqlite3 *db = check_open("close.db");
    sqlite3_stmt *left;
    char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE kv USING litekv(key, value, %s);"
                                "CREATE TABLE o(a); INSERT INTO o VALUES(1), (2);"
                                "INSERT INTO kv VALUES(1, 1); BEGIN;"
                                "INSERT INTO kv VALUES(2, 2)",
                                option);
    RUN(db, sql);
    sqlite3_free(sql);
    CHECK(sqlite3_prepare_v2(db, "SELECT a FROM o", -1, &left, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(left) == SQLITE_ROW);
    CHECK(sqlite3_close(db) == SQLITE_BUSY);
    CHECK(sqlite3_finalize(left) == SQLITE_OK);
    RUN(db, "COMMIT");
    QUERY(db, "SELECT *, litekv_verify('kv') FROM kv", "1,1,ok");
    RUN(db, "INSERT INTO kv VALUES(3, 3)");
    QUERY(db, "SELECT * FROM kv", "1,1;3,3");
    RUN(db, "DROP TABLE kv");
    if (strstr(option, "path") != NULL) {
        QUERY(db, "SELECT litekv_remove('close.kv')", "1");
    }
    check_close(db);
    check_remove("close.db");
}

/* What is pending cannot be written out: it is undone, or all of the transaction. The
 * table is whole. */
static void interrupted(const char *write)
{
    sqlite3_stmt *left;
    sqlite3 *db = start(write, &left, "SELECT a FROM o");
    sqlite3_interrupt(db);
    CHECK(sqlite3_close(db) == SQLITE_BUSY);
    (void)sqlite3_finalize(left);
    if (!sqlite3_get_autocommit(db)) {
        RUN(db, "COMMIT");
    }
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    RUN(db, "INSERT INTO kv VALUES('last', 1)");
    check_close(db);
    db = check_open("close.db");
    QUERY(db, "SELECT value, litekv_verify('kv') FROM kv WHERE key = 'last'", "1,ok");
    check_close(db);
    check_remove("close.db");
}

int main(void)
{
    check_begin();
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        refused(writes[i], "SELECT a FROM o", "COMMIT");
        refused(writes[i], "SELECT a FROM o", "ROLLBACK");
        nothing_else(writes[i], "SELECT a FROM o", "COMMIT");
        nothing_else(writes[i], "SELECT a FROM o", "ROLLBACK");
        zombie(writes[i]);
        undone(writes[i]);
        interrupted(writes[i]);
    }
    /* One on the table itself holds its vtab object. */
    refused(writes[0], "SELECT key FROM kv", "COMMIT");
    refused(writes[0], "SELECT key FROM kv", "ROLLBACK");
    nothing_else(writes[0], "SELECT key FROM kv", "COMMIT");
    nothing_else(writes[0], "SELECT key FROM kv", "ROLLBACK");
    outside("memory=on");
    outside("path='close.kv'");
    return check_end();
}
