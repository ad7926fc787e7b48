/*
 * test_model.c - random operations on a store by several handles, against model.h.
 *
 * One handle at a time writes; the others stand on the commit that they last refreshed
 * to. Each has a cursor that walks on through everything. Now and then an allocation or
 * a call of the storage fails, with or without a rollback in the middle of it: the
 * operation must then have happened as a whole or not at all. Every few thousand
 * operations a new store begins, with other sizes of block, spill, segment and run, in
 * plain memory or as in a database. Most have runs so small that they are made, merged
 * and compacted all the time, and rolled back past.
 */
#include "fixture.h"
#include "model.h"
#include "store.h"

#include <stdio.h>
#include <string.h>

#define HANDLES 3u
#define NO_WRITER HANDLES
#define OPERATIONS_A_STORE 2500u

typedef struct handle {
    storage_database database; /* where the store is as in a database */
    storage_fault fault;
    uint64_t mark_at[MODEL_MARKS]; /* of `database` */
    lkv_store *store;
    model_state seen; /* outside a transaction of its own */
    uint64_t commits; /* that it has seen */
    lkv_cursor *cursor;
    size_t at;        /* the key it stands on, or MODEL_KEYS */
    uint32_t version; /* what it saw there */
    uint64_t undone;  /* store->undone then: when it moves, what is there counts */
} handle;

typedef struct run {
    uint64_t random;
    model m;
    os_fault os;
    lkv_storage *memory;
    int database, keeps;
    uint32_t spill, segment, flush_size;
    handle handles[HANDLES];
    unsigned writer;
    int must_prepare; /* before a commit: a call of the transaction prepared by itself
                       */
    uint64_t commits;
    unsigned long failures, flushes, merges, passes; /* in all */
} run;

static const model_state *state_of(run *r, unsigned h)
{
    return h == r->writer ? &r->m.now : &r->handles[h].seen;
}

static void open_handle(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    memset(at, 0, sizeof(*at));
    at->at = MODEL_KEYS;
    storage_database_init(&at->database, r->memory);
    at->database.keeps = r->keeps;
    storage_fault_init(&at->fault, r->database ? &at->database.base : r->memory);
    at->fault.database = r->database ? &at->database : NULL;
    at->fault.base.spill = r->spill;
    at->fault.base.segment = r->segment;
    CHECK_INT(lkv_open(&at->fault.base, &r->os.os, &at->store), LKV_OK);
    CHECK_INT(lkv_cursor_open(at->store, &at->cursor), LKV_OK);
    at->store->flush_size = r->flush_size;
    at->store->gaps.least = 1 + h % 2 * 3;
}

static void close_handle(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    lkv_cursor_close(at->cursor);
    if (h == r->writer) {
        storage_database_undo(&at->database, 0);
        model_rollback(&r->m);
        r->writer = NO_WRITER;
    }
    lkv_close(at->store);
    storage_fault_free(&at->fault);
    storage_database_free(&at->database);
}

static void start(run *r)
{
    static const uint32_t blocks[] = {32, 64, 100, 500, 4056};
    lkv_error err;

    os_fault_init(&r->os);
    model_open(&r->m, &r->random);
    r->writer = NO_WRITER;
    CHECK_INT(
        lkv_storage_mem_open(&r->os.os, blocks[check_below(&r->random, 5)], &r->memory),
        LKV_OK);
    r->spill = 1 + (uint32_t)check_below(&r->random, 3000);
    r->segment = 400 + (uint32_t)check_below(&r->random, 20000);
    r->flush_size = 100 + (uint32_t)check_below(&r->random, 4000);
    if (check_below(&r->random, 6) == 0) {
        r->flush_size = LKV_FLUSH_SIZE;
    }
    r->database = (int)check_below(&r->random, 2);
    r->keeps = r->database && check_below(&r->random, 2);
    CHECK_INT(lkv_create(r->memory, &r->os.os, text_bytes("about"), &err), LKV_OK);
    for (unsigned h = 0; h < HANDLES; h++) {
        open_handle(r, h);
    }
}

