/*
 * test_posix_moved.c - a store that is moved while it is open, and a copy of it that
 * comes into its place, as when a backup is restored. Their files have the same names.
 * Who has the moved one open reads it as far as it is open, writes nothing into the
 * other, and is told.
 */
#include "party.h"

#include "posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROWS 300

static char away[310];

/* `rows` transactions with values of `mark`. */
static int change(guest *u, char mark, int rows)
{
    char key[16], value[200];
    memset(value, mark, sizeof(value));
    for (int i = 0; i < rows; i++) {
        lkv_row row = {{key, 4}, {value, sizeof(value)}, 0};
        int rc = lkv_begin(u->store, 0, &u->err);
        snprintf(key, sizeof(key), "k%03d", i);
        rc = rc == LKV_OK ? lkv_put(u->store, &row, &u->err) : rc;
        rc = rc == LKV_OK ? lkv_prepare(u->store, &u->err) : rc;
        if (rc != LKV_OK) {
            lkv_rollback(u->store);
            return rc;
        }
        lkv_commit(u->store);
    }
    return LKV_OK;
}

/* All rows are there with values of `mark`; or an error. */
static int look(guest *u, char mark)
{
    lkv_cursor *cursor;
    int count = 0, rc = lkv_refresh(u->store, &u->err);
    if (rc != LKV_OK) {
        return rc;
    }
    CHECK_INT(lkv_cursor_open(u->store, &cursor), LKV_OK);
    for (rc = lkv_cursor_first(cursor, &u->err); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, &u->err)) {
        lkv_bytes value;
        rc = lkv_cursor_value(cursor, &value, &u->err);
        if (rc != LKV_OK) {
            break;
        }
        CHECK(value.size == 200 && *(const char *)value.data == mark);
        count++;
    }
    lkv_cursor_close(cursor);
    CHECK(rc != LKV_ABSENT || count == ROWS);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static void must_be_whole(const party *p, char mark)
{
    guest u;
    guest_open(&u, p);
    CHECK_INT(look(&u, mark), LKV_OK);
    CHECK_INT(lkv_verify(u.store, NULL, NULL, &u.err), LKV_OK);
    guest_close(&u);
}

/* A store of `old` rows and a backup of it; `u` has it open, and gave the rows a new
 * value; then it is moved, and the backup is in its place. */
static void begin(party *p, enum party_kind kind, guest *u)
{
    char backup[310];
    party_open(p, kind);
    guest_open(u, p);
    guest_make(u);
    CHECK_INT(change(u, 'o', ROWS), LKV_OK);
    directory_path(&p->directory, "away", away, sizeof(away));
    directory_path(&p->directory, "backup", backup, sizeof(backup));
    directory_copy(p->path, backup);
    CHECK_INT(change(u, 'n', ROWS), LKV_OK);
    CHECK_INT(rename(p->path, away), 0);
    CHECK_INT(rename(backup, p->path), 0);
    /* A writer looks once in a millisecond. */
    for (int64_t was = lkv_os_posix.now_ms(NULL); was == lkv_os_posix.now_ms(NULL);) {
    }
}

static void end(party *p, guest *u, char in_place, char moved)
{
    guest_close(u);
    must_be_whole(p, in_place);
    p->options.path = away;
    must_be_whole(p, moved);
    directory_remove(&p->directory);
}

static void must_tell(guest *u, int rc, int code)
{
    CHECK_INT(rc, code);
    CHECK_HAS(u->err.text, "it was moved or removed while it was open");
}

/* What was prepared is taken back; the roots that are in its place now stay. */
static void a_rollback(void)
{
    long sizes[LKV_POSIX_SLOTS];
    char backup[310], root[] = "root0";
    party p;
    guest u;

    party_open(&p, PARTY_FILES);
    guest_open(&u, &p);
    guest_make(&u);
    CHECK_INT(change(&u, 'o', ROWS), LKV_OK);
    directory_path(&p.directory, "away", away, sizeof(away));
    directory_path(&p.directory, "backup", backup, sizeof(backup));
    CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
    CHECK_INT(lkv_set_auto_compact(u.store, 0, &u.err), LKV_OK);
    CHECK_INT(lkv_prepare(u.store, &u.err), LKV_OK);
    directory_copy(p.path, backup); /* its newest root is in the same file */
    CHECK_INT(rename(p.path, away), 0);
    CHECK_INT(rename(backup, p.path), 0);
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        root[4] = (char)('0' + i);
        sizes[i] = directory_size(p.path, root);
    }
    lkv_rollback(u.store);
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        root[4] = (char)('0' + i);
        CHECK_INT(directory_size(p.path, root), sizes[i]);
        CHECK(sizes[i] <= 0 || directory_peek(p.path, root, 0) != 0);
    }
    guest_close(&u);
    directory_remove(&p.directory);
}

