/*
 * test_storage_db.c - the storage on shadow tables where their rows are not what it
 * wrote.
 */
#include "os_sqlite.h"
#include "storage_db.h"
#include "unit.h"

#include "../core/litekv.h"

static sqlite3 *db;
static lkv_storage *storage;

static void begin(void)
{
    db = unit_database();
    unit_need(lkv_storage_db_create(db, "main", "kv") == SQLITE_OK, "no tables");
    storage = lkv_storage_db_open(db, "main", "kv", 1 << 20, &lkv_os_sqlite);
    unit_need(storage != NULL, "no storage");
    storage->block = 512;
}

static void end(void)
{
    lkv_storage_db_close(storage);
    sqlite3_close(db);
}

/* Bytes that a read of `want` gives, each of which is `byte`. */
static size_t got(uint64_t offset, size_t want, uint8_t byte)
{
    lkv_bytes view = {NULL, 0};
    CHECK(storage->ops->read(storage, 1, offset, want, &view, NULL) == LKV_OK);
    for (size_t i = 0; i < view.size; i++) {
        CHECK(((const uint8_t *)view.data)[i] == byte);
    }
    return view.size;
}

static const char three_blocks[] =
    "INSERT INTO kv_log VALUES(1 << 32, CAST(replace(hex(zeroblob(256)), '0', 'a') AS "
    "BLOB)), (1 << 32 | 1, CAST(replace(hex(zeroblob(256)), '0', 'a') AS BLOB)), "
    "(1 << 32 | 2, x'61616161')";

static void reads(void)
{
    begin();
    unit_sql(db, three_blocks);
    CHECK(got(0, 1, 'a') == 512);
    CHECK(got(500, 12, 'a') == 12);
    CHECK(got(500, 13, 'a') == 13);
    CHECK(got(0, 1028, 'a') == 1028);
    CHECK(got(10, 1018, 'a') == 1018);
    CHECK(got(10, 1019, 'a') == 1018); /* fewer only at the object's end */
    CHECK(got(1024, 9, 'a') == 4);
    CHECK(got(1028, 1, 'a') == 0);
    CHECK(got(5000, 1, 'a') == 0);
    end();
}

/* A part goes on where it ended, over bytes that were behind its end. */
static void goes_on_before_strange_bytes(void)
{
    lkv_bytes view = {NULL, 0};
    begin();
    unit_sql(db, "INSERT INTO kv_base VALUES(1 << 60, zeroblob(512))");
    CHECK(storage->ops->read(storage, LKV_PART_FIRST, 0, 100, &view, NULL) == LKV_OK);
    CHECK(storage->ops->write(storage, LKV_PART_FIRST, 100, (lkv_bytes){"goes on", 7},
                              NULL) == LKV_OK);
    CHECK(storage->ops->read(storage, LKV_PART_FIRST, 100, 7, &view, NULL) == LKV_OK);
    CHECK(view.size == 7 && memcmp(view.data, "goes on", 7) == 0);
    end();
}

/* A record may say that it is 1 GiB long: no memory goes by that. */
static void wanted_is_not_there(void)
{
    sqlite3_int64 most;
    begin();
    unit_sql(db, three_blocks);
    (void)got(0, 1, 'a');
    (void)sqlite3_memory_highwater(1);
    CHECK(got(0, 1 << 30, 'a') == 1028);
    most = sqlite3_memory_highwater(0) - sqlite3_memory_used();
    CHECK(most < 100000);
    CHECK(sqlite3_memory_used() < 1000000);
    end();
}

/* A block that is not full ends the object, also where others come after it; it is not
 * read again and again. */
static void short_block_between(void)
{
    begin();
    unit_sql(db, three_blocks);
    unit_sql(db, "UPDATE kv_log SET block = x'61' WHERE id = 1 << 32 | 1");
    CHECK(got(0, 1028, 'a') == 513);
    CHECK(got(0, 1 << 30, 'a') == 513);
    unit_sql(db, "UPDATE kv_log SET block = x'' WHERE id = 1 << 32 | 1");
    end();
    begin();
    unit_sql(db, three_blocks);
    unit_sql(db, "UPDATE kv_log SET block = x'' WHERE id = 1 << 32 | 1");
    CHECK(got(0, 1028, 'a') == 512);
    unit_sql(db, "DELETE FROM kv_log WHERE id = 1 << 32 | 1");
    CHECK(got(0, 1028, 'a') == 512);
    end();
}

/* The last row is where the end that it holds says, whether the size of blocks was
 * known, is read from the root, or was that of another store. */
static void end_out_of_place(void)
{
    static const char *const places[] = {
        "UPDATE kv_log SET id = id + 1", "UPDATE kv_log SET id = id + (1 << 32)",
        "INSERT INTO kv_log SELECT id + 1, block FROM kv_log",
        "INSERT INTO kv_log SELECT id + (99 << 32), block FROM kv_log",
        "UPDATE kv_log SET block = zeroblob(1) || block"};
    static const uint32_t blocks[] = {LKV_END_SIZE, 512, 1024};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (size_t known = 0; known < 3; known++) {
            lkv_storage *other;
            lkv_end last;
            lkv_error err = {0};
            begin();
            CHECK(lkv_create(storage, &lkv_os_sqlite, (lkv_bytes){"", 0}, NULL) ==
                  LKV_OK);
            other = lkv_storage_db_open(db, "main", "kv", 0, &lkv_os_sqlite);
            unit_need(other != NULL, "no storage");
            other->block = blocks[known];
            CHECK(other->ops->read_end(other, &last, &err) == LKV_OK);
            CHECK(last.segment == 1 && last.revision == 0);
            lkv_storage_db_doubt(other);
            unit_sql(db, places[i]);
            CHECK(other->ops->read_end(other, &last, &err) == LKV_CORRUPT);
            CHECK(strstr(err.text, "is not where its trailer says") != NULL);
            lkv_storage_db_close(other);
            end();
        }
    }
}

int main(void)
{
    UNIT_RUN(end_out_of_place);
    UNIT_RUN(reads);
    UNIT_RUN(goes_on_before_strange_bytes);
    UNIT_RUN(wanted_is_not_there);
    UNIT_RUN(short_block_between);
    return unit_end();
}
