/*
 * pieces.c - see pieces.h.
 */
#include "pieces.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const tables[] = {"log", "base", "index", "root"};

/* --- files ---------------------------------------------------------------------- */

static piece *add_piece(pieces *out, const char *name, size_t size)
{
    piece *at = &out->list[out->count++];
    if (out->count > PIECES) {
        abort(); /* the test is wrong */
    }
    snprintf(at->name, sizeof(at->name), "%s", name);
    at->id = 0;
    at->size = size;
    at->bytes = malloc(size + 1);
    if (at->bytes == NULL) {
        abort();
    }
    return at;
}

static const char *file_name(const pieces *all, const char *name)
{
    static char full[340];
    snprintf(full, sizeof(full), "%s%s", all->prefix, name);
    return full;
}

/* Calls `each` for every file of the prefix, with what follows that. */
static void each_file(pieces *all, void (*each)(pieces *all, const char *name))
{
    char directory[300];
    const char *start = strrchr(all->prefix, '/') + 1;
    size_t size = strlen(start);
    struct dirent *entry;
    DIR *at;

    snprintf(directory, sizeof(directory), "%.*s", (int)(start - all->prefix),
             all->prefix);
    at = opendir(directory);
    if (at == NULL) {
        perror(directory);
        abort();
    }
    while ((entry = readdir(at)) != NULL) {
        if (entry->d_name[0] != '.' && strncmp(entry->d_name, start, size) == 0) {
            each(all, entry->d_name + size);
        }
    }
    (void)closedir(at);
}

static void take_file(pieces *all, const char *name)
{
    int file = open(file_name(all, name), O_RDONLY | O_CLOEXEC);
    off_t size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    piece *at;
    if (size < 0) {
        abort();
    }
    at = add_piece(all, name, (size_t)size);
    if (pread(file, at->bytes, at->size, 0) != (ssize_t)at->size) {
        abort();
    }
    (void)close(file);
}

void pieces_take_files(pieces *out, const char *prefix)
{
    memset(out, 0, sizeof(*out));
    snprintf(out->prefix, sizeof(out->prefix), "%s", prefix);
    each_file(out, take_file);
}

static void put_file(const pieces *all, const piece *at, const void *bytes, size_t size)
{
    int file = open(file_name(all, at->name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, (off_t)size) != 0 ||
        pwrite(file, bytes, size, 0) != (ssize_t)size || close(file) != 0) {
        perror(at->name);
        abort();
    }
}

static void remove_stranger(pieces *all, const char *name)
{
    for (int i = 0; i < all->count; i++) {
        if (strcmp(all->list[i].name, name) == 0) {
            return;
        }
    }
    (void)unlink(file_name(all, name));
}

/* --- rows ----------------------------------------------------------------------- */

void pieces_take_rows(pieces *out, sqlite3 *db)
{
    memset(out, 0, sizeof(*out));
    out->db = db;
    for (size_t i = 0; i < 4; i++) {
        char sql[80];
        sqlite3_stmt *rows = NULL;
        snprintf(sql, sizeof(sql), "SELECT id, block FROM kv_%s", tables[i]);
        CHECK(sqlite3_prepare_v2(db, sql, -1, &rows, NULL) == SQLITE_OK);
        while (sqlite3_step(rows) == SQLITE_ROW) {
            piece *at =
                add_piece(out, tables[i], (size_t)sqlite3_column_bytes(rows, 1));
            at->id = sqlite3_column_int64(rows, 0);
            if (at->size > 0) {
                memcpy(at->bytes, sqlite3_column_blob(rows, 1), at->size);
            }
        }
        sqlite3_finalize(rows);
    }
}

/* NULL: the row goes. */
static void put_row(const pieces *all, const piece *at, const void *bytes, size_t size)
{
    char sql[120];
    sqlite3_stmt *change = NULL;
    snprintf(sql, sizeof(sql),
             bytes == NULL ? "DELETE FROM kv_%s WHERE id = ?1 AND ?2 IS NOT NULL"
                           : "REPLACE INTO kv_%s(id, block) VALUES(?1, ?2)",
             at->name);
    CHECK(sqlite3_prepare_v2(all->db, sql, -1, &change, NULL) == SQLITE_OK);
    sqlite3_bind_int64(change, 1, at->id);
    sqlite3_bind_blob(change, 2, bytes == NULL ? "" : bytes, (int)size, SQLITE_STATIC);
    CHECK(sqlite3_step(change) == SQLITE_DONE);
    sqlite3_finalize(change);
}

/* --- either --------------------------------------------------------------------- */

void pieces_free(pieces *all)
{
    while (all->count > 0) {
        free(all->list[--all->count].bytes);
    }
}

void pieces_put(const pieces *all, int i, const void *bytes, size_t size)
{
    if (all->db != NULL) {
        put_row(all, &all->list[i], bytes, size);
    } else {
        put_file(all, &all->list[i], bytes, size);
    }
}

void pieces_drop(const pieces *all, int i)
{
    if (all->db != NULL) {
        put_row(all, &all->list[i], NULL, 0);
    } else {
        (void)unlink(file_name(all, all->list[i].name));
    }
}

void pieces_restore(const pieces *all)
{
    if (all->db != NULL) {
        RUN(all->db, "BEGIN; DELETE FROM kv_log; DELETE FROM kv_base;"
                     "DELETE FROM kv_index; DELETE FROM kv_root");
    } else {
        pieces copy = *all; /* each_file() may change what it is given */
        each_file(&copy, remove_stranger);
    }
    for (int i = 0; i < all->count; i++) {
        pieces_put(all, i, all->list[i].bytes, all->list[i].size);
    }
    if (all->db != NULL) {
        RUN(all->db, "COMMIT");
    }
}
