/*
 * posix_write.c - the objects of a store in files: writing, taking back, syncing.
 *
 * Nothing is ever cut: others may have it mapped. What is taken back stays in the file,
 * as bytes of no one, until something is written over it; a commit among it is blotted
 * out at once, so that nobody finds it who looks for the end.
 */
#include "posix.h"

#include <errno.h>
#include <string.h>

#define FIRST_STEP (64u << 10)
#define LAST_STEP (4u << 20)
#define STEP_SHARE 16u /* the most of the room: zeros take it from others for good */
#define OPEN_FILES 32u /* that wait to be mapped */

/* A file with what is of no one becomes an empty one. */
static int write_over(lkv_posix *posix, lkv_posix_object *object, lkv_error *err)
{
    int rc = posix->os->files->size(posix->os->ctx, object->file, &object->allocated);
    object->touched = 1;
    return rc == 0 ? lkv_posix_clean(posix, object->number, 0, err)
                   : lkv_posix_object_failed(posix, err, rc, "make", object->number);
}

/* A new file; what has its name was left by a writer that died. If that was another
 * user's, who alone may remove it, as in shared memory, its bytes go. */
static int make_object(lkv_posix *posix, uint32_t number, lkv_posix_object **out,
                       lkv_error *err)
{
    int file, others = 0;
    int rc = lkv_posix_open_object(posix, number, LKV_OS_MAKE, &file);
    if (rc == EEXIST) {
        rc = posix->os->shared->remove(
            posix->os->ctx, lkv_posix_object_name(posix, number), posix->shared_memory);
        others = rc == EPERM || rc == EACCES;
        rc = lkv_posix_open_object(posix, number, others ? LKV_OS_UPDATE : LKV_OS_MAKE,
                                   &file);
    }
    if (rc != 0) {
        return lkv_posix_object_failed(posix, err, rc, "make", number);
    }
    *out = lkv_posix_add(posix, number, file);
    if (*out == NULL) {
        (void)posix->os->files->close(posix->os->ctx, file);
        return LKV_NOMEM;
    }
    (*out)->writable = 1;
    posix->named = 1;
    return others ? write_over(posix, *out, err) : LKV_OK;
}

int lkv_posix_open_to_write(lkv_posix *posix, lkv_posix_object *object)
{
    int rc = 0;
    if (!object->writable) {
        lkv_posix_close_file(posix, object);
        rc = lkv_posix_open_object(posix, object->number, LKV_OS_UPDATE, &object->file);
        object->writable = rc == 0;
        object->file = rc == 0 ? object->file : -1;
    }
    return rc;
}

static int writable(lkv_posix *posix, uint32_t number, uint64_t offset,
                    lkv_posix_object **out, lkv_error *err)
{
    lkv_posix_object *object;
    int rc;

    *out = lkv_posix_find(posix, number);
    if (*out != NULL && offset == 0 && !(*out)->touched) {
        lkv_posix_drop(posix, *out); /* of a transaction that did not get it done */
        *out = NULL;
    }
    if (*out == NULL && offset == 0) {
        return make_object(posix, number, out, err);
    }
    rc = lkv_posix_find_or_open(posix, number, out, err);
    object = *out;
    if (rc != LKV_OK) {
        return rc;
    }
    if (object == NULL) {
        (void)lkv_posix_error(posix, err, LKV_MISUSE, "no such object to write to");
        return LKV_MISUSE;
    }
    rc = lkv_posix_open_to_write(posix, object);
    return rc == 0 ? LKV_OK : lkv_posix_object_failed(posix, err, rc, "open", number);
}

/* A step that there is room for: it is not worth a disk that is full. */
static uint64_t step_within(uint64_t step, uint64_t room)
{
    while (step > room / STEP_SHARE) {
        step = step / 2 >= FIRST_STEP ? step / 2 : 0;
    }
    return step;
}

/* Before a write that ends at `end`: a segment of which each commit is synced grows in
 * steps of zeros, so that a sync need not write its size as well. Where there is no
 * room for a step there may be for the write, which tells. */
