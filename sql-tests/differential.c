/*
 * differential.c - random SQL on litekv tables and on ordinary tables beside them; what
 * can be seen of both must be the same.
 *
 *   differential -e EXTENSION [-n STATEMENTS] [-s SEED] [-c] [-v]
 *
 *   -n  how many statements to compare (default 20000)
 *   -s  the seed; without it one is taken from the clock and printed as SEED=...
 *   -c  compare the whole tables after every statement: slow, but the failure shows at
 *       the statement that causes it; the statements stay the same
 *   -v  print every statement
 *
 * A run is a chain of episodes of some hundred statements, each with a database, tables
 * and values of its own. All of an episode follows from its seed, and the seed of the
 * next one follows from that: an episode that failed is run again, alone, with its own
 * seed as the run's. A failure prints the command. See diff_world.h for how it is done.
 *
 * The last line of output is `N passed, N failed`, where passed are statements; the
 * exit status is 1 when anything failed or nothing ran.
 */
#include "diff_world.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FAILURES = 3 };

static void choose(diff_world *world)
{
    static const char *const encodings[] = {"UTF-8", "UTF-8", "UTF-8", "UTF-16le",
                                            "UTF-16be"};
    static const char *const journals[] = {"wal",      "wal",     "delete",
                                           "truncate", "persist", "memory"};
    static const char *const schemas[] = {"main", "main", "main",
                                          "main", "temp", "aux"};
    static const char *const bases[] = {"kv", "kv", "k v", "q\"t", "t.x", "order"};
    static const int sizes[] = {512, 1024, 4096, 4096, 8192, 65536};
    static const int caches[] = {-2000, -2000, 10, 3};
    diff_random *random = &world->random;

    world->encoding = DIFF_PICK(random, encodings);
    world->journal = DIFF_PICK(random, journals);
    world->schema = DIFF_PICK(random, schemas);
    world->base = DIFF_PICK(random, bases);
    world->page_size = DIFF_PICK(random, sizes);
    world->cache_size = DIFF_PICK(random, caches);
    if (world->schema[0] == 't') {
        world->journal = "delete";
        /* SQLite 3.40.1 takes dirty pages of a temporary database for written when more
         * than a quarter of the cache is dirty and a transaction without changes ends:
         * they are lost, ordinary tables damaged. A cache that large avoids it. */
        world->cache_size = 100000;
    }
    world->utf16 = world->encoding[4] == '1';
    world->home = diff_chance(random, 15)   ? DIFF_MEMORY
                  : diff_chance(random, 15) ? DIFF_FILES
                                            : DIFF_DATABASE;
    world->directories = 0;
    world->shared = world->schema[0] != 't' && world->home == DIFF_DATABASE;
    world->u_is_litekv = diff_chance(random, 50);
    world->large = diff_chance(random, 8);
    world->plain_like = diff_chance(random, 85);
    diff_pool_make(&world->pool, random, world->utf16, world->large);
}

static void step(diff_world *world)
{
    int kind = diff_below(&world->random, 1000);
    if (kind < 400) {
        diff_query_step(world);
    } else if (kind < 780) {
        diff_change_step(world);
    } else if (kind < 900) {
        diff_transaction_step(world);
    } else if (kind < 930) {
        diff_schema_step(world);
    } else if (kind < 960) {
        diff_rerun(world);
    } else if (kind < 985) {
        diff_special_step(world);
    } else {
        diff_compare(world);
    }
}

static void end_episode(diff_world *world)
{
    if (!world->failed) {
        world->limit = world->statements + 100;
        if (world->open) {
            diff_rollback(world);
        }
        diff_compare(world);
    }
    diff_close(world, 0);
    diff_close(world, 1);
    for (int i = 0; i < DIFF_HISTORY; i++) {
        sqlite3_free(world->history[i]);
        world->history[i] = NULL;
    }
}

static int remove_one(const char *path, const struct stat *about, int kind,
                      struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

static char *make_dir(void)
{
    const char *parent = getenv("TMPDIR");
    char *dir = sqlite3_mprintf("%s/litekv-diff.XXXXXX",
                                parent != NULL && parent[0] != 0 ? parent : "/tmp");
    if (dir != NULL && mkdtemp(dir) == NULL) {
        sqlite3_free(dir);
        dir = NULL;
    }
    return dir;
}

/* One episode, of at most `limit` statements. False when it failed. */
static bool run_episode(const diff_options *options, uint64_t seed, long limit,
                        long *statements)
{
    diff_world world = {.options = options, .seed = seed, .limit = limit};
    sqlite3_int64 memory = sqlite3_memory_used();
    long length;

    world.random.state = seed;
    world.dir = make_dir();
    if (world.dir == NULL) {
        printf("not ok: no temporary directory: %s\n", strerror(errno));
        return false;
    }
    length = diff_between(&world.random, 100, 1200);
    choose(&world);
    if (diff_open(&world, 0)) {
        diff_schema_create(&world);
        while (diff_going(&world) && world.statements < length) {
            step(&world);
        }
    }
    end_episode(&world);
    nftw(world.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    sqlite3_free(world.dir);
    if (!world.failed && sqlite3_memory_used() != memory) {
        diff_fail(&world, "%lld bytes of memory are left behind",
                  sqlite3_memory_used() - memory);
    }
    *statements += world.statements;
    return !world.failed;
}

static uint64_t seed_of_clock(void)
{
    struct timespec now;
    diff_random mix;
    clock_gettime(CLOCK_REALTIME, &now);
    mix.state = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return diff_next(&mix);
}

static int run_all(const diff_options *options, uint64_t seed, long limit)
{
    long statements = 0, episodes = 0;
    int failed = 0;
    diff_random chain = {.state = seed};

    printf("SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    while (statements < limit && failed < MAX_FAILURES) {
        if (!run_episode(options, chain.state, limit - statements, &statements)) {
            failed++;
        }
        episodes++;
        chain.state = diff_next(&chain);
    }
    if (failed > 0) {
        printf("SEED=%" PRIu64 ", %ld episodes\n", seed, episodes);
    }
    printf("%ld passed, %d failed\n", statements - failed, failed);
    return failed > 0 || statements == 0;
}

int main(int argc, char **argv)
{
    diff_options options = {.extension = NULL};
    uint64_t seed = seed_of_clock();
    long limit = 20000;
    int letter;

    while ((letter = getopt(argc, argv, "e:n:s:cv")) != -1) {
        switch (letter) {
        case 'e':
            options.extension = optarg;
            break;
        case 'n':
            limit = atol(optarg);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            options.careful = true;
            break;
        case 'v':
            options.verbose = true;
            break;
        default:
            options.extension = NULL;
            break;
        }
    }
    if (options.extension == NULL || optind < argc) {
        fputs("usage: differential -e EXTENSION [-n STATEMENTS] [-s SEED] [-v]\n",
              stderr);
        return 2;
    }
    return run_all(&options, seed, limit);
}
