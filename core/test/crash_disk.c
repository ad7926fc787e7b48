/*
 * crash_disk.c - see crash_disk.h.
 *
 * A file's bytes are those of its last sync, and of the writes since then a cut takes
 * none, all, the first ones, or any sectors. A name leads to what it led to when the
 * directory was synced last, or to any that it has led to since. The page in `lock` is
 * mapped: the disk has it as it is, or as it was at some moment before.
 */
#include "crash_disk.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u
#define PAGE 4096u
#define PAGES 4

enum cut { DROPPED, KEPT, FIRST, SECTORS, CUTS };

typedef struct write {
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
} write;

typedef struct image {
    uint8_t *bytes;
    size_t size;
} image;

/* It stays when its name goes: a power cut may bring that back. */
struct crash_file {
    crash_file *next; /* of all */
    int is_lock;
    image synced;
    write *writes; /* since then */
    size_t count, room;
};

/* What a name led to when the directory was synced, and each time that it changed
 * since; the last is what it leads to. NULL: nothing. */
typedef struct name {
    char text[CRASH_NAME];
    crash_file **past;
    size_t count, room;
} name;

struct crash_disk {
    const char *path;
    uint64_t *random;
    crash_file *files;
    name *names;
    size_t name_count, name_room;
    /* Of the last crash_disk_each(), which may end in a death; `each` makes and removes
     * names. */
    char (*listed)[CRASH_NAME];
    uint8_t pages[PAGES][PAGE]; /* which the disk may have of `lock` */
    size_t page_count;
};

/* Room for one more of `size` bytes each. */
static void *grown(void *old, size_t count, size_t *room, size_t size)
{
    if (count < *room) {
        return old;
    }
    *room = *room * 2 + 8;
    old = realloc(old, *room * size);
    if (old == NULL) {
        abort();
    }
    return old;
}

static void path_of(const crash_disk *d, const char *text, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", d->path, text);
}

/* --- files ------------------------------------------------------------------------ */

static void put(image *to, uint64_t offset, const uint8_t *bytes, size_t size)
{
    size_t end = (size_t)offset + size;
    if (size == 0) {
        return;
    }
    if (end > to->size) {
        to->bytes = realloc(to->bytes, end);
    }
    if (to->bytes == NULL) {
        abort();
    }
    if (end > to->size) {
        memset(to->bytes + to->size, 0, end - to->size);
        to->size = end;
    }
    memcpy(to->bytes + offset, bytes, size);
}

static crash_file *new_file(crash_disk *d, const char *text)
{
    crash_file *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        abort();
    }
    made->is_lock = strcmp(text, "lock") == 0;
    made->next = d->files;
    d->files = made;
    return made;
}

void crash_disk_write(crash_file *file, uint64_t offset, const void *bytes, size_t size)
{
    write *at;
    file->writes = grown(file->writes, file->count, &file->room, sizeof(*file->writes));
    at = &file->writes[file->count++];
    *at = (write){offset, size, malloc(size + 1)};
    if (at->bytes == NULL) {
        abort();
    }
    memcpy(at->bytes, bytes, size);
}

/* Whether there is one. */
static int read_page(const crash_disk *d, uint8_t *page)
{
    char path[400];
    size_t got = 0;
    FILE *in;
    path_of(d, "lock", path, sizeof(path));
    in = fopen(path, "rb");
    if (in != NULL) {
        got = fread(page, 1, PAGE, in);
        (void)fclose(in);
    }
    return got == PAGE;
}

void crash_disk_write_back(crash_disk *d)
{
    size_t at =
        d->page_count < PAGES ? d->page_count : (size_t)check_below(d->random, PAGES);
    if (read_page(d, d->pages[at]) && at == d->page_count) {
        d->page_count++;
    }
}

void crash_disk_sync(crash_disk *d, crash_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        write *at = &file->writes[i];
        put(&file->synced, at->offset, at->bytes, at->size);
        free(at->bytes);
    }
    file->count = 0;
    if (file->is_lock) {
        d->page_count = 0;
        crash_disk_write_back(d);
    }
}

static void free_files(crash_file *first)
{
    while (first != NULL) {
        crash_file *next = first->next;
        for (size_t i = 0; i < first->count; i++) {
            free(first->writes[i].bytes);
        }
        free(first->writes);
        free(first->synced.bytes);
        free(first);
        first = next;
    }
}

/* --- names ------------------------------------------------------------------------ */

static crash_file *now(const name *n)
{
    return n->past[n->count - 1];
}

static void lead(name *n, crash_file *to)
{
    n->past = grown(n->past, n->count, &n->room, sizeof(crash_file *));
    n->past[n->count++] = to;
}

static name *new_name(crash_disk *d, const char *text, crash_file *to)
{
    name *made;
    if (strlen(text) >= CRASH_NAME) {
        abort();
    }
    d->names = grown(d->names, d->name_count, &d->name_room, sizeof(*d->names));
    made = &d->names[d->name_count++];
    memset(made, 0, sizeof(*made));
    snprintf(made->text, sizeof(made->text), "%s", text);
    lead(made, to);
    return made;
}

