/*
 * api.c - SQLite's functions for the objects of litekv.so in a program.
 *
 * These call SQLite by the table of functions that it hands to an extension when it is
 * loaded. Where coverage is counted, unit tests are linked with the very objects of
 * litekv.so (see the Makefile), and some call them before there is any connection: so
 * the table is fetched before main(). SQLite is shut down again, for tests that
 * configure it.
 */
#include "check.h"

extern const sqlite3_api_routines *sqlite3_api;

static int take(sqlite3 *db, char **text, const sqlite3_api_routines *api)
{
    (void)db;
    (void)text;
    sqlite3_api = api;
    return SQLITE_OK;
}

__attribute__((constructor)) static void fetch(void)
{
    sqlite3 *db = NULL;
    /* It has SQLite's type for an entry point in all but the name. */
    void (*entry)(void) = (void (*)(void))take;

    sqlite3_auto_extension(entry);
    sqlite3_open(":memory:", &db);
    sqlite3_close(db);
    sqlite3_reset_auto_extension();
    sqlite3_shutdown();
}
