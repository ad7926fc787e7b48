/*
 * test_verify_fails.c - lkv_verify() when the storage or memory fails at each call, or
 * a block cannot be read, and when its caller wants no more: it never says that all is
 * right, and says so again when nothing fails any more.
 */
#include "layers.h"
#include "store.h"

#include <stdio.h>

/* With call `n` failing with `rc`, of memory or of the storage; whether one did. */
static int fails_at(fixture *f, int memory, int rc, uint64_t n)
{
    lkv_error err = {0, ""};
    int got;

    os_fault_arm(&f->os, memory ? n : 0, 0);
    /* What cannot be read once may be done without. */
    storage_fault_arm(&f->fault, memory ? 0 : n, rc == LKV_CORRUPT, rc);
    got = lkv_verify(f->store, NULL, NULL, &err);
    f->os.fail_at = f->fault.fail_at = 0;
    if (f->os.failures + f->fault.failures == 0) {
        CHECK_INT(got, LKV_OK);
        return 0;
    }
    CHECK_INT(got, rc);
    CHECK(rc == LKV_NOMEM || err.text[0] != '\0');
    f->fault.for_good = 0;
    return 1;
}

static void fail_everywhere(fixture *f)
{
    static const int codes[] = {LKV_FAILED, LKV_CORRUPT, LKV_NOMEM};
    for (int i = 0; i < 3; i++) {
        uint64_t n = 1;
        while (check_failures() == 0 && fails_at(f, i == 2, codes[i], n)) {
            n++;
        }
        CHECK(n > (i == 2 ? 3 : 20));
        if (check_failures() > 0) {
            printf("  way %d, call %llu\n", i, (unsigned long long)n);
        }
        CHECK_TEXT(verified(f->store), "ok");
    }
}

static void each_call(void)
{
    fixture f;
    layers_small(&f);
    fail_everywhere(&f);
    begin(f.store);
    CHECK_INT(put_text(f.store, "x", "y"), LKV_OK);
    fail_everywhere(&f);
    lkv_rollback(f.store);
    fixture_close(&f);
}

static void each_call_with_work_under_way(void)
{
    uint64_t random = 7;
    fixture f;
    layers_open(&f);
    layers_fill(&f, &random);
    CHECK_TEXT(verified(f.store), "ok");
    for (uint64_t n = 1; n < 4000 && check_failures() == 0; n += 37) {
        (void)fails_at(&f, 0, LKV_FAILED, n);
    }
    CHECK_TEXT(verified(f.store), "ok");
    fixture_close(&f);
}

typedef struct patience {
    unsigned asked, stop;
} patience;

static int go_on(void *arg)
{
    patience *p = arg;
    return ++p->asked == p->stop ? LKV_FAILED : LKV_OK;
}

static void wants_no_more(void)
{
    patience p = {0, 0};
    uint64_t random = 7;
    unsigned all;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    CHECK_INT(lkv_verify(f.store, go_on, &p, &f.err), LKV_OK);
    all = p.asked;
    CHECK(all > 1);
    for (unsigned stop = 1; stop <= all; stop++) {
        p = (patience){0, stop};
        CHECK_INT(lkv_verify(f.store, go_on, &p, &f.err), LKV_FAILED);
        CHECK_SIZE(p.asked, stop);
    }
    fixture_close(&f);
}

static const check_case cases[] = {CASE(each_call), CASE(each_call_with_work_under_way),
                                   CASE(wants_no_more)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
