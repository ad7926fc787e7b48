/*
 * test_declare.c - the arguments of CREATE VIRTUAL TABLE: what is read from them, and
 * the text of every refusal.
 */
#include "option.h"
#include "unit.h"

#define ARGUMENTS 8

/* The declaration of table "kv" with these arguments; the message in `*text`. */
static int declare(lkv_declaration *declaration, const char *const *arguments,
                   char **text)
{
    const char *argv[3 + ARGUMENTS] = {"litekv", "main", "kv"};
    int argc = 3;
    for (int i = 0; i < ARGUMENTS && arguments[i] != NULL; i++) {
        argv[argc++] = arguments[i];
    }
    *text = NULL;
    return lkv_declaration_read(declaration, argc, argv, text);
}

typedef struct good {
    const char *arguments[ARGUMENTS];
    const char *sql;
    int cache_kib;
} good;

static const good accepted[] = {
    {{NULL},
     "CREATE TABLE x(\"key\" , \"value\" , \"kv\" HIDDEN, PRIMARY KEY(\"key\")) "
     "WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"k"},
     "CREATE TABLE x(\"k\" , \"kv\" HIDDEN, PRIMARY KEY(\"k\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"sku TEXT", "price REAL", "doc"},
     "CREATE TABLE x(\"sku\" TEXT, \"price\" REAL, \"doc\" , \"kv\" HIDDEN, PRIMARY "
     "KEY(\"sku\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"  a   UNSIGNED  BIG INT  ", "b\tDECIMAL(10, -5)"},
     "CREATE TABLE x(\"a\" UNSIGNED  BIG INT, \"b\" DECIMAL(10, -5), \"kv\" HIDDEN, "
     "PRIMARY KEY(\"a\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"id INTEGER PRIMARY KEY", "v"},
     "CREATE TABLE x(\"id\" INTEGER, \"v\" , \"kv\" HIDDEN, PRIMARY KEY(\"id\")) "
     "WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"id not null primary key"},
     "CREATE TABLE x(\"id\" , \"kv\" HIDDEN, PRIMARY KEY(\"id\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"\"a \"\"b\"\"\" TEXT", "[c d]", "`e``f` INT", "'g'"},
     "CREATE TABLE x(\"a \"\"b\"\"\" TEXT, \"c d\" , \"e`f\" INT, \"g\" , \"kv\" "
     "HIDDEN, PRIMARY KEY(\"a \"\"b\"\"\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"\"unique\"", "\"check\" INT"},
     "CREATE TABLE x(\"unique\" , \"check\" INT, \"kv\" HIDDEN, PRIMARY "
     "KEY(\"unique\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"schl\xc3\xbcssel TEXT"},
     "CREATE TABLE x(\"schl\xc3\xbcssel\" TEXT, \"kv\" HIDDEN, PRIMARY "
     "KEY(\"schl\xc3\xbcssel\")) WITHOUT ROWID",
     LKV_CACHE_KIB},
    {{"cache = 0"},
     "CREATE TABLE x(\"key\" , \"value\" , \"kv\" HIDDEN, PRIMARY KEY(\"key\")) "
     "WITHOUT ROWID",
     0},
    {{"k", "CACHE='2147483647'", "v"},
     "CREATE TABLE x(\"k\" , \"v\" , \"kv\" HIDDEN, PRIMARY KEY(\"k\")) WITHOUT ROWID",
     2147483647},
};

static void must_accept(const good *g)
{
    lkv_declaration declaration;
    char *text, *sql;
    int rc = declare(&declaration, g->arguments, &text);

    if (rc != SQLITE_OK) {
        unit_fault(__FILE__, __LINE__, "\"%s\" is refused: %s",
                   g->arguments[0] == NULL ? "" : g->arguments[0], text);
    } else {
        sql = lkv_declaration_sql(&declaration, "kv");
        CHECK_TEXT(sql, g->sql);
        CHECK(declaration.cache_kib == g->cache_kib);
        CHECK(declaration.auto_compact == LKV_COMPACT_SHARE);
        sqlite3_free(sql);
    }
    sqlite3_free(text);
    lkv_declaration_free(&declaration);
}

static void what_is_accepted(void)
{
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        if (accepted[i].sql != NULL) {
            must_accept(&accepted[i]);
        }
    }
}

