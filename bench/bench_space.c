/*
 * bench_space.c - space: how much larger the log is than what is live in it, and how
 * large the file is, while every key is overwritten again and again.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
    "bench-space [options]: overwrites every key of a table several times, and says\n"
    "after every pass how many bytes the log has for each live one\n"
    "\n"
    "  -n KEYS  of 16 bytes, with values of 100; default 1000000\n"
    "  -1       each pass in one transaction, not in transactions of 1,000\n"
    "  -p N     passes over all keys; default 10\n"
    "  -t N     passes over the ordinary table, whose file stays as large as it is\n"
    "           from the first on; default 1\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

#define PASS_BOUND 2.5
#define COMPACT_BOUND 1.05

static double table_bytes; /* of the ordinary table's file after its passes */

static void print_head(void)
{
    printf("%-22s %8s %8s  %-22s %5s %9s %8s %9s %8s %12s\n", "after", "log MB",
           "live MB", "log/live (wanted)", "runs", "segments", "left MB", "freelist",
           "file MB", "file/table's");
}

static void print_line(bench *b, const char *what, double bound)
{
    bench_stats stats = bench_ask(b);
    double ratio = (double)stats.log_bytes / (double)stats.live_bytes;
    int64_t unused;
    char verdict[40];

    /* Until then new pages are in the WAL alone, and free ones still in the file. */
    bench_exec(b, "PRAGMA wal_checkpoint(TRUNCATE)");
    unused = bench_number(b, "PRAGMA freelist_count");
    if (b->of->is_litekv) {
        snprintf(verdict, sizeof(verdict), "%.3f (%.2f: %s)", ratio, bound,
                 ratio <= bound ? "ok" : "over");
        printf("%-22s %8.1f %8.1f  %-22s %5lld %9lld %8.1f %9lld %8.1f %12.2f\n", what,
               (double)stats.log_bytes / 1e6, (double)stats.live_bytes / 1e6, verdict,
               (long long)stats.runs, (long long)stats.segments,
               (double)stats.compact_left / 1e6, (long long)unused,
               bench_file_bytes(b) / 1e6, bench_file_bytes(b) / table_bytes);
    } else {
        printf("%-22s %8s %8s  %-22s %5s %9s %8s %9lld %8.1f\n", what, "", "", "", "",
               "", "", (long long)unused, bench_file_bytes(b) / 1e6);
    }
    (void)fflush(stdout);
}

/* Loads, then overwrites `passes` times. */
static void overwrite(bench *b, uint64_t passes, uint64_t batch)
{
    char what[40];
    printf("\n%s\n", b->of->name);
    print_head();
    bench_open(b, 1);
    (void)bench_run(b,
                    (operation){BENCH_INSERT, b->keys, b->keys, bench_in_order, 0, 1});
    print_line(b, "load", PASS_BOUND);
    for (uint64_t pass = 1; pass <= passes; pass++) {
        (void)bench_run(
            b, (operation){BENCH_REPLACE, b->keys, batch, bench_each_once, 0, 1});
        (void)bench_count_rows(b, b->keys);
        snprintf(what, sizeof(what), "pass %llu", (unsigned long long)pass);
        print_line(b, what, PASS_BOUND);
    }
    table_bytes = b->of->is_litekv ? table_bytes : bench_file_bytes(b);
    if (b->of->is_litekv && isnan(bench_compact(b))) {
        printf("%-22s %8s %8s  - (%.2f)\n", "litekv_compact", "-", "-", COMPACT_BOUND);
    } else if (b->of->is_litekv) {
        (void)bench_count_rows(b, b->keys);
        print_line(b, "litekv_compact", COMPACT_BOUND);
    }
    bench_close(b);
}

int main(int argc, char **argv)
{
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 1000000};
    static bench b;
    uint64_t passes = 10, table_passes = 1, batch = 1000;
    int option;

    while ((option = bench_option(&setup, argc, argv, "1p:t:")) != -1) {
        switch (option) {
        case '1':
            batch = 0;
            break;
        case 'p':
            passes = bench_count(optarg, 1, 1000);
            break;
        default:
            table_passes = bench_count(optarg, 1, 1000);
        }
    }
    bench_begin(&setup);
    printf("SQLite %s, %llu keys of %d bytes, values of %d; %s\n", sqlite3_libversion(),
           (unsigned long long)setup.keys, BENCH_KEY_SIZE, BENCH_VALUE_SIZE,
           batch == 0 ? "each pass in one transaction" : "transactions of 1,000");
    batch = batch == 0 ? setup.keys : batch;
    bench_start(&b, &setup, &bench_table);
    overwrite(&b, table_passes, batch);
    bench_start(&b, &setup, &bench_litekv);
    overwrite(&b, passes, batch);
    return 0;
}
