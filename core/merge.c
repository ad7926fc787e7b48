/*
 * merge.c - see merge.h.
 *
 * The newest run is merged with the ones before it, as far as each is not larger than
 * one and a half times all that is newer, and when that makes four or more. So sizes
 * grow about twofold from run to run, and a merge takes in at once what merges of two
 * by two would copy several times. Where merges fall behind they take in more runs,
 * which costs less for each.
 *
 * Simulated for keys of 16 bytes in transactions of many rows, with slices as slice.c
 * pays them, while a million keys and while ten million come in: with values of 100
 * bytes 5.2 and 7.9 runs on the average, and 0.9 and 1.2 bytes of index written for a
 * byte of log, the runs that are flushed included; with values of 8 bytes 6.2 and 14.6
 * runs, 2.5 and 3.2 bytes.
 */
#include "merge.h"

#include <string.h>

#define LEAST 4u /* runs that become one, and as many more as merges are under way */
#define RATIO_N 3u
#define RATIO_D 2u

static int is_taken(const lkv_runs *runs, const lkv_run *run)
{
    if (run->to <= runs->pass.to) { /* compaction reads it */
        return 1;
    }
    for (uint32_t i = 0; i < runs->merges; i++) {
        if (run->from >= runs->merge[i].from && run->to <= runs->merge[i].to) {
            return 1;
        }
    }
    return 0;
}

uint32_t lkv_merge_choose(const lkv_runs *runs, uint32_t *first)
{
    uint64_t newer = 0; /* blocks */
    uint32_t i;

    for (i = runs->count; i > 0; i--) {
        const lkv_run *run = &runs->run[i - 1];
        /* What a pass takes in stays as it is until the pass is done. */
        if (run->from < runs->pass.to || is_taken(runs, run) ||
            (newer > 0 && (uint64_t)run->blocks * RATIO_D > newer * RATIO_N)) {
            break;
        }
        newer += run->blocks;
    }
    *first = i;
    return runs->count - i >= LEAST + runs->merges ? runs->count - i : 0;
}

uint64_t lkv_merge_left(const lkv_runs *runs)
{
    uint64_t left = 0;
    for (uint32_t i = 0; i < runs->count; i++) {
        left += is_taken(runs, &runs->run[i]) ? runs->run[i].blocks : 0;
    }
    for (uint32_t i = 0; i < runs->merges; i++) {
        left -= runs->merge[i].blocks < left ? runs->merge[i].blocks : left;
    }
    return left;
}

void lkv_merge_close(lkv_merge *merge)
{
    if (merge != NULL) {
        const lkv_os *os = merge->writer.os;
        for (uint32_t i = 0; i < merge->inputs; i++) {
            lkv_run_cursor_free(&merge->cursor[i]);
        }
        lkv_run_writer_free(&merge->writer);
        lkv_os_free(os, merge);
    }
}

/* The inputs of `entry` in the list: those within its range. */
static uint32_t find_inputs(const lkv_runs *runs, const lkv_run *entry, uint32_t *first)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < runs->count; i++) {
        if (runs->run[i].from >= entry->from && runs->run[i].to <= entry->to) {
            *first = count == 0 ? i : *first;
            count++;
        }
    }
    return count;
}

/* The first eight bytes of a key, in the order of keys as far as they go. */
static uint64_t prefix_of(lkv_bytes key)
{
    const uint8_t *at = key.data;
    uint64_t prefix = 0;
    size_t size = key.size < 8 ? key.size : 8;
    for (size_t i = 0; i < size; i++) {
        prefix |= (uint64_t)at[i] << (56 - 8 * i);
    }
    return prefix;
}

/* An input's next key, after a move that gave `rc`. */
static int settle(lkv_merge *merge, uint32_t i, int rc)
{
    merge->on[i] = rc == LKV_OK;
    if (rc == LKV_OK) {
        merge->prefix[i] = prefix_of(lkv_run_key(&merge->cursor[i]));
    } else if (rc == LKV_ABSENT) {
        merge->done++;
        rc = LKV_OK;
    }
    return rc;
}

