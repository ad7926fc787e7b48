/*
 * serial.c - what a store holds as one string of bytes: giving it out, and taking it
 * back.
 *
 *       0  "LKVstor1"
 *       8  description u32
 *      12  the description: the caller's own
 *          crc32       u32  over all before it
 *          records          puts in the long form, in the order of their keys
 *          seal             as of a part; its chain value is 0
 *          xxh64       u64  over all before it
 *
 * It has no place of anything in it, so that another store can take it in, whatever its
 * storage is. Taking it back reads it twice: to see that everything in it is right,
 * before anything changes; and to write it.
 */
#include "content.h"
#include "history.h"
#include "stream.h"

#include <stdio.h>
#include <string.h>

#define HEAD 12u               /* what stands before the description */
#define PIECE_SIZE (64u << 10) /* is given out at once, or a record that is longer */

/* Giving it out */

typedef struct serial {
    lkv_store *store;
    lkv_sink to;
    lkv_buffer out; /* not given yet */
    lkv_history history;
    lkv_seal_record seal; /* of what was taken so far */
    uint64_t prepared;    /* logical offset: what is behind has no commit yet */
    int64_t now_ms;       /* and is of this moment */
} serial;

static int give(serial *of, int all)
{
    int rc = LKV_OK;
    if (of->out.size >= PIECE_SIZE || (all && of->out.size > 0)) {
        rc = lkv_sink_give(&of->to, of->out.bytes, of->out.size);
        of->out.size = 0;
    }
    return rc;
}

static int append(serial *of, lkv_bytes bytes)
{
    if (lkv_buffer_reserve(&of->out, of->store->log.os, bytes.size + 1) != LKV_OK) {
        return LKV_NOMEM;
    }
    if (bytes.size > 0) {
        memcpy(of->out.bytes + of->out.size, bytes.data, bytes.size);
    }
    of->out.size += bytes.size;
    return LKV_OK;
}

static int give_head(serial *of)
{
    lkv_bytes meta = lkv_meta(of->store);
    uint8_t head[HEAD] = LKV_SERIAL_MAGIC, crc[4];
    int rc;

    lkv_format_u32(head + 8, (uint32_t)meta.size);
    rc = append(of, (lkv_bytes){head, sizeof(head)});
    if (rc == LKV_OK) {
        rc = append(of, meta);
    }
    if (rc == LKV_OK) {
        lkv_format_u32(crc, lkv_crc32(0, of->out.bytes, of->out.size));
        rc = append(of, (lkv_bytes){crc, sizeof(crc)});
    }
    return rc;
}

/* Revision and time of the record at `loc`, which is in the plain form. */
static int find_commit(serial *of, lkv_loc loc, uint64_t *revision, int64_t *time_ms,
                       lkv_error *err)
{
    const lkv_log *log = &of->store->log;
    const lkv_segment *segment = lkv_log_segment(log, lkv_loc_segment(loc));

    if (segment != NULL &&
        segment->base + lkv_loc_offset(loc) - LKV_SEGMENT_HEADER >= of->prepared) {
        *revision = log->at.revision + 1;
        *time_ms = of->now_ms;
        return LKV_OK;
    }
    return lkv_history_find(&of->history, loc, revision, time_ms, err);
}

