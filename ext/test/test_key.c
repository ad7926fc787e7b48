/*
 * test_key.c - keys as bytes: their order is SQLite's, each value has one key, and no
 * other bytes are a key.
 */
#include "unit.h"

#define MANY 3000

/* `value` as a key; ends the program without memory. */
static unsigned encode(lkv_key *key, const lkv_value *value)
{
    unsigned tag;
    unit_need(lkv_key_encode(key, value, &tag) == SQLITE_OK, "no memory for a key");
    return tag;
}

/* Decodes from memory of exactly the key's size. */
static int decode(const void *bytes, size_t size, unsigned tag, lkv_value *value)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    int rc;
    unit_need(copy != NULL, "no memory");
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    rc = lkv_key_decode(copy, size, tag, value);
    if (rc == SQLITE_OK && value->type != SQLITE_INTEGER &&
        value->type != SQLITE_FLOAT) {
        value->bytes = (const uint8_t *)bytes + ((const uint8_t *)value->bytes - copy);
    }
    free(copy);
    return rc;
}

static void must_come_back(const lkv_value *value)
{
    lkv_value again;
    lkv_key key;
    unsigned tag;

    lkv_key_init(&key);
    tag = encode(&key, value);
    if (decode(key.data, key.size, tag, &again) != SQLITE_OK) {
        unit_fault(__FILE__, __LINE__, "the key of %s does not decode",
                   unit_show(value));
    } else if (!unit_same(value, &again)) {
        unit_fault(__FILE__, __LINE__, "%s came back as %s", unit_show(value),
                   unit_show(&again));
    }
    lkv_key_clear(&key);
}

static void round_trip(void)
{
    static lkv_value edges[UNIT_EDGES];
    static char large[5000];
    size_t count = unit_edges(edges);
    char room[40];

    for (size_t i = 0; i < count; i++) {
        must_come_back(&edges[i]);
    }
    for (int i = 0; i < MANY; i++) {
        lkv_value value = unit_any(room);
        must_come_back(&value);
    }
    memset(large, 'x', sizeof(large));
    for (size_t size = 0; size < 200; size++) { /* beyond what a key holds itself */
        lkv_value text = unit_bytes(SQLITE_TEXT, large, size);
        lkv_value blob = unit_bytes(SQLITE_BLOB, large, size * 25);
        must_come_back(&text);
        must_come_back(&blob);
    }
}

