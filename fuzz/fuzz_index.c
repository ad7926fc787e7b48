/*
 * fuzz_index.c - bytes from outside as the index of a store: blocks, runs, the objects
 * that a root lists, and an exported index.
 *
 * The first byte of an input chooses: the rest is a block, or the blocks of a run
 * (blocks.h), or a program. Its steps fill a store, so that it has runs and parts;
 * damage what the storage holds, with checksums that fit again or not; and open it,
 * read it, change it, compact it, make its index anew, give the index out and take it
 * back.
 *
 * Aborts unless
 *   - what nobody touched is right: by key, forward, backward;
 *   - what lkv_verify() passes is right;
 *   - after damage whose checksums do not fit, every answer is right or LKV_CORRUPT;
 *   - after any damage of the index alone, the index can be made anew, and all is
 * right;
 *   - a store that nobody touched is measured rightly;
 *   - an exported index is taken back exactly when it is whole, and as long as what it
 *     leans on is there; one that is refused, or whose taking back is undone, leaves no
 *     trace;
 *   - memory stays in bounds, and all of it comes back.
 */
#include "blocks.h"
#include "damage.h"
#include "map.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

#define MAX_STEPS 64u
#define MAX_CHANGES 200u
#define EXPORT_ROOM (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct scene {
    input in;
    bounded_os memory;
    lkv_storage *storage;
    lkv_store *store; /* NULL when it must be opened anew */
    uint32_t flush_size;
    unsigned changes;
    map rows;        /* what the store holds, or held before any damage */
    int damaged;     /* 0: not; 1: no checksum was made to fit */
    int log_damaged; /* not in the index alone */
    int unknown;     /* it was written to since */
    /* An index that was given out, and what it was then. */
    uint8_t *index, *given;
    size_t index_size, given_size;
    enum { INDEX_BROKEN, INDEX_WHOLE, INDEX_FORGED } index_is, given_is;
} scene;

/* Opening */

static int open_store(scene *s)
{
    int rc;
    lkv_close(s->store);
    MUST(lkv_open(s->storage, &s->memory.os, &s->store) == LKV_OK);
    s->store->flush_size = s->flush_size;
    s->store->gaps.least = 1;
    lkv_auto_compact_fallback(s->store, 0);
    rc = lkv_refresh(s->store, NULL);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && s->damaged));
    return rc;
}

/* Checking */

/* What a damaged store answers: no more than is there, and in order; or LKV_CORRUPT. */
static void must_walk_right(scene *s, lkv_cursor *cursor, int forward)
{
    size_t i = forward ? 0 : s->rows.count;
    int rc = forward ? lkv_cursor_first(cursor, NULL) : lkv_cursor_last(cursor, NULL);
    while (rc == LKV_OK) {
        lkv_bytes value;
        unsigned tag;
        MUST(forward ? i < s->rows.count : i > 0);
        i -= !forward;
        MUST(map_same_bytes(lkv_cursor_key(cursor), s->rows.row[i].key));
        MUST(lkv_cursor_tag(cursor, &tag, NULL) == LKV_OK);
        MUST(tag == s->rows.row[i].tag);
        rc = lkv_cursor_value(cursor, &value, NULL);
        MUST(rc == LKV_CORRUPT ||
             (rc == LKV_OK && map_same_bytes(value, s->rows.row[i].value)));
        i += (unsigned)forward;
        rc = forward ? lkv_cursor_next(cursor, NULL) : lkv_cursor_prev(cursor, NULL);
    }
    MUST(rc == LKV_CORRUPT || i == (forward ? s->rows.count : 0));
    MUST(rc == LKV_CORRUPT || rc == LKV_ABSENT);
}

static void must_be_right_or_corrupt(scene *s)
{
    lkv_cursor *cursor;
    MUST(lkv_cursor_open(s->store, &cursor) == LKV_OK);
    must_walk_right(s, cursor, 1);
    must_walk_right(s, cursor, 0);
    lkv_cursor_close(cursor);
    for (size_t i = 0; i < s->rows.count; i++) {
        const lkv_row *row = &s->rows.row[i];
        lkv_bytes other = {row->key.data, row->key.size / 2};
        int equal, rc;
        lkv_row got;
        rc = lkv_get(s->store, row->key, &got, NULL);
        MUST(rc == LKV_CORRUPT ||
             (rc == LKV_OK && map_same_bytes(got.value, row->value)));
        map_find(&s->rows, other, &equal);
        rc = lkv_exists(s->store, other, NULL);
        MUST(rc == LKV_CORRUPT || rc == (equal ? LKV_OK : LKV_ABSENT));
    }
}

