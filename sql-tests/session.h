/*
 * session.h - the database of one test file: its directory and its connections.
 */
#ifndef LKV_SESSION_H
#define LKV_SESSION_H

#include <sqlite3.h>
#include <stddef.h>

enum { lkv_session_connections = 16 };

enum lkv_session_mode {
    LKV_READWRITE,
    LKV_READONLY,
    LKV_IN_MEMORY, /* a database of its own in each connection */
};

typedef struct lkv_connection {
    char name[32];
    sqlite3 *db;
} lkv_connection;

typedef struct lkv_session {
    const char *extension; /* path of the extension to load, or NULL; borrowed */
    enum lkv_session_mode mode;
    char *dir;  /* `$DIR`, made for this session */
    char *path; /* `$DB`, the database file in it */
    char *shm;  /* `$SHM`, a name of shared memory that is this session's */
    lkv_connection connections[lkv_session_connections];
    size_t count;
    sqlite3 *db;   /* the connection in use, or NULL when none could be opened */
    char why[512]; /* what went wrong in the last function that returned -1 */
} lkv_session;

/* Functions that return int: 0, or -1 with a reason in `why`. */

/* Makes the directory and opens the connection `main`. */
int lkv_session_start(lkv_session *session, const char *extension);
/* Closes and removes everything, also after a start that failed. -1 when a connection
 * cannot be closed, which means that something still holds a statement. */
int lkv_session_end(lkv_session *session);

/* Uses the connection of this name, opened now unless it was. */
int lkv_session_connect(lkv_session *session, const char *name);
/* Closes all connections and opens `main`. */
int lkv_session_reopen(lkv_session *session, enum lkv_session_mode mode);
/* What a killed process leaves: copies the files as they are now to a new directory,
 * drops the connections and opens `main` on the copy. */
int lkv_session_crash(lkv_session *session);

/* Copies one database file to another by SQLite's backup interface. */
int lkv_session_backup(lkv_session *session, const char *from, const char *to);
/* One byte of what a litekv table keeps in the database file, and what becomes of it.
 */
typedef struct lkv_damage {
    const char *table;
    /* `log`, `base`, `index` or `root`: a shadow table, `number` counts its rows from 1
     * on; `segment`, `part` or `run`: an object with its number. */
    const char *object;
    sqlite3_int64 number;
    sqlite3_int64 offset; /* in the row, or the object */
    unsigned char keep;   /* the byte AND this, XOR the next, is what it becomes */
    unsigned char change;
} lkv_damage;
int lkv_session_damage(lkv_session *session, const lkv_damage *damage);

/* `text` with `$DIR`, `$DB` and `$SHM` replaced; the caller frees it. */
char *lkv_session_expand(const lkv_session *session, const char *text);

#endif
