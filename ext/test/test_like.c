/*
 * test_like.c - LIKE and GLOB by functions of the application: a prefix of the pattern
 * says nothing of what they match.
 */
#include "check.h"

#include <string.h>

/* Whether the pattern begins with the key's first letter, or with its last one. */
static void ends_match(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const char *pattern = (const char *)sqlite3_value_text(argv[0]);
    const char *key = (const char *)sqlite3_value_text(argv[1]);
    (void)argc;
    sqlite3_result_int(context,
                       pattern[0] == key[strlen(key) - 1] || pattern[0] == key[0]);
}

static void give(sqlite3 *db, const char *name, int arguments,
                 void (*function)(sqlite3_context *, int, sqlite3_value **))
{
    CHECK(sqlite3_create_function(db, name, arguments, SQLITE_UTF8, NULL, function,
                                  NULL, NULL) == SQLITE_OK);
}

#define KEYS "SELECT group_concat(key, ' ') FROM (SELECT key FROM kv WHERE key "
#define SORTED " ORDER BY key)"

static sqlite3 *open_table(void)
{
    sqlite3 *db = check_open(":memory:");
    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv(key TEXT, value);"
            "INSERT INTO kv(key) VALUES('ab'), ('Ab'), ('ba'), ('b')");
    return db;
}

static void plan(sqlite3 *db, const char *is, int narrow)
{
    char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN SELECT * FROM kv WHERE key %s", is);
    char *got = check_result(db, sql);
    check_that((strstr(got, "all keys") == NULL) == narrow, __FILE__, __LINE__,
               "%s: %s", sql, got);
    sqlite3_free(got);
    sqlite3_free(sql);
}

static void sqlites_own(void)
{
    sqlite3 *db = open_table();
    give(db, "like", 3, ends_match); /* is another one */
    QUERY(db, KEYS "LIKE 'a%'" SORTED, "Ab ab");
    QUERY(db, KEYS "GLOB 'a*'" SORTED, "ab");
    plan(db, "LIKE 'a%'", 1);
    plan(db, "GLOB 'a*'", 1);
    RUN(db, "PRAGMA case_sensitive_like = ON");
    QUERY(db, KEYS "LIKE 'a%'" SORTED, "ab");
    /* By bounds of SQLite's own, which are not used where LIKE looks into blobs. */
    plan(db, "LIKE 'a%'", sqlite3_compileoption_used("LIKE_DOESNT_MATCH_BLOBS"));
    plan(db, "GLOB 'a*'", 1);
    check_close(db);
}

static void of_the_application(const char *like, const char *glob, int arguments)
{
    sqlite3 *db = open_table();
    RUN(db, "CREATE TABLE pragma_function_list(name, builtin, narg)");
    give(db, like, arguments, ends_match);
    QUERY(db, KEYS "LIKE 'a%'" SORTED, "ab ba");
    /* The user's own, where SQLite's LIKE would have one from SQLite. */
    QUERY(db, KEYS "LIKE 'a%' AND key >= '' COLLATE NOCASE" SORTED, "ab ba");
    QUERY(db, KEYS "GLOB 'a*'" SORTED, "ab");
    plan(db, "LIKE 'a%'", 0);
    /* Before 3.52 by bounds, of which the other LIKE makes litekv doubt. */
    plan(db, "GLOB 'a*'", sqlite3_libversion_number() >= 3052000);
    give(db, glob, arguments, ends_match);
    QUERY(db, KEYS "GLOB 'a*'" SORTED, "ab ba");
    plan(db, "GLOB 'a*'", 0);
    check_close(db);
}

int main(void)
{
    check_begin();
    sqlites_own();
    of_the_application("like", "glob", 2);
    of_the_application("LIKE", "Glob", -1);
    return check_end();
}
