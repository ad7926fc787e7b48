/*
 * test_verify.c - a store that is whole passes, whatever state it is in; one that is
 * not does not.
 */
#include "exports.h"
#include "layers.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A new handle, or lkv_verify(), finds the damage; what it reads all the same is right.
 */
static int check_damaged(fixture *f)
{
    static const char *const right[][2] = {{"a", "2"},
                                           {"b", NULL},
                                           {"c", ""},
                                           {"dddddddddddd", "some value"},
                                           {"ddddddddddde", "some value"},
                                           {"e", "5"},
                                           {"f", NULL},
                                           {"g", "3"},
                                           {"h", "h"}};
    lkv_error err = {0, ""};
    lkv_store *store;
    int found, rc;

    CHECK_INT(lkv_open(f->memory, &f->os.os, &store), LKV_OK);
    rc = lkv_refresh(store, &err);
    found = rc == LKV_CORRUPT;
    if (rc == LKV_OK) {
        for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
            lkv_row row;
            rc = lkv_get(store, text_bytes(right[i][0]), &row, &err);
            CHECK(rc != LKV_OK || right[i][1] != NULL);
            if (rc == LKV_OK && right[i][1] != NULL) {
                CHECK_BYTES(row.value.data, row.value.size, right[i][1],
                            strlen(right[i][1]));
            }
            CHECK(rc == LKV_OK || rc == LKV_CORRUPT ||
                  (rc == LKV_ABSENT && right[i][1] == NULL));
        }
        found = lkv_verify(store, NULL, NULL, &err) == LKV_CORRUPT;
    }
    CHECK(found == (err.text[0] != '\0') || !found);
    lkv_close(store);
    return found;
}

typedef struct numbers {
    uint32_t number[64];
    size_t count;
} numbers;

static int take_number(void *arg, uint32_t object)
{
    numbers *all = arg;
    if (CHECK(all->count < 64)) {
        all->number[all->count++] = object;
    }
    return 0;
}

static void every_byte(void)
{
    numbers all = {.count = 0};
    size_t bytes = 0;
    fixture f;

    layers_small(&f);
    CHECK_INT(f.memory->ops->list(f.memory, take_number, &all, NULL), LKV_OK);
    for (size_t i = 0; i < all.count && check_failures() == 0; i++) {
        lkv_bytes object = layers_object(f.memory, all.number[i]);
        uint8_t *at = malloc(object.size + 1);
        for (size_t k = 0; k < object.size && at != NULL && check_failures() == 0;
             k++) {
            memcpy(at, object.data, object.size);
            at[k] ^= (uint8_t)(1u << (k * 7 % 8));
            layers_put_object(f.memory, all.number[i], (lkv_bytes){at, object.size});
            if (!CHECK(check_damaged(&f))) {
                printf("  object %u, byte %zu\n", all.number[i], k);
            }
        }
        /* And cut short. */
        for (size_t k = 0; k < object.size && check_failures() == 0; k += 13) {
            layers_put_object(f.memory, all.number[i], (lkv_bytes){object.data, k});
            if (!CHECK(check_damaged(&f))) {
                printf("  object %u, cut at %zu\n", all.number[i], k);
            }
        }
        layers_put_object(f.memory, all.number[i], object);
        bytes += object.size;
        free(at);
        free((void *)(uintptr_t)object.data);
    }
    CHECK(bytes > 1500);
    CHECK(!check_damaged(&f));
    fixture_close(&f);
}

static void put_root(fixture *f, lkv_bytes root, const lkv_end *end)
{
    const lkv_storage_ops *ops = f->memory->ops;
    CHECK_INT(ops->lock(f->memory, 0, NULL), LKV_OK);
    CHECK_INT(ops->write_root(f->memory, end->generation, root, NULL), LKV_OK);
    ops->unlock(f->memory, end);
}

