/*
 * declare.h - what the arguments of CREATE VIRTUAL TABLE say.
 */
#ifndef LKV_DECLARE_H
#define LKV_DECLARE_H

#include "../core/litekv.h"
#include "sqlite3ext.h"
#include "value.h"

typedef struct lkv_column {
    char *name;
    char *type; /* as written, "" for none */
    enum lkv_affinity affinity;
} lkv_column;

/* Where a table's bytes live. */
enum lkv_home {
    LKV_HOME_DATABASE, /* in shadow tables */
    LKV_HOME_MEMORY,   /* with the connection */
    LKV_HOME_FILES,    /* in a directory */
    LKV_HOME_SHARED,   /* in POSIX shared memory */
};

typedef struct lkv_declaration {
    int columns; /* the key, then the value columns; the command column not counted */
    lkv_column *column;
    enum lkv_home home;
    char *path; /* of the directory, as written, or the name of the shared memory */
    int cache_kib;
    unsigned auto_compact; /* in thousandths */
    enum lkv_sync sync;
    unsigned mode; /* rights of what is made outside the database */
    int mapped;
    unsigned given; /* options: a bit for each of option.c's list */
} lkv_declaration;

/* Whether others can come to the table's bytes without the database. */
static inline int lkv_home_external(enum lkv_home home)
{
    return home == LKV_HOME_FILES || home == LKV_HOME_SHARED;
}

/* Reads xCreate's arguments, argv[2] being the table's name. SQLITE_OK, SQLITE_NOMEM,
 * or SQLITE_ERROR with a message in `*text` (sqlite3_mprintf). What was read so far is
 * freed by lkv_declaration_free() in each case. */
int lkv_declaration_read(lkv_declaration *declaration, int argc,
                         const char *const *argv, char **text);
void lkv_declaration_free(lkv_declaration *declaration);

/* Whether a table may have this name, which is that of its command column: later
 * releases have hidden columns of their own. Results as above. */
int lkv_declaration_check_table(const char *name, char **text);

/* The columns as a store outside of the database keeps them; NULL without memory. */
char *lkv_declaration_columns(const lkv_declaration *declaration);

/* The CREATE TABLE text for sqlite3_declare_vtab(); NULL without memory. */
char *lkv_declaration_sql(const lkv_declaration *declaration, const char *table);

#endif
