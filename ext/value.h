/*
 * value.h - SQL values to bytes and back: affinity, keys in order, rows of values.
 */
#ifndef LKV_VALUE_H
#define LKV_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "sqlite3ext.h"

enum lkv_affinity { /* SQLite's, by its rules for declared types */
                    LKV_AFFINITY_BLOB,
                    LKV_AFFINITY_TEXT,
                    LKV_AFFINITY_NUMERIC,
                    LKV_AFFINITY_INTEGER,
                    LKV_AFFINITY_REAL,
};

enum lkv_affinity lkv_affinity_of(const char *type);

typedef struct lkv_value {
    int type; /* SQLITE_NULL, SQLITE_INTEGER, SQLITE_FLOAT, SQLITE_TEXT or SQLITE_BLOB
               */
    sqlite3_int64 i;
    double r;
    const void *bytes; /* of a text (UTF-8) or blob: borrowed */
    size_t size;
    sqlite3_value *copy; /* what `bytes` borrows from when the argument would not do */
    char digits[24];     /* or this */
} lkv_value;

/* What a column of `affinity` stores when it is given `argument`. The result borrows
 * from the argument, and may own a copy: lkv_value_clear(). SQLITE_NOMEM. */
int lkv_value_read(lkv_value *value, sqlite3_value *argument,
                   enum lkv_affinity affinity);
void lkv_value_clear(lkv_value *value);

/* Whether `bytes` are UTF-8 that SQLite makes UTF-16 of, and the same again of that. */
int lkv_value_is_utf8(const void *bytes, size_t size);

/* Sets a function's or column's result; text and blob are copied. */
void lkv_value_result(sqlite3_context *context, const lkv_value *value);

/*
 * Keys: bytes whose memcmp order, a shorter string before those that it begins, is
 * SQLite's order of the values under BINARY.
 *
 *   number  0x20, then the greatest double <= the number: 8 bytes big-endian, sign bit
 * turned for positive and all bits for negative numbers, without its zero bytes at the
 * end; for an integer that is no double all 8 bytes, and what is missing as 2 bytes
 *   text    0x30, then its UTF-8 bytes
 *   blob    0x40, then its bytes
 */
#define LKV_KEY_NUMBER 0x20
#define LKV_KEY_TEXT 0x30
#define LKV_KEY_BLOB 0x40

/* Equal numbers have equal bytes; the tag keeps apart what typeof() shows. */
enum lkv_key_tag { LKV_KEY_PLAIN = 0, LKV_KEY_REAL = 1, LKV_KEY_MINUS_ZERO = 2 };

typedef struct lkv_key {
    uint8_t *data;
    size_t size, room; /* room 0: `data` is `small` or nothing */
    uint8_t small[72];
} lkv_key;

void lkv_key_init(lkv_key *key);
void lkv_key_clear(lkv_key *key);
/* The key of a value that is not NULL, and its tag. SQLITE_NOMEM. */
int lkv_key_encode(lkv_key *key, const lkv_value *value, unsigned *tag);
/* The value of a key, borrowing its bytes. SQLITE_CORRUPT_VTAB when no value has it. */
int lkv_key_decode(const void *data, size_t size, unsigned tag, lkv_value *value);

/*
 * Rows: the values beside the key, in SQLite's record format (a header of varints: its
 * own size and a serial type for each value; then the bodies).
 */

/* Bytes of the record of `count` values. */
uint64_t lkv_record_size(const lkv_value *values, int count);
void lkv_record_write(uint8_t *out, const lkv_value *values, int count);
/* Value number `i` of a record, borrowing its bytes. SQLITE_CORRUPT_VTAB. */
int lkv_record_read(const void *record, size_t size, int i, lkv_value *value);

#endif
