/*
 * test_pages.c - a block of the log fills one page exactly, at every page size and with
 * bytes reserved in every page: the table of the log has no overflow pages and a page
 * for each block.
 */
#include "check.h"

#include <stdio.h>
#include <string.h>

/* Pages that the table `name` takes, all of its kinds; and of kind `type` by dbstat. */
static sqlite3_int64 pages_of(sqlite3 *db, const char *name, const char *type)
{
    char sql[200];
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM dbstat WHERE name = '%s' AND "
             "pagetype LIKE '%s'",
             name, type);
    return check_number(db, sql);
}

static void fill(sqlite3 *db)
{
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv;"
            "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 500) INSERT INTO kv SELECT i, randomblob(1000) FROM n;"
            "INSERT INTO kv VALUES('big', randomblob(300000));"
            "UPDATE kv SET value = 'small' WHERE key = 1");
}

static void one_page_a_block(sqlite3 *db, int page, int reserved)
{
    int usable = page - reserved;
    sqlite3_int64 blocks = check_number(db, "SELECT count(*) FROM kv_log");
    sqlite3_int64 leaves, overflow;
    char expected[60];

    snprintf(expected, sizeof(expected), "%d", usable - (usable > 8192 ? 40 : 39));
    QUERY(db, "SELECT max(length(block)) FROM kv_log", expected);
    /* All are whole but the last, and the one before when the end of the log has no
     * room in it. */
    CHECK(check_number(db, "SELECT count(*) FROM kv_log WHERE length(block) < (SELECT "
                           "max(length(block)) FROM kv_log)") <= 2);
    overflow = pages_of(db, "kv_log", "overflow");
    leaves = pages_of(db, "kv_log", "leaf");
    check_that(overflow == 0, __FILE__, __LINE__, "page %d, reserved %d: %lld overflow",
               page, reserved, (long long)overflow);
    check_that(leaves == blocks, __FILE__, __LINE__,
               "page %d, reserved %d: %lld leaves for %lld blocks", page, reserved,
               (long long)leaves, (long long)blocks);
    /* A byte more in each block would overflow: nothing of a page is wasted. */
    RUN(db, "CREATE TABLE more(id INTEGER PRIMARY KEY, block BLOB);"
            "INSERT INTO more SELECT id, block || x'00' FROM kv_log");
    CHECK(pages_of(db, "more", "overflow") > 0);
}

static void at_page_size(int page, int reserved)
{
    sqlite3 *db = check_open("pages.db");
    char sql[60];

    snprintf(sql, sizeof(sql), "PRAGMA page_size = %d", page);
    RUN(db, sql);
    if (reserved > 0) {
        int bytes = reserved;
        CHECK(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes) ==
              SQLITE_OK);
        RUN(db, "VACUUM");
    }
    fill(db);
    one_page_a_block(db, page, reserved);
    check_close(db);
    db = check_open("pages.db");
    QUERY(db, "SELECT count(*), sum(length(value)) FROM kv", "501,799005");
    QUERY(db, "PRAGMA integrity_check", "ok");
    check_close(db);
    check_remove("pages.db");
}

/* VACUUM into another page size: blocks stay as they are, and can be read and written.
 */
static void changed(void)
{
    sqlite3 *db = check_open("pages.db");

    RUN(db, "PRAGMA page_size = 8192");
    fill(db);
    RUN(db, "PRAGMA page_size = 512; VACUUM; UPDATE kv SET value = 'x' WHERE key = 2");
    QUERY(db, "SELECT count(*), sum(length(value)) FROM kv", "501,798006");
    QUERY(db, "SELECT max(length(block)) FROM kv_log", "8153");
    RUN(db,
        "PRAGMA page_size = 65536; VACUUM; UPDATE kv SET value = 'x' WHERE key = 3");
    check_close(db);
    db = check_open("pages.db");
    QUERY(db, "SELECT count(*), sum(length(value)) FROM kv", "501,797007");
    check_close(db);
    check_remove("pages.db");
}

/* Commits that end at every offset of a block: the last row ends in the 72 bytes that
 * tell the end, the row before it is whole, and a connection that opens the table finds
 * all of it. */
static void trailer_at_every_offset(void)
{
    sqlite3 *db = check_open("pages.db");
    int alone = 0;

    RUN(db, "PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING litekv");
    for (int i = 1; i <= 600; i++) {
        char sql[200];
        sqlite3_int64 last;
        snprintf(sql, sizeof(sql), "INSERT INTO kv VALUES(%d, zeroblob(%d))", i, i % 7);
        RUN(db, sql);
        last = check_number(
            db, "SELECT length(block) FROM kv_log ORDER BY id DESC LIMIT 1");
        CHECK(last >= 72 && last <= 473);
        alone += last == 72;
        CHECK(check_number(db, "SELECT count(*) FROM kv_log WHERE length(block) < 401 "
                               "AND id < (SELECT max(id) FROM kv_log)") == 0);
        if (i % 16 == 0) {
            sqlite3 *other = check_open("pages.db");
            CHECK(check_number(other, "SELECT count(*) FROM kv") == i);
            check_close(other);
        }
    }
    CHECK(alone > 0); /* the case that the block was full was met */
    check_close(db);
    check_remove("pages.db");
}

int main(void)
{
    sqlite3 *db;

    check_begin();
    db = check_open(":memory:");
    if (sqlite3_exec(db, "SELECT * FROM dbstat", NULL, NULL, NULL) != SQLITE_OK) {
        printf("skipped: test_pages: this SQLite has no dbstat\n");
        CHECK(1);
        check_close(db);
        return check_end();
    }
    check_close(db);
    for (int page = 512; page <= 65536; page *= 2) {
        at_page_size(page, 0);
        at_page_size(page, 8);
        at_page_size(page, 32);
    }
    at_page_size(4096, 255);
    changed();
    trailer_at_every_offset();
    return check_end();
}
