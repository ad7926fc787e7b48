/*
 * test_methods.c - methods of the module and functions below it that are called here as
 * no SQLite of this machine does it, or with what no SQL can bring about.
 */
#include "api.h"

#include "../core/storage.h"
#include "../core/store.h"
#include "blob.h"
#include "os_sqlite.h"
#include "table.h"

#include <string.h>

static lkv_registry *registry;  /* of the connection that was opened last */
static sqlite3_vtab *connected; /* the table that was connected last */
static const sqlite3_api_routines *real;
static sqlite3_api_routines table; /* SQLite's functions, but for those that fail */

static int create(sqlite3 *db, void *aux, int argc, const char *const *argv,
                  sqlite3_vtab **out, char **text)
{
    int rc = lkv_module()->xCreate(db, aux, argc, argv, out, text);
    connected = *out;
    return rc;
}

static int connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                   sqlite3_vtab **out, char **text)
{
    int rc = lkv_module()->xConnect(db, aux, argc, argv, out, text);
    connected = *out;
    return rc;
}

static sqlite3 *open_table(const char *arguments)
{
    static sqlite3_module module;
    sqlite3 *db = check_open("methods.db");
    char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE kv USING litekv%s", arguments);

    module = *lkv_module();
    module.xCreate = create;
    module.xConnect = connect;
    registry = lkv_registry_new();
    CHECK(lkv_functions_register(db, registry) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(db, "litekv", &module, registry,
                                   lkv_registry_free) == SQLITE_OK);
    RUN(db, sql);
    sqlite3_free(sql);
    RUN(db, "INSERT INTO kv(key, value) VALUES(1, 'one'), (2, 'two')");
    return db;
}

static void end(sqlite3 *db)
{
    check_close(db);
    check_remove("methods.db");
}

/* Runs `sql` with the functions of `table`; its code. */
static int run_with(sqlite3 *db, const char *sql)
{
    int rc;
    sqlite3_api = &table;
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_api = real;
    table = *real;
    return rc;
}

static int no_prepare(sqlite3 *db, const char *sql, int size, unsigned flags,
                      sqlite3_stmt **out, const char **tail)
{
    (void)db;
    (void)sql;
    (void)size;
    (void)flags;
    (void)tail;
    *out = NULL;
    return SQLITE_NOMEM;
}

/* What the check says, and that it says nothing else. */
static void check_says(int quick, int code, const char *text)
{
    char *problem = NULL;
    int rc = lkv_integrity(connected, "main", "kv", quick, &problem);
    check_that(
        rc == code && (text == NULL ? problem == NULL
                                    : problem != NULL && strstr(problem, text) != NULL),
        __FILE__, __LINE__, "integrity: %d, %s", rc, problem == NULL ? "" : problem);
    sqlite3_free(problem);
}

/* SQLite 3.44 and newer ask for it. */
static void integrity(void)
{
    sqlite3 *db = open_table("");

    check_says(0, SQLITE_OK, NULL);
    check_says(1, SQLITE_OK, NULL);
    RUN(db, "UPDATE kv_log SET block = CAST(substr(block, 1, 90) || x'ff' || "
            "substr(block, 92) AS BLOB)");
    check_says(1, SQLITE_OK, NULL);
    RUN(db, "PRAGMA writable_schema = RESET; SELECT 1 FROM kv LIMIT 0");
    check_says(0, SQLITE_OK, "litekv: \"kv\": ");
    RUN(db, "ALTER TABLE kv_log RENAME TO gone; SELECT 1 FROM kv LIMIT 0");
    check_says(0, SQLITE_OK, "no such table: main.kv_log");
    RUN(db, "ALTER TABLE gone RENAME TO kv_log; SELECT 1 FROM kv LIMIT 0");
    table.prepare_v3 = no_prepare;
    sqlite3_api = &table;
    check_says(0, SQLITE_NOMEM, NULL);
    sqlite3_api = real;
    table = *real;
    end(db);
}

/* A record of the log that is whole, and whose bytes no value has. */
static void put(lkv_bytes key, lkv_bytes value)
{
    lkv_error err = {0};
    lkv_store *store = lkv_handle_find(registry, "main", "kv")->store;
    lkv_row row = {.key = key, .value = value};
    CHECK(lkv_put(store, &row, &err) == LKV_OK);
}

static const lkv_bytes good_key = {"\x30"
                                   "five",
                                   5},
                       bad_key = {"\x10", 1}, good_value = {"\x02\x08", 2},
                       bad_value = {"\x09\x09", 2};

