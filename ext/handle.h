/*
 * handle.h - the store of one table on one connection, shared by the vtab objects that
 * SQLite makes of the table.
 *
 * SQLite may connect a second vtab object to a table in the middle of a transaction
 * (ALTER of another table does it), so that the store cannot belong to one of them: it
 * is found by schema and name. All functions return SQLite's result codes; `*text`,
 * when it is not NULL afterwards, is a message from sqlite3_mprintf() that tells more
 * than the code.
 */
#ifndef LKV_HANDLE_H
#define LKV_HANDLE_H

#include "declare.h"
#include "sqlite3ext.h"

typedef struct lkv_handle lkv_handle;

/* The handles of one connection. */
typedef struct lkv_registry {
    lkv_handle *handles;
    lkv_handle *dropped; /* dropped.c: in this transaction, the newest first */
    int hears;           /* of this transaction */
    int level;           /* the innermost savepoint, in SQLite's number; -1: none */
    int references;      /* the module's, the functions', one of each handle */
} lkv_registry;

struct lkv_handle {
    lkv_registry *registry; /* NULL: found no more */
    lkv_handle *next;
    int references;
    int kept;       /* 1: one of them is the registry's, for a table in memory */
    int lost;       /* dropped, and nobody hears whether for good */
    int dropped_at; /* in which savepoint */
    sqlite3 *db;
    char *schema, *table;
    char *file; /* of the schema's database */
    char *meta; /* the columns, as the store keeps them */
    char *path; /* of a store outside; NULL: relative to what is not a file */
    enum lkv_home home;
    sqlite3_stmt *watch; /* home.c */
    int failure;
    int made;    /* in memory: there is a store; outside: by this transaction */
    int cursors; /* that are open */
    int seen;    /* outside: one of them reads; what it sees is all that is seen */
    struct lkv_scan *counting; /* scan.c: whose cursors have not come to their rows */
    lkv_storage *storage;
    lkv_store *store;
    struct lkv_handle_mark {
        int savepoint; /* SQLite's number */
        int began;     /* a transaction of the store was open: `depth` is its mark */
        uint32_t depth;
        int is_new; /* nothing was written since */
    } * marks;
    int mark_count, mark_capacity;
    /* Who tells of SQLite's transaction, if anybody: a vtab object, or the registry for
     * one that was dropped and came back. */
    const void *leader;
    int created;             /* in this transaction: see handle.c */
    uint8_t id[16];          /* of the store that was created */
    int unsure;              /* a vtab object was connected since */
    int joining;             /* xBegin comes for no statement that writes */
    struct lkv_handle_name { /* what it was called in this transaction, newest first */
        struct lkv_handle_name *older;
        int marks; /* that were there when it got another name */
        char *text;
    } * names;
    int smallest;    /* savepoint seen in this transaction; INT_MAX before the first */
    int next_number; /* of a savepoint, unless some are left out; -1: not known */
    int went_back;   /* to a savepoint, and nothing was read or written since */
    int writes_through; /* what is written is to be in the storage at once */
    /* What a function and the command that it runs tell each other: command.c. */
    const lkv_source *source;      /* to be imported; NULL: it is in the statement */
    struct lkv_recovery *recovery; /* what becomes of it is to be told; NULL: not */
    sqlite3_int64 answer;
};

/* registry.c */

/* A connection's registry, with one reference; every handle holds another. It is freed
 * with the last one that lkv_registry_release() gives back. lkv_registry_free() gives
 * back the module's, and the connection ends: tables in memory end with it. */
lkv_registry *lkv_registry_new(void);
void lkv_registry_hold(lkv_registry *registry);
void lkv_registry_release(void *registry);
void lkv_registry_free(void *registry);

/* The handle of the table that is declared so, one reference more. `fresh` is for
 * xCreate: whatever handle had the name before is found no more. Touches no table.
 * SQLITE_NOMEM. */
int lkv_handle_open(lkv_registry *registry, sqlite3 *db, const char *schema,
                    const char *table, const lkv_declaration *declaration, int fresh,
                    lkv_handle **out);
/* The handle that lkv_handle_open() made for the table, or NULL; no reference. */
lkv_handle *lkv_handle_find(const lkv_registry *registry, const char *schema,
                            const char *table);
void lkv_handle_close(lkv_handle *handle);

/* Takes the handle out of the registry: its name goes to another, or nowhere. Without
 * a reference of the caller's it may be gone then. */
void lkv_handle_detach(lkv_handle *handle);
/* Puts it there: it is found before any other of its name. */
void lkv_handle_attach(lkv_handle *handle, lkv_registry *registry);
/* It is found before any other of its name from here on. */
void lkv_handle_prefer(lkv_handle *handle);

/* handle.c */

/* For xCreate: the handle's store was made just now. */
int lkv_handle_created(lkv_handle *handle, char **text);

void lkv_handle_names_free(lkv_handle *handle);

/* The table has another name from here on, or until its transaction undoes it. */
int lkv_handle_rename(lkv_handle *handle, const char *to);

/* Brings the store to the state that a statement must see. */
int lkv_handle_refresh(lkv_handle *handle, char **text);
/* The same for a statement that writes: opens the store's transaction if there is none.
 */
int lkv_handle_begin(lkv_handle *handle, char **text);
/* scan.c: before the first change, scans that only count rows go to where they are. */
void lkv_scans_stand(lkv_handle *handle);

/* After such a statement has written a row: the storage of a table in the database
 * shows an end of the log that fits all that it has, wherever SQLite may go back to. */
int lkv_handle_wrote(lkv_handle *handle, char **text);

/* SQLite's transaction and savepoints, in its numbers. The first vtab object that
 * enters it leads: what the others are told of savepoints is passed over. */
int lkv_handle_enter(lkv_handle *handle, const void *object, char **text);
/* After that, for a table outside of the database: takes the lock of a writer. */
int lkv_handle_lock(lkv_handle *handle, const void *object, char **text);
int lkv_handle_sync(lkv_handle *handle, char **text);
/* Whether its table was dropped and may come back (dropped.c). Vtab objects from before
 * the last change of the schema are still told of the end of the transaction, but of
 * such a one the registry is who hears. */
int lkv_handle_is_dropped(const lkv_handle *handle);
void lkv_handle_commit(lkv_handle *handle);
void lkv_handle_rollback(lkv_handle *handle);
/* SQLite's transaction goes on, and tells the handle no more of it: what is pending is
 * written out. For a table in the database. */
void lkv_handle_part(lkv_handle *handle);
int lkv_handle_savepoint(lkv_handle *handle, const void *object, int savepoint,
                         char **text);
void lkv_handle_rollback_to(lkv_handle *handle, const void *object, int savepoint);
void lkv_handle_release(lkv_handle *handle, const void *object, int savepoint);

/* Reads everything; after lkv_handle_refresh(). */
int lkv_handle_verify(lkv_handle *handle, char **text);

/* SQLite's code for core's `status` (not LKV_FAILED), and with its message. */
int lkv_handle_code(int status);
int lkv_handle_status(const lkv_handle *handle, int status, const lkv_error *err,
                      char **text);

#endif
