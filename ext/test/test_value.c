/*
 * test_value.c - affinity: what an ordinary column of each declared type stores is what
 * lkv_value_read() makes of the same value.
 */
#include "random.h"
#include "unit.h"

#define MANY 4000

static const char *const types[] = {
    "",
    "INTEGER",
    "INT",
    "TINYINT",
    "UNSIGNED BIG INT",
    "INT2",
    "CHARACTER(20)",
    "VARCHAR(255)",
    "VARYING CHARACTER(255)",
    "NATIVE CHARACTER(70)",
    "NVARCHAR(100)",
    "TEXT",
    "text",
    "CLOB",
    "BLOB",
    "blob",
    "REAL",
    "DOUBLE",
    "DOUBLE PRECISION",
    "FLOAT",
    "NUMERIC",
    "DECIMAL(10,5)",
    "BOOLEAN",
    "DATE",
    "DATETIME",
    "STRING",
    "ANY",
    "NUM",
    "FLOATING POINT", /* INT in POINT */
    "CHARINT",        /* what comes first in the rules wins, not in the name */
    "BLOBTEXT",
    "TEXTBLOB",
    "REALBLOB",
    "BLOBREAL",
    "FLOABLOB",
    "DOUBCHAR",
    "INTBLOB",
    "xINTx",
    "CHA R",
    "[INT]",
    "\"TEXT\"",
    "`REAL`",
    "POINTER",
    "PRINT",
    "FLO",
    "DOU",
    "REA",
    "TEX",
    "CLO",
    "BLO",
    "Clobber",
    "rEaL",
    "dOuBle",
    "JSON",
    "UUID",
};
#define TYPES (sizeof(types) / sizeof(types[0]))

static const char *const affinity_names[] = {"BLOB", "TEXT", "NUMERIC", "INTEGER",
                                             "REAL"};
static const char *const affinity_types[] = {"", "TEXT", "NUMERIC", "INTEGER", "REAL"};

/* What an ordinary column stores, told apart by what it does to three values. */
static enum lkv_affinity affinity_of_column(sqlite3 *db, const char *type)
{
    enum lkv_affinity affinity = LKV_AFFINITY_BLOB;
    sqlite3_stmt *row;
    char *sql = sqlite3_mprintf("DROP TABLE IF EXISTS t; CREATE TABLE t(a %s, b %s);"
                                "INSERT INTO t VALUES(1, '1.0')",
                                type, type);
    unit_sql(db, sql);
    sqlite3_free(sql);
    row = unit_prepare(db, "SELECT typeof(a), typeof(b) FROM t");
    unit_need(sqlite3_step(row) == SQLITE_ROW, "no row");
    if (strcmp((const char *)sqlite3_column_text(row, 0), "text") == 0) {
        affinity = LKV_AFFINITY_TEXT;
    } else if (strcmp((const char *)sqlite3_column_text(row, 0), "real") == 0) {
        affinity = LKV_AFFINITY_REAL;
    } else if (strcmp((const char *)sqlite3_column_text(row, 1), "integer") == 0) {
        affinity = LKV_AFFINITY_NUMERIC;
    }
    sqlite3_finalize(row);
    if (affinity == LKV_AFFINITY_NUMERIC) { /* INTEGER differs in CAST only */
        sql = sqlite3_mprintf("SELECT typeof(CAST(1.5 AS %s))", type);
        row = unit_prepare(db, sql);
        sqlite3_free(sql);
        unit_need(sqlite3_step(row) == SQLITE_ROW, "no row");
        if (strcmp((const char *)sqlite3_column_text(row, 0), "integer") == 0) {
            affinity = LKV_AFFINITY_INTEGER;
        }
        sqlite3_finalize(row);
    }
    return affinity;
}

static void affinity_of_types(void)
{
    sqlite3 *db = unit_database();
    for (size_t i = 0; i < TYPES; i++) {
        enum lkv_affinity is = lkv_affinity_of(types[i]);
        enum lkv_affinity should = affinity_of_column(db, types[i]);
        if (is != should) {
            unit_fault(__FILE__, __LINE__, "type \"%s\" is %s, should be %s", types[i],
                       affinity_names[is], affinity_names[should]);
        }
    }
    sqlite3_close(db);
}

