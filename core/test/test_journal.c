/*
 * test_journal.c - putting back into the index what a transaction replaced.
 */
#include "check.h"
#include "journal.h"
#include "os_fault.h"

#include <string.h>

typedef struct pair {
    os_fault os;
    lkv_journal journal;
    lkv_memindex *index;
} pair;

static void pair_open(pair *p)
{
    os_fault_init(&p->os);
    lkv_journal_init(&p->journal, &p->os.os);
    CHECK_INT(lkv_memindex_open(&p->os.os, &p->index), LKV_OK);
}

static void pair_close(pair *p)
{
    lkv_journal_free(&p->journal);
    lkv_memindex_close(p->index);
    CHECK_SIZE(p->os.live, 0);
}

static lkv_bytes key_of(size_t size, char letter)
{
    static char bytes[10000];
    memset(bytes, letter, size);
    return (lkv_bytes){bytes, size};
}

/* A place whose size goes with its location. */
static lkv_place place_of(lkv_loc loc)
{
    return (lkv_place){loc, (uint32_t)(loc & 0xffff) + 100};
}

/* As lkv_put() does it. */
static void change(pair *p, lkv_bytes key, lkv_loc loc)
{
    lkv_place old;
    CHECK_INT(lkv_journal_reserve(&p->journal, key.size), LKV_OK);
    CHECK_INT(lkv_memindex_put(p->index, key, place_of(loc), &old), LKV_OK);
    lkv_journal_add(&p->journal, key, old);
}

static lkv_loc look(const pair *p, lkv_bytes key)
{
    lkv_place place = lkv_memindex_get(p->index, key);
    CHECK(place.loc == LKV_NOWHERE || place.size == place_of(place.loc).size);
    return place.loc;
}

static void undo(void)
{
    static const size_t sizes[] = {0, 1, 7, 200, 201, 5000};
    size_t marks[CASES(sizes)][3];
    pair p;

    pair_open(&p);
    for (size_t i = 0; i < CASES(sizes); i++) {
        marks[i][0] = p.journal.size;
        change(&p, key_of(sizes[i], 'k'), 1);
        marks[i][1] = p.journal.size;
        change(&p, key_of(sizes[i], 'k'), 2);
        marks[i][2] = p.journal.size;
        change(&p, key_of(sizes[i], 'k'), 3 | LKV_LOC_TOMBSTONE);
    }
    for (size_t i = CASES(sizes); i-- > 0;) {
        lkv_bytes key = key_of(sizes[i], 'k');
        uint64_t calls = p.os.calls;
        CHECK_SIZE(look(&p, key), 3 | LKV_LOC_TOMBSTONE);
        lkv_journal_undo(&p.journal, p.index, marks[i][2]);
        CHECK_SIZE(look(&p, key), 2);
        lkv_journal_undo(&p.journal, p.index, marks[i][2]); /* nothing more */
        CHECK_SIZE(look(&p, key), 2);
        lkv_journal_undo(&p.journal, p.index, marks[i][1]);
        CHECK_SIZE(look(&p, key), 1);
        lkv_journal_undo(&p.journal, p.index, marks[i][0]);
        CHECK_SIZE(look(&p, key), LKV_NOWHERE);
        CHECK_SIZE(p.os.calls, calls); /* it needs no memory */
    }
    CHECK_SIZE(p.journal.size, 0);
    CHECK_SIZE(lkv_memindex_count(p.index), 0);
    pair_close(&p);
}

/* Back over several keys at once: the oldest location wins. */
static void undo_newest_first(void)
{
    pair p;
    lkv_place old;

    pair_open(&p);
    CHECK_INT(lkv_memindex_put(p.index, key_of(3, 'a'), place_of(10), &old), LKV_OK);
    for (lkv_loc loc = 11; loc < 20; loc++) {
        change(&p, key_of(3, 'a'), loc);
        change(&p, key_of(3, 'b'), loc);
    }
    lkv_journal_undo(&p.journal, p.index, 0);
    CHECK_SIZE(look(&p, key_of(3, 'a')), 10);
    CHECK_SIZE(look(&p, key_of(3, 'b')), LKV_NOWHERE);
    pair_close(&p);
}

/* A reserve that fails leaves what is there; memory beyond a small part goes back. */
static void memory(void)
{
    pair p;

    pair_open(&p);
    os_fault_arm(&p.os, 1, 0);
    CHECK_INT(lkv_journal_reserve(&p.journal, 10), LKV_NOMEM);
    for (lkv_loc loc = 0; loc < 100; loc++) {
        change(&p, key_of(50, 'a'), loc);
    }
    os_fault_arm(&p.os, 1, 0);
    CHECK_INT(lkv_journal_reserve(&p.journal, 9000), LKV_NOMEM);
    os_fault_arm(&p.os, 0, 0);
    lkv_journal_clear(&p.journal);
    CHECK_SIZE(p.journal.size, 0);
    CHECK(p.journal.capacity > 0); /* a small journal stays for the next time */
    for (lkv_loc loc = 0; loc < 100; loc++) {
        change(&p, key_of(9000, 'b'), loc);
    }
    lkv_journal_undo(&p.journal, p.index, 0);
    CHECK_SIZE(look(&p, key_of(9000, 'b')), LKV_NOWHERE);
    CHECK_SIZE(look(&p, key_of(50, 'a')), 99);
    lkv_journal_clear(&p.journal);
    CHECK_SIZE(p.journal.capacity, 0);
    CHECK_INT(lkv_journal_reserve(&p.journal, 10), LKV_OK);
    pair_close(&p);
}

static const check_case cases[] = {CASE(undo), CASE(undo_newest_first), CASE(memory)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
