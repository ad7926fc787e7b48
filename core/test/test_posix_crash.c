/*
 * test_posix_crash.c - two handles on a store in files do anything, until all dies at
 * some call; and sometimes the power fails with it. What is found then was committed
 * once, and is no older than what was promised to last; the store is whole, and the
 * next ones go on with it, until they die.
 *
 * Each seed is a store of its own, and a line of lives. LONG=1 makes more seeds.
 */
#include "crash_os.h"
#include "directory.h"
#include "fixture.h"

#include "storage_posix.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIVES 20 /* of a seed */
#define MARKS 4

enum modes { FULL, NORMAL, FULL_AND_NORMAL, ALL }; /* which a seed uses of sync */

typedef struct texts {
    char **at;
    size_t count, room;
} texts;

typedef struct handle {
    lkv_storage *storage;
    lkv_store *store; /* NULL: it is not open */
} handle;

typedef struct crash {
    enum modes modes;
    int one_segment; /* which never ends */
    int mapped;
    uint64_t random;
    directory directory;
    char path[300];
    crash_os *os;
    handle handles[2];
    lkv_error err;

    /* Contents. Of the commits since the last power cut and, first, what that left; */
    texts committed;
    size_t lasting; /* the oldest of these that the next one may leave. */
    /* By the transaction that is under way, oldest first; or was when its process died,
     * and no writer has come since. */
    texts prepared;
    int promised; /* nothing was written with sync=off since a commit that lasts */
    int cut;      /* the power failed, and nobody has opened it since */
    size_t cuts;
} crash;

static uint64_t below(crash *c, uint64_t limit)
{
    return check_below(&c->random, limit);
}

/* --- contents --------------------------------------------------------------------- */

static void add_text(texts *to, const char *text)
{
    if (to->count == to->room) {
        to->room = to->room * 2 + 16;
        to->at = realloc(to->at, to->room * sizeof(*to->at));
    }
    if (to->at == NULL) {
        abort();
    }
    to->at[to->count++] = strdup(text);
}

static void keep_texts(texts *of, size_t count)
{
    while (of->count > count) {
        free(of->at[--of->count]);
    }
}

static int is_among(const texts *of, size_t from, const char *text)
{
    for (size_t i = of->count; i-- > from;) {
        if (strcmp(of->at[i], text) == 0) {
            return 1;
        }
    }
    return 0;
}

static const char *newest(const crash *c)
{
    return c->committed.at[c->committed.count - 1];
}

/* What a power cut may leave that is no commit of the model:
 *
 * A transaction that was prepared more than once has written a commit each time, and
 * all are counted here: with sync=normal the first ones may be left alone. With
 * sync=full the last one lasts once it was acknowledged: `lasting` is then behind the
 * others.
 *
 * Of a transaction that nobody acknowledged when its process died, what a reader did
 * not see since may come back: that process had blotted its commit out, and not synced
 * that. The next writer, once it has begun, stands on what it found, and nothing comes
 * back.
 */
static void add_prepared(crash *c)
{
    for (size_t i = 0; i < c->prepared.count; i++) {
        add_text(&c->committed, c->prepared.at[i]);
    }
    keep_texts(&c->prepared, 0);
}

static void report(const char *what, const texts *of, size_t from)
{
    for (size_t i = from; i < of->count; i++) {
        printf("    %s: %s\n", what, of->at[i]);
    }
}

/* What was found after a death or a power cut is from now on the newest content. */
static void check_found(crash *c, const char *text)
{
    char *found = strdup(text);
    size_t from = c->cut ? c->lasting : c->committed.count - 1;
    int is_prepared = is_among(&c->prepared, 0, found);

    if (!CHECK(is_prepared || is_among(&c->committed, from, found))) {
        printf("    found: %s\n", found);
        report("committed", &c->committed, from);
        report("prepared", &c->prepared, 0);
    }
    if (c->cut) { /* the disk has it */
        keep_texts(&c->committed, 0);
        keep_texts(&c->prepared, 0);
        c->lasting = 0;
        c->promised = 1;
        c->cut = 0;
        c->cuts++;
    } else if (is_prepared) {
        add_prepared(c);
    }
    if (c->committed.count == 0 || strcmp(newest(c), found) != 0) {
        add_text(&c->committed, found);
    }
    free(found);
}

/* --- handles ---------------------------------------------------------------------- */

static enum lkv_sync any_sync(crash *c)
{
    switch (c->modes) {
    case FULL:
        return LKV_SYNC_FULL;
    case NORMAL:
        return LKV_SYNC_NORMAL;
    case FULL_AND_NORMAL:
        return below(c, 2) == 0 ? LKV_SYNC_FULL : LKV_SYNC_NORMAL;
    case ALL:
    default:
        return (enum lkv_sync)below(c, 3);
    }
}

