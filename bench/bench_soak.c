/*
 * bench_soak.c - a mixed load for as long as one likes, to see what does not show in a
 * minute: memory or files that grow, commits that get slower and slower.
 *
 * The load is single statements and transactions, of which some are rolled back:
 * inserts, overwrites, deletes, reads by key, and ranges. Keys are of a bounded set, of
 * which three quarters are in the table once it has settled, and values are of two
 * sizes, so that nothing has a reason to grow from then on. What the table must hold is
 * kept beside it: every row that is read is checked, and all of them at the end.
 *
 * Latencies go into a histogram of fixed size, because the program's memory is one of
 * its figures.
 */
#include "bench.h"
#include "process.h"
#include "vfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "bench-soak [options]: a mixed load on a table whose size levels off; prints for\n"
    "every interval what it did, how long statements took, memory and sizes\n"
    "\n"
    "  -t N     seconds; default 60\n"
    "  -i N     seconds in an interval; default a twentieth of -t\n"
    "  -n KEYS  that there can be, of 16 bytes; default 300000, at most 134217728\n"
    "  -s SEED  of the random choices; default 1\n"
    "  -2       reads that are no part of a transaction come from a second connection\n"
    "  -T       the ordinary table instead of litekv's\n"
    "  -o ARGS  more arguments for litekv's table, as in path=kv,sync=normal\n"
    "  -e FILE  the extension; default build/litekv.so\n"
    "  -d DIR   where the database goes; default: here\n";

/*
 * How long statements took
 */

enum kind { READ, RANGE, WRITE, SINGLE, COMMIT, ROLLBACK, KINDS };

static const char *const kinds[KINDS] = {
    "read by key", "100 rows in order", "write in a transaction", "single write",
    "commit",      "rollback"};

/* A bucket has the nanoseconds with the same highest bit and the same 4 bits below it,
 * so that what is printed is at most a sixteenth more than what was measured. */
#define STEPS 16
#define BUCKETS (64 * STEPS)

typedef struct times {
    uint64_t counts[BUCKETS];
    uint64_t count;
    double longest; /* seconds */
} times;

static void note_time(times *of, double seconds)
{
    uint64_t ns = (uint64_t)(seconds * 1e9);
    unsigned shift = 0;
    while (ns >> shift >= 2 * STEPS) {
        shift++;
    }
    of->counts[shift * STEPS + (ns >> shift)]++;
    of->count++;
    of->longest = seconds > of->longest ? seconds : of->longest;
}

static void add_times(times *to, const times *from)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        to->counts[i] += from->counts[i];
    }
    to->count += from->count;
    to->longest = from->longest > to->longest ? from->longest : to->longest;
}

/* Microseconds within which `part` of them ended. */
static double percentile(const times *of, double part)
{
    uint64_t wanted = (uint64_t)((double)of->count * part), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        unsigned shift = i < 2 * STEPS ? 0 : i / STEPS - 1;
        seen += of->counts[i];
        if (seen > wanted) {
            return (double)((uint64_t)(i - shift * STEPS + 1) << shift) / 1e3;
        }
    }
    return of->longest * 1e6;
}

/*
 * What the table must hold
 */

#define KEY_BITS 27
#define LONG_VALUE (50 * BENCH_VALUE_SIZE)
#define MOST_IN_TRANSACTION 400

typedef struct change {
    uint32_t key, version; /* which it had before */
} change;

typedef struct soak {
    bench writer, reader; /* one connection, or with -2 two */
    sqlite3_stmt *insert, *replace, *update, *delete_one, *read, *read_in, *range,
        *begin, *commit, *rollback;
    uint32_t *versions; /* of each key; odd: it is in the table */
    uint64_t random;
    uint64_t live;
    change changes[MOST_IN_TRANSACTION]; /* of the transaction that is open */
    int changed;
    times interval[KINDS], all[KINDS];
    uint64_t wrote_most; /* bytes that SQLite wrote for one transaction; an interval */
} soak;

