/*
 * check.h - a unit test: named cases, and checks that print where and what.
 *
 *      static void adds(void)
 *      {
 *          CHECK_INT(1 + 1, 2);
 *      }
 *      static const check_case cases[] = {CASE(adds)};
 *      int main(int argc, char **argv)
 *      {
 *          return check_main(argc, argv, cases, CASES(cases));
 *      }
 *
 * A check that fails prints file, line and values, and the case goes on; each check is
 * an expression that is 1 when it held. The program ends in `N passed, N failed`, cases
 * being counted; its arguments are names of the cases to run.
 */
#ifndef LKV_TEST_CHECK_H
#define LKV_TEST_CHECK_H

#include <stddef.h>
#include <stdint.h>

typedef struct check_case {
    const char *name;
    void (*run)(void);
} check_case;

#define CASE(name)                                                                     \
    {                                                                                  \
#name, name                                                                    \
    }
#define CASES(cases) (sizeof(cases) / sizeof((cases)[0]))

#define CHECK(condition) check_that(__FILE__, __LINE__, #condition, (condition) ? 1 : 0)
/* Whole numbers. */
#define CHECK_INT(got, want)                                                           \
    check_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define CHECK_SIZE(got, want)                                                          \
    check_size(__FILE__, __LINE__, #got, (unsigned long long)(got),                    \
               (unsigned long long)(want))
/* Texts; NULL is a value of its own. */
#define CHECK_TEXT(got, want) check_text(__FILE__, __LINE__, #got, (got), (want))
/* That `got` has `part` in it. */
#define CHECK_HAS(got, part) check_has(__FILE__, __LINE__, #got, (got), (part))
#define CHECK_BYTES(got, got_size, want, want_size)                                    \
    check_bytes(__FILE__, __LINE__, #got, (got), (got_size), (want), (want_size))

int check_that(const char *file, int line, const char *text, int held);
int check_int(const char *file, int line, const char *text, long long got,
              long long want);
int check_size(const char *file, int line, const char *text, unsigned long long got,
               unsigned long long want);
int check_text(const char *file, int line, const char *text, const char *got,
               const char *want);
int check_has(const char *file, int line, const char *text, const char *got,
              const char *part);
int check_bytes(const char *file, int line, const char *text, const void *got,
                size_t got_size, const void *want, size_t want_size);

/* How many checks of the case that runs have failed: a loop may stop at the first. */
unsigned long check_failures(void);

/* The seed of random tests: SEED of the environment, otherwise 1, or the clock when
 * LONG is set. A case that asked for it and fails prints the command that repeats it.
 */
uint64_t check_seed(void);
/* Whether the long version is wanted: LONG of the environment. */
int check_long(void);

/* The next number of a random sequence, and one below `limit` > 0. */
uint64_t check_random(uint64_t *state);
uint64_t check_below(uint64_t *state, uint64_t limit);

int check_main(int argc, char **argv, const check_case *cases, size_t count);

#endif
