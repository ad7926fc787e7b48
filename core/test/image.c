/*
 * image.c - see image.h.
 */
#include "image.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

static uint8_t *copy_bytes(lkv_bytes bytes)
{
    uint8_t *copy = malloc(bytes.size + 1);
    if (copy == NULL) {
        abort();
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

static void take_object(store_image *out, lkv_storage *storage, uint32_t number,
                        size_t size)
{
    lkv_bytes view;
    if (out->objects >= IMAGE_SEGMENTS) {
        abort(); /* the test is wrong */
    }
    CHECK_INT(storage->ops->read(storage, number, 0, size, &view, NULL), LKV_OK);
    CHECK(view.size >= size);
    view.size = view.size < size ? view.size : size;
    out->segments[out->objects++] =
        (struct image_segment){number, copy_bytes(view), view.size};
}

void image_take(store_image *out, lkv_storage *storage)
{
    lkv_root root = {.segments = 0};
    const char *why = "";
    lkv_bytes view;

    memset(out, 0, sizeof(*out));
    CHECK_INT(storage->ops->read_end(storage, &out->end, NULL), LKV_OK);
    CHECK_INT(storage->ops->read_root(storage, &view, NULL), LKV_OK);
    out->root = copy_bytes(view);
    out->root_size = view.size;
    CHECK_INT(
        lkv_format_parse_root((lkv_bytes){out->root, out->root_size}, &root, &why),
        LKV_OK);
    for (uint32_t i = 0; i < root.segments; i++) {
        lkv_segment listed;
        lkv_format_root_segment((lkv_bytes){out->root, out->root_size}, i, &listed);
        listed.size = listed.size == 0 ? out->end.offset : listed.size;
        take_object(out, storage, listed.number, listed.size);
        out->count = i + 1;
    }
    for (uint32_t i = 0; i < root.runs + root.merges; i++) {
        lkv_run run;
        lkv_format_root_run((lkv_bytes){out->root, out->root_size}, &root, i, &run);
        take_object(out, storage, run.number, (size_t)run.blocks * root.block);
    }
}

void image_put(const store_image *from, lkv_storage *storage)
{
    const lkv_storage_ops *ops = storage->ops;
    for (unsigned i = 0; i < from->objects; i++) {
        const struct image_segment *at = &from->segments[i];
        CHECK_INT(
            ops->write(storage, at->number, 0, (lkv_bytes){at->bytes, at->size}, NULL),
            LKV_OK);
    }
    CHECK_INT(ops->write_root(storage, from->end.generation,
                              (lkv_bytes){from->root, from->root_size}, NULL),
              LKV_OK);
    CHECK_INT(ops->publish_end(storage, &from->end, NULL), LKV_OK);
}

void image_free(store_image *image)
{
    while (image->objects > 0) {
        free(image->segments[--image->objects].bytes);
    }
    image->count = 0;
    free(image->root);
    image->root = NULL;
}

uint8_t *image_at(store_image *image, uint32_t number, size_t offset)
{
    for (unsigned i = 0; i < image->objects; i++) {
        if (image->segments[i].number == number && offset < image->segments[i].size) {
            return image->segments[i].bytes + offset;
        }
    }
    abort(); /* the test is wrong */
}

void check_same_image(const char *file, int line, const store_image *got,
                      const store_image *want)
{
    uint8_t ends[2][LKV_END_SIZE];
    check_size(file, line, "the number of segments", got->count, want->count);
    check_size(file, line, "the number of objects", got->objects, want->objects);
    for (unsigned i = 0; i < want->objects && i < got->objects; i++) {
        const struct image_segment *a = &got->segments[i], *b = &want->segments[i];
        check_size(file, line, "the segment's number", a->number, b->number);
        check_bytes(file, line, "the segment", a->bytes, a->size, b->bytes, b->size);
    }
    check_bytes(file, line, "the root", got->root, got->root_size, want->root,
                want->root_size);
    lkv_end_encode(ends[0], &got->end);
    lkv_end_encode(ends[1], &want->end);
    check_bytes(file, line, "the end", ends[0], LKV_END_SIZE, ends[1], LKV_END_SIZE);
}

static struct image_segment *last(craft *c)
{
    return &c->image.segments[c->image.count - 1];
}

static uint64_t logical_end(craft *c)
{
    return c->list[c->image.count - 1].base + last(c)->size - LKV_SEGMENT_HEADER;
}

static void start_chain(craft *c)
{
    c->covered = 0;
    lkv_format_chain_start(&c->hash, c->image.end.store_id, c->commit.chain,
                           logical_end(c));
}

void craft_bytes(craft *c, lkv_bytes bytes, int chained)
{
    struct image_segment *at = last(c);
    uint8_t *moved = realloc(at->bytes, at->size + bytes.size + 1);
    if (moved == NULL) {
        abort();
    }
    memcpy(moved + at->size, bytes.data, bytes.size);
    at->bytes = moved;
    at->size += bytes.size;
    if (chained) {
        lkv_hash_add(&c->hash, bytes.data, bytes.size);
        c->covered += bytes.size;
    }
}

void craft_record(craft *c, enum lkv_kind kind, const char *key, const char *value)
{
    lkv_bytes k = {key, strlen(key)}, v = {value, strlen(value)};
    size_t size = lkv_format_size(k, v);
    uint8_t *bytes = malloc(size);
    if (bytes == NULL) {
        abort();
    }
    lkv_format_record(bytes, kind, 0, k, v);
    craft_bytes(c, (lkv_bytes){bytes, size}, 1);
    free(bytes);
}

void craft_commit(craft *c, uint64_t live_keys)
{
    uint8_t bytes[LKV_COMMIT_SIZE];
    c->commit = (lkv_commit_record){.revision = c->commit.revision + 1,
                                    .time_ms = 1000,
                                    .covered = c->covered,
                                    .synced_end = logical_end(c) + LKV_COMMIT_SIZE,
                                    .live_keys = live_keys,
                                    .live_bytes = live_keys * 15};
    c->commit.chain = lkv_format_chain_end(&c->hash, &c->commit);
    lkv_format_commit(bytes, &c->commit);
    craft_bytes(c, (lkv_bytes){bytes, sizeof(bytes)}, 0);
    start_chain(c);
}

void craft_segment(craft *c, uint32_t number)
{
    unsigned i = c->image.count++;
    lkv_segment_header header = {.number = number,
                                 .chain_before = c->commit.chain,
                                 .revision_before = c->commit.revision};
    if (i >= IMAGE_SEGMENTS) {
        abort();
    }
    if (i > 0) {
        c->list[i - 1].size = (uint32_t)c->image.segments[i - 1].size;
        header.base = c->list[i - 1].base + c->list[i - 1].size - LKV_SEGMENT_HEADER;
    }
    memcpy(header.store_id, c->image.end.store_id, LKV_ID_SIZE);
    c->list[i] = (lkv_segment){number, 0, header.base};
    c->image.segments[i] =
        (struct image_segment){number, malloc(LKV_SEGMENT_HEADER), LKV_SEGMENT_HEADER};
    if (c->image.segments[i].bytes == NULL) {
        abort();
    }
    c->image.objects = c->image.count;
    lkv_format_segment(c->image.segments[i].bytes, &header);
}

void craft_begin(craft *c)
{
    craft_begin_at(c, 1);
}

void craft_begin_at(craft *c, uint32_t number)
{
    memset(c, 0, sizeof(*c));
    for (unsigned i = 0; i < LKV_ID_SIZE; i++) {
        c->image.end.store_id[i] = (uint8_t)i;
    }
    c->image.end.generation = 1;
    craft_segment(c, number);
    start_chain(c);
}

void craft_root(craft *c)
{
    lkv_root root = {
        .generation = c->image.end.generation,
        .block = 64,
        .segments = c->image.count,
        .next_part = LKV_PART_FIRST,
        .next_run = LKV_RUN_FIRST,
        .tail = {.segment = c->list[0].number, .offset = LKV_SEGMENT_HEADER},
        .meta = {"about", 5}};
    memcpy(root.store_id, c->image.end.store_id, LKV_ID_SIZE);
    lkv_format_chain_start(&root.tail.hash, root.store_id, 0, 0);
    free(c->image.root);
    c->image.root_size = lkv_format_root_size(&root);
    c->image.root = malloc(c->image.root_size);
    if (c->image.root == NULL) {
        abort();
    }
    lkv_format_root(c->image.root, &root, c->list, NULL, NULL, NULL, NULL, NULL);
}

void craft_end(craft *c)
{
    lkv_end *end = &c->image.end;
    craft_root(c);
    end->revision = c->commit.revision;
    end->chain = c->commit.chain;
    end->live_keys = c->commit.live_keys;
    end->live_bytes = c->commit.live_bytes;
    end->segment = last(c)->number;
    end->offset = (uint32_t)last(c)->size;
}
