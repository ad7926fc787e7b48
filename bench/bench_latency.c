/*
 * bench_latency.c - how long single commits take: an insert of one row with a random
 * key, each its own transaction.
 *
 * Of the slowest commits it says what they wrote, seen by the VFS: bytes to the
 * database are a checkpoint, many bytes to the WAL are work on the index or the log.
 * litekv then goes through the same commits once more up to the slowest ones, and is
 * asked for its statistics right before and after each: what a commit does is the same
 * in every run, how long the machine made it wait is not. The run that is measured asks
 * for nothing.
 */
#include "bench.h"
#include "vfs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOWEST 5       /* commits that are looked at */
#define TAIL_BOUND 20.0 /* wanted of p99.9 by the median, without checkpoints */

static const char help[] =
    "bench-latency [options]: latency of single-row commits, p50 to the longest\n"
    "\n"
    "  -n N     commits, into a table that is empty at first; default 1000000\n"
    "  -0       PRAGMA wal_autocheckpoint=0 for both: no commit has to checkpoint\n"
    "  -k N     with -0: checkpoints by hand, unmeasured, after every N commits,\n"
    "           because a WAL of gigabytes is slow to search; 0: never; default "
    "100000\n"
    "  -u       the processor's time of each commit, not how long it took: on a "
    "machine\n"
    "           that does other work, what is slow then is the table's own work\n"
    "  -q       no second run of the slowest commits\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

typedef struct commit {
    uint64_t number; /* the first is 0 */
    double seconds;
    vfs_counts wrote;
} commit;

typedef struct outcome {
    float *seconds; /* of each commit */
    commit slowest[SLOWEST];
    double total;
} outcome;

static struct {
    uint64_t checkpoint_every;
    int without_checkpoints, once;
} wish = {.checkpoint_every = 100000};

/* Keeps the slowest commits, the slowest first. */
static void note(outcome *out, const commit *c)
{
    int at = SLOWEST;
    while (at > 0 && c->seconds > out->slowest[at - 1].seconds) {
        at--;
    }
    if (at < SLOWEST) {
        memmove(&out->slowest[at + 1], &out->slowest[at],
                (size_t)(SLOWEST - 1 - at) * sizeof(*c));
        out->slowest[at] = *c;
    }
}

static void start(bench *b, const bench_setup *setup, const engine *of)
{
    bench_start(b, setup, of);
    b->vfs = vfs_register();
    bench_open(b, 1);
    if (wish.without_checkpoints) {
        bench_exec(b, "PRAGMA wal_autocheckpoint=0");
    }
}

static commit insert(bench *b, sqlite3_stmt *statement, uint64_t i)
{
    unsigned char value[BENCH_VALUE_SIZE];
    char key[BENCH_KEY_SIZE];
    commit c = {i, 0, vfs_counted};
    double begun;

    if (wish.without_checkpoints && wish.checkpoint_every > 0 && i > 0 &&
        i % wish.checkpoint_every == 0) {
        /* The first commit to a WAL that starts anew syncs it; it is not measured. */
        bench_exec(b, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA user_version=1");
        c.wrote = vfs_counted;
    }
    bench_key(i, key);
    bench_value(i, value);
    sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, value, sizeof(value), SQLITE_STATIC);
    begun = bench_clock();
    if (sqlite3_step(statement) != SQLITE_DONE ||
        sqlite3_reset(statement) != SQLITE_OK) {
        bench_fail("insert", sqlite3_errmsg(b->db));
    }
    c.seconds = bench_clock() - begun;
    c.wrote = vfs_since(&c.wrote);
    return c;
}

