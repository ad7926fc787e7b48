/*
 * test_commit.c - transactions that are vetoed after xSync, handles that are not told
 * of their begin, many tables in one transaction, and functions without one.
 */
#include "check.h"

#include <stdio.h>
#include <string.h>

/* A virtual table that holds nothing and whose xSync fails when told to. */
static int veto;

static int veto_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **text)
{
    int rc = sqlite3_declare_vtab(db, "CREATE TABLE x(a)");
    (void)aux;
    (void)argc;
    (void)argv;
    (void)text;
    *out = rc == SQLITE_OK ? sqlite3_malloc(sizeof(**out)) : NULL;
    if (*out != NULL) {
        memset(*out, 0, sizeof(**out));
    }
    return rc;
}

static int veto_disconnect(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

static int veto_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    (void)info;
    return SQLITE_CONSTRAINT;
}

static int veto_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out)
{
    (void)table;
    (void)out;
    return SQLITE_ERROR;
}

static int veto_update(sqlite3_vtab *table, int argc, sqlite3_value **argv,
                       sqlite3_int64 *rowid)
{
    (void)table;
    (void)argc;
    (void)argv;
    (void)rowid;
    return SQLITE_OK;
}

static int veto_begin(sqlite3_vtab *table)
{
    (void)table;
    return SQLITE_OK;
}

static int veto_sync(sqlite3_vtab *table)
{
    (void)table;
    return veto;
}

static const sqlite3_module veto_module = {
    .iVersion = 1,
    .xCreate = veto_connect,
    .xConnect = veto_connect,
    .xBestIndex = veto_best_index,
    .xDisconnect = veto_disconnect,
    .xDestroy = veto_disconnect,
    .xOpen = veto_open,
    .xUpdate = veto_update,
    .xBegin = veto_begin,
    .xSync = veto_sync,
};

static int hook(void *arg)
{
    return *(int *)arg;
}

/* More work in the same connection, and what another one finds in the file. */
static void goes_on(sqlite3 *db, const char *expected)
{
    sqlite3 *other;
    QUERY(db, "SELECT group_concat(key) FROM kv", "1");
    RUN(db, "BEGIN; INSERT INTO kv VALUES(5, 5); SAVEPOINT a; DELETE FROM kv;"
            "ROLLBACK TO a; INSERT INTO kv VALUES(6, 6); COMMIT");
    RUN(db, "INSERT INTO kv VALUES(7, 7)");
    QUERY(db, "SELECT group_concat(key) FROM kv", expected);
    other = check_open("commit.db");
    QUERY(other, "SELECT group_concat(key) FROM kv", expected);
    check_close(other);
    RUN(db, "DELETE FROM kv WHERE key > 1");
}

/* Everything is in the log when the veto comes; all of it goes, with whatever else was
 * in the transaction. The length of it decides how much: a block, many, a spill. */
static const char *const work[] = {
    "INSERT INTO kv VALUES(2, 2)",
    "INSERT INTO kv VALUES(2, 2); SAVEPOINT s; INSERT INTO kv VALUES(3, 3);"
    "ROLLBACK TO s; INSERT INTO kv VALUES(4, 4); REPLACE INTO kv VALUES(0, 'stays')",
    "INSERT INTO kv VALUES(2, zeroblob(100000)), (3, zeroblob(100000))",
    "INSERT INTO kv VALUES(2, zeroblob(5000000)); DELETE FROM kv WHERE key = 1;"
    "INSERT INTO kv VALUES(3, zeroblob(5000000)); INSERT INTO kv VALUES(4, 4)",
};

