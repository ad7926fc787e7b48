/*
 * diff_value.c - values that have proved troublesome, and how to write them in SQL.
 *
 * The lists hold neighbours: numbers on both sides of where doubles stop to be exact,
 * texts that look like numbers in several spellings, texts that differ in case only,
 * prefixes of each other, blobs with the bytes of texts. A pool takes a handful of
 * each.
 */
#include "diff_value.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TWO_53 9007199254740992

static const sqlite3_int64 integers[] = {
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    15,
    100,
    255,
    256,
    65535,
    65536,
    -1,
    -2,
    -3,
    -5,
    -10,
    -256,
    2147483647,
    2147483648,
    -2147483648,
    TWO_53 - 1,
    TWO_53,
    TWO_53 + 1,
    TWO_53 + 2,
    TWO_53 + 3,
    -TWO_53 + 1,
    -TWO_53,
    -TWO_53 - 1,
    -TWO_53 - 2,
    INT64_MAX,
    INT64_MAX - 1,
    INT64_MAX - 511,
    INT64_MAX - 512,
    INT64_MAX - 1023,
    INT64_MIN,
    INT64_MIN + 1,
    INT64_MIN + 1024,
    4611686018427387904,
    4611686018427387905,
};

static const double reals[] = {
    0.0,
    -0.0,
    1.0,
    2.0,
    5.0,
    10.0,
    -1.0,
    -5.0,
    0.5,
    1.5,
    -0.5,
    5.5,
    0.1,
    1e-300,
    5e-324,
    1e10,
    1e15,
    1e16,
    1e19,
    1e300,
    -1e300,
    9007199254740991.0,
    9007199254740992.0,
    9007199254740994.0,
    -9007199254740992.0,
    9223372036854775808.0,
    9223372036854774784.0,
    -9223372036854775808.0,
    -9223372036854777856.0,
    4611686018427387904.0,
    (double)__builtin_inf(),
    -(double)__builtin_inf(),
};

static const char *const texts[] = {
    "",
    " ",
    "0",
    "1",
    "2",
    "3",
    "5",
    "7",
    "10",
    "12",
    "15",
    "05",
    "5.0",
    "+5",
    " 5",
    "5 ",
    "\t5",
    "1e1",
    "1.0e1",
    "-1",
    "-0",
    "0.0",
    "-0.0",
    ".5",
    "5.",
    "0.5",
    "0x10",
    "1e300",
    "1e999",
    "inf",
    "Inf",
    "nan",
    "9007199254740993",
    "9007199254740993.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "5a",
    "a",
    "A",
    "aa",
    "ab",
    "Ab",
    "AB",
    "aB",
    "abc",
    "ABC",
    "abd",
    "ac",
    "b",
    "B",
    "ba",
    "z",
    "Z",
    "[",
    "`",
    "~",
    "\x7f",
    "a ",
    "a  ",
    "A ",
    "ab ",
    "%",
    "_",
    "a%",
    "a_c",
    "[a]",
    "*",
    "a*",
    "it's",
    "\"",
    "\xc3\xa4",         /* a with dots */
    "\xc3\x84",         /* A with dots */
    "a\xc3\xa4",        /* the same behind a */
    "\xc4\x80",         /* A with a bar: below 'a' in UTF-16le */
    "\xe6\x97\xa5",     /* three bytes in UTF-8, two in UTF-16 */
    "\xef\xbf\xbd",     /* U+FFFD: above a surrogate in UTF-16 */
    "\xf0\x9f\x98\x80", /* a pair of surrogates in UTF-16 */
    "\xd9\xa1",         /* a digit that is none for SQLite */
};

static const char invalid[][4] = {"\xff", "a\xff", "\xc3", "\xed\xa0\x80"};

static const struct {
    const char *bytes;
    int size;
} blobs[] = {{"", 0},         {"\0", 1},   {"\0\0", 2},   {"\0\1", 2},
             {"a", 1},        {"A", 1},    {"ab", 2},     {"5", 1},
             {"10", 2},       {"\xff", 1}, {"\xff\0", 2}, {"\xff\xff\xff", 3},
             {"\xc3\xa4", 2}, {"abc", 3}};

static diff_value any_text(diff_random *random, bool utf16)
{
    diff_value value = {.type = SQLITE_TEXT};
    if (!utf16 && diff_chance(random, 3)) {
        value.bytes = DIFF_PICK(random, invalid);
        value.size = (int)strlen(value.bytes);
    } else if (!utf16 && diff_chance(random, 2)) {
        value.bytes = "a\0b"; /* a text may hold a NUL */
        value.size = 3;
    } else {
        value.bytes = DIFF_PICK(random, texts);
        value.size = (int)strlen(value.bytes);
    }
    return value;
}

