/*
 * diff_trouble.c - statements that fail in their middle, and readers that others write
 * under.
 *
 * The database may be full, or the statement interrupted, at a place that is not the
 * same for both kinds of table. So such a statement runs in the litekv universe alone.
 * When it fails, its universe must be as before, or SQLite has undone the whole
 * transaction; when it succeeds, the ordinary universe does the same without trouble.
 */
#include "diff_world.h"

#include <stdlib.h>
#include <string.h>

static int interrupt(void *arg)
{
    (void)arg;
    return 1;
}

/* After a statement of the litekv universe, in which `before` was the content. */
static void judge(diff_world *world, const diff_sql *sql, const diff_result *litekv,
                  const char *before)
{
    sqlite3 *db = world->db[world->at];
    int code = litekv->code & 0xff;
    diff_result ordinary;
    char *after;

    if (code != SQLITE_OK && sqlite3_get_autocommit(db)) {
        diff_settle(world);
        diff_compare(world);
        return;
    }
    after = diff_content(world, DIFF_LITEKV);
    /* SQLite may ask the progress handler once more when the statement is done. */
    if (code == SQLITE_INTERRUPT && strcmp(before, after) != 0) {
        code = SQLITE_OK;
    }
    if (code == SQLITE_OK || code == SQLITE_CONSTRAINT) {
        ordinary = diff_run(world, db, DIFF_ORDINARY, sql);
        if ((ordinary.code & 0xff) != code) {
            diff_differ(world, &ordinary, litekv);
        }
        diff_result_free(&ordinary);
    }
    if (code != SQLITE_OK && strcmp(before, after) != 0) {
        diff_fail(world, "a statement that failed (%d: %s) changed something: %s\n%s",
                  litekv->code, litekv->error, before, after);
    }
    sqlite3_free(after);
    diff_compare(world);
}

static sqlite3_int64 number(sqlite3 *db, char *sql)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3_int64 value = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        value = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return value;
}

static void limit_pages(diff_world *world, sqlite3_int64 pages)
{
    diff_note(world, "PRAGMA %s.max_page_count=%lld;", world->schema, pages);
    (void)number(world->db[world->at], sqlite3_mprintf("PRAGMA %s.max_page_count=%lld",
                                                       world->schema, pages));
}

static void begin(diff_world *world)
{
    if (!world->open) {
        if (diff_chance(&world->random, 50)) {
            diff_begin(world, "");
        } else {
            diff_savepoint(world);
        }
    }
}

void diff_trouble_full(diff_world *world)
{
    sqlite3 *db = world->db[world->at];
    int count = diff_between(&world->random, 1, 4);
    sqlite3_int64 pages;

    begin(world);
    pages = number(db, sqlite3_mprintf("PRAGMA %s.page_count", world->schema));
    limit_pages(world, pages + diff_below(&world->random, 3));
    while (count-- > 0 && world->open && diff_going(world)) {
        diff_sql sql;
        diff_result result;
        char *before = diff_content(world, DIFF_LITEKV);
        diff_change_whole(world, &sql);
        diff_note_sql(world, sqlite3_str_value(sql.text), &sql);
        result = diff_run(world, db, DIFF_LITEKV, &sql);
        limit_pages(world, 1073741823);
        world->statements++;
        judge(world, &sql, &result, before);
        limit_pages(world, pages);
        sqlite3_free(before);
        diff_result_free(&result);
        diff_sql_free(&sql);
    }
    if (world->open && diff_chance(&world->random, 30)) {
        diff_commit(world); /* may be full as well, and is undone then */
    }
    limit_pages(world, 1073741823);
    diff_compare(world);
}

void diff_trouble_interrupt(diff_world *world)
{
    sqlite3 *db = world->db[world->at];
    char *before;
    diff_sql sql;
    diff_result result;

    begin(world);
    before = diff_content(world, DIFF_LITEKV);
    diff_change_whole(world, &sql);
    diff_note(world, "-- interrupted:");
    diff_note_sql(world, sqlite3_str_value(sql.text), &sql);
    sqlite3_progress_handler(db, diff_between(&world->random, 1, 400), interrupt, NULL);
    result = diff_run(world, db, DIFF_LITEKV, &sql);
    sqlite3_progress_handler(db, 0, NULL, NULL);
    world->statements++;
    judge(world, &sql, &result, before);
    sqlite3_free(before);
    diff_result_free(&result);
    diff_sql_free(&sql);
}

