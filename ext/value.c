/*
 * value.c - affinity. SQLite applies none to the columns of a virtual table.
 */
#include "value.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static int contains(const char *type, const char *word)
{
    size_t size = strlen(word);
    for (; *type != 0; type++) {
        if (sqlite3_strnicmp(type, word, (int)size) == 0) {
            return 1;
        }
    }
    return 0;
}

enum lkv_affinity lkv_affinity_of(const char *type)
{
    if (contains(type, "INT")) {
        return LKV_AFFINITY_INTEGER;
    }
    if (contains(type, "CHAR") || contains(type, "CLOB") || contains(type, "TEXT")) {
        return LKV_AFFINITY_TEXT;
    }
    if (type[0] == 0 || contains(type, "BLOB")) {
        return LKV_AFFINITY_BLOB;
    }
    if (contains(type, "REAL") || contains(type, "FLOA") || contains(type, "DOUB")) {
        return LKV_AFFINITY_REAL;
    }
    return LKV_AFFINITY_NUMERIC;
}

/* A copy of `argument` that may be converted without the statement seeing it. */
static int copy_of(lkv_value *value, sqlite3_value *argument)
{
    value->copy = sqlite3_value_dup(argument);
    return value->copy == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int take_text(lkv_value *value, sqlite3_value *from)
{
    value->type = SQLITE_TEXT;
    value->bytes = sqlite3_value_text(from);
    value->size = (size_t)sqlite3_value_bytes(from);
    return value->bytes == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

/* As it is: sqlite3_value_text() would first copy a text that does not end in a zero,
 * as few do that were bound. */
static int view_text(lkv_value *value, sqlite3_value *argument)
{
    if (sqlite3_value_encoding(argument) != SQLITE_UTF8) {
        return take_text(value, argument);
    }
    value->bytes = sqlite3_value_blob(argument);
    value->size = (size_t)sqlite3_value_bytes(argument);
    return value->bytes == NULL && value->size > 0 ? SQLITE_NOMEM : SQLITE_OK;
}

/* A real that is an integer becomes one, as SQLite does it: not at the ends of the
 * range. */
static void prefer_integer(lkv_value *value)
{
    if (value->type == SQLITE_FLOAT && value->r > -9223372036854775808.0 &&
        value->r < 9223372036854775808.0) {
        sqlite3_int64 i = (sqlite3_int64)value->r;
        if ((double)i == value->r) {
            value->type = SQLITE_INTEGER;
            value->i = i;
        }
    }
}

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

/* Whether the whole text is a number to SQLite; `*integer` when it has neither point
 * nor exponent. */
static int looks_numeric(const char *at, const char *end, int *integer)
{
    const char *digits;
    ptrdiff_t count;

    *integer = 1;
    while (at < end && is_space(*at)) {
        at++;
    }
    while (end > at && is_space(end[-1])) {
        end--;
    }
    at += at < end && (*at == '-' || *at == '+');
    digits = at;
    at = skip_digits(at, end);
    count = at - digits;
    if (at < end && *at == '.') {
        *integer = 0;
        digits = ++at;
        at = skip_digits(at, end);
        count += at - digits;
    }
    if (count > 0 && at < end && (*at == 'e' || *at == 'E')) {
        *integer = 0;
        at++;
        at += at < end && (*at == '-' || *at == '+');
        digits = at;
        at = skip_digits(at, end);
        count = at - digits;
    }
    return count > 0 && at == end;
}

/* An integer's text as 64 bits, or 0 when it does not fit. */
static int parse_integer(const char *at, sqlite3_int64 *out)
{
    int minus;
    uint64_t n = 0;
    while (is_space(*at)) {
        at++;
    }
    minus = *at == '-';
    at += *at == '-' || *at == '+';
    for (; *at >= '0'; at++) { /* what is no digit is a space, and below */
        unsigned digit = (unsigned)(*at - '0');
        if (n > ((uint64_t)INT64_MAX + (unsigned)minus - digit) / 10) {
            return 0;
        }
        n = n * 10 + digit;
    }
    *out = (sqlite3_int64)(minus ? 0 - n : n);
    return 1;
}

/* sqlite3_value_numeric_type() would do it, but it changes the argument, which the
 * statement goes on using, and newer versions of SQLite crash on a copy. */
static int text_to_number(lkv_value *value, sqlite3_value *argument)
{
    int integer;
    int rc = take_text(value, argument);

    if (rc != SQLITE_OK ||
        !looks_numeric(value->bytes, (const char *)value->bytes + value->size,
                       &integer)) {
        return rc;
    }
    if (integer && parse_integer(value->bytes, &value->i)) {
        value->type = SQLITE_INTEGER;
    } else {
        value->type = SQLITE_FLOAT;
        value->r = sqlite3_value_double(argument);
    }
    return SQLITE_OK;
}

static int number_to_text(lkv_value *value, sqlite3_value *argument)
{
    int rc;
    if (value->type == SQLITE_INTEGER) {
        sqlite3_snprintf((int)sizeof(value->digits), value->digits, "%lld", value->i);
        value->type = SQLITE_TEXT;
        value->bytes = value->digits;
        value->size = strlen(value->digits);
        return SQLITE_OK;
    }
    rc = copy_of(value, argument);
    return rc == SQLITE_OK ? take_text(value, value->copy) : rc;
}

int lkv_value_read(lkv_value *value, sqlite3_value *argument,
                   enum lkv_affinity affinity)
{
    int rc = SQLITE_OK;
    int numeric = affinity == LKV_AFFINITY_NUMERIC ||
                  affinity == LKV_AFFINITY_INTEGER || affinity == LKV_AFFINITY_REAL;

    value->copy = NULL;
    value->type = sqlite3_value_type(argument);
    switch (value->type) {
    case SQLITE_INTEGER:
        value->i = sqlite3_value_int64(argument);
        break;
    case SQLITE_FLOAT:
        value->r = sqlite3_value_double(argument);
        break;
    case SQLITE_TEXT:
        rc = numeric ? text_to_number(value, argument) : view_text(value, argument);
        break;
    case SQLITE_BLOB:
        value->bytes = sqlite3_value_blob(argument);
        value->size = (size_t)sqlite3_value_bytes(argument);
        if (value->bytes == NULL && value->size > 0) {
            rc = SQLITE_NOMEM;
        }
        break;
    default:
        break;
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (affinity == LKV_AFFINITY_TEXT &&
        (value->type == SQLITE_INTEGER || value->type == SQLITE_FLOAT)) {
        return number_to_text(value, argument);
    }
    if (affinity == LKV_AFFINITY_REAL && value->type == SQLITE_INTEGER) {
        value->type = SQLITE_FLOAT;
        value->r = (double)value->i;
    } else if (affinity == LKV_AFFINITY_REAL && value->type == SQLITE_FLOAT &&
               value->r == 0) {
        value->r = 0; /* SQLite stores -0.0 there as the integer 0, and so loses it */
    } else if (affinity == LKV_AFFINITY_NUMERIC || affinity == LKV_AFFINITY_INTEGER) {
        prefer_integer(value);
    }
    return SQLITE_OK;
}

void lkv_value_clear(lkv_value *value)
{
    sqlite3_value_free(value->copy);
    value->copy = NULL;
}

/* A text whose end SQLite is told by a zero is copied with it. Else
 * sqlite3_column_text() would move it to add one: two allocations for each row of a
 * scan. */
static void result_text(sqlite3_context *context, const lkv_value *value)
{
    char text[256];
    if (value->size >= sizeof(text) ||
        (value->size > 0 && memchr(value->bytes, 0, value->size) != NULL)) {
        sqlite3_result_text64(context, value->bytes, value->size, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
        return;
    }
    if (value->size > 0) {
        memcpy(text, value->bytes, value->size);
    }
    text[value->size] = 0;
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

/* Half a surrogate pair and the two that are no characters SQLite takes for others. */
int lkv_value_is_utf8(const void *bytes, size_t size)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const uint8_t *at = bytes, *end = at + size;

    while (at < end) {
        uint32_t c = *at++;
        int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || end - at < more) {
            return 0;
        }
        c &= more == 0 ? 0x7f : 0x3fu >> more;
        for (int i = 0; i < more; i++) {
            if ((*at & 0xc0) != 0x80) {
                return 0;
            }
            c = c << 6 | (*at++ & 0x3f);
        }
        if (c < least[more] || c > 0x10ffff || (c & ~0x7ffu) == 0xd800 ||
            (c & ~1u) == 0xfffe) {
            return 0;
        }
    }
    return 1;
}

void lkv_value_result(sqlite3_context *context, const lkv_value *value)
{
    switch (value->type) {
    case SQLITE_INTEGER:
        sqlite3_result_int64(context, value->i);
        break;
    case SQLITE_FLOAT:
        sqlite3_result_double(context, value->r);
        break;
    case SQLITE_TEXT:
        result_text(context, value);
        break;
    case SQLITE_BLOB:
        if (value->size == 0) {
            sqlite3_result_zeroblob(context, 0);
        } else {
            sqlite3_result_blob64(context, value->bytes, value->size, SQLITE_TRANSIENT);
        }
        break;
    default:
        sqlite3_result_null(context);
        break;
    }
}
