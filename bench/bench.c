/*
 * bench.c - the table of figures: litekv and the ordinary table through the same
 * workloads in one run, medians, ratios and the most that is wanted of them.
 *
 * Each engine gets a fresh file, in turn; which goes first changes from round to round.
 */
#include "process.h"
#include "scenes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_ROUNDS 25
#define MOST_MEMORY 65536 /* KiB that litekv may have for itself */
#define LARGE 3000000     /* keys from where on the bounds of a large table hold */

static const char help[] =
    "bench [options]: litekv beside the ordinary table, in microseconds an operation\n"
    "\n"
    "  -n KEYS  of 16 bytes, with values of 100; default 200000. The bounds are those\n"
    "           wanted of 1,000,000 keys, and from 3,000,000 keys on of 10,000,000\n"
    "  -l LIST  all, short or chart: which workloads; default: all, and from "
    "3,000,000\n"
    "           keys on short\n"
    "  -r N     rounds, of which the medians are printed; default 3, and from "
    "1,000,000\n"
    "           keys on 1\n"
    "  -c N     operations of a workload that changes or reads some rows; default: a\n"
    "           quarter of the keys, at most 250,000; sampled 100,000\n"
    "  -s       sampled: the ordinary table is filled in an order that costs a minute\n"
    "           and not half an hour, and inserts into the full tables are measured;\n"
    "           from 3,000,000 keys on so by default\n"
    "  -f       not sampled, however many keys\n"
    "  -u       the processor's time that operations take, not the time until they "
    "are\n"
    "           done: for a machine that does other work\n"
    "  -a       a third engine: the table with a rowid\n"
    "  -t       lines with tabs for programs: workload, unit, litekv, table, ratio,\n"
    "           bound\n"
    "  -o ARGS  more arguments for litekv's table, as path=kv,sync=normal (a path is\n"
    "           beside the database); with path or shm other bounds hold\n"
    "  -m N     random reads before private memory is looked at; default 100000\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

