/*
 * md5.c - MD5, written after the description in RFC 1321 (R. Rivest, "The MD5
 * Message-Digest Algorithm", April 1992). It only compares results with what the public
 * test files say; nothing here depends on its being hard to forge.
 */
#include "md5.h"

#include <stdio.h>
#include <string.h>

/* Section 3.4: entry i is the integer part of 4294967296 * abs(sin(i + 1)), i + 1 in
 * radians. */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613,
    0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193,
    0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d,
    0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed,
    0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122,
    0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
    0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244,
    0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb,
    0xeb86d391,
};

/* The same section: how far step i rotates, by round and by place in a group of four.
 */
static const unsigned char turns[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t little_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void take_block(lkv_md5 *md5, const unsigned char *block)
{
    uint32_t a = md5->state[0];
    uint32_t b = md5->state[1];
    uint32_t c = md5->state[2];
    uint32_t d = md5->state[3];
    for (unsigned step = 0; step < 64; step++) {
        unsigned round = step / 16;
        uint32_t mixed;
        unsigned word;
        if (round == 0) {
            mixed = (b & c) | (~b & d);
            word = step;
        } else if (round == 1) {
            mixed = (b & d) | (c & ~d);
            word = (1 + 5 * step) % 16;
        } else if (round == 2) {
            mixed = b ^ c ^ d;
            word = (5 + 3 * step) % 16;
        } else {
            mixed = c ^ (b | ~d);
            word = 7 * step % 16;
        }
        uint32_t sum =
            a + mixed + sines[step] + little_endian(block + 4 * (size_t)word);
        unsigned turn = turns[round][step % 4];
        a = d;
        d = c;
        c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    md5->state[0] += a;
    md5->state[1] += b;
    md5->state[2] += c;
    md5->state[3] += d;
}

void lkv_md5_start(lkv_md5 *md5)
{
    *md5 = (lkv_md5){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

void lkv_md5_add(lkv_md5 *md5, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        md5->block[md5->size % 64] = bytes[i];
        md5->size++;
        if (md5->size % 64 == 0) {
            take_block(md5, md5->block);
        }
    }
}

void lkv_md5_end(lkv_md5 *md5, char hex[33])
{
    uint64_t bits = md5->size * 8;
    unsigned char length[8];
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (unsigned char)(bits >> (8 * i));
    }
    lkv_md5_add(md5, "\x80", 1);
    while (md5->size % 64 != 56) {
        lkv_md5_add(md5, "", 1);
    }
    lkv_md5_add(md5, length, sizeof(length));
    for (unsigned i = 0; i < 16; i++) {
        unsigned byte = md5->state[i / 4] >> (8 * (i % 4)) & 0xff;
        snprintf(hex + (size_t)2 * i, 3, "%02x", byte);
    }
}
