/*
 * test_misuse.c - callers that break the rules of litekv.h, or want no text for an
 * error, and stores whose numbers are used up: nothing changes.
 */
#include "exports.h"
#include "layers.h"
#include "onefile.h"
#include "part.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

static void without_a_transaction(void)
{
    uint64_t left = 77;
    fixture f;

    layers_small(&f);
    CHECK_INT(lkv_compact(f.store, 1000, &left, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "no transaction is open");
    CHECK_SIZE(left, 0);
    f.err.text[0] = '\0';
    CHECK_INT(lkv_set_sync(f.store, LKV_SYNC_OFF, &f.err), LKV_MISUSE);
    CHECK_TEXT(f.err.text, "no transaction is open");
    CHECK_INT(lkv_sync_of(f.store), LKV_SYNC_FULL);
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), LAYERS_SMALL);
    fixture_close(&f);
}

static void sync_is_kept(void)
{
    fixture f;
    layers_small(&f);
    begin(f.store);
    os_fault_arm(&f.os, 1, 0);
    CHECK_INT(lkv_set_sync(f.store, LKV_SYNC_OFF, &f.err), LKV_NOMEM);
    os_fault_arm(&f.os, 0, 0);
    CHECK(!lkv_changed(f.store));
    CHECK_INT(lkv_set_sync(f.store, LKV_SYNC_NORMAL, &f.err), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_INT(lkv_sync_of(f.store), LKV_SYNC_NORMAL);
    fixture_reopen(&f);
    CHECK_INT(lkv_sync_of(f.store), LKV_SYNC_NORMAL);
    begin(f.store);
    CHECK_INT(lkv_set_sync(f.store, LKV_SYNC_OFF, &f.err), LKV_OK);
    lkv_rollback(f.store);
    CHECK_INT(lkv_sync_of(f.store), LKV_SYNC_NORMAL);
    CHECK_TEXT(contents(f.store), LAYERS_SMALL);
    fixture_close(&f);
}

static void begins_here(void)
{
    lkv_store *other;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    CHECK_INT(lkv_begin_here(other, 0, &f.err), LKV_OK); /* it stands nowhere yet */
    CHECK_TEXT(get_text(other, "a"), "1");
    CHECK_INT(lkv_begin_here(other, 0, &f.err), LKV_MISUSE);
    CHECK(lkv_in_transaction(other));
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_BUSY);
    lkv_rollback(other);
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_OK);
    lkv_rollback(f.store);
    storage_fault_arm(&f.fault, 2, 0, LKV_IO);
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_IO);
    CHECK_SIZE(f.fault.failures, 1);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK(!lkv_in_transaction(f.store));
    commit_text(other, "a", "2");
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_BUSY_SNAPSHOT);
    CHECK_TEXT(f.err.text, "others have committed since this was read");
    commit_text(other, "a", "3"); /* the lock was given back */
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_OK);
    CHECK_TEXT(get_text(f.store, "a"), "3");
    lkv_rollback(f.store);
    lkv_close(other);
    fixture_close(&f);
}

/* The store was replaced by another one with as many commits, or the same commits with
 * another root. */
static void begins_elsewhere(void)
{
    lkv_end end, was;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    CHECK_INT(f.memory->ops->read_end(f.memory, &was, NULL), LKV_OK);
    end = was;
    end.chain++;
    CHECK_INT(f.memory->ops->publish_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_BUSY_SNAPSHOT);
    end = was;
    end.generation++;
    CHECK_INT(f.memory->ops->publish_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_BUSY_SNAPSHOT);
    CHECK_INT(f.memory->ops->publish_end(f.memory, &was, NULL), LKV_OK);
    CHECK_INT(lkv_begin_here(f.store, 0, &f.err), LKV_OK);
    lkv_rollback(f.store);
    fixture_close(&f);
}

static void nothing_to_prepare(void)
{
    store_image before, after;
    fixture f;
    layers_small(&f);
    image_take(&before, f.memory);
    begin(f.store);
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK_INT(lkv_log_prepare(&f.store->log, 7, 7, &f.err), LKV_OK);
    CHECK_INT(lkv_prepare(f.store, &f.err), LKV_OK);
    CHECK_SIZE(f.fault.calls, 0);
    lkv_commit(f.store);
    image_take(&after, f.memory);
    CHECK_SAME_IMAGE(&after, &before);
    image_free(&before);
    image_free(&after);
    fixture_close(&f);
}

static int lost(void *arg, const lkv_lost *what)
{
    (void)arg;
    (void)what;
    return LKV_OK;
}

static int give(void *arg, uint64_t offset, void *out, size_t size)
{
    const export *from = arg;
    memcpy(out, from->bytes + offset, size);
    return LKV_OK;
}