static void fill_table(sqlite3 *db)
{
    static const char *const texts[] = {"",
                                        "A",
                                        "B",
                                        "a",
                                        "aa",
                                        "a b",
                                        "b",
                                        "ab",
                                        "abc",
                                        "10",
                                        "9",
                                        "-1",
                                        "é",
                                        "z",
                                        "\xef\xbf\xbd",
                                        "\xf0\x9f\x98\x80"};
    static lkv_value edges[UNIT_EDGES];
    sqlite3_stmt *insert = unit_prepare(db, "INSERT INTO v VALUES(?)");
    size_t count = unit_edges(edges);
    char room[40];

    for (size_t i = 0; i < count + sizeof(texts) / sizeof(texts[0]) * 2 + MANY; i++) {
        lkv_value value;
        if (i < count) {
            value = edges[i];
        } else if (i - count < sizeof(texts) / sizeof(texts[0]) * 2) {
            value = unit_text(texts[(i - count) / 2]);
            value.type = (i - count) % 2 ? SQLITE_BLOB : SQLITE_TEXT;
        } else {
            value = unit_any(room);
        }
        unit_bind(insert, 1, &value);
        unit_need(sqlite3_step(insert) == SQLITE_DONE, "an insert failed");
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
}

static int compare(const lkv_key *a, const lkv_key *b)
{
    int rc = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return rc != 0 ? rc : (a->size > b->size) - (a->size < b->size);
}

/* SQLite sorts; each key must then be above the one before it, or equal exactly where
 * SQLite says so. */
static void order(void)
{
    sqlite3 *db = unit_database();
    sqlite3_stmt *rows;
    lkv_key key[2];
    int turn = 0;

    unit_sql(db, "CREATE TABLE v(x)");
    fill_table(db);
    lkv_key_init(&key[0]);
    lkv_key_init(&key[1]);
    rows = unit_prepare(db, "SELECT x, x = lag(x) OVER (ORDER BY x) FROM v ORDER BY x");
    for (; sqlite3_step(rows) == SQLITE_ROW; turn++) {
        lkv_key *now = &key[turn & 1], *before = &key[1 - (turn & 1)];
        lkv_value value;
        int rc;

        unit_need(lkv_value_read(&value, sqlite3_column_value(rows, 0),
                                 LKV_AFFINITY_BLOB) == SQLITE_OK,
                  "a value cannot be read");
        encode(now, &value);
        rc = turn == 0 ? -1 : compare(before, now);
        if (sqlite3_column_int(rows, 1) ? rc != 0 : rc >= 0) {
            unit_fault(__FILE__, __LINE__, "%s does not stand where SQLite has it",
                       unit_show(&value));
        }
        lkv_value_clear(&value);
    }
    CHECK(turn > MANY);
    lkv_key_clear(&key[0]);
    lkv_key_clear(&key[1]);
    sqlite3_finalize(rows);
    sqlite3_close(db);
}

typedef struct bad_key {
    const char *bytes;
    size_t size;
    unsigned tag;
} bad_key;

#define BAD(bytes, tag)                                                                \
    {                                                                                  \
        bytes, sizeof(bytes) - 1, tag                                                  \
    }

static void malformed_keys(void)
{
    static const bad_key keys[] = {
        BAD("", 0),
        BAD("\x00", 0), /* no class */
        BAD("\x10\x80", 0),
        BAD("\x31\x61", 0),
        BAD("\x50", 0),
        BAD("\xff", 0),
        BAD("\x20", 0), /* a number of no bytes */
        BAD("\x20\x80\x00", 0),
        BAD("\x20\xbf\xf0\x00", 0),                         /* zeros at the end */
        BAD("\x20\xbf\xf0\x00\x00\x00\x00\x00\x00", 0),     /* 1 in 8 bytes */
        BAD("\x20\xbf\xf0\x00\x00\x00\x00\x00\x00\x01", 0), /* 9 bytes */
        BAD("\x20\xc3\x40\x00\x00\x00\x00\x00\x00\x00\x01\x01", 0), /* 11 */
        BAD("\x20\xc3\x40\x00\x00\x00\x00\x00\x00\x00\x00", 0),     /* 2^53 + 0 in 10 */
        BAD("\x20\xc3\x40\x00\x00\x00\x00\x00\x00\x00\x02",
            0), /* + 2: the next double */
        BAD("\x20\xbf\xf0\x00\x00\x00\x00\x00\x00\x00\x01", 0), /* 1 + 1 */
        BAD("\x20\xc3\x40\x00\x00\x00\x00\x00\x00\x00\x01", 1), /* a real with a rest */
        BAD("\x20\xc3\xdf\xff\xff\xff\xff\xff\xff\x04\x00", 0), /* beyond 2^63 - 1 */
        BAD("\x20\x7f\xff\xff\xff\xff\xff\xff\xff", 0), /* -0.0 by its own bits */
        BAD("\x20\x7f\xff\xff\xff\xff\xff\xff\xff", 1),
        BAD("\x20\x7f\xff\xff\xff\xff\xff\xff\xff", 2),
        BAD("\x20\xbf\xf8", 0), /* the integer 1.5 */
        BAD("\x20\xc3\xe0", 0), /* the integer 2^63 */
        BAD("\x20\xff\xf0", 0), /* the integer infinity */
        BAD("\x20\xff\xf8", 1),
        BAD("\x20\xff\xf0\x01", 1), /* no number */
        BAD("\x20\x00\x07", 1),
        BAD("\x20\xbf\xf0", 2), /* 1 as -0.0 */
        BAD("\x20\xbf\xf0", 3), /* a tag of no meaning */
        BAD("\x30", 1),
        BAD("\x30\x61", 2),
        BAD("\x40", 1),
        BAD("\x40\x61", 3),
    };
    lkv_value value;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (decode(keys[i].bytes, keys[i].size, keys[i].tag, &value) !=
            SQLITE_CORRUPT_VTAB) {
            unit_fault(__FILE__, __LINE__, "malformed key %d is taken for %s", (int)i,
                       unit_show(&value));
        }
    }
}

/* Whatever decodes must be the key of what it decodes to: two keys of one value would
 * be two rows of one key. */
static void must_be_the_key(const uint8_t *bytes, size_t size, unsigned tag)
{
    lkv_value value;
    lkv_key key;
    int rc = decode(bytes, size, tag, &value);

    if (rc == SQLITE_OK) {
        lkv_key_init(&key);
        if (encode(&key, &value) != tag || key.size != size ||
            memcmp(key.data, bytes, size) != 0) {
            unit_fault(__FILE__, __LINE__, "%s has a second key, of %d bytes",
                       unit_show(&value), (int)size);
        }
        lkv_key_clear(&key);
    } else {
        CHECK(rc == SQLITE_CORRUPT_VTAB);
    }
}

static void one_key_a_value(void)
{
    static lkv_value edges[UNIT_EDGES];
    size_t count = unit_edges(edges);
    uint8_t bytes[13] = {LKV_KEY_NUMBER};

    for (unsigned n = 0; n < 65536; n++) {
        bytes[1] = (uint8_t)(n >> 8);
        bytes[2] = (uint8_t)n;
        must_be_the_key(bytes, 3, n & 3);
    }
    for (size_t i = 0; i < count * 20; i++) { /* keys, and what is near them */
        uint64_t how = unit_random();
        lkv_key key;
        size_t size;
        unsigned tag;
        lkv_key_init(&key);
        tag = encode(&key, &edges[i % count]);
        memset(bytes, 0, sizeof(bytes));
        memcpy(bytes, key.data, key.size);
        size = how & 1 ? key.size : (how >> 8) % sizeof(bytes);
        bytes[(how >> 16) % sizeof(bytes)] ^=
            (uint8_t)(how & 2 ? 1 << (how >> 24 & 7) : 0);
        must_be_the_key(bytes, size, how & 4 ? tag : how >> 32 & 3);
        lkv_key_clear(&key);
    }
}

int main(void)
{
    UNIT_RUN(round_trip);
    UNIT_RUN(order);
    UNIT_RUN(malformed_keys);
    UNIT_RUN(one_key_a_value);
    return unit_end();
}
