/*
 * test_order.c - random statements in the middle of others, by a function that runs
 * them, on tables of three databases: statements that fail, that are left half stepped
 * and end in another order than they began, and ROLLBACK TO within a statement. What a
 * transaction reads before its COMMIT is there after it, and in the file.
 *
 * Much of it SQLite undoes in other ways than its documentation tells, so that no
 * ordinary table stands beside: what is asked for is that a table is what its pages
 * are. SEED=n in the environment tries one seed of your own; LONG=1 tries more.
 */
#include "check.h"
#include "random.h"

#include "../core/store.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLES 4
#define HALVES 8
#define DEPTH 3

static const char *const tables[TABLES] = {"main.kv", "main.kw", "two.kv", "temp.kv"};

typedef struct world {
    sqlite3 *db;
    lkv_registry *registry;
    int is_small; /* what is kept in memory, and segments */
    uint64_t random;
    uint64_t seed;
    int goes_back;              /* there is ROLLBACK TO */
    int depth;                  /* of statements in statements */
    sqlite3_stmt *half[HALVES]; /* half stepped */
    int halves;
    sqlite3_int64 fresh; /* a key that nobody had */
} world;

static unsigned draw(world *at, unsigned below)
{
    return (unsigned)random_below(&at->random, below);
}

static void run_one(world *at);

/* nested(): runs some statements, and gives a key that is new. */
static void nested(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    world *at = sqlite3_user_data(context);
    unsigned count = 1 + draw(at, 3);
    (void)argc;
    (void)argv;
    at->depth++;
    while (count-- > 0) {
        run_one(at);
    }
    at->depth--;
    sqlite3_result_int64(context, at->fresh++);
}

