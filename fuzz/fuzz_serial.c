/*
 * fuzz_serial.c - bytes from outside as a serialized table.
 *
 * The first byte of an input chooses. Even: the rest is what is to be taken in, its
 * checksums made right by the bits of that byte. Odd: the rest is a program, which
 * fills a store, serializes it, and changes bytes of that.
 *
 * Aborts unless
 *   - what was not touched is taken in, and gives the same rows again;
 *   - what is refused leaves no trace, and says why;
 *   - what is taken in is whole by lkv_verify(), and gives the same bytes again, but
 * for the revision that it ends in, which never goes back;
 *   - memory stays in bounds, and all of it comes back.
 */
#include "format.h"
#include "input.h"
#include "map.h"
#include "store.h"

#include <string.h>

#define ROOM (1u << 20)
#define META "meta"
#define HEAD 12u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct serialized {
    size_t size;
    uint8_t bytes[ROOM];
} serialized;

static int keep(void *arg, lkv_bytes bytes)
{
    serialized *to = arg;
    if (bytes.size > ROOM - to->size) {
        return LKV_FAILED;
    }
    memcpy(to->bytes + to->size, bytes.data, bytes.size);
    to->size += bytes.size;
    return LKV_OK;
}

static int give(void *arg, uint64_t offset, void *out, size_t size)
{
    const serialized *from = arg;
    MUST(offset <= from->size && size <= from->size - offset);
    memcpy(out, from->bytes + offset, size);
    return LKV_OK;
}

/* Makes the seal fit the records before it. */
static void seal_again(uint8_t *at, lkv_seal_record *found)
{
    lkv_seal_record seal;
    lkv_record record;
    const char *why;
    size_t need;
    if (lkv_format_parse(at, LKV_SEAL_SIZE, &record, &need, &why) == LKV_OK &&
        lkv_format_parse_seal(&record, &seal) == LKV_OK) {
        found->revision = seal.revision;
        lkv_format_seal(at, found);
    }
}

/* Makes checksums right: of the head, of the records, of the seal, of all. */
static void mend(serialized *s, unsigned which)
{
    size_t at, end = s->size < 8 ? 0 : s->size - 8;
    lkv_seal_record found = {0};
    uint64_t meta;

    if (s->size < HEAD) {
        return;
    }
    meta = lkv_format_get_u32(s->bytes + 8);
    if (HEAD + meta + 4 > end) {
        return;
    }
    at = HEAD + (size_t)meta;
    if (which & 1) {
        lkv_format_u32(s->bytes + at, lkv_crc32(0, s->bytes, at));
    }
    for (at += 4; end - at >= LKV_RECORD_HEADER;) {
        uint8_t *record = s->bytes + at;
        uint64_t size = lkv_format_claimed(record);
        if (size > end - at) {
            break;
        }
        if (which & 2) {
            lkv_format_u32(record, lkv_crc32(0, record + 4, (size_t)size - 4));
        }
        if ((which & 4) && size == LKV_SEAL_SIZE && at + size == end) {
            seal_again(record, &found);
        }
        found.keys++;
        found.bytes += size - LKV_MOVED_SIZE;
        found.digest = lkv_format_digest(found.digest, record);
        at += (size_t)size;
    }
    if (which & 8) {
        lkv_format_u64(s->bytes + end, lkv_hash_once(s->bytes, end));
    }
}

typedef struct scene {
    bounded_os memory;
    lkv_storage *storage;
    lkv_store *store;
} scene;

static void scene_open(scene *s, uint8_t how)
{
    static const uint32_t blocks[] = {64, 512, 4096, LKV_BLOCK_MIN};
    bounded_os_init(&s->memory, 64u << 20);
    MUST(lkv_storage_mem_open(&s->memory.os, blocks[how & 3], &s->storage) == LKV_OK);
    s->storage->segment = 512u << (how >> 2 & 7);
    s->storage->spill = 1024;
    MUST(lkv_create(s->storage, &s->memory.os, (lkv_bytes){META, sizeof(META) - 1},
                    NULL) == LKV_OK);
    MUST(lkv_open(s->storage, &s->memory.os, &s->store) == LKV_OK);
    s->store->flush_size = 64u << (how >> 5);
    MUST(lkv_refresh(s->store, NULL) == LKV_OK);
}

static void scene_close(scene *s)
{
    lkv_close(s->store);
    lkv_storage_mem_close(s->storage);
    MUST(s->memory.held == 0);
}

