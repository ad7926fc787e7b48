/*
 * execute.h - runs the SQL of a record and says what came of it.
 */
#ifndef LKV_EXECUTE_H
#define LKV_EXECUTE_H

#include "text.h"

#include <sqlite3.h>
#include <stdbool.h>

typedef struct lkv_outcome {
    bool failed;       /* the last statement that ran gave an error */
    bool started;      /* ... and did so while it ran, not while it was parsed */
    char *error;       /* "SQLITE_BUSY: database is locked"; NULL without an error */
    bool cut_short;    /* statements stood behind the one that failed */
    size_t statements; /* that ran, the failed one among them */
    size_t columns;    /* of the last statement */
    lkv_lines values;  /* its rows, value after value */
} lkv_outcome;

/* Runs statement after statement up to the first error. The values are those of the
 * last one, each formatted by its letter in `types`, as text where letters are missing.
 */
lkv_outcome lkv_execute(sqlite3 *db, const char *sql, const char *types);
void lkv_execute_free(lkv_outcome *outcome);

/* "SQLITE_CONSTRAINT_UNIQUE" for an extended result code. */
const char *lkv_execute_code_name(int code);

#endif
