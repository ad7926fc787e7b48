/*
 * power_disk.c - see power_disk.h.
 */
#include "power_disk.h"

#include "filter.h"
#include "random.h"

#include <stdlib.h>
#include <string.h>

#define NAMES 256       /* each transaction over two databases has one of its own */
#define NOISE_MAX 4096u /* the largest sector */

typedef struct event {
    enum power_what what;
    int inode, name; /* inode -1: the name was removed */
    uint64_t offset; /* or the size, when truncated */
    size_t size;
    uint8_t *data;
} event;

struct power_disk {
    size_t sector;
    int safe;
    power_inode *inodes;
    int inode_count;
    char *names[NAMES];
    int of_name[NAMES];
    int name_count;
    int records;
    event *events;
    size_t count, room, from;
};

struct power_walk {
    const power_disk *record;
    unsigned lost;
    size_t at;
    power_bytes *certain; /* of each inode: what is on the disk */
    int of_name[NAMES];   /* and where names lead there */
    size_t *pending;      /* events that no sync covers */
    size_t count, room;
};

static void *must(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* The file has at least `size` bytes; new ones are zero. */
static void grow(power_bytes *of, size_t size)
{
    if (size > of->room) {
        of->room = of->room == 0 ? size : size * 2;
        of->data = must(realloc(of->data, of->room));
    }
    if (size > of->size) {
        memset(of->data + of->size, 0, size - of->size);
        of->size = size;
    }
}

static void put(power_bytes *to, uint64_t offset, const void *data, size_t size)
{
    if (size > 0) {
        grow(to, (size_t)offset + size);
        memcpy(to->data + offset, data, size);
    }
}

static void resize(power_bytes *of, uint64_t size)
{
    grow(of, (size_t)size);
    of->size = (size_t)size;
}

/* --- disks ---------------------------------------------------------------------- */

power_disk *power_disk_new(size_t sector, int safe)
{
    power_disk *disk = must(calloc(1, sizeof(*disk)));
    disk->sector = sector;
    disk->safe = safe;
    return disk;
}

static int new_inode(power_disk *disk, enum power_file file, const power_bytes *from)
{
    power_inode *inode;
    disk->inodes = must(
        realloc(disk->inodes, ((size_t)disk->inode_count + 1) * sizeof(power_inode)));
    inode = &disk->inodes[disk->inode_count];
    *inode = (power_inode){.file = file};
    if (from != NULL) {
        put(&inode->now, 0, from->data, from->size);
    }
    return disk->inode_count++;
}

/* The number of a name, which it keeps for good. */
static int name_number(power_disk *disk, const char *name)
{
    int i = 0;
    while (i < disk->name_count && strcmp(disk->names[i], name) != 0) {
        i++;
    }
    if (i == disk->name_count) {
        if (i == NAMES) {
            abort();
        }
        disk->names[i] = must(strdup(name));
        disk->of_name[i] = -1;
        disk->name_count++;
    }
    return i;
}

power_disk *power_disk_copy(const power_disk *disk)
{
    power_disk *copy = power_disk_new(disk->sector, disk->safe);
    for (int i = 0; i < disk->name_count; i++) {
        int name = name_number(copy, disk->names[i]);
        if (disk->of_name[i] >= 0) {
            const power_inode *from = &disk->inodes[disk->of_name[i]];
            copy->of_name[name] = new_inode(copy, from->file, &from->now);
        }
    }
    return copy;
}

void power_disk_free(power_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    for (int i = 0; i < disk->inode_count; i++) {
        free(disk->inodes[i].now.data);
    }
    for (int i = 0; i < disk->name_count; i++) {
        free(disk->names[i]);
    }
    for (size_t i = 0; i < disk->count; i++) {
        free(disk->events[i].data);
    }
    free(disk->inodes);
    free(disk->events);
    free(disk);
}

size_t power_disk_sector(const power_disk *disk, int *safe)
{
    *safe = disk->safe;
    return disk->sector;
}

/* --- what programs do ----------------------------------------------------------- */

/* An event more, or one that goes nowhere: nobody finds a file without a name. */
static event *note(power_disk *disk, enum power_what what, int inode)
{
    static event nobody;
    event *at = &nobody;
    if (disk->records && (inode < 0 || disk->inodes[inode].file != POWER_OTHER)) {
        if (disk->count == disk->room) {
            disk->room = disk->room == 0 ? 1024 : disk->room * 2;
            disk->events = must(realloc(disk->events, disk->room * sizeof(event)));
        }
        at = &disk->events[disk->count++];
    }
    *at = (event){.what = what, .inode = inode, .name = -1};
    return at;
}

int power_find(const power_disk *disk, const char *name)
{
    for (int i = 0; i < disk->name_count; i++) {
        if (strcmp(disk->names[i], name) == 0) {
            return disk->of_name[i];
        }
    }
    return -1;
}

int power_make(power_disk *disk, const char *name, enum power_file file)
{
    int inode = new_inode(disk, file, NULL);
    if (name != NULL) {
        int number = name_number(disk, name);
        disk->of_name[number] = inode;
        note(disk, POWER_NAME, inode)->name = number;
    }
    return inode;
}

void power_remove(power_disk *disk, const char *name)
{
    int number = name_number(disk, name);
    disk->of_name[number] = -1;
    note(disk, POWER_NAME, -1)->name = number;
}

power_inode *power_at(power_disk *disk, int inode)
{
    return &disk->inodes[inode];
}

void power_write(power_disk *disk, int inode, uint64_t offset, const void *data,
                 size_t size)
{
    event *at = note(disk, POWER_WRITE, inode);
    if (disk->records && disk->inodes[inode].file != POWER_OTHER) {
        at->offset = offset;
        at->size = size;
        at->data = must(malloc(size + 1));
        memcpy(at->data, data, size);
    }
    put(&disk->inodes[inode].now, offset, data, size);
}

void power_truncate(power_disk *disk, int inode, uint64_t size)
{
    note(disk, POWER_TRUNCATE, inode)->offset = size;
    resize(&disk->inodes[inode].now, size);
}

void power_sync(power_disk *disk, int inode)
{
    note(disk, POWER_SYNC, inode);
}

void power_sync_names(power_disk *disk)
{
    note(disk, POWER_SYNC_NAMES, -1);
}

void power_returned(power_disk *disk)
{
    note(disk, POWER_RETURNED, -1);
}

void power_record(power_disk *disk)
{
    disk->records = 1;
    for (int i = 0; i < disk->name_count; i++) {
        int inode = disk->of_name[i];
        if (inode >= 0) {
            power_bytes now = disk->inodes[inode].now;
            note(disk, POWER_NAME, inode)->name = i;
            if (now.size > 0) {
                power_write(disk, inode, 0, now.data, now.size);
            }
            power_sync(disk, inode);
        }
    }
    power_sync_names(disk);
    disk->from = disk->count;
}

size_t power_events(const power_disk *disk, size_t *from)
{
    *from = disk->from;
    return disk->count;
}

enum power_what power_event_what(const power_disk *disk, size_t i)
{
    return disk->events[i].what;
}

enum power_file power_event_file(const power_disk *disk, size_t i)
{
    int inode = disk->events[i].inode;
    return inode < 0 ? POWER_OTHER : disk->inodes[inode].file;
}

/* --- what is left of it --------------------------------------------------------- */

power_walk *power_walk_new(const power_disk *record, unsigned lost)
{
    power_walk *walk = must(calloc(1, sizeof(*walk)));
    walk->record = record;
    walk->lost = lost;
    walk->certain = must(calloc((size_t)record->inode_count + 1, sizeof(power_bytes)));
    for (int i = 0; i < NAMES; i++) {
        walk->of_name[i] = -1;
    }
    while (walk->at < record->from) {
        power_walk_on(walk);
    }
    return walk;
}

void power_walk_free(power_walk *walk)
{
    for (int i = 0; i < walk->record->inode_count; i++) {
        free(walk->certain[i].data);
    }
    free(walk->certain);
    free(walk->pending);
    free(walk);
}

size_t power_walk_at(const power_walk *walk)
{
    return walk->at;
}

static void apply(power_bytes *to, const event *at)
{
    if (at->what == POWER_WRITE) {
        put(to, at->offset, at->data, at->size);
    } else {
        resize(to, at->offset);
    }
}

/* What waits for this sync is on the disk. */
static void settle(power_walk *walk, const event *sync)
{
    size_t left = 0;
    for (size_t i = 0; i < walk->count; i++) {
        const event *at = &walk->record->events[walk->pending[i]];
        if (sync->what == POWER_SYNC_NAMES && at->what == POWER_NAME) {
            walk->of_name[at->name] = at->inode;
        } else if (sync->what == POWER_SYNC && at->what != POWER_NAME &&
                   at->inode == sync->inode) {
            apply(&walk->certain[at->inode], at);
        } else {
            walk->pending[left++] = walk->pending[i];
        }
    }
    walk->count = left;
}

void power_walk_on(power_walk *walk)
{
    const event *at = &walk->record->events[walk->at];
    unsigned bit = at->what == POWER_SYNC_NAMES
                       ? 1u << POWER_NAMES
                       : 1u << power_event_file(walk->record, walk->at);
    if (at->what == POWER_SYNC || at->what == POWER_SYNC_NAMES) {
        if ((walk->lost & bit) == 0 || walk->at < walk->record->from) {
            settle(walk, at);
        }
    } else if (at->what != POWER_RETURNED) {
        if (walk->count == walk->room) {
            walk->room = walk->room == 0 ? 256 : walk->room * 2;
            walk->pending = must(realloc(walk->pending, walk->room * sizeof(size_t)));
        }
        walk->pending[walk->count++] = walk->at;
    }
    walk->at++;
}

/* How a cut treats what waits: `stop` is the place of the event that is torn. */
typedef struct cut {
    const power_disk *record;
    enum power_kind kind;
    uint64_t *random;
    size_t stop;
    /* The first change of names that was not done. File systems do what they do to
     * names and sizes in order, and SQLite counts on it: in journal mode DELETE it
     * makes a database smaller after it has removed the journal, with no sync between.
     */
    size_t undone;
} cut;

/* Whether what happened as a whole, at place `i` of what waits, was done. */
static int is_done(const cut *c, size_t i)
{
    if (c->kind == POWER_DROPPED || c->kind == POWER_KEPT) {
        return c->kind == POWER_KEPT;
    }
    if (c->kind == POWER_TORN && i != c->stop) {
        return i < c->stop;
    }
    return random_below(c->random, 2) == 0;
}

/* Anything at all, where the disk was writing; without `safe` in the whole sector. */
static void scramble(const cut *c, const event *at, uint64_t offset, size_t size,
                     power_bytes *to)
{
    uint8_t noise[NOISE_MAX];
    size_t sector = c->record->sector;
    if (!c->record->safe) {
        uint64_t start = offset - offset % sector;
        uint64_t end = to->size > offset + size ? to->size : offset + size;
        size = (size_t)(end < start + sector ? end - start : sector);
        offset = start;
    }
    for (size_t i = 0; i < size; i++) {
        noise[i] = (uint8_t)random_next(c->random);
    }
    /* SQLite believes what its header says of auto_vacuum before it looks for a
     * journal, if only the page size is one. */
    if (c->record->inodes[at->inode].file == POWER_DATABASE && offset <= 16 &&
        offset + size > 16) {
        noise[16 - offset] = 0xff;
    }
    put(to, offset, noise, size);
}

/* A write, sector by sector. */
static void write_some(const cut *c, const event *at, size_t i, power_bytes *to)
{
    size_t sector = c->record->sector;
    for (size_t done = 0; done < at->size;) {
        size_t size = sector - (size_t)(at->offset + done) % sector;
        size = size < at->size - done ? size : at->size - done;
        if (c->kind == POWER_TORN && i == c->stop && random_below(c->random, 3) == 0) {
            return;
        }
        if (c->kind == POWER_TORN ? i <= c->stop : is_done(c, i)) {
            put(to, at->offset + done, at->data + done, size);
        } else if (c->kind == POWER_SCRAMBLED && random_below(c->random, 2) == 0) {
            scramble(c, at, at->offset + done, size, to);
        }
        done += size;
    }
}

/* Where names lead: for those that were changed since, any of what they led to. */
static void cut_names(const power_walk *walk, cut *c, int *of_name)
{
    memcpy(of_name, walk->of_name, NAMES * sizeof(int));
    c->undone = walk->count;
    for (size_t i = 0; i < walk->count; i++) {
        const event *at = &walk->record->events[walk->pending[i]];
        if (at->what != POWER_NAME) {
            continue;
        }
        if (is_done(c, i)) {
            of_name[at->name] = at->inode;
        } else if (c->undone == walk->count) {
            c->undone = i;
        }
    }
}

power_disk *power_walk_cut(const power_walk *walk, enum power_kind kind,
                           uint64_t *random, uint64_t *hash)
{
    const power_disk *record = walk->record;
    power_disk *disk = power_disk_new(record->sector, record->safe);
    cut c = {.record = record, .kind = kind, .random = random};
    int of_name[NAMES];
    int *is = must(calloc((size_t)record->inode_count + 1, sizeof(int)));

    if (walk->count > 0) {
        c.stop = random_below(random, 2) == 0
                     ? walk->count - 1
                     : (size_t)random_below(random, walk->count);
    }
    cut_names(walk, &c, of_name);
    for (int i = 0; i < record->name_count; i++) {
        if (of_name[i] >= 0) {
            int name = name_number(disk, record->names[i]);
            disk->of_name[name] = new_inode(disk, record->inodes[of_name[i]].file,
                                            &walk->certain[of_name[i]]);
            is[of_name[i]] = disk->of_name[name] + 1;
        }
    }
    for (size_t i = 0; i < walk->count; i++) {
        const event *at = &record->events[walk->pending[i]];
        if (at->what == POWER_NAME || is[at->inode] == 0) {
            continue;
        }
        if (at->what == POWER_WRITE) {
            write_some(&c, at, i, &disk->inodes[is[at->inode] - 1].now);
        } else if (is_done(&c, i) && i < c.undone) {
            apply(&disk->inodes[is[at->inode] - 1].now, at);
        }
    }
    free(is);
    *hash = 1;
    for (int i = 0; i < disk->name_count; i++) {
        const power_inode *file = &disk->inodes[disk->of_name[i]];
        *hash = *hash * 31 +
                lkv_filter_hash((lkv_bytes){disk->names[i], strlen(disk->names[i])});
        *hash =
            *hash * 31 + lkv_filter_hash((lkv_bytes){file->now.data, file->now.size});
    }
    return disk;
}
