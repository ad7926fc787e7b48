/*
 * test_salvage.c - of a damaged store everything is kept that was not damaged, nothing
 * comes that was never there, and what it makes is whole.
 */
#include "rescue.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The small store's records that were ever there, the newest of each key first. */
static const struct truth {
    const char *key, *values[5];
} truths[] = {
    {"a", {"2", "some value", NULL}},
    {"b", {"", "some value", NULL}}, /* deleted: its first value is none */
    {"c", {"", NULL}},
    {"dddddddddddd", {"some value", NULL}},
    {"ddddddddddde", {"some value", NULL}},
    {"e", {"5", "4", "3", "2", NULL}},
    {"g", {"3", "2", NULL}},
    {"h", {"h", NULL}},
};
#define TRUTHS (sizeof(truths) / sizeof(truths[0]))

typedef struct spot {
    uint32_t object;
    uint64_t from, to;
} spot;

/* Where the newest record of each key stands, and its tombstone's. */
static void find_spots(fixture *f, spot *spots)
{
    for (size_t i = 0; i < TRUTHS; i++) {
        lkv_place place;
        CHECK_INT(lkv_lookup(f->store, text_bytes(truths[i].key), &place, &f->err),
                  LKV_OK);
        CHECK(place.loc != LKV_NOWHERE);
        spots[i].object = lkv_loc_segment(place.loc);
        spots[i].from = lkv_loc_offset(place.loc);
        spots[i].to = spots[i].from + place.size +
                      (spots[i].object >= LKV_PART_FIRST ? LKV_MOVED_SIZE : 0);
    }
}

/* What has come out when bytes `from` to `to` of `object` were damaged. */
static void check_content(fixture *f, const spot *spots, const spot *damaged)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < TRUTHS; i++) {
        const char *value = get_text(f->store, truths[i].key);
        int hit = spots[i].object == damaged->object && damaged->from < spots[i].to &&
                  spots[i].from < damaged->to;
        int deleted = truths[i].key[0] == 'b', known = 0;
        rows += value != NULL;
        if (!hit) {
            CHECK_TEXT(value, deleted ? NULL : truths[i].values[0]);
            continue;
        }
        for (unsigned k = (unsigned)deleted; truths[i].values[k] != NULL; k++) {
            known |= value != NULL && strcmp(value, truths[i].values[k]) == 0;
        }
        CHECK(value == NULL || known);
    }
    CHECK_SIZE(lkv_count(f->store), rows);
}

/* The store as it was: the image, and the parts with their indexes, which it lacks. */
typedef struct whole {
    store_image image;
    unsigned parts;
    uint32_t number[4];
    uint8_t *bytes[4];
    size_t size[4];
} whole;

static void whole_take(whole *w, fixture *f)
{
    const lkv_runs *runs = f->store->log.runs;
    image_take(&w->image, f->memory);
    w->parts = 0;
    for (uint32_t i = 0; i < 2 * runs->parts && i < 4; i++) {
        uint32_t number =
            i % 2 == 0 ? runs->part[i / 2].number : runs->part[i / 2].index;
        lkv_bytes object = layers_object(f->storage, number);
        w->number[i] = number;
        w->size[i] = i % 2 == 0 ? runs->part[i / 2].size : object.size;
        w->bytes[i] = malloc(object.size + 1);
        if (w->bytes[i] == NULL) {
            abort();
        }
        memcpy(w->bytes[i], object.data, object.size);
        free((void *)(uintptr_t)object.data);
        w->parts++;
    }
}

static void whole_put(whole *w, fixture *f)
{
    image_put(&w->image, f->memory);
    for (unsigned i = 0; i < w->parts; i++) {
        layers_put_object(f->memory, w->number[i],
                          (lkv_bytes){w->bytes[i], w->size[i]});
    }
}

static void whole_free(whole *w)
{
    image_free(&w->image);
    for (unsigned i = 0; i < w->parts; i++) {
        free(w->bytes[i]);
    }
}

