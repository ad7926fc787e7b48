/*
 * range.h - the parts of the key space that a scan visits, in order.
 */
#ifndef LKV_RANGE_H
#define LKV_RANGE_H

#include "../core/litekv.h"
#include "value.h"

typedef struct lkv_range {
    lkv_key low, high;
    int has_low, has_high; /* else open on that side */
    int strict;            /* `high` itself lies outside */
    int point;             /* `low` is the one key, and there is no `high` */
} lkv_range;

typedef struct lkv_ranges { /* disjoint, ascending */
    lkv_range *at;
    int count, room;
} lkv_ranges;

/* A range in `*out`, open on both sides. SQLITE_NOMEM. */
int lkv_ranges_add(lkv_ranges *ranges, lkv_range **out);
void lkv_ranges_clear(lkv_ranges *ranges);
void lkv_ranges_free(lkv_ranges *ranges);

/* How many arguments a plan takes. */
int lkv_ranges_arguments(int plan);

/* Turns xFilter's arguments under `plan` (enum lkv_plan) into ranges. SQLite's result
 * codes. */
int lkv_ranges_plan(lkv_ranges *ranges, int plan, enum lkv_affinity affinity,
                    sqlite3_value **argv);

/* Whether `key` lies above the range's upper end, or below its lower end. */
int lkv_range_above(const lkv_range *range, lkv_bytes key);
int lkv_range_below(const lkv_range *range, lkv_bytes key);

#endif
