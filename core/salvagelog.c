/*
 * salvagelog.c - of lkv_salvage(): what the log still has.
 *
 * Where the end can be read, everything before it was committed: a record that stands
 * where one was written counts, whatever became of its commit. Otherwise the log is
 * read twice: to find the last commit that can be believed, and then up to there.
 *
 * Behind damage a record that is found in the bytes may be part of a value, which may
 * hold a copy of a log. It is believed when the run that covers the place names it
 * there; and not when that run knows nothing of its key. Where there is no such run, or
 * it names a newer record of the key, it is believed when one record follows another
 * from it to a commit that can be where it stands, or to the end of the segment.
 */
#include "salvage.h"

#include <string.h>

typedef struct reader {
    lkv_survey *s;
    lkv_wreck wreck;
    const lkv_segment *segment;
    uint32_t number; /* of it in the list */
    int collects;    /* otherwise only the last commit is looked for */
    uint64_t revision, chain;
    int chained;   /* no byte since that commit was passed over: */
    lkv_hash hash; /* over them, */
    uint64_t covered;
    uint32_t stop, stop_at; /* the last commit ends there: in the list, offset */
} reader;

static uint64_t logical(const reader *r, uint32_t offset)
{
    return r->segment->base + offset - LKV_SEGMENT_HEADER;
}

static void start_chain(reader *r, uint32_t offset)
{
    r->chained = 1;
    r->covered = 0;
    lkv_format_chain_start(&r->hash, r->s->id, r->chain, logical(r, offset));
}

/* Whether the commit could stand at `offset`. */
static int is_possible(const reader *r, const lkv_commit_record *commit,
                       uint32_t offset)
{
    const lkv_survey *s = r->s;
    return commit->revision > r->revision &&
           (!s->end_known || commit->revision <= s->end.revision) &&
           (!s->storage->atomic ||
            commit->synced_end == logical(r, offset) + LKV_COMMIT_SIZE);
}

static int fits(void *arg, const lkv_record *record, uint32_t offset)
{
    lkv_commit_record commit;
    (void)arg;
    (void)offset;
    return record->kind == LKV_KIND_PUT || record->kind == LKV_KIND_TOMBSTONE ||
           lkv_format_parse_commit(record, &commit) == LKV_OK;
}

#define CANNOT_TELL 2

/* What the run that covers the place says of a record there: 1, it names it; 0, it has
 * no such key; or that it cannot tell. */
static int ask_run(const reader *r, const lkv_record *record, uint32_t offset,
                   lkv_error *err)
{
    lkv_survey *s = r->s;
    uint64_t place = logical(r, offset);
    int is_tombstone = record->kind == LKV_KIND_TOMBSTONE;
    lkv_bytes key;
    int rc = lkv_survey_copy(s, &s->key, record->key);

    if (rc != LKV_OK) {
        return rc;
    }
    key = (lkv_bytes){s->key.bytes, s->key.size};
    for (uint32_t i = 0; i < s->runs->count; i++) {
        const lkv_run *run = &s->runs->run[i];
        lkv_place found;
        if (place < run->from || place >= run->to) {
            continue;
        }
        rc = lkv_run_find(s->storage, run, key, lkv_filter_hash(key), &found, err);
        if (rc == LKV_OK) {
            return lkv_loc_segment(found.loc) == r->segment->number &&
                           lkv_loc_offset(found.loc) == offset
                       ? 1
                       : CANNOT_TELL;
        }
        if (rc == LKV_ABSENT) { /* tombstones leave the oldest run */
            return is_tombstone ? CANNOT_TELL : 0;
        }
        return rc == LKV_CORRUPT ? CANNOT_TELL : rc;
    }
    return CANNOT_TELL;
}

/* Whether record follows record from `offset` on to a commit that is possible, or to
 * the end of the segment: 1 or 0, or an error. */