static uint64_t next_random(soak *s, uint64_t below)
{
    /* xorshift64* (Vigna, 2016) */
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return (s->random * 0x2545f4914f6cdd1du >> 16) % below;
}

/* The value of a version of a key names both; one in 64 is long. Its size. */
static int make_value(uint32_t key, uint32_t version, unsigned char *value)
{
    uint64_t name = (uint64_t)version << KEY_BITS | key;
    int size = BENCH_VALUE_SIZE;
    bench_value(name, value);
    if (value[BENCH_VALUE_SIZE - 1] % 64 == 0) {
        while (size < LONG_VALUE) {
            memcpy(value + size, value, BENCH_VALUE_SIZE);
            size += BENCH_VALUE_SIZE;
        }
    }
    memcpy(value, &name, sizeof(name));
    return size;
}

static void set_version(soak *s, uint32_t key, uint32_t version)
{
    s->live += version % 2;
    s->live -= s->versions[key] % 2;
    s->versions[key] = version;
}

/*
 * Statements
 */

static void bind_key(sqlite3_stmt *statement, uint32_t key, char *text)
{
    bench_key(key, text);
    sqlite3_bind_text(statement, 1, text, BENCH_KEY_SIZE, SQLITE_STATIC);
}

/* Runs a statement that gives no row. */
static void step(const soak *s, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE ||
        sqlite3_reset(statement) != SQLITE_OK) {
        bench_fail(sqlite3_sql(statement), sqlite3_errmsg(s->writer.db));
    }
}

static void run(soak *s, sqlite3_stmt *statement, enum kind kind)
{
    double begun = bench_clock();
    step(s, statement);
    note_time(&s->interval[kind], bench_clock() - begun);
}

static void write_one(soak *s, enum kind kind)
{
    uint32_t key = (uint32_t)next_random(s, s->writer.keys);
    uint32_t old = s->versions[key], version = old + 1;
    sqlite3_stmt *statement = next_random(s, 2) == 0 ? s->replace : s->insert;
    unsigned char value[LONG_VALUE];
    char text[BENCH_KEY_SIZE];

    if (old % 2 != 0) {
        statement = next_random(s, 3) == 0   ? s->delete_one
                    : next_random(s, 3) == 0 ? s->update
                                             : s->replace;
        version += statement != s->delete_one;
    }
    bind_key(statement, key, text);
    if (statement != s->delete_one) {
        int size = make_value(key, version, value);
        sqlite3_bind_blob(statement, 2, value, size, SQLITE_STATIC);
    }
    run(s, statement, kind);
    if (sqlite3_changes(s->writer.db) != 1) {
        bench_fail(sqlite3_sql(statement), "it did not change one row");
    }
    if (kind == WRITE) {
        s->changes[s->changed++] = (change){key, old};
    }
    set_version(s, key, version);
}

/* The row that `statement` is on: its key and value must be of the newest version. */
static void check_row(const soak *s, sqlite3_stmt *statement)
{
    const void *key = sqlite3_column_blob(statement, 0);
    const void *value = sqlite3_column_blob(statement, 1);
    int size = sqlite3_column_bytes(statement, 1);
    unsigned char wanted[LONG_VALUE];
    char text[BENCH_KEY_SIZE];
    uint64_t name = 0;
    uint32_t number;

    if (value != NULL && size >= BENCH_VALUE_SIZE) {
        memcpy(&name, value, sizeof(name));
    }
    number = (uint32_t)(name % (1u << KEY_BITS));
    if (number >= s->writer.keys || s->versions[number] != name >> KEY_BITS ||
        s->versions[number] % 2 == 0) {
        bench_fail(sqlite3_sql(statement), "a value is not the newest of its key");
    }
    bench_key(number, text);
    if (key == NULL || sqlite3_column_bytes(statement, 0) != BENCH_KEY_SIZE ||
        memcmp(key, text, sizeof(text)) != 0) {
        bench_fail(sqlite3_sql(statement), "a value is at another key than its own");
    }
    if (value == NULL ||
        make_value(number, (uint32_t)(name >> KEY_BITS), wanted) != size ||
        memcmp(value, wanted, (size_t)size) != 0) {
        bench_fail(sqlite3_sql(statement), "a value has other bytes than were written");
    }
}

