/*
 * posix_open.c - opening a store in files, making and removing one.
 *
 * All who have it open share a lock on one byte; who gets that byte alone is the first,
 * and does not believe the page. One that is to be removed must not be open at all.
 */
#include "posix.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int lkv_posix_wait(lkv_posix *posix, uint64_t byte, enum lkv_os_lock lock,
                   int64_t wait_ms, lkv_error *err)
{
    const lkv_os *os = posix->os;
    int64_t waited = 0;
    unsigned pause = 1;

    for (;;) {
        int rc = os->shared->lock(os->ctx, posix->lock_file, byte, lock);
        if (rc == 0) {
            return LKV_OK;
        }
        if (rc != EAGAIN) {
            return lkv_posix_failed(posix, err, rc, "lock", "");
        }
        if (waited >= wait_ms) {
            return lkv_posix_error(posix, err, LKV_BUSY, "another writer has it");
        }
        if (pause > wait_ms - waited) {
            pause = (unsigned)(wait_ms - waited);
        }
        os->shared->sleep_ms(os->ctx, pause);
        waited += pause;
        pause = pause < 16 ? pause * 2 : 25;
    }
}

/* --- opening -------------------------------------------------------------------- */

#define HALF                                                                           \
    "its file lock is damaged, or not finished; if it stays so, drop the table, "      \
    "which leaves the data, and create it anew"

void lkv_posix_distrust(lkv_posix *posix)
{
    atomic_fetch_or(&posix->page->sequence, 1);
}

int lkv_posix_open_lock(lkv_posix *posix, lkv_error *err)
{
    const lkv_os *os = posix->os;
    const char *name = lkv_posix_name(posix, "lock");
    void *page = NULL;
    uint64_t size = 0;
    int rc = os->shared->open(os->ctx, name, posix->shared_memory, LKV_OS_UPDATE,
                              posix->mode, &posix->lock_file);

    posix->forks = os->shared->forks(os->ctx);
    posix->read_only = 0;
    posix->absent = rc == ENOENT;
    posix->half = 0;
    if (rc == EACCES || rc == EROFS || rc == EPERM) {
        posix->read_only = 1;
        rc = os->shared->open(os->ctx, name, posix->shared_memory, LKV_OS_LOOK,
                              posix->mode, &posix->lock_file);
    }
    if (rc == ENOTDIR) {
        posix->lock_file = -1;
        return lkv_posix_error(posix, err, LKV_CANTOPEN,
                               "something else is there, and no litekv store; give "
                               "another path");
    }
    if (rc == ENOENT) {
        posix->lock_file = -1;
        return lkv_posix_error(posix, err, LKV_CANTOPEN,
                               "there is no store; put it back, or drop the table and "
                               "create it anew");
    }
    if (rc != 0) {
        posix->lock_file = -1;
        return lkv_posix_failed(posix, err, rc, "open", "");
    }
    rc = os->files->size(os->ctx, posix->lock_file, &size);
    posix->half = rc == 0 && size < LKV_POSIX_PAGE;
    if (posix->half) {
        return lkv_posix_error(posix, err, LKV_CANTOPEN, HALF);
    }
    if (rc == 0) {
        rc = os->shared->map(os->ctx, posix->lock_file, LKV_POSIX_PAGE,
                             !posix->read_only, &page);
    }
    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "open", "");
    }
    posix->page = page;
    posix->half = memcmp(posix->page->magic, "\0\0\0\0\0\0\0", 8) == 0;
    if (memcmp(posix->page->magic, LKV_POSIX_MAGIC, 8) != 0) {
        return lkv_posix_error(
            posix, err, LKV_CANTOPEN,
            memcmp(posix->page->magic, LKV_POSIX_MAGIC, 7) == 0
                ? "it was made by a newer litekv; use that one to read it"
            : posix->half ? HALF
                          : "this is not a litekv store");
    }
    rc = os->shared->guard(os->ctx, posix->lock_file);
    return rc == 0 ? LKV_OK : lkv_posix_failed(posix, err, rc, "open", "");
}

