/*
 * test_model.c - random operations on a store by several handles, against model.h.
 *
 * One handle at a time writes; the others stand on the commit that they last refreshed
 * to. Each has a cursor that walks on through everything. Now and then an allocation or
 * a call of the storage fails, with or without a rollback in the middle of it: the
 * operation must then have happened as a whole or not at all. Every few thousand
 * operations a new store begins, with other sizes of block, spill and segment.
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
    lkv_store *store;
    model_state seen; /* outside a transaction of its own */
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
    storage_fault fault;
    handle handles[HANDLES];
    unsigned writer;
    unsigned long failures; /* that were injected, in all */
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
    CHECK_INT(lkv_open(&r->fault.base, &r->os.os, &at->store), LKV_OK);
    CHECK_INT(lkv_cursor_open(at->store, &at->cursor), LKV_OK);
}

static void close_handle(run *r, unsigned h)
{
    lkv_cursor_close(r->handles[h].cursor);
    lkv_close(r->handles[h].store);
    if (h == r->writer) {
        model_rollback(&r->m);
        r->writer = NO_WRITER;
    }
}

static void start(run *r)
{
    static const uint32_t blocks[] = {16, 64, 100, 500, 4056};
    lkv_error err;

    os_fault_init(&r->os);
    model_open(&r->m, &r->random);
    r->writer = NO_WRITER;
    CHECK_INT(
        lkv_storage_mem_open(&r->os.os, blocks[check_below(&r->random, 5)], &r->memory),
        LKV_OK);
    storage_fault_init(&r->fault, r->memory);
    r->fault.base.spill = 1 + (uint32_t)check_below(&r->random, 3000);
    r->fault.base.segment = 400 + (uint32_t)check_below(&r->random, 20000);
    CHECK_INT(lkv_create(&r->fault.base, &r->os.os, text_bytes("about"), &err), LKV_OK);
    for (unsigned h = 0; h < HANDLES; h++) {
        open_handle(r, h);
    }
}

static void end(run *r)
{
    for (unsigned h = 0; h < HANDLES; h++) {
        close_handle(r, h);
    }
    storage_fault_free(&r->fault);
    lkv_storage_mem_close(r->memory);
    CHECK_SIZE(r->os.live, 0);
    model_close(&r->m);
}

/* Sometimes, something will fail in the operation that follows. */
static void arm(run *r, unsigned h)
{
    uint64_t n = check_below(&r->random, 3) == 0 ? 1 + check_below(&r->random, 4) : 0;
    int for_good = (int)check_below(&r->random, 2);
    int storage = (int)check_below(&r->random, 2);
    os_fault_arm(&r->os, storage ? 0 : n, for_good);
    storage_fault_arm(&r->fault, storage ? n : 0, for_good, LKV_FAILED);
    r->fault.owner = check_below(&r->random, 2) ? r->handles[h].store : NULL;
}

/* After it: whether it happened. Otherwise the writer may have been rolled back. */
static int happened(run *r, unsigned h, int rc)
{
    uint64_t failures = r->os.failures + r->fault.failures;
    os_fault_arm(&r->os, 0, 0);
    storage_fault_arm(&r->fault, 0, 0, LKV_OK);
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
        CHECK(r->fault.owner != NULL);
        model_rollback(&r->m);
        r->handles[h].seen = r->m.committed;
        r->writer = NO_WRITER;
    }
    return 0;
}

/* A refresh or begin that failed: the handle knows nothing, unless it did not come as
 * far as reading. */
