/*
 * fuzz_shadow.c - bytes from outside as the content of a table's shadow tables.
 *
 * A database is made with one of eight tables: with a plain log, with runs, with parts,
 * with a merge or a compaction under way. The input says which; then how its shadow
 * tables are damaged (shadow.h); then what is asked of the table, which may damage them
 * once more on the way.
 *
 * Aborts unless
 *   - what nobody touched is right;
 *   - what the table itself finds whole is right, and stays so, unless it was written
 * to since whole rows changed places or checksums were made to fit;
 *   - after damage whose checksums do not fit, every statement is right or an error;
 *   - where whole rows stand in the place of others, no key has a value that it never
 *     had, and keys come in order;
 *   - what has been recovered is whole;
 *   - each error is one of those that it may be, and has a text;
 *   - the table can be dropped, and all memory comes back, of which it takes no more
 *     than a bound.
 */
#include "module.h"
#include "shadow.h"
#include "written.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS WRITTEN_KEYS
#define PAGE 512
#define MEMORY (32 << 20)
#define SHAPES 8
#define NONE WRITTEN_NONE

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In order, and as quote() writes them. */
static const char *const keys[KEYS] = {
    "-7",
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "9007199254740993",
    "''",
    "'a'",
    "'ab'",
    "'abc'",
    "'abd'",
    ("'long 0123456789 0123456789 0123456789 0123456789 0123456789 0123456780 "
     "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789'"),
    "'long 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789'",
    "'z'",
    "X''",
    "X'00'",
    "X'FFFF'"};

typedef struct shape { /* a database that nobody has touched */
    unsigned char *image;
    sqlite3_int64 size;
    written is;
} shape;

typedef struct scene {
    input in;
    sqlite3 *db;
    written is;
    enum shadow_damage damage;
    int wrote; /* something, since the damage */
} scene;

/* Statements */

static int may_be(const scene *s, int rc)
{
    switch (rc) {
    case SQLITE_CORRUPT_VTAB:
    case SQLITE_ERROR: /* an index or rows from outside that do not fit the table */
        return s->damage != SHADOW_WHOLE;
    case SQLITE_FULL: /* there are no more numbers for objects, a forged root says */
    case SQLITE_TOOBIG:
        return s->damage == SHADOW_FORGED;
    default:
        return rc == SQLITE_OK;
    }
}

static int judge(const scene *s, const char *sql, int rc)
{
    rc = rc == SQLITE_OK || rc == SQLITE_DONE ? SQLITE_OK
                                              : sqlite3_extended_errcode(s->db);
    if (!may_be(s, rc) || (rc != SQLITE_OK && strlen(sqlite3_errmsg(s->db)) < 20)) {
        (void)fprintf(stderr, "damage %d: %s: %d %s\n", (int)s->damage, sql, rc,
                      sqlite3_errmsg(s->db));
        abort();
    }
    return rc;
}

static int run(const scene *s, const char *sql)
{
    return judge(s, sql, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

/* Looking */

static int key_number(const char *quoted)
{
    for (int i = 0; i < KEYS; i++) {
        if (strcmp(keys[i], quoted) == 0) {
            return i;
        }
    }
    return NONE;
}

static int value_must_be(const scene *s, int key, sqlite3_stmt *statement, int column)
{
    lkv_bytes value = {sqlite3_column_text(statement, column), 0};
    int write;
    value.size = (size_t)sqlite3_column_bytes(statement, column);
    write = written_must_have(&s->is, key, value);
    MUST(s->damage >= SHADOW_MOVED || s->is.now[key] == write);
    return write;
}

/* All rows, forward or backward. Without an error they are the truth. */
static void look_at_all(const scene *s, int descending)
{
    const char *sql = descending ? "SELECT quote(key), value FROM kv ORDER BY key DESC"
                                 : "SELECT quote(key), value FROM kv ORDER BY key";
    int step = descending ? -1 : 1, at = descending ? KEYS : -1, rc;
    sqlite3_stmt *statement = NULL;

    rc = sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (s->damage != SHADOW_FORGED) {
            int key = key_number((const char *)sqlite3_column_text(statement, 0));
            MUST(key != NONE && (key - at) * step > 0);
            for (at += step; s->damage < SHADOW_MOVED && at != key; at += step) {
                MUST(s->is.now[at] == NONE);
            }
            at = key;
            (void)value_must_be(s, key, statement, 1);
        }
        rc = SQLITE_OK;
    }
    rc = judge(s, sql, rc);
    for (at += step;
         rc == SQLITE_OK && s->damage < SHADOW_MOVED && at >= 0 && at < KEYS;
         at += step) {
        MUST(s->is.now[at] == NONE);
    }
    sqlite3_finalize(statement);
}

static void look_at_each(const scene *s)
{
    sqlite3_stmt *statement = NULL;
    char sql[300];
    for (int key = 0; key < KEYS; key++) {
        int rc;
        (void)snprintf(sql, sizeof(sql), "SELECT value FROM kv WHERE key = %s",
                       keys[key]);
        rc = sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL);
        rc = rc == SQLITE_OK ? sqlite3_step(statement) : rc;
        if (rc == SQLITE_ROW) {
            if (s->damage != SHADOW_FORGED) {
                (void)value_must_be(s, key, statement, 0);
            }
        } else if (judge(s, sql, rc) == SQLITE_OK) {
            MUST(s->damage >= SHADOW_MOVED || s->is.now[key] == NONE);
        }
        sqlite3_finalize(statement);
    }
}

