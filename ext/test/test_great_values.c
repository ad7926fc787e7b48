/*
 * test_great_values.c - a value of some megabytes is written, read, changed and
 * removed: what it took of memory is free again with the next statement. Only a
 * compaction that is under way may hold the record that it is at.
 */
#include "check.h"

#include <string.h>
#include <unistd.h>

#define GREAT (16 << 20)

static void must_be_small(sqlite3_int64 before, const char *where, const char *what)
{
    sqlite3_int64 more = sqlite3_memory_used() - before;
    check_that(more < GREAT / 16, __FILE__, __LINE__, "%s: %lld bytes more after %s",
               where, (long long)more, what);
}

/* `path`: NULL in the database. */
static void leaves_nothing(const char *path, const char *options)
{
    static const char *const statements[] = {
        "INSERT INTO kv VALUES('great', zeroblob(16777216))",
        "SELECT length(value) FROM kv",
        "SELECT length(value) FROM kv ORDER BY key DESC",
        "SELECT length(value) FROM kv WHERE key = 'great'",
        "UPDATE kv SET value = CAST(value || 'x' AS BLOB) WHERE key = 'great'",
        "SELECT litekv_verify('kv')",
        "SELECT litekv_compact('kv')",
        "BEGIN; INSERT INTO kv VALUES('another', zeroblob(16777216)); ROLLBACK",
        "DELETE FROM kv WHERE key = 'great'",
        "SELECT litekv_compact('kv')",
    };
    sqlite3 *db = check_open("great.db");
    char *sql = sqlite3_mprintf(
        "CREATE VIRTUAL TABLE kv USING litekv(cache=64, auto_compact=0%s); "
        "INSERT INTO kv VALUES('small', 1)",
        options);
    sqlite3_int64 before;

    RUN(db, "PRAGMA cache_size = 10");
    RUN(db, sql);
    QUERY(db, "SELECT * FROM kv", "small,1");
    before = sqlite3_memory_used();
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        RUN(db, statements[i]);
        RUN(db, "REPLACE INTO kv VALUES('small', 2)");
        QUERY(db, "SELECT value FROM kv WHERE key = 'small'", "2");
        must_be_small(before, sql, statements[i]);
    }
    RUN(db, "DROP TABLE kv");
    sqlite3_free(sql);
    if (path != NULL) {
        sql = sqlite3_mprintf("SELECT litekv_remove('%q')", path);
        QUERY(db, sql, "1");
        sqlite3_free(sql);
    }
    check_close(db);
    (void)unlink(check_path("great.db"));
}

int main(void)
{
    char *path;
    check_begin();
    path = sqlite3_mprintf("%s", check_path("great"));
    leaves_nothing(NULL, "");
    for (int mapped = 0; mapped < 2; mapped++) {
        char *options =
            sqlite3_mprintf(", path='%q'%s", path, mapped ? "" : ", mmap=off");
        leaves_nothing(path, options);
        sqlite3_free(options);
    }
    sqlite3_free(path);
    return check_end();
}
