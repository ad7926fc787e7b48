/*
 * runcheck.c - see runcheck.h; run.h tells what a run is made of.
 *
 * Of the leaves since the last branch `group` keeps what the branch must say: for each
 *
 *      number u32 | size of the key before it u32 | size of its first key u32 | both
 * keys
 *
 * and of a level of branches or tops `below` keeps what the tops over it must say:
 *
 *      number u32 | size of its first separator u32 | the separator
 */
#include "runcheck.h"

#include <string.h>

void lkv_run_check_init(lkv_run_check *check, const lkv_os *os, uint32_t unit,
                        uint32_t number, int fences, lkv_run_check_entry *each,
                        void *arg)
{
    memset(check, 0, sizeof(*check));
    check->os = os;
    check->unit = unit;
    check->number = number;
    check->fences = fences;
    check->each = each;
    check->arg = arg;
}

void lkv_run_check_free(lkv_run_check *check)
{
    lkv_buffer *all[] = {&check->last,   &check->key,   &check->group,
                         &check->hashes, &check->below, &check->above};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && check->os != NULL; i++) {
        lkv_os_free(check->os, all[i]->bytes);
        memset(all[i], 0, sizeof(*all[i]));
    }
}

static int wrong(const char **why, const char *text)
{
    *why = text;
    return LKV_CORRUPT;
}

static lkv_bytes view_of(const lkv_buffer *buffer)
{
    return (lkv_bytes){buffer->bytes, buffer->size};
}

/* Where a block is being read. */
typedef struct place_in_block {
    const lkv_block *block;
    size_t at;
    uint32_t entries, restarts; /* passed */
} place_in_block;

/* The next entry, whose key replaces the one before it in `key`; keys ascend, `any` key
 * may be the first. LKV_ABSENT at the end of the block. */
