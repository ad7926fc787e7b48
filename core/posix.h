/*
 * posix.h - what the files of storage_posix share.
 */
#ifndef LKV_POSIX_H
#define LKV_POSIX_H

#include "cache.h"
#include "format.h"
#include "storage_posix.h"

#include <stdatomic.h>

#define LKV_POSIX_GONE                                                                 \
    "it was moved or removed while it was open; open the database again"
#define LKV_POSIX_SHUT                                                                 \
    "a write could not be made to last or undone; close the database and open it "     \
    "again"
#define LKV_POSIX_MAGIC "LKVlock1"
#define LKV_POSIX_PAGE 4096u    /* bytes of `lock` */
#define LKV_POSIX_WRITER 4096u  /* the byte that the writer locks, */
#define LKV_POSIX_OPENERS 4097u /* and the one that all who have it open share */
#define LKV_POSIX_SLOTS 3
#define LKV_POSIX_SLOT_HEADER 80u /* of a root's file, before the root */

/* The page that all who have the store open map. */
typedef struct lkv_posix_page {
    char magic[8];
    uint8_t boot[16]; /* of the machine when the end was last made out */
    /* Odd while the end is being written, or is not to be believed. */
    _Atomic uint64_t sequence;
    _Atomic uint64_t end[LKV_END_SIZE / 8];
    /* 1: a writer has written what it has not published; 2: a sync failed as well. */
    _Atomic uint64_t writing;
} lkv_posix_page;

typedef struct lkv_posix_object {
    struct lkv_posix_object *next;
    uint32_t number;
    int file;           /* -1: closed */
    int writable;       /* `file` is opened to write */
    int touched;        /* written in this transaction */
    int dirty;          /* written since it was synced last, */
    uint64_t synced;    /* when it had so many bytes */
    uint64_t size;      /* bytes that may be read */
    uint64_t allocated; /* bytes of the file; what is beyond `size` is no one's */
    uint64_t step;      /* by which it grew last */
    uint64_t stable;    /* bytes that no rollback takes back: may be cached */
    uint8_t *map;
    size_t mapped;
    uint8_t *seen; /* of a run: a bit for each block that was read since it changed */
    size_t seen_size;
    uint64_t round; /* of the last hold */
} lkv_posix_object;

/* A commit that was written and is not published yet. */
typedef struct lkv_posix_prepared {
    lkv_end end;
    uint8_t *root; /* room for a slot's header, then the one written with it; or NULL */
    size_t root_size;
    int durable;
    int copy; /* of the root in another slot */
} lkv_posix_prepared;

#define LKV_POSIX_HEADS 256u

typedef struct lkv_posix {
    lkv_storage base;
    const lkv_os *os;
    char *path, *name; /* `name` has room for a path of any file */
    char *lock_name;
    size_t path_size;
    int shared_memory, mapped;
    unsigned mode;

    /* The store, once it is open. */
    int lock_file;
    int absent; /* after LKV_CANTOPEN: there is nothing at all, */
    int half;   /* or its making was broken off */
    int read_only;
    uint64_t forks;
    lkv_posix_page *page;
    uint8_t boot[16];
    int restarted; /* the machine was, since the page was written */
    lkv_end end;   /* as last read or published; generation 0: unknown */
    uint64_t sequence;
    uint64_t torn;

    /* The root of `end`. */
    uint8_t *root;
    size_t root_size;
    int wrong; /* a slot has something that is no root, and may have been the newest */
    int slot;  /* where the published root stands: 0 to 2; -1: not known */
    /* The newest root that is durable, and where it stands; -1: there is none. */
    int durable_slot;
    int copied; /* all was done to have the published one twice */
    uint8_t *durable;
    size_t durable_size;

    /* A writer's. */
    int locked;
    int64_t seen_named; /* when `lock` had a name last, in ms */
    int settling;       /* the lock is held to make out the end, and no longer */
    int making;         /* a new store: what is published is seen at once */
    int made_directory;
    int broken;  /* a sync failed: no writes until it is opened again */
    int again;   /* what is synced is written once more before */
    int cleaned; /* nothing is left of what the writer before did not publish */
    int named;   /* files were made whose names are not synced */
    int strays;  /* objects were taken back whose files are still there */
    uint8_t *new_root;
    size_t new_root_size;
    lkv_posix_prepared *prepared;
    size_t prepared_count, prepared_room;

    lkv_posix_object *heads[LKV_POSIX_HEADS];
    lkv_posix_object *last; /* found last */
    uint64_t round;
    int held; /* all that the root of `end` names is here */
    lkv_cache *cache;
    uint8_t *scratch;
    size_t scratch_size;
} lkv_posix;

static inline lkv_posix *lkv_posix_of(lkv_storage *storage)
{
    return (lkv_posix *)storage;
}

/* posix_name.c: the path of a file of the store, valid until the next call. */
const char *lkv_posix_name(lkv_posix *posix, const char *file);
const char *lkv_posix_object_name(lkv_posix *posix, uint32_t number);
/* The directory that has the store's own name; likewise. */
const char *lkv_posix_parent(lkv_posix *posix);
/* Calls `each` with the name, within the store, of each of its files. */
int lkv_posix_each(lkv_posix *posix, int (*each)(void *arg, const char *name),
                   void *arg);
