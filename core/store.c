/*
 * store.c - the functions of litekv.h, composed of log, index and journal.
 *
 * The index is a tree in memory for the newest part of the log, and runs for the rest.
 * A deleted key stays as a tombstone, since older runs may hold it.
 *
 * A change goes in the order: make room in the journal and in the log, look up what the
 * key had (the storage may fail here), then the tree (memory may fail here), then
 * append to both, which cannot fail. So a change is done as a whole or not at all.
 *
 * A rollback puts the old places back into the tree from the journal, and cannot fail.
 * Where a flush emptied the tree meanwhile it is left stale, and made anew from the log
 * when it is asked next.
 */
#include "store.h"

#include <stdio.h>
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
    store->flush_size = LKV_FLUSH_SIZE;
    store->auto_compact = LKV_AUTO_COMPACT;
    store->gaps.least = LKV_GAP_LEAST;
    lkv_log_init(&store->log, storage, os);
    lkv_journal_init(&store->journal, os);
    if (lkv_memindex_open(os, &store->index) != LKV_OK) {
        lkv_os_free(os, store);
        return LKV_NOMEM;
    }
    *out = store;
    return LKV_OK;
}

/* Nobody vouches yet for the newest commits: a root does. What fails here costs
 * nothing: they were synced as the setting wants it. */
static void vouch(lkv_store *store)
{
    lkv_log *log = &store->log;
    if (log->unvouched && lkv_begin(store, 0, NULL) == LKV_OK) {
        if (lkv_log_vouch(log, NULL) == LKV_OK) {
            lkv_commit(store);
        } else {
            lkv_rollback(store);
        }
    }
}

