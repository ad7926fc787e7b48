/*
 * test_spill.c - transactions, savepoints, renames and full databases in random order
 * on a table that spills after some hundred bytes, makes runs, and rolls its segments
 * after some thousand, compacted and indexed anew now and then, beside an ordinary
 * table that gets the same statements.
 *
 * SEED=n in the environment tries one seed of your own; LONG=1 tries more.
 */
#include "check.h"

#include "../core/store.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct state {
    sqlite3 *db;
    sqlite3 *two; /* looks on, and writes when no transaction is open */
    lkv_registry *registry;
    uint64_t random;
    unsigned seed;
} state;

static unsigned draw(state *at, unsigned below)
{
    /* Knuth's MMIX constants. */
    at->random = at->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(at->random >> 33) % below;
}

static void open_state(state *at)
{
    at->db = check_open("spill.db");
    at->registry = lkv_registry_new();
    CHECK(lkv_functions_register(at->db, at->registry) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(at->db, "litekv", lkv_module(), at->registry,
                                   lkv_registry_free) == SQLITE_OK);
}

/* What the table is called now: a rollback may have changed it. */
static char *name_of(state *at)
{
    return check_result(at->db, "SELECT name FROM sqlite_schema WHERE sql LIKE "
                                "'CREATE VIRTUAL%' OR name = 'kv' OR name = 'kw'");
}

/* Small limits for whatever handle stands for the table now. */
static void shrink(state *at)
{
    char *name = name_of(at);
    lkv_handle *handle = lkv_handle_find(at->registry, "main", name);
    if (handle != NULL) {
        handle->storage->spill = 300 + draw(at, 1500);
        handle->storage->segment = 1000 + draw(at, 6000);
        handle->store->flush_size = 400 + draw(at, 3000);
    }
    sqlite3_free(name);
}

static int run(state *at, const char *sql)
{
    return sqlite3_exec(at->db, sql, NULL, NULL, NULL);
}

/* The same statement on both tables, `%s` in it being the table. When the database is
 * full for the second only, it gets room and does it again. */
static void both(state *at, const char *format)
{
    char *name = name_of(at);
    char *first = sqlite3_mprintf(format, name, name);
    char *second = sqlite3_mprintf(format, "o", "o");
    int in_transaction = !sqlite3_get_autocommit(at->db);
    int rc = run(at, first);
    int same = rc == SQLITE_FULL ? rc : run(at, second);

    if (rc != SQLITE_FULL && same == SQLITE_FULL) {
        run(at, "PRAGMA max_page_count = 1000000");
        same = in_transaction && sqlite3_get_autocommit(at->db) ? rc : run(at, second);
    }
    check_that(rc == same, __FILE__, __LINE__, "seed %u: %s: %d, not %d", at->seed,
               first, rc, same);
    sqlite3_free(first);
    sqlite3_free(second);
    sqlite3_free(name);
}

/* A key of one of four kinds, as SQL. */
static void draw_key(state *at, char *out, size_t size)
{
    static const char *const before[] = {"", "'", "x'1", ""};
    static const char *const after[] = {"", "'", "'", ".5"};
    unsigned kind = draw(at, 4);
    snprintf(out, size, "%s%u%s", before[kind], draw(at, kind == 2 ? 10 : 30),
             after[kind]);
}

static void change_rows(state *at)
{
    char a[40], b[40];
    unsigned size = draw(at, 8) == 0 ? draw(at, 9000) : draw(at, 300);
    char *sql = NULL;

    draw_key(at, a, sizeof(a));
    draw_key(at, b, sizeof(b));
    switch (draw(at, 8)) {
    case 0:
        sql = sqlite3_mprintf("REPLACE INTO \"%%s\" VALUES(%s, zeroblob(%u))", a, size);
        break;
    case 1:
        sql = sqlite3_mprintf("REPLACE INTO \"%%s\" VALUES(%s, replace("
                              "hex(zeroblob(%u)), '00', 'v'))",
                              a, size);
        break;
    case 2:
        sql = sqlite3_mprintf("DELETE FROM \"%%s\" WHERE key = %s", a);
        break;
    case 3:
        sql = sqlite3_mprintf("UPDATE OR REPLACE \"%%s\" SET key = %s WHERE key = %s",
                              a, b);
        break;
    case 4: /* the last row may be in conflict */
        sql = sqlite3_mprintf("INSERT INTO \"%%s\" VALUES(%u, zeroblob(%u)), (%u, 2), "
                              "(%s, 3)",
                              1000 + draw(at, 1000), size, 2000 + draw(at, 1000), a);
        break;
    case 5:
        sql = sqlite3_mprintf("INSERT INTO \"%%s\" SELECT key || 'x', value "
                              "FROM \"%%s\" WHERE key < %s",
                              a);
        break;
    case 6:
        sql = sqlite3_mprintf("UPDATE \"%%s\" SET value = length(value) WHERE key > %s",
                              a);
        break;
    default:
        sql = sqlite3_mprintf("DELETE FROM \"%%s\" WHERE key > %s AND key < %s", a, b);
        break;
    }
    both(at, sql);
    sqlite3_free(sql);
}