static int leads_on(reader *r, uint32_t offset, lkv_error *err)
{
    lkv_futile *futile = r->s->futile;
    uint32_t nth = 0, end = r->wreck.limit;
    lkv_record record;
    int rc = LKV_OK;

    while (offset < end) {
        lkv_commit_record commit;
        if (lkv_futile_has(futile, offset, end)) {
            return 0;
        }
        lkv_futile_add(futile, offset, end, nth++);
        rc = lkv_wreck_at(&r->wreck, offset, &record, err);
        if (rc == LKV_OK) {
            rc = lkv_ask(&r->s->asking, record.size);
        }
        if (rc != LKV_OK || !fits(r, &record, offset) || record.moved) {
            return rc == LKV_CORRUPT || rc == LKV_OK ? 0 : rc;
        }
        if (lkv_format_parse_commit(&record, &commit) == LKV_OK) {
            if (!is_possible(r, &commit, offset)) {
                return 0;
            }
            break;
        }
        offset += (uint32_t)record.size;
    }
    lkv_futile_clear(futile, end); /* it was not */
    return 1;
}

static int believe(void *arg, const lkv_record *record, uint32_t offset, lkv_error *err)
{
    reader *r = arg;
    int rc = CANNOT_TELL;

    if (record->moved) { /* nobody writes it here: a copy of a part's */
        return 0;
    }
    if (record->kind != LKV_KIND_COMMIT) {
        rc = ask_run(r, record, offset, err);
        lkv_wreck_moved(&r->wreck);
    }
    return rc == CANNOT_TELL ? leads_on(r, offset, err) : rc;
}

static int named(void *arg, const lkv_record *record, uint32_t offset, lkv_error *err)
{
    reader *r = arg;
    int rc = 0;

    if (!record->moved && record->kind != LKV_KIND_COMMIT) {
        rc = ask_run(r, record, offset, err);
        lkv_wreck_moved(&r->wreck);
    }
    return rc == CANNOT_TELL ? 0 : rc;
}

static int go_on(void *arg)
{
    const lkv_salvage_calls *calls = ((reader *)arg)->s->calls;
    return calls->go_on != NULL ? calls->go_on(calls->arg) : LKV_OK;
}

