/*
 * fuzz_sql.c - SQL made from bytes, on litekv tables and on ordinary tables beside
 * them.
 *
 * The statements are those of the differential test (sql-tests/diff_world.h), which
 * here takes its choices from the input, a byte each: the first bytes say what kind of
 * database it is and how small the tables' runs, segments and buffers are; each that
 * follows chooses a statement, and what it is made of. The tables are made and filled,
 * and the values drawn, by a seed: an input need not tell a hundred of them.
 *
 * Aborts unless
 *   - both kinds of table give the same codes, messages, rows, types, changes() and
 *     last_insert_rowid(), whatever litekv's functions and commands have done between;
 *   - the table finds itself whole in the end;
 *   - all memory comes back.
 */
#include "../sql-tests/diff_world.h"
#include "../core/test/directory.h"
#include "input.h"
#include "module.h"

#include <stdio.h>
#include <string.h>

#define STATEMENTS 150
#define ROWS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct sizes {
    uint32_t flush, segment, spill;
} sizes;

static void choose(diff_world *world, sizes *small)
{
    static const char *const encodings[] = {"UTF-8", "UTF-8", "UTF-16le", "UTF-8",
                                            "UTF-8", "UTF-8", "UTF-16be", "UTF-8"};
    static const char *const schemas[] = {"main", "main", "main", "aux"};
    static const char *const bases[] = {"kv", "k v", "q\"t", "order"};
    static const int page_sizes[] = {512, 1024, 4096, 512};
    static const enum diff_home homes[] = {DIFF_DATABASE, DIFF_DATABASE, DIFF_DATABASE,
                                           DIFF_MEMORY,   DIFF_DATABASE, DIFF_DATABASE,
                                           DIFF_MEMORY,   DIFF_FILES};
    diff_random *random = &world->random;
    int how = diff_told(random);

    world->encoding = encodings[how & 7];
    world->utf16 = (how & 3) == 2;
    world->home = homes[how >> 3 & 7];
    world->u_is_litekv = (how & 64) != 0;
    world->plain_like = (how & 128) == 0;
    how = diff_told(random);
    world->schema = schemas[how & 3];
    world->base = bases[how >> 2 & 3];
    world->page_size = page_sizes[how >> 4 & 3];
    world->journal = "memory";
    world->cache_size = 100000;
    how = diff_told(random);
    *small = (sizes){64u << (how & 7), 128u << (how >> 3 & 7), 64u << (how >> 6 << 2)};
}

/* Some rows to begin with, of the values that will be asked for. */
static void fill(diff_world *world, int i)
{
    diff_sql sql = diff_sql_new();
    sqlite3_str_appendall(sql.text, "INSERT OR IGNORE INTO ");
    diff_table_name(world, sql.text, i, true);
    sqlite3_str_appendall(sql.text, "(key, v1) VALUES");
    for (int row = 0; row < ROWS; row++) {
        sqlite3_str_appendall(sql.text, row > 0 ? ", (" : "(");
        for (int k = 0; k < 2; k++) {
            int which = diff_below(&world->random, world->pool.count);
            sqlite3_str_appendall(sql.text, k > 0 ? ", " : "");
            diff_value_literal(sql.text, &world->pool.at[which]);
        }
        sqlite3_str_appendall(sql.text, ")");
    }
    sql.writes = sql.loose = true;
    diff_pair(world, &sql);
    diff_sql_free(&sql);
}

