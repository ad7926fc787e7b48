/*
 * process.c - measures new processes: this program started anew, and the sqlite3 shell.
 *
 * A forked child would not do: it has its parent's heap, whose pages count as private
 * or not depending on what the parent did before.
 */
#include "process.h"

#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_WORDS 10 /* of a command line, its NULL included */

extern char **environ;

static const char child_word[] = "--child";

/* Starts a program, found by PATH, with MOST_WORDS of words (NULL after the last),
 * whose standard output can be read from `*out`; whether there is such a program. */
static int start(const char *program, const char *const *argv, int *out, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    char *words[MOST_WORDS];
    int channel[2], rc;
    if (pipe2(channel, O_CLOEXEC) != 0 ||
        posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, channel[1], STDOUT_FILENO) != 0) {
        bench_fail(program, "no pipe");
    }
    /* It takes the words as if it wrote to them, which it does not. */
    memcpy(words, argv, sizeof(words));
    rc = posix_spawnp(child, program, &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    (void)close(channel[1]);
    if (rc != 0) {
        (void)close(channel[0]);
    }
    *out = channel[0];
    return rc == 0;
}

static void finish(const char *program, int out, pid_t child)
{
    int status;
    (void)close(out);
    if (waitpid(child, &status, 0) != child || status != 0) {
        bench_fail(program, "the new process failed");
    }
}

fresh bench_fresh(const bench *b, uint64_t reads)
{
    static const char self[] = "/proc/self/exe";
    char keys[24], count[24];
    const char *argv[MOST_WORDS] = {
        self, child_word, b->path, b->of->is_litekv ? b->extension : "",
        keys, count,      NULL};
    fresh found;
    pid_t child;
    int out;

    snprintf(keys, sizeof(keys), "%llu", (unsigned long long)b->keys);
    snprintf(count, sizeof(count), "%llu", (unsigned long long)reads);
    if (!start(self, argv, &out, &child)) {
        bench_fail(self, "cannot be started");
    }
    if (read(out, &found, sizeof(found)) != sizeof(found)) {
        bench_fail("new process", "it gave no figures");
    }
    finish(self, out, child);
    return found;
}

bench_pages bench_read_pages(void)
{
    FILE *in = fopen("/proc/self/smaps_rollup", "r");
    bench_pages p = {NAN, NAN, NAN, NAN};
    char line[200];

    while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
        (void)sscanf(line, "Rss: %lf", &p.rss);
        (void)sscanf(line, "Private_Clean: %lf", &p.clean);
        (void)sscanf(line, "Private_Dirty: %lf", &p.dirty);
        (void)sscanf(line, "Anonymous: %lf", &p.anonymous);
    }
    if (in != NULL) {
        (void)fclose(in);
    }
    return p;
}

static double first_row(bench *b)
{
    double begun = bench_now();
    sqlite3_stmt *statement;
    char key[BENCH_KEY_SIZE];

    bench_open(b, 0);
    statement = bench_prepare(b, BENCH_SELECT);
    bench_key(1, key);
    sqlite3_bind_text(statement, 1, key, sizeof(key), SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_ROW) {
        bench_fail("open", "the first query finds nothing");
    }
    sqlite3_finalize(statement);
    return bench_now() - begun;
}

void bench_child(int argc, char **argv)
{
    static bench b;
    fresh found;
    uint64_t reads;
    bench_pages now;

    if (argc != 6 || strcmp(argv[1], child_word) != 0) {
        return;
    }
    snprintf(b.path, sizeof(b.path), "%s", argv[2]);
    b.of = argv[3][0] == 0 ? &bench_table : &bench_litekv;
    b.extension = argv[3];
    b.keys = bench_count(argv[4], 1, UINT64_MAX);
    reads = bench_count(argv[5], 0, UINT64_MAX);
    found.first_row_s = first_row(&b);
    now = bench_read_pages();
    found.opened_kib = now.clean + now.dirty;
    if (reads > 0) {
        (void)bench_run(&b, (operation){BENCH_SELECT, reads, 0, bench_any, 1, 0});
    }
    now = bench_read_pages();
    found.read_kib = now.clean + now.dirty;
    found.read_dirty_kib = now.dirty;
    found.anonymous_kib = now.anonymous;
    found.mapped_kib = now.rss - now.anonymous;
    _exit(write(STDOUT_FILENO, &found, sizeof(found)) != sizeof(found));
}

double bench_shell(const bench *b)
{
    static const char program[] = "sqlite3";
    char load[600], sql[100], key[BENCH_KEY_SIZE], row[256];
    const char *argv[MOST_WORDS] = {program, "-batch", "-init", "/dev/null", "-cmd",
                                    load,    b->path,  sql,     NULL};
    double begun = bench_now(), took;
    ssize_t got, size = 0;
    pid_t child;
    int out;

    bench_key(1, key);
    /* The ordinary table has nothing to load, and sets what is set already. */
    if (b->of->is_litekv) {
        snprintf(load, sizeof(load), ".load %s sqlite3_litekv_init", b->extension);
    } else {
        snprintf(load, sizeof(load), ".timeout 0");
    }
    snprintf(sql, sizeof(sql), "SELECT hex(value) FROM kv WHERE key='%.16s'", key);
    if (!start(program, argv, &out, &child)) {
        return NAN;
    }
    size = read(out, row, sizeof(row));
    took = bench_now() - begun;
    while (size > 0 && (got = read(out, row + size, sizeof(row) - (size_t)size)) > 0) {
        size += got;
    }
    finish(program, out, child);
    if (size != (ssize_t)BENCH_VALUE_SIZE * 2 + 1) {
        bench_fail(program, "its first row is not the value");
    }
    return took;
}

/* Of a file that is open, as nftw() has it. */
static int for_file(const char *path, int kind, void (*act)(int file))
{
    int file = kind == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        act(file);
        (void)close(file);
    }
    return 0;
}

static void drop(int file)
{
    /* Pages that are not yet written cannot be dropped. */
    (void)fdatasync(file);
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
}

static int drop_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)at;
    return for_file(path, kind, drop);
}

static void read_through(int file)
{
    static char buffer[1 << 20];
    while (read(file, buffer, sizeof(buffer)) > 0) {
    }
}

static int read_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)at;
    return for_file(path, kind, read_through);
}

/* All files of the run: those beside the database, too. */
static void for_all(const bench *b,
                    int (*visit)(const char *path, const struct stat *info, int kind,
                                 struct FTW *at))
{
    char directory[sizeof(b->path)];
    memcpy(directory, b->path, sizeof(directory));
    (void)nftw(dirname(directory), visit, 16, FTW_PHYS);
}

void bench_make_cold(const bench *b)
{
    for_all(b, drop_one);
}

void bench_make_warm(const bench *b)
{
    for_all(b, read_one);
}
