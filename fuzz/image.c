/*
 * image.c - see image.h.
 */
#include "image.h"

#include <string.h>

static image_segment *open_segment(image *im)
{
    return &im->segment[im->count - 1];
}

static uint64_t place(image *im)
{
    const image_segment *open = open_segment(im);
    return open->listed.base + open->size - LKV_SEGMENT_HEADER;
}

static void start_chain(image *im)
{
    lkv_format_chain_start(&im->hash, im->root.store_id, im->last.chain, place(im));
    im->covered = 0;
}

void image_tail(image *im)
{
    lkv_tail *tail = &im->root.tail;
    tail->segment = open_segment(im)->listed.number;
    tail->offset = (uint32_t)open_segment(im)->size;
    tail->revision = im->last.revision;
    tail->chain = im->last.chain;
    tail->covered = im->covered;
    tail->hash = im->hash;
}

void image_start(image *im, uint8_t id)
{
    image_segment *first = &im->segment[0];

    memset(&im->root, 0, sizeof(im->root));
    memset(im->root.store_id, id, LKV_ID_SIZE);
    im->root.generation = 1;
    im->root.block = im->block;
    im->root.next_part = LKV_PART_FIRST;
    im->root.next_run = LKV_RUN_FIRST;
    im->count = 1;
    memset(&im->last, 0, sizeof(im->last));
    im->rows.count = 0;
    memset(&im->end, 0, sizeof(im->end));
    memcpy(im->end.store_id, im->root.store_id, LKV_ID_SIZE);
    im->end.generation = 1;
    im->end.segment = 1;
    im->end.offset = LKV_SEGMENT_HEADER;
    im->root_xor = 0;
    memset(&first->header, 0, sizeof(first->header));
    memcpy(first->header.store_id, im->root.store_id, LKV_ID_SIZE);
    first->header.number = 1;
    first->listed = (lkv_segment){1, 0, 0};
    first->size = LKV_SEGMENT_HEADER;
    lkv_format_segment(first->bytes, &first->header);
    start_chain(im);
    image_tail(im);
}

static uint8_t *room_for(image *im, size_t size)
{
    image_segment *open = open_segment(im);
    return size <= IMAGE_ROOM - open->size ? open->bytes + open->size : NULL;
}

/* What was written into room_for() is part of the log. */
static void appended(image *im, size_t size)
{
    image_segment *open = open_segment(im);
    lkv_hash_add(&im->hash, open->bytes + open->size, size);
    open->size += size;
    im->covered += size;
}

void image_record(image *im, enum lkv_kind kind, unsigned tag, lkv_bytes key,
                  lkv_bytes value)
{
    uint8_t *at = room_for(im, lkv_format_size(key, value));
    lkv_row row = {key, value, tag};
    if (at == NULL) {
        return;
    }
    lkv_format_record(at, kind, tag, key, value);
    appended(im, lkv_format_size(key, value));
    if (kind == LKV_KIND_PUT) {
        map_put(&im->rows, &row);
    } else {
        map_remove(&im->rows, key);
    }
}

void image_moved(image *im, unsigned tag, lkv_bytes key, lkv_bytes value)
{
    uint8_t *at = room_for(im, lkv_format_size(key, value) + 16);
    lkv_row row = {key, value, tag};
    if (at != NULL) {
        lkv_format_moved(at, tag, key, value, 1, 2);
        appended(im, lkv_format_size(key, value) + 16);
        map_put(&im->rows, &row);
    }
}

void image_bytes(image *im, lkv_bytes bytes)
{
    uint8_t *at = room_for(im, bytes.size);
    if (at != NULL && bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
        appended(im, bytes.size);
    }
}

void image_any_record(image *im, input *in)
{
    uint8_t type = input_byte(in);
    uint32_t key_size = input_u32(in), value_size = input_u32(in);
    uint64_t body = (uint64_t)key_size + value_size;
    uint8_t *at;

    body = body < 64 ? body : 64;
    at = room_for(im, LKV_RECORD_HEADER + (size_t)body);
    if (at != NULL) {
        at[4] = type;
        lkv_format_u32(at + 5, key_size);
        lkv_format_u32(at + 9, value_size);
        input_take(in, at + LKV_RECORD_HEADER, (size_t)body);
        lkv_format_u32(at, lkv_crc32(0, at + 4, LKV_RECORD_HEADER - 4 + (size_t)body));
        appended(im, LKV_RECORD_HEADER + (size_t)body);
    }
}

