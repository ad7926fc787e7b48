/*
 * handle.c - finding and sharing handles, and SQLite's transactions on the store's.
 *
 * A savepoint writes out what is pending before it marks its point. So at every
 * savepoint the shadow tables hold all that happened before it, and whatever SQLite
 * goes back to, a handle that is opened afterwards (DROP TABLE or RENAME, undone) reads
 * it there. A single-row statement opens no savepoint, and a multi-row one adds one
 * block write.
 *
 * What SQLite does not tell: a table that was created after a savepoint hears nothing
 * when SQLite goes back to it, unless there was another savepoint since, and the tables
 * of that name are then gone or those of before. So a handle looks whether its store is
 * still there before it writes out what is pending, as long as the transaction of the
 * CREATE lasts, and before any use when a vtab object was connected since, which comes
 * before any use of what ROLLBACK TO brought back. It compares the identity that CREATE
 * gave: the store may not have been read since, and knows none after a failure. And
 * RENAME alone does not make the table a part of SQLite's transaction: what undoes it
 * is told only if something was written before.
 */
#include "handle.h"

#include "external.h"
#include "home.h"
#include "os_sqlite.h"

#include <limits.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

void lkv_handle_names_free(lkv_handle *handle)
{
    while (handle->names != NULL) {
        struct lkv_handle_name *gone = handle->names;
        handle->names = gone->older;
        sqlite3_free(gone->text);
        sqlite3_free(gone);
    }
}

/* Undoes the renaming since there were `marks` marks. A table in the database is found
 * there by whoever connects to it under the old name, with a handle of its own. Another
 * handle may have the old name yet, until it hears of the rollback too. */
static void undo_names(lkv_handle *handle, int marks)
{
    if (handle->names == NULL || handle->names->marks <= marks) {
        return;
    }
    if (handle->home == LKV_HOME_DATABASE) {
        lkv_handle_names_free(handle);
        lkv_handle_detach(handle);
        return;
    }
    while (handle->names != NULL && handle->names->marks > marks) {
        struct lkv_handle_name *name = handle->names;
        handle->names = name->older;
        sqlite3_free(handle->table);
        handle->table = name->text;
        sqlite3_free(name);
    }
    lkv_handle_prefer(handle);
}

int lkv_handle_rename(lkv_handle *handle, const char *to)
{
    char *text = sqlite3_mprintf("%s", to);
    struct lkv_handle_name *name = sqlite3_malloc64(sizeof(*name));
    lkv_handle *other;
    if (name == NULL || text == NULL || lkv_home_renamed(handle, to) != SQLITE_OK) {
        sqlite3_free(name);
        sqlite3_free(text);
        return SQLITE_NOMEM;
    }
    if (handle->registry != NULL) {
        other = lkv_handle_find(handle->registry, handle->schema, to);
        if (other != NULL && other != handle) {
            lkv_handle_detach(other);
        }
    }
    name->text = handle->table;
    name->marks = handle->mark_count;
    name->older = handle->names;
    handle->names = name;
    handle->table = text;
    if (handle->leader == NULL) { /* nobody will tell of a rollback */
        lkv_handle_names_free(handle);
    }
    return SQLITE_OK;
}

static int unusable(const lkv_handle *handle, const char *why, char **text)
{
    *text = sqlite3_mprintf("litekv: \"%s\": its shadow tables cannot be used: %s; "
                            "restore them, or see \"Recover\" in README",
                            handle->table, why);
    return SQLITE_CORRUPT_VTAB;
}

