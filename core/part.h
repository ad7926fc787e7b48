/*
 * part.h - parts: segments in key order, which compaction writes.
 *
 *      part   header | record record ... record | seal
 *      index  a run whose entries are fences: one for each chunk
 *
 * A chunk is the records that begin in one quarter of a storage block. A record of more
 * than LKV_WHOLE_MIN bytes of which most are its value is a chunk of its own, whose
 * fence is whole: it has all of the key and its tag, so that who walks the keys does
 * not read the value. Other fences have the shortest key that keeps the chunk apart
 * from the one before it; the first one of a part has its first key. The filters of the
 * index are over the keys of all records.
 *
 * The parts of a root have ascending keys: together they are its base, older than all
 * of the log.
 */
#ifndef LKV_PART_H
#define LKV_PART_H

#include "log.h"
#include "run.h"

#define LKV_WHOLE_MIN 1024u
#define LKV_CHUNK_MAX (128u << 10) /* unless it is one record */

/* Bit of a fence's location: it is whole. No entry among them is a tombstone's. */
#define LKV_LOC_WHOLE LKV_LOC_TOMBSTONE

/* A chunk of more than LKV_CHUNK_MAX bytes always was one record. */
static inline int lkv_fence_whole(lkv_place fence)
{
    return (fence.loc & LKV_LOC_WHOLE) != 0 || fence.size > LKV_CHUNK_MAX;
}

/* The index of `part` as a run. */
static inline lkv_run lkv_part_index(const lkv_part *part)
{
    return (lkv_run){.number = part->index, .blocks = part->blocks, .top = part->top};
}

/* What the base has of `key`: LKV_OK, or LKV_ABSENT. Errors: LKV_CORRUPT, LKV_NOMEM,
 * the storage's. */
LKV_MUST_CHECK int lkv_base_find(lkv_log *log, lkv_bytes key, uint64_t hash,
                                 lkv_place *found, lkv_error *err);

/* Whether `key` is at or after the first key of listed part `i`: 1 or 0, or an error.
 */
LKV_MUST_CHECK int lkv_base_reaches(lkv_log *log, lkv_runs *runs, uint32_t i,
                                    lkv_bytes key, lkv_error *err);

/* A position in the base. The chunk that it stands in is copied, so that views last
 * until the cursor moves. */
typedef struct lkv_base_item {
    uint32_t at; /* of the record, in `bytes` */
    uint32_t key_size, size;
    unsigned tag;
} lkv_base_item;

typedef struct lkv_base_cursor {
    lkv_log *log;
    lkv_runs *runs; /* whose parts are walked; must outlive the cursor; NULL: none */
    uint32_t part;  /* index in the list */
    lkv_run index;
    lkv_run_cursor fence;
    lkv_buffer bytes; /* of the chunk, or the key of a whole fence */
    uint32_t offset;  /* of the chunk in its part */
    lkv_base_item *items;
    uint32_t count, room;
    uint32_t at; /* the item stood on; `count`: none */
    int whole;   /* `bytes` is but the key */
} lkv_base_cursor;

/* Whether the header of a part, where it can be read, is that of the one listed. */
LKV_MUST_CHECK int lkv_part_check_header(lkv_log *log, const lkv_part *part,
                                         lkv_error *err);
void lkv_base_init(lkv_base_cursor *cursor, lkv_log *log, lkv_runs *runs);
void lkv_base_free(lkv_base_cursor *cursor);

/* Each moves: LKV_OK on a key, LKV_ABSENT beyond the ends. Errors as lkv_base_find();
 * the cursor then stands nowhere. */
