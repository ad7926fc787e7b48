/*
 * gap.c - see gap.h.
 */
#include "gap.h"

#include "format.h"

#include <string.h>

static lkv_bytes low_of(const lkv_gap *gap)
{
    return (lkv_bytes){gap->low, gap->low_size};
}

static lkv_bytes high_of(const lkv_gap *gap)
{
    return (lkv_bytes){gap->high, gap->high_size};
}

static int is_in(const lkv_gap *gap, lkv_bytes key)
{
    return gap->known && lkv_compare(low_of(gap), key) <= 0 &&
           (gap->to_end || lkv_compare(key, high_of(gap)) < 0);
}

static int is_forward(enum lkv_seek how)
{
    return how == LKV_SEEK_GE || how == LKV_SEEK_GT;
}

/* Whether all keys that a search would come to first are in the gap. */
static int begins_in(const lkv_gap *gap, const lkv_bytes *key, enum lkv_seek how)
{
    if (key == NULL) {
        return gap->known && (is_forward(how) ? gap->low_size == 0 : gap->to_end);
    }
    if (how == LKV_SEEK_LT) { /* what is below it */
        return gap->known && lkv_compare(low_of(gap), *key) < 0 &&
               (gap->to_end || lkv_compare(*key, high_of(gap)) <= 0);
    }
    return is_in(gap, *key);
}

lkv_gap *lkv_gap_find(lkv_gaps *gaps, const lkv_bytes *key, enum lkv_seek how)
{
    for (uint32_t i = 0; i < gaps->count; i++) {
        if (begins_in(&gaps->at[i], key, how)) {
            return &gaps->at[i];
        }
    }
    return NULL;
}

int lkv_gap_skip(const lkv_gap *gap, enum lkv_seek how, lkv_bytes *out)
{
    if (is_forward(how) ? gap->to_end : gap->low_size == 0) {
        return -1;
    }
    *out = is_forward(how) ? high_of(gap) : low_of(gap);
    return 1;
}

static void set(uint8_t *to, size_t *size, lkv_bytes from)
{
    if (from.size > 0) {
        memmove(to, from.data, from.size);
    }
    *size = from.size;
}

static void note_forward(lkv_gap *gap, const lkv_bytes *key, int skipped,
                         const lkv_bytes *found)
{
    if ((!skipped && key != NULL && key->size > LKV_GAP_KEY) ||
        (found != NULL && found->size > LKV_GAP_KEY)) {
        return;
    }
    if (!skipped) {
        set(gap->low, &gap->low_size, key == NULL ? (lkv_bytes){NULL, 0} : *key);
    }
    gap->to_end = found == NULL;
    if (found != NULL) {
        set(gap->high, &gap->high_size, *found);
    }
    gap->known = 1;
}

/* The gap begins with the key after `found`: the one with a zero more. */
static void note_backward(lkv_gap *gap, const lkv_bytes *key, int skipped,
                          const lkv_bytes *found)
{
    if ((!skipped && key != NULL && key->size > LKV_GAP_KEY) ||
        (found != NULL && found->size >= LKV_GAP_KEY)) {
        return;
    }
    if (!skipped) {
        gap->to_end = key == NULL;
        set(gap->high, &gap->high_size, key == NULL ? (lkv_bytes){NULL, 0} : *key);
    }
    set(gap->low, &gap->low_size, found == NULL ? (lkv_bytes){NULL, 0} : *found);
    if (found != NULL) {
        gap->low[gap->low_size++] = 0;
    }
    gap->known = 1;
}

/* For a new gap: the place of one that is none any more, or of the oldest. */
static lkv_gap *new_gap(lkv_gaps *gaps)
{
    for (uint32_t i = 0; i < gaps->count; i++) {
        if (!gaps->at[i].known) {
            return &gaps->at[i];
        }
    }
    if (gaps->count < LKV_GAPS) {
        gaps->at[gaps->count].known = 0;
        return &gaps->at[gaps->count++];
    }
    return &gaps->at[gaps->next++ % LKV_GAPS];
}

void lkv_gap_note(lkv_gaps *gaps, lkv_gap *skipped, const lkv_bytes *key,
                  enum lkv_seek how, uint32_t dead, const lkv_bytes *found)
{
    lkv_gap *gap = skipped;

    if (skipped != NULL ? dead == 0 : dead < gaps->least) {
        return;
    }
    if (skipped == NULL && key != NULL && (how == LKV_SEEK_GT || how == LKV_SEEK_LE)) {
        return; /* the key itself may be a row, or is the last of the gap */
    }
    if (gap == NULL) {
        gap = new_gap(gaps);
    }
    if (is_forward(how)) {
        note_forward(gap, key, skipped != NULL, found);
    } else {
        note_backward(gap, key, skipped != NULL, found);
    }
}

void lkv_gap_put(lkv_gaps *gaps, lkv_bytes key)
{
    for (uint32_t i = 0; i < gaps->count; i++) {
        lkv_gap *gap = &gaps->at[i];
        if (!is_in(gap, key)) {
            continue;
        }
        gap->known = key.size <= LKV_GAP_KEY && lkv_compare(low_of(gap), key) < 0;
        if (gap->known) {
            set(gap->high, &gap->high_size, key);
            gap->to_end = 0;
        }
    }
}