/* Words of the rules put together in any way. */
static void affinity_of_any_type(void)
{
    static const char *const pieces[] = {"INT",  "CHAR", "CLOB", "TEXT", "BLOB", "REAL",
                                         "FLOA", "DOUB", "X",    "IN",   "blo",  " Z"};
    sqlite3 *db = unit_database();
    for (int turn = 0; turn < 500; turn++) {
        uint64_t how = unit_random();
        char type[32] = "Y";
        for (unsigned i = 0; i < 1 + (how & 3); i++) {
            unit_add(type, sizeof(type), pieces[(how >> (8 + 8 * i)) % 12]);
        }
        if (lkv_affinity_of(type) != affinity_of_column(db, type)) {
            unit_fault(__FILE__, __LINE__, "type \"%s\" is %s", type,
                       affinity_names[lkv_affinity_of(type)]);
        }
    }
    sqlite3_close(db);
}

/* The value of a column, borrowing from the statement. */
static lkv_value column(sqlite3_stmt *row, int i)
{
    lkv_value value = {.type = sqlite3_column_type(row, i)};
    switch (value.type) {
    case SQLITE_INTEGER:
        value.i = sqlite3_column_int64(row, i);
        break;
    case SQLITE_FLOAT:
        value.r = sqlite3_column_double(row, i);
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        value.bytes = value.type == SQLITE_TEXT ? sqlite3_column_text(row, i)
                                                : sqlite3_column_blob(row, i);
        value.size = (size_t)sqlite3_column_bytes(row, i);
        break;
    default:
        break;
    }
    return value;
}

typedef struct ordinary {
    sqlite3 *db;
    sqlite3_stmt *insert, *read, *argument;
    enum lkv_affinity affinity;
} ordinary;

static void must_store_the_same(ordinary *o, const lkv_value *given)
{
    lkv_value stored, made;

    unit_bind(o->insert, 1, given);
    unit_need(sqlite3_step(o->insert) == SQLITE_DONE, "an insert failed");
    sqlite3_reset(o->insert);
    unit_need(sqlite3_step(o->read) == SQLITE_ROW, "no row");
    stored = column(o->read, 0);
    unit_bind(o->argument, 1, given);
    unit_need(sqlite3_step(o->argument) == SQLITE_ROW, "no row");
    unit_need(lkv_value_read(&made, sqlite3_column_value(o->argument, 0),
                             o->affinity) == SQLITE_OK,
              "no memory");
    if (!unit_same(&made, &stored)) {
        unit_fault(__FILE__, __LINE__, "%s: %s becomes %s, an ordinary column has %s",
                   affinity_names[o->affinity], unit_show(given), unit_show(&made),
                   unit_show(&stored));
    }
    lkv_value_clear(&made);
    /* The statement's own value is as it was. */
    made = column(o->argument, 0);
    CHECK(unit_same(&made, given) ||
          (given->type == SQLITE_FLOAT && given->r != given->r));
    sqlite3_reset(o->argument);
    sqlite3_reset(o->read);
}

static const char *const texts[] = {"",
                                    " ",
                                    "0",
                                    "-0",
                                    "+0",
                                    "1",
                                    "+1",
                                    "-1",
                                    " 1",
                                    "1 ",
                                    "\t1\n",
                                    "1.",
                                    "1.0",
                                    ".5",
                                    "-.5",
                                    "5.",
                                    ".",
                                    "-",
                                    "+",
                                    "1e0",
                                    "1e",
                                    "1e+",
                                    "1e2",
                                    "1.5e1",
                                    "1E-2",
                                    "1e400",
                                    "-1e400",
                                    "1e-400",
                                    "0x10",
                                    "1_000",
                                    "abc",
                                    "1a",
                                    "a1",
                                    "١",
                                    "inf",
                                    "nan",
                                    "Infinity",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "-9223372036854775808",
                                    "-9223372036854775809",
                                    "9223372036854775807.0",
                                    "9007199254740993",
                                    "9007199254740993.0",
                                    "9007199254740992.5",
                                    "00000000000000000000000000001",
                                    "0.1",
                                    "1e18",
                                    "1e19",
                                    "123456789012345678901",
                                    "100000000000000000000e-20",
                                    "4.0e0",
                                    "- 1",
                                    "1 2",
                                    "é",
                                    "0.0",
                                    "-0.0"};

