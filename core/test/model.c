/*
 * model.c - see model.h.
 */
#include "model.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST_KEY 700u

static int compare(const void *a, const void *b)
{
    const lkv_bytes *x = a, *y = b;
    size_t size = x->size < y->size ? x->size : y->size;
    int rc = size > 0 ? memcmp(x->data, y->data, size) : 0;
    return rc != 0 ? rc : (x->size > y->size) - (x->size < y->size);
}

/* Some short, some longer than a node of the index holds, most of them begin alike. */
static lkv_bytes random_key(uint64_t *random)
{
    uint8_t *bytes = malloc(LONGEST_KEY);
    size_t size = check_below(random, 12);
    if (bytes == NULL) {
        abort();
    }
    if (check_below(random, 6) == 0) {
        size = check_below(random, LONGEST_KEY);
    }
    memset(bytes, 'k', size);
    for (size_t i = size < 4 ? 0 : size - 4; i < size; i++) {
        bytes[i] = (uint8_t)(check_below(random, 5) * 63);
    }
    return (lkv_bytes){bytes, size};
}

void model_open(model *m, uint64_t *random)
{
    memset(m, 0, sizeof(*m));
    m->longest_value = 20 + (uint32_t)check_below(random, 300);
    for (size_t count = 0; count < MODEL_KEYS;) {
        lkv_bytes key = random_key(random);
        size_t i = 0;
        while (i < count && compare(&m->keys[i], &key) != 0) {
            i++;
        }
        if (i < count) {
            free((void *)(uintptr_t)key.data);
        } else {
            m->keys[count++] = key;
        }
    }
    qsort(m->keys, MODEL_KEYS, sizeof(m->keys[0]), compare);
}

void model_close(model *m)
{
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        free((void *)(uintptr_t)m->keys[i].data);
    }
}

uint32_t model_new_version(model *m)
{
    return ++m->versions;
}

lkv_row model_row(const model *m, size_t i, uint32_t version)
{
    static uint8_t bytes[1608];
    uint64_t random = version;
    size_t size = check_below(&random, 32) == 0
                      ? 1000 + check_below(&random, 600)
                      : check_below(&random, m->longest_value);
    for (size_t k = 0; k < size; k += 8) {
        uint64_t next = check_random(&random);
        memcpy(bytes + k, &next, 8);
    }
    return (lkv_row){m->keys[i], {bytes, size}, version & LKV_TAG_MAX};
}

void model_begin(model *m)
{
    m->open = 1;
    m->marks = 0;
    m->now = m->prepared = m->committed;
}

void model_mark(model *m)
{
    m->at_mark[m->marks] = m->now;
    m->prepared_at_mark[m->marks++] = m->prepared;
}

void model_rollback_to(model *m, uint32_t depth)
{
    m->now = m->at_mark[depth];
    m->prepared = m->prepared_at_mark[depth];
    m->marks = depth + 1;
}

void model_release(model *m, uint32_t depth)
{
    m->marks = depth;
}

void model_prepare(model *m)
{
    m->prepared = m->now;
}

void model_commit(model *m)
{
    m->committed = m->prepared;
    m->open = 0;
}

void model_rollback(model *m)
{
    m->open = 0;
}

size_t model_from(const model_state *state, size_t i, int forward)
{
    while (i < MODEL_KEYS && state->version[i] == 0) {
        i = forward ? i + 1 : i - 1; /* below 0 is above all */
    }
    return i < MODEL_KEYS ? i : MODEL_KEYS;
}

uint64_t model_count(const model_state *state)
{
    uint64_t count = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        count += state->version[i] != 0;
    }
    return count;
}

int model_check_row(const model *m, size_t i, uint32_t version, const lkv_row *row)
{
    lkv_row want = model_row(m, i, version);
    return CHECK_BYTES(row->key.data, row->key.size, want.key.data, want.key.size) &&
           CHECK_BYTES(row->value.data, row->value.size, want.value.data,
                       want.value.size) &&
           CHECK_INT(row->tag, want.tag);
}

static void check_walk(const model *m, const model_state *state, lkv_cursor *cursor,
                       int forward)
{
    size_t i = model_from(state, forward ? 0 : MODEL_KEYS - 1, forward);
    int rc = forward ? lkv_cursor_first(cursor, NULL) : lkv_cursor_last(cursor, NULL);
    while (rc == LKV_OK && i < MODEL_KEYS) {
        lkv_error err = {0, ""};
        lkv_row row;
        if (!CHECK_INT(lkv_cursor_value(cursor, &row.value, &err), LKV_OK)) {
            CHECK_TEXT(err.text, "");
            return;
        }
        row.key = lkv_cursor_key(cursor);
        CHECK_INT(lkv_cursor_tag(cursor, &row.tag, NULL), LKV_OK);
        if (!model_check_row(m, i, state->version[i], &row)) {
            return;
        }
        i = model_from(state, forward ? i + 1 : i - 1, forward);
        rc = forward ? lkv_cursor_next(cursor, NULL) : lkv_cursor_prev(cursor, NULL);
    }
    CHECK_INT(rc, LKV_ABSENT);
    CHECK_SIZE(i, MODEL_KEYS);
}

void model_check(const model *m, const model_state *state, lkv_store *store)
{
    lkv_cursor *cursor;

    CHECK_SIZE(lkv_count(store), model_count(state));
    if (!CHECK_INT(lkv_cursor_open(store, &cursor), LKV_OK)) {
        return;
    }
    check_walk(m, state, cursor, 1);
    check_walk(m, state, cursor, 0);
    lkv_cursor_close(cursor);
    for (size_t i = 0; i < MODEL_KEYS && check_failures() == 0; i++) {
        lkv_error err;
        lkv_row row;
        int rc = lkv_get(store, m->keys[i], &row, &err);
        CHECK_INT(rc, state->version[i] == 0 ? LKV_ABSENT : LKV_OK);
        if (rc == LKV_OK) {
            model_check_row(m, i, state->version[i], &row);
        }
        CHECK_INT(lkv_exists(store, m->keys[i], NULL), rc);
    }
}
