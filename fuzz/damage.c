/*
 * damage.c - see damage.h.
 */
#include "damage.h"

#include "block.h"

#include <string.h>

#define MAX_OBJECTS 256u
#define ROOM (4u << 20)

void damage_seal_blocks(uint8_t *bytes, size_t size, uint32_t unit, uint32_t number)
{
    size_t units = size / unit;
    for (size_t at = 0; at < units;) {
        uint8_t *block = bytes + at * unit;
        size_t span = lkv_block_span(block, unit);
        span = span == 0 || span > units - at ? 1 : span;
        lkv_block_seal(block, span * unit, lkv_block_place(number, (uint32_t)at));
        at += span;
    }
}

void damage_seal_records(uint8_t *bytes, size_t size)
{
    size_t at = LKV_SEGMENT_HEADER;
    if (size < at) {
        return;
    }
    lkv_format_u32(bytes + 60, lkv_crc32(0, bytes, 60));
    while (size - at >= LKV_RECORD_HEADER) {
        uint64_t length = (uint64_t)lkv_format_get_u32(bytes + at + 5) +
                          lkv_format_get_u32(bytes + at + 9) + LKV_RECORD_HEADER;
        if (length > size - at) {
            return;
        }
        lkv_format_u32(bytes + at, lkv_crc32(0, bytes + at + 4, (size_t)length - 4));
        at += (size_t)length;
    }
}

void damage_seal_root(uint8_t *bytes, size_t size)
{
    if (size >= 4) {
        lkv_format_u32(bytes + size - 4, lkv_crc32(0, bytes, size - 4));
    }
}

/* Objects that the root lists; 0 when it lists none. */
static uint32_t list_objects(lkv_storage *storage, uint32_t *numbers)
{
    lkv_bytes bytes;
    lkv_root root;
    const char *why;
    uint32_t count = 0;

    if (storage->ops->read_root(storage, &bytes, NULL) != LKV_OK ||
        lkv_format_parse_root(bytes, &root, &why) != LKV_OK) {
        return 0;
    }
    for (uint32_t i = 0; i < root.segments && count < MAX_OBJECTS; i++) {
        lkv_segment segment;
        lkv_format_root_segment(bytes, i, &segment);
        numbers[count++] = segment.number;
    }
    for (uint32_t i = 0; i < root.runs + root.merges && count < MAX_OBJECTS; i++) {
        lkv_run run;
        lkv_format_root_run(bytes, &root, i, &run);
        numbers[count++] = run.number;
    }
    for (uint32_t i = 0; i < root.parts + root.pass.out && count + 1 < MAX_OBJECTS;
         i++) {
        lkv_part part;
        lkv_format_root_part(bytes, &root, i, &part);
        numbers[count++] = part.number;
        numbers[count++] = part.index;
    }
    return count;
}

/* A place, often one near the start. */
static size_t input_offset(input *in, size_t size)
{
    size_t at = input_byte(in);
    at |= (size_t)input_byte(in) << 8;
    return at % size;
}

/* Puts some bytes in the place of others, or turns bits of one. */
static void change(uint8_t *bytes, size_t size, input *in)
{
    uint8_t how = input_byte(in);
    size_t at = input_offset(in, size);
    size_t count = how & 1 ? 1 : 1 + (how >> 1 & 7);
    for (size_t i = 0; i < count && at + i < size; i++) {
        uint8_t by = input_byte(in);
        bytes[at + i] = how & 1 ? bytes[at + i] ^ by : by;
    }
}

static void swap_blocks(uint8_t *bytes, size_t size, uint32_t unit, input *in)
{
    size_t units = size / unit;
    if (units > 0) {
        size_t to = input_byte(in) % units, from = input_byte(in) % units;
        memmove(bytes + to * unit, bytes + from * unit, unit);
    }
}

enum damage damage_object(lkv_storage *storage, input *in, int sealed)
{
    static uint8_t bytes[ROOM];
    uint32_t numbers[MAX_OBJECTS], count = list_objects(storage, numbers), number;
    uint8_t how = input_byte(in);
    lkv_bytes view;
    size_t size;

    if (count == 0) {
        return DAMAGE_NONE;
    }
    number = numbers[input_byte(in) % count];
    MUST(storage->ops->read(storage, number, 0, 1, &view, NULL) == LKV_OK);
    size = view.size;
    if (size == 0 || size > ROOM) {
        return DAMAGE_NONE;
    }
    memcpy(bytes, view.data, size);
    if (how % 8 == 0) {
        size = input_offset(in, size);
    } else if (how % 8 == 1 && sealed) { /* the checksums of blocks come along */
        swap_blocks(bytes, size, storage->block, in);
    } else {
        change(bytes, size, in);
    }
    if (sealed && number >= LKV_RUN_FIRST) {
        damage_seal_blocks(bytes, size, storage->block, number);
    } else if (sealed) {
        damage_seal_records(bytes, size);
    }
    MUST(storage->ops->write(storage, number, 0, (lkv_bytes){bytes, size}, NULL) ==
         LKV_OK);
    return number >= LKV_RUN_FIRST ? DAMAGE_INDEX : DAMAGE_LOG;
}

void damage_root(lkv_storage *storage, input *in)
{
    static uint8_t bytes[ROOM];
    lkv_bytes view;
    lkv_end end;
    if (storage->ops->read_end(storage, &end, NULL) != LKV_OK ||
        storage->ops->read_root(storage, &view, NULL) != LKV_OK || view.size > ROOM) {
        return;
    }
    memcpy(bytes, view.data, view.size);
    change(bytes, view.size, in);
    damage_seal_root(bytes, view.size);
    MUST(storage->ops->write_root(storage, end.generation,
                                  (lkv_bytes){bytes, view.size}, NULL) == LKV_OK);
}

/* The objects behind a root, as far as it lists them. */
static void seal_objects(uint8_t *bytes, size_t root_size, size_t size, uint32_t unit)
{
    const char *why;
    lkv_bytes list = {bytes, root_size};
    size_t at = root_size;
    lkv_root root;

    if (lkv_format_parse_root(list, &root, &why) != LKV_OK) {
        return;
    }
    for (uint32_t i = 0; i < root.parts + root.runs; i++) {
        uint32_t number, blocks;
        if (i < root.parts) {
            lkv_part part;
            lkv_format_root_part(list, &root, i, &part);
            number = part.index;
            blocks = part.blocks;
        } else {
            lkv_run run;
            lkv_format_root_run(list, &root, i - root.parts, &run);
            number = run.number;
            blocks = run.blocks;
        }
        if (blocks > (size - at) / unit) {
            return;
        }
        damage_seal_blocks(bytes + at, (size_t)blocks * unit, unit, number);
        at += (size_t)blocks * unit;
    }
}

void damage_export(uint8_t *bytes, size_t *size, size_t room, input *in, int sealed,
                   uint32_t unit)
{
    uint8_t how = input_byte(in);
    size_t head = 12, root;

    if (how % 8 == 0) {
        *size = input_offset(in, *size + 1);
    } else if (how % 8 == 1 && *size < room) {
        bytes[(*size)++] = input_byte(in);
    } else if (*size > 0) {
        change(bytes, *size, in);
    }
    if (*size < head + 8) {
        return;
    }
    root = lkv_format_get_u32(bytes + 8);
    if (sealed > 1 && root <= *size - head - 8) {
        damage_seal_root(bytes + head, root);
        seal_objects(bytes + head, root, *size - head - 8, unit);
    }
    if (sealed > 0) {
        lkv_format_u64(bytes + *size - 8, lkv_hash_once(bytes, *size - 8));
    }
}
