/*
 * test_power_db.c - a table in the database after a power cut below SQLite, before
 * every write, sync and change of names, whatever the disk had written by then: it has
 * the rows of an ordinary table that got the same transactions, those of a commit that
 * SQLite has to have kept; it is whole, and can be written to. A second cut while the
 * first is recovered from, and a lack of memory then, change nothing.
 *
 * What SQLite promises, for power_story's last commit that returned when the power
 * went:
 *  - synchronous=FULL: it is there, or the one after it. In journal mode DELETE that
 *    takes EXTRA: with FULL the removal of the journal is synced with the next one, and
 *    till then the last commit may be undone.
 *  - synchronous=NORMAL in WAL mode: nothing that was committed before the WAL was
 *    synced is lost, and what is there are the first commits up to some other one.
 *
 *      test_power_db                          all modes; LONG=1 makes many more cuts
 *      test_power_db MODE                     one of them
 *      test_power_db MODE EVENT KIND RANDOM   one cut, as a failure prints it
 */
#include "power_story.h"
#include "power_vfs.h"
#include "random.h"
#include "short_memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEFAULT_IMAGES 70 /* of each mode */
#else
#define DEFAULT_IMAGES 200
#endif
#define LONG_IMAGES 9000
#define SLOTS (1u << 14) /* of a table of hashes */

