/*
 * fuzz_log.c - bytes from outside against the decoders of core, and against a whole
 * store on the storage in memory.
 *
 * The first byte of an input chooses. Even: the rest is handed to every decoder, as it
 * is and with its checksums made right. Odd: the rest is a program. Its steps make a
 * store's bytes (image.h), some of them wrong, install them, open them, change the
 * store as a caller would, and let single allocations fail.
 *
 * Aborts unless
 *   - what encodes decodes to the same, and what decodes encodes to the same bytes;
 *   - every result is one that the header names, with a text where it is LKV_CORRUPT;
 *   - a store opens exactly when truth.c finds right what an opening reads, and then,
 *     when the rest is right too, says what truth.c says: by key, forward, backward,
 *     counted; when it is not, it may say anything, but reads no byte that is not its;
 *   - lkv_verify() knows which of the two it is;
 *   - a handle that follows sees what a fresh one sees;
 *   - a change is made as a whole or not at all, also when memory fails;
 *   - what recovery makes of a store that is not right is one that is;
 *   - memory stays in proportion to the bytes of the store, and all of it comes back.
 */
#include "decode.h"
#include "image.h"
#include "store.h"

#include <string.h>

#define MAX_STEPS 200u
#define MAX_MARKS 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stores */

typedef struct run {
    input in;
    unsigned steps;
    bounded_os memory;
    uint32_t fail_in; /* for the next opening */
    int swapped;      /* since the storage was changed last: swap() */
    uint32_t flush_size;
    lkv_storage *storage;
    lkv_store *old; /* follows all that happens */
    lkv_store
        *fresh; /* opened on what was installed last; NULL when that is no store */
    map rows;   /* what `fresh` holds */
    image_verdict truth;
    image im;
} run;

/* Whether an allocation was made to fail since this was asked last; from here on none
 * will. */
static int take_failed(run *r)
{
    int failed = r->memory.failed;
    r->memory.failed = 0;
    r->memory.fail_in = 0;
    return failed;
}

/* A refresh, again where memory failed; a store that did not open is empty. */
static int refresh(run *r, lkv_store *store)
{
    static const map none;
    lkv_error err = {.text = ""};
    int rc = lkv_refresh(store, &err);

    if (take_failed(r) && rc == LKV_NOMEM) {
        map_must_be(&none, store);
        rc = lkv_refresh(store, &err);
    }
    MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    if (rc == LKV_CORRUPT) {
        MUST(err.text[0] != 0 && memchr(err.text, 0, sizeof(err.text)) != NULL);
        map_must_be(&none, store);
    }
    return rc;
}

static void must_be_answer(int rc)
{
    MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT || rc == LKV_TOO_BIG);
}

/* Whether bytes of the log are missing before its end: the storage does not take a
 * write beyond them. */
static int is_cut(const run *r, const lkv_store *store)
{
    const lkv_end *end = &store->log.at;
    lkv_bytes view;
    MUST(r->storage->ops->read(r->storage, end->segment, end->offset - 1, 1, &view,
                               NULL) == LKV_OK);
    return view.size == 0;
}

static void must_be_change(int rc, int cut)
{
    if (rc != LKV_MISUSE || !cut) {
        must_be_answer(rc);
    }
}

/* Whatever a store answers whose index and log do not fit together. */
static void explore(run *r, lkv_store *store)
{
    lkv_cursor *cursor;
    lkv_bytes value;
    lkv_row row;
    int rc, cut;

    MUST(lkv_cursor_open(store, &cursor) == LKV_OK);
    for (rc = lkv_cursor_first(cursor, NULL); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, NULL)) {
        must_be_answer(lkv_cursor_value(cursor, &value, NULL));
        must_be_answer(lkv_get(store, lkv_cursor_key(cursor), &row, NULL));
    }
    must_be_answer(rc);
    for (rc = lkv_cursor_last(cursor, NULL); rc == LKV_OK;
         rc = lkv_cursor_prev(cursor, NULL)) {
    }
    must_be_answer(rc);
    lkv_cursor_close(cursor);
    if (lkv_begin(store, 0, NULL) != LKV_OK) {
        return;
    }
    cut = is_cut(r, store);
    row = (lkv_row){{"k0a", 3}, {"new", 3}, 1};
    r->memory.limit += 4096 + 16 * (uint64_t)r->storage->block;
    must_be_change(lkv_put(store, &row, NULL), cut);
    must_be_change(lkv_delete(store, (lkv_bytes){"k1b", 3}, NULL), cut);
    rc = lkv_prepare(store, NULL);
    must_be_change(rc, cut);
    if (rc == LKV_OK) {
        lkv_commit(store);
    } else {
        lkv_rollback(store);
    }
}

