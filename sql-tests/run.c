/*
 * run.c - runs sqllogictest files against SQLite with litekv loaded.
 *
 *   run [-e EXTENSION] [-v] [-s] FILE|DIR...
 *
 *   -e  load this extension (entry point sqlite3_litekv_init) in every connection
 *   -v  print every record that passed, too
 *   -s  print nothing but the sum
 *
 * Of a DIR the .slt and .test files that stand directly in it are run. Every file
 * begins with an empty database in a directory of its own. The last line of output is
 * `N passed, N failed`; the exit status is 1 when anything failed or nothing ran. A
 * file in which no test ran is a failure; one that was left early is printed as
 * `skipped: FILE: REASON`, with REQUIRE_ALL=1 in the environment a failure as well.
 *
 * A file consists of records, blank lines between them; a line that begins with `#`
 * between records is a comment. The language is sqllogictest's:
 *
 *   statement ok           the SQL that follows must succeed
 *   statement error        ... must fail
 *   query TYPES [SORT] [LABEL]
 *                          SQL, a line `----`, then the values expected, one a line,
 *                          row after row; or `N values hashing to MD5`, the hash of
 *                          all these lines
 *   hash-threshold N       read over: a hash is accepted for any number of values
 *   skipif ENGINE          the next record is skipped if the engine is sqlite
 *   onlyif ENGINE          ... unless it is
 *   halt                   ends the file
 *
 * TYPES has a letter for each column: I integer, R real with three decimals, T or ?
 * text. NULL is `NULL`, an empty text or blob `(empty)`, a byte outside space..~ is
 * `@`. SORT is nosort, rowsort or valuesort and sorts what was got, as text. Queries of
 * one LABEL must give one result.
 *
 * Our own:
 *
 *   statement error TEXT   ... must fail, and TEXT must stand in `CODE: message`, as in
 *                          SQLITE_CONSTRAINT_UNIQUE: UNIQUE constraint failed: t.a
 *   plan                   SQL, `----`, the details that EXPLAIN QUERY PLAN gives,
 *                          without blanks at their ends
 *   changes N              what sqlite3_changes() says
 *   connection NAME        use this connection for what follows; it is opened when it
 *                          is first named; a file begins on `main`
 *   reopen [MODE]          close all connections, open `main` again; MODE is readonly
 *                          or memory (:memory:) and lasts to the next reopen
 *   crash                  copy the files as a killed process leaves them, drop all
 *                          connections, open `main` on the copy; `$DIR` changes
 *   backup FROM TO         copy file to file by SQLite's backup interface
 *   damage TABLE OBJECT NUMBER OFFSET [[xor] BYTE]
 *                          change a byte of what a litekv table keeps in the file: make
 *                          it BYTE, or its exclusive or with BYTE, which is 0xff unless
 *                          named. OBJECT is log, base, index or root, a shadow table
 *                          whose row is NUMBER, from 1 on; or segment, part or run,
 * with its own number limit length N         sqlite3_limit() of the connection
 *   defensive on|off       SQLITE_DBCONFIG_DEFENSIVE of the connection
 *   require sqlite N       skip the rest of the file below SQLite N, as 3044000
 *
 * `$DIR` in SQL and in the first line of a record stands for the directory, `$DB` for
 * the database file in it, `$SHM` for a name of POSIX shared memory that no other file
 * uses. Several statements in a record run up to the first error;
 * the last of them gives the result, and only the last may be the one that `statement
 * error` expects. Only statement, query, plan and changes count when they pass; every
 * word counts when it fails.
 *
 * In a file named .test, as the public ones are, a query that fails while it runs may
 * stand with an empty result, since sqllogictest does not see the error.
 */
#include "files.h"
#include "script.h"
#include "session.h"
#include "text.h"
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void run_records(lkv_run *run)
{
    const char *line;
    while (!run->stop && (line = lkv_script_record(&run->script)) != NULL) {
        run->line = run->script.next;
        char *header = lkv_text_copy(line, strlen(line));
        lkv_words_record(run, header);
        free(header);
    }
    run->line = run->script.next;
    if (run->skip_next) {
        lkv_words_fail(run, "nothing stands behind the last skipif or onlyif");
    }
}

static lkv_sum run_file(const lkv_options *options, const char *path)
{
    lkv_run run = {.options = options};
    char why[256];
    if (lkv_script_read(&run.script, path, why, sizeof(why)) != 0) {
        lkv_words_fail(&run, "%s", why);
        goto done;
    }
    if (lkv_session_start(&run.session, options->extension) == 0) {
        run_records(&run);
    } else {
        lkv_words_fail(&run, "%s", run.session.why);
    }
    if (lkv_session_end(&run.session) != 0) {
        lkv_words_fail(&run, "%s", run.session.why);
    }
    if (run.sum.passed + run.sum.failed + run.sum.skipped == 0) {
        lkv_words_fail(&run, "no test ran");
    }
done:
    lkv_text_free(&run.labels);
    lkv_script_free(&run.script);
    if (!options->only_sum) {
        printf("%s %s: %ld passed, %ld failed\n", run.sum.failed == 0 ? "ok" : "not ok",
               path, run.sum.passed, run.sum.failed);
    }
    return run.sum;
}

static int run_all(const lkv_options *options, char **paths, int count)
{
    lkv_sum all = {0};
    lkv_lines files = {0};
    for (int i = 0; i < count; i++) {
        if (!lkv_files_is_dir(paths[i])) {
            lkv_text_add(&files, lkv_text_copy(paths[i], strlen(paths[i])));
        } else if (lkv_files_list_tests(paths[i], &files) != 0) {
            all.failed++;
            if (!options->only_sum) {
                printf("%s: no .slt or .test file in this directory\n", paths[i]);
            }
        }
    }
    for (size_t i = 0; i < files.count; i++) {
        lkv_sum one = run_file(options, files.at[i]);
        all.passed += one.passed;
        all.failed += one.failed;
        /* Kept in order with what a crash of the next file would print. */
        fflush(stdout);
    }
    lkv_text_free(&files);
    printf("%ld passed, %ld failed\n", all.passed, all.failed);
    return all.failed > 0 || all.passed == 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    lkv_options options = {.extension = NULL};
    const char *require_all = getenv("REQUIRE_ALL");
    options.require_all = require_all != NULL && strcmp(require_all, "1") == 0;
    char *extension = NULL;
    int letter;
    while ((letter = getopt(argc, argv, "e:vs")) != -1) {
        switch (letter) {
        case 'e':
            /* A name without a slash would be looked for where libraries are. */
            free(extension);
            extension = realpath(optarg, NULL);
            if (extension == NULL) {
                printf("%s: %s\n0 passed, 1 failed\n", optarg, strerror(errno));
                return 1;
            }
            break;
        case 'v':
            options.verbose = true;
            break;
        case 's':
            options.only_sum = true;
            break;
        default:
            fputs("usage: run [-e EXTENSION] [-v] [-s] FILE|DIR...\n", stderr);
            return 2;
        }
    }
    options.extension = extension;
    int rc = run_all(&options, argv + optind, argc - optind);
    free(extension);
    return rc;
}
