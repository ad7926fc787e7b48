/*
 * run_bench.c - see run_bench.h.
 */
#include "run_bench.h"

#include "check.h"

#include <string.h>

void bench_open(bench *b, uint32_t block)
{
    memset(b, 0, sizeof(*b));
    os_fault_init(&b->os);
    CHECK_INT(lkv_storage_mem_open(&b->os.os, block, &b->memory), LKV_OK);
    storage_fault_init(&b->fault, b->memory);
    b->storage = &b->fault.base;
}

void bench_close(bench *b)
{
    os_fault_arm(&b->os, 0, 0);
    storage_fault_arm(&b->fault, 0, 0, LKV_OK);
    storage_fault_free(&b->fault);
    lkv_storage_mem_close(b->memory);
    CHECK_SIZE(b->os.live, 0);
    keys_free(&b->all);
}

int bench_write(bench *b, uint64_t *pauses)
{
    lkv_run_writer writer;
    int rc = LKV_OK;

    lkv_run_writer_init(&writer, b->storage, &b->os.os, BENCH_OBJECT);
    for (size_t i = 0; i < b->all.count && rc == LKV_OK; i++) {
        if (pauses != NULL && check_below(pauses, 40) == 0) {
            rc = lkv_run_writer_pause(&writer, &b->err);
            if (rc == LKV_OK && check_below(pauses, 3) > 0) {
                lkv_run so_far = writer.run;
                lkv_run_writer_free(&writer);
                rc = lkv_run_writer_resume(&writer, b->storage, &b->os.os, &so_far,
                                           &b->err);
            }
        }
        if (rc == LKV_OK) {
            rc = lkv_run_writer_add(&writer, b->all.key[i], b->all.place[i], &b->err);
        }
    }
    if (rc == LKV_OK) {
        rc = lkv_run_writer_finish(&writer, &b->err);
    }
    b->run = writer.run;
    lkv_run_writer_free(&writer);
    lkv_run_writer_free(&writer); /* harmless */
    return rc;
}

void bench_check_counts(bench *b)
{
    uint64_t live = 0;
    lkv_bytes view;
    for (size_t i = 0; i < b->all.count; i++) {
        live += lkv_loc_live(b->all.place[i].loc) ? b->all.place[i].size : 0;
    }
    CHECK_SIZE(b->run.entries, b->all.count);
    CHECK_SIZE(b->run.live_bytes, live);
    CHECK(b->run.top < b->run.blocks);
    CHECK_INT(b->memory->ops->read(b->memory, b->run.number, 0, 1, &view, NULL),
              LKV_OK);
    CHECK_SIZE(view.size, (uint64_t)b->run.blocks * b->storage->block);
}

void bench_check_find(bench *b, lkv_bytes key)
{
    lkv_place found = {LKV_NOWHERE, 0};
    int equal;
    size_t below = keys_rank(&b->all, key, &equal);
    int rc =
        lkv_run_find(b->storage, &b->run, key, lkv_filter_hash(key), &found, &b->err);
    CHECK_INT(rc, equal ? LKV_OK : LKV_ABSENT);
    if (equal) {
        CHECK_SIZE(found.loc, b->all.place[below - 1].loc);
        CHECK_INT(found.size, b->all.place[below - 1].size);
    }
}

void bench_check_at(bench *b, const lkv_run_cursor *cursor, int rc, size_t want)
{
    if (CHECK_INT(rc, want < b->all.count ? LKV_OK : LKV_ABSENT) && rc == LKV_OK) {
        lkv_bytes key = lkv_run_key(cursor);
        CHECK_BYTES(key.data, key.size, b->all.key[want].data, b->all.key[want].size);
        CHECK_SIZE(lkv_run_place(cursor).loc, b->all.place[want].loc);
        CHECK_INT(lkv_run_place(cursor).size, b->all.place[want].size);
    }
}