/* Damages bytes `from` to `to` of an object, and looks at what comes of it. */
static void damage_at(fixture *f, whole *w, const spot *spots, const spot *damaged,
                      uint8_t *at, int clears)
{
    size_t size = (size_t)(damaged->to - damaged->from);
    report said = {.object = damaged->object, .offset = damaged->from};
    uint8_t was[64];

    memcpy(was, at, size);
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(clears ? 0 : at[i] ^ (1u << (damaged->from * 5 % 8)));
    }
    if (memcmp(was, at, size) != 0) {
        whole_put(w, f);
        recover(f, &said);
        check_content(f, spots, damaged);
        if (damaged->object >= LKV_RUN_FIRST) {
            CHECK_TEXT(said.text, "");
        } else if (!clears) {
            CHECK(said.named);
            CHECK(said.count == 1);
        }
        if (check_failures() > 0) {
            printf("  object %x at %u: %s\n", damaged->object, (unsigned)damaged->from,
                   said.text);
        }
    }
    memcpy(at, was, size);
}

/* One damage after the other, each in the store as it was. */
static void damage_everywhere(int atomic, uint64_t width, int clears)
{
    spot spots[TRUTHS];
    unsigned kinds = 0;
    fixture f;
    whole w;

    layers_small(&f);
    f.storage->atomic = atomic;
    find_spots(&f, spots);
    whole_take(&w, &f);
    CHECK_SIZE(w.parts, 2);
    for (unsigned n = 0; n < w.image.objects + w.parts; n++) {
        int is_part = n >= w.image.objects;
        uint32_t number =
            is_part ? w.number[n - w.image.objects] : w.image.segments[n].number;
        size_t size = is_part ? w.size[n - w.image.objects] : w.image.segments[n].size;
        uint8_t *bytes =
            is_part ? w.bytes[n - w.image.objects] : w.image.segments[n].bytes;
        kinds |= 1u << (number / LKV_PART_FIRST);
        for (size_t k = 0; k < size && check_failures() == 0; k += width) {
            spot damaged = {number, k, size - k < width ? size : k + width};
            damage_at(&f, &w, spots, &damaged, bytes + k, clears);
        }
    }
    CHECK_SIZE(kinds, 7); /* segments, parts, runs */
    whole_put(&w, &f);
    fixture_reopen(&f);
    whole_free(&w);
    fixture_close(&f);
}

static void every_byte(void)
{
    damage_everywhere(1, 1, 0);
}

static void every_byte_without_places(void)
{
    damage_everywhere(0, 1, 0);
}

static void every_block(void)
{
    damage_everywhere(1, 64, 0);
    damage_everywhere(1, 64, 1);
    damage_everywhere(0, 64, 1);
}

/* The small store without the first segment of its log. */
#define SEGMENT_LOST                                                                   \
    "a=some value b=some value c= dddddddddddd=some value ddddddddddde=some value "    \
    "e=5 g=3 h=h"

/* Objects whose headers are right, and say that they are others. */
static void other_headers(void)
{
    for (unsigned i = 0; i < 8; i++) {
        lkv_segment_header header = {.number = 0};
        int is_part = i % 2 == 1;
        report said = {0};
        const char *why, *now;
        char text[40];
        lkv_bytes object;
        uint32_t number, size;
        fixture f;

        layers_small(&f);
        number = is_part ? f.store->log.runs->part[0].number
                         : f.store->log.segments[f.store->log.first].number;
        object = layers_object(f.memory, number);
        size = is_part ? f.store->log.runs->part[0].size
                       : f.store->log.segments[f.store->log.first].size;
        CHECK_INT(lkv_format_parse_segment(object, &header, &why), LKV_OK);
        header.number += i / 2 == 0;
        header.kind ^= i / 2 == 1;
        header.store_id[7] ^= i / 2 == 2;
        header.base += i / 2 == 3;
        lkv_format_segment((uint8_t *)(uintptr_t)object.data, &header);
        layers_put_object(f.memory, number, object);
        now = recover(&f, &said);
        snprintf(text, sizeof(text), "%s %u: 0+%u -..-", is_part ? "part" : "segment",
                 is_part ? number - LKV_PART_FIRST + 1 : number, size);
        if (is_part && i / 2 == 3) { /* where in the log it was made is no matter */
            CHECK_TEXT(said.text, "");
            CHECK_TEXT(now, LAYERS_SMALL);
        } else {
            CHECK_TEXT(said.text, text);
            CHECK_TEXT(now, is_part ? "a=2 e=5 g=3 h=h" : SEGMENT_LOST);
        }
        free((void *)(uintptr_t)object.data);
        fixture_close(&f);
    }
}

