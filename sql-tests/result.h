/*
 * result.h - what a query gave, as the values that a test file would list.
 */
#ifndef LKV_RESULT_H
#define LKV_RESULT_H

#include "text.h"

#include <sqlite3.h>
#include <stdbool.h>

enum lkv_sort {
    LKV_NOSORT,
    LKV_ROWSORT,   /* rows by their values, column by column, as text */
    LKV_VALUESORT, /* all values, whatever row they stood in */
};

/* A column of the current row as type `I`, `R`, `T` or `?` writes it; the caller frees
 * it. */
char *lkv_result_format(sqlite3_stmt *stmt, int column, char type);

void lkv_result_sort(lkv_lines *values, size_t columns, enum lkv_sort sort);
void lkv_result_hash(const lkv_lines *values, char hex[33]);

/* Whether the values are those expected: listed, or `N values hashing to HEX`. */
bool lkv_result_matches(const lkv_lines *values, const lkv_lines *expected);

/* Shows both, from shortly before the first difference, 10 lines of each. */
void lkv_result_explain(const lkv_lines *values, const lkv_lines *expected);
/* At most 10 lines of text, indented, long ones cut. */
void lkv_result_show(const char *title, const lkv_lines *lines, size_t from);

#endif
