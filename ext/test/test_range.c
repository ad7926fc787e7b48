/*
 * test_range.c - the ranges of a plan hold every key that SQLite would find in an
 * ordinary table. (They may hold more: SQLite looks again. IN is not here, since its
 * values can be had inside xFilter only.)
 */
#include "litekv.h"
#include "range.h"
#include "table.h"
#include "unit.h"

static const char *const types[] = {"", "TEXT", "NUMERIC", "INTEGER", "REAL"};

typedef struct comparison {
    const char *sign;
    int plan;
} comparison;

static const comparison comparisons[] = {
    {"=", LKV_PLAN_EQ},
    {"IS", LKV_PLAN_EQ},
    {">", LKV_PLAN_LOW},
    {">=", LKV_PLAN_LOW},
    {"<", LKV_PLAN_HIGH | LKV_PLAN_HIGH_STRICT},
    {"<=", LKV_PLAN_HIGH},
};

/* Tables t(x), the keys, and s(v), what they are compared with. */
static void fill(sqlite3 *db, const char *key_type, const char *other_type)
{
    static const char values[] =
        "(0), (1), (-1), (5), (5.0), (5.5), (-0.0), (9007199254740993), "
        "(9007199254740992.0), (1e300), (9223372036854775807), "
        "(9223372036854775808.0), ('5'), ('05'), ('5.0'), (' 5'), ('5 '), ('+5'), "
        "('.5e1'), ('-1'), ('abc'), (''), ('9'), (':'), ('a5'), (char(9) || '5'), "
        "('1e300'), (x'35'), (x''), (x'00ff'), ('9007199254740993')";
    char *sql = sqlite3_mprintf("CREATE TABLE t(x %s); CREATE TABLE s(v %s);"
                                "INSERT INTO t VALUES %s; INSERT INTO s VALUES %s",
                                key_type, other_type, values, values);
    unit_sql(db, sql);
    sqlite3_free(sql);
}

static int inside(const lkv_ranges *ranges, const lkv_key *key)
{
    lkv_bytes bytes = {key->data, key->size};
    int found = 0;
    for (int i = 0; i < ranges->count; i++) {
        found += !lkv_range_above(&ranges->at[i], bytes) &&
                 !lkv_range_below(&ranges->at[i], bytes);
    }
    CHECK(found <= 1); /* or a scan would show the row twice */
    return found;
}

/* Ranges come in order: the upper end of each lies below the next one's lower end. */
static void must_ascend(const lkv_ranges *ranges)
{
    for (int i = 0; i + 1 < ranges->count; i++) {
        const lkv_range *at = &ranges->at[i], *next = &ranges->at[i + 1];
        CHECK((at->has_high || at->point) && next->has_low);
        CHECK(lkv_range_above(at, (lkv_bytes){next->low.data, next->low.size}));
    }
}

static void must_hold(const lkv_ranges *ranges, sqlite3_value *x, const char *what)
{
    lkv_value value;
    lkv_key key;
    unsigned tag;

    lkv_key_init(&key);
    unit_need(lkv_value_read(&value, x, LKV_AFFINITY_BLOB) == SQLITE_OK &&
                  lkv_key_encode(&key, &value, &tag) == SQLITE_OK,
              "no memory");
    if (!inside(ranges, &key)) {
        unit_fault(__FILE__, __LINE__, "%s: %s lies outside", what, unit_show(&value));
    }
    lkv_value_clear(&value);
    lkv_key_clear(&key);
}

/* Each argument of `source` in turn; `match` gives the keys that SQLite finds for the
 * row with the same rowid. */
static void must_hold_matches(sqlite3 *db, const char *source, const char *match,
                              int plan, enum lkv_affinity affinity)
{
    sqlite3_stmt *arguments = unit_prepare(db, source);
    sqlite3_stmt *matches = unit_prepare(db, match);
    lkv_ranges ranges = {0};

    while (sqlite3_step(arguments) == SQLITE_ROW) {
        sqlite3_value *argv[] = {sqlite3_column_value(arguments, 1)};
        unit_need(lkv_ranges_plan(&ranges, plan, affinity, argv) == SQLITE_OK,
                  "no memory");
        must_ascend(&ranges);
        sqlite3_bind_int64(matches, 1, sqlite3_column_int64(arguments, 0));
        while (sqlite3_step(matches) == SQLITE_ROW) {
            must_hold(&ranges, sqlite3_column_value(matches, 0), match);
        }
        sqlite3_reset(matches);
        lkv_ranges_clear(&ranges);
    }
    lkv_ranges_free(&ranges);
    sqlite3_finalize(arguments);
    sqlite3_finalize(matches);
}