static void a_writer(void)
{
    for (int kind = 0; kind < 2; kind++) {
        guest u;
        party p;
        begin(&p, kind == 0 ? PARTY_FILES : PARTY_COPIES, &u);
        must_tell(&u, change(&u, 'x', 1), LKV_READONLY);
        must_tell(&u, change(&u, 'x', 1), LKV_READONLY);
        end(&p, &u, 'o', 'n');
    }
}

/* In the middle of its transaction, which makes new files. */
static void a_writing_one(void)
{
    for (int kind = 0; kind < 2; kind++) {
        char value[200] = "", key[16], back[310];
        lkv_row row = {{key, 4}, {value, sizeof(value)}, 0};
        int rc = LKV_OK;
        guest u;
        party p;
        begin(&p, kind == 0 ? PARTY_FILES : PARTY_COPIES, &u);
        directory_path(&p.directory, "back", back, sizeof(back));
        CHECK_INT(rename(p.path, back), 0);
        CHECK_INT(rename(away, p.path), 0);
        CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_OK);
        CHECK_INT(rename(p.path, away), 0);
        CHECK_INT(rename(back, p.path), 0);
        for (int i = 0; i < ROWS && rc == LKV_OK; i++) {
            snprintf(key, sizeof(key), "k%03d", i);
            rc = lkv_put(u.store, &row, &u.err);
        }
        must_tell(&u, rc, LKV_CANTOPEN);
        lkv_rollback(u.store);
        end(&p, &u, 'o', 'n');
    }
}

/* Of what others commit to the moved one, a reader cannot open the new files. */
static void a_reader(void)
{
    for (int kind = 0; kind < 2; kind++) {
        guest u, reader, other;
        party p, moved;
        char third[310];
        begin(&p, kind == 0 ? PARTY_FILES : PARTY_COPIES, &u);
        directory_path(&p.directory, "third", third, sizeof(third));
        moved = p;
        moved.options.path = away;
        guest_close(&u);
        guest_open(&reader, &moved);
        CHECK_INT(look(&reader, 'n'), LKV_OK);
        guest_open(&other, &moved);
        CHECK_INT(look(&other, 'n'), LKV_OK);
        CHECK_INT(change(&other, 'm', ROWS), LKV_OK);
        CHECK_INT(look(&reader, 'm'), LKV_OK);
        CHECK_INT(change(&other, 'k', ROWS), LKV_OK);
        CHECK_INT(rename(away, third), 0);
        CHECK_INT(rename(p.path, away), 0);
        CHECK_INT(rename(third, p.path), 0);
        must_tell(&reader, look(&reader, 'k'), LKV_CANTOPEN);
        guest_close(&other);
        guest_close(&reader);
        must_be_whole(&p, 'k');
        must_be_whole(&moved, 'o');
        directory_remove(&p.directory);
    }
}

/* A store that is reached by a symbolic link is removed; the link, and the directory
 * that it leads to, are not litekv's to remove. */
static void by_a_link(void)
{
    lkv_posix_options options;
    lkv_error err = {0};
    char link[300];
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    CHECK_INT(change(&u, 'a', 3), LKV_OK);
    guest_close(&u);
    directory_path(&p.directory, "link", link, sizeof(link));
    CHECK_INT(symlink(p.path, link), 0);
    options = p.options;
    options.path = link;
    CHECK_INT(lkv_storage_posix_remove(&lkv_os_posix, &options, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    CHECK_INT(rmdir(p.path), 0);
    CHECK_INT(unlink(link), 0);
    directory_remove(&p.directory);
}

static int to_fail; /* removals */

static int remove_or_fail(void *ctx, const char *name, int memory)
{
    if (to_fail > 0) {
        to_fail--;
        return EIO;
    }
    return lkv_os_posix.shared->remove(ctx, name, memory);
}

/* A removal that fails is tried again: half a store is of no use to anybody. */
static void removed_at_the_second_try(void)
{
    lkv_os_shared shared = *lkv_os_posix.shared;
    lkv_os os = lkv_os_posix;
    lkv_error err = {0};
    party p;
    guest u;

    party_begin(&p, &u, PARTY_FILES, LKV_SYNC_FULL);
    CHECK_INT(change(&u, 'a', 3), LKV_OK);
    guest_close(&u);
    shared.remove = remove_or_fail;
    os.shared = &shared;
    to_fail = 1;
    CHECK_INT(lkv_storage_posix_remove(&os, &p.options, &err), LKV_OK);
    CHECK_INT(to_fail, 0);
    CHECK_INT(rmdir(p.path), -1);
    directory_remove(&p.directory);
}

static const check_case cases[] = {
    CASE(a_rollback), CASE(a_writer),  CASE(a_writing_one),
    CASE(a_reader),   CASE(by_a_link), CASE(removed_at_the_second_try)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
