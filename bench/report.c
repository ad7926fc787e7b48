/*
 * report.c - how figures are taken and printed.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static clockid_t work_clock = CLOCK_MONOTONIC;

static double read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double bench_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double bench_clock(void)
{
    return read_clock(work_clock);
}

void bench_count_processor_time(void)
{
    work_clock = CLOCK_PROCESS_CPUTIME_ID;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *of, int count)
{
    qsort(of, (size_t)count, sizeof(*of), by_value);
    return count % 2 == 1 ? of[count / 2] : (of[count / 2 - 1] + of[count / 2]) / 2;
}

static const char *figure(char *text, size_t size, double number, int digits)
{
    if (isnan(number)) {
        return "-";
    }
    snprintf(text, size, "%.*f", digits, number);
    return text;
}

void bench_print_head(const char *title)
{
    printf("%-52s %10s %10s %5s  %s\n", title, "litekv", "table", "", "ratio (wanted)");
}

void bench_print(const char *name, const char *unit, double litekv, double table,
                 double bound)
{
    char first[40], second[40], ratio[40];
    printf("%-52s %10s %10s %5s  %s", name, figure(first, sizeof(first), litekv, 2),
           figure(second, sizeof(second), table, 2), unit,
           figure(ratio, sizeof(ratio), litekv / table, 3));
    if (bound > 0) {
        printf(" (%.3f%s)", bound,
               isnan(litekv / table)     ? ""
               : litekv / table <= bound ? ": ok"
                                         : ": over");
    }
    printf("\n");
    (void)fflush(stdout);
}

void bench_print_tabs(double litekv, double table, double bound)
{
    const double figures[] = {litekv, table, litekv / table, bound};
    char text[40];
    for (int i = 0; i < 4; i++) {
        printf("%s%s", figure(text, sizeof(text), figures[i], 4), i < 3 ? "\t" : "\n");
    }
}
