/*
 * test_shadow.c - shadow tables with anything in them: every byte inverted, rows of
 * every other kind and place. The answer is the right rows or an error that says what
 * is wrong; and the table can be dropped.
 */
#include "hostile.h"

#include <stdint.h>
#include <string.h>

#define ALL "SELECT group_concat(quote(key) || quote(value)) FROM kv"

/* A change to the shadow tables: under the open connection, and when it opens. */
static void hostile(const char *sql)
{
    for (int reopen = 0; reopen < 2; reopen++) {
        sqlite3 *db = hostile_open("hostile.db");
        hostile_make(db);
        RUN(db, sql);
        if (reopen) {
            check_close(db);
            db = hostile_open("hostile.db");
        }
        hostile_try(db, sql);
        RUN(db, "DROP TABLE kv");
        QUERY(db, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'kv%'", "0");
        QUERY(db, "SELECT a FROM t", "1");
        RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
        check_close(db);
        check_remove("hostile.db");
    }
}

static void rows(void)
{
    static const char *const tables[] = {"kv_log", "kv_base", "kv_index", "kv_root"};
    static const char *const values[] = {
        "NULL",
        "''",
        "'text'",
        "x'00'",
        "7",
        "-1.5",
        "zeroblob(100000)",
        "zeroblob(length(block))",
        "substr(block, 1, 10)",
        "substr(block, 2)",
        "block || x'00'",
        "x'00' || block",
        "block || block",
        "(SELECT block FROM kv_root WHERE id = 1)",
        "(SELECT block FROM kv_log ORDER BY id DESC LIMIT 1)",
        "(SELECT block FROM kv_log ORDER BY id LIMIT 1)"};
    static const char *const ids[] = {"-1",
                                      "0",
                                      "(1 << 32) + 5",
                                      "9223372036854775807",
                                      "-9223372036854775807",
                                      "(1 << 62) + 1",
                                      "4294967295",
                                      "2 << 32"};
    char sql[300];
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            sqlite3_snprintf(sizeof(sql), sql, "UPDATE %s SET block = %s", tables[t],
                             values[i]);
            hostile(sql);
            sqlite3_snprintf(sizeof(sql), sql,
                             "UPDATE %s SET block = %s WHERE id = (SELECT max(id) FROM "
                             "%s)",
                             tables[t], values[i], tables[t]);
            hostile(sql);
        }
        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
            sqlite3_snprintf(sizeof(sql), sql,
                             "INSERT INTO %s SELECT %s, block FROM %s ORDER BY id DESC "
                             "LIMIT 1",
                             tables[t], ids[i], tables[t]);
            hostile(sql);
            sqlite3_snprintf(sizeof(sql), sql,
                             "UPDATE %s SET id = %s WHERE id = (SELECT "
                             "max(id) FROM %s)",
                             tables[t], ids[i], tables[t]);
            hostile(sql);
        }
    }
}

