/*
 * files.c - see files.h.
 */
#include "files.h"

#include "checksum.h"
#include "damage.h"
#include "format.h"
#include "storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u
#define ROOT_HEAD (8u + LKV_END_SIZE) /* before the root in its file */

static void read_file(one_file *file, const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(fd >= 0 && fstat(fd, &about) == 0);
    file->size = (size_t)about.st_size;
    file->bytes = malloc(file->size + 1);
    MUST(file->bytes != NULL && read(fd, file->bytes, file->size) == about.st_size);
    (void)close(fd);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const one_file *)a)->name, ((const one_file *)b)->name);
}

void files_load(files *f, const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    char name[600];

    f->count = 0;
    MUST(directory != NULL);
    while ((entry = readdir(directory)) != NULL) {
        one_file *file = &f->file[f->count];
        if (entry->d_name[0] == '.') {
            continue;
        }
        MUST(f->count++ < FILES_MAX && strlen(entry->d_name) < FILES_NAME);
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        memcpy(file->name, entry->d_name, strlen(entry->d_name) + 1);
        file->kind = FILE_PLAIN;
        read_file(file, name);
    }
    (void)closedir(directory);
    qsort(f->file, f->count, sizeof(f->file[0]), by_name);
}

void files_copy(files *to, const files *from)
{
    *to = *from;
    for (size_t i = 0; i < to->count; i++) {
        to->file[i].bytes = malloc(from->file[i].size + 1);
        MUST(to->file[i].bytes != NULL);
        memcpy(to->file[i].bytes, from->file[i].bytes, from->file[i].size);
    }
}

void files_free(files *f)
{
    for (size_t i = 0; i < f->count; i++) {
        free(f->file[i].bytes);
    }
    f->count = 0;
}

void files_put(const files *f, const char *path)
{
    char name[600];
    for (size_t i = 0; i < f->count; i++) {
        const one_file *file = &f->file[i];
        int fd;
        (void)snprintf(name, sizeof(name), "%s/%s", path, file->name);
        if (file->kind == FILE_DIRECTORY) {
            MUST(mkdir(name, 0700) == 0);
        } else if (file->kind == FILE_LINK) {
            MUST(symlink("root0", name) == 0);
        } else if (file->kind == FILE_PLAIN) {
            fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            MUST(fd >= 0);
            MUST(write(fd, file->bytes, file->size) == (ssize_t)file->size);
            (void)close(fd);
        }
    }
}

/* Damage */

static int is_root(const one_file *file)
{
    return strncmp(file->name, "root", 4) == 0;
}

static uint32_t number_of(const one_file *file)
{
    return is_root(file) || file->name[0] == 'l'
               ? 0
               : (uint32_t)strtoul(file->name, NULL, 16);
}

/* A root's file is its size, flags, end, and itself. */
static void seal_root(one_file *file)
{
    uint8_t *end = file->bytes + 8;
    uint32_t size;
    if (file->size < ROOT_HEAD) {
        return;
    }
    lkv_format_u32(end + LKV_END_SIZE - 4, lkv_crc32(0, end, LKV_END_SIZE - 4));
    size = lkv_format_get_u32(file->bytes);
    if (size <= file->size - ROOT_HEAD) {
        damage_seal_root(file->bytes + ROOT_HEAD, size);
    }
}

static void seal(one_file *file)
{
    if (is_root(file)) {
        seal_root(file);
    } else if (number_of(file) >= LKV_RUN_FIRST) {
        damage_seal_blocks(file->bytes, file->size, BLOCK, number_of(file));
    } else if (number_of(file) > 0) {
        damage_seal_records(file->bytes, file->size);
    }
}

/* A place: near the start, where the bytes are, or anywhere. */
static size_t any_place(input *in, size_t size)
{
    size_t at = input_byte(in) | (size_t)input_byte(in) << 8;
    return at % size;
}

static void change_bytes(one_file *file, input *in)
{
    uint8_t how = input_byte(in);
    size_t count = how & 1 ? 1 : 1 + (how >> 1 & 7);
    size_t at;
    if (file->size == 0) {
        return;
    }
    at = any_place(in, file->size);
    for (size_t i = 0; i < count && at + i < file->size; i++) {
        uint8_t by = input_byte(in);
        file->bytes[at + i] = how & 1 ? file->bytes[at + i] ^ by : by;
    }
}

static void change_size(one_file *file, input *in)
{
    uint8_t how = input_byte(in);
    if (how & 1) {
        size_t more = how < 128 ? how : BLOCK;
        file->bytes = realloc(file->bytes, file->size + more + 1);
        MUST(file->bytes != NULL);
        memset(file->bytes + file->size, how & 2 ? 0 : how, more);
        file->size += more;
    } else if (file->size > 0) {
        file->size = any_place(in, file->size);
    }
}

/* Two files change their names; or one gets the bytes of the other. Whether only runs
 * are not what they were. */
static int swap(files *f, one_file *file, input *in, int copy)
{
    one_file *other = &f->file[input_byte(in) % f->count];
    if (!copy) {
        char name[FILES_NAME];
        memcpy(name, file->name, sizeof(name));
        memcpy(file->name, other->name, sizeof(name));
        memcpy(other->name, name, sizeof(name));
    } else if (other != file) {
        free(file->bytes);
        file->size = other->size;
        file->bytes = malloc(file->size + 1);
        MUST(file->bytes != NULL);
        memcpy(file->bytes, other->bytes, file->size);
    }
    return number_of(file) >= LKV_RUN_FIRST &&
           (copy || number_of(other) >= LKV_RUN_FIRST);
}

/* A file that the store knows nothing of; its name may be one that it will want. */
static void add_stranger(files *f, const one_file *like, input *in)
{
    static const uint32_t numbers[] = {2,
                                       3,
                                       9,
                                       LKV_PART_FIRST + 1,
                                       LKV_PART_FIRST + 4,
                                       LKV_RUN_FIRST + 1,
                                       LKV_RUN_FIRST + 6,
                                       0xffffffff};
    one_file *file = &f->file[f->count];
    uint32_t number = numbers[input_byte(in) & 7];
    if (f->count == FILES_MAX) {
        return;
    }
    *file = *like;
    (void)snprintf(file->name, sizeof(file->name), "%08x", number);
    for (size_t i = 0; i < f->count; i++) {
        if (strcmp(f->file[i].name, file->name) == 0) {
            return;
        }
    }
    file->bytes = malloc(file->size + 1);
    MUST(file->bytes != NULL);
    memcpy(file->bytes, like->bytes, file->size);
    f->count++;
}

enum files_damage files_change(files *f, input *in, int vouched)
{
    uint8_t how = input_byte(in);
    one_file *file = &f->file[input_byte(in) % f->count];
    enum files_damage damage = FILES_BROKEN;

    switch (how & 15) {
    case 0:
        file->kind = FILE_GONE;
        break;
    case 1:
        file->kind = input_byte(in) & 1 ? FILE_DIRECTORY : FILE_LINK;
        break;
    case 2:
    case 3:
        /* A block of a run is bound to its place. */
        damage = swap(f, file, in, how & 1) ? FILES_BROKEN : FILES_MOVED;
        break;
    case 4:
        add_stranger(f, file, in);
        break;
    case 5:
    case 6:
    case 7:
        change_size(file, in);
        break;
    default:
        change_bytes(file, in);
        break;
    }
    if (how & 128) {
        seal(file);
        return FILES_FORGED;
    }
    /* Which root is believed goes by what it says and by what `lock` does; without a
     * sync the newest commits may go. */
    return is_root(file) || file->name[0] == 'l' || !vouched ? FILES_MOVED : damage;
}