static void must_agree(enum lkv_affinity affinity, const char *encoding)
{
    static lkv_value edges[UNIT_EDGES];
    static const char zero_inside[] = "12\0"
                                      "3";
    size_t count = unit_edges(edges);
    lkv_value value = {.type = SQLITE_NULL};
    ordinary o = {unit_database(), NULL, NULL, NULL, affinity};
    char room[40], *sql;

    unit_sql(o.db, encoding);
    sql = sqlite3_mprintf("CREATE TABLE t(id INTEGER PRIMARY KEY, x %s)",
                          affinity_types[affinity]);
    unit_sql(o.db, sql);
    sqlite3_free(sql);
    o.insert = unit_prepare(o.db, "REPLACE INTO t VALUES(1, ?)");
    o.read = unit_prepare(o.db, "SELECT x FROM t");
    o.argument = unit_prepare(o.db, "SELECT ?");
    must_store_the_same(&o, &value);
    for (size_t i = 0; i < count; i++) {
        must_store_the_same(&o, &edges[i]);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        value = unit_text(texts[i]);
        must_store_the_same(&o, &value);
        value.type = SQLITE_BLOB;
        must_store_the_same(&o, &value);
    }
    /* SQLite 3.52 takes what stands before a zero byte for a number; litekv keeps the
     * text on every version, as 3.40 does. */
    if (sqlite3_libversion_number() < 3052000) {
        value = unit_bytes(SQLITE_TEXT, zero_inside, 4);
        must_store_the_same(&o, &value);
    }
    for (int i = 0; i < MANY; i++) {
        value = unit_any(room);
        must_store_the_same(&o, &value);
    }
    sqlite3_finalize(o.insert);
    sqlite3_finalize(o.read);
    sqlite3_finalize(o.argument);
    sqlite3_close(o.db);
}

static void as_an_ordinary_column(void)
{
    for (int i = LKV_AFFINITY_BLOB; i <= LKV_AFFINITY_REAL; i++) {
        must_agree((enum lkv_affinity)i, "PRAGMA encoding = 'UTF-8'");
    }
}

static void as_an_ordinary_utf16_column(void)
{
    for (int i = LKV_AFFINITY_BLOB; i <= LKV_AFFINITY_REAL; i++) {
        must_agree((enum lkv_affinity)i, "PRAGMA encoding = 'UTF-16le'");
    }
}

/* A function that gives its argument back by way of lkv_value. */
static void through(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_value value;
    (void)argc;
    if (lkv_value_read(&value, argv[0], LKV_AFFINITY_BLOB) != SQLITE_OK) {
        sqlite3_result_error_nomem(context);
        return;
    }
    lkv_value_result(context, &value);
    lkv_value_clear(&value);
}

static void results(void)
{
    static lkv_value edges[UNIT_EDGES];
    static const lkv_value none = {.type = SQLITE_NULL};
    sqlite3 *db = unit_database();
    sqlite3_stmt *row;
    size_t count = unit_edges(edges);
    char room[40];

    unit_need(sqlite3_create_function(db, "through", 1, SQLITE_UTF8, NULL, through,
                                      NULL, NULL) == SQLITE_OK,
              "no function");
    row = unit_prepare(db, "SELECT through(?)");
    for (size_t i = 0; i < count + MANY; i++) {
        lkv_value given = i < count ? edges[i] : unit_any(room);
        lkv_value is;
        given = i == 0 ? none : given;
        given.size = i == 1 ? 0 : given.size;
        unit_bind(row, 1, &given);
        unit_need(sqlite3_step(row) == SQLITE_ROW, "no row");
        is = column(row, 0);
        if (!unit_same(&is, &given)) {
            unit_fault(__FILE__, __LINE__, "%s came back as %s", unit_show(&given),
                       unit_show(&is));
        }
        sqlite3_reset(row);
    }
    sqlite3_finalize(row);
    /* No bytes stay a blob, or a text. */
    row = unit_prepare(db, "SELECT typeof(through(x'')), typeof(through('')),"
                           " hex(through(zeroblob(3)))");
    unit_need(sqlite3_step(row) == SQLITE_ROW, "no row");
    CHECK_TEXT(sqlite3_column_text(row, 0), "blob");
    CHECK_TEXT(sqlite3_column_text(row, 1), "text");
    CHECK_TEXT(sqlite3_column_text(row, 2), "000000");
    sqlite3_finalize(row);
    sqlite3_close(db);
}