static int pass_over(void *arg, const lkv_lost *lost)
{
    uint64_t *bytes = arg;
    MUST(lost->bytes > 0);
    *bytes += lost->bytes;
    return LKV_OK;
}

/* Of whatever the storage holds recovery makes a store that is whole. */
static void salvage_must_hold(run *r)
{
    uint64_t lost[2] = {0, 0}, kept[2];
    lkv_salvage_calls calls = {pass_over, NULL, NULL};
    lkv_error err = {.text = ""};
    lkv_store *store;

    r->memory.limit += (64u << 10) + 64 * image_size(&r->im);
    MUST(lkv_open(r->storage, &r->memory.os, &store) == LKV_OK);
    store->flush_size = r->flush_size;
    for (int apply = 0; apply < 2; apply++) {
        int rc;
        calls.arg = &lost[apply];
        rc = lkv_salvage(store, apply, &calls, &kept[apply], &err);
        MUST(rc == LKV_OK || rc == LKV_CORRUPT || rc == LKV_TOO_BIG);
        if (rc != LKV_OK) {
            lkv_rollback(store);
            break;
        }
        if (apply) {
            MUST(kept[0] == kept[1] && lkv_count(store) == kept[1]);
            MUST(lkv_verify(store, NULL, NULL, &err) == LKV_OK);
            lkv_rollback(store);
        }
    }
    lkv_close(store);
}

/* What `fresh` says is what the truth says. */
static void must_be_right(run *r)
{
    lkv_stats stats;
    r->rows = r->truth.rows;
    map_must_be(&r->rows, r->fresh);
    MUST(lkv_measure(r->fresh, &stats, NULL) == LKV_OK);
    MUST(stats.live_keys == r->rows.count);
    MUST(stats.live_bytes == map_bytes(&r->rows));
    MUST(r->fresh->live_bytes == stats.live_bytes);
    MUST(lkv_verify(r->fresh, NULL, NULL, NULL) == LKV_OK);
}

/* Opens what the storage holds; 0 when the input is used up. */
static int open_fresh(run *r)
{
    int known = image_truth(r->storage, &r->truth), rc;

    lkv_close(r->fresh);
    r->fresh = NULL;
    if (!known) {
        return 0;
    }
    rc = lkv_open(r->storage, &r->memory.os, &r->fresh);
    if (rc == LKV_NOMEM && take_failed(r)) {
        rc = lkv_open(r->storage, &r->memory.os, &r->fresh);
    }
    MUST(rc == LKV_OK);
    r->fresh->flush_size = r->flush_size;
    r->fresh->gaps.least = 1;
    rc = refresh(r, r->fresh);
    MUST(rc == (r->truth.opens ? LKV_OK : LKV_CORRUPT));
    if (r->truth.right) {
        must_be_right(r);
        return 1;
    }
    if (rc == LKV_OK) {
        lkv_error err = {.text = ""};
        MUST(lkv_verify(r->fresh, NULL, NULL, &err) == LKV_CORRUPT && err.text[0] != 0);
        explore(r, r->fresh);
    } else {
        MUST(lkv_begin(r->fresh, 0, NULL) == LKV_CORRUPT);
    }
    lkv_close(r->fresh);
    r->fresh = NULL;
    salvage_must_hold(r);
    return 1;
}

/* The handle that was there before sees the same. It trusts what it read before, so
 * that it may stand on bytes which a fresh one refuses. */
static void follow(run *r)
{
    int rc = refresh(r, r->old);
    if (r->fresh != NULL) {
        MUST(rc == LKV_OK);
        map_must_be(&r->rows, r->old);
    }
}

static int install(run *r)
{
    lkv_close(r->fresh);
    r->fresh = NULL;
    r->memory.limit += 16 * image_size(&r->im);
    r->swapped = 0;
    (void)take_failed(r);
    image_install(&r->im, r->storage);
    r->memory.fail_in = r->fail_in;
    follow(r);
    r->memory.fail_in = r->fail_in;
    r->fail_in = 0;
    if (!open_fresh(r)) {
        return 0;
    }
    follow(r);
    return 1;
}

typedef struct marks {
    map rows[MAX_MARKS];
    unsigned count;
} marks;

/* The result of a change; 1 when it was made. */
static int was_made(run *r, int rc)
{
    int failed = take_failed(r); /* what is but kept at hand is done without */
    MUST(rc != LKV_NOMEM || failed);
    MUST(rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_NOMEM || rc == LKV_TOO_BIG);
    return rc == LKV_OK;
}

/* Memory that a change may take: a record, a run, and what that is merged into. The
 * block is what the root says. */
static uint64_t change_cost(const run *r, size_t size)
{
    return 16 * (size + r->storage->block);
}