/* Joins those who have it open. The first one does not believe the page. */
static int join(lkv_posix *posix, lkv_error *err)
{
    const lkv_os *os = posix->os;
    int rc = os->shared->boot(os->ctx, posix->boot);

    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "know the machine of", "");
    }
    if (!posix->read_only && os->shared->lock(os->ctx, posix->lock_file,
                                              LKV_POSIX_OPENERS, LKV_OS_EXCLUDE) == 0) {
        lkv_posix_distrust(posix);
    }
    rc =
        lkv_posix_wait(posix, LKV_POSIX_OPENERS, LKV_OS_SHARE, LKV_POSIX_PATIENCE, err);
    if (rc == LKV_OK && !posix->read_only &&
        memcmp(posix->page->boot, posix->boot, sizeof(posix->boot)) != 0) {
        lkv_posix_distrust(posix);
    }
    return rc;
}

void lkv_posix_leave(lkv_posix *posix)
{
    const lkv_os *os = posix->os;
    int ours = lkv_posix_ours(posix);

    lkv_posix_drop_all(posix);
    if (posix->page != NULL) {
        os->shared->unmap(os->ctx, posix->page, LKV_POSIX_PAGE);
        posix->page = NULL;
    }
    if (posix->lock_file >= 0 && ours) { /* a child's was closed for it */
        os->shared->unguard(os->ctx, posix->lock_file);
        (void)os->files->close(os->ctx, posix->lock_file);
    }
    posix->lock_file = -1;
    posix->locked = posix->settling = 0;
    posix->slot = posix->durable_slot = -1;
    posix->end.generation = 0;
}

int lkv_posix_ours(const lkv_posix *posix)
{
    return posix->forks == posix->os->shared->forks(posix->os->ctx);
}

int lkv_posix_forked(lkv_posix *posix, lkv_error *err)
{
    return lkv_posix_error(posix, err, LKV_MISUSE,
                           "opened before fork(); open the database again in the new "
                           "process");
}

int lkv_posix_ready(lkv_posix *posix, lkv_error *err)
{
    int rc;

    if (posix->page != NULL) {
        return lkv_posix_ours(posix) ? LKV_OK : lkv_posix_forked(posix, err);
    }
    for (int tries = 0; tries < 100; tries++) {
        rc = lkv_posix_open_lock(posix, err);
        if (rc == LKV_OK) {
            rc = join(posix, err);
        }
        if (rc == LKV_OK) {
            int same = lkv_posix_same(posix);
            if (same == 0) {
                return LKV_OK;
            }
            rc = same == ESTALE ? LKV_OK
                                : lkv_posix_failed(posix, err, same, "find", "lock");
        }
        lkv_posix_leave(posix);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    return lkv_posix_error(posix, err, LKV_CANTOPEN, "it is being removed");
}

/* --- making --------------------------------------------------------------------- */

#define MAKE_TRIES 100
#define HALF_MS 100 /* that a maker is given to write a page */
#define OPEN_ELSEWHERE "somebody has it open; close it there first"

static int something_else(lkv_posix *posix, lkv_error *err)
{
    return lkv_posix_error(posix, err, LKV_CANTOPEN,
                           "something else is there, and no litekv store; give another "
                           "path");
}

/* What a directory has: 1 a file with locks, 2 others of a store, 4 anything else. */
static int see_any(void *arg, const char *name)
{
    *(int *)arg |= strcmp(name, "lock") == 0 ? 1 : lkv_posix_is_ours(name) ? 2 : 4;
    return 0;
}

/* Whether a file with locks may be made there: the directory is empty, or holds a store
 * whose own is damaged, and nobody has it open. Where there is none at all somebody may
 * have the one open that was removed. */
static int check_found(lkv_posix *posix, int found, lkv_error *err)
{
    int rc = (found & 4) != 0   ? LKV_ABSENT
             : (found & 2) != 0 ? lkv_posix_has_root(posix, err)
                                : LKV_OK;
    if (rc == LKV_OK && found == 2) {
        return lkv_posix_error(
            posix, err, LKV_CANTOPEN,
            "its file lock is missing; when nobody has it open, make "
            "an empty one and create the table again");
    }
    return rc == LKV_ABSENT ? something_else(posix, err) : rc;
}

/* The same in shared memory. LKV_MOVED as below. */
static int check_names(lkv_posix *posix, lkv_error *err)
{
    int found = 0;
    int rc = lkv_posix_each(posix, see_any, &found);
    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "list", "");
    }
    return (found & 1) != 0 ? LKV_MOVED : check_found(posix, found, err);
}

