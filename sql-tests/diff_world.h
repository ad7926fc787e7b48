/*
 * diff_world.h - what an episode of the differential test is made of, and the functions
 * by which its parts call each other.
 *
 * There are two universes in one database: every table exists twice, with `_ord` and
 * with `_lkv` at the end of its name. Of the first universe all tables are ordinary; in
 * the second the tables under test are litekv tables. Generated SQL is a template in
 * which a character stands where the universes differ:
 *
 *      \1              the end of a name: _ord or _lkv
 *      \2 A \3 B \4    A in the ordinary universe, B in the other
 *
 * A template is run in both, and all that can be seen of it must be the same.
 */
#ifndef LKV_DIFF_WORLD_H
#define LKV_DIFF_WORLD_H

#include "diff_random.h"
#include "diff_value.h"

#include <sqlite3.h>
#include <stdbool.h>

enum { DIFF_ORDINARY, DIFF_LITEKV, DIFF_UNIVERSES };
enum {
    DIFF_TABLES = 2,
    DIFF_VALUES = 4,
    DIFF_BINDS = 16,
    DIFF_SAVEPOINTS = 6,
    DIFF_KEPT = 6,
    DIFF_HISTORY = 24,
    DIFF_TRIGGERS = 3,
};

typedef struct diff_sql {
    sqlite3_str *text; /* the template */
    const diff_value *binds[DIFF_BINDS];
    int bind_count;
    int table;     /* which one diff_where() is about */
    bool plain;    /* compare with nothing that has an affinity */
    bool affine;   /* compares with something that has an affinity */
    bool ordered;  /* the order of the result is told */
    bool writes;   /* changes() is told */
    bool loose;    /* ON CONFLICT: litekv has only the primary code */
    bool rollback; /* OR ROLLBACK: may end the transaction */
} diff_sql;

typedef struct diff_result {
    int code; /* extended */
    char *error;
    char **rows;
    size_t count, room;
    int changes;
    sqlite3_int64 rowid;
    bool prepared;
} diff_result;

typedef struct diff_table {
    bool exists;
    int number; /* in its name; a rename changes it */
    int key_type;
    int values;
    int value_type[DIFF_VALUES];
    int cache; /* KiB, or -1 */
} diff_table;

/* What a rollback brings back. */
typedef struct diff_state {
    int version; /* of the schema; no two have the same */
    diff_table table[DIFF_TABLES];
    int extra_columns; /* that ALTER TABLE added to the helper table */
    bool extra_table;
    bool trigger[DIFF_TRIGGERS];
} diff_state;

typedef struct diff_kept { /* a prepared statement that is run again */
    sqlite3_stmt *stmt[DIFF_UNIVERSES];
    int connection;
    diff_sql sql;
    char *text;
} diff_kept;

typedef struct diff_options {
    const char *extension;    /* a file; or ... */
    int (*load)(sqlite3 *db); /* ... what does the same, where it is not NULL */
    bool verbose, careful;
    bool in_memory; /* the databases are in no file */
} diff_options;

typedef struct diff_world {
    const diff_options *options;
    diff_random random;
    uint64_t seed;
    char *dir;
    sqlite3 *db[2];
    int at; /* the connection in use */

    const char *encoding, *journal, *schema, *base;
    int page_size;
    bool utf16, u_is_litekv, large, plain_like;
    /* Where the tables under test are. In files a CREATE gets a directory of its own.
     */
    enum diff_home { DIFF_DATABASE, DIFF_MEMORY, DIFF_FILES } home;
    int directories;
    bool shared; /* two connections see the same, in a file that may be copied */
    int cache_size;
    diff_pool pool;

    diff_state now, begin, backup;
    diff_state saved[DIFF_SAVEPOINTS];
    int versions; /* given so far */
    int depth;
    bool open; /* a transaction */
    bool has_backup;
    bool veto; /* what the commit hook answers */

    diff_kept kept[DIFF_KEPT];
    char *history[DIFF_HISTORY];
    long statements; /* of this episode */
    long limit;
    bool failed;
} diff_world;

/* differential.c: whether the episode goes on. */
static inline bool diff_going(const diff_world *world)
{
    return !world->failed && world->statements < world->limit;
}

/* diff_run.c: running templates. */
diff_sql diff_sql_new(void);
void diff_sql_free(diff_sql *sql);
/* Runs the template in both universes and compares. The code of the litekv one. */
int diff_pair(diff_world *world, diff_sql *sql);
/* The same for a fixed template (printf of SQLite) that needs no comparison of rows. */
int diff_pair_of(diff_world *world, const char *format, ...);
/* Runs SQL that is of no universe, once. `expect` is SQLITE_OK, another primary code,
 * or -1 when anything will do. Returns the primary code. */
int diff_once(diff_world *world, int expect, const char *format, ...);
/* One universe only. */
diff_result diff_run(diff_world *world, sqlite3 *db, int universe, const diff_sql *sql);
void diff_result_free(diff_result *result);
/* The row that a statement stands on, as text; sqlite3_free() it. */
char *diff_read_row(sqlite3_stmt *stmt);
/* Compares all tables on the connection in use. */
void diff_compare(diff_world *world);
/* A fingerprint of the content of one universe. */
char *diff_content(diff_world *world, int universe);
void diff_rerun(diff_world *world);
void diff_forget_kept(diff_world *world, int connection);

/* diff_report.c: what was run, and how it went wrong. */
void diff_note(diff_world *world, const char *format, ...);
void diff_note_sql(diff_world *world, const char *text, const diff_sql *sql);
void diff_fail(diff_world *world, const char *format, ...);
void diff_differ(diff_world *world, const diff_result *ordinary,
                 const diff_result *litekv);
char *diff_substitute(const char *template, int universe);

/* diff_schema.c: tables. */
void diff_schema_create(diff_world *world);
void diff_table_create(diff_world *world, int i);
/* Appends the name of table `i` with its schema, or without. */
void diff_table_name(const diff_world *world, sqlite3_str *sql, int i, bool qualified);
void diff_helper_name(const diff_world *world, sqlite3_str *sql);
void diff_schema_step(diff_world *world);
/* Drops, makes or renames a table in a savepoint, and goes back. */
void diff_schema_undo(diff_world *world);

/* diff_query.c: SELECT, and WHERE clauses. */
void diff_value_any(diff_world *world, diff_sql *sql);
void diff_where(diff_world *world, diff_sql *sql, int i);
void diff_query_step(diff_world *world);

/* diff_change.c: INSERT, UPDATE, DELETE. */
void diff_change_step(diff_world *world);
/* One that is done as a whole or not at all. */
void diff_change_whole(diff_world *world, diff_sql *sql);

/* diff_transaction.c */
void diff_transaction_step(diff_world *world);
void diff_begin(diff_world *world, const char *how);
void diff_savepoint(diff_world *world);
void diff_rollback_to(diff_world *world, int depth);
void diff_release(diff_world *world, int depth);
/* COMMIT, and what its failure means. */
int diff_commit(diff_world *world);
void diff_rollback(diff_world *world);
/* After a failure that may have ended the transaction: the state follows. */
void diff_settle(diff_world *world);

/* diff_connection.c: the database of an episode. */
bool diff_open(diff_world *world, int connection);
void diff_close(diff_world *world, int connection);

/* diff_special.c: several connections, backups, what stands between statements. */
void diff_special_step(diff_world *world);

/* diff_trouble.c: a statement that fails in its middle; a reader that others write
 * under. */
void diff_trouble_full(diff_world *world);
void diff_trouble_interrupt(diff_world *world);
void diff_trouble_reader(diff_world *world);

#endif