static void commit_hook(void)
{
    sqlite3 *db = check_open("commit.db");
    int no = 0;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; CREATE TABLE o(a);"
            "INSERT INTO kv VALUES(1, 1)");
    sqlite3_commit_hook(db, hook, &no);
    for (size_t i = 0; i < sizeof(work) / sizeof(work[0]); i++) {
        RUN(db, "BEGIN; INSERT INTO o VALUES(1)");
        RUN(db, work[i]);
        no = 1;
        FAIL(db, "COMMIT", SQLITE_CONSTRAINT_COMMITHOOK, "constraint failed");
        FAIL(db, "INSERT INTO kv VALUES(9, 9)", SQLITE_CONSTRAINT_COMMITHOOK, "");
        no = 0;
        QUERY(db, "SELECT count(*) FROM o", "0");
        goes_on(db, "1,5,6,7");
    }
    check_close(db);
    check_remove("commit.db");
}

/* Another virtual table fails in xSync: it comes after kv's own or before it. */
static void other_sync(int first)
{
    sqlite3 *db = check_open("commit.db");

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
    CHECK(sqlite3_create_module(db, "veto", &veto_module, NULL) == SQLITE_OK);
    RUN(db, "CREATE VIRTUAL TABLE temp.veto USING veto");
    for (size_t i = 0; i < sizeof(work) / sizeof(work[0]); i++) {
        RUN(db, "BEGIN");
        if (first) {
            RUN(db, "INSERT INTO veto VALUES(1)");
        }
        RUN(db, work[i]);
        if (!first) {
            RUN(db, "INSERT INTO veto VALUES(1)");
        }
        veto = SQLITE_ERROR;
        FAIL(db, "COMMIT", SQLITE_ERROR, "");
        veto = SQLITE_OK;
        goes_on(db, "1,5,6,7");
        RUN(db, "BEGIN");
        RUN(db, work[i]);
        RUN(db, "INSERT INTO veto VALUES(1)");
        veto = SQLITE_BUSY; /* the transaction goes on, and xSync comes again */
        FAIL(db, "COMMIT", SQLITE_BUSY, "");
        RUN(db, "INSERT INTO kv VALUES(8, 8)");
        FAIL(db, "COMMIT", SQLITE_BUSY, "");
        veto = SQLITE_OK;
        RUN(db, "DELETE FROM kv WHERE key < 8; COMMIT");
        QUERY(db, "SELECT key FROM kv", "8");
        RUN(db, "UPDATE kv SET key = 1");
    }
    check_close(db);
    check_remove("commit.db");
}

/* CREATE alone gets xSync, xCommit and xRollback without xBegin; so does a DROP. */
static void without_begin(void)
{
    sqlite3 *db = check_open("commit.db");
    int no = 1;

    sqlite3_commit_hook(db, hook, &no);
    FAIL(db, "CREATE VIRTUAL TABLE kv USING litekv", SQLITE_CONSTRAINT_COMMITHOOK, "");
    QUERY(db, "SELECT name FROM sqlite_schema", "");
    no = 0;
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv");
    RUN(db, "INSERT INTO kv VALUES(1, 1)");
    no = 1;
    FAIL(db, "DROP TABLE kv", SQLITE_CONSTRAINT_COMMITHOOK, "");
    FAIL(db, "ALTER TABLE kv RENAME TO kw", SQLITE_CONSTRAINT_COMMITHOOK, "");
    FAIL(db, "BEGIN; INSERT INTO kv VALUES(2, 2); DROP TABLE kv; COMMIT",
         SQLITE_CONSTRAINT_COMMITHOOK, "");
    FAIL(db,
         "BEGIN; INSERT INTO kv VALUES(2, 2); ALTER TABLE kv RENAME TO kw;"
         "INSERT INTO kw VALUES(3, 3); COMMIT",
         SQLITE_CONSTRAINT_COMMITHOOK, "");
    no = 0;
    goes_on(db, "1,5,6,7");
    RUN(db, "BEGIN; SELECT * FROM kv; COMMIT; BEGIN; SELECT * FROM kv; ROLLBACK");
    RUN(db, "BEGIN; DELETE FROM kv WHERE key = 'none'; COMMIT");
    RUN(db, "BEGIN; DELETE FROM kv WHERE key = 'none'; ROLLBACK");
    goes_on(db, "1,5,6,7");
    check_close(db);
    check_remove("commit.db");
}

