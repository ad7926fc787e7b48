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

/* A real that is an integer becomes one, as SQLite does it: not at the ends of the
 * range. */
static void prefer_integer(lkv_value *value)
{
    if (value->type == SQLITE_FLOAT && value->r > -9223372036854775808.0 &&
        value->r < 9223372036854775808.0) {
        sqlite3_int64 i = (sqlite3_int64)value->r;
        if ((double)i == value->r && i > INT64_MIN && i < INT64_MAX) {
            value->type = SQLITE_INTEGER;
            value->i = i;
        }
    }
}

static int text_to_number(lkv_value *value, sqlite3_value *argument)
{
    int rc = copy_of(value, argument);
    if (rc != SQLITE_OK) {
        return rc;
    }
    value->type = sqlite3_value_numeric_type(value->copy);
    if (value->type == SQLITE_INTEGER) {
        value->i = sqlite3_value_int64(value->copy);
    } else if (value->type == SQLITE_FLOAT) {
        value->r = sqlite3_value_double(value->copy);
    } else {
        return take_text(value, argument);
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
        rc = numeric ? text_to_number(value, argument) : take_text(value, argument);
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
    } else if (affinity == LKV_AFFINITY_REAL && value->type == SQLITE_FLOAT) {
        /* SQLite stores a whole number of a REAL column as integer: there is no -0.0.
         */
        value->r = value->r == 0 ? 0.0 : value->r;
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
        sqlite3_result_text64(context, value->size > 0 ? value->bytes : "", value->size,
                              SQLITE_TRANSIENT, SQLITE_UTF8);
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
