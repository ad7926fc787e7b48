/*
 * test_every_byte.c - whole stores with one byte changed, or one file, object or row
 * cut or taken away: each read through SQL gives what was written, or says where it is
 * wrong.
 *
 * Each storage holds the same small table with all that a store can have. Every byte is
 * set to 0, to 255, and flipped; without LONG only some of them are. What has to happen
 * is told by body.c.
 */
#include "body.h"
#include "hostile.h"

#include "../core/store.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SQLITE_EXTENSION_INIT3

#define BASE "file:/every-byte?vfs=memdb" /* holds the table, or its declaration */

static const char *const keys[] = {"1", "2",   "3",   "4",      "5",
                                   "6", "'a'", "'b'", "'four'", "'none'"};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* For each key the hash of its value; 0: it is not there. */
typedef struct state {
    uint64_t value[KEYS];
} state;

static const char *const changes[] = {
    ("INSERT INTO kv VALUES(1, 'one'), (2, 'two'), (3, printf('%060d', 3)), "
     "(5, printf('%0120d', 5)), ('a', x'00')"),
    "DELETE FROM kv WHERE key = 3",
    "SELECT litekv_compact('kv')",
    "REPLACE INTO kv VALUES(1, 'ONE'), (6, printf('%0120d', 6)), ('b', zeroblob(70))",
    "DELETE FROM kv WHERE key = 5",
    "INSERT INTO kv VALUES('four', NULL)",
    "UPDATE kv SET value = 'TWO' WHERE key = 2",
    "REPLACE INTO kv VALUES(4, 'a value'), (1, 'once more')",
    "DELETE FROM kv WHERE key = 4",
};
#define CHANGES (sizeof(changes) / sizeof(changes[0]))

/* One store, and what has to become of it. */
typedef struct whole {
    const char *name, *options;
    int plain;      /* segments of the log, and nothing else */
    size_t in_runs; /* of the changes: those after are in the log alone */
    int restarted;  /* the machine was since, as far as can be seen */
    int closed;     /* files are as who closed it left them, and not as one who died */
    body body;
    state states[CHANGES];       /* after each change, ... */
    uint64_t revisions[CHANGES]; /* ... which made this one */
    unsigned tried, refused, torn;
    sqlite3_int64 memory; /* that reading the right one takes */
} whole;

static int is_long(void)
{
    const char *text = getenv("LONG");
    return text != NULL && *text != '\0';
}

/* --- reading -------------------------------------------------------------------- */

typedef struct view {
    state state;
    int error; /* 0, or SQLite's code ... */
    char text[300];
    int wrong; /* an order, or a key twice */
} view;