/* A text that is UTF-8 comes back from a UTF-16 database as it was. */
static void utf8(void)
{
    static const uint8_t begin[] = {0x7f, 0x80, 0xc1, 0xc2, 0xdf, 0xe0,
                                    0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    static const uint8_t more[] = {0x00, 0x80, 0x8f, 0x90, 0x9f,
                                   0xa0, 0xbe, 0xbf, 0xc0};
    sqlite3 *db = unit_database();
    sqlite3_stmt *ask;
    uint64_t random = 1;
    int yes = 0;

    unit_need(sqlite3_exec(db, "PRAGMA encoding = 'UTF-16'; CREATE TABLE t(x)", NULL,
                           NULL, NULL) == SQLITE_OK,
              "no UTF-16");
    ask = unit_prepare(db, "SELECT ?1");
    for (int i = 0; i < 200000; i++) {
        int size = (int)random_below(&random, 4) + 1;
        uint8_t text[4] = {begin[random_below(&random, sizeof(begin))]};
        for (int k = 1; k < size; k++) {
            text[k] = more[random_below(&random, sizeof(more))];
        }
        if (lkv_value_is_utf8(text, (size_t)size)) {
            sqlite3_bind_text(ask, 1, (const char *)text, size, SQLITE_STATIC);
            unit_need(sqlite3_step(ask) == SQLITE_ROW, "no row");
            CHECK(sqlite3_column_bytes(ask, 0) == size &&
                  memcmp(sqlite3_column_text(ask, 0), text, (size_t)size) == 0);
            sqlite3_reset(ask);
            yes++;
        }
    }
    CHECK(yes > 1000);
    sqlite3_finalize(ask);
    sqlite3_close(db);
    CHECK(
        lkv_value_is_utf8("\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd", 13));
    CHECK(lkv_value_is_utf8("\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80\0z", 11));
    CHECK(!lkv_value_is_utf8("\xc1\xbf", 2));
    CHECK(!lkv_value_is_utf8("\xe0\x9f\xbf", 3));
    CHECK(!lkv_value_is_utf8("\xf0\x8f\xbf\xbf", 4));
    CHECK(!lkv_value_is_utf8("\xf4\x90\x80\x80", 4));
    CHECK(!lkv_value_is_utf8("\xf5\x80\x80\x80", 4));
    CHECK(!lkv_value_is_utf8("\xed\xa0\x80", 3) &&
          !lkv_value_is_utf8("\xed\xbf\xbf", 3));
    CHECK(!lkv_value_is_utf8("\xef\xbf\xbe", 3) &&
          !lkv_value_is_utf8("\xef\xbf\xbf", 3));
    CHECK(!lkv_value_is_utf8("a\xe2\x82\xac", 3) && !lkv_value_is_utf8("\x80", 1));
    CHECK(!lkv_value_is_utf8("\xe2\x28\xa1", 3) && lkv_value_is_utf8("", 0));
}

int main(void)
{
    UNIT_RUN(utf8);
    UNIT_RUN(affinity_of_types);
    UNIT_RUN(affinity_of_any_type);
    UNIT_RUN(as_an_ordinary_column);
    UNIT_RUN(as_an_ordinary_utf16_column);
    UNIT_RUN(results);
    return unit_end();
}
