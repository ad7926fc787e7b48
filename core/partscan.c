/*
 * partscan.c - see partscan.h.
 */
#include "partscan.h"

#include <string.h>

static int damage(const lkv_part_scan *scan, const char *why, lkv_error *err)
{
    return lkv_log_damage(err, scan->part->number, scan->offset, why);
}

/* At least `want` bytes from where the scan stands. */
static int look(lkv_part_scan *scan, size_t want, lkv_error *err)
{
    lkv_storage *storage = scan->log->storage;
    uint32_t left = scan->part->size - scan->offset;
    int rc;

    if (want > left) {
        return damage(scan, "record runs past the end", err);
    }
    scan->log->views++;
    rc = storage->ops->read(storage, scan->part->number, scan->offset, want,
                            &scan->view, err);
    if (rc == LKV_OK && scan->view.size < want) {
        rc = damage(scan, "it is cut short", err);
    }
    if (scan->view.size > left) {
        scan->view.size = left;
    }
    return rc;
}

int lkv_part_scan_open(lkv_part_scan *scan, lkv_log *log, const lkv_part *part,
                       int finished, lkv_error *err)
{
    const char *why = "";
    int rc;

    memset(scan, 0, sizeof(*scan));
    scan->log = log;
    scan->part = part;
    scan->finished = finished;
    rc = look(scan, LKV_SEGMENT_HEADER, err);
    if (rc != LKV_OK) {
        return rc;
    }
    if (lkv_format_parse_segment(scan->view, &scan->header, &why) != LKV_OK) {
        return damage(scan, why, err);
    }
    if (!lkv_format_heads_part(&scan->header, part, log->at.store_id)) {
        return damage(scan, "the segment is not the root's", err);
    }
    scan->offset = LKV_SEGMENT_HEADER;
    scan->view.size = 0;
    return LKV_OK;
}

void lkv_part_scan_free(lkv_part_scan *scan)
{
    if (scan->log != NULL) {
        lkv_os_free(scan->log->os, scan->last.bytes);
        memset(scan, 0, sizeof(*scan));
    }
}

static int at_seal(lkv_part_scan *scan, const lkv_record *record, lkv_error *err)
{
    lkv_seal_record seal;
    if (!scan->finished || lkv_format_parse_seal(record, &seal) != LKV_OK) {
        return damage(scan, "the record is not of a part", err);
    }
    if (scan->offset + record->size != scan->part->size) {
        return damage(scan, "the part does not end in its seal", err);
    }
    if (seal.keys != scan->keys || seal.bytes != scan->bytes ||
        seal.digest != scan->digest) {
        return damage(scan, "the seal is of other records", err);
    }
    if (seal.revision != scan->header.revision_before ||
        seal.chain != scan->header.chain_before) {
        return damage(scan, "the seal names another commit than the header", err);
    }
    scan->offset = scan->part->size;
    return LKV_OK;
}

static int at_end(lkv_part_scan *scan, lkv_error *err)
{
    const lkv_part *part = scan->part;
    if (part->keys != scan->keys || part->bytes != scan->bytes ||
        part->digest != scan->digest) {
        return damage(scan, "the root counts other records", err);
    }
    return LKV_ABSENT;
}

/* The record is the next one: its key above the last. */
static int take(lkv_part_scan *scan, const lkv_record *record, lkv_error *err)
{
    lkv_bytes last = {scan->last.bytes, scan->last.size};
    if (record->kind != LKV_KIND_PUT || !record->moved) {
        return damage(scan, "the record is not of a part", err);
    }
    if (scan->keys > 0 && lkv_compare(last, record->key) >= 0) {
        return damage(scan, "the keys do not ascend", err);
    }
    scan->last.size = 0;
    if (lkv_buffer_reserve(&scan->last, scan->log->os, record->key.size + 1) !=
        LKV_OK) {
        return LKV_NOMEM;
    }
    if (record->key.size > 0) {
        memcpy(scan->last.bytes, record->key.data, record->key.size);
    }
    scan->last.size = record->key.size;
    scan->digest = lkv_format_digest(scan->digest, scan->view.data);
    scan->keys++;
    scan->bytes += lkv_format_plain(record);
    return LKV_OK;
}

int lkv_part_scan_next(lkv_part_scan *scan, lkv_record *record, lkv_loc *loc,
                       lkv_error *err)
{
    size_t need = LKV_RECORD_HEADER;
    const char *why = "";
    int rc;

    if (scan->offset == scan->part->size) {
        return scan->finished ? damage(scan, "the part ends without a seal", err)
                              : at_end(scan, err);
    }
    while ((rc = lkv_format_parse(scan->view.data, scan->view.size, record, &need,
                                  &why)) == LKV_ABSENT) {
        rc = look(scan, need, err);
        if (rc != LKV_OK) {
            return rc;
        }
    }
    if (rc != LKV_OK) {
        return damage(scan, why, err);
    }
    if (record->kind == LKV_KIND_SEAL) {
        rc = at_seal(scan, record, err);
        return rc == LKV_OK ? at_end(scan, err) : rc;
    }
    rc = take(scan, record, err);
    if (rc == LKV_OK) {
        *loc = lkv_loc_make(record->tag, scan->part->number, scan->offset);
        scan->view.data = (const uint8_t *)scan->view.data + record->size;
        scan->view.size -= record->size;
        scan->offset += (uint32_t)record->size;
    }
    return rc;
}