/* Bits 0-2 of `lie` choose the field; the chain value fits the lie unless it is it. */
void image_commit(image *im, input *in, uint8_t lie)
{
    uint64_t by = lie == 0 ? 0 : input_u32(in);
    uint8_t *at = room_for(im, LKV_COMMIT_SIZE);
    lkv_commit_record commit = {.revision = im->last.revision + 1,
                                .time_ms = 7,
                                .covered = im->covered,
                                .live_keys = im->rows.count,
                                .live_bytes = map_bytes(&im->rows)};
    if (at == NULL) {
        return;
    }
    commit.revision ^= (lie & 7) == 1 ? by : 0;
    commit.time_ms ^= (lie & 7) == 2 ? (int64_t)(by << 32) : 0;
    commit.covered ^= (lie & 7) == 3 ? by : 0;
    commit.synced_end ^= (lie & 7) == 4 ? by : 0;
    commit.live_keys ^= (lie & 7) == 5 ? by : 0;
    commit.live_bytes ^= (lie & 7) == 7 ? by : 0;
    commit.chain = lkv_format_chain_end(&im->hash, &commit);
    commit.chain ^= (lie & 7) == 6 ? by : 0;
    lkv_format_commit(at, &commit);
    open_segment(im)->size += LKV_COMMIT_SIZE;
    im->last = commit;
    start_chain(im);
    im->end.revision = commit.revision;
    im->end.chain = commit.chain;
    im->end.live_keys = commit.live_keys;
    im->end.live_bytes = commit.live_bytes;
    im->end.segment = open_segment(im)->listed.number;
    im->end.offset = (uint32_t)open_segment(im)->size;
}

/* A lie in the header of the open segment; with bit 7 the root tells the same one. */
static void lie_header(image *im, input *in, uint8_t lie)
{
    image_segment *open = open_segment(im);
    uint32_t by = input_u32(in);
    switch (lie & 7) {
    case 1:
        open->header.number ^= by;
        break;
    case 2:
        open->header.base ^= by;
        break;
    case 3:
        open->header.base ^= (uint64_t)by << 32;
        break;
    case 4:
        open->header.chain_before ^= by;
        break;
    case 5:
        open->header.revision_before ^= by;
        break;
    case 6:
        open->header.store_id[by & 15] ^= (uint8_t)(by >> 8);
        break;
    case 7:
        open->header.kind ^= by & 3;
        break;
    default:
        break;
    }
    lkv_format_segment(open->bytes, &open->header);
    if (lie & 8) {
        open->bytes[56 + (by & 3)] ^= (uint8_t)(by >> 8); /* not used */
        lkv_format_u32(open->bytes + 60, lkv_crc32(0, open->bytes, 60));
    }
    if (lie & 128) {
        open->listed.number = open->header.number;
        open->listed.base = open->header.base;
        im->end.segment = open->listed.number;
    }
}

/* Bit 6 of `lie`: the header of the segment that stands open is changed, and what the
 * log says goes on from there; else a new one is begun. */
void image_roll(image *im, input *in, uint8_t lie)
{
    image_segment *open = open_segment(im);
    if ((lie & 64) == 0) {
        image_segment *next = open + 1;
        uint64_t base = place(im);
        if (im->count == IMAGE_SEGMENTS) {
            return;
        }
        open->listed.size = (uint32_t)open->size;
        next->header = open->header;
        next->header.number = open->listed.number + 1;
        im->count++;
        next->header.base = base;
        next->header.chain_before = im->last.chain;
        next->header.revision_before = im->last.revision;
        next->listed = (lkv_segment){next->header.number, 0, base};
        next->size = LKV_SEGMENT_HEADER;
        lkv_format_segment(next->bytes, &next->header);
        open = next;
        im->end.segment = open->listed.number;
        im->end.offset = LKV_SEGMENT_HEADER;
        im->root.generation++;
        im->end.generation++;
    }
    if (lie & 63) {
        lie_header(im, in, lie);
    }
    if (im->count == 1 && open->size == LKV_SEGMENT_HEADER) { /* the log begins so */
        im->last.chain = im->end.chain = open->header.chain_before;
        im->last.revision = im->end.revision = open->header.revision_before;
        start_chain(im);
        image_tail(im);
    }
}

void image_flip(image *im, input *in)
{
    image_segment *at = &im->segment[input_byte(in) % im->count];
    size_t offset = (size_t)input_byte(in) << 8;
    offset |= input_byte(in);
    at->bytes[offset % IMAGE_ROOM] ^= input_byte(in);
}

void image_cut(image *im, input *in)
{
    image_segment *at = &im->segment[input_byte(in) % im->count];
    size_t size = (size_t)input_byte(in) << 8;
    size |= input_byte(in);
    at->size = size % (at->size + 1);
}

static void lie_tail(lkv_tail *tail, unsigned which, uint32_t by)
{
    switch (which) {
    case 0:
        tail->segment ^= by;
        break;
    case 1:
        tail->offset ^= by;
        break;
    case 2:
        tail->revision ^= by;
        break;
    case 3:
        tail->chain ^= by;
        break;
    case 4:
        tail->covered ^= by;
        break;
    default:
        *(by % 5 == 4 ? &tail->hash.length : &tail->hash.lane[by % 5]) ^= by;
        break;
    }
}

