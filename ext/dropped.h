/*
 * dropped.h - tables in memory that were dropped, and may come back with a rollback.
 */
#ifndef LKV_DROPPED_H
#define LKV_DROPPED_H

#include "handle.h"

/* For xDestroy of a table in memory: takes its name from the handle, and its rows when
 * the transaction is committed. SQLite's result codes; no text, as SQLite asks for none
 * here. */
int lkv_dropped_add(lkv_handle *handle);

/* They are dropped for good. */
void lkv_dropped_forget(lkv_registry *registry);

/* litekv_dropped: an empty table, which is told of the transaction. */
const sqlite3_module *lkv_dropped_module(void);

#endif
