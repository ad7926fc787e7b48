/*
 * test_scan.c - writing between the steps of a query, on the same connection. A row is
 * read once whatever becomes of it, a new one only ahead of the scan, and one that is
 * gone no more.
 */
#include "check.h"

#include <string.h>

/* `write` runs after the first row. What an ordinary table is to show is certain only
 * for rows that the write leaves alone; for the others it says what litekv promises. */
static const struct {
    const char *query, *write, *expected;
} scenes[] = {
    /* the row under the scan: written again, deleted, moved either way */
    {"SELECT key, value FROM kv", "REPLACE INTO kv VALUES(1, 'x')", "1a,2b,3c,4d"},
    {"SELECT key, value FROM kv", "DELETE FROM kv WHERE key = 1", "1a,2b,3c,4d"},
    {"SELECT key, value FROM kv", "UPDATE kv SET key = -1 WHERE key = 1",
     "1a,2b,3c,4d"},
    {"SELECT key, value FROM kv", "UPDATE kv SET key = 9 WHERE key = 1",
     "1a,2b,3c,4d,9a"},
    {"SELECT key, value FROM kv ORDER BY key DESC", "REPLACE INTO kv VALUES(4, 'x')",
     "4d,3c,2b,1a"},
    {"SELECT key, value FROM kv ORDER BY key DESC", "DELETE FROM kv WHERE key = 4",
     "4d,3c,2b,1a"},
    /* ahead and behind */
    {"SELECT key, value FROM kv", "INSERT INTO kv VALUES(0, 'x'), (1.5, 'y'), (5, 'z')",
     "1a,1.5y,2b,3c,4d,5z"},
    {"SELECT key, value FROM kv ORDER BY key DESC",
     "INSERT INTO kv VALUES(0, 'x'), (3.5, 'y'), (5, 'z')", "4d,3.5y,3c,2b,1a,0x"},
    {"SELECT key, value FROM kv", "UPDATE kv SET value = 'x'", "1a,2x,3x,4x"},
    {"SELECT key, value FROM kv", "DELETE FROM kv WHERE key < 4", "1a,4d"},
    {"SELECT key, value FROM kv", "DELETE FROM kv", "1a"},
    {"SELECT key, value FROM kv", "DELETE FROM kv; INSERT INTO kv VALUES(1, 'x')",
     "1a"},
    {"SELECT key, value FROM kv WHERE key IN (1, 2, 4)",
     "DELETE FROM kv WHERE key = 2; INSERT INTO kv VALUES(9, 'x')", "1a,4d"},
    {"SELECT key, value FROM kv WHERE key BETWEEN 1 AND 3",
     "INSERT INTO kv VALUES(2.5, 'x'), (3.5, 'y'); DELETE FROM kv WHERE key = 3",
     "1a,2b,2.5x"},
    /* keys all moved ahead of the scan are met there, once */
    {"SELECT key, value FROM kv", "UPDATE kv SET key = key + 10", "1a,11a,12b,13c,14d"},
    /* in a transaction that goes back to a savepoint */
    {"SELECT key, value FROM kv",
     "BEGIN; SAVEPOINT s; DELETE FROM kv WHERE key = 2; RELEASE s; COMMIT", "1a,3c,4d"},
    /* large enough to be written out meanwhile */
    {"SELECT key, value FROM kv",
     "BEGIN; INSERT INTO kv VALUES(-1, zeroblob(3000000)), (-2, zeroblob(3000000));"
     "DELETE FROM kv WHERE key = 3; COMMIT",
     "1a,2b,4d"},
};

static char *read_row(sqlite3_stmt *statement, char *before)
{
    char *text = sqlite3_mprintf(
        "%s%s%s%s", before == NULL ? "" : before, before == NULL ? "" : ",",
        sqlite3_column_text(statement, 0), sqlite3_column_text(statement, 1));
    sqlite3_free(before);
    return text;
}

static void scene(size_t i)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *statement = NULL;
    char *got = NULL;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "INSERT INTO kv VALUES(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')");
    CHECK(sqlite3_prepare_v2(db, scenes[i].query, -1, &statement, NULL) == SQLITE_OK);
    for (int row = 0; row < 20 && sqlite3_step(statement) == SQLITE_ROW; row++) {
        got = read_row(statement, got);
        if (row == 0) {
            RUN(db, scenes[i].write);
        }
    }
    check_that(got != NULL && strcmp(got, scenes[i].expected) == 0, __FILE__, __LINE__,
               "%s with %s: %s", scenes[i].query, scenes[i].write,
               got == NULL ? "nothing" : got);
    sqlite3_free(got);
    sqlite3_finalize(statement);
    QUERY(db, "SELECT count(*) = count(DISTINCT key) FROM kv", "1");
    check_close(db);
}