/* The number of the object that a file of this name would be; 0: none. */
uint32_t lkv_posix_number(const char *name);
/* Whether a file of this name can be one of a store. */
int lkv_posix_is_ours(const char *name);
/* Result and text for an errno, about a file of the store, or about it all (""). */
int lkv_posix_failed(lkv_posix *posix, lkv_error *err, int os_errno, const char *what,
                     const char *file);
/* "PATH: why" */
int lkv_posix_error(lkv_posix *posix, lkv_error *err, int rc, const char *why);

static inline int lkv_posix_is_segment(const lkv_posix_object *object)
{
    return object->number < LKV_PART_FIRST;
}

static inline int lkv_posix_is_run(const lkv_posix_object *object)
{
    return object->number >= LKV_RUN_FIRST;
}

/* What the cache calls the block at `offset`. */
static inline uint64_t lkv_posix_block_id(const lkv_posix *posix, uint32_t number,
                                          uint64_t offset)
{
    return (uint64_t)number << 32 | offset / posix->base.block;
}

/* Whether the name of `lock` still leads to the file that is open: 0, or an errno,
 * ESTALE when it does not. The names of a store that was moved or removed lead to
 * nothing, or to another store that came into its place. */
int lkv_posix_same(const lkv_posix *posix);

/* posix_object.c */
/* These give an errno, ESTALE when the name is not the store's any more. Where too many
 * files are open, some of objects are closed. */
int lkv_posix_open_file(lkv_posix *posix, const char *name, enum lkv_os_use use,
                        int *file);
/* The names in the store's directory, or its own in the one above, are made to last. */
LKV_MUST_CHECK int lkv_posix_sync_directory(lkv_posix *posix, int parent);
/* The file is closed by lkv_posix_close_file(). */
int lkv_posix_open_object(lkv_posix *posix, uint32_t number, enum lkv_os_use use,
                          int *file);
void lkv_posix_close_file(lkv_posix *posix, lkv_posix_object *object);
int lkv_posix_object_failed(lkv_posix *posix, lkv_error *err, int os_errno,
                            const char *what, uint32_t number);
/* A new entry, which takes over the file; NULL without memory. */
lkv_posix_object *lkv_posix_add(lkv_posix *posix, uint32_t number, int file);
void lkv_posix_drop(lkv_posix *posix, lkv_posix_object *object);
/* The object, opened to read when it is not known; `*out` is NULL when there is none.
 */
LKV_MUST_CHECK int lkv_posix_find_or_open(lkv_posix *posix, uint32_t number,
                                          lkv_posix_object **out, lkv_error *err);
LKV_MUST_CHECK int lkv_posix_map(lkv_posix *posix, lkv_posix_object *object,
                                 lkv_error *err);
int lkv_posix_read(lkv_storage *storage, uint32_t object, uint64_t offset, size_t want,
                   lkv_bytes *view, lkv_error *err);

/* posix_write.c */
int lkv_posix_write(lkv_storage *storage, uint32_t object, uint64_t offset,
                    lkv_bytes bytes, lkv_error *err);
void lkv_posix_rewind(lkv_storage *storage, uint32_t object, uint64_t offset);
int lkv_posix_remove(lkv_storage *storage, uint32_t object, uint64_t offset,
                     lkv_error *err);
int lkv_posix_list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                   void *arg, lkv_error *err);
int lkv_posix_hold(lkv_storage *storage, const lkv_held *objects, size_t count,
                   lkv_error *err);
void lkv_posix_forget(lkv_storage *storage, uint32_t object, uint64_t offset);
lkv_posix_object *lkv_posix_find(lkv_posix *posix, uint32_t number);
/* Opens its file, if it is not open (so): an errno. */
int lkv_posix_open_to_read(lkv_posix *posix, lkv_posix_object *object);
int lkv_posix_open_to_write(lkv_posix *posix, lkv_posix_object *object);
/* Lets go of all objects. */
void lkv_posix_drop_all(lkv_posix *posix);
/* Syncs what this handle wrote since it was synced last, and new names. */
LKV_MUST_CHECK int lkv_posix_sync_all(lkv_posix *posix, lkv_error *err);
/* The same, and all that a root names, whoever wrote it. */
LKV_MUST_CHECK int lkv_posix_sync_root(lkv_posix *posix, lkv_bytes root,
                                       lkv_error *err);
/* A transaction is over: files that it wrote are closed, and stay mapped. */
void lkv_posix_rest(lkv_posix *posix);
/* Zeros what stands in the file of `object` from `offset` on. */
LKV_MUST_CHECK int lkv_posix_clean(lkv_posix *posix, uint32_t object, uint64_t offset,
                                   lkv_error *err);
/* Removes the files of objects that the published root names as garbage, but for those
 * that the durable root did before. */
void lkv_posix_remove_gone(lkv_posix *posix, lkv_bytes root);
/* Whether a power cut may bring a root back that names more than the published one
 * does: nothing is removed then. */