static void malformed(void)
{
    static const char *const arguments[] = {"(key, value, more)",
                                            "(key, value, more, memory=on)"};
    for (int i = 0; i < 2; i++) {
        sqlite3 *db = open_table(arguments[i]);
        RUN(db, "CREATE VIRTUAL TABLE two USING litekv(key, value, more); CREATE TABLE "
                "i(i);"
                "BEGIN; INSERT INTO kv(key) VALUES(3)");
        put(good_key, bad_value);
        RUN(db, "COMMIT; INSERT INTO i VALUES(litekv_serialize('kv'))");
        FAIL(db, "SELECT value FROM kv", SQLITE_CORRUPT_VTAB,
             "litekv: \"kv\": a row has a malformed value; restore the table");
        FAIL(db, "UPDATE kv SET value = 1 WHERE key = 'five'", SQLITE_CORRUPT_VTAB,
             "litekv: \"kv\": a row has a malformed value; restore the table");
        FAIL(db, "SELECT litekv_deserialize('two', i) FROM i", SQLITE_ERROR, "");
        RUN(db, "DELETE FROM kv WHERE key = 'five'; DELETE FROM i; BEGIN; INSERT INTO "
                "kv(key) VALUES(4)");
        put(bad_key, good_value);
        RUN(db, "COMMIT; INSERT INTO i VALUES(litekv_serialize('kv'))");
        FAIL(db, "SELECT key FROM kv", SQLITE_CORRUPT_VTAB,
             "litekv: \"kv\": a row has a malformed key; restore the table");
        FAIL(db, "SELECT litekv_deserialize('two', i) FROM i", SQLITE_ERROR, "");
        QUERY(db, "SELECT count(*) FROM two", "0");
        end(db);
    }
}

/* Keys of every kind in what litekv_recover() says of the damage between them. */
static void recovered_keys(void)
{
    static const char *const lost =
        "UPDATE kv_log SET block = CAST(substr(block, 1, instr(block, CAST('VICTIM' "
        "AS BLOB)) - 1) || 'S' || substr(block, instr(block, CAST('VICTIM' AS BLOB)) "
        "+ 1) AS BLOB) WHERE instr(block, CAST('VICTIM' AS BLOB)) > 0";
    sqlite3 *db = open_table("");
    char *text;

    RUN(db, "DROP TABLE kv; PRAGMA page_size = 512; VACUUM; CREATE VIRTUAL TABLE kv "
            "USING litekv");
    RUN(db, "INSERT INTO kv VALUES('it''s \"a\\b\"' || char(1), 1);"
            "INSERT INTO kv VALUES(10, 'VICTIM'); INSERT INTO kv VALUES(x'ab00', 2);"
            "INSERT INTO kv VALUES(11, 'VICTIM'); INSERT INTO kv VALUES(1.5, 3);"
            "INSERT INTO kv VALUES(12, 'VICTIM'); BEGIN; INSERT INTO kv VALUES(13, 4)");
    put(bad_key, good_value);
    RUN(db, "COMMIT; INSERT INTO kv VALUES(14, 'VICTIM')");
    for (int i = 0; i < 8; i++) { /* they are more than fits into a short text */
        RUN(db, "REPLACE INTO kv VALUES(15, 1); REPLACE INTO kv VALUES(16, 'VICTIM')");
    }
    for (int i = 0; i < 12; i++) {
        RUN(db, lost);
    }
    check_close(db);
    db = check_open("methods.db");
    text = check_result(db, "SELECT litekv_recover('kv')");
    check_that(strstr(text, "\"first_key\":\"'it''s \\\"a\\\\b\\\"\\u0001'\"") !=
                       NULL &&
                   strstr(text, "\"last_key\":\"X'AB00'\"") != NULL &&
                   strstr(text, "\"last_key\":\"1.5\"") != NULL &&
                   strstr(text, "\"first_key\":null") != NULL,
               __FILE__, __LINE__, "%s", text);
    sqlite3_free(text);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 600);
    FAIL(db, "SELECT litekv_recover('kv')", SQLITE_TOOBIG, "");
    end(db);
}

static void undo(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_exec(sqlite3_context_db_handle(context), "ROLLBACK", NULL, NULL, NULL);
}

