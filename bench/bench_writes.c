/*
 * bench_writes.c - write amplification: bytes that SQLite hands to the system for each
 * byte of keys and values that a user hands to SQLite.
 *
 * Each phase ends in a checkpoint, so that what it put into the WAL is also counted
 * where it ends up. Nothing here is a time: the figures are the same in every run.
 */
#include "bench.h"
#include "vfs.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#define ROW ((double)(BENCH_KEY_SIZE + BENCH_VALUE_SIZE))

static const char help[] =
    "bench-writes [options]: bytes written for each byte of keys and values, counted\n"
    "in the VFS: inserts of random keys, then overwrites of random keys, then a mix "
    "of\n"
    "two overwrites, one insert and one delete\n"
    "\n"
    "  -n KEYS  of 16 bytes, with values of 100, and as many operations of each "
    "phase;\n"
    "           default 200000\n"
    "  -b N     operations in a transaction; default 1000\n"
    "  -s N     fills the ordinary table in an order that costs a minute and not half\n"
    "           an hour, and has N operations of each phase on it; default: as many "
    "as\n"
    "           keys, from 3,000,000 keys on 100,000\n"
    "  -j MODE  the journal mode: wal (the default), delete, truncate or persist\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

enum phase { INSERTS, OVERWRITES, MIX, COMPACTION, PHASES };

static const char *const phases[PHASES] = {"inserts", "overwrites", "mix",
                                           "litekv_compact at the end, a live byte"};
static const char *const files[VFS_KINDS] = {"database", "WAL", "journal", "other"};

static uint64_t batch = 1000;
static uint64_t sample;
static const char *journal;
static double written[2][PHASES][VFS_KINDS]; /* NAN: no such phase */

/* Four operations in turn; the bytes of keys and values that they give. */
static double mix(bench *b, uint64_t count)
{
    const operation each[] = {{BENCH_REPLACE, 0, 0, bench_any, 0, 1},
                              {BENCH_REPLACE, 0, 0, bench_any, 0, 1},
                              {BENCH_INSERT, 0, 0, bench_absent, 0, 1},
                              {BENCH_DELETE, 0, 0, bench_each_once, 0, 0}};
    sqlite3_stmt *statements[4];
    double given = 0;

    for (int k = 0; k < 4; k++) {
        statements[k] = bench_prepare(b, each[k].sql);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (i % batch == 0) {
            bench_exec(b, i == 0 ? "BEGIN" : "COMMIT; BEGIN");
        }
        bench_run_one(b, statements[i % 4], &each[i % 4], i % 4 < 2 ? i : i / 4);
        given += each[i % 4].has_value ? ROW : BENCH_KEY_SIZE;
    }
    bench_exec(b, "COMMIT");
    for (int k = 0; k < 4; k++) {
        sqlite3_finalize(statements[k]);
    }
    return given;
}

static int is_sampled(const bench *b)
{
    return sample > 0 && !b->of->is_litekv;
}

/* The bytes of keys and values that it gives. */
static double run_phase(bench *b, enum phase phase)
{
    uint64_t count = is_sampled(b) ? sample : b->keys;
    operation insert = {BENCH_INSERT, count, batch, bench_in_order, 0, 1};
    const operation overwrite = {BENCH_REPLACE, count, batch, bench_any, 0, 1};
    switch (phase) {
    case INSERTS:
        insert.pick = is_sampled(b) ? bench_new : bench_in_order;
        (void)bench_run(b, insert);
        return (double)count * ROW;
    case OVERWRITES:
        (void)bench_run(b, overwrite);
        return (double)count * ROW;
    case MIX:
        return mix(b, count);
    case COMPACTION:
        return isnan(bench_compact(b))
                   ? NAN
                   : (double)bench_number(b, "SELECT count(*) FROM kv") * ROW;
    case PHASES:
        break;
    }
    return NAN;
}

static void measure(const bench_setup *setup, int at)
{
    bench b;
    bench_start(&b, setup, at == 0 ? &bench_litekv : &bench_table);
    b.vfs = vfs_register();
    b.journal = journal;
    bench_open(&b, 1);
    if (is_sampled(&b)) {
        (void)bench_load(&b);
        bench_exec(&b, "PRAGMA wal_checkpoint(TRUNCATE)");
    }
    for (int phase = 0; phase < PHASES; phase++) {
        vfs_counts counts = vfs_counted;
        double given = run_phase(&b, (enum phase)phase);
        bench_exec(&b, "PRAGMA wal_checkpoint(TRUNCATE)");
        counts = vfs_since(&counts);
        for (int kind = 0; kind < VFS_KINDS; kind++) {
            written[at][phase][kind] = (double)counts.bytes[kind] / given;
        }
    }
    bench_close(&b);
}

static void print(void)
{
    bench_print_head("bytes written for each byte of keys and values");
    for (int phase = 0; phase < PHASES; phase++) {
        double all[2] = {0, 0};
        char name[80];
        for (int kind = 0; kind < VFS_KINDS; kind++) {
            const double *litekv = &written[0][phase][kind];
            const double *table = &written[1][phase][kind];
            all[0] += *litekv;
            all[1] += *table;
            if (*litekv > 0 || *table > 0) {
                snprintf(name, sizeof(name), "%s: %s", phases[phase], files[kind]);
                bench_print(name, "", *litekv, *table, 0);
            }
        }
        snprintf(name, sizeof(name), "%s: all", phases[phase]);
        bench_print(name, "", all[0], all[1], 0);
    }
}

int main(int argc, char **argv)
{
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 200000};
    int option;

    while ((option = bench_option(&setup, argc, argv, "b:j:s:")) != -1) {
        if (option == 'b') {
            batch = bench_count(optarg, 1, 1000000000);
        } else if (option == 's') {
            sample = bench_count(optarg, 1000, 1000000000);
        } else {
            journal = optarg;
        }
    }
    if (setup.keys >= 3000000 && sample == 0) {
        sample = 100000;
    }
    bench_begin(&setup);
    if (sample > 0) {
        printf("the ordinary table: %llu operations of each phase on a full table\n",
               (unsigned long long)sample);
    }
    printf("SQLite %s, %llu keys, transactions of %llu, page size 4096, "
           "journal_mode=%s\n",
           sqlite3_libversion(), (unsigned long long)setup.keys,
           (unsigned long long)batch, journal == NULL ? "wal" : journal);
    measure(&setup, 0);
    measure(&setup, 1);
    print();
    return 0;
}
