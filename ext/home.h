/*
 * home.h - the storage of a handle, whichever kind it is: what the kinds do not share.
 */
#ifndef LKV_HOME_H
#define LKV_HOME_H

#include "handle.h"

/* Opens the storage of `handle->home`; touches nothing. SQLITE_NOMEM. */
int lkv_home_open(lkv_handle *handle, const lkv_declaration *declaration);
void lkv_home_close(lkv_handle *handle);

/* The table has another name from here on. SQLITE_NOMEM. */
int lkv_home_renamed(lkv_handle *handle, const char *to);

/* In xCommit: what the store committed is committed now. */
void lkv_home_committed(lkv_handle *handle);
/* In xRollback and xRollbackTo: what was read before may not stand any more. */
void lkv_home_doubt(lkv_handle *handle);
/* Whether SQLite may tell of a ROLLBACK TO that the storage does not follow:
 * storage_db.h. */
int lkv_home_is_within(const lkv_handle *handle);
/* Whether a statement of the storage is running: who asks was called from inside it. */
int lkv_home_busy(const lkv_handle *handle);

/* SQLite's code and text of the failure that came as LKV_FAILED. */
int lkv_home_failure(const lkv_handle *handle, const char **text);

/* LKV_OK, or LKV_FAILED when the user has interrupted what is being done: to be asked
 * by whatever takes long. */
int lkv_home_go_on(void *handle);
/* Lets go of the statement that the other homes than the database need for that. */
void lkv_home_rest(lkv_handle *handle);

/* Bytes of memory that copies of blocks take, and their bound. */
uint64_t lkv_home_cached(const lkv_handle *handle, uint64_t *limit);
/* Bytes behind the last commit that belonged to none when the store was opened. */
uint64_t lkv_home_torn(const lkv_handle *handle);
/* How far a commit has come when it is one: a word. */
const char *lkv_home_sync(const lkv_handle *handle);

#endif