static void every_byte_of_the_root(void)
{
    lkv_bytes view;
    uint8_t *root;
    lkv_end end;
    fixture f;

    layers_small(&f);
    CHECK_INT(f.memory->ops->read_end(f.memory, &end, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &view, NULL), LKV_OK);
    root = malloc(view.size);
    for (size_t k = 0; root != NULL && k < view.size && check_failures() == 0; k++) {
        size_t size = view.size;
        memcpy(root, view.data, size);
        root[k] ^= 0x10;
        put_root(&f, (lkv_bytes){root, size}, &end);
        CHECK(check_damaged(&f));
        CHECK_HAS(verified(f.store), "root: "); /* a handle that was open before */
        root[k] ^= 0x10;
        put_root(&f, (lkv_bytes){root, size}, &end);
        CHECK_INT(f.memory->ops->read_root(f.memory, &view, NULL), LKV_OK);
    }
    free(root);
    CHECK_TEXT(verified(f.store), "ok");
    fixture_close(&f);
}

/* Runs and parts that are wrong although every checksum is right */

typedef struct entry {
    char key[32];
    lkv_place place;
    int no_filter;
} entry;

typedef struct entries {
    entry at[32];
    size_t count;
} entries;

static void take_entries(fixture *f, const lkv_run *run, entries *out)
{
    lkv_run_cursor cursor;
    out->count = 0;
    lkv_run_cursor_init(&cursor, f->storage, &f->os.os, run);
    for (int rc = lkv_run_first(&cursor, NULL); rc == LKV_OK;
         rc = lkv_run_next(&cursor, NULL)) {
        lkv_bytes key = lkv_run_key(&cursor);
        entry *at = &out->at[out->count++];
        memset(at, 0, sizeof(*at));
        memcpy(at->key, key.data, key.size);
        at->place = lkv_run_place(&cursor);
    }
    lkv_run_cursor_free(&cursor);
}

/* Writes other entries in the place of the run's. */
static void put_entries(fixture *f, lkv_run *run, const entries *in)
{
    lkv_run_writer writer;
    lkv_run_writer_init(&writer, f->storage, &f->os.os, run->number);
    for (size_t i = 0; i < in->count; i++) {
        const entry *at = &in->at[i];
        lkv_bytes key = text_bytes(at->key);
        uint64_t hash = lkv_filter_hash(at->no_filter ? text_bytes("other") : key);
        CHECK_INT(lkv_run_writer_add_entry(&writer, key, at->place, NULL), LKV_OK);
        CHECK_INT(lkv_run_writer_add_hash(&writer, hash), LKV_OK);
    }
    CHECK_INT(lkv_run_writer_finish(&writer, NULL), LKV_OK);
    writer.run.from = run->from;
    writer.run.to = run->to;
    *run = writer.run;
    lkv_run_writer_free(&writer);
}

static entry *find_entry(entries *all, const char *key)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->at[i].key, key) == 0) {
            return &all->at[i];
        }
    }
    CHECK(0);
    return &all->at[0];
}

static void drop(entries *all, const char *key)
{
    entry *at = find_entry(all, key);
    size_t behind = (size_t)(all->at + all->count - at) - 1;
    memmove(at, at + 1, behind * sizeof(*at));
    all->count--;
}

static void add(entries *all, size_t i, const char *key, lkv_place place)
{
    memmove(&all->at[i + 1], &all->at[i], (all->count - i) * sizeof(entry));
    memset(&all->at[i], 0, sizeof(entry));
    snprintf(all->at[i].key, sizeof(all->at[i].key), "%s", key);
    all->at[i].place = place;
    all->count++;
}

/* The log's record number `n` of `key`, from 0 on. */
static lkv_loc record_of(fixture *f, const char *key, unsigned n)
{
    lkv_log_scan scan = {.log = &f->store->log,
                         .segment = f->store->log.first,
                         .offset = LKV_SEGMENT_HEADER};
    lkv_record record;
    lkv_loc loc;
    while (lkv_log_next(&scan, &record, &loc, NULL) == LKV_OK) {
        if (record.kind != LKV_KIND_COMMIT && record.key.size == strlen(key) &&
            memcmp(record.key.data, key, record.key.size) == 0 && n-- == 0) {
            return loc;
        }
    }
    CHECK(0);
    return 0;
}

