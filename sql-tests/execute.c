/*
 * execute.c - runs SQL and keeps its last result or its error, by name and by message.
 */
#include "execute.h"

#include "result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CODE(name)                                                                     \
    {                                                                                  \
        name, #name                                                                    \
    }

static const struct {
    int code;
    const char *name;
} codes[] = {
    CODE(SQLITE_ERROR),
    CODE(SQLITE_INTERNAL),
    CODE(SQLITE_PERM),
    CODE(SQLITE_ABORT),
    CODE(SQLITE_BUSY),
    CODE(SQLITE_LOCKED),
    CODE(SQLITE_NOMEM),
    CODE(SQLITE_READONLY),
    CODE(SQLITE_INTERRUPT),
    CODE(SQLITE_IOERR),
    CODE(SQLITE_CORRUPT),
    CODE(SQLITE_NOTFOUND),
    CODE(SQLITE_FULL),
    CODE(SQLITE_CANTOPEN),
    CODE(SQLITE_PROTOCOL),
    CODE(SQLITE_EMPTY),
    CODE(SQLITE_SCHEMA),
    CODE(SQLITE_TOOBIG),
    CODE(SQLITE_CONSTRAINT),
    CODE(SQLITE_MISMATCH),
    CODE(SQLITE_MISUSE),
    CODE(SQLITE_NOLFS),
    CODE(SQLITE_AUTH),
    CODE(SQLITE_FORMAT),
    CODE(SQLITE_RANGE),
    CODE(SQLITE_NOTADB),
    CODE(SQLITE_NOTICE),
    CODE(SQLITE_WARNING),
    CODE(SQLITE_ROW),
    CODE(SQLITE_DONE),
    CODE(SQLITE_ERROR_MISSING_COLLSEQ),
    CODE(SQLITE_ERROR_RETRY),
    CODE(SQLITE_ERROR_SNAPSHOT),
    CODE(SQLITE_IOERR_READ),
    CODE(SQLITE_IOERR_SHORT_READ),
    CODE(SQLITE_IOERR_WRITE),
    CODE(SQLITE_IOERR_FSYNC),
    CODE(SQLITE_IOERR_DIR_FSYNC),
    CODE(SQLITE_IOERR_TRUNCATE),
    CODE(SQLITE_IOERR_FSTAT),
    CODE(SQLITE_IOERR_UNLOCK),
    CODE(SQLITE_IOERR_RDLOCK),
    CODE(SQLITE_IOERR_DELETE),
    CODE(SQLITE_IOERR_BLOCKED),
    CODE(SQLITE_IOERR_NOMEM),
    CODE(SQLITE_IOERR_ACCESS),
    CODE(SQLITE_IOERR_CHECKRESERVEDLOCK),
    CODE(SQLITE_IOERR_LOCK),
    CODE(SQLITE_IOERR_CLOSE),
    CODE(SQLITE_IOERR_DIR_CLOSE),
    CODE(SQLITE_IOERR_SHMOPEN),
    CODE(SQLITE_IOERR_SHMSIZE),
    CODE(SQLITE_IOERR_SHMLOCK),
    CODE(SQLITE_IOERR_SHMMAP),
    CODE(SQLITE_IOERR_SEEK),
    CODE(SQLITE_IOERR_DELETE_NOENT),
    CODE(SQLITE_IOERR_MMAP),
    CODE(SQLITE_IOERR_GETTEMPPATH),
    CODE(SQLITE_IOERR_CONVPATH),
    CODE(SQLITE_IOERR_VNODE),
    CODE(SQLITE_IOERR_AUTH),
    CODE(SQLITE_IOERR_BEGIN_ATOMIC),
    CODE(SQLITE_IOERR_COMMIT_ATOMIC),
    CODE(SQLITE_IOERR_ROLLBACK_ATOMIC),
    CODE(SQLITE_IOERR_DATA),
    CODE(SQLITE_IOERR_CORRUPTFS),
    CODE(SQLITE_LOCKED_SHAREDCACHE),
    CODE(SQLITE_LOCKED_VTAB),
    CODE(SQLITE_BUSY_RECOVERY),
    CODE(SQLITE_BUSY_SNAPSHOT),
    CODE(SQLITE_BUSY_TIMEOUT),
    CODE(SQLITE_CANTOPEN_NOTEMPDIR),
    CODE(SQLITE_CANTOPEN_ISDIR),
    CODE(SQLITE_CANTOPEN_FULLPATH),
    CODE(SQLITE_CANTOPEN_CONVPATH),
    CODE(SQLITE_CANTOPEN_DIRTYWAL),
    CODE(SQLITE_CANTOPEN_SYMLINK),
    CODE(SQLITE_CORRUPT_VTAB),
    CODE(SQLITE_CORRUPT_SEQUENCE),
    CODE(SQLITE_CORRUPT_INDEX),
    CODE(SQLITE_READONLY_RECOVERY),
    CODE(SQLITE_READONLY_CANTLOCK),
    CODE(SQLITE_READONLY_ROLLBACK),
    CODE(SQLITE_READONLY_DBMOVED),
    CODE(SQLITE_READONLY_CANTINIT),
    CODE(SQLITE_READONLY_DIRECTORY),
    CODE(SQLITE_ABORT_ROLLBACK),
    CODE(SQLITE_CONSTRAINT_CHECK),
    CODE(SQLITE_CONSTRAINT_COMMITHOOK),
    CODE(SQLITE_CONSTRAINT_FOREIGNKEY),
    CODE(SQLITE_CONSTRAINT_FUNCTION),
    CODE(SQLITE_CONSTRAINT_NOTNULL),
    CODE(SQLITE_CONSTRAINT_PRIMARYKEY),
    CODE(SQLITE_CONSTRAINT_TRIGGER),
    CODE(SQLITE_CONSTRAINT_UNIQUE),
    CODE(SQLITE_CONSTRAINT_VTAB),
    CODE(SQLITE_CONSTRAINT_ROWID),
    CODE(SQLITE_CONSTRAINT_PINNED),
    CODE(SQLITE_CONSTRAINT_DATATYPE),
    CODE(SQLITE_NOTICE_RECOVER_WAL),
    CODE(SQLITE_NOTICE_RECOVER_ROLLBACK),
    CODE(SQLITE_WARNING_AUTOINDEX),
    CODE(SQLITE_AUTH_USER),
    CODE(SQLITE_OK_LOAD_PERMANENTLY),
    CODE(SQLITE_OK_SYMLINK),
};

