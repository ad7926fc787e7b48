/*
 * exports.c - see exports.h.
 */
#include "exports.h"

#include "layers.h"

#include <stdlib.h>
#include <string.h>

int export_put(void *arg, lkv_bytes bytes)
{
    export *to = arg;
    if (++to->pieces == to->stop_at) {
        return 55;
    }
    if (to->size + bytes.size > to->room) {
        to->room = 2 * (to->size + bytes.size);
        to->bytes = realloc(to->bytes, to->room);
        if (to->bytes == NULL) {
            abort();
        }
    }
    memcpy(to->bytes + to->size, bytes.data, bytes.size);
    to->size += bytes.size;
    return LKV_OK;
}

static int get(void *arg, uint64_t offset, void *out, size_t size)
{
    export *from = arg;
    if (++from->reads == from->fail_at) {
        return LKV_IO;
    }
    CHECK(offset <= from->size && size <= from->size - offset);
    memcpy(out, from->bytes + offset, size);
    if (from->change_from != 0 && from->reads >= from->change_from &&
        offset + size > from->size - 9 && offset <= from->size - 9) {
        ((uint8_t *)out)[from->size - 9 - offset] ^= 1;
    }
    return LKV_OK;
}

void take_export(lkv_store *store, export *out)
{
    lkv_error err = {0, ""};
    memset(out, 0, sizeof(*out));
    CHECK_INT(lkv_export(store, export_put, out, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
}

int import(lkv_store *store, export *from, lkv_error *err)
{
    lkv_source source = {get, from, from->size};
    err->text[0] = '\0';
    from->reads = 0;
    return lkv_import(store, &source, NULL, NULL, err);
}

void take_serial(lkv_store *store, export *out)
{
    lkv_error err = {0, ""};
    memset(out, 0, sizeof(*out));
    CHECK_INT(lkv_serialize(store, export_put, out, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
}

int deserialize(lkv_store *store, export *from, lkv_error *err)
{
    lkv_source source = {get, from, from->size};
    err->text[0] = '\0';
    from->reads = 0;
    return lkv_deserialize(store, &source, NULL, NULL, err);
}

void check_good(fixture *f, const char *want)
{
    CHECK_TEXT(summary(f->store), want);
    CHECK_TEXT(verified(f->store), "ok");
    CHECK_TEXT(summary_anew(f), want);
}

void import_and_commit(fixture *f, export *from)
{
    begin(f->store);
    CHECK_INT(import(f->store, from, &f->err), LKV_OK);
    CHECK_TEXT(f->err.text, "");
    prepare_and_commit(f->store);
}
