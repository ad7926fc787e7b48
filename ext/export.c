/*
 * export.c - the index of a table as bytes of its own: out of the database and back.
 *
 *   litekv_export_index(t)
 *      BLOB: the index.
 *   litekv_export_index(t, path[, 'replace'])
 *      Writes it to a file; the number of keys. SQLITE_ERROR when something is there
 *      already: anything at all, or with 'replace' what is not such a file. What is
 *      replaced stands whole until the new file is whole.
 *   litekv_import_index(t, path or BLOB)
 *      Puts an exported index in the place of the one that the table has, once all of
 * it was read and found to be of this table's log; the number of keys. SQLITE_ERROR
 *      when it is not, and nothing is changed.
 *
 * A relative path is relative to the directory of the main database, and refused when
 * that is not a file. A file that cannot be opened is SQLITE_CANTOPEN, one that cannot
 * be read or written SQLITE_IOERR. The index of a table whose transaction has changed
 * it is not exported: SQLITE_ERROR; it would tell of what may never be.
 */
#include "blob.h"
#include "functions.h"
#include "home.h"
#include "os_sqlite.h"
#include "path.h"
#include "target.h"

#include "../core/onefile.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

/* One transfer, in either direction. */
typedef struct transfer {
    lkv_target target;
    lkv_onefile file;
    int opened;
    char *path;
    lkv_error file_error; /* of `file` ... */
    int file_status;      /* ... and what it failed with */
    lkv_blob made;        /* a BLOB that is written */
    lkv_blob_given given; /* one that is read */
} transfer;

static int refuse(transfer *at, char *text)
{
    at->target.text = text;
    return text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
}

/* What the file system refused, in SQLite's codes. */
static int file_problem(transfer *at)
{
    const lkv_error *err = &at->file_error;
    const char *advice = "";
    char why[96] = "";

    if (at->file_status == LKV_NOMEM) {
        return SQLITE_NOMEM;
    }
    if (at->file_status == LKV_MISUSE && !at->file.replace) {
        advice = "; with 'replace' as third argument an exported index "
                 "is overwritten, and nothing else";
    }
    if (err->os_errno != 0) {
        lkv_os_posix.shared->why(NULL, err->os_errno, why, sizeof(why));
    }
    sqlite3_free(at->target.text); /* the same in the table's words */
    if (refuse(at, sqlite3_mprintf("litekv: \"%w\": %s%s%s%s", at->path, err->text,
                                   err->os_errno != 0 ? ": " : "", why, advice)) ==
        SQLITE_NOMEM) {
        return SQLITE_NOMEM;
    }
    return at->file_status == LKV_MISUSE ? SQLITE_ERROR
           : at->opened                  ? SQLITE_IOERR
                                         : SQLITE_CANTOPEN;
}

/* The path that an argument names, from the root on. */
static int take_path(transfer *at, sqlite3 *db, sqlite3_value *argument)
{
    int is_text = sqlite3_value_type(argument) == SQLITE_TEXT;
    const char *text = (const char *)sqlite3_value_text(argument);
    int rc;

    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    if (!is_text || *text == 0 ||
        strlen(text) != (size_t)sqlite3_value_bytes(argument)) {
        return refuse(at, sqlite3_mprintf("litekv: \"%w\": that is no path", text));
    }
    rc = lkv_path_of(db, "main", text, &at->path);
    return rc == SQLITE_NOTFOUND ? refuse(at, sqlite3_mprintf(LKV_PATH_RELATIVE, text))
                                 : rc;
}

static void end(transfer *at, sqlite3_context *context, int rc)
{
    if (at->opened || at->file.path != NULL) {
        lkv_onefile_close(&at->file);
    }
    sqlite3_free(at->path);
    lkv_blob_clear(&at->made);
    lkv_target_result(&at->target, context, rc);
}

/* Export */

static int put_file(void *arg, lkv_bytes bytes)
{
    transfer *at = arg;
    int rc = lkv_home_go_on(at->target.handle);
    if (rc == LKV_OK) {
        rc = at->file_status = lkv_onefile_write(&at->file, bytes);
    }
    return rc;
}