static void lost(run *r, unsigned h)
{
    if (lkv_count(r->handles[h].store) == 0) {
        memset(&r->handles[h].seen, 0, sizeof(model_state));
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
        r->handles[h].seen = r->m.committed;
        model_begin(&r->m);
        r->writer = h;
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
        r->handles[h].seen = r->m.committed;
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
    lkv_error err;
    int rc;

    arm(r, r->writer);
    rc = lkv_put(store, &row, &err);
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
    CHECK((rc == LKV_ABSENT) == (had == 0));
    if (happened(r, r->writer, rc)) {
        r->m.now.version[i] = 0;
    }
}

static void do_marks(run *r, uint64_t what)
{
    lkv_store *store = r->handles[r->writer].store;
    uint32_t depth = UINT32_MAX;
    int rc;

    if (what == 0 && r->m.marks < MODEL_MARKS) {
        arm(r, r->writer);
        rc = lkv_mark(store, &depth);
        if (happened(r, r->writer, rc)) {
            CHECK_INT(depth, r->m.marks);
            model_mark(&r->m);
        }
    } else if (r->m.marks > 0) {
        depth = (uint32_t)check_below(&r->random, r->m.marks);
        if (what == 1) {
            lkv_rollback_to(store, depth);
            model_rollback_to(&r->m, depth);
        } else {
            lkv_release(store, depth);
            model_release(&r->m, depth);
        }
    }
}

static void do_prepare(run *r)
{
    lkv_error err = {0, ""};
    int rc;
    arm(r, r->writer);
    rc = lkv_prepare(r->handles[r->writer].store, &err);
    if (happened(r, r->writer, rc)) {
        model_prepare(&r->m);
    }
}

static void do_end(run *r)
{
    unsigned h = r->writer;
    uint64_t how = check_below(&r->random, 8);

    if (how > 0) {
        do_prepare(r);
    }
    if (r->writer == NO_WRITER) {
        return;
    }
    if (how < 7) { /* also without a prepare */
        lkv_commit(r->handles[h].store);
        model_commit(&r->m);
    } else {
        lkv_rollback(r->handles[h].store);
        model_rollback(&r->m);
    }
    r->handles[h].seen = r->m.committed;
    r->writer = NO_WRITER;
}

static void do_get(run *r, unsigned h)
{
    const model_state *state = state_of(r, h);
    size_t i = check_below(&r->random, MODEL_KEYS);
    lkv_error err;
    lkv_row row;
    int rc;

    arm(r, h);
    rc = lkv_get(r->handles[h].store, r->m.keys[i], &row, &err);
    if (happened(r, h, rc)) {
        if (CHECK(state->version[i] != 0)) {
            model_check_row(&r->m, i, state->version[i], &row);
        }
    } else if (rc == LKV_ABSENT) {
        CHECK_INT(state->version[i], 0);
    }
}

/* The value under the cursor: what it saw there, or what is there. */
static void look(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    uint32_t version = at->version;
    lkv_error err;
    lkv_row row;
    int rc;

    if (at->at == MODEL_KEYS) {
        return;
    }
    if (at->undone != at->store->undone) {
        version = state_of(r, h)->version[at->at];
    }
    rc = lkv_cursor_value(at->cursor, &row.value, &err);
    if (rc == LKV_NOMEM) {
        CHECK_INT(lkv_cursor_next(at->cursor), LKV_NOMEM);
        at->at = MODEL_KEYS;
        return;
    }
    CHECK_INT(rc, version == 0 ? LKV_ABSENT : LKV_OK);
    if (rc == LKV_OK) {
        row.key = lkv_cursor_key(at->cursor);
        row.tag = lkv_cursor_tag(at->cursor);
        model_check_row(&r->m, at->at, version, &row);
        at->version = version;
        at->undone = at->store->undone;
    } else { /* a later put does not bring it back */
        at->at = MODEL_KEYS;
        CHECK(lkv_cursor_first(at->cursor) >= 0);
        CHECK(lkv_cursor_prev(at->cursor) == LKV_ABSENT);
    }
}

static void do_move(run *r, unsigned h)
{
    handle *at = &r->handles[h];
    const model_state *state = state_of(r, h);
    uint64_t how = check_below(&r->random, 8);
    size_t i = check_below(&r->random, MODEL_KEYS), want;
    int forward = how % 2 == 0, rc;

    if (at->at == MODEL_KEYS && how < 4) {
        how += 4;
    }
    if (how < 4) {
        want = model_from(state, forward ? at->at + 1 : at->at - 1, forward);
        rc = forward ? lkv_cursor_next(at->cursor) : lkv_cursor_prev(at->cursor);
    } else {
        static const enum lkv_seek seeks[] = {LKV_SEEK_GE, LKV_SEEK_LE, LKV_SEEK_GT,
                                              LKV_SEEK_LT};
        want = how < 6 ? i : forward ? i + 1 : i - 1;
        want = model_from(state, want, forward);
        rc = lkv_cursor_seek(at->cursor, r->m.keys[i], seeks[how - 4]);
    }
    if (rc == LKV_NOMEM) { /* it lost its place when something failed */
        CHECK(how < 4);
        at->at = MODEL_KEYS;
        return;
    }
    CHECK_INT(rc, want < MODEL_KEYS ? LKV_OK : LKV_ABSENT);
    at->at = want;
    at->version = want < MODEL_KEYS ? state->version[want] : 0;
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

static void check_everything(run *r)
{
    for (unsigned h = 0; h < HANDLES && check_failures() == 0; h++) {
        model_check(&r->m, state_of(r, h), r->handles[h].store);
        look(r, h);
    }
}

static void random_operations(void)
{
    static run r;
    unsigned long operations = check_long() ? 4000000 : 400000;

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
    printf("  %lu failures injected\n", r.failures);
    CHECK(check_failures() > 0 || r.failures > operations / 200);
}

static const check_case cases[] = {CASE(random_operations)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
