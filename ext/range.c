/*
 * range.c - from the arguments of a plan to ranges of keys.
 *
 * SQLite applies no affinity to what it hands over. The key's own affinity is right for
 * a literal, a parameter and anything of the key's kind. But a number that comes from a
 * numeric column (or any expression that has an affinity) makes SQLite compare a TEXT
 * or untyped key as a number where it looks like one: '05' and '5.0' both equal 5 then.
 * Where such a number comes from cannot be seen, so that for it the scan takes in the
 * numerals as well: every text that could look like a number, which begins with a
 * character from tab to '9'. SQLite sorts out the rest.
 *
 * CAST(5 AS INTEGER) has an affinity as well, and cannot be told from the literal 5,
 * nor CAST(?1 AS INTEGER) from the parameter, nor o.id where the query has o.id = ?1.
 * An untyped key, among whose texts few look like numbers, takes every number for one
 * of unknown origin, and so does a bound. The equality of a TEXT key takes them for
 * what they mostly are: a scan of all its numerals would be the price of key = 5.
 */
#include "range.h"

#include "table.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

static const uint8_t first_numeral[] = {LKV_KEY_TEXT, '\t'};
static const uint8_t past_numerals[] = {LKV_KEY_TEXT, '9' + 1};
static const uint8_t first_blob[] = {LKV_KEY_BLOB};

int lkv_ranges_add(lkv_ranges *ranges, lkv_range **out)
{
    lkv_range *range;
    if (ranges->count == ranges->room) {
        int room = ranges->room == 0 ? 2 : ranges->room * 2;
        lkv_range *moved =
            sqlite3_realloc64(ranges->at, (sqlite3_uint64)room * sizeof(*moved));
        if (moved == NULL) {
            return SQLITE_NOMEM;
        }
        for (int i = 0; i < ranges->count; i++) { /* short keys point into themselves */
            lkv_range *at = &moved[i];
            at->low.data = at->low.room > 0 ? at->low.data : at->low.small;
            at->high.data = at->high.room > 0 ? at->high.data : at->high.small;
        }
        ranges->at = moved;
        ranges->room = room;
    }
    range = &ranges->at[ranges->count++];
    lkv_key_init(&range->low);
    lkv_key_init(&range->high);
    range->has_low = range->has_high = range->strict = range->point = 0;
    *out = range;
    return SQLITE_OK;
}

void lkv_ranges_clear(lkv_ranges *ranges)
{
    for (int i = 0; i < ranges->count; i++) {
        lkv_key_clear(&ranges->at[i].low);
        lkv_key_clear(&ranges->at[i].high);
    }
    ranges->count = 0;
}

void lkv_ranges_free(lkv_ranges *ranges)
{
    lkv_ranges_clear(ranges);
    sqlite3_free(ranges->at);
    memset(ranges, 0, sizeof(*ranges));
}

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int rc = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return rc != 0 ? rc : (a_size > b_size) - (a_size < b_size);
}

int lkv_range_above(const lkv_range *range, lkv_bytes key)
{
    const lkv_key *high = range->point ? &range->low : &range->high;
    int rc;
    if (!range->has_high && !range->point) {
        return 0;
    }
    rc = compare(key.data, key.size, high->data, high->size);
    return rc > 0 || (rc == 0 && range->strict);
}

int lkv_range_below(const lkv_range *range, lkv_bytes key)
{
    return range->has_low &&
           compare(key.data, key.size, range->low.data, range->low.size) < 0;
}

static void set(lkv_key *key, int *has, const uint8_t *bytes, size_t size)
{
    memcpy(key->data, bytes, size);
    key->size = size;
    *has = 1;
}

/* A comparison converts to NUMERIC where a REAL column stores a real. */
static enum lkv_affinity comparison(enum lkv_affinity affinity)
{
    return affinity == LKV_AFFINITY_REAL ? LKV_AFFINITY_NUMERIC : affinity;
}