static void end(run *r)
{
    for (unsigned h = 0; h < HANDLES; h++) {
        close_handle(r, h);
    }
    lkv_storage_mem_close(r->memory);
    CHECK_SIZE(r->os.live, 0);
    model_close(&r->m);
}

/* Sometimes, something will fail in the operation that follows. */
static void arm(run *r, unsigned h)
{
    storage_fault *fault = &r->handles[h].fault;
    uint64_t n = check_below(&r->random, 3) == 0 ? 1 + check_below(&r->random, 4) : 0;
    int for_good = (int)check_below(&r->random, 2);
    int storage = (int)check_below(&r->random, 2);
    if (check_below(&r->random, 4) == 0) { /* later, in a flush or merge */
        n *= 1 + check_below(&r->random, 30);
    }
    os_fault_arm(&r->os, storage ? 0 : n, for_good);
    storage_fault_arm(fault, storage ? n : 0, for_good, LKV_FAILED);
    fault->owner = check_below(&r->random, 2) ? r->handles[h].store : NULL;
}

/* After it: whether it happened. Otherwise the writer may have been rolled back. */
static int happened(run *r, unsigned h, int rc)
{
    storage_fault *fault = &r->handles[h].fault;
    uint64_t failures = r->os.failures + fault->failures;
    os_fault_arm(&r->os, 0, 0);
    storage_fault_arm(fault, 0, 0, LKV_OK);
    r->failures += failures;
    if (rc == LKV_OK) {
        return 1;
    }
    if (rc != LKV_NOMEM && rc != LKV_FAILED) {
        CHECK_INT(rc, LKV_ABSENT);
        return 0;
    }
    CHECK(failures > 0);
    if (h == r->writer && !lkv_in_transaction(r->handles[h].store)) {
        CHECK(fault->owner != NULL);
        model_rollback(&r->m);
        r->handles[h].seen = r->m.committed;
        r->writer = NO_WRITER;
    }
    return 0;
}

/* The handle knows the newest commit. */
static void fresh(run *r, unsigned h)
{
    r->handles[h].seen = r->m.committed;
    r->handles[h].commits = r->commits;
}

/* A refresh or begin that failed: the handle knows nothing, unless it did not come as
 * far as reading. */
static void lost(run *r, unsigned h)
{
    if (!r->handles[h].store->log.known) {
        memset(&r->handles[h].seen, 0, sizeof(model_state));
    }
}

/* Before a handle reads that does not write: what it stands on may be there no more,
 * unless the storage keeps it; and after a rollback past a flush it looks at what is
 * there. */
static void stand(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    lkv_error err = {0, ""};
    if (h != r->writer && at->store->log.known &&
        (at->store->stale || (!r->keeps && at->commits != r->commits))) {
        CHECK_INT(lkv_refresh(at->store, &err), LKV_OK);
        CHECK_TEXT(err.text, "");
        fresh(r, h);
    }
}

static void do_begin(run *r, unsigned h)
{
    lkv_error err = {0, ""};
    int rc;

    if (r->writer != NO_WRITER) {
        if (h != r->writer) {
            CHECK_INT(lkv_begin(r->handles[h].store, 0, &err), LKV_BUSY);
        }
        return;
    }
    arm(r, h);
    rc = lkv_begin(r->handles[h].store, 0, &err);
    if (happened(r, h, rc)) {
        fresh(r, h);
        model_begin(&r->m);
        r->writer = h;
        r->must_prepare = 0;
    } else {
        lost(r, h);
    }
}

static void do_refresh(run *r, unsigned h)
{
    lkv_error err = {0, ""};
    int rc;
    if (h == r->writer) {
        CHECK_INT(lkv_refresh(r->handles[h].store, &err), LKV_OK);
        return;
    }
    arm(r, h);
    rc = lkv_refresh(r->handles[h].store, &err);
    if (happened(r, h, rc)) {
        fresh(r, h);
    } else {
        lost(r, h);
    }
}