static uint64_t hash_value(sqlite3_stmt *row, int column)
{
    uint64_t hash = 14695981039346656037u + (unsigned)sqlite3_column_type(row, column);
    const uint8_t *bytes = sqlite3_column_blob(row, column);
    int size = sqlite3_column_bytes(row, column);
    for (int i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash;
}

static int find_key(sqlite3_stmt *row)
{
    const char *text = (const char *)sqlite3_column_text(row, 0);
    for (size_t i = 0; i < KEYS && text != NULL; i++) {
        size_t size = strlen(text);
        const char *key = keys[i] + (keys[i][0] == '\'');
        if (strncmp(key, text, size) == 0 && (key[size] == 0 || key[size] == '\'')) {
            return (int)i;
        }
    }
    return -1;
}

static void end_of(sqlite3 *db, sqlite3_stmt *statement, int rc, view *out)
{
    if (rc != SQLITE_OK && rc != SQLITE_DONE) {
        out->error = sqlite3_extended_errcode(db);
        snprintf(out->text, sizeof(out->text), "%s", sqlite3_errmsg(db));
    }
    sqlite3_finalize(statement);
}

/* All rows in one order. */
static void scan(sqlite3 *db, int descending, view *out)
{
    sqlite3_stmt *rows = NULL;
    int last = descending ? (int)KEYS : -1;
    int rc = sqlite3_prepare_v2(db,
                                descending ? "SELECT * FROM kv ORDER BY key DESC"
                                           : "SELECT * FROM kv ORDER BY key",
                                -1, &rows, NULL);
    memset(out, 0, sizeof(*out));
    while (rc == SQLITE_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        int key = find_key(rows);
        out->wrong |= key < 0 || (descending ? key >= last : key <= last);
        if (key >= 0) {
            out->state.value[key] = hash_value(rows, 1);
        }
        last = key;
        rc = SQLITE_OK;
    }
    end_of(db, rows, rc, out);
}

static void point(sqlite3 *db, size_t key, view *out)
{
    char sql[80];
    sqlite3_stmt *row = NULL;
    int rc;
    memset(out, 0, sizeof(*out));
    snprintf(sql, sizeof(sql), "SELECT value FROM kv WHERE key = %s", keys[key]);
    rc = sqlite3_prepare_v2(db, sql, -1, &row, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        out->state.value[key] = hash_value(row, 0);
        rc = sqlite3_step(row);
    }
    end_of(db, row, rc, out);
}

/* Text is in the error. */
static void verify(sqlite3 *db, view *out)
{
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT litekv_verify('kv')", -1, &row, NULL);
    memset(out, 0, sizeof(*out));
    if (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        if (strcmp(text, "ok") != 0) {
            out->error = SQLITE_CORRUPT_VTAB;
            snprintf(out->text, sizeof(out->text), "%s", text);
        }
        rc = sqlite3_step(row);
    }
    end_of(db, row, rc, out);
}

/* --- one of them ---------------------------------------------------------------- */

typedef struct attempt {
    whole *w;
    int piece;
    const char *what;
    uint64_t offset;
    enum outcome outcome;
    int is_cut;
    uint64_t kept_end; /* of the last commit that is to be there */
    const state *want;
} attempt;

static int says(const attempt *a, const char *how, const view *got, int good)
{
    if (!good) {
        check_that(0, __FILE__, __LINE__, "%s: %s %lld, byte %llu, %s: %s: %d %s",
                   a->w->name, a->w->body.all.list[a->piece].name,
                   (long long)a->w->body.all.list[a->piece].id,
                   (unsigned long long)a->offset, a->what, how, got->error, got->text);
    }
    return good;
}

/* An error that tells where. */
static int is_report(const attempt *a, const view *got)
{
    static const char *const places[] = {"segment ", "part ", "run ", "root",
                                         "the log"};
    if (got->error != SQLITE_CORRUPT_VTAB && got->error != SQLITE_CANTOPEN) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (strstr(got->text, places[i]) != NULL) {
            return 1;
        }
    }
    return strcmp(a->w->body.all.list[a->piece].name, "lock") == 0 &&
           (strstr(got->text, "store") != NULL ||
            strstr(got->text, "made by a newer litekv") != NULL);
}

/* All keys, or number `only`. */
static void check_view(const attempt *a, const char *how, const view *got, int only)
{
    int good = !got->wrong;
    if (got->error != 0) {
        good &= (a->outcome == DAMAGE || a->outcome == UNKNOWN) && is_report(a, got);
    }
    for (size_t i = 0; i < KEYS; i++) {
        if ((only < 0 || (size_t)only == i) &&
            (got->error == 0 || got->state.value[i] != 0)) {
            good &= got->state.value[i] == a->want->value[i];
        }
    }
    (void)says(a, how, got, good);
    a->w->refused += got->error != 0;
}

static void read_all(const attempt *a)
{
    sqlite3 *db = check_open(BASE);
    view got;
    scan(db, 0, &got);
    check_view(a, "forwards", &got, -1);
    scan(db, 1, &got);
    check_view(a, "backwards", &got, -1);
    for (size_t i = 0; i < KEYS; i++) {
        point(db, i, &got);
        check_view(a, keys[i], &got, (int)i);
    }
    verify(db, &got);
    (void)says(a, "verify", &got,
               a->outcome == UNKNOWN || (a->outcome == DAMAGE) == (got.error != 0));
    (void)says(a, "verify", &got, got.error == 0 || is_report(a, &got));
    check_close(db);
}

/* A writer goes on from where a torn log ends, and says what it left; it makes nothing
 * good that was damaged. */