/* LKV_MOVED: others make or remove a store there just now. */
static int make_directory(lkv_posix *posix, lkv_error *err)
{
    const lkv_os *os = posix->os;
    unsigned search = posix->mode | (posix->mode & 0444u) >> 2;
    int rc = os->shared->make_directory(os->ctx, posix->path, search);
    int found = 0;

    if (rc == 0) {
        posix->made_directory = 1;
    } else if (rc == ESTALE) {
        return LKV_MOVED;
    } else if (rc == EEXIST) {
        rc = os->shared->list(os->ctx, posix->path, 0, see_any, &found);
        if (rc == ENOENT || (found & 1) != 0) {
            return LKV_MOVED;
        }
        if (rc == 0 || rc == ENOTDIR) {
            return check_found(posix, rc == 0 ? found : 4, err);
        }
    }
    return rc == 0 ? LKV_OK : lkv_posix_failed(posix, err, rc, "make", "the directory");
}

/* A page that is not to be believed, in the file with the locks. */
static int write_lock(lkv_posix *posix, int file)
{
    static const char magic[8] = {'L', 'K', 'V', 'l', 'o', 'c', 'k', '1'};
    const lkv_os *os = posix->os;
    uint8_t page[LKV_POSIX_PAGE] = {0};
    int rc;

    memcpy(page, magic, sizeof(magic));
    page[offsetof(lkv_posix_page, sequence)] = 1;
    rc = os->shared->write(os->ctx, file, 0, page, sizeof(page));
    return rc == 0 && posix->base.sync != LKV_SYNC_OFF && !posix->shared_memory
               ? os->shared->sync(os->ctx, file)
               : rc;
}

/* The file with page and locks; LKV_OK also when another was faster, LKV_MOVED when the
 * directory is gone. */
static int make_lock(lkv_posix *posix, lkv_error *err)
{
    const lkv_os *os = posix->os;
    int file, rc;

    rc = os->shared->open(os->ctx, lkv_posix_name(posix, "lock"), posix->shared_memory,
                          LKV_OS_MAKE, posix->mode, &file);
    if (rc == EEXIST || rc == ENOENT) {
        return rc == EEXIST ? LKV_OK : LKV_MOVED;
    }
    if (rc == 0) {
        posix->named = 1;
        rc = write_lock(posix, file);
        (void)os->files->close(os->ctx, file);
    }
    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "make", "the lock");
    }
    /* Its name before others: what has none is not taken for a store. */
    return posix->base.sync == LKV_SYNC_OFF ? LKV_OK : lkv_posix_sync_all(posix, err);
}

/* Waits for the lock of all who open the store, alone. LKV_BUSY: others have it open;
 * LKV_MOVED: the file with the locks has been removed. */
static int exclude(lkv_posix *posix, lkv_error *err)
{
    int rc = lkv_posix_wait(posix, LKV_POSIX_OPENERS, LKV_OS_EXCLUDE, 0, err);
    int same = rc == LKV_OK ? lkv_posix_same(posix) : 0;
    return same == 0        ? rc
           : same == ESTALE ? LKV_MOVED
                            : lkv_posix_failed(posix, err, same, "find", "lock");
}

/* A file with page and locks that is too short, or zeros, was not finished: its maker
 * died, and made nothing else before it; or it is damaged. Only who has it locked makes
 * it whole. */