static void serialize(scene *s, serialized *out)
{
    out->size = 0;
    MUST(lkv_serialize(s->store, keep, out, NULL) == LKV_OK);
}

/* Hands it in; `rows`, unless NULL, is what it has to give. */
static void take_in(scene *s, serialized *given, const map *rows, int commits)
{
    static serialized before, after;
    lkv_source source = {give, given, given->size};
    uint64_t revision = s->store->log.at.revision;
    lkv_error err = {.text = ""};
    int rc;

    serialize(s, &before);
    MUST(lkv_begin(s->store, 0, NULL) == LKV_OK);
    rc = lkv_deserialize(s->store, &source, NULL, NULL, &err);
    MUST(rc == LKV_CORRUPT || rc == LKV_OK);
    MUST(rc == LKV_OK || rows == NULL);
    if (rc == LKV_CORRUPT) {
        MUST(err.text[0] != 0 && !lkv_log_changed(&s->store->log));
    } else {
        size_t size = given->size - 8 - LKV_SEAL_SIZE;
        MUST(lkv_prepare(s->store, NULL) == LKV_OK);
        MUST(s->store->log.at.revision > revision);
        MUST(lkv_verify(s->store, NULL, NULL, NULL) == LKV_OK);
        serialize(s, &after);
        MUST(after.size == given->size && memcmp(after.bytes, given->bytes, size) == 0);
        if (rows != NULL) {
            map_must_be(rows, s->store);
        }
    }
    if (commits) {
        MUST(lkv_prepare(s->store, NULL) == LKV_OK);
        lkv_commit(s->store);
    } else {
        lkv_rollback(s->store);
    }
    if (!commits || rc != LKV_OK) {
        serialize(s, &after);
        MUST(after.size == before.size &&
             memcmp(after.bytes, before.bytes, before.size) == 0);
    }
    MUST(lkv_verify(s->store, NULL, NULL, NULL) == LKV_OK);
}

/* Transactions of a few changes each. */
static void fill(scene *s, input *in, map *rows)
{
    unsigned changes = input_byte(in) % 64u;

    while (changes > 0 && in->left > 0) {
        unsigned count = 1 + input_byte(in) % 8u;
        MUST(lkv_begin(s->store, 0, NULL) == LKV_OK);
        for (; count > 0 && changes > 0; count--, changes--) {
            lkv_row row = {input_key(in), input_value(in), count & 3};
            if (row.key.data == NULL || row.value.data == NULL) {
                break;
            }
            MUST(lkv_put(s->store, &row, NULL) == LKV_OK);
            map_put(rows, &row);
        }
        MUST(lkv_prepare(s->store, NULL) == LKV_OK);
        lkv_commit(s->store);
    }
}

/* Changes, cuts, or moves some bytes. */
static void damage(serialized *s, input *in)
{
    uint8_t how = input_byte(in);
    size_t at = s->size == 0 ? 0 : input_u32(in) % s->size;
    size_t count = 1 + (how >> 2 & 7);

    if ((how & 3) == 0) {
        s->size = at;
    } else if ((how & 3) == 1 && s->size - at > 2 * count) {
        memmove(s->bytes + at, s->bytes + at + count, count);
    } else {
        for (size_t i = 0; i < count && at + i < s->size; i++) {
            s->bytes[at + i] ^= input_byte(in);
        }
    }
}

static void run_program(input *in)
{
    static serialized given;
    static map rows;
    scene one, two;

    rows.count = 0;
    scene_open(&one, input_byte(in));
    scene_open(&two, input_byte(in));
    fill(&one, in, &rows);
    serialize(&one, &given);
    take_in(&two, &given, &rows, input_byte(in) & 1);
    for (unsigned i = 0; i < 8 && in->left > 0; i++) {
        uint8_t how = input_byte(in);
        serialize(&one, &given);
        damage(&given, in);
        if (how & 1) {
            damage(&given, in);
        }
        mend(&given, how >> 1);
        take_in(how & 128 ? &one : &two, &given, NULL, how & 32);
    }
    scene_close(&two);
    scene_close(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static serialized given;
    input in = {data, size};
    uint8_t how = input_byte(&in);

    input_reset();
    if (how & 1) {
        run_program(&in);
    } else if (in.left <= ROOM) {
        scene s;
        given.size = in.left;
        input_take(&in, given.bytes, given.size);
        mend(&given, how >> 1);
        scene_open(&s, how);
        take_in(&s, &given, NULL, how & 32);
        scene_close(&s);
    }
    return 0;
}
