/*
 * test_memindex.c - the ordered map against a sorted array, with keys of all lengths,
 * in all orders, and with no memory at each point.
 */
#include "check.h"
#include "memindex.h"
#include "node.h"
#include "os_fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The array: keys in order, all that have ever been used; `loc` is LKV_NOWHERE for one
 * that is out. */
typedef struct entry {
    lkv_bytes key;
    lkv_loc loc;
} entry;

typedef struct map {
    os_fault os;
    lkv_memindex *index;
    entry *keys;
    size_t count, in;
} map;

static int compare(lkv_bytes a, lkv_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int rc = size > 0 ? memcmp(a.data, b.data, size) : 0;
    return rc != 0 ? rc : (a.size > b.size) - (a.size < b.size);
}

static int compare_entries(const void *a, const void *b)
{
    return compare(((const entry *)a)->key, ((const entry *)b)->key);
}

/* How keys are made. */
enum shape {
    SHAPE_NUMBERS, /* 8 bytes, big-endian, dense */
    SHAPE_SHORT,   /* 0 to 3 bytes of few values */
    SHAPE_LENGTHS, /* 0 to 5000 bytes, most of them begin alike */
    SHAPE_ZEROS,   /* bytes of zero, of all lengths: each begins the next */
    SHAPE_PREFIX,  /* a long common part, then a number */
    SHAPE_EDGE,    /* around the longest key that a node holds itself */
    SHAPES
};

static lkv_bytes make_key(enum shape shape, size_t i, uint64_t *random)
{
    size_t size = 8, tail = 0;
    uint8_t *bytes;

    switch (shape) {
    case SHAPE_SHORT:
        size = check_below(random, 4);
        break;
    case SHAPE_LENGTHS:
        size = check_below(random, check_below(random, 4) == 0 ? 5001 : 80);
        tail = check_below(random, 9);
        break;
    case SHAPE_ZEROS:
        size = i;
        break;
    case SHAPE_PREFIX:
        size = 40 + i % 3 * 100;
        tail = 4;
        break;
    case SHAPE_EDGE:
        size = 195 + check_below(random, 12);
        tail = check_below(random, 205);
        break;
    case SHAPE_NUMBERS:
    case SHAPES:
    default:
        tail = 8;
        break;
    }
    bytes = malloc(size + 1);
    if (bytes == NULL) {
        abort();
    }
    memset(bytes, shape == SHAPE_ZEROS ? 0 : 'x', size);
    if (shape == SHAPE_SHORT) {
        for (size_t k = 0; k < size; k++) {
            bytes[k] = (uint8_t)(check_below(random, 8) * 36);
        }
    } else if (shape == SHAPE_NUMBERS || shape == SHAPE_PREFIX) {
        for (size_t k = 0; k < tail; k++) {
            bytes[size - 1 - k] = (uint8_t)((uint64_t)i >> (8 * k));
        }
    } else {
        for (size_t k = 0; k < tail && k < size; k++) {
            bytes[size - 1 - k] = (uint8_t)check_random(random);
        }
    }
    return (lkv_bytes){bytes, size};
}

static void open_map(map *m, enum shape shape, size_t count, uint64_t *random)
{
    size_t kept = 0;
    memset(m, 0, sizeof(*m));
    os_fault_init(&m->os);
    CHECK_INT(lkv_memindex_open(&m->os.os, &m->index), LKV_OK);
    m->keys = calloc(count, sizeof(*m->keys));
    if (m->keys == NULL) {
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        m->keys[i] = (entry){make_key(shape, i, random), LKV_NOWHERE};
    }
    qsort(m->keys, count, sizeof(*m->keys), compare_entries);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && compare(m->keys[kept - 1].key, m->keys[i].key) == 0) {
            free((void *)(uintptr_t)m->keys[i].key.data);
        } else {
            m->keys[kept++] = m->keys[i];
        }
    }
    m->count = kept;
}

static void close_map(map *m)
{
    os_fault_arm(&m->os, 0, 0);
    lkv_memindex_close(m->index);
    CHECK_SIZE(m->os.live, 0);
    for (size_t i = 0; i < m->count; i++) {
        free((void *)(uintptr_t)m->keys[i].key.data);
    }
    free(m->keys);
}

