/*
 * md5.h - the MD5 digest, which test files give in place of long results.
 */
#ifndef LKV_MD5_H
#define LKV_MD5_H

#include <stddef.h>
#include <stdint.h>

typedef struct lkv_md5 {
    uint32_t state[4];
    uint64_t size; /* bytes added so far */
    unsigned char block[64];
} lkv_md5;

void lkv_md5_start(lkv_md5 *md5);
void lkv_md5_add(lkv_md5 *md5, const void *data, size_t size);
/* 32 lower-case hexadecimal digits and a NUL. */
void lkv_md5_end(lkv_md5 *md5, char hex[33]);

#endif
