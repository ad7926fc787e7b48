/*
 * replay.c - runs a fuzz target over files, without libFuzzer.
 *
 * Linked with one target, it hands every file of the directories (or files) named on
 * the command line to LLVMFuzzerTestOneInput. A target that finds a fault aborts, as it
 * does under libFuzzer; the name of the file is already printed then.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long passed;
static unsigned long failed;

static void fail(const char *path, const char *reason)
{
    printf("not ok %s: %s\n", path, reason);
    failed++;
}

/* The input is in memory of exactly its size, so that a sanitizer sees a read of the
 * first byte beyond it. */
static void replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (file == NULL || data == NULL || fread(data, 1, size, file) != size) {
        fail(path, "cannot be read");
        goto done;
    }
    printf("%s\n", path);
    (void)fflush(stdout);
    if (LLVMFuzzerTestOneInput(data, size) != 0) {
        fail(path, "the target refused it");
        goto done;
    }
    passed++;
done:
    free(data);
    if (file != NULL) {
        (void)fclose(file);
    }
}

static void replay_path(const char *path);

static void replay_directory(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    if (dir == NULL) {
        fail(path, "cannot be opened");
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        char *child = NULL;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (asprintf(&child, "%s/%s", path, entry->d_name) < 0) {
            fail(path, "out of memory");
            break;
        }
        replay_path(child);
        free(child);
    }
    (void)closedir(dir);
}

static void replay_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        fail(path, "is not there");
    } else if (S_ISDIR(info.st_mode)) {
        replay_directory(path);
    } else {
        replay_file(path, (size_t)info.st_size);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        replay_path(argv[i]);
    }
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