static void change_savepoint(state *at)
{
    static const char *const verb[] = {"SAVEPOINT", "SAVEPOINT", "ROLLBACK TO",
                                       "ROLLBACK TO", "RELEASE"};
    char sql[40];
    snprintf(sql, sizeof(sql), "%s s%u", verb[draw(at, 5)], draw(at, 5));
    run(at, sql);
}

static void change_table(state *at)
{
    char *name = name_of(at);
    const char *other = strcmp(name, "kv") == 0 ? "kw" : "kv";
    char *sql = NULL;
    switch (draw(at, 4)) {
    case 0:
        sql = sqlite3_mprintf("ALTER TABLE \"%s\" RENAME TO \"%s\"", name, other);
        break;
    case 1:
        sql = sqlite3_mprintf("DROP TABLE \"%s\"; CREATE VIRTUAL TABLE \"%s\" USING "
                              "litekv; DELETE FROM o",
                              name, draw(at, 2) ? name : other);
        break;
    case 2:
        sql = sqlite3_mprintf("PRAGMA writable_schema = RESET");
        break;
    default:
        sql =
            sqlite3_mprintf("CREATE TABLE t%u(a); DROP TABLE t%u", at->seed, at->seed);
        break;
    }
    if (run(at, sql) != SQLITE_OK) {
        run(at, "ROLLBACK"); /* full, between the statements */
    }
    sqlite3_free(sql);
    sqlite3_free(name);
}

static void change_room(state *at)
{
    sqlite3_int64 pages = check_number(at->db, "PRAGMA page_count");
    char sql[60];
    snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %lld",
             draw(at, 3) == 0 ? pages + draw(at, 8) : 1000000);
    run(at, sql);
}

static int compare_in(state *at, sqlite3 *db)
{
    char *name = name_of(at);
    char *sql = sqlite3_mprintf(
        "SELECT 'extra', * FROM (SELECT typeof(key), key, typeof(value), value "
        "FROM \"%s\" EXCEPT SELECT typeof(key), key, typeof(value), value FROM o) "
        "UNION ALL SELECT 'missing', * FROM (SELECT typeof(key), key, typeof(value), "
        "value FROM o EXCEPT SELECT typeof(key), key, typeof(value), value "
        "FROM \"%s\")",
        name, name);
    char *got = check_result(db, sql);
    int good =
        check_that(strcmp(got, "") == 0, __FILE__, __LINE__, "seed %u: %s: %.300s",
                   at->seed, db == at->db ? "one" : "two", got);
    sqlite3_free(got);
    sqlite3_free(sql);
    sqlite3_free(name);
    return good;
}

/* False when the tables differ, and then it is told how. */
static int compare(state *at)
{
    int good = compare_in(at, at->db);
    return good && sqlite3_get_autocommit(at->db) ? compare_in(at, at->two) : good;
}

/* The other connection writes, then its turn is over. */
static void change_from_two(state *at)
{
    if (sqlite3_get_autocommit(at->db)) {
        char *name = name_of(at);
        char *sql = sqlite3_mprintf(
            "BEGIN; REPLACE INTO \"%s\" VALUES(%u, 'two'), (%u, zeroblob(%u));"
            "DELETE FROM \"%s\" WHERE key = %u; DELETE FROM o; INSERT INTO o SELECT * "
            "FROM \"%s\"; COMMIT",
            name, draw(at, 30), draw(at, 30), draw(at, 900), name, draw(at, 30), name);
        check_that(sqlite3_exec(at->two, sql, NULL, NULL, NULL) == SQLITE_OK, __FILE__,
                   __LINE__, "seed %u: two: %s", at->seed, sqlite3_errmsg(at->two));
        sqlite3_free(sql);
        sqlite3_free(name);
    }
}

/* What changes no row: compaction, the index. */
static void change_store(state *at)
{
    char *name = name_of(at);
    char *sql = NULL;
    switch (draw(at, 6)) {
    case 0:
        sql = sqlite3_mprintf("SELECT litekv_compact('%q')", name);
        break;
    case 1:
    case 2:
        sql = sqlite3_mprintf("SELECT litekv_compact('%q', %u)", name,
                              draw(at, 4) == 0 ? 0 : draw(at, 9000));
        break;
    case 3:
        sql = sqlite3_mprintf("SELECT litekv_rebuild_index('%q')", name);
        break;
    case 4:
        sql = sqlite3_mprintf("SELECT litekv_import_index('%q', litekv_export_index("
                              "'%q'))",
                              name, name);
        break;
    default:
        sql = sqlite3_mprintf("INSERT INTO \"%w\"(\"%w\") VALUES('auto_compact=0.%u')",
                              name, name, draw(at, 10));
        break;
    }
    if (run(at, sql) != SQLITE_OK) {
        const char *text = sqlite3_errmsg(at->db);
        check_that(sqlite3_errcode(at->db) == SQLITE_FULL ||
                       strstr(text, "the transaction has changed the table") != NULL,
                   __FILE__, __LINE__, "seed %u: %s: %s", at->seed, sql, text);
    }
    sqlite3_free(sql);
    sqlite3_free(name);
}