/* The row that a cursor stands on is taken away between two of its columns. */
static void row_undone(void)
{
    sqlite3 *db = open_table("");
    char *row;
    sqlite3_create_function(db, "undo", 0, SQLITE_UTF8, NULL, undo, NULL, NULL);
    RUN(db, "BEGIN; INSERT INTO kv VALUES(3, 'three')");
    row = check_result(db, "SELECT key, undo(), value FROM kv WHERE key = 3");
    check_that(strncmp(row, "3,NULL,NULL", 11) == 0 || row[0] == '[', __FILE__,
               __LINE__, "%s", row);
    sqlite3_free(row);
    QUERY(db, "SELECT key FROM kv", "1;2");
    end(db);
}

/* A table without rowid has none, and is not asked for it. */
static void rowid(void)
{
    sqlite3 *db = open_table("");
    sqlite3_vtab_cursor *cursor = NULL;
    sqlite3_int64 id = 1;

    CHECK(lkv_module()->xOpen(connected, &cursor) == SQLITE_OK);
    cursor->pVtab = connected;
    CHECK(lkv_module()->xRowid(cursor, &id) == SQLITE_OK && id == 0);
    CHECK(lkv_module()->xClose(cursor) == SQLITE_OK);
    end(db);
}

static const char *no_filename(sqlite3 *db, const char *schema)
{
    (void)db;
    (void)schema;
    return NULL;
}

static int no_control(sqlite3 *db, const char *schema, int what, void *arg)
{
    (void)db;
    (void)schema;
    (void)what;
    (void)arg;
    return SQLITE_ERROR;
}

/* What SQLite may answer by its documentation, and this one does not. */
static void other_answers(void)
{
    sqlite3 *db = open_table("");

    table.db_filename = no_filename;
    CHECK(run_with(db, "CREATE VIRTUAL TABLE two USING litekv(path='two')") ==
          SQLITE_CANTOPEN);
    table.file_control = no_control;
    CHECK(run_with(db, "CREATE VIRTUAL TABLE two USING litekv; INSERT INTO two "
                       "VALUES(1, 1), (2, 2); UPDATE two SET value = 3 WHERE key = 2;"
                       "SELECT * FROM two") == SQLITE_OK);
    QUERY(db, "SELECT * FROM two", "1,1;2,3");
    end(db);
}

static sqlite3_vfs *vfs;
static sqlite3_vfs *find_vfs(const char *name)
{
    (void)name;
    return vfs;
}

static int some_time(sqlite3_vfs *of, sqlite3_int64 *out)
{
    (void)of;
    *out = 210866760000000 + 5;
    return SQLITE_OK;
}

static void clock_of_vfs(void)
{
    sqlite3_vfs made = {.iVersion = 2, .xCurrentTimeInt64 = some_time};
    table.vfs_find = find_vfs;
    sqlite3_api = &table;
    CHECK(lkv_os_sqlite.now_ms(NULL) == 0);
    vfs = &made;
    CHECK(lkv_os_sqlite.now_ms(NULL) == 5);
    made.iVersion = 1;
    CHECK(lkv_os_sqlite.now_ms(NULL) == 0);
    made.iVersion = 2;
    made.xCurrentTimeInt64 = NULL;
    CHECK(lkv_os_sqlite.now_ms(NULL) == 0);
    sqlite3_api = real;
    table = *real;
}

static void codes(void)
{
    static const int pairs[][2] = {{LKV_OK, SQLITE_OK},
                                   {LKV_ABSENT, SQLITE_OK},
                                   {LKV_NOMEM, SQLITE_NOMEM},
                                   {LKV_TOO_BIG, SQLITE_TOOBIG},
                                   {LKV_BUSY, SQLITE_BUSY},
                                   {LKV_BUSY_SNAPSHOT, SQLITE_BUSY_SNAPSHOT},
                                   {LKV_FULL, SQLITE_FULL},
                                   {LKV_READONLY, SQLITE_READONLY},
                                   {LKV_CANTOPEN, SQLITE_CANTOPEN},
                                   {LKV_CORRUPT, SQLITE_CORRUPT_VTAB},
                                   {LKV_IO, SQLITE_IOERR},
                                   {LKV_MISUSE, SQLITE_ERROR}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        CHECK(lkv_handle_code(pairs[i][0]) == pairs[i][1]);
    }
}

