/*
 * bench_shared.c - one store outside the database, used by several processes: how soon
 * a value that one has written is read by another, and what a writer and 1, 2 and 4
 * readers do at the same time.
 *
 * Each process has a database of its own in memory, and its table there is attached to
 * the one store. Two processes hand a number to and fro: half of a round is the time
 * from one's commit to the other's read, the waiting included.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROWS_AT_ONCE 1000
#define MOST_READERS 4

static const char help[] =
    "bench-shared [options]: several processes on one store\n"
    "\n"
    "  -n KEYS   in the store; default 100000\n"
    "  -t SEC    seconds for each line; default 3\n"
    "  -r N      rounds of a number between two processes; default 20000\n"
    "  -s PLACE  the store's arguments; default shm='/litekv-bench', and path='...'\n"
    "  -e FILE   the extension; default build/litekv.so\n"
    "  -d DIR    where files go; default: here\n";

typedef struct shared { /* by all processes */
    volatile int stop, ready;
    volatile uint64_t done[MOST_READERS + 1];
} shared;

static bench_setup setup = {.help = help, .keys = 100000};
static shared *board;
static const char *place;

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(sqlite3 *db, int held, const char *what)
{
    if (!held) {
        fprintf(stderr, "bench-shared: %s: %s\n", what, sqlite3_errmsg(db));
        exit(1);
    }
}