static int mend_half(lkv_posix *posix, lkv_error *err)
{
    const lkv_os *os = posix->os;
    int found = 0;
    int rc = lkv_posix_open_lock(posix, err);

    if (rc == LKV_CANTOPEN && posix->half) {
        rc = exclude(posix, err);
        if (rc == LKV_OK && !posix->shared_memory) {
            int code = os->shared->list(os->ctx, posix->path, 0, see_any, &found);
            rc = check_found(posix, code == 0 ? found : 4, err);
        }
        if (rc == LKV_OK) {
            int code = write_lock(posix, posix->lock_file);
            posix->named = 1;
            rc = code != 0 ? lkv_posix_failed(posix, err, code, "write", "lock")
                 : posix->base.sync == LKV_SYNC_OFF ? LKV_OK
                                                    : lkv_posix_sync_all(posix, err);
        }
    } else if (rc == LKV_OK || rc == LKV_CANTOPEN) {
        rc = LKV_MOVED;
    }
    lkv_posix_leave(posix);
    return rc;
}

/* Opens it, after making the file with page and locks and, around it, the directory. */
static int make_place(lkv_posix *posix, lkv_error *err)
{
    unsigned waited = 0;
    int rc = LKV_MOVED, busy = 0;

    for (int tries = 0; tries < MAKE_TRIES; tries++) {
        rc = lkv_posix_ready(posix, err);
        if (rc != LKV_CANTOPEN || (!posix->absent && !posix->half)) {
            break;
        }
        if (posix->half && waited < HALF_MS) {
            posix->os->shared->sleep_ms(posix->os->ctx, HALF_MS / 10);
            waited += HALF_MS / 10;
            continue;
        }
        if (posix->half) {
            rc = mend_half(posix, err);
            busy = rc == LKV_BUSY;
            if (rc != LKV_OK) { /* others see to it */
                posix->os->shared->sleep_ms(posix->os->ctx, HALF_MS / 10);
            }
            rc = busy ? LKV_MOVED : rc;
        } else {
            rc = posix->shared_memory ? check_names(posix, err)
                                      : make_directory(posix, err);
            rc = rc == LKV_OK ? make_lock(posix, err) : rc;
        }
        if (rc < 0) {
            break;
        }
        rc = LKV_MOVED;
    }
    if (rc == LKV_OK && err != NULL) {
        err->text[0] = 0; /* of what was not there */
    }
    if (rc == LKV_MOVED && busy) {
        return lkv_posix_error(posix, err, LKV_BUSY, OPEN_ELSEWHERE);
    }
    return rc == LKV_MOVED
               ? lkv_posix_error(posix, err, LKV_CANTOPEN, "others make and remove it")
               : rc;
}

static int see_object(void *arg, const char *name)
{
    uint32_t number = lkv_posix_number(name);
    *(int *)arg |= number > 1; /* 1 may be left of a store that was not finished */
    return 0;
}

/* Whether a root is there: LKV_OK, or LKV_ABSENT where a store may be made. */
static int has_root(lkv_posix *posix, lkv_error *err)
{
    int objects = 0;
    int rc = lkv_posix_has_root(posix, err);
    if (rc == LKV_ABSENT) {
        int code = lkv_posix_each(posix, see_object, &objects);
        if (code != 0) {
            return lkv_posix_failed(posix, err, code, "list", "");
        }
        if (objects) {
            return lkv_posix_error(posix, err, LKV_CORRUPT, "its roots are missing");
        }
    }
    return rc;
}

