/*
 * test_refused.c - what the application or the system refuses in the middle of a
 * statement: an authorizer, a module that is gone, files that may not grow, that are
 * changed, or that appear.
 */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Lets no file be written, or any. */
static void limit_files(int limited)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = limited ? 0 : limit.rlim_max;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/* What an authorizer answers to an action on a name (NULL: on any); else SQLITE_OK. */
static struct answer {
    int action;
    const char *name;
    int code;
} answer;

static int authorize(void *arg, int action, const char *a, const char *b, const char *c,
                     const char *d)
{
    const char *name = answer.name;
    (void)arg;
    (void)c;
    (void)d;
    return action == answer.action &&
                   (name == NULL || (a != NULL && strcmp(a, name) == 0) ||
                    (b != NULL && strcmp(b, name) == 0))
               ? answer.code
               : SQLITE_OK;
}

static void ask(sqlite3 *db, int action, const char *name, int code)
{
    answer = (struct answer){action, name, code};
    CHECK(sqlite3_set_authorizer(db, authorize, NULL) == SQLITE_OK);
}

/* RENAME and DROP of a table in memory become a part of the transaction by statements
 * that write. */
static void authorizer(void)
{
    sqlite3 *db = check_open(":memory:");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv(memory=on); INSERT INTO kv VALUES(1, "
            "1); CREATE VIRTUAL TABLE two USING litekv(memory=on); BEGIN");
    ask(db, SQLITE_INSERT, "kv", SQLITE_DENY);
    FAIL(db, "ALTER TABLE kv RENAME TO other", SQLITE_AUTH,
         "litekv: \"kv\": not author");
    RUN(db, "COMMIT");
    /* Nobody hears whether it is for good. */
    ask(db, SQLITE_INSERT, "litekv_dropped", SQLITE_DENY);
    RUN(db, "BEGIN; DROP TABLE kv; ROLLBACK");
    QUERY(db, "SELECT * FROM kv", "1,1");
    RUN(db, "DROP TABLE kv; CREATE VIRTUAL TABLE kv USING litekv(memory=on)");
    QUERY(db, "SELECT * FROM kv", "");
    check_close(db);
}

/* What an ordinary table needs no PRAGMA for, litekv does without one. */
static void pragmas_denied(const char *encoding)
{
    sqlite3 *db = check_open("denied.db");
    RUN(db, encoding);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv(key TEXT, value)");
    check_close(db);
    db = check_open("denied.db");
    ask(db, SQLITE_PRAGMA, NULL, SQLITE_DENY);
    RUN(db, "INSERT INTO kv VALUES('a', 1), ('b', 2), ('c', 3)");
    RUN(db, "UPDATE kv SET value = 4 WHERE key = 'b'; DELETE FROM kv WHERE key = 'c'");
    QUERY(db, "SELECT value FROM kv WHERE key > 'a' ORDER BY key", "4");
    QUERY(db, "SELECT value FROM kv WHERE key LIKE 'A%'", "1");
    check_close(db);
    check_remove("denied.db");
}

/* A statement of litekv's that an authorizer has do nothing is an error, and nothing is
 * lost by it. */
static void ignored(int warm, int action, const char *name, const char *sql)
{
    sqlite3 *db = check_open("ignored.db");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 300) INSERT INTO kv SELECT i, i FROM n; DELETE FROM kv WHERE "
            "key > 9");
    if (!warm) {
        check_close(db);
        db = check_open("ignored.db");
    }
    ask(db, action, name, SQLITE_IGNORE);
    FAIL(db, sql, SQLITE_AUTH, "authorization denied");
    sqlite3_set_authorizer(db, NULL, NULL);
    QUERY(db, "SELECT litekv_verify('kv'), sum(key) FROM kv", "ok,45");
    QUERY(db, "SELECT name FROM sqlite_schema", "kv;kv_log;kv_base;kv_index;kv_root");
    RUN(db, "INSERT INTO kv VALUES(0, 0); SELECT litekv_compact('kv')");
    check_close(db);
    db = check_open("ignored.db");
    QUERY(db, "SELECT litekv_verify('kv'), count(*) FROM kv", "ok,10");
    check_close(db);
    check_remove("ignored.db");
}

/* A command that is denied half way, and a transaction that is committed all the same.
 */
