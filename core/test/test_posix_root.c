/*
 * test_posix_root.c - roots of a store in files that are damaged, missing or lie.
 */
#include "fixture.h"
#include "party.h"

#include <stdio.h>
#include <string.h>

static const char *seen(guest *u)
{
    return lkv_refresh(u->store, &u->err) == LKV_OK ? contents(u->store) : u->err.text;
}

/* Each root in turn damaged or emptied, in copies: all that was committed is there, or
 * that a root is lost is said; so it is twice. */
static void lose_each_root(party *p, int restarted, const char *want)
{
    unsigned whole = 0, refused = 0;
    for (int i = 0; i < 6; i++) {
        char path[300], name[40];
        party other = *p;
        guest u;
        snprintf(name, sizeof(name), "lost%d.%d", restarted, i);
        directory_path(&p->directory, name, path, sizeof(path));
        directory_copy(p->path, path);
        snprintf(name, sizeof(name), "root%d", i / 2);
        if (directory_size(path, name) > 0 && i % 2 == 0) {
            directory_poke(path, name, 100, directory_peek(path, name, 100) ^ 1);
        } else if (directory_size(path, name) > 0) {
            directory_cut(path, name, 0);
        }
        if (restarted) {
            directory_poke(path, "lock", 8, directory_peek(path, "lock", 8) ^ 1);
        }
        other.options.path = path;
        guest_open(&u, &other);
        if (strcmp(seen(&u), want) == 0) {
            whole++;
        } else {
            CHECK_HAS(seen(&u), "the root of the newest commit is missing or damaged");
            CHECK_INT(lkv_begin(u.store, 0, &u.err), LKV_CORRUPT);
            refused++;
        }
        guest_close(&u);
    }
    CHECK_SIZE(whole, 4);
    CHECK_SIZE(refused, 2);
}

/* Commits in a segment that only the newest root lists: without that root they are not
 * taken for what never was. As long as the machine runs the page tells of them, and
 * after that any commit behind them. */
static void newest_root_lost(void)
{
    party p;
    guest u;

    party_open(&p, PARTY_FILES);
    p.sync = LKV_SYNC_NORMAL;
    guest_open(&u, &p);
    guest_make(&u);
    u.storage->segment = 200;
    commit_text(u.store, "a", "1");
    commit_text(u.store, "b", "2");
    commit_text(u.store, "c", "3");
    CHECK(u.store->log.count > 1);
    u.storage->segment = LKV_SEGMENT_SIZE;
    lose_each_root(&p, 0, "a=1 b=2 c=3");
    commit_text(u.store, "d", "4");
    lose_each_root(&p, 1, "a=1 b=2 c=3 d=4");
    guest_close(&u);
    party_close(&p);
}

/* A root counts with the end that it was written with. */
static void roots_with_other_ends(void)
{
    party p;
    guest u;

    party_open(&p, PARTY_FILES);
    guest_open(&u, &p);
    guest_make(&u);
    commit_text(u.store, "a", "1");
    guest_close(&u);
    for (int i = 0; i < 3; i++) {
        uint8_t bytes[LKV_END_SIZE];
        char name[8];
        lkv_end end;
        snprintf(name, sizeof(name), "root%d", i);
        if (directory_size(p.path, name) <= 0) {
            continue;
        }
        for (int at = 0; at < (int)LKV_END_SIZE; at++) {
            bytes[at] = (uint8_t)directory_peek(p.path, name, 8 + at);
        }
        CHECK_INT(lkv_end_decode(bytes, &end), LKV_OK);
        end.generation++;
        lkv_end_encode(bytes, &end);
        for (int at = 0; at < (int)LKV_END_SIZE; at++) {
            directory_poke(p.path, name, 8 + at, bytes[at]);
        }
    }
    guest_open(&u, &p);
    CHECK_HAS(seen(&u), "no root is right");
    guest_close(&u);
    party_close(&p);
}

static const check_case cases[] = {CASE(newest_root_lost), CASE(roots_with_other_ends)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