static void do_put(run *r)
{
    lkv_store *store = r->handles[r->writer].store;
    size_t i = check_below(&r->random, MODEL_KEYS);
    uint32_t version = model_new_version(&r->m);
    lkv_row row = model_row(&r->m, i, version);
    uint64_t flushes = store->flushes;
    lkv_error err;
    int rc;

    arm(r, r->writer);
    rc = lkv_put(store, &row, &err);
    r->flushes += store->flushes != flushes;
    if (happened(r, r->writer, rc)) {
        r->m.now.version[i] = version;
    }
}

static void do_delete(run *r)
{
    lkv_store *store = r->handles[r->writer].store;
    size_t i = check_below(&r->random, MODEL_KEYS);
    uint32_t had = r->m.now.version[i];
    lkv_error err;
    int rc;

    arm(r, r->writer);
    rc = lkv_delete(store, r->m.keys[i], &err);
    CHECK(rc < 0 || (rc == LKV_ABSENT) == (had == 0));
    if (happened(r, r->writer, rc)) {
        r->m.now.version[i] = 0;
    }
}

static void do_marks(run *r, uint64_t what)
{
    handle *at = &r->handles[r->writer];
    uint32_t depth = UINT32_MAX;
    int rc;

    if (what == 0 && r->m.marks < MODEL_MARKS) {
        arm(r, r->writer);
        rc = lkv_mark(at->store, &depth);
        if (happened(r, r->writer, rc)) {
            CHECK_INT(depth, r->m.marks);
            at->mark_at[depth] = storage_database_mark(&at->database);
            model_mark(&r->m);
        }
    } else if (r->m.marks > 0) {
        depth = (uint32_t)check_below(&r->random, r->m.marks);
        if (what == 1) {
            storage_database_undo(&at->database, at->mark_at[depth]);
            lkv_rollback_to(at->store, depth);
            model_rollback_to(&r->m, depth);
        } else {
            lkv_release(at->store, depth);
            model_release(&r->m, depth);
        }
    }
}

static int do_prepare(run *r)
{
    lkv_store *store = r->handles[r->writer].store;
    uint32_t merges = store->log.runs->merges;
    lkv_error err = {0, ""};
    int rc;
    arm(r, r->writer);
    rc = lkv_prepare(store, &err);
    if (happened(r, r->writer, rc)) {
        model_prepare(&r->m);
        r->merges += merges != store->log.runs->merges;
        return 1;
    }
    return 0;
}

static void do_end(run *r)
{
    unsigned h = r->writer;
    handle *at = &r->handles[h];
    uint64_t how = check_below(&r->random, 8);
    int prepared = how > 0 && do_prepare(r);

    if (r->writer == NO_WRITER) {
        return;
    }
    /* Also without a prepare; but where a transaction makes commits of its own to
     * compact, only what is prepared is whole. */
    if (how < 7 && (prepared || !(r->database || r->must_prepare))) {
        lkv_commit(at->store);
        model_commit(&r->m);
        r->commits++;
    } else {
        storage_database_undo(&at->database, 0);
        lkv_rollback(at->store);
        model_rollback(&r->m);
    }
    fresh(r, h);
    r->writer = NO_WRITER;
}

/* What changes no content. */
static void do_work(run *r, uint64_t what)
{
    lkv_store *store = r->handles[r->writer].store;
    unsigned share = (unsigned)check_below(&r->random, 1000);
    uint64_t left = 0;
    lkv_error err;
    int rc;

    arm(r, r->writer);
    if (what == 0) {
        rc = lkv_set_auto_compact(store, share, &err);
    } else if (what == 1) {
        rc = lkv_rebuild(store, NULL, NULL, &err);
    } else {
        rc = lkv_compact(store, check_below(&r->random, 100000), &left, &err);
        r->must_prepare = 1;
        r->passes += rc == LKV_OK;
    }
    (void)happened(r, r->writer, rc);
}