int lkv_handle_code(int status)
{
    switch ((enum lkv_status)status) {
    case LKV_OK:
    case LKV_ABSENT:
        return SQLITE_OK;
    case LKV_NOMEM:
        return SQLITE_NOMEM;
    case LKV_TOO_BIG:
        return SQLITE_TOOBIG;
    case LKV_BUSY:
        return SQLITE_BUSY;
    case LKV_BUSY_SNAPSHOT:
        return SQLITE_BUSY_SNAPSHOT;
    case LKV_FULL:
        return SQLITE_FULL;
    case LKV_READONLY:
        return SQLITE_READONLY;
    case LKV_CANTOPEN:
        return SQLITE_CANTOPEN;
    case LKV_CORRUPT:
        return SQLITE_CORRUPT_VTAB;
    case LKV_IO:
        return SQLITE_IOERR;
    case LKV_MISUSE: /* by the user, as the text says */
        return SQLITE_ERROR;
    case LKV_FAILED:
    default:
        return SQLITE_MISUSE;
    }
}

/* What there is to do about damage, by the object that an error begins with. */
static const char *remedy(int code, const char *why)
{
    if (code != SQLITE_CORRUPT_VTAB) {
        return "";
    }
    return strncmp(why, "run ", 4) == 0
               ? "; litekv_rebuild_index() makes the index anew"
           : strncmp(why, "segment ", 8) == 0 || strncmp(why, "part ", 5) == 0
               ? "; litekv_recover() tells what is left"
               : "";
}

int lkv_handle_status(const lkv_handle *handle, int status, const lkv_error *err,
                      char **text)
{
    const char *why = "";
    int code = lkv_handle_code(status);

    if (status == LKV_FAILED) {
        code = lkv_home_failure(handle, &why);
        if (code == SQLITE_ERROR && handle->home == LKV_HOME_DATABASE) {
            return unusable(handle, why, text);
        }
        *text = sqlite3_mprintf("%s", why);
    } else if (code != SQLITE_OK && code != SQLITE_NOMEM && code != SQLITE_TOOBIG &&
               (code & 0xff) != SQLITE_BUSY) { /* these say it all */
        *text = sqlite3_mprintf("litekv: \"%s\": %s%s", handle->table, err->text,
                                remedy(code, err->text));
    }
    return code;
}

/* The transaction is new to the handle. */
static void start(lkv_handle *handle, const void *leader)
{
    handle->leader = leader;
    handle->mark_count = 0;
    handle->smallest = INT_MAX;
    handle->next_number = -1;
    handle->went_back = handle->writes_through = 0;
}

/* The store's tables were taken away, and with them what is pending. The object of the
 * CREATE leads no more: it is told of too little. */
static void abandon(lkv_handle *handle)
{
    if (lkv_home_external(handle->home)) {
        lkv_external_unmake(handle);
    }
    lkv_rollback(handle->store);
    lkv_home_doubt(handle);
    start(handle, NULL);
    handle->created = 0;
}

/* Whether a handle whose table was created in this transaction may go on. */
static int look(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    const char *why;
    int rc = lkv_is_there(handle->store, handle->id, &err);

    if (rc == LKV_ABSENT ||
        (rc == LKV_FAILED && lkv_home_failure(handle, &why) == SQLITE_ERROR)) {
        abandon(handle);
        rc = LKV_OK;
    }
    if (rc == LKV_OK) {
        handle->unsure = 0;
    }
    return lkv_handle_status(handle, rc, &err, text);
}

/* The store of a table in memory, which a connection has none of before it uses it. */
static int make_empty(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    lkv_bytes meta = {handle->meta, strlen(handle->meta)};
    int rc = lkv_create(handle->storage, &lkv_os_sqlite, meta, &err);
    handle->made = rc == LKV_OK;
    return lkv_handle_status(handle, rc, &err, text);
}

/* What the shadow tables hold is what counts, as for a handle that is new to the
 * transaction; what is pending goes. */
static void start_over(lkv_handle *handle)
{
    lkv_rollback(handle->store);
    for (int i = 0; i < handle->mark_count; i++) {
        handle->marks[i].began = 0;
    }
}

/* Whether SQLite went back to where the handle did: it may not, where statements end in
 * another order than they began. */
