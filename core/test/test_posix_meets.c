/*
 * test_posix_meets.c - two handles on a store in files or in shared memory, one in the
 * middle of the other: before each call that the first one makes of the system, the
 * second one makes, removes, writes or compacts the store. Both tell what they did, and
 * what is left is what these two would have left one after the other. The same when
 * each of these calls fails, for each of several reasons.
 */
#include "directory.h"
#include "fixture.h"

#include "storage_posix.h"
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MADE 1 /* did it, beside LKV_OK: it was there, or as it was before */
#define NONE "no store"

enum deed { MAKE, MAKE_HALF, REMOVE, UNMAKE, READ, WRITE, WRITE_MORE, COMPACT, DEEDS };

static const char *const names[DEEDS] = {"make", "make half", "remove",     "unmake",
                                         "read", "write",     "write more", "compact"};

typedef struct actor {
    const lkv_posix_options *options;
    os_fault os;
    enum deed deed;
    const char *key;
    int has_open; /* opens and reads it before all else */
    lkv_storage *storage;
    lkv_store *store;
    int rc, did;
    lkv_error err;
    char seen[400];
} actor;

static void actor_init(actor *a, const lkv_posix_options *options, enum deed deed,
                       const char *key)
{
    memset(a, 0, sizeof(*a));
    a->options = options;
    a->deed = deed;
    a->key = key;
    a->rc = LKV_MISUSE; /* it did not come to it */
    snprintf(a->err.text, sizeof(a->err.text), "not yet");
    os_fault_init(&a->os);
}

static int actor_open(actor *a)
{
    int rc = lkv_storage_posix_open(&a->os.os, a->options, &a->storage);
    if (rc == LKV_OK) {
        rc = lkv_open(a->storage, &a->os.os, &a->store);
    }
    if (rc == LKV_OK) {
        a->storage->segment = 1 << 12;
        a->store->flush_size = 600;
        lkv_sync_fallback(a->store, LKV_SYNC_NORMAL);
    }
    return rc;
}

static void actor_close(actor *a)
{
    lkv_close(a->store);
    lkv_storage_posix_close(a->storage);
    a->store = NULL;
    a->storage = NULL;
}