static void denied_in_the_middle(int warm)
{
    static const char *const names[] = {"kv_log", "kv_base", "kv_index", "kv_root"};
    static const char *const commands[] = {
        "SELECT litekv_deserialize('kv', i) FROM image", "SELECT litekv_compact('kv')",
        "SELECT litekv_rebuild_index('kv')"};
    for (int i = 0; i < 12; i++) {
        sqlite3 *db = check_open("denied.db");
        char *result;
        RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1);"
                "CREATE TABLE image AS SELECT litekv_serialize('kv') AS i;"
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                "WHERE i < 300) REPLACE INTO kv SELECT i, i FROM n");
        if (warm) {
            RUN(db, "SELECT litekv_compact('kv'); REPLACE INTO kv VALUES(7, 7)");
        }
        RUN(db, "BEGIN");
        ask(db, SQLITE_INSERT, names[i % 4], SQLITE_DENY);
        result = check_result(db, commands[i / 4]); /* some need no such row */
        sqlite3_free(result);
        sqlite3_set_authorizer(db, NULL, NULL);
        RUN(db, "COMMIT");
        QUERY(db, "SELECT count(*), sum(value) FROM kv", "300,45150");
        check_close(db);
        db = check_open("denied.db");
        QUERY(db, "SELECT count(*), sum(value) FROM kv", "300,45150");
        RUN(db, "REPLACE INTO kv VALUES(8, 8); SELECT litekv_rebuild_index('kv');"
                "SELECT litekv_compact('kv')");
        QUERY(db, "SELECT count(*), sum(value) FROM kv", "300,45150");
        check_close(db);
        check_remove("denied.db");
    }
}

/* SQLite gives out no block that is longer than what it is told to give out. */
static void short_limit(void)
{
    sqlite3 *db = check_open("limit.db");
    RUN(db, "PRAGMA page_size = 4096; CREATE VIRTUAL TABLE kv USING litekv;"
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 500) INSERT INTO kv SELECT i, zeroblob(50) FROM n");
    check_close(db);
    db = check_open("limit.db");
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1000);
    FAIL(db, "SELECT sum(length(value)) FROM kv", SQLITE_TOOBIG, "");
    FAIL(db, "INSERT INTO kv VALUES('a', 1)", SQLITE_TOOBIG, "");
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 4096);
    QUERY(db, "SELECT sum(length(value)) FROM kv", "25000");
    RUN(db, "INSERT INTO kv VALUES('a', 1); SELECT litekv_compact('kv')");
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    check_close(db);
    check_remove("limit.db");
}

static void module_gone(void)
{
    static const char *kept[] = {"litekv", NULL};
    sqlite3 *db = check_open(":memory:");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv(memory=on); INSERT INTO kv VALUES(1, "
            "1)");
    CHECK(sqlite3_drop_modules(db, kept) == SQLITE_OK);
    RUN(db, "BEGIN; DROP TABLE kv; ROLLBACK");
    QUERY(db, "SELECT * FROM kv", "1,1");
    FAIL(db, "BEGIN; INSERT INTO kv VALUES(2, 2); DROP TABLE kv", SQLITE_LOCKED, "");
    RUN(db, "ROLLBACK; DROP TABLE kv");
    check_close(db);
}

static void make_outside(sqlite3 *db, const char *name)
{
    char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE %s USING litekv(path=%Q)", name,
                                check_path(name));
    RUN(db, sql);
    sqlite3_free(sql);
}

static void remove_outside(sqlite3 *db, const char *name, int there)
{
    char *sql = sqlite3_mprintf("SELECT litekv_remove(%Q)", check_path(name));
    if (there) {
        QUERY(db, sql, "1");
    } else {
        FAIL(db, sql, SQLITE_CANTOPEN, "there is no store");
    }
    sqlite3_free(sql);
}

/* A commit that the file system refuses; also of tables that were dropped and came
 * back, whose objects are gone. */