static void shares(void)
{
    static const struct {
        const char *text;
        int share; /* -1: refused */
    } cases[] = {
        {"0", 0},        {"0.", 0},           {".0", 0},
        {"000.000", 0},  {"0.5", 500},        {".5", 500},
        {"00.25", 250},  {"0.333", 333},      {"0.3334", 333},
        {"0.3335", 334}, {"0.0004", 1},       {"0.0000000001", 1},
        {"0.0009", 1},   {"0.0014", 1},       {"0.999", 999},
        {"0.9999", 999}, {"0.99999999", 999}, {"off", 0},
        {"OFF", 0},      {"on", 500},         {"On", 500},
        {"", -1},        {".", -1},           {"1", -1},
        {"1.0", -1},     {"10", -1},          {"0.5.", -1},
        {"0,5", -1},     {"-0.5", -1},        {"+0.5", -1},
        {"5e-1", -1},    {"0x0", -1},         {" 0.5", -1},
        {"0.5 ", -1},    {"half", -1},        {"5", -1},
        {"05", -1},      {"inf", -1},         {"nan", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned share = 4711;
        int rc = lkv_option_share(cases[i].text, &share);
        if (cases[i].share < 0 ? rc == SQLITE_OK
                               : rc != SQLITE_OK || share != (unsigned)cases[i].share) {
            unit_fault(__FILE__, __LINE__, "\"%s\" gives %d, %u", cases[i].text, rc,
                       share);
        }
    }
}

static void share_of_a_table(void)
{
    static const char *const arguments[ARGUMENTS] = {"auto_compact = .25", "k", NULL};
    lkv_declaration declaration;
    char *text;
    CHECK(declare(&declaration, arguments, &text) == SQLITE_OK);
    CHECK(declaration.auto_compact == 250);
    CHECK(declaration.cache_kib == LKV_CACHE_KIB);
    lkv_declaration_free(&declaration);
}

static void columns_and_affinities(void)
{
    static const char *const arguments[ARGUMENTS] = {"a TEXT", "b INTEGER", "c",
                                                     "d REAL", "e DATE",    NULL};
    static const enum lkv_affinity should[] = {LKV_AFFINITY_TEXT, LKV_AFFINITY_INTEGER,
                                               LKV_AFFINITY_BLOB, LKV_AFFINITY_REAL,
                                               LKV_AFFINITY_NUMERIC};
    lkv_declaration declaration;
    char *text;
    CHECK(declare(&declaration, arguments, &text) == SQLITE_OK);
    CHECK(declaration.columns == 5);
    for (int i = 0; i < declaration.columns && i < 5; i++) {
        CHECK(declaration.column[i].affinity == should[i]);
    }
    CHECK_TEXT(declaration.column[0].name, "a");
    CHECK_TEXT(declaration.column[0].type, "TEXT");
    CHECK_TEXT(declaration.column[2].type, "");
    lkv_declaration_free(&declaration);
    CHECK(declaration.columns == 0 && declaration.column == NULL);
    lkv_declaration_free(&declaration); /* harmless */
}

/* Where the bytes live, and what belongs to that. */
static void homes(void)
{
    static const struct {
        const char *arguments[ARGUMENTS];
        enum lkv_home home;
        const char *path;
        unsigned mode;
        int mapped;
        enum lkv_sync sync;
    } cases[] = {
        {{NULL}, LKV_HOME_DATABASE, NULL, 0600, 1, LKV_SYNC_FULL},
        {{"memory=off"}, LKV_HOME_DATABASE, NULL, 0600, 1, LKV_SYNC_FULL},
        {{"MEMORY=On"}, LKV_HOME_MEMORY, NULL, 0600, 1, LKV_SYNC_FULL},
        {{"path='a dir/b'"}, LKV_HOME_FILES, "a dir/b", 0600, 1, LKV_SYNC_FULL},
        {{"mode=0664", "sync=Normal", "mmap=off", "path='/x'", "memory=off"},
         LKV_HOME_FILES,
         "/x",
         0664,
         0,
         LKV_SYNC_NORMAL},
        {{"shm='/Az.0_9-'", "mode='700'", "sync=OFF", "mmap=on"},
         LKV_HOME_SHARED,
         "/Az.0_9-",
         0700,
         1,
         LKV_SYNC_OFF},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lkv_declaration declaration;
        char *text;
        CHECK(declare(&declaration, cases[i].arguments, &text) == SQLITE_OK);
        CHECK(declaration.home == cases[i].home);
        CHECK(cases[i].path == NULL ? declaration.path == NULL
                                    : strcmp(declaration.path, cases[i].path) == 0);
        CHECK(declaration.mode == cases[i].mode);
        CHECK(declaration.mapped == cases[i].mapped);
        CHECK(declaration.sync == cases[i].sync);
        lkv_declaration_free(&declaration);
        sqlite3_free(text);
    }
}

/* A name of shared memory has at most 200 bytes behind its slash. */
static void long_names(void)
{
    char name[203];
    memset(name, 'a', sizeof(name));
    name[0] = '/';
    name[201] = name[202] = 0;
    CHECK(lkv_option_shared_name(name) == SQLITE_OK);
    name[201] = 'a';
    CHECK(lkv_option_shared_name(name) == SQLITE_ERROR);
}

typedef struct bad {
    const char *arguments[ARGUMENTS];
    const char *text;
} bad;

static const bad refused[] = {
    {{""},
     "litekv: argument \"\" is neither a column (name [type]) nor an option (name = "
     "value)"},
    {{"(a)"},
     "litekv: argument \"(a)\" is neither a column (name [type]) nor an option (name = "
     "value)"},
    {{"\"open"},
     "litekv: argument \"\"open\" is neither a column (name [type]) nor an option "
     "(name "
     "= value)"},
    {{"\"\" TEXT"}, "litekv: a column has an empty name"},
    {{"k", "k INT"}, "litekv: column \"k\" is declared twice"},
    {{"k", "K INT"}, "litekv: column \"K\" is declared twice"},
    {{"Kv"},
     "litekv: column \"Kv\": a column cannot have the table's name; choose another"},
    {{"k", "Revision"},
     "litekv: column \"Revision\": the name is reserved; choose another"},
    {{"expires_at INT"},
     "litekv: column \"expires_at\": the name is reserved; choose another"},
    {{"k", "\"updated_at\""},
     "litekv: column \"updated_at\": the name is reserved; choose another"},
    {{"speed = 9"},
     "litekv: unknown option \"speed\"; options are auto_compact, cache, memory, mmap, "
     "mode, path, shm, sync"},
    {{"memory=yes"},
     "litekv: option \"memory\": \"yes\" is not a switch; give on or off"},
    {{"path=x", "mmap=1"},
     "litekv: option \"mmap\": \"1\" is not a switch; give on or off"},
    {{"mode=0444", "path=x"},
     "litekv: option \"mode\": \"0444\" is not the mode of a file; give three octal "
     "digits, the first of them 6 or 7"},
    {{"mode=07777", "path=x"},
     "litekv: option \"mode\": \"07777\" is not the mode of a file; give three octal "
     "digits, the first of them 6 or 7"},
    {{"mode=1600", "path=x"},
     "litekv: option \"mode\": \"1600\" is not the mode of a file; give three octal "
     "digits, the first of them 6 or 7"},
    {{"mode=68", "path=x"},
     "litekv: option \"mode\": \"68\" is not the mode of a file; give three octal "
     "digits, the first of them 6 or 7"},
    {{"mode=608", "path=x"},
     "litekv: option \"mode\": \"608\" is not the mode of a file; give three octal "
     "digits, the first of them 6 or 7"},
    {{"path=''"}, "litekv: option \"path\" is empty; give the path of a directory"},
    {{"shm=cache"},
     "litekv: option \"shm\": \"cache\" is not a name of shared memory; give a slash "
     "and up to 200 letters, digits and characters of '._-'"},
    {{"shm='/'"},
     "litekv: option \"shm\": \"/\" is not a name of shared memory; give a slash and "
     "up to 200 letters, digits and characters of '._-'"},
    {{"shm='/..'"},
     "litekv: option \"shm\": \"/..\" is not a name of shared memory; give a slash and "
     "up to 200 letters, digits and characters of '._-'"},
    {{"shm='/a/b'"},
     "litekv: option \"shm\": \"/a/b\" is not a name of shared memory; give a slash "
     "and up to 200 letters, digits and characters of '._-'"},
    {{"sync=fast", "path=x"},
     "litekv: option \"sync\": \"fast\" is not a kind of sync; give full, normal or "
     "off"},
    {{"path=x", "memory=on"},
     "litekv: options \"memory\", \"path\" and \"shm\" exclude each other; give one "
     "of them"},
    {{"shm='/x'", "path=x"},
     "litekv: options \"memory\", \"path\" and \"shm\" exclude each other; give one "
     "of them"},
    {{"memory=on", "shm='/x'"},
     "litekv: options \"memory\", \"path\" and \"shm\" exclude each other; give one "
     "of them"},
    {{"sync=off"},
     "litekv: option \"sync\" is for tables outside the database; give path or shm "
     "too"},
    {{"mmap=on", "memory=on"},
     "litekv: option \"mmap\" is for tables outside the database; give path or shm "
     "too"},
    {{"mode=600", "memory=off"},
     "litekv: option \"mode\" is for tables outside the database; give path or shm "
     "too"},
    {{"cache=1", "cache=2"}, "litekv: option \"cache\" is given twice"},
    {{"auto_compact=0", "cache=2", "AUTO_COMPACT=0"},
     "litekv: option \"auto_compact\" is given twice"},
    {{"auto_compact=1"},
     "litekv: option \"auto_compact\": \"1\" is not a share of dead bytes; give a "
     "number from 0 to below 1, on or off"},
    {{"auto_compact="},
     "litekv: option \"auto_compact\": the value must be a number, a word or a quoted "
     "string"},
    {{"cache="},
     "litekv: option \"cache\": the value must be a number, a word or a quoted string"},
    {{"cache=-1"},
     "litekv: option \"cache\": \"-1\" is not a number of KiB; give one from 0 to "
     "2147483647"},
    {{"cache=1 2"},
     "litekv: option \"cache\": the value must be a number, a word or a quoted string"},
    {{"cache='1"},
     "litekv: option \"cache\": the value must be a number, a word or a quoted string"},
    {{"cache=big"},
     "litekv: option \"cache\": \"big\" is not a number of KiB; give one from 0 to "
     "2147483647"},
    {{"cache=''"},
     "litekv: option \"cache\": \"\" is not a number of KiB; give one from 0 to "
     "2147483647"},
    {{"cache=2147483648"},
     "litekv: option \"cache\": \"2147483648\" is not a number of KiB; give one from 0 "
     "to 2147483647"},
    {{"cache=99999999999999999999"},
     "litekv: option \"cache\": \"99999999999999999999\" is not a number of KiB; give "
     "one from 0 to 2147483647"},
    {{"k TEXT UNIQUE"},
     "litekv: column \"k\": UNIQUE is not supported; a column is: name [type], and the "
     "key's may be PRIMARY KEY NOT NULL"},
    {{"k", "v TEXT NOT NULL"},
     "litekv: column \"v\": NOT NULL is not supported; only the first column, the key, "
     "has it"},
    {{"k", "v PRIMARY KEY"},
     "litekv: column \"v\": PRIMARY KEY is not supported; only the first column, the "
     "key, has it"},
    {{"k PRIMARY"},
     "litekv: column \"k\": PRIMARY is not supported; a column is: name [type], and "
     "the key's may be PRIMARY KEY NOT NULL"},
    {{"k NOT"},
     "litekv: column \"k\": NOT is not supported; a column is: name [type], and the "
     "key's may be PRIMARY KEY NOT NULL"},
    {{"k NULL"},
     "litekv: column \"k\": NULL is not supported; a column is: name [type], and the "
     "key's may be PRIMARY KEY NOT NULL"},
    {{"k INT PRIMARY KEY AUTOINCREMENT"},
     "litekv: column \"k\": AUTOINCREMENT is not supported; a column is: name [type], "
     "and the key's may be PRIMARY KEY NOT NULL"},
    {{"k PRIMARY KEY DESC"},
     "litekv: column \"k\": DESC is not supported; a column is: name [type], and the "
     "key's may be PRIMARY KEY NOT NULL"},
    {{"k TEXT COLLATE NOCASE"},
     "litekv: column \"k\": COLLATE is not supported; a column is: name [type], and "
     "the key's may be PRIMARY KEY NOT NULL"},
    {{"k", "v DEFAULT 5"},
     "litekv: column \"v\": DEFAULT is not supported; a column is: name [type], and "
     "the key's may be PRIMARY KEY NOT NULL"},
    {{"k", "v AS (k)"},
     "litekv: column \"v\": AS is not supported; a column is: name [type], and the "
     "key's may be PRIMARY KEY NOT NULL"},
    {{"k", "v HIDDEN"},
     "litekv: column \"v\": HIDDEN is not supported; a column is: name [type], and the "
     "key's may be PRIMARY KEY NOT NULL"},
    {{"k", "PRIMARY KEY(k)"},
     "litekv: PRIMARY KEY is not supported; an argument is: name [type], or: "
     "option = value"},
    {{"k", "CHECK (k > 0)"},
     "litekv: CHECK is not supported; an argument is: name [type], or: "
     "option = value"},
    {{"k", "CONSTRAINT c UNIQUE (k)"},
     "litekv: CONSTRAINT is not supported; an argument is: name [type], or: "
     "option = value"},
    {{"k", "FOREIGN KEY (k) REFERENCES t"},
     "litekv: FOREIGN KEY is not supported; an argument is: name [type], or: "
     "option = value"},
    {{"k TEXT; DROP"},
     "litekv: column \"k\": unexpected ;; a column is: name [type], and the key's may "
     "be PRIMARY KEY NOT NULL"},
    {{"k TEXT)"},
     "litekv: column \"k\": unexpected ); a column is: name [type], and the key's may "
     "be PRIMARY KEY NOT NULL"},
    {{"k", "v \"x Hidden y\""},
     "litekv: column \"v\": unexpected \"x Hidden y\"; a column is: name [type], and "
     "the key's may be PRIMARY KEY NOT NULL"},
    {{"k", "v INT, w"},
     "litekv: column \"v\": unexpected ,; a column is: name [type], and the key's may "
     "be PRIMARY KEY NOT NULL"},
    {{"k 'open"},
     "litekv: column \"k\": unexpected 'open; a column is: name [type], and the key's "
     "may be PRIMARY KEY NOT NULL"},
    {{"[d]]"},
     "litekv: column \"d\": unexpected ]; a column is: name [type], and the key's may "
     "be PRIMARY KEY NOT NULL"},
};

static void what_is_refused(void)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        lkv_declaration declaration;
        char *text;
        int rc = declare(&declaration, refused[i].arguments, &text);
        CHECK_TEXT(text, refused[i].text);
        CHECK(rc == SQLITE_ERROR);
        sqlite3_free(text);
        lkv_declaration_free(&declaration);
    }
}