/* What it holds, as a text of its own. */
static int see(actor *a)
{
    int rc = lkv_refresh(a->store, &a->err);
    lkv_cursor *cursor = NULL;
    size_t at = 0;
    a->seen[0] = '\0';
    if (rc == LKV_OK) {
        rc = lkv_cursor_open(a->store, &cursor);
    }
    if (rc == LKV_OK) {
        rc = lkv_cursor_first(cursor, &a->err);
    }
    while (rc == LKV_OK) {
        lkv_bytes key = lkv_cursor_key(cursor);
        at += (size_t)snprintf(a->seen + at, sizeof(a->seen) - at, "%.*s ",
                               (int)key.size, (const char *)key.data);
        rc = lkv_cursor_next(cursor, &a->err);
    }
    lkv_cursor_close(cursor);
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

static int make(actor *a)
{
    int made = 0;
    int rc = lkv_storage_posix_make(a->storage, &made, &a->err);
    if (rc == LKV_OK && made && a->deed != MAKE_HALF) {
        rc = lkv_create(a->storage, &a->os.os, text_bytes("about"), &a->err);
    }
    a->did = rc == LKV_OK && made && a->deed < REMOVE && a->deed != MAKE_HALF;
    if (made && (rc != LKV_OK || a->deed == UNMAKE)) {
        lkv_storage_posix_unmake(a->storage);
    }
    return rc;
}

/* Writes so much that a segment ends and a run is made, or one row. */
static int change(actor *a)
{
    uint64_t left;
    int rc = lkv_begin(a->store, 0, &a->err);
    if (rc != LKV_OK) {
        return rc;
    }
    if (a->deed == COMPACT) {
        rc = lkv_compact(a->store, UINT64_MAX, &left, &a->err);
    }
    if (rc == LKV_OK) {
        rc = lkv_put(a->store, &(lkv_row){text_bytes(a->key), text_bytes("1"), 0},
                     &a->err);
    }
    for (unsigned i = 0; i < 40 && a->deed == WRITE_MORE && rc == LKV_OK; i++) {
        rc = lkv_put(a->store, &(lkv_row){text_bytes("filler"), filler(200, i), 0},
                     &a->err);
    }
    if (rc == LKV_OK) {
        rc = lkv_prepare(a->store, &a->err);
    }
    if (rc == LKV_OK) {
        lkv_commit(a->store);
        a->did = 1;
    } else {
        lkv_rollback(a->store);
    }
    return rc;
}

static void act(void *arg)
{
    actor *a = arg;
    a->rc = a->deed == REMOVE ? lkv_storage_posix_remove(&a->os.os, a->options, &a->err)
            : a->has_open     ? LKV_OK
                              : actor_open(a);
    a->did = a->deed == REMOVE && a->rc == LKV_OK;
    if (a->rc == LKV_OK) {
        a->rc = a->deed == REMOVE ? LKV_OK
                : a->deed < READ  ? make(a)
                : a->deed == READ ? see(a)
                                  : change(a);
    }
    if (!a->has_open) {
        actor_close(a);
    }
}

static unsigned gap, met; /* calls between two times that it acts; since the first */

static void act_twice(void *arg)
{
    if (met == 0 || met == gap) {
        act(arg);
    }
    met++;
}

/* What a store holds, as bits. */
enum { THERE = 1, BASE = 2, FILLER = 4, X = 8, Y = 16 };

static const char *text_of(unsigned state)
{
    static char texts[2][100];
    static unsigned turn;
    char *text = texts[turn++ % 2];
    snprintf(text, sizeof(texts[0]), "%s%s%s%s%s", (state & THERE) != 0 ? "" : NONE,
             (state & BASE) != 0 ? "base " : "", (state & FILLER) != 0 ? "filler " : "",
             (state & X) != 0 ? "x " : "", (state & Y) != 0 ? "y " : "");
    return text;
}

/* What becomes of `state` by what `a` did; 0: it cannot have done it. */
static int follow(const actor *a, unsigned *state)
{
    if (!a->did) {
        return a->deed != READ || a->rc != LKV_OK ||
               strcmp(text_of(*state), a->seen) == 0;
    }
    if (a->deed < REMOVE) {
        int there = (*state & THERE) != 0;
        *state = THERE;
        return !there;
    }
    if (a->deed == REMOVE) { /* one that is not finished is none, and is removed */
        *state = 0;
        return 1;
    }
    *state |= (*a->key == 'x' ? X : Y) | (a->deed == WRITE_MORE ? FILLER : 0);
    return (*state & THERE) != 0;
}

static void fill(const lkv_posix_options *options)
{
    static const char *const rows[] = {"base", "gone"};
    actor a;
    actor_init(&a, options, MAKE, "");
    act(&a);
    CHECK_INT(a.rc, LKV_OK);
    CHECK_INT(actor_open(&a), LKV_OK);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(lkv_begin(a.store, 0, &a.err), LKV_OK);
        CHECK_INT(put_filler(a.store, rows[i], 500, 1), LKV_OK);
        prepare_and_commit(a.store);
    }
    commit_text(a.store, "gone", NULL);
    actor_close(&a);
    CHECK_SIZE(a.os.live, 0);
}

static const char *left(const lkv_posix_options *options, uint8_t boots)
{
    static actor a;
    actor_init(&a, options, READ, "");
    a.os.boots = boots;
    act(&a);
    if (a.rc == LKV_CANTOPEN) {
        return NONE;
    }
    if (a.rc == LKV_OK) {
        CHECK_INT(actor_open(&a), LKV_OK);
        CHECK_INT(lkv_refresh(a.store, &a.err), LKV_OK);
        CHECK_INT(lkv_verify(a.store, NULL, NULL, &a.err), LKV_OK);
        actor_close(&a);
    }
    CHECK_SIZE(a.os.live, 0);
    return a.rc == LKV_OK ? a.seen : a.err.text;
}

static void check_actor(const actor *a)
{
    CHECK_SIZE(a->os.live, 0);
    CHECK_SIZE(a->os.open_files, 0);
    CHECK_SIZE(a->os.maps, 0);
    if (!CHECK(a->rc == LKV_OK || a->rc == LKV_NOMEM || a->err.text[0] != 0)) {
        printf("  %s: %d at call %llu, %s\n", names[a->deed], a->rc,
               (unsigned long long)a->os.fail_at, strerror(a->os.as));
    }
}