/* Whatever comes of it. */
static void run(world *at, char *sql)
{
    sqlite3_exec(at->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
}

/* A statement of some rows that runs others first, and may fail at its last one. */
static void run_around(world *at)
{
    static const char *const ordinary[] = {"temp.t", "two.t", "main.t"};
    unsigned to = draw(at, 3 + TABLES), key = 1 + draw(at, 50);
    if (to < 3) {
        run(at, sqlite3_mprintf("INSERT INTO %s VALUES(nested()), (%u), (%u)",
                                ordinary[to], key, key + (draw(at, 5) < 2 ? 100 : 0)));
    } else {
        run(at, sqlite3_mprintf("INSERT INTO %s VALUES(nested(), 0), (%u, 1), (%u, 2)",
                                tables[to - 3], 1 + draw(at, 9), 1 + draw(at, 9)));
    }
}

static void run_change(world *at)
{
    const char *table = tables[draw(at, TABLES)];
    switch (draw(at, 6)) {
    case 0:
        run(at, sqlite3_mprintf("INSERT INTO %s VALUES(%u, 7)", table, draw(at, 30)));
        break;
    case 1:
        run(at, sqlite3_mprintf("REPLACE INTO %s VALUES(%u, 8), (%u, 9)", table,
                                draw(at, 30), draw(at, 30)));
        break;
    case 2:
        run(at,
            sqlite3_mprintf("DELETE FROM %s WHERE key > %u", table, 2 + draw(at, 20)));
        break;
    case 3:
        run(at, sqlite3_mprintf("UPDATE %s SET value = value + 1", table));
        break;
    case 4:
        run(at, sqlite3_mprintf("INSERT INTO %s(%s) VALUES('compact')", table,
                                strchr(table, '.') + 1));
        break;
    default:
        run(at, sqlite3_mprintf("INSERT INTO %s VALUES(%u, zeroblob(9000))", table,
                                draw(at, 30)));
        break;
    }
}

static void leave_half(world *at)
{
    static const char *const sql[] = {
        "INSERT INTO temp.t VALUES(abs(random())), (abs(random())) RETURNING x",
        "INSERT INTO two.t VALUES(abs(random())), (abs(random())) RETURNING x",
        "INSERT INTO main.t VALUES(abs(random())), (abs(random())) RETURNING x"};
    sqlite3_stmt *statement;
    if (at->halves == HALVES || sqlite3_prepare_v2(at->db, sql[draw(at, 3)], -1,
                                                   &statement, NULL) != SQLITE_OK) {
        return;
    }
    if (sqlite3_step(statement) == SQLITE_ROW) {
        at->half[at->halves++] = statement;
    } else {
        sqlite3_finalize(statement);
    }
}

static void end_half(world *at, unsigned i)
{
    sqlite3_stmt *statement = at->half[i];
    at->half[i] = at->half[--at->halves];
    sqlite3_finalize(statement);
}

static void shrink(world *at)
{
    for (lkv_handle *i = at->registry->handles; i != NULL && at->is_small;
         i = i->next) {
        i->storage->spill = 3000;
        i->storage->segment = 30000;
        i->store->flush_size = 5000;
    }
}

static void run_one(world *at)
{
    unsigned kind = draw(at, 100);
    shrink(at);
    if (at->depth < DEPTH && kind < 45) {
        run_around(at);
    } else if (kind < 75) {
        run_change(at);
    } else if (kind < 80) {
        run(at, sqlite3_mprintf("SAVEPOINT s%u", draw(at, 3)));
    } else if (kind < 85) {
        if (at->goes_back) {
            run(at, sqlite3_mprintf("ROLLBACK TO s%u", draw(at, 3)));
        }
    } else if (kind < 88) {
        run(at, sqlite3_mprintf("RELEASE s%u", draw(at, 3)));
    } else if (kind < 92) {
        leave_half(at);
    } else if (at->halves > 0) {
        end_half(at, draw(at, (unsigned)at->halves));
    }
}

/* What the table holds, or the error. */
static char *content(sqlite3 *db, const char *table)
{
    char sql[200];
    snprintf(
        sql, sizeof(sql),
        "SELECT group_concat(key || '=' || length(value) || hex(substr(value, 1, 9))) "
        "FROM (SELECT * FROM %s ORDER BY key)",
        table);
    return check_result(db, sql);
}

static void make(world *at)
{
    char *sql = sqlite3_mprintf("ATTACH %Q AS two", check_path("order2.db"));
    at->registry = lkv_registry_new();
    CHECK(sqlite3_create_module_v2(at->db, "litekv", lkv_module(), at->registry,
                                   lkv_registry_free) == SQLITE_OK);
    CHECK(sqlite3_create_function(at->db, "nested", 0, SQLITE_UTF8, at, nested, NULL,
                                  NULL) == SQLITE_OK);
    RUN(at->db, sql);
    sqlite3_free(sql);
    RUN(at->db, "CREATE TEMP TABLE t(x UNIQUE); CREATE TABLE two.t(x UNIQUE);"
                "CREATE TABLE main.t(x UNIQUE);");
    for (int i = 0; i < TABLES; i++) {
        sql = sqlite3_mprintf("CREATE VIRTUAL TABLE %s USING litekv;"
                              "INSERT INTO %s VALUES(1, 1), (2, 2)",
                              tables[i], tables[i]);
        RUN(at->db, sql);
        sqlite3_free(sql);
    }
}

static void same(const world *at, int table, const char *was, const char *is,
                 const char *when)
{
    check_that(strcmp(was, is) == 0, __FILE__, __LINE__,
               "%s, %s: \"%s\", not \"%s\"; to repeat it: make test SEED=%llu",
               tables[table], when, is, was, (unsigned long long)at->seed);
}

static void try(uint64_t seed)
{
    world at = {.seed = seed, .random = seed, .fresh = 1000};
    char *before[TABLES], *after[TABLES], *found;
    unsigned count;
    int reads; /* before COMMIT: then it is known where SQLite went back to */

    at.db = check_open("order.db");
    make(&at);
    at.goes_back = draw(&at, 2) == 0;
    at.is_small = draw(&at, 2) == 0;
    reads = draw(&at, 3) > 0;
    RUN(at.db, "BEGIN");
    for (count = 3 + draw(&at, 7); count > 0; count--) {
        run_one(&at);
    }
    while (at.halves > 0) {
        end_half(&at, 0);
    }
    for (int i = 0; i < TABLES; i++) {
        before[i] = reads ? content(at.db, tables[i]) : NULL;
    }
    sqlite3_exec(at.db, "COMMIT", NULL, NULL, NULL); /* it may be over */
    CHECK(sqlite3_get_autocommit(at.db));
    for (int i = 0; i < TABLES; i++) {
        after[i] = content(at.db, tables[i]);
        if (reads) {
            same(&at, i, before[i], after[i], "after COMMIT");
        }
        sqlite3_free(before[i]);
    }
    check_close(at.db);
    at.db = check_open("order.db");
    found = sqlite3_mprintf("ATTACH %Q AS two", check_path("order2.db"));
    RUN(at.db, found);
    sqlite3_free(found);
    for (int i = 0; i < TABLES; i++) {
        if (i < TABLES - 1) { /* the last was temporary */
            found = content(at.db, tables[i]);
            same(&at, i, after[i], found, "in the file");
            sqlite3_free(found);
        }
        sqlite3_free(after[i]);
    }
    QUERY(at.db, "SELECT litekv_verify('main.kv'), litekv_verify('main.kw')", "ok,ok");
    QUERY(at.db, "SELECT litekv_verify('two.kv')", "ok");
    check_close(at.db);
    check_remove("order.db");
    check_remove("order2.db");
}

/* end_it(): ends the statement that was left half stepped, and begins another one. */
static void end_it(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    sqlite3_finalize(sqlite3_user_data(context));
    RUN(sqlite3_context_db_handle(context), "INSERT INTO t VALUES(3), (4)");
    sqlite3_result_value(context, argv[0]);
}

/* A statement that fails takes a row with it that was there before, in an ordinary
 * table as well: SQLite has kept a savepoint of its number that is older. */
static void older_savepoint(void)
{
    static const char both[] = "SELECT (SELECT group_concat(key) FROM kv),"
                               " (SELECT group_concat(key) FROM o)";
    sqlite3 *db = check_open("order.db");
    sqlite3_stmt *half;
    char *attach = sqlite3_mprintf("ATTACH %Q AS two", check_path("order2.db"));

    RUN(db, attach);
    sqlite3_free(attach);
    RUN(db, "CREATE TABLE two.u(x UNIQUE); CREATE TABLE t(x UNIQUE);"
            "CREATE TABLE o(key PRIMARY KEY, value) WITHOUT ROWID;"
            "CREATE VIRTUAL TABLE kv USING litekv");
    RUN(db, "BEGIN; INSERT INTO kv VALUES(1, 1); INSERT INTO o VALUES(1, 1);"
            "SAVEPOINT s");
    CHECK(sqlite3_prepare_v2(db, "INSERT INTO t VALUES(1), (2) RETURNING x", -1, &half,
                             NULL) == SQLITE_OK);
    CHECK(sqlite3_step(half) == SQLITE_ROW);
    CHECK(sqlite3_create_function(db, "end_it", 1, SQLITE_UTF8, half, end_it, NULL,
                                  NULL) == SQLITE_OK);
    RUN(db, "INSERT INTO t VALUES(end_it(5)), (6), (7)");
    RUN(db, "INSERT INTO kv VALUES(9, 9); INSERT INTO o VALUES(9, 9)");
    QUERY(db, both, "1,9,1,9");
    FAIL(db, "INSERT INTO two.u VALUES(1), (1)", 0, "UNIQUE constraint failed");
    QUERY(db, both, "1,1");
    RUN(db, "INSERT INTO kv VALUES(8, 8); INSERT INTO o VALUES(8, 8)");
    QUERY(db, both, "1,8,1,8");
    RUN(db, "ROLLBACK TO s");
    QUERY(db, both, "1,1");
    RUN(db, "COMMIT");
    QUERY(db, both, "1,1");
    check_close(db);
    db = check_open("order.db");
    QUERY(db, both, "1,1");
    check_close(db);
    check_remove("order.db");
    check_remove("order2.db");
}

int main(void)
{
    const char *seed = getenv("SEED"), *is_long = getenv("LONG");
    uint64_t first = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = is_long != NULL && strcmp(is_long, "1") == 0 ? 20000 : 300;

    check_begin();
    older_savepoint();
    for (uint64_t i = 0; i < count; i++) {
        try(first + i);
    }
    return check_end();
}
