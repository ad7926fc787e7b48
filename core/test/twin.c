/*
 * twin.c - see twin.h.
 */
#include "twin.h"

#include "layers.h"

#include <stdio.h>

void twin_make_small(lkv_store *store)
{
    store->flush_size = TWIN_FLUSH;
    store->gaps.least = 1;
    lkv_auto_compact_fallback(store, 0); /* test_compact.c */
}

void twin_open(twin *p)
{
    fixture_open(&p->f, TWIN_BLOCK);
    fixture_open(&p->plain, TWIN_BLOCK);
    p->f.storage->segment = p->plain.storage->segment = 30000;
    p->f.storage->spill = 1000;
    twin_make_small(p->f.store);
}

void twin_check(twin *p)
{
    CHECK_TEXT(summary(p->f.store), summary(p->plain.store));
    CHECK_SIZE(p->f.store->live_bytes, p->plain.store->live_bytes);
    if (!lkv_in_transaction(p->f.store)) {
        CHECK_TEXT(summary_anew(&p->f), summary(p->plain.store));
        CHECK_TEXT(verified(p->f.store), "ok");
    }
}

void twin_close(twin *p)
{
    twin_check(p);
    fixture_close(&p->f);
    fixture_close(&p->plain);
}

const char *twin_key(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof(name), "key%05u", i * 7919 % 10007);
    return name;
}

void twin_put(lkv_store *store, unsigned i, unsigned version)
{
    if (version == 0) {
        CHECK(delete_text(store, twin_key(i)) >= 0);
    } else {
        CHECK_INT(put_filler(store, twin_key(i), 150 + (i + version) * 7 % 200,
                             i + version * 1000),
                  LKV_OK);
    }
}

void twin_set(twin *p, unsigned i, unsigned version)
{
    twin_put(p->f.store, i, version);
    twin_put(p->plain.store, i, version);
}

void twin_begin(twin *p)
{
    begin(p->f.store);
    begin(p->plain.store);
}

void twin_commit(twin *p)
{
    prepare_and_commit(p->f.store);
    prepare_and_commit(p->plain.store);
}

void twin_fill(twin *p, unsigned from, unsigned to, unsigned version)
{
    twin_begin(p);
    for (unsigned i = from; i < to; i++) {
        twin_set(p, i, version);
    }
    twin_commit(p);
}

const lkv_runs *twin_runs(const twin *p)
{
    return p->f.store->log.runs;
}

uint64_t twin_tail_bytes(const twin *p)
{
    const lkv_log *log = &p->f.store->log;
    const lkv_segment *last = &log->segments[log->count - 1];
    uint64_t end = last->base + lkv_log_limit(log, log->count - 1) - LKV_SEGMENT_HEADER;
    return end - log->runs->tail_at;
}

typedef struct census {
    const twin *p;
    uint64_t bytes;
} census;

static int count_object(void *arg, uint32_t object)
{
    census *sum = arg;
    lkv_storage *memory = sum->p->f.memory;
    const lkv_runs *runs = sum->p->f.store->log.runs;
    uint64_t named = lkv_runs_bytes(runs, object, TWIN_BLOCK);
    lkv_bytes view;

    CHECK_INT(memory->ops->read(memory, object, 0, 1, &view, NULL), LKV_OK);
    for (uint32_t i = 0; i < runs->gone; i++) {
        if (runs->garbage[i].number == object) {
            named = (uint64_t)runs->garbage[i].blocks * TWIN_BLOCK;
        }
    }
    if (object >= LKV_RUN_FIRST) {
        CHECK_SIZE(view.size, named);
        sum->bytes += view.size;
    } else {
        CHECK(lkv_log_segment(&sum->p->f.store->log, object) != NULL || view.size == 0);
    }
    return 0;
}

uint64_t twin_run_bytes(const twin *p)
{
    census sum = {p, 0};
    CHECK_INT(p->f.memory->ops->list(p->f.memory, count_object, &sum, NULL), LKV_OK);
    return sum.bytes;
}