static const power_mode modes[] = {
    {"delete", "DELETE", "EXTRA", 1024, 512, 1, 0},
    {"delete-full", "DELETE", "FULL", 1024, 512, 1, 0},
    {"truncate", "TRUNCATE", "FULL", 512, 512, 1, 0},
    {"persist", "PERSIST", "FULL", 1024, 512, 1, 0},
    {"attached", "DELETE", "EXTRA", 1024, 512, 1, 1},
    {"wal-full", "WAL", "FULL", 1024, 512, 1, 0},
    {"wal-normal", "WAL", "NORMAL", 1024, 512, 1, 0},
    {"switching", NULL, "EXTRA", 1024, 512, 1, 0},
    /* Sectors of several pages that a power cut may damage as a whole. */
    {"persist-4k", "PERSIST", "FULL", 1024, 4096, 0, 0},
    {"wal-full-4k", "WAL", "FULL", 1024, 4096, 0, 0},
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

static const char *const kinds[] = {"dropped", "kept", "torn", "reordered",
                                    "scrambled"};
static const char *const files[] = {"database", "journal", "wal", "other"};
static const char *const whats[] = {"write", "truncate",      "sync",
                                    "name",  "sync of names", "return"};

/* An image that was looked at. */
typedef struct image {
    uint64_t hash; /* 0: none */
    long long n;
} image;

typedef struct power {
    power_story story;
    unsigned lost; /* syncs that do nothing */
    image *images;
    /* Where the walk is. */
    power_walk *walk;
    size_t returned; /* commits */
    size_t low;      /* that SQLite has to have kept */
    /* What was done. */
    size_t made, distinct, again, starved;
    size_t by_kind[POWER_KINDS];
    size_t by_what[POWER_WHATS][POWER_FILES];
    char why[600];
} power;

static uint64_t seed;
static const char *program;
static size_t all_made, all_distinct;

/* --- one image ------------------------------------------------------------------ */

static int is_text(sqlite3 *db, const char *sql, const char *want, char *why,
                   size_t size)
{
    char *got = check_result(db, sql);
    int same = strcmp(got, want) == 0;
    if (!same) {
        snprintf(why, size, "%s: %s", sql, got);
    }
    sqlite3_free(got);
    return same;
}

static int goes_on(sqlite3 *db, const power_found *found, char *why, size_t size)
{
    char *sql = sqlite3_mprintf(
        "PRAGMA synchronous = EXTRA; BEGIN; REPLACE INTO \"%w\" VALUES(" POWER_EXTRA
        ", 'after'); REPLACE INTO o VALUES(" POWER_EXTRA ", 'after'); COMMIT",
        found->name);
    char *query = sqlite3_mprintf(
        "SELECT a.value, o.value FROM \"%w\" AS a, o WHERE a.key = " POWER_EXTRA
        " AND o.key = " POWER_EXTRA,
        found->name);
    int good = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
    if (!good) {
        snprintf(why, size, "one more row: %s", sqlite3_errmsg(db));
    } else {
        good = is_text(db, query, "after,after", why, size);
    }
    sqlite3_free(query);
    sqlite3_free(sql);
    return good;
}

static int is_whole(sqlite3 *db, const power_found *found, char *why, size_t size)
{
    char *sql = sqlite3_mprintf("SELECT litekv_verify('%q')", found->name);
    int good = is_text(db, "PRAGMA integrity_check", "ok", why, size) &&
               (found->name[0] == 0 || is_text(db, sql, "ok", why, size));
    sqlite3_free(sql);
    return good;
}

/* Opens the disk's database, which must hold one of the commits `low` to `high`. */
static int recover(const power_story *story, power_disk *disk, size_t low, size_t high,
                   power_found *found, char *why, size_t size)
{
    sqlite3 *db = NULL;
    int good;

    power_vfs_use(disk);
    good = power_open(story->mode, &db) == SQLITE_OK;
    if (!good || !power_look(db, found)) {
        snprintf(why, size, "%s", good ? found->why : sqlite3_errmsg(db));
        good = 0;
    } else if (found->n < (long long)low || found->n > (long long)high) {
        snprintf(why, size, "commit %lld is there, not one of %zu to %zu", found->n,
                 low, high);
        good = 0;
    } else if (found->hash != story->hashes[found->n]) {
        snprintf(why, size, "both tables are not what they were after commit %lld",
                 found->n);
        good = 0;
    }
    good = good && is_whole(db, found, why, size);
    if (good && found->name[0] != 0) {
        good = goes_on(db, found, why, size);
        power_returned(disk);
    }
    sqlite3_close(db);
    return good;
}

/* The power goes once more while the first cut is recovered from, and a row written. */
static int recover_twice(power *p, const power_disk *first, long long n,
                         uint64_t *random)
{
    power_disk *disk = power_disk_copy(first);
    power_walk *walk;
    size_t from, events;
    /* SQLite fills the sector in which a commit ends, so that no later write damages
     * it; but what fills it may be lost with the first cut, and then the writes after
     * it begin in the commit's own sector. */
    int shares = !p->story.mode->safe && strcmp(p->story.mode->journal, "WAL") == 0;
    size_t low = (size_t)n - (size_t)shares;
    int good, extra = 0;
    power_found found;

    power_record(disk);
    good =
        recover(&p->story, disk, (size_t)n, (size_t)n, &found, p->why, sizeof(p->why));
    events = power_events(disk, &from);
    walk = power_walk_new(disk, 0);
    for (size_t at = from; good && at <= events; at++) {
        if (random_below(random, 1 + (events - from) / 3) == 0) {
            uint64_t hash;
            power_disk *second =
                power_walk_cut(walk, (enum power_kind)random_below(random, POWER_KINDS),
                               random, &hash);
            p->again++;
            good = recover(&p->story, second, extra ? (size_t)n : low, (size_t)n,
                           &found, p->why, sizeof(p->why));
            if (good && extra && !found.extra) {
                snprintf(p->why, sizeof(p->why), "the row after the cut is lost");
                good = 0;
            }
            power_disk_free(second);
        }
        if (at < events) {
            extra = extra || power_event_what(disk, at) == POWER_RETURNED;
            power_walk_on(walk);
        }
    }
    power_walk_free(walk);
    power_disk_free(disk);
    return good;
}

/* The first statement fails for want of memory, at one allocation after the other. */
static int recover_starving(power *p, const power_disk *first, long long n,
                            const char *name)
{
    char *sql = sqlite3_mprintf("SELECT count(key) FROM \"%w\"", name);
    int good = 1, failed = 1;

    for (int at = 1; good && failed; at += 1 + at / 3) {
        power_disk *disk = power_disk_copy(first);
        power_found found;
        sqlite3 *db = NULL;
        int rc;
        power_vfs_use(disk);
        short_memory_arm(at, at % 2);
        rc = power_open(p->story.mode, &db);
        rc = rc == SQLITE_OK ? sqlite3_exec(db, sql, NULL, NULL, NULL) : rc;
        short_memory_arm(0, 0);
        failed = short_memory_failed();
        sqlite3_close(db);
        p->starved += (size_t)failed;
        if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_NOMEM &&
            rc != SQLITE_IOERR_NOMEM) {
            snprintf(p->why, sizeof(p->why), "allocation %d fails: %d", at, rc);
            good = 0;
        }
        good = good && recover(&p->story, disk, (size_t)n, (size_t)n, &found, p->why,
                               sizeof(p->why));
        power_disk_free(disk);
    }
    sqlite3_free(sql);
    return good;
}

