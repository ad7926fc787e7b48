/*
 * remove.c - litekv_remove(name): deletes a store outside of the database.
 *
 * The name is the path of a directory, as in option path, or 'shm:' and a name as in
 * option shm. The result is 1. Errors: SQLITE_BUSY when somebody has it open, this
 * connection too; SQLITE_CANTOPEN when there is no store, or something stands there
 * that is no part of one: then nothing is deleted.
 */
#include "functions.h"
#include "option.h"
#include "os_sqlite.h"
#include "path.h"

#include "../core/storage_posix.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

#define SHARED "shm:"

/* What the argument names, in `options`, and in `*path` what is to be freed. */
static int take_name(sqlite3 *db, sqlite3_value *argument, lkv_posix_options *options,
                     char **path, char **text)
{
    const char *name = (const char *)sqlite3_value_text(argument);
    int rc;

    if (name == NULL) {
        return SQLITE_NOMEM;
    }
    if (sqlite3_value_type(argument) != SQLITE_TEXT || *name == 0 ||
        strlen(name) != (size_t)sqlite3_value_bytes(argument)) {
        return lkv_option_refuse(
            text, sqlite3_mprintf("litekv: \"%w\": that is no path; give that of a "
                                  "store, or 'shm:/name'",
                                  name));
    }
    options->shared_memory = strncmp(name, SHARED, sizeof(SHARED) - 1) == 0;
    if (options->shared_memory) {
        options->path = name + sizeof(SHARED) - 1;
        return lkv_option_shared_name(options->path) == SQLITE_OK
                   ? SQLITE_OK
                   : lkv_option_refuse(
                         text, sqlite3_mprintf("litekv: \"%w\": that is not a name of "
                                               "shared memory; " LKV_SHARED_FORM,
                                               name));
    }
    rc = lkv_path_of(db, "main", name, path);
    options->path = *path;
    return rc != SQLITE_NOTFOUND
               ? rc
               : lkv_option_refuse(text, sqlite3_mprintf(LKV_PATH_RELATIVE, name));
}

void lkv_remove(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_posix_options options = {.mode = 0600, .mapped = 1};
    lkv_error err = {0};
    char *path = NULL, *text = NULL;
    int rc;

    (void)argc;
    if (sqlite3_value_type(argv[0]) == SQLITE_NULL) {
        return;
    }
    rc = take_name(sqlite3_context_db_handle(context), argv[0], &options, &path, &text);
    if (rc == SQLITE_OK) {
        rc = lkv_storage_posix_remove(&lkv_os_sqlite, &options, &err);
        if (rc != LKV_OK && rc != LKV_NOMEM) {
            text = sqlite3_mprintf("litekv: %s", err.text);
        }
        rc = lkv_handle_code(rc);
    }
    if (rc == SQLITE_OK) {
        sqlite3_result_int(context, 1);
    } else {
        if (text != NULL) {
            sqlite3_result_error(context, text, -1);
        }
        sqlite3_result_error_code(context, rc);
    }
    sqlite3_free(text);
    sqlite3_free(path);
}
