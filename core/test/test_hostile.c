/*
 * test_hostile.c - stores whose checksums are right and whose rules are broken: nobody
 * writes them by accident. Each test is the smallest form of what fuzz/fuzz_log.c
 * found.
 */
#include "format.h"
#include "litekv.h"
#include "storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long passed, failed;

static void check(int good, const char *name, const char *what)
{
    if (good) {
        passed++;
    } else {
        failed++;
        printf("not ok %s: %s\n", name, what);
    }
}

typedef struct hostile {
    lkv_storage *storage;
    lkv_root root;
    lkv_segment list[3];
    lkv_end end;
    uint8_t bytes[3][1024]; /* of segments 1 to 3 */
    size_t size[3];
} hostile;

static void need(int condition)
{
    if (!condition) {
        printf("cannot go on\n0 passed, 1 failed\n");
        exit(1);
    }
}

/* Segment `i` (0 to 2), number i + 1, with nothing in it yet. */
static void begin_segment(hostile *h, int i, uint64_t base)
{
    lkv_segment_header header = {.number = (uint32_t)i + 1, .base = base};
    memset(header.store_id, 7, sizeof(header.store_id));
    lkv_format_segment(h->bytes[i], &header);
    h->size[i] = LKV_SEGMENT_HEADER;
    h->list[i] = (lkv_segment){header.number, 0, base};
}

/* An empty store of one segment. */
static void start(hostile *h)
{
    memset(h, 0, sizeof(*h));
    need(lkv_storage_mem_open(&lkv_os_posix, 512, &h->storage) == LKV_OK);
    memset(h->root.store_id, 7, sizeof(h->root.store_id));
    memset(h->end.store_id, 7, sizeof(h->end.store_id));
    h->root.generation = h->end.generation = 1;
    h->root.block = 512;
    h->root.segments = 1;
    h->root.next_part = LKV_PART_FIRST;
    h->root.next_run = LKV_RUN_FIRST;
    h->root.tail.segment = 1;
    h->root.tail.offset = LKV_SEGMENT_HEADER;
    lkv_format_chain_start(&h->root.tail.hash, h->root.store_id, 0, 0);
    h->end.segment = 1;
    h->end.offset = LKV_SEGMENT_HEADER;
    begin_segment(h, 0, 0);
}

static void add_record(hostile *h, int i, const char *key)
{
    lkv_bytes bytes = {key, strlen(key)};
    lkv_format_record(h->bytes[i] + h->size[i], LKV_KIND_PUT, 0, bytes, bytes);
    h->size[i] += lkv_format_size(bytes, bytes);
}

/* What opening it comes to; ends the test's store. */
static int open_it(hostile *h, lkv_error *err)
{
    const lkv_storage_ops *ops = h->storage->ops;
    size_t size = lkv_format_root_size(&h->root);
    uint8_t *root = malloc(size);
    lkv_store *store;
    int rc;

    need(root != NULL);
    lkv_format_root(root, &h->root, h->list, NULL, NULL, NULL, NULL, NULL);
    need(ops->write_root(h->storage, h->end.generation, (lkv_bytes){root, size}, err) ==
         LKV_OK);
    for (uint32_t i = 0; i < 3; i++) {
        lkv_bytes bytes = {h->bytes[i], h->size[i]};
        need(h->size[i] == 0 || ops->write(h->storage, i + 1, 0, bytes, err) == LKV_OK);
    }
    need(ops->publish_end(h->storage, &h->end, err) == LKV_OK);
    need(lkv_open(h->storage, &lkv_os_posix, &store) == LKV_OK);
    err->text[0] = 0;
    rc = lkv_refresh(store, err);
    lkv_close(store);
    lkv_storage_mem_close(h->storage);
    free(root);
    return rc;
}

static void must_be_refused(hostile *h, const char *name, const char *text)
{
    lkv_error err;
    check(open_it(h, &err) == LKV_CORRUPT, name, "it was opened");
    check(strcmp(err.text, text) == 0, name, err.text);
}

static void nothing_is_wrong(void)
{
    hostile h;
    lkv_error err;
    start(&h);
    check(open_it(&h, &err) == LKV_OK, "nothing_is_wrong", err.text);
}

/* Its header cannot tell the two apart when the first holds nothing; what is written
 * then goes to one and is looked for in the other. */
static void segment_listed_twice(void)
{
    hostile h;
    start(&h);
    h.root.segments = 2;
    h.list[0].size = LKV_SEGMENT_HEADER;
    h.list[1] = (lkv_segment){1, 0, 0};
    must_be_refused(&h, "segment_listed_twice", "root: the list of segments is wrong");
}

static void bases_run_over(void)
{
    hostile h;
    start(&h);
    begin_segment(&h, 0, UINT64_MAX - 9);
    add_record(&h, 0, "key");
    begin_segment(&h, 1, h.size[0] - LKV_SEGMENT_HEADER - 10);
    h.list[0].size = (uint32_t)h.size[0];
    h.root.segments = 2;
    h.end.segment = 2;
    must_be_refused(&h, "bases_run_over", "root: the list of segments is wrong");
}