/* What gives space back or makes things anew changes nothing that can be seen. */
static void work(diff_world *world)
{
    static const char *const forms[] = {
        "SELECT litekv_compact(%Q)",
        "SELECT litekv_compact(%Q, 700)",
        "SELECT litekv_rebuild_index(%Q)",
        "SELECT litekv_import_index(%Q, litekv_export_index(%Q))",
        "SELECT litekv_deserialize(%Q, litekv_serialize(%Q))",
        "SELECT litekv_recover(%Q, 'apply')",
        "SELECT litekv_stats(%Q), (SELECT count(*) FROM litekv_segments(%Q))",
        "SELECT litekv_verify(%Q)"};
    static const char *const commands[] = {
        "compact",        "compact=300",     "rebuild", "auto_compact=100",
        "auto_compact=0", "integrity-check", "nonsense"};
    sqlite3 *db = world->db[0];
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(db);
    int which = diff_told(&world->random) % 15, rc;
    char *table, *sql;

    if (!world->now.table[0].exists) {
        return;
    }
    table = sqlite3_mprintf("%s%d_lkv", world->base, world->now.table[0].number);
    if (which < 8) {
        char *name = sqlite3_mprintf("%s.%s", world->schema, table);
        sql = sqlite3_mprintf(forms[which], name, name);
        sqlite3_free(name);
    } else {
        sql = sqlite3_mprintf("INSERT INTO %s.\"%w\"(\"%w\") VALUES(%Q)", world->schema,
                              table, table, commands[which - 8]);
    }
    diff_note(world, "%s;", sql);
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xff;
    /* Not all of it is for a transaction that has changed something. */
    if (rc != SQLITE_OK && rc != SQLITE_ERROR) {
        diff_fail(world, "%s: %d %s", sql, rc, sqlite3_errmsg(db));
    } else if (sqlite3_last_insert_rowid(db) != rowid) {
        diff_fail(world, "%s changes last_insert_rowid()", sql);
    }
    sqlite3_free(sql);
    sqlite3_free(table);
    diff_settle(world);
    diff_compare(world);
}

static void step(diff_world *world)
{
    int kind = diff_told(&world->random);
    if (kind < 90) {
        diff_query_step(world);
    } else if (kind < 180) {
        diff_change_step(world);
    } else if (kind < 222) {
        diff_transaction_step(world);
    } else if (kind < 230) {
        diff_schema_step(world);
    } else if (kind < 236) {
        diff_rerun(world);
    } else if (kind < 246) {
        diff_special_step(world);
    } else if (kind < 253) {
        work(world);
    } else {
        diff_compare(world);
    }
}

/* What the table itself thinks of it. */
static void verify(diff_world *world)
{
    for (const lkv_handle *at = module_registry()->handles; at != NULL; at = at->next) {
        char *sql =
            sqlite3_mprintf("SELECT litekv_verify('%q.%q')", at->schema, at->table);
        sqlite3_stmt *statement = NULL;
        const char *text;
        MUST(sqlite3_prepare_v2(world->db[0], sql, -1, &statement, NULL) == SQLITE_OK);
        if (sqlite3_step(statement) == SQLITE_ROW) { /* else there is no such table */
            text = (const char *)sqlite3_column_text(statement, 0);
            MUST(text != NULL && strcmp(text, "ok") == 0);
        }
        sqlite3_finalize(statement);
        sqlite3_free(sql);
    }
}

static void end(diff_world *world, bool commits)
{
    MUST(!world->failed);
    world->limit = world->statements + 100;
    if (world->open && commits) {
        (void)diff_commit(world);
    }
    if (world->open) {
        diff_rollback(world);
    }
    diff_compare(world);
    MUST(!world->failed);
    verify(world);
    diff_close(world, 0);
    MUST(!world->failed && world->db[1] == NULL);
    for (int i = 0; i < DIFF_HISTORY; i++) {
        sqlite3_free(world->history[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    diff_options options = {.load = module_load, .in_memory = true};
    diff_world world = {.options = &options, .limit = STATEMENTS};
    diff_random told = {.told = data, .left = size};
    sqlite3_int64 memory = sqlite3_memory_used();
    directory files;
    sizes small;

    if (size < 4) {
        return 0;
    }
    world.random = told;
    choose(&world, &small);
    options.careful = diff_told(&world.random) > 240;
    told = world.random;
    world.random = (diff_random){.state = (uint64_t)diff_told(&told)};
    diff_pool_make(&world.pool, &world.random, world.utf16, false);
    if (world.home == DIFF_FILES) {
        directory_make(&files);
        world.dir = files.path;
    }
    MUST(diff_open(&world, 0));
    diff_schema_create(&world);
    module_sizes(small.flush, small.segment, small.spill);
    fill(&world, 0);
    fill(&world, 1);
    world.statements = 0;
    world.random = told;
    while (diff_going(&world) && world.random.left > 0) {
        module_sizes(small.flush, small.segment, small.spill);
        step(&world);
    }
    end(&world, (small.flush & 64) != 0 || small.spill > 64);
    if (world.home == DIFF_FILES) {
        directory_remove(&files);
    }
    MUST(sqlite3_memory_used() == memory);
    return 0;
}