/* Rows that have been, one after the other in a text, each between two line ends. */
static void add_rows(diff_world *world, sqlite3_str *known, sqlite3_str *query)
{
    diff_sql sql = {.text = query};
    diff_result result = diff_run(world, world->db[world->at], DIFF_LITEKV, &sql);
    for (size_t i = 0; i < result.count; i++) {
        sqlite3_str_appendf(known, "\n%s\n", result.rows[i]);
    }
    diff_result_free(&result);
}

static bool has_row(sqlite3_str *known, const char *row)
{
    const char *all = sqlite3_str_value(known);
    char *line = sqlite3_mprintf("\n%s\n", row);
    bool has = all != NULL && strstr(all, line) != NULL;
    sqlite3_free(line);
    return has;
}

/* Steps `count` rows. False at the end. */
static bool read_some(diff_world *world, sqlite3_stmt *reader, int count,
                      sqlite3_str *known, sqlite3_str *keys)
{
    while (count-- > 0 && diff_going(world)) {
        int rc = sqlite3_step(reader);
        char *row, *key;
        if (rc != SQLITE_ROW) {
            if (rc != SQLITE_DONE && (rc & 0xff) != SQLITE_ABORT) {
                diff_fail(world, "the reader fails: %s",
                          sqlite3_errmsg(world->db[world->at]));
            }
            return false;
        }
        row = diff_read_row(reader);
        key = sqlite3_mprintf("%.*s", (int)strcspn(row, "|"), row);
        diff_note(world, "-- the reader gets %s", row);
        if (!has_row(known, row)) {
            diff_fail(world, "the reader gets a row that never was: %s", row);
        } else if (has_row(keys, key)) {
            diff_fail(world, "the reader gets a key twice: %s", key);
        }
        sqlite3_str_appendf(keys, "\n%s\n", key);
        sqlite3_free(row);
        sqlite3_free(key);
    }
    return true;
}

void diff_trouble_reader(diff_world *world)
{
    static const char *const orders[] = {"", " ORDER BY key", " ORDER BY key DESC",
                                         " WHERE key > 1", " WHERE key < 'b'"};
    diff_random *random = &world->random;
    sqlite3_str *query = sqlite3_str_new(NULL);
    sqlite3_str *known = sqlite3_str_new(NULL);
    sqlite3_str *keys = sqlite3_str_new(NULL);
    sqlite3_stmt *reader = NULL;
    char *text;

    sqlite3_str_appendall(query, "SELECT key, v1 FROM ");
    diff_table_name(world, query, 0, true);
    add_rows(world, known, query);
    text = sqlite3_mprintf("%s%s", sqlite3_str_value(query), DIFF_PICK(random, orders));
    diff_note(world, "-- a reader: %s", text);
    {
        char *own = diff_substitute(text, DIFF_LITEKV);
        sqlite3_prepare_v2(world->db[world->at], own, -1, &reader, NULL);
        sqlite3_str_appendall(keys, "\n");
        free(own);
    }
    while (reader != NULL && diff_going(world) &&
           read_some(world, reader, diff_below(random, 6), known, keys)) {
        int version = world->now.version;
        diff_change_step(world);
        if (world->open && world->depth > 0 && diff_chance(random, 10)) {
            diff_rollback_to(world, world->depth - 1);
        }
        if (version != world->now.version) {
            break; /* the tables that it reads have been undone */
        }
        add_rows(world, known, query);
    }
    sqlite3_finalize(reader);
    sqlite3_free(text);
    sqlite3_free(sqlite3_str_finish(query));
    sqlite3_free(sqlite3_str_finish(known));
    sqlite3_free(sqlite3_str_finish(keys));
    diff_compare(world);
}
