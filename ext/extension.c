/*
 * extension.c - sqlite3_litekv_init: registers the module and the functions.
 */
#include "table.h"

SQLITE_EXTENSION_INIT1

__attribute__((visibility("default"))) int
sqlite3_litekv_init(sqlite3 *db, char **text, const sqlite3_api_routines *api);

/* Whether the connection has the module already: loaded twice, the second registry
 * would know nothing of the tables that are in use. Reads no database: it may not be
 * possible yet. */
static int is_loaded(sqlite3 *db, int *found)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "PRAGMA module_list", -1, &statement, NULL);

    *found = 0;
    if (rc != SQLITE_OK) {
        return rc;
    }
    while (!*found && sqlite3_step(statement) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        *found = sqlite3_stricmp(name, "litekv") == 0;
    }
    return sqlite3_finalize(statement);
}

int sqlite3_litekv_init(sqlite3 *db, char **text, const sqlite3_api_routines *api)
{
    lkv_registry *registry;
    int rc, found;

    SQLITE_EXTENSION_INIT2(api);
    if (sqlite3_libversion_number() < 3040001) {
        *text =
            sqlite3_mprintf("litekv: SQLite %s is too old; 3.40.1 is the oldest that "
                            "litekv runs on",
                            sqlite3_libversion());
        return SQLITE_ERROR;
    }
    rc = is_loaded(db, &found);
    if (rc != SQLITE_OK || found) {
        return rc;
    }
    registry = lkv_registry_new();
    if (registry == NULL) {
        return SQLITE_NOMEM;
    }
    rc = lkv_functions_register(db, registry);
    if (rc != SQLITE_OK) {
        lkv_registry_free(registry);
        return rc;
    }
    /* From here on the registry is the module's, also when this fails. */
    return sqlite3_create_module_v2(db, "litekv", lkv_module(), registry,
                                    lkv_registry_free);
}
