/*
 * salvageparts.c - of lkv_salvage(): the parts, and the log's index beside them, in the
 * order of the keys.
 */
#include "salvage.h"

typedef struct merge {
    lkv_survey *s;
    lkv_content *content; /* to write to; NULL: nothing is written */
    lkv_wreck wreck;
    /* Of the part that is read: its index, and the logical offset up to which it has
     * the newest of the log; 0 when that is not known. */
    lkv_run index;
    uint64_t takes;
    lkv_memindex_cursor at;
    int on; /* `at` stands on a key */
} merge;

static int go_on(void *arg)
{
    const lkv_salvage_calls *calls = ((merge *)arg)->s->calls;
    return calls->go_on != NULL ? calls->go_on(calls->arg) : LKV_OK;
}

static int fits(void *arg, const lkv_record *record, uint32_t offset)
{
    const merge *m = arg;
    const lkv_survey *s = m->s;
    lkv_seal_record seal;

    if (record->kind == LKV_KIND_SEAL) {
        return offset + record->size == m->wreck.limit &&
               lkv_format_parse_seal(record, &seal) == LKV_OK;
    }
    return record->kind == LKV_KIND_PUT && record->moved &&
           record->revision <= LKV_REVISION_MAX &&
           (!s->has_last ||
            lkv_compare((lkv_bytes){s->last.bytes, s->last.size}, record->key) < 0);
}

/* Whether record follows record from `offset` on to `end`: 1 or 0, or an error. */
static int leads_on(merge *m, uint32_t offset, uint32_t end, lkv_error *err)
{
    lkv_futile *futile = m->s->futile;
    uint32_t nth = 0;
    lkv_record record;
    int rc = LKV_OK;

    while (offset < end) {
        if (lkv_futile_has(futile, offset, end)) {
            return 0;
        }
        lkv_futile_add(futile, offset, end, nth++);
        rc = lkv_wreck_at(&m->wreck, offset, &record, err);
        if (rc == LKV_OK) {
            rc = lkv_ask(&m->s->asking, record.size);
        }
        if (rc != LKV_OK || !fits(m, &record, offset)) {
            return rc == LKV_CORRUPT || rc == LKV_OK ? 0 : rc;
        }
        offset += (uint32_t)record.size;
    }
    if (offset != end) {
        return 0;
    }
    lkv_futile_clear(futile, m->wreck.limit); /* it was not */
    return 1;
}

/* The fence of the chunk that may have a key. LKV_ABSENT; LKV_CORRUPT. */
static int find_fence(merge *m, lkv_bytes key, lkv_place *fence, lkv_error *err)
{
    lkv_survey *s = m->s;
    int rc = lkv_survey_copy(s, &s->key, key);
    if (rc == LKV_OK) {
        rc =
            lkv_run_floor(s->storage, &m->index, (lkv_bytes){s->key.bytes, s->key.size},
                          NULL, fence, NULL, err);
        lkv_wreck_moved(&m->wreck);
    }
    return rc;
}

static int named(void *arg, const lkv_record *record, uint32_t offset, lkv_error *err)
{
    lkv_place fence;
    int rc = record->kind == LKV_KIND_SEAL ? LKV_ABSENT
                                           : find_fence(arg, record->key, &fence, err);
    return rc == LKV_OK                            ? offset == lkv_loc_offset(fence.loc)
           : rc == LKV_ABSENT || rc == LKV_CORRUPT ? 0
                                                   : rc;
}

/* A chunk begins with a record, and ends with one. Without the index that tells of the
 * chunks, one record must follow another to the end of the part. */
static int believe(void *arg, const lkv_record *record, uint32_t offset, lkv_error *err)
{
    merge *m = arg;
    uint32_t end = m->wreck.limit;
    lkv_place fence;
    int rc;

    if (record->kind == LKV_KIND_SEAL) {
        return 1;
    }
    rc = find_fence(m, record->key, &fence, err);
    if (rc < 0 && rc != LKV_CORRUPT) {
        return rc;
    }
    if (rc == LKV_OK) {
        uint32_t from = lkv_loc_offset(fence.loc);
        if (offset == from) {
            return 1;
        }
        if (offset < from || offset - from >= fence.size) {
            return 0;
        }
        end = fence.size > end - from ? end : from + fence.size;
    }
    return leads_on(m, offset, end, err);
}