static void run(sqlite3 *db, const char *sql)
{
    check(db, sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static sqlite3 *join(void)
{
    sqlite3 *db = NULL;
    char *sql = sqlite3_mprintf(
        "CREATE VIRTUAL TABLE kv USING litekv(key TEXT, value BLOB, %s, sync=normal)",
        place);
    check(db, sqlite3_open(":memory:", &db) == SQLITE_OK, "open");
    check(db,
          sqlite3_enable_load_extension(db, 1) == SQLITE_OK &&
              sqlite3_load_extension(db, setup.extension, NULL, NULL) == SQLITE_OK,
          setup.extension);
    run(db, "PRAGMA busy_timeout=10000");
    run(db, sql);
    sqlite3_free(sql);
    return db;
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    check(db, sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK, sql);
    return stmt;
}

static void put(sqlite3 *db, sqlite3_stmt *stmt, uint64_t i)
{
    unsigned char value[BENCH_VALUE_SIZE];
    char key[BENCH_KEY_SIZE];
    bench_key(i, key);
    bench_value(i, value);
    sqlite3_bind_text(stmt, 1, key, BENCH_KEY_SIZE, SQLITE_STATIC);
    sqlite3_bind_blob(stmt, 2, value, BENCH_VALUE_SIZE, SQLITE_STATIC);
    check(db, sqlite3_step(stmt) == SQLITE_DONE, "insert");
    sqlite3_reset(stmt);
}

static void write_rows(int rows)
{
    sqlite3 *db = join();
    sqlite3_stmt *stmt = prepare(db, BENCH_REPLACE);
    uint64_t i = 0;
    board->ready++;
    while (!board->stop) {
        if (rows > 1) {
            run(db, "BEGIN");
        }
        for (int k = 0; k < rows; k++) {
            put(db, stmt, bench_any(i++, setup.keys));
        }
        if (rows > 1) {
            run(db, "COMMIT");
        }
        board->done[0] += (uint64_t)rows;
    }
    _exit(0);
}

static void read_rows(int reader)
{
    sqlite3 *db = join();
    sqlite3_stmt *stmt = prepare(db, BENCH_SELECT);
    uint64_t i = (uint64_t)reader * 7919;
    board->ready++;
    while (!board->stop) {
        char key[BENCH_KEY_SIZE];
        bench_key(bench_any(i++, setup.keys), key);
        sqlite3_bind_text(stmt, 1, key, BENCH_KEY_SIZE, SQLITE_STATIC);
        check(db, sqlite3_step(stmt) == SQLITE_ROW, "read");
        sqlite3_reset(stmt);
        board->done[reader]++;
    }
    _exit(0);
}

static void load(void)
{
    sqlite3 *db = join();
    sqlite3_stmt *stmt = prepare(db, BENCH_REPLACE);
    run(db, "BEGIN");
    for (uint64_t i = 0; i < setup.keys; i++) {
        put(db, stmt, i);
    }
    run(db, "COMMIT");
    _exit(0);
}

static void start(void (*what)(int), int argument)
{
    fflush(stdout);
    if (fork() == 0) {
        what(argument);
    }
}

static void wait_for(int count)
{
    int status = 0;
    while (count-- > 0) {
        if (wait(&status) < 0 || status != 0) {
            fprintf(stderr, "bench-shared: a process failed\n");
            exit(1);
        }
    }
}

static void load_one(int ignored)
{
    (void)ignored;
    load();
}

static void line(const char *what, int rows, int readers, unsigned seconds)
{
    uint64_t read = 0;
    double began;
    memset(board, 0, sizeof(*board));
    start(write_rows, rows);
    for (int i = 1; i <= readers; i++) {
        start(read_rows, i);
    }
    while (board->ready < readers + 1) {
        usleep(1000);
    }
    for (int i = 0; i <= readers; i++) {
        board->done[i] = 0;
    }
    began = now();
    sleep(seconds);
    board->stop = 1;
    began = now() - began;
    wait_for(readers + 1);
    for (int i = 1; i <= readers; i++) {
        read += board->done[i];
    }
    printf("  %-24s %d reader%s %12.0f rows/s written %12.0f rows/s read\n", what,
           readers, readers == 1 ? " " : "s", (double)board->done[0] / began,
           (double)read / began);
}

/* Waits for its turn in a number that the two hand to each other. */
static void hand_over(int odd)
{
    sqlite3 *db = join();
    sqlite3_stmt *get = prepare(db, "SELECT value FROM kv WHERE key='turn'");
    sqlite3_stmt *set = prepare(db, "INSERT OR REPLACE INTO kv VALUES('turn', ?1)");
    int64_t rounds = (int64_t)board->done[0], turn = 0;
    while (turn < rounds) {
        turn = sqlite3_step(get) == SQLITE_ROW ? sqlite3_column_int64(get, 0) : 0;
        sqlite3_reset(get);
        if (turn < rounds && turn % 2 == odd) {
            sqlite3_bind_int64(set, 1, turn + 1);
            check(db, sqlite3_step(set) == SQLITE_DONE, "hand over");
            sqlite3_reset(set);
        }
    }
    _exit(0);
}

static void measure(uint64_t rounds, unsigned seconds)
{
    double began;
    printf("%s, sync=normal, %llu keys\n", place, (unsigned long long)setup.keys);
    start(load_one, 0);
    wait_for(1);
    memset(board, 0, sizeof(*board));
    board->done[0] = rounds;
    began = now();
    start(hand_over, 0);
    start(hand_over, 1);
    wait_for(2);
    printf("  from a commit to its read by another process: %.1f us\n",
           (now() - began) / (double)rounds * 1e6);
    for (int readers = 1; readers <= MOST_READERS; readers *= 2) {
        line("transactions of 1,000,", ROWS_AT_ONCE, readers, seconds);
    }
    for (int readers = 1; readers <= MOST_READERS; readers *= 2) {
        line("single rows,", 1, readers, seconds);
    }
}

static void remove_store(const char *name)
{
    sqlite3 *db = NULL;
    char *sql = sqlite3_mprintf("SELECT litekv_remove(%Q)", name);
    if (sqlite3_open(":memory:", &db) == SQLITE_OK) {
        sqlite3_enable_load_extension(db, 1);
        if (sqlite3_load_extension(db, setup.extension, NULL, NULL) == SQLITE_OK) {
            (void)sqlite3_exec(db, sql, NULL, NULL, NULL);
        }
    }
    sqlite3_close(db);
    sqlite3_free(sql);
}

int main(int argc, char **argv)
{
    uint64_t rounds = 20000, seconds = 3;
    char path[600];
    int option;

    while ((option = bench_option(&setup, argc, argv, "t:r:s:")) != -1) {
        if (option == 't') {
            seconds = bench_count(optarg, 1, 600);
        } else if (option == 'r') {
            rounds = bench_count(optarg, 2, 100000000);
        } else {
            place = optarg;
        }
    }
    bench_begin(&setup);
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("bench-shared");
        return 1;
    }
    if (place != NULL) {
        measure(rounds, (unsigned)seconds);
        return 0;
    }
    remove_store("shm:/litekv-bench");
    place = "shm='/litekv-bench'";
    measure(rounds, (unsigned)seconds);
    remove_store("shm:/litekv-bench");
    {
        char *real = realpath(setup.directory, NULL);
        snprintf(path, sizeof(path), "path='%s/shared.litekv'",
                 real == NULL ? setup.directory : real);
        free(real);
    }
    place = path;
    measure(rounds, (unsigned)seconds);
    return 0;
}