static void do_get(run *r, unsigned h)
{
    size_t i = check_below(&r->random, MODEL_KEYS);
    uint32_t version;
    lkv_error err;
    lkv_row row;
    int rc;

    stand(r, h);
    version = state_of(r, h)->version[i];
    arm(r, h);
    rc = lkv_get(r->handles[h].store, r->m.keys[i], &row, &err);
    if (happened(r, h, rc)) {
        if (CHECK(version != 0)) {
            model_check_row(&r->m, i, version, &row);
        }
    } else if (rc == LKV_ABSENT) {
        CHECK_INT(version, 0);
    }
}

/* The value under the cursor: what it saw there, or what is there. */
static void look(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    uint32_t version = at->version;
    lkv_error err = {0, ""};
    lkv_row row;
    int rc;

    stand(r, h);
    if (at->at == MODEL_KEYS) {
        return;
    }
    if (at->undone != at->store->undone) {
        version = state_of(r, h)->version[at->at];
    }
    rc = lkv_cursor_value(at->cursor, &row.value, &err);
    if (rc == LKV_NOMEM) {
        CHECK_INT(lkv_cursor_next(at->cursor, NULL), LKV_NOMEM);
        at->at = MODEL_KEYS;
        return;
    }
    CHECK_INT(rc, version == 0 ? LKV_ABSENT : LKV_OK);
    CHECK_TEXT(err.text, "");
    if (rc == LKV_OK) {
        row.key = lkv_cursor_key(at->cursor);
        CHECK_INT(lkv_cursor_tag(at->cursor, &row.tag, NULL), LKV_OK);
        model_check_row(&r->m, at->at, version, &row);
        at->version = version;
        at->undone = at->store->undone;
    } else { /* a later put does not bring it back */
        at->at = MODEL_KEYS;
        CHECK(lkv_cursor_first(at->cursor, NULL) >= 0);
        CHECK(lkv_cursor_prev(at->cursor, NULL) == LKV_ABSENT);
    }
}

/* One of the ways to move: `*want` is the key that it leads to. */
static int move(run *r, unsigned h, uint64_t how, size_t *want, lkv_error *err)
{
    static const enum lkv_seek seeks[] = {LKV_SEEK_GE, LKV_SEEK_LE, LKV_SEEK_GT,
                                          LKV_SEEK_LT};
    handle *at = &r->handles[h];
    const model_state *state = state_of(r, h);
    size_t i = check_below(&r->random, MODEL_KEYS);
    int forward = how % 2 == 0;

    if (how < 4) {
        *want = model_from(state, forward ? at->at + 1 : at->at - 1, forward);
        return forward ? lkv_cursor_next(at->cursor, err)
                       : lkv_cursor_prev(at->cursor, err);
    }
    if (how == 8) {
        *want = state->version[i] != 0 ? i : MODEL_KEYS;
        return lkv_cursor_find(at->cursor, r->m.keys[i], err);
    }
    *want = how < 6 ? i : forward ? i + 1 : i - 1;
    *want = model_from(state, *want, forward);
    return lkv_cursor_seek(at->cursor, r->m.keys[i], seeks[how - 4], err);
}

static void do_move(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    uint64_t how = check_below(&r->random, 9), failures;
    lkv_error err = {0, ""};
    size_t want = MODEL_KEYS;
    int rc;

    stand(r, h);
    if (at->at == MODEL_KEYS && how < 4) {
        how += 4;
    }
    arm(r, h);
    rc = move(r, h, how, &want, &err);
    failures = r->os.failures + at->fault.failures;
    if (rc == LKV_NOMEM &&
        failures == 0) { /* it lost its place when something failed */
        CHECK(how < 4);
        rc = LKV_ABSENT;
        want = MODEL_KEYS;
    }
    (void)happened(r, h, rc);
    if (rc < 0) {
        at->at = MODEL_KEYS;
        CHECK(lkv_cursor_first(at->cursor, NULL) >= 0);
        return;
    }
    CHECK_INT(rc, want < MODEL_KEYS ? LKV_OK : LKV_ABSENT);
    at->at = want;
    at->version = want < MODEL_KEYS ? state_of(r, h)->version[want] : 0;
    at->undone = at->store->undone;
    look(r, h);
}