static int settle(lkv_handle *handle, char **text)
{
    lkv_error err;
    int rc = handle->went_back && lkv_in_transaction(handle->store)
                 ? lkv_stands(handle->store, lkv_error_none(&err))
                 : LKV_OK;

    if (rc == LKV_ABSENT) {
        start_over(handle);
        rc = LKV_OK;
    }
    if (rc == LKV_OK) {
        handle->went_back = 0;
    }
    return lkv_handle_status(handle, rc, &err, text);
}

/* Before the store is used. */
static int may_use(lkv_handle *handle, int looks, char **text)
{
    if (lkv_home_busy(handle)) {
        return unusable(handle, "they come back to the table itself", text);
    }
    if (handle->home == LKV_HOME_DATABASE) {
        return looks ? look(handle, text) : SQLITE_OK;
    }
    return handle->home != LKV_HOME_MEMORY || handle->made ? SQLITE_OK
                                                           : make_empty(handle, text);
}

/* The same, for a statement. */
static int make_ready(lkv_handle *handle, char **text)
{
    int rc = may_use(handle, handle->unsure, text);
    return rc == SQLITE_OK ? settle(handle, text) : rc;
}

int lkv_handle_refresh(lkv_handle *handle, char **text)
{
    lkv_error err;
    int rc;
    if (lkv_home_external(handle->home)) {
        return lkv_external_refresh(handle, text);
    }
    rc = make_ready(handle, text);
    if (rc == SQLITE_OK) {
        rc = lkv_refresh(handle->store, lkv_error_none(&err));
        rc = lkv_handle_status(handle, rc, &err, text);
    }
    return rc;
}

int lkv_handle_created(lkv_handle *handle, char **text)
{
    int rc = lkv_handle_refresh(handle, text);
    if (rc == SQLITE_OK) {
        memcpy(handle->id, lkv_id(handle->store).data, sizeof(handle->id));
        handle->created = 1;
    }
    return rc;
}

/* Whether the handle is still that of its table. A CREATE may have been undone without
 * a word, and an older table of that name be there again. */
static int stands(const lkv_handle *handle)
{
    return handle->registry != NULL &&
           lkv_handle_find(handle->registry, handle->schema, handle->table) == handle &&
           sqlite3_table_column_metadata(handle->db, handle->schema, handle->table,
                                         NULL, NULL, NULL, NULL, NULL,
                                         NULL) == SQLITE_OK;
}

int lkv_handle_verify(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    int rc = lkv_verify(handle->store, lkv_home_go_on, handle, &err);
    return lkv_handle_status(handle, rc, &err, text);
}

int lkv_handle_begin(lkv_handle *handle, char **text)
{
    lkv_error err;
    int rc;
    lkv_scans_stand(handle);
    if (lkv_home_external(handle->home)) {
        return lkv_external_begin(handle, text);
    }
    rc = make_ready(handle, text);
    if (rc == SQLITE_OK && handle->mark_count > 0 &&
        handle->marks[handle->mark_count - 1].is_new) {
        handle->marks[handle->mark_count - 1].is_new = 0;
        handle->writes_through |= lkv_home_is_within(handle);
    }
    if (rc == SQLITE_OK && !lkv_in_transaction(handle->store)) {
        rc = lkv_begin(handle->store, 0, lkv_error_none(&err));
        rc = lkv_handle_status(handle, rc, &err, text);
    }
    return rc;
}

int lkv_handle_wrote(lkv_handle *handle, char **text)
{
    lkv_error err;
    int rc =
        handle->home == LKV_HOME_DATABASE
            ? lkv_publish(handle->store, handle->writes_through, lkv_error_none(&err))
            : LKV_OK;
    return lkv_handle_status(handle, rc, &err, text);
}

int lkv_handle_sync(lkv_handle *handle, char **text)
{
    lkv_error err = {0};
    int rc;
    if (handle->created && handle->home != LKV_HOME_DATABASE && !stands(handle)) {
        abandon(handle);
        lkv_handle_detach(handle);
        return SQLITE_OK;
    }
    if (!lkv_in_transaction(handle->store)) {
        return SQLITE_OK;
    }
    rc = may_use(handle, handle->created, text);
    if (rc == SQLITE_OK) {
        rc = lkv_handle_status(handle, lkv_prepare(handle->store, &err), &err, text);
    }
    return rc;
}