/* `plus` takes the argument's affinity away, as a literal has none. */
static void compare_all(const char *plus, int literal)
{
    for (size_t i = 0; i < 25; i++) {
        enum lkv_affinity affinity = lkv_affinity_of(types[i / 5]);
        sqlite3 *db = unit_database();
        fill(db, types[i / 5], types[i % 5]);
        for (size_t k = 0; k < sizeof(comparisons) / sizeof(comparisons[0]); k++) {
            int plan = comparisons[k].plan;
            char *match = sqlite3_mprintf(
                "SELECT t.x FROM t, s WHERE s.rowid = ? AND t.x %s %ss.v",
                comparisons[k].sign, plus);
            plan |= literal ? LKV_PLAN_LITERAL | LKV_PLAN_HIGH_LITERAL : 0;
            must_hold_matches(db, "SELECT rowid, v FROM s", match, plan, affinity);
            sqlite3_free(match);
        }
        sqlite3_close(db);
    }
}

static void against_columns(void)
{
    compare_all("", 0);
}

static void against_literals(void)
{
    compare_all("+", 1);
}

/* The range of two bounds, from parameters. */
static int between(lkv_ranges *ranges, const lkv_value *low, const lkv_value *high)
{
    sqlite3 *db = unit_database();
    sqlite3_stmt *row = unit_prepare(db, "SELECT ?, ?");
    sqlite3_value *argv[2];
    int rc;
    unit_bind(row, 1, low);
    unit_bind(row, 2, high);
    unit_need(sqlite3_step(row) == SQLITE_ROW, "no row");
    argv[0] = sqlite3_column_value(row, 0);
    argv[1] = sqlite3_column_value(row, 1);
    rc = lkv_ranges_plan(ranges, LKV_PLAN_LOW | LKV_PLAN_HIGH, LKV_AFFINITY_BLOB, argv);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return rc;
}

static void bounds(void)
{
    lkv_value null = {.type = SQLITE_NULL}, one = unit_integer(1),
              nine = unit_integer(9);
    lkv_value five = unit_real(5.0), ten = unit_integer(10), zero = unit_integer(0);
    char large[300];
    lkv_value text = unit_bytes(SQLITE_TEXT, large, sizeof(large));
    lkv_ranges ranges = {0};
    lkv_key key;
    unsigned tag;

    memset(large, 'x', sizeof(large));
    lkv_key_init(&key);
    CHECK(between(&ranges, &one, &nine) == SQLITE_OK && ranges.count >= 1);
    (void)lkv_key_encode(&key, &five, &tag);
    CHECK(inside(&ranges, &key));
    (void)lkv_key_encode(&key, &nine, &tag);
    CHECK(inside(&ranges, &key));
    (void)lkv_key_encode(&key, &ten, &tag);
    CHECK(!inside(&ranges, &key));
    (void)lkv_key_encode(&key, &zero, &tag);
    CHECK(!inside(&ranges, &key));
    lkv_ranges_clear(&ranges);
    /* Nothing compares with NULL; what the other bound owns is given back. */
    CHECK(between(&ranges, &null, &text) == SQLITE_OK && ranges.count == 0);
    CHECK(between(&ranges, &text, &null) == SQLITE_OK && ranges.count == 0);
    CHECK(between(&ranges, &null, &null) == SQLITE_OK && ranges.count == 0);
    CHECK(between(&ranges, &one, &text) == SQLITE_OK && ranges.count == 1);
    lkv_ranges_free(&ranges);
    lkv_key_clear(&key);
}

static void patterns(void)
{
    sqlite3 *db = unit_database();
    unit_sql(db,
             "CREATE TABLE t(x TEXT); CREATE TABLE s(v);"
             "INSERT INTO t VALUES('a'), ('A'), ('ab'), ('aB'), ('AB'), ('Ab'), ('b'), "
             "('B'), (''), ('%'), ('a%'), ('a*'), ('[a'), ('1'), ('15'), ('_a'), "
             "('`'), ('@'), ('\xc3\xa9'), ('\xc3\x89'), ('a\xc3\xa9'), ('zz'), ('~'), "
             "('~~'), (char(127)), (char(127) || 'a'), (x'6162'), (x'41'), (x'ff');"
             "INSERT INTO s VALUES('a%'), ('A%'), ('ab%'), ('aB_'), ('%'), (''), "
             "('a*'), ('[ab]*'), ('?'), ('a?'), ('1%'), ('1*'), ('~%'), ('~*'), "
             "(char(127) || '%'), (char(127) || '*'), ('_a%'), ('\xc3\xa9%'), "
             "('a\xc3\xa9*'), ('z%'), ('Z%'), ('a'), ('AB'), (1), (1.5), (x'61'), "
             "(NULL), ('@%'), ('`%')");
    must_hold_matches(db, "SELECT rowid, v FROM s",
                      "SELECT t.x FROM t, s WHERE s.rowid = ? AND t.x LIKE s.v",
                      LKV_PLAN_LIKE, LKV_AFFINITY_TEXT);
    must_hold_matches(db, "SELECT rowid, v FROM s",
                      "SELECT t.x FROM t, s WHERE s.rowid = ? AND t.x GLOB s.v",
                      LKV_PLAN_GLOB, LKV_AFFINITY_TEXT);
    sqlite3_close(db);
}

