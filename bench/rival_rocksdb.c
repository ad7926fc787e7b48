/*
 * rival_rocksdb.c - RocksDB: LevelDB's descendant, merging in several threads.
 */
#include "rivals.h"

#ifdef LKV_HAVE_ROCKSDB

#include <rocksdb/c.h>
#include <stdlib.h>

typedef struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *tables;
    rocksdb_readoptions_t *reading;
    rocksdb_writeoptions_t *writing;
    rocksdb_cache_t *cache;
    rocksdb_writebatch_t *batch;
} rocks;

static void check(char *why)
{
    if (why != NULL) {
        bench_fail("RocksDB", why);
    }
}

static void *open_rocks(const char *directory, int fresh, uint64_t keys)
{
    rocks *r = rival_memory(sizeof(*r));
    char *why = NULL;
    (void)keys;
    r->options = rocksdb_options_create();
    r->tables = rocksdb_block_based_options_create();
    r->reading = rocksdb_readoptions_create();
    r->writing = rocksdb_writeoptions_create();
    r->cache = rocksdb_cache_create_lru(RIVAL_CACHE);
    r->batch = rocksdb_writebatch_create();
    rocksdb_options_set_create_if_missing(r->options, fresh != 0);
    rocksdb_options_increase_parallelism(r->options, 2);
    rocksdb_options_set_write_buffer_size(r->options, RIVAL_CACHE);
    rocksdb_options_set_compression(r->options, rocksdb_no_compression);
    rocksdb_block_based_options_set_block_cache(r->tables, r->cache);
    /* The options take the filter over. */
    rocksdb_block_based_options_set_filter_policy(
        r->tables, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(r->options, r->tables);
    rocksdb_writeoptions_set_sync(r->writing, 0);
    r->db = rocksdb_open(r->options, directory, &why);
    check(why);
    return r;
}

static void close_rocks(void *arg)
{
    rocks *r = arg;
    rocksdb_close(r->db);
    rocksdb_writebatch_destroy(r->batch);
    rocksdb_writeoptions_destroy(r->writing);
    rocksdb_readoptions_destroy(r->reading);
    rocksdb_block_based_options_destroy(r->tables);
    rocksdb_options_destroy(r->options);
    rocksdb_cache_destroy(r->cache);
    free(r);
}

static void put(void *arg, const char *key, const unsigned char *value)
{
    rocks *r = arg;
    rocksdb_writebatch_put(r->batch, key, BENCH_KEY_SIZE, (const char *)value,
                           BENCH_VALUE_SIZE);
}

static void commit(void *arg)
{
    rocks *r = arg;
    char *why = NULL;
    rocksdb_write(r->db, r->writing, r->batch, &why);
    check(why);
    rocksdb_writebatch_clear(r->batch);
}

static int get(void *arg, const char *key, unsigned char *value)
{
    rocks *r = arg;
    rocksdb_pinnableslice_t *found;
    char *why = NULL;
    const char *bytes;
    size_t size;
    found = rocksdb_get_pinned(r->db, r->reading, key, BENCH_KEY_SIZE, &why);
    check(why);
    if (found == NULL) {
        return 0;
    }
    bytes = rocksdb_pinnableslice_value(found, &size);
    rival_take(value, bytes, size);
    rocksdb_pinnableslice_destroy(found);
    return 1;
}

static uint64_t scan(void *arg)
{
    rocks *r = arg;
    rocksdb_iterator_t *at = rocksdb_create_iterator(r->db, r->reading);
    uint64_t rows = 0;
    unsigned sum = 0;
    char *why = NULL;
    size_t size;

    for (rocksdb_iter_seek_to_first(at); rocksdb_iter_valid(at);
         rocksdb_iter_next(at)) {
        const char *key = rocksdb_iter_key(at, &size);
        sum += rival_touch(key, rocksdb_iter_value(at, &size));
        rows++;
    }
    rocksdb_iter_get_error(at, &why);
    check(why);
    rocksdb_iter_destroy(at);
    rival_keep(sum);
    return rows;
}

static void compact(void *arg)
{
    rocks *r = arg;
    rocksdb_compact_range(r->db, NULL, 0, NULL, 0);
}

static const rival engine_rocks = {
    .name = "RocksDB",
    .settings = "block cache 64 MiB, write buffer 64 MiB, full Bloom filter of 10 bits "
                "a key, no compression, increase_parallelism(2), log without sync, "
                "checksums by default; merges in threads of its own",
    .keeps_files = 1,
    .open = open_rocks,
    .close = close_rocks,
    .put = put,
    .commit = commit,
    .get = get,
    .scan = scan,
    .compact = compact,
};

const rival *rival_rocksdb(void)
{
    return &engine_rocks;
}

#else

const rival *rival_rocksdb(void)
{
    return NULL;
}

#endif