/* The small store's runs hold a | e | -b g; `which` run gets the entries `all`. */
static void check_wrong_run(fixture *f, uint32_t which, const entries *all,
                            const char *text)
{
    put_entries(f, &f->store->log.runs->run[which], all);
    CHECK_HAS(verified(f->store), text);
    fixture_close(f);
    layers_small(f);
}

static void entries_of_no_record(void)
{
    lkv_place place;
    entries all;
    fixture f;

    layers_small(&f);
    for (int i = 0; i < 5; i++) {
        take_entries(&f, &f.store->log.runs->run[2], &all);
        place = find_entry(&all, i == 1 ? "b" : "g")->place;
        place.loc += i == 0 ? place.size : 0; /* the commit behind it, or anything */
        place.loc &= i == 1 ? ~LKV_LOC_TOMBSTONE : ~(lkv_loc)0;
        place.loc ^= i == 2 ? 1ull << 61 : 0;
        add(&all, 1, i == 3 ? "cc" : "c", place);
        find_entry(&all, i == 3 ? "cc" : "c")->place.loc += i == 4 ? 3 : 0;
        check_wrong_run(&f, 2, &all,
                        i == 0 || i == 4
                            ? "segment "
                            : "run 8 has another key or kind than the record");
    }
    fixture_close(&f);
}

static void wrong_runs(void)
{
    lkv_place place;
    entries all;
    fixture f;

    layers_small(&f);
    take_entries(&f, &f.store->log.runs->run[1], &all);
    put_entries(&f, &f.store->log.runs->run[1], &all);
    CHECK_TEXT(verified(f.store), "ok"); /* it is the change that is found */

    find_entry(&all, "e")->place.loc = record_of(&f, "e", 0);
    check_wrong_run(&f, 1, &all, "run 7 leads to another record than the newest");
    take_entries(&f, &f.store->log.runs->run[1], &all);
    find_entry(&all, "e")->place.size++;
    check_wrong_run(&f, 1, &all, "run 7 tells another size of the record");
    take_entries(&f, &f.store->log.runs->run[1], &all);
    find_entry(&all, "e")->place.loc ^= 1ull << 61;
    check_wrong_run(&f, 1, &all, "run 7 leads to another record than the newest");
    take_entries(&f, &f.store->log.runs->run[1], &all);
    find_entry(&all, "e")->place.loc |= LKV_LOC_TOMBSTONE;
    check_wrong_run(&f, 1, &all, "run 7 leads to another record than the newest");
    take_entries(&f, &f.store->log.runs->run[1], &all);
    find_entry(&all, "e")->place.loc = record_of(&f, "a", 0);
    check_wrong_run(&f, 1, &all, "run 7, block 0: a location is not in the log");

    take_entries(&f, &f.store->log.runs->run[2], &all);
    drop(&all, "g");
    check_wrong_run(&f, 2, &all, "run 8 does not have the key of the record");
    take_entries(&f, &f.store->log.runs->run[2], &all);
    drop(&all, "b");
    check_wrong_run(&f, 2, &all, "run 8 does not have the key of the record");
    take_entries(&f, &f.store->log.runs->run[2], &all);
    place = find_entry(&all, "g")->place;
    add(&all, 1, "c", place);
    check_wrong_run(&f, 2, &all, "run 8 has another key or kind than the record");
    take_entries(&f, &f.store->log.runs->run[2], &all);
    find_entry(&all, "g")->no_filter = 1;
    check_wrong_run(&f, 2, &all, ": the filter does not know a key");
    take_entries(&f, &f.store->log.runs->run[2], &all);
    add(&all, 2, "a", find_entry(&all, "g")->place);
    check_wrong_run(&f, 2, &all, ": the keys do not ascend");

    /* A key that the base has may not be hidden by what the oldest run does not know.
     */
    take_entries(&f, &f.store->log.runs->run[0], &all);
    memcpy(find_entry(&all, "a")->key, "aa", 3);
    check_wrong_run(&f, 0, &all, "run 6 does not have the key of the record");

    f.store->log.runs->run[1].live_bytes++;
    CHECK_HAS(verified(f.store), "run 7, block 1: the root counts other entries");
    f.store->log.runs->run[1].live_bytes--;
    f.store->live_bytes++;
    CHECK_TEXT(verified(f.store),
               "the index has other keys than the last commit counts");
    f.store->live_bytes--;
    f.store->log.runs->tail.chain++;
    CHECK_HAS(verified(f.store), "root: the tail does not fit the log");
    f.store->log.runs->tail.chain--;
    f.store->log.at.chain++;
    CHECK_HAS(verified(f.store),
              "the log does not end in the commit that was published");
    f.store->log.at.chain--;
    f.store->log.at.revision++;
    CHECK_HAS(verified(f.store),
              "the log does not end in the commit that was published");
    f.store->log.at.revision--;
    CHECK_TEXT(verified(f.store), "ok");
    fixture_close(&f);
}