/* Tables that are not there, or are other things, or hold what is another's. */
static void tables(void)
{
    hostile("DELETE FROM kv_log");
    hostile("DELETE FROM kv_root");
    hostile("DELETE FROM kv_base");
    hostile("DELETE FROM kv_index");
    hostile("DROP TABLE kv_base");
    hostile("DROP TABLE kv_index");
    hostile("DROP TABLE kv_index; CREATE TABLE kv_index(id, block)");
    hostile(
        "DROP TABLE kv_base; CREATE VIEW kv_base AS SELECT key AS id, value AS block "
        "FROM kv");
    hostile(
        "DROP TABLE kv_index; CREATE VIEW kv_index AS SELECT id, block FROM kv_log");
    hostile("REPLACE INTO kv_index SELECT i.id, b.block FROM kv_index i, kv_base b");
    hostile("REPLACE INTO kv_index SELECT i.id, j.block FROM kv_index i, kv_index j "
            "ORDER BY j.id DESC");
    hostile("REPLACE INTO kv_base SELECT b.id, l.block FROM kv_base b, kv_log l");
    hostile("DROP TABLE kv_log");
    hostile("DROP TABLE kv_root");
    hostile("DROP TABLE kv_root; DROP TABLE kv_log");
    hostile("DROP TABLE kv_log; CREATE TABLE kv_log(x, y)");
    hostile("DROP TABLE kv_log; CREATE TABLE kv_log(id, block)");
    hostile("DROP TABLE kv_root; CREATE TABLE kv_root(id PRIMARY KEY, block) WITHOUT "
            "ROWID");
    hostile("DROP TABLE kv_log; CREATE VIEW kv_log AS SELECT 1 AS id, zeroblob(64) AS "
            "block");
    hostile("DROP TABLE kv_log; CREATE VIEW kv_log AS SELECT key AS id, value AS block "
            "FROM kv");
    hostile("DROP TABLE kv_root; CREATE VIRTUAL TABLE kv_root USING litekv(id, block)");
    hostile("UPDATE kv_log SET id = id + (7 << 32)");
    hostile("UPDATE kv_base SET id = id + (7 << 32)");
    hostile("UPDATE kv_index SET id = id + (7 << 32)");
    hostile(
        "CREATE VIRTUAL TABLE k2 USING litekv; INSERT INTO k2 VALUES(1, 1);"
        "DELETE FROM kv_log; INSERT INTO kv_log SELECT * FROM k2_log; DROP TABLE k2");
    hostile("CREATE VIRTUAL TABLE k2 USING litekv; INSERT INTO k2 VALUES(1, 1);"
            "DELETE FROM kv_root; INSERT INTO kv_root SELECT * FROM k2_root;"
            "DROP TABLE k2");
}

/* --- every byte --- */

static const char *const questions[] = {
    ALL,
    "SELECT group_concat(quote(key)) FROM (SELECT key FROM kv ORDER BY key DESC)",
    "SELECT count(*) FROM kv",
    "SELECT group_concat(quote(value)) FROM kv WHERE key IN (1, 2, 6)",
    "SELECT value FROM kv WHERE key = 'b'",
    "SELECT value FROM kv WHERE key = 5",  /* deleted in the run */
    "SELECT value FROM kv WHERE key = 77", /* never there */
    "SELECT min(key) FROM kv WHERE key > 2",
};
#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

