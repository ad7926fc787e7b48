/*
 * test_shadow.c - shadow tables with anything in them: every byte inverted, rows of
 * every other kind and place, roots and ends that are well formed but lie. The answer
 * is the right rows or an error that says what is wrong; and the table can be dropped.
 */
#include "check.h"

#include "../core/format.h"
#include "../core/storage.h"

#include <string.h>

#define ALL "SELECT group_concat(quote(key) || quote(value)) FROM kv"

static const char *const statements[] = {
    "SELECT * FROM kv",
    "SELECT value FROM kv WHERE key = 2",
    "SELECT key FROM kv WHERE key > 1 ORDER BY key DESC",
    "SELECT litekv_stats('kv')",
    "INSERT INTO kv(kv) VALUES('integrity-check')",
    ("BEGIN; INSERT INTO kv VALUES(7, zeroblob(3000)); SAVEPOINT s; DELETE FROM kv;"
     "ROLLBACK TO s; UPDATE kv SET key = 8 WHERE key = 1; COMMIT"),
    "ALTER TABLE kv RENAME TO kw; ALTER TABLE kw RENAME TO kv",
};

static void make(sqlite3 *db)
{
    RUN(db,
        "PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING litekv; CREATE TABLE "
        "t(a); INSERT INTO t VALUES(1); INSERT INTO kv VALUES(1, 'one'), (2, 'two'), "
        "(3, zeroblob(700)); DELETE FROM kv WHERE key = 3;"
        "INSERT INTO kv VALUES('four', NULL)");
}

/* Every statement on what is there now: each answers or says what is wrong. */
static void try_statements(sqlite3 *db, const char *what)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        char *text = NULL;
        int rc = sqlite3_exec(db, statements[i], NULL, NULL, &text);
        int good =
            rc == SQLITE_OK || ((rc == SQLITE_CORRUPT_VTAB || rc == SQLITE_FULL ||
                                 rc == SQLITE_ERROR || rc == SQLITE_TOOBIG) &&
                                text != NULL);
        check_that(good, __FILE__, __LINE__, "%s, then %s: %d %s", what, statements[i],
                   rc, text != NULL ? text : "");
        sqlite3_free(text);
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
}