static int grow(lkv_posix *posix, lkv_posix_object *object, uint64_t end,
                lkv_error *err)
{
    static const uint8_t zeros[FIRST_STEP];
    uint64_t step = object->step == 0 ? FIRST_STEP : object->step;
    uint64_t at = object->allocated;
    int rc = 0;

    if (!lkv_posix_is_segment(object) || end <= at ||
        posix->base.sync != LKV_SYNC_FULL || end - at > step) {
        return LKV_OK;
    }
    step = step_within(step, posix->os->shared->room(posix->os->ctx, object->file));
    if (end - at > step) {
        return LKV_OK;
    }
    object->step = step * 2 > LAST_STEP ? LAST_STEP : step * 2;
    if (at < posix->base.segment && at + step > posix->base.segment &&
        end <= posix->base.segment) {
        step = posix->base.segment - at;
    }
    if (posix->shared_memory) {
        rc = posix->os->shared->extend(posix->os->ctx, object->file, at, step);
        object->allocated += rc == 0 ? step : 0;
    } else {
        for (uint64_t done = 0; rc == 0 && done < step;) {
            size_t piece =
                step - done < FIRST_STEP ? (size_t)(step - done) : FIRST_STEP;
            rc = posix->os->shared->write(posix->os->ctx, object->file, at + done,
                                          zeros, piece);
            done += piece;
            object->allocated += rc == 0 ? piece : 0;
        }
        if (rc == 0) {
            int code = posix->os->shared->sync(posix->os->ctx, object->file);
            if (code != 0) { /* the next one need not tell of it again */
                lkv_posix_break(posix);
                return lkv_posix_object_failed(posix, err, code, "sync",
                                               object->number);
            }
        }
    }
    return rc == 0 || rc == ENOSPC || rc == EDQUOT
               ? LKV_OK
               : lkv_posix_object_failed(posix, err, rc, "extend", object->number);
}

int lkv_posix_write(lkv_storage *storage, uint32_t number, uint64_t offset,
                    lkv_bytes bytes, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_posix_object *object;
    int rc;

    if (!posix->locked) {
        return lkv_posix_error(posix, err, LKV_MISUSE, "written without the lock");
    }
    if (!lkv_posix_ours(posix)) {
        return lkv_posix_forked(posix, err);
    }
    if (posix->broken) {
        return lkv_posix_error(posix, err, LKV_IO, LKV_POSIX_SHUT);
    }
    lkv_posix_writes(posix);
    rc = writable(posix, number, offset, &object, err);
    if (rc != LKV_OK || object == NULL) {
        return rc;
    }
    if (offset > object->size) {
        rc = lkv_posix_error(posix, err, LKV_MISUSE, "written beyond its end");
    }
    if (rc == LKV_OK) {
        rc = grow(posix, object, offset + bytes.size, err);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_posix_forget(storage, number, offset);
    object->dirty = object->touched = 1;
    /* What stood from there on is gone, also when only a piece is written. */
    object->size = offset;
    object->synced = object->synced < offset ? object->synced : offset;
    rc = posix->os->shared->write(posix->os->ctx, object->file, offset, bytes.data,
                                  bytes.size);
    if (rc != 0) {
        return lkv_posix_object_failed(posix, err, rc, "write to", number);
    }
    object->size = offset + bytes.size;
    if (object->allocated < object->size) {
        object->allocated = object->size;
    }
    return LKV_OK;
}

/* The last bytes of what was written may be a commit that is taken back. */
static void blot(lkv_posix *posix, lkv_posix_object *object, uint64_t offset)
{
    static const uint8_t zeros[LKV_COMMIT_SIZE];
    uint64_t written = object->size - offset;
    size_t size = written < LKV_COMMIT_SIZE ? (size_t)written : LKV_COMMIT_SIZE;
    int rc;

    if (!object->touched || posix->broken) {
        return; /* a root that could not be taken back may need it */
    }
    rc = lkv_posix_open_to_write(posix, object);
    if (rc == 0) {
        rc = posix->os->shared->write(posix->os->ctx, object->file, object->size - size,
                                      zeros, size);
    }
    /* Else it could be there after a power cut, and what came later not. */
    if (rc == 0 && posix->base.sync != LKV_SYNC_OFF && !posix->shared_memory) {
        rc = posix->os->shared->sync(posix->os->ctx, object->file);
    }
    if (rc != 0) {
        lkv_posix_break(posix);
    }
}

void lkv_posix_rewind(lkv_storage *storage, uint32_t number, uint64_t offset)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_posix_object *object = number == 0 ? NULL : lkv_posix_find(posix, number);

    if (number == 0) {
        lkv_posix_forget(storage, 0, 0);
        return;
    }
    lkv_posix_forget(storage, number, offset);
    if (!lkv_posix_ours(posix)) {
        return; /* what is there is the parent's */
    }
    for (size_t i = 0; i < posix->prepared_count; i++) {
        const lkv_end *end = &posix->prepared[i].end;
        if (end->segment == number && end->offset > offset) {
            lkv_posix_undo(posix, i);
            break;
        }
    }
    if (object == NULL) {
        return;
    }
    if (offset == 0 && posix->locked) {
        /* The file goes when no root can name it any more: in unlock(). */
        lkv_posix_drop(posix, object);
        posix->strays = 1;
    } else if (object->size > offset) {
        if (lkv_posix_is_segment(object) && posix->locked) {
            blot(posix, object, offset);
        }
        object->size = offset;
        /* What comes to stand there may be another's, and not synced. */
        object->synced = object->synced < offset ? object->synced : offset;
    }
}

