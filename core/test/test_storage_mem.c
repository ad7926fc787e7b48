/*
 * test_storage_mem.c - the storage in memory, to the letter of storage.h.
 */
#include "fixture.h"

#include <string.h>

typedef struct memory {
    os_fault os;
    lkv_storage *storage;
    const lkv_storage_ops *ops;
} memory;

static void memory_open(memory *m)
{
    os_fault_init(&m->os);
    CHECK_INT(lkv_storage_mem_open(&m->os.os, 64, &m->storage), LKV_OK);
    m->ops = m->storage->ops;
}

static void memory_close(memory *m)
{
    os_fault_arm(&m->os, 0, 0);
    lkv_storage_mem_close(m->storage);
    CHECK_SIZE(m->os.live, 0);
}

static int write_text(memory *m, uint32_t object, uint64_t offset, const char *text)
{
    return m->ops->write(m->storage, object, offset, text_bytes(text), NULL);
}

static void check_object(memory *m, uint32_t object, const char *want)
{
    lkv_bytes view;
    for (size_t i = 0; i <= strlen(want) + 1; i++) {
        size_t left = i < strlen(want) ? strlen(want) - i : 0;
        CHECK_INT(m->ops->read(m->storage, object, i, 1, &view, NULL), LKV_OK);
        CHECK_BYTES(view.data, view.size, want + (left > 0 ? i : 0), left);
    }
}

static void defaults(void)
{
    memory m;
    memory_open(&m);
    CHECK_INT(m.storage->block, 64);
    CHECK_INT(m.storage->spill, LKV_SPILL_SIZE);
    CHECK_INT(m.storage->segment, LKV_SEGMENT_SIZE);
    CHECK_INT(m.storage->atomic, 1);
    CHECK_INT(m.storage->fresh, 1);
    CHECK_INT(m.storage->undoes, 0);
    memory_close(&m);
}

static void objects(void)
{
    memory m;
    memory_open(&m);
    check_object(&m, 1, "");
    CHECK_INT(write_text(&m, 1, 0, "hello"), LKV_OK);
    CHECK_INT(write_text(&m, 7, 0, "other"), LKV_OK);
    CHECK_INT(write_text(&m, 1, 5, " there"), LKV_OK);
    check_object(&m, 1, "hello there");
    CHECK_INT(write_text(&m, 1, 2, "y"), LKV_OK); /* what stood from there on is gone */
    check_object(&m, 1, "hey");
    CHECK_INT(write_text(&m, 1, 4, "!"), LKV_MISUSE); /* a hole */
    check_object(&m, 1, "hey");
    CHECK_INT(write_text(&m, 1, 3, ""), LKV_OK);
    CHECK_INT(write_text(&m, 9, 0, ""), LKV_OK);
    check_object(&m, 9, "");
    check_object(&m, 1, "hey");
    m.ops->rewind(m.storage, 1, 10);
    check_object(&m, 1, "hey");
    m.ops->rewind(m.storage, 1, 1);
    check_object(&m, 1, "h");
    m.ops->rewind(m.storage, 5, 0);
    m.ops->rewind(m.storage, 0, 0); /* caches only, of which there is none */
    check_object(&m, 1, "h");
    check_object(&m, 7, "other");
    CHECK_INT(m.ops->seal(m.storage, 7, NULL), LKV_OK);
    CHECK_INT(m.ops->sync(m.storage, 7, 5, NULL), LKV_OK);
    CHECK_INT(m.ops->pin(m.storage, NULL), LKV_OK);
    m.ops->unpin(m.storage);
    CHECK_INT(m.ops->remove(m.storage, 7, 6, NULL), LKV_OK); /* it has no such part */
    check_object(&m, 7, "other");
    CHECK_INT(m.ops->remove(m.storage, 7, 2, NULL), LKV_OK);
    check_object(&m, 7, "ot");
    CHECK_INT(m.ops->remove(m.storage, 1, 0, NULL), LKV_OK);
    CHECK_INT(m.ops->remove(m.storage, 1, 0, NULL), LKV_OK);
    CHECK_INT(m.ops->remove(m.storage, 1, 5, NULL), LKV_OK);
    check_object(&m, 1, "");
    check_object(&m, 7, "ot");
    memory_close(&m);
}

static int add_up(void *arg, uint32_t object)
{
    uint32_t *sum = arg;
    *sum = *sum * 10 + object;
    return object == 3 ? 77 : 0;
}

