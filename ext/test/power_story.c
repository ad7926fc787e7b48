/*
 * power_story.c - see power_story.h.
 *
 * The tables are `kv` or `kw` (litekv), `o` (ordinary), and `c`, whose one row counts
 * the commits. Two connections write in turn, a third keeps a snapshot now and then.
 * Bounds of the store are so small that there are spills, runs, merges and parts all
 * the time.
 */
#include "power_story.h"

#include "../core/store.h"
#include "filter.h"
#include "power_vfs.h"
#include "random.h"
#include "table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 2
/* The first SQLite seen not to lose commits when a transaction in WAL mode spills its
 * cache, goes back to a savepoint and commits: 3.40.1 does, with ordinary tables. */
#define SPILLS_WELL 3052000
#define NAME_OF "SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%'"

typedef struct teller {
    power_story *story;
    uint64_t random;
    const char *journal; /* of now */
    sqlite3 *db[WRITERS];
    lkv_registry *registry[WRITERS];
    sqlite3 *reader;
    int turn;
} teller;

static unsigned draw(teller *t, unsigned below)
{
    return (unsigned)random_below(&t->random, below);
}

static sqlite3 *db_of(const teller *t)
{
    return t->db[t->turn];
}

/* --- what there is -------------------------------------------------------------- */

/* Adds a value and its type. */
static void add_value(sqlite3_str *to, sqlite3_stmt *statement, int i)
{
    char type = (char)('0' + sqlite3_column_type(statement, i));
    const void *bytes = sqlite3_column_blob(statement, i);
    int size = sqlite3_column_bytes(statement, i);
    sqlite3_str_append(to, &type, 1);
    sqlite3_str_appendf(to, "%d:", size);
    if (size > 0 && bytes != NULL) {
        sqlite3_str_append(to, bytes, size);
    }
}

/* All rows of a query, but for the extra one, as bytes; NULL: `found->why`. */
static char *rows_of(sqlite3 *db, const char *sql, power_found *found, int *size)
{
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *first = (const char *)sqlite3_column_text(statement, 0);
        if (first != NULL && strcmp(first, "~") == 0) {
            found->extra++;
        } else {
            for (int i = 0; i < sqlite3_column_count(statement); i++) {
                add_value(text, statement, i);
            }
        }
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    if (rc != SQLITE_DONE) {
        snprintf(found->why, sizeof(found->why), "%s: %d, %s", sql, rc,
                 sqlite3_errmsg(db));
        sqlite3_free(sqlite3_str_finish(text));
        return NULL;
    }
    sqlite3_str_append(text, ".", 1);
    *size = sqlite3_str_length(text);
    return sqlite3_str_finish(text);
}

static void add_hash(power_found *found, const char *bytes, int size)
{
    found->hash = found->hash * 31 + lkv_filter_hash((lkv_bytes){bytes, (size_t)size});
}

static void tell_difference(sqlite3 *db, power_found *found)
{
    char *sql = sqlite3_mprintf(
        "SELECT min(key), count(*) FROM (SELECT * FROM (SELECT * FROM \"%w\" EXCEPT "
        "SELECT * FROM o) UNION ALL SELECT * FROM (SELECT * FROM o EXCEPT SELECT * "
        "FROM \"%w\"))",
        found->name, found->name);
    char *what = check_result(db, sql);
    snprintf(found->why, sizeof(found->why), "%s and o differ (first, how many): %s",
             found->name, what);
    sqlite3_free(what);
    sqlite3_free(sql);
}

/* The rows of both tables, which have to be the same. */
static int look_at_rows(sqlite3 *db, power_found *found)
{
    int size = 0, other_size = 0, extra, same = 0;
    char *sql =
        sqlite3_mprintf("SELECT key, value FROM \"%w\" ORDER BY key", found->name);
    char *rows = rows_of(db, sql, found, &size), *other = NULL;
    extra = found->extra;
    if (rows != NULL) {
        other =
            rows_of(db, "SELECT key, value FROM o ORDER BY key", found, &other_size);
    }
    if (other != NULL) {
        same = size == other_size && memcmp(rows, other, (size_t)size) == 0 &&
               found->extra == 2 * extra;
        found->extra = extra;
        add_hash(found, other, other_size);
        if (!same) {
            tell_difference(db, found);
        }
    }
    sqlite3_free(other);
    sqlite3_free(rows);
    sqlite3_free(sql);
    return same;
}

int power_look(sqlite3 *db, power_found *found)
{
    char *text;
    int size;
    memset(found, 0, sizeof(*found));
    text = rows_of(db, "SELECT type, name, sql FROM sqlite_schema ORDER BY name", found,
                   &size);
    if (text == NULL) {
        return 0;
    }
    add_hash(found, text, size);
    sqlite3_free(text);
    text = check_result(db, NAME_OF);
    snprintf(found->name, sizeof(found->name), "%s", text);
    sqlite3_free(text);
    if (found->name[0] == 0) {
        return 1;
    }
    found->n = check_number(db, "SELECT n FROM c");
    return look_at_rows(db, found);
}

