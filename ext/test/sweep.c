/*
 * sweep.c - see sweep.h.
 */
#include "sweep.h"

#include "../core/store.h"
#include "ram.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "sweep.db"

static lkv_registry *registry; /* of the connection that was opened last */

/* A scene on its way. */
typedef struct trial {
    const sweep *with;
    int code;
    char *first; /* before the transaction */
    char *begin; /* the transaction, or "" */
    char *sql;
    char *image; /* of the database when `first` has run; NULL: it has to run again */
    size_t size;
    char *undone, *before, *after; /* contents: when the transaction is undone, when it
                                      is not, and when the statement is done */
    int n;
} trial;

static int names_a_file(const char *sql)
{
    return strstr(sql, "path=") != NULL || strstr(sql, "shm=") != NULL ||
           strstr(sql, ".idx") != NULL;
}

/* Whether the database is all that there is: it is copied then, which is much faster
 * than to make it for every N. */
static int is_in_database(const trial *at)
{
    return at->with->home == SWEEP_DATABASE && !names_a_file(at->first) &&
           !names_a_file(at->sql);
}

/* Small runs and segments, so that everything happens. */
static void shrink(void)
{
    lkv_handle *handle = lkv_handle_find(registry, "main", "kv");
    if (handle != NULL) {
        handle->storage->spill = 1000;
        handle->storage->segment = 5000;
        handle->store->flush_size = 700;
    }
}

static sqlite3 *open_table(const sweep *with)
{
    sqlite3 *db = check_open(NAME);
    registry = lkv_registry_new();
    CHECK(lkv_functions_register(db, registry) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(db, "litekv", lkv_module(), registry,
                                   lkv_registry_free) == SQLITE_OK);
    RUN(db, with->always);
    return db;
}

static sqlite3 *make_table(const sweep *with)
{
    sqlite3 *db = open_table(with);
    char *options =
        with->home == SWEEP_FILES ? sqlite3_mprintf(", path='store', sync=off")
        : with->home == SWEEP_SHARED
            ? sqlite3_mprintf(", shm='/litekv-sweep-%d', sync=off", (int)getpid())
            : sqlite3_mprintf("%s", with->home == SWEEP_MEMORY ? ", memory=on" : "");
    char *sql = sqlite3_mprintf(
        "PRAGMA page_size = 1024; %s; CREATE VIRTUAL TABLE kv USING litekv(key, "
        "value%s)",
        with->setup, options);
    RUN(db, sql);
    sqlite3_free(sql);
    sqlite3_free(options);
    shrink();
    RUN(db, "INSERT INTO kv VALUES(1, 'one'), (2, zeroblob(2500)), ('b', NULL)");
    return db;
}

/* Of a store that the scene may have made, or has. */
static void remove_store(sqlite3 *db, const char *name, int made)
{
    char *sql = sqlite3_mprintf("SELECT litekv_remove(%Q)", name);
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    check_that(rc == SQLITE_OK || (!made && rc == SQLITE_CANTOPEN), __FILE__, __LINE__,
               "%s: %d, %s", sql, rc, sqlite3_errmsg(db));
    sqlite3_free(sql);
}

static void remove_all(const trial *at)
{
    ram_clear();
    if (at->image == NULL) {
        sqlite3 *db = check_open(":memory:");
        char *shared = sqlite3_mprintf("shm:/litekv-sweep-%d", (int)getpid());
        char *two = sqlite3_mprintf("%s-two", shared);
        remove_store(db, check_path("store"), at->with->home == SWEEP_FILES);
        remove_store(db, check_path("two"), 0);
        remove_store(db, shared, at->with->home == SWEEP_SHARED);
        remove_store(db, two, 0);
        sqlite3_free(two);
        sqlite3_free(shared);
        check_close(db);
        unlink(check_path("sweep.idx"));
    }
}

/* Adds the rows of the table of that name, where there is one. */
static char *add_rows(sqlite3 *db, char *text, const char *table)
{
    char *sql = sqlite3_mprintf("SELECT 1 FROM sqlite_schema WHERE name = %Q", table);
    if (check_number(db, sql) == 1) {
        char *query = sqlite3_mprintf("SELECT * FROM \"%w\"", table);
        char *rows = check_result(db, query);
        char *sum = sqlite3_mprintf("%s, %s: %s", text, table, rows);
        sqlite3_free(query);
        sqlite3_free(rows);
        sqlite3_free(text);
        text = sum;
    }
    sqlite3_free(sql);
    return text;
}

static char *content(sqlite3 *db)
{
    char *text = check_result(db, "SELECT group_concat(quote(key) || '=' || coalesce("
                                  "length(value), 'NULL')), (SELECT group_concat(name) "
                                  "FROM sqlite_schema) FROM kv");
    text = add_rows(db, text, "two");
    return add_rows(db, text, "three");
}

/* The table as it is before the transaction. */
static sqlite3 *prepare_first(trial *at)
{
    sqlite3 *db;
    if (at->image == NULL) {
        db = make_table(at->with);
        RUN(db, at->first);
        if (at->with->home != SWEEP_MEMORY) {
            check_close(db);
            db = open_table(at->with);
        }
    } else {
        ram_put(check_path(NAME), at->image, at->size);
        db = open_table(at->with);
    }
    return db;
}

/* The connection as it is before the statement. Where nothing was done before it, the
 * table is opened in the statement: what is read then can fail, too. */
static sqlite3 *prepare(trial *at)
{
    sqlite3 *db = prepare_first(at);
    if (at->first[0] != 0 || at->begin[0] != 0) {
        RUN(db, "SELECT * FROM kv");
        shrink();
    }
    RUN(db, at->begin);
    return db;
}

