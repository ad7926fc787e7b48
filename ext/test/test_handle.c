/*
 * test_handle.c - one handle for a table, whatever SQLite does to its vtab objects:
 * events that come twice or not at all, statements that are still open.
 */
#include "check.h"

#include "table.h"

#include <string.h>

/* RENAME outside a transaction is told by nothing but xRename. A rollback that comes
 * later must not take the handle for one whose name was undone: two handles of one
 * table would write over each other. */
static void rename_alone(void)
{
    sqlite3 *db = check_open("rename.db");
    sqlite3_stmt *reader = NULL;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; CREATE TABLE other(a);"
            "INSERT INTO kv VALUES('a', 1), ('b', 2)");
    sqlite3_prepare_v2(db, "SELECT key FROM kv", -1, &reader, NULL);
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    RUN(db, "ALTER TABLE kv RENAME TO kv2");
    RUN(db, "SELECT count(key) FROM kv2");
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    RUN(db, "BEGIN; INSERT INTO kv2 VALUES('gone', 3); ROLLBACK");
    RUN(db, "BEGIN; INSERT INTO kv2 VALUES('c', 3);"
            "PRAGMA writable_schema = RESET; INSERT INTO kv2 VALUES('d', 4)");
    QUERY(db, "SELECT key FROM kv2", "a;b;c;d");
    RUN(db, "COMMIT");
    sqlite3_finalize(reader);
    QUERY(db, "SELECT key FROM kv2", "a;b;c;d");
    QUERY(db, "PRAGMA integrity_check", "ok");
    check_close(db);
    db = check_open("rename.db");
    QUERY(db, "SELECT * FROM kv2", "a,1;b,2;c,3;d,4");
    check_close(db);
    check_remove("rename.db");
}

/* The same after a BEGIN: what undoes the new name is told to nobody. */
static void rename_undone(void)
{
    static const char *const undo[] = {"ROLLBACK", "ROLLBACK TO s; COMMIT"};
    for (size_t i = 0; i < sizeof(undo) / sizeof(undo[0]); i++) {
        sqlite3 *db = check_open("undone.db");
        sqlite3_stmt *reader = NULL;

        RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
        sqlite3_prepare_v2(db, "SELECT key FROM kv", -1, &reader, NULL);
        CHECK(sqlite3_step(reader) == SQLITE_ROW);
        RUN(db, "BEGIN; SAVEPOINT s; ALTER TABLE kv RENAME TO kv2;"
                "INSERT INTO kv2 VALUES(2, 2)");
        RUN(db, undo[i]);
        QUERY(db, "SELECT key FROM kv", "1");
        RUN(db, "INSERT INTO kv VALUES(3, 3)");
        sqlite3_finalize(reader);
        RUN(db, "CREATE VIRTUAL TABLE kv2 USING litekv; INSERT INTO kv2 VALUES(9, 9)");
        QUERY(db, "SELECT key FROM kv", "1;3");
        QUERY(db, "SELECT key FROM kv2", "9");
        check_close(db);
        db = check_open("undone.db");
        QUERY(db, "SELECT key FROM kv", "1;3");
        QUERY(db, "SELECT key FROM kv2", "9");
        check_close(db);
        check_remove("undone.db");
    }
}

/* A scan that is open when its rows are rolled back, dropped or replaced goes on or
 * fails, as SQLite has it, and reads no memory that is gone. */
