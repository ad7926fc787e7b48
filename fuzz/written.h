/*
 * written.h - what has been written to a table whose bytes are then damaged: each write
 * has a number, which its value begins with and the rest of the value follows from. So
 * it can be told of any value whether its key ever had it.
 */
#ifndef LKV_FUZZ_WRITTEN_H
#define LKV_FUZZ_WRITTEN_H

#include "input.h"

#define WRITTEN_KEYS 20
#define WRITTEN_MAX 256 /* writes in the life of a table */
#define WRITTEN_ROOM 1400
#define WRITTEN_NONE (-1)

typedef struct written {
    int writes;
    int key_of[WRITTEN_MAX];
    int now[WRITTEN_KEYS]; /* the write that the key's value is from, or NONE */
} written;

void written_init(written *w);
/* The number of a new write of `key`, of which it is not known yet whether it stands;
 * NONE when there have been too many. */
int written_next(written *w, int key);
/* Its value, a text, which ends in a zero that is not counted. */
size_t written_value(int write, char *out);
/* Aborts unless `key` had this value at some time; the result is the write. */
int written_must_have(const written *w, int key, lkv_bytes value);

#endif
