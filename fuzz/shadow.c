/*
 * shadow.c - see shadow.h.
 */
#include "shadow.h"

#include "checksum.h"
#include "damage.h"
#include "format.h"
#include "storage.h"

#include <string.h>

static const char *const names[SHADOW_TABLES] = {"log", "base", "index", "root"};

void shadow_load(shadow *s, sqlite3 *db)
{
    memset(s->touched, 0, sizeof(s->touched));
    s->count = 0;
    for (int table = 0; table < SHADOW_TABLES; table++) {
        char *sql =
            sqlite3_mprintf("SELECT id, block FROM kv_%s ORDER BY id", names[table]);
        sqlite3_stmt *statement = NULL;
        MUST(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
        sqlite3_free(sql);
        while (sqlite3_step(statement) == SQLITE_ROW) {
            shadow_row *row = &s->row[s->count];
            const void *bytes = sqlite3_column_blob(statement, 1);
            MUST(s->count++ < SHADOW_ROWS);
            row->table = (enum shadow_table)table;
            row->id = sqlite3_column_int64(statement, 0);
            row->type = SQLITE_BLOB;
            row->gone = 0;
            row->size = (size_t)sqlite3_column_bytes(statement, 1);
            MUST(row->size <= SHADOW_BYTES);
            if (row->size > 0) {
                memcpy(row->bytes, bytes, row->size);
            }
        }
        sqlite3_finalize(statement);
    }
}

static void bind(sqlite3_stmt *statement, const shadow_row *row)
{
    sqlite3_bind_int64(statement, 1, row->id);
    switch (row->type) {
    case SQLITE_BLOB:
        sqlite3_bind_blob(statement, 2, row->bytes, (int)row->size, SQLITE_STATIC);
        break;
    case SQLITE_TEXT:
        sqlite3_bind_text(statement, 2, (const char *)row->bytes, (int)row->size,
                          SQLITE_STATIC);
        break;
    case SQLITE_INTEGER:
        sqlite3_bind_int64(statement, 2, row->bytes[0]);
        break;
    case SQLITE_FLOAT:
        sqlite3_bind_double(statement, 2, row->bytes[0] / 3.0);
        break;
    default:
        sqlite3_bind_null(statement, 2);
        break;
    }
}

void shadow_put_back(const shadow *s, sqlite3 *db)
{
    for (int table = 0; table < SHADOW_TABLES; table++) {
        sqlite3_stmt *statement = NULL;
        char *sql;
        if (!s->touched[table]) {
            continue;
        }
        sql = sqlite3_mprintf("DELETE FROM kv_%s", names[table]);
        MUST(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
        sqlite3_free(sql);
        sql = sqlite3_mprintf("REPLACE INTO kv_%s VALUES(?1, ?2)", names[table]);
        MUST(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
        sqlite3_free(sql);
        for (size_t i = 0; i < s->count; i++) {
            if ((int)s->row[i].table == table && !s->row[i].gone) {
                bind(statement, &s->row[i]);
                MUST(sqlite3_step(statement) == SQLITE_DONE);
                sqlite3_reset(statement);
            }
        }
        sqlite3_finalize(statement);
    }
}

/* Checksums */

static void seal_end(shadow *s)
{
    shadow_row *last = NULL;
    for (size_t i = 0; i < s->count; i++) {
        shadow_row *row = &s->row[i];
        if (row->table == SHADOW_LOG && !row->gone &&
            (last == NULL || row->id > last->id)) {
            last = row;
        }
    }
    if (last != NULL && last->size >= LKV_END_SIZE) {
        uint8_t *end = last->bytes + last->size - LKV_END_SIZE;
        lkv_format_u32(end + LKV_END_SIZE - 4, lkv_crc32(0, end, LKV_END_SIZE - 4));
    }
}

/* Makes the checksums of the object fit that `row` is a block of: it is put together
 * from its rows, as far as they follow each other, and taken apart again. */
static void seal_object(shadow *s, const shadow_row *row, uint32_t block)
{
    static uint8_t bytes[SHADOW_ROWS * SHADOW_BYTES];
    size_t size = 0, at = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < s->count; i++) {
            shadow_row *piece = &s->row[i];
            if (piece->table != row->table || piece->gone ||
                piece->id >> 32 != row->id >> 32) {
                continue;
            }
            if (pass == 0) {
                memcpy(bytes + size, piece->bytes, piece->size);
                size += piece->size;
            } else {
                memcpy(piece->bytes, bytes + at, piece->size);
                at += piece->size;
            }
        }
        if (pass == 0 && row->table == SHADOW_INDEX) {
            damage_seal_blocks(bytes, size, block, (uint32_t)(row->id >> 32));
        } else if (pass == 0) {
            damage_seal_records(bytes, size);
        }
    }
}

static void seal(shadow *s, shadow_row *row, uint32_t block)
{
    if (row->table == SHADOW_ROOT) {
        damage_seal_root(row->bytes, row->size);
    } else {
        seal_object(s, row, block);
        seal_end(s);
    }
}

/* Damage */

static void change_bytes(shadow_row *row, input *in)
{
    uint8_t how = input_byte(in);
    size_t at = input_byte(in) | (size_t)input_byte(in) << 8;
    size_t count = how & 1 ? 1 : 1 + (how >> 1 & 7);
    if (row->size == 0) {
        return;
    }
    /* The end of a block tells as much as its start does. */
    at = how & 128 ? row->size - 1 - at % row->size : at % row->size;
    for (size_t i = 0; i < count && at + i < row->size; i++) {
        uint8_t by = input_byte(in);
        row->bytes[at + i] = how & 1 ? row->bytes[at + i] ^ by : by;
    }
}

static void change_size(shadow_row *row, input *in)
{
    size_t size = input_byte(in) | (size_t)input_byte(in) << 8;
    size %= 1025;
    if (size > row->size) {
        memset(row->bytes + row->size, (int)size & 0xff, size - row->size);
    }
    row->size = size;
}

static void change_id(shadow_row *row, input *in)
{
    static const sqlite3_int64 odd[] = {0,
                                        -1,
                                        INT64_MIN,
                                        INT64_MAX,
                                        (sqlite3_int64)LKV_PART_FIRST << 32,
                                        (sqlite3_int64)LKV_RUN_FIRST << 32,
                                        (sqlite3_int64)LKV_RUN_LAST << 32,
                                        1};
    uint8_t how = input_byte(in);
    sqlite3_int64 by = 0;
    uint64_t sum;
    if ((how & 3) == 0) {
        row->id = odd[how >> 2 & 7];
    } else if ((how & 3) == 1) {
        by = (how >> 2) - 32;
    } else if ((how & 3) == 2) {
        by = (sqlite3_int64)((how >> 2) - 32) * ((sqlite3_int64)1 << 32);
    } else {
        row->id = (sqlite3_int64)((uint64_t)input_u32(in) << 32 | how >> 2);
    }
    sum = (uint64_t)row->id + (uint64_t)by; /* may wrap around */
    row->id = (sqlite3_int64)sum;
}

static shadow_row *add_row(shadow *s, const shadow_row *like)
{
    shadow_row *row = &s->row[s->count];
    if (s->count == SHADOW_ROWS) {
        return NULL;
    }
    s->count++;
    *row = *like;
    return row;
}

/* Two rows of one id: the later one is what the table has. */
static void drop_doubles(shadow *s, const shadow_row *kept)
{
    for (size_t i = 0; i < s->count; i++) {
        shadow_row *row = &s->row[i];
        if (row != kept && row->table == kept->table && row->id == kept->id) {
            row->gone = 1;
        }
    }
}

enum shadow_damage shadow_change(shadow *s, input *in, uint32_t block)
{
    static const int types[] = {SQLITE_NULL, SQLITE_INTEGER, SQLITE_FLOAT, SQLITE_TEXT};
    uint8_t how = input_byte(in);
    shadow_row *row = &s->row[input_byte(in) % s->count];
    const shadow_row *other;
    enum shadow_damage damage = SHADOW_BROKEN, moved;

    s->touched[row->table] = 1;
    /* A block of a run is bound to its place. */
    moved = row->table == SHADOW_INDEX ? SHADOW_BROKEN : SHADOW_MOVED;
    switch (how & 7) {
    case 0:
        row->gone = 1;
        break;
    case 1:
        row->type = types[input_byte(in) & 3];
        break;
    case 2:
        change_size(row, in);
        break;
    case 3: /* takes the bytes of another, of any table */
        other = &s->row[input_byte(in) % s->count];
        row->size = other->size;
        memmove(row->bytes, other->bytes, other->size);
        damage = moved;
        break;
    case 4: /* comes once more, as another */
        row = add_row(s, row);
        if (row == NULL) {
            return SHADOW_WHOLE;
        }
        change_id(row, in);
        drop_doubles(s, row);
        damage = moved;
        break;
    case 5:
        change_id(row, in);
        drop_doubles(s, row);
        damage = moved;
        break;
    default:
        change_bytes(row, in);
        break;
    }
    if (how & 128) {
        seal(s, row, block);
        damage = SHADOW_FORGED;
    }
    return damage;
}
