/*
 * test_cache.c - the bounded cache: what it holds is what was put in last, its memory
 * stays within the bound, and no failed allocation leaves anything wrong behind.
 */
#include "cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS 200u

static unsigned long passed, failed;

static void check(int good, const char *name)
{
    if (good) {
        passed++;
    } else {
        failed++;
        printf("not ok %s\n", name);
    }
}

static lkv_bytes get(lkv_cache *cache, uint64_t id)
{
    static uint32_t hint; /* of whatever cache was asked before */
    return lkv_cache_find(cache, id, &hint);
}

/* An allocator that knows what it holds, and fails when told: the `fail_at`th call from
 * now, and with `for_good` all after it. */
typedef struct counting {
    lkv_os os;
    uint64_t held;
    unsigned long calls, fail_at;
    int for_good;
} counting;

static void *resize(void *ctx, void *old, size_t size)
{
    counting *c = ctx;
    uint64_t *block = old == NULL ? NULL : (uint64_t *)old - 2;
    uint64_t had = block == NULL ? 0 : block[0];
    c->calls++;
    if (c->fail_at > 0 &&
        (c->calls == c->fail_at || (c->for_good && c->calls > c->fail_at))) {
        return NULL;
    }
    uint64_t *grown = realloc(block, 2 * sizeof(*block) + size);
    if (grown == NULL) {
        return NULL;
    }
    grown[0] = size;
    c->held += size - had;
    return grown + 2;
}

static void release(void *ctx, void *memory)
{
    counting *c = ctx;
    if (memory != NULL) {
        uint64_t *block = (uint64_t *)memory - 2;
        c->held -= block[0];
        free(block);
    }
}

static void counting_init(counting *c)
{
    memset(c, 0, sizeof(*c));
    c->os = (lkv_os){c, resize, release, NULL, NULL, NULL, NULL};
}

