/*
 * verifyparts.c - of lkv_verify(): the parts, and what storage holds besides.
 */
#include "partscan.h"
#include "verify.h"

#include <stdio.h>
#include <string.h>

/* Parts */

typedef struct part_check {
    lkv_verify_state *v;
    const lkv_part *part;
    int finished;
    lkv_run index;
    lkv_buffer *last; /* the last key of the part before */
    int follows;      /* there is one */
} part_check;

static int wrong(const part_check *check, lkv_loc loc, const char *why, lkv_error *err)
{
    return lkv_log_damage(err, check->part->number, lkv_loc_offset(loc), why);
}

/* The fences must lead to the chunk that has the record, by its key. */
static int check_record(part_check *check, lkv_bytes key, const lkv_record *record,
                        lkv_loc loc, lkv_error *err)
{
    lkv_storage *storage = check->v->store->log.storage;
    uint64_t hash = lkv_filter_hash(key);
    uint32_t at = lkv_loc_offset(loc), from;
    lkv_place fence;
    int exact;
    int rc = lkv_run_floor(storage, &check->index, key, &hash, &fence, &exact, err);

    if (rc != LKV_OK) {
        return rc == LKV_ABSENT ? wrong(check, loc, "the index does not have it", err)
                                : rc;
    }
    from = lkv_loc_offset(fence.loc);
    if (at < from || at - from >= fence.size) {
        return wrong(check, loc, "the index leads elsewhere", err);
    }
    if (lkv_fence_whole(fence) && (at != from || record->size != fence.size || !exact ||
                                   lkv_loc_tag(fence.loc) != record->tag)) {
        return wrong(check, loc, "the index tells another record", err);
    }
    return LKV_OK;
}

/* The whole way down from the list of parts. */
static int check_way(part_check *check, lkv_bytes key, lkv_loc loc, lkv_error *err)
{
    lkv_place found;
    int rc =
        lkv_base_find(&check->v->store->log, key, lkv_filter_hash(key), &found, err);
    if (rc == LKV_ABSENT || (rc == LKV_OK && found.loc != loc)) {
        rc = wrong(check, loc, "the key is not found where it is", err);
    }
    return rc;
}

