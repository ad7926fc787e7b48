/*
 * test_lies.c - shadow tables whose root and end are well formed, with right checksums,
 * but say what is not so. The answer is the right rows or an error that says what is
 * wrong; and the table can be dropped.
 */
#include "hostile.h"

#include "../core/format.h"
#include "../core/storage.h"

#include <string.h>

static void put_blob(sqlite3 *db, const char *sql, const void *data, int size)
{
    sqlite3_stmt *statement = NULL;
    CHECK(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK);
    sqlite3_bind_blob(statement, 1, data, size, SQLITE_TRANSIENT);
    CHECK(sqlite3_step(statement) == SQLITE_DONE);
    sqlite3_finalize(statement);
}

static const uint64_t odd[] = {0,
                               1,
                               2,
                               63,
                               64,
                               65,
                               127,
                               128,
                               511,
                               65536,
                               LKV_PART_FIRST,
                               LKV_RUN_FIRST,
                               0x3fffffff,
                               0x7fffffff,
                               0x80000000u,
                               0xffffffff,
                               UINT64_MAX};
#define ODD (sizeof(odd) / sizeof(odd[0]))

static sqlite3 *make_lie(void)
{
    sqlite3 *db = hostile_open("hostile.db");
    hostile_make_plain(db);
    check_close(db);
    return hostile_open("hostile.db");
}

static void end_lie(sqlite3 *db, const char *what)
{
    hostile_try(db, what);
    RUN(db, "DROP TABLE kv");
    check_close(db);
    check_remove("hostile.db");
}

static void lying_end(int field, uint64_t value)
{
    sqlite3 *db = make_lie();
    sqlite3_stmt *statement = NULL;
    uint8_t row[600];
    lkv_end end;
    int size;

    sqlite3_prepare_v2(db, "SELECT block FROM kv_log ORDER BY id DESC LIMIT 1", -1,
                       &statement, NULL);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    size = sqlite3_column_bytes(statement, 0);
    memcpy(row, sqlite3_column_blob(statement, 0), (size_t)size);
    sqlite3_finalize(statement);
    CHECK(lkv_end_decode(row + size - LKV_END_SIZE, &end) == LKV_OK);
    switch (field) {
    case 0:
        end.generation = value;
        break;
    case 1:
        end.revision = value;
        break;
    case 2:
        end.chain = value;
        break;
    case 3:
        end.live_keys = value;
        break;
    case 4:
        end.segment = (uint32_t)value;
        break;
    case 5:
        end.live_bytes = value;
        break;
    default:
        end.offset = (uint32_t)value;
        break;
    }
    lkv_end_encode(row + size - LKV_END_SIZE, &end);
    put_blob(db, "UPDATE kv_log SET block = ?1 WHERE id = (SELECT max(id) FROM kv_log)",
             row, size);
    end_lie(db, "a lying end");
}

/* A root, and what it lists. */
typedef struct lie {
    lkv_root root;
    lkv_segment segment[3];
    lkv_part part[2], out[2];
    lkv_run run[2], merge[2];
    lkv_gone gone[2];
} lie;

static void lying_root(const lie *from)
{
    sqlite3 *db = make_lie();
    sqlite3_stmt *statement = NULL;
    uint8_t row[2000];
    lkv_root root, old;
    const char *why;
    lkv_bytes bytes;

    sqlite3_prepare_v2(db, "SELECT block FROM kv_root", -1, &statement, NULL);
    CHECK(sqlite3_step(statement) == SQLITE_ROW);
    bytes.data = sqlite3_column_blob(statement, 0);
    bytes.size = (size_t)sqlite3_column_bytes(statement, 0);
    CHECK(lkv_format_parse_root(bytes, &old, &why) == LKV_OK);
    root = from->root;
    memcpy(root.store_id, old.store_id, sizeof(root.store_id));
    root.meta = old.meta;
    CHECK(lkv_format_root_size(&root) <= sizeof(row));
    lkv_format_root(row, &root, from->segment, from->part, from->out, from->run,
                    from->merge, from->gone);
    sqlite3_finalize(statement);
    put_blob(db, "UPDATE kv_root SET block = ?1", row,
             (int)lkv_format_root_size(&root));
    end_lie(db, "a lying root");
}

/* The truth of a table without runs, to be changed into lies. */
static lie truth(void)
{
    return (lie){.root = {.generation = 1,
                          .block = 473,
                          .segments = 1,
                          .next_part = LKV_PART_FIRST,
                          .next_run = LKV_RUN_FIRST,
                          .tail = {.segment = 1, .offset = LKV_SEGMENT_HEADER}},
                 .segment = {{1, 0, 0}}};
}