/* A change to the shadow tables: under the open connection, and when it opens. */
static void hostile(const char *sql)
{
    for (int reopen = 0; reopen < 2; reopen++) {
        sqlite3 *db = check_open("hostile.db");
        make(db);
        RUN(db, sql);
        if (reopen) {
            check_close(db);
            db = check_open("hostile.db");
        }
        try_statements(db, sql);
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
    static const char *const tables[] = {"kv_log", "kv_root"};
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
    hostile("DELETE FROM kv_log");
    hostile("DELETE FROM kv_root");
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
    hostile("UPDATE kv_log SET id = id + (1 << 32)");
    hostile(
        "CREATE VIRTUAL TABLE k2 USING litekv; INSERT INTO k2 VALUES(1, 1);"
        "DELETE FROM kv_log; INSERT INTO kv_log SELECT * FROM k2_log; DROP TABLE k2");
    hostile("CREATE VIRTUAL TABLE k2 USING litekv; INSERT INTO k2 VALUES(1, 1);"
            "DELETE FROM kv_root; INSERT INTO kv_root SELECT * FROM k2_root;"
            "DROP TABLE k2");
}

/* Each byte of the log and the root: whatever is still answered is right. */
static void bytes(const char *table)
{
    sqlite3 *db = check_open(":memory:");
    char *right, *sql;
    sqlite3_int64 rows_of, wrong = 0, silent = 0;

    make(db);
    right = check_result(db, ALL);
    RUN(db, "CREATE TABLE keep_log AS SELECT * FROM kv_log;"
            "CREATE TABLE keep_root AS SELECT * FROM kv_root");
    sql = sqlite3_mprintf("SELECT count(*) FROM kv_%s", table);
    rows_of = check_number(db, sql);
    sqlite3_free(sql);
    for (sqlite3_int64 row = 0; row < rows_of; row++) {
        sqlite3_int64 size, id;
        sql = sqlite3_mprintf("SELECT id FROM kv_%s ORDER BY id LIMIT 1 OFFSET %lld",
                              table, row);
        id = check_number(db, sql);
        sqlite3_free(sql);
        sql = sqlite3_mprintf("SELECT length(block) FROM kv_%s WHERE id = %lld", table,
                              id);
        size = check_number(db, sql);
        sqlite3_free(sql);
        for (sqlite3_int64 i = 1; i <= size; i++) {
            char *got;
            /* Another schema cookie, so that the handle begins anew. */
            sql = sqlite3_mprintf(
                "UPDATE kv_%s SET block = CAST(substr(block, 1, %lld) || "
                "inverted(substr(block, %lld, 1)) || substr(block, %lld) AS BLOB) "
                "WHERE id = %lld; PRAGMA writable_schema = RESET",
                table, i - 1, i, i + 1, id);
            RUN(db, sql);
            sqlite3_free(sql);
            got = check_result(db, ALL);
            wrong += strcmp(got, right) != 0 && strstr(got, "[267: litekv: ") == NULL;
            silent += strcmp(got, right) == 0;
            sqlite3_free(got);
            sql = sqlite3_mprintf("REPLACE INTO kv_%s SELECT * FROM keep_%s; "
                                  "PRAGMA writable_schema = RESET",
                                  table, table);
            RUN(db, sql);
            sqlite3_free(sql);
        }
    }
    check_that(wrong == 0, __FILE__, __LINE__, "%s: %lld bytes give wrong rows", table,
               (long long)wrong);
    check_that(silent == 0, __FILE__, __LINE__, "%s: %lld bytes are not missed", table,
               (long long)silent);
    QUERY(db, ALL, right);
    sqlite3_free(right);
    check_close(db);
}

/* --- well formed, but a lie --- */

static void put_blob(sqlite3 *db, const char *sql, const void *data, int size)
{
    sqlite3_stmt *statement = NULL;
    CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    sqlite3_bind_blob(statement, 1, data, size, SQLITE_TRANSIENT);
    CHECK(sqlite3_step(statement) == SQLITE_DONE);
    sqlite3_finalize(statement);
}

static const uint64_t odd[] = {
    0,   1,     2,          63,         64,          65,         127,       128,
    511, 65536, 0x3fffffff, 0x7fffffff, 0x80000000u, 0xffffffff, UINT64_MAX};
#define ODD (sizeof(odd) / sizeof(odd[0]))

static sqlite3 *make_lie(void)
{
    sqlite3 *db = check_open("hostile.db");
    make(db);
    check_close(db);
    return check_open("hostile.db");
}

static void end_lie(sqlite3 *db, const char *what)
{
    try_statements(db, what);
    RUN(db, "DROP TABLE kv");
    check_close(db);
    check_remove("hostile.db");
}

static void lying_end(int field, uint64_t value)
{
    sqlite3 *db = make_lie();
    sqlite3_stmt *statement = NULL;
    uint8_t row[600];
    lkv_end end;
    int size;

    sqlite3_prepare_v2(db, "SELECT block FROM kv_log ORDER BY id DESC LIMIT 1", -1,
                       &statement, NULL);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    size = sqlite3_column_bytes(statement, 0);
    memcpy(row, sqlite3_column_blob(statement, 0), (size_t)size);
    sqlite3_finalize(statement);
    CHECK(lkv_end_decode(row + size - LKV_END_SIZE, &end) == LKV_OK);
    switch (field) {
    case 0:
        end.generation = value;
        break;
    case 1:
        end.revision = value;
        break;
    case 2:
        end.chain = value;
        break;
    case 3:
        end.live_keys = value;
        break;
    case 4:
        end.segment = (uint32_t)value;
        break;
    default:
        end.offset = (uint32_t)value;
        break;
    }
    lkv_end_encode(row + size - LKV_END_SIZE, &end);
    put_blob(db, "UPDATE kv_log SET block = ?1 WHERE id = (SELECT max(id) FROM kv_log)",
             row, size);
    end_lie(db, "a lying end");
}

static void lying_root(const lkv_root *from, const lkv_segment *segments)
{
    sqlite3 *db = make_lie();
    sqlite3_stmt *statement = NULL;
    uint8_t row[1000];
    lkv_root root, old;
    const char *why;
    lkv_bytes bytes;

    sqlite3_prepare_v2(db, "SELECT block FROM kv_root", -1, &statement, NULL);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    bytes.data = sqlite3_column_blob(statement, 0);
    bytes.size = (size_t)sqlite3_column_bytes(statement, 0);
    CHECK(lkv_format_parse_root(bytes, &old, &why) == LKV_OK);
    root = *from;
    memcpy(root.store_id, old.store_id, sizeof(root.store_id));
    root.meta = old.meta;
    lkv_format_root(row, &root, segments);
    sqlite3_finalize(statement);
    put_blob(db, "UPDATE kv_root SET block = ?1", row,
             (int)lkv_format_root_size(root.segments, root.meta.size));
    end_lie(db, "a lying root");
}

static void lies(void)
{
    for (size_t i = 0; i < ODD; i++) {
        lkv_segment two[3] = {
            {1, (uint32_t)odd[i], 0}, {1, 0, odd[i] - LKV_SEGMENT_HEADER}, {2, 0, 0}};
        lkv_root root = {.generation = 1, .block = 473, .segments = 1};
        lkv_segment one = {1, 0, 0};
        for (int field = 0; field < 6; field++) {
            lying_end(field, odd[i]);
        }
        root.block = (uint32_t)odd[i];
        lying_root(&root, &one);
        root.block = 473;
        one.number = (uint32_t)odd[i];
        lying_root(&root, &one);
        one = (lkv_segment){1, (uint32_t)odd[i], odd[i]};
        lying_root(&root, &one);
        one = (lkv_segment){1, 0, odd[i]};
        lying_root(&root, &one);
        root.segments = 2; /* one number twice; then two segments */
        lying_root(&root, two);
        two[1].number = 2;
        lying_root(&root, two);
        two[0].number = 2;
        two[1].number = 1;
        lying_root(&root, two);
        root.segments = 0;
        lying_root(&root, two);
    }
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
    bytes("log");
    bytes("root");
    lies();
    return check_end();
}