/* LKV_ABSENT: the object is another store's, or another part. */
static int take_header(merge *m, const lkv_part *part, lkv_error *err)
{
    lkv_survey *s = m->s;
    lkv_segment_header header;
    const char *why;
    lkv_bytes view;
    int rc = lkv_wreck_look(&m->wreck, 0, LKV_SEGMENT_HEADER, &view, err);

    m->takes = 0;
    if (rc != LKV_OK) {
        return rc;
    }
    if (lkv_format_parse_segment(view, &header, &why) != LKV_OK) {
        return lkv_survey_lost(s, part->number, 0, LKV_SEGMENT_HEADER);
    }
    m->takes = header.base;
    return lkv_format_heads_part(&header, part, s->id) ? LKV_OK : LKV_ABSENT;
}

/* Writes the copy that `s->record` holds, of a record like that. */
static int write_record(merge *m, const lkv_record *like, lkv_error *err)
{
    lkv_record record = *like;
    record.size = m->s->record.size;
    return lkv_content_add(m->content, m->s->record.bytes, &record, err);
}

/* The logical offset of a record of the log. */
static uint64_t logical(const lkv_survey *s, lkv_loc loc)
{
    const lkv_segment *segment =
        &s->segments[lkv_loc_segment(loc) - s->segments[0].number];
    return segment->base + lkv_loc_offset(loc) - LKV_SEGMENT_HEADER;
}

/* The log's record of the key that `at` stands on. */
static int give_log(merge *m, lkv_error *err)
{
    lkv_survey *s = m->s;
    lkv_loc loc = lkv_memindex_place(&m->at).loc;
    lkv_wreck wreck = {.storage = s->storage,
                       .object = lkv_loc_segment(loc),
                       .limit = LKV_SEGMENT_MAX};
    uint64_t revision = 0;
    int64_t time_ms = 0;
    lkv_record record;
    size_t size;
    int rc;

    if (!lkv_loc_live(loc)) {
        return LKV_OK;
    }
    s->kept++;
    if (m->content == NULL) {
        return LKV_OK;
    }
    lkv_survey_commit(s, logical(s, loc), &revision, &time_ms);
    rc = lkv_wreck_at(&wreck, lkv_loc_offset(loc), &record, err);
    if (rc != LKV_OK) {
        return rc;
    }
    s->record.size = 0;
    size = lkv_format_size(record.key, record.value) + LKV_MOVED_SIZE;
    if (lkv_buffer_reserve(&s->record, s->os, size) != LKV_OK) {
        return LKV_NOMEM;
    }
    lkv_format_moved(s->record.bytes, record.tag, record.key, record.value, revision,
                     time_ms);
    s->record.size = size;
    return write_record(m, &record, err);
}

/* The log's records of keys below `key`, or of all that are left when it is NULL. */
static int give_below(merge *m, const lkv_bytes *key, lkv_error *err)
{
    int rc = LKV_OK;
    while (rc == LKV_OK && m->on &&
           (key == NULL || lkv_compare(lkv_memindex_key(&m->at), *key) < 0)) {
        rc = give_log(m, err);
        if (rc == LKV_OK) {
            rc = lkv_ask(&m->s->asking, 0);
        }
        m->on = lkv_memindex_next(&m->at);
    }
    return rc;
}