/* The record that the cursor stands on. */
static int add(serial *of, const lkv_cursor *cursor, lkv_error *err)
{
    lkv_log *log = &of->store->log;
    lkv_loc loc = cursor->place.loc;
    uint64_t revision = 0;
    int64_t time_ms = 0;
    lkv_record record;
    uint8_t *at;
    size_t size;
    int rc = LKV_OK;

    if (lkv_loc_segment(loc) < LKV_PART_FIRST) {
        rc = find_commit(of, loc, &revision, &time_ms, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_log_read(log, loc, &record, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    if (record.kind != LKV_KIND_PUT ||
        lkv_compare(record.key, lkv_cursor_key(cursor)) != 0) {
        return lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc),
                              "the record has another key than the index");
    }
    revision = record.moved ? record.revision : revision;
    time_ms = record.moved ? record.time_ms : time_ms;
    size = lkv_format_size(record.key, record.value) + LKV_MOVED_SIZE;
    if (lkv_buffer_reserve(&of->out, log->os, size) != LKV_OK) {
        return LKV_NOMEM;
    }
    at = of->out.bytes + of->out.size;
    lkv_format_moved(at, record.tag, record.key, record.value, revision, time_ms);
    of->out.size += size;
    of->seal.keys++;
    of->seal.bytes += size - LKV_MOVED_SIZE;
    of->seal.digest = lkv_format_digest(of->seal.digest, at);
    return give(of, 0);
}

static int give_records(serial *of, lkv_error *err)
{
    lkv_cursor *cursor;
    int rc = lkv_cursor_open(of->store, &cursor);

    if (rc != LKV_OK) {
        return rc;
    }
    for (rc = lkv_cursor_first(cursor, err); rc == LKV_OK;
         rc = lkv_cursor_next(cursor, err)) {
        rc = add(of, cursor, err);
        if (rc != LKV_OK) {
            break;
        }
    }
    lkv_cursor_close(cursor);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int give_seal(serial *of)
{
    uint8_t seal[LKV_SEAL_SIZE];
    int rc;

    lkv_format_seal(seal, &of->seal);
    rc = append(of, (lkv_bytes){seal, sizeof(seal)});
    return rc == LKV_OK ? give(of, 1) : rc;
}

int lkv_serialize(lkv_store *store, int (*put)(void *arg, lkv_bytes bytes), void *arg,
                  lkv_error *err)
{
    lkv_log *log = &store->log;
    const lkv_segment *open;
    serial of = {.store = store, .to = {.put = put, .arg = arg}};
    int rc;

    if (!log->known) {
        return lkv_log_error(err, LKV_MISUSE, "nothing was read yet");
    }
    open = lkv_log_segment(log, log->at.segment);
    of.prepared = open->base + log->at.offset - LKV_SEGMENT_HEADER;
    of.seal.revision =
        log->at.revision + (log->open && lkv_log_end(log) > of.prepared ? 1 : 0);
    of.now_ms = log->os->now_ms(log->os->ctx);
    lkv_hash_start(&of.to.hash);
    rc = lkv_history_open(&of.history, log);
    if (rc != LKV_OK) {
        return rc;
    }
    rc = give_head(&of);
    if (rc == LKV_OK) {
        rc = give_records(&of, err);
    }
    if (rc == LKV_OK) {
        rc = give_seal(&of);
    }
    if (rc == LKV_OK) {
        rc = lkv_sink_end(&of.to);
    }
    lkv_history_close(&of.history);
    lkv_os_free(log->os, of.out.bytes);
    return rc;
}

/* Taking it back */

typedef struct deserial {
    lkv_store *store;
    lkv_stream stream;
    lkv_buffer last;       /* the key of the record taken last */
    uint64_t highest;      /* revision of a record */
    lkv_seal_record seal;  /* what the seal says ... */
    lkv_seal_record found; /* ... and what is to be there */
    uint64_t sum;          /* of all, once it was read */
    lkv_content *content;  /* to write to; NULL: it is only looked at */
    int (*check)(void *arg, const lkv_row *row);
    void *arg;
} deserial;

/* Fills `err` and returns LKV_CORRUPT. */
static int refuse(lkv_error *err, const char *why)
{
    char text[sizeof(err->text)];
    snprintf(text, sizeof(text), "serialized table: %.220s", why);
    return lkv_log_error(err, LKV_CORRUPT, text);
}

static int refuse_at(const deserial *in, lkv_error *err, const char *why)
{
    char text[120];
    snprintf(text, sizeof(text), "offset %llu: %.80s",
             (unsigned long long)lkv_stream_offset(&in->stream), why);
    return refuse(err, text);
}

static int cut_short(const deserial *in, int rc, lkv_error *err)
{
    return rc == LKV_ABSENT ? refuse_at(in, err, "it is cut short") : rc;
}

/* Shows both descriptions, from a little before where they differ when they are long.
 */
static int refuse_description(lkv_bytes own, lkv_bytes given, lkv_error *err)
{
    enum { SHOWN = 90, BEFORE = 20 };
    const char *a = own.data, *b = given.data;
    size_t skip = 0;
    char text[240];

    if (own.size > SHOWN || given.size > SHOWN) {
        while (skip < own.size && skip < given.size && a[skip] == b[skip]) {
            skip++;
        }
        skip = skip > BEFORE ? skip - BEFORE : 0;
    }
    snprintf(text, sizeof(text), "it is of %s%.*s, and this is %s%.*s",
             skip > 0 ? "..." : "",
             (int)(given.size - skip < SHOWN ? given.size - skip : SHOWN),
             given.size > 0 ? b + skip : "", skip > 0 ? "..." : "",
             (int)(own.size - skip < SHOWN ? own.size - skip : SHOWN),
             own.size > 0 ? a + skip : "");
    return refuse(err, text);
}

static int take_head(deserial *in, lkv_error *err)
{
    lkv_bytes own = lkv_meta(in->store), given;
    const uint8_t *at = NULL;
    size_t size = 0;
    int rc = lkv_stream_peek(&in->stream, HEAD, &at);

    if (rc == LKV_OK && memcmp(at, LKV_SERIAL_MAGIC, 8) != 0) {
        return refuse(err, "not a serialized table of this format");
    }
    if (rc == LKV_OK) {
        size = HEAD + (size_t)lkv_format_get_u32(at + 8);
        if (size > HEAD + LKV_META_MAX) {
            return refuse_at(in, err, "the description is too long");
        }
        rc = lkv_stream_take(&in->stream, size + 4, &at);
    }
    if (rc != LKV_OK) {
        return cut_short(in, rc, err);
    }
    if (lkv_format_get_u32(at + size) != lkv_crc32(0, at, size)) {
        return refuse(err, "the description: checksum mismatch");
    }
    given = (lkv_bytes){at + HEAD, size - HEAD};
    return lkv_compare(own, given) == 0 ? LKV_OK : refuse_description(own, given, err);
}

/* The next record, still to be taken; `*at` are its bytes. */
static int look(deserial *in, const uint8_t **at, lkv_record *record, lkv_error *err)
{
    size_t need = LKV_RECORD_HEADER;
    const char *why = "";
    int rc;

    do {
        size_t have = need;
        rc = lkv_stream_peek(&in->stream, have, at);
        if (rc != LKV_OK) {
            return cut_short(in, rc, err);
        }
        rc = lkv_format_parse(*at, have, record, &need, &why);
        if (rc == LKV_ABSENT && need > lkv_stream_left(&in->stream)) {
            return refuse_at(in, err, "it is cut short, or the length is wrong");
        }
    } while (rc == LKV_ABSENT);
    return rc == LKV_OK ? LKV_OK : refuse_at(in, err, why);
}

static int take_record(deserial *in, const uint8_t *at, const lkv_record *record,
                       lkv_error *err)
{
    lkv_bytes last = {in->last.bytes, in->last.size};
    lkv_row row = {record->key, record->value, record->tag};
    int rc;

    if (record->size > LKV_SEGMENT_MAX - LKV_SEGMENT_HEADER - LKV_SEAL_SIZE) {
        return refuse_at(in, err, "the record is longer than a part");
    }
    if (record->kind != LKV_KIND_PUT || !record->moved) {
        return refuse_at(in, err, "the record does not belong there");
    }
    if (in->found.keys > 0 && lkv_compare(last, record->key) >= 0) {
        return refuse_at(in, err, "the keys do not ascend");
    }
    rc = in->content == NULL && in->check != NULL ? in->check(in->arg, &row) : LKV_OK;
    if (rc != LKV_OK) {
        return rc == LKV_CORRUPT ? refuse_at(in, err, "not a row of the table") : rc;
    }
    in->last.size = 0;
    if (lkv_buffer_reserve(&in->last, in->store->log.os, record->key.size + 1) !=
        LKV_OK) {
        return LKV_NOMEM;
    }
    if (record->key.size > 0) {
        memcpy(in->last.bytes, record->key.data, record->key.size);
    }
    in->last.size = record->key.size;
    in->found.keys++;
    in->found.bytes += lkv_format_plain(record);
    in->found.digest = lkv_format_digest(in->found.digest, at);
    in->highest = record->revision > in->highest ? record->revision : in->highest;
    rc = in->content == NULL ? LKV_OK : lkv_content_add(in->content, at, record, err);
    return rc == LKV_OK ? lkv_stream_take(&in->stream, record->size, &at) : rc;
}

static int take_seal(deserial *in, const lkv_record *record, lkv_error *err)
{
    const uint8_t *at = NULL;
    const lkv_seal_record *seal = &in->seal, *found = &in->found;

    if (lkv_format_parse_seal(record, &in->seal) != LKV_OK) {
        return refuse_at(in, err, "not a seal of this format");
    }
    if (seal->keys != found->keys || seal->bytes != found->bytes ||
        seal->digest != found->digest || seal->chain != 0) {
        return refuse_at(in, err, "the seal is of other records");
    }
    if (seal->revision < in->highest || seal->revision > LKV_REVISION_MAX) {
        return refuse_at(in, err, "the revision is wrong");
    }
    return lkv_stream_take(&in->stream, record->size, &at);
}

/* Reads all of it, and writes it where there is something to write to. */
static int take_all(deserial *in, lkv_error *err)
{
    const uint8_t *at = NULL;
    lkv_record record = {0};
    uint64_t sum;
    int rc;

    lkv_stream_start(&in->stream);
    memset(&in->found, 0, sizeof(in->found));
    rc = take_head(in, err);
    while (rc == LKV_OK) {
        rc = look(in, &at, &record, err);
        if (rc == LKV_OK && record.kind == LKV_KIND_SEAL) {
            rc = take_seal(in, &record, err);
            break;
        }
        if (rc == LKV_OK) {
            rc = take_record(in, at, &record, err);
        }
    }
    if (rc != LKV_OK) {
        return rc;
    }
    sum = lkv_hash_value(&in->stream.hash);
    rc = lkv_stream_peek(&in->stream, 8, &at);
    if (rc != LKV_OK) {
        return cut_short(in, rc, err);
    }
    if (lkv_format_get_u64(at) != sum) {
        return refuse_at(in, err, "checksum mismatch");
    }
    if (lkv_stream_left(&in->stream) != 8) {
        return refuse_at(in, err, "more follows than belongs there");
    }
    if (in->content != NULL && sum != in->sum) {
        return refuse(err, "it changed while it was read");
    }
    in->sum = sum;
    return LKV_OK;
}

int lkv_deserialize(lkv_store *store, const lkv_source *source,
                    int (*check)(void *arg, const lkv_row *row), void *arg,
                    lkv_error *err)
{
    deserial in = {.store = store,
                   .stream = {.os = store->log.os, .source = source},
                   .check = check,
                   .arg = arg};
    lkv_content content;
    int rc;

    if (!store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    rc = take_all(&in, err);
    if (rc == LKV_OK) {
        rc = lkv_content_begin(&content, store, in.seal.revision, err);
    }
    if (rc == LKV_OK) {
        in.content = &content;
        rc = take_all(&in, err);
        rc = lkv_content_end(&content, rc, err);
    }
    lkv_os_free(store->log.os, in.stream.buffer.bytes);
    lkv_os_free(store->log.os, in.last.bytes);
    return rc;
}