static const struct {
    const char *id, *name, *unit;
    double bound, bound_large; /* on the ratio; 0: none */
    double bound_files;        /* of a table outside the database */
} workloads[WORKLOADS] = {
    [LOAD] = {"load", "the load: litekv in random order, the table as -s tells", "us",
              0, 0, 0},
    [INSERT_1000] = {"insert", "random insert, transactions of 1,000", "us", 1.0 / 4,
                     1.0 / 10, 1.0 / 20},
    [INSERT_ONE] = {"insert-one", "random insert, one transaction", "us", 1.0 / 3,
                    1.0 / 3, 0},
    [OVERWRITE_1000] = {"overwrite", "overwrite (OR REPLACE), transactions of 1,000",
                        "us", 1.0 / 3, 1.0 / 10, 1.0 / 15},
    [UPDATE_1000] = {"update", "overwrite (UPDATE), transactions of 1,000", "us", 0, 0,
                     0},
    [DELETE_1000] = {"delete", "delete, transactions of 1,000", "us", 1.0 / 4, 1.0 / 10,
                     1.0 / 15},
    [READ_HIT] = {"read", "point read, hit", "us", 0.85, 1.2, 0.4},
    [READ_HIT_COMPACT] = {"read-compact", "point read, hit, after litekv_compact", "us",
                          0.75, 1.0, 0.4},
    [READ_MISS] = {"miss", "point read, miss", "us", 0.5, 0.5, 0.25},
    [COUNT] = {"count", "count(*), a row", "us", 1.0, 1.0, 1.0},
    [RANGE] = {"range", "100 rows from a key on", "us", 0, 0, 0},
    [RANGE_COMPACT] = {"range-compact", "100 rows from a key on, after litekv_compact",
                       "us", 1.3, 1.3, 1.2},
    [SCAN] = {"scan", "scan in key order, a row", "us", 0, 0, 0},
    [SCAN_COMPACT] = {"scan-compact", "scan in key order, a row, after litekv_compact",
                      "us", 1.3, 1.3, 1.2},
    [RANGE_SORTED] = {"range-sorted", "loaded in key order: 100 rows from a key on",
                      "us", 0, 0, 0},
    [RANGE_SORTED_COMPACT] = {"range-sorted-compact",
                              "loaded in key order: 100 rows, after litekv_compact",
                              "us", 1.3, 1.3, 1.2},
    [SCAN_SORTED] = {"scan-sorted", "loaded in key order: scan, a row", "us", 2.0, 2.0,
                     0},
    [SCAN_SORTED_COMPACT] = {"scan-sorted-compact",
                             "loaded in key order: scan, a row, litekv_compact", "us",
                             1.3, 1.3, 1.2},
    [SCAN_KEYS] = {"scan-keys", "loaded in key order: scan of keys alone, a row", "us",
                   0, 0, 0},
    [QUEUE] = {"queue", "queue: the first row is taken, another put at the end", "us",
               0, 0, 0},
    [INSERT_AUTO] = {"insert-auto", "single-row autocommit insert", "us", 0.6, 0.6,
                     0.25},
    [READ_AUTO] = {"read-auto", "autocommit point read", "us", 0.75, 0.75, 0.6},
    [DURABLE] = {"durable", "durable single-row commit, synchronous=FULL", "us", 0, 0,
                 1.0},
    [DURABLE_BESIDE] = {"durable-beside", "the same; beside: 4 KiB write and fdatasync",
                        "us", 0, 0, 1.5},
    [SHELL_WARM] = {"shell-warm", "first row in a new sqlite3 shell, warm", "ms", 1.5,
                    1.5, 1.5},
    [SHELL_COLD] = {"shell-cold", "first row in a new sqlite3 shell, cold", "ms", 1.5,
                    1.5, 1.5},
    [OPEN_WARM] = {"open-warm", "the same without the start of the process, warm", "ms",
                   0, 0, 0},
    [OPEN_COLD] = {"open-cold", "the same without the start of the process, cold", "ms",
                   0, 0, 0},
    [MEMORY] = {"memory", "private memory after random reads", "KiB", 0, 0, 0},
    [MAPPED] = {"mapped", "pages of mapped files then", "KiB", 0, 0, 0},
    [SIZE] = {"size", "size of the file after the load", "MB", 0, 0, 0},
    [COMPACT] = {"compact", "litekv_compact itself, a row", "us", 0, 0, 0},
};

static const engine rowid_table = {
    "rowid table", "CREATE TABLE kv(key TEXT PRIMARY KEY, value BLOB)", 0};
static const engine *const engines[] = {&bench_litekv, &bench_table, &rowid_table};

static double figures[3][WORKLOADS][MOST_ROUNDS];

static struct {
    int rounds, engines, for_programs, has_list, full;
    scene of;
} wish = {.engines = 2, .of.memory_reads = 100000};

static void one_round(const bench_setup *setup, int engine_at, int round)
{
    static bench b;
    double result[WORKLOADS];

    for (int w = 0; w < WORKLOADS; w++) {
        result[w] = NAN;
    }
    bench_start(&b, setup, engines[engine_at]);
    bench_scene_random(&b, &wish.of, result);
    if (wish.of.which == ALL) {
        if (!wish.of.sampled) {
            bench_start(&b, setup, engines[engine_at]);
            bench_scene_one(&b, result);
        }
        bench_start(&b, setup, engines[engine_at]);
        bench_scene_sorted(&b, &wish.of, result);
        bench_start(&b, setup, engines[engine_at]);
        bench_scene_durable(&b, result);
    }
    for (int w = 0; w < WORKLOADS; w++) {
        figures[engine_at][w][round] = result[w];
    }
    fprintf(stderr, "round %d of %d: %s done\n", round + 1, wish.rounds,
            engines[engine_at]->name);
}

static double bound_of(const bench_setup *setup, int w)
{
    if (bench_is_external(setup->arguments)) {
        return workloads[w].bound_files;
    }
    return setup->keys >= LARGE ? workloads[w].bound_large : workloads[w].bound;
}

