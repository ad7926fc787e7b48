/*
 * rival_leveldb.c - LevelDB: a log-structured merge tree, its merging in a thread.
 */
#include "rivals.h"

#ifdef LKV_HAVE_LEVELDB

#include <leveldb/c.h>
#include <stdlib.h>

typedef struct level {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_readoptions_t *reading;
    leveldb_writeoptions_t *writing;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_writebatch_t *batch;
} level;

static void check(char *why)
{
    if (why != NULL) {
        bench_fail("LevelDB", why);
    }
}

static void *open_level(const char *directory, int fresh, uint64_t keys)
{
    level *l = rival_memory(sizeof(*l));
    char *why = NULL;
    (void)keys;
    l->options = leveldb_options_create();
    l->reading = leveldb_readoptions_create();
    l->writing = leveldb_writeoptions_create();
    l->cache = leveldb_cache_create_lru(RIVAL_CACHE);
    l->filter = leveldb_filterpolicy_create_bloom(10);
    l->batch = leveldb_writebatch_create();
    leveldb_options_set_create_if_missing(l->options, fresh != 0);
    leveldb_options_set_cache(l->options, l->cache);
    leveldb_options_set_filter_policy(l->options, l->filter);
    leveldb_options_set_write_buffer_size(l->options, RIVAL_CACHE);
    leveldb_options_set_compression(l->options, leveldb_no_compression);
    leveldb_writeoptions_set_sync(l->writing, 0);
    l->db = leveldb_open(l->options, directory, &why);
    check(why);
    return l;
}

static void close_level(void *arg)
{
    level *l = arg;
    leveldb_close(l->db);
    leveldb_writebatch_destroy(l->batch);
    leveldb_writeoptions_destroy(l->writing);
    leveldb_readoptions_destroy(l->reading);
    leveldb_options_destroy(l->options);
    leveldb_filterpolicy_destroy(l->filter);
    leveldb_cache_destroy(l->cache);
    free(l);
}

static void put(void *arg, const char *key, const unsigned char *value)
{
    level *l = arg;
    leveldb_writebatch_put(l->batch, key, BENCH_KEY_SIZE, (const char *)value,
                           BENCH_VALUE_SIZE);
}

static void commit(void *arg)
{
    level *l = arg;
    char *why = NULL;
    leveldb_write(l->db, l->writing, l->batch, &why);
    check(why);
    leveldb_writebatch_clear(l->batch);
}

static int get(void *arg, const char *key, unsigned char *value)
{
    level *l = arg;
    char *why = NULL, *found;
    size_t size;
    found = leveldb_get(l->db, l->reading, key, BENCH_KEY_SIZE, &size, &why);
    check(why);
    if (found == NULL) {
        return 0;
    }
    rival_take(value, found, size);
    leveldb_free(found);
    return 1;
}

static uint64_t scan(void *arg)
{
    level *l = arg;
    leveldb_iterator_t *at = leveldb_create_iterator(l->db, l->reading);
    uint64_t rows = 0;
    unsigned sum = 0;
    char *why = NULL;
    size_t size;

    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at);
         leveldb_iter_next(at)) {
        const char *key = leveldb_iter_key(at, &size);
        sum += rival_touch(key, leveldb_iter_value(at, &size));
        rows++;
    }
    leveldb_iter_get_error(at, &why);
    check(why);
    leveldb_iter_destroy(at);
    rival_keep(sum);
    return rows;
}

static void compact(void *arg)
{
    level *l = arg;
    leveldb_compact_range(l->db, NULL, 0, NULL, 0);
}

static const rival engine_level = {
    .name = "LevelDB",
    .settings = "block cache 64 MiB, write buffer 64 MiB, Bloom filter of 10 bits a "
                "key, no compression, log without sync, checksums written and checked "
                "where it does by default; merges in a thread of its own",
    .keeps_files = 1,
    .open = open_level,
    .close = close_level,
    .put = put,
    .commit = commit,
    .get = get,
    .scan = scan,
    .compact = compact,
};

const rival *rival_leveldb(void)
{
    return &engine_level;
}

#else

const rival *rival_leveldb(void)
{
    return NULL;
}

#endif
