/*
 * db_end.c - root and end of the log in a database, and what is known of them without
 * reading.
 */
#include "db.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

int lkv_db_read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err)
{
    storage_db *db = self(storage);
    sqlite3_stmt *statement;
    uint8_t *copy;
    int rc = lkv_db_prepare(db, LKV_DB_READ_ROOT, &statement);

    (void)err;
    if (rc == LKV_OK) {
        rc = lkv_db_row(db, statement);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    root->data = sqlite3_column_blob(statement, 0);
    root->size = (size_t)sqlite3_column_bytes(statement, 0);
    copy = lkv_os_resize(db->os, db->root, root->size + 1);
    if (copy == NULL || (root->size > 0 && root->data == NULL)) {
        rc = LKV_NOMEM;
    } else if (root->size > 0) {
        memcpy(copy, root->data, root->size);
    }
    sqlite3_reset(statement);
    db->root = copy == NULL ? db->root : copy;
    root->data = db->root;
    return rc;
}

int lkv_db_write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                      lkv_error *err)
{
    (void)generation;
    (void)err;
    return lkv_db_put(self(storage), LKV_DB_PUT_ROOT, 1, root.data, root.size);
}

/* sqlite3_deserialize() puts an image in the place of a database, whose version may be
 * the same, and statements that were prepared before go on: such a version says
 * nothing.
 */
static int is_image(const storage_db *db)
{
    sqlite3_vfs *vfs = NULL;
    return sqlite3_file_control(db->db, db->schema, SQLITE_FCNTL_VFS_POINTER, &vfs) !=
               SQLITE_OK ||
           vfs == NULL || strcmp(vfs->zName, "memdb") == 0;
}

/* Whether other connections may share SQLite's cache: they show this one what is not
 * committed, and locks on tables keep each from what others read. Each statement must
 * read then. A file says it in its name, and else the share of the cache's memory that
 * falls to this connection, as soon as there is another one.
 */
static int is_shared(storage_db *db)
{
    const char *file, *cache = NULL;
    int all = 0, share = 0, most;

    if (db->shared) {
        return 1;
    }
    file = sqlite3_db_filename(db->db, db->schema);
    db->unnamed = file == NULL || *file == '\0';
    if (!db->unnamed) {
        cache = sqlite3_uri_parameter(file, "cache");
    }
    if (cache != NULL && strcmp(cache, "shared") == 0) {
        db->shared = 1;
    } else if (sqlite3_db_status(db->db, SQLITE_DBSTATUS_CACHE_USED, &all, &most, 0) ==
                   SQLITE_OK &&
               sqlite3_db_status(db->db, SQLITE_DBSTATUS_CACHE_USED_SHARED, &share,
                                 &most, 0) == SQLITE_OK) {
        db->shared = share != all;
    }
    return db->shared;
}

static int data_version(storage_db *db, unsigned *version)
{
    return !is_image(db) &&
           sqlite3_file_control(db->db, db->schema, SQLITE_FCNTL_DATA_VERSION,
                                version) == SQLITE_OK;
}

static int damage(const char *why, lkv_error *err)
{
    if (err != NULL) {
        sqlite3_snprintf((int)sizeof(err->text), err->text, "%s", why);
    }
    return LKV_CORRUPT;
}

/* Whether a row of this id and size is where such an end stands: F10. */
static int stands(const lkv_end *end, sqlite3_int64 id, size_t size, uint32_t block)
{
    uint32_t within = end->offset % block, apart = within + LKV_END_SIZE > block;
    uint64_t last = (uint64_t)end->segment << 32 | end->offset / block;
    return (uint64_t)id == last + apart && size == LKV_END_SIZE + (apart ? 0 : within);
}

/* LKV_CORRUPT: the row is not in its place, and rows behind it may be newer. The size
 * of blocks is not known at first, or is another since the table was made anew. */
static int check_place(storage_db *db, const lkv_end *end, sqlite3_int64 id,
                       size_t size)
{
    lkv_bytes root;
    uint32_t block;
    int rc;

    if (db->base.block > LKV_END_SIZE && stands(end, id, size, db->base.block)) {
        return LKV_OK;
    }
    rc = lkv_db_read_root(&db->base, &root, NULL);
    if (rc != LKV_OK || (block = lkv_root_block(root)) == 0) {
        return rc == LKV_ABSENT ? LKV_OK : rc; /* whoever needs the root will tell */
    }
    return stands(end, id, size, block) ? LKV_OK : LKV_CORRUPT;
}

/* Whether the log still holds the commit that the handle stands on must be read from
 * the table: the cache may tell of another past. Nothing is cached there as a rule. */
