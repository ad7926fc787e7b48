/*
 * test_memory.c - every allocation of a statement fails once, and from some point on
 * for good: the statement is then done as a whole or not at all (or its transaction is
 * undone, which SQLite says), all goes on afterwards, and no memory is lost. LONG=1 in
 * the environment leaves no allocation out.
 */
#include "check.h"

#include "../core/store.h"
#include "short_memory.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

/* --- what is tried --- */

typedef struct scene {
    const char *before; /* runs first, whole; may leave a transaction open */
    const char *sql;    /* one statement, which fails */
} scene;

/* Runs in the index, and dead records. */
#define MAKE_RUNS                                                                      \
    "REPLACE INTO kv VALUES(10, zeroblob(600)), (11, 11), (12, zeroblob(800)), (13, "  \
    "13); REPLACE INTO kv VALUES(11, 'again'), (2, zeroblob(700)), (14, 14)"

/* Any other answer than 'ok' is an error of its own. */
#define VERIFY                                                                         \
    "SELECT CASE litekv_verify('kv') WHEN 'ok' THEN 1 ELSE abs(-9223372036854775807 "  \
    "- 1) END"

static const scene scenes[] = {
    {"", "SELECT * FROM kv"},
    {"", "SELECT value FROM kv WHERE key IN ('b', 2, x'00', 7) ORDER BY key DESC"},
    {"", "INSERT INTO kv VALUES(5, 'five')"},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES(5, 'five')"},
    {"SELECT * FROM kv", "INSERT INTO kv VALUES(5, 1), ('y', zeroblob(3000)), (6, 2)"},
    {"SELECT * FROM kv", "UPDATE kv SET key = key || 'x'"},
    {"SELECT * FROM kv", "DELETE FROM kv"},
    {"SELECT * FROM kv", "SELECT litekv_stats('kv')"},
    {"", "INSERT INTO kv(kv) VALUES('integrity-check')"},
    {"", VERIFY},
    {MAKE_RUNS, VERIFY},
    {MAKE_RUNS, "SELECT * FROM litekv_segments('kv')"},
    {MAKE_RUNS, "SELECT litekv_compact('kv')"},
    {MAKE_RUNS "; SELECT litekv_compact('kv', 1)", "SELECT litekv_compact('kv', 1)"},
    {MAKE_RUNS "; SELECT litekv_compact('kv'); DELETE FROM kv WHERE key = 2",
     "SELECT litekv_compact('kv')"},
    {"BEGIN; " MAKE_RUNS, "SELECT litekv_compact('kv')"},
    {MAKE_RUNS, "SELECT litekv_rebuild_index('kv')"},
    {MAKE_RUNS "; SELECT litekv_compact('kv')", "SELECT litekv_rebuild_index('kv')"},
    {MAKE_RUNS, "SELECT litekv_export_index('kv')"},
    {MAKE_RUNS "; SELECT litekv_compact('kv')",
     "SELECT litekv_export_index('kv', 'memory.idx', 'replace')"},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_export_index('kv') AS i",
     "SELECT litekv_import_index('kv', i) FROM i"},
    {MAKE_RUNS "; SELECT litekv_export_index('kv', 'memory.idx', 'replace')",
     "SELECT litekv_import_index('kv', 'memory.idx')"},
    {MAKE_RUNS, "INSERT INTO kv(kv) VALUES('auto_compact=0.3')"},
    {MAKE_RUNS, "SELECT litekv_recover('kv')"},
    {MAKE_RUNS "; SELECT litekv_compact('kv'); UPDATE kv_base SET block = "
               "CAST(substr(block, 1, length(block) - 1) || x'a5' AS BLOB) WHERE id = "
               "(SELECT max(id) FROM kv_base)",
     "SELECT litekv_recover('kv', 'apply')"},
    {MAKE_RUNS, "SELECT litekv_serialize('kv')"},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_serialize('kv') AS i",
     "SELECT litekv_deserialize('kv', i) FROM i"},
    {MAKE_RUNS "; CREATE TABLE i AS SELECT litekv_serialize('kv') AS i; BEGIN; DELETE "
               "FROM kv WHERE key = 2",
     "SELECT litekv_deserialize('kv', i) FROM i"},
    {"BEGIN", "INSERT INTO kv VALUES(5, 'five')"},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(400))",
     "UPDATE kv SET key = 'moved' WHERE key = 5"},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)", /* its second half needs more memory */
     "UPDATE kv SET key = 'moved', value = zeroblob(20000) WHERE key = 5"},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(400)), (6, zeroblob(1500))",
     "UPDATE kv SET key = 'moved' WHERE key = 5"},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(3000)); INSERT INTO kv VALUES(6, 6)",
     "INSERT INTO kv VALUES(7, zeroblob(3000)), (8, 8), (9, zeroblob(3000))"},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(300)); INSERT INTO kv VALUES(6, 6)",
     "COMMIT"},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(9000)); DELETE FROM kv WHERE key = 2",
     "COMMIT"},
    {"BEGIN; INSERT INTO kv VALUES(5, zeroblob(300))", "SAVEPOINT s"},
    {"BEGIN; INSERT INTO kv VALUES(5, 5); SAVEPOINT s; INSERT INTO kv VALUES(6, "
     "zeroblob(9000)); SAVEPOINT t; DELETE FROM kv WHERE key = 2",
     "ROLLBACK TO s"},
    {"BEGIN; INSERT INTO kv VALUES(5, 5); SAVEPOINT s; INSERT INTO kv VALUES(6, "
     "zeroblob(9000)); SAVEPOINT t; DELETE FROM kv WHERE key = 2",
     "RELEASE s"},
    {"BEGIN; INSERT INTO kv VALUES(5, 5); DELETE FROM kv WHERE key = 2", "ROLLBACK"},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)",
     "CREATE VIRTUAL TABLE two USING litekv(a, b)"},
    {"BEGIN; CREATE VIRTUAL TABLE two USING litekv; INSERT INTO two VALUES(1, 1);"
     "INSERT INTO kv VALUES(5, 5)",
     "DROP TABLE two"},
    {"CREATE VIRTUAL TABLE two USING litekv; BEGIN; INSERT INTO two VALUES(1, 1)",
     "ALTER TABLE two RENAME TO three"},
    {"CREATE VIRTUAL TABLE two USING litekv(memory=on); INSERT INTO two VALUES(1, 1);"
     "BEGIN; INSERT INTO kv VALUES(5, 5); INSERT INTO two VALUES(2, 2)",
     "DROP TABLE two"},
    {"CREATE VIRTUAL TABLE two USING litekv(memory=on); INSERT INTO two VALUES(1, 1);"
     "BEGIN; DROP TABLE two; CREATE VIRTUAL TABLE two USING litekv(memory=on)",
     "ROLLBACK"},
    {"CREATE VIRTUAL TABLE two USING litekv(memory=on); INSERT INTO two VALUES(1, 1)",
     "ALTER TABLE two RENAME TO three"},
    {"BEGIN; INSERT INTO kv VALUES(5, 5)",
     "CREATE VIRTUAL TABLE two USING litekv(memory=on)"},
};

