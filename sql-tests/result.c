/*
 * result.c - formats, sorts, hashes and compares results, and shows how they differ.
 *
 * The formats are sqllogictest's for SQLite, so that its files pass unchanged. Two
 * deliberate differences, both stricter: a text or blob is taken whole and not up to
 * its first NUL, and a blob is never converted from the encoding of the database.
 */
#include "result.h"

#include "md5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { shown_lines = 10, shown_bytes = 200, lines_before = 3 };

/* A sign, the 309 digits of the largest double, a point, three decimals, a NUL. */
enum { real_size = 320 };

static char *format_text(sqlite3_stmt *stmt, int column)
{
    bool blob = sqlite3_column_type(stmt, column) == SQLITE_BLOB;
    const void *data = blob ? sqlite3_column_blob(stmt, column)
                            : (const void *)sqlite3_column_text(stmt, column);
    int size = sqlite3_column_bytes(stmt, column);
    if (size <= 0 || data == NULL) {
        return lkv_text_copy("(empty)", strlen("(empty)"));
    }
    char *text = lkv_text_copy(data, (size_t)size);
    for (int i = 0; i < size; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            text[i] = '@';
        }
    }
    return text;
}

/* Three decimals, but of a large number no more than 16 digits that count: SQLite's own
 * printf writes so, and so do the public files. Versions of SQLite differ in how they
 * round the 16th, hence it is done here: %.15e is exact. */
static void write_real(char *out, int size, double real)
{
    char digits[32];
    snprintf(digits, sizeof(digits), "%.15e", fabs(real));
    if (!isfinite(real) || fabs(real) < 1e13) {
        sqlite3_snprintf(size, out, "%.3f", real);
        return;
    }
    /* "d.ddddddddddddddde+NN": 16 digits, the point moved NN places to the right. */
    digits[1] = digits[0];
    int point = atoi(strchr(digits, 'e') + 1) + 1;
    if (real < 0) {
        *out++ = '-';
    }
    for (int i = 0; i < point + 3; i++) {
        if (i == point) {
            *out++ = '.';
        }
        *out++ = i < 16 ? digits[i + 1] : '0';
    }
    *out = '\0';
}

char *lkv_result_format(sqlite3_stmt *stmt, int column, char type)
{
    char number[real_size];
    if (sqlite3_column_type(stmt, column) == SQLITE_NULL) {
        return lkv_text_copy("NULL", strlen("NULL"));
    }
    switch (type) {
    case 'I':
        sqlite3_snprintf(sizeof(number), number, "%lld",
                         sqlite3_column_int64(stmt, column));
        return lkv_text_copy(number, strlen(number));
    case 'R':
        write_real(number, sizeof(number), sqlite3_column_double(stmt, column));
        return lkv_text_copy(number, strlen(number));
    default:
        return format_text(stmt, column);
    }
}

static int compare_rows(const void *a, const void *b, void *context)
{
    char *const *left = a;
    char *const *right = b;
    size_t columns = *(const size_t *)context;
    int order = 0;
    for (size_t i = 0; i < columns && order == 0; i++) {
        order = strcmp(left[i], right[i]);
    }
    return order;
}

void lkv_result_sort(lkv_lines *values, size_t columns, enum lkv_sort sort)
{
    if (sort == LKV_NOSORT || columns == 0 || values->count == 0) {
        return;
    }
    if (sort == LKV_VALUESORT) {
        columns = 1;
    }
    qsort_r(values->at, values->count / columns, columns * sizeof(char *), compare_rows,
            &columns);
}

void lkv_result_hash(const lkv_lines *values, char hex[33])
{
    lkv_md5 md5;
    lkv_md5_start(&md5);
    for (size_t i = 0; i < values->count; i++) {
        lkv_md5_add(&md5, values->at[i], strlen(values->at[i]));
        lkv_md5_add(&md5, "\n", 1);
    }
    lkv_md5_end(&md5, hex);
}

/* The first line that differs, or the number of lines when none does. */
static size_t first_difference(const lkv_lines *a, const lkv_lines *b)
{
    size_t i = 0;
    while (i < a->count && i < b->count && strcmp(a->at[i], b->at[i]) == 0) {
        i++;
    }
    return i;
}

static char *hash_line(const lkv_lines *values)
{
    char hex[33];
    char line[96];
    lkv_result_hash(values, hex);
    int size =
        snprintf(line, sizeof(line), "%zu values hashing to %s", values->count, hex);
    return lkv_text_copy(line, (size_t)size);
}

static bool is_hash(const lkv_lines *expected)
{
    return expected->count == 1 &&
           strstr(expected->at[0], " values hashing to ") != NULL;
}

bool lkv_result_matches(const lkv_lines *values, const lkv_lines *expected)
{
    if (values->count == expected->count &&
        first_difference(values, expected) == values->count) {
        return true;
    }
    if (!is_hash(expected)) {
        return false;
    }
    char *line = hash_line(values);
    bool same = strcmp(line, expected->at[0]) == 0;
    free(line);
    return same;
}

void lkv_result_show(const char *title, const lkv_lines *lines, size_t from)
{
    printf("  %s\n", title);
    size_t to = from + shown_lines;
    for (size_t i = from; i < lines->count && i < to; i++) {
        const char *line = lines->at[i];
        printf("    %.*s%s\n", shown_bytes, line,
               strlen(line) > shown_bytes ? "..." : "");
    }
    if (lines->count > to) {
        printf("    ... and %zu more lines\n", lines->count - to);
    }
    if (lines->count == 0) {
        printf("    (nothing)\n");
    }
}

void lkv_result_explain(const lkv_lines *values, const lkv_lines *expected)
{
    char title[96];
    if (is_hash(expected)) {
        char *line = hash_line(values);
        snprintf(title, sizeof(title), "got: %s", line);
        lkv_result_show("expected:", expected, 0);
        lkv_result_show(title, values, 0);
        free(line);
        return;
    }
    size_t first = first_difference(values, expected);
    size_t from = first > lines_before ? first - lines_before : 0;
    snprintf(title, sizeof(title),
             "expected, %zu values, from value %zu:", expected->count, from + 1);
    lkv_result_show(title, expected, from);
    snprintf(title, sizeof(title),
             "got, %zu values, first difference at value %zu:", values->count,
             first + 1);
    lkv_result_show(title, values, from);
}
