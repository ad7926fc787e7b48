/*
 * directory.c - see directory.h.
 */
#include "directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void directory_make(directory *d)
{
    /* In memory where there is a place: nothing here depends on a disk. */
    const char *under = getenv("TMPDIR");
    if (under == NULL) {
        under = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    }
    snprintf(d->path, sizeof(d->path), "%s/litekv-test.XXXXXX", under);
    if (mkdtemp(d->path) == NULL) {
        perror(d->path);
        abort();
    }
}

const char *directory_path(directory *d, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", d->path, name);
    return out;
}

static void remove_all(const char *path)
{
    char name[600];
    struct dirent *entry;
    DIR *at = opendir(path);
    if (at != NULL) {
        while ((entry = readdir(at)) != NULL) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
                snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
                if (unlink(name) != 0) {
                    remove_all(name);
                }
            }
        }
        (void)closedir(at);
    }
    (void)rmdir(path);
}

void directory_remove(directory *d)
{
    remove_all(d->path);
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 16];
    size_t got;
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    if (in == NULL || out == NULL) {
        perror(in == NULL ? from : to);
        abort();
    }
    while ((got = fread(bytes, 1, sizeof(bytes), in)) > 0) {
        if (fwrite(bytes, 1, got, out) != got) {
            abort();
        }
    }
    (void)fclose(in);
    if (fclose(out) != 0) {
        abort();
    }
}

void directory_copy(const char *from, const char *to)
{
    char source[600], target[600];
    struct dirent *entry;
    DIR *at = opendir(from);
    if (at == NULL || mkdir(to, 0700) != 0) {
        perror(to);
        abort();
    }
    while ((entry = readdir(at)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(source, sizeof(source), "%s/%s", from, entry->d_name);
            snprintf(target, sizeof(target), "%s/%s", to, entry->d_name);
            copy_file(source, target);
        }
    }
    (void)closedir(at);
}

static FILE *open_in(const char *path, const char *file)
{
    char name[600];
    snprintf(name, sizeof(name), "%s/%s", path, file);
    return fopen(name, "r+b");
}

void directory_poke(const char *path, const char *file, long offset, int byte)
{
    FILE *at = open_in(path, file);
    if (at == NULL || fseek(at, offset, SEEK_SET) != 0 || fputc(byte, at) == EOF ||
        fclose(at) != 0) {
        perror(file);
        abort();
    }
}

void directory_cut(const char *path, const char *file, long size)
{
    char name[600];
    snprintf(name, sizeof(name), "%s/%s", path, file);
    if (truncate(name, size) != 0) {
        perror(name);
        abort();
    }
}

long directory_size(const char *path, const char *file)
{
    char name[600];
    struct stat about;
    snprintf(name, sizeof(name), "%s/%s", path, file);
    return stat(name, &about) == 0 ? (long)about.st_size : -1;
}

int directory_peek(const char *path, const char *file, long offset)
{
    FILE *at = open_in(path, file);
    int byte = at == NULL || fseek(at, offset, SEEK_SET) != 0 ? -1 : fgetc(at);
    if (at != NULL) {
        (void)fclose(at);
    }
    return byte;
}
