/*
 * extension.c - a small extension with litekv's entry point, for the runner's own
 * tests: `loaded()` proves that a connection has it, `forget()` leaves a statement
 * behind, so that the connection cannot be closed.
 */
#include <sqlite3ext.h>
#include <stddef.h>

SQLITE_EXTENSION_INIT1

static void loaded(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_result_int(context, 1);
}

static void forget(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = sqlite3_context_db_handle(context);
    sqlite3_result_int(context, sqlite3_prepare_v2(db, "SELECT 1", -1, &stmt, NULL));
}

__attribute__((visibility("default"))) int
sqlite3_litekv_init(sqlite3 *db, char **zErrMsg, const sqlite3_api_routines *api);

int sqlite3_litekv_init(sqlite3 *db, char **zErrMsg, const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api)
    (void)zErrMsg;
    int rc = sqlite3_create_function(db, "loaded", 0, SQLITE_UTF8, NULL, loaded, 0, 0);
    if (rc == SQLITE_OK) {
        rc = sqlite3_create_function(db, "forget", 0, SQLITE_UTF8, NULL, forget, 0, 0);
    }
    return rc;
}