/* Generation 0 is what a storage takes for "nothing was read": a commit would be lost.
 */
static void generations(void)
{
    static const uint64_t wrong[] = {0, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        hostile h;
        start(&h);
        h.root.generation = h.end.generation = wrong[i];
        must_be_refused(&h, "generations", "root: the generation is wrong");
    }
}

static void long_description(void)
{
    static const uint8_t zeros[LKV_META_MAX + 1];
    hostile h;
    start(&h);
    h.root.meta = (lkv_bytes){zeros, sizeof(zeros)};
    must_be_refused(&h, "long_description", "root: lengths do not fit together");
}

/* The open segment is empty, so that the end names no commit's place: what the segment
 * before it holds after the last commit was never committed. */
static void records_without_a_commit(void)
{
    lkv_commit_record commit = {.revision = 1, .covered = 0, .live_keys = 1};
    lkv_hash hash;
    hostile h;

    start(&h);
    add_record(&h, 0, "key");
    commit.covered = h.size[0] - LKV_SEGMENT_HEADER;
    lkv_format_chain_start(&hash, h.root.store_id, 0, 0);
    lkv_hash_add(&hash, h.bytes[0] + LKV_SEGMENT_HEADER, (size_t)commit.covered);
    commit.chain = lkv_format_chain_end(&hash, &commit);
    lkv_format_commit(h.bytes[0] + h.size[0], &commit);
    h.size[0] += LKV_COMMIT_SIZE;
    add_record(&h, 0, "key"); /* as many keys as the end says */
    h.list[0].size = (uint32_t)h.size[0];
    begin_segment(&h, 1, h.size[0] - LKV_SEGMENT_HEADER);
    h.root.segments = 2;
    h.end.segment = 2;
    h.end.revision = commit.revision;
    h.end.chain = commit.chain;
    h.end.live_keys = 1;
    must_be_refused(
        &h, "records_without_a_commit",
        "segment 2, offset 64: the log does not end in the commit that was published");
}

/* A location has 31 bits for the offset. */
static void end_beyond_a_segment(void)
{
    hostile h;
    start(&h);
    h.end.offset = LKV_SEGMENT_MAX + 1;
    must_be_refused(&h, "end_beyond_a_segment",
                    "the root and the end of the log differ");
}

/* Lengths whose sum has more than 32 bits; it must not run over in a size_t either. */
static void lengths_run_over(void)
{
    static const uint32_t lengths[][2] = {
        {UINT32_MAX, UINT32_MAX},  {UINT32_MAX, 14},
        {UINT32_MAX - 12, 13},     {0x80000000u, 0x80000000u},
        {LKV_SEGMENT_MAX - 12, 0}, {0, LKV_SEGMENT_MAX - 12}};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        uint8_t bytes[LKV_RECORD_HEADER] = {0, 0, 0, 0, LKV_KIND_PUT};
        lkv_record record;
        const char *why = "";
        size_t wanted = 0;
        lkv_format_u32(bytes + 5, lengths[i][0]);
        lkv_format_u32(bytes + 9, lengths[i][1]);
        check(lkv_format_shape(bytes, sizeof(bytes), &record, &wanted, &why) ==
                  LKV_CORRUPT,
              "lengths_run_over", why);
    }
}

static void *little_memory(void *ctx, void *old, size_t size)
{
    (void)ctx;
    return size > 1u << 20 ? NULL : realloc(old, size);
}

static void release(void *ctx, void *memory)
{
    (void)ctx;
    free(memory);
}

/* The size of a key is looked at before memory is asked for, and before its bytes. */
static void key_beyond_a_segment(void)
{
    lkv_os os = lkv_os_posix;
    lkv_row row = {{"", (size_t)LKV_SEGMENT_MAX + 1}, {NULL, 0}, 0};
    lkv_storage *storage;
    lkv_store *store;
    lkv_error err = {.text = ""};

    os.resize = little_memory;
    os.release = release;
    need(lkv_storage_mem_open(&os, 512, &storage) == LKV_OK);
    need(lkv_create(storage, &os, (lkv_bytes){NULL, 0}, &err) == LKV_OK);
    need(lkv_open(storage, &os, &store) == LKV_OK);
    need(lkv_begin(store, 0, &err) == LKV_OK);
    check(lkv_put(store, &row, &err) == LKV_TOO_BIG, "key_beyond_a_segment", err.text);
    lkv_rollback(store);
    lkv_close(store);
    lkv_storage_mem_close(storage);
}

int main(void)
{
    nothing_is_wrong();
    segment_listed_twice();
    bases_run_over();
    generations();
    long_description();
    records_without_a_commit();
    end_beyond_a_segment();
    lengths_run_over();
    key_beyond_a_segment();
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
