/*
 * test_serial_fails.c - serializing and taking back when something else fails.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static void sink_and_source_fail(void)
{
    uint64_t random = check_seed();
    const char *want;
    export out, cut;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    begin(f.store);
    CHECK_INT(put_filler(f.store, "long", 100000, 1), LKV_OK);
    prepare_and_commit(f.store);
    want = summary(f.store);
    take_serial(f.store, &out);
    CHECK(out.pieces >= 2);
    memset(&cut, 0, sizeof(cut));
    for (cut.stop_at = 1; cut.stop_at <= out.pieces; cut.stop_at++) {
        cut.pieces = 0;
        CHECK_INT(lkv_serialize(f.store, export_put, &cut, &f.err), 55);
    }
    begin(f.store);
    CHECK_INT(deserialize(f.store, &out, &f.err), LKV_OK);
    CHECK(out.reads >= 4);
    lkv_rollback(f.store);
    for (out.fail_at = 1; out.fail_at <= 4; out.fail_at++) {
        begin(f.store);
        CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
        CHECK_INT(deserialize(f.store, &out, &f.err), LKV_IO);
        CHECK_INT(delete_text(f.store, "x"), LKV_OK);
        CHECK_TEXT(summary(f.store), want);
        prepare_and_commit(f.store);
    }
    out.fail_at = 0;
    out.change_from = 4;
    begin(f.store);
    CHECK_INT(deserialize(f.store, &out, &f.err), LKV_CORRUPT);
    CHECK_TEXT(summary(f.store), want);
    prepare_and_commit(f.store);
    check_good(&f, want);
    free(cut.bytes);
    free(out.bytes);
    fixture_close(&f);
}

/* One that is right, and when it is read again another one that is. */
typedef struct two {
    export first, second;
    unsigned starts;
} two;

static int read_two(void *arg, uint64_t offset, void *out, size_t size)
{
    two *of = arg;
    of->starts += offset == 0;
    memcpy(out, (of->starts > 1 ? of->second : of->first).bytes + offset, size);
    return LKV_OK;
}

static void source_changes(void)
{
    lkv_source source = {read_two, NULL, 0};
    two of;
    fixture f;

    layers_small(&f);
    memset(&of, 0, sizeof(of));
    take_serial(f.store, &of.first);
    commit_text(f.store, "a", "3");
    take_serial(f.store, &of.second);
    CHECK_SIZE(of.first.size, of.second.size);
    source.arg = &of;
    source.size = of.first.size;
    begin(f.store);
    CHECK_INT(lkv_deserialize(f.store, &source, NULL, NULL, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "serialized table: it changed while it was read");
    CHECK_TEXT(get_text(f.store, "a"), "3");
    prepare_and_commit(f.store);
    check_good(&f, summary(f.store));
    free(of.first.bytes);
    free(of.second.bytes);
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
    fixture f, g;
    int rc;

    layers_small(&f);
    layers_small(&g);
    commit_text(g.store, "other", "1");
    take_serial(g.store, &out);
    begin(f.store);
    CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    want = summary(f.store);
    f.fault.owner = s->owner ? f.store : NULL;
    os_fault_arm(&f.os, s->storage ? 0 : n, s->for_good);
    storage_fault_arm(&f.fault, s->storage ? n : 0, s->for_good, LKV_FAILED);
    rc = deserialize(f.store, &out, &f.err);
    failures = f.os.failures + f.fault.failures;
    os_fault_arm(&f.os, 0, 0);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK_INT(rc, failures == 0 ? LKV_OK : s->storage ? LKV_FAILED : LKV_NOMEM);
    if (failures > 0 && s->owner) {
        CHECK(!lkv_in_transaction(f.store));
        begin(f.store);
        CHECK_INT(put_text(f.store, "x", "1"), LKV_OK);
    }
    if (failures == 0) {
        want = summary(g.store);
    }
    CHECK_TEXT(summary(f.store), want);
    prepare_and_commit(f.store);
    CHECK_TEXT(summary_anew(&f), want);
    if (!s->owner) { /* that one would have to undo what was written */
        check_good(&f, want);
    }
    free(out.bytes);
    fixture_close(&g);
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
        CHECK(n > 8);
    }
}

/* Giving it out changes nothing, whatever fails. */
static void serialize_fails(void)
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
            rc = lkv_serialize(f.store, export_put, &out, &f.err);
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

static const check_case cases[] = {CASE(sink_and_source_fail), CASE(source_changes),
                                   CASE(failures), CASE(serialize_fails)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