/* Small segments and runs, so that all of it happens all the time. */
static void open_handle(crash *c, handle *h)
{
    lkv_posix_options options = {
        .path = c->path, .mode = 0600, .mapped = c->mapped, .cache_bytes = 1 << 20};
    if (lkv_storage_posix_open(crash_os_os(c->os), &options, &h->storage) != LKV_OK ||
        lkv_open(h->storage, crash_os_os(c->os), &h->store) != LKV_OK) {
        abort();
    }
    h->storage->segment = c->one_segment ? 1u << 16 : (uint32_t)(150 + below(c, 800));
    h->storage->spill = below(c, 3) > 0 ? 4096 : LKV_SPILL_SIZE;
    h->store->flush_size = below(c, 2) == 0 ? 700 : (uint32_t)(300 + below(c, 3000));
    h->store->log.vouch_every = below(c, 2) == 0 ? 1500 : UINT64_MAX;
    lkv_sync_fallback(h->store, any_sync(c));
}

static void close_handle(handle *h)
{
    if (h->store != NULL) {
        lkv_close(h->store);
        lkv_storage_posix_close(h->storage);
        h->store = NULL;
    }
}

static void check_ok(crash *c, int rc)
{
    if (!CHECK_INT(rc, LKV_OK)) {
        printf("    %s\n", c->err.text);
    }
}

static void make_store(crash *c)
{
    handle *h = &c->handles[0];
    int made = 0;
    open_handle(c, h);
    lkv_sync_fallback(h->store, c->modes == NORMAL ? LKV_SYNC_NORMAL : LKV_SYNC_FULL);
    check_ok(c, lkv_storage_posix_make(h->storage, &made, &c->err));
    CHECK_INT(made, 1);
    check_ok(c,
             lkv_create(h->storage, crash_os_os(c->os), text_bytes("about"), &c->err));
    check_ok(c, lkv_refresh(h->store, &c->err));
    add_text(&c->committed, contents(h->store));
    close_handle(h);
}

/* The first one to open it after a death, who writes or only reads. */
static void reopen(crash *c)
{
    handle *h = &c->handles[0];
    int writes = below(c, 2) == 0;
    open_handle(c, h);
    check_ok(c,
             writes ? lkv_begin(h->store, 0, &c->err) : lkv_refresh(h->store, &c->err));
    check_found(c, contents(h->store));
    if (writes) {
        keep_texts(&c->prepared, 0);
        lkv_rollback(h->store);
    }
    check_ok(c, lkv_verify(h->store, NULL, NULL, &c->err));
}

/* --- transactions ----------------------------------------------------------------- */

/* How far one has come. */
typedef struct point {
    uint32_t depth;  /* of a mark */
    size_t prepared; /* so many times; */
    size_t last;     /* the last of them that wrote something, from 1 on; 0: none, */
    int full;        /* and whether with sync=full */
} point;

typedef struct transaction {
    crash *c;
    handle *on;
    lkv_store *store;
    point now;
    point marks[MARKS];
    size_t mark_count;
} transaction;

static void put_some(transaction *t)
{
    char key[8], value[160];
    size_t filling = below(t->c, 3) > 0 ? 0 : (size_t)below(t->c, 120);
    int size = snprintf(value, 32, "v%d", (int)below(t->c, 100000));
    snprintf(key, sizeof(key), "k%d", (int)below(t->c, 10));
    memset(value + size, 'x', filling);
    value[(size_t)size + filling] = '\0';
    CHECK_INT(put_text(t->store, key, value), LKV_OK);
}

static void delete_some(transaction *t)
{
    char key[8];
    snprintf(key, sizeof(key), "k%d", (int)below(t->c, 10));
    CHECK(delete_text(t->store, key) >= 0);
}

static void change_sync(transaction *t)
{
    enum lkv_sync sync = any_sync(t->c);
    check_ok(t->c, lkv_set_sync(t->store, sync, &t->c->err));
    if (sync == LKV_SYNC_OFF) {
        t->c->promised = 0;
    }
}

/* What must come before the first change is refused after it. */
static void work(transaction *t, int rebuild)
{
    uint64_t left, budget = below(t->c, 2) == 0 ? 1000 : UINT64_MAX;
    int rc = rebuild ? lkv_rebuild(t->store, NULL, NULL, &t->c->err)
                     : lkv_compact(t->store, budget, &left, &t->c->err);
    check_ok(t->c, rc == LKV_MISUSE ? LKV_OK : rc);
}

static void set_mark(transaction *t)
{
    if (t->mark_count < MARKS) {
        t->now.depth = mark(t->store);
        t->marks[t->mark_count++] = t->now;
    }
}

static void go_back(transaction *t)
{
    if (t->mark_count > 0) {
        size_t to = (size_t)below(t->c, t->mark_count);
        lkv_rollback_to(t->store, t->marks[to].depth);
        t->now = t->marks[to];
        t->mark_count = to + 1;
        keep_texts(&t->c->prepared, t->now.prepared);
    }
}

/* Noted before: its commit may be found as soon as it is called. */
static void prepare(transaction *t)
{
    crash *c = t->c;
    int pending = lkv_pending(t->store);
    int full = lkv_sync_of(t->store) == LKV_SYNC_FULL;
    add_text(&c->prepared, contents(t->store));
    check_ok(c, lkv_prepare(t->store, &c->err));
    t->now.prepared = c->prepared.count;
    if (pending) {
        t->now.last = c->prepared.count;
        t->now.full = full;
    }
}