static void lying_segments(uint64_t value)
{
    lie a = truth();
    a.root.block = (uint32_t)value;
    lying_root(&a);
    a = truth();
    a.segment[0].number = (uint32_t)value;
    lying_root(&a);
    a.segment[0] = (lkv_segment){1, (uint32_t)value, value};
    lying_root(&a);
    a.segment[0] = (lkv_segment){1, 0, value};
    lying_root(&a);
    a.root.segments = 2; /* one number twice; then two segments */
    a.segment[0] = (lkv_segment){1, (uint32_t)value, 0};
    a.segment[1] = (lkv_segment){1, 0, value - LKV_SEGMENT_HEADER};
    lying_root(&a);
    a.segment[1].number = 2;
    lying_root(&a);
    a.segment[0].number = 2;
    a.segment[1].number = 1;
    lying_root(&a);
    a.root.segments = 0;
    lying_root(&a);
}

static void lying_tail(uint64_t value)
{
    lie a = truth();
    a.root.tail.segment = (uint32_t)value;
    lying_root(&a);
    a = truth();
    a.root.tail.offset = (uint32_t)value;
    lying_root(&a);
    a = truth();
    a.root.tail.revision = value;
    lying_root(&a);
    a.root.tail.covered = value;
    lying_root(&a);
    a = truth();
    a.root.next_run = a.root.next_part = (uint32_t)value;
    lying_root(&a);
    a.root.auto_compact = (uint32_t)value;
    lying_root(&a);
}

/* Runs that are not there, or are a part of the log, with numbers that mean nothing. */
static void lying_runs(uint64_t value)
{
    lie a = truth();
    a.root.runs = a.root.merges = a.root.gone = 1;
    a.root.next_run = UINT32_MAX;
    a.root.tail.offset = LKV_SEGMENT_HEADER + 21; /* behind the first record */
    a.run[0] = (lkv_run){LKV_RUN_FIRST, 1, 0, 0, 21, 1, 21};
    a.merge[0] = (lkv_run){LKV_RUN_FIRST + 1, (uint32_t)value, 0, 0, 21, 1, 21};
    a.gone[0] = (lkv_gone){LKV_RUN_FIRST + 2, (uint32_t)value};
    lying_root(&a);
    a.root.merges = 0;
    a.gone[0].number = (uint32_t)value;
    lying_root(&a);
    a.root.gone = 0;
    a.run[0].number = (uint32_t)value;
    lying_root(&a);
    a.run[0].number = LKV_RUN_FIRST;
    a.run[0].blocks = (uint32_t)value;
    a.run[0].top = (uint32_t)value - 1;
    lying_root(&a);
    a.run[0].blocks = UINT32_MAX;
    a.run[0].top = (uint32_t)value;
    lying_root(&a);
    a.run[0] = (lkv_run){LKV_RUN_FIRST, 1, 0, value, 21, value, value};
    lying_root(&a);
    a.run[0] = (lkv_run){LKV_RUN_FIRST, 1, 0, 0, value, value, value};
    lying_root(&a);
}

static void lying_parts(uint64_t value)
{
    const lkv_part part = {.number = LKV_PART_FIRST,
                           .size = 500,
                           .index = LKV_RUN_FIRST,
                           .blocks = 1,
                           .keys = 1,
                           .bytes = 21};
    lie a = truth();
    a.root.parts = 1;
    a.root.next_run = a.root.next_part = UINT32_MAX;
    a.part[0] = part;
    a.part[0].number = (uint32_t)value;
    lying_root(&a);
    a.part[0] = part;
    a.part[0].size = (uint32_t)value;
    lying_root(&a);
    a.part[0] = part;
    a.part[0].index = (uint32_t)value;
    lying_root(&a);
    a.part[0] = part;
    a.part[0].blocks = (uint32_t)value;
    a.part[0].top = (uint32_t)value - 1;
    lying_root(&a);
    a.part[0] = part;
    a.part[0].keys = a.part[0].bytes = value;
    lying_root(&a);
    a.root.pass = (lkv_pass){value, 0, 0, 0};
    lying_root(&a);
    a.out[0] = part;
    a.root.pass = (lkv_pass){21, (uint32_t)value, 1, 1};
    lying_root(&a);
}

static void lies(void)
{
    for (size_t i = 0; i < ODD; i++) {
        for (int field = 0; field < 7; field++) {
            lying_end(field, odd[i]);
        }
        lying_segments(odd[i]);
        lying_tail(odd[i]);
        lying_runs(odd[i]);
        lying_parts(odd[i]);
    }
}

int main(void)
{
    check_begin();
    lies();
    return check_end();
}