static diff_value long_text(diff_random *random, bool large)
{
    diff_value value = {.type = SQLITE_TEXT, .bytes = "q7", .size = 2};
    if (diff_chance(random, 50)) {
        value.bytes = "xyz";
        value.size = 3;
    }
    value.repeat = diff_between(random, 20, 300);
    if (diff_chance(random, 30)) {
        value.repeat = diff_between(random, 300, 4000);
    }
    if (large && diff_chance(random, 15)) {
        value.repeat = diff_between(random, 30000, 70000);
    }
    value.number = diff_below(random, 4);
    return value;
}

static diff_value any_value(diff_random *random, bool utf16, bool large)
{
    diff_value value = {.type = SQLITE_NULL};
    int kind = diff_below(random, 100);
    if (kind < 30) {
        value.type = SQLITE_INTEGER;
        value.i = diff_chance(random, 50) ? diff_below(random, 12)
                                          : DIFF_PICK(random, integers);
    } else if (kind < 48) {
        value.type = SQLITE_FLOAT;
        value.r = DIFF_PICK(random, reals);
    } else if (kind < 84) {
        value = any_text(random, utf16);
    } else if (kind < 94) {
        int i = diff_below(random, (int)(sizeof(blobs) / sizeof(blobs[0])));
        while (utf16 && i > 0 &&
               (blobs[i].size % 2 != 0 || strchr(blobs[i].bytes, 0xff) != NULL)) {
            i--; /* as text it would be no valid one */
        }
        value.type = SQLITE_BLOB;
        value.bytes = blobs[i].bytes;
        value.size = blobs[i].size;
    } else if (kind < 98) {
        value = long_text(random, large);
    }
    return value;
}

void diff_pool_make(diff_pool *pool, diff_random *random, bool utf16, bool large)
{
    pool->count = diff_between(random, 12, DIFF_POOL_MAX);
    for (int i = 0; i < pool->count; i++) {
        pool->at[i] = any_value(random, utf16, large);
    }
}

static void hex(sqlite3_str *sql, const diff_value *value)
{
    sqlite3_str_appendall(sql, "x'");
    for (int i = 0; i < value->size; i++) {
        sqlite3_str_appendf(sql, "%02x", (unsigned char)value->bytes[i]);
    }
    sqlite3_str_appendall(sql, "'");
}

static bool is_plain(const diff_value *value)
{
    for (int i = 0; i < value->size; i++) {
        if (value->bytes[i] == 0 || (unsigned char)value->bytes[i] == 0xff) {
            return false;
        }
    }
    return true;
}

void diff_value_literal(sqlite3_str *sql, const diff_value *value)
{
    switch (value->type) {
    case SQLITE_INTEGER:
        if (value->i == INT64_MIN) {
            sqlite3_str_appendall(sql, "(-9223372036854775807-1)");
        } else {
            sqlite3_str_appendf(sql, "%lld", value->i);
        }
        break;
    case SQLITE_FLOAT:
        if (value->r > 1e308 || value->r < -1e308) {
            sqlite3_str_appendall(sql, value->r > 0 ? "9e999" : "-9e999");
        } else if (value->r == 0 && __builtin_signbit(value->r)) {
            sqlite3_str_appendall(sql, "-0.0");
        } else {
            sqlite3_str_appendf(sql, "%!.17g", value->r);
        }
        break;
    case SQLITE_TEXT:
        if (value->repeat > 0) {
            sqlite3_str_appendf(sql, "(replace(hex(zeroblob(%d)),'00','%s')||%d)",
                                value->repeat, value->bytes, value->number);
        } else if (is_plain(value)) {
            sqlite3_str_appendf(sql, "'%.*q'", value->size, value->bytes);
        } else {
            sqlite3_str_appendall(sql, "CAST(");
            hex(sql, value);
            sqlite3_str_appendall(sql, " AS TEXT)");
        }
        break;
    case SQLITE_BLOB:
        hex(sql, value);
        break;
    default:
        sqlite3_str_appendall(sql, "NULL");
        break;
    }
}

static int bind_long(sqlite3_stmt *stmt, int i, const diff_value *value)
{
    size_t piece = (size_t)value->size;
    size_t size = piece * (size_t)value->repeat;
    char *text = sqlite3_malloc64(size + 1);
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    for (int k = 0; k < value->repeat; k++) {
        memcpy(text + piece * (size_t)k, value->bytes, piece);
    }
    text[size] = (char)('0' + value->number);
    return sqlite3_bind_text64(stmt, i, text, size + 1, sqlite3_free, SQLITE_UTF8);
}

int diff_value_bind(sqlite3_stmt *stmt, int i, const diff_value *value)
{
    switch (value->type) {
    case SQLITE_INTEGER:
        return sqlite3_bind_int64(stmt, i, value->i);
    case SQLITE_FLOAT:
        return sqlite3_bind_double(stmt, i, value->r);
    case SQLITE_TEXT:
        return value->repeat > 0 ? bind_long(stmt, i, value)
                                 : sqlite3_bind_text(stmt, i, value->bytes, value->size,
                                                     SQLITE_STATIC);
    case SQLITE_BLOB:
        return sqlite3_bind_blob(stmt, i, value->bytes, value->size, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(stmt, i);
    }
}