/* A size for each location: one that is mixed up with another shows. */
static uint32_t size_of(lkv_loc loc)
{
    return (uint32_t)(loc * 2654435761u >> 3) & LKV_SEGMENT_MAX;
}

static int put(map *m, size_t i, lkv_loc loc)
{
    uint64_t changes = lkv_memindex_changes(m->index);
    lkv_place old = {12345, 0};
    int rc = lkv_memindex_put(m->index, m->keys[i].key, (lkv_place){loc, size_of(loc)},
                              &old);
    if (rc == LKV_OK) {
        CHECK_SIZE(old.loc, m->keys[i].loc);
        CHECK_INT(old.size, old.loc == LKV_NOWHERE ? old.size : size_of(old.loc));
        CHECK((old.loc == LKV_NOWHERE) == (changes != lkv_memindex_changes(m->index)));
        m->in += m->keys[i].loc == LKV_NOWHERE;
        m->keys[i].loc = loc;
    } else {
        CHECK_INT(rc, LKV_NOMEM);
        CHECK(m->os.failures > 0);
        CHECK_SIZE(m->keys[i].loc, LKV_NOWHERE); /* replacing never fails */
    }
    return rc;
}

static void take_out(map *m, size_t i)
{
    uint64_t calls = m->os.calls, changes = lkv_memindex_changes(m->index);
    lkv_memindex_remove(m->index, m->keys[i].key);
    CHECK_SIZE(m->os.calls, calls);
    CHECK((m->keys[i].loc == LKV_NOWHERE) ==
          (changes == lkv_memindex_changes(m->index)));
    m->in -= m->keys[i].loc != LKV_NOWHERE;
    m->keys[i].loc = LKV_NOWHERE;
}

/* The first entry that is in, from `i` on in a direction; m->count for none. */
static size_t next_in(const map *m, size_t i, int forward)
{
    while (i < m->count && m->keys[i].loc == LKV_NOWHERE) {
        i = forward ? i + 1 : i - 1; /* below 0 is above count */
    }
    return i < m->count ? i : m->count;
}

static void check_at(const map *m, const lkv_memindex_cursor *cursor, int on,
                     size_t want)
{
    if (CHECK_INT(on, want < m->count) && on) {
        lkv_bytes key = lkv_memindex_key(cursor);
        CHECK_BYTES(key.data, key.size, m->keys[want].key.data, m->keys[want].key.size);
        CHECK_SIZE(lkv_memindex_place(cursor).loc, m->keys[want].loc);
        CHECK_INT(lkv_memindex_place(cursor).size, size_of(m->keys[want].loc));
    }
}

static void check_key(const map *m, size_t i)
{
    lkv_bytes key = m->keys[i].key;
    lkv_memindex_cursor cursor;
    int on;

    CHECK_SIZE(lkv_memindex_get(m->index, key).loc, m->keys[i].loc);
    CHECK(m->keys[i].loc == LKV_NOWHERE ||
          lkv_memindex_get(m->index, key).size == size_of(m->keys[i].loc));
    on = lkv_memindex_seek(&cursor, m->index, key, LKV_SEEK_GE);
    check_at(m, &cursor, on, next_in(m, i, 1));
    on = lkv_memindex_seek(&cursor, m->index, key, LKV_SEEK_GT);
    check_at(m, &cursor, on, next_in(m, i + 1, 1));
    on = lkv_memindex_seek(&cursor, m->index, key, LKV_SEEK_LE);
    check_at(m, &cursor, on, next_in(m, i, 0));
    on = lkv_memindex_seek(&cursor, m->index, key, LKV_SEEK_LT);
    check_at(m, &cursor, on, next_in(m, i - 1, 0));
}

