/*
 * storage_db.c - a storage made of shadow tables; storage.h tells what each function is
 * for.
 *
 * A segment's bytes are cut into blocks of B bytes; block i of segment s is the row
 * with
 *
 *      id = s << 32 | i        block = B bytes, fewer in a segment's last row
 *
 * so that rows in order of id are the log in order of time and every append goes to the
 * right edge of the table's b-tree. The row with the greatest id ends in a trailer of
 * 72 bytes that tells the end of the log (core/end.c). When the last block leaves no
 * room for it, the trailer stands alone in the row after it. So a small commit writes
 * one row, which is one page.
 *
 * What is cached: blocks that are full and below the end, which nothing can change but
 * a rollback. `full_to` says how far that is; rewind lowers it. The partial last block
 * is kept apart (`tail`), and only as long as the handle stands on the end that it
 * belongs to.
 *
 * SQLite may roll back in the middle of a nested statement (after FULL, IOERR, NOMEM or
 * INTERRUPT) and call the table's xRollback, which comes to `rewind` here: after a
 * failed step nothing is touched but the statement.
 */
#include "db.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

#define BLOCK_MAX 65536u

/* Room for one block and for `size` bytes in `tail`. */
static int make_tail(storage_db *db, size_t size)
{
    size_t room = size < db->base.block ? db->base.block : size;
    if (db->tail_room < room) {
        uint8_t *moved = lkv_os_resize(db->os, db->tail, room);
        if (moved == NULL) {
            return LKV_NOMEM;
        }
        db->tail = moved;
        db->tail_room = room;
    }
    return LKV_OK;
}

/* Takes a row's bytes as the tail: all of them, because the size of a block may not be
 * known yet, but no more than a block ever has. */
int lkv_db_keep_tail(storage_db *db, sqlite3_int64 id, const void *data, size_t size)
{
    int rc;
    size = size < BLOCK_MAX ? size : BLOCK_MAX;
    rc = make_tail(db, size);
    if (rc == LKV_OK) {
        db->tail_size = size;
        if (size > 0) {
            memcpy(db->tail, data, size);
        }
        db->tail_id = id;
    }
    return rc;
}

static lkv_bytes tail_view(const storage_db *db)
{
    size_t size = db->tail_size < db->base.block ? db->tail_size : db->base.block;
    return (lkv_bytes){db->tail, size};
}

/* Whether nothing but a rollback can change the block of `size` bytes that starts at
 * `start`. A part that is being written ends in a short one. */
static int settled(const storage_db *db, uint32_t object, uint64_t start, size_t size)
{
    if (object >= LKV_PART_FIRST) {
        return size == db->base.block;
    }
    return object != db->full_segment || start + db->base.block <= db->full_to;
}

/* Keeps the block only until another one is read in passing. */
static int pass(storage_db *db, sqlite3_int64 id, lkv_bytes row, lkv_bytes *view)
{
    if (db->passed == NULL) {
        db->passed = lkv_os_alloc(db->os, BLOCK_MAX);
        if (db->passed == NULL) {
            return LKV_NOMEM;
        }
    }
    memcpy(db->passed, row.data, row.size);
    db->passed_id = id;
    *view = (lkv_bytes){db->passed, row.size};
    return LKV_OK;
}

/* The block `id`, at most B bytes, valid until the next block comes in. A row that is
 * not there is a block of no bytes. */