static name *find(crash_disk *d, const char *text)
{
    for (size_t i = 0; i < d->name_count; i++) {
        if (strcmp(d->names[i].text, text) == 0) {
            return &d->names[i];
        }
    }
    return NULL;
}

crash_file *crash_disk_find(crash_disk *d, const char *text)
{
    const name *n = find(d, text);
    return n == NULL ? NULL : now(n);
}

crash_file *crash_disk_make(crash_disk *d, const char *text)
{
    crash_file *made = new_file(d, text);
    name *n = find(d, text);
    lead(n == NULL ? new_name(d, text, NULL) : n, made);
    return made;
}

void crash_disk_remove(crash_disk *d, const char *text)
{
    name *n = find(d, text);
    if (n == NULL) {
        abort();
    }
    lead(n, NULL);
}

/* Names that lead nowhere, and cannot come back, are forgotten. */
void crash_disk_sync_names(crash_disk *d)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->name_count; i++) {
        name *n = &d->names[i];
        if (now(n) == NULL) {
            free(n->past);
            continue;
        }
        n->past[0] = now(n);
        n->count = 1;
        d->names[kept++] = *n;
    }
    d->name_count = kept;
}

int crash_disk_each(crash_disk *d, int (*each)(void *arg, const char *name), void *arg)
{
    size_t count = 0;
    int rc = 0;
    d->listed = realloc(d->listed, (d->name_count + 1) * sizeof(*d->listed));
    if (d->listed == NULL) {
        abort();
    }
    for (size_t i = 0; i < d->name_count; i++) {
        if (now(&d->names[i]) != NULL) {
            memcpy(d->listed[count++], d->names[i].text, CRASH_NAME);
        }
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = each(arg, d->listed[i]);
    }
    return rc;
}

/* --- cuts ------------------------------------------------------------------------- */

static void put_sectors(crash_disk *d, image *to, const write *at, int first)
{
    for (size_t done = 0; done < at->size;) {
        size_t size = SECTOR - (size_t)(at->offset + done) % SECTOR;
        size = size < at->size - done ? size : at->size - done;
        if (check_below(d->random, 2) == 0) {
            put(to, at->offset + done, at->bytes + done, size);
        } else if (first) {
            return;
        }
        done += size;
    }
}

static void cut_file(crash_disk *d, const crash_file *from, enum cut kind, image *to)
{
    size_t whole = kind == KEPT    ? from->count
                   : kind == FIRST ? (size_t)check_below(d->random, from->count + 1)
                                   : 0;
    put(to, 0, from->synced.bytes, from->synced.size);
    for (size_t i = 0; i < from->count && kind != DROPPED; i++) {
        const write *at = &from->writes[i];
        if (i < whole) {
            put(to, at->offset, at->bytes, at->size);
        } else if (kind == SECTORS || i == whole) {
            put_sectors(d, to, at, kind == FIRST);
        }
    }
}

/* The name as it was, and as the cut leaves it. */
static void cut_name(crash_disk *d, const name *from, enum cut kind,
                     const uint8_t *page)
{
    size_t at = kind == DROPPED ? 0
                : kind == KEPT  ? from->count - 1
                                : (size_t)check_below(d->random, from->count);
    const crash_file *was = from->past[at];
    char path[400];
    FILE *out;
    crash_file *is;

    path_of(d, from->text, path, sizeof(path));
    if (now(from) != NULL && remove(path) != 0) {
        abort();
    }
    if (was == NULL) {
        return;
    }
    is = new_file(d, from->text);
    cut_file(d, was, kind, &is->synced);
    if (was->is_lock && is->synced.size == PAGE) {
        memcpy(is->synced.bytes, page, PAGE);
    }
    out = fopen(path, "wbx");
    if (out == NULL ||
        (is->synced.size > 0 &&
         fwrite(is->synced.bytes, 1, is->synced.size, out) != is->synced.size)) {
        abort();
    }
    if (fclose(out) != 0) {
        abort();
    }
    (void)new_name(d, from->text, is);
}

void crash_disk_cut(crash_disk *d)
{
    enum cut kind = (enum cut)check_below(d->random, CUTS);
    crash_file *files = d->files;
    name *names = d->names;
    size_t count = d->name_count;
    uint8_t page[PAGE] = {0};

    if (d->page_count > 0 && check_below(d->random, 3) == 0) {
        memcpy(page, d->pages[check_below(d->random, d->page_count)], PAGE);
    } else if (!read_page(d, page)) {
        abort();
    }
    d->files = NULL;
    d->names = NULL;
    d->name_count = d->name_room = 0;
    for (size_t i = 0; i < count; i++) {
        cut_name(d, &names[i], kind, page);
        free(names[i].past);
    }
    free(names);
    free_files(files);
    memcpy(d->pages[0], page, PAGE);
    d->page_count = 1;
}

/* --- opening ---------------------------------------------------------------------- */

crash_disk *crash_disk_open(const char *path, uint64_t *random)
{
    crash_disk *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        abort();
    }
    d->path = path;
    d->random = random;
    return d;
}

void crash_disk_close(crash_disk *d)
{
    for (size_t i = 0; i < d->name_count; i++) {
        free(d->names[i].past);
    }
    free(d->names);
    free(d->listed);
    free_files(d->files);
    free(d);
}