static void full(void)
{
    sqlite3 *db = check_open(":memory:");

    make_outside(db, "kv");
    RUN(db, "INSERT INTO kv VALUES(1, 1)");
    limit_files(1);
    FAIL(db, "INSERT INTO kv VALUES(2, 2)", 0, "litekv: \"kv\": ");
    limit_files(0);
    QUERY(db, "SELECT * FROM kv", "1,1");
    RUN(db, "BEGIN");
    make_outside(db, "two");
    make_outside(db, "three");
    RUN(db, "SAVEPOINT s; DROP TABLE two; DROP TABLE three; ROLLBACK TO s;"
            "INSERT INTO two VALUES(1, 1); INSERT INTO three VALUES(1, 1)");
    limit_files(1);
    FAIL(db, "COMMIT", 0, "litekv: \"t");
    limit_files(0);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    remove_outside(db, "two", 0);
    remove_outside(db, "three", 0);
    RUN(db, "INSERT INTO kv VALUES(3, 3)");
    QUERY(db, "SELECT * FROM kv", "1,1;3,3");
    RUN(db, "DROP TABLE kv");
    remove_outside(db, "kv", 1);
    check_close(db);
}

static char path[512];

static int appear(void *arg)
{
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    (void)arg;
    return file < 0 || close(file) != 0;
}

static int countdown;

static int shorten(void *arg)
{
    (void)arg;
    return --countdown == 0 && truncate(path, 10) != 0;
}

/* It is cut short before it is opened, then, and after it was read. */
static void shortened(sqlite3 *db)
{
    int refused = 0, rc = SQLITE_ERROR;
    for (int n = 1; rc != SQLITE_OK && n < 1000; n++) {
        RUN(db, "SELECT litekv_export_index('kv', 'refused.idx', 'replace')");
        countdown = n;
        sqlite3_progress_handler(db, 1, shorten, NULL);
        rc = sqlite3_exec(db, "SELECT litekv_import_index('kv', 'refused.idx')", NULL,
                          NULL, NULL);
        sqlite3_progress_handler(db, 0, NULL, NULL);
        CHECK(rc == SQLITE_OK || strstr(sqlite3_errmsg(db), "cut short") != NULL);
        refused += rc == SQLITE_IOERR;
        CHECK(unlink(path) == 0);
    }
    CHECK(rc == SQLITE_OK && refused > 0);
}

/* A file of an index that another program writes to, too. */
static void exported(void)
{
    sqlite3 *db = check_open("refused.db");

    sqlite3_snprintf((int)sizeof(path), path, "%s", check_path("refused.idx"));
    RUN(db,
        "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1), (2, 2)");
    limit_files(1);
    FAIL(db, "SELECT litekv_export_index('kv', 'refused.idx')", SQLITE_IOERR,
         "refused.idx\": ");
    limit_files(0);
    CHECK(access(path, F_OK) != 0);
    sqlite3_progress_handler(db, 1, appear, NULL);
    FAIL(db, "SELECT litekv_export_index('kv', 'refused.idx')", SQLITE_ERROR,
         "with 'replace'");
    sqlite3_progress_handler(db, 0, NULL, NULL);
    CHECK(unlink(path) == 0);
    shortened(db);
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    check_close(db);
    check_remove("refused.db");
}

/* Shadow tables that are views on the table itself, by a function of the application.
 */
static void run_it(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    sqlite3 *db = sqlite3_context_db_handle(context);
    char *text = check_result(db, (const char *)sqlite3_value_text(argv[0]));
    (void)argc;
    sqlite3_result_error(context, text, -1);
    sqlite3_free(text);
}

