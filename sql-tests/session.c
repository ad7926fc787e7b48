/*
 * session.c - opens, closes, kills, copies and damages the database of one test file.
 *
 * Connections are opened as an application would: sqlite3_open_v2, extension loading
 * allowed, sqlite3_load_extension, extension loading forbidden again. No busy timeout:
 * a lock that is in the way is an error at once, so tests need no time. Backup and
 * damage use connections of their own, without the extension: what they do is what any
 * other program could do to the file.
 */
#include "session.h"

#include "files.h"
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int because(lkv_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int because(lkv_session *session, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(session->why, sizeof(session->why), format, args);
    va_end(args);
    return -1;
}

/* --- directory -----------------------------------------------------------------------
 */

static int make_dir(lkv_session *session)
{
    char *dir = lkv_files_make_dir();
    if (dir == NULL) {
        return because(session, "cannot make a temporary directory");
    }
    free(session->dir);
    free(session->path);
    session->dir = dir;
    size_t size = strlen(dir) + sizeof("/test.db");
    session->path = lkv_text_alloc(size);
    snprintf(session->path, size, "%s/test.db", dir);
    if (session->shm == NULL) { /* it outlives a crash */
        const char *name = strrchr(dir, '/');
        session->shm = lkv_text_copy(name, strlen(name));
    }
    return 0;
}

char *lkv_session_expand(const lkv_session *session, const char *text)
{
    char *once = lkv_text_replace(text, "$DIR", session->dir);
    char *twice = lkv_text_replace(once, "$DB", session->path);
    char *all = lkv_text_replace(twice, "$SHM", session->shm);
    free(once);
    free(twice);
    return all;
}

/* --- connections ---------------------------------------------------------------------
 */

static int load_extension(lkv_session *session, sqlite3 *db)
{
    if (session->extension == NULL) {
        return 0;
    }
    char *error = NULL;
    sqlite3_enable_load_extension(db, 1);
    int rc =
        sqlite3_load_extension(db, session->extension, "sqlite3_litekv_init", &error);
    sqlite3_enable_load_extension(db, 0);
    if (rc != SQLITE_OK) {
        because(session, "cannot load %s: %s", session->extension,
                error != NULL ? error : sqlite3_errstr(rc));
    }
    sqlite3_free(error);
    return rc == SQLITE_OK ? 0 : -1;
}

/* With SQLITE_OPEN_URI, so that a test can attach `file:...?mode=ro`. */
static sqlite3 *open_file(lkv_session *session, const char *path, int flags)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_URI, NULL);
    if (rc != SQLITE_OK) {
        because(session, "cannot open %s: %s", path, sqlite3_errmsg(db));
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

static sqlite3 *open_connection(lkv_session *session)
{
    const char *path = session->mode == LKV_IN_MEMORY ? ":memory:" : session->path;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (session->mode == LKV_READONLY) {
        flags = SQLITE_OPEN_READONLY;
    }
    sqlite3 *db = open_file(session, path, flags);
    if (db != NULL && load_extension(session, db) != 0) {
        sqlite3_close(db);
        db = NULL;
    }
    return db;
}

int lkv_session_connect(lkv_session *session, const char *name)
{
    for (size_t i = 0; i < session->count; i++) {
        if (strcmp(session->connections[i].name, name) == 0) {
            session->db = session->connections[i].db;
            return 0;
        }
    }
    lkv_connection *new = &session->connections[session->count];
    if (session->count == lkv_session_connections) {
        return because(session, "more than %d connections", lkv_session_connections);
    }
    if (strlen(name) >= sizeof(new->name)) {
        return because(session, "a name has at most %zu bytes", sizeof(new->name) - 1);
    }
    new->db = open_connection(session);
    if (new->db == NULL) {
        return -1;
    }
    memcpy(new->name, name, strlen(name) + 1);
    session->count++;
    session->db = new->db;
    return 0;
}

/* All are closed in the end; -1 when one of them could not be at first. */
static int close_all(lkv_session *session)
{
    int result = 0;
    session->db = NULL;
    while (session->count > 0) {
        session->count--;
        lkv_connection *last = &session->connections[session->count];
        if (sqlite3_close(last->db) != SQLITE_OK) {
            result = because(session, "cannot close connection \"%s\": %s", last->name,
                             sqlite3_errmsg(last->db));
            sqlite3_close_v2(last->db);
        }
    }
    return result;
}

int lkv_session_start(lkv_session *session, const char *extension)
{
    *session = (lkv_session){.extension = extension};
    if (make_dir(session) != 0) {
        return -1;
    }
    return lkv_session_connect(session, "main");
}

int lkv_session_end(lkv_session *session)
{
    int result = close_all(session);
    if (session->dir != NULL && lkv_files_remove_dir(session->dir) != 0 &&
        result == 0) {
        result = because(session, "cannot remove %s", session->dir);
    }
    if (session->shm != NULL) {
        lkv_files_remove_shared(session->shm + 1);
    }
    free(session->dir);
    free(session->path);
    free(session->shm);
    session->dir = NULL;
    session->path = NULL;
    session->shm = NULL;
    return result;
}

int lkv_session_reopen(lkv_session *session, enum lkv_session_mode mode)
{
    if (close_all(session) != 0) {
        return -1;
    }
    session->mode = mode;
    return lkv_session_connect(session, "main");
}

int lkv_session_crash(lkv_session *session)
{
    if (session->mode == LKV_IN_MEMORY) {
        return because(session, "a database in memory leaves nothing behind");
    }
    char *old_dir = session->dir;
    session->dir = NULL;
    int result = make_dir(session);
    /* Copied before anything is closed: closing undoes and checkpoints. */
    if (result == 0 && lkv_files_copy_dir(old_dir, session->dir) != 0) {
        result = because(session, "cannot copy %s to %s", old_dir, session->dir);
    }
    if (close_all(session) != 0) {
        result = -1;
    }
    if (lkv_files_remove_dir(old_dir) != 0 && result == 0) {
        result = because(session, "cannot remove %s", old_dir);
    }
    free(old_dir);
    session->mode = LKV_READWRITE;
    return result == 0 ? lkv_session_connect(session, "main") : -1;
}

/* --- files behind the back of the connections ----------------------------------------
 */

int lkv_session_backup(lkv_session *session, const char *from, const char *to)
{
    int result = -1;
    sqlite3 *target = NULL;
    sqlite3 *source = open_file(session, from, SQLITE_OPEN_READWRITE);
    if (source != NULL) {
        target = open_file(session, to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    }
    if (target != NULL) {
        sqlite3_backup *backup = sqlite3_backup_init(target, "main", source, "main");
        if (backup != NULL) {
            sqlite3_backup_step(backup, -1);
            sqlite3_backup_finish(backup);
        }
        result = 0;
        if (sqlite3_errcode(target) != SQLITE_OK) {
            result = because(session, "cannot copy %s to %s: %s", from, to,
                             sqlite3_errmsg(target));
        }
    }
    sqlite3_close(target);
    sqlite3_close(source);
    return result;
}

/* A number that a query about shadow table `name` gives; -1 when it gives none. */
static sqlite3_int64 ask(sqlite3 *db, const char *format, const char *name)
{
    sqlite3_int64 number = -1;
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf(format, name);
    if (sql != NULL && sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW &&
        sqlite3_column_type(stmt, 0) == SQLITE_INTEGER) {
        number = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return number;
}

/* Where the byte stands: a shadow table, a row of it, and where in the row. An object
 * is cut into blocks that are all of one size, but for its last; the row of block `i`
 * of object `n` has the id n << 32 | i. */
static int find_byte(lkv_session *session, sqlite3 *db, const lkv_damage *damage,
                     char **name, sqlite3_int64 *id, sqlite3_int64 *at)
{
    static const struct {
        const char *object, *suffix;
        sqlite3_int64 first; /* number of the first object in the storage, or 0 */
    } kinds[] = {
        {"log", "log", 0},         {"base", "base", 0},   {"index", "index", 0},
        {"root", "root", 0},       {"segment", "log", 1}, {"part", "base", 1 << 28},
        {"run", "index", 2 << 28},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(damage->object, kinds[i].object) != 0) {
            continue;
        }
        *name = sqlite3_mprintf("%s_%s", damage->table, kinds[i].suffix);
        *at = damage->offset;
        if (kinds[i].first == 0) {
            char *sql = sqlite3_mprintf("SELECT id FROM main.\"%%w\" ORDER BY id "
                                        "LIMIT 1 OFFSET %lld",
                                        (long long)damage->number - 1);
            *id = ask(db, sql, *name);
            sqlite3_free(sql);
        } else {
            sqlite3_int64 size =
                ask(db, "SELECT max(length(block)) FROM main.\"%w\"", *name);
            size = size > 0 ? size : 1;
            *id = (kinds[i].first + damage->number - 1) * 0x100000000 + *at / size;
            *at %= size;
        }
        return *id >= 0 ? 0
                        : because(session, "row %lld of \"%s\": %s",
                                  (long long)damage->number, *name,
                                  sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db)
                                                                   : "there is none");
    }
    return because(session,
                   "there is no \"%s\"; there are base, index, log, part, root, "
                   "run, segment",
                   damage->object);
}

static int change_byte(lkv_session *session, sqlite3 *db, const lkv_damage *damage,
                       const char *name, sqlite3_int64 id, sqlite3_int64 at)
{
    sqlite3_blob *blob = NULL;
    unsigned char byte = 0;
    int rc = sqlite3_blob_open(db, "main", name, "block", id, 1, &blob);
    if (rc == SQLITE_OK && at >= sqlite3_blob_bytes(blob)) {
        sqlite3_blob_close(blob);
        return because(session, "block %lld of \"%s\" ends before byte %lld",
                       (long long)id, name, (long long)at);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_blob_read(blob, &byte, 1, (int)at);
    }
    if (rc == SQLITE_OK) {
        byte = (unsigned char)((byte & damage->keep) ^ damage->change);
        rc = sqlite3_blob_write(blob, &byte, 1, (int)at);
    }
    if (rc != SQLITE_OK) {
        because(session, "block %lld of \"%s\": %s", (long long)id, name,
                sqlite3_errmsg(db));
    }
    /* Closing commits, and so may be what fails. */
    if (sqlite3_blob_close(blob) != SQLITE_OK && rc == SQLITE_OK) {
        because(session, "block %lld of \"%s\": %s", (long long)id, name,
                sqlite3_errmsg(db));
        rc = SQLITE_ERROR;
    }
    return rc == SQLITE_OK ? 0 : -1;
}

int lkv_session_damage(lkv_session *session, const lkv_damage *damage)
{
    sqlite3 *db = open_file(session, session->path, SQLITE_OPEN_READWRITE);
    char *name = NULL;
    sqlite3_int64 id = 0;
    sqlite3_int64 at = 0;
    if (db == NULL) {
        return -1;
    }
    int result = find_byte(session, db, damage, &name, &id, &at);
    if (result == 0) {
        result = change_byte(session, db, damage, name, id, at);
    }
    sqlite3_free(name);
    sqlite3_close(db);
    return result;
}
