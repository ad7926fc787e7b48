/*
 * test_forged_index.c - roots and indexes by a stranger's hand, right by every
 * checksum, of which only what goes on for long, or has looked before, takes harm.
 */
#include "fixture.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512u
#define KEYS 3000

static void fill(fixture *f, int size)
{
    begin(f->store);
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key%05d", i);
        CHECK_INT(put_filler(f->store, key, (size_t)size, 1), LKV_OK);
    }
    prepare_and_commit(f->store);
}

/* A pass goes on with an old part whose index does not begin with a leaf: damage, and
 * not for ever. */
static void no_first_leaf(void)
{
    const lkv_runs *runs;
    uint64_t left;
    uint32_t index;
    uint8_t *bytes;
    lkv_bytes view;
    size_t size;
    fixture f;

    fixture_open(&f, BLOCK);
    f.store->flush_size = 1024;
    fill(&f, 20);
    (void)compact_some(&f, UINT64_MAX);
    fill(&f, 21);
    for (int i = 0; i < 10000; i++) { /* until one part has just been replaced */
        (void)compact_some(&f, 1);
        runs = f.store->log.runs;
        if (runs->pass.next > 0 && runs->pass.out == 0) {
            break;
        }
    }
    CHECK(runs->pass.to != 0 && runs->pass.next > 0 && runs->pass.out == 0 &&
          runs->pass.next < runs->parts);
    index = runs->part[runs->pass.next].index;
    size = (size_t)runs->part[runs->pass.next].blocks * BLOCK;
    CHECK_INT(f.memory->ops->read(f.memory, index, 0, size, &view, NULL), LKV_OK);
    bytes = malloc(size);
    if (bytes == NULL) {
        abort();
    }
    memcpy(bytes, view.data, size);
    bytes[4] = LKV_BLOCK_TOP;
    lkv_block_seal(bytes, lkv_block_span(bytes, size) * BLOCK,
                   lkv_block_place(index, 0));
    CHECK_INT(f.memory->ops->write(f.memory, index, 0, (lkv_bytes){bytes, size}, NULL),
              LKV_OK);
    fixture_reopen(&f);
    begin(f.store);
    CHECK_INT(lkv_compact(f.store, 1000, &left, &f.err), LKV_CORRUPT);
    CHECK_HAS(f.err.text, "block 0: there is no first leaf");
    lkv_rollback(f.store);
    free(bytes);
    fixture_close(&f);
}

/* Publishes `size` bytes of a root that was changed, as the next generation. */
static void publish(fixture *f, uint8_t *root, size_t size)
{
    lkv_end end;
    CHECK_INT(f->memory->ops->read_end(f->memory, &end, NULL), LKV_OK);
    end.generation++;
    lkv_format_u64(root + 24, end.generation);
    lkv_format_u32(root + size - 4, lkv_crc32(0, root, size - 4));
    CHECK_INT(f->memory->ops->write_root(f->memory, end.generation,
                                         (lkv_bytes){root, size}, NULL),
              LKV_OK);
    CHECK_INT(f->memory->ops->publish_end(f->memory, &end, NULL), LKV_OK);
}

/* What a handle keeps of blocks is of their size. */
static void blocks_of_another_size(void)
{
    lkv_bytes root, value;
    uint8_t *bytes;
    lkv_row row;
    fixture f;

    fixture_open(&f, 4057);
    f.store->flush_size = 1024;
    fill(&f, 20);
    CHECK(f.store->log.runs->count > 0);
    f.memory->fresh = f.storage->fresh = 0; /* as copies that were looked at before */
    CHECK_INT(lkv_get(f.store, text_bytes("key00500"), &row, &f.err), LKV_OK);
    CHECK_INT(f.memory->ops->read_root(f.memory, &root, NULL), LKV_OK);
    bytes = malloc(root.size);
    if (bytes == NULL) {
        abort();
    }
    memcpy(bytes, root.data, root.size);
    CHECK_INT(lkv_format_get_u32(bytes + 32), 4057);
    lkv_format_u32(bytes + 32, BLOCK);
    publish(&f, bytes, root.size);
    for (int i = 0; i < KEYS; i += 7) {
        char key[16];
        int rc;
        snprintf(key, sizeof(key), "key%05d", i);
        rc = lkv_refresh(f.store, &f.err);
        rc = rc == LKV_OK ? lkv_get(f.store, text_bytes(key), &row, &f.err) : rc;
        value = row.value;
        CHECK(rc == LKV_CORRUPT || (rc == LKV_OK && value.size == 20));
    }
    free(bytes);
    fixture_close(&f);
}

/* More runs than memory of 32 bits could have cursors for. */
static void too_many_runs(void)
{
    for (uint32_t more = 0; more < 2; more++) {
        uint32_t count = LKV_RUNS_MOST + more;
        lkv_run *runs = calloc(count, sizeof(*runs));
        lkv_segment segment;
        lkv_root root;
        const char *why;
        uint8_t *bytes;
        lkv_bytes view;
        fixture f;

        fixture_open(&f, BLOCK);
        CHECK_INT(f.memory->ops->read_root(f.memory, &view, NULL), LKV_OK);
        CHECK_INT(lkv_format_parse_root(view, &root, &why), LKV_OK);
        lkv_format_root_segment(view, 0, &segment);
        root.runs = count;
        root.next_run = LKV_RUN_FIRST + 1;
        bytes = malloc(lkv_format_root_size(&root));
        if (runs == NULL || bytes == NULL) {
            abort();
        }
        for (uint32_t i = 0; i < count; i++) {
            runs[i] = (lkv_run){.number = LKV_RUN_FIRST, .blocks = 1};
        }
        CHECK_INT(root.parts + root.merges + root.gone, 0);
        lkv_format_root(bytes, &root, &segment, NULL, NULL, runs, NULL, NULL);
        publish(&f, bytes, lkv_format_root_size(&root));
        if (more) {
            CHECK_INT(lkv_refresh(f.store, &f.err), LKV_CORRUPT);
            CHECK_HAS(f.err.text, "root: the list of runs is wrong");
        } else {
            CHECK_INT(lkv_refresh(f.store, &f.err), LKV_OK);
        }
        free(bytes);
        free(runs);
        fixture_close(&f);
    }
}

static const check_case cases[] = {CASE(no_first_leaf), CASE(blocks_of_another_size),
                                   CASE(too_many_runs)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
