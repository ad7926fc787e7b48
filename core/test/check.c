/*
 * check.c - see check.h.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHOWN 10 /* failures of one case that are printed */

static struct {
    const char *name;
    unsigned long failures;
    int asked_for_seed;
    uint64_t seed;
} now;

unsigned long check_failures(void)
{
    return now.failures;
}

/* Counts a failure; whether it is to be shown. */
static int failed(const char *file, int line)
{
    now.failures++;
    if (now.failures == SHOWN + 1) {
        printf("  %s: more checks failed\n", now.name);
    }
    if (now.failures > SHOWN) {
        return 0;
    }
    printf("  %s:%d: %s: ", file, line, now.name);
    return 1;
}

int check_that(const char *file, int line, const char *text, int held)
{
    if (!held && failed(file, line)) {
        printf("not so: %s\n", text);
    }
    return held;
}

int check_int(const char *file, int line, const char *text, long long got,
              long long want)
{
    if (got != want && failed(file, line)) {
        printf("%s is %lld, not %lld\n", text, got, want);
    }
    return got == want;
}

int check_size(const char *file, int line, const char *text, unsigned long long got,
               unsigned long long want)
{
    if (got != want && failed(file, line)) {
        printf("%s is %llu, not %llu\n", text, got, want);
    }
    return got == want;
}

int check_text(const char *file, int line, const char *text, const char *got,
               const char *want)
{
    int held = got == NULL || want == NULL ? got == want : strcmp(got, want) == 0;
    if (!held && failed(file, line)) {
        printf("%s is \"%s\", not \"%s\"\n", text, got == NULL ? "(null)" : got,
               want == NULL ? "(null)" : want);
    }
    return held;
}

int check_has(const char *file, int line, const char *text, const char *got,
              const char *part)
{
    int held = strstr(got, part) != NULL;
    if (!held && failed(file, line)) {
        printf("%s is \"%s\", without \"%s\"\n", text, got, part);
    }
    return held;
}

int check_bytes(const char *file, int line, const char *text, const void *got,
                size_t got_size, const void *want, size_t want_size)
{
    const unsigned char *a = got, *b = want;
    size_t size = got_size < want_size ? got_size : want_size;
    size_t at = 0;

    while (at < size && a[at] == b[at]) {
        at++;
    }
    if (at == got_size && at == want_size) {
        return 1;
    }
    if (failed(file, line)) {
        if (at < size) {
            printf("%s differs at byte %zu of %zu: %02x, not %02x\n", text, at,
                   want_size, a[at], b[at]);
        } else {
            printf("%s has %zu bytes, not %zu\n", text, got_size, want_size);
        }
    }
    return 0;
}

int check_long(void)
{
    const char *text = getenv("LONG");
    return text != NULL && *text != '\0';
}

uint64_t check_seed(void)
{
    if (!now.asked_for_seed) {
        const char *text = getenv("SEED");
        now.asked_for_seed = 1;
        now.seed = 1;
        if (text != NULL && *text != '\0') {
            now.seed = strtoull(text, NULL, 10);
        } else if (check_long()) {
            now.seed = (uint64_t)time(NULL);
        }
    }
    return now.seed;
}

/* splitmix64, by Sebastiano Vigna. */
uint64_t check_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t check_below(uint64_t *state, uint64_t limit)
{
    return check_random(state) % limit;
}

static int wanted(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return 1;
        }
    }
    return argc < 2;
}

int check_main(int argc, char **argv, const check_case *cases, size_t count)
{
    unsigned long good = 0, bad = 0;

    for (size_t i = 0; i < count; i++) {
        if (!wanted(argc, argv, cases[i].name)) {
            continue;
        }
        memset(&now, 0, sizeof(now));
        now.name = cases[i].name;
        cases[i].run();
        if (now.failures == 0) {
            good++;
            continue;
        }
        bad++;
        printf("not ok %s\n", now.name);
        if (now.asked_for_seed) {
            printf("  again: SEED=%llu %s%s %s\n", (unsigned long long)now.seed,
                   check_long() ? "LONG=1 " : "", argv[0], now.name);
        }
        fflush(stdout);
    }
    if (good + bad == 0) {
        printf("no case of that name\n");
    }
    printf("%lu passed, %lu failed\n", good, bad);
    return good + bad == 0 || bad > 0;
}