static int block_of(storage_db *db, uint32_t object, uint64_t start, lkv_bytes *view)
{
    sqlite3_int64 id = lkv_db_block_id(db, object, start);
    sqlite3_stmt *statement;
    lkv_bytes row;
    int rc;

    *view = lkv_cache_find(db->cache, (uint64_t)id, &db->base.hint);
    if (view->data != NULL) {
        return LKV_OK;
    }
    if (id == db->tail_id) {
        *view = tail_view(db);
        return LKV_OK;
    }
    if (id == db->passed_id && db->base.passing) {
        *view = (lkv_bytes){db->passed, db->base.block};
        return LKV_OK;
    }
    db->base.fresh = 1;
    rc = lkv_db_prepare(db, lkv_db_of(LKV_DB_READ, object), &statement);
    if (rc != LKV_OK) {
        return rc;
    }
    sqlite3_bind_int64(statement, 1, id);
    rc = lkv_db_step(db, statement);
    if (rc == SQLITE_ROW) {
        row.data = sqlite3_column_blob(statement, 0);
        row.size = (size_t)sqlite3_column_bytes(statement, 0);
        row.size = row.size < db->base.block ? row.size : db->base.block;
        if (row.size > 0 && row.data == NULL) {
            rc = LKV_NOMEM;
        } else if (!settled(db, object, start, row.size)) {
            rc = lkv_db_keep_tail(db, id, row.data, row.size);
            *view = tail_view(db);
        } else if (db->base.passing && row.size == db->base.block) {
            rc = pass(db, id, row, view);
        } else {
            rc = lkv_cache_put(db->cache, (uint64_t)id, row, view);
            if (object < LKV_PART_FIRST && id > db->cached_to) {
                db->cached_to = id;
            }
        }
        sqlite3_reset(statement);
        return rc;
    }
    *view = (lkv_bytes){NULL, 0};
    rc = sqlite3_reset(statement);
    return rc == SQLITE_OK ? LKV_OK : lkv_db_fail(db, rc);
}

/* Room for `size` bytes of `want`. What is wanted may be the length that a damaged
 * record gives itself: memory grows with the bytes that are there. */
static int make_scratch(storage_db *db, size_t size, size_t want)
{
    size_t room = db->scratch_size * 2 < want ? db->scratch_size * 2 : want;
    uint8_t *moved;
    if (size <= db->scratch_size) {
        return LKV_OK;
    }
    room = room < size ? size : room;
    moved = lkv_os_resize(db->os, db->scratch, room);
    if (moved == NULL) {
        return LKV_NOMEM;
    }
    db->scratch = moved;
    db->scratch_size = room;
    return LKV_OK;
}

