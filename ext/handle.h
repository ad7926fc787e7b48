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

#include "../core/litekv.h"
#include "sqlite3ext.h"

typedef struct lkv_registry lkv_registry; /* the handles of one connection */
typedef struct lkv_handle lkv_handle;

struct lkv_handle {
    lkv_registry *registry; /* NULL: found no more */
    lkv_handle *next;
    int references;
    sqlite3 *db;
    char *schema, *table;
    lkv_storage *storage;
    lkv_store *store;
    struct lkv_handle_mark {
        int savepoint; /* SQLite's number */
        int began;     /* a transaction of the store was open: `depth` is its mark */
        uint32_t depth;
    } * marks;
    int mark_count, mark_capacity;
    const void *leader; /* the vtab object that tells of SQLite's transaction, if any */
    int created;        /* in this transaction: see handle.c */
    uint8_t id[16];     /* of the store that was created */
    int unsure;         /* a vtab object was connected since */
    int renamed;        /* in this transaction, when `renamed_at` marks were there */
    int renamed_at;
    int smallest; /* savepoint seen in this transaction; INT_MAX before the first */
    /* What a function and the command that it runs tell each other: command.c. */
    const lkv_source *source; /* to be imported; NULL: it is in the statement */
    sqlite3_int64 answer;
};

/* A connection's registry, with one reference; every handle holds another. It is freed
 * with the last one that lkv_registry_free() gives back. */
lkv_registry *lkv_registry_new(void);
void lkv_registry_hold(lkv_registry *registry);
void lkv_registry_free(void *registry);

/* The handle of the table, one reference more. `fresh` is for xCreate: whatever handle
 * had the name before is found no more. Touches no table. SQLITE_NOMEM. */
int lkv_handle_open(lkv_registry *registry, sqlite3 *db, const char *schema,
                    const char *table, uint64_t cache_bytes, int fresh,
                    lkv_handle **out);
/* The handle that lkv_handle_open() made for the table, or NULL; no reference. */
lkv_handle *lkv_handle_find(const lkv_registry *registry, const char *schema,
                            const char *table);
void lkv_handle_close(lkv_handle *handle);

/* For xCreate: the handle's store was made just now. */
int lkv_handle_created(lkv_handle *handle, char **text);

/* Takes the handle out of the registry: its name goes to another, or nowhere. */
void lkv_handle_detach(lkv_handle *handle);

/* The table has another name from here on, or until its transaction undoes it. */
int lkv_handle_rename(lkv_handle *handle, const char *to);

/* Brings the store to the state that a statement must see. */
int lkv_handle_refresh(lkv_handle *handle, char **text);
/* The same for a statement that writes: opens the store's transaction if there is none.
 */
int lkv_handle_begin(lkv_handle *handle, char **text);

/* SQLite's transaction and savepoints, in its numbers. The first vtab object that
 * enters it leads: what the others are told of savepoints is passed over. */
int lkv_handle_enter(lkv_handle *handle, const void *object, char **text);
int lkv_handle_sync(lkv_handle *handle, char **text);
void lkv_handle_commit(lkv_handle *handle);
void lkv_handle_rollback(lkv_handle *handle);
int lkv_handle_savepoint(lkv_handle *handle, const void *object, int savepoint,
                         char **text);
void lkv_handle_rollback_to(lkv_handle *handle, const void *object, int savepoint);
void lkv_handle_release(lkv_handle *handle, const void *object, int savepoint);

/* Reads everything; after lkv_handle_refresh(). */
int lkv_handle_verify(lkv_handle *handle, char **text);

/* SQLite's code for core's `status`, and its message. */
int lkv_handle_status(const lkv_handle *handle, int status, const lkv_error *err,
                      char **text);

#endif