static void lists(void)
{
    uint32_t sum = 0;
    memory m;
    memory_open(&m);
    CHECK_INT(m.ops->list(m.storage, add_up, &sum, NULL), LKV_OK);
    CHECK_INT(sum, 0);
    CHECK_INT(write_text(&m, 4, 0, "x"), LKV_OK);
    CHECK_INT(write_text(&m, 5, 0, "x"), LKV_OK);
    CHECK_INT(m.ops->list(m.storage, add_up, &sum, NULL), LKV_OK);
    CHECK(sum == 45 || sum == 54);
    CHECK_INT(write_text(&m, 3, 0, "x"), LKV_OK);
    CHECK_INT(m.ops->list(m.storage, add_up, &sum, NULL), 77); /* what `each` said */
    memory_close(&m);
}

/* An end and its root are seen when the lock is given back, and not if it is given back
 * for an earlier end. */
static void roots_and_ends(void)
{
    lkv_end first = {.generation = 1, .revision = 1}, second = first, got;
    lkv_end nothing = {.generation = 0};
    lkv_bytes root;
    memory m;

    memory_open(&m);
    CHECK_INT(m.ops->read_end(m.storage, &got, NULL), LKV_ABSENT);
    CHECK_INT(m.ops->read_root(m.storage, &root, NULL), LKV_ABSENT);
    CHECK_INT(m.ops->write_root(m.storage, 1, text_bytes("one"), NULL), LKV_OK);
    CHECK_INT(m.ops->publish_end(m.storage, &first, NULL), LKV_OK);
    CHECK_INT(m.ops->read_root(m.storage, &root, NULL), LKV_OK);
    CHECK_BYTES(root.data, root.size, "one", 3);
    second.generation = 2;
    second.revision = 2;
    for (int keeps = 0; keeps < 3; keeps++) {
        CHECK_INT(m.ops->lock(m.storage, 0, NULL), LKV_OK);
        CHECK_INT(m.ops->lock(m.storage, 0, NULL), LKV_BUSY);
        CHECK_INT(m.ops->write_root(m.storage, 2, text_bytes("undone"), NULL), LKV_OK);
        CHECK_INT(m.ops->write_root(m.storage, 2, text_bytes("two"), NULL), LKV_OK);
        CHECK_INT(m.ops->publish_end(m.storage, &second, NULL), LKV_OK);
        CHECK_INT(m.ops->read_end(m.storage, &got, NULL), LKV_OK);
        CHECK_SIZE(got.revision, 1);
        CHECK_INT(m.ops->read_root(m.storage, &root, NULL), LKV_OK);
        CHECK_BYTES(root.data, root.size, "one", 3);
        m.ops->unlock(m.storage, keeps == 0 ? &first : keeps == 1 ? &nothing : &second);
        CHECK_INT(m.ops->read_end(m.storage, &got, NULL), LKV_OK);
        CHECK_SIZE(got.revision, keeps == 2 ? 2 : 1);
        CHECK_INT(m.ops->read_root(m.storage, &root, NULL), LKV_OK);
        CHECK_BYTES(root.data, root.size, keeps == 2 ? "two" : "one", 3);
    }
    /* The object list and one root are all that is left. */
    CHECK_SIZE(m.os.live, 2);
    memory_close(&m);
}

static void no_memory(void)
{
    lkv_storage *none = NULL;
    lkv_end end = {.generation = 1};
    memory m;

    os_fault_init(&m.os);
    os_fault_arm(&m.os, 1, 0);
    CHECK_INT(lkv_storage_mem_open(&m.os.os, 64, &none), LKV_NOMEM);
    memory_open(&m);
    for (uint64_t n = 1; n <= 2; n++) {
        os_fault_arm(&m.os, n, 0);
        CHECK_INT(write_text(&m, 1, 0, "hello"), LKV_NOMEM);
        check_object(&m, 1, "");
    }
    os_fault_arm(&m.os, 0, 0);
    CHECK_INT(write_text(&m, 1, 0, "hello"), LKV_OK);
    os_fault_arm(&m.os, 1, 0);
    CHECK_INT(write_text(&m, 1, 5, " and more"), LKV_NOMEM);
    check_object(&m, 1, "hello");
    os_fault_arm(&m.os, 1, 0);
    CHECK_INT(m.ops->write_root(m.storage, 1, text_bytes("one"), NULL), LKV_NOMEM);
    os_fault_arm(&m.os, 1, 1); /* what cannot fail asks for none */
    CHECK_INT(m.ops->publish_end(m.storage, &end, NULL), LKV_OK);
    m.ops->rewind(m.storage, 1, 2);
    CHECK_INT(m.ops->lock(m.storage, 0, NULL), LKV_OK);
    m.ops->unlock(m.storage, &end);
    check_object(&m, 1, "he");
    memory_close(&m);
}

static const check_case cases[] = {CASE(defaults), CASE(objects), CASE(lists),
                                   CASE(roots_and_ends), CASE(no_memory)};

int main(int argc, char **argv)
{
    return check_main(argc, argv, cases, CASES(cases));
}