int lkv_posix_may_come_back(const lkv_posix *posix);
/* Notes in `writing` that what is not published is written now. */
void lkv_posix_writes(lkv_posix *posix);
/* No later sync makes up for one that failed: the handle is of no use, and the next
 * writer is told. */
void lkv_posix_break(lkv_posix *posix);
/* Reads all of a file and writes it where it was. After a failed sync the system may
 * take for written what is in no disk. An errno. */
LKV_MUST_CHECK int lkv_posix_write_again(lkv_posix *posix, int file);
/* Removes the files of objects that are not held. */
void lkv_posix_remove_strays(lkv_posix *posix);

/* posix_open.c */
/* Whether this is the process that opened it: a child of fork() has a copy of what a
 * writer knows, and may write nothing. */
int lkv_posix_ours(const lkv_posix *posix);
/* The error of one that is not. */
int lkv_posix_forked(lkv_posix *posix, lkv_error *err);
/* Opens it, if it is not open. */
LKV_MUST_CHECK int lkv_posix_ready(lkv_posix *posix, lkv_error *err);
/* Opens and maps the file with locks and page, and joins nobody. */
LKV_MUST_CHECK int lkv_posix_open_lock(lkv_posix *posix, lkv_error *err);
/* The page is not to be believed any more. */
void lkv_posix_distrust(lkv_posix *posix);
#define LKV_POSIX_PATIENCE 10000 /* ms that another may take to make out the end */

/* posix_root.c */
#define LKV_POSIX_ROOT_LOST "the root of the newest commit is missing or damaged"
int lkv_posix_read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err);
/* Takes the root of `generation`, or the one that counts when that is 0, and the end
 * that it was written with. LKV_ABSENT; LKV_MOVED: what there is is wrong, or of other
 * generations. */
LKV_MUST_CHECK int lkv_posix_load_root(lkv_posix *posix, uint64_t generation,
                                       lkv_end *end, lkv_error *err);
/* Writes a prepared root into the free slot. */
LKV_MUST_CHECK int lkv_posix_put_root(lkv_posix *posix, const lkv_posix_prepared *from,
                                      lkv_error *err);
/* Writes the published root once more, when it is durable, into the slot that comes
 * free last, whose number is the result. There is no sync, because a power cut leaves
 * the first one; what fails is let be: -1. */
int lkv_posix_copy_root(lkv_posix *posix);
/* The same, for who removes what an older root may name: once for each root. */
void lkv_posix_have_copy(lkv_posix *posix);
/* The first `keep` prepared commits are published: notes where the roots are now.
 * Whether a durable one is among them. */
int lkv_posix_took_root(lkv_posix *posix, size_t keep);
/* LKV_CORRUPT when behind `end`, which the newest right root leads to, a segment has
 * begun of which a commit says that it had been synced: the root that lists it is lost.
 * The writer's lock is held. */
LKV_MUST_CHECK int lkv_posix_look_beyond(lkv_posix *posix, const lkv_end *end,
                                         lkv_error *err);
/* After a power cut: no root stays but the one that counts. */
LKV_MUST_CHECK int lkv_posix_blot_others(lkv_posix *posix, lkv_error *err);
/* Undoes the prepared commits from number `first` on, or lets go of them. */
void lkv_posix_undo(lkv_posix *posix, size_t first);
void lkv_posix_free_prepared(lkv_posix *posix, size_t first);

/* posix_end.c */
int lkv_posix_write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                         lkv_error *err);
int lkv_posix_read_end(lkv_storage *storage, lkv_end *end, lkv_error *err);
int lkv_posix_publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err);
int lkv_posix_root_lost(lkv_storage *storage, const lkv_end *end, lkv_error *err);
int lkv_posix_settle(lkv_storage *storage, const lkv_end *end, uint64_t torn,
                     lkv_error *err);
int lkv_posix_lock(lkv_storage *storage, int64_t wait_ms, lkv_error *err);
void lkv_posix_unlock(lkv_storage *storage, const lkv_end *end);
/* Syncs the roots as they stand: their writer died before it could. */
LKV_MUST_CHECK int lkv_posix_sync_roots(lkv_posix *posix, lkv_error *err);
/* Whether there is a root: LKV_OK, LKV_ABSENT. */
LKV_MUST_CHECK int lkv_posix_has_root(lkv_posix *posix, lkv_error *err);
/* The end that was published last, in `*last`, when the page tells it: an end of the
 * same store as `like`, of this run of the machine. */
int lkv_posix_published(const lkv_posix *posix, const lkv_end *like, lkv_end *last);
/* Whether the page tells of a commit. */
int lkv_posix_has_commits(const lkv_posix *posix);
/* Waits for a lock: LKV_OK, LKV_BUSY, LKV_IO. */
LKV_MUST_CHECK int lkv_posix_wait(lkv_posix *posix, uint64_t byte,
                                  enum lkv_os_lock lock, int64_t wait_ms,
                                  lkv_error *err);
/* Gives back files and maps; the next use opens them again. */
void lkv_posix_leave(lkv_posix *posix);

#endif
