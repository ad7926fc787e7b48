/*
 * checksum.h - the two checksums of the format: CRC-32 over a record, XXH64 over a
 * commit.
 */
#ifndef LKV_CHECKSUM_H
#define LKV_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32 as zlib and Ethernet have it (polynomial 0x04C11DB7, reflected), starting from
 * `crc`, which is 0 for the first piece. */
uint32_t lkv_crc32(uint32_t crc, const void *data, size_t size);

/* XXH64 (Yann Collet, xxHash specification 0.1.1) in pieces; a plain value to be
 * copied. */
typedef struct lkv_hash {
    uint64_t lane[4];
    uint64_t length;
    uint8_t rest[32]; /* the last length % 32 bytes, which fill no stripe yet */
} lkv_hash;

void lkv_hash_start(lkv_hash *hash);
void lkv_hash_add(lkv_hash *hash, const void *data, size_t size);
uint64_t lkv_hash_value(const lkv_hash *hash);
/* The state as bytes, to go on from later: the four lanes and the length so far, u64
 * each, and the bytes that do not yet fill a stripe of 32, zero after them. */
#define LKV_HASH_SIZE 72u
void lkv_hash_save(const lkv_hash *hash, uint8_t *out);
void lkv_hash_load(lkv_hash *hash, const uint8_t *at);
/* The same of bytes that are all there. */
uint64_t lkv_hash_once(const void *data, size_t size);

#endif
