/*
 * rival_tkrzw.c - Tkrzw: a hash in a file, and a B+tree on top of such a hash.
 *
 * The hash has no order of keys; it is there as what a put and a get cost without one.
 * Neither has a log to write ahead.
 */
#include "rivals.h"

#ifdef LKV_HAVE_TKRZW

#include <stdio.h>
#include <stdlib.h>
#include <tkrzw_langc.h>

static void check(bool done)
{
    if (!done) {
        bench_fail("Tkrzw", tkrzw_get_last_status_message());
    }
}

static TkrzwDBM *open_file(const char *directory, const char *name, int fresh,
                           const char *settings)
{
    char path[600], all[200];
    TkrzwDBM *dbm;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    snprintf(all, sizeof(all), "%s%s", settings, fresh ? ",truncate=true" : "");
    dbm = tkrzw_dbm_open(path, true, all);
    check(dbm != NULL);
    return dbm;
}

static void *open_hash(const char *directory, int fresh, uint64_t keys)
{
    char settings[100];
    snprintf(settings, sizeof(settings), "dbm=HashDBM,num_buckets=%llu",
             (unsigned long long)keys);
    return open_file(directory, "rival.tkh", fresh, settings);
}

static void *open_tree(const char *directory, int fresh, uint64_t keys)
{
    (void)keys;
    return open_file(directory, "rival.tkt", fresh,
                     "dbm=TreeDBM,max_cached_pages=8192");
}

static void close_dbm(void *arg)
{
    check(tkrzw_dbm_close(arg));
}

static void put(void *arg, const char *key, const unsigned char *value)
{
    check(tkrzw_dbm_set(arg, key, BENCH_KEY_SIZE, (const char *)value, BENCH_VALUE_SIZE,
                        true));
}

static int get(void *arg, const char *key, unsigned char *value)
{
    int32_t size;
    char *found = tkrzw_dbm_get(arg, key, BENCH_KEY_SIZE, &size);
    if (found == NULL) {
        return 0;
    }
    rival_take(value, found, (size_t)size);
    free(found);
    return 1;
}

typedef struct seen {
    uint64_t rows;
    unsigned sum;
} seen;

static const char *see(void *arg, const char *key, int32_t key_size, const char *value,
                       int32_t value_size, int32_t *new_size)
{
    seen *s = arg;
    (void)key_size;
    (void)value_size;
    (void)new_size;
    /* The call before the first row and that after the last have none. */
    if (value != NULL) {
        s->sum += rival_touch(key, value);
        s->rows++;
    }
    return TKRZW_REC_PROC_NOOP;
}

static uint64_t scan(void *arg)
{
    seen s = {0, 0};
    check(tkrzw_dbm_process_each(arg, see, &s, false));
    rival_keep(s.sum);
    return s.rows;
}

static void compact(void *arg)
{
    check(tkrzw_dbm_rebuild(arg, ""));
}

static const rival engine_hash = {
    .name = "Tkrzw hash",
    .settings = "HashDBM, num_buckets=the number of keys, otherwise its defaults: in "
                "place, no checksums; files read through a map",
    .keeps_files = 1,
    .open = open_hash,
    .close = close_dbm,
    .put = put,
    .get = get,
    .compact = compact,
};

static const rival engine_tree = {
    .name = "Tkrzw tree",
    .settings = "TreeDBM, max_cached_pages=8192 (64 MiB), otherwise its defaults: no "
                "checksums; files read through a map",
    .keeps_files = 1,
    .open = open_tree,
    .close = close_dbm,
    .put = put,
    .get = get,
    .scan = scan,
    .compact = compact,
};

const rival *rival_tkrzw_hash(void)
{
    return &engine_hash;
}

const rival *rival_tkrzw_tree(void)
{
    return &engine_tree;
}

#else

const rival *rival_tkrzw_hash(void)
{
    return NULL;
}

const rival *rival_tkrzw_tree(void)
{
    return NULL;
}

#endif
