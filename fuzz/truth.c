/*
 * truth.c - image_truth() of image.h: the rules of the format in the plainest words,
 * for a store that fits in memory. It believes the log and takes nothing from the runs.
 * Shares with core the decoding of single records and headers, which have checks of
 * their own in fuzz_log.c.
 */
#include "image.h"

#include <string.h>

typedef struct truth {
    lkv_storage *storage;
    lkv_end end;
    lkv_root root;
    lkv_bytes root_bytes;
    /* The reading under way: from the root's tail, or from the log's first record. */
    int from_tail;
    lkv_tail
        at; /* revision, chain, covered, hash: so far; where the last commit ended */
    int tail_met;
    map now; /* with records that no commit covers yet */
} truth;

/* A copy in input_memory(); 0 when there is no room. */
static int keep(lkv_bytes *bytes)
{
    uint8_t *copy = input_memory(bytes->size);
    if (copy == NULL) {
        return 0;
    }
    if (bytes->size > 0) {
        memcpy(copy, bytes->data, bytes->size);
    }
    bytes->data = copy;
    return 1;
}

/* Segments lie one after the other, none but the last is empty or open, and their
 * numbers follow each other. */
static int segments_are_right(const truth *t)
{
    lkv_segment at, next;
    for (uint32_t i = 0; i < t->root.segments; i++) {
        lkv_format_root_segment(t->root_bytes, i, &at);
        if (at.number < 1 || at.number > LKV_SEGMENT_NUMBER_MAX) {
            return 0;
        }
        if (i + 1 == t->root.segments) {
            return at.size == 0 && at.number == t->end.segment;
        }
        lkv_format_root_segment(t->root_bytes, i + 1, &next);
        if (at.size <= LKV_SEGMENT_HEADER || at.size > LKV_SEGMENT_MAX ||
            next.number != at.number + 1 || next.base < at.base ||
            next.base - at.base != at.size - LKV_SEGMENT_HEADER) {
            return 0;
        }
    }
    return 0;
}

/* The tail stands in a listed segment; `*logical` is where that is in the log. */
static int tail_is_right(const truth *t, uint64_t *logical)
{
    for (uint32_t i = 0; i < t->root.segments; i++) {
        lkv_segment at;
        lkv_format_root_segment(t->root_bytes, i, &at);
        if (at.number == t->root.tail.segment) {
            *logical = at.base + t->root.tail.offset - LKV_SEGMENT_HEADER;
            return t->root.tail.offset >= LKV_SEGMENT_HEADER &&
                   (at.size == 0 || t->root.tail.offset <= at.size);
        }
    }
    return 0;
}

/* Each run covers a range of the log, none what another does, none beyond the tail. */
static int runs_are_right(const truth *t, uint32_t first, uint32_t count, uint64_t tail)
{
    uint64_t at = 0;
    if (t->root.next_run < LKV_RUN_FIRST || t->root.next_run > LKV_RUN_LAST + 1) {
        return 0;
    }
    for (uint32_t i = first; i < first + count; i++) {
        lkv_run run;
        lkv_format_root_run(t->root_bytes, &t->root, i, &run);
        if (run.number < LKV_RUN_FIRST || run.number >= t->root.next_run ||
            run.from < at || run.to < run.from || run.to > tail ||
            (first == 0 && run.blocks == 0) ||
            (run.blocks > 0 && run.top >= run.blocks)) {
            return 0;
        }
        at = run.to;
    }
    return 1;
}

/* What a pass has written but not put among the parts follows them; its last one may
 * have no index yet. */
static int parts_are_listed(const truth *t)
{
    const lkv_root *root = &t->root;
    if (root->next_part < LKV_PART_FIRST || root->next_part > LKV_RUN_FIRST) {
        return 0;
    }
    for (uint32_t i = 0; i < root->parts + root->pass.out; i++) {
        int open = root->pass.open && i + 1 == root->parts + root->pass.out;
        lkv_part part;
        lkv_format_root_part(t->root_bytes, root, i, &part);
        if (part.number < LKV_PART_FIRST || part.number >= root->next_part ||
            part.size <= LKV_SEGMENT_HEADER || part.size > LKV_SEGMENT_MAX ||
            part.index < LKV_RUN_FIRST || part.index >= root->next_run ||
            part.keys == 0 || (part.blocks == 0 && !open) ||
            (part.blocks > 0 && part.top >= part.blocks)) {
            return 0;
        }
    }
    return 1;
}