static int count_statement(unsigned kind, void *count, void *statement, void *sql)
{
    (void)kind;
    (void)statement;
    (void)sql;
    ++*(int *)count;
    return 0;
}

/* Each CREATE has savepoints, of which all tables hear that were made before it in the
 * transaction. Those that have nothing to write run no statement for it. */
static void many_creates(void)
{
    sqlite3 *db = check_open("commit.db");
    int count = 0, second = 0;
    RUN(db, "BEGIN; CREATE VIRTUAL TABLE t0 USING litekv; INSERT INTO t0 VALUES(1, 1)");
    CHECK(sqlite3_trace_v2(db, SQLITE_TRACE_STMT, count_statement, &count) ==
          SQLITE_OK);
    for (int i = 1; i < 20; i++) {
        char sql[100];
        snprintf(sql, sizeof(sql),
                 "CREATE VIRTUAL TABLE t%d USING litekv; INSERT INTO t%d VALUES(1, 1)",
                 i, i);
        count = 0;
        RUN(db, sql);
        second = i == 2 ? count : second;
        CHECK(count > 0 && (i <= 2 || count == second));
    }
    CHECK(sqlite3_trace_v2(db, 0, NULL, NULL) == SQLITE_OK);
    RUN(db, "COMMIT");
    QUERY(db, "SELECT (SELECT value FROM t0) || (SELECT value FROM t19)", "11");
    check_close(db);
    check_remove("commit.db");
}

/* Hands its argument on, and another connection has committed something. */
static void pass_on(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    sqlite3 *other = sqlite3_user_data(context);
    (void)argc;
    if (sqlite3_exec(other, "INSERT INTO kv VALUES(9, 'other')", NULL, NULL, NULL) ==
        SQLITE_OK) {
        sqlite3_result_value(context, argv[0]);
    } else {
        sqlite3_result_error(context, sqlite3_errmsg(other), -1);
    }
}

/* Outside of a transaction each function that a SELECT calls is one by itself. */
static void functions_of_a_select(void)
{
    static const char give_and_take[] =
        "SELECT litekv_deserialize('kv', pass_on(litekv_serialize('kv')))";
    sqlite3 *db = check_open("commit.db"), *other;
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 'one')");
    other = check_open("commit.db");
    CHECK(sqlite3_create_function(db, "pass_on", 1, SQLITE_UTF8, other, pass_on, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, give_and_take);
    QUERY(other, "SELECT group_concat(key) FROM kv", "1"); /* 9 was replaced too */
    RUN(db, "BEGIN IMMEDIATE");
    FAIL(db, give_and_take, SQLITE_ERROR, "database is locked");
    RUN(db, "COMMIT");
    QUERY(other, "SELECT group_concat(key) FROM kv", "1");
    check_close(other);
    check_close(db);
    check_remove("commit.db");
}

/* The memory of what is rolled back comes back. */
static void memory_comes_back(void)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_int64 before;
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv(memory=on);"
            "INSERT INTO kv VALUES(0, 'stays')");
    before = sqlite3_memory_used();
    RUN(db, "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 2000) INSERT INTO kv SELECT i, zeroblob(10000) FROM n");
    CHECK(sqlite3_memory_used() > before + 20000000);
    RUN(db, "ROLLBACK");
    RUN(db, "REPLACE INTO kv VALUES(0, 'stays')");
    CHECK(sqlite3_memory_used() < before + 4000000);
    QUERY(db, "SELECT * FROM kv", "0,stays");
    check_close(db);
}

int main(void)
{
    check_begin();
    commit_hook();
    other_sync(0);
    other_sync(1);
    without_begin();
    many_creates();
    functions_of_a_select();
    memory_comes_back();
    return check_end();
}
