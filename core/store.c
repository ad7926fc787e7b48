/*
 * store.c - the functions of litekv.h, composed of log, index and journal.
 *
 * A change goes in the order: make room in the journal and in the log (the storage may
 * fail here), then the index (memory may fail here), then append to both, which cannot
 * fail. So a change is done as a whole or not at all.
 *
 * A deleted key stays in the index as a tombstone until the transaction ends: putting
 * the old location back then needs no memory, and a rollback cannot fail.
 */
#include "store.h"

#include <string.h>

int lkv_create(lkv_storage *storage, const lkv_os *os, lkv_bytes meta, lkv_error *err)
{
    return lkv_log_create(storage, os, meta, err);
}

int lkv_open(lkv_storage *storage, const lkv_os *os, lkv_store **out)
{
    lkv_store *store = lkv_os_alloc(os, sizeof(*store));
    if (store == NULL) {
        return LKV_NOMEM;
    }
    memset(store, 0, sizeof(*store));
    lkv_log_init(&store->log, storage, os);
    lkv_journal_init(&store->journal, os);
    if (lkv_memindex_open(os, &store->index) != LKV_OK) {
        lkv_os_free(os, store);
        return LKV_NOMEM;
    }
    *out = store;
    return LKV_OK;
}

void lkv_close(lkv_store *store)
{
    if (store != NULL) {
        lkv_rollback(store);
        lkv_memindex_close(store->index);
        lkv_journal_free(&store->journal);
        lkv_log_free(&store->log);
        lkv_os_free(store->log.os, store);
    }
}

int lkv_refresh(lkv_store *store, lkv_error *err)
{
    return store->log.open ? LKV_OK : lkv_recover(store, err);
}

int lkv_is_there(lkv_store *store, const uint8_t *id, lkv_error *err)
{
    return lkv_log_is_there(&store->log, id, err);
}

lkv_bytes lkv_id(const lkv_store *store)
{
    return (lkv_bytes){store->log.at.store_id, LKV_ID_SIZE};
}

lkv_bytes lkv_meta(const lkv_store *store)
{
    return (lkv_bytes){store->log.meta, store->log.meta_size};
}

int lkv_begin(lkv_store *store, int64_t wait_ms, lkv_error *err)
{
    lkv_storage *storage = store->log.storage;
    int rc;

    if (store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "a transaction is already open");
    }
    rc = storage->ops->lock(storage, wait_ms, err);
    if (rc != LKV_OK) {
        return rc;
    }
    rc = lkv_recover(store, err);
    if (rc != LKV_OK) {
        storage->ops->unlock(storage, &store->log.at);
        return rc;
    }
    lkv_log_begin(&store->log);
    store->deletes = 0;
    store->prepared = 0;
    return LKV_OK;
}

int lkv_in_transaction(const lkv_store *store)
{
    return store->log.open;
}

