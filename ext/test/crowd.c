/*
 * crowd.c - see crowd.h.
 */
#include "crowd.h"

#include "../core/store.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 120000

const crowd crowds[] = {
    {"WAL", "WAL", "CREATE VIRTUAL TABLE IF NOT EXISTS kv USING litekv", 8, ""},
    {"rollback journal", "DELETE", "CREATE VIRTUAL TABLE IF NOT EXISTS kv USING litekv",
     5, ""},
    {"files", NULL, "CREATE VIRTUAL TABLE kv USING litekv(path='%s', sync=off)", 12,
     ""},
    {"shared memory", NULL, "CREATE VIRTUAL TABLE kv USING litekv(shm='%s')", 12, ""},
};

sqlite3 *crowd_join(const crowd *c)
{
    lkv_registry *registry = lkv_registry_new();
    char sql[500];
    sqlite3 *db = NULL;
    lkv_handle *handle;
    int rc = sqlite3_open_v2(
        c->journal != NULL ? c->place : ":memory:", &db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

    if (registry == NULL || rc != SQLITE_OK ||
        lkv_functions_register(db, registry) != SQLITE_OK ||
        sqlite3_create_module_v2(db, "litekv", lkv_module(), registry,
                                 lkv_registry_free) != SQLITE_OK) {
        abort();
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, WAIT_MS);
    sqlite3_snprintf(sizeof(sql), sql, c->form, c->place);
    if (sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "SELECT 1 FROM kv LIMIT 1", NULL, NULL, NULL) != SQLITE_OK) {
        printf("%s: cannot be opened: %s\n", c->name, sqlite3_errmsg(db));
        abort();
    }
    handle = lkv_handle_find(registry, "main", "kv");
    handle->store->flush_size = 3000;
    handle->storage->segment = 1 << 16;
    return db;
}

int crowd_run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int take_number(void *arg, int columns, char **values, char **names)
{
    (void)columns;
    (void)names;
    *(sqlite3_int64 *)arg = values[0] == NULL ? -1 : atoll(values[0]);
    return 0;
}

int crowd_number(sqlite3 *db, const char *sql, sqlite3_int64 *out)
{
    *out = -1;
    return sqlite3_exec(db, sql, take_number, out, NULL);
}

static void find_place(crowd *c)
{
    if (strstr(c->form, "shm") != NULL) {
        snprintf(c->place, sizeof(c->place), "/litekv-crowd-%d", (int)getpid());
    } else {
        snprintf(c->place, sizeof(c->place), "%s",
                 check_path(c->journal != NULL ? "crowd.db" : "crowd"));
    }
}

void crowd_make(crowd *c)
{
    sqlite3 *db;
    find_place(c);
    if (c->journal != NULL) {
        char sql[80];
        db = check_open("crowd.db");
        sqlite3_snprintf(sizeof(sql), sql, "PRAGMA journal_mode = %s", c->journal);
        sqlite3_free(check_result(db, sql));
        check_close(db);
    }
    db = crowd_join(c);
    RUN(db, "INSERT INTO kv VALUES('total', 0), ('s1', 0), ('s2', 0), ('s3', 0)");
    for (int i = 0; i < ACCOUNTS; i++) {
        char sql[80];
        sqlite3_snprintf(sizeof(sql), sql, "INSERT INTO kv VALUES('a%02d', %d)", i,
                         EACH);
        RUN(db, sql);
    }
    for (int i = 0; i < 2 * CROWD; i++) {
        char sql[80];
        sqlite3_snprintf(sizeof(sql), sql, "INSERT INTO kv VALUES('w%d', 0)", i);
        RUN(db, sql);
    }
    check_close(db);
}

void crowd_remove(const crowd *c)
{
    sqlite3 *db = crowd_join(c);
    QUERY(db, "SELECT litekv_verify('kv')", "ok");
    RUN(db, "DROP TABLE kv");
    if (c->journal == NULL) {
        char sql[400];
        sqlite3_snprintf(sizeof(sql), sql, "SELECT litekv_remove('%s%s')",
                         strstr(c->form, "shm") != NULL ? "shm:" : "", c->place);
        QUERY(db, sql, "1");
    }
    check_close(db);
    check_remove("crowd.db");
}