/* Whether an answer is an error that says where the damage is. */
static int names_place(const char *answer)
{
    static const char *const places[] = {"segment ", "part ", "run ", "root",
                                         "the last block of the log"};
    const char *at = strstr(answer, "[267: litekv: \"kv\": ");
    at = at == NULL ? NULL : at + strlen("[267: litekv: \"kv\": ");
    for (size_t i = 0; at != NULL && i < sizeof(places) / sizeof(places[0]); i++) {
        if (strncmp(at, places[i], strlen(places[i])) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Inverts byte `i`, from 1 on, of a row. */
static void invert(sqlite3 *db, const char *table, sqlite3_int64 id, sqlite3_int64 i)
{
    char *sql = sqlite3_mprintf(
        "UPDATE kv_%s SET block = CAST(substr(block, 1, %lld) || "
        "inverted(substr(block, %lld, 1)) || substr(block, %lld) AS BLOB) WHERE id = "
        "%lld; PRAGMA writable_schema = RESET",
        table, i - 1, i, i + 1, id);
    RUN(db, sql); /* another schema cookie, so that the handle begins anew */
    sqlite3_free(sql);
}

/* What is answered with one byte inverted is right or says where; and verifying finds
 * it, unless the row is garbage. */
static void one_byte(sqlite3 *db, const char *table, sqlite3_int64 id, sqlite3_int64 i,
                     char *const *right, int garbage)
{
    char *got;
    invert(db, table, id, i);
    for (size_t q = 0; q < QUESTIONS; q++) {
        got = check_result(db, questions[q]);
        check_that(strcmp(got, right[q]) == 0 || names_place(got), __FILE__, __LINE__,
                   "%s, row %llx, byte %lld, %s: %s", table, (unsigned long long)id,
                   (long long)i, questions[q], got);
        sqlite3_free(got);
    }
    got = check_result(db, "SELECT litekv_verify('kv')");
    check_that((strcmp(got, "ok") == 0) == garbage, __FILE__, __LINE__,
               "%s, row %llx, byte %lld: verify says %s", table, (unsigned long long)id,
               (long long)i, got);
    sqlite3_free(got);
    invert(db, table, id, i);
}

/* A damaged run, or part's index, can be made anew. */
static void rebuild(sqlite3 *db, char *const *right)
{
    RUN(db, "SAVEPOINT r; SELECT litekv_rebuild_index('kv')");
    for (size_t q = 0; q < QUESTIONS; q++) {
        QUERY(db, questions[q], right[q]);
    }
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    RUN(db, "ROLLBACK TO r; RELEASE r; PRAGMA writable_schema = RESET");
}

static void bytes(const char *table)
{
    sqlite3 *db = hostile_open("hostile.db");
    sqlite3_stmt *rows_of = NULL;
    char *right[QUESTIONS];
    char sql[100];
    int rc, count = 0;

    hostile_make(db);
    for (size_t q = 0; q < QUESTIONS; q++) {
        right[q] = check_result(db, questions[q]);
    }
    RUN(db, "CREATE TEMP TABLE ids(id, size, garbage)");
    sqlite3_snprintf(sizeof(sql), sql,
                     "INSERT INTO ids SELECT id, length(block), 0 FROM kv_%s", table);
    RUN(db, sql);
    RUN(db,
        "UPDATE ids SET garbage = 1 WHERE id >> 32 >= 1 << 29 AND (id >> 32) - (1 << "
        "29) + 1 NOT IN (SELECT number FROM litekv_segments('kv') WHERE kind = "
        "'run')");
    sqlite3_prepare_v2(db, "SELECT id, size, garbage FROM ids", -1, &rows_of, NULL);
    while ((rc = sqlite3_step(rows_of)) == SQLITE_ROW) {
        sqlite3_int64 id = sqlite3_column_int64(rows_of, 0);
        sqlite3_int64 size = sqlite3_column_int64(rows_of, 1);
        int garbage = sqlite3_column_int(rows_of, 2);
        count++;
        for (sqlite3_int64 i = 1; i <= size; i++) {
            one_byte(db, table, id, i, right, garbage);
        }
        if (strcmp(table, "index") == 0) {
            invert(db, table, id, size / 2);
            rebuild(db, right);
            invert(db, table, id, size / 2);
        }
    }
    CHECK(rc == SQLITE_DONE && count > 0);
    sqlite3_finalize(rows_of);
    for (size_t q = 0; q < QUESTIONS; q++) {
        QUERY(db, questions[q], right[q]);
        sqlite3_free(right[q]);
    }
    check_close(db);
    check_remove("hostile.db");
}

static void inverted(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const uint8_t *byte = sqlite3_value_blob(argv[0]);
    uint8_t out = (uint8_t)(byte == NULL ? 0 : ~*byte);
    (void)argc;
    sqlite3_result_blob(context, &out, 1, SQLITE_TRANSIENT);
}

static int register_inverted(sqlite3 *db, char **text, const sqlite3_api_routines *api)
{
    (void)text;
    (void)api;
    return sqlite3_create_function(db, "inverted", 1, SQLITE_UTF8, NULL, inverted, NULL,
                                   NULL);
}

int main(void)
{
    check_begin();
    sqlite3_auto_extension((void (*)(void))register_inverted);
    rows();
    tables();
    bytes("log");
    bytes("base");
    bytes("index");
    bytes("root");
    return check_end();
}