static void change(run *r)
{
    uint8_t how = input_byte(&r->in);
    lkv_row row = {input_key(&r->in), {NULL, 0}, how >> 2 & 3};
    int there, rc;

    if (row.key.data == NULL) {
        return;
    }
    map_find(&r->rows, row.key, &there);
    if (how & 1) {
        r->memory.limit += change_cost(r, row.key.size);
        rc = lkv_delete(r->fresh, row.key, NULL);
        MUST(rc == LKV_NOMEM || (rc == LKV_ABSENT) == !there);
        if (was_made(r, rc)) {
            map_remove(&r->rows, row.key);
        }
        return;
    }
    row.value = input_value(&r->in);
    r->memory.limit += change_cost(r, row.key.size + row.value.size);
    if (row.value.data != NULL && was_made(r, lkv_put(r->fresh, &row, NULL))) {
        map_put(&r->rows, &row);
    }
}

static void mark(run *r, marks *m)
{
    uint8_t how = input_byte(&r->in);
    uint32_t depth;
    if (how & 1 && m->count > 0) {
        depth = (how >> 2) % m->count;
        if (how & 2) {
            lkv_rollback_to(r->fresh, depth);
            r->rows = m->rows[depth];
            m->count = depth + 1;
        } else {
            lkv_release(r->fresh, depth);
            m->count = depth;
        }
    } else if (m->count < MAX_MARKS) {
        if (was_made(r, lkv_mark(r->fresh, &depth))) {
            MUST(depth == m->count);
            m->rows[m->count++] = r->rows;
        }
    }
}

/* Rewrites about as many bytes of the log as the input says, or from now on lets
 * commits do it. */
static int compact(run *r)
{
    uint32_t how = input_byte(&r->in);
    uint64_t left;
    r->memory.limit += 16 * map_bytes(&r->rows) + change_cost(r, 0);
    if (how & 1) {
        return lkv_set_auto_compact(r->fresh, how << 1, NULL);
    }
    if (how & 2) {
        return lkv_rebuild(r->fresh, NULL, NULL, NULL);
    }
    return lkv_compact(r->fresh, how << 3, &left, NULL);
}

/* A walk that goes on while rows come and go under it: keys still ascend. */
static void walk_and_change(run *r)
{
    lkv_cursor *cursor;
    uint8_t last[1024];
    size_t size = 0;
    int rc, turn = 0;

    (void)take_failed(r);
    MUST(lkv_cursor_open(r->fresh, &cursor) == LKV_OK);
    for (rc = lkv_cursor_first(cursor, NULL); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, NULL)) {
        lkv_bytes key = lkv_cursor_key(cursor);
        if (turn++ > 0) {
            size_t common = key.size < size ? key.size : size;
            int order = common > 0 ? memcmp(last, key.data, common) : 0;
            MUST(order < 0 || (order == 0 && size < key.size));
        }
        size = key.size < sizeof(last) ? key.size : sizeof(last);
        if (size > 0) {
            memcpy(last, key.data, size);
        }
        if (r->steps < MAX_STEPS && r->in.left > 0) {
            r->steps++;
            change(r);
        }
    }
    MUST(rc == LKV_ABSENT);
    lkv_cursor_close(cursor);
}

/* Ends the transaction; `before` is what the store held when it began. */
static void finish(run *r, const map *before, int commit)
{
    int rc = commit ? lkv_prepare(r->fresh, NULL) : LKV_ABSENT;
    if (take_failed(r) && rc == LKV_NOMEM) { /* as if it had not been tried */
        map_must_be(&r->rows, r->fresh);
        rc = lkv_prepare(r->fresh, NULL);
    }
    MUST(rc == LKV_OK || rc == LKV_TOO_BIG || !commit);
    if (rc == LKV_OK) {
        lkv_commit(r->fresh);
    } else {
        lkv_rollback(r->fresh);
        r->rows = *before;
    }
    map_must_be(&r->rows, r->fresh);
}

static void transaction(run *r)
{
    static map before;
    static marks m; /* large, and used by one call at a time */
    int rc = 0;

    if (r->fresh == NULL) {
        return;
    }
    MUST(lkv_begin(r->fresh, 0, NULL) == LKV_OK);
    before = r->rows;
    m.count = 0;
    while (rc == 0 && r->in.left > 0 && r->steps++ < MAX_STEPS) {
        uint8_t step = input_byte(&r->in);
        switch (step % 8) {
        case 0:
            mark(r, &m);
            break;
        case 1:
            r->memory.fail_in = step / 8u % 16;
            break;
        case 2:
            (void)take_failed(r);
            if (step & 64) {
                map_must_be(&r->rows, r->fresh);
                rc = lkv_verify(r->fresh, NULL, NULL, NULL);
                MUST(rc == LKV_OK || (rc == LKV_CORRUPT && r->swapped));
                rc = 0;
            } else {
                walk_and_change(r);
            }
            break;
        case 3: /* prepared, and then more of it */
            rc = step & 64 ? compact(r) : lkv_prepare(r->fresh, NULL);
            rc = was_made(r, rc) || rc == LKV_NOMEM ? 0 : 1;
            break;
        case 4:
            rc = 1;
            break;
        default:
            change(r);
            break;
        }
    }
    r->memory.fail_in = r->in.left > 0 ? input_byte(&r->in) % 8u : 0;
    finish(r, &before, r->in.left == 0 || (input_byte(&r->in) & 3) > 0);
}