int lkv_posix_may_come_back(const lkv_posix *posix)
{
    return posix->base.sync == LKV_SYNC_NORMAL ||
           (posix->base.sync == LKV_SYNC_FULL && posix->slot != posix->durable_slot);
}

int lkv_posix_remove(lkv_storage *storage, uint32_t number, uint64_t offset,
                     lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_posix_object *object = lkv_posix_find(posix, number);
    int rc;

    if (!lkv_posix_ours(posix)) {
        return lkv_posix_forked(posix, err);
    }
    if (offset > 0) {
        return LKV_OK; /* others may have it mapped: nothing is ever cut */
    }
    if (object != NULL) {
        lkv_posix_forget(storage, number, 0);
        lkv_posix_drop(posix, object);
    }
    if (lkv_posix_may_come_back(posix)) {
        posix->strays = 1;
        return LKV_OK;
    }
    lkv_posix_have_copy(posix);
    rc = lkv_posix_same(posix);
    if (rc == 0) {
        rc = posix->os->shared->remove(
            posix->os->ctx, lkv_posix_object_name(posix, number), posix->shared_memory);
    }
    /* EPERM, EACCES: it is another user's, who may find it as a stray. */
    return rc == 0 || rc == ENOENT || rc == EPERM || rc == EACCES
               ? LKV_OK
               : lkv_posix_object_failed(posix, err, rc, "remove", number);
}

int lkv_posix_write_again(lkv_posix *posix, int file)
{
    const lkv_os *os = posix->os;
    uint8_t bytes[1 << 14];
    uint64_t at = 0;
    size_t got;
    int rc;

    do {
        rc = os->files->read(os->ctx, file, at, bytes, sizeof(bytes), &got);
        if (rc == 0 && got > 0) {
            rc = os->shared->write(os->ctx, file, at, bytes, got);
        }
        at += got;
    } while (rc == 0 && got == sizeof(bytes));
    return rc;
}

static int sync_object(lkv_posix *posix, lkv_posix_object *object)
{
    int rc = posix->again ? lkv_posix_open_to_write(posix, object)
                          : lkv_posix_open_to_read(posix, object);
    if (rc != 0) {
        return rc == ENOENT ? 0 : rc;
    }
    rc = posix->again ? lkv_posix_write_again(posix, object->file) : 0;
    rc = rc != 0 ? rc : posix->os->shared->sync(posix->os->ctx, object->file);
    if (rc == 0) {
        object->dirty = 0;
        object->synced = object->size;
    }
    return rc;
}

int lkv_posix_sync_all(lkv_posix *posix, lkv_error *err)
{
    int rc = 0;

    if (posix->shared_memory) {
        posix->named = 0;
        return LKV_OK;
    }
    for (size_t i = 0; i < LKV_POSIX_HEADS; i++) {
        for (lkv_posix_object *at = posix->heads[i]; at != NULL; at = at->next) {
            rc = at->dirty ? sync_object(posix, at) : 0;
            if (rc != 0) {
                return lkv_posix_object_failed(posix, err, rc, "sync", at->number);
            }
        }
    }
    if (posix->named) {
        rc = lkv_posix_sync_directory(posix, 0);
        if (rc != 0) {
            return lkv_posix_failed(posix, err, rc, "sync", "the directory");
        }
        posix->named = 0;
    }
    return LKV_OK;
}

/* --- what a durable root names -------------------------------------------------- */

/* Syncs an object that has `size` bytes, unless that is known to have been done. What
 * the file has behind them was taken back, and another may write over it. */
