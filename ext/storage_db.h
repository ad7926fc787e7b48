/*
 * storage_db.h - a storage made of four shadow tables in an SQLite database.
 *
 * Each is `(id INTEGER PRIMARY KEY, block BLOB)`. `name_log` holds the segments of the
 * log in blocks that fill a page, `name_base` the parts and `name_index` the runs in
 * the same way, `name_root` the root in row 1. SQLite's transactions are the storage's:
 * what it writes is undone with them.
 */
#ifndef LKV_STORAGE_DB_H
#define LKV_STORAGE_DB_H

#include "../core/storage.h"
#include "sqlite3ext.h"

/* Makes the shadow tables. An SQLite result code; the reason is sqlite3_errmsg(). */
int lkv_storage_db_create(sqlite3 *db, const char *schema, const char *table);
/* Drops them, or gives them the name of `to`. */
int lkv_storage_db_drop(sqlite3 *db, const char *schema, const char *table);
int lkv_storage_db_rename(sqlite3 *db, const char *schema, const char *table,
                          const char *to);

/* Bytes of a block that fills one page of the database. An SQLite result code. */
int lkv_storage_db_block(sqlite3 *db, const char *schema, uint32_t *out);

/* A storage on the shadow tables of `table`; touches no table yet. `cache_bytes` bounds
 * the memory for blocks. NULL without memory. */
lkv_storage *lkv_storage_db_open(sqlite3 *db, const char *schema, const char *table,
                                 uint64_t cache_bytes, const lkv_os *os);
void lkv_storage_db_close(lkv_storage *storage);

/* The tables have another name from here on. SQLITE_NOMEM. */
int lkv_storage_db_renamed(lkv_storage *storage, const char *table);

/* To be called in xCommit: the end that unlock named is now the newest commit. */
void lkv_storage_db_committed(lkv_storage *storage);
/* To be called in xRollback and xRollbackTo: what was read before may not stand any
 * more. */
void lkv_storage_db_doubt(lkv_storage *storage);

/* Whether a statement that writes may be in the middle of one on another database, as a
 * function's is. When that one fails SQLite goes back to its beginning, and tells
 * virtual tables everywhere, but only the databases that it writes to itself go back
 * with it. */
int lkv_storage_db_is_within(const lkv_storage *storage);

/* Whether one of its statements is running: who asks was called from inside it. */
int lkv_storage_db_busy(const lkv_storage *storage);

/* SQLite's code (extended) and text of the failure that was reported as LKV_FAILED. */
int lkv_storage_db_failure(const lkv_storage *storage, const char **text);

/* LKV_OK, or LKV_FAILED when the user has interrupted what is being done: to be asked
 * by whatever reads or writes for long. */
int lkv_storage_db_go_on(void *storage);

/* Bytes of memory that the cache of blocks holds, and its bound. */
uint64_t lkv_storage_db_cached(const lkv_storage *storage, uint64_t *limit);

#endif