/* The other handle writes from here on, and this one follows. It may have read another
 * root of the same generation than the one that is there now: verify tells. */
static void swap(run *r)
{
    lkv_store *fresh = r->fresh;
    if (fresh != NULL) {
        follow(r);
        r->swapped = 1;
        r->fresh = r->old;
        r->old = fresh;
    }
}

static void build(run *r, uint8_t step)
{
    unsigned tag = step >> 6;
    lkv_bytes key, value;
    switch (step % 4) {
    case 0:
        image_any_record(&r->im, &r->in);
        return;
    case 1:
        value = input_value(&r->in);
        image_bytes(&r->im, value);
        return;
    default:
        break;
    }
    key = input_key(&r->in);
    value = input_value(&r->in);
    if (key.data == NULL || value.data == NULL) {
        return;
    }
    if (step & 4) {
        image_moved(&r->im, tag, key, value);
    } else if (step & 8) {
        image_record(&r->im, LKV_KIND_TOMBSTONE, 0, key, (lkv_bytes){NULL, 0});
    } else {
        image_record(&r->im, LKV_KIND_PUT, tag, key, value);
    }
}

/* One step of the program; 0 ends it. */
static int step(run *r)
{
    uint8_t op = input_byte(&r->in);
    uint8_t how = input_byte(&r->in);
    switch (op % 16) {
    case 0:
        image_commit(&r->im, &r->in, how);
        break;
    case 1:
        image_roll(&r->im, &r->in, how);
        break;
    case 2:
        image_flip(&r->im, &r->in);
        break;
    case 3:
        image_cut(&r->im, &r->in);
        break;
    case 4:
        image_lie_root(&r->im, &r->in);
        break;
    case 5:
        image_lie_end(&r->im, &r->in);
        break;
    case 6:
        image_start(&r->im, how & 3);
        break;
    case 7:
        r->fail_in = how % 32;
        break;
    case 8:
        return install(r);
    case 9:
        if (how & 1) {
            swap(r);
        }
        transaction(r);
        break;
    case 10: /* by others, as far as the old handle knows */
        follow(r);
        break;
    default:
        build(r, how);
        break;
    }
    return 1;
}

/* What the handle holds is what the log says. */
static void must_last(run *r)
{
    static map rows;
    rows = r->rows;
    if (r->fresh != NULL && open_fresh(r)) {
        MUST(r->fresh != NULL);
        MUST(map_is_equal(&rows, &r->rows));
        follow(r);
    }
}

static void run_program(const uint8_t *data, size_t size)
{
    static run r;
    static const uint32_t blocks[] = {512, 64, 4096, LKV_BLOCK_MIN};
    uint8_t sizes, shapes;

    r.in = (input){data, size};
    r.steps = 0;
    r.fail_in = 0;
    r.swapped = 0;
    r.rows.count = 0;
    r.old = r.fresh = NULL;
    input_reset();
    sizes = input_byte(&r.in);
    shapes = input_byte(&r.in);
    r.flush_size = 64u << (shapes & 7);
    r.im.block = blocks[shapes >> 3 & 3];
    image_start(&r.im, 1);
    /* Two indexes with their first slab, journals and buffers; the storage's copies;
     * writers of runs, and a leaf of each run taken apart. */
    bounded_os_init(&r.memory, 512u << 10);
    MUST(lkv_storage_mem_open(&r.memory.os, r.im.block, &r.storage) == LKV_OK);
    r.storage->spill = 16u << (sizes & 7);
    r.storage->segment = 128u << (sizes >> 3 & 7);
    MUST(lkv_open(r.storage, &r.memory.os, &r.old) == LKV_OK);
    r.old->flush_size = r.flush_size;
    while (r.in.left > 0 && r.steps++ < MAX_STEPS && step(&r)) {
    }
    if (r.fresh == NULL) {
        install(&r);
    }
    transaction(&r);
    follow(&r);
    must_last(&r);
    lkv_close(r.fresh);
    lkv_close(r.old);
    lkv_storage_mem_close(r.storage);
    MUST(r.memory.held == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] % 2 == 0) {
        decode_must_hold(data + 1, size - 1);
    } else if (size > 0) {
        run_program(data + 1, size - 1);
    }
    return 0;
}