/* The transaction is over, and undone or not. */
static void leave(lkv_handle *handle, int undone)
{
    int gone = undone && handle->created;
    if (undone) {
        undo_names(handle, -1);
    }
    lkv_handle_names_free(handle);
    if (lkv_home_external(handle->home)) {
        if (gone) {
            lkv_external_unmake(handle);
        }
        handle->made = 0;
    }
    handle->created = handle->unsure = 0;
    start(handle, NULL);
    if (gone) {
        lkv_handle_detach(handle);
    } else if (handle->kept && handle->home != LKV_HOME_MEMORY) {
        handle->kept = 0; /* it was dropped, and came back in time: dropped.c */
        lkv_handle_close(handle);
    }
}

int lkv_handle_enter(lkv_handle *handle, const void *object, char **text)
{
    int rc = may_use(handle, handle->unsure, text);
    if (rc == SQLITE_OK && handle->leader == NULL) {
        start(handle, object);
    }
    return rc;
}

/* DROP TABLE comes here too, and must be possible whatever the store is like. Who wants
 * to write in it will see. */
int lkv_handle_lock(lkv_handle *handle, const void *object, char **text)
{
    int rc;
    if (!lkv_home_external(handle->home) || handle->joining) {
        return SQLITE_OK;
    }
    rc = lkv_external_begin(handle, text);
    if (rc != SQLITE_OK && rc != SQLITE_NOMEM && rc != SQLITE_INTERRUPT &&
        rc != SQLITE_LOCKED && (rc & 0xff) != SQLITE_BUSY) {
        sqlite3_free(*text);
        *text = NULL;
        return SQLITE_OK;
    }
    if (rc != SQLITE_OK && handle->leader == object) {
        leave(handle, 1); /* SQLite takes it for no part of its transaction */
    }
    return rc;
}

int lkv_handle_is_dropped(const lkv_handle *handle)
{
    return handle->registry == NULL && handle->kept;
}

void lkv_handle_commit(lkv_handle *handle)
{
    if (lkv_handle_is_dropped(handle)) {
        return;
    }
    if (lkv_in_transaction(handle->store)) {
        lkv_commit(handle->store);
        lkv_home_committed(handle);
    }
    leave(handle, 0);
}

void lkv_handle_rollback(lkv_handle *handle)
{
    if (lkv_handle_is_dropped(handle)) {
        return;
    }
    lkv_rollback(handle->store);
    lkv_home_doubt(handle);
    leave(handle, 1);
}

void lkv_handle_part(lkv_handle *handle)
{
    char *text = NULL;
    if (lkv_handle_sync(handle, &text) != SQLITE_OK) {
        sqlite3_free(text); /* there is nobody to tell */
        lkv_handle_rollback(handle);
        return;
    }
    if (lkv_in_transaction(handle->store)) {
        lkv_commit(handle->store);
    }
    lkv_home_doubt(handle);
    leave(handle, 0);
}

/* Whether a savepoint's event counts: it comes from the object that leads, and not from
 * a statement of the storage itself, whose savepoints are nobody's. */
static int counts(const lkv_handle *handle, const void *object)
{
    return object == handle->leader && !lkv_home_busy(handle);
}

static int first_mark_from(const lkv_handle *handle, int savepoint)
{
    int i = handle->mark_count;
    while (i > 0 && handle->marks[i - 1].savepoint >= savepoint) {
        i--;
    }
    return i;
}

void lkv_handle_release(lkv_handle *handle, const void *object, int savepoint)
{
    int i = first_mark_from(handle, savepoint);
    int first = i;

    if (!counts(handle, object)) {
        return;
    }
    while (first < handle->mark_count && !handle->marks[first].began) {
        first++;
    }
    if (first < handle->mark_count) {
        lkv_release(handle->store, handle->marks[first].depth);
    }
    if (i < handle->mark_count) {
        handle->mark_count = i;
    }
    if (savepoint < handle->next_number) {
        handle->next_number = savepoint;
    }
    for (struct lkv_handle_name *name = handle->names;
         name != NULL && name->marks > handle->mark_count; name = name->older) {
        name->marks = handle->mark_count;
    }
}