static int is_answer(int rc)
{
    return rc == LKV_OK || rc == LKV_ABSENT || rc == LKV_CORRUPT || rc == LKV_TOO_BIG;
}

static int see_object(void *arg, const lkv_object *object)
{
    lkv_stats *seen = arg;
    MUST(object->number > 0);
    seen->segments += object->kind != LKV_OBJECT_RUN;
    seen->parts += object->kind == LKV_OBJECT_PART;
    seen->runs += object->kind == LKV_OBJECT_RUN;
    seen->records += object->records;
    seen->live_bytes += object->kind != LKV_OBJECT_RUN ? object->live_bytes : 0;
    return LKV_OK;
}

/* The store tells its sizes, or why it cannot. */
static void measure(scene *s)
{
    lkv_stats stats, seen = {0};
    int rc = lkv_measure(s->store, &stats, NULL);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && s->damaged));
    rc = lkv_list(s->store, see_object, &seen, NULL);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && s->damaged));
    if (!s->damaged) {
        MUST(stats.live_bytes == map_bytes(&s->rows));
        MUST(seen.live_bytes == stats.live_bytes && seen.records == stats.records);
        MUST(seen.segments == stats.segments && seen.parts == stats.parts &&
             seen.runs >= stats.runs); /* and indexes of parts, and merges */
    }
}

/* Whatever it answers, it does answer. */
static void explore(scene *s)
{
    lkv_cursor *cursor;
    lkv_bytes value;
    lkv_row row;
    int rc;

    MUST(lkv_cursor_open(s->store, &cursor) == LKV_OK);
    for (rc = lkv_cursor_first(cursor, NULL); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, NULL)) {
        MUST(is_answer(lkv_cursor_value(cursor, &value, NULL)));
        MUST(is_answer(lkv_get(s->store, lkv_cursor_key(cursor), &row, NULL)));
    }
    MUST(is_answer(rc));
    for (rc = lkv_cursor_last(cursor, NULL); rc == LKV_OK;
         rc = lkv_cursor_prev(cursor, NULL)) {
    }
    MUST(is_answer(rc));
    for (size_t i = 0; i < s->rows.count; i++) {
        lkv_bytes key = s->rows.row[i].key;
        MUST(is_answer(lkv_get(s->store, key, &row, NULL)));
        rc = lkv_cursor_seek(cursor, key, (enum lkv_seek)(i % 4), NULL);
        MUST(is_answer(rc));
        rc = rc == LKV_OK ? lkv_cursor_next(cursor, NULL) : rc;
        MUST(is_answer(rc));
    }
    lkv_cursor_close(cursor);
}

static void look(scene *s)
{
    int rc = open_store(s);
    if (rc != LKV_OK) {
        return;
    }
    rc = lkv_verify(s->store, NULL, NULL, NULL);
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && s->damaged));
    measure(s);
    if (rc == LKV_OK && !s->unknown) {
        map_must_be(&s->rows, s->store);
        MUST(s->store->live_bytes == map_bytes(&s->rows));
    } else if (s->damaged == 1) {
        must_be_right_or_corrupt(s);
    } else {
        explore(s);
    }
}

/* Changing */

static void change(scene *s)
{
    uint8_t how = input_byte(&s->in);
    lkv_row row = {input_key(&s->in), {NULL, 0}, how >> 2 & 3};
    int there;

    if (row.key.data == NULL || s->changes++ >= MAX_CHANGES) {
        return;
    }
    map_find(&s->rows, row.key, &there);
    if (how & 1) {
        MUST(lkv_delete(s->store, row.key, NULL) == (there ? LKV_OK : LKV_ABSENT));
        map_remove(&s->rows, row.key);
        return;
    }
    row.value = input_value(&s->in);
    if (row.value.data != NULL) {
        MUST(lkv_put(s->store, &row, NULL) == LKV_OK);
        map_put(&s->rows, &row);
    }
}