static void verify(state *at)
{
    char *name = name_of(at);
    char *sql = sqlite3_mprintf("SELECT litekv_verify('%q')", name);
    char *got = check_result(at->db, sql);
    check_that(strcmp(got, "ok") == 0, __FILE__, __LINE__, "seed %u: verify: %s",
               at->seed, got);
    sqlite3_free(got);
    sqlite3_free(sql);
    sqlite3_free(name);
}

/* False when the tables differ. */
static int step(state *at)
{
    unsigned what = draw(at, 112);
    if (what < 60) {
        change_rows(at);
    } else if (what < 75) {
        change_savepoint(at);
    } else if (what < 80) {
        run(at, "BEGIN");
    } else if (what < 85) {
        run(at, draw(at, 3) == 0 ? "ROLLBACK" : "COMMIT");
    } else if (what < 88) {
        change_table(at);
    } else if (what < 90) {
        change_room(at);
    } else if (what < 93) {
        change_from_two(at);
    } else if (what < 94) {
        check_close(at->db);
        open_state(at);
    } else if (what < 102) {
        change_store(at);
    } else if (what < 104) {
        verify(at);
    } else {
        return compare(at);
    }
    return 1;
}

static void random_walk(unsigned seed, int steps)
{
    static const int pages[] = {512, 1024, 4096};
    state at = {.random = seed, .seed = seed};
    char sql[40];
    int good = 1;

    open_state(&at);
    at.two = check_open("spill.db");
    snprintf(sql, sizeof(sql), "PRAGMA page_size = %d", pages[draw(&at, 3)]);
    RUN(at.db, sql);
    RUN(at.db, "CREATE VIRTUAL TABLE kv USING litekv;"
               "CREATE TABLE o(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID");
    for (int i = 0; i < steps && good; i++) {
        shrink(&at);
        good = step(&at);
    }
    run(&at, "PRAGMA max_page_count = 1000000");
    run(&at, "COMMIT");
    compare(&at);
    check_close(at.two);
    at.two = check_open("spill.db");
    check_close(at.db);
    open_state(&at);
    compare(&at);
    verify(&at);
    QUERY(at.db, "PRAGMA integrity_check", "ok");
    check_close(at.two);
    check_close(at.db);
    check_remove("spill.db");
}

/* A row goes from one key to another, and the spill before its second half fails while
 * the transaction lives (blocks are longer than SQLite's limit for a moment). At some
 * of these bounds it is the record of the first half that brings the spill. */
static void half_a_move(void)
{
    state at = {.seed = 0};
    int refused = 0;

    open_state(&at);
    RUN(at.db, "PRAGMA page_size = 512;"
               "CREATE VIRTUAL TABLE kv USING litekv(key INTEGER, value);"
               "INSERT INTO kv VALUES(0, zeroblob(900))");
    for (uint32_t bound = 900; bound < 1100; bound++) {
        lkv_handle *handle = lkv_handle_find(at.registry, "main", "kv");
        int rc;
        RUN(at.db, "BEGIN; INSERT INTO kv VALUES(1, zeroblob(900)); INSERT INTO kv "
                   "VALUES(2, 'two')");
        handle->storage->spill = bound;
        sqlite3_limit(at.db, SQLITE_LIMIT_LENGTH, 100);
        rc = run(&at, "UPDATE kv SET key = 3 WHERE key = 2");
        sqlite3_limit(at.db, SQLITE_LIMIT_LENGTH, 1000000);
        handle->storage->spill = LKV_SPILL_SIZE;
        refused += rc == SQLITE_TOOBIG;
        QUERY(at.db, "SELECT key, length(value) FROM kv WHERE key > 0",
              rc == SQLITE_OK ? "1,900;3,3" : "1,900;2,3");
        RUN(at.db, "DELETE FROM kv WHERE key > 0; COMMIT");
    }
    CHECK(refused > 0 && refused < 200);
    QUERY(at.db, "SELECT key, length(value) FROM kv", "0,900");
    check_close(at.db);
    check_remove("spill.db");
}

int main(void)
{
    const char *seed = getenv("SEED");
    unsigned seeds = getenv("LONG") != NULL ? 400 : 20;

    check_begin();
    half_a_move();
    if (seed != NULL) {
        random_walk((unsigned)strtoul(seed, NULL, 10), 5000);
    }
    for (unsigned i = 1; i <= seeds; i++) {
        random_walk(i, 1000);
    }
    return check_end();
}