static int sync_named(lkv_posix *posix, uint32_t number, uint64_t size, lkv_error *err)
{
    lkv_posix_object *object;
    int rc = lkv_posix_find_or_open(posix, number, &object, err);
    if (rc == LKV_OK && object != NULL && object->synced < size) {
        int code = sync_object(posix, object);
        object->synced = code != 0 || size == UINT64_MAX ? 0 : size;
        rc = code == 0 ? LKV_OK
                       : lkv_posix_object_failed(posix, err, code, "sync", number);
    }
    return rc;
}

/* Whether the durable root from before does not name it, or with fewer bytes. */
static int is_new(const lkv_posix *posix, const lkv_root *before, uint32_t number)
{
    lkv_bytes bytes = {posix->durable, posix->durable_size};
    lkv_segment last;
    if (posix->durable_size == 0) {
        return 1;
    }
    if (number < LKV_PART_FIRST) {
        lkv_format_root_segment(bytes, before->segments - 1, &last);
        return number >= last.number;
    }
    if (number >= (number < LKV_RUN_FIRST ? before->next_part : before->next_run)) {
        return 1;
    }
    for (uint32_t i = 0; i < before->merges; i++) {
        lkv_run run;
        lkv_format_root_run(bytes, before, before->runs + i, &run);
        if (run.number == number) {
            return 1;
        }
    }
    for (uint32_t i = 0; i < before->pass.out; i++) {
        lkv_part part;
        lkv_format_root_part(bytes, before, before->parts + i, &part);
        if (part.number == number || part.index == number) {
            return 1;
        }
    }
    return 0;
}

static int sync_lists(lkv_posix *posix, lkv_bytes bytes, const lkv_root *root,
                      const lkv_root *before, lkv_error *err)
{
    uint64_t block = posix->base.block;
    int rc = LKV_OK;
    for (uint32_t i = 0; i < root->segments && rc == LKV_OK; i++) {
        lkv_segment at;
        lkv_format_root_segment(bytes, i, &at);
        if (is_new(posix, before, at.number)) {
            rc = sync_named(posix, at.number, at.size == 0 ? UINT64_MAX : at.size, err);
        }
    }
    for (uint32_t i = 0; i < root->parts + root->pass.out && rc == LKV_OK; i++) {
        lkv_part at;
        lkv_format_root_part(bytes, root, i, &at);
        if (is_new(posix, before, at.number)) {
            rc = sync_named(posix, at.number, at.size, err);
        }
        if (rc == LKV_OK && at.blocks > 0 && is_new(posix, before, at.index)) {
            rc = sync_named(posix, at.index, at.blocks * block, err);
        }
    }
    for (uint32_t i = 0; i < root->runs + root->merges && rc == LKV_OK; i++) {
        lkv_run at;
        lkv_format_root_run(bytes, root, i, &at);
        if (at.blocks > 0 && is_new(posix, before, at.number)) {
            rc = sync_named(posix, at.number, at.blocks * block, err);
        }
    }
    return rc;
}

/* What finds the store, with its first durable root: of what is made with sync=off, or
 * broken off, nobody has done it. */
static int sync_store(lkv_posix *posix, lkv_error *err)
{
    int rc = posix->os->shared->sync(posix->os->ctx, posix->lock_file);
    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "sync", "lock");
    }
    rc = lkv_posix_sync_directory(posix, 1);
    /* It may only be searched, or its kind is not synced: that is all there is. */
    return rc == 0 || rc == EACCES || rc == EINVAL || rc == EROFS
               ? LKV_OK
               : lkv_posix_failed(posix, err, rc, "sync", "the directory above");
}

int lkv_posix_sync_root(lkv_posix *posix, lkv_bytes bytes, lkv_error *err)
{
    lkv_root root, before = {0};
    const char *why;
    int rc = lkv_format_parse_root(bytes, &root, &why);

    if (rc == LKV_OK && posix->durable_size > 0) {
        rc = lkv_format_parse_root((lkv_bytes){posix->durable, posix->durable_size},
                                   &before, &why);
    }
    if (rc == LKV_OK && !posix->shared_memory) {
        rc = sync_lists(posix, bytes, &root, &before, err);
    }
    if (rc == LKV_OK && !posix->shared_memory && posix->durable_slot < 0) {
        rc = sync_store(posix, err);
    }
    posix->named = 1; /* another may have made files */
    return rc == LKV_OK ? lkv_posix_sync_all(posix, err) : rc;
}