static void look(const scene *s, uint8_t how)
{
    if (how & 1) {
        look_at_each(s);
    }
    look_at_all(s, how & 2);
    if (how & 4) {
        look_at_all(s, !(how & 2));
    }
}

/* Whether the table finds itself whole; then all of it is right from here on. */
static int is_whole(scene *s)
{
    sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT litekv_verify('kv')";
    int rc, whole = 0;
    MUST(sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) == SQLITE_OK);
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        MUST(text != NULL);
        whole = strcmp(text, "ok") == 0;
        if (!whole && s->damage == SHADOW_WHOLE) {
            (void)fprintf(stderr, "%s: %s\n", sql, text);
            lkv_fuzz_fail(__FILE__, __LINE__, "the table is whole");
        }
    } else {
        (void)judge(s, sql, rc);
    }
    sqlite3_finalize(statement);
    return whole;
}

/* Writing */

static void put(scene *s, int key)
{
    char value[WRITTEN_ROOM], *sql;
    int write = written_next(&s->is, key);
    if (write == NONE) {
        return;
    }
    (void)written_value(write, value);
    sql = sqlite3_mprintf("REPLACE INTO kv VALUES(%s, '%q')", keys[key], value);
    if (run(s, sql) == SQLITE_OK) {
        s->is.now[key] = write;
    }
    sqlite3_free(sql);
}

static void take(scene *s, int key)
{
    char *sql = sqlite3_mprintf("DELETE FROM kv WHERE key = %s", keys[key]);
    if (run(s, sql) == SQLITE_OK) {
        s->is.now[key] = NONE;
    }
    sqlite3_free(sql);
}

static void change_one(scene *s, uint8_t how)
{
    int key = (how & 127) % KEYS;
    s->wrote = 1;
    if (how & 128) {
        take(s, key);
    } else {
        put(s, key);
    }
}

/* Several in one transaction, which is committed, undone, or undone in part. */
static void change_many(scene *s)
{
    written before = s->is;
    uint8_t how = input_byte(&s->in);
    int writes, open;

    (void)run(s, "BEGIN");
    for (int i = 0; i < (how & 7); i++) {
        change_one(s, input_byte(&s->in));
    }
    if (how & 8) {
        written kept;
        open = run(s, "SAVEPOINT s") == SQLITE_OK;
        kept = s->is;
        for (int i = 0; i < (how >> 6); i++) {
            change_one(s, input_byte(&s->in));
        }
        if (open && !sqlite3_get_autocommit(s->db)) {
            (void)run(s, "ROLLBACK TO s");
            memcpy(s->is.now, kept.now, sizeof(kept.now));
        }
    }
    if (how & 16) {
        look(s, how >> 5);
    }
    if (sqlite3_get_autocommit(s->db) || (how & 32) || run(s, "COMMIT") != SQLITE_OK) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        writes = s->is.writes;
        memcpy(s->is.now, before.now, sizeof(before.now));
        s->is.writes = writes;
    }
}

/* What was recovered is whole; what it is must be read. */
static void recover(scene *s)
{
    sqlite3_stmt *statement = NULL;
    enum shadow_damage damage = s->damage;
    s->wrote = 1;
    if (run(s, "SELECT litekv_recover('kv', 'apply')") != SQLITE_OK) {
        return;
    }
    s->damage = SHADOW_WHOLE;
    MUST(is_whole(s));
    if (damage == SHADOW_FORGED) {
        s->damage = damage; /* with rows that nobody wrote */
        return;
    }
    s->damage = SHADOW_MOVED;
    for (int i = 0; i < KEYS; i++) {
        s->is.now[i] = NONE;
    }
    MUST(sqlite3_prepare_v2(s->db, "SELECT quote(key), value FROM kv", -1, &statement,
                            NULL) == SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        int key = key_number((const char *)sqlite3_column_text(statement, 0));
        MUST(key != NONE);
        s->is.now[key] = value_must_be(s, key, statement, 1);
    }
    MUST(sqlite3_finalize(statement) == SQLITE_OK);
    s->damage = SHADOW_WHOLE;
}