/* Behind damage stands a record, and behind that one which no log has, or a commit that
 * is not of this past: what leads there is not believed. */
static void leads_to_what_cannot_be(void)
{
    for (int way = 0; way < 3; way++) {
        uint8_t moved[LKV_RECORD_HEADER + LKV_MOVED_SIZE + 2];
        report said = {0};
        lkv_end end;
        fixture f;
        craft c;

        craft_begin(&c);
        craft_record(&c, LKV_KIND_PUT, "a", "1"); /* 64 to 79; the commit to 148 */
        craft_commit(&c, 1);
        craft_record(&c, LKV_KIND_PUT, "b", "2"); /* 148 to 163 */
        craft_record(&c, LKV_KIND_PUT, "c", "3"); /* 163 to 178 */
        if (way == 1) {
            lkv_format_moved(moved, 0, text_bytes("d"), text_bytes("4"), 1, 1);
            craft_bytes(&c, (lkv_bytes){moved, sizeof(moved)}, 1);
        }
        c.commit.revision += way == 2 ? 7 : 0;
        craft_commit(&c, 3);
        craft_end(&c);
        end = c.image.end;
        c.image.end.revision -= way == 2 ? 7 : 0;
        *image_at(&c.image, 1, 148 + 5) ^= 0x40; /* the length of b's key */
        fixture_open(&f, 64);
        image_put(&c.image, f.memory);
        recover(&f, &said);
        CHECK_TEXT(get_text(f.store, "a"), "1");
        CHECK_TEXT(get_text(f.store, "b"), NULL);
        CHECK_TEXT(get_text(f.store, "c"), way == 0 ? "3" : NULL);
        CHECK_TEXT(get_text(f.store, "d"), NULL);
        CHECK_INT(end.segment, 1);
        CHECK_TEXT(said.text, way == 0   ? "segment 1: 148+15 a..c"
                              : way == 1 ? "segment 1: 148+61 a..-"
                                         : "segment 1: 148+99 a..-");
        image_free(&c.image);
        fixture_close(&f);
    }
}

static void nothing_is_wrong(void)
{
    store_image before, after;
    report said = {0};
    fixture f;

    layers_small(&f);
    image_take(&before, f.memory);
    CHECK_INT(salvage(f.store, 0, &said, &f.err), LKV_OK);
    CHECK_TEXT(said.text, "");
    CHECK_SIZE(said.kept, 7);
    CHECK(!lkv_in_transaction(f.store));
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_TEXT(said.text, "");
    CHECK_SIZE(said.kept, 7);
    CHECK(!lkv_log_changed(&f.store->log));
    prepare_and_commit(f.store);
    image_take(&after, f.memory);
    CHECK_SAME_IMAGE(&after, &before);
    image_free(&after);
    image_free(&before);
    fixture_close(&f);
}

/* Objects that nothing names are taken away: else the store would be found wrong again.
 */
static void strays(void)
{
    static const uint32_t numbers[] = {99, LKV_PART_FIRST + 70, LKV_RUN_FIRST + 500};
    report said = {0};
    fixture f;

    layers_small(&f);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        layers_put_object(f.storage, numbers[i], text_bytes("something"));
    }
    CHECK_HAS(verified(f.store), ": the root does not name it");
    CHECK_TEXT(recover(&f, &said), LAYERS_SMALL);
    CHECK_TEXT(said.text, "");
    fixture_close(&f);
}

