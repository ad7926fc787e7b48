/*
 * api.c - SQLite's functions for the objects of litekv.so in a program.
 *
 * Some tests call them before there is any connection, so that the table is fetched
 * before main(). SQLite is shut down again, for tests that configure it.
 */
#include "api.h"

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
    sqlite3_auto_extension((void (*)(void))take);
    sqlite3_open(":memory:", &db);
    sqlite3_close(db);
    sqlite3_reset_auto_extension();
    sqlite3_shutdown();
}