/* The rest of the root's header. */
static void lie_rest(image *im, const image_segment *at, unsigned which, uint32_t by)
{
    switch (which) {
    case 0:
        im->root.next_part ^= by;
        break;
    case 1:
        im->root.next_run ^= by;
        break;
    case 2:
        im->root.auto_compact ^= by;
        break;
    case 3: /* a pass that has made nothing yet */
        im->root.pass.to = at->listed.base ^ (by & 1);
        break;
    case 4:
        im->root.pass.next ^= by;
        break;
    case 5:
        im->root.pass.open ^= by;
        break;
    default:
        image_tail(im);
        break;
    }
}

void image_lie_root(image *im, input *in)
{
    uint8_t lie = input_byte(in);
    uint32_t by = input_u32(in);
    image_segment *at = &im->segment[(lie >> 4) % im->count];
    switch (lie & 7) {
    case 0:
        at->listed.number = by;
        break;
    case 1:
        at->listed.size ^= by;
        break;
    case 2:
        at->listed.base ^= by;
        break;
    case 3:
        im->root.block = by;
        break;
    case 4: /* in step with the end, or not */
        im->root.generation = by & 1 ? (uint64_t)by << 33 : ~(uint64_t)(by >> 1);
        im->end.generation = lie & 8 ? im->root.generation : im->end.generation;
        break;
    case 5:
        im->root.meta.size = by % 256; /* zeros */
        break;
    case 6:
        if (lie & 8) {
            lie_tail(&im->root.tail, by >> 24 & 7, by & 0xffffff);
        } else {
            lie_rest(im, at, by >> 24 & 7, by & 0xffffff);
        }
        break;
    default:
        im->root_flip = by & 0xffff;
        im->root_xor = (uint8_t)(by >> 16);
        im->root_sealed = (lie & 8) != 0;
        break;
    }
}

void image_lie_end(image *im, input *in)
{
    uint8_t lie = input_byte(in);
    uint32_t by = input_u32(in);
    switch (lie & 15) {
    case 8:
        im->end.live_bytes ^= by;
        break;
    case 0:
        im->end.store_id[by & 15] ^= (uint8_t)(by >> 8);
        break;
    case 1:
        im->end.generation ^= by;
        break;
    case 2:
        im->end.revision ^= by;
        break;
    case 3:
        im->end.chain ^= by;
        break;
    case 4:
        im->end.live_keys ^= by;
        break;
    case 5:
        im->end.segment ^= by;
        break;
    case 6:
        im->end.offset = (uint32_t)open_segment(im)->size;
        break;
    default:
        im->end.offset ^= by;
        break;
    }
}

static void install_root(const image *im, lkv_storage *storage)
{
    static const uint8_t zeros[256];
    static uint8_t bytes[LKV_ROOT_HEADER + IMAGE_SEGMENTS * LKV_ROOT_SEGMENT + 256 + 4];
    lkv_segment list[IMAGE_SEGMENTS];
    lkv_root root = im->root;
    size_t size;

    root.segments = (uint32_t)im->count;
    root.meta.data = zeros;
    for (size_t i = 0; i < im->count; i++) {
        list[i] = im->segment[i].listed;
    }
    size = lkv_format_root_size(&root);
    lkv_format_root(bytes, &root, list, NULL, NULL, NULL, NULL, NULL);
    bytes[im->root_flip % size] ^= im->root_xor;
    if (im->root_xor != 0 && im->root_sealed) {
        lkv_format_u32(bytes + size - 4, lkv_crc32(0, bytes, size - 4));
    }
    MUST(storage->ops->write_root(storage, im->end.generation, (lkv_bytes){bytes, size},
                                  NULL) == LKV_OK);
}

size_t image_size(const image *im)
{
    size_t size = 0;
    for (size_t i = 0; i < im->count; i++) {
        size += im->segment[i].size;
    }
    return size;
}

static int note_object(void *arg, uint32_t object)
{
    *(uint32_t *)arg = object;
    return 1;
}

/* Nothing of an older store is left. */
static void remove_all(lkv_storage *storage)
{
    uint32_t object;
    while (storage->ops->list(storage, note_object, &object, NULL) == 1) {
        MUST(storage->ops->remove(storage, object, 0, NULL) == LKV_OK);
    }
}

void image_install(const image *im, lkv_storage *storage)
{
    remove_all(storage);
    for (size_t i = 0; i < im->count; i++) {
        const image_segment *at = &im->segment[i];
        lkv_bytes bytes = {at->bytes, at->size};
        if (at->size > 0) {
            MUST(storage->ops->write(storage, at->listed.number, 0, bytes, NULL) ==
                 LKV_OK);
        }
    }
    install_root(im, storage);
    MUST(storage->ops->publish_end(storage, &im->end, NULL) == LKV_OK);
}
