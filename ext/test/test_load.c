/*
 * test_load.c - loading: each call of it that can fail does so, an SQLite that is too
 * old, and a newer one than that of this machine.
 */
#include "api.h"

#include "table.h"

#include <string.h>

int sqlite3_litekv_init(sqlite3 *db, char **text, const sqlite3_api_routines *api);

static const sqlite3_api_routines *real;
static sqlite3_api_routines table;
static int countdown;

static int fails(void)
{
    return countdown > 0 && --countdown == 0;
}

static void *fail_malloc(sqlite3_uint64 size)
{
    return fails() ? NULL : real->malloc64(size);
}

static int fail_prepare(sqlite3 *db, const char *sql, int size, sqlite3_stmt **out,
                        const char **tail)
{
    *out = NULL;
    return fails() ? SQLITE_NOMEM : real->prepare_v2(db, sql, size, out, tail);
}

/* What is registered is given back when that fails. */
static int fail_function(sqlite3 *db, const char *name, int arguments, int flags,
                         void *data,
                         void (*run)(sqlite3_context *, int, sqlite3_value **),
                         void (*step)(sqlite3_context *, int, sqlite3_value **),
                         void (*final)(sqlite3_context *), void (*release)(void *))
{
    if (fails()) {
        release(data);
        return SQLITE_NOMEM;
    }
    return real->create_function_v2(db, name, arguments, flags, data, run, step, final,
                                    release);
}

static int fail_module(sqlite3 *db, const char *name, const sqlite3_module *module,
                       void *data, void (*release)(void *))
{
    if (fails()) {
        release(data);
        return SQLITE_NOMEM;
    }
    return real->create_module_v2(db, name, module, data, release);
}

static int version;

static int other_version(void)
{
    return version;
}

static int load(sqlite3 *db, char **text)
{
    int rc = sqlite3_litekv_init(db, text, &table);
    sqlite3_api = real;
    return rc;
}

static void failing(void)
{
    int rc = SQLITE_NOMEM;
    table.malloc64 = fail_malloc;
    table.prepare_v2 = fail_prepare;
    table.create_function_v2 = fail_function;
    table.create_module_v2 = fail_module;
    for (int n = 1; rc != SQLITE_OK && n < 100; n++) {
        sqlite3 *db = NULL;
        char *text = NULL;
        CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
        countdown = n;
        rc = load(db, &text);
        CHECK((rc == SQLITE_OK || rc == SQLITE_NOMEM) && text == NULL);
        if (rc != SQLITE_OK) { /* and then it can be loaded */
            CHECK(load(db, &text) == SQLITE_OK);
        }
        RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
        QUERY(db, "SELECT litekv_verify('kv')", "ok");
        check_close(db);
    }
    CHECK(rc == SQLITE_OK);
}

static void versions(void)
{
    sqlite3 *db = NULL;
    char *text = NULL;

    CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
    table.libversion_number = other_version;
    version = 3040000;
    CHECK(load(db, &text) == SQLITE_ERROR);
    CHECK(text != NULL && strstr(text, "is too old; 3.40.1 is the oldest") != NULL);
    sqlite3_free(text);
    text = NULL;
    version = 3044000; /* this has a method that older ones do not know */
    CHECK(load(db, &text) == SQLITE_OK && text == NULL);
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv; INSERT INTO kv VALUES(1, 1)");
    QUERY(db, "PRAGMA integrity_check", "ok");
    sqlite3_api = &table;
    CHECK(lkv_module()->iVersion == 4);
    version = 3040001;
    CHECK(lkv_module()->iVersion == 3);
    sqlite3_api = real;
    check_close(db);
}

int main(void)
{
    check_begin();
    sqlite3_reset_auto_extension();
    real = sqlite3_api;
    table = *real;
    failing();
    table = *real;
    versions();
    return check_end();
}
