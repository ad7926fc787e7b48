/*
 * body.h - a store as its pieces, and what has to become of it when one of them is
 * damaged: by what its root lists and, behind the commit that the root was written
 * with, by which commits a later one vouches for (FORMAT.md, F43).
 */
#ifndef BODY_H
#define BODY_H

#include "pieces.h"

#include "../core/format.h"

#define BODY_COMMITS 16u

typedef struct body {
    pieces all;
    int published; /* which piece is the root that counts; -1: none */
    lkv_root root;
    lkv_bytes root_bytes;
    lkv_end end;       /* it was written with */
    uint32_t open_end; /* of the open segment */
    struct vouched_commit {
        uint64_t revision, synced_end;
        uint32_t end; /* offset behind it */
    } commits[BODY_COMMITS];
    int commit_count; /* of those behind the root's, which is the first */
} body;

/* Of who reads the store then. */
enum outcome {
    RIGHT,   /* it makes no difference */
    DAMAGE,  /* whoever reads everything finds it; others, or right rows */
    OLDER,   /* as after an earlier commit */
    UNKNOWN, /* right rows or an error */
};

/* Finds the root and what it was written with; `all` was taken. */
void body_look(body *b);

/* When the byte at `offset` of piece `i` is another, or the piece ends there; `*kept`
 * is the last commit that has to be there, of those that are listed. */
enum outcome body_outcome(const body *b, int i, uint64_t offset, int is_cut, int *kept);

#endif
