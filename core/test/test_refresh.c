/*
 * test_refresh.c - lkv_refresh() and lkv_begin() when little, something else, or an
 * error is there to be found. What a handle believes of a log: test_recover.c.
 */
#include "fixture.h"
#include "store.h"

/* A refresh that finds nothing new reads the end, and nothing else. */
static void nothing_new(void)
{
    fixture f;
    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    storage_fault_arm(&f.fault, 0, 0, LKV_OK);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_SIZE(f.fault.calls, 1);
    fixture_close(&f);
}

static void store_made_anew(void)
{
    fixture f;
    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    CHECK_INT(lkv_create(f.storage, &f.os.os, text_bytes("new"), &f.err), LKV_OK);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_TEXT(contents(f.store), "");
    CHECK_BYTES(lkv_meta(f.store).data, lkv_meta(f.store).size, "new", 3);
    commit_text(f.store, "b", "2");
    CHECK_TEXT(contents_anew(f.storage, &f.os.os), "b=2");
    fixture_close(&f);
}

/* A handle's own commit is damaged: it reads all, and finds the damage. */
static void own_commit_damaged(void)
{
    lkv_store *other;
    lkv_bytes view;
    fixture f;

    fixture_open(&f, 64);
    commit_text(f.store, "a", "1");
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
    commit_text(f.store, "b", "2");
    CHECK_INT(f.memory->ops->read(f.memory, 1, 79, 61, &view, NULL), LKV_OK);
    *((uint8_t *)(uintptr_t)view.data + 30) ^= 1;
    CHECK_INT(lkv_refresh(other, &f.err), LKV_CORRUPT);
    CHECK_TEXT(f.err.text, "segment 1, offset 79: checksum mismatch");
    CHECK_SIZE(lkv_count(other), 0);
    CHECK_TEXT(contents(other), "");
    *((uint8_t *)(uintptr_t)view.data + 30) ^= 1;
    CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
    CHECK_TEXT(contents(other), "a=1 b=2");
    lkv_close(other);
    fixture_close(&f);
}

/* After a refresh that failed a handle knows nothing: what its runs have it does not
 * show either. */
static void runs_are_forgotten(void)
{
    lkv_store *other;
    lkv_bytes view;
    fixture f;

    fixture_open(&f, 64);
    f.store->flush_size = 16;
    f.store->auto_compact = 0;
    commit_text(f.store, "a", "1");
    commit_text(f.store, "b", "2");
    CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
    CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
    CHECK(other->log.runs->count > 0);
    commit_text(f.store, "c", "3");
    CHECK_INT(
        f.memory->ops->read(f.memory, 1, f.store->log.at.offset - 1, 1, &view, NULL),
        LKV_OK);
    *(uint8_t *)(uintptr_t)view.data ^= 1;
    CHECK_INT(lkv_refresh(other, &f.err), LKV_CORRUPT);
    CHECK_SIZE(lkv_count(other), 0);
    CHECK_TEXT(contents(other), "");
    *(uint8_t *)(uintptr_t)view.data ^= 1;
    CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
    CHECK_TEXT(contents(other), "a=1 b=2 c=3");
    lkv_close(other);
    fixture_close(&f);
}

/* Each allocation and each call of the storage fails: once, and from then on. With
 * `behind`, the handle stands on an early commit and a cursor on a row. */
static void check_failures_of(int behind, int begins, int part, int for_good)
{
    for (uint64_t n = 1;; n++) {
        lkv_store *other;
        lkv_cursor *cursor;
        const char *want;
        uint64_t failures;
        fixture f;
        int rc;

        fixture_open(&f, 64);
        CHECK_INT(lkv_open(f.storage, &f.os.os, &other), LKV_OK);
        f.storage->segment = 250;
        if (behind) {
            commit_text(f.store, "b", "1");
            CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        }
        CHECK_INT(lkv_cursor_open(other, &cursor), LKV_OK);
        CHECK(lkv_cursor_first(cursor, NULL) >= 0);
        fill_three(&f);
        want = contents(f.store);
        os_fault_arm(&f.os, part == 0 ? n : 0, for_good);
        storage_fault_arm(&f.fault, part == 1 ? n : 0, for_good, LKV_FAILED);
        f.fault.owner = other;
        rc = begins ? lkv_begin(other, 0, &f.err) : lkv_refresh(other, &f.err);
        failures = f.os.failures + f.fault.failures;
        os_fault_arm(&f.os, 0, 0);
        storage_fault_arm(&f.fault, 0, 0, LKV_OK);
        if (failures == 0) {
            CHECK_INT(rc, LKV_OK);
        } else if (rc != LKV_OK) {
            CHECK_INT(rc, part == 0 ? LKV_NOMEM : LKV_FAILED);
            CHECK_INT(lkv_in_transaction(other), 0);
            if (!begins || n > 1) { /* the lock comes first */
                CHECK_SIZE(lkv_count(other), 0);
                CHECK_TEXT(contents(other), "");
            }
            CHECK(lkv_cursor_next(cursor, NULL) != LKV_OK || behind);
            CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        }
        CHECK_TEXT(contents(other), want);
        lkv_rollback(other);
        commit_text(other, "x", "5");
        commit_text(f.store, "y", "6");
        CHECK_INT(lkv_refresh(other, &f.err), LKV_OK);
        CHECK_TEXT(contents(other), contents(f.store));
        lkv_cursor_close(cursor);
        lkv_close(other);
        fixture_close(&f);
        if (failures == 0) {
            CHECK(n > 3);
            break;
        }
    }
}

static void refresh_fails_anywhere(void)
{
    for (int i = 0; i < 16; i++) {
        check_failures_of(i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1);
    }
}

static const check_case cases[] = {CASE(nothing_new), CASE(store_made_anew),
                                   CASE(own_commit_damaged), CASE(runs_are_forgotten),
                                   CASE(refresh_fails_anywhere)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
