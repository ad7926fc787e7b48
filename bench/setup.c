/*
 * setup.c - the command line that all benchmarks share, and the directory of a run.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char made[400]; /* the directory of this run; "" before there is one */

void bench_fail(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

/* By another program: a signal handler may fork, but not walk through directories. */
static void clean_up(void)
{
    pid_t child;
    if (made[0] == 0 || (child = fork()) < 0) {
        return;
    }
    if (child == 0) {
        (void)execl("/bin/rm", "rm", "-rf", "--", made, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(child, NULL, 0);
}

/* A run that is stopped would leave gigabytes. */
static void stopped(int number)
{
    clean_up();
    _exit(128 + number);
}

uint64_t bench_count(const char *text, uint64_t least, uint64_t most)
{
    char *rest, why[80];
    unsigned long long n;
    errno = 0;
    n = strtoull(text, &rest, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *rest != 0 || n < least ||
        n > most) {
        snprintf(why, sizeof(why), "a number from %llu to %llu is expected",
                 (unsigned long long)least, (unsigned long long)most);
        bench_fail(text, why);
    }
    return n;
}

int bench_option(bench_setup *setup, int argc, char **argv, const char *letters)
{
    static const struct option words[] = {{"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    char all[40];
    int option;

    snprintf(all, sizeof(all), "e:n:d:o:h%s", letters);
    while ((option = getopt_long(argc, argv, all, words, NULL)) != -1) {
        switch (option) {
        case 'e':
            setup->extension = optarg;
            break;
        case 'n':
            setup->keys = bench_count(optarg, 1000, 1000000000);
            break;
        case 'd':
            snprintf(setup->directory, sizeof(setup->directory), "%s/bench.XXXXXX",
                     optarg);
            break;
        case 'o':
            setup->arguments = optarg;
            break;
        case 'h':
            fputs(setup->help, stdout);
            exit(0);
        case '?':
            bench_fail("options", "--help lists them");
        default:
            return option;
        }
    }
    if (optind < argc) {
        bench_fail(argv[optind], "not an option; --help lists them");
    }
    return -1;
}

void bench_begin(bench_setup *setup)
{
    if (setup->directory[0] == 0) {
        snprintf(setup->directory, sizeof(setup->directory), "bench.XXXXXX");
    }
    if (mkdtemp(setup->directory) == NULL) {
        bench_fail(setup->directory, strerror(errno));
    }
    memcpy(made, setup->directory, sizeof(made));
    if (atexit(clean_up) != 0 || signal(SIGINT, stopped) == SIG_ERR ||
        signal(SIGPIPE, stopped) == SIG_ERR || signal(SIGTERM, stopped) == SIG_ERR) {
        bench_fail("clean up", "cannot be arranged");
    }
}

void bench_empty(void)
{
    clean_up();
    if (mkdir(made, 0700) != 0) {
        bench_fail(made, strerror(errno));
    }
}

void bench_start(bench *b, const bench_setup *setup, const engine *of)
{
    bench_empty();
    memset(b, 0, sizeof(*b));
    b->of = of;
    b->extension = setup->extension;
    b->arguments = setup->arguments;
    b->keys = setup->keys;
    snprintf(b->path, sizeof(b->path), "%s/kv.db", setup->directory);
}
