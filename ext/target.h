/*
 * target.h - the table that a call of an SQL function is about: found by its name, read
 * under one snapshot, or written to by a command.
 *
 * All functions return SQLite's result codes, and leave a message in `text` where there
 * is more to say than the code does.
 */
#ifndef LKV_TARGET_H
#define LKV_TARGET_H

#include "handle.h"

typedef struct lkv_target {
    lkv_handle *handle; /* valid until lkv_target_end() */
    sqlite3_stmt *hold; /* keeps the table connected, and so the handle */
    int pinned;
    char *text;
} lkv_target;

/* Finds the litekv table `name`, which is 'kv' or 'schema.kv', as SQLite looks for it.
 * SQLITE_ERROR when there is none. lkv_target_end() follows in each case. */
int lkv_target_find(lkv_target *target, const lkv_registry *registry, sqlite3 *db,
                    const char *name);
/* The same by the first argument of a function; SQLITE_DONE when one of its arguments
 * is NULL, and then so is its result. */
int lkv_target_of(lkv_target *target, sqlite3_context *context, int argc,
                  sqlite3_value **argv);

/* Takes one snapshot, for all that is read until the end. */
int lkv_target_read(lkv_target *target);

/* What core's `status` is to SQLite. */
int lkv_target_status(lkv_target *target, int status, const lkv_error *err);

/* Runs a command on the table, which tells its result in `target->handle->answer`. */
int lkv_target_command(lkv_target *target, const char *command);

/* Ends the snapshot, and lets the table go. */
void lkv_target_end(lkv_target *target);

/* The same at the end of a function: `rc` other than SQLITE_OK and SQLITE_DONE becomes
 * its error. */
void lkv_target_result(lkv_target *target, sqlite3_context *context, int rc);

#endif
