/*
 * db_list.c - which objects the tables of a store hold, and taking them away.
 *
 * Each table is for objects of one kind, whose numbers lie between two bounds
 * (core/storage.h). A row with any other id is no object's: nothing reads it, and it
 * goes by the number 0.
 */
#include "db.h"

SQLITE_EXTENSION_INIT3

static const struct {
    enum lkv_db_statement next, cut;
    sqlite3_int64 first, last;
} tables[] = {{LKV_DB_NEXT, LKV_DB_CUT, 1, LKV_PART_FIRST - 1},
              {LKV_DB_NEXT_PART, LKV_DB_CUT_PART, LKV_PART_FIRST, LKV_RUN_FIRST - 1},
              {LKV_DB_NEXT_RUN, LKV_DB_CUT_RUN, LKV_RUN_FIRST, LKV_RUN_LAST}};

#define TABLES (sizeof(tables) / sizeof(tables[0]))

static int remove_strangers(storage_db *db)
{
    int rc = LKV_OK;
    for (size_t i = 0; i < TABLES && rc == LKV_OK; i++) {
        rc = lkv_db_cut(db, tables[i].cut, INT64_MIN, (tables[i].first << 32) - 1);
        if (rc == LKV_OK && tables[i].last < INT32_MAX) {
            rc = lkv_db_cut(db, tables[i].cut, (tables[i].last + 1) << 32, INT64_MAX);
        }
    }
    return rc;
}

int lkv_db_remove(lkv_storage *storage, uint32_t object, uint64_t offset,
                  lkv_error *err)
{
    storage_db *db = self(storage);
    sqlite3_int64 first = lkv_db_block_id(db, object, offset);
    (void)err;
    if (object == 0) {
        return remove_strangers(db);
    }
    lkv_db_forget_tail(db, object);
    lkv_cache_drop(db->cache, (uint64_t)first, (uint64_t)first | UINT32_MAX);
    return lkv_db_cut(db, lkv_db_of(LKV_DB_CUT, object), first, first | UINT32_MAX);
}

/* The objects in table `i`. */
static int list_table(storage_db *db, size_t i, int (*each)(void *arg, uint32_t object),
                      void *arg)
{
    sqlite3_int64 from = INT64_MIN, id, object;
    for (;;) {
        sqlite3_stmt *statement;
        int rc = lkv_db_prepare(db, tables[i].next, &statement), own;
        if (rc != LKV_OK) {
            return rc;
        }
        sqlite3_bind_int64(statement, 1, from);
        rc = lkv_db_row(db, statement);
        if (rc != LKV_OK) {
            return rc == LKV_ABSENT ? LKV_OK : rc;
        }
        id = sqlite3_column_int64(statement, 0);
        object = id >> 32;
        sqlite3_reset(statement);
        if (id < from) { /* no table of ours, whose ids are numbers */
            return each(arg, 0);
        }
        own = object >= tables[i].first && object <= tables[i].last;
        rc = each(arg, own ? (uint32_t)object : 0);
        if (rc != 0 || object > tables[i].last || object == INT32_MAX) {
            return rc;
        }
        from = object < tables[i].first ? tables[i].first << 32 : (object + 1) << 32;
    }
}

int lkv_db_list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                void *arg, lkv_error *err)
{
    int rc = LKV_OK;
    (void)err;
    for (size_t i = 0; i < TABLES && rc == LKV_OK; i++) {
        rc = list_table(self(storage), i, each, arg);
    }
    return rc;
}
