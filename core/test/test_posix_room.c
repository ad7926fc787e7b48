/*
 * test_posix_room.c - a process that has no descriptor left. What a writer has open it
 * can open again, so it closes that, and goes on.
 */
#include "party.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROWS 300

static struct rlimit before;

/* No file can be opened from here on, unless another is closed. */
static void fill_up(void)
{
    struct rlimit none = before;
    int file = open("/dev/null", O_RDONLY);
    CHECK(file >= 0);
    close(file);
    none.rlim_cur = (rlim_t)file;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_INT(open("/dev/null", O_RDONLY), -1);
}

static void give_back(void)
{
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static int put(guest *u, char mark, int rows)
{
    char key[16], value[200];
    int rc = LKV_OK;
    memset(value, mark, sizeof(value));
    for (int i = 0; i < rows && rc == LKV_OK; i++) {
        lkv_row row = {{key, 4}, {value, sizeof(value)}, 0};
        snprintf(key, sizeof(key), "k%03d", i);
        rc = lkv_put(u->store, &row, &u->err);
    }
    return rc;
}

/* When there is no descriptor left. */
enum full { NEVER, FROM_THE_BEGINNING, TO_THE_END, WHEN_PREPARED };

/* The first rows in one transaction. */
static int change(guest *u, char mark, int rows, enum full when)
{
    int rc;
    if (when == FROM_THE_BEGINNING) {
        fill_up();
    }
    rc = lkv_begin(u->store, 0, &u->err);
    rc = rc == LKV_OK ? put(u, mark, rows) : rc;
    if (when == TO_THE_END || when == WHEN_PREPARED) {
        fill_up();
    }
    rc = rc == LKV_OK ? lkv_prepare(u->store, &u->err) : rc;
    if (when == WHEN_PREPARED) {
        give_back();
    }
    if (rc == LKV_OK) {
        lkv_commit(u->store);
    } else {
        lkv_rollback(u->store);
    }
    give_back();
    return rc;
}

/* What was there before is removed. */
static void change_and_compact(guest *u)
{
    uint64_t left;
    CHECK_INT(change(u, 'z', ROWS, NEVER), LKV_OK);
    CHECK_INT(lkv_begin(u->store, 0, &u->err), LKV_OK);
    CHECK_INT(lkv_compact(u->store, UINT64_MAX, &left, &u->err), LKV_OK);
    CHECK_INT(lkv_prepare(u->store, &u->err), LKV_OK);
    lkv_commit(u->store);
}

/* Reads all rows, while another changes them behind the first one. */
static void must_have(guest *u, char mark, guest *changes)
{
    lkv_cursor *cursor;
    int count = 0, rc;
    CHECK_INT(lkv_refresh(u->store, &u->err), LKV_OK);
    CHECK_INT(lkv_cursor_open(u->store, &cursor), LKV_OK);
    for (rc = lkv_cursor_first(cursor, &u->err); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, &u->err)) {
        lkv_bytes value;
        rc = lkv_cursor_value(cursor, &value, &u->err);
        if (rc != LKV_OK) {
            break;
        }
        CHECK(value.size == 200 && *(const char *)value.data == mark);
        if (count++ == 0 && changes != NULL) {
            change_and_compact(changes);
        }
    }
    lkv_cursor_close(cursor);
    CHECK_INT(rc, LKV_ABSENT);
    CHECK_INT(count, ROWS);
}

/* Two writers in turn, so that the files of one go away while the other has them
 * closed. One that has nothing to close is refused, and goes on when there is room. */
static void take_turns(guest *u, guest *other)
{
    char has = 'a';
    for (int round = 0; round < 6; round++) {
        guest *writer = round % 2 == 0 ? u : other;
        char mark = (char)('b' + round);
        int rc = change(writer, mark, ROWS,
                        round % 3 == 2 ? FROM_THE_BEGINNING : TO_THE_END);
        if (round % 3 == 2 && rc != LKV_OK) {
            CHECK_INT(rc, LKV_IO);
            CHECK_HAS(writer->err.text, "Too many open files");
        } else {
            CHECK_INT(rc, LKV_OK);
            has = mark;
        }
        must_have(other, has, NULL);
        must_have(u, has, NULL);
    }
}

static void start(party *p, int kind, guest *u, guest *other)
{
    party_open(p, (enum party_kind)kind);
    p->segment = 1 << 13; /* there are many files */
    guest_open(u, p);
    guest_make(u);
    guest_open(other, p);
    CHECK_INT(change(u, 'a', ROWS, NEVER), LKV_OK);
}

static void end(party *p, guest *u, guest *other)
{
    CHECK_INT(lkv_verify(u->store, NULL, NULL, &u->err), LKV_OK);
    guest_close(other);
    guest_close(u);
    party_close(p);
}

static void commits(void)
{
    static const enum lkv_sync syncs[] = {LKV_SYNC_FULL, LKV_SYNC_NORMAL, LKV_SYNC_OFF};
    for (int i = 0; i < 3 * PARTY_KINDS; i++) {
        party p;
        guest u, other;
        start(&p, i % PARTY_KINDS, &u, &other);
        lkv_sync_fallback(u.store, syncs[i / PARTY_KINDS]);
        lkv_sync_fallback(other.store, syncs[i / PARTY_KINDS]);
        take_turns(&u, &other);
        end(&p, &u, &other);
    }
}

/* What was closed is open again before others may remove it. */
static void reads_after(void)
{
    for (int kind = 0; kind < PARTY_KINDS; kind++) {
        party p;
        guest u, other;
        start(&p, kind, &u, &other);
        CHECK_INT(change(&other, 'a', 1, NEVER), LKV_OK);
        CHECK_INT(lkv_refresh(u.store, &u.err), LKV_OK);
        CHECK_INT(change(&u, 'a', ROWS / 2, WHEN_PREPARED), LKV_OK);
        must_have(&u, 'a', &other);
        end(&p, &u, &other);
    }
}

static const check_case cases[] = {CASE(commits), CASE(reads_after)};

int main(int argc, char **argv)
{
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    return check_main(argc, argv, cases, CASES(cases));
}