/* The root is another than the one that was read, right in itself: of a later tail. */
static void root_of_another_tail(void)
{
    lkv_bytes root;
    report said = {0};
    fixture f;
    uint8_t *bytes;

    layers_small(&f);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    bytes = malloc(root.size);
    if (bytes == NULL) {
        abort();
    }
    memcpy(bytes, root.data, root.size);
    lkv_format_u64(bytes + 112, lkv_format_get_u64(bytes + 112) + 5);
    lkv_format_u32(bytes + root.size - 4, lkv_crc32(0, bytes, root.size - 4));
    CHECK_INT(f.memory->ops->lock(f.memory, 0, NULL), LKV_OK);
    CHECK_INT(f.memory->ops->write_root(f.memory, f.store->log.at.generation,
                                        (lkv_bytes){bytes, root.size}, NULL),
              LKV_OK);
    f.memory->ops->unlock(f.memory, &f.store->log.at);
    free(bytes);
    CHECK_TEXT(verified(f.store), "root: it is not the one that was read");
    CHECK_INT(salvage(f.store, 1, &said, &f.err), LKV_OK);
    CHECK_TEXT(said.text, "");
    prepare_and_commit(f.store);
    CHECK_TEXT(verified(f.store), "ok");
    CHECK_TEXT(recover(&f, &said), LAYERS_SMALL);
    fixture_close(&f);
}

/* The last record of a segment, whose lengths are right, holds a record that leads to
 * the end as it does: that is none of the table. */
static void record_at_the_end_of_a_value(void)
{
    report said = {0};
    uint8_t value[200] = {0};
    lkv_bytes object, key = text_bytes("fake"), old = text_bytes("never there");
    size_t size = lkv_format_size(key, old);
    lkv_row row = {text_bytes("big"), {value, sizeof(value)}, 0};
    lkv_place place;
    fixture f;

    fixture_open(&f, 64);
    f.storage->segment = 200;
    lkv_auto_compact_fallback(f.store, 0);
    lkv_format_record(value + sizeof(value) - size, LKV_KIND_PUT, 0, key, old);
    begin(f.store);
    CHECK_INT(lkv_put(f.store, &row, &f.err), LKV_OK);
    CHECK_INT(put_text(f.store, "next", "1"), LKV_OK);
    prepare_and_commit(f.store);
    CHECK_INT(lkv_lookup(f.store, row.key, &place, &f.err), LKV_OK);
    object = layers_object(f.memory, lkv_loc_segment(place.loc));
    CHECK_SIZE(object.size, lkv_loc_offset(place.loc) + place.size);
    ((uint8_t *)(uintptr_t)object.data)[lkv_loc_offset(place.loc) + 20] ^= 1;
    layers_put_object(f.memory, lkv_loc_segment(place.loc), object);
    free((void *)(uintptr_t)object.data);
    reopen(&f);
    CHECK_TEXT(recover(&f, &said), "next=1");
    CHECK_INT(said.count, 1);
    fixture_close(&f);
}

static const char *moved_key(unsigned i)
{
    static char key[8];
    snprintf(key, sizeof(key), "k%02u", i);
    return key;
}

#define MOVED 60u

/* Of each key an older record, or its tombstone, and the newest one, which a pass that
 * is under way, or was given up, has moved for the first `*moved`. Returns where key
 * `which` has its newest one in the log. */
static lkv_loc move_some(fixture *f, unsigned which, int given_up, uint64_t *moved)
{
    const lkv_runs *runs;
    lkv_place place;

    fixture_open(f, 64);
    f->storage->segment = 400;
    f->store->flush_size = 80;
    f->store->auto_compact = 0;
    for (unsigned i = 0; i < MOVED; i++) {
        commit_text(f->store, moved_key(i), "first");
    }
    CHECK_SIZE(compact_some(f, UINT64_MAX), 0);
    for (unsigned i = 0; i < MOVED; i++) {
        commit_text(f->store, moved_key(i), i % 2 == 0 ? "older" : NULL);
    }
    for (unsigned i = 0; i < MOVED; i++) {
        commit_text(f->store, moved_key(i), "newer");
    }
    CHECK_INT(lkv_lookup(f->store, text_bytes(moved_key(which)), &place, &f->err),
              LKV_OK);
    for (int i = 0; i < 90 && f->store->log.runs->pass.next == 0; i++) {
        (void)compact_some(f, 200);
    }
    runs = f->store->log.runs;
    CHECK(runs->pass.to > 0 && runs->pass.next > 0);
    *moved = 0;
    for (uint32_t i = 0; i < runs->pass.next; i++) {
        *moved += runs->part[i].keys;
    }
    CHECK(*moved > 4 && *moved < MOVED);
    if (given_up) {
        begin(f->store);
        CHECK_INT(lkv_rebuild(f->store, NULL, NULL, &f->err), LKV_OK);
        prepare_and_commit(f->store);
        CHECK_SIZE(f->store->log.runs->pass.to, 0);
    }
    return place.loc;
}

