/*
 * check.c - see check.h.
 */
#include "check.h"

#include "api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sqlite3_litekv_init(sqlite3 *db, char **text, const sqlite3_api_routines *api);

static int passed, failed;
static char directory[256];
static char path[512];

int check_load_again(sqlite3 *db)
{
    char *text = NULL;
    int rc = sqlite3_litekv_init(db, &text, sqlite3_api);
    CHECK(text == NULL);
    return rc;
}

void check_begin(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/litekv-test.XXXXXX",
             base != NULL ? base : "/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        exit(1);
    }
    /* The entry point has SQLite's type for it in all but the name. */
    sqlite3_auto_extension((void (*)(void))sqlite3_litekv_init);
}

int check_end(void)
{
    if (rmdir(directory) != 0) {
        failed++;
        printf("%s: a test left files behind\n", directory);
    }
    sqlite3_reset_auto_extension();
    if (sqlite3_memory_used() != 0) {
        failed++;
        printf("%lld bytes are lost\n", (long long)sqlite3_memory_used());
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}

int check_that(int good, const char *file, int line, const char *format, ...)
{
    if (good) {
        passed++;
    } else {
        va_list args;
        failed++;
        printf("%s:%d: ", file, line);
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        putchar('\n');
        fflush(stdout);
    }
    return good;
}

const char *check_path(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

sqlite3 *check_open(const char *name)
{
    int plain = strchr(name, ':') == NULL;
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(
        plain ? check_path(name) : name, &db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
    if (rc != SQLITE_OK) {
        printf("%s: %s\n0 passed, 1 failed\n", name, sqlite3_errmsg(db));
        exit(1);
    }
    sqlite3_extended_result_codes(db, 1);
    /* No test here cuts the power; and this takes most of the time away. */
    sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    return db;
}

void check_close(sqlite3 *db)
{
    if (!CHECK(sqlite3_close(db) == SQLITE_OK)) {
        sqlite3_close_v2(db);
    }
}

void check_remove(const char *name)
{
    static const char *const ends[] = {"", "-journal", "-wal", "-shm"};
    char full[600];
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(full, sizeof(full), "%s%s", check_path(name), ends[i]);
        unlink(full);
    }
}

void check_run(sqlite3 *db, const char *sql, const char *file, int line)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    check_that(rc == SQLITE_OK, file, line, "%s\n    got %d: %s", sql, rc,
               rc == SQLITE_OK ? "" : sqlite3_errmsg(db));
}

void check_fail(sqlite3 *db, const char *sql, int code, const char *text,
                const char *file, int line)
{
    char *got = NULL;
    int rc = sqlite3_exec(db, sql, NULL, NULL, &got);
    int good = rc != SQLITE_OK && (code == 0 || rc == code) &&
               strstr(got != NULL ? got : "", text) != NULL;
    check_that(good, file, line, "%s\n    got %d: %s\n    expected %d: %s", sql, rc,
               got != NULL ? got : "", code, text);
    sqlite3_free(got);
}

char *check_result(sqlite3 *db, const char *sql)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (sqlite3_str_length(text) > 0) {
            sqlite3_str_appendchar(text, 1, ';');
        }
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);
            sqlite3_str_appendf(text, "%s%s", i > 0 ? "," : "",
                                value != NULL ? value : "NULL");
        }
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE) {
        sqlite3_str_appendf(text, "[%d: %s]", rc, sqlite3_errmsg(db));
    }
    sqlite3_finalize(statement);
    if (sqlite3_str_length(text) == 0) {
        sqlite3_free(sqlite3_str_finish(text));
        return sqlite3_mprintf("%s", "");
    }
    return sqlite3_str_finish(text);
}

void check_query(sqlite3 *db, const char *sql, const char *expected, const char *file,
                 int line)
{
    char *got = check_result(db, sql);
    check_that(got != NULL && strcmp(got, expected) == 0, file, line,
               "%s\n    got: %s\n    expected: %s", sql, got, expected);
    sqlite3_free(got);
}

sqlite3_int64 check_number(sqlite3 *db, const char *sql)
{
    char *got = check_result(db, sql);
    sqlite3_int64 number = got == NULL ? 0 : atoll(got);
    sqlite3_free(got);
    return number;
}