int lkv_storage_posix_make(lkv_storage *storage, int *made, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    int rc = make_place(posix, err);

    *made = 0;
    if (rc == LKV_OK) {
        rc = has_root(posix, err);
    }
    if (rc != LKV_ABSENT) {
        return rc;
    }
    rc = lkv_posix_wait(posix, LKV_POSIX_WRITER, LKV_OS_EXCLUDE, LKV_POSIX_PATIENCE,
                        err);
    if (rc != LKV_OK) {
        return rc;
    }
    posix->locked = posix->cleaned = 1;
    rc = has_root(posix, err);
    posix->making = rc == LKV_ABSENT;
    *made = posix->making;
    if (!posix->making) { /* another has made it meanwhile, or it cannot be read */
        lkv_end none = {0};
        lkv_posix_unlock(storage, &none);
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* --- removing ------------------------------------------------------------------- */

typedef struct removal {
    lkv_posix *posix;
    int rc;
    char foreign[64];
} removal;

static int see_foreign(void *arg, const char *name)
{
    removal *of = arg;
    if (lkv_posix_is_ours(name)) {
        return 0;
    }
    snprintf(of->foreign, sizeof(of->foreign), "%.60s", name);
    return EEXIST;
}

/* The file with the locks goes last: until then nobody else makes a store there. */
static int remove_file(void *arg, const char *name)
{
    removal *of = arg;
    const lkv_os *os = of->posix->os;
    if (lkv_posix_is_ours(name) && strcmp(name, "lock") != 0) {
        of->rc = os->shared->remove(os->ctx, lkv_posix_name(of->posix, name),
                                    of->posix->shared_memory);
    }
    return of->rc == ENOENT ? 0 : of->rc;
}

static int remove_all(lkv_posix *posix, int directory, lkv_error *err)
{
    const lkv_os *os = posix->os;
    removal of = {posix, 0, ""};
    int rc = lkv_posix_each(posix, see_foreign, &of);

    if (rc == EEXIST) {
        char why[128];
        snprintf(why, sizeof(why),
                 "it holds \"%s\", which is not litekv's: nothing was "
                 "removed",
                 of.foreign);
        return lkv_posix_error(posix, err, LKV_CANTOPEN, why);
    }
    /* Again until none is left: names may be passed over while others go, and what is
     * half removed is of no use. */
    for (int i = 0, known = rc == 0; known && i < 3; i++) {
        of.rc = 0;
        rc = lkv_posix_each(posix, remove_file, &of);
    }
    if (rc == 0) {
        rc = os->shared->remove(os->ctx, lkv_posix_name(posix, "lock"),
                                posix->shared_memory);
    }
    if (rc == 0 && directory && !posix->shared_memory) {
        rc = os->shared->remove_directory(os->ctx, posix->path);
        /* Others make a store there again; or it is a symbolic link, or in a directory
         * that is not ours to change: the store is gone all the same. */
        if (rc == ENOENT || rc == ENOTEMPTY || rc == EEXIST || rc == ENOTDIR ||
            rc == EACCES || rc == EPERM || rc == EBUSY) {
            rc = 0;
        }
    }
    return rc == 0 ? LKV_OK : lkv_posix_failed(posix, err, rc, "remove", "");
}

static int remove_store(lkv_posix *posix, lkv_error *err)
{
    int rc = lkv_posix_open_lock(posix, err);

    if (rc == LKV_CANTOPEN && posix->absent) {
        rc = lkv_posix_error(posix, err, LKV_CANTOPEN, "there is no store");
    }
    if (rc == LKV_OK && posix->read_only) {
        rc = lkv_posix_error(posix, err, LKV_READONLY, "it may not be written");
    }
    if (rc == LKV_OK) {
        rc = exclude(posix, err);
        if (rc == LKV_BUSY) {
            rc = lkv_posix_error(posix, err, LKV_BUSY, OPEN_ELSEWHERE);
        } else if (rc == LKV_MOVED) { /* another was faster */
            rc = lkv_posix_error(posix, err, LKV_CANTOPEN, "there is no store");
        }
    }
    return rc == LKV_OK ? remove_all(posix, 1, err) : rc;
}

int lkv_storage_posix_remove(const lkv_os *os, const lkv_posix_options *options,
                             lkv_error *err)
{
    lkv_storage *storage;
    int rc = lkv_storage_posix_open(os, options, &storage);
    if (rc == LKV_OK) {
        rc = remove_store(lkv_posix_of(storage), err);
        lkv_storage_posix_close(storage);
    }
    return rc;
}

void lkv_storage_posix_unmake(lkv_storage *storage)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_posix_drop_all(posix);
    if (posix->page != NULL && lkv_posix_ours(posix) &&
        exclude(posix, NULL) == LKV_OK && !lkv_posix_has_commits(posix) &&
        remove_all(posix, posix->made_directory, NULL) == LKV_OK) {
        posix->made_directory = 0;
    }
    lkv_posix_leave(posix);
}