static void doubt_segments(storage_db *db)
{
    uint32_t offset = db->end.offset, back = 2 * LKV_END_SIZE;
    sqlite3_int64 first =
        lkv_db_block_id(db, db->end.segment, offset < back ? 0 : offset - back);
    if (db->cached_to >= first) {
        lkv_cache_drop(db->cache, (uint64_t)first,
                       ((uint64_t)LKV_PART_FIRST << 32) - 1);
        db->cached_to = first - 1;
    }
}

/* Takes a newly read row as the last one of the log. */
static int take_last(storage_db *db, sqlite3_stmt *statement, lkv_end *end,
                     lkv_error *err)
{
    const uint8_t *data = sqlite3_column_blob(statement, 0);
    size_t size = (size_t)sqlite3_column_bytes(statement, 0);
    sqlite3_int64 id = sqlite3_column_int64(statement, 1);
    int rc;

    if (data == NULL && size > 0) {
        return LKV_NOMEM;
    }
    if (size < LKV_END_SIZE ||
        lkv_end_decode(data + size - LKV_END_SIZE, end) != LKV_OK) {
        return damage("the last block of the log does not end in a valid trailer", err);
    }
    rc = check_place(db, end, id, size);
    if (rc != LKV_OK) {
        return rc == LKV_CORRUPT
                   ? damage("the last block of the log is not where its trailer says",
                            err)
                   : rc;
    }
    if (db->end_known && memcmp(end, &db->end, sizeof(*end)) != 0) {
        doubt_segments(db);
    }
    db->end = *end;
    db->end_known = db->end_stands = 1;
    db->full_segment = end->segment;
    db->full_to = end->offset;
    return lkv_db_keep_tail(db, id, data, size - LKV_END_SIZE);
}

int lkv_db_read_end(lkv_storage *storage, lkv_end *end, lkv_error *err)
{
    storage_db *db = self(storage);
    sqlite3_stmt *statement;
    unsigned version = 0;
    int known = data_version(db, &version);
    int rc;

    db->passed_id = 0;
    lkv_os_rest(db->os, &db->scratch, &db->scratch_size);
    /* The application may have written to the tables itself, in the transaction that
     * is open, as one does that applies a changeset. */
    if (known && db->end_fresh && db->end_version == version &&
        sqlite3_txn_state(db->db, db->schema) != SQLITE_TXN_WRITE &&
        !(db->unnamed && is_shared(db))) {
        *end = db->end;
        return LKV_OK;
    }
    known = known && !is_shared(db);
    db->end_fresh = 0;
    db->tail_id = 0;
    rc = lkv_db_prepare(db, LKV_DB_LAST, &statement);
    if (rc == LKV_OK) {
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)1 << 32);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)LKV_PART_FIRST << 32);
        rc = lkv_db_row(db, statement);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    rc = take_last(db, statement, end, err);
    sqlite3_reset(statement);
    /* The version tells of commits. What stands in the tables by the doing of a
     * transaction that is still open may go again without a sign. */
    if (rc == LKV_OK && known &&
        sqlite3_txn_state(db->db, db->schema) != SQLITE_TXN_WRITE) {
        db->end_version = version;
        db->end_fresh = 1;
    }
    return rc;
}

int lkv_db_publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    storage_db *db = self(storage);
    uint8_t trailer[LKV_END_SIZE];
    sqlite3_int64 id = lkv_db_block_id(db, end->segment, end->offset);
    size_t size = end->offset % storage->block;
    int rc;

    lkv_end_encode(trailer, end);
    db->end_fresh = 0;
    rc = lkv_db_tail_at(db, end->segment, end->offset, err);
    if (rc != LKV_OK) {
        return rc;
    }
    if (size + LKV_END_SIZE > storage->block) {
        rc = lkv_db_put(db, LKV_DB_PUT, id, db->tail, size);
        id++;
        if (rc == LKV_OK) {
            rc = lkv_db_put(db, LKV_DB_PUT, id, trailer, LKV_END_SIZE);
        }
    } else {
        memcpy(db->tail + size, trailer, LKV_END_SIZE);
        rc = lkv_db_put(db, LKV_DB_PUT, id, db->tail, size + LKV_END_SIZE);
    }
    if (rc == LKV_OK &&
        db->greatest > id) { /* rows of what was undone in this transaction */
        rc = lkv_db_cut(db, LKV_DB_CUT, id + 1, INT64_MAX);
        db->greatest = rc == LKV_OK ? id : db->greatest;
    }
    if (rc == LKV_OK) {
        db->end = *end;
        db->end_known = db->end_stands = 1;
        db->full_segment = end->segment;
        db->full_to = end->offset;
    }
    return rc;
}

void lkv_storage_db_committed(lkv_storage *storage)
{
    storage_db *db = self(storage);
    if (db->end_stands && !is_shared(db) && data_version(db, &db->end_version)) {
        db->end_fresh = 1;
    }
}

void lkv_storage_db_doubt(lkv_storage *storage)
{
    self(storage)->end_fresh = 0;
    self(storage)->end_stands = 0;
}
