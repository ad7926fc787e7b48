/*
 * test_attached.c - another database comes under a schema's name while statements of
 * the one before are kept: by DETACH and ATTACH, by sqlite3_deserialize(). SQLite may
 * keep the vtab objects then, and with them the handle.
 */
#include "check.h"

#include <string.h>

/* The value of the first row of a statement that is kept, after a reset. */
static void check_first(sqlite3_stmt *kept, const char *expected, int line)
{
    int rc = sqlite3_step(kept);
    const char *got = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(kept, 0)
                                       : sqlite3_errmsg(sqlite3_db_handle(kept));
    check_that(rc == SQLITE_ROW && got != NULL && strcmp(got, expected) == 0, __FILE__,
               line, "%d %s", rc, got == NULL ? "NULL" : got);
    sqlite3_reset(kept);
}
#define FIRST(kept, expected) check_first((kept), (expected), __LINE__)

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    return statement;
}

static void attach(sqlite3 *db, const char *name)
{
    char *sql = sqlite3_mprintf("ATTACH %Q AS x", check_path(name));
    RUN(db, sql);
    sqlite3_free(sql);
}

static void make(const char *name, const char *value)
{
    sqlite3 *db = check_open(name);
    char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE kv USING litekv;"
                                "CREATE VIRTUAL TABLE m USING litekv(memory=on);"
                                "INSERT INTO kv VALUES(1, %Q)",
                                value);
    RUN(db, sql);
    sqlite3_free(sql);
    check_close(db);
}

/* Others have committed to it in between. */
static void the_same_file(void)
{
    sqlite3 *db = check_open(":memory:"), *other;
    sqlite3_stmt *kept;
    make("a.db", "1");
    other = check_open("a.db");
    attach(db, "a.db");
    kept = prepare(db, "SELECT count(key) FROM x.kv");
    FIRST(kept, "1");
    for (int i = 0; i < 3; i++) {
        char expected[] = {(char)('2' + 2 * i), 0};
        RUN(db, "DETACH x");
        RUN(other, "INSERT INTO kv SELECT max(key) + 1, 1 FROM kv");
        attach(db, "a.db");
        FIRST(kept, expected);
        RUN(db, "INSERT INTO x.kv SELECT max(key) + 1, 1 FROM x.kv");
        QUERY(other, "SELECT litekv_verify('kv')", "ok");
    }
    QUERY(other, "SELECT count(*), max(key) FROM kv", "7,7");
    sqlite3_finalize(kept);
    check_close(db);
    check_close(other);
    check_remove("a.db");
}

static void another_file(void)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *kept, *kept_m;
    make("a.db", "one");
    make("b.db", "two");
    attach(db, "a.db");
    RUN(db, "INSERT INTO x.m VALUES('of a', 1)");
    kept = prepare(db, "SELECT value FROM x.kv");
    kept_m = prepare(db, "SELECT count(key) FROM x.m");
    FIRST(kept, "one");
    FIRST(kept_m, "1");
    RUN(db, "DETACH x");
    attach(db, "b.db");
    FIRST(kept, "two");
    FIRST(kept_m, "0");
    RUN(db, "INSERT INTO x.kv VALUES(2, 'more')");
    QUERY(db, "SELECT litekv_verify('x.kv'), count(*) FROM x.kv", "ok,2");
    RUN(db, "DETACH x");
    attach(db, "a.db");
    FIRST(kept, "one");
    QUERY(db, "SELECT litekv_verify('x.kv')", "ok");
    sqlite3_finalize(kept);
    sqlite3_finalize(kept_m);
    check_close(db);
    check_remove("a.db");
    check_remove("b.db");
}

/* An image of a database with one table, whose first row has this value. */
static unsigned char *image(const char *value, sqlite3_int64 *size)
{
    sqlite3 *db = check_open(":memory:");
    char *sql = sqlite3_mprintf("CREATE VIRTUAL TABLE kv USING litekv;"
                                "INSERT INTO kv VALUES(1, %Q)",
                                value);
    unsigned char *bytes;
    RUN(db, sql);
    sqlite3_free(sql);
    bytes = sqlite3_serialize(db, "main", size, 0);
    CHECK(bytes != NULL);
    check_close(db);
    return bytes;
}

/* An image made in the middle of a transaction has what a command has done in it, and
 * what was written before a savepoint. */