void lkv_close(lkv_store *store)
{
    if (store != NULL) {
        lkv_rollback(store);
        vouch(store);
        store->work_void = 1;
        lkv_work_sweep(store);
        lkv_cursor_free_spare(store);
        lkv_memindex_close(store->index);
        lkv_journal_free(&store->journal);
        lkv_os_free(store->log.os, store->counted.bytes);
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

int lkv_stands(lkv_store *store, lkv_error *err)
{
    lkv_storage *storage = store->log.storage;
    lkv_end end;
    int rc = storage->ops->read_end(storage, &end, err);
    store->log.views++;
    return rc == LKV_OK && memcmp(&end, &store->log.at, sizeof(end)) != 0 ? LKV_ABSENT
                                                                          : rc;
}

lkv_bytes lkv_id(const lkv_store *store)
{
    return (lkv_bytes){store->log.at.store_id, LKV_ID_SIZE};
}

lkv_bytes lkv_meta(const lkv_store *store)
{
    return (lkv_bytes){store->log.meta, store->log.meta_size};
}

void lkv_store_enter(lkv_store *store)
{
    lkv_log_begin(&store->log);
    store->log.begin.flushes = store->flushes;
    store->paid = 0;
    store->removed = 0;
    store->wrote = store->owes = 0;
    store->prepared = 0;
    store->prepared_flushes = store->flushes;
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
    lkv_store_enter(store);
    return LKV_OK;
}

int lkv_begin_here(lkv_store *store, int64_t wait_ms, lkv_error *err)
{
    lkv_storage *storage = store->log.storage;
    lkv_end end, none = {0};
    int rc;

    if (store->log.open || !store->log.known) {
        return lkv_begin(store, wait_ms, err);
    }
    rc = storage->ops->lock(storage, wait_ms, err);
    if (rc != LKV_OK) {
        return rc;
    }
    store->log.views++; /* as in lkv_recover() */
    rc = storage->ops->read_end(storage, &end, err);
    if (rc == LKV_UNSURE) { /* a writer died */
        rc = lkv_make_out_aside(store, &end, err);
    }
    if (rc >= 0 && (rc != LKV_OK || end.revision != store->log.at.revision ||
                    end.chain != store->log.at.chain ||
                    end.generation != store->log.at.generation)) {
        rc = lkv_log_error(err, LKV_BUSY_SNAPSHOT,
                           "others have committed since this was read");
    }
    if (rc == LKV_OK) {
        lkv_store_enter(store);
    } else {
        storage->ops->unlock(storage, &none);
    }
    return rc;
}

void lkv_sync_fallback(lkv_store *store, enum lkv_sync fallback)
{
    store->log.sync = fallback;
    if (store->log.runs == NULL) {
        store->log.storage->sync = fallback;
    } else {
        lkv_log_choose_sync(&store->log);
    }
}

enum lkv_sync lkv_sync_of(const lkv_store *store)
{
    return store->log.storage->sync;
}

int lkv_in_transaction(const lkv_store *store)
{
    return store->log.open;
}

int lkv_changed(const lkv_store *store)
{
    const lkv_log *log = &store->log;
    return log->open &&
           (lkv_log_changed(log) || log->at.revision != log->begin.at.revision);
}

void lkv_touch(lkv_store *store)
{
    if (store->log.open) {
        store->log.root_changed = 1;
    }
}

int lkv_pending(const lkv_store *store)
{
    return store->log.open && lkv_log_changed(&store->log);
}

static int look_up(lkv_store *store, lkv_bytes key, lkv_place *place, lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_tops_search search;
    uint64_t hash;
    int rc;

    if (log->runs == NULL || (log->runs->count == 0 && log->runs->parts == 0)) {
        *place = lkv_memindex_get(store->index, key);
        return LKV_OK;
    }
    hash = lkv_filter_hash(key);
    rc = lkv_tops_ahead(&log->tops, log->runs, log->rewound, log->runs->count, key,
                        hash, &search, err);
    if (rc != LKV_OK) {
        return rc;
    }
    *place = lkv_memindex_get(store->index, key);
    if (place->loc != LKV_NOWHERE) {
        return LKV_OK;
    }
    rc = lkv_tops_find(&log->tops, &search, key, hash, place, err);
    if (rc == LKV_ABSENT) {
        rc = lkv_base_find(log, key, hash, place, err);
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

int lkv_lookup(lkv_store *store, lkv_bytes key, lkv_place *place, lkv_error *err)
{
    lkv_memo *memo = &store->memo;
    int rc = lkv_store_ready(store, err);

    *place = (lkv_place){LKV_NOWHERE, 0};
    if (rc != LKV_OK) {
        return rc;
    }
    if (memo->known && memo->size == key.size &&
        memcmp(memo->key, key.data, key.size) == 0) {
        *place = memo->place;
        return LKV_OK;
    }
    memo->known = 0;
    store->log.views++; /* blocks of runs come in where a value was */
    rc = look_up(store, key, place, err);
    if (rc == LKV_OK && key.size > 0 && key.size <= LKV_MEMO_KEY) {
        memcpy(memo->key, key.data, key.size);
        memo->size = key.size;
        memo->place = *place;
        memo->known = 1;
    }
    return rc;
}

static int is_live(lkv_place place)
{
    return place.loc != LKV_NOWHERE && lkv_loc_live(place.loc);
}

/* Room for a record of `size` bytes in journal and log, the index not stale. */
static int make_room(lkv_store *store, size_t key_size, size_t size, lkv_error *err)
{
    int rc;
    if (!store->log.open) {
        return lkv_log_error(err, LKV_MISUSE, "no transaction is open");
    }
    if (key_size > LKV_SEGMENT_MAX) { /* the log would say so after the journal grew */
        return lkv_log_error(err, LKV_TOO_BIG, "the key is longer than a segment");
    }
    rc = lkv_store_ready(store, err);
    if (rc == LKV_OK) {
        rc = lkv_flush_if_due(store, err);
    }
    if (rc == LKV_OK) {
        rc = lkv_journal_reserve(&store->journal, key_size);
    }
    return rc == LKV_OK ? lkv_log_reserve(&store->log, size, err) : rc;
}

/* Puts a place into the tree, with what is needed to take it back. Cannot fail once the
 * tree has taken it. */
static int note(lkv_store *store, lkv_bytes key, lkv_loc loc, size_t size)
{
    lkv_place old;
    int rc;
    lkv_store_before_move(store);
    rc = lkv_memindex_put(store->index, key, (lkv_place){loc, (uint32_t)size}, &old);
    if (rc == LKV_OK) {
        lkv_journal_add(&store->journal, key, old);
    }
    return rc;
}

int lkv_put(lkv_store *store, const lkv_row *row, lkv_error *err)
{
    size_t size = lkv_format_size(row->key, row->value);
    lkv_place had;
    int rc;

    if (row->tag > LKV_TAG_MAX) {
        return lkv_log_error(err, LKV_MISUSE, "the tag has more than two bits");
    }
    rc = make_room(store, row->key.size, size, err);
    if (rc == LKV_OK) {
        rc = lkv_lookup(store, row->key, &had, err);
    }
    if (rc == LKV_OK) {
        lkv_gap_put(&store->gaps, row->key);
        rc = note(store, row->key, lkv_log_place(&store->log, row->tag), size);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_log_append(&store->log, LKV_KIND_PUT, row->tag, row->key, row->value);
    store->wrote = 1;
    store->live_keys += !is_live(had);
    store->live_bytes += size;
    store->live_bytes -= is_live(had) ? had.size : 0;
    return LKV_OK;
}

int lkv_delete(lkv_store *store, lkv_bytes key, lkv_error *err)
{
    lkv_bytes nothing = {NULL, 0};
    size_t size = lkv_format_size(key, nothing);
    lkv_place had;
    int rc = make_room(store, key.size, size, err);

    if (rc == LKV_OK) {
        rc = lkv_lookup(store, key, &had, err);
    }
    if (rc == LKV_OK && !is_live(had)) {
        return LKV_ABSENT;
    }
    if (rc == LKV_OK) {
        rc = note(store, key, lkv_log_place(&store->log, 0) | LKV_LOC_TOMBSTONE, size);
    }
    if (rc != LKV_OK) {
        return rc;
    }
    lkv_log_append(&store->log, LKV_KIND_TOMBSTONE, 0, key, nothing);
    store->wrote = 1;
    store->live_keys--;
    store->live_bytes -= had.size;
    return LKV_OK;
}

int lkv_mark(lkv_store *store, uint32_t *depth)
{
    int rc = store->log.open ? lkv_log_mark_push(&store->log) : LKV_MISUSE;
    if (rc == LKV_OK) {
        lkv_log_mark *mark = &store->log.marks[store->log.mark_count - 1];
        mark->journal = store->journal.size;
        mark->prepared = store->prepared;
        mark->prepared_flushes = store->prepared_flushes;
        mark->live_keys = store->live_keys;
        mark->live_bytes = store->live_bytes;
        mark->flushes = store->flushes;
        mark->wrote = store->wrote;
        *depth = (uint32_t)store->log.mark_count - 1;
    }
    return rc;
}

/* Back to where the journal had such a size and there had been such flushes. */
static void undo(lkv_store *store, size_t journal, uint64_t flushes)
{
    lkv_store_before_change(store);
    if (flushes == store->flushes && !store->stale) {
        lkv_journal_undo(&store->journal, store->index, journal);
    } else {
        lkv_journal_clear(&store->journal);
        lkv_memindex_clear(store->index);
        store->stale = 1;
        store->flushes++; /* what older marks know of the journal is void */
    }
    store->work_void = 1;
    store->undone++;
}

void lkv_rollback_to(lkv_store *store, uint32_t depth)
{
    if (depth < store->log.mark_count) {
        lkv_log_mark *mark = &store->log.marks[depth];
        undo(store, mark->journal, mark->flushes);
        store->prepared = mark->prepared;
        store->prepared_flushes = mark->prepared_flushes;
        store->live_keys = mark->live_keys;
        store->live_bytes = mark->live_bytes;
        store->wrote = mark->wrote;
        lkv_log_rewind(&store->log, mark);
        if (mark->flushes != store->flushes) {
            mark->flushes = store->flushes;
            mark->journal = 0;
        }
        lkv_log_mark_pop(&store->log, depth + 1);
    }
}

void lkv_release(lkv_store *store, uint32_t depth)
{
    lkv_log_mark_pop(&store->log, depth);
}

int lkv_store_may_commit(const lkv_store *store, const char *what, lkv_error *err)
{
    char why[100];
    if (store->log.storage->ops->settle == NULL || !store->wrote) {
        return LKV_OK;
    }
    snprintf(why, sizeof(why),
             "it cannot be %s in a transaction that has changed it; commit first",
             what);
    return lkv_log_error(err, LKV_MISUSE, why);
}

int lkv_store_prepare(lkv_store *store, lkv_error *err)
{
    int rc = LKV_OK;
    if (lkv_log_changed(&store->log)) {
        rc = lkv_log_prepare(&store->log, store->live_keys, store->live_bytes, err);
        if (rc == LKV_OK) {
            store->prepared = store->journal.size;
            store->prepared_flushes = store->flushes;
        }
    }
    return rc;
}

int lkv_prepare(lkv_store *store, lkv_error *err)
{
    int rc = LKV_OK;
    if (lkv_pending(store) || (store->log.open && store->owes)) {
        store->owes = 0;
        rc = lkv_pay(store, err);
        if (rc == LKV_OK) {
            rc = lkv_store_prepare(store, err);
        }
    }
    return rc;
}

int lkv_publish(lkv_store *store, int all, lkv_error *err)
{
    if (!lkv_pending(store) || (!all && !lkv_log_is_ahead(&store->log))) {
        return LKV_OK;
    }
    store->owes = 1;
    return lkv_store_prepare(store, err);
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
    if (lkv_log_changed(&store->log)) { /* since the last prepare */
        undo(store, store->prepared, store->prepared_flushes);
        store->live_keys = store->log.at.live_keys;
        store->live_bytes = store->log.at.live_bytes;
    }
    lkv_log_commit(&store->log);
    leave(store);
}

void lkv_rollback(lkv_store *store)
{
    if (store->log.open) {
        undo(store, 0, store->log.begin.flushes);
        lkv_log_rollback(&store->log);
        store->live_keys = store->log.at.live_keys;
        store->live_bytes = store->log.at.live_bytes;
        leave(store);
    }
}

uint64_t lkv_rollbacks(const lkv_store *store)
{
    return store->log.rollbacks;
}

int lkv_exists(lkv_store *store, lkv_bytes key, lkv_error *err)
{
    lkv_place place;
    int rc = lkv_lookup(store, key, &place, err);
    return rc != LKV_OK ? rc : is_live(place) ? LKV_OK : LKV_ABSENT;
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
    lkv_place place;
    int rc = lkv_lookup(store, key, &place, err);
    if (rc != LKV_OK || !is_live(place)) {
        return rc == LKV_OK ? LKV_ABSENT : rc;
    }
    return lkv_store_read(store, place.loc, key, row, err);
}

uint64_t lkv_views(const lkv_store *store)
{
    return store->log.views;
}

uint64_t lkv_count(const lkv_store *store)
{
    return store->live_keys;
}