static void open_scan(void)
{
    static const char *const change[] = {"ROLLBACK",
                                         "ROLLBACK TO s",
                                         "DELETE FROM kv",
                                         "REPLACE INTO kv SELECT * FROM v",
                                         "UPDATE kv SET key = key + 1000",
                                         "INSERT INTO other VALUES(1); ROLLBACK TO s"};
    for (size_t i = 0; i < sizeof(change) / sizeof(change[0]); i++) {
        sqlite3 *db = check_open(":memory:");
        sqlite3_stmt *reader = NULL;
        int rc, steps = 0;

        RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; CREATE TABLE other(a);"
                "CREATE VIEW v AS SELECT value AS key, randomblob(500) FROM "
                "json_each('[1,2,3,4,5,6,7,8,9,10]');"
                "INSERT INTO kv VALUES(0, 'first');"
                "BEGIN; SAVEPOINT s; INSERT INTO kv SELECT * FROM v");
        sqlite3_prepare_v2(db, "SELECT key, value FROM kv", -1, &reader, NULL);
        CHECK(sqlite3_step(reader) == SQLITE_ROW);
        CHECK(sqlite3_step(reader) == SQLITE_ROW);
        RUN(db, change[i]);
        while ((rc = sqlite3_step(reader)) == SQLITE_ROW && ++steps < 100) {
            sqlite3_column_bytes(reader, 1);
        }
        CHECK(rc == SQLITE_DONE || rc == SQLITE_ABORT_ROLLBACK);
        sqlite3_finalize(reader);
        QUERY(db, "SELECT count(*) FROM kv WHERE key = 0 OR key >= 1000 OR key < 0",
              i == 2   ? "0"
              : i == 4 ? "11"
                       : "1");
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        check_close(db);
    }
}

/* A table that is read through a statement cannot be dropped; the refusal changes
 * nothing, in a transaction neither. */
static void drop_refused(void)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *reader = NULL;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; BEGIN;"
            "INSERT INTO kv VALUES(1, 1); SAVEPOINT s; INSERT INTO kv VALUES(2, 2)");
    sqlite3_prepare_v2(db, "SELECT key FROM kv", -1, &reader, NULL);
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    FAIL(db, "DROP TABLE kv", 0, "locked");
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    RUN(db, "INSERT INTO kv VALUES(3, 3)");
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    sqlite3_finalize(reader);
    RUN(db, "ROLLBACK TO s; INSERT INTO kv VALUES(4, 4); COMMIT");
    QUERY(db, "SELECT key FROM kv", "1;4");
    check_close(db);
}

/* A statement on a shadow table is in the way of DROP: then all of the table stays. */
static void drop_half(void)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *reader = NULL;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1);"
            "BEGIN; INSERT INTO kv VALUES(2, 2)");
    sqlite3_prepare_v2(db, "SELECT * FROM kv_root", -1, &reader, NULL);
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    FAIL(db, "DROP TABLE kv", 0, "");
    sqlite3_finalize(reader);
    QUERY(db, "SELECT key FROM kv", "1;2");
    RUN(db, "INSERT INTO kv VALUES(3, 3); COMMIT");
    QUERY(db, "SELECT key FROM kv", "1;2;3");
    RUN(db, "DROP TABLE kv");
    QUERY(db, "SELECT name FROM sqlite_schema", "");
    /* Closed right after the refusal, with a message that nobody has asked for. */
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv");
    sqlite3_prepare_v2(db, "SELECT * FROM kv_root", -1, &reader, NULL);
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    FAIL(db, "DROP TABLE kv", 0, "");
    sqlite3_finalize(reader);
    check_close(db);
}

/* Loaded a second time, while a transaction is open: the tables in use stay in use. */
static void loaded_twice(void)
{
    sqlite3 *db = check_open(":memory:");

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; BEGIN; INSERT INTO kv VALUES(1, 1)");
    CHECK(check_load_again(db) == SQLITE_OK);
    QUERY(db, "SELECT litekv_stats('kv') LIKE '%\"live_keys\":1,%'", "1");
    RUN(db, "PRAGMA writable_schema = RESET; INSERT INTO kv VALUES(2, 2); COMMIT");
    QUERY(db, "SELECT key FROM kv", "1;2");
    check_close(db);
}

/* The module may be dropped while functions and tables are there. */
static void module_dropped(void)
{
    sqlite3 *db = check_open(":memory:");

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
    CHECK(sqlite3_drop_modules(db, NULL) == SQLITE_OK);
    QUERY(db, "SELECT key FROM kv", "1");
    QUERY(db, "SELECT litekv_stats('kv') LIKE '%\"live_keys\":1,%'", "1");
    FAIL(db, "SELECT litekv_stats('none')", SQLITE_ERROR, "no such litekv table");
    check_close(db);
}

int main(void)
{
    check_begin();
    rename_alone();
    rename_undone();
    open_scan();
    drop_refused();
    drop_half();
    loaded_twice();
    module_dropped();
    return check_end();
}