static uint64_t next_random(void)
{
    static uint64_t state = 1;
    state ^= state << 13; /* xorshift64 (Marsaglia 2003) */
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* The block that was version `version` of `id`: its size and every byte tell. */
static lkv_bytes block_of(uint64_t id, unsigned version, size_t largest)
{
    static uint8_t bytes[2][8192];
    static unsigned turn;
    uint8_t *out = bytes[turn++ % 2];
    size_t size = 1 + (size_t)(id * 7 + version * 31) % largest;
    memset(out, (int)(id * 13 + version), size);
    return (lkv_bytes){out, size};
}

static int same(lkv_bytes a, lkv_bytes b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

typedef struct model {
    counting memory;
    lkv_cache *cache;
    size_t largest;
    unsigned version[IDS];
    int may_be_there[IDS];
} model;

static int model_open(model *m, uint64_t limit, size_t largest)
{
    memset(m, 0, sizeof(*m));
    counting_init(&m->memory);
    m->largest = largest;
    return lkv_cache_open(&m->memory.os, limit, &m->cache);
}

/* Every block found is the newest; the number found. */
static unsigned model_look(model *m, const char *name)
{
    unsigned found = 0;
    for (unsigned id = 0; id < IDS; id++) {
        lkv_bytes is = get(m->cache, id);
        if (is.data != NULL) {
            found++;
            if (!m->may_be_there[id] ||
                !same(is, block_of(id, m->version[id], m->largest))) {
                check(0, name);
            }
        }
    }
    return found;
}

static int model_put(model *m, unsigned id)
{
    lkv_bytes copy = {NULL, 0};
    lkv_bytes block = block_of(id, ++m->version[id], m->largest);
    int rc = lkv_cache_put(m->cache, id, block, &copy);
    m->may_be_there[id] = rc == LKV_OK;
    if (rc == LKV_OK && (copy.data == block.data || !same(copy, block))) {
        check(0, "the result of a put is a copy");
    }
    return rc;
}

static void model_drop(model *m, unsigned first, unsigned last)
{
    lkv_cache_drop(m->cache, first, last);
    for (unsigned id = first; id <= last && id < IDS; id++) {
        m->may_be_there[id] = 0;
    }
}

static void bounded(model *m, const char *name)
{
    uint64_t memory = lkv_cache_memory(m->cache);
    if (memory != m->memory.held) {
        check(0, "lkv_cache_memory() is what was allocated");
    }
    if (memory > lkv_cache_limit(m->cache) && model_look(m, name) > 1) {
        check(0, name);
    }
}

static void random_blocks(void)
{
    static const struct {
        uint64_t limit;
        size_t largest;
        unsigned least;                               /* blocks that it then holds */
    } shapes[] = {{0, 100, 1},         {3000, 1, 40}, /* larger tables would not fit */
                  {5100, 1, 60},       {7000, 3, 60},   {20000, 500, 10},
                  {100000, 4096, 10},  {9000, 8000, 1}, {1 << 20, 8192, 60},
                  {UINT64_MAX, 50, 60}};
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        model m;
        unsigned found = 0;
        if (model_open(&m, shapes[i].limit, shapes[i].largest) != LKV_OK) {
            check(0, "random_blocks: open");
            continue;
        }
        for (int turn = 0; turn < 20000; turn++) {
            unsigned id = (unsigned)(next_random() % IDS);
            if (turn % 50 == 0) {
                model_drop(&m, id, id + (unsigned)(next_random() % 40));
            } else if (model_put(&m, id) != LKV_OK) {
                check(0, "random_blocks: put");
            }
            bounded(&m, "bounded memory");
        }
        found = model_look(&m, "random_blocks");
        check(found >= shapes[i].least, "random_blocks: holds what it has room for");
        lkv_cache_close(m.cache);
        check(m.memory.held == 0, "random_blocks: all memory comes back");
    }
}

/* A cache that holds four blocks of 1000 bytes. */
static lkv_cache *four(counting *memory)
{
    static const uint8_t bytes[1000];
    lkv_cache *cache = NULL;
    lkv_bytes copy;
    uint64_t empty;
    counting_init(memory);
    if (lkv_cache_open(&memory->os, UINT64_MAX, &cache) != LKV_OK ||
        lkv_cache_put(cache, 0, (lkv_bytes){bytes, 1}, &copy) != LKV_OK) {
        return NULL;
    }
    empty = lkv_cache_memory(cache) - 1;
    lkv_cache_close(cache);
    if (lkv_cache_open(&memory->os, empty + 4 * sizeof(bytes), &cache) != LKV_OK) {
        return NULL;
    }
    for (unsigned id = 1; id <= 4; id++) {
        if (lkv_cache_put(cache, id, (lkv_bytes){bytes, sizeof(bytes)}, &copy) != 0) {
            return NULL;
        }
    }
    return cache;
}

static int holds(lkv_cache *cache, uint64_t id)
{
    return get(cache, id).data != NULL;
}

static int put_block(lkv_cache *cache, uint64_t id)
{
    static const uint8_t bytes[1000];
    lkv_bytes copy;
    return lkv_cache_put(cache, id, (lkv_bytes){bytes, sizeof(bytes)}, &copy) == LKV_OK;
}

/* A block that was used since the hand passed is spared once, and no longer. What came
 * in last is used too, so that nothing takes its place without the hand. */
static void clock_eviction(void)
{
    counting memory;
    lkv_cache *cache = four(&memory);

    if (cache == NULL) {
        check(0, "clock_eviction: open");
        return;
    }
    check(holds(cache, 4) && put_block(cache, 5), "clock_eviction: 1 goes");
    check(!holds(cache, 1) && holds(cache, 2) && holds(cache, 5), "clock_eviction: 1");
    check(put_block(cache, 6), "clock_eviction: 2 is spared, 3 goes");
    check(!holds(cache, 3) && holds(cache, 6), "clock_eviction: 3");
    check(put_block(cache, 7), "clock_eviction: 4 and 5 are spared, 2 no more");
    check(!holds(cache, 2), "clock_eviction: 2 was spared once");
    check(holds(cache, 4) && holds(cache, 5) && holds(cache, 6) && holds(cache, 7),
          "clock_eviction: the others stay");
    lkv_cache_close(cache);
}

/* Blocks that come in and are not asked for again take each other's place; one in eight
 * of them stays. */
static void passing_blocks(void)
{
    unsigned stayed = 0;
    counting memory;
    lkv_cache *cache = four(&memory);

    if (cache == NULL) {
        check(0, "passing_blocks: open");
        return;
    }
    for (uint64_t id = 10; id < 17; id++) {
        check(put_block(cache, id), "passing_blocks: put");
    }
    check(holds(cache, 1) && holds(cache, 2) && holds(cache, 3) && !holds(cache, 4),
          "passing_blocks: one place is enough for them");
    for (uint64_t id = 10; id < 17; id++) {
        stayed += (unsigned)holds(cache, id);
    }
    check(stayed == 1, "passing_blocks: the last one is there");
    for (uint64_t id = 20; id < 100; id++) {
        check(put_block(cache, id), "passing_blocks: put");
    }
    stayed = (unsigned)(holds(cache, 1) + holds(cache, 2) + holds(cache, 3));
    check(stayed < 3, "passing_blocks: some come to stay");
    lkv_cache_close(cache);
}

/* Favoured blocks outlive many others that are used as often, and go when nothing else
 * is left. */
static void favoured_blocks(void)
{
    counting memory;
    lkv_cache *cache = four(&memory);

    if (cache == NULL) {
        check(0, "favoured_blocks: open");
        return;
    }
    lkv_cache_favour(cache, 1000);
    check(put_block(cache, 1000) && holds(cache, 1000), "favoured_blocks: put");
    for (uint64_t id = 10; id < 30; id++) {
        check(put_block(cache, id) && holds(cache, id), "favoured_blocks: others");
    }
    check(holds(cache, 1000), "favoured_blocks: it stays");
    for (uint64_t id = 2000; id < 2100; id++) {
        check(put_block(cache, id), "favoured_blocks: more of them");
    }
    check(!holds(cache, 1000) && holds(cache, 2099), "favoured_blocks: among equals");
    lkv_cache_close(cache);
}

static void replaced(void)
{
    counting memory;
    lkv_cache *cache = four(&memory);
    lkv_bytes copy, small = {"small", 5};
    if (cache == NULL) {
        check(0, "replaced: open");
        return;
    }
    check(lkv_cache_put(cache, 2, small, &copy) == LKV_OK &&
              same(get(cache, 2), small) && holds(cache, 1) && holds(cache, 3) &&
              holds(cache, 4),
          "replaced: only itself goes");
    check(lkv_cache_put(cache, 3, (lkv_bytes){NULL, 0}, &copy) == LKV_OK &&
              get(cache, 3).data != NULL && get(cache, 3).size == 0,
          "replaced: a block of no bytes is held");
    lkv_cache_close(cache);
}

static void drop_ranges(void)
{
    static const struct {
        uint64_t first, last;
    } ranges[] = {{2, 3},          {0, 0},
                  {0, UINT64_MAX}, {3, UINT64_MAX},
                  {0, 2},          {UINT64_MAX, UINT64_MAX},
                  {5, 1u << 30},   {UINT64_MAX - 1, UINT64_MAX}};
    static const uint64_t ids[] = {0, 1, 2, 3, 4, UINT64_MAX - 1, UINT64_MAX};

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        counting memory;
        lkv_cache *cache;
        lkv_bytes copy;
        int good = 1;
        counting_init(&memory);
        if (lkv_cache_open(&memory.os, UINT64_MAX, &cache) != LKV_OK) {
            check(0, "drop_ranges: open");
            continue;
        }
        lkv_cache_drop(cache, 0, UINT64_MAX); /* nothing there yet */
        for (size_t k = 0; k < 7; k++) {
            good &= lkv_cache_put(cache, ids[k], (lkv_bytes){"x", 1}, &copy) == LKV_OK;
        }
        lkv_cache_drop(cache, ranges[i].first, ranges[i].last);
        for (size_t k = 0; k < 7; k++) {
            int gone = ids[k] >= ranges[i].first && ids[k] <= ranges[i].last;
            good &= holds(cache, ids[k]) == !gone;
        }
        check(good, "drop_ranges");
        lkv_cache_close(cache);
        check(memory.held == 0, "drop_ranges: all memory comes back");
    }
}

