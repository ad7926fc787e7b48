/*
 * module.h - the extension in a fuzz target: linked in, its insides within reach.
 */
#ifndef LKV_FUZZ_MODULE_H
#define LKV_FUZZ_MODULE_H

#include "handle.h"

#include <sqlite3.h>

/* Registers module and functions, as sqlite3_litekv_init() does; the registry is the
 * connection's, of which it tells the last one. An SQLite result code. */
int module_load(sqlite3 *db);
/* The same with another module in the place of litekv's. */
int module_load_as(sqlite3 *db, const sqlite3_module *module);
lkv_registry *module_registry(void);

/* Sizes for every table that the connection has used so far: bytes of log until they
 * become a run, of a segment, and of memory before a transaction writes. 0: as it is.
 */
void module_sizes(uint32_t flush, uint32_t segment, uint32_t spill);

#endif