const char *lkv_execute_code_name(int code)
{
    /* A code that is not in the list is told by its primary code, its low byte. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
            if (codes[i].code == code) {
                return codes[i].name;
            }
        }
        code &= 0xff;
    }
    return "unknown result code";
}

static void keep_error(sqlite3 *db, lkv_outcome *outcome)
{
    const char *name = lkv_execute_code_name(sqlite3_extended_errcode(db));
    const char *text = sqlite3_errmsg(db);
    size_t size = strlen(name) + strlen(text) + 3;
    outcome->failed = true;
    outcome->error = lkv_text_alloc(size);
    snprintf(outcome->error, size, "%s: %s", name, text);
}

static void run_one(sqlite3 *db, sqlite3_stmt *stmt, const char *types,
                    lkv_outcome *outcome)
{
    lkv_text_free(&outcome->values);
    outcome->columns = (size_t)sqlite3_column_count(stmt);
    size_t known = strlen(types);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (size_t i = 0; i < outcome->columns; i++) {
            char type = i < known ? types[i] : 'T';
            lkv_text_add(&outcome->values, lkv_result_format(stmt, (int)i, type));
        }
    }
    if (rc != SQLITE_DONE) {
        keep_error(db, outcome);
        outcome->started = true;
    }
}

/* Behind the statement that `sql` begins with. The parser says so only for what it can
 * parse: after a syntax error the end is the first `;` that completes a statement. */
static const char *after_broken(const char *sql)
{
    for (const char *end = sql; (end = strchr(end, ';')) != NULL;) {
        end++;
        char *begin = lkv_text_copy(sql, (size_t)(end - sql));
        int complete = sqlite3_complete(begin);
        free(begin);
        if (complete) {
            return end;
        }
    }
    return sql + strlen(sql);
}

/* Whether any statement, broken or not, is left; blanks and comments are none. */
static bool any_left(sqlite3 *db, const char *sql)
{
    while (*sql != '\0') {
        sqlite3_stmt *stmt = NULL;
        int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, &sql);
        bool found = rc != SQLITE_OK || stmt != NULL;
        sqlite3_finalize(stmt);
        if (found) {
            return true;
        }
    }
    return false;
}

lkv_outcome lkv_execute(sqlite3 *db, const char *sql, const char *types)
{
    lkv_outcome outcome = {.failed = false};
    while (*sql != '\0' && !outcome.failed) {
        sqlite3_stmt *stmt = NULL;
        const char *tail = sql;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, &tail) != SQLITE_OK) {
            keep_error(db, &outcome);
            outcome.statements++;
            tail = after_broken(sql);
        } else if (stmt != NULL) {
            run_one(db, stmt, types, &outcome);
            outcome.statements++;
        }
        sqlite3_finalize(stmt);
        sql = tail;
    }
    outcome.cut_short = outcome.failed && any_left(db, sql);
    return outcome;
}

void lkv_execute_free(lkv_outcome *outcome)
{
    lkv_text_free(&outcome->values);
    free(outcome->error);
    *outcome = (lkv_outcome){.failed = false};
}
