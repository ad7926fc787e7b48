/*
 * power_story.h - a litekv table and an ordinary one on a power_disk that get the same
 * transactions, all kinds of them, and what both have to hold after each commit.
 */
#ifndef LKV_TEST_POWER_STORY_H
#define LKV_TEST_POWER_STORY_H

#include "check.h"
#include "power_disk.h"

typedef struct power_mode {
    const char *name;
    const char *journal;     /* PRAGMA journal_mode; NULL: one after the other */
    const char *synchronous; /* and PRAGMA synchronous */
    int page;
    size_t sector;
    int safe;     /* SQLITE_IOCAP_POWERSAFE_OVERWRITE */
    int attached; /* the ordinary table is in a database of its own */
} power_mode;

/* What there is in a database. */
typedef struct power_found {
    long long n;   /* commits, as the database counts them */
    uint64_t hash; /* of the schema and all rows but the extra one */
    int extra;     /* the row with the key POWER_EXTRA is there */
    char name[20]; /* of the litekv table; "": there is no table at all */
    char why[400]; /* what is wrong: it cannot be read, or the tables differ */
} power_found;

#define POWER_EXTRA "'~'"

typedef struct power_story {
    const power_mode *mode;
    power_disk *disk; /* with the record of all that was done */
    uint64_t *hashes; /* after each commit, `commits` + 1 of them */
    size_t commits;
    long long runs, parts; /* that the litekv table had, at most */
    size_t unfinished;     /* commits that left a merge or compaction under way */
} power_story;

/* Lives through it; power_story_end() frees. */
void power_story_tell(power_story *story, const power_mode *mode, uint64_t seed);
void power_story_end(power_story *story);

/* Opens the database on the disk in use, with what is attached to it. A code of
 * SQLite's; `*out` is to be closed in any case. */
int power_open(const power_mode *mode, sqlite3 **out);

/* Looks at all there is. 0 when something is wrong: `found->why`. */
int power_look(sqlite3 *db, power_found *found);

#endif