static int read_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       size_t want, lkv_bytes *view, lkv_error *err)
{
    storage_db *db = self(storage);
    size_t within = (size_t)(offset % storage->block);
    size_t have = 0;
    int rc;

    (void)err;
    storage->fresh = 0;
    rc = block_of(db, object, offset - within, view);
    if (rc != LKV_OK) {
        return rc;
    }
    if (view->size <= within) {
        *view = (lkv_bytes){NULL, 0};
        return LKV_OK;
    }
    view->data = (const uint8_t *)view->data + within;
    view->size -= within;
    if (view->size >= want || view->size < storage->block - within) {
        return LKV_OK;
    }
    while (view->size > 0) {
        size_t size = view->size < want - have ? view->size : want - have;
        int whole = view->size == storage->block - within;
        rc = make_scratch(db, have + size, want);
        if (rc != LKV_OK) {
            return rc;
        }
        memcpy(db->scratch + have, view->data, size);
        have += size;
        within = 0;
        if (have == want || !whole) { /* a block that is not full is the last */
            break;
        }
        rc = block_of(db, object, offset + have, view);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    *view = (lkv_bytes){db->scratch, have};
    return LKV_OK;
}

/* Of a segment or a part, in the words of litekv_segments. */
static int cut_short(uint32_t object, uint64_t offset, lkv_error *err)
{
    int is_part = object >= LKV_PART_FIRST;
    if (err != NULL) {
        sqlite3_snprintf((int)sizeof(err->text), err->text,
                         "%s %u, offset %llu: it is cut short",
                         is_part ? "part" : "segment",
                         is_part ? object - LKV_PART_FIRST + 1 : object, offset);
    }
    return LKV_CORRUPT;
}

/* The tail becomes the block that `offset` lies in, as far as `offset`. */
int lkv_db_tail_at(storage_db *db, uint32_t object, uint64_t offset, lkv_error *err)
{
    size_t within = (size_t)(offset % db->base.block);
    sqlite3_int64 id = lkv_db_block_id(db, object, offset);
    lkv_bytes view;
    int rc = LKV_OK;

    if (within > 0 && id != db->tail_id) {
        rc = block_of(db, object, offset - within, &view);
        if (rc == LKV_OK && db->tail_id != id) {
            rc = lkv_db_keep_tail(db, id, view.data, view.size);
        }
        if (rc != LKV_OK) {
            return rc;
        }
    }
    if (within > 0 && db->tail_size < within) {
        return cut_short(object, offset, err);
    }
    rc = make_tail(db, 0);
    db->tail_id = id;
    db->tail_size = within;
    return rc;
}

/* The tail may be the short end of a part that was read. */
void lkv_db_forget_tail(storage_db *db, uint32_t object)
{
    if (db->tail_id >> 32 == (sqlite3_int64)object) {
        db->tail_id = 0;
    }
}

/* The short block at the end of a part goes on with the first of `bytes`; `*size` is
 * how many of them it took. */
static int go_on(storage_db *db, uint32_t object, uint64_t offset, lkv_bytes bytes,
                 size_t *size, lkv_error *err)
{
    size_t block = db->base.block, within = (size_t)(offset % block);
    lkv_bytes view;
    int rc = block_of(db, object, offset - within, &view);

    *size = bytes.size < block - within ? bytes.size : block - within;
    if (rc == LKV_OK && view.size < within) {
        rc = cut_short(object, offset - within, err);
    }
    if (rc == LKV_OK) {
        rc = make_scratch(db, within + *size, within + *size);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    memcpy(db->scratch, view.data, within);
    memcpy(db->scratch + within, bytes.data, *size);
    /* Bytes behind the end, which nobody wrote, made it look settled. */
    lkv_cache_drop(db->cache, (uint64_t)lkv_db_block_id(db, object, offset),
                   (uint64_t)lkv_db_block_id(db, object, offset));
    return lkv_db_put(db, lkv_db_of(LKV_DB_PUT, object),
                      lkv_db_block_id(db, object, offset), db->scratch, within + *size);
}

/* Bytes at the end of a part or a run. */
static int write_blocks(storage_db *db, uint32_t object, uint64_t offset,
                        lkv_bytes bytes, lkv_error *err)
{
    size_t block = db->base.block, at = 0;
    int rc = LKV_OK;

    if (offset % block != 0 && bytes.size > 0) {
        rc = go_on(db, object, offset, bytes, &at, err);
    }
    lkv_db_forget_tail(db, object);
    while (at < bytes.size && rc == LKV_OK) {
        size_t left = bytes.size - at, size = left < block ? left : block;
        rc = lkv_db_put(db, lkv_db_of(LKV_DB_PUT, object),
                        lkv_db_block_id(db, object, offset + at),
                        (const uint8_t *)bytes.data + at, size);
        at += size;
    }
    return rc;
}

static int write_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                        lkv_bytes bytes, lkv_error *err)
{
    storage_db *db = self(storage);
    const uint8_t *at = bytes.data;
    size_t block = storage->block;
    size_t left = bytes.size;
    uint64_t start = offset;
    int rc;

    lkv_cache_drop(db->cache, (uint64_t)lkv_db_block_id(db, object, offset),
                   (uint64_t)lkv_db_block_id(db, object, offset + bytes.size));
    if (object >= LKV_PART_FIRST) {
        return write_blocks(db, object, offset, bytes, err);
    }
    rc = lkv_db_tail_at(db, object, offset, err);
    while (rc == LKV_OK && db->tail_size + left >= block) {
        size_t size = block - db->tail_size;
        sqlite3_int64 id = db->tail_id;
        if (db->tail_size == 0) {
            rc = lkv_db_put(db, LKV_DB_PUT, id, at, block);
        } else {
            memcpy(db->tail + db->tail_size, at, size);
            rc = lkv_db_put(db, LKV_DB_PUT, id, db->tail, block);
        }
        if (rc != LKV_OK) {
            return rc;
        }
        at += size;
        left -= size;
        start += size;
        db->tail_id = lkv_db_block_id(db, object, start);
        db->tail_size = 0;
    }
    if (rc == LKV_OK && left > 0) {
        memcpy(db->tail + db->tail_size, at, left);
        db->tail_size += left;
    }
    if (rc == LKV_OK) {
        db->full_segment = object;
        db->full_to = (uint32_t)start;
    }
    return rc;
}

static void rewind_object(lkv_storage *storage, uint32_t object, uint64_t offset)
{
    storage_db *db = self(storage);
    if (object == 0) { /* another log: what is known of its end was read just now */
        lkv_cache_drop(db->cache, 0, UINT64_MAX);
        return;
    }
    lkv_cache_drop(db->cache, (uint64_t)lkv_db_block_id(db, object, offset),
                   (uint64_t)object << 32 | UINT32_MAX);
    db->tail_id = 0;
    if (object >= LKV_PART_FIRST) {
        return;
    }
    db->full_segment = object;
    db->full_to = (uint32_t)offset;
    /* What was published beyond is gone. An end that is read from now on is another one
     * (db_end.c), and what is cached above this place is no proof of the past. */
    db->end.segment = object;
    db->end.offset = (uint32_t)offset;
    db->end_fresh = db->end_stands = 0;
}

static int seal(lkv_storage *storage, uint32_t object, lkv_error *err)
{
    storage_db *db = self(storage);
    (void)err;
    if (db->tail_id >> 32 != (sqlite3_int64)object || db->tail_size == 0) {
        return LKV_OK;
    }
    return lkv_db_put(db, LKV_DB_PUT, db->tail_id, db->tail, db->tail_size);
}

/* The database is synced by SQLite's own commit. */
static int sync_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       lkv_error *err)
{
    (void)storage;
    (void)object;
    (void)offset;
    (void)err;
    return LKV_OK;
}

