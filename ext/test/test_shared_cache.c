/*
 * test_shared_cache.c - connections that share SQLite's cache keep each other from the
 * table as from an ordinary one, and nothing is taken for committed that another one
 * rolls back.
 */
#include "check.h"

#include <stdio.h>

static char file[300];
static const char *const names[] = {"file:shared?mode=memory&cache=shared", file};

static const char *const tables[] = {
    "CREATE VIRTUAL TABLE kv USING litekv",
    "CREATE TABLE kv(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
};

#define FILL                                                                           \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "  \
    "INSERT INTO kv SELECT i, 'old' FROM n"
#define ALL "SELECT count(*), count(DISTINCT value), max(value) FROM kv"

/* What one has read stays as it is until its transaction ends. */
static void keeps_out(sqlite3 *reader, sqlite3 *writer, const char *sum)
{
    RUN(reader, "BEGIN");
    QUERY(reader, "SELECT sum(value) FROM kv", sum);
    FAIL(writer, "UPDATE kv SET value = 0 WHERE key = 1", SQLITE_LOCKED_SHAREDCACHE,
         "");
    QUERY(reader, "SELECT sum(value) FROM kv", sum);
    RUN(reader, "COMMIT");
}

static void one_snapshot(const char *name, const char *table)
{
    sqlite3 *a = check_open(name), *b = check_open(name);
    RUN(a, table);
    RUN(a, "INSERT INTO kv VALUES(1, 100), (2, 100)");
    keeps_out(b, a, "200");
    RUN(a, "UPDATE kv SET value = 0 WHERE key = 1");
    QUERY(b, "SELECT sum(value) FROM kv", "100");
    keeps_out(a, b, "100"); /* after its own commit */
    RUN(a, "DROP TABLE kv");
    check_close(b);
    check_close(a);
}

/* The same of one that was alone before, and has read and written. */
static void one_was_alone(const char *name, const char *table)
{
    sqlite3 *a = check_open(name), *b;
    RUN(a, table);
    RUN(a, "INSERT INTO kv VALUES(1, 100), (2, 100)");
    QUERY(a, "SELECT sum(value) FROM kv", "200");
    b = check_open(name);
    keeps_out(a, b, "200");
    RUN(a, "DROP TABLE kv");
    check_close(b);
    check_close(a);
}

/* A dirty read is one, and is forgotten with what it read. */
static void read_uncommitted(const char *name, const char *table)
{
    sqlite3 *a = check_open(name), *b = check_open(name);
    RUN(a, table);
    RUN(a, FILL);
    RUN(b, "PRAGMA read_uncommitted = ON");
    RUN(a, "BEGIN; UPDATE kv SET value = 'dirty'; SAVEPOINT x");
    QUERY(b, ALL, "3000,1,dirty");
    RUN(a, "ROLLBACK");
    QUERY(b, ALL, "3000,1,old");
    RUN(b, "INSERT INTO kv VALUES('b', 'one')");
    QUERY(b, ALL, "3001,2,one");
    QUERY(a, ALL, "3001,2,one");
    RUN(a, "DROP TABLE kv");
    check_close(b);
    check_close(a);
}

int main(void)
{
    check_begin();
    snprintf(file, sizeof(file), "file:%s?cache=shared", check_path("shared.db"));
    for (int i = 0; i < 4; i++) {
        one_snapshot(names[i / 2], tables[i % 2]);
        one_was_alone(names[i / 2], tables[i % 2]);
        read_uncommitted(names[i / 2], tables[i % 2]);
    }
    check_remove("shared.db");
    return check_end();
}
