/*
 * files.c - what the runner does with directories.
 */
#include "files.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *join(const char *dir, const char *name)
{
    size_t size = strlen(dir) + strlen(name) + 2;
    char *path = lkv_text_alloc(size);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

static bool ends_in(const char *name, const char *end)
{
    size_t name_size = strlen(name);
    size_t end_size = strlen(end);
    return name_size >= end_size && strcmp(name + name_size - end_size, end) == 0;
}

char *lkv_files_make_dir(void)
{
    const char *parent = getenv("TMPDIR");
    char *dir = join(parent != NULL && parent[0] != '\0' ? parent : "/tmp",
                     "litekv-run.XXXXXX");
    if (mkdtemp(dir) == NULL) {
        free(dir);
        return NULL;
    }
    return dir;
}

static int remove_one(const char *path, const struct stat *about, int kind,
                      struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

int lkv_files_remove_dir(const char *dir)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : -1;
}

void lkv_files_remove_shared(const char *prefix)
{
    DIR *dir = opendir("/dev/shm");
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            char *path = join("/dev/shm", entry->d_name);
            remove(path);
            free(path);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

static int copy_file(const char *from, const char *to)
{
    int result = -1;
    char buffer[65536];
    size_t size;
    FILE *source = fopen(from, "rb");
    FILE *target = fopen(to, "wb");
    if (source == NULL || target == NULL) {
        goto done;
    }
    while ((size = fread(buffer, 1, sizeof(buffer), source)) > 0) {
        if (fwrite(buffer, 1, size, target) != size) {
            goto done;
        }
    }
    result = ferror(source) ? -1 : 0;
done:
    if (source != NULL) {
        fclose(source);
    }
    if (target != NULL && fclose(target) != 0) {
        result = -1;
    }
    return result;
}

static int copy_entry(const char *from, const char *to)
{
    if (!lkv_files_is_dir(from)) {
        return copy_file(from, to);
    }
    return mkdir(to, 0777) == 0 ? lkv_files_copy_dir(from, to) : -1;
}

int lkv_files_copy_dir(const char *from, const char *to)
{
    DIR *dir = opendir(from);
    if (dir == NULL) {
        return -1;
    }
    int result = 0;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            ends_in(name, "-shm")) {
            continue;
        }
        char *source = join(from, name);
        char *target = join(to, name);
        result = copy_entry(source, target);
        free(source);
        free(target);
    }
    closedir(dir);
    return result;
}

bool lkv_files_is_dir(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static int is_test(const struct dirent *entry)
{
    return ends_in(entry->d_name, ".slt") || ends_in(entry->d_name, ".test");
}

int lkv_files_list_tests(const char *dir, lkv_lines *paths)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, is_test, alphasort);
    for (int i = 0; i < count; i++) {
        lkv_text_add(paths, join(dir, entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    return count > 0 ? 0 : -1;
}