/* Runs all of it once, without a failure. */
static void rehearse(trial *at)
{
    sqlite3 *db = prepare_first(at);
    at->undone = content(db);
    if (is_in_database(at)) {
        check_close(db);
        at->image = ram_copy(check_path(NAME), &at->size);
        db = prepare(at);
    } else {
        RUN(db, at->begin);
    }
    at->before = content(db);
    if (at->with->home != SWEEP_MEMORY && at->begin[0] != 0) {
        /* A second connection sees what is committed, unless the first has spilled. */
        sqlite3 *other = check_open(NAME);
        char *seen = content(other);
        CHECK(strcmp(seen, at->undone) == 0 || strstr(seen, "[5: ") != NULL);
        sqlite3_free(seen);
        check_close(other);
    }
    if (at->code == SQLITE_OK) {
        RUN(db, at->sql);
    } else {
        FAIL(db, at->sql, at->code, "");
    }
    at->after = content(db);
    check_close(db);
    remove_all(at);
}

static void start(trial *at, const sweep *with, const sweep_scene *of)
{
    char *before = sqlite3_mprintf(of->before, (int)getpid());
    char *transaction = strstr(before, "BEGIN");

    memset(at, 0, sizeof(*at));
    at->with = with;
    at->code = of->code;
    at->begin = sqlite3_mprintf("%s", transaction == NULL ? "" : transaction);
    if (transaction != NULL) {
        *transaction = 0;
    }
    at->first = before;
    at->sql = sqlite3_mprintf(of->sql, (int)getpid());
    rehearse(at);
}

static void end(trial *at)
{
    sqlite3_free(at->first);
    sqlite3_free(at->begin);
    sqlite3_free(at->sql);
    sqlite3_free(at->undone);
    sqlite3_free(at->before);
    sqlite3_free(at->after);
    free(at->image);
}

/* Afterwards the table works, in this connection and in the next. */
static void goes_on(const trial *at, sqlite3 *db, const char *expected)
{
    char *now;
    if (strstr(at->sql, "recover") != NULL &&
        at->code == SQLITE_OK) { /* what it did not do is done now */
        RUN(db, at->sql);
    }
    check_that(sqlite3_exec(db,
                            "INSERT INTO kv VALUES('on', 1); DELETE FROM kv WHERE "
                            "key = 'on'; INSERT INTO kv(kv) "
                            "VALUES('integrity-check')",
                            NULL, NULL, NULL) == SQLITE_OK,
               __FILE__, __LINE__, "%s, %s %d: then %s", at->sql, at->with->fault->what,
               at->n, sqlite3_errmsg(db));
    if (!sqlite3_get_autocommit(db)) {
        RUN(db, "COMMIT");
    }
    check_close(db);
    if (at->with->home != SWEEP_MEMORY) {
        db = open_table(at->with);
        now = content(db);
        check_that(strcmp(now, expected) == 0, __FILE__, __LINE__,
                   "%s, %s %d: reopened: %s, expected %s", at->sql,
                   at->with->fault->what, at->n, now, expected);
        sqlite3_free(now);
        check_close(db);
    }
    remove_all(at);
}

/* After some failures SQLite lets the transaction do nothing but be rolled back. */
static char *content_or_undo(sqlite3 *db, int rc)
{
    char *now = content(db);
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(db) && strstr(now, "[10: ")) {
        sqlite3_free(now);
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
        now = content(db);
    }
    return now;
}

/* Whether something failed: otherwise every N was tried. */
static int try_one(trial *at, int persistent)
{
    const sweep_fault *fault = at->with->fault;
    sqlite3_int64 used = sqlite3_memory_used();
    sqlite3 *db = prepare(at);
    int open = !sqlite3_get_autocommit(db);
    int rc, failed;
    const char *expected;
    char *now;

    fault->arm(at->n, persistent);
    rc = sqlite3_exec(db, at->sql, NULL, NULL, NULL);
    failed = fault->has_failed();
    fault->arm(0, 0);
    check_that(rc == at->code || (failed && fault->gives(rc)), __FILE__, __LINE__,
               "%s, %s %d: %d, %s", at->sql, fault->what, at->n, rc,
               sqlite3_errmsg(db));
    now = content_or_undo(db, rc);
    expected = rc == SQLITE_OK                      ? at->after
               : open && sqlite3_get_autocommit(db) ? at->undone
                                                    : at->before;
    /* What cannot fail is done even when SQLite reports that something failed. */
    check_that(strcmp(now, expected) == 0 ||
                   (rc != SQLITE_OK && strcmp(now, at->after) == 0),
               __FILE__, __LINE__, "%s, %s %d: %d, %s, expected %s", at->sql,
               fault->what, at->n, rc, now, expected);
    goes_on(at, db, now);
    sqlite3_free(now);
    check_that(sqlite3_memory_used() == used, __FILE__, __LINE__,
               "%s, %s %d: %lld bytes are lost", at->sql, fault->what, at->n,
               (long long)(sqlite3_memory_used() - used));
    return failed;
}

void sweep_run(const sweep *with)
{
    for (size_t i = 0; i < sweep_scene_count; i += (size_t)with->every) {
        const sweep_scene *of = &sweep_scenes[i];
        trial at;
        if (of->homes != 0 && (of->homes & with->home) == 0) {
            continue;
        }
        start(&at, with, of);
        for (int persistent = 0; persistent < 2; persistent++) {
            int step = persistent ? with->for_good_step : with->step;
            at.n = 1;
            while (try_one(&at, persistent)) {
                at.n += step == 0 ? 1 : 1 + at.n / step;
            }
        }
        end(&at);
    }
}