static int next_entry(lkv_run_check *check, place_in_block *in, lkv_buffer *key,
                      int any, lkv_entry *entry, const char **why)
{
    const lkv_block *block = in->block;
    int at_restart =
        in->restarts < block->restarts &&
        in->at == lkv_format_get_u32(block->bytes + block->table + in->restarts * 4);
    int rc = lkv_block_next(block, &in->at, entry), order;
    lkv_bytes rest;

    if (rc == LKV_ABSENT && in->entries == block->count &&
        in->restarts == block->restarts) {
        return LKV_ABSENT;
    }
    if (rc != LKV_OK || at_restart != (in->entries % LKV_BLOCK_RESTART == 0) ||
        (at_restart && entry->shared > 0) || entry->shared > key->size) {
        return wrong(why, "malformed entry");
    }
    in->entries++;
    in->restarts += (uint32_t)at_restart;
    if (lkv_buffer_reserve(key, check->os, entry->rest.size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    rest = (lkv_bytes){key->bytes + entry->shared, key->size - entry->shared};
    order = lkv_compare(rest, entry->rest);
    if (order >= 0 && !(any && in->entries == 1)) {
        return wrong(why, "the keys do not ascend");
    }
    key->size = entry->shared;
    if (entry->rest.size > 0) {
        memcpy(key->bytes + key->size, entry->rest.data, entry->rest.size);
    }
    key->size += entry->rest.size;
    return LKV_OK;
}

/* Adds numbers and keys to a list. */
static int note(lkv_run_check *check, lkv_buffer *list, uint32_t number,
                const lkv_bytes *keys, size_t count)
{
    size_t size = 4;
    uint8_t *at;
    for (size_t i = 0; i < count; i++) {
        size += 4 + keys[i].size;
    }
    if (lkv_buffer_reserve(list, check->os, size) != LKV_OK) {
        return LKV_NOMEM;
    }
    at = list->bytes + list->size;
    lkv_format_u32(at, number);
    at += 4;
    for (size_t i = 0; i < count; i++, at += 4) {
        lkv_format_u32(at, (uint32_t)keys[i].size);
    }
    for (size_t i = 0; i < count; at += keys[i].size, i++) {
        if (keys[i].size > 0) {
            memcpy(at, keys[i].data, keys[i].size);
        }
    }
    list->size += size;
    return LKV_OK;
}

/* Takes the next of them; 0 at the end. */
static int take(const lkv_buffer *list, size_t *where, uint32_t *number,
                lkv_bytes *keys, size_t count)
{
    const uint8_t *at, *key;
    if (*where >= list->size) {
        return 0;
    }
    at = list->bytes + *where;
    *number = lkv_format_get_u32(at);
    key = at + 4 + 4 * count;
    for (size_t i = 0; i < count; i++) {
        keys[i] = (lkv_bytes){key, lkv_format_get_u32(at + 4 + 4 * i)};
        key += keys[i].size;
    }
    *where = (size_t)(key - list->bytes);
    return 1;
}

static int look_at_leaf(lkv_run_check *check, const lkv_block *block, const char **why)
{
    place_in_block in = {block, LKV_BLOCK_HEADER, 0, 0};
    lkv_entry entry;
    int rc;

    if (block->before != check->leaf || block->filter != 0 || check->top != 0) {
        return wrong(why, "the leaf does not follow the one before it");
    }
    { /* what the branch must say of it */
        size_t at = LKV_BLOCK_HEADER;
        lkv_bytes keys[2] = {view_of(&check->last), {NULL, 0}};
        if (lkv_block_next(block, &at, &entry) != LKV_OK) {
            return wrong(why, "malformed entry");
        }
        keys[1] = entry.rest;
        if (note(check, &check->group, check->next, keys, 2) != LKV_OK) {
            return LKV_NOMEM;
        }
    }
    while ((rc = next_entry(check, &in, &check->last, check->leaf == 0, &entry, why)) ==
           LKV_OK) {
        lkv_bytes key = view_of(&check->last);
        uint64_t hash = lkv_filter_hash(key);
        if (!check->fences) {
            if (lkv_buffer_reserve(&check->hashes, check->os, sizeof(hash)) != LKV_OK) {
                return LKV_NOMEM;
            }
            memcpy(check->hashes.bytes + check->hashes.size, &hash, sizeof(hash));
            check->hashes.size += sizeof(hash);
        }
        check->entries++;
        check->live_bytes += lkv_loc_live(entry.place.loc) ? entry.place.size : 0;
        rc = check->each(check->arg, key, entry.place, why);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    check->leaf = check->next + 1;
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* A leaf's separator keeps it apart from the leaf before it. For fences, it is all of
 * the first key: what lies below belongs to the fence before. */
static int is_separator(const lkv_run_check *check, lkv_bytes separator,
                        const lkv_bytes *keys, int first)
{
    if (first) {
        return separator.size == 0;
    }
    return lkv_compare(keys[0], separator) < 0 &&
           (check->fences ? lkv_compare(separator, keys[1]) == 0
                          : lkv_compare(separator, keys[1]) <= 0);
}

static int look_at_branch(lkv_run_check *check, const lkv_block *block,
                          const char **why)
{
    place_in_block in = {block, LKV_BLOCK_HEADER, 0, 0};
    int first = check->branch == 0;
    lkv_entry entry;
    size_t at = 0;
    int rc;

    if (block->before != check->branch || check->top != 0) {
        return wrong(why, "the branch does not follow the one before it");
    }
    check->key.size = 0;
    while ((rc = next_entry(check, &in, &check->key, 1, &entry, why)) == LKV_OK) {
        lkv_bytes keys[2], separator = view_of(&check->key);
        uint32_t number;
        if (!take(&check->group, &at, &number, keys, 2) || number != entry.child ||
            !is_separator(check, separator, keys, first && in.entries == 1)) {
            return wrong(why, "the branch does not lead to the leaves before it");
        }
        if (in.entries == 1 &&
            note(check, &check->below, check->next, &separator, 1) != LKV_OK) {
            return LKV_NOMEM;
        }
    }
    if (rc == LKV_ABSENT && at < check->group.size) {
        return wrong(why, "the branch does not lead to the leaves before it");
    }
    for (at = 0; at < check->hashes.size; at += sizeof(uint64_t)) {
        uint64_t hash;
        memcpy(&hash, check->hashes.bytes + at, sizeof(hash));
        if (!lkv_block_may_have(block, hash)) {
            return wrong(why, "the filter does not know a key");
        }
    }
    check->group.size = check->hashes.size = 0;
    check->branch = check->next + 1;
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int look_at_top(lkv_run_check *check, const lkv_block *block, const char **why)
{
    place_in_block in = {block, LKV_BLOCK_HEADER, 0, 0};
    lkv_entry entry;
    int rc;

    if (block->before == 0 && check->below_at > 0 &&
        check->below_at == check->below.size) { /* the next level */
        lkv_buffer below = check->below;
        check->below = check->above;
        check->above = below;
        check->above.size = check->below_at = 0;
        check->top = 0;
    }
    if (block->before != check->top || block->filter != 0 || check->group.size > 0) {
        return wrong(why, "the top does not follow the one before it");
    }
    check->key.size = 0;
    while ((rc = next_entry(check, &in, &check->key, 1, &entry, why)) == LKV_OK) {
        lkv_bytes key, separator = view_of(&check->key);
        uint32_t number;
        if (!take(&check->below, &check->below_at, &number, &key, 1) ||
            number != entry.child || lkv_compare(key, separator) != 0) {
            return wrong(why, "the top does not lead to the blocks before it");
        }
        if (in.entries == 1 &&
            note(check, &check->above, check->next, &separator, 1) != LKV_OK) {
            return LKV_NOMEM;
        }
    }
    check->top = check->next + 1;
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_run_check_block(lkv_run_check *check, lkv_bytes bytes, const char **why)
{
    lkv_block block;
    int rc =
        lkv_block_open(&block, bytes, lkv_block_place(check->number, check->next), why);

    if (rc == LKV_OK) {
        switch (block.kind) {
        case LKV_BLOCK_LEAF:
            rc = look_at_leaf(check, &block, why);
            break;
        case LKV_BLOCK_BRANCH:
            rc = look_at_branch(check, &block, why);
            break;
        case LKV_BLOCK_TOP:
        default:
            rc = look_at_top(check, &block, why);
            break;
        }
    }
    check->next += (uint32_t)(bytes.size / check->unit);
    return rc;
}

int lkv_run_check_end(lkv_run_check *check, const lkv_run *run, int finished,
                      const char **why)
{
    uint32_t top = check->top != 0 ? check->top : check->branch, number = 0;
    lkv_bytes key;
    size_t at = 0;
    int single;

    if (check->group.size > 0 || check->next != run->blocks ||
        (top != run->top + 1 && check->next > 0)) {
        return wrong(why, "the run does not end as it should");
    }
    /* One block above all others, or the only branch. */
    if (check->top != 0) {
        single = check->below_at == check->below.size &&
                 take(&check->above, &at, &number, &key, 1) && at == check->above.size;
    } else {
        single = take(&check->below, &at, &number, &key, 1) && at == check->below.size;
    }
    if (finished ? !single : check->top != 0) {
        return wrong(why, "the run does not end as it should");
    }
    if (!check->fences &&
        (check->entries != run->entries || check->live_bytes != run->live_bytes)) {
        return wrong(why, "the root counts other entries");
    }
    return LKV_OK;
}

int lkv_expected_place(void *expected, lkv_bytes key, lkv_place place, const char **why)
{
    const lkv_expected *want = expected;
    const lkv_log *log = want->log;
    const lkv_segment *segment = lkv_log_segment(log, lkv_loc_segment(place.loc));
    uint32_t offset = lkv_loc_offset(place.loc), limit;
    uint64_t at;
    size_t i;

    *why = "a location is not in the log";
    if (segment == NULL || offset < LKV_SEGMENT_HEADER ||
        place.size < lkv_format_size(key, (lkv_bytes){NULL, 0})) {
        return LKV_CORRUPT;
    }
    i = (size_t)(segment - log->segments);
    limit = lkv_log_limit(log, i);
    at = segment->base + offset - LKV_SEGMENT_HEADER;
    return i < log->first || offset > limit || place.size > limit - offset ||
                   at < want->run->from || at + place.size > want->run->to
               ? LKV_CORRUPT
               : LKV_OK;
}

int lkv_expected_fence(void *expected, lkv_bytes key, lkv_place place, const char **why)
{
    lkv_expected *want = expected;
    (void)key;
    *why = "a location is not in the part";
    if (lkv_loc_segment(place.loc) != want->part->number ||
        lkv_loc_offset(place.loc) != want->offset ||
        place.size > want->part->size - want->offset) {
        return LKV_CORRUPT;
    }
    want->offset += place.size;
    return LKV_OK;
}
