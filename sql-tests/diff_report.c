/*
 * diff_report.c - remembers what was run, and prints it when the universes differ.
 */
#include "diff_world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_ROWS = 6, SHOWN_BYTES = 300 };

char *diff_substitute(const char *template, int universe)
{
    size_t size = strlen(template);
    char *text = malloc(size * 4 + 1);
    char *end = text;
    if (text == NULL) {
        abort();
    }
    for (const char *p = template; *p != 0; p++) {
        if (*p == 1) {
            end = stpcpy(end, universe == DIFF_ORDINARY ? "_ord" : "_lkv");
        } else if (*p == 2 && universe == DIFF_LITEKV) {
            p = strchr(p, 3);
        } else if (*p == 3) {
            if (universe == DIFF_ORDINARY) {
                p = strchr(p, 4);
            }
        } else if ((unsigned char)*p > 4) {
            *end++ = *p;
        }
    }
    *end = 0;
    return text;
}

static void keep(diff_world *world, char *text)
{
    if (world->options->verbose) {
        printf("%s\n", text);
        fflush(stdout);
    }
    sqlite3_free(world->history[0]);
    memmove(world->history, world->history + 1,
            sizeof(world->history) - sizeof(world->history[0]));
    world->history[DIFF_HISTORY - 1] = text;
}

void diff_note(diff_world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep(world, sqlite3_vmprintf(format, args));
    va_end(args);
}

/* The litekv universe's SQL, which can be pasted into a shell; so can the values of its
 * parameters. */
void diff_note_sql(diff_world *world, const char *text, const diff_sql *sql)
{
    sqlite3_str *note = sqlite3_str_new(NULL);
    char *own = diff_substitute(text, DIFF_LITEKV);
    for (int i = 0; i < sql->bind_count; i++) {
        sqlite3_str *value = sqlite3_str_new(NULL);
        char *literal;
        diff_value_literal(value, sql->binds[i]);
        literal = sqlite3_str_finish(value);
        sqlite3_str_appendf(note, ".parameter set ?%d \"%s\"\n", i + 1, literal);
        sqlite3_free(literal);
    }
    sqlite3_str_appendf(note, "%s;", own);
    free(own);
    keep(world, sqlite3_str_finish(note));
}

static void show_history(const diff_world *world)
{
    printf("-- the last statements\n");
    for (int i = 0; i < DIFF_HISTORY; i++) {
        if (world->history[i] != NULL) {
            printf("%.2000s\n", world->history[i]);
        }
    }
}

static void show_world(const diff_world *world)
{
    printf("-- seed %" PRIu64
           ", statement %ld of its episode: encoding %s, page_size %d, "
           "journal_mode %s, schema %s\n",
           world->seed, world->statements, world->encoding, world->page_size,
           world->journal, world->schema);
    for (int i = 0; i < DIFF_TABLES; i++) {
        sqlite3_str *name = sqlite3_str_new(NULL);
        char *text, *own;
        diff_table_name(world, name, i, true);
        text = sqlite3_str_finish(name);
        own = diff_substitute(text, DIFF_LITEKV);
        printf("-- table %s: %s\n", own, world->now.table[i].exists ? "" : "not there");
        free(own);
        sqlite3_free(text);
    }
}

static void show_command(const diff_world *world)
{
    if (world->options->extension != NULL) {
        printf("-- reproduce: build/differential -e %s -n %ld -s %" PRIu64 "\n",
               world->options->extension, world->statements + 50, world->seed);
    }
    fflush(stdout);
}

void diff_fail(diff_world *world, const char *format, ...)
{
    va_list args;
    char *text;
    if (world->failed) {
        return;
    }
    world->failed = true;
    va_start(args, format);
    text = sqlite3_vmprintf(format, args);
    va_end(args);
    printf("\nnot ok: %s\n", text);
    sqlite3_free(text);
    show_world(world);
    show_history(world);
    show_command(world);
}

static void show_result(const char *title, const diff_result *result, size_t from)
{
    printf("-- %s: code %d%s%s, %zu rows, changes %d, last rowid %lld\n", title,
           result->code, result->error != NULL ? ": " : "",
           result->error != NULL ? result->error : "", result->count, result->changes,
           (long long)result->rowid);
    for (size_t i = from; i < result->count && i < from + SHOWN_ROWS; i++) {
        printf("--   row %zu: %.*s\n", i + 1, SHOWN_BYTES, result->rows[i]);
    }
}

void diff_differ(diff_world *world, const diff_result *ordinary,
                 const diff_result *litekv)
{
    size_t from = 0;
    if (world->failed) {
        return;
    }
    while (from < ordinary->count && from < litekv->count &&
           strcmp(ordinary->rows[from], litekv->rows[from]) == 0) {
        from++;
    }
    world->failed = true;
    printf("\nnot ok: the tables differ\n");
    show_world(world);
    show_history(world);
    show_result("ordinary", ordinary, from);
    show_result("litekv", litekv, from);
    show_command(world);
}
