/*
 * key.c - keys as bytes in SQLite's order; value.h tells the bytes.
 */
#include "value.h"

#include <math.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define SIGN_BIT (1ull << 63)
#define TWO_63 9223372036854775808.0

void lkv_key_init(lkv_key *key)
{
    key->data = key->small;
    key->size = 0;
    key->room = 0;
}

void lkv_key_clear(lkv_key *key)
{
    if (key->room > 0) {
        sqlite3_free(key->data);
    }
    lkv_key_init(key);
}

static int make_room(lkv_key *key, size_t size)
{
    uint8_t *moved;
    if (size <= sizeof(key->small) || size <= key->room) {
        return SQLITE_OK;
    }
    moved = sqlite3_realloc64(key->room > 0 ? key->data : NULL, size);
    if (moved == NULL) {
        return SQLITE_NOMEM;
    }
    key->data = moved;
    key->room = size;
    return SQLITE_OK;
}

/* The greatest double that is not greater than `i`. */
static double floor_of(sqlite3_int64 i)
{
    double r = (double)i;
    if (r >= TWO_63 || (sqlite3_int64)r > i) { /* rounded up: one double down */
        uint64_t bits;
        memcpy(&bits, &r, sizeof(bits));
        bits += r < 0 ? 1 : UINT64_MAX;
        memcpy(&r, &bits, sizeof(r));
    }
    return r;
}

static size_t put_number(uint8_t *out, double r, unsigned rest)
{
    uint64_t bits;
    size_t size = 8;

    r = r == 0 ? 0 : r; /* -0.0 is 0.0 */
    memcpy(&bits, &r, sizeof(bits));
    bits = (bits & SIGN_BIT) != 0 ? ~bits : bits | SIGN_BIT;
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    if (rest > 0) {
        out[8] = (uint8_t)(rest >> 8);
        out[9] = (uint8_t)rest;
        return 10;
    }
    while (out[size - 1] == 0) {
        size--; /* the first byte is never 0: that would be a NaN */
    }
    return size;
}

int lkv_key_encode(lkv_key *key, const lkv_value *value, unsigned *tag)
{
    *tag = LKV_KEY_PLAIN;
    if (value->type == SQLITE_INTEGER) {
        double r = floor_of(value->i);
        key->data[0] = LKV_KEY_NUMBER;
        key->size =
            1 + put_number(key->data + 1, r, (unsigned)(value->i - (sqlite3_int64)r));
    } else if (value->type == SQLITE_FLOAT) {
        *tag = value->r == 0 && signbit(value->r) ? LKV_KEY_MINUS_ZERO : LKV_KEY_REAL;
        key->data[0] = LKV_KEY_NUMBER;
        key->size = 1 + put_number(key->data + 1, value->r, 0);
    } else {
        if (make_room(key, value->size + 1) != SQLITE_OK) {
            return SQLITE_NOMEM;
        }
        key->data[0] = value->type == SQLITE_TEXT ? LKV_KEY_TEXT : LKV_KEY_BLOB;
        if (value->size > 0) {
            memcpy(key->data + 1, value->bytes, value->size);
        }
        key->size = value->size + 1;
    }
    return SQLITE_OK;
}

/* The bytes of a number as put_number() leaves them. Other bytes of the same number are
 * refused: two keys of one value would be two rows of one key. F16 */
static int get_number(const uint8_t *at, size_t size, double *r, unsigned *rest)
{
    uint64_t bits = 0;

    if (size == 0 || size == 9 || size > 10 || (size <= 8 && at[size - 1] == 0)) {
        return SQLITE_CORRUPT_VTAB;
    }
    for (size_t i = 0; i < 8; i++) {
        bits = bits << 8 | (i < size ? at[i] : 0);
    }
    *rest = size == 10 ? (unsigned)at[8] << 8 | at[9] : 0;
    bits = (bits & SIGN_BIT) != 0 ? bits ^ SIGN_BIT : ~bits;
    memcpy(r, &bits, sizeof(*r));
    if (isnan(*r) || (*r == 0 && signbit(*r)) || (size == 10 && *rest == 0)) {
        return SQLITE_CORRUPT_VTAB;
    }
    return SQLITE_OK;
}

static int decode_number(const uint8_t *at, size_t size, unsigned tag, lkv_value *value)
{
    unsigned rest;
    double r;
    int rc = get_number(at, size, &r, &rest);

    if (rc != SQLITE_OK) {
        return rc;
    }
    if (tag == LKV_KEY_REAL || (tag == LKV_KEY_MINUS_ZERO && r == 0)) {
        value->type = SQLITE_FLOAT;
        value->r = tag == LKV_KEY_MINUS_ZERO ? -r : r;
        return rest == 0 ? SQLITE_OK : SQLITE_CORRUPT_VTAB;
    }
    if (tag != LKV_KEY_PLAIN || !(r >= -TWO_63 && r < TWO_63) ||
        (double)(sqlite3_int64)r != r || (sqlite3_int64)r > INT64_MAX - rest) {
        return SQLITE_CORRUPT_VTAB;
    }
    value->type = SQLITE_INTEGER;
    value->i = (sqlite3_int64)r + rest;
    return rest == 0 || floor_of(value->i) == r ? SQLITE_OK : SQLITE_CORRUPT_VTAB;
}

int lkv_key_decode(const void *data, size_t size, unsigned tag, lkv_value *value)
{
    const uint8_t *at = data;

    value->copy = NULL;
    if (size == 0) {
        return SQLITE_CORRUPT_VTAB;
    }
    if (at[0] == LKV_KEY_NUMBER) {
        return decode_number(at + 1, size - 1, tag, value);
    }
    if ((at[0] != LKV_KEY_TEXT && at[0] != LKV_KEY_BLOB) || tag != LKV_KEY_PLAIN) {
        return SQLITE_CORRUPT_VTAB;
    }
    value->type = at[0] == LKV_KEY_TEXT ? SQLITE_TEXT : SQLITE_BLOB;
    value->bytes = at + 1;
    value->size = size - 1;
    return SQLITE_OK;
}