static int export(transfer *at, int (*put)(void *arg, lkv_bytes bytes), void *arg)
{
    lkv_error err = {0};
    int rc = lkv_target_read(&at->target);

    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = lkv_export(at->target.handle->store, put, arg, &err);
    if (at->file_status != LKV_OK) {
        return file_problem(at);
    }
    if (rc == LKV_MISUSE) {
        return refuse(at,
                      sqlite3_mprintf("litekv: \"%w\": the transaction has changed the "
                                      "table; export its index after COMMIT",
                                      at->target.handle->table));
    }
    return lkv_target_status(&at->target, rc, &err);
}

void lkv_export_index(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    transfer at = {.file_status = LKV_OK};
    int rc = lkv_target_of(&at.target, context, argc, argv);

    if (rc == SQLITE_OK) {
        at.made.handle = at.target.handle;
        rc = export(&at, lkv_blob_put, &at.made);
    }
    if (rc == SQLITE_OK) {
        lkv_blob_result(&at.made, context);
    }
    end(&at, context, rc);
}

/* The third argument, which may not be there. */
static int take_mode(transfer *at, int argc, sqlite3_value **argv, lkv_bytes *replace)
{
    const char *text;
    if (argc < 3) {
        return SQLITE_OK;
    }
    text = (const char *)sqlite3_value_text(argv[2]);
    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    if (sqlite3_stricmp(text, "replace") != 0) {
        return refuse(at,
                      sqlite3_mprintf("litekv: \"%w\": unknown mode \"%w\"; the only "
                                      "one is 'replace'",
                                      at->target.handle->table, text));
    }
    *replace = (lkv_bytes){LKV_EXPORT_MAGIC, sizeof(LKV_EXPORT_MAGIC) - 1};
    return SQLITE_OK;
}

void lkv_export_index_file(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    transfer at = {.file_status = LKV_OK};
    lkv_bytes replace = {NULL, 0};
    int rc = lkv_target_of(&at.target, context, argc, argv);

    if (rc == SQLITE_OK) {
        rc = take_mode(&at, argc, argv, &replace);
    }
    if (rc == SQLITE_OK) {
        rc = take_path(&at, at.target.handle->db, argv[1]);
    }
    if (rc == SQLITE_OK) {
        at.file_status = lkv_onefile_create(&at.file, &lkv_os_sqlite, at.path, replace,
                                            &at.file_error);
        at.opened = at.file_status == LKV_OK;
        rc = at.opened ? export(&at, put_file, &at) : file_problem(&at);
    }
    if (rc == SQLITE_OK) {
        at.file_status = lkv_onefile_finish(&at.file);
        rc = at.file_status == LKV_OK ? SQLITE_OK : file_problem(&at);
    }
    if (rc == SQLITE_OK) {
        sqlite3_result_int64(context,
                             (sqlite3_int64)lkv_count(at.target.handle->store));
    }
    end(&at, context, rc);
}

/* Import */

static int read_file(void *arg, uint64_t offset, void *out, size_t size)
{
    transfer *at = arg;
    int rc = lkv_home_go_on(at->target.handle);
    if (rc == LKV_OK) {
        rc = at->file_status = lkv_onefile_read(&at->file, offset, out, size);
    }
    return rc;
}

/* Opens what the second argument is or names. */
static int open_source(transfer *at, sqlite3_value *argument, lkv_source *source)
{
    int rc;

    if (sqlite3_value_type(argument) == SQLITE_BLOB) {
        return lkv_blob_give(&at->given, at->target.handle, argument, source);
    }
    rc = take_path(at, at->target.handle->db, argument);
    if (rc == SQLITE_OK) {
        at->file_status =
            lkv_onefile_open(&at->file, &lkv_os_sqlite, at->path, &at->file_error);
        if (at->file_status != LKV_OK) {
            rc = file_problem(at);
        }
        at->opened = 1;
    }
    *source = (lkv_source){read_file, at, at->file.size};
    return rc;
}

void lkv_import_index(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    transfer at = {.file_status = LKV_OK};
    lkv_source source = {NULL, NULL, 0};
    int rc = lkv_target_of(&at.target, context, argc, argv);

    if (rc == SQLITE_OK) {
        rc = open_source(&at, argv[1], &source);
    }
    if (rc == SQLITE_OK) {
        at.target.handle->source = &source;
        rc = lkv_target_command(&at.target, "import");
        at.target.handle->source = NULL;
        if (at.file_status != LKV_OK) {
            rc = file_problem(&at);
        }
    }
    if (rc == SQLITE_OK) {
        sqlite3_result_int64(context, at.target.handle->answer);
    }
    end(&at, context, rc);
}