void lkv_posix_rest(lkv_posix *posix)
{
    unsigned open = 0;
    for (size_t i = 0; i < LKV_POSIX_HEADS; i++) {
        for (lkv_posix_object *at = posix->heads[i]; at != NULL; at = at->next) {
            if (at->touched) {
                at->touched = 0;
                at->stable = at->size;
            }
            /* Another may remove it: what is to be read must be open or mapped by then.
             * Most are read soon, or grow; so maps wait a little. */
            if (at->file < 0 && at->mapped < at->size) { /* others needed its room */
                (void)lkv_posix_open_to_read(posix, at);
            }
            if (!posix->mapped || at->file < 0 || at->number == posix->end.segment) {
                continue;
            }
            if (at->size <= at->mapped ||
                (++open > OPEN_FILES && lkv_posix_map(posix, at, NULL) == LKV_OK)) {
                lkv_posix_close_file(posix, at);
            }
        }
    }
}

int lkv_posix_clean(lkv_posix *posix, uint32_t number, uint64_t offset, lkv_error *err)
{
    static const uint8_t zeros[4096];
    lkv_posix_object *object;
    int rc = writable(posix, number, offset, &object, err);
    int changed = 0;

    for (uint64_t at = offset;
         rc == LKV_OK && object != NULL && at < object->allocated;) {
        uint8_t bytes[sizeof(zeros)];
        size_t got = 0;
        int code = posix->os->files->read(posix->os->ctx, object->file, at, bytes,
                                          sizeof(bytes), &got);
        if (code == 0 && got > 0 && memcmp(bytes, zeros, got) != 0) {
            changed = 1;
            code =
                posix->os->shared->write(posix->os->ctx, object->file, at, zeros, got);
        }
        if (code != 0) {
            rc = lkv_posix_object_failed(posix, err, code, "clean", number);
        }
        at += got;
        if (got < sizeof(bytes)) {
            break;
        }
    }
    if (rc == LKV_OK && changed && posix->base.sync != LKV_SYNC_OFF &&
        !posix->shared_memory) {
        int code = posix->os->shared->sync(posix->os->ctx, object->file);
        if (code != 0) {
            lkv_posix_break(posix);
            rc = lkv_posix_object_failed(posix, err, code, "sync", number);
        }
    }
    return rc;
}

static int was_gone(const lkv_posix *posix, const lkv_root *before, uint32_t number)
{
    lkv_bytes bytes = {posix->durable, posix->durable_size};
    for (uint32_t i = 0; i < before->gone; i++) {
        lkv_gone gone;
        lkv_format_root_gone(bytes, before, i, &gone);
        if (gone.number == number) {
            return 1;
        }
    }
    return 0;
}

void lkv_posix_remove_gone(lkv_posix *posix, lkv_bytes bytes)
{
    lkv_root root, before = {0};
    const char *why;

    if (lkv_posix_same(posix) != 0 ||
        lkv_format_parse_root(bytes, &root, &why) != LKV_OK ||
        (posix->durable_size > 0 &&
         lkv_format_parse_root((lkv_bytes){posix->durable, posix->durable_size},
                               &before, &why) != LKV_OK)) {
        return;
    }
    for (uint32_t i = 0; i < root.gone; i++) {
        lkv_posix_object *object;
        lkv_gone gone;
        lkv_format_root_gone(bytes, &root, i, &gone);
        if (was_gone(posix, &before, gone.number)) {
            continue;
        }
        lkv_posix_have_copy(posix);
        object = lkv_posix_find(posix, gone.number);
        if (object != NULL) {
            lkv_posix_forget(&posix->base, gone.number, 0);
            lkv_posix_drop(posix, object);
        }
        (void)posix->os->shared->remove(posix->os->ctx,
                                        lkv_posix_object_name(posix, gone.number),
                                        posix->shared_memory);
    }
}

static int remove_stray(void *arg, const char *name)
{
    lkv_posix *posix = arg;
    uint32_t number = lkv_posix_number(name);
    if (number != 0 && lkv_posix_find(posix, number) == NULL) {
        lkv_posix_have_copy(posix);
        (void)posix->os->shared->remove(
            posix->os->ctx, lkv_posix_object_name(posix, number), posix->shared_memory);
    }
    return 0;
}

void lkv_posix_remove_strays(lkv_posix *posix)
{
    if (lkv_posix_same(posix) == 0) {
        (void)lkv_posix_each(posix, remove_stray, posix);
    }
}
