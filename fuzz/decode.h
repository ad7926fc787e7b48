/*
 * decode.h - any bytes before the decoders of format.h.
 */
#ifndef LKV_FUZZ_DECODE_H
#define LKV_FUZZ_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* Aborts unless what decodes, as it is or with its checksum made right, encodes to the
 * same bytes, and what does not is refused with a reason. */
void decode_must_hold(const uint8_t *data, size_t size);

#endif