/* --- all of them ---------------------------------------------------------------- */

static image *find_image(power *p, uint64_t hash)
{
    size_t at = hash % SLOTS;
    while (p->images[at].hash != 0 && p->images[at].hash != hash) {
        at = (at + 1) % SLOTS;
    }
    return &p->images[at];
}

/* A cut where the walk is; all that is random about it follows from `random`. */
static int try_cut(power *p, enum power_kind kind, uint64_t random)
{
    uint64_t state = random, hash;
    power_disk *disk = power_walk_cut(p->walk, kind, &state, &hash);
    int twice = random_below(&state, 8) == 0, starving = random_below(&state, 40) == 0;
    power_disk *copy = twice || starving ? power_disk_copy(disk) : NULL;
    size_t high = p->returned < p->story.commits ? p->returned + 1 : p->returned;
    image *known = find_image(p, hash);
    power_found found = {.n = known->n};
    int good;

    p->made++;
    if (known->hash != 0) { /* the same bytes, maybe another moment */
        good = found.n >= (long long)p->low && found.n <= (long long)high;
        snprintf(p->why, sizeof(p->why), "commit %lld is there, not one of %zu to %zu",
                 found.n, p->low, high);
    } else {
        good = recover(&p->story, disk, p->low, high, &found, p->why, sizeof(p->why));
        if (good) {
            *known = (image){hash, found.n};
            p->distinct++;
            p->by_kind[kind]++;
        }
        if (good && twice && found.n > 0) {
            good = recover_twice(p, copy, found.n, &state);
        }
        if (good && starving && found.n > 0) {
            good = recover_starving(p, copy, found.n, found.name);
        }
    }
    power_disk_free(copy);
    power_disk_free(disk);
    return good;
}

static void start_walk(power *p)
{
    p->walk = power_walk_new(p->story.disk, p->lost);
    p->returned = p->low = 0;
}

/* Whether what has returned is there for certain from this event on. */
static int vouches(const power_mode *mode, enum power_what what, enum power_file file)
{
    if (strcmp(mode->name, "delete-full") == 0) {
        return what == POWER_SYNC_NAMES;
    }
    return strcmp(mode->synchronous, "NORMAL") != 0 ||
           (what == POWER_SYNC && file == POWER_WAL);
}

/* Goes past one event. */
static void walk_on(power *p)
{
    const power_disk *disk = p->story.disk;
    size_t at = power_walk_at(p->walk);
    enum power_what what = power_event_what(disk, at);

    p->returned += what == POWER_RETURNED;
    if (vouches(p->story.mode, what, power_event_file(disk, at))) {
        p->low = p->returned;
    }
    power_walk_on(p->walk);
}

static void tell(const power *p)
{
    size_t from, events = power_events(p->story.disk, &from);
    printf("%s: %zu commits, %zu left work to do, at most %lld runs, %lld parts; %zu "
           "events, %zu images, %zu distinct (",
           p->story.mode->name, p->story.commits, p->story.unfinished, p->story.runs,
           p->story.parts, events - from, p->made, p->distinct);
    for (int i = 0; i < POWER_KINDS; i++) {
        printf("%s%zu %s", i > 0 ? ", " : "", p->by_kind[i], kinds[i]);
    }
    printf("), %zu second cuts, %zu without memory\n  before", p->again, p->starved);
    for (int what = 0; what < POWER_WHATS; what++) {
        for (int file = 0; file < POWER_FILES; file++) {
            if (p->by_what[what][file] > 0) {
                printf(" %s%s%s %zu,", whats[what], file == POWER_OTHER ? "" : " of ",
                       file == POWER_OTHER ? "" : files[file], p->by_what[what][file]);
            }
        }
    }
    printf(" end\n");
}

static void begin(power *p, const power_mode *mode)
{
    memset(p, 0, sizeof(*p));
    /* Another story in each mode. */
    power_story_tell(&p->story, mode, seed + (uint64_t)(mode - modes) * 1000003);
    p->images = calloc(SLOTS, sizeof(image));
    if (p->images == NULL) {
        abort();
    }
}

static void end(power *p)
{
    free(p->images);
    power_story_end(&p->story);
}

