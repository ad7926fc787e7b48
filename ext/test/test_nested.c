/*
 * test_nested.c - a function writes to a table in the middle of a statement on another
 * database, which then fails: SQLite goes back to its beginning, and tells the table,
 * but the table's database stays where it is. Or the function goes back to a savepoint.
 */
#include "check.h"

#include <string.h>

#define ROWS                                                                           \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) "

#define BIG(key) "INSERT INTO kv VALUES('" key "', zeroblob(3000000));"

/* Runs the SQL that is the function's user data, once, and gives its argument. */
static void run_it(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char **sql = sqlite3_user_data(context);
    const char *once = *sql;
    (void)argc;
    *sql = NULL;
    if (once != NULL) {
        CHECK(sqlite3_exec(sqlite3_context_db_handle(context), once, NULL, NULL,
                           NULL) == SQLITE_OK);
    }
    sqlite3_result_value(context, argv[0]);
}

static const char *const nested[] = {
    "INSERT INTO kv VALUES('n', 1)",
    "INSERT INTO kv VALUES('n', 1), ('m', 2)",
    "INSERT INTO kv VALUES('n', 1); UPDATE kv SET value = 0; DELETE FROM kv",
    BIG("n") BIG("m") BIG("o"),
    "INSERT INTO kv(kv) VALUES('compact')",
    "INSERT INTO kv(kv) VALUES('compact=3000'); INSERT INTO kv VALUES('n', 1)",
    "INSERT INTO kv VALUES('n', 1); INSERT INTO kv(kv) VALUES('compact')",
    "INSERT INTO kv(kv) VALUES('rebuild')",
    "INSERT INTO kv(kv) VALUES('recover')",
    "SELECT litekv_compact('kv')",
    "SELECT litekv_compact('kv', 3000)",
    "SELECT litekv_deserialize('kv', litekv_serialize('small'))",
    "SELECT litekv_import_index('kv', (SELECT i FROM saved))",
    "SELECT litekv_recover('kv', 'apply')",
};

static const char *const before[] = {
    "BEGIN",
    "BEGIN; UPDATE kv SET value = value || '!' WHERE key % 3 = 0",
    "BEGIN; SAVEPOINT s; REPLACE INTO kv VALUES(7, 'seven')",
    "BEGIN; REPLACE INTO kv VALUES(7, 'seven'); SAVEPOINT s",
};

#define CONTENT                                                                        \
    "SELECT count(*), sum(length(value)), sum(length(value) * key),"                   \
    " group_concat(key) FILTER (WHERE value LIKE '%!') FROM kv"