/* Room for a record of `key` and `value` in journal and log. */
static int make_room(lkv_store *store, lkv_bytes key, lkv_bytes value, lkv_error *err)
{
    int rc;
    if (!store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    if (key.size > LKV_SEGMENT_MAX) { /* the log would say so after the journal grew */
        return lkv_log_error(err, LKV_TOO_BIG, "the key is longer than a segment");
    }
    rc = lkv_journal_reserve(&store->journal, key.size);
    return rc == LKV_OK ? lkv_log_reserve(&store->log, lkv_format_size(key, value), err)
                        : rc;
}

int lkv_put(lkv_store *store, const lkv_row *row, lkv_error *err)
{
    lkv_loc old;
    int rc;

    if (row->tag > LKV_TAG_MAX) {
        return lkv_log_error(err, LKV_MISUSE, "the tag has more than two bits");
    }
    rc = make_room(store, row->key, row->value, err);
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_store_before_change(store);
    rc = lkv_memindex_put(store->index, row->key, lkv_log_place(&store->log, row->tag),
                          &old);
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_journal_add(&store->journal, row->key, old);
    lkv_log_append(&store->log, LKV_KIND_PUT, row->tag, row->key, row->value);
    if (old == LKV_NOWHERE || !lkv_loc_live(old)) {
        store->live_keys++;
    }
    return LKV_OK;
}

int lkv_delete(lkv_store *store, lkv_bytes key, lkv_error *err)
{
    lkv_bytes nothing = {NULL, 0};
    lkv_loc old;
    int rc = lkv_exists(store, key);

    if (rc != LKV_OK) {
        return rc;
    }
    rc = make_room(store, key, nothing, err);
    if (rc == LKV_OK) {
        rc = lkv_memindex_put(store->index, key,
                              lkv_log_place(&store->log, 0) | LKV_LOC_TOMBSTONE, &old);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_journal_add(&store->journal, key, old);
    lkv_log_append(&store->log, LKV_KIND_TOMBSTONE, 0, key, nothing);
    store->live_keys--;
    store->deletes++;
    return LKV_OK;
}

int lkv_mark(lkv_store *store, uint32_t *depth)
{
    int rc = LKV_MISUSE;
    if (store->log.open) {
        rc = lkv_log_mark_push(&store->log, store->journal.size, store->prepared,
                               store->live_keys);
    }
    if (rc == LKV_OK) {
        *depth = (uint32_t)store->log.mark_count - 1;
    }
    return rc;
}

static void undo(lkv_store *store, size_t journal)
{
    lkv_store_before_change(store);
    lkv_journal_undo(&store->journal, store->index, journal);
    store->undone++;
}

void lkv_rollback_to(lkv_store *store, uint32_t depth)
{
    if (depth < store->log.mark_count) {
        const lkv_log_mark *mark = &store->log.marks[depth];
        undo(store, mark->journal);
        store->prepared = mark->prepared;
        store->live_keys = mark->live_keys;
        lkv_log_rewind(&store->log, mark);
        lkv_log_mark_pop(&store->log, depth + 1);
    }
}

void lkv_release(lkv_store *store, uint32_t depth)
{
    lkv_log_mark_pop(&store->log, depth);
}

int lkv_prepare(lkv_store *store, lkv_error *err)
{
    int rc = LKV_OK;
    if (store->log.open) {
        rc = lkv_log_prepare(&store->log, store->live_keys, err);
        if (rc == LKV_OK) {
            store->prepared = store->journal.size;
        }
    }
    return rc;
}

static void leave(lkv_store *store)
{
    lkv_journal_clear(&store->journal);
    store->log.storage->ops->unlock(store->log.storage, &store->log.at);
}

void lkv_commit(lkv_store *store)
{
    if (!store->log.open) {
        return;
    }
    if (store->journal.size > store->prepared) {
        undo(store, store->prepared);
        store->live_keys = store->log.at.live_keys;
    }
    if (store->deletes > 0) {
        lkv_store_before_change(store);
        lkv_journal_bury(&store->journal, store->index);
    }
    lkv_log_commit(&store->log);
    leave(store);
}

void lkv_rollback(lkv_store *store)
{
    if (store->log.open) {
        undo(store, 0);
        lkv_log_rollback(&store->log);
        store->live_keys = store->log.at.live_keys;
        leave(store);
    }
}

uint64_t lkv_rollbacks(const lkv_store *store)
{
    return store->log.rollbacks;
}

int lkv_exists(lkv_store *store, lkv_bytes key)
{
    lkv_loc loc = lkv_memindex_get(store->index, key);
    return loc != LKV_NOWHERE && lkv_loc_live(loc) ? LKV_OK : LKV_ABSENT;
}

int lkv_store_read(lkv_store *store, lkv_loc loc, lkv_bytes key, lkv_row *row,
                   lkv_error *err)
{
    lkv_record record;
    int rc = lkv_log_read(&store->log, loc, &record, err);

    if (rc != LKV_OK) {
        return rc;
    }
    if (record.kind != LKV_KIND_PUT || record.key.size != key.size ||
        (key.size > 0 && memcmp(record.key.data, key.data, key.size) != 0)) {
        return lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc),
                              "the record has another key than the index");
    }
    *row = (lkv_row){record.key, record.value, record.tag};
    return LKV_OK;
}

int lkv_get(lkv_store *store, lkv_bytes key, lkv_row *row, lkv_error *err)
{
    lkv_loc loc = lkv_memindex_get(store->index, key);
    if (loc == LKV_NOWHERE || !lkv_loc_live(loc)) {
        return LKV_ABSENT;
    }
    return lkv_store_read(store, loc, key, row, err);
}

uint64_t lkv_views(const lkv_store *store)
{
    return store->log.views;
}

uint64_t lkv_count(const lkv_store *store)
{
    return store->live_keys;
}

int lkv_measure(lkv_store *store, lkv_stats *stats, lkv_error *err)
{
    lkv_log_scan scan = {.log = &store->log, .offset = LKV_SEGMENT_HEADER};
    lkv_record record;
    lkv_loc loc;
    int rc;

    memset(stats, 0, sizeof(*stats));
    if (!store->log.known) {
        return LKV_OK;
    }
    stats->live_keys = store->live_keys;
    stats->segments = store->log.count;
    stats->revision = store->log.at.revision;
    stats->index_memory = lkv_memindex_memory(store->index);
    for (size_t i = 0; i < store->log.count; i++) {
        stats->log_bytes += lkv_log_limit(&store->log, i);
    }
    while ((rc = lkv_log_next(&scan, &record, &loc, err)) == LKV_OK) {
        if (record.kind == LKV_KIND_COMMIT) {
            continue;
        }
        stats->records++;
        if (lkv_loc_live(loc) && lkv_memindex_get(store->index, record.key) == loc) {
            stats->live_bytes += record.size;
        }
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}