/* Without parts the oldest run leaves out what is deleted; what lives it may not. */
static void oldest_run(void)
{
    entries all;
    fixture f;

    layers_open(&f);
    lkv_auto_compact_fallback(f.store, 0);
    f.store->flush_size = 300;
    commit_text(f.store, "a", "1");
    commit_text(f.store, "b", "1");
    commit_text(f.store, "a", NULL);
    commit_text(f.store, "c", "1");
    commit_text(f.store, "d", "1");
    CHECK_SIZE(f.store->log.runs->count, 1);
    take_entries(&f, &f.store->log.runs->run[0], &all);
    CHECK_SIZE(all.count, 2);
    CHECK_TEXT(verified(f.store), "ok");
    drop(&all, "b");
    put_entries(&f, &f.store->log.runs->run[0], &all);
    CHECK_TEXT(verified(f.store),
               "the index has other keys than the last commit counts");
    fixture_close(&f);
}

static void wrong_memory(void)
{
    lkv_place place = {0, 15}, old;
    fixture f;

    layers_small(&f);
    place.loc = record_of(&f, "e", 3);
    CHECK_INT(lkv_memindex_put(f.store->index, text_bytes("z"), place, &old), LKV_OK);
    CHECK_TEXT(verified(f.store), "the index in memory has other keys");
    lkv_memindex_remove(f.store->index, text_bytes("z"));
    place = lkv_memindex_get(f.store->index, text_bytes("e"));
    place.loc = record_of(&f, "e", 2);
    CHECK_INT(lkv_memindex_put(f.store->index, text_bytes("e"), place, &old), LKV_OK);
    CHECK_HAS(verified(f.store),
              "the index in memory leads to another record than the newest");
    lkv_memindex_remove(f.store->index, text_bytes("e"));
    CHECK_HAS(verified(f.store),
              "the index in memory does not have the key of the record");
    fixture_close(&f);
}

/* The keys of the part's records. */
static void take_keys(fixture *f, entries *out)
{
    lkv_base_cursor cursor;
    out->count = 0;
    lkv_base_init(&cursor, &f->store->log, f->store->log.runs);
    for (int rc = lkv_base_first(&cursor, NULL); rc == LKV_OK;
         rc = lkv_base_next(&cursor, NULL)) {
        lkv_bytes key = lkv_base_key(&cursor);
        entry *at = &out->at[out->count++];
        memset(at, 0, sizeof(*at));
        memcpy(at->key, key.data, key.size);
    }
    lkv_base_free(&cursor);
}