static void measure(const bench_setup *setup, const engine *of, outcome *out)
{
    bench b;
    sqlite3_stmt *statement;

    out->seconds = malloc((size_t)setup->keys * sizeof(*out->seconds));
    if (out->seconds == NULL) {
        bench_fail("memory", "too many commits");
        return;
    }
    /* Touched now, so that no page of it is made inside a measured commit. */
    memset(out->seconds, 1, (size_t)setup->keys * sizeof(*out->seconds));
    start(&b, setup, of);
    statement = bench_prepare(&b, BENCH_INSERT);
    for (uint64_t i = 0; i < setup->keys; i++) {
        commit c = insert(&b, statement, i);
        out->seconds[i] = (float)c.seconds;
        out->total += c.seconds;
        note(out, &c);
    }
    sqlite3_finalize(statement);
    (void)bench_count_rows(&b, setup->keys);
    bench_close(&b);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Microseconds within which `part` of the sorted commits ended. */
static double percentile(const outcome *out, uint64_t count, double part)
{
    uint64_t at = (uint64_t)ceil(part * (double)count);
    return (double)out->seconds[at == 0 ? 0 : at - 1] * 1e6;
}

static void print_commit(const commit *c)
{
    printf(
        "  commit %llu: %.2f ms; wrote %.1f KiB to the WAL, %.1f KiB to the database "
        "(%s), %llu syncs\n",
        (unsigned long long)c->number + 1, c->seconds * 1e3,
        (double)c->wrote.bytes[VFS_WAL] / 1024,
        (double)c->wrote.bytes[VFS_DATABASE] / 1024,
        c->wrote.bytes[VFS_DATABASE] > 0 ? "a checkpoint" : "no checkpoint",
        (unsigned long long)c->wrote.syncs);
}

static int by_number(const void *a, const void *b)
{
    const commit *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static void print_stats(const char *when, const bench_stats *stats)
{
    printf("    %s: %lld runs, %lld segments, compact_left %lld\n", when,
           (long long)stats->runs, (long long)stats->segments,
           (long long)stats->compact_left);
}

/* The same commits once more, up to the last of the slowest. */
static void look_again(const bench_setup *setup, const outcome *out)
{
    commit wanted[SLOWEST];
    sqlite3_stmt *statement;
    uint64_t next = 0;
    bench b;

    memcpy(wanted, out->slowest, sizeof(wanted));
    qsort(wanted, SLOWEST, sizeof(*wanted), by_number);
    start(&b, setup, &bench_litekv);
    statement = bench_prepare(&b, BENCH_INSERT);
    printf("the same commits in a second run, by number\n");
    for (int i = 0; i < SLOWEST; i++) {
        bench_stats before, after;
        commit again;
        while (next < wanted[i].number) {
            (void)insert(&b, statement, next++);
        }
        before = bench_ask(&b);
        again = insert(&b, statement, next++);
        after = bench_ask(&b);
        print_commit(&again);
        print_stats("before", &before);
        print_stats("after", &after);
    }
    sqlite3_finalize(statement);
    bench_close(&b);
}

static void print(const outcome *litekv, const outcome *table, uint64_t count)
{
    static const struct {
        const char *name;
        double part;
    } rows[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"the longest", 1}};
    double middle[2] = {percentile(litekv, count, 0.5), percentile(table, count, 0.5)};
    double tail[2] = {percentile(litekv, count, 0.999),
                      percentile(table, count, 0.999)};

    bench_print_head("single-row commits");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bench_print(rows[i].name, "us", percentile(litekv, count, rows[i].part),
                    percentile(table, count, rows[i].part), 0);
    }
    bench_print("mean", "us", litekv->total * 1e6 / (double)count,
                table->total * 1e6 / (double)count, 0);
    printf("p99.9 by the median: litekv %.1f", tail[0] / middle[0]);
    if (wish.without_checkpoints) {
        printf(" (wanted %.0f: %s)", TAIL_BOUND,
               tail[0] <= middle[0] * TAIL_BOUND ? "ok" : "over");
    }
    printf(", table %.1f\n", tail[1] / middle[1]);
}

static void print_slowest(const char *name, const outcome *out)
{
    printf("slowest commits of %s\n", name);
    for (int i = 0; i < SLOWEST; i++) {
        print_commit(&out->slowest[i]);
    }
}

int main(int argc, char **argv)
{
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 1000000};
    static outcome litekv, table;
    int option;

    while ((option = bench_option(&setup, argc, argv, "0k:uq")) != -1) {
        switch (option) {
        case '0':
            wish.without_checkpoints = 1;
            break;
        case 'k':
            wish.checkpoint_every = bench_count(optarg, 0, 1000000000);
            break;
        case 'u':
            bench_count_processor_time();
            break;
        default:
            wish.once = 1;
        }
    }
    bench_begin(&setup);
    printf("SQLite %s, %llu commits of a row with a key of %d bytes and a value of %d, "
           "WAL, synchronous=NORMAL, wal_autocheckpoint=%s\n",
           sqlite3_libversion(), (unsigned long long)setup.keys, BENCH_KEY_SIZE,
           BENCH_VALUE_SIZE, wish.without_checkpoints ? "0" : "1000 (the default)");
    measure(&setup, &bench_table, &table);
    measure(&setup, &bench_litekv, &litekv);
    qsort(litekv.seconds, (size_t)setup.keys, sizeof(float), by_value);
    qsort(table.seconds, (size_t)setup.keys, sizeof(float), by_value);
    print(&litekv, &table, setup.keys);
    print_slowest("litekv", &litekv);
    print_slowest("the ordinary table", &table);
    (void)fflush(stdout);
    if (!wish.once) {
        look_again(&setup, &litekv);
    }
    free(litekv.seconds);
    free(table.seconds);
    return 0;
}