/* A pass ends where a segment other than the first begins, at or before the tail. */
static int pass_is_right(const truth *t, uint64_t tail)
{
    const lkv_pass *pass = &t->root.pass;
    if (pass->to == 0) {
        return pass->next == 0 && pass->out == 0 && pass->open == 0;
    }
    if (pass->next > t->root.parts || pass->open > (pass->out > 0) || pass->to > tail) {
        return 0;
    }
    for (uint32_t i = 1; i < t->root.segments; i++) {
        lkv_segment at;
        lkv_format_root_segment(t->root_bytes, i, &at);
        if (at.base == pass->to) {
            return 1;
        }
    }
    return 0;
}

static int root_is_right(truth *t)
{
    const lkv_root *root = &t->root;
    const char *why;
    uint64_t tail;
    return lkv_format_parse_root(t->root_bytes, &t->root, &why) == LKV_OK &&
           root->generation == t->end.generation && root->generation > 0 &&
           root->generation <= INT64_MAX && root->block >= LKV_BLOCK_MIN &&
           root->block <= LKV_BLOCK_MAX && root->meta.size <= LKV_META_MAX &&
           memcmp(root->store_id, t->end.store_id, LKV_ID_SIZE) == 0 &&
           t->end.offset >= LKV_SEGMENT_HEADER && t->end.offset <= LKV_SEGMENT_MAX &&
           segments_are_right(t) && tail_is_right(t, &tail) &&
           runs_are_right(t, 0, root->runs, tail) &&
           runs_are_right(t, root->runs, root->merges, tail) && parts_are_listed(t) &&
           pass_is_right(t, tail);
}

/* The root's tail, when the reading from the log's first record comes by, must be what
 * that has found. */
static int meets_tail(truth *t, uint32_t segment, uint32_t offset)
{
    uint8_t own[LKV_HASH_SIZE], told[LKV_HASH_SIZE];
    const lkv_tail *tail = &t->root.tail;
    if (t->from_tail || segment != tail->segment || offset != tail->offset) {
        return 1;
    }
    t->tail_met = 1;
    lkv_hash_save(&t->at.hash, own);
    lkv_hash_save(&tail->hash, told);
    return tail->revision == t->at.revision && tail->chain == t->at.chain &&
           tail->covered == t->at.covered && memcmp(own, told, sizeof(own)) == 0;
}

static int commit_is_right(truth *t, const lkv_record *record, const lkv_segment *at,
                           uint32_t offset)
{
    uint64_t end = at->base + offset - LKV_SEGMENT_HEADER;
    lkv_commit_record commit;
    if (lkv_format_parse_commit(record, &commit) != LKV_OK ||
        commit.revision != t->at.revision + 1 || commit.covered != t->at.covered ||
        commit.chain != lkv_format_chain_end(&t->at.hash, &commit)) {
        return 0;
    }
    t->at.revision = commit.revision;
    t->at.chain = commit.chain;
    t->at.covered = 0;
    t->at.segment = at->number;
    t->at.offset = offset;
    lkv_format_chain_start(&t->at.hash, t->end.store_id, t->at.chain, end);
    /* What the last commit says of the live keys is the end's to repeat. F10 */
    return at->number != t->end.segment || offset != t->end.offset ||
           (commit.live_keys == t->end.live_keys &&
            commit.live_bytes == t->end.live_bytes);
}

static int apply(truth *t, const lkv_record *record)
{
    if (record->kind == LKV_KIND_TOMBSTONE) {
        map_remove(&t->now, record->key);
    } else if (record->kind == LKV_KIND_PUT) {
        lkv_row row = {record->key, record->value, record->tag};
        map_put(&t->now, &row);
    } else {
        return 0; /* a seal does not stand in the log */
    }
    return 1;
}