/* --- who writes ----------------------------------------------------------------- */

static void pragma(sqlite3 *db, const char *name, const char *value)
{
    char *sql = sqlite3_mprintf("PRAGMA %s = %s", name, value);
    sqlite3_free(check_result(db, sql));
    sqlite3_free(sql);
}

int power_open(const power_mode *mode, sqlite3 **out)
{
    int rc = sqlite3_open("power.db", out);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(*out, 1);
        if (mode->attached) {
            rc = sqlite3_exec(*out, "ATTACH 'two.db' AS two", NULL, NULL, NULL);
        }
    }
    return rc;
}

static void open_writer(teller *t, int i)
{
    const power_mode *mode = t->story->mode;
    char page[20];
    int wal = strcmp(t->journal, "WAL") == 0;

    CHECK(power_open(mode, &t->db[i]) == SQLITE_OK);
    t->registry[i] = lkv_registry_new();
    CHECK(lkv_functions_register(t->db[i], t->registry[i]) == SQLITE_OK);
    CHECK(sqlite3_create_module_v2(t->db[i], "litekv", lkv_module(), t->registry[i],
                                   lkv_registry_free) == SQLITE_OK);
    snprintf(page, sizeof(page), "%d", mode->page);
    pragma(t->db[i], "page_size", page);
    pragma(t->db[i], "synchronous", mode->synchronous);
    if (mode->attached) {
        pragma(t->db[i], "two.page_size", page);
        pragma(t->db[i], "two.synchronous", mode->synchronous);
    }
    pragma(t->db[i], "journal_mode", t->journal);
    pragma(t->db[i], "temp_store", "MEMORY");
    pragma(t->db[i], "cache_size", "12");
    pragma(t->db[i], "wal_autocheckpoint", "60");
    if (wal && sqlite3_libversion_number() < SPILLS_WELL) {
        pragma(t->db[i], "cache_spill", "OFF");
    }
}

static void close_all(teller *t)
{
    for (int i = 0; i < WRITERS; i++) {
        if (t->db[i] != NULL) {
            check_close(t->db[i]);
            t->db[i] = NULL;
        }
    }
    if (t->reader != NULL) {
        check_close(t->reader);
        t->reader = NULL;
    }
}

static void open_all(teller *t)
{
    for (int i = 0; i < WRITERS; i++) {
        open_writer(t, i);
    }
}

static char *name_of(teller *t)
{
    return check_result(db_of(t), NAME_OF);
}

/* Small bounds for the handle of the table. */
static void shrink(teller *t)
{
    char *name = name_of(t);
    lkv_handle *handle = lkv_handle_find(t->registry[t->turn], "main", name);
    if (handle != NULL) {
        handle->storage->spill = 300 + draw(t, 3000);
        handle->storage->segment = 2000 + draw(t, 6000);
        handle->store->flush_size = 600 + draw(t, 3000);
    }
    sqlite3_free(name);
}

/* A statement on the litekv table, which `%s` stands for. */
static void one(teller *t, const char *format, const char *name)
{
    char *sql = sqlite3_mprintf(format, name, name);
    RUN(db_of(t), sql);
    sqlite3_free(sql);
}

/* And the same on both. */
static void both(teller *t, const char *format, ...)
{
    char *name = name_of(t), *sql;
    va_list args;
    va_start(args, format);
    sql = sqlite3_vmprintf(format, args);
    va_end(args);
    one(t, sql, name);
    one(t, sql, "o");
    sqlite3_free(sql);
    sqlite3_free(name);
}

/* What the store was like after a commit. */
static void measure(teller *t)
{
    power_story *story = t->story;
    char *name = name_of(t);
    char *sql = sqlite3_mprintf("SELECT s ->> 'runs', s ->> 'parts', s ->> "
                                "'compact_left' FROM (SELECT litekv_stats('%q') AS s)",
                                name);
    char *got = check_result(db_of(t), sql), *at = got;
    long long runs = strtoll(at, &at, 10);
    long long parts = strtoll(at + 1, &at, 10);
    long long left = strtoll(at + 1, &at, 10);
    check_that(*at == 0, __FILE__, __LINE__, "%s: %s", sql, got);
    story->runs = runs > story->runs ? runs : story->runs;
    story->parts = parts > story->parts ? parts : story->parts;
    story->unfinished += left > 0;
    sqlite3_free(got);
    sqlite3_free(sql);
    sqlite3_free(name);
}