static void do_something(transaction *t)
{
    switch (below(t->c, 14)) {
    case 0:
        delete_some(t);
        break;
    case 1:
        check_ok(t->c, lkv_set_auto_compact(t->store, (unsigned)below(t->c, 999),
                                            &t->c->err));
        break;
    case 2:
        if (below(t->c, 3) == 0) {
            change_sync(t);
        }
        break;
    case 3:
        work(t, 0);
        break;
    case 4:
        if (below(t->c, 3) == 0) {
            work(t, 1);
        }
        break;
    case 5:
        set_mark(t);
        break;
    case 6:
        go_back(t);
        break;
    case 7:
    case 8:
        prepare(t);
        break;
    default:
        put_some(t);
    }
}

static void commit(transaction *t)
{
    crash *c = t->c;
    const char *want = t->now.last > 0 ? c->prepared.at[t->now.last - 1] : newest(c);
    lkv_commit(t->store);
    CHECK_TEXT(contents(t->store), want);
    want = strdup(want);
    add_prepared(c);
    add_text(&c->committed, want);
    if (t->now.last > 0 && t->now.full) {
        c->lasting = c->committed.count - 1;
        c->promised = 1;
    }
    free((void *)(uintptr_t)want);
}

static void transact(crash *c)
{
    transaction t = {.c = c, .on = &c->handles[below(c, 2)]};

    if (below(c, 6) == 0) {
        close_handle(t.on);
    }
    if (t.on->store == NULL) {
        open_handle(c, t.on);
    }
    t.store = t.on->store;
    if (below(c, 4) == 0) {
        lkv_sync_fallback(t.store, any_sync(c));
    }
    if (below(c, 3) == 0 && !c->one_segment) {
        t.on->storage->segment = (uint32_t)(150 + below(c, 1200));
    }
    check_ok(c, lkv_begin(t.store, 0, &c->err));
    keep_texts(&c->prepared, 0);
    CHECK_TEXT(contents(t.store), newest(c));
    if (lkv_sync_of(t.store) == LKV_SYNC_OFF) {
        c->promised = 0;
    }
    for (uint64_t i = below(c, 9) + 1; i > 0; i--) {
        do_something(&t);
    }
    if (below(c, 5) > 1) {
        prepare(&t);
    }
    if (below(c, 5) > 0) {
        commit(&t);
    } else {
        lkv_rollback(t.store);
        CHECK_TEXT(contents(t.store), newest(c));
        keep_texts(&c->prepared, 0);
    }
}

/* --- lives ------------------------------------------------------------------------ */

/* Until it dies, or something is wrong. Some die early, when all is being put right,
 * and some with something written that they were about to sync. */
static void live(crash *c)
{
    jmp_buf death;
    int syncs_only = below(c, 3) == 0;
    uint64_t events = 1 + below(c, syncs_only ? 30 : below(c, 4) == 0 ? 25 : 400);
    if (setjmp(death) == 0) {
        crash_os_arm(c->os, events, syncs_only, &death);
        reopen(c);
        while (check_failures() == 0) {
            transact(c);
        }
    }
    crash_os_die(c->os);
    memset(c->handles, 0, sizeof(c->handles));
}

static size_t run_seed(uint64_t seed, enum modes modes)
{
    crash c = {.modes = modes,
               .one_segment = seed % 8 == 7,
               .mapped = seed % 4 != 0,
               .random = seed,
               .promised = 1};
    int life = 0;

    directory_make(&c.directory);
    directory_path(&c.directory, "kv", c.path, sizeof(c.path));
    c.os = crash_os_open(c.path, ~seed);
    make_store(&c);
    while (life < LIVES && check_failures() == 0) {
        int cut = c.cut;
        live(&c);
        if (check_failures() > 0) {
            printf("    in life %d, which began %s; the last event was: %s\n"
                   "    at once: SEED=%llu\n",
                   life, cut ? "after a power cut" : "after a death",
                   crash_os_last(c.os), (unsigned long long)seed);
        } else if (c.promised && below(&c, 2) == 0) {
            crash_os_cut(c.os);
            c.cut = 1;
        }
        life++;
    }
    crash_os_close(c.os);
    directory_remove(&c.directory);
    keep_texts(&c.committed, 0);
    keep_texts(&c.prepared, 0);
    free(c.committed.at);
    free(c.prepared.at);
    return c.cuts;
}

static void crashes(enum modes modes)
{
    uint64_t first = check_seed();
    uint64_t seeds = check_long() ? 250 : 10;
    size_t cuts = 0;
    for (uint64_t i = 0; i < seeds && check_failures() == 0; i++) {
        cuts += run_seed(first + i, modes);
    }
    CHECK(cuts > seeds || check_failures() > 0);
}

static void full(void)
{
    crashes(FULL);
}

static void normal(void)
{
    crashes(NORMAL);
}

static void full_and_normal(void)
{
    crashes(FULL_AND_NORMAL);
}

static void with_off(void)
{
    crashes(ALL);
}

static const check_case cases[] = {CASE(full), CASE(normal), CASE(full_and_normal),
                                   CASE(with_off)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