/* The records of one segment from `offset` on; its bytes are kept. */
static int records_are_right(truth *t, const lkv_segment *at, lkv_bytes bytes,
                             size_t offset)
{
    const char *why;
    size_t need;
    if (!meets_tail(t, at->number, (uint32_t)offset)) {
        return 0;
    }
    while (offset < bytes.size) {
        const uint8_t *start = (const uint8_t *)bytes.data + offset;
        lkv_record record;
        if (lkv_format_parse(start, bytes.size - offset, &record, &need, &why) !=
            LKV_OK) {
            return 0;
        }
        offset += record.size;
        if (record.kind == LKV_KIND_COMMIT) {
            if (!commit_is_right(t, &record, at, (uint32_t)offset)) {
                return 0;
            }
        } else {
            lkv_hash_add(&t->at.hash, start, record.size);
            t->at.covered += record.size;
            if (!apply(t, &record)) {
                return 0;
            }
        }
        if (!meets_tail(t, at->number, (uint32_t)offset)) {
            return 0;
        }
    }
    return offset == bytes.size;
}

/* Reads listed segment `i`: 1, 0, or -1 when there is no memory left. */
static int read_segment(truth *t, uint32_t i, size_t from)
{
    lkv_segment at;
    lkv_segment_header header;
    const char *why;
    lkv_bytes bytes;
    size_t size;

    lkv_format_root_segment(t->root_bytes, i, &at);
    size = i + 1 < t->root.segments ? at.size : t->end.offset;
    MUST(t->storage->ops->read(t->storage, at.number, 0, 1, &bytes, NULL) == LKV_OK);
    /* An opening that has nothing to read behind the tail does not see what is lost. */
    if (bytes.size < (t->from_tail && from == size ? LKV_SEGMENT_HEADER : size) ||
        from > size) {
        return 0;
    }
    bytes.size = bytes.size < size ? bytes.size : size;
    if (lkv_format_parse_segment(bytes, &header, &why) != LKV_OK ||
        header.number != at.number || header.kind != 0 || header.base != at.base ||
        memcmp(header.store_id, t->end.store_id, LKV_ID_SIZE) != 0) {
        return 0;
    }
    if (!keep(&bytes)) {
        return -1;
    }
    if (i == 0 && !t->from_tail) {
        t->at.segment = at.number;
        t->at.offset = LKV_SEGMENT_HEADER;
        t->at.revision = header.revision_before;
        t->at.chain = header.chain_before;
        lkv_format_chain_start(&t->at.hash, t->end.store_id, t->at.chain, at.base);
    }
    if (!t->from_tail && (header.revision_before != t->at.revision ||
                          header.chain_before != t->at.chain)) {
        return 0;
    }
    if (t->from_tail && from == size) {
        return meets_tail(t, at.number, (uint32_t)from);
    }
    return records_are_right(t, &at, bytes, from);
}

/* The records of a part: all in the long form, in the order of their keys, which go on
 * from those of the part before; then a seal that says what they are. */
static int part_is_right(truth *t, const lkv_part *part, lkv_bytes bytes,
                         const lkv_segment_header *header)
{
    const uint8_t *start = bytes.data;
    size_t offset = LKV_SEGMENT_HEADER, need;
    lkv_seal_record seal;
    lkv_record record;
    const char *why;
    uint64_t keys = 0, plain = 0, digest = 0;

    while (lkv_format_parse(start + offset, bytes.size - offset, &record, &need,
                            &why) == LKV_OK &&
           record.kind == LKV_KIND_PUT) {
        lkv_row row = {record.key, record.value, record.tag};
        size_t count = t->now.count;
        int equal;
        if (!record.moved || map_find(&t->now, row.key, &equal) != count) {
            return 0; /* not behind all others */
        }
        map_put(&t->now, &row);
        keys++;
        plain += record.size - LKV_MOVED_SIZE;
        digest = lkv_format_digest(digest, start + offset);
        offset += record.size;
    }
    return bytes.size - offset == LKV_SEAL_SIZE &&
           lkv_format_parse(start + offset, LKV_SEAL_SIZE, &record, &need, &why) ==
               LKV_OK &&
           lkv_format_parse_seal(&record, &seal) == LKV_OK &&
           seal.revision == header->revision_before &&
           seal.chain == header->chain_before && seal.keys == keys &&
           seal.bytes == plain && seal.digest == digest && part->keys == keys &&
           part->bytes == plain && part->digest == digest;
}