/* What there is now is what there has to be after so many commits. */
static void committed(teller *t)
{
    power_story *story = t->story;
    power_found found;
    int good = power_look(db_of(t), &found);
    check_that(good, __FILE__, __LINE__, "%s", found.why);
    CHECK((size_t)found.n == story->commits + 1);
    story->commits++;
    story->hashes = realloc(story->hashes, (story->commits + 1) * sizeof(uint64_t));
    if (story->hashes == NULL) {
        abort();
    }
    story->hashes[story->commits] = found.hash;
    power_returned(story->disk);
    measure(t);
}

/* --- transactions --------------------------------------------------------------- */

static void put_rows(teller *t, unsigned count, unsigned size)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned key = draw(t, 60);
        both(
            t,
            "REPLACE INTO \"%%w\" VALUES(%s%u%s, printf('%%%%d.%%%%.*c', %u, %u, 'v'))",
            key % 5 == 0 ? "'k" : "", key, key % 5 == 0 ? "'" : "", draw(t, 10000),
            1 + draw(t, size));
    }
}

static void delete_rows(teller *t)
{
    unsigned key = draw(t, 60);
    both(t, "DELETE FROM \"%%w\" WHERE key >= %u AND key < %u", key, key + draw(t, 20));
}

static void few(teller *t)
{
    put_rows(t, 1 + draw(t, 4), draw(t, 6) == 0 ? 2500 : 120);
}

static void change(teller *t)
{
    unsigned key = draw(t, 60);
    both(t, "UPDATE \"%%w\" SET value = length(value) WHERE key > %u AND key < %u", key,
         key + 15);
    both(t, "UPDATE OR REPLACE \"%%w\" SET key = %u WHERE key = %u", draw(t, 60), key);
}

static void remove_some(teller *t)
{
    delete_rows(t);
    put_rows(t, draw(t, 3), 100);
}

/* More than the caches of SQLite and of litekv hold. */
static void large(teller *t)
{
    put_rows(t, 40, 500);
    delete_rows(t);
}

static void savepoints(teller *t)
{
    put_rows(t, 2, 200);
    RUN(db_of(t), "SAVEPOINT a");
    put_rows(t, draw(t, 3) == 0 ? 25 : 3, 400);
    RUN(db_of(t), "SAVEPOINT b");
    delete_rows(t);
    RUN(db_of(t), draw(t, 2) == 0 ? "ROLLBACK TO b" : "RELEASE b");
    put_rows(t, 2, 300);
    RUN(db_of(t), draw(t, 3) > 0 ? "ROLLBACK TO a" : "RELEASE a");
    put_rows(t, 1 + draw(t, 3), 200);
}

static void on_store(teller *t, const char *format)
{
    char *name = name_of(t);
    one(t, format, name);
    sqlite3_free(name);
}

static void compact_some(teller *t)
{
    on_store(t, "SELECT litekv_compact('%q', 700)");
    few(t);
}

static void compact_all(teller *t)
{
    on_store(t, "SELECT litekv_compact('%q')");
}

static void rebuild(teller *t)
{
    on_store(t, "SELECT litekv_rebuild_index('%q')");
    few(t);
}

static void import(teller *t)
{
    on_store(t, "SELECT litekv_import_index('%q', litekv_export_index('%q'))");
}

static void deserialize(teller *t)
{
    on_store(t, "SELECT litekv_deserialize('%q', litekv_serialize('%q'))");
    few(t);
}

static void rename_it(teller *t)
{
    char *name = name_of(t);
    one(t,
        name[1] == 'v' ? "ALTER TABLE \"%w\" RENAME TO kw"
                       : "ALTER TABLE \"%w\" RENAME TO kv",
        name);
    sqlite3_free(name);
    few(t);
}

static void make(teller *t)
{
    RUN(db_of(t), "CREATE VIRTUAL TABLE kv USING litekv");
    one(t, "CREATE TABLE %s.o(key PRIMARY KEY NOT NULL, value) WITHOUT ROWID",
        t->story->mode->attached ? "two" : "main");
    shrink(t);
    put_rows(t, 5, 300);
}

static void make_again(teller *t)
{
    char *name = name_of(t);
    few(t);
    one(t, "DROP TABLE \"%w\"; DROP TABLE o", name);
    sqlite3_free(name);
    make(t);
}

static void drop_in_vain(teller *t)
{
    char *name = name_of(t);
    RUN(db_of(t), "SAVEPOINT d");
    one(t, "DROP TABLE \"%w\"", name);
    RUN(db_of(t), "ROLLBACK TO d; RELEASE d");
    sqlite3_free(name);
    few(t);
}

/* --- between transactions ------------------------------------------------------- */

static void give_up(teller *t)
{
    RUN(db_of(t), "BEGIN");
    put_rows(t, draw(t, 2) == 0 ? 30 : 3, 400);
    RUN(db_of(t), "ROLLBACK");
}