/* No text is wanted of what is wrong. */
static void without_a_text(void)
{
    lkv_salvage_calls calls = {lost, NULL, NULL};
    lkv_onefile one;
    uint64_t kept;
    lkv_bytes root;
    uint8_t *copy;
    lkv_end end;
    export out;
    fixture f;
    lkv_source source = {give, &out, 0};

    layers_small(&f);
    CHECK_INT(lkv_onefile_open(&one, &f.os.os, "/nonexistent/file", NULL), LKV_IO);
    lkv_onefile_close(&one);
    take_export(f.store, &out);
    out.bytes[out.size - 1] ^= 1;
    begin(f.store);
    source.size = out.size;
    CHECK_INT(lkv_import(f.store, &source, NULL, NULL, NULL), LKV_CORRUPT);
    out.bytes[out.size - 1] ^= 1;
    CHECK_INT(lkv_import(f.store, &source, NULL, NULL, NULL), LKV_OK);
    lkv_rollback(f.store);
    free(out.bytes);

    CHECK_INT(f.memory->ops->read_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    copy = malloc(root.size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, root.data, root.size);
    copy[30] ^= 1;
    CHECK_INT(f.memory->ops->write_root(f.memory, end.generation,
                                        (lkv_bytes){copy, root.size}, NULL),
              LKV_OK);
    lkv_close(f.store);
    CHECK_INT(lkv_open(f.storage, &f.os.os, &f.store), LKV_OK);
    CHECK_INT(lkv_salvage(f.store, 0, &calls, &kept, NULL), LKV_CORRUPT);
    CHECK_INT(lkv_refresh(f.store, NULL), LKV_CORRUPT);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_CORRUPT);
    CHECK_HAS(f.err.text, "root: ");
    free(copy);
    fixture_close(&f);
}

/* A cursor that stands nowhere, and one that cannot turn round without memory. */
static void cursors(void)
{
    lkv_base_cursor base;
    lkv_cursor *cursor;
    lkv_bytes value;
    unsigned tag;
    fixture f;

    layers_small(&f);
    CHECK_INT(lkv_cursor_open(f.store, &cursor), LKV_OK);
    CHECK_INT(lkv_cursor_tag(cursor, &tag, &f.err), LKV_OK);
    CHECK_INT(tag, 0);
    CHECK_INT(lkv_cursor_value(cursor, &value, &f.err), LKV_ABSENT);
    CHECK_INT(lkv_cursor_next(cursor, &f.err), LKV_ABSENT);
    CHECK_INT(lkv_cursor_first(cursor, &f.err), LKV_OK);
    CHECK_INT(lkv_cursor_next(cursor, &f.err), LKV_OK);
    os_fault_arm(&f.os, 1, 1);
    CHECK_INT(lkv_cursor_prev(cursor, &f.err), LKV_NOMEM);
    os_fault_arm(&f.os, 0, 0);
    CHECK_INT(lkv_cursor_first(cursor, &f.err), LKV_OK);
    CHECK_BYTES(lkv_cursor_key(cursor).data, lkv_cursor_key(cursor).size, "a", 1);
    lkv_cursor_close(cursor);
    lkv_base_init(&base, &f.store->log, f.store->log.runs);
    CHECK_INT(lkv_base_next(&base, &f.err), LKV_ABSENT);
    CHECK_INT(lkv_base_prev(&base, &f.err), LKV_ABSENT);
    lkv_base_free(&base);
    fixture_close(&f);
}

/* No part or run can be made any more. */
static void numbers_used_up(void)
{
    for (int i = 0; i < 4; i++) {
        uint64_t left;
        export out;
        fixture f;
        lkv_runs *runs;

        layers_small(&f);
        take_serial(f.store, &out);
        begin(f.store);
        runs = f.store->log.runs;
        if (i < 2) {
            runs->next_part = LKV_RUN_FIRST;
        } else {
            runs->next_run = LKV_RUN_LAST + 1;
        }
        if (i % 2 == 0) {
            CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_TOO_BIG);
        } else {
            CHECK_INT(deserialize(f.store, &out, &f.err), LKV_TOO_BIG);
            CHECK_TEXT(f.err.text, "there are no part numbers left");
        }
        lkv_rollback(f.store);
        fixture_reopen(&f);
        CHECK_TEXT(contents(f.store), LAYERS_SMALL);
        CHECK_TEXT(verified(f.store), "ok");
        free(out.bytes);
        fixture_close(&f);
    }
}

/* A run can have half as many blocks as there are numbers. */
static void blocks_used_up(void)
{
    lkv_run_writer writer;
    lkv_place place = {lkv_loc_make(0, 1, 64), 20};
    fixture f;
    int rc = LKV_OK;

    fixture_open(&f, 64);
    lkv_run_writer_init(&writer, f.storage, &f.os.os, LKV_RUN_FIRST + 7);
    writer.run.blocks = UINT32_MAX / 2;
    for (unsigned i = 0; i < 100 && rc == LKV_OK; i++) {
        char key[] = {(char)i, 0};
        rc = lkv_run_writer_add(&writer, (lkv_bytes){key, 1}, place, &f.err);
    }
    CHECK_INT(rc, LKV_TOO_BIG);
    lkv_run_writer_free(&writer);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(without_a_transaction),
                                   CASE(sync_is_kept),
                                   CASE(begins_here),
                                   CASE(begins_elsewhere),
                                   CASE(nothing_to_prepare),
                                   CASE(without_a_text),
                                   CASE(cursors),
                                   CASE(numbers_used_up),
                                   CASE(blocks_used_up)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
