/*
 * test_measure.c - the numbers of a store, against numbers found in the simplest way.
 */
#include "layers.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static uint64_t in_parts(const lkv_store *store)
{
    const lkv_runs *runs = store->log.runs;
    uint64_t records = 0;
    for (uint32_t i = 0; runs != NULL && i < runs->parts + runs->pass.out; i++) {
        records += runs->part[i].keys;
    }
    return records;
}

/* Puts and tombstones in the log as it is listed now. */
static uint64_t count_by_hand(lkv_store *store)
{
    lkv_log_scan scan = {
        .log = &store->log, .segment = store->log.first, .offset = LKV_SEGMENT_HEADER};
    uint64_t records = in_parts(store);
    lkv_record record;
    lkv_loc loc;
    while (lkv_log_next(&scan, &record, &loc, NULL) == LKV_OK) {
        records += record.kind != LKV_KIND_COMMIT;
    }
    return records;
}

static lkv_stats measured(lkv_store *store)
{
    lkv_error err = {0, ""};
    lkv_stats stats, sizes;
    memset(&stats, 0xee, sizeof(stats));
    memset(&sizes, 0xee, sizeof(sizes));
    CHECK_INT(lkv_measure(store, &stats, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    lkv_sizes(store, &sizes);
    CHECK_SIZE(sizes.records, in_parts(store));
    sizes.records = stats.records;
    CHECK_BYTES(&sizes, sizeof(sizes), &stats, sizeof(stats));
    return stats;
}

typedef struct sums {
    uint64_t bytes, run_bytes, live_bytes, records, runs, segments;
    unsigned count, stop_at;
    enum lkv_object_kind last;
    int ordered;
} sums;

static int add_object(void *arg, const lkv_object *object)
{
    sums *to = arg;
    static const int order[] = {
        [LKV_OBJECT_PART] = 0, [LKV_OBJECT_SEGMENT] = 1, [LKV_OBJECT_RUN] = 2};
    if (++to->count == to->stop_at) {
        return 33;
    }
    to->ordered &= to->count == 1 || order[object->kind] >= order[to->last];
    to->last = object->kind;
    CHECK(object->number > 0);
    CHECK(object->bytes > 0);
    if (object->kind == LKV_OBJECT_RUN) {
        to->run_bytes += object->bytes;
        CHECK(object->keys > 0);
        CHECK_SIZE(object->records, 0);
        CHECK_SIZE(object->live_bytes, 0);
        return LKV_OK;
    }
    to->bytes += object->bytes;
    to->live_bytes += object->live_bytes;
    to->records += object->records;
    to->segments++;
    CHECK(object->live_bytes <= object->bytes);
    CHECK_SIZE(object->keys, object->records);
    return LKV_OK;
}

/* The list sums up to the stats, and both are true. */
static void check_numbers(lkv_store *store)
{
    lkv_stats stats = measured(store);
    sums sum = {.ordered = 1};
    lkv_error err = {0, ""};

    CHECK_SIZE(stats.records, count_by_hand(store));
    CHECK_SIZE(stats.live_keys, lkv_count(store));
    CHECK_SIZE(stats.revision, store->log.at.revision);
    CHECK_SIZE(stats.parts, store->log.runs->parts + store->log.runs->pass.out);
    CHECK_SIZE(stats.runs, store->log.runs->count);
    CHECK_INT(lkv_list(store, add_object, &sum, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    CHECK(sum.ordered);
    CHECK_SIZE(sum.bytes, stats.log_bytes);
    CHECK_SIZE(sum.run_bytes, stats.run_bytes);
    CHECK_SIZE(sum.live_bytes, stats.live_bytes);
    CHECK_SIZE(sum.records, stats.records);
    CHECK_SIZE(sum.segments, stats.segments);
}

static void by_hand(void)
{
    lkv_stats stats;
    fixture f;

    layers_small(&f);
    stats = measured(f.store);
    CHECK_SIZE(stats.live_keys, 7);
    /* a c dddddddddddd ddddddddddde e g h, header, key and value */
    CHECK_SIZE(stats.live_bytes, 15 + 14 + 35 + 35 + 15 + 15 + 15);
    /* Five keys in the part; then a e e b g, h g e, e. */
    CHECK_SIZE(stats.records, 5 + 9);
    CHECK_SIZE(stats.parts, 1);
    CHECK_SIZE(stats.segments, 1 + f.store->log.count);
    CHECK_SIZE(stats.runs, 3);
    CHECK(stats.index_memory > 1000);
    CHECK(stats.run_bytes % 64 == 0 && stats.run_bytes >= 4 * 64);
    check_numbers(f.store);
    fixture_close(&f);
}

static void before_the_first_refresh(void)
{
    lkv_stats stats, none;
    sums sum = {.ordered = 1};
    lkv_store *other;
    fixture f;

    layers_small(&f);
    other = layers_handle(&f);
    memset(&none, 0, sizeof(none));
    stats = measured(other);
    CHECK_BYTES(&stats, sizeof(stats), &none, sizeof(none));
    CHECK_INT(lkv_list(other, add_object, &sum, &f.err), LKV_OK);
    CHECK_SIZE(sum.count, 0);
    lkv_close(other);
    fixture_close(&f);
}

/* By the handle that writes and by one that follows, at any time. */
static void all_along(void)
{
    uint64_t random = check_seed(), left;
    lkv_store *other;
    fixture f;

    layers_open(&f);
    check_numbers(f.store);
    other = layers_handle(&f);
    layers_fill(&f, &random);
    for (unsigned i = 0; i < 80 && check_failures() == 0; i++) {
        uint32_t depth;
        check_numbers(f.store);
        CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        if (i % 3 == 0) {
            check_numbers(other);
        }
        begin(f.store);
        layers_change(f.store, &random, 10);
        check_numbers(f.store);
        depth = mark(f.store);
        if (i % 10 == 3) {
            CHECK_INT(
                lkv_compact(f.store, i % 20 == 3 ? UINT64_MAX : 2000, &left, &f.err),
                LKV_OK);
            check_numbers(f.store);
        }
        layers_change(f.store, &random, 20);
        check_numbers(f.store);
        if (i % 4 == 3) {
            lkv_rollback_to(f.store, depth);
            check_numbers(f.store);
        }
        if (i % 7 == 3) {
            lkv_rollback(f.store);
        } else {
            prepare_and_commit(f.store);
        }
    }
    lkv_close(other);
    fixture_close(&f);
}

/* What was counted is not read again. */
static void counts_once(void)
{
    uint64_t random = check_seed(), all;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    for (unsigned i = 0; i < 100; i++) {
        layers_commit(f.store, &random, 5);
    }
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    (void)measured(f.store);
    all = f.fault.reads;
    CHECK(all > 100);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    (void)measured(f.store);
    CHECK_SIZE(f.fault.reads, 0);
    layers_commit(f.store, &random, 5);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    check_numbers(f.store);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    (void)measured(f.store);
    CHECK_SIZE(f.fault.reads, 0);
    fixture_close(&f);
}

/* Segments leave the list in a transaction, and come back when that is undone. */
/* What was prepared may be taken back: what is remembered of the log ends before. */
static void prepared_and_undone(void)
{
    fixture f;
    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    begin(f.store);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(put_text(f.store, "b", "2"), LKV_OK);
    }
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
    CHECK_SIZE(measured(f.store).records, count_by_hand(f.store));
    lkv_rollback(f.store);
    CHECK_SIZE(measured(f.store).records, 1);
    commit_text(f.store, "c", "a longer value than those that were taken back");
    CHECK_SIZE(measured(f.store).records, 2);
    fixture_close(&f);
}

static void segments_come_back(void)
{
    uint64_t random = check_seed(), left = 1, to;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    check_numbers(f.store);
    to = f.store->log.runs->pass.to;
    begin(f.store);
    while (f.store->log.runs->pass.to == to && left > 0) {
        CHECK_INT(lkv_compact(f.store, 500, &left, &f.err), LKV_OK);
    }
    CHECK(f.store->log.first > 0);
    CHECK(f.store->log.segments[f.store->log.first].number <=
          f.store->log.begin.at.segment);
    check_numbers(f.store);
    lkv_rollback(f.store);
    check_numbers(f.store);
    fixture_close(&f);
}

/* Another store in the place of the one whose records were counted. */
static void replaced(void)
{
    store_image image;
    fixture f, g;

    layers_open(&f);
    commit_text(f.store, "a", "1");
    commit_text(f.store, "b", "1");
    check_numbers(f.store);
    layers_open(&g);
    commit_text(g.store, "c", "1");
    image_take(&image, g.memory);
    image_put(&image, f.memory);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_TEXT(contents(f.store), "c=1");
    CHECK_SIZE(measured(f.store).records, 1);
    image_free(&image);
    fixture_close(&f);
    fixture_close(&g);
}

static void stops(void)
{
    sums sum = {.ordered = 1};
    unsigned count;
    fixture f;

    layers_small(&f);
    CHECK_INT(lkv_list(f.store, add_object, &sum, &f.err), LKV_OK);
    count = sum.count;
    CHECK(count > 5);
    for (unsigned i = 1; i <= count; i++) {
        sums cut = {.ordered = 1, .stop_at = i};
        CHECK_INT(lkv_list(f.store, add_object, &cut, &f.err), 33);
        CHECK_SIZE(cut.count, i);
    }
    fixture_close(&f);
}

static int measure(lkv_store *store)
{
    lkv_stats stats;
    return lkv_measure(store, &stats, NULL);
}

static int list(lkv_store *store)
{
    sums sum = {.ordered = 1};
    return lkv_list(store, add_object, &sum, NULL);
}

/* Each failure is told, and what was counted before it is right. */
static void failures(void)
{
    int (*const actions[])(lkv_store *) = {measure, list};
    for (size_t i = 0; i < 4; i++) {
        int failed = 1;
        for (uint64_t n = 1; failed && check_failures() == 0; n++) {
            fixture f;
            int rc;
            layers_small(&f);
            os_fault_arm(&f.os, i % 2 == 0 ? n : 0, 0);
            storage_fault_arm(&f.fault, i % 2 == 1 ? n : 0, 0, LKV_FAILED);
            rc = actions[i / 2](f.store);
            failed = f.os.failures + f.fault.failures > 0;
            CHECK_INT(rc, !failed ? LKV_OK : i % 2 == 0 ? LKV_NOMEM : LKV_FAILED);
            os_fault_arm(&f.os, 0, 0);
            storage_fault_arm(&f.fault, 0, 0, LKV_OK);
            check_numbers(f.store);
            fixture_close(&f);
        }
    }
}

static const check_case cases[] = {CASE(by_hand),
                                   CASE(before_the_first_refresh),
                                   CASE(all_along),
                                   CASE(counts_once),
                                   CASE(prepared_and_undone),
                                   CASE(segments_come_back),
                                   CASE(replaced),
                                   CASE(stops),
                                   CASE(failures)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