/* A part takes in the log up to where it begins now, or up to a later segment. */
static int takes_in_segments(const truth *t, uint64_t base)
{
    for (uint32_t i = 0; i < t->root.segments; i++) {
        lkv_segment at;
        lkv_format_root_segment(t->root_bytes, i, &at);
        if (at.base == base) {
            return 1;
        }
    }
    return 0;
}

/* Reads the parts: 1, 0, -1. */
static int base_is_right(truth *t)
{
    t->now.count = 0;
    for (uint32_t i = 0; i < t->root.parts; i++) {
        lkv_segment_header header;
        lkv_part part;
        const char *why;
        lkv_bytes bytes;
        lkv_format_root_part(t->root_bytes, &t->root, i, &part);
        MUST(t->storage->ops->read(t->storage, part.number, 0, 1, &bytes, NULL) ==
             LKV_OK);
        if (bytes.size < part.size) {
            return 0;
        }
        bytes.size = part.size;
        if (lkv_format_parse_segment(bytes, &header, &why) != LKV_OK ||
            header.number != part.number || header.kind != 1 ||
            !takes_in_segments(t, header.base) ||
            memcmp(header.store_id, t->end.store_id, LKV_ID_SIZE) != 0) {
            return 0;
        }
        if (!keep(&bytes)) {
            return -1;
        }
        if (!part_is_right(t, &part, bytes, &header)) {
            return 0;
        }
    }
    return 1;
}

/* Reads the log, from the tail or the start on: 1, 0, -1. */
static int log_is_right(truth *t, int from_tail)
{
    size_t from = LKV_SEGMENT_HEADER;
    uint32_t i = 0;
    int right = 1;

    t->from_tail = from_tail;
    t->tail_met = 0;
    memset(&t->at, 0, sizeof(t->at));
    if (from_tail) {
        lkv_segment first;
        lkv_format_root_segment(t->root_bytes, 0, &first);
        t->at = t->root.tail;
        i = t->root.tail.segment - first.number;
        from = t->root.tail.offset;
    }
    for (; i < t->root.segments && right == 1; i++, from = LKV_SEGMENT_HEADER) {
        right = read_segment(t, i, from);
    }
    if (right != 1) {
        return right;
    }
    return t->at.covered == 0 && t->at.segment == t->end.segment &&
           t->at.offset == t->end.offset && t->at.revision == t->end.revision &&
           t->at.chain == t->end.chain;
}

/* Whether there is room for as many keys as the end counts. F7 */
static int has_room(const truth *t)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->root.segments; i++) {
        lkv_segment at;
        lkv_format_root_segment(t->root_bytes, i, &at);
        bytes += i + 1 < t->root.segments ? at.size : t->end.offset;
    }
    for (uint32_t i = 0; i < t->root.parts + t->root.pass.out; i++) {
        lkv_part at;
        lkv_format_root_part(t->root_bytes, &t->root, i, &at);
        bytes += at.size;
    }
    return t->end.live_keys <= bytes / LKV_RECORD_HEADER;
}

int image_truth(lkv_storage *storage, image_verdict *out)
{
    static truth t;
    int rc;

    t.storage = storage;
    out->opens = out->right = 0;
    if (storage->ops->read_end(storage, &t.end, NULL) != LKV_OK ||
        storage->ops->read_root(storage, &t.root_bytes, NULL) != LKV_OK) {
        return 1;
    }
    if (!keep(&t.root_bytes)) {
        return 0;
    }
    if (!root_is_right(&t)) {
        return 1;
    }
    t.now.count = 0;
    rc = log_is_right(&t, 1);
    rc = rc == 1 ? has_room(&t) : rc;
    out->opens = rc == 1;
    out->rows = t.now; /* what a reader sees who has no run and no part */
    if (rc == 1) {
        rc = base_is_right(&t);
    }
    if (rc == 1) {
        rc = log_is_right(&t, 0);
        out->right =
            rc == 1 && t.tail_met && t.now.count == t.end.live_keys &&
            map_bytes(&t.now) == t.end.live_bytes &&
            (t.root.runs > 0 || t.root.parts > 0 || map_is_equal(&t.now, &out->rows));
        out->rows = t.now;
    }
    return rc >= 0;
}