/* Steps through, in key order; how many rows there were. Takes the time without what
 * checking them takes. */
static uint64_t read_rows(soak *s, sqlite3_stmt *statement, enum kind kind)
{
    char last[BENCH_KEY_SIZE] = {0};
    uint64_t rows = 0;
    double begun = bench_clock(), took;
    int rc = sqlite3_step(statement);

    took = bench_clock() - begun;
    while (rc == SQLITE_ROW) {
        check_row(s, statement);
        if (memcmp(sqlite3_column_blob(statement, 0), last, sizeof(last)) <= 0) {
            bench_fail(sqlite3_sql(statement), "rows are not in the order of the key");
        }
        memcpy(last, sqlite3_column_blob(statement, 0), sizeof(last));
        rows++;
        begun = bench_clock();
        rc = sqlite3_step(statement);
        took += bench_clock() - begun;
    }
    if (sqlite3_reset(statement) != SQLITE_OK) {
        bench_fail(sqlite3_sql(statement),
                   sqlite3_errmsg(sqlite3_db_handle(statement)));
    }
    note_time(&s->interval[kind], took);
    return rows;
}

static void read_one(soak *s, sqlite3_stmt *statement)
{
    uint32_t key = (uint32_t)next_random(s, s->writer.keys);
    char text[BENCH_KEY_SIZE];
    bind_key(statement, key, text);
    if (read_rows(s, statement, READ) != s->versions[key] % 2) {
        bench_fail(sqlite3_sql(statement), "a row is missing, or is there and deleted");
    }
}

static void read_range(soak *s)
{
    char text[BENCH_KEY_SIZE];
    bind_key(s->range, (uint32_t)next_random(s, s->writer.keys), text);
    (void)read_rows(s, s->range, RANGE);
}

static void transact(soak *s)
{
    uint64_t count = 2 + next_random(s, MOST_IN_TRANSACTION - 2);
    s->changed = 0;
    step(s, s->begin);
    while (count-- > 0) {
        if (next_random(s, 2) == 0) {
            read_one(s, s->read_in);
        } else {
            write_one(s, WRITE);
        }
    }
    if (next_random(s, 10) != 0) {
        run(s, s->commit, COMMIT);
        return;
    }
    run(s, s->rollback, ROLLBACK);
    while (s->changed > 0) {
        change *back = &s->changes[--s->changed];
        set_version(s, back->key, back->version);
    }
}

/* One statement by itself, or one transaction. */
static void work(soak *s)
{
    uint64_t choice = next_random(s, 100), wrote = 0;
    vfs_counts before = vfs_counted;
    if (choice < 45) {
        read_one(s, s->read);
    } else if (choice < 50) {
        read_range(s);
    } else if (choice < 95) {
        write_one(s, SINGLE);
    } else {
        transact(s);
    }
    before = vfs_since(&before);
    for (int kind = 0; kind < VFS_KINDS; kind++) {
        wrote += kind == VFS_DATABASE ? 0 : before.bytes[kind];
    }
    s->wrote_most = wrote > s->wrote_most ? wrote : s->wrote_most;
}

/*
 * Begin and end
 */

