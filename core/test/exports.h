/*
 * exports.h - exported indexes: taken, given back, damaged on the way.
 */
#ifndef LKV_TEST_EXPORTS_H
#define LKV_TEST_EXPORTS_H

#include "fixture.h"

/* What lkv_export() gave, and how it is read. */
typedef struct export
{
    uint8_t *bytes;
    size_t size, room;
    unsigned pieces;
    unsigned stop_at; /* that piece is refused; 0: none */
    unsigned reads;
    unsigned fail_at; /* that read fails; 0: none */
    unsigned
        change_from; /* from that read on the last byte before the sum is another */
}
export;

int export_put(void *export, lkv_bytes bytes);
/* An export of the store, checked; `bytes` is to be freed. */
void take_export(lkv_store *store, export *out);
int import(lkv_store *store, export *from, lkv_error *err);
/* The same of what lkv_serialize() gives. */
void take_serial(lkv_store *store, export *out);
int deserialize(lkv_store *store, export *from, lkv_error *err);
/* An import that is right, as a transaction. */
void import_and_commit(fixture *f, export *from);
/* The store holds what summary() said, for a new handle too, and is whole. */
void check_good(fixture *f, const char *want);

#endif