typedef struct meeting {
    int shared, mapped;
    int there; /* there is a store before; 2: the power failed while it was written to
                */
    int has_open;
    int only_reads; /* the first one may not write */
    int as;         /* the first one's call fails so; 0: the second one acts */
    enum deed deeds[2];
} meeting;

static void prepare(const meeting *m, const char *path,
                    const lkv_posix_options *options)
{
    if (m->there == 3) {
        char lock[400];
        int file = -1;
        snprintf(lock, sizeof(lock), "%s/lock", path);
        CHECK_INT(mkdir(path, 0700), 0);
        CHECK_INT(lkv_os_posix_files.open(NULL, lock, LKV_OS_CREATE, &file), 0);
        (void)close(file);
    } else if (m->there) {
        fill(options);
    }
}

/* Whether that call was made. */
static int meet(const meeting *m, uint64_t n)
{
    static unsigned meetings;
    char path[300];
    unsigned want[2];
    directory d;
    actor a[2];
    const char *found;
    int right = 0;
    lkv_posix_options options = {.path = path,
                                 .shared_memory = m->shared,
                                 .mode = 0600,
                                 .mapped = m->mapped,
                                 .cache_bytes = 1 << 16};

    directory_make(&d);
    directory_path(&d, "kv", path, sizeof(path));
    if (m->shared) {
        snprintf(path, sizeof(path), "/litekv-meets.%d.%u", (int)getpid(), ++meetings);
    }
    prepare(m, path, &options);
    actor_init(&a[0], &options, m->deeds[0], "x");
    actor_init(&a[1], &options, m->deeds[1], "y");
    if (m->there == 2) {
        directory_poke(path, "00000001", directory_size(path, "00000001") + 5000, 7);
        a[0].os.boots = a[1].os.boots = 1;
    }
    if (m->has_open) {
        a[0].has_open = 1;
        CHECK_INT(actor_open(&a[0]), LKV_OK);
        CHECK_INT(see(&a[0]), LKV_OK);
    }
    a[0].os.only_reads = m->only_reads;
    a[0].os.as = m->as;
    a[0].os.before = m->as != 0 ? NULL : gap > 0 ? act_twice : act;
    a[0].os.before_arg = &a[1];
    met = 0;
    os_fault_arm(&a[0].os, n, gap > 0);
    act(&a[0]);
    actor_close(&a[0]);
    check_actor(&a[0]);
    check_actor(&a[1]);
    if (m->only_reads && !CHECK_INT(a[0].rc, LKV_OK)) {
        printf("  before its call %llu: %s\n", (unsigned long long)n, a[0].err.text);
    }

    found = left(&options, a[0].os.boots);
    for (int order = 0; order < 2; order++) {
        want[order] = m->there == 1 || m->there == 2 ? THERE | BASE : 0;
        right |= follow(&a[order], &want[order]) &&
                 follow(&a[1 - order], &want[order]) &&
                 strcmp(found, text_of(want[order])) == 0;
    }
    /* A removal that failed can be gone on with, and else nothing; unmaking tells
     * nobody. */
    right |= m->as != 0 && ((m->deeds[0] == REMOVE && a[0].rc < 0) ||
                            (m->deeds[0] == UNMAKE && *found == '\0'));
    /* What another has open is not unmade. */
    for (int i = 0; i < 2; i++) {
        right |= m->as == 0 && a[i].deed == UNMAKE &&
                 (a[1 - i].deed < REMOVE || a[1 - i].deed == UNMAKE) &&
                 a[1 - i].rc == LKV_OK && *found == '\0';
    }
    if (!CHECK(right)) {
        printf("  %s%s (%d, %d: %s), before its call %llu %s (%d, %d: %s)%s: found "
               "\"%s\", not \"%s\" or \"%s\"\n",
               names[m->deeds[0]], m->has_open ? " with it open" : "", a[0].rc,
               a[0].did, a[0].err.text, (unsigned long long)n,
               m->as != 0 ? strerror(m->as) : names[m->deeds[1]], a[1].rc, a[1].did,
               a[1].err.text, m->shared ? ", in shared memory" : "", found,
               text_of(want[0]), text_of(want[1]));
    }
    actor_init(&a[1], &options, REMOVE, "");
    act(&a[1]);
    CHECK_INT(a[1].rc, strcmp(found, NONE) != 0 || a[1].did ? LKV_OK : LKV_CANTOPEN);
    directory_remove(&d);
    return a[0].os.failures > 0;
}

