/*
 * posix_root.c - the roots of a store in files: three slots, of which one holds the
 * published root, one the newest that is durable, and one is free for the next.
 *
 * A durable root was written after a sync of all that it names, and synced itself: what
 * it names stays until another durable one is published. With sync=full each is; with
 * sync=normal one now and then. After a power cut only such a root is believed, and the
 * log goes on from there. As long as the machine runs the newest one counts.
 *
 * When the newest one is damaged, the one before it and the log still tell all. Where
 * there is none before it, and before files that it names are removed, the newest is
 * written a second time.
 */
#include "posix.h"

#include <errno.h>
#include <string.h>

#define DURABLE 1u
#define OFF 2u  /* written with sync=off: nothing is promised */
#define COPY 4u /* the second one; while the first is there nobody goes by this one */

typedef struct slot {
    int right, wrong; /* neither: there is none, it was not finished, or taken back */
    lkv_end end;
    uint32_t flags;
    uint8_t *bytes;
    size_t size;
} slot;

static const char *slot_name(int number)
{
    static const char *const names[LKV_POSIX_SLOTS] = {"root0", "root1", "root2"};
    return names[number];
}

/* Reads the file of a root: LKV_ABSENT when it says of itself that it holds none, or is
 * cut short, as one that was not finished. */
static int read_whole(lkv_posix *posix, int file, slot *found, int *os_errno)
{
    const lkv_os *os = posix->os;
    uint8_t head[LKV_POSIX_SLOT_HEADER];
    uint64_t length = 0;
    size_t got = 0;
    int rc = os->files->size(os->ctx, file, &length);

    if (rc == 0) {
        rc = os->files->read(os->ctx, file, 0, head, sizeof(head), &got);
    }
    found->size = rc == 0 && got == sizeof(head) ? lkv_format_get_u32(head) : 0;
    if (rc == 0 && (found->size == 0 || found->size > length - sizeof(head))) {
        return LKV_ABSENT;
    }
    if (rc == 0) {
        found->bytes = lkv_os_alloc(os, sizeof(head) + found->size);
        rc = found->bytes == NULL ? ENOMEM
                                  : os->files->read(os->ctx, file, 0, found->bytes,
                                                    sizeof(head) + found->size, &got);
    }
    *os_errno = rc;
    return rc != 0 ? LKV_IO : got == sizeof(head) + found->size ? LKV_OK : LKV_ABSENT;
}

/* What stands in the file of a slot. */
static int read_slot(lkv_posix *posix, int number, slot *found, lkv_error *err)
{
    const lkv_os *os = posix->os;
    const char *why;
    lkv_root root;
    int file, os_errno = 0;
    int rc = lkv_posix_open_file(posix, lkv_posix_name(posix, slot_name(number)),
                                 LKV_OS_LOOK, &file);

    if (rc == ENOENT) {
        return LKV_OK;
    }
    if (rc != 0) {
        return lkv_posix_failed(posix, err, rc, "open", slot_name(number));
    }
    rc = read_whole(posix, file, found, &os_errno);
    (void)os->files->close(os->ctx, file);
    if (os_errno != 0) {
        return lkv_posix_failed(posix, err, os_errno, "read", slot_name(number));
    }
    if (rc == LKV_ABSENT) {
        return LKV_OK;
    }
    found->wrong = 1;
    if (lkv_end_decode(found->bytes + 8, &found->end) == LKV_OK &&
        lkv_format_parse_root(
            (lkv_bytes){found->bytes + LKV_POSIX_SLOT_HEADER, found->size}, &root,
            &why) == LKV_OK &&
        root.generation == found->end.generation &&
        memcmp(root.store_id, found->end.store_id, LKV_ID_SIZE) == 0) {
        found->right = 1;
        found->wrong = 0;
        found->flags = lkv_format_get_u32(found->bytes + 4);
        memmove(found->bytes, found->bytes + LKV_POSIX_SLOT_HEADER, found->size);
    }
    return LKV_OK;
}

static int newer(const lkv_end *a, const lkv_end *b)
{
    return a->generation != b->generation ? a->generation > b->generation
                                          : a->revision > b->revision;
}

/* Which of two slots is gone by. All have to find the same, or each would take for free
 * what the other goes by. */
static int counts_more(const slot *a, const slot *b)
{
    return newer(&a->end, &b->end) ||
           (!newer(&b->end, &a->end) && (a->flags & COPY) < (b->flags & COPY));
}

