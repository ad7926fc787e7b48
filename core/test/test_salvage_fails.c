/*
 * test_salvage_fails.c - lkv_salvage() when the storage or memory fails at each call,
 * when a block cannot be read, and when its caller wants no more: it ends with that
 * error, or has told the same as without, and nothing has changed.
 */
#include "rescue.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kinds of damage to the small store. */
enum wound {
    IN_SEGMENT,
    IN_PART,
    PART_HEADER,
    SEGMENT_HEADER,
    FOREIGN_PART,
    INDEX,
    END_LOST,
    WOUNDS
};

static void change(fixture *f, uint32_t number, size_t offset, uint8_t mask)
{
    lkv_bytes object = layers_object(f->memory, number);
    ((uint8_t *)(uintptr_t)object.data)[offset] ^= mask;
    layers_put_object(f->memory, number, object);
    free((void *)(uintptr_t)object.data);
}

/* The end is that of another root. */
static void lose_end(fixture *f)
{
    const lkv_storage_ops *ops = f->memory->ops;
    lkv_bytes root;
    uint8_t *copy;
    lkv_end end;
    CHECK_INT(ops->read_end(f->memory, &end, NULL), LKV_OK);
    CHECK_INT(ops->read_root(f->memory, &root, NULL), LKV_OK);
    copy = malloc(root.size);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, root.data, root.size);
    end.generation += 9;
    CHECK_INT(
        ops->write_root(f->memory, end.generation, (lkv_bytes){copy, root.size}, NULL),
        LKV_OK);
    CHECK_INT(ops->publish_end(f->memory, &end, NULL), LKV_OK);
    free(copy);
}

static void wound(fixture *f, enum wound kind)
{
    const lkv_log *log = &f->store->log;
    const lkv_part part = log->runs->part[0];
    uint32_t segment = log->segments[log->first].number;
    lkv_bytes other;

    switch (kind) {
    case IN_SEGMENT: /* its lengths too: what follows is searched for */
        change(f, segment, LKV_SEGMENT_HEADER + 6, 0xff);
        change(f, segment, LKV_SEGMENT_HEADER + 12, 0xff);
        break;
    case IN_PART:
        change(f, part.number, LKV_SEGMENT_HEADER + 6, 0xff);
        change(f, part.number, part.size - LKV_SEAL_SIZE + 3, 1);
        break;
    case PART_HEADER:
        change(f, part.number, 30, 1);
        break;
    case SEGMENT_HEADER:
        change(f, segment, 30, 1);
        break;
    case FOREIGN_PART: /* its bytes are those of another object, which is right */
        other = layers_object(f->memory, segment);
        layers_put_object(f->memory, part.number, other);
        free((void *)(uintptr_t)other.data);
        break;
    case INDEX:
        change(f, part.index, 20, 1);
        change(f, log->runs->run[0].number, 20, 1);
        change(f, part.number, LKV_SEGMENT_HEADER + 6, 0xff);
        change(f, segment, LKV_SEGMENT_HEADER + 6, 0xff);
        break;
    case END_LOST:
    case WOUNDS:
        lose_end(f);
        break;
    }
}

typedef struct how {
    int apply;
    int memory; /* it is memory that fails */
    int rc;
} how;

/* With call `n` failing; 0: none. Nothing stays of it. */
static int once(fixture *f, const how *h, uint64_t n, report *said, lkv_error *err)
{
    int rc;
    memset(said, 0, sizeof(*said));
    reopen(f);
    os_fault_arm(&f->os, h->memory ? n : 0, 0);
    storage_fault_arm(&f->fault, h->memory ? 0 : n, 0, h->rc);
    rc = salvage(f->store, h->apply, said, err);
    f->os.fail_at = f->fault.fail_at = 0;
    lkv_rollback(f->store);
    return rc;
}

/* What a call that fails makes of it; whether one was made. */
static int fails_at(fixture *f, const how *h, uint64_t n, const report *right)
{
    static report said;
    lkv_error err;
    int rc = once(f, h, n, &said, &err);
    if (rc == LKV_OK && h->rc != LKV_CORRUPT) {
        CHECK_TEXT(said.text, right->text);
        CHECK_SIZE(said.kept, right->kept);
    } else if (rc != LKV_OK) {
        CHECK_INT(rc, h->rc);
        CHECK(rc == LKV_NOMEM || err.text[0] != '\0');
    }
    return f->os.failures + f->fault.failures > 0;
}