/* The same for each place where the bytes may live. */
static const char *const homes[] = {"", ", path='store', sync=off", ", memory=on"};
enum { DATABASE, FILES, MEMORY, HOMES };
static int home;

static lkv_registry *registry;

static void shrink(void)
{
    lkv_handle *handle = lkv_handle_find(registry, "main", "kv");
    if (handle != NULL) {
        handle->storage->spill = 1000;
        handle->storage->segment = 5000;
        handle->store->flush_size = 700;
    }
}

static sqlite3 *open_table(int create)
{
    sqlite3 *db = check_open("memory.db");
    registry = lkv_registry_new();
    CHECK(lkv_functions_register(db, registry) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(db, "litekv", lkv_module(), registry,
                                   lkv_registry_free) == SQLITE_OK);
    if (create) {
        char *sql = sqlite3_mprintf("PRAGMA page_size = 1024; CREATE VIRTUAL TABLE kv "
                                    "USING litekv(key, value%s)",
                                    homes[home]);
        RUN(db, sql);
        sqlite3_free(sql);
        shrink();
        RUN(db, "INSERT INTO kv VALUES(1, 'one'), (2, zeroblob(2500)), ('b', NULL)");
    }
    return db;
}

static void remove_all(void)
{
    char *sql = sqlite3_mprintf("SELECT litekv_remove('%q')", check_path("store"));
    if (home == FILES) {
        sqlite3 *db = check_open(":memory:");
        QUERY(db, sql, "1");
        check_close(db);
    }
    sqlite3_free(sql);
    check_remove("memory.db");
    check_remove("memory.idx");
}

static char *content(sqlite3 *db)
{
    return check_result(db, "SELECT group_concat(quote(key) || '=' || coalesce("
                            "length(value), 'NULL')), (SELECT group_concat(name) FROM "
                            "sqlite_schema) FROM kv");
}

/* The database as `before` leaves it; `*begin` is what a rollback gives. */
static sqlite3 *prepare(const scene *of, char **begin, char **before)
{
    sqlite3 *db = open_table(1);
    const char *transaction = strstr(of->before, "BEGIN");
    char *first =
        transaction == NULL
            ? sqlite3_mprintf("%s", of->before)
            : sqlite3_mprintf("%.*s", (int)(transaction - of->before), of->before);
    shrink();
    RUN(db, first);
    sqlite3_free(first);
    *begin = content(db);
    if (transaction != NULL) {
        RUN(db, transaction);
    }
    *before = transaction == NULL && home != MEMORY ? NULL : content(db);
    if (*before != NULL && home != MEMORY) {
        /* A second connection sees what is committed. */
        sqlite3 *other = check_open("memory.db");
        char *seen = content(other);
        CHECK(strcmp(seen, *begin) == 0);
        sqlite3_free(seen);
        check_close(other);
    } else if (*before == NULL) {
        *before = sqlite3_mprintf("%s", *begin);
        check_close(db); /* what is read when the table is opened can fail, too */
        db = open_table(0);
        if (of->before[0] != 0) {
            RUN(db, "SELECT * FROM kv");
            shrink();
        }
    }
    return db;
}

