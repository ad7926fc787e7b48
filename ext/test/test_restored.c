/*
 * test_restored.c - an older copy of the file comes back under an open connection and
 * gets another history, at every place of the newest commit in its block. Where the
 * commit ends with the block, the connection has it in its cache.
 */
#include "check.h"

#include <string.h>

static void copy(const char *from, const char *to)
{
    sqlite3 *source = check_open(from);
    sqlite3 *target = check_open(to);
    sqlite3_backup *backup = sqlite3_backup_init(target, "main", source, "main");
    CHECK(backup != NULL && sqlite3_backup_step(backup, -1) == SQLITE_DONE);
    CHECK(sqlite3_backup_finish(backup) == SQLITE_OK);
    check_close(target);
    check_close(source);
}

static void put(sqlite3 *db, int size, char with)
{
    char *sql = sqlite3_mprintf("INSERT INTO kv VALUES(2, replace(printf('%%.*c', %d, "
                                "'.'), '.', '%c'))",
                                size, with);
    RUN(db, sql);
    sqlite3_free(sql);
}

static void at_size(int size)
{
    sqlite3 *db = check_open("restored.db");
    sqlite3 *other;
    char *got;

    put(db, size, 'a');
    CHECK(check_number(db, "SELECT count(value) FROM kv WHERE value > ''") == 2);
    copy("older.db", "restored.db");
    other = check_open("restored.db");
    put(other, size, 'b');
    RUN(other, "INSERT INTO kv VALUES(3, 'more')");
    check_close(other);
    got = check_result(db, "SELECT key, substr(value, 1, 1) FROM kv");
    check_that(strcmp(got, "1,x;2,b;3,m") == 0, __FILE__, __LINE__, "size %d: %s", size,
               got);
    sqlite3_free(got);
    copy("older.db", "restored.db");
    QUERY(db, "SELECT value FROM kv", "x");
    check_close(db);
}

int main(void)
{
    sqlite3 *db;

    check_begin();
    db = check_open("restored.db");
    RUN(db, "PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING litekv;"
            "INSERT INTO kv VALUES(1, 'x')");
    check_close(db);
    copy("restored.db", "older.db");
    for (int size = 1; size <= 480; size++) { /* a block has 473 bytes */
        at_size(size);
    }
    check_remove("restored.db");
    check_remove("older.db");
    return check_end();
}
