/*
 * salvage.h - what can be proven of a damaged store, for the files that find it:
 * salvage.c (what is done with it), salvagelog.c (the log), salvageparts.c (the parts).
 *
 * The root says which objects are the store's. What is read of these is listed by key;
 * what had to be passed over, by place. FORMAT.md, F35 to F37, tells what is believed.
 */
#ifndef LKV_SALVAGE_H
#define LKV_SALVAGE_H

#include "content.h"
#include "wreck.h"

/* Bytes that were passed over. The keys are in `keys` of the survey. */
typedef struct lkv_lost_range {
    uint32_t object, offset, bytes;
    int has_first, has_last;
    size_t first, first_size, last, last_size;
} lkv_lost_range;

/* Records of the log that came with one commit: those from `from` to `to`, logical
 * offsets. */
typedef struct lkv_epoch {
    uint64_t from, to, revision;
    int64_t time_ms;
} lkv_epoch;

typedef struct lkv_survey {
    lkv_store *store;
    lkv_storage *storage;
    const lkv_os *os;
    const lkv_salvage_calls *calls;
    lkv_asking asking;
    /* What the root lists, and a lost one did; the survey's own. */
    uint8_t id[LKV_ID_SIZE];
    lkv_segment *segments;
    uint32_t count;
    lkv_runs *runs;
    int end_known; /* where the log ends; otherwise at the last commit that was found */
    lkv_end end;
    int unsure;    /* the storage waits to be told of the end */
    int root_lost; /* the root that was read is not the newest one */
    /* What was found. */
    lkv_memindex *index; /* of the log: the newest record of each key */
    lkv_buffer epochs;   /* lkv_epoch each, in order */
    uint64_t before;     /* revision of the last commit before the log */
    uint64_t revision;   /* the greatest */
    uint64_t kept;       /* keys */
    lkv_buffer lost;     /* lkv_lost_range each */
    lkv_buffer keys;
    size_t waiting;  /* entries of `lost` from here on still wait for their last key */
    lkv_buffer near; /* the last key that was read in the object */
    int has_near;
    int quiet;          /* what is lost is known already */
    lkv_futile *futile; /* of the object that is read */
    lkv_buffer key;     /* a copy of one that is looked for */
    lkv_buffer last;    /* the last key that was read in a part ... */
    int has_last;       /* ... if any */
    lkv_buffer record;  /* a copy of one that is written */
} lkv_survey;

/* Another object is read from here on, of `limit` bytes. */
void lkv_survey_object(lkv_survey *survey, uint32_t limit);
/* Bytes of it were passed over; a record of `key` was read. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_survey_lost(lkv_survey *survey, uint32_t object, uint32_t offset,
                                   uint32_t bytes);
LKV_MUST_CHECK int lkv_survey_key(lkv_survey *survey, lkv_bytes key);
/* A copy, in place of what `to` held. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_survey_copy(const lkv_survey *survey, lkv_buffer *to,
                                   lkv_bytes from);

/* salvagelog.c: reads the log into `index`, `epochs` and `lost`. Errors: LKV_NOMEM, the
 * storage's, what go_on says. */
LKV_MUST_CHECK int lkv_survey_log(lkv_survey *survey, lkv_error *err);
/* Revision and time of the record at a logical offset. */
void lkv_survey_commit(const lkv_survey *survey, uint64_t logical, uint64_t *revision,
                       int64_t *time_ms);

/* salvageparts.c: reads the parts, counts `kept`, and writes all of it to `content`
 * unless that is NULL. Errors as above, and as lkv_content_add(). */
LKV_MUST_CHECK int lkv_survey_merge(lkv_survey *survey, lkv_content *content,
                                    lkv_error *err);

#endif