/* A transaction on a store that nobody damaged. */
static void fill(scene *s, unsigned count)
{
    uint64_t left, budget = (uint64_t)input_byte(&s->in) << 5;
    if (s->store == NULL) {
        MUST(open_store(s) == LKV_OK);
    }
    MUST(lkv_begin(s->store, 0, NULL) == LKV_OK);
    for (unsigned i = 0; i < count; i++) {
        change(s);
    }
    if (budget > 0) {
        MUST(lkv_compact(s->store, budget, &left, NULL) == LKV_OK);
    }
    MUST(lkv_prepare(s->store, NULL) == LKV_OK);
    lkv_commit(s->store);
    map_must_be(&s->rows, s->store);
}

/* One on a store that somebody did; nothing is known of what it holds afterwards. */
static void change_anyway(scene *s)
{
    uint8_t how = input_byte(&s->in);
    lkv_row row = {{"k0a", 3}, {"new", 3}, 1};
    uint64_t left;
    int rc;

    s->damaged = 2;
    s->unknown = 1;
    if (open_store(s) != LKV_OK || lkv_begin(s->store, 0, NULL) != LKV_OK) {
        return;
    }
    MUST(is_answer(lkv_put(s->store, &row, NULL)));
    MUST(is_answer(lkv_delete(s->store, (lkv_bytes){"k1b", 3}, NULL)));
    if (how & 1) {
        MUST(is_answer(lkv_compact(s->store, how & 2 ? 1u << 30 : 300, &left, NULL)));
    }
    MUST(is_answer(lkv_put(s->store, &row, NULL)));
    rc = lkv_prepare(s->store, NULL);
    MUST(is_answer(rc));
    if (rc == LKV_OK && (how & 4)) {
        lkv_commit(s->store);
        explore(s);
    } else {
        lkv_rollback(s->store);
    }
}

/* Making anew */

static void rebuild(scene *s)
{
    int rc = open_store(s);

    if (rc == LKV_OK) {
        MUST(lkv_begin(s->store, 0, NULL) == LKV_OK);
        rc = lkv_rebuild(s->store, NULL, NULL, NULL);
    }
    MUST(rc == LKV_OK || (rc == LKV_CORRUPT && s->log_damaged));
    if (rc == LKV_OK && !s->log_damaged) {
        MUST(lkv_prepare(s->store, NULL) == LKV_OK);
        lkv_commit(s->store);
        map_must_be(&s->rows, s->store);
        s->damaged = 0;
    } else {
        lkv_rollback(s->store);
        look(s);
    }
}

/* Giving out and taking back */

static int keep_piece(void *arg, lkv_bytes bytes)
{
    scene *s = arg;
    if (bytes.size > EXPORT_ROOM - s->index_size) {
        return LKV_FAILED;
    }
    memcpy(s->index + s->index_size, bytes.data, bytes.size);
    s->index_size += bytes.size;
    return LKV_OK;
}

static void give_out(scene *s)
{
    int rc = open_store(s);
    s->index_size = s->given_size = 0;
    s->index_is = INDEX_BROKEN;
    if (rc != LKV_OK) {
        return;
    }
    rc = lkv_export(s->store, keep_piece, s, NULL);
    MUST(rc == LKV_OK || rc == LKV_FAILED || (rc == LKV_CORRUPT && s->damaged));
    if (rc == LKV_OK) {
        s->index_is = s->given_is = s->damaged ? INDEX_FORGED : INDEX_WHOLE;
        s->given_size = s->index_size;
        memcpy(s->given, s->index, s->index_size);
    }
}

static int read_piece(void *arg, uint64_t offset, void *out, size_t size)
{
    const scene *s = arg;
    MUST(offset <= s->index_size && size <= s->index_size - offset);
    memcpy(out, s->index + offset, size);
    return LKV_OK;
}

/* Whether the sum over all of it fits, be it by damage that undoes older damage. */
static int sum_fits(const scene *s)
{
    size_t size = s->index_size < 8 ? 0 : s->index_size - 8;
    return s->index_size >= 8 &&
           lkv_format_get_u64(s->index + size) == lkv_hash_once(s->index, size);
}

static void damage_index(scene *s)
{
    int sealed = input_byte(&s->in) % 3;
    damage_export(s->index, &s->index_size, EXPORT_ROOM, &s->in, sealed,
                  s->storage->block);
    if (s->given_size > 0 && s->index_size == s->given_size &&
        memcmp(s->given, s->index, s->given_size) == 0) {
        s->index_is = s->given_is; /* nothing was changed */
    } else {
        s->index_is = sum_fits(s) ? INDEX_FORGED : INDEX_BROKEN;
    }
}