/* The newest of the slots that have all of `flags`; none that is newer than the one in
 * slot `last`, unless that is -1. -1: none. */
static int newest(const slot *slots, uint32_t flags, int last)
{
    int found = -1;
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        if (slots[i].right && (slots[i].flags & flags) == flags &&
            (last < 0 || !newer(&slots[i].end, &slots[last].end)) &&
            (found < 0 || counts_more(&slots[i], &slots[found]))) {
            found = i;
        }
    }
    return found;
}

/* Which root counts; -1: none. */
static int choose(const lkv_posix *posix, const slot *slots, uint64_t generation)
{
    int found = generation == 0 ? newest(slots, 0, -1) : -1;
    if (generation != 0) {
        for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
            if (slots[i].right && slots[i].end.generation == generation &&
                (found < 0 || counts_more(&slots[i], &slots[found]))) {
                found = i;
            }
        }
        return found;
    }
    if (posix->restarted && found >= 0 && (slots[found].flags & OFF) == 0) {
        found = newest(slots, DURABLE, -1);
    }
    return found;
}

static int is_any(const slot *slots)
{
    int any = 0;
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        any |= slots[i].right | slots[i].wrong;
    }
    return any;
}

/* Whether what is wrong, and has this end or, with generation 0, none that can be read,
 * may have been a root that was published after the one that was found. */
static int may_be_newest(const lkv_posix *posix, const lkv_end *wrong,
                         const lkv_end *found)
{
    lkv_end last;
    if (lkv_posix_published(posix, found, &last)) {
        return last.generation > found->generation;
    }
    return wrong->generation == 0 || newer(wrong, found);
}

static int take_copy(lkv_posix *posix, const slot *from, uint8_t **bytes, size_t *size)
{
    uint8_t *copy = lkv_os_alloc(posix->os, from->size);
    if (copy == NULL) {
        return LKV_NOMEM;
    }
    memcpy(copy, from->bytes, from->size);
    lkv_os_free(posix->os, *bytes);
    *bytes = copy;
    *size = from->size;
    return LKV_OK;
}

int lkv_posix_load_root(lkv_posix *posix, uint64_t generation, lkv_end *end,
                        lkv_error *err)
{
    slot slots[LKV_POSIX_SLOTS];
    int found = -1, durable = -1, rc = LKV_OK;

    memset(slots, 0, sizeof(slots));
    for (int i = 0; i < LKV_POSIX_SLOTS && rc == LKV_OK; i++) {
        rc = read_slot(posix, i, &slots[i], err);
    }
    if (rc == LKV_OK) {
        found = choose(posix, slots, generation);
        /* A newer one is of a commit that is prepared, by whoever, and may go again. */
        durable = newest(slots, DURABLE, found);
        rc = found >= 0
                 ? take_copy(posix, &slots[found], &posix->root, &posix->root_size)
             : is_any(slots) ? LKV_MOVED
                             : LKV_ABSENT;
    }
    if (rc == LKV_OK && durable >= 0) {
        rc = take_copy(posix, &slots[durable], &posix->durable, &posix->durable_size);
    }
    if (rc == LKV_OK) {
        posix->slot = found;
        posix->durable_slot = durable;
        posix->base.unsafe = (slots[found].flags & OFF) != 0;
        *end = slots[found].end;
    }
    posix->wrong = 0;
    for (int i = 0; i < LKV_POSIX_SLOTS; i++) {
        posix->wrong |=
            slots[i].wrong &&
            (found < 0 || may_be_newest(posix, &slots[i].end, &slots[found].end));
        lkv_os_free(posix->os, slots[i].bytes);
    }
    return rc;
}

int lkv_posix_read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err)
{
    lkv_posix *posix = lkv_posix_of(storage);
    lkv_end end;
    int rc = lkv_posix_load_root(posix, posix->end.generation, &end, err);
    if (rc == LKV_OK) {
        *root = (lkv_bytes){posix->root, posix->root_size};
    }
    return rc == LKV_ABSENT || rc == LKV_MOVED
               ? lkv_posix_error(posix, err, LKV_MOVED, LKV_POSIX_ROOT_LOST)
               : rc;
}

int lkv_posix_has_root(lkv_posix *posix, lkv_error *err)
{
    lkv_end end;
    int rc = lkv_posix_load_root(posix, 0, &end, err);
    return rc == LKV_MOVED
               ? lkv_posix_error(posix, err, LKV_CORRUPT, "no root is right")
               : rc;
}

