/*
 * wreck.h - reading an object that may be damaged, record by record: what is damaged is
 * passed over, and reading goes on at the next record that can be believed.
 *
 * A record right behind one that was read stands where it belongs. So does one where
 * the damaged record before it says that it ends: two that agree. Any other that is
 * found in the bytes may be a part of a value, and the caller has to believe it.
 */
#ifndef LKV_WRECK_H
#define LKV_WRECK_H

#include "block.h"
#include "storage.h"

typedef struct lkv_wreck {
    lkv_storage *storage;
    uint32_t object;
    uint32_t offset; /* of the next record */
    uint32_t limit;  /* no byte from here on is looked at */
    lkv_bytes view;  /* bytes of the object from `view_at` on */
    uint32_t view_at;
    uint32_t lost_at, lost; /* what was passed over on the way to the last record */
    /* Whether such a record may stand there: 1 or 0. */
    int (*fits)(void *arg, const lkv_record *record, uint32_t offset);
    /* Whether one that was found at `offset` is none: 1 or 0, or an error. May read. */
    int (*believe)(void *arg, const lkv_record *record, uint32_t offset,
                   lkv_error *err);
    /* Whether the index names it, there: likewise. */
    int (*named)(void *arg, const lkv_record *record, uint32_t offset, lkv_error *err);
    int (*go_on)(void *arg); /* NULL, or as of lkv_verify() */
    void *arg;
} lkv_wreck;

/* The next record; views are valid until the next call on the storage. LKV_ABSENT at
 * the limit, where `lost` counts as well. Errors: LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_wreck_next(lkv_wreck *wreck, lkv_record *record, lkv_error *err);
/* The record at `offset`, whatever fits there; LKV_CORRUPT when there is none. */
LKV_MUST_CHECK int lkv_wreck_at(lkv_wreck *wreck, uint32_t offset, lkv_record *record,
                                lkv_error *err);
/* Up to `want` bytes at `offset`, fewer where the object has them not. */
LKV_MUST_CHECK int lkv_wreck_look(lkv_wreck *wreck, uint32_t offset, size_t want,
                                  lkv_bytes *view, lkv_error *err);

/* Places from which record follows record, but not as far as was asked. Who looks for a
 * place to go on from would walk the same way from each record of it. One record in
 * `stride` is kept, as far as there is room: a later way ends where it meets one. */
#define LKV_FUTILE_ROOM 16384u

typedef struct lkv_futile {
    uint32_t stride;
    uint32_t place[LKV_FUTILE_ROOM], end[LKV_FUTILE_ROOM];
} lkv_futile;

/* None is known, in an object of `limit` bytes. */
void lkv_futile_clear(lkv_futile *futile, uint32_t limit);
/* Whether it is known that no way leads from `place` to `end`. */
int lkv_futile_has(const lkv_futile *futile, uint32_t place, uint32_t end);
/* The same is so of `place`, the `nth` record on a way. */
void lkv_futile_add(lkv_futile *futile, uint32_t place, uint32_t end, uint32_t nth);

/* The bytes of the record given out last; and to be called when the storage was used
 * since. */
static inline const uint8_t *lkv_wreck_bytes(const lkv_wreck *wreck)
{
    return wreck->view.data;
}
static inline void lkv_wreck_moved(lkv_wreck *wreck)
{
    wreck->view.size = 0;
}

#endif