/* A record of a part, and what the log has before it or of the same key. */
static int give_part(merge *m, const lkv_record *record, lkv_error *err)
{
    lkv_survey *s = m->s;
    lkv_record like = *record;
    lkv_bytes key;
    int both, newer;
    int rc = lkv_survey_copy(s, &s->last, record->key);

    s->has_last = 1;
    key = (lkv_bytes){s->last.bytes, s->last.size};
    if (rc == LKV_OK) {
        rc = lkv_survey_key(s, key);
    }
    s->revision = record->revision > s->revision ? record->revision : s->revision;
    if (rc == LKV_OK) { /* reading moves views */
        rc = give_below(m, &key, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    both = m->on && lkv_compare(lkv_memindex_key(&m->at), key) == 0;
    /* In the log that a pass took in the newest may be what cannot be read any more. */
    newer = both && logical(s, lkv_memindex_place(&m->at).loc) >= m->takes;
    rc = newer ? give_log(m, err) : LKV_OK;
    if (both) {
        m->on = lkv_memindex_next(&m->at);
    }
    if (newer) {
        return rc;
    }
    s->kept++;
    if (m->content == NULL) {
        return LKV_OK;
    }
    lkv_wreck_moved(&m->wreck);
    rc = lkv_wreck_at(&m->wreck, m->wreck.offset - (uint32_t)like.size, &like, err);
    if (rc == LKV_OK) {
        rc = lkv_survey_copy(s, &s->record,
                             (lkv_bytes){lkv_wreck_bytes(&m->wreck), like.size});
    }
    return rc == LKV_OK ? write_record(m, &like, err) : rc;
}

/* The seal, where it can be read. LKV_ABSENT: it is that of other records than those
 * that the root lists, as of a compaction that was taken back. */
static int take_seal(const merge *m, const lkv_part *part, lkv_error *err)
{
    lkv_wreck wreck = {
        .storage = m->s->storage, .object = part->number, .limit = part->size};
    lkv_seal_record seal;
    lkv_record record;
    int rc = LKV_CORRUPT;

    if (part->size >= LKV_SEAL_SIZE) {
        rc = lkv_wreck_at(&wreck, part->size - LKV_SEAL_SIZE, &record, err);
    }
    if (rc != LKV_OK || lkv_format_parse_seal(&record, &seal) != LKV_OK) {
        return rc == LKV_CORRUPT ? LKV_OK : rc;
    }
    return lkv_format_seals_part(&seal, part) ? LKV_OK : LKV_ABSENT;
}

static int read_part(merge *m, const lkv_part *part, lkv_error *err)
{
    lkv_survey *s = m->s;
    lkv_record record;
    int rc;

    m->index = lkv_part_index(part);
    m->wreck = (lkv_wreck){.storage = s->storage,
                           .object = part->number,
                           .offset = LKV_SEGMENT_HEADER,
                           .limit = part->size,
                           .fits = fits,
                           .believe = believe,
                           .named = named,
                           .go_on = go_on,
                           .arg = m};
    lkv_survey_object(s, part->size);
    rc = take_header(m, part, err);
    if (rc == LKV_OK) {
        rc = take_seal(m, part, err);
    }
    if (rc == LKV_ABSENT) {
        return lkv_survey_lost(s, part->number, 0, part->size);
    }
    while (rc == LKV_OK) {
        rc = lkv_wreck_next(&m->wreck, &record, err);
        if (rc >= 0) {
            int lost =
                lkv_survey_lost(s, part->number, m->wreck.lost_at, m->wreck.lost);
            rc = lost != LKV_OK ? lost : rc;
        }
        if (rc == LKV_OK && record.kind != LKV_KIND_SEAL) {
            rc = give_part(m, &record, err);
            if (m->content != NULL) {
                lkv_wreck_moved(&m->wreck);
            }
        }
        if (rc == LKV_OK) {
            rc = lkv_ask(&s->asking, record.size);
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_survey_merge(lkv_survey *s, lkv_content *content, lkv_error *err)
{
    merge m = {.s = s, .content = content};
    int rc = LKV_OK;

    s->kept = 0;
    s->has_last = 0;
    m.on = lkv_memindex_first(&m.at, s->index);
    for (uint32_t i = 0; i < s->runs->parts && rc == LKV_OK; i++) {
        rc = read_part(&m, &s->runs->part[i], err);
    }
    return rc == LKV_OK ? give_below(&m, NULL, err) : rc;
}
