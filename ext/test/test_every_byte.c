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
#include "view.h"

#include "../core/store.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SQLITE_EXTENSION_INIT3

#define BASE "file:/every-byte?vfs=memdb" /* holds the table, or its declaration */

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
    int unmapped;   /* who has it open can bear a cut */
    sqlite3 *held;  /* has it open while it is changed; NULL: nobody */
    body body;
    view_state states[CHANGES];  /* after each change, ... */
    uint64_t revisions[CHANGES]; /* ... which made this one */
    unsigned tried, refused, torn;
    sqlite3_int64 memory; /* that reading the right one takes */
} whole;

static int is_long(void)
{
    const char *text = getenv("LONG");
    return text != NULL && *text != '\0';
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
    const view_state *want;
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
           (strstr(got->text, "its file lock is damaged, or not finished") != NULL ||
            strstr(got->text, "store") != NULL ||
            strstr(got->text, "made by a newer litekv") != NULL);
}

/* All keys, or number `only`. */
static void check_view(const attempt *a, const char *how, const view *got, int only)
{
    int good = !got->wrong;
    if (got->error != 0) {
        good &= (a->outcome == DAMAGE || a->outcome == UNKNOWN) && is_report(a, got);
    }
    for (size_t i = 0; i < VIEW_KEYS; i++) {
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
    view_scan(db, 0, &got);
    check_view(a, "forwards", &got, -1);
    view_scan(db, 1, &got);
    check_view(a, "backwards", &got, -1);
    for (size_t i = 0; i < VIEW_KEYS; i++) {
        view_point(db, i, &got);
        check_view(a, view_key(i), &got, (int)i);
    }
    view_verify(db, &got);
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
    view_state want = *a->want;
    view got;
    int rc = sqlite3_exec(db, "INSERT INTO kv VALUES('none', 'new')", NULL, NULL, NULL);

    memset(&got, 0, sizeof(got));
    if (a->outcome == OLDER) {
        (void)says(a, "an insert", &got, rc == SQLITE_OK);
        (void)says(
            a, "torn_bytes", &got,
            (a->is_cut && a->offset == a->kept_end) ==
                (check_number(db, "SELECT litekv_stats('kv') ->> 'torn_bytes'") == 0));
        view_scan(db, 0, &got);
        want.value[VIEW_KEYS - 1] = got.state.value[VIEW_KEYS - 1];
        (void)says(a, "after an insert", &got,
                   got.error == 0 && want.value[VIEW_KEYS - 1] != 0 &&
                       memcmp(&want, &got.state, sizeof(want)) == 0);
        a->w->torn++;
    }
    view_verify(db, &got);
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

/* --- while it is open ------------------------------------------------------------ */

/* What was looked at once is not always looked at again: a row may be missing. But
 * those that come are in order and were once written. */
static void check_held(const attempt *a, const char *how, const view *got)
{
    int good = !got->wrong && (got->error == 0 || is_report(a, got) ||
                               strstr(got->text, "malformed key") != NULL);
    for (size_t key = 0; key < VIEW_KEYS; key++) {
        int known = got->state.value[key] == 0;
        for (size_t i = 0; i < CHANGES; i++) {
            known |= got->state.value[key] == a->w->states[i].value[key];
        }
        good &= known;
    }
    (void)says(a, how, got, good);
    a->w->refused += got->error != 0;
}

static void read_held(const attempt *a, sqlite3 *db)
{
    view got;
    view_scan(db, 0, &got);
    check_held(a, "open: forwards", &got);
    view_scan(db, 1, &got);
    check_held(a, "open: backwards", &got);
    for (size_t i = 0; i < VIEW_KEYS; i++) {
        view_point(db, i, &got);
        check_held(a, view_key(i), &got);
    }
    view_verify(db, &got);
    (void)says(a, "open: verify", &got, got.error == 0 || is_report(a, &got));
}

/* The connection has read everything, and two statements are under way. */
static void attempt_open(const attempt *a, const void *bytes, size_t size)
{
    sqlite3 *db = a->w->held;
    const pieces *all = &a->w->body.all;
    int last[] = {-1, VIEW_KEYS};
    sqlite3_stmt *rows[2];
    view got[2], after;

    memset(got, 0, sizeof(got));
    for (int i = 0; i < 2; i++) {
        rows[i] = view_rows(db, i, &got[i]);
        CHECK(rows[i] != NULL && view_next(rows[i], i, &last[i], &got[i]));
    }
    pieces_put(all, a->piece, bytes, size);
    for (int i = 0; i < 2; i++) {
        while (view_next(rows[i], i, &last[i], &got[i])) {
        }
        sqlite3_finalize(rows[i]);
        check_held(a, "open: a statement under way", &got[i]);
    }
    read_held(a, db);
    pieces_restore(all);
    view_scan(db, 0, &after);
    (void)says(a, "open: when it is right again", &after,
               after.error == 0 && memcmp(&after.state, &a->w->states[CHANGES - 1],
                                          sizeof(after.state)) == 0);
    a->w->tried++;
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
            if (w->held != NULL) {
                attempt_open(&a, bytes, at->size);
            } else {
                attempt_it(&a, bytes, at->size, kept,
                           a.outcome == OLDER || w->tried % 8 == 0);
            }
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
        if (!is_chosen(at, size, 5)) {
            continue;
        }
        a.outcome = body_outcome(&w->body, i, size, 1, &kept);
        if (w->held != NULL) {
            attempt_open(&a, at->bytes, size);
        } else {
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

static void try_all_open(whole *w)
{
    view got;
    w->held = check_open(BASE);
    w->tried = w->refused = 0;
    view_scan(w->held, 0, &got);
    for (int i = 0; i < w->body.all.count; i++) {
        change_bytes(w, i);
        /* The page of `lock` is mapped in any case. */
        if (w->unmapped && strcmp(w->body.all.list[i].name, "lock") != 0) {
            cut(w, i);
        }
    }
    printf("%s, open: %u stores tried, %u answers refused\n", w->name, w->tried,
           w->refused);
    CHECK(w->tried > 50);
    check_close(w->held);
    w->held = NULL;
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
        view_scan(db, 0, &got);
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
    try_all_open(w);
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
    {.name = "files, synced",
     .options = "sync=full, mmap=off",
     .in_runs = 5,
     .unmapped = 1},
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
