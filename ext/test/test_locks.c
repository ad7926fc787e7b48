/*
 * test_locks.c - nothing holds a lock or a read transaction after a statement that the
 * user did not leave open.
 */
#include "check.h"

static const char *const modes[] = {"DELETE", "WAL"};

/* Statements of each kind; those that fail are meant to. */
static const char *const statements[] = {
    "SELECT * FROM kv",
    "SELECT * FROM kv WHERE key = 1",
    "SELECT * FROM kv WHERE key = 'none'",
    "SELECT * FROM kv WHERE key IN (1, 2, 9) ORDER BY key DESC",
    "SELECT key FROM kv LIMIT 1",
    "SELECT count(*), min(key), max(key) FROM kv",
    "SELECT * FROM kv AS a, kv AS b WHERE a.key = b.value",
    "SELECT litekv_stats('kv')",
    "SELECT litekv_stats('none')",
    "SELECT litekv_version()",
    "INSERT INTO kv VALUES(3, 3)",
    "INSERT INTO kv VALUES(3, 3)",
    "INSERT INTO kv VALUES(NULL, 3)",
    "INSERT INTO kv VALUES(4, 4), (5, 5), (3, 3)",
    "INSERT INTO kv SELECT key + 10, value FROM kv",
    "REPLACE INTO kv VALUES(3, zeroblob(5000000))",
    "UPDATE kv SET value = 1",
    "UPDATE kv SET key = key + 100",
    "DELETE FROM kv WHERE key > 100",
    "INSERT INTO kv(kv) VALUES('integrity-check')",
    "INSERT INTO kv(kv) VALUES('none')",
    "ALTER TABLE kv RENAME TO value",
    "ALTER TABLE kv RENAME TO kw",
    "ALTER TABLE kw RENAME TO kv",
    "CREATE VIRTUAL TABLE two USING litekv",
    "CREATE VIRTUAL TABLE two USING litekv(a, a)",
    "DROP TABLE two",
    "EXPLAIN QUERY PLAN SELECT * FROM kv WHERE key = 1",
    "SELECT raise_nothing() FROM kv",
};

/* In autocommit, every statement leaves no transaction; the other connection can write
 * and have the file for itself (in WAL: truncate it). */
static void autocommit(const char *mode)
{
    sqlite3 *db = check_open("locks.db");
    sqlite3 *other = check_open("locks.db");
    char *sql = sqlite3_mprintf("PRAGMA journal_mode = %s", mode);
    int wal = mode[0] == 'W';

    sqlite3_free(check_result(db, sql));
    sqlite3_free(sql);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; CREATE TABLE o(a);"
            "INSERT INTO kv VALUES(1, 1), (2, 2)");
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        sqlite3_exec(db, statements[i], NULL, NULL, NULL);
        check_that(sqlite3_txn_state(db, NULL) == SQLITE_TXN_NONE, __FILE__, __LINE__,
                   "%s leaves a transaction", statements[i]);
        RUN(other, "BEGIN EXCLUSIVE; INSERT INTO o VALUES(1); COMMIT");
        if (wal) {
            QUERY(other, "PRAGMA wal_checkpoint(TRUNCATE)", "0,0,0");
        }
        /* Again, now that there is something new to be read. */
        sqlite3_exec(db, "SELECT count(key) FROM kv", NULL, NULL, NULL);
        CHECK(sqlite3_txn_state(db, NULL) == SQLITE_TXN_NONE);
    }
    check_close(other);
    check_close(db);
    check_remove("locks.db");
}

/* A statement in the middle of a scan holds a read transaction, and lets go of it when
 * it is reset, also when others ran meanwhile. */
static void open_statement(void)
{
    sqlite3 *db = check_open("locks.db");
    sqlite3_stmt *reader = NULL;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "INSERT INTO kv VALUES(1, zeroblob(9000)), (2, zeroblob(9000))");
    sqlite3_prepare_v2(db, "SELECT * FROM kv", -1, &reader, NULL);
    CHECK(sqlite3_step(reader) == SQLITE_ROW);
    CHECK(sqlite3_txn_state(db, NULL) == SQLITE_TXN_READ);
    RUN(db, "SELECT litekv_stats('kv'); INSERT INTO kv VALUES(3, 3)");
    CHECK(sqlite3_txn_state(db, NULL) == SQLITE_TXN_READ);
    sqlite3_reset(reader);
    CHECK(sqlite3_txn_state(db, NULL) == SQLITE_TXN_NONE);
    sqlite3_finalize(reader);
    check_close(db);
    check_remove("locks.db");
}

/* Reading in a transaction is no more than a read transaction; writing none takes no
 * lock beyond what SQLite itself takes. */
static void transaction(void)
{
    sqlite3 *db = check_open("locks.db");

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
    RUN(db, "BEGIN; SELECT * FROM kv; SELECT litekv_stats('kv')");
    CHECK(sqlite3_txn_state(db, NULL) == SQLITE_TXN_READ);
    RUN(db, "COMMIT; ATTACH ':memory:' AS m; CREATE VIRTUAL TABLE m.kv USING litekv");
    RUN(db, "BEGIN; INSERT INTO m.kv SELECT * FROM main.kv");
    CHECK(sqlite3_txn_state(db, "main") == SQLITE_TXN_READ);
    CHECK(sqlite3_txn_state(db, "m") == SQLITE_TXN_WRITE);
    RUN(db, "ROLLBACK; SELECT * FROM m.kv; DETACH m");
    CHECK(sqlite3_txn_state(db, NULL) == SQLITE_TXN_NONE);
    check_close(db);
    check_remove("locks.db");
}

int main(void)
{
    check_begin();
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        autocommit(modes[i]);
    }
    open_statement();
    transaction();
    return check_end();
}
