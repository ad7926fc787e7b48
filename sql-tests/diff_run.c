/*
 * diff_run.c - runs a statement in both universes and compares what it did.
 *
 * Compared are: the code, the message (with the names of the ordinary universe), the
 * rows with type and every byte of each value, changes() after a statement that writes,
 * and last_insert_rowid(). Rows whose order SQL leaves open are sorted first.
 */
#include "diff_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHOLE_BYTES = 48 }; /* of a value; of a longer one size, hash and beginning */

diff_sql diff_sql_new(void)
{
    return (diff_sql){.text = sqlite3_str_new(NULL)};
}

void diff_sql_free(diff_sql *sql)
{
    sqlite3_free(sqlite3_str_finish(sql->text));
    sql->text = NULL;
}

void diff_result_free(diff_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        sqlite3_free(result->rows[i]);
    }
    sqlite3_free(result->rows);
    sqlite3_free(result->error);
    *result = (diff_result){0};
}

static void add_bytes(sqlite3_str *row, char type, const unsigned char *bytes, int size)
{
    int shown = size > WHOLE_BYTES ? 16 : size;
    sqlite3_str_appendchar(row, 1, type);
    if (size > WHOLE_BYTES) {
        uint64_t hash = 14695981039346656037u; /* FNV-1a */
        for (int i = 0; i < size; i++) {
            hash = (hash ^ bytes[i]) * 1099511628211u;
        }
        sqlite3_str_appendf(row, "%d bytes, %llx, ", size, hash);
    }
    for (int i = 0; i < shown; i++) {
        if (bytes[i] > ' ' && bytes[i] <= '~' && bytes[i] != '|' && bytes[i] != '\\') {
            sqlite3_str_appendchar(row, 1, (char)bytes[i]);
        } else {
            sqlite3_str_appendf(row, "\\%02x", bytes[i]);
        }
    }
}

char *diff_read_row(sqlite3_stmt *stmt)
{
    sqlite3_str *row = sqlite3_str_new(NULL);
    int columns = sqlite3_column_count(stmt);
    for (int i = 0; i < columns; i++) {
        int type = sqlite3_column_type(stmt, i);
        const unsigned char *bytes;
        switch (type) {
        case SQLITE_INTEGER:
            sqlite3_str_appendf(row, "i%lld", sqlite3_column_int64(stmt, i));
            break;
        case SQLITE_FLOAT: {
            char digits[40];
            snprintf(digits, sizeof(digits), "r%.17g", sqlite3_column_double(stmt, i));
            sqlite3_str_appendall(row, digits);
            break;
        }
        case SQLITE_TEXT:
        case SQLITE_BLOB:
            bytes = type == SQLITE_TEXT ? sqlite3_column_text(stmt, i)
                                        : sqlite3_column_blob(stmt, i);
            add_bytes(row, type == SQLITE_TEXT ? 't' : 'b', bytes,
                      sqlite3_column_bytes(stmt, i));
            break;
        default:
            sqlite3_str_appendall(row, "null");
            break;
        }
        sqlite3_str_appendall(row, "|");
    }
    return sqlite3_str_finish(row);
}

static void add_row(diff_result *result, char *row)
{
    if (result->count == result->room) {
        result->room = result->room == 0 ? 16 : result->room * 2;
        result->rows = sqlite3_realloc64(result->rows, result->room * sizeof(char *));
        if (result->rows == NULL) {
            abort();
        }
    }
    result->rows[result->count++] = row;
}

/* The message of a failure, without what tells the universes apart. */
static char *read_error(sqlite3 *db)
{
    char *text = sqlite3_mprintf("%s", sqlite3_errmsg(db));
    for (char *at = text; (at = strstr(at, "_lkv")) != NULL;) {
        at[1] = 'o';
        at[2] = 'r';
        at[3] = 'd';
    }
    return text;
}

static void step_all(diff_result *result, sqlite3 *db, sqlite3_stmt *stmt)
{
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        add_row(result, diff_read_row(stmt));
    }
    result->code = rc == SQLITE_DONE ? SQLITE_OK : sqlite3_extended_errcode(db);
    if (rc != SQLITE_DONE) {
        result->error = read_error(db);
    }
    result->changes = sqlite3_changes(db);
    result->rowid = sqlite3_last_insert_rowid(db);
}