static void fail_everywhere(enum wound kind)
{
    static report right, again;
    fixture f;
    layers_small(&f);
    wound(&f, kind);
    for (int i = 0; i < 6 && check_failures() == 0; i++) {
        static const int codes[] = {LKV_FAILED, LKV_CORRUPT, LKV_NOMEM};
        const how h = {i % 2, i / 2 == 2, codes[i / 2]};
        uint64_t n = 1;
        CHECK_INT(once(&f, &h, 0, &right, &f.err), LKV_OK);
        while (check_failures() == 0 && fails_at(&f, &h, n, &right)) {
            n++;
        }
        CHECK(n > 5);
        CHECK_INT(once(&f, &h, 0, &again, &f.err), LKV_OK);
        CHECK_TEXT(again.text, right.text);
        CHECK_SIZE(again.kept, right.kept);
        if (check_failures() > 0) {
            printf("  damage %d, way %d, call %llu\n", (int)kind, i,
                   (unsigned long long)n);
        }
    }
    fixture_close(&f);
}

static void each_call(void)
{
    for (enum wound kind = IN_SEGMENT; kind < WOUNDS; kind++) {
        fail_everywhere(kind);
    }
}

/* How often it is asked whether to go on; it stops at `stop`. */
typedef struct patience {
    unsigned asked, stop, lost;
} patience;

static int on_lost(void *arg, const lkv_lost *lost)
{
    patience *p = arg;
    (void)lost;
    return ++p->lost == 2 && p->stop == UINT32_MAX ? LKV_FAILED : LKV_OK;
}

static int go_on(void *arg)
{
    patience *p = arg;
    return ++p->asked == p->stop ? LKV_FAILED : LKV_OK;
}

static void clear(fixture *f, uint32_t number, size_t from, size_t size)
{
    lkv_bytes object = layers_object(f->memory, number);
    memset((uint8_t *)(uintptr_t)object.data + from, 'x', size);
    layers_put_object(f->memory, number, object);
    free((void *)(uintptr_t)object.data);
}

/* A part of many records and much of it lost, and a segment the same. */
static void wants_no_more(void)
{
    patience p = {0};
    lkv_salvage_calls calls = {on_lost, go_on, &p};
    uint64_t left, kept = 0, right;
    unsigned all;
    char key[16];
    fixture f;

    fixture_open(&f, 1024);
    lkv_auto_compact_fallback(f.store, 0);
    for (int turn = 0; turn < 2; turn++) {
        begin(f.store);
        for (unsigned i = 0; i < 2500; i++) {
            snprintf(key, sizeof(key), "%05u", i * 2 + (unsigned)turn);
            CHECK_INT(put_filler(f.store, key, 60, i), LKV_OK);
        }
        if (turn == 0) {
            CHECK_INT(lkv_compact(f.store, UINT64_MAX, &left, &f.err), LKV_OK);
        }
        prepare_and_commit(f.store);
    }
    CHECK_SIZE(f.store->log.runs->parts, 1);
    clear(&f, f.store->log.runs->part[0].number, 100000, 70000);
    clear(&f, f.store->log.at.segment, 50000, 70000);
    reopen(&f);
    CHECK_INT(lkv_salvage(f.store, 0, &calls, &right, &f.err), LKV_OK);
    CHECK(right > 2500 && right < 5000);
    CHECK_SIZE(p.lost, 2);
    all = p.asked;
    CHECK(all > 6);
    for (unsigned stop = 1; stop <= all; stop++) {
        p = (patience){.stop = stop};
        CHECK_INT(lkv_salvage(f.store, 0, &calls, &kept, &f.err), LKV_FAILED);
        CHECK_SIZE(p.asked, stop);
        CHECK_SIZE(p.lost, 0);
    }
    p = (patience){.stop = UINT32_MAX};
    CHECK_INT(lkv_salvage(f.store, 0, &calls, &kept, &f.err), LKV_FAILED);
    CHECK_SIZE(p.lost, 2);
    calls.go_on = NULL;
    p = (patience){0};
    CHECK_INT(lkv_salvage(f.store, 0, &calls, &kept, NULL), LKV_OK);
    CHECK_SIZE(kept, right);
    CHECK_SIZE(p.asked, 0);
    fixture_close(&f);
}

static const check_case cases[] = {CASE(each_call), CASE(wants_no_more)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