static void prepare(soak *s)
{
    static const char read[] = "SELECT key, value FROM kv WHERE key=?1";
    s->insert = bench_prepare(&s->writer, BENCH_INSERT);
    s->replace = bench_prepare(&s->writer, BENCH_REPLACE);
    s->update = bench_prepare(&s->writer, "UPDATE kv SET value=?2 WHERE key=?1");
    s->delete_one = bench_prepare(&s->writer, BENCH_DELETE);
    s->read_in = bench_prepare(&s->writer, read);
    s->read = bench_prepare(&s->reader, read);
    s->range = bench_prepare(
        &s->reader, "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key LIMIT 100");
    s->begin = bench_prepare(&s->writer, "BEGIN");
    s->commit = bench_prepare(&s->writer, "COMMIT");
    s->rollback = bench_prepare(&s->writer, "ROLLBACK");
}

static void finalize(soak *s)
{
    sqlite3_stmt *all[] = {s->insert,  s->replace, s->update, s->delete_one,
                           s->read_in, s->read,    s->range,  s->begin,
                           s->commit,  s->rollback};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sqlite3_finalize(all[i]);
    }
}

static void check_all(soak *s)
{
    sqlite3_stmt *statement =
        bench_prepare(&s->reader, "SELECT key, value FROM kv ORDER BY key");
    uint64_t rows = read_rows(s, statement, RANGE);
    sqlite3_finalize(statement);
    if (rows != s->live) {
        bench_fail("the end", "there are more or fewer rows than were written");
    }
    printf("checked: all %llu rows are what was written", (unsigned long long)rows);
    if (s->writer.of->is_litekv) {
        if (bench_number(&s->writer, "SELECT litekv_verify('kv') = 'ok'") != 1) {
            bench_fail("the end", "litekv_verify() finds a problem");
        }
        printf("; litekv_verify() says ok");
    }
    printf("\n");
}

/*
 * Figures
 */

#define QUARTERS 4

/* Of each quarter of the run the most that was seen at the end of an interval. */
typedef struct most {
    double private_mib, log_mb, file_mb;
} most;

static void keep_most(double *so_far, double seen)
{
    *so_far = seen > *so_far ? seen : *so_far;
}

static double wal_bytes(const bench *b)
{
    char path[sizeof(b->path) + 4];
    struct stat info;
    snprintf(path, sizeof(path), "%s-wal", b->path);
    return stat(path, &info) == 0 ? (double)info.st_size : 0;
}

static void print_interval(soak *s, double at, double took, most *seen)
{
    bench_stats stats = bench_ask(&s->writer);
    bench_pages pages = bench_read_pages();
    double file = bench_file_bytes(&s->writer) / 1e6;
    double log = stats.log_bytes < 0 ? 0 : (double)stats.log_bytes / 1e6;
    double live = stats.live_bytes < 0 ? 0 : (double)stats.live_bytes / 1e6;
    static times together;

    memset(&together, 0, sizeof(together));
    for (int i = 0; i < KINDS; i++) {
        add_times(&together, &s->interval[i]);
        add_times(&s->all[i], &s->interval[i]);
    }
    printf("%7.0f %8.0f %7.1f %7.1f %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f %5lld %8.1f "
           "%7.1f %8.2f %8llu\n",
           at, (double)together.count / took, percentile(&together, 0.5),
           percentile(&together, 0.99), percentile(&together, 0.999),
           together.longest * 1e3, pages.anonymous / 1024,
           (pages.rss - pages.anonymous) / 1024, log, live, (long long)stats.runs, file,
           wal_bytes(&s->writer) / 1e6, (double)s->wrote_most / 1e6,
           (unsigned long long)s->live);
    (void)fflush(stdout);
    memset(s->interval, 0, sizeof(s->interval));
    s->wrote_most = 0;
    keep_most(&seen->private_mib, pages.anonymous / 1024);
    keep_most(&seen->log_mb, log);
    keep_most(&seen->file_mb, file);
}

