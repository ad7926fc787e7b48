/*
 * power_disk.h - files in memory, as a system and its disk hold them: what programs
 * see, and, from a record of what was done to them, what a power cut would leave.
 *
 * A write is on the disk for certain when its file was synced since; a name that was
 * made, or removed, when the directory was. Until then each sector of it may be there
 * or not, in any order.
 */
#ifndef LKV_TEST_POWER_DISK_H
#define LKV_TEST_POWER_DISK_H

#include <stddef.h>
#include <stdint.h>

enum power_file { POWER_DATABASE, POWER_JOURNAL, POWER_WAL, POWER_OTHER, POWER_FILES };
/* In a set of syncs that are lost, 1 << POWER_...; the directory's is this: */
#define POWER_NAMES POWER_FILES

enum power_what {
    POWER_WRITE,
    POWER_TRUNCATE,
    POWER_SYNC,
    POWER_NAME, /* made or removed */
    POWER_SYNC_NAMES,
    POWER_RETURNED, /* a commit, to whoever asked for it */
    POWER_WHATS
};

enum power_kind {                /* of a cut: what became of what no sync covers */
                  POWER_DROPPED, /* nothing was done */
                  POWER_KEPT,    /* all was */
                  POWER_TORN, /* all up to some sector of some write, nothing after it
                               */
                  POWER_REORDERED, /* each sector was written or not */
                  POWER_SCRAMBLED, /* or holds anything */
                  POWER_KINDS
};

typedef struct power_bytes {
    uint8_t *data;
    size_t size, room;
} power_bytes;

#define POWER_SLOTS 8 /* locks of a WAL index: SQLITE_SHM_NLOCK */

/* A file, by whatever names it has, and who has locked it: power_vfs.c. */
typedef struct power_inode {
    enum power_file file;
    power_bytes now;
    int shared;
    const void *reserved, *pending, *exclusive;
    void **regions; /* of its WAL index */
    int region_count, region_users;
    int slot_shared[POWER_SLOTS];
    const void *slot_owner[POWER_SLOTS];
} power_inode;

typedef struct power_disk power_disk;

/* An empty disk. `sector` is what it writes as one; with `safe` the bytes of a sector
 * that are not written are not damaged: SQLITE_IOCAP_POWERSAFE_OVERWRITE. */
power_disk *power_disk_new(size_t sector, int safe);
power_disk *power_disk_copy(const power_disk *disk);
void power_disk_free(power_disk *disk);
size_t power_disk_sector(const power_disk *disk, int *safe);

/* What programs do. A file is a number; -1: there is none of that name. Without a name
 * it is nobody else's, and gone with the power. */
int power_find(const power_disk *disk, const char *name);
int power_make(power_disk *disk, const char *name, enum power_file file);
void power_remove(power_disk *disk, const char *name);
power_inode *power_at(power_disk *disk, int inode); /* until one more is made */
void power_write(power_disk *disk, int inode, uint64_t offset, const void *data,
                 size_t size);
void power_truncate(power_disk *disk, int inode, uint64_t size);
void power_sync(power_disk *disk, int inode);
void power_sync_names(power_disk *disk);

/* From here on all that is done is recorded; what is there now is on the disk. */
void power_record(power_disk *disk);
/* Records that a commit has returned. */
void power_returned(power_disk *disk);
/* Events from `from` on are what was done since power_record(). */
size_t power_events(const power_disk *disk, size_t *from);
enum power_what power_event_what(const power_disk *disk, size_t i);
enum power_file power_event_file(const power_disk *disk, size_t i);

/* Goes through a record, event by event. Syncs in the set `lost` are passed over, as if
 * the system lied about them. */
typedef struct power_walk power_walk;
power_walk *power_walk_new(const power_disk *record, unsigned lost);
void power_walk_free(power_walk *walk);
size_t power_walk_at(const power_walk *walk);
/* Takes in one event more. */
void power_walk_on(power_walk *walk);
/* The disk after a power cut before the next event, and a hash of its bytes. */
power_disk *power_walk_cut(const power_walk *walk, enum power_kind kind,
                           uint64_t *random, uint64_t *hash);

#endif