static void write_to(const attempt *a)
{
    sqlite3 *db = check_open(BASE);
    state want = *a->want;
    view got;
    int rc = sqlite3_exec(db, "INSERT INTO kv VALUES('none', 'new')", NULL, NULL, NULL);

    memset(&got, 0, sizeof(got));
    if (a->outcome == OLDER) {
        (void)says(a, "an insert", &got, rc == SQLITE_OK);
        (void)says(
            a, "torn_bytes", &got,
            (a->is_cut && a->offset == a->kept_end) ==
                (check_number(db, "SELECT litekv_stats('kv') ->> 'torn_bytes'") == 0));
        scan(db, 0, &got);
        want.value[KEYS - 1] = got.state.value[KEYS - 1];
        (void)says(a, "after an insert", &got,
                   got.error == 0 && want.value[KEYS - 1] != 0 &&
                       memcmp(&want, &got.state, sizeof(want)) == 0);
        a->w->torn++;
    }
    verify(db, &got);
    (void)says(a, "verify after an insert", &got,
               a->outcome == UNKNOWN || (a->outcome == DAMAGE) == (got.error != 0));
    check_close(db);
}

/* `bytes`: NULL to take the piece away. */
static void attempt_it(attempt *a, const void *bytes, size_t size, int kept, int writes)
{
    whole *w = a->w;
    sqlite3_int64 before = sqlite3_memory_used(), most;
    view none;

    memset(&none, 0, sizeof(none));
    a->want = &w->states[CHANGES - 1];
    a->kept_end = w->body.commits[kept].end;
    for (size_t i = 0; w->body.commit_count > 0 && i < CHANGES; i++) {
        if (w->revisions[i] <= w->body.commits[kept].revision) {
            a->want = &w->states[i];
        }
    }
    if (bytes == NULL) {
        pieces_drop(&w->body.all, a->piece);
    } else {
        pieces_put(&w->body.all, a->piece, bytes, size);
    }
    (void)sqlite3_memory_highwater(1);
    read_all(a);
    most = sqlite3_memory_highwater(0) - before;
    w->memory = w->memory == 0 ? most : w->memory; /* the first one is all right */
    (void)says(a, "too much memory", &none, most <= 2 * w->memory + 65536);
    if (writes) {
        write_to(a);
        pieces_restore(&w->body.all);
    } else {
        pieces_put(&w->body.all, a->piece, w->body.all.list[a->piece].bytes,
                   w->body.all.list[a->piece].size);
        for (int i = 0; w->body.all.db == NULL && i < w->body.all.count; i++) {
            if (strcmp(w->body.all.list[i].name, "lock") == 0) {
                pieces_put(&w->body.all, i, w->body.all.list[i].bytes,
                           w->body.all.list[i].size);
            }
        }
    }
    w->tried++;
}

/* --- all of them ---------------------------------------------------------------- */

/* Which bytes are tried: all, or every so many, those that are zero more seldom. */
static int is_chosen(const piece *at, uint64_t offset, unsigned turn)
{
    static const unsigned every[] = {53, 997};
    unsigned step = every[at->bytes[offset] == 0];
    if (offset > 16384) { /* room for the log */
        step *= 61;
    } else if (is_long()) {
        step = 1;
    }
    return (offset + turn) % step == 0;
}

static void change_bytes(whole *w, int i)
{
    static const char *const names[] = {"set to 0", "set to 255", "flipped",
                                        "a bit flipped"};
    const piece *at = &w->body.all.list[i];
    uint8_t *bytes = malloc(at->size + 1);
    if (bytes == NULL) {
        abort();
    }
    memcpy(bytes, at->bytes, at->size);
    for (size_t offset = 0; offset < at->size; offset++) {
        uint8_t was = at->bytes[offset];
        uint8_t with[] = {0, 255, (uint8_t)~was, (uint8_t)(was ^ 1u << offset % 8)};
        for (unsigned how = 0; how < 4; how++) {
            attempt a = {.w = w, .piece = i, .what = names[how], .offset = offset};
            int kept;
            if (with[how] == was || (how == 2 && was == 0) ||
                !is_chosen(at, offset, how * 6)) {
                continue;
            }
            a.outcome = body_outcome(&w->body, i, offset, 0, &kept);
            bytes[offset] = with[how];
            attempt_it(&a, bytes, at->size, kept,
                       a.outcome == OLDER || w->tried % 8 == 0);
            bytes[offset] = was;
        }
    }
    free(bytes);
}

static void cut(whole *w, int i)
{
    const piece *at = &w->body.all.list[i];
    for (size_t size = 0; size < at->size; size++) {
        attempt a = {.w = w, .piece = i, .what = "cut", .offset = size, .is_cut = 1};
        int kept;
        if (is_chosen(at, size, 5)) {
            a.outcome = body_outcome(&w->body, i, size, 1, &kept);
            attempt_it(&a, at->bytes, size, kept, w->tried % 4 == 0);
        }
    }
}

