/*
 * bench.c - compares litekv with the ordinary table, and prints medians and ratios.
 *
 *   bench [-e litekv.so] [-n keys] [-r rounds] [-d directory] [-a]
 *
 * Each engine gets a fresh file, in turn; which goes first changes from round to round.
 * -a runs the table with a rowid as a third engine. The ratio is litekv's figure by the
 * ordinary table's; beside it stands the bound that it is held to.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_ROUNDS 25

static const struct {
    const char *name, *unit;
    double bound; /* on the ratio; 0: none */
} workloads[WORKLOADS] = {
    [INSERT_1000] = {"random insert, transactions of 1,000", "us", 1.0 / 6},
    [INSERT_ONE] = {"random insert, one transaction", "us", 1.0 / 3},
    [OVERWRITE_1000] = {"overwrite (OR REPLACE), transactions of 1,000", "us", 1.0 / 6},
    [UPDATE_1000] = {"overwrite (UPDATE), transactions of 1,000", "us", 0},
    [DELETE_1000] = {"delete, transactions of 1,000", "us", 1.0 / 6},
    [READ_HIT] = {"point read, hit", "us", 0.75},
    [READ_MISS] = {"point read, miss", "us", 0.75},
    [COUNT] = {"count(*), a row", "us", 1.0},
    [SCAN] = {"scan in key order, a row", "us", 2.0},
    [SCAN_KEYS] = {"scan of keys alone, a row", "us", 0},
    [INSERT_AUTO] = {"single-row autocommit insert", "us", 0.6},
    [READ_AUTO] = {"autocommit point read", "us", 0.75},
    [OPEN_WARM] = {"open to the first row, warm", "ms", 0},
    [OPEN_COLD] = {"open to the first row, cold", "ms", 0},
    [MEMORY] = {"private memory after 100,000 reads", "KiB", 0},
    [SIZE] = {"size of the files", "MB", 0},
};

static engine engines[] = {
    {"litekv", "CREATE VIRTUAL TABLE kv USING litekv(key TEXT, value BLOB)", NULL},
    {"table",
     "CREATE TABLE kv(key TEXT PRIMARY KEY NOT NULL, value BLOB) WITHOUT ROWID", NULL},
    {"rowid table", "CREATE TABLE kv(key TEXT PRIMARY KEY, value BLOB)", NULL},
};

static double figures[3][WORKLOADS][MOST_ROUNDS];

static void remove_files(const bench *b)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char path[600];
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s%s", b->path, suffixes[i]);
        (void)unlink(path);
    }
}

static void drop_from_memory(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        (void)fdatasync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
    }
}

/* Runs in a process of its own: opens, finds a first row, then reads on. */
static void in_new_process(bench *b, double *seconds, double *kib)
{
    int channel[2];
    double found[2];
    pid_t child;
    if (pipe(channel) != 0 || (child = fork()) < 0) {
        bench_fail("fork", "no process");
    }
    if (child == 0) {
        sqlite3_stmt *statement;
        char key[16];
        found[0] = bench_first_row(b);
        if (sqlite3_prepare_v2(b->db, "SELECT value FROM kv WHERE key=?1", -1,
                               &statement, NULL) != SQLITE_OK) {
            bench_fail("memory", sqlite3_errmsg(b->db));
        }
        for (uint64_t i = 0; kib != NULL && i < 100000; i++) {
            bench_key(i * 7919 % b->keys, key);
            sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
            (void)sqlite3_step(statement);
            sqlite3_reset(statement);
        }
        found[1] = bench_private_kib();
        _exit(write(channel[1], found, sizeof(found)) != sizeof(found));
    }
    close(channel[1]);
    if (read(channel[0], found, sizeof(found)) != sizeof(found)) {
        bench_fail("new process", "it gave no figures");
    }
    close(channel[0]);
    (void)waitpid(child, NULL, 0);
    *seconds = found[0];
    if (kib != NULL) {
        *kib = found[1];
    }
}

static void measure_opening(bench *b)
{
    struct stat info;
    double seconds;
    in_new_process(b, &seconds, NULL);
    in_new_process(b, &seconds, &b->result[MEMORY]);
    b->result[OPEN_WARM] = seconds * 1e3;
    drop_from_memory(b->path);
    in_new_process(b, &seconds, NULL);
    b->result[OPEN_COLD] = seconds * 1e3;
    if (stat(b->path, &info) == 0) {
        b->result[SIZE] = (double)info.st_size / 1e6;
    }
}

static void one_round(bench *b)
{
    remove_files(b);
    bench_scene_random(b);
    remove_files(b);
    bench_scene_one(b);
    measure_opening(b);
    remove_files(b);
    bench_scene_ordered(b);
    remove_files(b);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *of, int count)
{
    qsort(of, (size_t)count, sizeof(*of), by_value);
    return count % 2 == 1 ? of[count / 2] : (of[count / 2 - 1] + of[count / 2]) / 2;
}

static void print(int rounds, int used)
{
    printf("%-46s %10s %10s %5s  %s\n", "", "litekv", "table", "", "ratio (wanted)");
    for (int w = 0; w < WORKLOADS; w++) {
        double first, second;
        if (workloads[w].name == NULL) {
            continue;
        }
        first = median(figures[0][w], rounds);
        second = median(figures[1][w], rounds);
        printf("%-46s %10.2f %10.2f %5s  %.3f", workloads[w].name, first, second,
               workloads[w].unit, first / second);
        if (workloads[w].bound > 0) {
            printf(" (%.3f: %s)", workloads[w].bound,
                   first / second <= workloads[w].bound ? "ok" : "over");
        }
        if (used == 3) {
            printf("  rowid table %.2f", median(figures[2][w], rounds));
        }
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    static bench b;
    uint64_t keys = 200000;
    int rounds = 3, used = 2, option;
    char directory[400] = "bench.XXXXXX";

    engines[0].extension = "build/litekv.so";
    while ((option = getopt(argc, argv, "e:n:r:d:a")) != -1) {
        switch (option) {
        case 'e':
            engines[0].extension = optarg;
            break;
        case 'n':
            keys = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            rounds = atoi(optarg);
            break;
        case 'd':
            snprintf(directory, sizeof(directory), "%s/bench.XXXXXX", optarg);
            break;
        case 'a':
            used = 3;
            break;
        default:
            bench_fail("usage",
                       "bench [-e litekv.so] [-n keys] [-r rounds] [-d dir] [-a]");
        }
    }
    if (keys < 1000 || rounds < 1 || rounds > MOST_ROUNDS ||
        mkdtemp(directory) == NULL) {
        bench_fail("options", "1,000 keys, 1 to 25 rounds and a writable directory");
    }
    printf("SQLite %s, %llu keys of 16 bytes, values of 100, page size 4096, WAL, "
           "synchronous=NORMAL, %d rounds, medians\n",
           sqlite3_libversion(), (unsigned long long)keys, rounds);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < used; i++) {
            int at = round % 2 == 0 ? i : used - 1 - i;
            memset(&b, 0, sizeof(b));
            b.of = &engines[at];
            b.keys = keys;
            b.changes = keys / 4;
            snprintf(b.path, sizeof(b.path), "%s/kv.db", directory);
            one_round(&b);
            for (int w = 0; w < WORKLOADS; w++) {
                figures[at][w][round] = b.result[w];
            }
            fprintf(stderr, "round %d of %d: %s done\n", round + 1, rounds, b.of->name);
        }
    }
    (void)rmdir(directory);
    print(rounds, used);
    return 0;
}