/* About `images` cuts, at least one at each event when there are as many. */
static int cut_everywhere(power *p, size_t images, uint64_t *random)
{
    size_t from, events = power_events(p->story.disk, &from);
    uint64_t all = (uint64_t)(events - from + 1) * POWER_KINDS;
    int good = 1;

    start_walk(p);
    while (good) {
        size_t at = power_walk_at(p->walk), before = p->distinct;
        for (int kind = 0; good && kind < POWER_KINDS; kind++) {
            /* Nothing is random about the first two. */
            uint64_t times = images / all + (random_below(random, all) < images % all);
            times = kind <= POWER_KEPT && times > 1 ? 1 : times;
            if (images > events && at % POWER_KINDS == (size_t)kind && times == 0) {
                times = 1;
            }
            for (uint64_t i = 0; good && i < times; i++) {
                uint64_t one = random_next(random);
                good = try_cut(p, (enum power_kind)kind, one);
                if (!good && p->lost == 0) {
                    printf("%s, before event %zu, %s: %s\n  again: SEED=%llu %s %s %zu "
                           "%s %llu\n",
                           p->story.mode->name, at, kinds[kind], p->why,
                           (unsigned long long)seed, program, p->story.mode->name, at,
                           kinds[kind], (unsigned long long)one);
                }
            }
        }
        if (at == events) {
            break;
        }
        p->by_what[power_event_what(p->story.disk, at)]
                  [power_event_file(p->story.disk, at)] += p->distinct - before;
        walk_on(p);
    }
    power_walk_free(p->walk);
    return good;
}

/* Without the syncs of a kind of file the same cuts must find something wrong. */
static void lose_syncs(power *p, uint64_t *random)
{
    size_t from, events = power_events(p->story.disk, &from);
    size_t syncs[POWER_FILES + 1] = {0};

    for (size_t i = from; i < events; i++) {
        enum power_what what = power_event_what(p->story.disk, i);
        if (what == POWER_SYNC) {
            syncs[power_event_file(p->story.disk, i)]++;
        }
        syncs[POWER_NAMES] += what == POWER_SYNC_NAMES;
    }
    for (int file = 0; file <= POWER_FILES; file++) {
        power one = *p;
        int found = 0;
        if (syncs[file] < 10) { /* one transaction, before the mode is WAL */
            continue;
        }
        one.lost = 1u << file;
        one.made = one.distinct = 0;
        one.images = calloc(SLOTS, sizeof(image));
        for (int i = 0; i < 10 && !found; i++) {
            found = !cut_everywhere(&one, 400, random);
        }
        printf("  without the syncs of %s: %s after %zu images: %s\n",
               file == POWER_NAMES ? "names" : files[file],
               found ? "wrong" : "nothing wrong", one.made, one.why);
        CHECK(found);
        free(one.images);
    }
}

static void try_mode(const power_mode *mode, size_t images)
{
    uint64_t random = seed;
    power p;

    begin(&p, mode);
    CHECK(cut_everywhere(&p, images, &random));
    tell(&p);
    all_made += p.made;
    all_distinct += p.distinct;
    CHECK(p.distinct > images / 3);
    lose_syncs(&p, &random);
    end(&p);
}

/* --- one cut again -------------------------------------------------------------- */

static void try_again(const power_mode *mode, size_t event, const char *kind,
                      uint64_t random)
{
    int number = 0, good;
    power p;

    while (number < POWER_KINDS - 1 && strcmp(kinds[number], kind) != 0) {
        number++;
    }
    begin(&p, mode);
    start_walk(&p);
    while (power_walk_at(p.walk) < event) {
        walk_on(&p);
    }
    good = try_cut(&p, (enum power_kind)number, random);
    check_that(good, __FILE__, __LINE__, "%s", p.why);
    power_walk_free(p.walk);
    end(&p);
}

int main(int argc, char **argv)
{
    const char *text = getenv("SEED");
    int is_long = getenv("LONG") != NULL;

    seed = text != NULL ? strtoull(text, NULL, 10) : is_long ? (uint64_t)time(NULL) : 1;
    program = argv[0];
    short_memory_begin();
    power_vfs_begin();
    for (size_t i = 0; i < MODES; i++) {
        if (argc > 1 && strcmp(argv[1], modes[i].name) != 0) {
            continue;
        }
        if (argc > 4) {
            try_again(&modes[i], strtoull(argv[2], NULL, 10), argv[3],
                      strtoull(argv[4], NULL, 10));
        } else {
            try_mode(&modes[i], is_long ? LONG_IMAGES : DEFAULT_IMAGES);
        }
    }
    printf("%zu images, %zu distinct, counted in each mode\n", all_made, all_distinct);
    power_vfs_end();
    return check_end();
}
