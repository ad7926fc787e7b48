/*
 * tops.c - see tops.h.
 *
 * The filters stay in the storage. What a lookup waits for is their memory: the lines
 * of all runs are asked for before the first is looked at, and before the index in
 * memory is.
 */
#include "top.h"

#include <string.h>

void lkv_tops_init(lkv_tops *tops, lkv_storage *storage, const lkv_os *os)
{
    memset(tops, 0, sizeof(*tops));
    tops->storage = storage;
    tops->os = os;
}

/* Forgets all runs whose stamp is not `stamp`. */
static void sweep(lkv_tops *tops, uint32_t stamp)
{
    for (uint32_t i = 0; i < LKV_TOPS_HEADS; i++) {
        lkv_top **link = &tops->head[i];
        while (*link != NULL) {
            lkv_top *top = *link;
            if (top->stamp == stamp) {
                link = &top->next;
            } else {
                *link = top->next;
                lkv_top_close(tops, top);
            }
        }
    }
}

void lkv_tops_free(lkv_tops *tops)
{
    sweep(tops, ++tops->stamp);
    lkv_runs_release(tops->os, tops->runs);
    tops->runs = NULL;
}

static lkv_top *look_up(const lkv_tops *tops, uint32_t number)
{
    lkv_top *top = tops->head[number % LKV_TOPS_HEADS];
    while (top != NULL && top->number != number) {
        top = top->next;
    }
    return top;
}

static void keep(lkv_tops *tops, uint32_t number)
{
    lkv_top *top = look_up(tops, number);
    if (top != NULL) {
        top->stamp = tops->stamp;
    }
}

void lkv_tops_follow(lkv_tops *tops, lkv_runs *runs, uint64_t rewound)
{
    if (tops->runs == runs && tops->rewound == rewound) {
        return;
    }
    tops->stamp++;
    if (tops->rewound == rewound) {
        for (uint32_t i = 0; i < runs->count; i++) {
            keep(tops, runs->run[i].number);
        }
        for (uint32_t i = 0; i < runs->parts + runs->pass.out; i++) {
            keep(tops, runs->part[i].index);
        }
    }
    sweep(tops, tops->stamp);
    lkv_runs_hold(runs);
    lkv_runs_release(tops->os, tops->runs);
    tops->runs = runs;
    tops->rewound = rewound;
}

/* The entry of `run`, made when there is none: `*out` is NULL when it cannot be. */
static int entry_of(lkv_tops *tops, const lkv_run *run, lkv_top **out, lkv_error *err)
{
    int rc = LKV_OK;
    *out = look_up(tops, run->number);
    if (*out == NULL) {
        rc = lkv_top_open(tops, run, out, err);
        if (*out != NULL) {
            (*out)->stamp = tops->stamp;
            (*out)->next = tops->head[run->number % LKV_TOPS_HEADS];
            tops->head[run->number % LKV_TOPS_HEADS] = *out;
        }
    }
    return rc;
}

/* Asking */