typedef struct bound {
    int type;   /* of the argument itself */
    int unsure; /* a number or text that SQLite may compare in a numeric way */
} bound;

static int is_number(const bound *from)
{
    return from->type == SQLITE_INTEGER || from->type == SQLITE_FLOAT;
}

enum role { POINT, LOW, HIGH };

/* Encodes one argument; type SQLITE_NULL when it is NULL, which nothing compares with.
 * What is unsure is taken as it is for a lower bound, and else with a TEXT key's
 * affinity. */
static int encode(lkv_key *key, sqlite3_value *argument, enum lkv_affinity affinity,
                  int literal, enum role role, bound *out)
{
    int numeric = affinity != LKV_AFFINITY_TEXT && affinity != LKV_AFFINITY_BLOB;
    lkv_value value;
    unsigned tag;
    int rc;

    out->type = sqlite3_value_type(argument);
    out->unsure =
        !numeric && out->type != SQLITE_BLOB &&
        ((is_number(out) && (affinity == LKV_AFFINITY_BLOB || role != POINT)) ||
         (!literal && !sqlite3_value_frombind(argument)));
    if (out->type == SQLITE_NULL) {
        return SQLITE_OK;
    }
    if (out->unsure && role == LOW) {
        affinity = LKV_AFFINITY_BLOB;
    }
    rc = lkv_value_read(&value, argument, comparison(affinity));
    if (rc == SQLITE_OK) {
        rc = lkv_key_encode(key, &value, &tag);
    }
    lkv_value_clear(&value);
    return rc;
}

static int add_numerals(lkv_ranges *ranges)
{
    lkv_range *range;
    int rc = lkv_ranges_add(ranges, &range);
    if (rc == SQLITE_OK) {
        set(&range->low, &range->has_low, first_numeral, sizeof(first_numeral));
        set(&range->high, &range->has_high, past_numerals, sizeof(past_numerals));
        range->strict = 1;
    }
    return rc;
}

/* The one key of `argument`; a number of unknown origin may also be some text, which a
 * TEXT key always is. */