static void ask(scene *s)
{
    static const char *const statements[] = {
        "SELECT count(*) FROM kv",
        "SELECT litekv_stats('kv')",
        "SELECT count(*) FROM litekv_segments('kv')",
        "INSERT INTO kv(kv) VALUES('integrity-check')",
        "SELECT litekv_import_index('kv', litekv_export_index('kv'))",
        "SELECT litekv_deserialize('kv', litekv_serialize('kv'))",
        "SELECT litekv_recover('kv')",
        "SELECT litekv_compact('kv', 500)",
        "SELECT litekv_rebuild_index('kv')",
        "SELECT litekv_compact('kv')",
        "ALTER TABLE kv RENAME TO kw; ALTER TABLE kw RENAME TO kv",
        "UPDATE kv SET value = value WHERE key > 2",
        "PRAGMA integrity_check",
    };
    uint8_t how = input_byte(&s->in);
    if (how < 64) {
        look(s, how);
    } else if (how < 96) {
        change_one(s, input_byte(&s->in));
    } else if (how < 128) {
        change_many(s);
    } else if (how < 140) {
        recover(s);
    } else if (how < 160) {
        /* What was written on rows that stand elsewhere may have made those good. */
        if (is_whole(s) && (s->damage < SHADOW_MOVED || !s->wrote)) {
            s->damage = SHADOW_WHOLE;
            look(s, 7);
        }
    } else {
        s->wrote = 1;
        (void)run(s, statements[how % (sizeof(statements) / sizeof(statements[0]))]);
    }
}

/* The databases */

static void sizes(uint8_t number)
{
    module_sizes(number & 1 ? 400u : 900u, number & 2 ? 700u : 1500u, 2000);
}

static void fill(scene *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        change_one(s, (uint8_t)((i * 7 % KEYS) | (i % 6 == 5 ? 128 : 0)));
    }
}

/* Shape 0 is one segment; each bit of the others is small runs, small segments, parts
 * or work under way. */
static void make(uint8_t number, shape *out)
{
    scene s = {.damage = SHADOW_WHOLE};
    MUST(sqlite3_open(":memory:", &s.db) == SQLITE_OK);
    MUST(module_load(s.db) == SQLITE_OK);
    written_init(&s.is);
    MUST(run(&s, "PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING "
                 "litekv(auto_compact = 0); CREATE TABLE other(a)") == SQLITE_OK);
    if (number > 0) {
        sizes(number);
    }
    fill(&s, 0, number == 0 ? 12 : 26);
    if (number & 4) {
        MUST(run(&s, "SELECT litekv_compact('kv')") == SQLITE_OK);
        fill(&s, 26, 44);
    }
    if (number == 3 || number > 5) {
        MUST(run(&s, "SELECT litekv_compact('kv', 800)") == SQLITE_OK);
    }
    out->image = sqlite3_serialize(s.db, "main", &out->size, 0);
    MUST(out->image != NULL);
    out->is = s.is;
    MUST(sqlite3_close(s.db) == SQLITE_OK);
}

static const shape *shape_of(uint8_t number)
{
    static shape shapes[SHAPES];
    shape *at = &shapes[number % SHAPES];
    if (at->image == NULL) {
        make(number % SHAPES, at);
    }
    return at;
}

static void scene_open(scene *s, const shape *from)
{
    unsigned char *copy = sqlite3_malloc64((sqlite3_uint64)from->size);
    MUST(copy != NULL);
    memcpy(copy, from->image, (size_t)from->size);
    MUST(sqlite3_open(":memory:", &s->db) == SQLITE_OK);
    MUST(sqlite3_deserialize(s->db, "main", copy, from->size, from->size,
                             SQLITE_DESERIALIZE_FREEONCLOSE |
                                 SQLITE_DESERIALIZE_RESIZEABLE) == SQLITE_OK);
    MUST(module_load(s->db) == SQLITE_OK);
    s->is = from->is;
    s->damage = SHADOW_WHOLE;
}

static void damage(scene *s, unsigned changes)
{
    static shadow rows;
    if (changes == 0) {
        return;
    }
    shadow_load(&rows, s->db);
    for (; changes > 0 && rows.count > 0; changes--) {
        enum shadow_damage done = shadow_change(&rows, &s->in, PAGE - 39);
        s->damage = done > s->damage ? done : s->damage;
    }
    shadow_put_back(&rows, s->db);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scene s = {.in = {data, size}};
    uint8_t number = input_byte(&s.in);
    const shape *from = shape_of(number);
    sqlite3_int64 memory = sqlite3_memory_used();

    (void)sqlite3_hard_heap_limit64(MEMORY);
    scene_open(&s, from);
    if (number & 8) { /* a handle that knows what was there before */
        look(&s, 1);
        sizes(number >> 4);
    }
    damage(&s, input_byte(&s.in) & 3);
    for (int i = 0; i < 10 && s.in.left > 0; i++) {
        uint8_t again = i == 4 ? input_byte(&s.in) : 0;
        ask(&s);
        damage(&s, again & 1);
    }
    look(&s, 1);
    if (number & 128) {
        MUST(sqlite3_exec(s.db, "DROP TABLE kv", NULL, NULL, NULL) == SQLITE_OK);
    }
    MUST(sqlite3_close(s.db) == SQLITE_OK);
    MUST(sqlite3_memory_used() == memory);
    return 0;
}
