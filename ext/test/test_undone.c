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

/* A SELECT is being read while the name of its table, or the table, is undone and
 * becomes another's: it ends as that on an ordinary table, and gives no row of the
 * other one. */
static void undone_under_a_scan(int ordinary)
{
    static const struct {
        const char *before, *then, *left; /* a table of then */
    } tries[] = {
        {"", "BEGIN; ALTER TABLE kv RENAME TO new; ROLLBACK", "kv"},
        {"",
         "BEGIN; ALTER TABLE kv RENAME TO new; ROLLBACK;"
         "ALTER TABLE other RENAME TO new",
         "new"},
        {"",
         "BEGIN; SAVEPOINT s; ALTER TABLE kv RENAME TO new; ROLLBACK TO s; COMMIT;"
         "ALTER TABLE other RENAME TO new",
         "new"},
        {"ALTER TABLE kv RENAME TO old; BEGIN; ALTER TABLE old RENAME TO kv",
         "ROLLBACK; ALTER TABLE other RENAME TO kv", "kv"},
        {"DROP TABLE kv; BEGIN; CREATE %s; INSERT INTO kv SELECT * FROM other",
         "ROLLBACK", "other"},
        {"DROP TABLE kv; BEGIN; CREATE %s; INSERT INTO kv SELECT * FROM other",
         "ROLLBACK; ALTER TABLE other RENAME TO kv", "kv"},
        {"DROP TABLE kv; BEGIN; SAVEPOINT s; CREATE %s;"
         "INSERT INTO kv SELECT * FROM other",
         "ROLLBACK TO s; RELEASE s; COMMIT; ALTER TABLE other RENAME TO kv", "kv"},
        {"SAVEPOINT s; DROP TABLE kv; CREATE %s; INSERT INTO kv VALUES(1, 2);"
         "INSERT INTO kv VALUES(2, 3)",
         "ROLLBACK TO s; SELECT count(key) FROM kv; RELEASE s", "kv"},
        {"SAVEPOINT s; DROP TABLE kv; CREATE %s; INSERT INTO kv SELECT * FROM other",
         "ROLLBACK TO s; RELEASE s", "kv"},
    };
    const char *kind = ordinary
                           ? "TABLE kv(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID"
                           : "VIRTUAL TABLE kv USING litekv(key, value, cache=0)";

    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
        sqlite3 *db = check_open("undone.db");
        sqlite3_stmt *select;
        char *create = sqlite3_mprintf("CREATE %s", kind);
        char *before = sqlite3_mprintf(tries[i].before, kind);
        int rc;

        RUN(db, create);
        RUN(db, "ALTER TABLE kv RENAME TO other;"
                "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c"
                " WHERE i < 1000) INSERT INTO other SELECT i, 'other' FROM c");
        RUN(db, create);
        RUN(db, "INSERT INTO kv SELECT key, 'own' FROM other");
        RUN(db, before);
        CHECK(sqlite3_prepare_v2(db, "SELECT key, value FROM kv", -1, &select, NULL) ==
              SQLITE_OK);
        CHECK(sqlite3_step(select) == SQLITE_ROW);
        RUN(db, tries[i].then);
        rc = sqlite3_step(select);
        CHECK(rc == SQLITE_ABORT_ROLLBACK);
        sqlite3_finalize(select);
        if (!ordinary) {
            char *verify = sqlite3_mprintf("SELECT litekv_verify(%Q)", tries[i].left);
            QUERY(db, verify, "ok");
            sqlite3_free(verify);
        }
        check_close(db);
        check_remove("undone.db");
        sqlite3_free(create);
        sqlite3_free(before);
    }
}

static int no_insert(void *arg, int action, const char *a, const char *b, const char *c,
                     const char *d)
{
    (void)arg;
    (void)b;
    (void)c;
    (void)d;
    return action == SQLITE_INSERT && strcmp(a, "kv") == 0 ? SQLITE_DENY : SQLITE_OK;
}

/* RENAME needs no right to INSERT. */
static void renamed_without_insert(void)
{
    sqlite3 *db = check_open("undone.db");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES('a', 1)");
    (void)sqlite3_set_authorizer(db, no_insert, NULL);
    RUN(db, "ALTER TABLE kv RENAME TO new");
    (void)sqlite3_set_authorizer(db, NULL, NULL);
    QUERY(db, "SELECT * FROM new", "a,1");
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
    renamed_without_insert();
    undone_under_a_scan(1);
    undone_under_a_scan(0);
    return check_end();
}