/* What a pass has moved is the newest, whatever can be read of the log that it took in.
 */
static void moved_before_the_log_goes(void)
{
    for (unsigned i = 0; i < 2 * MOVED; i++) {
        report said = {0};
        lkv_bytes segment;
        uint64_t moved;
        fixture f;
        lkv_loc loc = move_some(&f, i / 2, i % 2, &moved);
        const char *key = moved_key(i / 2);
        int in_part = i / 2 < moved;

        segment = layers_object(f.memory, lkv_loc_segment(loc));
        ((uint8_t *)(uintptr_t)segment.data)[lkv_loc_offset(loc) + 14] ^= 1;
        layers_put_object(f.memory, lkv_loc_segment(loc), segment);
        free((void *)(uintptr_t)segment.data);
        reopen(&f);
        (void)recover(&f, &said);
        CHECK_INT(said.count, 1);
        CHECK_TEXT(get_text(f.store, key), in_part          ? "newer"
                                           : i / 2 % 2 == 0 ? "older"
                                                            : NULL);
        CHECK_SIZE(said.kept, (unsigned)(in_part || i / 2 % 2 == 0) + MOVED - 1);
        fixture_close(&f);
    }
}

static int count_lost(void *arg, const lkv_lost *lost)
{
    (void)arg;
    (void)lost;
    return LKV_OK;
}

static int count_call(void *arg)
{
    ++*(int *)arg;
    return LKV_OK;
}

/* A value of so many records, which lead nowhere, is not read once for each of them. */
static void many_records_inside_a_value(void)
{
    enum { MANY = 4000 };
    static uint8_t fakes[MANY * 18 + 7];
    int calls = 0;
    lkv_salvage_calls of = {count_lost, count_call, &calls};
    uint64_t kept = 0;
    store_image image;
    fixture f;

    fixture_open(&f, 4096);
    memset(fakes, 0xee, sizeof(fakes));
    for (size_t i = 0; i < MANY; i++) {
        lkv_format_record(fakes + i * 18, LKV_KIND_PUT, 0, text_bytes("fake"),
                          text_bytes("1"));
    }
    begin(f.store);
    CHECK_INT(lkv_put(f.store, &(lkv_row){text_bytes("b"), {fakes, sizeof(fakes)}, 0},
                      &f.err),
              LKV_OK);
    CHECK_INT(put_text(f.store, "c", "1"), LKV_OK);
    prepare_and_commit(f.store);
    image_take(&image, f.memory);
    *image_at(&image, 1, 64 + 9) ^= 8;
    image_put(&image, f.memory);
    CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
    CHECK_INT(lkv_salvage(f.store, 0, &of, &kept, &f.err), LKV_OK);
    CHECK_SIZE(kept, 1);
    CHECK(calls > 0 && calls < 100); /* each is 1,024 records */
    image_free(&image);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(many_records_inside_a_value),
                                   CASE(every_byte),
                                   CASE(every_byte_without_places),
                                   CASE(every_block),
                                   CASE(other_headers),
                                   CASE(leads_to_what_cannot_be),
                                   CASE(nothing_is_wrong),
                                   CASE(record_at_the_end_of_a_value),
                                   CASE(moved_before_the_log_goes),
                                   CASE(strays),
                                   CASE(root_of_another_tail)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