static void print_end(const soak *s, const most *quarters)
{
    printf("\n%-24s %12s %9s %9s %9s %9s\n", "of the whole run", "statements", "p50 us",
           "p99 us", "p99.9 us", "max ms");
    for (int i = 0; i < KINDS; i++) {
        const times *of = &s->all[i];
        printf("%-24s %12llu %9.1f %9.1f %9.1f %9.1f\n", kinds[i],
               (unsigned long long)of->count, percentile(of, 0.5), percentile(of, 0.99),
               percentile(of, 0.999), of->longest * 1e3);
    }
    printf("\n%-24s %12s %9s %9s\n", "the most in a quarter", "private MiB", "log MB",
           "file MB");
    for (int i = 0; i < QUARTERS; i++) {
        printf("%-24d %12.1f %9.1f %9.1f\n", i + 1, quarters[i].private_mib,
               quarters[i].log_mb, quarters[i].file_mb);
    }
}

static void soak_for(soak *s, uint64_t seconds, uint64_t interval)
{
    double start = bench_now(), last = start;
    most quarters[QUARTERS] = {{0, 0, 0}};

    printf("%7s %8s %7s %7s %8s %8s %8s %8s %8s %8s %5s %8s %7s %8s %8s\n", "seconds",
           "each s", "p50 us", "p99 us", "p99.9 us", "max ms", "private", "mapped",
           "log MB", "live MB", "runs", "file MB", "WAL MB", "wrote MB", "rows");
    while (last - start < (double)seconds) {
        double now = bench_now();
        if (now - last < (double)interval) {
            work(s);
        } else {
            uint64_t quarter = (uint64_t)((last - start) * QUARTERS / (double)seconds);
            print_interval(s, now - start, now - last, &quarters[quarter]);
            last = bench_now();
        }
    }
    print_end(s, quarters);
}

int main(int argc, char **argv)
{
    static bench_setup setup = {
        .help = help, .extension = "build/litekv.so", .keys = 300000};
    static soak s;
    uint64_t seconds = 60, interval = 0, seed = 1;
    int option, two = 0;
    const engine *of = &bench_litekv;

    while ((option = bench_option(&setup, argc, argv, "2Ti:s:t:")) != -1) {
        switch (option) {
        case '2':
            two = 1;
            break;
        case 'T':
            of = &bench_table;
            break;
        case 'i':
            interval = bench_count(optarg, 1, 1000000);
            break;
        case 's':
            seed = bench_count(optarg, 1, UINT64_MAX);
            break;
        default:
            seconds = bench_count(optarg, 1, 100000000);
        }
    }
    if (setup.keys > 1u << KEY_BITS) {
        bench_fail("-n", "at most 134217728 keys");
    }
    if (two && setup.arguments != NULL && strstr(setup.arguments, "memory") != NULL) {
        bench_fail("-2", "rows in memory are those of one connection");
    }
    interval = interval == 0 ? (seconds + 19) / 20 : interval;
    s.versions = calloc((size_t)setup.keys, sizeof(*s.versions));
    if (s.versions == NULL) {
        bench_fail("memory", "too many keys");
    }
    s.random = seed;
    bench_begin(&setup);
    bench_start(&s.writer, &setup, of);
    s.writer.vfs = vfs_register();
    bench_open(&s.writer, 1);
    s.reader = s.writer;
    if (two) {
        bench_open(&s.reader, 0);
    }
    printf("SQLite %s, %s%s%s, %llu keys of %d bytes, values of %d and %d, WAL, "
           "synchronous=NORMAL, seed %llu\n",
           sqlite3_libversion(), of->name, setup.arguments == NULL ? "" : " with ",
           setup.arguments == NULL ? "" : setup.arguments,
           (unsigned long long)setup.keys, BENCH_KEY_SIZE, BENCH_VALUE_SIZE, LONG_VALUE,
           (unsigned long long)seed);
    prepare(&s);
    soak_for(&s, seconds, interval);
    check_all(&s);
    finalize(&s);
    if (two) {
        bench_close(&s.reader);
    }
    bench_close(&s.writer);
    free(s.versions);
    return 0;
}
