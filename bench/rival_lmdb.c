/*
 * rival_lmdb.c - LMDB: a B+tree in a map of one file.
 *
 * It has no log to write ahead, and so MDB_NOSYNC is what a batch without a sync is
 * here; a power cut may then lose the whole file, not the newest batches alone.
 */
#include "rivals.h"

#ifdef LKV_HAVE_LMDB

#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

typedef struct lmdb {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn;
    MDB_txn *reader; /* one snapshot for all reads, as its manual advises */
} lmdb;

static void check(int rc)
{
    if (rc != MDB_SUCCESS) {
        bench_fail("LMDB", mdb_strerror(rc));
    }
}

static void *open_lmdb(const char *directory, int fresh, uint64_t keys)
{
    lmdb *db = rival_memory(sizeof(*db));
    check(mdb_env_create(&db->env));
    check(mdb_env_set_mapsize(db->env, (size_t)keys * 1024 + ((size_t)64 << 20)));
    check(mdb_env_open(db->env, directory, MDB_NOSYNC | MDB_WRITEMAP, 0600));
    check(mdb_txn_begin(db->env, NULL, fresh ? 0 : MDB_RDONLY, &db->txn));
    check(mdb_dbi_open(db->txn, NULL, 0, &db->dbi));
    check(mdb_txn_commit(db->txn));
    return db;
}

static void end_reader(lmdb *db)
{
    if (db->reader != NULL) {
        mdb_txn_abort(db->reader);
        db->reader = NULL;
    }
}

static void begin_reader(lmdb *db)
{
    if (db->reader == NULL) {
        check(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &db->reader));
    }
}

static void close_lmdb(void *arg)
{
    lmdb *db = arg;
    end_reader(db);
    mdb_env_close(db->env);
    free(db);
}

static void begin(void *arg)
{
    lmdb *db = arg;
    end_reader(db);
    check(mdb_txn_begin(db->env, NULL, 0, &db->txn));
}

static void put(void *arg, const char *key, const unsigned char *value)
{
    lmdb *db = arg;
    unsigned char copy[BENCH_KEY_SIZE + BENCH_VALUE_SIZE];
    MDB_val k = {BENCH_KEY_SIZE, copy};
    MDB_val v = {BENCH_VALUE_SIZE, copy + BENCH_KEY_SIZE};
    /* Its arguments are not const. */
    memcpy(copy, key, BENCH_KEY_SIZE);
    memcpy(copy + BENCH_KEY_SIZE, value, BENCH_VALUE_SIZE);
    check(mdb_put(db->txn, db->dbi, &k, &v, 0));
}

static void commit(void *arg)
{
    lmdb *db = arg;
    check(mdb_txn_commit(db->txn));
}

static int get(void *arg, const char *key, unsigned char *value)
{
    lmdb *db = arg;
    unsigned char copy[BENCH_KEY_SIZE];
    MDB_val k = {BENCH_KEY_SIZE, copy}, v;
    int rc;

    memcpy(copy, key, BENCH_KEY_SIZE);
    begin_reader(db);
    rc = mdb_get(db->reader, db->dbi, &k, &v);
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    check(rc);
    rival_take(value, v.mv_data, v.mv_size);
    return 1;
}

static uint64_t scan(void *arg)
{
    lmdb *db = arg;
    MDB_cursor *cursor;
    MDB_val k, v;
    uint64_t rows = 0;
    unsigned sum = 0;

    begin_reader(db);
    check(mdb_cursor_open(db->reader, db->dbi, &cursor));
    while (mdb_cursor_get(cursor, &k, &v, MDB_NEXT) == MDB_SUCCESS) {
        sum += rival_touch(k.mv_data, v.mv_data);
        rows++;
    }
    mdb_cursor_close(cursor);
    rival_keep(sum);
    return rows;
}

static const rival engine_lmdb = {
    .name = "LMDB",
    .settings = MDB_VERSION_STRING
    ": MDB_WRITEMAP | MDB_NOSYNC, one read transaction for all reads; no cache of "
    "its own, no checksums, nothing to compact",
    .keeps_files = 1,
    .open = open_lmdb,
    .close = close_lmdb,
    .begin = begin,
    .put = put,
    .commit = commit,
    .get = get,
    .scan = scan,
};

const rival *rival_lmdb(void)
{
    return &engine_lmdb;
}

#else

const rival *rival_lmdb(void)
{
    return NULL;
}

#endif