/* What segment `number`, which begins behind `end`, tells, in `*found`: 1 when a commit
 * in it says that bytes of that segment had been synced, 0 when none does or there is
 * none, -1 when it has no commit: the transaction may go on in the next one. */
static int vouches(lkv_posix *posix, uint32_t number, const lkv_end *end, int *found,
                   lkv_error *err)
{
    lkv_storage *storage = &posix->base;
    size_t want = LKV_RECORD_HEADER;
    uint64_t at = LKV_SEGMENT_HEADER;
    lkv_segment_header header;
    const char *why;
    lkv_bytes view;
    int rc = lkv_posix_read(storage, number, 0, LKV_SEGMENT_HEADER, &view, err);

    *found = 0;
    if (rc != LKV_OK || lkv_format_parse_segment(view, &header, &why) != LKV_OK ||
        header.kind != 0 || header.number != number ||
        header.revision_before < end->revision ||
        memcmp(header.store_id, end->store_id, LKV_ID_SIZE) != 0) {
        return rc;
    }
    *found = -1;
    while (*found != 1) {
        lkv_commit_record commit;
        lkv_record record;
        size_t need = want;
        int parsed;
        rc = lkv_posix_read(storage, number, at, want, &view, err);
        if (rc != LKV_OK) {
            return rc;
        }
        parsed = lkv_format_parse(view.data, view.size, &record, &need, &why);
        if (parsed == LKV_ABSENT && view.size >= want) {
            want = need;
            continue;
        }
        if (parsed != LKV_OK) {
            return LKV_OK;
        }
        if (record.kind == LKV_KIND_COMMIT &&
            lkv_format_parse_commit(&record, &commit) == LKV_OK) {
            *found = commit.revision > end->revision && commit.synced_end > header.base;
        }
        at += record.size;
        want = LKV_RECORD_HEADER;
    }
    return LKV_OK;
}

/* The same. No root that was read lists the object: nothing is kept of it. */
static int look_at(lkv_posix *posix, uint32_t number, const lkv_end *end, int *found,
                   lkv_error *err)
{
    int rc = vouches(posix, number, end, found, err);
    lkv_posix_object *object = lkv_posix_find(posix, number);

    lkv_posix_forget(&posix->base, number, 0);
    if (object != NULL) {
        lkv_posix_drop(posix, object);
    }
    return rc;
}

int lkv_posix_look_beyond(lkv_posix *posix, const lkv_end *end, lkv_error *err)
{
    uint32_t number = end->segment;
    int found, rc;

    do {
        rc = look_at(posix, ++number, end, &found, err);
    } while (rc == LKV_OK && found < 0);
    return rc == LKV_OK && found > 0
               ? lkv_posix_error(posix, err, LKV_CORRUPT, LKV_POSIX_ROOT_LOST)
               : rc;
}

/* --- writing -------------------------------------------------------------------- */

static int is_off(const lkv_posix *posix, const lkv_posix_prepared *from)
{
    return !from->durable && posix->base.sync == LKV_SYNC_OFF;
}

/* Writes the root of a commit, or that there is none. A rollback comes here, and must
 * not depend on memory: there is room for the header before each root that is kept. */
static int write_slot(lkv_posix *posix, int number, const lkv_posix_prepared *from,
                      int syncs, lkv_error *err)
{
    static const uint8_t none[LKV_POSIX_SLOT_HEADER];
    const lkv_os *os = posix->os;
    const char *name = lkv_posix_name(posix, slot_name(number));
    const uint8_t *bytes = none;
    size_t size = sizeof(none);
    int file = -1;
    int rc;

    if (from != NULL) {
        memset(from->root, 0, LKV_POSIX_SLOT_HEADER);
        lkv_format_u32(from->root, (uint32_t)from->root_size);
        lkv_format_u32(from->root + 4, (from->durable ? DURABLE : 0) |
                                           (from->copy ? COPY : 0) |
                                           (is_off(posix, from) ? OFF : 0));
        lkv_end_encode(from->root + 8, &from->end);
        bytes = from->root;
        size += from->root_size;
    }
    posix->copied = 0;
    /* Until unlock(): a root that its writer does not come to sync is not trusted. */
    lkv_posix_writes(posix);
    rc = lkv_posix_open_file(posix, name, LKV_OS_UPDATE, &file);
    if (rc == ENOENT && from == NULL) {
        return LKV_OK;
    }
    if (rc == ENOENT) {
        rc = lkv_posix_open_file(posix, name, LKV_OS_MAKE, &file);
        posix->named = 1;
    }
    if (rc == 0) {
        rc = os->shared->write(os->ctx, file, 0, bytes, size);
    }
    if (rc == 0 && syncs && !posix->shared_memory) {
        rc = os->shared->sync(os->ctx, file);
        if (rc != 0) {
            lkv_posix_break(posix);
        }
    }
    if (file >= 0) {
        (void)os->files->close(os->ctx, file);
    }
    return rc == 0 ? LKV_OK
                   : lkv_posix_failed(posix, err, rc, "write", slot_name(number));
}

