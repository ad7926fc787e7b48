/*
 * path.h - what a path is relative to.
 */
#ifndef LKV_PATH_H
#define LKV_PATH_H

#include "sqlite3ext.h"

/* `path` from the root on, to be freed by sqlite3_free(): a relative one begins in the
 * directory of the schema's database. SQLITE_NOMEM; SQLITE_NOTFOUND when that is not a
 * file. */
#define LKV_PATH_RELATIVE                                                              \
    "litekv: \"%w\": the path is relative, and the main database is not a file; give " \
    "an "                                                                              \
    "absolute one"
int lkv_path_of(sqlite3 *db, const char *schema, const char *path, char **out);

#endif
