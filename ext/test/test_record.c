/*
 * test_record.c - rows of values: byte for byte what SQLite itself writes, and nothing
 * read that is not there, whatever the bytes say.
 */
#include "unit.h"

#define COLUMNS 200

typedef struct row {
    lkv_value value[COLUMNS];
    char room[COLUMNS][40];
    int count;
    uint8_t *bytes; /* the record; freed by clear() */
    size_t size;
} row;

static char large[70000];

static lkv_value any_value(char *room)
{
    static const sqlite3_int64 limits[] = {0,          1,
                                           127,        128,
                                           32767,      32768,
                                           8388607,    8388608,
                                           2147483647, 2147483648,
                                           1LL << 47,  (1LL << 47) - 1,
                                           INT64_MAX,  -INT64_MAX - 1};
    uint64_t how = unit_random();
    switch (how & 7) {
    case 0:
        return (lkv_value){.type = SQLITE_NULL};
    case 1:
        return unit_integer(limits[(how >> 8) % 14]);
    case 2:
        return unit_integer(-1 - limits[(how >> 8) % 13]);
    case 3: /* serial types of one, two and three bytes */
        return unit_bytes(how & 8 ? SQLITE_TEXT : SQLITE_BLOB, large,
                          (how >> 8) % (how & 16 ? 70 : 9000));
    default:
        return unit_any(room);
    }
}

static void write_record(row *r)
{
    r->size = (size_t)lkv_record_size(r->value, r->count);
    r->bytes = malloc(r->size);
    unit_need(r->bytes != NULL, "no memory");
    lkv_record_write(r->bytes, r->value, r->count);
}

static void make(row *r, int count)
{
    r->count = count;
    for (int i = 0; i < count; i++) {
        r->value[i] = any_value(r->room[i]);
    }
    write_record(r);
}

static void clear(row *r)
{
    free(r->bytes);
    r->bytes = NULL;
}

static void must_read(const row *r, const void *bytes, size_t size, int i)
{
    lkv_value value;
    if (lkv_record_read(bytes, size, i, &value) != SQLITE_OK) {
        unit_fault(__FILE__, __LINE__, "value %d of %d cannot be read", i, r->count);
    } else if (!unit_same(&value, &r->value[i])) {
        unit_fault(__FILE__, __LINE__, "%s came back as %s", unit_show(&r->value[i]),
                   unit_show(&value));
    }
}

static void round_trip(void)
{
    static row r;
    lkv_value value;
    for (int turn = 0; turn < 400; turn++) {
        make(&r, turn % COLUMNS);
        for (int i = 0; i < r.count; i++) {
            must_read(&r, r.bytes, r.size, i);
        }
        CHECK(lkv_record_read(r.bytes, r.size, r.count, &value) == SQLITE_CORRUPT_VTAB);
        clear(&r);
    }
    r.count = 1;
    r.value[0] = unit_bytes(SQLITE_TEXT, large, sizeof(large));
    write_record(&r);
    must_read(&r, r.bytes, r.size, 0);
    clear(&r);
}

static size_t varint(const uint8_t *at, uint64_t *n)
{
    size_t size = 0;
    *n = 0;
    do {
        *n = *n << 7 | (at[size] & 0x7f);
    } while (at[size++] & 0x80);
    return size;
}

/* The payload of the only row of the table whose root is page 2: a leaf, whose first
 * cell pointer stands behind its header of 8 bytes (file format, section 1.6). */
static void must_be_in_the_file(sqlite3 *db, const row *r, unsigned page_size)
{
    sqlite3_int64 all;
    uint8_t *file = sqlite3_serialize(db, "main", &all, 0);
    const uint8_t *page, *cell;
    uint64_t payload, rowid;

    unit_need(file != NULL, "the database cannot be serialized");
    page = file + page_size;
    unit_need(page[0] == 13 && page[4] == 1, "page 2 is not a leaf of one row");
    cell = page + ((unsigned)page[8] << 8 | page[9]);
    cell += varint(cell, &payload);
    cell += varint(cell, &rowid);
    if (payload != r->size) {
        unit_fault(__FILE__, __LINE__, "%d values: %d bytes, SQLite has %d", r->count,
                   (int)r->size, (int)payload);
    } else {
        CHECK(memcmp(cell, r->bytes, r->size) == 0);
    }
    sqlite3_free(file);
}

static void as_sqlite_writes(void)
{
    static row r;
    for (int turn = 0; turn < 60; turn++) {
        int count = turn < 20 ? turn + 1 : turn < 40 ? turn + 90 : 3 * turn;
        sqlite3 *db = unit_database();
        sqlite3_str *text = sqlite3_str_new(db);
        sqlite3_stmt *insert;
        char *sql;

        count = count < COLUMNS ? count : COLUMNS;
        unit_sql(db, "PRAGMA page_size = 65536");
        sqlite3_str_appendall(text, "CREATE TABLE t(c0");
        for (int i = 1; i < count; i++) {
            sqlite3_str_appendf(text, ", c%d", i);
        }
        sqlite3_str_appendall(text, "); INSERT INTO t(c0) VALUES(NULL)");
        sql = sqlite3_str_finish(text);
        unit_sql(db, sql);
        sqlite3_free(sql);
        text = sqlite3_str_new(db);
        sqlite3_str_appendall(text, "REPLACE INTO t(rowid");
        for (int i = 0; i < count; i++) {
            sqlite3_str_appendf(text, ", c%d", i);
        }
        sqlite3_str_appendall(text, ") VALUES(1");
        for (int i = 0; i < count; i++) {
            sqlite3_str_appendall(text, ", ?");
        }
        sqlite3_str_appendall(text, ")");
        sql = sqlite3_str_finish(text);
        insert = unit_prepare(db, sql);
        sqlite3_free(sql);
        do { /* one page has room for it */
            clear(&r);
            make(&r, count);
        } while (r.size > 60000);
        for (int i = 0; i < count; i++) {
            unit_bind(insert, i + 1, &r.value[i]);
        }
        unit_need(sqlite3_step(insert) == SQLITE_DONE, "the insert failed");
        sqlite3_finalize(insert);
        must_be_in_the_file(db, &r, 65536);
        clear(&r);
        sqlite3_close(db);
    }
}

