/*
 * test_calls.c - every call of SQLite that an extension makes and that can fail for
 * want of memory fails once, and from some point on for good (sweep.h).
 *
 * test_memory.c leaves out most allocations, since most of them are in SQLite itself;
 * here each one of litekv's own is tried.
 */
#include "api.h"
#include "ram.h"
#include "sweep.h"

#include <stdarg.h>
#include <stdlib.h>

static const sqlite3_api_routines *real;
static sqlite3_api_routines table;
static int countdown; /* calls until one fails; 0: none does */
static int for_good, failed;

static int fails(void)
{
    if (countdown == 0 || (countdown > 1 && --countdown > 0)) {
        return 0;
    }
    if (!for_good) {
        countdown = 0;
    }
    failed = 1;
    return 1;
}

static void *fail_malloc(sqlite3_uint64 size)
{
    return fails() ? NULL : real->malloc64(size);
}

static void *fail_realloc(void *old, sqlite3_uint64 size)
{
    return fails() ? NULL : real->realloc64(old, size);
}

static char *fail_mprintf(const char *format, ...)
{
    char *text;
    va_list args;
    if (fails()) {
        return NULL;
    }
    va_start(args, format);
    text = real->vmprintf(format, args);
    va_end(args);
    return text;
}

static char *fail_str_finish(sqlite3_str *text)
{
    char *whole = real->str_finish(text);
    if (whole != NULL && fails()) {
        real->free(whole);
        whole = NULL;
    }
    return whole;
}

static const unsigned char *fail_value_text(sqlite3_value *value)
{
    return fails() ? NULL : real->value_text(value);
}

/* There may be nothing to give, and then it needs no memory. */
static const void *fail_value_blob(sqlite3_value *value)
{
    const void *blob = real->value_blob(value);
    return blob != NULL && fails() ? NULL : blob;
}

static const void *fail_column_blob(sqlite3_stmt *statement, int i)
{
    const void *blob = real->column_blob(statement, i);
    return blob != NULL && fails() ? NULL : blob;
}

static sqlite3_value *fail_value_dup(const sqlite3_value *value)
{
    return fails() ? NULL : real->value_dup(value);
}

static int fail_prepare_v2(sqlite3 *db, const char *sql, int size, sqlite3_stmt **out,
                           const char **tail)
{
    *out = NULL;
    return fails() ? SQLITE_NOMEM : real->prepare_v2(db, sql, size, out, tail);
}

static int fail_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags,
                           sqlite3_stmt **out, const char **tail)
{
    *out = NULL;
    return fails() ? SQLITE_NOMEM : real->prepare_v3(db, sql, size, flags, out, tail);
}

static int fail_exec(sqlite3 *db, const char *sql, sqlite3_callback each, void *arg,
                     char **text)
{
    return fails() ? SQLITE_NOMEM : real->exec(db, sql, each, arg, text);
}

static int fail_declare(sqlite3 *db, const char *sql)
{
    return fails() ? SQLITE_NOMEM : real->declare_vtab(db, sql);
}

static int fail_bind_text(sqlite3_stmt *statement, int i, const char *text, int size,
                          void (*release)(void *))
{
    return fails() ? SQLITE_NOMEM : real->bind_text(statement, i, text, size, release);
}

static int fail_bind_blob(sqlite3_stmt *statement, int i, const void *blob,
                          sqlite3_uint64 size, void (*release)(void *))
{
    return fails() ? SQLITE_NOMEM
                   : real->bind_blob64(statement, i, blob, size, release);
}

static int fail_in_next(sqlite3_value *list, sqlite3_value **out)
{
    return fails() ? SQLITE_NOMEM : real->vtab_in_next(list, out);
}

static void arm(int n, int persistent)
{
    countdown = n;
    for_good = persistent;
    if (n > 0) {
        failed = 0;
    }
    sqlite3_api = n > 0 ? &table : real;
}

static int has_failed(void)
{
    return failed;
}

static int gives(int rc)
{
    return (rc & 0xff) == SQLITE_NOMEM;
}

static const sweep_fault no_memory = {"call", arm, has_failed, gives};

static void make_table(void)
{
    real = sqlite3_api;
    table = *real;
    table.malloc64 = fail_malloc;
    table.realloc64 = fail_realloc;
    table.mprintf = fail_mprintf;
    table.str_finish = fail_str_finish;
    table.value_text = fail_value_text;
    table.value_blob = fail_value_blob;
    table.column_blob = fail_column_blob;
    table.value_dup = fail_value_dup;
    table.prepare_v2 = fail_prepare_v2;
    table.prepare_v3 = fail_prepare_v3;
    table.exec = fail_exec;
    table.declare_vtab = fail_declare;
    table.bind_text = fail_bind_text;
    table.bind_blob64 = fail_bind_blob;
    table.vtab_in_next = fail_in_next;
}

int main(void)
{
    static const struct {
        enum sweep_home home;
        int every; /* in the short version */
    } places[] = {{SWEEP_DATABASE, 1}, {SWEEP_FILES, 4}, {SWEEP_MEMORY, 1}};
    int all = getenv("LONG") != NULL;

    check_begin();
    ram_install();
    make_table();
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        sweep_run(&(sweep){.fault = &no_memory,
                           .home = places[i].home,
                           .setup = "",
                           .always = "",
                           .step = 0,
                           .for_good_step = all ? 0 : 2,
                           .every = all ? 1 : places[i].every});
    }
    return check_end();
}