int lkv_posix_sync_roots(lkv_posix *posix, lkv_error *err)
{
    const lkv_os *os = posix->os;
    int rc = LKV_OK;

    for (int i = 0; i < LKV_POSIX_SLOTS && rc == LKV_OK && !posix->shared_memory; i++) {
        int file, code = lkv_posix_open_file(posix, lkv_posix_name(posix, slot_name(i)),
                                             LKV_OS_UPDATE, &file);
        if (code == 0) {
            code = posix->again ? lkv_posix_write_again(posix, file) : 0;
            code = code == 0 ? os->shared->sync(os->ctx, file) : code;
            (void)os->files->close(os->ctx, file);
        }
        rc = code == 0 || code == ENOENT
                 ? LKV_OK
                 : lkv_posix_failed(posix, err, code, "sync", slot_name(i));
    }
    posix->named = 1;
    rc = rc == LKV_OK ? lkv_posix_sync_all(posix, err) : rc;
    if (rc != LKV_OK) {
        lkv_posix_break(posix);
    }
    return rc;
}

/* The slot where neither the published nor the durable root is. They are used in turn,
 * so that none keeps a root of long ago. */
static int free_slot(const lkv_posix *posix)
{
    int number = (posix->slot + 1) % LKV_POSIX_SLOTS;
    return number == posix->durable_slot ? (number + 1) % LKV_POSIX_SLOTS : number;
}

int lkv_posix_copy_root(lkv_posix *posix)
{
    int number = (posix->slot + 2) % LKV_POSIX_SLOTS; /* which comes free last */
    int rc = LKV_ABSENT;
    slot found = {0};

    if (posix->slot >= 0 && lkv_posix_same(posix) == 0 &&
        read_slot(posix, posix->slot, &found, NULL) == LKV_OK && found.right &&
        (found.flags & (DURABLE | COPY)) == DURABLE) {
        lkv_posix_prepared copy = {.end = found.end,
                                   .root = found.bytes,
                                   .root_size = found.size,
                                   .durable = 1,
                                   .copy = 1};
        memmove(found.bytes + LKV_POSIX_SLOT_HEADER, found.bytes, found.size);
        rc = write_slot(posix, number, &copy, 0, NULL);
    }
    lkv_os_free(posix->os, found.bytes);
    posix->copied = 1;
    return rc == LKV_OK ? number : -1;
}

void lkv_posix_have_copy(lkv_posix *posix)
{
    if (!posix->copied) {
        (void)lkv_posix_copy_root(posix);
    }
}

int lkv_posix_put_root(lkv_posix *posix, const lkv_posix_prepared *from, lkv_error *err)
{
    int rc = write_slot(posix, free_slot(posix), from, from->durable, err);
    if (rc == LKV_OK && from->durable && posix->named) { /* its own name */
        rc = lkv_posix_sync_all(posix, err);
        if (rc != LKV_OK) {
            lkv_posix_break(posix);
        }
    }
    return rc;
}

int lkv_posix_took_root(lkv_posix *posix, size_t keep)
{
    const lkv_posix_prepared *last = NULL;
    int alone = posix->durable_slot < 0;

    for (size_t i = 0; i < keep; i++) {
        last = posix->prepared[i].root != NULL ? &posix->prepared[i] : last;
    }
    if (last == NULL) {
        return 0;
    }
    posix->slot = free_slot(posix);
    posix->base.unsafe = posix->base.sync == LKV_SYNC_OFF;
    /* Broken: what stands in the slot is not known. */
    if (!posix->broken && (last->durable || posix->base.sync == LKV_SYNC_OFF)) {
        lkv_posix_remove_gone(
            posix, (lkv_bytes){last->root + LKV_POSIX_SLOT_HEADER, last->root_size});
    }
    if (last->durable) {
        slot copy = {.bytes = last->root + LKV_POSIX_SLOT_HEADER,
                     .size = last->root_size};
        posix->durable_slot = posix->slot;
        if (take_copy(posix, &copy, &posix->durable, &posix->durable_size) != LKV_OK) {
            posix->durable_size = 0; /* all is synced with the next one */
        }
        if (alone) {
            (void)lkv_posix_copy_root(posix);
        }
    }
    return last->durable;
}

