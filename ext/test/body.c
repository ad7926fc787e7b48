/*
 * body.c - see body.h.
 */
#include "body.h"

#include "../core/posix.h"

#include <stdlib.h>
#include <string.h>

static uint32_t object_of(const body *b, const piece *at, uint64_t *base)
{
    *base = 0;
    if (b->all.db == NULL) {
        return (uint32_t)strtoul(at->name, NULL, 16);
    }
    *base = (uint64_t)(at->id & 0xffffffff) * b->root.block;
    return (uint32_t)(at->id >> 32);
}

/* Bytes of an object that the root lists. */
static uint64_t listed(const body *b, uint32_t number)
{
    uint64_t block = b->root.block;
    for (uint32_t i = 0; i < b->root.segments; i++) {
        lkv_segment at;
        lkv_format_root_segment(b->root_bytes, i, &at);
        if (at.number == number) {
            return at.size == 0 ? b->open_end : at.size;
        }
    }
    for (uint32_t i = 0; i < b->root.parts + b->root.pass.out; i++) {
        lkv_part at;
        lkv_format_root_part(b->root_bytes, &b->root, i, &at);
        if (at.number == number || at.index == number) {
            return at.number == number ? at.size : at.blocks * block;
        }
    }
    for (uint32_t i = 0; i < b->root.runs + b->root.merges; i++) {
        lkv_run at;
        lkv_format_root_run(b->root_bytes, &b->root, i, &at);
        if (at.number == number) {
            return at.blocks * block;
        }
    }
    return 0;
}

/* What a bad byte behind the root's commit, at `offset` of the open segment, comes to,
 * or the file's end there; `*kept` is the last commit that is whole. */
static enum outcome behind_root(const body *b, uint64_t offset, int is_cut, int *kept)
{
    uint64_t end, base = 0;
    int k = 0, vouched;
    lkv_segment open;

    lkv_format_root_segment(b->root_bytes, b->root.segments - 1, &open);
    base = open.base - LKV_SEGMENT_HEADER;
    while (k + 1 < b->commit_count && b->commits[k + 1].end <= offset) {
        k++;
    }
    end = base + b->commits[k].end;
    vouched = b->root.synced > end;
    for (int i = 0; i < b->commit_count; i++) {
        int readable =
            i <= k || (!is_cut && (offset >= b->commits[i].end ||
                                   offset + LKV_COMMIT_SIZE < b->commits[i].end));
        vouched |= readable && b->commits[i].synced_end > end;
    }
    *kept = k;
    return vouched ? DAMAGE : OLDER;
}

enum outcome body_outcome(const body *b, int i, uint64_t offset, int is_cut, int *kept)
{
    const piece *at = &b->all.list[i];
    uint64_t base, size;
    uint32_t number;

    *kept = b->commit_count > 0 ? b->commit_count - 1 : 0;
    if (strcmp(at->name, "lock") == 0) {
        return is_cut || offset < 8 ? UNKNOWN : RIGHT; /* 8: the magic */
    }
    if (strncmp(at->name, "root", 4) == 0) {
        return b->all.db != NULL ? DAMAGE : i == b->published ? UNKNOWN : RIGHT;
    }
    number = object_of(b, at, &base);
    size = listed(b, number);
    if (b->all.db == NULL && number == b->end.segment && offset >= b->end.offset) {
        return is_cut && offset >= size ? RIGHT : behind_root(b, offset, is_cut, kept);
    }
    if (b->all.db != NULL && number == b->end.segment && size > 0) {
        return DAMAGE; /* the end stands behind it */
    }
    return base + offset < size ? DAMAGE : RIGHT;
}

static int take_root(body *b, int i, lkv_bytes bytes)
{
    const char *why;
    lkv_root root;
    if (lkv_format_parse_root(bytes, &root, &why) != LKV_OK ||
        root.generation <= b->root.generation) {
        return 0;
    }
    b->root = root;
    b->root_bytes = bytes;
    b->published = i;
    return 1;
}

/* The root with the greatest generation, and its end; of rows the published end. */
static void find_root(body *b)
{
    sqlite3_int64 last = 0;
    int ends = LKV_OK;
    for (int i = 0; i < b->all.count; i++) {
        const piece *at = &b->all.list[i];
        if (b->all.db == NULL && strncmp(at->name, "root", 4) == 0) {
            size_t size = lkv_format_get_u32(at->bytes);
            if (size > 0 &&
                take_root(b, i, (lkv_bytes){at->bytes + LKV_POSIX_SLOT_HEADER, size})) {
                CHECK(lkv_end_decode(at->bytes + 8, &b->end) == LKV_OK);
            }
        } else if (strcmp(at->name, "root") == 0 && at->id == 1) {
            CHECK(take_root(b, i, (lkv_bytes){at->bytes, at->size}));
        } else if (strcmp(at->name, "log") == 0 && at->id > last) {
            last = at->id;
            ends = lkv_end_decode(at->bytes + at->size - LKV_END_SIZE, &b->end);
        }
    }
    CHECK(ends == LKV_OK);
    b->open_end = b->end.offset;
}

/* The commits in the open segment, from the root's on. */
static void find_commits(body *b)
{
    for (int i = 0; i < b->all.count; i++) {
        const piece *at = &b->all.list[i];
        size_t offset = b->end.offset, need;
        lkv_record record;
        const char *why;
        if (strtoul(at->name, NULL, 16) != b->end.segment) {
            continue;
        }
        b->commits[b->commit_count++] =
            (struct vouched_commit){b->end.revision, 0, b->end.offset};
        while (lkv_format_parse(at->bytes + offset, at->size - offset, &record, &need,
                                &why) == LKV_OK) {
            lkv_commit_record commit;
            offset += record.size;
            if (lkv_format_parse_commit(&record, &commit) == LKV_OK &&
                b->commit_count < (int)BODY_COMMITS) {
                b->commits[b->commit_count++] = (struct vouched_commit){
                    commit.revision, commit.synced_end, (uint32_t)offset};
            }
        }
    }
    b->open_end = b->commits[b->commit_count - 1].end;
}

void body_look(body *b)
{
    b->published = -1;
    find_root(b);
    if (b->all.db == NULL) {
        find_commits(b);
    }
}