static void take_back(scene *s)
{
    lkv_source source = {read_piece, s, s->index_size};
    uint8_t how = input_byte(&s->in);
    int rc = open_store(s);

    if (rc != LKV_OK || lkv_begin(s->store, 0, NULL) != LKV_OK) {
        return;
    }
    rc = lkv_import(s->store, &source, NULL, NULL, NULL);
    MUST(rc == LKV_OK || rc == LKV_CORRUPT);
    MUST(rc == LKV_CORRUPT || s->index_is != INDEX_BROKEN);
    if (rc == LKV_OK && s->index_is == INDEX_FORGED) {
        if (lkv_verify(s->store, NULL, NULL, NULL) == LKV_OK) {
            map_must_be(&s->rows, s->store);
        }
        explore(s);
        how = 0; /* it may not be right */
    } else if (!s->damaged) {
        map_must_be(&s->rows, s->store);
    }
    if (how & 1) {
        MUST(lkv_prepare(s->store, NULL) == LKV_OK);
        lkv_commit(s->store);
    } else {
        lkv_rollback(s->store);
    }
    look(s);
}

/* Taken out and put back at once, by the same handle or another one: always whole. */
static void there_and_back(scene *s)
{
    lkv_source source = {read_piece, s, 0};
    give_out(s);
    if (s->index_is != INDEX_WHOLE) {
        return;
    }
    source.size = s->index_size;
    MUST(lkv_begin(s->store, 0, NULL) == LKV_OK);
    MUST(lkv_import(s->store, &source, NULL, NULL, NULL) == LKV_OK);
    map_must_be(&s->rows, s->store);
    MUST(lkv_prepare(s->store, NULL) == LKV_OK);
    lkv_commit(s->store);
    look(s);
}

static void harm(scene *s)
{
    uint8_t how = input_byte(&s->in);
    enum damage what = DAMAGE_LOG;
    if (how % 8 == 0) {
        damage_root(s->storage, &s->in);
        how |= 128;
    } else {
        what = damage_object(s->storage, &s->in, how & 128);
    }
    if (what != DAMAGE_NONE) {
        s->damaged = how & 128 || s->damaged == 2 ? 2 : 1;
        s->log_damaged |= what == DAMAGE_LOG;
    }
    lkv_close(s->store); /* it may go on trusting what it has seen */
    s->store = NULL;
}

/* One step of the program; 0 ends it. */
static int step(scene *s)
{
    uint8_t op = input_byte(&s->in);
    switch (op % 8) {
    case 0:
        harm(s);
        return 1;
    case 1:
        look(s);
        return 1;
    case 2:
        rebuild(s);
        return 1;
    case 3:
        there_and_back(s);
        return 1;
    case 4:
        give_out(s);
        return 1;
    case 5:
        damage_index(s);
        return 1;
    case 6:
        take_back(s);
        return 1;
    default:
        break;
    }
    if (s->damaged) {
        change_anyway(s);
        return 0;
    }
    fill(s, op >> 3);
    return 1;
}

static void run_program(input in)
{
    static const uint32_t blocks[] = {64, 512, 4096, LKV_BLOCK_MIN};
    static scene s;
    static uint8_t index[EXPORT_ROOM], given[EXPORT_ROOM];
    uint8_t sizes = input_byte(&in);
    unsigned steps = 0;

    memset(&s, 0, sizeof(s));
    s.in = in;
    s.index = index;
    s.given = given;
    s.flush_size = 64u << (sizes & 7);
    bounded_os_init(&s.memory, 64u << 20);
    MUST(lkv_storage_mem_open(&s.memory.os, blocks[sizes >> 3 & 3], &s.storage) ==
         LKV_OK);
    s.storage->spill = 1024;
    s.storage->segment = 512u << (sizes >> 5);
    MUST(lkv_create(s.storage, &s.memory.os, (lkv_bytes){"meta", 4}, NULL) == LKV_OK);
    while (s.in.left > 0 && steps++ < MAX_STEPS && step(&s)) {
    }
    look(&s);
    lkv_close(s.store);
    lkv_storage_mem_close(s.storage);
    MUST(s.memory.held == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    input_reset();
    switch (input_byte(&in) % 4) {
    case 0:
        blocks_must_read(&in);
        break;
    case 1:
        blocks_must_walk(&in);
        break;
    default:
        run_program(in);
        break;
    }
    return 0;
}