/* Afterwards the table works, in this connection and in the next. */
static void goes_on(sqlite3 *db, const char *expected, const scene *of, int n)
{
    char *now;
    if (strstr(of->sql, "recover") != NULL) { /* what it did not do is done now */
        RUN(db, of->sql);
    }
    check_that(sqlite3_exec(db,
                            "INSERT INTO kv VALUES('on', 1); DELETE FROM kv WHERE "
                            "key = 'on'; INSERT INTO kv(kv) "
                            "VALUES('integrity-check')",
                            NULL, NULL, NULL) == SQLITE_OK,
               __FILE__, __LINE__, "%s, allocation %d: then %s", of->sql, n,
               sqlite3_errmsg(db));
    if (!sqlite3_get_autocommit(db)) {
        RUN(db, "COMMIT");
    }
    check_close(db);
    if (home != MEMORY) {
        db = open_table(0);
        now = content(db);
        check_that(strcmp(now, expected) == 0, __FILE__, __LINE__,
                   "%s, allocation %d: reopened: %s, expected %s", of->sql, n, now,
                   expected);
        sqlite3_free(now);
        check_close(db);
    }
    remove_all();
}

/* Whether an allocation failed: otherwise all of them were tried. */
static int try_one(const scene *of, int n, int persistent, const char *after)
{
    sqlite3_int64 used = sqlite3_memory_used();
    char *begin, *before, *now;
    sqlite3 *db = prepare(of, &begin, &before);
    int open = !sqlite3_get_autocommit(db);
    int rc, failed;
    const char *expected;

    short_memory_arm(n, persistent);
    rc = sqlite3_exec(db, of->sql, NULL, NULL, NULL);
    short_memory_arm(0, 0);
    failed = short_memory_failed();
    now = content(db);
    expected = rc == SQLITE_OK                      ? after
               : open && sqlite3_get_autocommit(db) ? begin
                                                    : before;
    /* What cannot fail is done even when SQLite reports that something failed. */
    check_that(strcmp(now, expected) == 0 ||
                   (rc != SQLITE_OK && strcmp(now, after) == 0),
               __FILE__, __LINE__, "%s, allocation %d: %d, %s, expected %s", of->sql, n,
               rc, now, expected);
    check_that(rc == SQLITE_OK || (rc & 0xff) == SQLITE_NOMEM ||
                   rc == SQLITE_IOERR_NOMEM,
               __FILE__, __LINE__, "%s, allocation %d: %d, %s", of->sql, n, rc,
               sqlite3_errmsg(db));
    goes_on(db, now, of, n);
    sqlite3_free(now);
    sqlite3_free(before);
    sqlite3_free(begin);
    check_that(sqlite3_memory_used() == used, __FILE__, __LINE__,
               "%s, allocation %d: %lld bytes are lost", of->sql, n,
               (long long)(sqlite3_memory_used() - used));
    return failed;
}

static void try_all(const scene *of, int all)
{
    char *begin, *before, *after;
    sqlite3 *db = prepare(of, &begin, &before);
    RUN(db, of->sql);
    after = content(db);
    check_close(db);
    remove_all();
    for (int persistent = 0; persistent < 2; persistent++) {
        int n = 1;
        while (try_one(of, n, persistent, after)) {
            n += all ? 1 : 1 + n / (home == DATABASE ? 12 : 3);
        }
    }
    sqlite3_free(after);
    sqlite3_free(before);
    sqlite3_free(begin);
}

/* The scenes are what they are said to be. */
static void has_runs(void)
{
    sqlite3 *db = open_table(1);
    RUN(db, MAKE_RUNS);
    QUERY(db, "SELECT litekv_stats('kv') ->> 'runs' > 1", "1");
    RUN(db, "SELECT litekv_compact('kv', 1)");
    QUERY(db, "SELECT litekv_stats('kv') ->> 'compact_left' > 0", "1");
    RUN(db, "SELECT litekv_compact('kv')");
    QUERY(db, "SELECT litekv_stats('kv') ->> 'parts' > 0", "1");
    check_close(db);
    remove_all();
}

/* Only a table in the database has shadow tables; one in files is not compacted in a
 * transaction that has changed it. */
static int fits(const scene *of)
{
    return home == 0 || (strstr(of->before, "kv_base") == NULL &&
                         (home == MEMORY || strncmp(of->before, "BEGIN", 5) != 0 ||
                          strstr(of->sql, "litekv_compact") == NULL));
}

int main(void)
{
    short_memory_begin();
    for (home = 0; home < HOMES; home++) {
        has_runs();
        for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
            if (fits(&scenes[i])) {
                try_all(&scenes[i], getenv("LONG") != NULL);
            }
        }
    }
    return check_end();
}
