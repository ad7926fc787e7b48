/*
 * bench_rivals.c - litekv's core beside other engines, all through their C interfaces
 * and without SQL: the same keys in the same order.
 *
 * Each engine goes through everything in a process of its own, so that its memory can
 * be told from the others' and its threads end with it; the engines take turns, and the
 * order of turns moves on from round to round. What an engine does in threads of its
 * own beside the caller is not in the caller's times: on an otherwise idle machine it
 * comes for free.
 */
#include "rivals.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_ROUNDS 25
#define MOST_ENGINES 8
#define BATCH 1000
#define OPENINGS 5

static const char help[] =
    "bench-rivals [options]: litekv's core beside LMDB, LevelDB, RocksDB and Tkrzw,\n"
    "those of them that were there when this was built\n"
    "\n"
    "  -n KEYS  of 16 bytes, with values of 100; default 1000000\n"
    "  -k N     reads by key; default: a quarter of the keys, at most 1,000,000\n"
    "  -r N     rounds, of which the medians are printed; default 3\n"
    "  -u       the processor's time of all threads of an engine, not the time until\n"
    "           its caller goes on: for a machine that does other work\n"
    "  -w NAME  one engine alone, by the start of its name\n"
    "  -d DIR   where the files go; default: here\n";

enum figure {
    PUT,
    GET,
    MISS,
    SCAN,
    COMPACT,
    GET_COMPACT,
    SCAN_COMPACT,
    OPEN,
    DISK,
    PRIVATE,
    MAPPED,
    FIGURES
};

static const struct {
    const char *head, *below;
} columns[FIGURES] = {
    [PUT] = {"put", "us"},
    [GET] = {"get", "us"},
    [MISS] = {"miss", "us"},
    [SCAN] = {"scan", "us/row"},
    [COMPACT] = {"compact", "us/row"},
    [GET_COMPACT] = {"get", "after c."},
    [SCAN_COMPACT] = {"scan", "after c."},
    [OPEN] = {"open", "ms"},
    [DISK] = {"disk", "MB"},
    [PRIVATE] = {"private", "MiB"},
    [MAPPED] = {"mapped", "MiB"},
};

typedef struct outcome {
    double of[FIGURES];
} outcome;

static struct {
    uint64_t keys, reads;
    const char *only;
    char directory[400];
    int rounds;
} wish = {.rounds = 3};

static const rival *engines[MOST_ENGINES];
static int engine_count;
static double figures[MOST_ENGINES][FIGURES][MOST_ROUNDS];

static double microseconds_since(double begun, uint64_t count)
{
    return (bench_clock() - begun) * 1e6 / (double)count;
}

static double put_all(const rival *r, void *db)
{
    double begun = bench_clock();
    for (uint64_t i = 0; i < wish.keys; i++) {
        unsigned char value[BENCH_VALUE_SIZE];
        char key[BENCH_KEY_SIZE];
        if (i % BATCH == 0 && r->begin != NULL) {
            r->begin(db);
        }
        bench_key(i, key);
        bench_value(i, value);
        r->put(db, key, value);
        if ((i % BATCH == BATCH - 1 || i == wish.keys - 1) && r->commit != NULL) {
            r->commit(db);
        }
    }
    return microseconds_since(begun, wish.keys);
}

/* What of a put, and of a get, is the making of its key and value. */
static void print_harness(void)
{
    const uint64_t count = 1000000;
    unsigned char value[BENCH_VALUE_SIZE];
    char key[BENCH_KEY_SIZE];
    double begun = bench_clock(), with_value;
    unsigned sum = 0;

    for (uint64_t i = 0; i < count; i++) {
        bench_key(i, key);
        bench_value(i, value);
        sum += rival_touch(key, value);
    }
    with_value = microseconds_since(begun, count);
    begun = bench_clock();
    for (uint64_t i = 0; i < count; i++) {
        bench_key(bench_any(i, wish.keys), key);
        sum += rival_touch(key, value);
    }
    rival_keep(sum);
    printf("in these: %.2f us of each put and %.2f us of each get make key and value\n",
           with_value, microseconds_since(begun, count));
}

static double get_some(const rival *r, void *db,
                       uint64_t (*pick)(uint64_t i, uint64_t keys), int found)
{
    double begun = bench_clock();
    for (uint64_t i = 0; i < wish.reads; i++) {
        unsigned char value[BENCH_VALUE_SIZE];
        char key[BENCH_KEY_SIZE];
        bench_key(pick(i, wish.keys), key);
        if (r->get(db, key, value) != found) {
            bench_fail(r->name, found ? "a key is missing" : "a key is there");
        }
    }
    return microseconds_since(begun, wish.reads);
}

