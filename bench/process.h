/*
 * process.h - what has to be measured in a process of its own: how soon a first row is
 * there, and how much memory that belongs to nobody else it takes to read.
 */
#ifndef LKV_BENCH_PROCESS_H
#define LKV_BENCH_PROCESS_H

#include "bench.h"

typedef struct fresh {
    double first_row_s;    /* opening the database until its first row, seconds */
    double opened_kib;     /* private memory then: clean and dirty pages */
    double read_kib;       /* and after the reads */
    double read_dirty_kib; /* of it, the dirty pages */
    double anonymous_kib;  /* pages that no file backs, then */
    double mapped_kib;     /* pages of files, then, whoever else maps them */
} fresh;

/* Starts this program anew, which opens the closed database of `b` and reads `reads`
 * random keys. Needs bench_child() at the start of main(), which is where the new
 * process does this and ends. */
fresh bench_fresh(const bench *b, uint64_t reads);
void bench_child(int argc, char **argv);

typedef struct bench_pages {  /* kilobytes */
    double rss, clean, dirty; /* resident; of them those that nobody else maps */
    double anonymous;         /* of the resident ones those that no file backs */
} bench_pages;

/* Of this process, as it is now. */
bench_pages bench_read_pages(void);

/* Seconds from starting the stock sqlite3 shell until it has written a first row of the
 * closed database; NAN where there is no such program. */
double bench_shell(const bench *b);

/* Takes the database's files out of the system's cache, or reads them into it. */
void bench_make_cold(const bench *b);
void bench_make_warm(const bench *b);

#endif