/* SQLite's write lock is held when a transaction writes. */
static int lock(lkv_storage *storage, int64_t wait_ms, lkv_error *err)
{
    (void)wait_ms;
    (void)err;
    self(storage)->greatest = 0;
    return LKV_OK;
}

/* The end that was published last may have been undone since: the handle knows where it
 * stands. */
static void unlock(lkv_storage *storage, const lkv_end *end)
{
    storage_db *db = self(storage);
    db->end = *end;
    db->end_known = 1;
    db->end_fresh = 0;
}

/* A stepped statement on the log holds SQLite's read transaction. */
static int pin(lkv_storage *storage, lkv_error *err)
{
    storage_db *db = self(storage);
    sqlite3_stmt *statement;
    int rc = lkv_db_prepare(db, LKV_DB_PIN, &statement);
    (void)err;
    if (rc == LKV_OK) {
        rc = lkv_db_row(db, statement);
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static void unpin(lkv_storage *storage)
{
    sqlite3_reset(self(storage)->statements[LKV_DB_PIN]);
}

/* The tail is not only a copy: it may hold what is not written yet. */
static void forget(lkv_storage *storage, uint32_t object, uint64_t offset)
{
    uint64_t first =
        object == 0 ? 0 : (uint64_t)lkv_db_block_id(self(storage), object, offset);
    lkv_cache_drop(self(storage)->cache, first,
                   object == 0 ? UINT64_MAX : first | UINT32_MAX);
}

static const lkv_storage_ops db_ops = {read_object,
                                       write_object,
                                       rewind_object,
                                       seal,
                                       lkv_db_remove,
                                       lkv_db_list,
                                       sync_object,
                                       lkv_db_read_root,
                                       lkv_db_write_root,
                                       lkv_db_read_end,
                                       lkv_db_publish_end,
                                       lock,
                                       unlock,
                                       pin,
                                       unpin,
                                       forget,
                                       NULL,
                                       NULL,
                                       NULL};

lkv_storage *lkv_storage_db_open(sqlite3 *connection, const char *schema,
                                 const char *table, uint64_t cache_bytes,
                                 const lkv_os *os)
{
    storage_db *db = sqlite3_malloc64(sizeof(*db));
    if (db == NULL) {
        return NULL;
    }
    memset(db, 0, sizeof(*db));
    db->base.ops = &db_ops;
    db->base.block = LKV_END_SIZE; /* until the root tells */
    db->base.spill = LKV_SPILL_SIZE;
    db->base.segment = LKV_SEGMENT_SIZE;
    db->base.atomic = db->base.undoes = 1;
    db->os = os;
    db->db = connection;
    db->schema = sqlite3_mprintf("%s", schema);
    db->table = sqlite3_mprintf("%s", table);
    if (db->schema == NULL || db->table == NULL ||
        lkv_cache_open(os, cache_bytes, &db->cache) != LKV_OK) {
        lkv_storage_db_close(&db->base);
        return NULL;
    }
    lkv_cache_favour(db->cache, (uint64_t)LKV_RUN_FIRST << 32);
    return &db->base;
}

static void finalize(storage_db *db)
{
    for (int i = 0; i < LKV_DB_STATEMENTS; i++) {
        sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
}

void lkv_storage_db_close(lkv_storage *storage)
{
    storage_db *db = self(storage);
    if (db != NULL) {
        finalize(db);
        lkv_cache_close(db->cache);
        lkv_os_free(db->os, db->tail);
        lkv_os_free(db->os, db->passed);
        lkv_os_free(db->os, db->scratch);
        lkv_os_free(db->os, db->root);
        sqlite3_free(db->schema);
        sqlite3_free(db->table);
        sqlite3_free(db);
    }
}

int lkv_storage_db_renamed(lkv_storage *storage, const char *table)
{
    storage_db *db = self(storage);
    char *name = sqlite3_mprintf("%s", table);
    if (name == NULL) {
        return SQLITE_NOMEM;
    }
    finalize(db);
    sqlite3_free(db->table);
    db->table = name;
    return SQLITE_OK;
}

int lkv_storage_db_busy(const lkv_storage *storage)
{
    return ((const storage_db *)storage)->busy;
}

int lkv_storage_db_failure(const lkv_storage *storage, const char **text)
{
    const storage_db *db = (const storage_db *)storage;
    *text = db->text;
    return db->failure;
}

/* SQLite looks at interrupts, and asks a progress handler, in the steps of statements
 * only. */
int lkv_storage_db_go_on(void *storage)
{
    sqlite3_stmt *statement;
    int rc = lkv_db_prepare(storage, LKV_DB_GO_ON, &statement);
    if (rc == LKV_OK) {
        rc = lkv_db_row(storage, statement);
    }
    if (rc == LKV_OK) {
        sqlite3_reset(statement);
    }
    return rc;
}

/* Whether another database than the table's is being written to. */
static int writes_elsewhere(const storage_db *db)
{
    const char *name;
    for (int i = 0; (name = sqlite3_db_name(db->db, i)) != NULL; i++) {
        if (sqlite3_stricmp(name, db->schema) != 0 &&
            sqlite3_txn_state(db->db, name) == SQLITE_TXN_WRITE) {
            return 1;
        }
    }
    return 0;
}

/* How many statements that write are under way. */
static int writers(sqlite3 *db)
{
    int count = 0;
    for (sqlite3_stmt *at = sqlite3_next_stmt(db, NULL); at != NULL;
         at = sqlite3_next_stmt(db, at)) {
        count += sqlite3_stmt_busy(at) && !sqlite3_stmt_readonly(at);
    }
    return count;
}

int lkv_storage_db_is_within(const lkv_storage *storage)
{
    const storage_db *db = (const storage_db *)storage;
    return writes_elsewhere(db) && writers(db->db) > 1;
}

uint64_t lkv_storage_db_cached(const lkv_storage *storage, uint64_t *limit)
{
    const storage_db *db = (const storage_db *)storage;
    *limit = lkv_cache_limit(db->cache);
    return lkv_cache_memory(db->cache);
}
