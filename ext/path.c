/*
 * path.c - see path.h.
 */
#include "path.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

int lkv_path_of(sqlite3 *db, const char *schema, const char *path, char **out)
{
    const char *file, *slash;

    *out = NULL;
    if (*path == '/') {
        *out = sqlite3_mprintf("%s", path);
    } else {
        file = sqlite3_db_filename(db, schema);
        slash = file == NULL ? NULL : strrchr(file, '/');
        if (slash == NULL) {
            return SQLITE_NOTFOUND;
        }
        *out = sqlite3_mprintf("%.*s/%s", (int)(slash - file), file, path);
    }
    return *out == NULL ? SQLITE_NOMEM : SQLITE_OK;
}