/* Two databases with their tables, in which nested() runs `*sql`, once. */
static sqlite3 *make(const char **sql)
{
    sqlite3 *db = check_open("nested.db");
    char *attach = sqlite3_mprintf("ATTACH %Q AS two", check_path("nested2.db"));

    CHECK(sqlite3_create_function(db, "nested", 1, SQLITE_UTF8, sql, run_it, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, attach);
    sqlite3_free(attach);
    RUN(db, "CREATE TEMP TABLE t(x UNIQUE); CREATE TABLE two.t(x UNIQUE);"
            "CREATE TABLE main.t(x UNIQUE);"
            "CREATE VIRTUAL TABLE two.v USING litekv(x);"
            "CREATE VIRTUAL TABLE main.kv USING litekv;"
            "CREATE TABLE main.o(key PRIMARY KEY, value) WITHOUT ROWID;"
            "CREATE VIRTUAL TABLE main.small USING litekv;"
            "INSERT INTO small VALUES(1, 2), (3, 4);" ROWS
            "INSERT INTO kv SELECT i, printf('%050d', i) FROM n;" ROWS
            "REPLACE INTO kv SELECT i, printf('%040d', i) FROM n WHERE i % 2;"
            "CREATE TEMP TABLE saved AS SELECT litekv_export_index('kv') AS i");
    return db;
}

/* The table is committed with that content, is whole, and can be written to. */
static void end(sqlite3 *db, const char *content)
{
    RUN(db, "COMMIT");
    QUERY(db, CONTENT, content);
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    check_close(db);
    db = check_open("nested.db");
    QUERY(db, CONTENT, content);
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    RUN(db, "INSERT INTO kv VALUES('last', 1); INSERT INTO kv(kv) VALUES('compact')");
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    QUERY(db, "PRAGMA integrity_check", "ok");
    check_close(db);
    check_remove("nested.db");
    check_remove("nested2.db");
}

/* What the function wrote stays, or goes, as in an ordinary table: SQLite marks a
 * database at the first statement there that needs it. */
static void stays(const char *outer, const char *sql, const char *begins)
{
    char *both = sqlite3_mprintf(
        "INSERT INTO o VALUES('before', 1); INSERT INTO kv VALUES('before', 1); %s;"
        "INSERT INTO o VALUES('then', 1); REPLACE INTO kv VALUES('then', 1)",
        sql);
    const char *runs = both;
    sqlite3 *db = make(&runs);
    int empties = strstr(sql, "DELETE") != NULL || strstr(sql, "deserialize") != NULL;
    char *was;

    RUN(db, begins);
    FAIL(db, outer, 0, "UNIQUE constraint failed");
    if (empties) {
        RUN(db,
            "DELETE FROM o WHERE key = 'before'; DELETE FROM kv WHERE key = 'before'");
    }
    was = check_result(db, "SELECT key FROM o ORDER BY key");
    QUERY(db, "SELECT key FROM kv WHERE key IN ('before', 'then') ORDER BY key", was);
    sqlite3_free(was);
    was = check_result(db, CONTENT);
    end(db, was);
    sqlite3_free(was);
    sqlite3_free(both);
}

/* The function goes back to a savepoint itself. What it changes afterwards may be
 * undone or not, but is the same after COMMIT, and gone after ROLLBACK TO. */
static void gone_back(const char *outer, const char *sql, const char *begins, int again)
{
    sqlite3 *db = make(&sql);
    char *was;

    RUN(db, begins);
    was = check_result(db, CONTENT);
    FAIL(db, outer, 0, "");
    if (again) {
        RUN(db, "INSERT INTO kv VALUES('late', 1); ROLLBACK TO s");
    } else {
        sqlite3_free(was);
        was = check_result(db, CONTENT);
    }
    QUERY(db, CONTENT, was);
    end(db, was);
    sqlite3_free(was);
}

int main(void)
{
    static const char *const outers[] = {
        "INSERT INTO temp.t VALUES(nested(1)), (2), (1)",
        "INSERT INTO two.t SELECT nested(1) UNION ALL SELECT 2 UNION ALL SELECT 1",
        "INSERT INTO two.v VALUES(nested(1)), (2), (1)",
        "INSERT INTO main.t VALUES(nested(1)), (2), (1)",
    };
    static const char *const back[] = {
        "ROLLBACK TO s",
        "ROLLBACK TO s; INSERT INTO kv VALUES('n', 1); INSERT INTO small VALUES('n', "
        "1)",
        "INSERT INTO kv VALUES('m', 1); ROLLBACK TO s; INSERT INTO kv VALUES('n', 1);"
        "UPDATE small SET value = 5",
        "ROLLBACK TO s;"
        "INSERT INTO kv VALUES('n', zeroblob(3000000)), ('m', zeroblob(3000000))",
        "ROLLBACK TO s;" BIG("n") BIG("m"),
    };
    check_begin();
    for (size_t i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
        for (int k = 0; k < 4; k++) {
            stays(outers[(i + (size_t)k) % 3], nested[i], before[k]);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < sizeof(back) / sizeof(back[0]); k++) {
            gone_back(outers[i], back[k], before[3], 0);
            gone_back(outers[i], back[k], before[3], 1);
            gone_back(outers[i], back[k], "BEGIN; SAVEPOINT s", 0);
            gone_back(outers[i], back[k], "BEGIN; SAVEPOINT s", 1);
        }
    }
    return check_end();
}