static void other_writer(teller *t)
{
    t->turn = (t->turn + 1) % WRITERS;
}

static void other_mode(teller *t)
{
    static const char *const journals[] = {"DELETE", "WAL", "TRUNCATE", "WAL",
                                           "PERSIST"};
    unsigned at = draw(t, 5);
    close_all(t);
    if (t->story->mode->journal == NULL) {
        while (journals[at] == t->journal) {
            at = draw(t, 5);
        }
        t->journal = journals[at];
    }
    open_all(t);
}

static void checkpoint(teller *t)
{
    static const char *const kinds[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
    char *sql = sqlite3_mprintf("PRAGMA wal_checkpoint(%s)", kinds[draw(t, 4)]);
    sqlite3_free(check_result(db_of(t), sql));
    sqlite3_free(sql);
}

/* In WAL mode a reader keeps the log from being written anew. */
static void look_on(teller *t)
{
    if (t->reader != NULL) {
        check_close(t->reader);
        t->reader = NULL;
    } else if (strcmp(t->journal, "WAL") == 0) {
        char *name = name_of(t);
        char *sql = sqlite3_mprintf("BEGIN; SELECT count(key) FROM \"%w\"", name);
        CHECK(power_open(t->story->mode, &t->reader) == SQLITE_OK);
        RUN(t->reader, sql);
        sqlite3_free(sql);
        sqlite3_free(name);
    }
}

static void vacuum(teller *t)
{
    if (t->reader == NULL) {
        RUN(db_of(t), "VACUUM");
    }
}

static const struct {
    void (*run)(teller *t);
    int commits; /* it is all in a transaction */
} plan[] = {
    {few, 1},         {few, 1},          {large, 1},        {remove_some, 1},
    {look_on, 0},     {savepoints, 1},   {few, 1},          {change, 1},
    {checkpoint, 0},  {compact_some, 1}, {other_writer, 0}, {few, 1},
    {look_on, 0},     {give_up, 0},      {few, 1},          {rename_it, 1},
    {checkpoint, 0},  {few, 1},          {compact_all, 1},  {other_writer, 0},
    {savepoints, 1},  {few, 1},          {vacuum, 0},       {rebuild, 1},
    {look_on, 0},     {large, 1},        {few, 1},          {other_writer, 0},
    {few, 1},         {import, 1},       {checkpoint, 0},   {few, 1},
    {look_on, 0},     {other_mode, 0},   {few, 1},          {compact_some, 1},
    {remove_some, 1}, {drop_in_vain, 1}, {savepoints, 1},   {other_mode, 0},
    {few, 1},         {make_again, 1},   {few, 1},          {give_up, 0},
    {large, 1},       {few, 1},          {other_mode, 0},   {deserialize, 1},
    {few, 1},         {rename_it, 1},    {few, 1},          {compact_all, 1},
    {few, 1},         {change, 1},       {other_mode, 0},   {few, 1},
};

static void step(teller *t, size_t i)
{
    if (plan[i].commits) {
        shrink(t);
        RUN(db_of(t), "BEGIN");
        plan[i].run(t);
        RUN(db_of(t), "UPDATE c SET n = n + 1; COMMIT");
        committed(t);
    } else {
        plan[i].run(t);
    }
}

void power_story_tell(power_story *story, const power_mode *mode, uint64_t seed)
{
    teller t = {.story = story, .random = seed};
    power_found nothing;

    memset(story, 0, sizeof(*story));
    story->mode = mode;
    story->disk = power_disk_new(mode->sector, mode->safe);
    power_record(story->disk);
    power_vfs_use(story->disk);
    /* Salts, nonces and ids of stores are the same each time. */
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(seed % 1000000) + 1, NULL);
    t.journal = mode->journal != NULL ? mode->journal : "DELETE";
    open_all(&t);
    story->hashes = calloc(1, sizeof(uint64_t));
    if (story->hashes == NULL) {
        abort();
    }
    CHECK(power_look(db_of(&t), &nothing));
    story->hashes[0] = nothing.hash;
    RUN(db_of(&t), "BEGIN; CREATE TABLE c(n); INSERT INTO c VALUES(1)");
    make(&t);
    RUN(db_of(&t), "COMMIT");
    committed(&t);
    for (size_t i = 0; i < sizeof(plan) / sizeof(plan[0]); i++) {
        step(&t, i);
    }
    close_all(&t);
    /* All that a store does was under way. */
    CHECK(story->runs > 1 && story->parts > 0 && story->unfinished > 0);
}

void power_story_end(power_story *story)
{
    power_disk_free(story->disk);
    free(story->hashes);
    memset(story, 0, sizeof(*story));
}
