/*
 * model.h - what a store has to be, told without any store: a sorted array of keys, and
 * for each the version that it has.
 *
 * Key and value follow from their numbers: key `i` of the array, and the value and tag
 * of version `v`. A state is a version for every key, 0 for none. A transaction is a
 * stack of states.
 */
#ifndef LKV_TEST_MODEL_H
#define LKV_TEST_MODEL_H

#include "litekv.h"

#define MODEL_KEYS 220u
#define MODEL_MARKS 6u

typedef struct model_state {
    uint32_t version[MODEL_KEYS];
} model_state;

typedef struct model {
    lkv_bytes keys[MODEL_KEYS]; /* in order, no two alike */
    uint32_t longest_value;
    uint32_t versions; /* given so far */
    model_state committed;

    int open; /* a transaction is */
    model_state now, prepared;
    uint32_t marks;
    model_state at_mark[MODEL_MARKS], prepared_at_mark[MODEL_MARKS];
} model;

void model_open(model *m, uint64_t *random);
void model_close(model *m);

/* A new version, and the row that it makes of key `i`; valid until the next call. */
uint32_t model_new_version(model *m);
lkv_row model_row(const model *m, size_t i, uint32_t version);

void model_begin(model *m);
void model_mark(model *m);
void model_rollback_to(model *m, uint32_t depth);
void model_release(model *m, uint32_t depth);
void model_prepare(model *m);
void model_commit(model *m);
void model_rollback(model *m);

/* The first key from `i` on, or from `i` back, that `state` has; MODEL_KEYS for none.
 */
size_t model_from(const model_state *state, size_t i, int forward);
uint64_t model_count(const model_state *state);

/* Checks that `row` is key `i` of `version`. */
int model_check_row(const model *m, size_t i, uint32_t version, const lkv_row *row);
/* Checks that `store` holds `state`: by both walks, by lkv_get() and lkv_count(). */
void model_check(const model *m, const model_state *state, lkv_store *store);

#endif
