/*
 * test_undone.c - a function of the application ends the transaction in the middle of a
 * statement that writes: the rest of the statement writes nothing, as with an ordinary
 * table, and what others commit then stays.
 */
#include "check.h"

#include <string.h>

/* Runs the SQL that is the function's user data, once, and gives its argument. */
static void end_it(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char **sql = sqlite3_user_data(context);
    (void)argc;
    if (*sql != NULL) {
        (void)sqlite3_exec(sqlite3_context_db_handle(context), *sql, NULL, NULL, NULL);
        *sql = NULL;
    }
    sqlite3_result_value(context, argv[0]);
}

static const char *const writes[] = {
    "INSERT INTO kv SELECT ended('x'), 1",
    "INSERT INTO kv SELECT ended('x'), 1 UNION ALL SELECT 'y', 2",
    "UPDATE kv SET value = ended(9)",
    "DELETE FROM kv WHERE ended(key) = 'a'",
    "REPLACE INTO kv VALUES(ended('a'), 7)",
    "INSERT INTO kv(kv) SELECT ended('compact')",
    NULL,
};

static void ended(const char *options, const char *how, const char *write)
{
    const char *sql = how;
    sqlite3 *db = check_open("undone.db"), *other;
    char *create =
        sqlite3_mprintf("CREATE VIRTUAL TABLE kv USING litekv(key, value%s)", options);
    int shared = strstr(options, "memory") == NULL;

    CHECK(sqlite3_create_function(db, "ended", 1, SQLITE_UTF8, &sql, end_it, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, "PRAGMA journal_mode = WAL; CREATE TABLE one(x UNIQUE);"
            "INSERT INTO one VALUES(1)");
    RUN(db, create);
    RUN(db, "INSERT INTO kv VALUES('a', 1), ('b', 2); BEGIN;"
            "INSERT INTO kv VALUES('gone', 3)");
    FAIL(db, write, SQLITE_ABORT_ROLLBACK, "abort due to ROLLBACK");
    if (!sqlite3_get_autocommit(db)) {
        RUN(db, "COMMIT");
    }
    QUERY(db, "SELECT * FROM kv", "a,1;b,2");
    if (shared) {
        other = check_open("undone.db");
        RUN(other, "INSERT INTO kv VALUES('other', 4)");
        check_close(other);
        QUERY(db, "SELECT * FROM kv", "a,1;b,2;other,4");
        RUN(db, "INSERT INTO kv VALUES('own', 5)");
        QUERY(db, "SELECT * FROM kv", "a,1;b,2;other,4;own,5");
        check_close(db);
        db = check_open("undone.db");
        QUERY(db, "SELECT * FROM kv", "a,1;b,2;other,4;own,5");
    }
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    RUN(db, "DROP TABLE kv");
    if (strstr(options, "path") != NULL) {
        QUERY(db, "SELECT litekv_remove('undone')", "1");
    }
    check_close(db);
    check_remove("undone.db");
    sqlite3_free(create);
}

/* Where the function writes to the table in another transaction, the rest of the
 * statement is of that one: README.md says so. Nothing is lost. */
static void begun_anew(void)
{
    const char *sql = "ROLLBACK; BEGIN; INSERT INTO kv VALUES('new', 2)";
    sqlite3 *db = check_open("undone.db");
    CHECK(sqlite3_create_function(db, "ended", 1, SQLITE_UTF8, &sql, end_it, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; BEGIN;"
            "INSERT INTO kv VALUES('gone', 1); INSERT INTO kv SELECT ended('x'), 3;"
            "COMMIT");
    check_close(db);
    db = check_open("undone.db");
    QUERY(db, "SELECT * FROM kv", "new,2;x,3");
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    check_close(db);
    check_remove("undone.db");
}

int main(void)
{
    static const char *const options[] = {"", ", memory=on", ", path='undone'"};
    static const char *const hows[] = {"ROLLBACK", "ROLLBACK; BEGIN",
                                       "INSERT OR ROLLBACK INTO one VALUES(1)"};
    check_begin();
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++) {
            for (const char *const *write = writes; *write != NULL; write++) {
                ended(options[i], hows[k], *write);
            }
        }
    }
    begun_anew();
    return check_end();
}