static void one_operation(run *r)
{
    unsigned h = (unsigned)check_below(&r->random, HANDLES);
    uint64_t what = check_below(&r->random, 100);

    if (what < 45 && r->writer != NO_WRITER) {
        do_put(r);
    } else if (what < 60 && r->writer != NO_WRITER) {
        do_delete(r);
    } else if (what < 66 && r->writer != NO_WRITER) {
        do_marks(r, what % 3);
    } else if (what < 68 && r->writer != NO_WRITER) {
        do_prepare(r);
    } else if (what < 69 && r->writer != NO_WRITER) {
        do_work(r, check_below(&r->random, 4));
    } else if (what < 72 && r->writer != NO_WRITER) {
        do_end(r);
    } else if (what < 78) {
        do_begin(r, h);
    } else if (what < 82) {
        do_refresh(r, h);
    } else if (what < 83) {
        close_handle(r, h);
        open_handle(r, h);
    } else if (what < 90) {
        do_get(r, h);
    } else if (what < 95) {
        do_move(r, h);
    } else {
        look(r, h);
    }
}

/* Every byte in the storage is one that the root names. Where a failing call rolled
 * back in plain memory, what it had begun to write waits for the next that has its
 * number. */
static int check_object(void *arg, uint32_t object)
{
    const lkv_store *store = arg;
    const lkv_runs *runs = store->log.runs;
    const storage_fault *fault = (const storage_fault *)store->log.storage;
    lkv_storage *inner = fault->inner;
    lkv_bytes view;
    int named = lkv_log_segment(&store->log, object) != NULL ||
                lkv_runs_bytes(runs, object, inner->block) > 0;
    for (uint32_t i = 0; i < runs->merges; i++) {
        named |= runs->merge[i].number == object;
    }
    for (uint32_t i = 0; i < runs->gone; i++) {
        named |= runs->garbage[i].number == object;
    }
    named |= fault->database == NULL &&
             (object >= LKV_RUN_FIRST    ? object >= runs->next_run
              : object >= LKV_PART_FIRST ? object >= runs->next_part
                                         : object > store->log.at.segment);
    CHECK_INT(inner->ops->read(inner, object, 0, 1, &view, NULL), LKV_OK);
    if (!CHECK(named || view.size == 0)) {
        CHECK_INT(object, 0); /* tells which */
    }
    return 0;
}

static void check_objects(lkv_store *store, lkv_storage *memory)
{
    CHECK_INT(memory->ops->list(memory, check_object, store, NULL), LKV_OK);
}

static void check_everything(run *r)
{
    for (unsigned h = 0; h < HANDLES && check_failures() == 0; h++) {
        stand(r, h);
        model_check(&r->m, state_of(r, h), r->handles[h].store);
        look(r, h);
    }
    if (r->writer == NO_WRITER) {
        lkv_store *store = r->handles[0].store;
        lkv_error err = {0, ""};
        stand(r, 0);
        if (!r->keeps && store->log.known) {
            check_objects(store, r->memory);
        }
        if (!r->keeps && store->log.known && r->database) { /* there nothing is left */
            CHECK_INT(lkv_verify(store, NULL, NULL, &err), LKV_OK);
            CHECK_TEXT(err.text, "");
        }
    }
}

static void random_operations(void)
{
    static run r;
    unsigned long operations = check_long() ? 4000000 : 120000;

    memset(&r, 0, sizeof(r));
    r.random = check_seed();
    for (unsigned long i = 0; i < operations && check_failures() == 0; i++) {
        if (i % OPERATIONS_A_STORE == 0) {
            start(&r);
        }
        one_operation(&r);
        if (i % 250 == 249) {
            check_everything(&r);
        }
        if (check_failures() > 0) {
            printf("  operation %lu\n", i);
        }
        if (i % OPERATIONS_A_STORE == OPERATIONS_A_STORE - 1) {
            end(&r);
        }
    }
    printf("  %lu failures injected, %lu flushes, %lu merges, %lu passes\n", r.failures,
           r.flushes, r.merges, r.passes);
    CHECK(check_failures() > 0 || r.failures > operations / 200);
}

static const check_case cases[] = {CASE(random_operations)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
