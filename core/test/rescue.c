/*
 * rescue.c - see rescue.h.
 */
#include "rescue.h"

#include "store.h"

#include <stdio.h>
#include <string.h>

static const char *name_of(lkv_bytes key, char *out)
{
    if (key.data == NULL) {
        return "-";
    }
    snprintf(out, 20, "%.*s", (int)(key.size < 15 ? key.size : 15),
             (const char *)key.data);
    return out;
}

static int on_lost(void *arg, const lkv_lost *lost)
{
    report *to = arg;
    char first[20], last[20];
    size_t at = strlen(to->text);
    uint32_t object =
        lost->number + (lost->kind == LKV_OBJECT_PART ? LKV_PART_FIRST - 1 : 0);
    snprintf(to->text + at, sizeof(to->text) - at, "%s%s %u: %u+%u %s..%s",
             at > 0 ? "; " : "",
             lost->kind == LKV_OBJECT_ROOT   ? "root"
             : lost->kind == LKV_OBJECT_PART ? "part"
                                             : "segment",
             lost->number, (unsigned)lost->offset, (unsigned)lost->bytes,
             name_of(lost->first_key, first), name_of(lost->last_key, last));
    to->count++;
    to->bytes += lost->bytes;
    to->named |= object == to->object && to->offset >= lost->offset &&
                 to->offset - lost->offset < lost->bytes;
    return LKV_OK;
}

int salvage(lkv_store *store, int apply, report *out, lkv_error *err)
{
    lkv_salvage_calls calls = {on_lost, NULL, out};
    uint32_t object = out->object;
    uint64_t offset = out->offset;
    memset(out, 0, sizeof(*out));
    out->object = object;
    out->offset = offset;
    err->text[0] = '\0';
    return lkv_salvage(store, apply, &calls, &out->kept, err);
}

void reopen(fixture *f)
{
    lkv_close(f->store);
    CHECK_INT(lkv_open(f->storage, &f->os.os, &f->store), LKV_OK);
    f->store->flush_size = 150;
    lkv_auto_compact_fallback(f->store, 0);
}

const char *recover(fixture *f, report *said)
{
    static report applied;
    lkv_error err = {0, ""};
    const char *now;

    reopen(f);
    storage_fault_arm(&f->fault, 0, 0, LKV_OK);
    CHECK_INT(salvage(f->store, 0, said, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    CHECK_SIZE(f->fault.writes, 0);
    applied.object = said->object;
    applied.offset = said->offset;
    CHECK_INT(salvage(f->store, 1, &applied, &err), LKV_OK);
    CHECK(lkv_in_transaction(f->store));
    CHECK_TEXT(applied.text, said->text);
    CHECK_SIZE(applied.kept, said->kept);
    CHECK_SIZE(lkv_count(f->store), said->kept);
    prepare_and_commit(f->store);
    now = contents(f->store);
    CHECK_TEXT(contents_anew(f->storage, &f->os.os), now);
    CHECK_TEXT(verified(f->store), "ok");
    return now;
}
