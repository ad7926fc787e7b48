/*
 * view.c - see view.h.
 */
#include "view.h"

#include <stdio.h>
#include <string.h>

static const char *const keys[VIEW_KEYS] = {"1", "2",   "3",   "4",      "5",
                                            "6", "'a'", "'b'", "'four'", "'none'"};

const char *view_key(size_t key)
{
    return keys[key];
}

static uint64_t hash_value(sqlite3_stmt *row, int column)
{
    uint64_t hash = 14695981039346656037u + (unsigned)sqlite3_column_type(row, column);
    const uint8_t *bytes = sqlite3_column_blob(row, column);
    int size = sqlite3_column_bytes(row, column);
    for (int i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash;
}

static int find_key(sqlite3_stmt *row)
{
    const char *text = (const char *)sqlite3_column_text(row, 0);
    for (size_t i = 0; i < VIEW_KEYS && text != NULL; i++) {
        size_t size = strlen(text);
        const char *key = keys[i] + (keys[i][0] == '\'');
        if (strncmp(key, text, size) == 0 && (key[size] == 0 || key[size] == '\'')) {
            return (int)i;
        }
    }
    return -1;
}

static void take_error(sqlite3 *db, int rc, view *out)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE) {
        out->error = sqlite3_extended_errcode(db);
        snprintf(out->text, sizeof(out->text), "%s", sqlite3_errmsg(db));
    }
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql, view *out)
{
    sqlite3_stmt *statement = NULL;
    memset(out, 0, sizeof(*out));
    take_error(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL), out);
    return statement;
}

int view_next(sqlite3_stmt *rows, int descending, int *last, view *out)
{
    int key, rc = sqlite3_step(rows);
    if (rc != SQLITE_ROW) {
        take_error(sqlite3_db_handle(rows), rc, out);
        return 0;
    }
    key = find_key(rows);
    out->wrong |= key < 0 || (descending ? key >= *last : key <= *last);
    if (key >= 0) {
        out->state.value[key] = hash_value(rows, 1);
    }
    *last = key;
    return 1;
}

sqlite3_stmt *view_rows(sqlite3 *db, int descending, view *out)
{
    return prepare(db,
                   descending ? "SELECT * FROM kv ORDER BY key DESC"
                              : "SELECT * FROM kv ORDER BY key",
                   out);
}

void view_scan(sqlite3 *db, int descending, view *out)
{
    sqlite3_stmt *rows = view_rows(db, descending, out);
    int last = descending ? VIEW_KEYS : -1;
    while (rows != NULL && view_next(rows, descending, &last, out)) {
    }
    sqlite3_finalize(rows);
}

void view_point(sqlite3 *db, size_t key, view *out)
{
    char sql[80];
    sqlite3_stmt *row;
    int rc;

    snprintf(sql, sizeof(sql), "SELECT value FROM kv WHERE key = %s", keys[key]);
    row = prepare(db, sql, out);
    if (row == NULL) {
        return;
    }
    rc = sqlite3_step(row);
    if (rc == SQLITE_ROW) {
        out->state.value[key] = hash_value(row, 0);
        rc = sqlite3_step(row);
    }
    take_error(db, rc, out);
    sqlite3_finalize(row);
}

void view_verify(sqlite3 *db, view *out)
{
    sqlite3_stmt *row = prepare(db, "SELECT litekv_verify('kv')", out);
    int rc;

    if (row == NULL) {
        return;
    }
    rc = sqlite3_step(row);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        if (strcmp(text, "ok") != 0) {
            out->error = SQLITE_CORRUPT_VTAB;
            snprintf(out->text, sizeof(out->text), "%s", text);
        }
        rc = sqlite3_step(row);
    }
    take_error(db, rc, out);
    sqlite3_finalize(row);
}