static void print(const bench_setup *setup)
{
    if (!wish.for_programs) {
        bench_print_head("");
    }
    for (int w = 0; w < WORKLOADS; w++) {
        double bound = bound_of(setup, w);
        double first = bench_median(figures[0][w], wish.rounds);
        double second = bench_median(figures[1][w], wish.rounds);
        if (isnan(first) && isnan(second)) {
            continue; /* not on the list */
        }
        if (wish.for_programs) {
            printf("%s\t%s\t", workloads[w].id, workloads[w].unit);
            bench_print_tabs(first, second, bound);
            continue;
        }
        bench_print(workloads[w].name, workloads[w].unit, first, second, bound);
        if (w == MEMORY) {
            printf("%-63s at most %d KiB are wanted: %s\n", "", MOST_MEMORY,
                   first <= MOST_MEMORY ? "ok" : "over");
        }
        if (wish.engines == 3) {
            printf("%-63s %10.2f %5s  (rowid table)\n", "",
                   bench_median(figures[2][w], wish.rounds), workloads[w].unit);
        }
    }
}

static enum scenes list_named(const char *name)
{
    static const char *const names[] = {[ALL] = "all", [SHORT] = "short", "chart"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum scenes)i;
        }
    }
    bench_fail(name, "the lists are all, short and chart");
}

static void read_options(bench_setup *setup, int argc, char **argv)
{
    int option;
    while ((option = bench_option(setup, argc, argv, "r:l:c:m:sfuat")) != -1) {
        switch (option) {
        case 'r':
            wish.rounds = (int)bench_count(optarg, 1, MOST_ROUNDS);
            break;
        case 'l':
            wish.of.which = list_named(optarg);
            wish.has_list = 1;
            break;
        case 'c':
            wish.of.changes = wish.of.reads = bench_count(optarg, 100, 1000000000);
            break;
        case 'm':
            wish.of.memory_reads = bench_count(optarg, 1, 1000000000);
            break;
        case 's':
            wish.of.sampled = 1;
            break;
        case 'f':
            wish.full = 1;
            break;
        case 'u':
            bench_count_processor_time();
            break;
        case 'a':
            wish.engines = 3;
            break;
        default:
            wish.for_programs = 1;
        }
    }
    if (wish.rounds == 0) {
        wish.rounds = setup->keys < 1000000 ? 3 : 1;
    }
    if (!wish.has_list && setup->keys >= LARGE) {
        wish.of.which = SHORT;
    }
    if (setup->keys >= LARGE && !wish.full) {
        wish.of.sampled = 1;
    }
    if (wish.of.changes == 0) {
        uint64_t quarter = setup->keys / 4 < 250000 ? setup->keys / 4 : 250000;
        wish.of.changes = wish.of.sampled && quarter > 100000 ? 100000 : quarter;
        /* Reads are so fast that fewer would measure the clock. */
        wish.of.reads = quarter < 20000 ? 20000 : quarter;
    }
    if (wish.of.changes > setup->keys) {
        bench_fail("-c", "more than there are keys");
    }
}

int main(int argc, char **argv)
{
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 1000000};

    bench_child(argc, argv);
    read_options(&setup, argc, argv);
    bench_begin(&setup);
    if (!wish.for_programs) {
        printf("SQLite %s, %llu keys of %d bytes, values of %d, page size 4096, WAL, "
               "synchronous=NORMAL, %d rounds; bounds of %s\n",
               sqlite3_libversion(), (unsigned long long)setup.keys, BENCH_KEY_SIZE,
               BENCH_VALUE_SIZE, wish.rounds,
               bench_is_external(setup.arguments) ? "tables outside the database"
               : setup.keys >= LARGE              ? "10,000,000 keys"
                                                  : "1,000,000 keys");
        if (setup.arguments != NULL) {
            printf("litekv's table has the arguments %s\n", setup.arguments);
        }
    }
    for (int round = 0; round < wish.rounds; round++) {
        for (int i = 0; i < wish.engines; i++) {
            one_round(&setup, round % 2 == 0 ? i : wish.engines - 1 - i, round);
        }
    }
    print(&setup);
    return 0;
}
