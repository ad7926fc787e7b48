/*
 * recover.c - bringing a handle to the newest commit, whatever happened to the log
 * since.
 *
 * The storage tells its end. If that is where the handle stands, nothing is to be done.
 * If the handle's own commit still stands in the log where it stood, with its chain
 * value, what comes after it is replayed: the chain value covers the whole history, so
 * that an equal one means an equal past. Otherwise (a restored backup, a store made
 * anew) everything is read again.
 */
#include "store.h"

#include <string.h>

static void forget(lkv_store *store)
{
    lkv_log *log = &store->log;
    lkv_store_before_change(store);
    lkv_memindex_clear(store->index);
    log->storage->ops->rewind(log->storage, 0, 0);
    store->live_keys = 0;
    store->undone++;
    log->views++;
    log->known = 0;
    memset(&log->at, 0, sizeof(log->at));
}

static int same_end(const lkv_end *a, const lkv_end *b)
{
    return memcmp(a->store_id, b->store_id, LKV_ID_SIZE) == 0 &&
           a->generation == b->generation && a->revision == b->revision &&
           a->chain == b->chain && a->live_keys == b->live_keys &&
           a->segment == b->segment && a->offset == b->offset;
}

/* Reads the header of listed segment `i` and compares it with the list. */
static int check_header(lkv_log *log, size_t i, lkv_segment_header *header,
                        lkv_error *err)
{
    const lkv_segment *segment = &log->segments[i];
    const char *why = "";
    lkv_bytes view;
    int rc = log->storage->ops->read(log->storage, segment->number, 0,
                                     LKV_SEGMENT_HEADER, &view, err);
    if (rc != LKV_OK) {
        return rc;
    }
    if (lkv_format_parse_segment(view, header, &why) != LKV_OK) {
        return lkv_log_damage(err, segment->number, 0, why);
    }
    if (header->number != segment->number || header->base != segment->base ||
        memcmp(header->store_id, log->at.store_id, LKV_ID_SIZE) != 0) {
        return lkv_log_damage(err, segment->number, 0, "the segment is not the root's");
    }
    return LKV_OK;
}

/* Whether the commit that the handle stands on is still in the log: 1, 0, or an error.
 * Anything that cannot be read there is simply not that commit; damage shows when it is
 * replayed. */
static int stands(lkv_log *log, const lkv_end *own, lkv_error *err)
{
    const lkv_segment *segment = lkv_log_segment(log, own->segment);
    lkv_commit_record commit;
    lkv_record record;
    int rc;

    if (segment == NULL ||
        own->offset > lkv_log_limit(log, (size_t)(segment - log->segments))) {
        return 0;
    }
    if (own->offset == LKV_SEGMENT_HEADER) {
        lkv_segment_header header;
        rc = check_header(log, (size_t)(segment - log->segments), &header, err);
        if (rc == LKV_OK) {
            return header.chain_before == own->chain &&
                   header.revision_before == own->revision;
        }
    } else if (own->offset < LKV_SEGMENT_HEADER + LKV_COMMIT_SIZE) {
        return 0;
    } else {
        rc = lkv_log_read(log,
                          lkv_loc_make(0, own->segment, own->offset - LKV_COMMIT_SIZE),
                          &record, err);
        if (rc == LKV_OK) {
            return lkv_format_parse_commit(&record, &commit) == LKV_OK &&
                   commit.chain == own->chain && commit.revision == own->revision;
        }
    }
    return rc == LKV_CORRUPT ? 0 : rc;
}

static int apply(lkv_store *store, const lkv_record *record, lkv_loc loc)
{
    lkv_loc old;
    if (record->kind == LKV_KIND_TOMBSTONE) {
        lkv_memindex_remove(store->index, record->key);
        return LKV_OK;
    }
    return lkv_memindex_put(store->index, record->key, loc, &old);
}

/* The commit's own words must be those that the records before it make true. F6 */
static int check_commit(const lkv_record *record, const lkv_hash *hash,
                        uint64_t covered, lkv_end *at, const char **why)
{
    lkv_commit_record commit;
    if (lkv_format_parse_commit(record, &commit) != LKV_OK) {
        *why = "not a commit record of this format";
    } else if (commit.covered != covered || commit.revision != at->revision + 1) {
        *why = "the commit does not follow the one before it";
    } else if (commit.chain != lkv_format_chain_end(hash, &commit)) {
        *why = "chain checksum mismatch";
    } else {
        at->revision = commit.revision;
        at->chain = commit.chain;
        at->live_keys = commit.live_keys;
        return LKV_OK;
    }
    return LKV_CORRUPT;
}