static int add_point(lkv_ranges *ranges, sqlite3_value *argument,
                     enum lkv_affinity affinity, int literal, int *numerals)
{
    lkv_range *range;
    bound from;
    int rc = lkv_ranges_add(ranges, &range);
    if (rc == SQLITE_OK) {
        rc = encode(&range->low, argument, affinity, literal, POINT, &from);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (from.type == SQLITE_NULL) {
        ranges->count--;
        lkv_key_clear(&range->low);
        return SQLITE_OK;
    }
    range->has_low = range->point = 1;
    *numerals |= from.unsure && is_number(&from);
    return SQLITE_OK;
}

static int by_low(const void *a, const void *b)
{
    const lkv_range *first = a, *second = b;
    const uint8_t *x = first->low.room > 0 ? first->low.data : first->low.small;
    const uint8_t *y = second->low.room > 0 ? second->low.data : second->low.small;
    return compare(x, first->low.size, y, second->low.size);
}

/* Sorts points, drops doubles and those that the range of numerals holds. */
static void settle_points(lkv_ranges *ranges, int numerals)
{
    int kept = 0;

    if (ranges->count > 1) { /* without any, `at` may be NULL */
        qsort(ranges->at, (size_t)ranges->count, sizeof(*ranges->at), by_low);
    }
    for (int i = 0; i < ranges->count; i++) {
        lkv_range *at = &ranges->at[i];
        at->low.data = at->low.room > 0 ? at->low.data : at->low.small;
        at->high.data = at->high.small;
    }
    for (int i = 0; i < ranges->count; i++) {
        lkv_range *at = &ranges->at[i];
        int inside = numerals &&
                     compare(at->low.data, at->low.size, first_numeral,
                             sizeof(first_numeral)) >= 0 &&
                     compare(at->low.data, at->low.size, past_numerals,
                             sizeof(past_numerals)) < 0;
        if (inside || (kept > 0 && by_low(&ranges->at[kept - 1], at) == 0)) {
            lkv_key_clear(&at->low);
            continue;
        }
        if (kept != i) {
            ranges->at[kept] = *at;
            lkv_key_init(&at->low);
            at = &ranges->at[kept];
            at->low.data = at->low.room > 0 ? at->low.data : at->low.small;
            at->high.data = at->high.small;
        }
        kept++;
    }
    ranges->count = kept;
}

/* The range of numerals goes where its texts stand among the points. */
static int place_numerals(lkv_ranges *ranges)
{
    int rc = add_numerals(ranges);
    for (int i = ranges->count - 1;
         rc == SQLITE_OK && i > 0 && by_low(&ranges->at[i - 1], &ranges->at[i]) > 0;
         i--) {
        lkv_range moved = ranges->at[i];
        ranges->at[i] = ranges->at[i - 1];
        ranges->at[i - 1] = moved;
        for (int k = i - 1; k <= i; k++) {
            lkv_range *at = &ranges->at[k];
            at->low.data = at->low.room > 0 ? at->low.data : at->low.small;
            at->high.data = at->high.room > 0 ? at->high.data : at->high.small;
        }
    }
    return rc;
}

static int plan_points(lkv_ranges *ranges, int plan, enum lkv_affinity affinity,
                       sqlite3_value *argument)
{
    int numerals = 0;
    int rc = SQLITE_OK;

    if (plan & LKV_PLAN_EQ) {
        rc = add_point(ranges, argument, affinity, (plan & LKV_PLAN_LITERAL) != 0,
                       &numerals);
    } else {
        sqlite3_value *item;
        int step = sqlite3_vtab_in_first(argument, &item);
        while (rc == SQLITE_OK && step == SQLITE_OK) {
            rc = add_point(ranges, item, affinity, 0, &numerals);
            step = sqlite3_vtab_in_next(argument, &item);
        }
        if (rc == SQLITE_OK && step != SQLITE_DONE) {
            rc = step;
        }
    }
    if (rc == SQLITE_OK) {
        settle_points(ranges, numerals);
    }
    return rc == SQLITE_OK && numerals ? place_numerals(ranges) : rc;
}

/* The range ends at something of unknown origin: as numbers, numerals beyond it may be
 * below it. */
static int add_lower_numerals(lkv_ranges *ranges)
{
    lkv_range *range = &ranges->at[0];

    if (compare(range->high.data, range->high.size, past_numerals,
                sizeof(past_numerals)) >= 0) {
        return SQLITE_OK;
    }
    if (range->high.data[0] == LKV_KEY_NUMBER &&
        (!range->has_low || range->low.data[0] == LKV_KEY_NUMBER)) {
        return add_numerals(ranges);
    }
    /* No number is in the range: it goes on to where the numerals end. */
    set(&range->high, &range->has_high, past_numerals, sizeof(past_numerals));
    range->strict = 1;
    return SQLITE_OK;
}

static int plan_bounds(lkv_ranges *ranges, int plan, enum lkv_affinity affinity,
                       sqlite3_value **argv)
{
    lkv_range *range;
    bound from = {0, 0};
    int rc = lkv_ranges_add(ranges, &range);

    if (rc == SQLITE_OK && (plan & LKV_PLAN_LOW)) {
        rc = encode(&range->low, *argv++, affinity, (plan & LKV_PLAN_LITERAL) != 0, LOW,
                    &from);
        range->has_low = 1;
        if (from.type == SQLITE_NULL) {
            lkv_ranges_clear(ranges);
            return rc;
        }
    }
    if (rc == SQLITE_OK && (plan & LKV_PLAN_HIGH)) {
        rc = encode(&range->high, *argv, affinity, (plan & LKV_PLAN_HIGH_LITERAL) != 0,
                    HIGH, &from);
        range->has_high = 1;
        range->strict = (plan & LKV_PLAN_HIGH_STRICT) != 0;
        if (from.type == SQLITE_NULL) {
            lkv_ranges_clear(ranges);
            return rc;
        }
        if (rc == SQLITE_OK && from.unsure) {
            rc = add_lower_numerals(ranges);
        }
    }
    return rc;
}

/* The ASCII characters before the first wildcard. */
static size_t prefix_size(const char *pattern, size_t size, int like)
{
    const char *wild = like ? "%_" : "*?[";
    size_t i = 0;
    while (i < size && pattern[i] != 0 && (pattern[i] & 0x80) == 0 &&
           strchr(wild, pattern[i]) == NULL) {
        i++;
    }
    return i;
}

static char fold(char c, int upper)
{
    if (upper) {
        return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int prefix_key(lkv_key *key, const char *pattern, size_t size, int like,
                      int upper)
{
    lkv_value text = {.type = SQLITE_TEXT, .bytes = pattern, .size = size};
    unsigned tag;
    int rc = lkv_key_encode(key, &text, &tag);
    for (size_t i = 1; rc == SQLITE_OK && like && i <= size; i++) {
        key->data[i] = (uint8_t)fold((char)key->data[i], upper);
    }
    return rc;
}

/* The texts that begin as the pattern does, in either case for LIKE, and every blob:
 * LIKE and GLOB look at a blob's bytes as text. */
static int plan_prefix(lkv_ranges *ranges, int like, sqlite3_value *argument)
{
    lkv_range *range;
    size_t size = 0;
    const char *pattern = "";
    int rc = lkv_ranges_add(ranges, &range);

    if (rc == SQLITE_OK && sqlite3_value_type(argument) == SQLITE_TEXT) {
        pattern = (const char *)sqlite3_value_text(argument);
        if (pattern == NULL) {
            return SQLITE_NOMEM;
        }
        size = prefix_size(pattern, (size_t)sqlite3_value_bytes(argument), like);
    }
    if (rc != SQLITE_OK || size == 0) {
        return rc;
    }
    rc = prefix_key(&range->low, pattern, size, like, 1);
    if (rc == SQLITE_OK) {
        rc = prefix_key(&range->high, pattern, size, like, 0);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    range->high.data[size]++; /* ASCII: never runs over */
    range->has_low = range->has_high = range->strict = 1;
    rc = lkv_ranges_add(ranges, &range);
    if (rc == SQLITE_OK) {
        set(&range->low, &range->has_low, first_blob, sizeof(first_blob));
    }
    return rc;
}

int lkv_ranges_arguments(int plan)
{
    if (plan & LKV_PLAN_NONE) {
        return 0;
    }
    if (plan & (LKV_PLAN_EQ | LKV_PLAN_IN)) {
        return 1;
    }
    if (plan & (LKV_PLAN_LOW | LKV_PLAN_HIGH)) {
        return ((plan & LKV_PLAN_LOW) != 0) + ((plan & LKV_PLAN_HIGH) != 0);
    }
    return (plan & (LKV_PLAN_LIKE | LKV_PLAN_GLOB)) != 0;
}

int lkv_ranges_plan(lkv_ranges *ranges, int plan, enum lkv_affinity affinity,
                    sqlite3_value **argv)
{
    lkv_range *range;
    if (plan & LKV_PLAN_NONE) {
        return SQLITE_OK;
    }
    if (plan & (LKV_PLAN_EQ | LKV_PLAN_IN)) {
        return plan_points(ranges, plan, affinity, argv[0]);
    }
    if (plan & (LKV_PLAN_LOW | LKV_PLAN_HIGH)) {
        return plan_bounds(ranges, plan, affinity, argv);
    }
    if (plan & (LKV_PLAN_LIKE | LKV_PLAN_GLOB)) {
        return plan_prefix(ranges, (plan & LKV_PLAN_LIKE) != 0, argv[0]);
    }
    return lkv_ranges_add(ranges, &range);
}
