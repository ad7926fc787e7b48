/*
 * image.h - the bytes of a whole store outside of any storage: to compare, to damage,
 * to put back, and to make by hand as no writer would.
 */
#ifndef LKV_TEST_IMAGE_H
#define LKV_TEST_IMAGE_H

#include "format.h"
#include "storage.h"

#define IMAGE_SEGMENTS 128u

typedef struct store_image {
    struct image_segment {
        uint32_t number;
        uint8_t *bytes;
        size_t size;
    } segments[IMAGE_SEGMENTS]; /* as the root lists them, and runs behind them */
    unsigned count;             /* segments of the log */
    unsigned objects;           /* these and the runs */
    uint8_t *root;
    size_t root_size;
    lkv_end end;
} store_image;

/* What a new handle would read: no bytes behind the end, nothing that the root does not
 * list. */
void image_take(store_image *out, lkv_storage *storage);
/* Puts it in place of what is there; nobody holds the lock. */
void image_put(const store_image *from, lkv_storage *storage);
void image_free(store_image *image);
/* Byte `offset` of segment `number`. */
uint8_t *image_at(store_image *image, uint32_t number, size_t offset);
void check_same_image(const char *file, int line, const store_image *got,
                      const store_image *want);
#define CHECK_SAME_IMAGE(got, want) check_same_image(__FILE__, __LINE__, got, want)

/* A store made by hand: what is appended goes to the last segment, and into the chain
 * value of the next commit. What a test sets in between in `image.end` or the last
 * segment's bytes is taken as it is. */
typedef struct craft {
    store_image image;
    lkv_segment list[IMAGE_SEGMENTS];
    lkv_hash hash;
    uint64_t covered;
    lkv_commit_record commit; /* the last one */
} craft;

/* One segment without records; the identity is the bytes 0, 1, ..., 15. */
void craft_begin(craft *c);
/* The same, and it has `number`. */
void craft_begin_at(craft *c, uint32_t number);
void craft_record(craft *c, enum lkv_kind kind, const char *key, const char *value);
/* Any bytes; `chained` puts them into the chain value too. */
void craft_bytes(craft *c, lkv_bytes bytes, int chained);
/* A right commit. */
void craft_commit(craft *c, uint64_t live_keys);
/* Closes the segment and begins another with `number`. */
void craft_segment(craft *c, uint32_t number);
/* Writes the root, and the end behind the last byte; `meta` is "about". */
void craft_end(craft *c);
/* The root alone, of `list` as it stands. */
void craft_root(craft *c);

#endif
