/*
 * record.c - the values of a row in SQLite's record format (its file format document,
 * section 2.1): every storage class is kept exactly, integers in as few bytes as they
 * need.
 */
#include "value.h"

#include <math.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

static size_t varint_size(uint64_t n)
{
    size_t size = 1;
    while (n >>= 7) {
        size++;
    }
    return size; /* at most 5 here: no number is above 2^32 */
}

static size_t put_varint(uint8_t *out, uint64_t n)
{
    size_t size = varint_size(n);
    for (size_t i = size; i-- > 0; n >>= 7) {
        out[i] = (uint8_t)((n & 0x7f) | (i + 1 < size ? 0x80 : 0));
    }
    return size;
}

/* Bytes read, or 0 when there is no whole varint of at most 5 bytes. */
static size_t get_varint(const uint8_t *at, size_t have, uint64_t *n)
{
    *n = 0;
    for (size_t i = 0; i < have && i < 5; i++) {
        *n = *n << 7 | (at[i] & 0x7f);
        if ((at[i] & 0x80) == 0) {
            return i + 1;
        }
    }
    return 0;
}

static unsigned integer_type(sqlite3_int64 i)
{
    uint64_t n = i < 0 ? ~(uint64_t)i : (uint64_t)i;
    if (i == 0 || i == 1) {
        return i == 0 ? 8 : 9;
    }
    if (n <= 0x7f) {
        return 1;
    }
    if (n <= 0x7fff) {
        return 2;
    }
    if (n <= 0x7fffff) {
        return 3;
    }
    if (n <= 0x7fffffff) {
        return 4;
    }
    return n <= 0x7fffffffffff ? 5 : 6;
}

/* By serial type; 10 and 11 are reserved, and refused where a record is read. */
static const uint8_t body_sizes[12] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};

static uint64_t serial_type(const lkv_value *value, size_t *body)
{
    unsigned type = 0;
    switch (value->type) {
    case SQLITE_INTEGER:
        type = integer_type(value->i);
        break;
    case SQLITE_FLOAT:
        type = 7;
        break;
    case SQLITE_TEXT:
    case SQLITE_BLOB:
        *body = value->size;
        return (uint64_t)value->size * 2 + (value->type == SQLITE_TEXT ? 13 : 12);
    default:
        break;
    }
    *body = body_sizes[type];
    return type;
}

/* Size of the header that tells its own size. */
static size_t header_size(size_t types)
{
    size_t size = types + 1;
    while (types + varint_size(size) > size) {
        size++;
    }
    return size;
}

uint64_t lkv_record_size(const lkv_value *values, int count)
{
    size_t types = 0;
    uint64_t bodies = 0;
    for (int i = 0; i < count; i++) {
        size_t body;
        types += varint_size(serial_type(&values[i], &body));
        bodies += body;
    }
    return header_size(types) + bodies;
}

static void put_integer(uint8_t *out, uint64_t n, size_t size)
{
    for (size_t i = size; i-- > 0; n >>= 8) {
        out[i] = (uint8_t)n;
    }
}

void lkv_record_write(uint8_t *out, const lkv_value *values, int count)
{
    size_t types = 0, body;
    uint8_t *at;

    for (int i = 0; i < count; i++) {
        types += varint_size(serial_type(&values[i], &body));
    }
    at = out + header_size(types);
    out += put_varint(out, header_size(types));
    for (int i = 0; i < count; i++) {
        const lkv_value *value = &values[i];
        out += put_varint(out, serial_type(value, &body));
        if (value->type == SQLITE_INTEGER) {
            put_integer(at, (uint64_t)value->i, body);
        } else if (value->type == SQLITE_FLOAT) {
            uint64_t bits;
            memcpy(&bits, &value->r, sizeof(bits));
            put_integer(at, bits, body);
        } else if (body > 0) {
            memcpy(at, value->bytes, body);
        }
        at += body;
    }
}

static void take_number(const uint8_t *at, unsigned type, lkv_value *value)
{
    size_t size = body_sizes[type];
    uint64_t n = size > 0 && (at[0] & 0x80) != 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++) {
        n = n << 8 | at[i];
    }
    value->type = SQLITE_INTEGER;
    value->i = type == 9 ? 1 : (sqlite3_int64)n;
    if (type == 7) {
        memcpy(&value->r, &n, sizeof(n));
        value->type = isnan(value->r) ? SQLITE_NULL : SQLITE_FLOAT; /* as SQLite */
    }
}

int lkv_record_read(const void *record, size_t size, int i, lkv_value *value)
{
    const uint8_t *at = record;
    uint64_t header, bytes, type = 0;
    size_t used = get_varint(at, size, &header);
    size_t body, length = 0;

    value->copy = NULL;
    if (used == 0 || header < used || header > size) {
        return SQLITE_CORRUPT_VTAB;
    }
    body = (size_t)header;
    for (int k = 0; k <= i; k++) {
        size_t got = get_varint(at + used, (size_t)header - used, &type);
        body += length;
        if (got == 0 || type == 10 || type == 11) {
            return SQLITE_CORRUPT_VTAB;
        }
        used += got;
        bytes = type >= 12 ? (type - 12) / 2 : body_sizes[type];
        if (bytes > size - body) {
            return SQLITE_CORRUPT_VTAB;
        }
        length = (size_t)bytes;
    }
    if (type >= 12) {
        value->type = type % 2 == 1 ? SQLITE_TEXT : SQLITE_BLOB;
        value->bytes = at + body;
        value->size = length;
    } else if (type == 0) {
        value->type = SQLITE_NULL;
    } else {
        take_number(at + body, (unsigned)type, value);
    }
    return SQLITE_OK;
}
