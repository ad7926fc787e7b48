/*
 * damage.h - changing what a storage in memory holds, and making the checksums fit
 * again.
 */
#ifndef LKV_FUZZ_DAMAGE_H
#define LKV_FUZZ_DAMAGE_H

#include "input.h"
#include "storage.h"

/* Makes the checksums right: of each block of a run; of each record of a segment or
 * part, and of its header; of a root. As far as the lengths that stand there lead. */
void damage_seal_blocks(uint8_t *bytes, size_t size, uint32_t unit, uint32_t number);
void damage_seal_records(uint8_t *bytes, size_t size);
void damage_seal_root(uint8_t *bytes, size_t size);

/* What kind of bytes were changed. */
enum damage {
    DAMAGE_NONE,
    DAMAGE_INDEX, /* of a run, or a part's index */
    DAMAGE_LOG,   /* of a segment or a part */
};

/* Changes an object that the root lists, as the input says: some of its bytes, a block
 * that is put in the place of another, its end. The checksums fit again when `sealed`.
 */
enum damage damage_object(lkv_storage *storage, input *in, int sealed);
/* Changes bytes of the root; its checksum fits. */
void damage_root(lkv_storage *storage, input *in);
/* Changes bytes of an exported index. `sealed` 0: nothing fits any more; 1: the sum
 * over all of it; 2: and what lies within. */
void damage_export(uint8_t *bytes, size_t *size, size_t room, input *in, int sealed,
                   uint32_t unit);

#endif