/* Reads value `i` from memory of exactly `size` bytes, and each of its own bytes. */
static int read_exactly(const uint8_t *bytes, size_t size, int i)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    unsigned sum = 0;
    lkv_value value;
    int rc;

    unit_need(copy != NULL, "no memory");
    memcpy(copy, bytes, size);
    rc = lkv_record_read(copy, size, i, &value);
    if (rc == SQLITE_OK && (value.type == SQLITE_TEXT || value.type == SQLITE_BLOB)) {
        const uint8_t *at = value.bytes;
        CHECK(at >= copy && value.size <= size - (size_t)(at - copy));
        for (size_t k = 0; k < value.size; k++) {
            sum += at[k];
        }
    }
    CHECK(rc == SQLITE_OK || rc == SQLITE_CORRUPT_VTAB || sum > 0);
    free(copy);
    return rc;
}

static void damaged_records(void)
{
    static row r;
    for (int turn = 0; turn < 12; turn++) {
        r.count = 1 + turn % 6;
        for (int i = 0; i < r.count; i++) {
            r.value[i] = unit_any(r.room[i]);
        }
        write_record(&r);
        for (size_t size = 0; size < r.size; size++) { /* the last byte is needed */
            int lost = 0;
            for (int i = 0; i <= r.count; i++) {
                lost |= read_exactly(r.bytes, size, i) != SQLITE_OK;
            }
            CHECK(lost);
        }
        for (size_t at = 0; at < r.size; at++) {
            for (unsigned by = 1; by < 256; by++) {
                r.bytes[at] ^= (uint8_t)by;
                for (int i = 0; i <= r.count; i++) {
                    (void)read_exactly(r.bytes, r.size, i);
                }
                r.bytes[at] ^= (uint8_t)by;
            }
        }
        clear(&r);
    }
}

typedef struct damage {
    const char *bytes;
    size_t size;
} damage;

#define DAMAGE(bytes)                                                                  \
    {                                                                                  \
        bytes, sizeof(bytes) - 1                                                       \
    }

static void damaged_headers(void)
{
    static const damage records[] = {
        DAMAGE(""),
        DAMAGE("\x00"),                 /* a header shorter than its own size */
        DAMAGE("\x80\x01"),             /* the same in two bytes */
        DAMAGE("\x80\x80\x01\x09\x09"), /* and in three, with more behind */
        DAMAGE("\x01"),                 /* no value */
        DAMAGE("\x02"),                 /* cut inside the header */
        DAMAGE("\x03\x81"),
        DAMAGE("\x02\x81"),         /* a type that goes on behind the header */
        DAMAGE("\x02\x0a\x00\x00"), /* types that are reserved */
        DAMAGE("\x02\x0b\x00\x00"),
        DAMAGE("\x02\x01"), /* bodies that are not there */
        DAMAGE("\x02\x06\x00\x00\x00\x00\x00\x00\x00"),
        DAMAGE("\x02\x0f"),
        DAMAGE("\x06\xff\xff\xff\xff\x7f"),
        DAMAGE("\x06\x90\x80\x80\x80\x0d"),         /* 2^32 bytes and no more */
        DAMAGE("\x07\x80\x80\x80\x80\x80\x01\x00"), /* varints of six bytes */
        DAMAGE("\x80\x80\x80\x80\x80\x02\x09"),
        DAMAGE("\x83\xff\xff\xff\x7f\x09"),
    };
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        if (read_exactly((const uint8_t *)records[i].bytes, records[i].size, 0) !=
            SQLITE_CORRUPT_VTAB) {
            unit_fault(__FILE__, __LINE__, "damaged header %d is taken", (int)i);
        }
    }
}

/* SQLite takes a real that is no number for NULL. */
static void no_number(void)
{
    lkv_value value;
    CHECK(lkv_record_read("\x02\x07\x7f\xf8\x00\x00\x00\x00\x00\x00", 10, 0, &value) ==
              SQLITE_OK &&
          value.type == SQLITE_NULL);
    CHECK(lkv_record_read("\x02\x07\x7f\xf0\x00\x00\x00\x00\x00\x00", 10, 0, &value) ==
              SQLITE_OK &&
          value.type == SQLITE_FLOAT && value.r > 1e308);
}

int main(void)
{
    memset(large, 'l', sizeof(large));
    UNIT_RUN(round_trip);
    UNIT_RUN(as_sqlite_writes);
    UNIT_RUN(damaged_records);
    UNIT_RUN(damaged_headers);
    UNIT_RUN(no_number);
    return unit_end();
}
