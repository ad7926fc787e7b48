/*
 * integrity.c - what PRAGMA integrity_check and quick_check say of a table, where
 * SQLite asks it (3.44 and newer). SQLite itself looks at the pages of the shadow
 * tables; here is looked at what they hold.
 */
#include "table.h"

#include "../core/storage.h"

SQLITE_EXTENSION_INIT3

#define QUICK 1 /* in SQLite's flags: quick_check, which is not to read everything */

static int check(lkv_table *table, int quick, char **text)
{
    lkv_handle *handle = table->handle;
    lkv_error err = {0};
    int rc = handle->storage->ops->pin(handle->storage, &err);

    if (rc != LKV_OK) {
        return lkv_handle_status(handle, rc, &err, text);
    }
    /* Reads root, end, and what of the log is not in the index yet. */
    rc = lkv_handle_refresh(handle, text);
    if (rc == SQLITE_OK && !quick) {
        rc = lkv_handle_verify(handle, text);
    }
    handle->storage->ops->unpin(handle->storage);
    return rc;
}

int lkv_integrity(sqlite3_vtab *base, const char *schema, const char *name, int flags,
                  char **problem)
{
    lkv_table *table = lkv_table_of(base);
    char *text = NULL;
    /* Bytes outside of the database are not its own: a stranger's schema may name any
     * store, and is to be looked at with quick_check first. */
    int external = lkv_home_external(table->handle->home);
    int quick = (flags & QUICK) != 0;
    int rc = external && quick ? SQLITE_OK : check(table, quick, &text);

    (void)schema;
    (void)name;
    if ((rc == SQLITE_CORRUPT_VTAB || rc == SQLITE_CANTOPEN) && text != NULL) {
        *problem = text;
        return SQLITE_OK;
    }
    return lkv_table_error(table, rc, text);
}
