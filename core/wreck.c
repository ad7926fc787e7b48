/*
 * wreck.c - see wreck.h.
 */
#include "wreck.h"

#include <string.h>

#define ASK_EVERY 65536u /* bytes, whether to go on */

int lkv_wreck_look(lkv_wreck *wreck, uint32_t offset, size_t want, lkv_bytes *view,
                   lkv_error *err)
{
    lkv_storage *storage = wreck->storage;
    uint32_t left = wreck->limit - offset, within = offset - wreck->view_at;
    int rc = LKV_OK;

    want = want < left ? want : left;
    if (offset < wreck->view_at || within > wreck->view.size ||
        wreck->view.size - within < want) {
        wreck->view.size = 0;
        rc =
            storage->ops->read(storage, wreck->object, offset, want, &wreck->view, err);
        if (rc == LKV_CORRUPT) { /* nothing that can be read */
            wreck->view.size = 0;
            rc = LKV_OK;
        }
        wreck->view.size = wreck->view.size < left ? wreck->view.size : left;
    } else if (within > 0) {
        wreck->view.data = (const uint8_t *)wreck->view.data + within;
        wreck->view.size -= within;
    }
    wreck->view_at = offset;
    *view = wreck->view;
    return rc;
}

int lkv_wreck_at(lkv_wreck *wreck, uint32_t offset, lkv_record *record, lkv_error *err)
{
    size_t need = LKV_RECORD_HEADER;
    const char *why = "";
    lkv_bytes view;
    int rc;

    do {
        size_t want = need;
        if (want > wreck->limit - offset) {
            return LKV_CORRUPT;
        }
        rc = lkv_wreck_look(wreck, offset, want, &view, err);
        if (rc != LKV_OK) {
            return rc;
        }
        if (view.size < want) {
            return LKV_CORRUPT;
        }
        rc = lkv_format_parse(view.data, view.size, record, &need, &why);
    } while (rc == LKV_ABSENT);
    return rc;
}

/* The same, and it may stand there. */
static int fitting(lkv_wreck *wreck, uint32_t offset, lkv_record *record,
                   lkv_error *err)
{
    int rc = lkv_wreck_at(wreck, offset, record, err);
    return rc == LKV_OK && !wreck->fits(wreck->arg, record, offset) ? LKV_CORRUPT : rc;
}

/* Where the damaged record at `offset` says that it ends: LKV_OK when another begins
 * there, or nothing is left; LKV_CORRUPT. */
static int follow(lkv_wreck *wreck, uint32_t offset, uint32_t *out, lkv_error *err)
{
    lkv_record record;
    lkv_bytes view;
    uint64_t size;
    int rc = lkv_wreck_look(wreck, offset, LKV_RECORD_HEADER, &view, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (view.size < LKV_RECORD_HEADER) {
        return LKV_CORRUPT;
    }
    size = lkv_format_claimed(view.data);
    if (size > wreck->limit - offset) {
        return LKV_CORRUPT;
    }
    *out = offset + (uint32_t)size;
    return *out == wreck->limit ? LKV_OK : fitting(wreck, *out, &record, err);
}

/* Whether a record at `offset` is worth its checksum: 1 or 0, or an error. */
static int may_begin(lkv_wreck *wreck, uint32_t offset, lkv_error *err)
{
    lkv_bytes view;
    int rc = lkv_wreck_look(wreck, offset, LKV_RECORD_HEADER, &view, err);
    if (rc != LKV_OK) {
        return rc;
    }
    return view.size >= LKV_RECORD_HEADER && lkv_format_has_type(view.data) &&
           lkv_format_claimed(view.data) <= wreck->limit - offset;
}

typedef int asks(void *arg, const lkv_record *record, uint32_t offset, lkv_error *err);

/* Looks for a record from `from` on that `is_one`; `to` when there is none. */
static int search(lkv_wreck *wreck, uint32_t from, uint32_t to, asks *is_one,
                  uint32_t *out, lkv_error *err)
{
    uint32_t block = wreck->storage->block, asked = from, empty = 0;
    lkv_record record;
    lkv_bytes view;
    int rc;

    while (from < to) {
        if (wreck->go_on != NULL && from - asked >= ASK_EVERY) {
            asked = from;
            rc = wreck->go_on(wreck->arg);
            if (rc != LKV_OK) {
                return rc;
            }
        }
        rc = may_begin(wreck, from, err);
        if (rc == 1) {
            rc = fitting(wreck, from, &record, err);
        } else if (rc == 0) {
            rc = LKV_CORRUPT;
        }
        if (rc == LKV_OK) {
            rc = is_one(wreck->arg, &record, from, err);
            if (rc == 1) {
                break;
            }
        }
        if (rc < 0 && rc != LKV_CORRUPT) {
            return rc;
        }
        rc = lkv_wreck_look(wreck, from, 1, &view, err);
        if (rc != LKV_OK) {
            return rc;
        }
        /* A block that is not there is passed over at once. Where as much is missing as
         * only one record can be long, nothing comes behind it. */
        empty = view.size > 0 ? 0 : empty + block;
        from = empty > wreck->storage->segment ? wreck->limit
               : view.size > 0                 ? from + 1
                                               : from + block - from % block;
    }
    *out = from < to ? from : to;
    return LKV_OK;
}

int lkv_wreck_next(lkv_wreck *wreck, lkv_record *record, lkv_error *err)
{
    uint32_t start = wreck->offset, at = start;
    int rc;

    wreck->lost_at = start;
    wreck->lost = 0;
    if (start == wreck->limit) {
        return LKV_ABSENT;
    }
    rc = fitting(wreck, start, record, err);
    if (rc == LKV_CORRUPT) {
        rc = follow(wreck, start, &at, err);
        if (rc == LKV_OK) { /* a wrong length may lead to a record, too, over others */
            rc = search(wreck, start + 1, at, wreck->named, &at, err);
        } else if (rc == LKV_CORRUPT) {
            rc = search(wreck, start + 1, wreck->limit, wreck->believe, &at, err);
        }
        if (rc != LKV_OK) {
            return rc;
        }
        wreck->lost = at - start;
        wreck->offset = at;
        if (at == wreck->limit) {
            return LKV_ABSENT;
        }
        rc = fitting(wreck, at, record, err);
    }
    if (rc == LKV_OK) {
        wreck->offset = at + (uint32_t)record->size;
    }
    return rc;
}

static uint32_t where(uint32_t place)
{
    return place * 2654435761u >> 18; /* 14 bits, the golden ratio's: Knuth, 6.4 */
}

void lkv_futile_clear(lkv_futile *futile, uint32_t limit)
{
    memset(futile, 0, sizeof(*futile));
    futile->stride = 8 + (limit >> 20);
}

int lkv_futile_has(const lkv_futile *futile, uint32_t place, uint32_t end)
{
    uint32_t at = where(place);
    return futile->place[at] == place && futile->end[at] == end;
}

void lkv_futile_add(lkv_futile *futile, uint32_t place, uint32_t end, uint32_t nth)
{
    if (nth % futile->stride == 0) {
        uint32_t at = where(place);
        futile->place[at] = place;
        futile->end[at] = end;
    }
}
