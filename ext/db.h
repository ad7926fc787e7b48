/*
 * db.h - the parts of the storage in a database, for the files that make it up:
 * storage_db.c (blocks), db_list.c (which objects there are), db_end.c (root and end),
 * db_statement.c (SQL).
 */
#ifndef LKV_DB_H
#define LKV_DB_H

#include "../core/cache.h"
#include "storage_db.h"

enum lkv_db_statement {
    LKV_DB_READ, /* one for each kind of object, in the order of storage.h */
    LKV_DB_READ_PART,
    LKV_DB_READ_RUN,
    LKV_DB_PUT,
    LKV_DB_PUT_PART,
    LKV_DB_PUT_RUN,
    LKV_DB_CUT,
    LKV_DB_CUT_PART,
    LKV_DB_CUT_RUN,
    LKV_DB_NEXT,
    LKV_DB_NEXT_PART,
    LKV_DB_NEXT_RUN,
    LKV_DB_LAST,
    LKV_DB_READ_ROOT,
    LKV_DB_PUT_ROOT,
    LKV_DB_PIN,
    LKV_DB_GO_ON,
    LKV_DB_STATEMENTS
};

typedef struct storage_db {
    lkv_storage base;
    const lkv_os *os;
    sqlite3 *db;
    char *schema, *table;
    sqlite3_stmt *statements[LKV_DB_STATEMENTS];
    lkv_cache *cache;
    sqlite3_int64 cached_to;        /* no block of a segment above it is in the cache */
    uint32_t full_segment, full_to; /* blocks that end at or below it are settled */
    sqlite3_int64 greatest;         /* id written since the lock was taken */

    uint8_t *tail; /* one block, partial */
    size_t tail_room;
    sqlite3_int64 tail_id; /* 0: none */
    size_t tail_size;

    uint8_t *passed; /* one block, read in passing */
    sqlite3_int64 passed_id;

    uint8_t *scratch; /* what a read pieced together */
    size_t scratch_size;
    uint8_t *root;

    lkv_end end; /* as read or published last */
    unsigned
        end_version; /* SQLITE_FCNTL_DATA_VERSION when `end` was the newest commit */
    int end_known, end_fresh;
    int end_stands; /* nothing since has undone `end` */
    int shared;     /* another connection may share SQLite's cache */
    int unnamed;    /* the database is no file: whether one does can change */

    int busy; /* one of the statements is running */
    int failure;
    char text[200];
} storage_db;

static inline storage_db *self(lkv_storage *storage)
{
    return (storage_db *)storage;
}

/* The statement of `which` three for the kind of `object`. */
static inline enum lkv_db_statement lkv_db_of(enum lkv_db_statement which,
                                              uint32_t object)
{
    return which + (object >= LKV_PART_FIRST) + (object >= LKV_RUN_FIRST);
}

static inline sqlite3_int64 lkv_db_block_id(const storage_db *db, uint32_t object,
                                            uint64_t offset)
{
    return (sqlite3_int64)((uint64_t)object << 32 | offset / db->base.block);
}

/* db_statement.c: each returns a status of litekv.h, lkv_db_step() what SQLite says. */
int lkv_db_fail(storage_db *db, int rc);
int lkv_db_prepare(storage_db *db, enum lkv_db_statement which, sqlite3_stmt **out);
int lkv_db_step(storage_db *db, sqlite3_stmt *statement);
int lkv_db_run(storage_db *db, sqlite3_stmt *statement);
int lkv_db_put(storage_db *db, enum lkv_db_statement which, sqlite3_int64 id,
               const void *data, size_t size);
int lkv_db_cut(storage_db *db, enum lkv_db_statement which, sqlite3_int64 first,
               sqlite3_int64 last);
int lkv_db_row(storage_db *db, sqlite3_stmt *statement);

/* storage_db.c */
int lkv_db_keep_tail(storage_db *db, sqlite3_int64 id, const void *data, size_t size);
int lkv_db_tail_at(storage_db *db, uint32_t object, uint64_t offset, lkv_error *err);
void lkv_db_forget_tail(storage_db *db, uint32_t object);

/* db_list.c: functions of storage.h. */
int lkv_db_remove(lkv_storage *storage, uint32_t object, uint64_t offset,
                  lkv_error *err);
int lkv_db_list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                void *arg, lkv_error *err);

/* db_end.c: functions of storage.h. */
int lkv_db_read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err);
int lkv_db_write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                      lkv_error *err);
int lkv_db_read_end(lkv_storage *storage, lkv_end *end, lkv_error *err);
int lkv_db_publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err);

#endif
