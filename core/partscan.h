/*
 * partscan.h - reading a part from front to back without its index, all of it verified.
 */
#ifndef LKV_PARTSCAN_H
#define LKV_PARTSCAN_H

#include "part.h"

typedef struct lkv_part_scan {
    lkv_log *log;
    const lkv_part *part; /* must outlive the scan */
    int finished;         /* it ends in a seal */
    lkv_segment_header header;
    uint32_t offset;              /* of the next record */
    lkv_bytes view;               /* bytes from there on */
    lkv_buffer last;              /* the key of the record given out last */
    uint64_t keys, bytes, digest; /* of those given out */
} lkv_part_scan;

/* Reads the header. After an error, too, lkv_part_scan_free() follows. Errors:
 * LKV_CORRUPT, LKV_NOMEM, the storage's. */
LKV_MUST_CHECK int lkv_part_scan_open(lkv_part_scan *scan, lkv_log *log,
                                      const lkv_part *part, int finished,
                                      lkv_error *err);
void lkv_part_scan_free(lkv_part_scan *scan);

/* The next record and where it stands; LKV_ABSENT when all of the part was right. Views
 * are valid until the next call on the storage. Errors as above. */
LKV_MUST_CHECK int lkv_part_scan_next(lkv_part_scan *scan, lkv_record *record,
                                      lkv_loc *loc, lkv_error *err);
/* To be called when the storage was used between two records. */
static inline void lkv_part_scan_moved(lkv_part_scan *scan)
{
    scan->view.size = 0;
}

#endif