/* Everything: each walk, each key, the count. */
static void check_all(const map *m)
{
    lkv_memindex_cursor cursor;
    size_t i = next_in(m, 0, 1);
    int on = lkv_memindex_first(&cursor, m->index);

    for (; on && i < m->count && check_failures() == 0;
         on = lkv_memindex_next(&cursor), i = next_in(m, i + 1, 1)) {
        check_at(m, &cursor, on, i);
    }
    CHECK(!on && i == m->count);
    CHECK(!lkv_memindex_next(&cursor));
    on = lkv_memindex_last(&cursor, m->index);
    i = next_in(m, m->count - 1, 0);
    for (; on && i < m->count && check_failures() == 0;
         on = lkv_memindex_prev(&cursor), i = next_in(m, i - 1, 0)) {
        check_at(m, &cursor, on, i);
    }
    CHECK(!on && i == m->count);
    CHECK(!lkv_memindex_prev(&cursor));
    for (i = 0; i < m->count && check_failures() == 0; i++) {
        check_key(m, i);
    }
    CHECK_SIZE(lkv_memindex_count(m->index), m->in);
    CHECK_SIZE(lkv_memindex_memory(m->index), m->os.live_bytes);
}

static void against_an_array(void)
{
    uint64_t random = check_seed();
    unsigned rounds = check_long() ? 50 : 4;
    for (unsigned round = 0; round < rounds * SHAPES && check_failures() == 0;
         round++) {
        map m;
        size_t steps = 3000;
        open_map(&m, (enum shape)(round % SHAPES), 200 + check_below(&random, 1200),
                 &random);
        for (size_t step = 0; step < steps && check_failures() == 0; step++) {
            size_t i = check_below(&random, m.count);
            /* Fuller, then emptier. */
            if (check_below(&random, 10) < (step < steps / 2 ? 7 : 3)) {
                CHECK_INT(put(&m, i, check_below(&random, UINT32_MAX)), LKV_OK);
            } else {
                take_out(&m, i);
            }
            check_key(&m, check_below(&random, m.count));
            if (step % 500 == 0) {
                check_all(&m);
            }
        }
        check_all(&m);
        for (size_t i = 0; i < m.count; i++) {
            take_out(&m, (i * 7919) % m.count);
            take_out(&m, i);
        }
        check_all(&m);
        CHECK_INT(put(&m, 0, 1), LKV_OK);
        check_all(&m);
        close_map(&m);
    }
}

/* In order, against it, from both ends, and taken out in each of these ways. */
static size_t turn(int order, size_t i, size_t count)
{
    switch (order) {
    case 0:
        return i;
    case 1:
        return count - 1 - i;
    case 2:
        return i % 2 ? count - 1 - i / 2 : i / 2;
    default:
        return i % 2 ? count / 2 + i / 2 : (count - 1) / 2 - i / 2;
    }
}

static void in_orders(void)
{
    uint64_t random = 1;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int order = 0; order < 9; order++) {
            map m;
            open_map(&m, (enum shape)shape, 600, &random);
            if (m.count % 2) { /* turn() of the last kind wants an even number */
                free((void *)(uintptr_t)m.keys[--m.count].key.data);
            }
            for (size_t i = 0; i < m.count; i++) {
                CHECK_INT(put(&m, turn(order / 3, i, m.count), i), LKV_OK);
            }
            CHECK_SIZE(m.in, m.count);
            check_all(&m);
            for (size_t i = 0; i < m.count; i++) {
                take_out(&m, turn(order % 3, i, m.count));
                if (i % 97 == 0) {
                    check_all(&m);
                }
            }
            check_all(&m);
            close_map(&m);
        }
    }
}

/* A queue: in at one end, out at the other, for long. Memory does not grow. */
static void queue(void)
{
    uint64_t random = 1;
    for (int shape = 0; shape < SHAPES; shape++) {
        for (int down = 0; down < 2; down++) {
            map m;
            open_map(&m, (enum shape)shape, 4000, &random);
            for (size_t i = 0; i < m.count; i++) {
                CHECK_INT(put(&m, down ? m.count - 1 - i : i, i), LKV_OK);
                if (i >= 100) {
                    take_out(&m, down ? m.count - 1 - i + 100 : i - 100);
                }
            }
            check_all(&m);
            if (shape != SHAPE_LENGTHS && shape != SHAPE_ZEROS) { /* 100 keys are in */
                CHECK(lkv_memindex_memory(m.index) < 100 << 10);
            }
            close_map(&m);
        }
    }
}