static void take_away(whole *w, int i)
{
    attempt a = {.w = w, .piece = i, .what = "missing"};
    int kept;
    a.outcome = body_outcome(&w->body, i, 0, 1, &kept);
    attempt_it(&a, NULL, 0, kept, 1);
}

static void try_all(whole *w)
{
    attempt a = {.w = w, .what = "nothing"};
    attempt_it(&a, w->body.all.list[0].bytes, w->body.all.list[0].size,
               w->body.commit_count > 0 ? w->body.commit_count - 1 : 0, 0);
    for (int i = 0; i < w->body.all.count; i++) {
        change_bytes(w, i);
        cut(w, i);
        take_away(w, i);
    }
    printf("%s: %u stores tried, %u answers refused, %u torn tails\n", w->name,
           w->tried, w->refused, w->torn);
    CHECK(w->tried > 100 && w->refused > 100);
}

/* --- making ---------------------------------------------------------------------- */

static sqlite3 *make_table(whole *w)
{
    sqlite3 *db = hostile_open(BASE);
    char *sql = sqlite3_mprintf("PRAGMA page_size = 512; CREATE VIRTUAL TABLE kv USING "
                                "litekv(auto_compact = 0%s)",
                                w->options);
    view got;
    lkv_handle *handle;

    RUN(db, sql);
    sqlite3_free(sql);
    handle = hostile_handle();
    handle->store->flush_size = w->plain ? LKV_FLUSH_SIZE : 300;
    handle->storage->segment = 400;
    for (size_t i = 0; i < CHANGES; i++) {
        if (i == w->in_runs) {
            handle->store->flush_size = LKV_FLUSH_SIZE;
            handle->storage->segment = LKV_SEGMENT_SIZE;
        }
        if (!w->plain || strncmp(changes[i], "SELECT", 6) != 0) {
            RUN(db, changes[i]);
        }
        scan(db, 0, &got);
        CHECK(got.error == 0 && !got.wrong);
        w->states[i] = got.state;
        w->revisions[i] = handle->store->log.at.revision;
    }
    return db;
}

static void in_rows(void)
{
    whole w = {.name = "rows", .options = "", .in_runs = 5};
    sqlite3 *db = check_open(BASE); /* before: it is gone with its last connection */
    check_close(make_table(&w));
    pieces_take_rows(&w.body.all, db);
    body_look(&w.body);
    try_all(&w);
    RUN(db, "DROP TABLE kv");
    check_close(db);
    pieces_free(&w.body.all);
}

/* `w` has name and options, and how it is to be made. */
static void outside(whole *w, const char *place, const char *prefix)
{
    sqlite3 *keeper = check_open(BASE), *db = make_table(w);
    char *sql;
    if (w->closed) {
        check_close(db);
    }
    pieces_take_files(&w->body.all, prefix);
    if (!w->closed) {
        check_close(db);
        for (int i = 0; w->restarted && i < w->body.all.count; i++) {
            if (strcmp(w->body.all.list[i].name, "lock") == 0) {
                w->body.all.list[i].bytes[8] ^= 1; /* of the machine's run */
            }
        }
        pieces_restore(&w->body.all);
    }
    body_look(&w->body);
    CHECK(w->body.commit_count > (w->closed ? 0 : 2));
    try_all(w);
    RUN(keeper, "DROP TABLE kv");
    sql = sqlite3_mprintf("SELECT litekv_remove('%q')", place);
    QUERY(keeper, sql, "1");
    sqlite3_free(sql);
    check_close(keeper);
    pieces_free(&w->body.all);
}

static void in_files(whole w)
{
    /* In memory where there is a place: nothing here depends on a disk. */
    char *place = access("/dev/shm", W_OK) == 0
                      ? sqlite3_mprintf("/dev/shm/litekv-files-%d", (int)getpid())
                      : sqlite3_mprintf("%s", check_path("store"));
    char *options = sqlite3_mprintf(", path='%q', %s", place, w.options);
    char *prefix = sqlite3_mprintf("%s/", place);
    w.options = options;
    outside(&w, place, prefix);
    sqlite3_free(prefix);
    sqlite3_free(options);
    sqlite3_free(place);
}