/* The last branch up to `high` whose separator is <= `key`, where numbers are equal. */
static uint32_t find_among_equals(const lkv_top *top, lkv_bytes key, uint64_t wanted,
                                  uint32_t high)
{
    uint32_t low = 0;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (top->prefix[middle] < wanted ||
            lkv_compare(lkv_top_separator(top, middle), key) <= 0) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* The branch that `key` belongs to. */
static uint32_t find_branch(const lkv_top *top, lkv_bytes key)
{
    size_t shared = key.size < top->common ? key.size : top->common;
    const uint64_t *at = top->prefix;
    uint32_t left = top->count;
    uint64_t wanted;
    int rc;

    if (left <= 1) {
        return 0;
    }
    rc = shared > 0 ? memcmp(key.data, lkv_top_separator(top, 1).data, shared) : 0;
    if (rc != 0 || shared < top->common) {
        return rc > 0 ? left - 1 : 0;
    }
    wanted = lkv_top_number(key, shared);
    while (left > 1) { /* nothing here for the processor to guess */
        uint32_t half = left / 2;
        at += at[half] <= wanted ? half : 0;
        left -= half;
    }
    left = (uint32_t)(at - top->prefix);
    return *at != wanted ? left : find_among_equals(top, key, wanted, left);
}

/* Looks at the block of a branch, and learns where its filter is. */
static int look(const lkv_tops *tops, const lkv_run *run, lkv_branch_at *at,
                uint64_t hash, lkv_error *err)
{
    lkv_block block;
    int rc = lkv_run_block(tops->storage, run, at->block, &block, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (block.kind != LKV_BLOCK_BRANCH) {
        return lkv_run_damage(err, run, at->block, "not a branch");
    }
    at->filter = block.size == tops->storage->block ? block.filter : 0;
    return lkv_block_may_have(&block, hash) ? LKV_OK : LKV_ABSENT;
}

/* LKV_ABSENT when the branch's filter knows that `hash` is not there. */
static int ask_filter(const lkv_tops *tops, const lkv_run *run, lkv_branch_at *at,
                      uint64_t hash, lkv_error *err)
{
    lkv_storage *storage = tops->storage;
    size_t unit = storage->block;
    const char *why = "not a block of a run";
    lkv_block block;
    lkv_bytes view;
    int rc;

    storage->hint = at->hint;
    if (at->filter == 0) {
        return look(tops, run, at, hash, err);
    }
    rc = storage->ops->read(storage, run->number, (uint64_t)at->block * unit, unit,
                            &view, err);
    if (rc != LKV_OK) {
        return rc;
    }
    at->hint = storage->hint;
    /* Another block than the one that was looked at is possible where a database was
     * changed by other means. */
    if (view.size < unit ||
        (storage->fresh &&
         (lkv_block_open(&block, (lkv_bytes){view.data, unit},
                         lkv_block_place(run->number, at->block), &why) != LKV_OK ||
          block.filter != at->filter))) {
        storage->ops->forget(storage, run->number, (uint64_t)at->block * unit);
        return lkv_run_damage(err, run, at->block, why);
    }
    at->seen = (const uint8_t *)view.data + at->filter;
    return lkv_filter_has(at->seen, (uint32_t)((unit - at->filter) / LKV_FILTER_LINE),
                          hash)
               ? LKV_OK
               : LKV_ABSENT;
}

/* The leaf that `key` belongs to; NULL when the separators have to be looked at. */
static lkv_leaf_at *find_leaf(lkv_leaves *leaves, lkv_bytes key)
{
    size_t same = leaves->common;
    size_t size = key.size < same ? key.size : same;
    uint32_t i = leaves->count - 1;
    int rc = size > 0 ? memcmp(key.data, leaves->bytes, size) : 0;
    uint64_t wanted;

    if (rc != 0 || size < same) {
        return &leaves->at[rc > 0 ? i : 0];
    }
    wanted = lkv_top_number(key, same);
    while (leaves->at[i].prefix > wanted) { /* of about fifteen; the first has 0 */
        i--;
    }
    return i > 0 && leaves->at[i].prefix == wanted ? NULL : &leaves->at[i];
}

/* The leaf's block, for `key` that a branch's filter let pass. LKV_ABSENT: it is not
 * known which one. */
static int open_leaf(lkv_tops *tops, const lkv_run *run, lkv_branch_at *branch,
                     lkv_bytes key, lkv_leaf_at **out, lkv_block *block, lkv_error *err)
{
    lkv_leaf_at *at;
    int rc =
        branch->leaves == NULL ? lkv_top_open_branch(tops, run, branch, err) : LKV_OK;

    at = rc != LKV_OK || branch->leaves == NULL ? NULL : find_leaf(branch->leaves, key);
    if (at == NULL) {
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    tops->storage->hint = at->hint;
    rc = lkv_run_block(tops->storage, run, at->block, block, err);
    if (rc == LKV_OK && block->kind != LKV_BLOCK_LEAF) {
        rc = lkv_run_damage(err, run, at->block, "not a leaf");
    }
    if (rc == LKV_OK) {
        at->hint = tops->storage->hint;
        at->seen = block->bytes;
        at->table = block->table;
    }
    *out = at;
    return rc;
}

static int find_in_branch(lkv_tops *tops, const lkv_run *run, lkv_branch_at *branch,
                          lkv_bytes key, lkv_place *found, lkv_error *err)
{
    lkv_leaf_at *at;
    lkv_block block;
    lkv_entry entry;
    int rc = open_leaf(tops, run, branch, key, &at, &block, err);

    if (rc == LKV_ABSENT) {
        return lkv_run_find_below(tops->storage, run, branch->block, key, found, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_block_find(&block, key, &entry);
        if (rc == LKV_CORRUPT) {
            return lkv_run_damage(err, run, at->block, "malformed entry");
        }
    }
    if (rc == LKV_OK) {
        *found = entry.place;
    }
    return rc;
}

static int ask(lkv_tops *tops, const lkv_run *run, lkv_top *top, uint32_t i,
               lkv_bytes key, uint64_t hash, lkv_place *found, lkv_error *err)
{
    int rc;
    if (top == NULL) {
        return lkv_run_find(tops->storage, run, key, hash, found, err);
    }
    rc = ask_filter(tops, run, &top->branch[i], hash, err);
    return rc == LKV_OK ? find_in_branch(tops, run, &top->branch[i], key, found, err)
                        : rc;
}

/* The memory that a filter was in is likely to be where it is. */
static void ask_ahead(const lkv_tops *tops, const lkv_branch_at *at, uint64_t hash)
{
    if (at->seen != NULL) {
        uint32_t lines =
            (uint32_t)((tops->storage->block - at->filter) / LKV_FILTER_LINE);
        __builtin_prefetch(at->seen + lkv_filter_line(lines, hash));
    }
}

/* So is that of a leaf. */
static void ask_leaf_ahead(const lkv_branch_at *branch, lkv_bytes key)
{
    const lkv_leaf_at *at =
        branch->leaves == NULL ? NULL : find_leaf(branch->leaves, key);
    if (at != NULL && at->seen != NULL) {
        __builtin_prefetch(at->seen);
        __builtin_prefetch(at->seen + at->table);
    }
}

int lkv_tops_ahead(lkv_tops *tops, lkv_runs *runs, uint64_t rewound, uint32_t left,
                   lkv_bytes key, uint64_t hash, lkv_tops_search *search,
                   lkv_error *err)
{
    lkv_tops_follow(tops, runs, rewound);
    search->left = left;
    search->count = left < LKV_TOPS_AHEAD ? left : LKV_TOPS_AHEAD;
    for (uint32_t i = 0; i < search->count; i++) {
        lkv_top *top;
        int rc = entry_of(tops, &runs->run[left - 1 - i], &top, err);
        if (rc != LKV_OK) {
            return rc;
        }
        search->top[i] = top != NULL && top->count > 0 ? top : NULL;
        if (search->top[i] != NULL) {
            search->at[i] = find_branch(top, key);
            ask_ahead(tops, &top->branch[search->at[i]], hash);
        }
    }
    /* The oldest run is the largest: it is the one that is likely to have the key. */
    if (search->count == left && left > 0 && search->top[left - 1] != NULL) {
        ask_leaf_ahead(&search->top[left - 1]->branch[search->at[left - 1]], key);
    }
    return LKV_OK;
}

int lkv_tops_find(lkv_tops *tops, lkv_tops_search *search, lkv_bytes key, uint64_t hash,
                  lkv_place *found, lkv_error *err)
{
    lkv_runs *runs = tops->runs;
    int rc = LKV_OK;

    while (search->count > 0) {
        for (uint32_t i = 0; i < search->count; i++) {
            rc = ask(tops, &runs->run[search->left - 1 - i], search->top[i],
                     search->at[i], key, hash, found, err);
            if (rc != LKV_ABSENT) {
                return rc;
            }
        }
        rc = lkv_tops_ahead(tops, runs, tops->rewound, search->left - search->count,
                            key, hash, search, err);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    return LKV_ABSENT;
}

int lkv_tops_floor(lkv_tops *tops, const lkv_run *run, lkv_bytes key, uint64_t hash,
                   lkv_place *found, int *exact, lkv_error *err)
{
    lkv_leaf_at *at;
    lkv_block block;
    lkv_entry entry;
    lkv_top *top;
    uint32_t i;
    int rc = entry_of(tops, run, &top, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (top == NULL || top->count == 0) {
        return lkv_run_floor(tops->storage, run, key, &hash, found, exact, err);
    }
    i = find_branch(top, key);
    rc = ask_filter(tops, run, &top->branch[i], hash, err);
    if (rc != LKV_OK) {
        return rc;
    }
    rc = open_leaf(tops, run, &top->branch[i], key, &at, &block, err);
    if (rc == LKV_OK && lkv_block_floor(&block, key, &entry) == LKV_OK) {
        *found = entry.place;
        *exact = entry.exact;
        return LKV_OK;
    }
    /* Not known, damaged, or the entry is the last of the leaf before. */
    return rc < 0 ? rc
                  : lkv_run_floor_below(tops->storage, run, top->branch[i].block, key,
                                        found, exact, err);
}