/* Where a seek leads; SIZE_MAX is before the first. */
static size_t target(const keys *all, lkv_bytes key, enum lkv_seek how)
{
    int equal;
    size_t below = keys_rank(all, key, &equal);
    switch (how) {
    case LKV_SEEK_GE:
        return below - (size_t)equal;
    case LKV_SEEK_GT:
        return below;
    case LKV_SEEK_LE:
        return below - 1;
    case LKV_SEEK_LT:
    default:
        return below - 1 - (size_t)equal;
    }
}

void bench_check_seek(bench *b, lkv_run_cursor *cursor, lkv_bytes key,
                      enum lkv_seek how)
{
    size_t want = target(&b->all, key, how);
    bench_check_at(b, cursor, lkv_run_seek(cursor, key, how, &b->err), want);
    if (want < b->all.count && how % 2 == 0) {
        bench_check_at(b, cursor, lkv_run_next(cursor, &b->err), want + 1);
    } else if (want < b->all.count) {
        bench_check_at(b, cursor, lkv_run_prev(cursor, &b->err), want - 1);
    }
}

void bench_check_walks(bench *b)
{
    lkv_run_cursor cursor;
    size_t i = 0;
    int rc;

    lkv_run_cursor_init(&cursor, b->storage, &b->os.os, &b->run);
    CHECK_INT(lkv_run_next(&cursor, &b->err), LKV_ABSENT); /* it stands nowhere */
    CHECK_INT(lkv_run_prev(&cursor, &b->err), LKV_ABSENT);
    rc = lkv_run_first(&cursor, &b->err);
    for (; i < b->all.count && check_failures() == 0; i++) {
        bench_check_at(b, &cursor, rc, i);
        rc = lkv_run_next(&cursor, &b->err);
    }
    CHECK_INT(rc, LKV_ABSENT);
    CHECK_INT(lkv_run_next(&cursor, &b->err), LKV_ABSENT);
    rc = lkv_run_last(&cursor, &b->err);
    while (i-- > 0 && check_failures() == 0) {
        bench_check_at(b, &cursor, rc, i);
        rc = lkv_run_prev(&cursor, &b->err);
    }
    CHECK_INT(rc, LKV_ABSENT);
    CHECK_INT(lkv_run_prev(&cursor, &b->err), LKV_ABSENT);
    lkv_run_cursor_free(&cursor);
    lkv_run_cursor_free(&cursor);
}

void bench_check_looks(bench *b, size_t step)
{
    lkv_run_cursor cursor;
    lkv_bytes ends[] = {{NULL, 0}, {"\xff\xff\xff\xff\xff", 5}};

    lkv_run_cursor_init(&cursor, b->storage, &b->os.os, &b->run);
    for (size_t i = 0; i < CASES(ends); i++) {
        bench_check_find(b, ends[i]);
        for (int how = LKV_SEEK_GE; how <= LKV_SEEK_LT; how++) {
            bench_check_seek(b, &cursor, ends[i], (enum lkv_seek)how);
        }
    }
    for (size_t i = 0; i < b->all.count && check_failures() == 0; i += step) {
        bench_check_find(b, b->all.key[i]);
        for (int how = LKV_SEEK_GE; how <= LKV_SEEK_LT; how++) {
            bench_check_seek(b, &cursor, b->all.key[i], (enum lkv_seek)how);
            for (int k = 0; k < KEYS_NEAR; k++) {
                bench_check_seek(b, &cursor, keys_near(b->all.key[i], k),
                                 (enum lkv_seek)how);
            }
        }
        for (int k = 0; k < KEYS_NEAR; k++) {
            bench_check_find(b, keys_near(b->all.key[i], k));
        }
    }
    lkv_run_cursor_free(&cursor);
}

void bench_check_all(bench *b, size_t step)
{
    bench_check_counts(b);
    bench_check_walks(b);
    bench_check_looks(b, step);
}
