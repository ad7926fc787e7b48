/*
 * external.h - handles of tables whose store is outside of the database: in files or in
 * shared memory, where SQLite's locks and snapshots do not reach. For handle.c, whose
 * functions do the same for every table.
 */
#ifndef LKV_EXTERNAL_H
#define LKV_EXTERNAL_H

#include "handle.h"

/* All return SQLite's codes, and a message in `*text`. */

/* Makes the store, or looks whether the one that is there has these columns. */
int lkv_external_make(lkv_handle *handle, char **text);
/* Takes back what that made, and all else that the transaction did. */
void lkv_external_unmake(lkv_handle *handle);

int lkv_external_refresh(lkv_handle *handle, char **text);
/* Waits for the lock of another writer as long as PRAGMA busy_timeout says. */
int lkv_external_begin(lkv_handle *handle, char **text);
/* Undoes the transaction, and keeps the lock. */
void lkv_external_undo(lkv_handle *handle);

/* A cursor of the handle has begun to read: see `seen`. */
static inline void lkv_external_see(lkv_handle *handle)
{
    handle->seen = lkv_home_external(handle->home);
}

#endif
