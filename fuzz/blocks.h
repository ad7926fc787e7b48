/*
 * blocks.h - any bytes as a block of a run, and as all blocks of one.
 */
#ifndef LKV_FUZZ_BLOCKS_H
#define LKV_FUZZ_BLOCKS_H

#include "input.h"

/* The rest of the input is one block, its checksum made right. Aborts when a search in
 * it finds anything but what reading it from front to back gives. */
void blocks_must_read(input *in);

/* The rest of the input is an object, the checksums of its blocks made right. Aborts
 * when what runcheck.c finds right answers wrongly: by key, forward, backward. */
void blocks_must_walk(input *in);

#endif