/* All records; `listed` says that lookups come to this part. */
static int check_records(part_check *check, lkv_part_scan *scan, int listed,
                         lkv_error *err)
{
    lkv_loc loc = 0, last = 0;
    lkv_record record;
    int rc;

    while ((rc = lkv_part_scan_next(scan, &record, &loc, err)) == LKV_OK) {
        lkv_bytes key = {scan->last.bytes, scan->last.size}; /* a copy of the key */
        if (scan->keys == 1 && check->follows &&
            lkv_compare((lkv_bytes){check->last->bytes, check->last->size}, key) >= 0) {
            return wrong(check, loc, "the parts' keys do not ascend", err);
        }
        rc = check->finished ? check_record(check, key, &record, loc, err) : LKV_OK;
        if (rc == LKV_OK && listed && scan->keys == 1) {
            rc = check_way(check, key, loc, err);
        }
        if (rc == LKV_OK) {
            rc = lkv_ask(&check->v->asking, record.size);
        }
        if (rc != LKV_OK) {
            return rc;
        }
        lkv_part_scan_moved(scan);
        last = loc;
    }
    if (rc == LKV_ABSENT && listed) {
        rc =
            check_way(check, (lkv_bytes){scan->last.bytes, scan->last.size}, last, err);
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int check_part(part_check *check, int listed, lkv_error *err)
{
    lkv_log *log = &check->v->store->log;
    const lkv_part *part = check->part;
    lkv_expected expected = {log, NULL, part, LKV_SEGMENT_HEADER};
    uint32_t end = part->size - (check->finished ? LKV_SEAL_SIZE : 0);
    const lkv_segment *last = &log->segments[log->count - 1];
    lkv_part_scan scan;
    int rc;

    check->index = lkv_part_index(part);
    rc = lkv_verify_run(check->v, &check->index, 1, check->finished, lkv_expected_fence,
                        &expected, err);
    if (rc == LKV_OK && expected.offset != end) {
        rc = lkv_run_damage(err, &check->index, check->index.top,
                            "the locations are not all of the part");
    }
    if (rc != LKV_OK) {
        return rc;
    }
    rc = lkv_part_scan_open(&scan, log, part, check->finished, err);
    if (rc == LKV_OK && scan.header.base > last->base +
                                               lkv_log_limit(log, log->count - 1) -
                                               LKV_SEGMENT_HEADER) {
        rc =
            lkv_log_damage(err, part->number, 0, "the part takes in more than the log");
    }
    if (rc == LKV_OK) {
        rc = check_records(check, &scan, listed, err);
    }
    if (rc == LKV_OK) { /* the next one's keys are above */
        lkv_buffer mine = *check->last;
        *check->last = scan.last;
        scan.last = mine;
        check->follows = 1;
    }
    lkv_part_scan_free(&scan);
    return rc;
}

int lkv_verify_parts(lkv_verify_state *v, lkv_error *err)
{
    const lkv_runs *runs = v->store->log.runs;
    lkv_buffer last = {NULL, 0, 0};
    part_check check = {.v = v, .last = &last};
    int rc = LKV_OK;

    for (uint32_t i = 0; i < runs->parts + runs->pass.out && rc == LKV_OK; i++) {
        check.part = &runs->part[i]; /* what a pass has written follows */
        check.finished = !(runs->pass.open && i + 1 == runs->parts + runs->pass.out);
        check.follows = check.follows && i != runs->parts;
        rc = check_part(&check, i < runs->parts, err);
    }
    lkv_os_free(v->store->log.os, last.bytes);
    return rc;
}

/* Objects */

/* How often the lists name an object; what is to be removed counts apart. */
static unsigned named(const lkv_log *log, uint32_t number)
{
    const lkv_runs *runs = log->runs;
    const lkv_segment *segment = lkv_log_segment(log, number);
    unsigned count = segment != NULL && segment >= log->segments + log->first;

    for (uint32_t i = 0; i < runs->parts + runs->pass.out; i++) {
        count += runs->part[i].number == number;
        count += runs->part[i].index == number;
    }
    for (uint32_t i = 0; i < runs->count + runs->merges; i++) {
        count += runs->run[i].number == number;
    }
    return count;
}

static int is_garbage(const lkv_runs *runs, uint32_t number)
{
    for (uint32_t i = 0; i < runs->gone; i++) {
        if (runs->garbage[i].number == number) {
            return 1;
        }
    }
    return 0;
}

static int object_damage(uint32_t number, const char *why, lkv_error *err)
{
    const char *kind = number >= LKV_RUN_FIRST    ? "run"
                       : number >= LKV_PART_FIRST ? "part"
                                                  : "segment";
    uint32_t first = number >= LKV_RUN_FIRST    ? LKV_RUN_FIRST - 1
                     : number >= LKV_PART_FIRST ? LKV_PART_FIRST - 1
                                                : 0;
    char text[96];
    snprintf(text, sizeof(text), "%s %u: %s", kind, number - first, why);
    return lkv_log_error(err, LKV_CORRUPT, text);
}

/* Each object is named once, and none that is named is to be removed. */
static int check_names(const lkv_log *log, lkv_error *err)
{
    const lkv_runs *runs = log->runs;

    for (uint32_t i = 0; i < 2 * (runs->parts + runs->pass.out); i++) {
        const lkv_part *part = &runs->part[i / 2];
        uint32_t number = i % 2 == 0 ? part->number : part->index;
        if (named(log, number) != 1) {
            return object_damage(number, "the root names it twice", err);
        }
    }
    for (uint32_t i = 0; i < runs->count + runs->merges; i++) {
        if (named(log, runs->run[i].number) != 1) {
            return object_damage(runs->run[i].number, "the root names it twice", err);
        }
    }
    for (uint32_t i = 0; i < runs->gone; i++) {
        if (named(log, runs->garbage[i].number) > 0) {
            return object_damage(runs->garbage[i].number,
                                 "the root names it, and to be removed", err);
        }
    }
    return LKV_OK;
}

typedef struct strays {
    const lkv_log *log;
    lkv_buffer *numbers;
} strays;

static int see_object(void *arg, uint32_t object)
{
    strays *seen = arg;
    if (named(seen->log, object) > 0 || is_garbage(seen->log->runs, object)) {
        return LKV_OK;
    }
    if (lkv_buffer_reserve(seen->numbers, seen->log->os, sizeof(object)) != LKV_OK) {
        return LKV_NOMEM;
    }
    memcpy(seen->numbers->bytes + seen->numbers->size, &object, sizeof(object));
    seen->numbers->size += sizeof(object);
    return LKV_OK;
}

int lkv_verify_strays(lkv_log *log, lkv_buffer *numbers, lkv_error *err)
{
    strays seen = {log, numbers};
    /* In files a writer that died may have left some, or one is at work just now. */
    return log->storage->atomic
               ? log->storage->ops->list(log->storage, see_object, &seen, err)
               : LKV_OK;
}

int lkv_verify_objects(lkv_verify_state *v, lkv_error *err)
{
    lkv_log *log = &v->store->log;
    lkv_buffer found = {.size = 0};
    int rc = check_names(log, err);

    if (rc == LKV_OK) {
        rc = lkv_verify_strays(log, &found, err);
    }
    for (size_t at = 0; rc == LKV_OK && at < found.size; at += sizeof(uint32_t)) {
        uint32_t number;
        memcpy(&number, found.bytes + at, sizeof(number));
        rc = number == 0
                 ? lkv_log_error(err, LKV_CORRUPT,
                                 "the storage has bytes of no segment, part or run")
                 : object_damage(number, "the root does not name it", err);
    }
    log->views++;
    lkv_os_free(log->os, found.bytes);
    return rc;
}