LKV_MUST_CHECK int lkv_base_first(lkv_base_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_base_last(lkv_base_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_base_seek(lkv_base_cursor *cursor, lkv_bytes key,
                                 enum lkv_seek how, lkv_error *err);
LKV_MUST_CHECK int lkv_base_next(lkv_base_cursor *cursor, lkv_error *err);
LKV_MUST_CHECK int lkv_base_prev(lkv_base_cursor *cursor, lkv_error *err);

/* Whether the record is there that a whole fence, where the cursor stands on one, tells
 * of; others were read. Views last. Errors as lkv_base_find(). */
LKV_MUST_CHECK int lkv_base_check(const lkv_base_cursor *cursor, lkv_error *err);

static inline lkv_bytes lkv_base_key(const lkv_base_cursor *cursor)
{
    const lkv_base_item *item = &cursor->items[cursor->at];
    const uint8_t *at = cursor->bytes.bytes + item->at;
    return (lkv_bytes){cursor->whole ? at : lkv_format_key(at), item->key_size};
}

static inline lkv_place lkv_base_place(const lkv_base_cursor *cursor)
{
    const lkv_base_item *item = &cursor->items[cursor->at];
    uint32_t at = cursor->whole ? 0 : item->at;
    return (lkv_place){lkv_loc_make(item->tag, cursor->runs->part[cursor->part].number,
                                    cursor->offset + at),
                       item->size - LKV_MOVED_SIZE};
}

/* The record stood on, in the long form and verified; no bytes when its fence is whole:
 * lkv_log_read() reads it. */
static inline lkv_bytes lkv_base_record(const lkv_base_cursor *cursor)
{
    const lkv_base_item *item = &cursor->items[cursor->at];
    if (cursor->whole) {
        return (lkv_bytes){NULL, 0};
    }
    return (lkv_bytes){cursor->bytes.bytes + item->at, item->size};
}

/*
 * Writing
 */
typedef struct lkv_part_writer {
    lkv_storage *storage;
    const lkv_os *os;
    lkv_part part; /* so far */
    lkv_run_writer index;
    lkv_buffer out; /* bytes not yet written; they begin at `out_at` */
    uint32_t out_at;
    lkv_buffer fence; /* of the chunk that is open */
    uint32_t chunk;   /* where it begins; 0: none is open */
    lkv_loc whole;    /* its fence is: the record's tag and LKV_LOC_WHOLE, or 0 */
    lkv_buffer last;  /* the last key */
    uint64_t written; /* bytes that went to storage, the index included */
} lkv_part_writer;

/* A new part with such a header. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_part_writer_begin(lkv_part_writer *writer, lkv_storage *storage,
                                         const lkv_os *os,
                                         const lkv_segment_header *header,
                                         uint32_t index);
/* A new part that takes in the log up to `base`, of the revision and chain there, with
 * the numbers at `*part` and `*run`, which go on. LKV_TOO_BIG: there are none left. */
LKV_MUST_CHECK int lkv_part_writer_next(lkv_part_writer *writer, lkv_log *log,
                                        const lkv_segment_header *like, uint32_t *part,
                                        uint32_t *run, lkv_error *err);
/* Takes up one that was paused, `part` as it was then. Errors: LKV_CORRUPT, LKV_NOMEM,
 * the storage's. */
LKV_MUST_CHECK int lkv_part_writer_resume(lkv_part_writer *writer, lkv_log *log,
                                          const lkv_part *part, lkv_error *err);
void lkv_part_writer_free(lkv_part_writer *writer);

/* Adds a record of such a key, in the long form: `size` bytes to be written at the
 * result, then lkv_part_writer_added(). Keys ascend. NULL without memory. */
uint8_t *lkv_part_writer_room(lkv_part_writer *writer, size_t size);
LKV_MUST_CHECK int lkv_part_writer_added(lkv_part_writer *writer, size_t size,
                                         size_t key_size, unsigned tag, lkv_error *err);
/* Writes all that is pending, so that another writer can go on. */
LKV_MUST_CHECK int lkv_part_writer_pause(lkv_part_writer *writer, lkv_error *err);
/* Ends the part, which holds something, with a seal: `revision` and `chain` are those
 * of the last commit that it takes in. */
LKV_MUST_CHECK int lkv_part_writer_finish(lkv_part_writer *writer, uint64_t revision,
                                          uint64_t chain, lkv_error *err);

/* For a part that is there: its index alone is made, of each record in order; `record`
 * is its header and key in memory of the caller's own. Errors as above. */
LKV_MUST_CHECK int lkv_part_writer_index(lkv_part_writer *writer, const uint8_t *record,
                                         size_t size, size_t key_size, unsigned tag,
                                         lkv_error *err);
LKV_MUST_CHECK int lkv_part_writer_finish_index(lkv_part_writer *writer,
                                                lkv_error *err);

#endif