/* Reads from `at` to the end that the log knows, and applies it; `*at` moves along. */
static int replay(lkv_store *store, lkv_log_scan *scan, lkv_end *at, lkv_error *err)
{
    lkv_log *log = &store->log;
    uint64_t covered = 0;
    lkv_hash hash;
    lkv_record record;
    const char *why = "";
    lkv_loc loc;
    size_t segment = scan->segment;
    int rc;

    lkv_format_chain_start(&hash, at->store_id, at->chain,
                           log->segments[segment].base + scan->offset -
                               LKV_SEGMENT_HEADER);
    while ((rc = lkv_log_next(scan, &record, &loc, err)) == LKV_OK) {
        if (record.kind != LKV_KIND_COMMIT) {
            lkv_hash_add(&hash, scan->bytes, record.size);
            covered += record.size;
            rc = apply(store, &record, loc);
            if (rc != LKV_OK) {
                return rc;
            }
            continue;
        }
        if (check_commit(&record, &hash, covered, at, &why) != LKV_OK) {
            return lkv_log_damage(err, lkv_loc_segment(loc), lkv_loc_offset(loc), why);
        }
        at->segment = lkv_loc_segment(loc);
        at->offset = scan->offset;
        covered = 0;
        lkv_format_chain_start(&hash, at->store_id, at->chain,
                               log->segments[scan->segment].base + scan->offset -
                                   LKV_SEGMENT_HEADER);
    }
    if (rc == LKV_ABSENT && covered > 0) { /* applied, and never happened. F10 */
        return lkv_log_damage(err, log->at.segment, log->at.offset,
                              "the log does not end in the commit that was published");
    }
    return rc == LKV_ABSENT ? LKV_OK : rc;
}

/* Each segment that will be read begins as the root says. */
static int check_headers(lkv_log *log, size_t from, lkv_error *err)
{
    lkv_segment_header header;
    int rc = LKV_OK;
    for (size_t i = from; i < log->count && rc == LKV_OK; i++) {
        rc = check_header(log, i, &header, err);
    }
    return rc;
}

static int catch_up(lkv_store *store, const lkv_end *own, const lkv_end *end,
                    lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_end at = *end;
    lkv_log_scan scan = {.log = log, .offset = LKV_SEGMENT_HEADER};
    int rc = 0;

    if (own != NULL) {
        rc = stands(log, own, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (rc == 1) {
        const lkv_segment *segment = lkv_log_segment(log, own->segment);
        at.revision = own->revision;
        at.chain = own->chain;
        scan.segment = (size_t)(segment - log->segments);
        scan.offset = own->offset;
    } else {
        lkv_segment_header header;
        forget(store);
        log->at = *end;
        rc = check_header(log, 0, &header, err);
        if (rc != LKV_OK) {
            return rc;
        }
        at.revision = header.revision_before;
        at.chain = header.chain_before;
    }
    at.live_keys = lkv_memindex_count(store->index);
    at.segment = log->segments[scan.segment].number;
    at.offset = scan.offset;
    lkv_store_before_change(store);
    store->undone++;
    rc = check_headers(log, scan.segment + 1, err);
    if (rc == LKV_OK) {
        rc = replay(store, &scan, &at, err);
    }
    if (rc == LKV_OK) {
        if (at.revision != end->revision || at.chain != end->chain ||
            at.live_keys != end->live_keys ||
            at.live_keys != lkv_memindex_count(store->index) ||
            at.segment != end->segment || at.offset != end->offset) { /* F7, F10 */
            rc =
                lkv_log_damage(err, end->segment, end->offset,
                               "the log does not end in the commit that was published");
        }
    }
    return rc;
}

int lkv_recover(lkv_store *store, lkv_error *err)
{
    lkv_log *log = &store->log;
    lkv_end end, own = log->at;
    int had = log->known;
    int rc;

    log->views++; /* read_end may read over what a view of a cursor shows */
    rc = log->storage->ops->read_end(log->storage, &end, err);
    if (rc == LKV_OK && had && same_end(&end, &own)) {
        return LKV_OK;
    }
    if (rc == LKV_ABSENT) {
        rc = lkv_log_error(err, LKV_CORRUPT, "the log is empty");
    }
    if (rc == LKV_OK) {
        rc = lkv_log_load_root(log, err);
    }
    if (rc == LKV_OK &&
        (memcmp(end.store_id, log->at.store_id, LKV_ID_SIZE) != 0 ||
         end.generation != log->at.generation ||
         end.segment != log->segments[log->count - 1].number ||
         end.offset < LKV_SEGMENT_HEADER || end.offset > LKV_SEGMENT_MAX)) {
        rc = lkv_log_error(err, LKV_CORRUPT, "the root and the end of the log differ");
    }
    if (rc == LKV_OK) {
        log->at = end; /* the scan reads up to here */
        had = had && memcmp(own.store_id, end.store_id, LKV_ID_SIZE) == 0;
        rc = catch_up(store, had ? &own : NULL, &end, err);
    }
    if (rc != LKV_OK) {
        forget(store);
        return rc;
    }
    log->at = end;
    log->known = 1;
    store->live_keys = end.live_keys;
    return LKV_OK;
}
