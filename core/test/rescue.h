/*
 * rescue.h - damaged stores: what lkv_salvage() says of them, and makes of them.
 */
#ifndef LKV_TEST_RESCUE_H
#define LKV_TEST_RESCUE_H

#include "layers.h"

/* What was said to be lost. */
typedef struct report {
    unsigned count;
    char text[2000]; /* "segment 1: 64+15 a..b; part ..." */
    uint32_t object; /* a byte to look for */
    uint64_t offset;
    int named; /* it was in one of the ranges */
    uint64_t kept;
    uint64_t bytes;
} report;

/* lkv_salvage(); `out->object` and `offset` are set by the caller. */
int salvage(lkv_store *store, int apply, report *out, lkv_error *err);
/* Another handle, which has read nothing; with small runs. */
void reopen(fixture *f);
/* Looks, applies, and checks what that made; returns its content. */
const char *recover(fixture *f, report *said);

#endif