int lkv_posix_blot_others(lkv_posix *posix, lkv_error *err)
{
    int copy = posix->durable_slot == posix->slot ? lkv_posix_copy_root(posix) : -1;
    int rc = LKV_OK;

    for (int i = 0; i < LKV_POSIX_SLOTS && rc == LKV_OK; i++) {
        if (i != posix->slot && i != copy) {
            rc = write_slot(posix, i, NULL, 1, err);
        }
    }
    if (rc == LKV_OK && posix->durable_slot != posix->slot) {
        posix->durable_slot = -1;
        posix->durable_size = 0;
    }
    return rc;
}

/* --- taking back ---------------------------------------------------------------- */

void lkv_posix_free_prepared(lkv_posix *posix, size_t first)
{
    while (posix->prepared_count > first) {
        lkv_os_free(posix->os, posix->prepared[--posix->prepared_count].root);
    }
}

static int blot_commit(lkv_posix *posix, const lkv_end *end)
{
    static const uint8_t zeros[LKV_COMMIT_SIZE];
    const lkv_os *os = posix->os;
    lkv_posix_object *object = lkv_posix_find(posix, end->segment);
    int rc;

    if (object == NULL || end->offset < LKV_SEGMENT_HEADER + LKV_COMMIT_SIZE) {
        return 0; /* its segment is gone */
    }
    rc = lkv_posix_open_to_write(posix, object);
    if (rc != 0) {
        return rc;
    }
    rc = os->shared->write(os->ctx, object->file, end->offset - LKV_COMMIT_SIZE, zeros,
                           sizeof(zeros));
    if (rc == 0 && posix->base.sync != LKV_SYNC_OFF && !posix->shared_memory) {
        rc = os->shared->sync(os->ctx, object->file);
        if (rc != 0) {
            lkv_posix_break(posix);
        }
    }
    return rc;
}

/* Where the disk is full a file that was made just now cannot take a byte, but it can
 * go. Another store that has come into the place of this one is left alone. */
static int remove_slot(lkv_posix *posix, int number)
{
    const lkv_os *os = posix->os;
    int rc = lkv_posix_same(posix);
    if (rc == 0) {
        rc = os->shared->remove(os->ctx, lkv_posix_name(posix, slot_name(number)),
                                posix->shared_memory);
    }
    if (rc != 0) {
        return LKV_IO;
    }
    posix->named = 1;
    rc = lkv_posix_sync_all(posix, NULL);
    if (rc != LKV_OK) {
        lkv_posix_break(posix);
    }
    return rc;
}

/* The slot gets the newest root of the first prepared commits, or none. With sync=off
 * that is synced as well: no later commit makes up for it, and some promise more. */
static int blot_root(lkv_posix *posix, size_t first)
{
    const lkv_posix_prepared *keep = NULL;
    int had = 0, number = free_slot(posix), rc = LKV_OK;

    for (size_t i = 0; i < posix->prepared_count; i++) {
        if (i < first) {
            keep = posix->prepared[i].root != NULL ? &posix->prepared[i] : keep;
        } else {
            had |= posix->prepared[i].root != NULL;
        }
    }
    if (had) {
        rc = write_slot(posix, number, keep, 1, NULL);
    }
    return rc == LKV_FULL && keep == NULL ? remove_slot(posix, number) : rc;
}

void lkv_posix_undo(lkv_posix *posix, size_t first)
{
    int rc = LKV_IO;
    /* The root first: it must not be found without its commit. What fails is tried
     * again, for there is nobody to tell. */
    for (int tries = 0; tries < 3 && rc != LKV_OK; tries++) {
        rc = blot_root(posix, first);
    }
    /* The last one first, so that what is left is never without those before it. One
     * that is published stays: a root was to vouch for it. */
    for (size_t i = posix->prepared_count; rc == LKV_OK && i-- > first;) {
        if (posix->prepared[i].end.revision > posix->end.revision) {
            rc = LKV_IO;
            for (int tries = 0; tries < 3 && rc != LKV_OK; tries++) {
                rc = blot_commit(posix, &posix->prepared[i].end) == 0 ? LKV_OK : LKV_IO;
            }
        }
    }
    if (rc != LKV_OK) {
        lkv_posix_break(posix);
    }
    lkv_posix_free_prepared(posix, first);
}