static void bind(sqlite3_stmt *stmt, const diff_sql *sql)
{
    for (int i = 0; i < sql->bind_count; i++) {
        diff_value_bind(stmt, i + 1, sql->binds[i]);
    }
}

static sqlite3_stmt *prepare(diff_result *result, sqlite3 *db, int universe,
                             const char *template)
{
    sqlite3_stmt *stmt = NULL;
    char *text = diff_substitute(template, universe);
    if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL) != SQLITE_OK) {
        result->code = sqlite3_extended_errcode(db);
        result->error = read_error(db);
        stmt = NULL;
    }
    free(text);
    return stmt;
}

diff_result diff_run(diff_world *world, sqlite3 *db, int universe, const diff_sql *sql)
{
    diff_result result = {0};
    sqlite3_stmt *stmt = prepare(&result, db, universe, sqlite3_str_value(sql->text));
    (void)world;
    if (stmt != NULL) {
        result.prepared = true;
        bind(stmt, sql);
        step_all(&result, db, stmt);
        sqlite3_finalize(stmt);
    }
    return result;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(diff_result *result)
{
    if (result->count > 1) {
        qsort(result->rows, result->count, sizeof(char *), by_text);
    }
}

static bool same(diff_result *ordinary, diff_result *litekv, const diff_sql *sql)
{
    int mask = sql->loose && (litekv->code & 0xff) == SQLITE_CONSTRAINT ? 0xff : -1;
    if ((ordinary->code & mask) != (litekv->code & mask) ||
        (ordinary->error == NULL) != (litekv->error == NULL) ||
        (ordinary->error != NULL && strcmp(ordinary->error, litekv->error) != 0)) {
        return false;
    }
    /* That a table is no more the first universe may learn in the first step and the
     * second when it prepares. */
    if (ordinary->code != SQLITE_ERROR &&
        (ordinary->prepared != litekv->prepared || ordinary->rowid != litekv->rowid)) {
        return false;
    }
    /* A statement that cannot begin (BUSY, or its table is no more) has not set
     * changes() yet. */
    if (sql->writes && ordinary->prepared && (ordinary->code & 0xff) != SQLITE_BUSY &&
        ordinary->code != SQLITE_ERROR && ordinary->changes != litekv->changes) {
        return false;
    }
    if (ordinary->error != NULL) {
        return true; /* how many rows came before is the plan's affair */
    }
    if (!sql->ordered) {
        sort(ordinary);
        sort(litekv);
    }
    if (ordinary->count != litekv->count) {
        return false;
    }
    for (size_t i = 0; i < ordinary->count; i++) {
        if (strcmp(ordinary->rows[i], litekv->rows[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* The result of a prepared statement that stays. */
static diff_result run_kept(sqlite3 *db, sqlite3_stmt *stmt, const diff_sql *sql)
{
    diff_result result = {.prepared = true};
    bind(stmt, sql);
    step_all(&result, db, stmt);
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    return result;
}

/* With OR ROLLBACK a failure in one universe would undo the other before its turn. A
 * trial in the first, undone, tells whether it would fail: then only the second fails
 * for real. */
static int pair_with_rollback(diff_world *world, diff_sql *sql)
{
    sqlite3 *db = world->db[world->at];
    int first = diff_below(&world->random, DIFF_UNIVERSES);
    diff_result result[DIFF_UNIVERSES] = {{0}, {0}};
    char *trial = sqlite3_mprintf("%s", sqlite3_str_value(sql->text));
    char *at = strstr(trial, "ROLLBACK");
    diff_sql own = diff_sql_new();
    int code;

    sqlite3_str_appendf(own.text, "%.*sABORT%s", (int)(at - trial), trial, at + 8);
    sqlite3_free(trial);
    memcpy(own.binds, sql->binds, sizeof(own.binds));
    own.bind_count = sql->bind_count;
    diff_note(world, "SAVEPOINT trial;");
    sqlite3_exec(db, "SAVEPOINT trial", NULL, NULL, NULL);
    if (first == DIFF_LITEKV) {
        diff_note_sql(world, sqlite3_str_value(own.text), &own);
    }
    result[first] = diff_run(world, db, first, &own);
    diff_note(world, "ROLLBACK TO trial; RELEASE trial;");
    sqlite3_exec(db, "ROLLBACK TO trial; RELEASE trial", NULL, NULL, NULL);
    diff_sql_free(&own);
    diff_note_sql(world, sqlite3_str_value(sql->text), sql);
    if (result[first].code == SQLITE_OK) {
        diff_result_free(&result[first]);
        result[first] = diff_run(world, db, first, sql);
    }
    result[1 - first] = diff_run(world, db, 1 - first, sql);
    result[first].changes = result[1 - first].changes;
    sql->loose = true;
    if (!same(&result[0], &result[1], sql)) {
        diff_differ(world, &result[0], &result[1]);
    }
    code = result[DIFF_LITEKV].code;
    diff_result_free(&result[0]);
    diff_result_free(&result[1]);
    diff_settle(world);
    return code;
}

static void keep_statements(diff_world *world, const diff_sql *sql, const char *text)
{
    diff_kept *kept = &world->kept[diff_below(&world->random, DIFF_KEPT)];
    diff_result ignored = {0};
    for (int i = 0; i < DIFF_UNIVERSES; i++) {
        sqlite3_finalize(kept->stmt[i]);
        kept->stmt[i] = prepare(&ignored, world->db[world->at], i, text);
        diff_result_free(&ignored);
    }
    sqlite3_free(kept->text);
    kept->text = sqlite3_mprintf("%s", text);
    kept->sql = *sql;
    kept->sql.text = NULL;
    kept->connection = world->at;
}

void diff_forget_kept(diff_world *world, int connection)
{
    for (int i = 0; i < DIFF_KEPT; i++) {
        diff_kept *kept = &world->kept[i];
        if (kept->connection == connection) {
            sqlite3_finalize(kept->stmt[0]);
            sqlite3_finalize(kept->stmt[1]);
            sqlite3_free(kept->text);
            *kept = (diff_kept){.connection = connection};
        }
    }
}

static void compare_content(diff_world *world)
{
    char *ordinary = diff_content(world, DIFF_ORDINARY);
    char *litekv = diff_content(world, DIFF_LITEKV);
    if (strcmp(ordinary, litekv) != 0) {
        diff_fail(world, "the contents differ; ordinary:\n%s\nlitekv:\n%s", ordinary,
                  litekv);
    }
    sqlite3_free(ordinary);
    sqlite3_free(litekv);
}

static int judge(diff_world *world, diff_result result[], const diff_sql *sql)
{
    int code = result[DIFF_LITEKV].code;
    world->statements++;
    if (!same(&result[DIFF_ORDINARY], &result[DIFF_LITEKV], sql)) {
        diff_differ(world, &result[DIFF_ORDINARY], &result[DIFF_LITEKV]);
    } else if (world->open == (sqlite3_get_autocommit(world->db[world->at]) != 0)) {
        diff_fail(world, "the transaction ended by itself");
    } else if (world->options->careful) {
        compare_content(world);
    }
    diff_result_free(&result[0]);
    diff_result_free(&result[1]);
    return code;
}

int diff_pair(diff_world *world, diff_sql *sql)
{
    const char *text = sqlite3_str_value(sql->text);
    sqlite3 *db = world->db[world->at];
    diff_result result[DIFF_UNIVERSES];
    int first = diff_below(&world->random, DIFF_UNIVERSES);
    int code;

    if (!diff_going(world)) {
        return SQLITE_ERROR;
    }
    if (sql->rollback && world->open) {
        world->statements++;
        return pair_with_rollback(world, sql);
    }
    diff_note_sql(world, text, sql);
    result[first] = diff_run(world, db, first, sql);
    result[1 - first] = diff_run(world, db, 1 - first, sql);
    code = judge(world, result, sql);
    if (code == SQLITE_OK && !sql->rollback && diff_chance(&world->random, 4)) {
        keep_statements(world, sql, text);
    }
    return code;
}

/* Runs a kept statement again, with other values. */
void diff_rerun(diff_world *world)
{
    diff_kept *kept = &world->kept[diff_below(&world->random, DIFF_KEPT)];
    diff_result result[DIFF_UNIVERSES];
    int first = diff_below(&world->random, DIFF_UNIVERSES);

    if (kept->stmt[0] == NULL || kept->stmt[1] == NULL ||
        kept->connection != world->at) {
        return;
    }
    for (int i = 0; i < kept->sql.bind_count; i++) {
        kept->sql.binds[i] =
            &world->pool.at[diff_below(&world->random, world->pool.count)];
    }
    diff_note(world, "-- prepared before, run again:");
    diff_note_sql(world, kept->text, &kept->sql);
    result[first] = run_kept(world->db[world->at], kept->stmt[first], &kept->sql);
    result[1 - first] =
        run_kept(world->db[world->at], kept->stmt[1 - first], &kept->sql);
    judge(world, result, &kept->sql);
}

int diff_pair_of(diff_world *world, const char *format, ...)
{
    diff_sql sql = diff_sql_new();
    va_list args;
    int code;
    va_start(args, format);
    sqlite3_str_vappendf(sql.text, format, args);
    va_end(args);
    sql.ordered = true;
    code = diff_pair(world, &sql);
    diff_sql_free(&sql);
    return code;
}

int diff_once(diff_world *world, int expect, const char *format, ...)
{
    sqlite3 *db = world->db[world->at];
    va_list args;
    char *text;
    int code;

    if (!diff_going(world)) {
        return SQLITE_ERROR;
    }
    va_start(args, format);
    text = sqlite3_vmprintf(format, args);
    va_end(args);
    diff_note(world, "%s;", text);
    code = sqlite3_exec(db, text, NULL, NULL, NULL) & 0xff;
    world->statements++;
    if (expect >= 0 && code != expect) {
        diff_fail(world, "%s: code %d: %s", text, code, sqlite3_errmsg(db));
    }
    sqlite3_free(text);
    return code;
}

static void compare_table(diff_world *world, const char *name, const char *key)
{
    diff_pair_of(world, "SELECT *, typeof(%s) FROM %s ORDER BY %s", key, name, key);
    diff_pair_of(world, "SELECT count(*), min(%s), max(%s) FROM %s", key, key, name);
    if (diff_chance(&world->random, 40)) {
        diff_pair_of(world, "SELECT * FROM %s ORDER BY %s DESC", name, key);
    }
}

void diff_compare(diff_world *world)
{
    for (int i = 0; i <= DIFF_TABLES; i++) {
        sqlite3_str *sql = sqlite3_str_new(NULL);
        char *name;
        if (i < DIFF_TABLES) {
            diff_table_name(world, sql, i, true);
        } else {
            diff_helper_name(world, sql);
        }
        name = sqlite3_str_finish(sql);
        compare_table(world, name, i < DIFF_TABLES ? "key" : "id");
        sqlite3_free(name);
    }
}

char *diff_content(diff_world *world, int universe)
{
    sqlite3_str *all = sqlite3_str_new(NULL);
    for (int i = 0; i <= DIFF_TABLES; i++) {
        diff_sql sql = diff_sql_new();
        diff_result result;
        sqlite3_str_appendall(sql.text, "SELECT * FROM ");
        if (i < DIFF_TABLES) {
            diff_table_name(world, sql.text, i, true);
        } else {
            diff_helper_name(world, sql.text);
        }
        sqlite3_str_appendall(sql.text, " ORDER BY 1");
        result = diff_run(world, world->db[world->at], universe, &sql);
        sqlite3_str_appendf(all, "table %d: %s\n", i, result.error);
        for (size_t k = 0; k < result.count; k++) {
            sqlite3_str_appendf(all, "%s\n", result.rows[k]);
        }
        diff_result_free(&result);
        diff_sql_free(&sql);
    }
    return sqlite3_str_finish(all);
}