/* Outside the measured time: that the values are those that were put. */
static void check_values(const rival *r, void *db)
{
    for (uint64_t i = 0; i < 1000; i++) {
        unsigned char value[BENCH_VALUE_SIZE], wanted[BENCH_VALUE_SIZE];
        uint64_t at = bench_any(i, wish.keys);
        char key[BENCH_KEY_SIZE];
        bench_key(at, key);
        bench_value(at, wanted);
        if (!r->get(db, key, value) || memcmp(value, wanted, sizeof(value)) != 0) {
            bench_fail(r->name, "a value is not the one that was put");
        }
    }
}

static double scan_all(const rival *r, void *db)
{
    double begun = bench_clock();
    if (r->scan == NULL) {
        return NAN;
    }
    if (r->scan(db) != wish.keys) {
        bench_fail(r->name, "a scan has the wrong number of rows");
    }
    return microseconds_since(begun, wish.keys);
}

/* MiB of this process: pages that it alone has, and pages of files that it maps, which
 * are counted among neither. */
static void read_memory(double *of)
{
    FILE *in = fopen("/proc/self/smaps_rollup", "r");
    double rss = 0, anonymous = 0, part;
    char line[200];
    if (in == NULL) {
        return;
    }
    while (fgets(line, sizeof(line), in) != NULL) {
        rss = sscanf(line, "Rss: %lf", &part) == 1 ? part : rss;
        anonymous = sscanf(line, "Anonymous: %lf", &part) == 1 ? part : anonymous;
    }
    (void)fclose(in);
    of[PRIVATE] = anonymous / 1024;
    of[MAPPED] = (rss - anonymous) / 1024;
}

static double disk_bytes;

static int add_size(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    disk_bytes += kind == FTW_F ? (double)info->st_blocks * 512 : 0;
    return 0;
}

/* Milliseconds from the start of opening until the first value is there. */
static double open_once(const rival *r)
{
    double begun = bench_clock(), took;
    unsigned char value[BENCH_VALUE_SIZE];
    char key[BENCH_KEY_SIZE];
    void *db = r->open(wish.directory, 0, wish.keys);
    bench_key(1, key);
    if (!r->get(db, key, value)) {
        bench_fail(r->name, "the first key is missing");
    }
    took = (bench_clock() - begun) * 1e3;
    r->close(db);
    return took;
}

static void go_through(const rival *r, double *of)
{
    void *db = r->open(wish.directory, 1, wish.keys);
    double begun;

    of[PUT] = put_all(r, db);
    of[GET] = get_some(r, db, bench_any, 1);
    of[MISS] = get_some(r, db, bench_absent, 0);
    check_values(r, db);
    read_memory(of);
    of[SCAN] = scan_all(r, db);
    if (r->compact != NULL) {
        begun = bench_clock();
        r->compact(db);
        of[COMPACT] = microseconds_since(begun, wish.keys);
    }
    of[GET_COMPACT] = get_some(r, db, bench_any, 1);
    of[SCAN_COMPACT] = scan_all(r, db);
    check_values(r, db);
    r->close(db);
    disk_bytes = 0;
    (void)nftw(wish.directory, add_size, 16, FTW_PHYS);
    of[DISK] = disk_bytes / 1e6;
}

/* A store in memory is opened again where it is; any other in new processes, of which
 * the first has made its pages warm. */
static void run_child(const rival *r, int opening, double *of)
{
    if (!opening) {
        go_through(r, of);
    }
    if (opening || !r->keeps_files) {
        of[OPEN] = open_once(r);
    }
}

static outcome in_a_child(const rival *r, int opening)
{
    outcome found;
    int channel[2], status;
    pid_t child;

    for (int f = 0; f < FIGURES; f++) {
        found.of[f] = NAN;
    }
    if (pipe(channel) != 0 || (child = fork()) < 0) {
        bench_fail(r->name, "no process for it");
        return found;
    }
    if (child == 0) {
        run_child(r, opening, found.of);
        _exit(write(channel[1], &found, sizeof(found)) != sizeof(found));
    }
    (void)close(channel[1]);
    if (read(channel[0], &found, sizeof(found)) != sizeof(found) ||
        waitpid(child, &status, 0) != child || status != 0) {
        bench_fail(r->name, "its process failed");
    }
    (void)close(channel[0]);
    return found;
}

static void one_round(int at, int round)
{
    const rival *r = engines[at];
    double openings[OPENINGS];
    outcome found;

    bench_empty();
    found = in_a_child(r, 0);
    if (r->keeps_files) {
        for (int i = 0; i < OPENINGS; i++) {
            openings[i] = in_a_child(r, 1).of[OPEN];
        }
        found.of[OPEN] = bench_median(openings, OPENINGS);
    }
    for (int f = 0; f < FIGURES; f++) {
        figures[at][f][round] = found.of[f];
    }
    fprintf(stderr, "round %d of %d: %s done\n", round + 1, wish.rounds, r->name);
}