/* Each allocation fails: the index stays what it was, and goes on. */
static void no_memory_anywhere(void)
{
    uint64_t random = check_seed();
    lkv_memindex *none = NULL;
    os_fault os;

    os_fault_init(&os);
    os_fault_arm(&os, 1, 0);
    CHECK_INT(lkv_memindex_open(&os.os, &none), LKV_NOMEM);
    lkv_memindex_close(none);
    for (int shape = 0; shape < SHAPES; shape++) {
        unsigned long refused = 0;
        map m;
        open_map(&m, (enum shape)shape, 1500, &random);
        os_fault_arm(&m.os, 1, 1);
        CHECK_INT(put(&m, 0, 1), LKV_NOMEM);
        check_all(&m);
        lkv_memindex_remove(m.index, m.keys[0].key);
        for (size_t i = 0; i < 2 * m.count && check_failures() == 0; i++) {
            size_t at = (i * 7919) % m.count;
            uint64_t n = 1;
            do {
                os_fault_arm(&m.os, n, 0);
                refused += n > 1;
                n++;
            } while (put(&m, at, i) != LKV_OK && n < 20);
            CHECK(n < 20);
            if (refused > 0 && i % 100 == 0) {
                check_all(&m);
            }
        }
        CHECK(refused > 0);
        check_all(&m);
        close_map(&m);
    }
}

static void clear(void)
{
    uint64_t random = 1, kept = 0;
    size_t at;
    map m;
    open_map(&m, SHAPE_LENGTHS, 900, &random);
    for (int pass = 0; pass < 3; pass++) {
        uint64_t changes = lkv_memindex_changes(m.index);
        for (size_t i = 0; i < m.count; i++) {
            CHECK_INT(put(&m, i, i), LKV_OK);
        }
        lkv_memindex_clear(m.index);
        CHECK(changes != lkv_memindex_changes(m.index));
        /* What it keeps is what it had, and not more each time. */
        CHECK(m.os.live_bytes <= lkv_memindex_memory(m.index));
        CHECK(lkv_memindex_memory(m.index) <= (512u << 10) + 1024);
        kept = pass == 0 ? m.os.live : kept;
        CHECK_SIZE(m.os.live, kept);
        for (size_t i = 0; i < m.count; i++) {
            m.keys[i].loc = LKV_NOWHERE;
        }
        m.in = 0;
        check_all(&m);
        /* There are nodes, and no memory for a key that is kept beside them. */
        for (at = 0; m.keys[at].key.size <= LKV_NODE_INLINE_MAX; at++) {
        }
        os_fault_arm(&m.os, 1, 0);
        CHECK_INT(put(&m, at, 1), LKV_NOMEM);
        os_fault_arm(&m.os, 0, 0);
        check_all(&m);
    }
    close_map(&m);
}

/* Printed for who changes nodes; the bounds only say that nothing is badly wrong. */
static void bytes_per_key(void)
{
    static const char *const names[] = {"ascending", "descending", "from both ends"};
    for (int order = 0; order < 4; order++) {
        uint64_t random = 1;
        double each;
        map m;
        open_map(&m, SHAPE_NUMBERS, 50000, &random);
        for (size_t i = 0; i < m.count; i++) {
            size_t at = order < 3 ? turn(order, i, m.count) : (i * 7919) % m.count;
            CHECK_INT(put(&m, at, i), LKV_OK);
        }
        each = (double)lkv_memindex_memory(m.index) / (double)m.count;
        printf("  keys of 8 bytes, %s: %.1f bytes each\n",
               order < 3 ? names[order] : "random", each);
        CHECK(each < 80);
        close_map(&m);
    }
}

static const check_case cases[] = {
    CASE(against_an_array),   CASE(in_orders), CASE(queue),
    CASE(no_memory_anywhere), CASE(clear),     CASE(bytes_per_key)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