static void failing_allocator(int for_good)
{
    unsigned long n = 1;
    int failures = 1;
    for (; failures > 0 && n < 2000; n++) {
        model m;
        failures = 0;
        if (model_open(&m, 60000, 900) != LKV_OK) {
            break;
        }
        m.memory.fail_at = n + m.memory.calls;
        m.memory.for_good = for_good;
        for (unsigned turn = 0; turn < 260; turn++) {
            if (model_put(&m, turn * 37 % 130) != LKV_OK) {
                failures++;
            }
            bounded(&m, "failing_allocator: bounded");
        }
        (void)model_look(&m, "failing_allocator: an old or foreign block");
        lkv_cache_close(m.cache);
        check(m.memory.held == 0, "failing_allocator: all memory comes back");
    }
    check(n > 100 && failures == 0, "failing_allocator: every allocation was tried");
}

/* The tables are full, so that a put needs larger ones; it replaces a block, and there
 * is no memory: the block that was there must not be found again. */
static void no_stale_block(void)
{
    model m;
    unsigned id = 0;
    if (model_open(&m, UINT64_MAX, 1) != LKV_OK) {
        check(0, "no_stale_block: open");
        return;
    }
    for (; id < 128; id++) {
        (void)model_put(&m, id);
    }
    m.largest = 2; /* another size: new memory is needed */
    m.memory.fail_at = m.memory.calls + 1;
    m.memory.for_good = 1;
    for (id = 0; id < 128; id++) {
        if (model_put(&m, id) != LKV_OK) {
            check(get(m.cache, id).data == NULL, "no_stale_block");
        }
    }
    lkv_cache_close(m.cache);
    check(m.memory.held == 0, "no_stale_block: all memory comes back");
}

static void no_memory_to_open(void)
{
    counting memory;
    lkv_cache *cache = NULL;
    counting_init(&memory);
    memory.fail_at = 1;
    check(lkv_cache_open(&memory.os, 0, &cache) == LKV_NOMEM && cache == NULL,
          "no_memory_to_open");
    lkv_cache_close(NULL);
}

int main(void)
{
    random_blocks();
    clock_eviction();
    passing_blocks();
    favoured_blocks();
    replaced();
    drop_ranges();
    failing_allocator(0);
    failing_allocator(1);
    no_stale_block();
    no_memory_to_open();
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