/* Writes the fences of the part anew, and filters over `keys` without `but`. */
static void put_fences(fixture *f, lkv_part *part, const entries *in,
                       const entries *keys, const char *but)
{
    lkv_run_writer writer;
    size_t k = 0;

    lkv_run_writer_init(&writer, f->storage, &f->os.os, part->index);
    for (size_t i = 0; i < in->count; i++) {
        for (; k < keys->count &&
               (i + 1 == in->count || strcmp(keys->at[k].key, in->at[i + 1].key) < 0);
             k++) {
            lkv_bytes key = text_bytes(keys->at[k].key);
            if (strcmp(keys->at[k].key, but) != 0) {
                CHECK_INT(lkv_run_writer_add_hash(&writer, lkv_filter_hash(key)),
                          LKV_OK);
            }
        }
        CHECK_INT(lkv_run_writer_add_entry(&writer, text_bytes(in->at[i].key),
                                           in->at[i].place, NULL),
                  LKV_OK);
    }
    CHECK_INT(lkv_run_writer_finish(&writer, NULL), LKV_OK);
    part->blocks = writer.run.blocks;
    part->top = writer.run.top;
    lkv_run_writer_free(&writer);
    lkv_tops_free(&f->store->log.tops); /* where the branches were */
}

/* A whole fence has all of the key, and the record's tag, place and size. */
static void wrong_whole(fixture *f, lkv_part *part, entries all, const entries *keys)
{
    entry *at = &all.at[1];
    entry before;
    export out;

    at->place.loc |= LKV_LOC_WHOLE;
    before = *at;
    memcpy(at->key, keys->at[1].key, sizeof(at->key));
    put_fences(f, part, &all, keys, "none");
    CHECK_TEXT(verified(f->store), "ok");
    memcpy(at->key, keys->at[0].key, sizeof(at->key));
    at->key[strlen(at->key)] = '~'; /* zeros follow */
    put_fences(f, part, &all, keys, "none");
    CHECK_HAS(verified(f->store), "the index tells another record");
    *at = before;
    at->place.loc |= lkv_loc_make(1, 0, 0);
    put_fences(f, part, &all, keys, "none");
    CHECK_HAS(verified(f->store), "the index tells another record");
    *at = before;
    at->place.size++; /* and the next one begins there */
    all.at[2].place.size--;
    all.at[2].place.loc++;
    put_fences(f, part, &all, keys, "none");
    CHECK_HAS(verified(f->store), "the index tells another record");
    take_export(f->store, &out);
    begin(f->store);
    CHECK_INT(import(f->store, &out, &f->err), LKV_CORRUPT);
    CHECK_HAS(f->err.text, "the index tells another record");
    lkv_rollback(f->store);
    free(out.bytes);
}

static void wrong_parts(void)
{
    lkv_run index;
    lkv_part *part;
    entries all, keys, changed;
    fixture f;

    layers_small(&f);
    part = &f.store->log.runs->part[0];
    index = lkv_part_index(part);
    take_entries(&f, &index, &all);
    take_keys(&f, &keys);
    CHECK_SIZE(all.count, keys.count); /* no two begin in a quarter of such a block */
    CHECK(all.count > 2);
    put_fences(&f, part, &all, &keys, "none");
    CHECK_TEXT(verified(f.store), "ok");
    put_fences(&f, part, &all, &keys, "c");
    CHECK_HAS(verified(f.store), "part 1, offset ");
    CHECK_HAS(verified(f.store), "the index does not have it");
    changed = all;
    changed.at[1].key[strlen(changed.at[1].key)] = '~';
    put_fences(&f, part, &changed, &keys, "none");
    CHECK_HAS(verified(f.store), "the index leads elsewhere");
    changed = all;
    changed.at[1].place.size--;
    put_fences(&f, part, &changed, &keys, "none");
    CHECK_HAS(verified(f.store), "a location is not in the part");
    changed = all;
    changed.count--;
    put_fences(&f, part, &changed, &keys, "none");
    CHECK_HAS(verified(f.store), "the locations are not all of the part");
    put_fences(&f, part, &all, &keys, "none");
    part->digest++;
    CHECK_HAS(verified(f.store), "the root counts other records");
    part->digest--;
    part->size--;
    CHECK_HAS(verified(f.store), "run "); /* the fences reach further */
    part->size++;
    CHECK_TEXT(verified(f.store), "ok");
    wrong_whole(&f, part, all, &keys);
    fixture_close(&f);
}