/* Whatever core asks of a BLOB. */
static void blobs(void)
{
    sqlite3 *db = open_table("");
    lkv_blob blob = {.handle = lkv_handle_find(registry, "main", "kv")};
    lkv_blob_given given = {blob.handle, (const uint8_t *)"abc", 3};
    lkv_source source;
    sqlite3_stmt *statement = NULL;
    char out[4] = "";

    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 40);
    CHECK(lkv_blob_put(&blob, (lkv_bytes){"", 0}) == LKV_OK && blob.size == 0);
    CHECK(lkv_blob_put(&blob, (lkv_bytes){"a", 1}) == LKV_OK && blob.size == 1);
    CHECK(lkv_blob_put(&blob, (lkv_bytes){out, 40}) == LKV_TOO_BIG);
    CHECK(lkv_blob_put(&blob, (lkv_bytes){out, 41}) == LKV_TOO_BIG);
    lkv_blob_clear(&blob);
    sqlite3_prepare_v2(db, "SELECT x'616263'", -1, &statement, NULL);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    CHECK(lkv_blob_give(&given, blob.handle, sqlite3_column_value(statement, 0),
                        &source) == SQLITE_OK);
    CHECK(source.read(source.arg, 1, out, 2) == LKV_OK && memcmp(out, "bc", 2) == 0);
    CHECK(source.read(source.arg, 3, out, 0) == LKV_OK);
    CHECK(source.read(source.arg, 4, out, 0) == LKV_CORRUPT);
    CHECK(source.read(source.arg, 1, out, 3) == LKV_CORRUPT);
    sqlite3_finalize(statement);
    end(db);
}

/* A storage that is asked for a place that its bytes do not reach. */
static void out_of_bounds(void)
{
    sqlite3 *db = open_table("");
    lkv_storage *storage = lkv_handle_find(registry, "main", "kv")->storage;
    lkv_error err = {0};
    lkv_bytes bytes = {"x", 1};
    lkv_end last = {.segment = 7, .offset = 1000};

    RUN(db, "SELECT * FROM kv; BEGIN");
    CHECK(storage->ops->write(storage, 7, 1000, bytes, &err) == LKV_CORRUPT);
    CHECK(strstr(err.text, "segment 7, offset 1000: it is cut short") != NULL);
    CHECK(storage->ops->write(storage, 7, 1000, bytes, NULL) == LKV_CORRUPT);
    CHECK(storage->ops->publish_end(storage, &last, NULL) == LKV_CORRUPT);
    CHECK(storage->ops->write(storage, LKV_PART_FIRST, 1000, bytes, &err) ==
          LKV_CORRUPT);
    CHECK(strstr(err.text, "part 1, offset ") != NULL);
    bytes.size = 0;
    CHECK(storage->ops->write(storage, LKV_PART_FIRST, 1000, bytes, NULL) == LKV_OK);
    RUN(db, "UPDATE kv_log SET block = x'00'");
    storage->ops->forget(storage, 0, 0);
    CHECK(storage->ops->read_end(storage, &last, NULL) == LKV_CORRUPT);
    RUN(db, "ROLLBACK");
    QUERY(db, "SELECT * FROM kv", "1,one;2,two");
    end(db);
}

static sqlite3_value *given; /* out of the list last */

static int in_first(sqlite3_value *list, sqlite3_value **out)
{
    int rc = real->vtab_in_first(list, out);
    given = *out;
    return rc;
}

static int in_again(sqlite3_value *list, sqlite3_value **out)
{
    if (given != NULL) {
        *out = given;
        given = NULL;
        return SQLITE_OK;
    }
    return real->vtab_in_next(list, out);
}

static int count_row(void *arg, int columns, char **values, char **names)
{
    (void)columns;
    (void)values;
    (void)names;
    ++*(int *)arg;
    return 0;
}

/* A list with something twice in it is still a set. */
static void doubled_list(void)
{
    sqlite3 *db = open_table("");
    int rows = 0;
    table.vtab_in_first = in_first;
    table.vtab_in_next = in_again;
    sqlite3_api = &table;
    CHECK(sqlite3_exec(db, "SELECT * FROM kv WHERE key IN (1, 2, 3)", count_row, &rows,
                       NULL) == SQLITE_OK);
    sqlite3_api = real;
    table = *real;
    CHECK(rows == 2);
    end(db);
}

int main(void)
{
    check_begin();
    real = sqlite3_api;
    table = *real;
    integrity();
    malformed();
    recovered_keys();
    row_undone();
    rowid();
    other_answers();
    clock_of_vfs();
    codes();
    blobs();
    out_of_bounds();
    doubled_list();
    return check_end();
}