/* A write after every row, which takes away the row read and the next but one. */
static void every_row(const char *order, const char *expected)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *statement = NULL;
    char *sql = sqlite3_mprintf("SELECT key, value FROM kv ORDER BY key %s", order);
    char *got = NULL;

    RUN(db,
        "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv "
        "VALUES(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f'), (7, 'g')");
    CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        char *write = sqlite3_mprintf(
            "DELETE FROM kv WHERE key IN (%d, %d); REPLACE INTO kv VALUES(100, 'new')",
            sqlite3_column_int(statement, 0),
            sqlite3_column_int(statement, 0) + (order[0] == 'A' ? 2 : -2));
        got = read_row(statement, got);
        if (sqlite3_column_int(statement, 0) < 100) {
            RUN(db, write);
        }
        sqlite3_free(write);
    }
    check_that(got != NULL && strcmp(got, expected) == 0, __FILE__, __LINE__, "%s: %s",
               order, got == NULL ? "nothing" : got);
    sqlite3_free(got);
    sqlite3_free(sql);
    sqlite3_finalize(statement);
    check_close(db);
}

static void tick(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    int *calls = sqlite3_user_data(context);
    (void)argc;
    (void)argv;
    sqlite3_result_int(context, ++*calls);
}

/* The rows are only counted until the key of the third is wanted. */
static void counted_rows(void)
{
    sqlite3 *db = check_open(":memory:");
    int calls = 0;

    CHECK(sqlite3_create_function(db, "tick", 0, SQLITE_UTF8, &calls, tick, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "INSERT INTO kv VALUES(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e');"
            "DELETE FROM kv WHERE tick() IN (3, 5)");
    CHECK(calls == 5);
    QUERY(db, "SELECT group_concat(key || value), count(*) FROM kv", "1a,2b,4d,3");
    check_close(db);
}

/* At its call number `at` it runs `sql`; gives the number of the call. */
static struct {
    int calls, at;
    const char *sql;
} writing;

static void write_in(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    if (++writing.calls == writing.at) {
        RUN(sqlite3_context_db_handle(context), writing.sql);
    }
    sqlite3_result_int(context, writing.calls);
}

/* What a function does to the table before a column of a later row is asked for: the
 * answer is the ordinary table's. */
static void changed_within(void)
{
    static const char *const statements[] = {
        "DELETE FROM kv WHERE w() = 4", "UPDATE kv SET value = 'u' WHERE w() = 4",
        "INSERT INTO seen SELECT CASE WHEN w() = 4 THEN key END FROM kv",
        "INSERT INTO seen SELECT count(*) FROM kv WHERE w() > 0"};
    static const char *const writes[] = {"INSERT INTO kv VALUES(-1, 'x')",
                                         "DELETE FROM kv WHERE key < 2",
                                         "DELETE FROM kv WHERE key = 9"};
    static const char *const make[] = {
        "CREATE TABLE kv(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
        "CREATE VIRTUAL TABLE kv USING litekv",
        "CREATE VIRTUAL TABLE kv USING litekv(memory=on)"};
    for (size_t i = 0; i < 4 * 3 * 3; i++) {
        char *want = NULL;
        for (size_t k = 0; k < 3; k++) {
            sqlite3 *db = check_open(":memory:");
            char *got;
            CHECK(sqlite3_create_function(db, "w", 0, SQLITE_UTF8, NULL, write_in, NULL,
                                          NULL) == SQLITE_OK);
            RUN(db, make[k]);
            RUN(db,
                "CREATE TABLE seen(x); WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL "
                "SELECT i + 1 FROM n WHERE i < 9) INSERT INTO kv SELECT i, i FROM n");
            writing.calls = 0;
            writing.at = (int)(i / 12) + 1;
            writing.sql = writes[i / 4 % 3];
            RUN(db, statements[i % 4]);
            got =
                check_result(db, "SELECT (SELECT group_concat(key || value) FROM kv), "
                                 "(SELECT group_concat(x) FROM seen)");
            if (k == 0) {
                want = got;
            } else {
                check_that(strcmp(got, want) == 0, __FILE__, __LINE__,
                           "%s with %s at %d: %s, not %s", statements[i % 4],
                           writing.sql, writing.at, got, want);
                sqlite3_free(got);
            }
            check_close(db);
        }
        sqlite3_free(want);
    }
}

/* Rows that are undone under a scan of which no column was asked for are not given out.
 */
static void undone_within(const char *undo)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *statement = NULL;
    int rows = 0;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1), (2, "
            "2), (3, "
            "3); BEGIN; SAVEPOINT s; INSERT INTO kv VALUES(11, 1), (12, 1), (13, 1)");
    CHECK(sqlite3_prepare_v2(db, "SELECT 1 FROM kv", -1, &statement, NULL) ==
          SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        if (++rows == 1) {
            RUN(db, undo);
        }
    }
    CHECK(rows == 3);
    sqlite3_finalize(statement);
    check_close(db);
}

int main(void)
{
    check_begin();
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        scene(i);
    }
    every_row("ASC", "1a,2b,5e,6f,100new");
    every_row("DESC", "7g,6f,3c,2b");
    counted_rows();
    changed_within();
    undone_within("ROLLBACK");
    undone_within("ROLLBACK TO s");
    return check_end();
}
