/*
 * test_transfer_fails.c - exports and imports that were asked for at a wrong time, or
 * that something else made fail.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static void misuse(void)
{
    lkv_store *other;
    export out;
    fixture f;

    layers_small(&f);
    take_export(f.store, &out);
    CHECK_INT(import(f.store, &out, &f.err), LKV_MISUSE);
    other = layers_handle(&f);
    CHECK_INT(lkv_export(other, export_put, &out, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "nothing was read yet");
    lkv_close(other);
    begin(f.store);
    free(out.bytes);
    take_export(f.store, &out); /* nothing was changed yet */
    CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    CHECK_INT(lkv_export(f.store, export_put, &out, &f.err), LKV_MISUSE);
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
    CHECK_INT(lkv_export(f.store, export_put, &out, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "the transaction has changed something");
    lkv_rollback(f.store);
    free(out.bytes);
    fixture_close(&f);
}

static void sink_and_source_fail(void)
{
    export out, cut;
    fixture f;

    layers_small(&f);
    take_export(f.store, &out);
    memset(&cut, 0, sizeof(cut));
    for (cut.stop_at = 1; cut.stop_at <= out.pieces; cut.stop_at++) {
        cut.pieces = 0;
        CHECK_INT(lkv_export(f.store, export_put, &cut, &f.err), 55);
    }
    begin(f.store);
    CHECK_INT(import(f.store, &out, &f.err), LKV_OK);
    CHECK_INT(out.reads, 2);
    lkv_rollback(f.store);
    for (out.fail_at = 1; out.fail_at <= 2; out.fail_at++) {
        begin(f.store);
        CHECK_INT(import(f.store, &out, &f.err), LKV_IO);
        CHECK(!lkv_log_changed(&f.store->log));
        CHECK_TEXT(contents(f.store), LAYERS_SMALL);
        prepare_and_commit(f.store);
    }
    out.fail_at = 0;
    out.change_from = 2;
    begin(f.store);
    CHECK_INT(import(f.store, &out, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "index: it changed while it was read");
    CHECK(!lkv_log_changed(&f.store->log));
    prepare_and_commit(f.store);
    check_good(&f, summary(f.store));
    free(cut.bytes);
    free(out.bytes);
    fixture_close(&f);
}

typedef struct sweep {
    int storage, for_good, owner;
} sweep;

static int one_failure(const sweep *s, uint64_t n)
{
    uint64_t failures;
    const char *want;
    export out;
    fixture f;
    int rc;

    layers_small(&f);
    take_export(f.store, &out);
    for (int i = 0; i < 6; i++) { /* enough for more runs */
        commit_text(f.store, i % 2 == 0 ? "i" : "j", "more");
    }
    begin(f.store);
    CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    want = summary(f.store);
    f.fault.owner = s->owner ? f.store : NULL;
    os_fault_arm(&f.os, s->storage ? 0 : n, s->for_good);
    storage_fault_arm(&f.fault, s->storage ? n : 0, s->for_good, LKV_FAILED);
    rc = import(f.store, &out, &f.err);
    failures = f.os.failures + f.fault.failures;
    os_fault_arm(&f.os, 0, 0);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK_INT(rc, failures == 0 ? LKV_OK : s->storage ? LKV_FAILED : LKV_NOMEM);
    if (failures > 0 && s->owner) {
        CHECK(!lkv_in_transaction(f.store));
        begin(f.store);
        CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    }
    CHECK_TEXT(summary(f.store), want);
    prepare_and_commit(f.store);
    CHECK_TEXT(summary_anew(&f), want);
    if (!s->owner) { /* that one would have to undo what was written */
        check_good(&f, want);
    }
    free(out.bytes);
    fixture_close(&f);
    return failures > 0;
}

static void failures(void)
{
    for (int i = 0; i < 6 && check_failures() == 0; i++) {
        sweep s = {i >= 2, i % 2, i >= 4};
        uint64_t n = 1;
        while (one_failure(&s, n) && check_failures() == 0) {
            n++;
        }
        CHECK(n > 20);
    }
}

/* Giving it out changes nothing, whatever fails. */
static void export_fails(void)
{
    int failed = 1;
    fixture f;

    layers_small(&f);
    for (uint64_t n = 1; failed; n++) {
        failed = 0;
        for (int part = 0; part < 2; part++) {
            export out = {NULL, 0, 0, 0, 0, 0, 0, 0};
            int rc;
            os_fault_arm(&f.os, part == 0 ? n : 0, 0);
            storage_fault_arm(&f.fault, part == 1 ? n : 0, 0, LKV_FAILED);
            rc = lkv_export(f.store, export_put, &out, &f.err);
            if (f.os.failures + f.fault.failures > 0) {
                CHECK_INT(rc, part == 0 ? LKV_NOMEM : LKV_FAILED);
                failed = 1;
            } else {
                CHECK_INT(rc, LKV_OK);
            }
            os_fault_arm(&f.os, 0, 0);
            storage_fault_arm(&f.fault, 0, 0, LKV_OK);
            free(out.bytes);
        }
    }
    CHECK_TEXT(verified(f.store), "ok");
    fixture_close(&f);
}

static const check_case cases[] = {CASE(misuse), CASE(sink_and_source_fail),
                                   CASE(failures), CASE(export_fails)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
