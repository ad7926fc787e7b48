/*
 * image.h - a store's bytes made by hand: right unless told to lie.
 *
 * Records, commits and headers are appended with checksums and chain values that fit
 * together, so that an input needs no luck to reach what lies behind the checksums. A
 * lie changes one field and makes the checksums fit again; damage changes bytes and
 * leaves it at that.
 */
#ifndef LKV_FUZZ_IMAGE_H
#define LKV_FUZZ_IMAGE_H

#include "format.h"
#include "input.h"
#include "map.h"
#include "storage.h"

#define IMAGE_SEGMENTS 6u
#define IMAGE_ROOM 8192u /* bytes of a segment */

typedef struct image_segment {
    lkv_segment_header header;
    lkv_segment listed;
    size_t size;
    uint8_t bytes[IMAGE_ROOM];
} image_segment;

typedef struct image {
    uint32_t block; /* of the storage */
    lkv_root root;  /* `segments` and `meta` are filled in when it is installed */
    size_t count;
    image_segment segment[IMAGE_SEGMENTS];
    lkv_commit_record last; /* the commit that the next one follows */
    lkv_hash hash;
    uint64_t covered;
    map rows; /* what the records up to here make true; keys only matter */
    lkv_end end;
    uint32_t root_flip; /* where the root is changed when it is installed */
    uint8_t root_xor;
    int root_sealed; /* and whether its checksum is made to fit */
} image;

/* An empty store of identity `id`; `im->block` stays. */
void image_start(image *im, uint8_t id);

void image_record(image *im, enum lkv_kind kind, unsigned tag, lkv_bytes key,
                  lkv_bytes value);
void image_moved(image *im, unsigned tag, lkv_bytes key, lkv_bytes value);
/* A record of any type and lengths, with a right checksum over the bytes there are. */
void image_any_record(image *im, input *in);
void image_bytes(image *im, lkv_bytes bytes);

/* `lie`: 0 for none, else which field of the commit is changed by what. */
void image_commit(image *im, input *in, uint8_t lie);
void image_roll(image *im, input *in, uint8_t lie);
/* The root's tail moves to where the log ends now, and no run has what came before. */
void image_tail(image *im);
void image_flip(image *im, input *in);
void image_cut(image *im, input *in);
void image_lie_root(image *im, input *in);
void image_lie_end(image *im, input *in);

/* Bytes of its segments. */
size_t image_size(const image *im);
/* Makes the image what `storage` holds. */
void image_install(const image *im, lkv_storage *storage);

/* What `storage` holds by the rules of the format, read in the plainest way. */
typedef struct image_verdict {
    int opens; /* what a reader looks at who goes by the root's tail is right */
    int right; /* so is all else of the log, and what root and end say of it */
    map rows;  /* then: what it holds; bytes in input_memory() */
} image_verdict;

/* 1, or 0 when there is no memory left to say. */
int image_truth(lkv_storage *storage, image_verdict *out);

#endif