/* Neither too much: a point stays a point, no plan is everything, none is nothing. */
static void narrow(void)
{
    sqlite3 *db = unit_database();
    sqlite3_stmt *row = unit_prepare(db, "SELECT 5, 'ab%'");
    lkv_ranges ranges = {0};
    sqlite3_value *argv[1];
    lkv_bytes low = {"\x30"
                     "AB",
                     3},
              below = {"\x30"
                       "AA",
                       3},
              past = {"\x30"
                      "ac",
                      3};

    unit_need(sqlite3_step(row) == SQLITE_ROW, "no row");
    argv[0] = sqlite3_column_value(row, 0);
    CHECK(lkv_ranges_plan(&ranges, LKV_PLAN_EQ | LKV_PLAN_LITERAL, LKV_AFFINITY_TEXT,
                          argv) == SQLITE_OK);
    CHECK(ranges.count == 1 && ranges.at[0].low.size == 2 &&
          memcmp(ranges.at[0].low.data,
                 "\x30"
                 "5",
                 2) == 0 &&
          ranges.at[0].point && !ranges.at[0].strict);
    lkv_ranges_clear(&ranges);
    argv[0] = sqlite3_column_value(row, 1);
    CHECK(lkv_ranges_plan(&ranges, LKV_PLAN_LIKE, LKV_AFFINITY_TEXT, argv) ==
          SQLITE_OK);
    CHECK(ranges.count == 2 && !lkv_range_below(&ranges.at[0], low) &&
          lkv_range_below(&ranges.at[0], below) &&
          lkv_range_above(&ranges.at[0], past));
    lkv_ranges_clear(&ranges);
    CHECK(lkv_ranges_plan(&ranges, 0, LKV_AFFINITY_TEXT, argv) == SQLITE_OK);
    CHECK(ranges.count == 1 && !ranges.at[0].has_low && !ranges.at[0].has_high);
    lkv_ranges_clear(&ranges);
    CHECK(lkv_ranges_plan(&ranges, LKV_PLAN_NONE, LKV_AFFINITY_TEXT, argv) ==
          SQLITE_OK);
    CHECK(ranges.count == 0);
    lkv_ranges_free(&ranges);
    sqlite3_finalize(row);
    sqlite3_close(db);
}

/* As many as xBestIndex numbers for such a plan. */
static void arguments(void)
{
    CHECK(lkv_ranges_arguments(0) == 0);
    CHECK(lkv_ranges_arguments(LKV_PLAN_DESC | LKV_PLAN_LITERAL) == 0);
    CHECK(lkv_ranges_arguments(LKV_PLAN_EQ | LKV_PLAN_LITERAL) == 1);
    CHECK(lkv_ranges_arguments(LKV_PLAN_IN) == 1);
    CHECK(lkv_ranges_arguments(LKV_PLAN_LOW) == 1);
    CHECK(lkv_ranges_arguments(LKV_PLAN_HIGH | LKV_PLAN_HIGH_STRICT) == 1);
    CHECK(lkv_ranges_arguments(LKV_PLAN_LOW | LKV_PLAN_HIGH) == 2);
    CHECK(lkv_ranges_arguments(LKV_PLAN_LIKE) == 1);
    CHECK(lkv_ranges_arguments(LKV_PLAN_GLOB | LKV_PLAN_DESC) == 1);
    CHECK(lkv_ranges_arguments(LKV_PLAN_NONE | LKV_PLAN_EQ) == 0);
}

int main(void)
{
    UNIT_RUN(against_columns);
    UNIT_RUN(against_literals);
    UNIT_RUN(bounds);
    UNIT_RUN(patterns);
    UNIT_RUN(narrow);
    UNIT_RUN(arguments);
    return unit_end();
}