/* SQLite takes what lkv_declaration_sql() makes, whatever the names. */
static void sql_is_taken(void)
{
    static const char *const tables[] = {"kv", "a \"quoted\" one", "it's", "select"};
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        lkv_declaration declaration;
        sqlite3 *db = unit_database();
        char *text, *sql;
        if (accepted[i].sql != NULL &&
            declare(&declaration, accepted[i].arguments, &text) == SQLITE_OK) {
            sql = lkv_declaration_sql(&declaration, tables[i % 4]);
            unit_sql(db, sql);
            sqlite3_free(sql);
            lkv_declaration_free(&declaration);
        }
        sqlite3_close(db);
    }
}

/* Columns of the table that `sql` makes, HIDDEN being part of a type here; 0 when it is
 * no SQL. */
static int columns_of(sqlite3 *db, const char *sql)
{
    int columns = 0;
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) {
        sqlite3_stmt *row = unit_prepare(db, "SELECT * FROM x");
        columns = sqlite3_column_count(row);
        sqlite3_finalize(row);
        unit_sql(db, "DROP TABLE x");
    }
    return columns;
}

/* Words of the grammar in any order: a declaration or a refusal with its reason. What a
 * type may be is SQLite's to say when it reads the result: it takes it with as many
 * columns as were declared, or not at all. */