static void wrong_lists(void)
{
    uint64_t random = check_seed();
    lkv_runs *runs;
    lkv_part part;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    runs = f.store->log.runs;
    part = runs->part[0];
    runs->part[0] = runs->part[1];
    runs->part[1] = part;
    CHECK(strcmp(verified(f.store), "ok") != 0);
    runs->part[1] = runs->part[0];
    runs->part[0] = part;
    CHECK_TEXT(verified(f.store), "ok");

    runs->merge[runs->merges - 1].entries++;
    CHECK_HAS(verified(f.store), "the root counts other entries");
    runs->merge[runs->merges - 1].entries--;
    runs->run[0].number = runs->run[1].number;
    CHECK_HAS(verified(f.store), "the root names it twice");
    fixture_close(&f);
}

/* What a merge has written must be what its inputs say. */
static void wrong_merge(void)
{
    uint64_t random = check_seed();
    lkv_run_writer writer;
    lkv_run_cursor cursor;
    lkv_run *merge;
    unsigned i = 0;
    fixture f;

    layers_open(&f);
    layers_fill(&f, &random);
    merge = &f.store->log.runs->merge[f.store->log.runs->merges - 1];
    lkv_run_cursor_init(&cursor, f.storage, &f.os.os, merge);
    lkv_run_writer_init(&writer, f.storage, &f.os.os, merge->number + 100);
    for (int rc = lkv_run_first(&cursor, NULL); rc == LKV_OK;
         rc = lkv_run_next(&cursor, NULL)) {
        lkv_place place = lkv_run_place(&cursor);
        place.size += i == 0 && lkv_loc_live(place.loc);
        i += lkv_loc_live(place.loc) ? 1 : 0;
        CHECK_INT(lkv_run_writer_add(&writer, lkv_run_key(&cursor), place, NULL),
                  LKV_OK);
    }
    CHECK_INT(lkv_run_writer_pause(&writer, NULL), LKV_OK);
    lkv_run_cursor_free(&cursor);
    writer.run.from = merge->from;
    writer.run.to = merge->to;
    *merge = writer.run;
    lkv_run_writer_free(&writer);
    CHECK(i > 0);
    f.storage->ops->rewind(f.storage, merge->number - 100, 0);
    CHECK_HAS(verified(f.store), "an entry is not what was merged");
    fixture_close(&f);
}

static void strays(void)
{
    lkv_bytes bytes = text_bytes("something");
    lkv_runs *runs;
    fixture f;

    layers_small(&f);
    layers_put_object(f.storage, 99, bytes);
    CHECK_TEXT(verified(f.store), "segment 99: the root does not name it");
    layers_put_object(f.storage, 99, (lkv_bytes){NULL, 0}); /* there is nothing in it */
    CHECK_TEXT(verified(f.store), "ok");
    layers_put_object(f.storage, LKV_RUN_FIRST + 500, bytes);
    CHECK_TEXT(verified(f.store), "run 501: the root does not name it");
    runs = lkv_flush_copy(f.store, 3, 0, 1);
    CHECK(runs != NULL);
    memcpy(runs->run, f.store->log.runs->run, 3 * sizeof(lkv_run));
    runs->garbage[0] = (lkv_gone){LKV_RUN_FIRST + 500, 1};
    lkv_log_set_runs(&f.store->log, runs);
    /* It is to be removed: nothing is wrong, but that the storage does not know. */
    CHECK_TEXT(verified(f.store), "root: it is not the one that was read");
    runs->garbage[0] = (lkv_gone){runs->part[0].index, 1};
    CHECK_HAS(verified(f.store), ": the root names it, and to be removed");
    fixture_close(&f);
}

static const check_case cases[] = {CASE(every_byte),  CASE(every_byte_of_the_root),
                                   CASE(wrong_runs),  CASE(entries_of_no_record),
                                   CASE(oldest_run),  CASE(wrong_memory),
                                   CASE(wrong_parts), CASE(wrong_lists),
                                   CASE(wrong_merge), CASE(strays)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