static void in_shared_memory(whole w)
{
    char *place = sqlite3_mprintf("shm:/litekv-every-byte-%d", (int)getpid());
    char *options = sqlite3_mprintf(", shm='%q'", place + 4);
    char *prefix = sqlite3_mprintf("/dev/shm%s.", place + 4);
    w.options = options;
    outside(&w, place, prefix);
    sqlite3_free(prefix);
    sqlite3_free(options);
    sqlite3_free(place);
}

/* What was serialized is taken whole, or not at all and with the place that is wrong.
 */
static void refuse(sqlite3_stmt *take, const piece *blob, size_t offset)
{
    const char *text;
    sqlite3 *db = sqlite3_db_handle(take);
    int rc;
    sqlite3_bind_blob(take, 1, blob->bytes, (int)blob->size, SQLITE_STATIC);
    rc = sqlite3_step(take);
    text = sqlite3_errmsg(db);
    check_that(rc == SQLITE_ERROR && (strstr(text, "offset ") != NULL ||
                                      strstr(text, "the description") != NULL ||
                                      strstr(text, "not a serialized table") != NULL),
               __FILE__, __LINE__, "serialized, byte %zu: %d %s", offset, rc, text);
    sqlite3_reset(take);
    QUERY(db, "SELECT * FROM other", "1,stays");
}

static void in_memory(void)
{
    sqlite3 *db = check_open(":memory:");
    sqlite3_stmt *blob = NULL, *take = NULL;
    piece all = {.name = "serialized"}, changed;

    RUN(db, "CREATE VIRTUAL TABLE kv USING litekv(memory=on);"
            "CREATE VIRTUAL TABLE other USING litekv(memory=on);"
            "INSERT INTO other VALUES(1, 'stays')");
    for (size_t i = 0; i < CHANGES; i++) {
        RUN(db, changes[i]);
    }
    sqlite3_prepare_v2(db, "SELECT litekv_serialize('kv')", -1, &blob, NULL);
    sqlite3_prepare_v2(db, "SELECT litekv_deserialize('other', ?1)", -1, &take, NULL);
    CHECK(sqlite3_step(blob) == SQLITE_ROW);
    all.size = (size_t)sqlite3_column_bytes(blob, 0);
    all.bytes = malloc(all.size + 1);
    changed.bytes = malloc(all.size + 1);
    if (all.bytes == NULL || changed.bytes == NULL) {
        abort();
    }
    memcpy(all.bytes, sqlite3_column_blob(blob, 0), all.size);
    memcpy(changed.bytes, all.bytes, all.size);
    for (size_t offset = 0; offset < all.size; offset++) {
        uint8_t was = all.bytes[offset];
        uint8_t with[] = {0, 255, (uint8_t)~was, (uint8_t)(was ^ 1u << offset % 8)};
        changed.size = all.size;
        for (unsigned how = 0; how < 4; how++) {
            if (with[how] != was && is_chosen(&all, offset, how * 6)) {
                changed.bytes[offset] = with[how];
                refuse(take, &changed, offset);
            }
        }
        changed.bytes[offset] = was;
        changed.size = offset;
        if (is_chosen(&all, offset, 5)) {
            refuse(take, &changed, offset);
        }
    }
    sqlite3_bind_blob(take, 1, all.bytes, (int)all.size, SQLITE_STATIC);
    CHECK(sqlite3_step(take) == SQLITE_ROW);
    sqlite3_finalize(take);
    sqlite3_finalize(blob);
    QUERY(db, "SELECT count(*) FROM other JOIN kv USING(key, value)", "5");
    free(changed.bytes);
    free(all.bytes);
    check_close(db);
}

static const whole files[] = {
    {.name = "files", .options = "sync=normal", .in_runs = 5},
    {.name = "files, compacted", .options = "sync=normal", .in_runs = 3},
    {.name = "files, log alone", .options = "sync=normal", .plain = 1, .in_runs = 4},
    {.name = "files, restarted",
     .options = "sync=normal",
     .plain = 1,
     .in_runs = 4,
     .restarted = 1},
    {.name = "files, closed", .options = "sync=normal", .in_runs = 5, .closed = 1},
    {.name = "files, synced", .options = "sync=full, mmap=off", .in_runs = 5},
};

int main(void)
{
    check_begin();
    in_rows();
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        in_files(files[i]);
    }
    in_memory();
    in_shared_memory((whole){.name = "shared memory", .in_runs = 5});
    return check_end();
}