static uint64_t calls, step = 1;

static void meet_everywhere(const meeting *m)
{
    static uint64_t turn;
    uint64_t n = 1 + turn++ % step;
    while (check_failures() == 0 && meet(m, n)) {
        n += step;
    }
    calls += n;
}

/* Each call, or one of every few: others in each case. */
static void pairs(int shared, int mapped, uint64_t few)
{
    static const enum deed makers[] = {MAKE, MAKE_HALF, REMOVE};
    static const enum deed users[] = {REMOVE, WRITE_MORE, COMPACT};
    calls = 0;
    for (enum deed first = MAKE; first <= READ; first++) {
        for (size_t i = 0; i < 3; i++) {
            step = check_long() ? 1 : few;
            meet_everywhere(&(meeting){
                .shared = shared, .mapped = mapped, .deeds = {first, makers[i]}});
        }
    }
    for (enum deed first = MAKE; first < DEEDS; first++) {
        for (size_t i = 0; i < 3; i++) {
            step = check_long() ? 1 : first < WRITE ? few + 1 : few * 12 + 5;
            int reads = first >= READ ? 1 : 0;
            for (int has_open = 0; has_open <= reads; has_open++) {
                meet_everywhere(&(meeting){.shared = shared,
                                           .mapped = mapped,
                                           .there = 1,
                                           .has_open = has_open,
                                           .deeds = {first, users[i]}});
            }
        }
    }
    CHECK(calls > 200);
}

static void in_files(void)
{
    pairs(0, 1, 3);
}

static void without_maps(void)
{
    pairs(0, 0, 7);
}

static void in_shared_memory(void)
{
    pairs(1, 1, 6);
}

static void reasons(void)
{
    /* ENOENT: for who writes that would be a lie, and no failure. */
    static const int errnos[] = {EACCES, EPERM,  EROFS,  ENOENT, ENOTDIR,
                                 EMFILE, ENFILE, EAGAIN, EEXIST, EINVAL};
    for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
        enum deed last = errnos[i] == ENOENT ? READ : COMPACT;
        for (enum deed deed = MAKE; deed <= last; deed++) {
            step = check_long() ? 1 : deed <= READ ? 9 : 61;
            for (int there = deed > READ; there < 2; there++) {
                meet_everywhere(&(meeting){.mapped = i % 2 == 0,
                                           .there = there,
                                           .as = errnos[i],
                                           .deeds = {deed, READ}});
            }
        }
    }
}

static void half_made(void)
{
    static const enum deed deeds[] = {MAKE, MAKE_HALF, UNMAKE, REMOVE, READ};
    step = check_long() ? 1 : 3;
    for (size_t i = 0; i < 15; i++) {
        meet_everywhere(
            &(meeting){.mapped = 1, .there = 3, .deeds = {deeds[i / 3], deeds[i % 3]}});
    }
}

static void after_a_power_cut(void)
{
    static const int errnos[] = {0, EIO, ENOSPC};
    static const enum deed deeds[] = {READ, WRITE, WRITE_MORE};
    for (size_t i = 0; i < 9; i++) {
        for (int mapped = 0; mapped < 2; mapped++) {
            step = check_long() ? 1 : 13;
            meet_everywhere(&(meeting){.mapped = mapped,
                                       .there = 2,
                                       .as = errnos[i / 3],
                                       .deeds = {deeds[i % 3], WRITE}});
        }
    }
}

/* Who may only read makes out the end without a lock, while others make it out, too,
 * and go on from it. */
static void only_reads(void)
{
    static const enum deed deeds[] = {WRITE, WRITE_MORE, COMPACT};
    for (gap = 1; gap < 40; gap += check_long() ? 1 : 13) {
        for (size_t i = 0; i < 6; i++) {
            step = check_long() ? 1 : 3;
            meet_everywhere(&(meeting){.mapped = i < 3,
                                       .there = 2,
                                       .only_reads = 1,
                                       .deeds = {READ, deeds[i % 3]}});
        }
    }
    gap = 0;
}

static const check_case cases[] = {
    CASE(in_files),  CASE(without_maps),      CASE(in_shared_memory), CASE(reasons),
    CASE(half_made), CASE(after_a_power_cut), CASE(only_reads)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