static void find_engines(void)
{
    const rival *const all[] = {
        rival_litekv_files(), rival_litekv_memory(), rival_lmdb(),      rival_leveldb(),
        rival_rocksdb(),      rival_tkrzw_hash(),    rival_tkrzw_tree()};
    static const char *const names[] = {"",        "",           "LMDB",      "LevelDB",
                                        "RocksDB", "Tkrzw hash", "Tkrzw tree"};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i] == NULL) {
            printf("%s: not there when this was built\n", names[i]);
        } else if (wish.only == NULL ||
                   strncmp(all[i]->name, wish.only, strlen(wish.only)) == 0) {
            engines[engine_count++] = all[i];
        }
    }
    if (engine_count == 0) {
        bench_fail("-w", "no engine has a name that begins so");
    }
}

static void print_cell(double figure, int digits)
{
    if (isnan(figure)) {
        printf(" %9s", "-");
    } else {
        printf(" %9.*f", digits, figure);
    }
}

static void print_table(void)
{
    printf("\n%-15s", "");
    for (int f = 0; f < FIGURES; f++) {
        printf(" %9s", columns[f].head);
    }
    printf("\n%-15s", "");
    for (int f = 0; f < FIGURES; f++) {
        printf(" %9s", columns[f].below);
    }
    printf("\n");
    for (int at = 0; at < engine_count; at++) {
        printf("%-15s", engines[at]->name);
        for (int f = 0; f < FIGURES; f++) {
            print_cell(bench_median(figures[at][f], wish.rounds), f < DISK ? 2 : 0);
        }
        printf("\n");
    }
    printf("\nsettings\n");
    for (int at = 0; at < engine_count; at++) {
        printf("%s: %s\n", engines[at]->name, engines[at]->settings);
    }
}

static int engine_named(const char *name)
{
    for (int at = 0; at < engine_count; at++) {
        if (strcmp(engines[at]->name, name) == 0) {
            return at;
        }
    }
    return -1;
}

/* What is wanted of litekv beside others: at most `bound` times theirs. */
static void print_wanted(const char *litekv)
{
    static const struct {
        const char *what, *rival;
        enum figure of;
        double bound;
    } wanted[] = {
        {"put", "LevelDB", PUT, 0.5},
        {"put", "Tkrzw hash", PUT, 1},
        {"get", "LMDB", GET, 1},
        {"get after compaction", "LMDB", GET_COMPACT, 1},
        {"scan after compaction", "LMDB", SCAN_COMPACT, 2},
    };
    int own = engine_named(litekv);
    for (size_t i = 0; own >= 0 && i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        int other = engine_named(wanted[i].rival);
        double ratio;
        if (other < 0) {
            continue;
        }
        ratio = bench_median(figures[own][wanted[i].of], wish.rounds) /
                bench_median(figures[other][wanted[i].of], wish.rounds);
        printf("%s: %s by that of %s: %.2f (%.2f: %s)\n", litekv, wanted[i].what,
               wanted[i].rival, ratio, wanted[i].bound,
               ratio <= wanted[i].bound ? "ok" : "over");
    }
}

int main(int argc, char **argv)
{
    static bench_setup setup = {.help = help, .keys = 1000000};
    int option;

    while ((option = bench_option(&setup, argc, argv, "k:r:uw:")) != -1) {
        switch (option) {
        case 'k':
            wish.reads = bench_count(optarg, 1, 1000000000);
            break;
        case 'r':
            wish.rounds = (int)bench_count(optarg, 1, MOST_ROUNDS);
            break;
        case 'u':
            bench_count_processor_time();
            break;
        default:
            wish.only = optarg;
        }
    }
    bench_begin(&setup);
    wish.keys = setup.keys;
    memcpy(wish.directory, setup.directory, sizeof(wish.directory));
    if (wish.reads == 0) {
        wish.reads = setup.keys / 4 > 1000000 ? 1000000 : setup.keys / 4;
    }
    printf("%llu keys of %d bytes in random order, values of %d, batches of %d without "
           "sync, %d rounds\n",
           (unsigned long long)setup.keys, BENCH_KEY_SIZE, BENCH_VALUE_SIZE, BATCH,
           wish.rounds);
    find_engines();
    (void)fflush(stdout);
    for (int round = 0; round < wish.rounds; round++) {
        for (int i = 0; i < engine_count; i++) {
            one_round((i + round) % engine_count, round);
        }
    }
    bench_empty();
    print_table();
    printf("\n");
    print_harness();
    print_wanted("litekv, files");
    print_wanted("litekv, memory");
    return 0;
}
