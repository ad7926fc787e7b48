/*
 * unit.h - what the unit tests of ext share: named tests that are counted, values as
 * SQLite has them, random numbers with a seed.
 *
 * A test is a function; it passes when none of its checks failed. main() runs each by
 * UNIT_RUN and returns unit_end(), which prints the line that tools/test.sh reads.
 */
#ifndef LKV_EXT_UNIT_H
#define LKV_EXT_UNIT_H

#include "value.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

SQLITE_EXTENSION_INIT3 /* nothing in a test, which is linked with SQLite */

    static unsigned long unit_passed,
    unit_failed, unit_faults;
static uint64_t unit_seed;

/* A fault of the test that runs; only the first few are shown. */
__attribute__((format(printf, 3, 4))) static inline void
unit_fault(const char *file, int line, const char *format, ...)
{
    va_list args;
    if (++unit_faults <= 5) {
        printf("%s:%d: ", file, line);
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        printf("\n");
    }
}

#define CHECK(condition)                                                               \
    ((condition) ? (void)0 : unit_fault(__FILE__, __LINE__, "not so: %s", #condition))
#define CHECK_TEXT(is, should)                                                         \
    unit_check_text(__FILE__, __LINE__, (const char *)(is), (should))

static inline void unit_check_text(const char *file, int line, const char *is,
                                   const char *should)
{
    if (is == NULL || strcmp(is, should) != 0) {
        unit_fault(file, line, "is \"%s\", should be \"%s\"", is == NULL ? "NULL" : is,
                   should);
    }
}

/* For what a test cannot go on without. */
static inline void unit_need(int condition, const char *what)
{
    if (!condition) {
        printf("cannot go on: %s\n0 passed, 1 failed\n", what);
        exit(1);
    }
}

static inline void unit_run(const char *name, void (*test)(void))
{
    unit_faults = 0;
    test();
    if (unit_faults > 0) {
        printf("not ok %s: %lu faults, SEED=%llu\n", name, unit_faults,
               (unsigned long long)unit_seed);
        unit_failed++;
    } else {
        unit_passed++;
    }
}
#define UNIT_RUN(test) unit_run(#test, test)

static inline int unit_end(void)
{
    printf("%lu passed, %lu failed\n", unit_passed, unit_failed);
    return unit_failed > 0 || unit_passed == 0;
}

/* SplitMix64 (Steele, Lea and Flood 2014). */
static inline uint64_t unit_random(void)
{
    static uint64_t state;
    uint64_t n;
    if (unit_seed == 0) {
        const char *seed = getenv("SEED");
        unit_seed = seed != NULL ? strtoull(seed, NULL, 10) : 0;
        unit_seed = unit_seed != 0 ? unit_seed : (uint64_t)time(NULL);
        state = unit_seed;
    }
    n = state += 0x9e3779b97f4a7c15u;
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    return n ^ n >> 31;
}

static inline sqlite3 *unit_database(void)
{
    sqlite3 *db = NULL;
    unit_need(sqlite3_open(":memory:", &db) == SQLITE_OK, "no database");
    return db;
}

static inline void unit_sql(sqlite3 *db, const char *sql)
{
    char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK) {
        printf("%s: %s\n", sql, text);
        unit_need(0, "a statement failed");
    }
}

static inline sqlite3_stmt *unit_prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        printf("%s: %s\n", sql, sqlite3_errmsg(db));
        unit_need(0, "a statement cannot be prepared");
    }
    return statement;
}