/* The header. LKV_ABSENT: the object is another store's, or another segment. */
static int take_header(reader *r, lkv_error *err)
{
    const lkv_segment *segment = r->segment;
    lkv_segment_header header;
    const char *why;
    lkv_bytes view;
    int rc = lkv_wreck_look(&r->wreck, 0, LKV_SEGMENT_HEADER, &view, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (lkv_format_parse_segment(view, &header, &why) != LKV_OK) {
        r->chained = 0;
        return lkv_survey_lost(r->s, segment->number, 0, LKV_SEGMENT_HEADER);
    }
    if (header.kind != 0 || header.number != segment->number ||
        header.base != segment->base ||
        memcmp(header.store_id, r->s->id, LKV_ID_SIZE) != 0) {
        r->chained = 0;
        return LKV_ABSENT;
    }
    if (r->number == 0 || header.revision_before > r->revision) {
        r->revision = header.revision_before;
        r->chain = header.chain_before;
        r->chained = 0;
        if (r->number == 0) {
            r->s->before = header.revision_before;
            start_chain(r, LKV_SEGMENT_HEADER);
        }
    }
    return LKV_OK;
}

static int take_record(reader *r, const lkv_record *record, uint32_t offset)
{
    lkv_place place = {lkv_loc_make(record->tag, r->segment->number, offset),
                       lkv_format_plain(record)};
    lkv_place old;
    int rc;

    if (r->chained) {
        lkv_hash_add(&r->hash, lkv_wreck_bytes(&r->wreck), record->size);
        r->covered += record->size;
    }
    if (!r->collects) {
        return LKV_OK;
    }
    if (record->kind == LKV_KIND_TOMBSTONE) {
        place.loc |= LKV_LOC_TOMBSTONE;
    }
    rc = lkv_survey_key(r->s, record->key);
    return rc == LKV_OK ? lkv_memindex_put(r->s->index, record->key, place, &old) : rc;
}

static int add_epoch(reader *r, const lkv_commit_record *commit, uint32_t offset)
{
    lkv_survey *s = r->s;
    uint64_t to = logical(r, offset);
    lkv_epoch epoch = {to - (commit->covered < to ? commit->covered : to), to,
                       commit->revision, commit->time_ms};
    if (lkv_buffer_reserve(&s->epochs, s->os, sizeof(epoch)) != LKV_OK) {
        return LKV_NOMEM;
    }
    memcpy(s->epochs.bytes + s->epochs.size, &epoch, sizeof(epoch));
    s->epochs.size += sizeof(epoch);
    s->revision = commit->revision > s->revision ? commit->revision : s->revision;
    return LKV_OK;
}

/* LKV_ABSENT: the log ended before it. */
static int take_commit(reader *r, const lkv_record *record, uint32_t offset)
{
    lkv_commit_record commit;

    if (lkv_format_parse_commit(record, &commit) != LKV_OK) {
        return LKV_OK;
    }
    if (!r->collects &&
        (r->chained
             ? commit.covered != r->covered || commit.revision != r->revision + 1 ||
                   commit.chain != lkv_format_chain_end(&r->hash, &commit)
             : !is_possible(r, &commit, offset))) {
        return LKV_ABSENT;
    }
    r->revision = commit.revision;
    r->chain = commit.chain;
    if (r->number > r->stop || offset + LKV_COMMIT_SIZE > r->stop_at) {
        r->stop = r->number;
        r->stop_at = offset + LKV_COMMIT_SIZE;
    }
    start_chain(r, offset + LKV_COMMIT_SIZE);
    return r->collects ? add_epoch(r, &commit, offset) : LKV_OK;
}

/* Bytes of the segment up to `limit`. LKV_ABSENT: the log ends in it. */
static int read_segment(reader *r, uint32_t limit, lkv_error *err)
{
    lkv_survey *s = r->s;
    uint32_t object = r->segment->number;
    lkv_record record;
    int rc;

    r->wreck = (lkv_wreck){.storage = s->storage,
                           .object = object,
                           .offset = LKV_SEGMENT_HEADER,
                           .limit = limit,
                           .fits = fits,
                           .believe = believe,
                           .named = named,
                           .go_on = go_on,
                           .arg = r};
    rc = take_header(r, err);
    if (rc == LKV_ABSENT) {
        return lkv_survey_lost(s, object, 0, limit);
    }
    while (rc == LKV_OK) {
        rc = lkv_wreck_next(&r->wreck, &record, err);
        if (rc < 0) {
            break;
        }
        if (r->wreck.lost > 0) {
            int lost = lkv_survey_lost(s, object, r->wreck.lost_at, r->wreck.lost);
            r->chained = 0;
            rc = lost != LKV_OK ? lost : rc;
        }
        if (rc != LKV_OK) {
            return rc == LKV_ABSENT ? LKV_OK : rc;
        }
        rc = record.kind == LKV_KIND_COMMIT
                 ? take_commit(r, &record, r->wreck.offset - LKV_COMMIT_SIZE)
                 : take_record(r, &record, r->wreck.offset - (uint32_t)record.size);
        if (rc == LKV_OK) {
            rc = lkv_ask(&s->asking, record.size);
        }
    }
    return rc;
}

/* How far the last segment goes when the end does not tell: its bytes, and those that
 * the index knew. */
static int find_limit(const lkv_survey *s, uint32_t *out, lkv_error *err)
{
    lkv_storage *storage = s->storage;
    const lkv_segment *last = &s->segments[s->count - 1];
    uint64_t at = 0, found = 0; /* blocks may be missing in between */

    while (at < LKV_SEGMENT_MAX && (at < storage->segment || at == found)) {
        lkv_bytes view;
        int rc =
            storage->ops->read(storage, last->number, at, storage->block, &view, err);
        if (rc != LKV_OK && rc != LKV_CORRUPT) {
            return rc;
        }
        if (rc == LKV_OK && view.size > 0) {
            found = at + view.size;
            at = (found + storage->block - 1) / storage->block * storage->block;
        } else {
            at += storage->block;
        }
    }
    if (s->runs->tail.segment == last->number && s->runs->tail.offset > found) {
        found = s->runs->tail.offset;
    }
    *out = found < LKV_SEGMENT_MAX ? (uint32_t)found : LKV_SEGMENT_MAX;
    return LKV_OK;
}

/* An end that says the log ends at `*at` is no content: it goes behind it. */
static int pass_end(const lkv_survey *s, uint32_t object, uint32_t *at, lkv_error *err)
{
    uint32_t block = s->storage->block, from = *at;
    lkv_wreck wreck = {.storage = s->storage, .object = object, .limit = UINT32_MAX};
    lkv_bytes view;
    lkv_end end;
    int rc = lkv_wreck_look(&wreck, from, LKV_END_SIZE, &view, err);

    if (rc == LKV_OK && view.size == 0) { /* alone in the row after it */
        from = (from + block - 1) / block * block;
        rc = lkv_wreck_look(&wreck, from, LKV_END_SIZE, &view, err);
    }
    if (rc == LKV_OK && view.size >= LKV_END_SIZE &&
        lkv_end_decode(view.data, &end) == LKV_OK && end.segment == object &&
        end.offset == *at) {
        *at = from + LKV_END_SIZE;
    }
    return rc;
}

/* Where the zeros begin that a file ends in, which were never anything else: `*to` goes
 * back as far as `from`, and what the index knew. */
static int trim(const lkv_survey *s, uint32_t object, uint32_t from, uint32_t *to,
                lkv_error *err)
{
    lkv_wreck wreck = {.storage = s->storage, .object = object, .limit = *to};
    uint32_t at = from, end = *to, empty = 0;
    const lkv_tail *tail = &s->runs->tail;
    int rc = pass_end(s, object, &at, err);

    *to = tail->segment == object && tail->offset > from ? tail->offset : from;
    while (rc == LKV_OK && at < end && empty <= s->storage->segment) {
        const uint8_t *bytes;
        lkv_bytes view;
        rc = lkv_wreck_look(&wreck, at, s->storage->block, &view, err);
        if (rc != LKV_OK) {
            break;
        }
        bytes = view.data;
        for (size_t i = 0; i < view.size; i++) {
            uint32_t behind = at + (uint32_t)i + 1;
            *to = bytes[i] != 0 && behind > *to ? behind : *to;
        }
        empty = view.size > 0 ? 0 : empty + s->storage->block;
        at = view.size > 0 ? at + (uint32_t)view.size
                           : (at / s->storage->block + 1) * s->storage->block;
    }
    return rc;
}

/* All segments, the last one up to `limit`; what is behind `stop` is lost. */
static int read_all(reader *r, uint32_t limit, uint32_t stop, uint32_t stop_at,
                    lkv_error *err)
{
    lkv_survey *s = r->s;
    int rc = LKV_OK;

    for (uint32_t i = 0; i < s->count && rc == LKV_OK; i++) {
        uint32_t all = i + 1 < s->count ? s->segments[i].size : limit;
        uint32_t use = i < stop ? all : i == stop && stop_at < all ? stop_at : all;
        use = i > stop ? 0 : use;
        r->segment = &s->segments[i];
        r->number = i;
        lkv_survey_object(s, all);
        rc = use >= LKV_SEGMENT_HEADER ? read_segment(r, use, err) : LKV_OK;
        use = use >= LKV_SEGMENT_HEADER ? use : 0;
        if (rc == LKV_OK && use < all && i + 1 == s->count && use > 0) {
            rc = trim(s, r->segment->number, use, &all, err);
        }
        if (rc == LKV_OK && use < all) {
            rc = lkv_survey_lost(s, r->segment->number, use, all - use);
        }
    }
    return rc;
}

/* Where the last commit ends that can be believed, in `r`: at or behind `least` in the
 * segment `listed` of the list. `*limit` becomes the size of the last segment. */
static int find_stop(reader *r, uint32_t listed, uint32_t least, uint32_t *limit,
                     lkv_error *err)
{
    lkv_survey *s = r->s;
    uint32_t last = s->count - 1;
    int rc = find_limit(s, limit, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (last == listed && *limit < least) { /* the object is cut short */
        *limit = least;
    }
    *r = (reader){.s = s, .stop_at = LKV_SEGMENT_HEADER};
    if (least > 0) {
        r->stop = listed;
        r->stop_at = least;
    }
    s->quiet = 1;
    rc = read_all(r, *limit, last, *limit, err);
    s->quiet = 0;
    if (rc < 0) {
        return rc;
    }
    /* The store goes on behind all that was ever there, in roots as well. */
    if (r->revision > s->end.revision) {
        s->end.revision = r->revision;
        s->end.chain = r->chain;
    }
    s->end.live_keys = s->end.live_bytes = 0;
    s->end.segment = s->segments[last].number;
    s->end.offset = *limit < LKV_SEGMENT_HEADER ? LKV_SEGMENT_HEADER : *limit;
    memcpy(s->end.store_id, s->id, LKV_ID_SIZE);
    return LKV_OK;
}

/* Lists the segment that begins where the last one ends, of `limit` bytes at most.
 * LKV_ABSENT: there is none. */
static int list_next(lkv_survey *s, uint32_t limit, lkv_error *err)
{
    lkv_segment *last = &s->segments[s->count - 1], *moved;
    lkv_wreck wreck = {
        .storage = s->storage, .object = last->number + 1, .limit = LKV_SEGMENT_HEADER};
    lkv_segment_header header;
    const char *why;
    lkv_bytes view;
    uint64_t size;
    int rc = lkv_wreck_look(&wreck, 0, LKV_SEGMENT_HEADER, &view, err);

    if (rc != LKV_OK || lkv_format_parse_segment(view, &header, &why) != LKV_OK ||
        header.kind != 0 || header.number != wreck.object ||
        header.number > LKV_SEGMENT_NUMBER_MAX ||
        memcmp(header.store_id, s->id, LKV_ID_SIZE) != 0) {
        return rc != LKV_OK ? rc : LKV_ABSENT;
    }
    size = header.base - last->base + LKV_SEGMENT_HEADER;
    if (header.base <= last->base || size > limit) {
        return LKV_ABSENT;
    }
    moved = lkv_os_resize(s->os, s->segments, (s->count + 1) * sizeof(*moved));
    if (moved == NULL) {
        return LKV_NOMEM;
    }
    s->segments = moved;
    moved[s->count - 1].size = (uint32_t)size;
    moved[s->count++] = (lkv_segment){header.number, 0, header.base};
    return LKV_OK;
}

/* The newest root is lost: the segments that only it listed are those in which commits
 * follow what the older one leads to. */
static int follow(reader *r, uint32_t listed, uint32_t least, uint32_t *limit,
                  lkv_error *err)
{
    lkv_survey *s = r->s;
    int rc;

    do {
        rc = list_next(s, *limit, err);
        if (rc == LKV_OK) {
            rc = find_limit(s, limit, err);
        }
    } while (rc == LKV_OK);
    if (rc == LKV_ABSENT && s->count - 1 > listed) {
        rc = find_stop(r, listed, least, limit, err);
        while (rc == LKV_OK && s->count - 1 > listed && s->count - 1 > r->stop) {
            s->count--; /* no commit leads there */
            *limit = s->segments[s->count - 1].size;
            s->segments[s->count - 1].size = 0;
            s->end.segment = s->segments[s->count - 1].number;
            s->end.offset = *limit;
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_survey_log(lkv_survey *s, lkv_error *err)
{
    reader r = {.s = s, .collects = 1};
    uint32_t last = s->count - 1, least = s->end.offset, limit;
    int rc;

    if (s->end_known) {
        s->revision = s->end.revision;
        return read_all(&r, least, last, least, err);
    }
    rc = find_stop(&r, last, least, &limit, err);
    if (rc == LKV_OK && s->unsure) {
        s->root_lost =
            s->storage->ops->root_lost(s->storage, &s->end, NULL) == LKV_CORRUPT;
        rc = s->root_lost ? follow(&r, last, least, &limit, err) : LKV_OK;
    }
    if (rc != LKV_OK) {
        return rc;
    }
    s->revision = s->end.revision;
    r = (reader){.s = s, .collects = 1, .stop = r.stop, .stop_at = r.stop_at};
    return read_all(&r, limit, r.stop, r.stop_at, err);
}

void lkv_survey_commit(const lkv_survey *s, uint64_t place, uint64_t *revision,
                       int64_t *time_ms)
{
    const lkv_epoch *epochs = (const lkv_epoch *)(const void *)s->epochs.bytes;
    size_t low = 0, high = s->epochs.size / sizeof(*epochs), count = high;

    while (low < high) { /* the first one that ends behind it */
        size_t middle = low + (high - low) / 2;
        if (epochs[middle].to > place) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    if (low < count && epochs[low].from <= place) {
        *revision = epochs[low].revision;
        *time_ms = epochs[low].time_ms;
    } else { /* its commit is lost: after the one before, and no later than needed */
        *revision = (low > 0 ? epochs[low - 1].revision : s->before) + 1;
        *time_ms = low > 0 ? epochs[low - 1].time_ms : 0;
    }
}