static void any_arguments(void)
{
    static const char *const pieces[] = {
        "a",       "b",  " ",     " INT", "(",        ")",     "10",    ",",
        " NOT",    "=",  " NULL", "\"",   "'",        "[",     "]",     " PRIMARY",
        " KEY",    "''", "`",     "-",    " UNIQUE",  "cache", "5",     ".",
        " HIDDEN", ";",  "/*",    "--",   "\xc3\xa9", "\t",    "\"x\"", "kv"};
    sqlite3 *db = unit_database();
    int taken = 0;

    for (int turn = 0; turn < 20000; turn++) {
        lkv_declaration declaration;
        char argument[80] = "", *text;
        const char *arguments[ARGUMENTS] = {"first", argument, NULL};
        uint64_t how = unit_random();
        int rc;
        for (unsigned i = 0; i < 1 + (how & 7); i++) {
            unit_add(argument, sizeof(argument), pieces[(how >> (8 + 5 * i)) & 31]);
        }
        rc = declare(&declaration, arguments, &text);
        CHECK(rc == SQLITE_OK ? text == NULL : rc == SQLITE_ERROR && text != NULL);
        if (rc == SQLITE_OK) {
            char *sql = lkv_declaration_sql(&declaration, "kv");
            int columns = columns_of(db, sql);
            if (columns > 0) {
                taken++;
            }
            if (columns > 0 && columns != declaration.columns + 1) {
                unit_fault(__FILE__, __LINE__, "\"%s\" became %s: %d columns", argument,
                           sql, columns);
            }
            sqlite3_free(sql);
        }
        sqlite3_free(text);
        lkv_declaration_free(&declaration);
    }
    CHECK(taken > 100);
    sqlite3_close(db);
}

int main(void)
{
    UNIT_RUN(what_is_accepted);
    UNIT_RUN(shares);
    UNIT_RUN(share_of_a_table);
    UNIT_RUN(homes);
    UNIT_RUN(long_names);
    UNIT_RUN(columns_and_affinities);
    UNIT_RUN(what_is_refused);
    UNIT_RUN(sql_is_taken);
    UNIT_RUN(any_arguments);
    return unit_end();
}