static void come_back(void)
{
    static const char back[] = "they come back to the table itself";
    sqlite3 *db = check_open(":memory:");

    CHECK(sqlite3_create_function(db, "ask", 1, SQLITE_UTF8, NULL, run_it, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 'one')");
    RUN(db, "DROP TABLE kv_log; CREATE VIEW kv_log AS SELECT 1 << 32 AS id, "
            "ask('SELECT litekv_stats(''kv'')') AS block");
    FAIL(db, "SELECT * FROM kv", SQLITE_CORRUPT_VTAB, back);
    RUN(db, "DROP VIEW kv_log; CREATE VIEW kv_log AS SELECT 1 << 32 AS id, "
            "ask('INSERT INTO kv VALUES(2, 2)') AS block");
    FAIL(db, "SELECT * FROM kv", SQLITE_CORRUPT_VTAB, back);
    FAIL(db, "INSERT INTO kv VALUES(3, 3)", SQLITE_CORRUPT_VTAB, back);
    RUN(db, "CREATE VIRTUAL TABLE kw USING litekv; INSERT INTO kw VALUES(1, 'one')");
    RUN(db, "CREATE TRIGGER spy AFTER INSERT ON kw_log BEGIN "
            "SELECT ask('SELECT litekv_recover(''kw'')'); END");
    FAIL(db, "INSERT INTO kw VALUES(2, 2)", SQLITE_CORRUPT_VTAB, back);
    RUN(db, "DROP TRIGGER spy");
    QUERY(db, "SELECT * FROM kw", "1,one");
    check_close(db);
}

/* What a UTF-16 database would read as another text, and not find, is not taken in. */
static void texts_for_utf16(void)
{
    static const char *const rows[] = {"CAST(x'61edA080' AS TEXT), 1",
                                       "1, CAST(x'ff' AS TEXT)", "char(65535), 1",
                                       "char(128512), CAST(x'efbfbd' AS TEXT)"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sqlite3 *from = check_open(":memory:"), *to = check_open(":memory:");
        char *insert =
            sqlite3_mprintf("CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv "
                            "VALUES(%s)",
                            rows[i]);
        sqlite3_stmt *get, *put;
        int rc;

        RUN(from, insert);
        RUN(to,
            "PRAGMA encoding = 'UTF-16'; CREATE VIRTUAL TABLE kv USING litekv; INSERT "
            "INTO kv VALUES('before', 1)");
        sqlite3_prepare_v2(from, "SELECT litekv_serialize('kv')", -1, &get, NULL);
        sqlite3_prepare_v2(to, "SELECT litekv_deserialize('kv', ?1)", -1, &put, NULL);
        CHECK(sqlite3_step(get) == SQLITE_ROW);
        sqlite3_bind_value(put, 1, sqlite3_column_value(get, 0));
        rc = sqlite3_step(put);
        CHECK(rc == (i < 3 ? SQLITE_ERROR : SQLITE_ROW));
        CHECK(i == 3 || strstr(sqlite3_errmsg(to), "not a row of the table") != NULL);
        sqlite3_finalize(get);
        sqlite3_finalize(put);
        QUERY(to, "SELECT hex(key) FROM kv",
              i < 3 ? "6200650066006F0072006500" : "3DD800DE");
        sqlite3_free(insert);
        check_close(from);
        check_close(to);
    }
}

/* SQLite counts the arguments, options too; their names are kept in the store's root.
 */
static void many_columns(int columns, int width, const char *option, const char *error)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_str *sql = sqlite3_str_new(db);
    char *text;

    sqlite3_str_appendf(sql, "CREATE VIRTUAL TABLE kv USING litekv(key%s", option);
    for (int i = 0; i < columns; i++) {
        sqlite3_str_appendf(sql, ", c%0*d", width - 1, i);
    }
    sqlite3_str_appendall(sql, ")");
    text = sqlite3_str_finish(sql);
    if (error != NULL) {
        FAIL(db, text, SQLITE_ERROR, error);
    } else {
        RUN(db, text);
        RUN(db, "INSERT INTO kv(key, c00001) VALUES(1, 2)");
    }
    sqlite3_free(text);
    check_close(db);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    check_begin();
    texts_for_utf16();
    many_columns(1993, 6, "", NULL);
    many_columns(1994, 6, "", "too many columns");
    many_columns(1993, 6, ", cache=10", "too many columns");
    many_columns(1900, 40, "", "the description of the store is too long");
    authorizer();
    pragmas_denied("PRAGMA encoding = 'UTF-8'");
    pragmas_denied("PRAGMA encoding = 'UTF-16le'");
    for (int warm = 0; warm < 2; warm++) {
        ignored(warm, SQLITE_INSERT, "kv_log", "INSERT INTO kv VALUES('a', 1)");
        ignored(warm, SQLITE_INSERT, "kv_root",
                "INSERT INTO kv(kv) VALUES('auto_compact=0.1')");
        ignored(warm, SQLITE_INSERT, "kv_base", "INSERT INTO kv(kv) VALUES('compact')");
        ignored(warm, SQLITE_INSERT, "kv_index",
                "INSERT INTO kv(kv) VALUES('compact')");
        ignored(warm, SQLITE_ALTER_TABLE, "kv_index", "ALTER TABLE kv RENAME TO b");
        ignored(warm, SQLITE_CREATE_TABLE, "b_index",
                "CREATE VIRTUAL TABLE b USING litekv");
        ignored(warm, SQLITE_PRAGMA, NULL, "CREATE VIRTUAL TABLE b USING litekv");
        denied_in_the_middle(warm);
    }
    short_limit();
    module_gone();
    full();
    exported();
    come_back();
    return check_end();
}
