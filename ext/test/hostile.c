/*
 * hostile.c - see hostile.h.
 */
#include "hostile.h"

#include "../core/store.h"
#include "table.h"

static const char *const statements[] = {
    "SELECT * FROM kv",
    "SELECT value FROM kv WHERE key = 2",
    "SELECT key FROM kv WHERE key > 1 ORDER BY key DESC",
    "SELECT litekv_stats('kv')",
    "SELECT * FROM litekv_segments('kv')",
    "SELECT litekv_verify('kv')",
    "INSERT INTO kv(kv) VALUES('integrity-check')",
    "SELECT litekv_import_index('kv', litekv_export_index('kv'))",
    "SELECT litekv_deserialize('kv', litekv_serialize('kv'))",
    "SELECT litekv_recover('kv')",
    "SELECT litekv_recover('kv', 'apply')",
    "SELECT litekv_compact('kv', 500)",
    "SELECT litekv_rebuild_index('kv')",
    "SELECT litekv_compact('kv')",
    ("BEGIN; INSERT INTO kv VALUES(7, zeroblob(3000)); SAVEPOINT s; DELETE FROM kv;"
     "ROLLBACK TO s; UPDATE kv SET key = 8 WHERE key = 1; COMMIT"),
    "ALTER TABLE kv RENAME TO kw; ALTER TABLE kw RENAME TO kv",
};

static lkv_registry *registry; /* of the connection that was opened last */

sqlite3 *hostile_open(const char *name)
{
    sqlite3 *db = check_open(name);
    registry = lkv_registry_new();
    CHECK(lkv_functions_register(db, registry) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(db, "litekv", lkv_module(), registry,
                                   lkv_registry_free) == SQLITE_OK);
    return db;
}

lkv_handle *hostile_handle(void)
{
    return lkv_handle_find(registry, "main", "kv");
}

void hostile_make(sqlite3 *db)
{
    lkv_handle *handle;

    RUN(db, "PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING litekv(auto_compact "
            "= 0); CREATE TABLE t(a); INSERT INTO t VALUES(1)");
    handle = hostile_handle();
    CHECK(handle != NULL);
    if (handle == NULL) {
        return;
    }
    handle->store->flush_size = 1200;
    handle->storage->segment = 1500;
    RUN(db, "INSERT INTO kv VALUES(1, 'one'), (2, 'two'), (3, zeroblob(700)), (5, "
            "zeroblob(800)), ('a', x'00'); DELETE FROM kv WHERE key = 3;"
            "SELECT litekv_compact('kv'); REPLACE INTO kv VALUES(1, 'ONE'), (6, "
            "zeroblob(700)), ('b', zeroblob(600)); DELETE FROM kv WHERE key = 5;"
            "INSERT INTO kv VALUES('four', NULL)");
    handle->store->flush_size = LKV_FLUSH_SIZE;
    handle->storage->segment = LKV_SEGMENT_SIZE;
}

void hostile_make_plain(sqlite3 *db)
{
    RUN(db,
        "PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING litekv; CREATE TABLE "
        "t(a); INSERT INTO t VALUES(1); INSERT INTO kv VALUES(1, 'one'), (2, 'two'), "
        "(3, zeroblob(700)); DELETE FROM kv WHERE key = 3;"
        "INSERT INTO kv VALUES('four', NULL)");
}

void hostile_try(sqlite3 *db, const char *what)
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