/* Every input at its first key after those that the output has. */
static int position(lkv_merge *merge, lkv_error *err)
{
    int fresh = merge->writer.run.entries == 0;
    lkv_bytes last = {merge->writer.last.bytes, merge->writer.last.size};
    merge->done = 0;
    for (uint32_t i = 0; i < merge->inputs; i++) {
        int rc = fresh ? lkv_run_first(&merge->cursor[i], err)
                       : lkv_run_seek(&merge->cursor[i], last, LKV_SEEK_GT, err);
        rc = settle(merge, i, rc);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    return LKV_OK;
}

int lkv_merge_open(lkv_storage *storage, const lkv_os *os, const lkv_runs *runs,
                   const lkv_run *entry, lkv_merge **out, lkv_error *err)
{
    uint32_t first = 0, count = find_inputs(runs, entry, &first);
    size_t each = sizeof(lkv_run) + sizeof(lkv_run_cursor) + sizeof(uint64_t) +
                  sizeof(uint32_t) + 1;
    lkv_merge *merge;
    int rc;

    if (count == 0) {
        return lkv_run_damage(err, entry, 0, "a merge has no inputs");
    }
    merge = lkv_os_alloc(os, sizeof(*merge) + count * each);
    if (merge == NULL) {
        return LKV_NOMEM;
    }
    memset(merge, 0, sizeof(*merge));
    merge->cursor = (lkv_run_cursor *)(void *)(merge + 1);
    merge->input = (lkv_run *)(void *)(merge->cursor + count);
    merge->prefix = (uint64_t *)(void *)(merge->input + count);
    merge->same = (uint32_t *)(void *)(merge->prefix + count);
    merge->on = (uint8_t *)(merge->same + count);
    merge->oldest = first == 0 && lkv_runs_at_bottom(runs);
    for (uint32_t i = 0; i < count; i++) {
        merge->input[i] = runs->run[first + i];
        lkv_run_cursor_init(&merge->cursor[i], storage, os, &merge->input[i]);
    }
    merge->inputs = count;
    rc = lkv_run_writer_resume(&merge->writer, storage, os, entry, err);
    if (rc == LKV_OK) {
        rc = position(merge, err);
    }
    if (rc != LKV_OK) {
        lkv_merge_close(merge);
        return rc;
    }
    *out = merge;
    return LKV_OK;
}

/* The newest of the inputs with the least key; `same` are the others with that key. */
static uint32_t least(lkv_merge *merge)
{
    uint32_t best = merge->inputs;
    merge->same_count = 0;
    for (uint32_t i = merge->inputs; i-- > 0;) {
        int order = -1;
        if (!merge->on[i]) {
            continue;
        }
        if (best < merge->inputs) {
            order = merge->prefix[i] < merge->prefix[best] ? -1
                    : merge->prefix[i] > merge->prefix[best]
                        ? 1
                        : lkv_compare(lkv_run_key(&merge->cursor[i]),
                                      lkv_run_key(&merge->cursor[best]));
        }
        if (order < 0) {
            best = i;
            merge->same_count = 0;
        } else if (order == 0) {
            merge->same[merge->same_count++] = i;
        }
    }
    return best;
}

/* Moves the inputs that have the key of input `best` off it, that one last: the key is
 * its view. */
static int move_past(lkv_merge *merge, uint32_t best, lkv_error *err)
{
    int rc = LKV_OK;
    for (uint32_t k = 0; k < merge->same_count && rc == LKV_OK; k++) {
        uint32_t i = merge->same[k];
        rc = settle(merge, i, lkv_run_next(&merge->cursor[i], err));
    }
    return rc == LKV_OK ? settle(merge, best, lkv_run_next(&merge->cursor[best], err))
                        : rc;
}

int lkv_merge_step(lkv_merge *merge, uint32_t blocks, lkv_error *err)
{
    lkv_run_writer *writer = &merge->writer;
    uint32_t stop = writer->run.blocks + blocks;

    while (merge->done < merge->inputs && writer->run.blocks < stop) {
        uint32_t best = least(merge);
        lkv_place place = lkv_run_place(&merge->cursor[best]);
        int rc = LKV_OK;
        if (!merge->oldest || lkv_loc_live(place.loc)) {
            rc = lkv_run_writer_add(writer, lkv_run_key(&merge->cursor[best]), place,
                                    err);
        }
        if (rc == LKV_OK) {
            rc = move_past(merge, best, err);
        }
        if (rc != LKV_OK) {
            return rc;
        }
    }
    if (merge->done < merge->inputs) {
        int rc = lkv_run_writer_pause(writer, err);
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    return writer->run.entries == 0 ? LKV_OK : lkv_run_writer_finish(writer, err);
}