static void imaged(void)
{
    static const char *const works[] = {
        "INSERT INTO kv VALUES(1, 'new'), (7, 8); SELECT litekv_compact('kv')",
        "INSERT INTO kv VALUES(1, 'new'), (7, 8); SELECT litekv_compact('kv', 1)",
        "INSERT INTO kv VALUES(1, 'new'), (7, 8); INSERT INTO kv(kv) VALUES('rebuild')",
        "INSERT INTO kv VALUES(1, 'new'), (7, 8); SAVEPOINT s",
    };
    for (int i = 0; i < 4; i++) {
        sqlite3 *db = check_open(":memory:");
        sqlite3_int64 size;
        unsigned char *bytes;
        RUN(db,
            "CREATE VIRTUAL TABLE kv USING litekv;"
            "INSERT INTO kv VALUES(2, zeroblob(9000)); REPLACE INTO kv VALUES(2, 3);"
            "BEGIN");
        RUN(db, works[i]);
        bytes = sqlite3_serialize(db, "main", &size, 0);
        RUN(db, "ROLLBACK");
        QUERY(db, "SELECT * FROM kv", "2,3");
        CHECK(sqlite3_deserialize(db, "main", bytes, size, size,
                                  SQLITE_DESERIALIZE_FREEONCLOSE |
                                      SQLITE_DESERIALIZE_RESIZEABLE) == SQLITE_OK);
        QUERY(db, "SELECT * FROM kv", "1,new;2,3;7,8");
        QUERY(db, "SELECT litekv_verify('kv')", "ok");
        check_close(db);
    }
}

static int of_table, of_shadow;

static void told(void *arg, int action, const char *schema, const char *table,
                 sqlite3_int64 rowid)
{
    (void)arg;
    (void)action;
    (void)schema;
    (void)rowid;
    of_table += strcmp(table, "kv") == 0;
    of_shadow += strncmp(table, "kv_", 3) == 0;
}

/* An update hook is told of rows of shadow tables. What replicates these puts them
 * there directly: in a transaction that has not used the table before. */
static void replicated(void)
{
    sqlite3 *db = check_open("a.db"), *to;
    char *sql;
    sqlite3_update_hook(db, told, NULL);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 'one')");
    RUN(db, "VACUUM");
    to = check_open("b.db");
    sql = sqlite3_mprintf("ATTACH %Q AS source", check_path("a.db"));
    RUN(to, "CREATE VIRTUAL TABLE kv USING litekv");
    QUERY(to, "SELECT * FROM kv", "");
    RUN(to, sql);
    for (int i = 0; i < 3; i++) {
        RUN(db, i == 0   ? "INSERT INTO kv VALUES(2, 'two')"
                : i == 1 ? "DELETE FROM kv WHERE key = 1; SELECT litekv_compact('kv')"
                         : "INSERT INTO kv VALUES(3, 'three')");
        RUN(to, "BEGIN; DELETE FROM kv_log; DELETE FROM kv_base; DELETE FROM kv_index;"
                "INSERT INTO main.kv_log SELECT * FROM source.kv_log;"
                "INSERT INTO main.kv_base SELECT * FROM source.kv_base;"
                "INSERT INTO main.kv_index SELECT * FROM source.kv_index;"
                "REPLACE INTO main.kv_root SELECT * FROM source.kv_root; COMMIT");
        QUERY(to, "SELECT key FROM main.kv", i == 0 ? "1;2" : i == 1 ? "2" : "2;3");
        QUERY(to, "SELECT litekv_verify('main.kv')", "ok");
    }
    RUN(to, "INSERT INTO main.kv VALUES(4, 4)");
    QUERY(to, "SELECT key FROM main.kv", "2;3;4");
    CHECK(of_table == 0 && of_shadow > 0);
    sqlite3_free(sql);
    check_close(to);
    check_close(db);
    check_remove("a.db");
    check_remove("b.db");
}

static void take(sqlite3 *db, const char *value)
{
    sqlite3_int64 size;
    unsigned char *bytes = image(value, &size);
    CHECK(sqlite3_deserialize(db, "main", bytes, size, size,
                              SQLITE_DESERIALIZE_FREEONCLOSE |
                                  SQLITE_DESERIALIZE_RESIZEABLE) == SQLITE_OK);
}

static void deserialized(void)
{
    sqlite3 *db = check_open("a.db");
    sqlite3_stmt *kept;
    take(db, "old");
    kept = prepare(db, "SELECT value FROM kv");
    FIRST(kept, "old");
    take(db, "new");
    FIRST(kept, "new");
    RUN(db, "INSERT INTO kv VALUES(2, 'x')");
    take(db, "third");
    RUN(db, "INSERT INTO kv VALUES(2, 'y')");
    FIRST(kept, "third");
    QUERY(db, "SELECT litekv_verify('kv'), group_concat(value) FROM kv", "ok,third,y");
    sqlite3_finalize(kept);
    check_close(db);
    check_remove("a.db");
}

/* What was in memory goes with its database, when the next table is used. */
static void memory_comes_back(void)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_int64 used = sqlite3_memory_used();

    RUN(db, "ATTACH ':memory:' AS other;"
            "CREATE VIRTUAL TABLE other.kv USING litekv(key, value, memory=on);"
            "INSERT INTO other.kv VALUES(1, zeroblob(3000000))");
    CHECK(sqlite3_memory_used() > used + 2000000);
    RUN(db, "DETACH other;"
            "CREATE VIRTUAL TABLE kv USING litekv(key, value, memory=on);"
            "INSERT INTO kv VALUES(1, 1)");
    CHECK(sqlite3_memory_used() < used + 2000000);
    check_close(db);
}

int main(void)
{
    check_begin();
    the_same_file();
    another_file();
    deserialized();
    imaged();
    replicated();
    memory_comes_back();
    return check_end();
}