/* Binds any value as it is. */
static inline void unit_bind(sqlite3_stmt *statement, int i, const lkv_value *value)
{
    int rc = SQLITE_OK;
    switch (value->type) {
    case SQLITE_INTEGER:
        rc = sqlite3_bind_int64(statement, i, value->i);
        break;
    case SQLITE_FLOAT:
        rc = sqlite3_bind_double(statement, i, value->r);
        break;
    case SQLITE_TEXT:
        rc = sqlite3_bind_text64(statement, i, value->size > 0 ? value->bytes : "",
                                 value->size, SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case SQLITE_BLOB:
        rc = sqlite3_bind_blob64(statement, i, value->size > 0 ? value->bytes : "",
                                 value->size, SQLITE_TRANSIENT);
        break;
    default:
        rc = sqlite3_bind_null(statement, i);
        break;
    }
    unit_need(rc == SQLITE_OK, "a value cannot be bound");
}

/* The same real, the zeros told apart. */
static inline int unit_same_real(double a, double b)
{
    return a == b && (signbit(a) != 0) == (signbit(b) != 0);
}

/* The same storage class and the same value. */
static inline int unit_same(const lkv_value *a, const lkv_value *b)
{
    if (a->type != b->type) {
        return 0;
    }
    switch (a->type) {
    case SQLITE_INTEGER:
        return a->i == b->i;
    case SQLITE_FLOAT:
        return unit_same_real(a->r, b->r);
    case SQLITE_NULL:
        return 1;
    default:
        return a->size == b->size &&
               (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
    }
}

/* Adds `piece` to `text`, which has `room` bytes, as far as it fits. */
static inline void unit_add(char *text, size_t room, const char *piece)
{
    size_t size = strlen(text);
    snprintf(text + size, room - size, "%s", piece);
}

/* For messages: valid until the fourth call from now. */
static inline const char *unit_show(const lkv_value *value)
{
    static char text[4][120];
    static unsigned turn;
    char *out = text[turn++ % 4];
    size_t size = sizeof(text[0]);
    switch (value->type) {
    case SQLITE_INTEGER:
        sqlite3_snprintf((int)size, out, "integer %lld", value->i);
        break;
    case SQLITE_FLOAT:
        sqlite3_snprintf((int)size, out, "real %!.17g", value->r);
        break;
    case SQLITE_NULL:
        sqlite3_snprintf((int)size, out, "NULL");
        break;
    default:
        sqlite3_snprintf((int)size, out, "%s of %d bytes '%.*s'",
                         value->type == SQLITE_TEXT ? "text" : "blob", (int)value->size,
                         value->size < 60 ? (int)value->size : 60,
                         value->size > 0 ? (const char *)value->bytes : "");
        break;
    }
    return out;
}

static inline lkv_value unit_integer(sqlite3_int64 i)
{
    return (lkv_value){.type = SQLITE_INTEGER, .i = i};
}

static inline lkv_value unit_real(double r)
{
    return (lkv_value){.type = SQLITE_FLOAT, .r = r};
}

static inline lkv_value unit_bytes(int type, const void *bytes, size_t size)
{
    return (lkv_value){.type = type, .bytes = bytes, .size = size};
}

static inline lkv_value unit_text(const char *text)
{
    return unit_bytes(SQLITE_TEXT, text, strlen(text));
}

/* A value of any class, numbers of every size and form; bytes in `room`, 40 of them. */
static inline lkv_value unit_any(char *room)
{
    static const char digits[] = "0123456789.eE+-x ";
    uint64_t how = unit_random(), bits = unit_random();
    size_t size = how >> 8 & 15;
    double r;

    switch (how % 8) {
    case 0:
        return unit_integer((sqlite3_int64)(bits >> (how >> 8 & 63)));
    case 1:
        return unit_integer(-(sqlite3_int64)(bits >> (1 + (how >> 8) % 63)));
    case 2: /* any bits that are a number */
        memcpy(&r, &bits, sizeof(r));
        return unit_real(r == r ? r : 0.5);
    case 3: /* near an integer */
        return unit_real((double)(sqlite3_int64)(bits >> (how >> 8 & 63)) +
                         (double)(how >> 16 & 3) / 4);
    case 4: /* what may look like a number */
        for (size_t i = 0; i < size; i++, bits >>= 4) {
            room[i] = digits[(bits & 15) + (i == 0 ? how >> 20 & 1 : 0)];
        }
        return unit_bytes(SQLITE_TEXT, room, size);
    case 5: /* texts that begin alike */
        memset(room, 'a', size);
        room[size] = (char)('a' + (bits & 1));
        return unit_bytes(SQLITE_TEXT, room, size + 1);
    default:
        size = how >> 8 & 31;
        for (size_t i = 0; i < size; i++) {
            room[i] = (char)(unit_random() >> (how >> 16 & 7));
        }
        return unit_bytes(SQLITE_BLOB, room, size);
    }
}

/* Numbers where rounding and representation change, into `out`; how many. */
#define UNIT_EDGES 1200u
static inline size_t unit_edges(lkv_value *out)
{
    static const double reals[] = {0.0,
                                   -0.0,
                                   0.5,
                                   -0.5,
                                   1.5,
                                   5e-324,
                                   -5e-324,
                                   1e308,
                                   -1e308,
                                   0.1,
                                   1e-5,
                                   123456.7,
                                   1e15,
                                   1e16,
                                   1e17,
                                   1e18,
                                   1e19,
                                   -1e19,
                                   9.2e18,
                                   -9.2e18,
                                   HUGE_VAL,
                                   -HUGE_VAL,
                                   2.2250738585072014e-308,
                                   4294967296.5};
    size_t count = 0;

    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        out[count++] = unit_real(reals[i]);
    }
    for (int bit = 0; bit < 64; bit += bit < 48 ? 4 : 1) {
        for (int n = -4; n <= 4; n++) {
            uint64_t plus = ((uint64_t)1 << bit) + (uint64_t)(int64_t)n;
            out[count++] = unit_integer((sqlite3_int64)plus);
            out[count++] = unit_integer((sqlite3_int64)(0 - plus));
            out[count++] = unit_real((double)plus);
            out[count++] = unit_real(-(double)plus - (n & 1 ? 0.25 : 0));
        }
    }
    unit_need(count <= UNIT_EDGES, "UNIT_EDGES is too small");
    return count;
}

#endif