static int add_mark(lkv_handle *handle, int savepoint)
{
    struct lkv_handle_mark *mark;
    if (handle->mark_count == handle->mark_capacity) {
        int capacity = handle->mark_capacity == 0 ? 4 : handle->mark_capacity * 2;
        mark =
            sqlite3_realloc64(handle->marks, (sqlite3_uint64)capacity * sizeof(*mark));
        if (mark == NULL) {
            return SQLITE_NOMEM;
        }
        handle->marks = mark;
        handle->mark_capacity = capacity;
    }
    mark = &handle->marks[handle->mark_count];
    mark->savepoint = savepoint;
    mark->began = lkv_in_transaction(handle->store);
    if (mark->began && lkv_mark(handle->store, &mark->depth) != LKV_OK) {
        return SQLITE_NOMEM;
    }
    mark->is_new = 1;
    handle->mark_count++;
    handle->next_number = savepoint + 1;
    return SQLITE_OK;
}

/* Numbers are left out after a ROLLBACK TO in the middle of a statement, and where
 * statements end in another order than they began. The pages of a database are marked
 * for these too, here. */
static int add_marks(lkv_handle *handle, int savepoint)
{
    int next = handle->next_number, rc = SQLITE_OK;
    next = next < 0 ? savepoint : next; /* and no greater: lkv_handle_release() */
    while (next <= savepoint && rc == SQLITE_OK) {
        rc = add_mark(handle, next++);
    }
    return rc;
}

int lkv_handle_savepoint(lkv_handle *handle, const void *object, int savepoint,
                         char **text)
{
    int rc;

    if (!counts(handle, object)) {
        return SQLITE_OK;
    }
    if (savepoint < handle->smallest) {
        handle->smallest = savepoint;
    }
    /* A mark of that number is left when SAVEPOINT failed in another table after this
     * one was told of it: SQLite does not take it back. */
    lkv_handle_release(handle, object, savepoint);
    /* Without the look for nothing: each CREATE has savepoints, of which each table
     * made before it hears. */
    if (handle->home == LKV_HOME_DATABASE && lkv_pending(handle->store)) {
        rc = lkv_handle_sync(handle, text);
        if (rc != SQLITE_OK || !counts(handle, object)) {
            return rc;
        }
    }
    return add_marks(handle, savepoint);
}

static void undo_all(lkv_handle *handle)
{
    if (lkv_home_external(handle->home)) {
        lkv_external_undo(handle);
    } else {
        lkv_rollback(handle->store);
    }
}

/* A savepoint below all that were seen is older than the first write. Another one that
 * has no mark never was, or was forgotten when SQLite went back further: nothing to go
 * back to. */
void lkv_handle_rollback_to(lkv_handle *handle, const void *object, int savepoint)
{
    int i = first_mark_from(handle, savepoint);

    lkv_home_doubt(handle);
    if (!counts(handle, object)) {
        return;
    }
    if (handle->created && savepoint < handle->smallest) {
        abandon(handle); /* older than the table */
        lkv_handle_detach(handle);
        return;
    }
    undo_names(handle, savepoint < handle->smallest ? -1 : i);
    if (savepoint < handle->smallest) {
        undo_all(handle);
        handle->mark_count = 0;
        handle->smallest = handle->next_number = savepoint + 1;
    } else if (i < handle->mark_count) {
        struct lkv_handle_mark *mark = &handle->marks[i];
        if (mark->began) {
            lkv_rollback_to(handle->store, mark->depth);
        } else {
            undo_all(handle);
        }
        handle->mark_count = i + 1;
        handle->next_number = mark->savepoint + 1;
        handle->went_back = handle->home == LKV_HOME_DATABASE;
    }
}
