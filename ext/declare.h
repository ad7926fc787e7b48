/*
 * declare.h - what the arguments of CREATE VIRTUAL TABLE say.
 */
#ifndef LKV_DECLARE_H
#define LKV_DECLARE_H

#include "sqlite3ext.h"
#include "value.h"

#define LKV_CACHE_KIB 53248    /* the default of option cache */
#define LKV_COMPACT_SHARE 500u /* of auto_compact, in thousandths */
#define LKV_SHARE_FORM "give a number from 0 to below 1, on or off"

typedef struct lkv_column {
    char *name;
    char *type; /* as written, "" for none */
    enum lkv_affinity affinity;
} lkv_column;

typedef struct lkv_declaration {
    int columns; /* the key, then the value columns; the command column not counted */
    lkv_column *column;
    int cache_kib;
    unsigned auto_compact; /* in thousandths */
    unsigned given;        /* options: a bit for each of declare.c's list */
} lkv_declaration;

/* Reads xCreate's arguments, argv[2] being the table's name. SQLITE_OK, SQLITE_NOMEM,
 * or SQLITE_ERROR with a message in `*text` (sqlite3_mprintf). What was read so far is
 * freed by lkv_declaration_free() in each case. */
int lkv_declaration_read(lkv_declaration *declaration, int argc,
                         const char *const *argv, char **text);
void lkv_declaration_free(lkv_declaration *declaration);

/* Whether a table may have this name, which is that of its command column: later
 * releases have hidden columns of their own. Results as above. */
int lkv_declaration_check_table(const char *name, char **text);

/* A share of dead bytes, as auto_compact has it, in thousandths: 0 is never. SQLITE_OK
 * or SQLITE_ERROR. */
int lkv_declaration_share(const char *value, unsigned *out);

/* The CREATE TABLE text for sqlite3_declare_vtab(); NULL without memory. */
char *lkv_declaration_sql(const lkv_declaration *declaration, const char *table);

#endif
