/*
 * test_verify_whole.c - lkv_verify() passes a store that is whole, whatever state it is
 * in; and how it ends otherwise.
 */
#include "layers.h"
#include "store.h"

#include <stdlib.h>

/* After each of many commits, by the handle that made them and by a new one. */
static void whole_stores(void)
{
    uint64_t random = check_seed();
    fixture f;

    layers_open(&f);
    CHECK_TEXT(verified(f.store), "ok");
    for (unsigned i = 0; i < 150 && check_failures() == 0; i++) {
        lkv_store *other = layers_handle(&f);
        layers_commit(f.store, &random, 1 + (unsigned)check_below(&random, 12));
        CHECK_TEXT(verified(f.store), "ok");
        CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        CHECK_TEXT(verified(other), "ok");
        CHECK_TEXT(summary(other), summary(f.store));
        lkv_close(other);
        if (check_below(&random, 20) == 0) {
            layers_reopen(&f);
        }
    }
    fixture_close(&f);
}

/* With everything under way; in a transaction, prepared or not, and after it. */
static void inside_a_transaction(void)
{
    uint64_t random = check_seed();
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    CHECK_TEXT(verified(f.store), "ok");
    for (unsigned i = 0; i < 40 && check_failures() == 0; i++) {
        uint32_t depth;
        begin(f.store);
        layers_change(f.store, &random, (unsigned)check_below(&random, 30));
        CHECK_TEXT(verified(f.store), "ok");
        depth = mark(f.store);
        layers_change(f.store, &random, (unsigned)check_below(&random, 60));
        if (i % 2 == 0) {
            CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
        }
        CHECK_TEXT(verified(f.store), "ok");
        layers_change(f.store, &random, (unsigned)check_below(&random, 30));
        if (i % 3 == 0) {
            uint64_t left;
            CHECK_INT(lkv_compact(f.store, 1000, &left, &f.err), LKV_OK);
            CHECK_TEXT(verified(f.store), "ok");
        }
        lkv_rollback_to(f.store, depth);
        CHECK_TEXT(verified(f.store), "ok");
        if (i % 4 == 0) {
            lkv_rollback(f.store);
        } else {
            prepare_and_commit(f.store);
        }
        CHECK_TEXT(verified(f.store), "ok");
    }
    fixture_close(&f);
}

static int stop(void *arg)
{
    unsigned *left = arg;
    return (*left)-- == 0 ? 77 : LKV_OK;
}

static void asks_whether_to_go_on(void)
{
    uint64_t random = check_seed();
    unsigned asked = UINT32_MAX;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    CHECK_INT(lkv_verify(f.store, stop, &asked, &f.err), LKV_OK);
    asked = UINT32_MAX - asked;
    CHECK(asked > 0);
    for (unsigned i = 0; i < asked; i++) {
        unsigned left = i;
        CHECK_INT(lkv_verify(f.store, stop, &left, &f.err), 77);
    }
    fixture_close(&f);
}

static void before_the_first_refresh(void)
{
    lkv_store *other;
    fixture f;

    layers_open(&f);
    other = layers_handle(&f);
    CHECK_INT(lkv_verify(other, NULL, NULL, &f.err), LKV_MISUSE);
    lkv_close(other);
    fixture_close(&f);
}

/* Whatever fails, it is told, and nothing is lost. */
static void failures(void)
{
    int failed = 1;
    fixture f;

    layers_small(&f);
    for (uint64_t n = 1; failed; n++) {
        failed = 0;
        for (int part = 0; part < 2; part++) {
            int rc;
            os_fault_arm(&f.os, part == 0 ? n : 0, n % 2 == 0);
            storage_fault_arm(&f.fault, part == 1 ? n : 0, n % 2 == 0, LKV_FAILED);
            rc = lkv_verify(f.store, NULL, NULL, &f.err);
            if (f.os.failures + f.fault.failures > 0) {
                CHECK_INT(rc, part == 0 ? LKV_NOMEM : LKV_FAILED);
                failed = 1;
            } else {
                CHECK_INT(rc, LKV_OK);
            }
            os_fault_arm(&f.os, 0, 0);
            storage_fault_arm(&f.fault, 0, 0, LKV_OK);
        }
    }
    CHECK_TEXT(verified(f.store), "ok");
    fixture_close(&f);
}

/* A segment that goes on from another commit than the one before it ends in. */
static void wrong_header(void)
{
    lkv_segment_header header;
    lkv_bytes object;
    uint8_t *at;
    const char *why;
    uint32_t number;
    fixture f;

    layers_small(&f);
    number = f.store->log.segments[1].number;
    object = layers_object(f.storage, number);
    at = (uint8_t *)(uintptr_t)object.data;
    CHECK_INT(lkv_format_parse_segment(object, &header, &why), LKV_OK);
    header.chain_before++;
    lkv_format_segment(at, &header);
    layers_put_object(f.storage, number, object);
    CHECK_HAS(verified(f.store), "offset 0: the header names another commit");
    free(at);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(wrong_header),
                                   CASE(whole_stores),
                                   CASE(inside_a_transaction),
                                   CASE(asks_whether_to_go_on),
                                   CASE(before_the_first_refresh),
                                   CASE(failures)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
