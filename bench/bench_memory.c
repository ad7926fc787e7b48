/*
 * bench_memory.c - private memory of a process that has just opened an existing
 * database and read from it at random.
 *
 * Private memory is Private_Clean and Private_Dirty of /proc/self/smaps_rollup
 * together: pages that this process alone maps. The dirty ones, which cannot be dropped
 * and read again from a file, stand beside.
 */
#include "bench.h"
#include "process.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
    "bench-memory [options]: private memory of a new process after random reads\n"
    "\n"
    "  -n KEYS  of 16 bytes, with values of 100; default 1000000\n"
    "  -k N     reads; default 100000\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

#define CREATE "CREATE VIRTUAL TABLE kv USING litekv(key TEXT, value BLOB"

static const engine small = {"cache=8192", CREATE ", cache=8192)", 1};
static const engine large = {"cache=131072", CREATE ", cache=131072)", 1};
static const engine *const engines[] = {&bench_table, &small, &bench_litekv, &large};
static const char *const names[] = {"ordinary table", "litekv, cache=8192",
                                    "litekv, default cache", "litekv, cache=131072"};

/* Whether this litekv.so knows the option. */
static int is_accepted(const bench_setup *setup, const engine *of)
{
    bench b;
    int rc;
    bench_start(&b, setup, &bench_litekv);
    bench_open(&b, 1);
    bench_exec(&b, "DROP TABLE kv");
    rc = sqlite3_exec(b.db, of->create, NULL, NULL, NULL);
    bench_close(&b);
    return rc == SQLITE_OK;
}

static fresh measure(const bench_setup *setup, const engine *of, uint64_t reads)
{
    fresh found = {NAN, NAN, NAN, NAN, NAN, NAN};
    bench b;
    if (of->is_litekv && !is_accepted(setup, of)) {
        return found;
    }
    bench_start(&b, setup, of);
    bench_open(&b, 1);
    if (of->is_litekv) {
        (void)bench_run(
            &b, (operation){BENCH_INSERT, b.keys, b.keys, bench_in_order, 0, 1});
    } else {
        (void)bench_load(&b);
    }
    bench_close(&b);
    return bench_fresh(&b, reads);
}

static void print_cell(double kib)
{
    if (isnan(kib)) {
        printf(" %14s", "-");
    } else {
        printf(" %14.0f", kib);
    }
}

int main(int argc, char **argv)
{
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 1000000};
    uint64_t reads = 100000;
    double of_table = NAN;

    bench_child(argc, argv);
    while (bench_option(&setup, argc, argv, "k:") != -1) {
        reads = bench_count(optarg, 1, 1000000000);
    }
    bench_begin(&setup);
    printf("SQLite %s, %llu keys of %d bytes, values of %d, %llu random reads; KiB of "
           "Private_Clean + Private_Dirty\n",
           sqlite3_libversion(), (unsigned long long)setup.keys, BENCH_KEY_SIZE,
           BENCH_VALUE_SIZE, (unsigned long long)reads);
    printf("%-24s %14s %14s %14s %14s\n", "", "first row", "after reads", "dirty of it",
           "ratio to table");
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        fresh found = measure(&setup, engines[i], reads);
        of_table = i == 0 ? found.read_kib : of_table;
        printf("%-24s", names[i]);
        print_cell(found.opened_kib);
        print_cell(found.read_kib);
        print_cell(found.read_dirty_kib);
        printf(" %14.2f\n", found.read_kib / of_table);
        (void)fflush(stdout);
    }
    return 0;
}
