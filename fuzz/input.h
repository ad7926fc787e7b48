/*
 * input.h - what fuzz targets share: the input taken piece by piece, checks that abort,
 * and memory with a bound.
 */
#ifndef LKV_FUZZ_INPUT_H
#define LKV_FUZZ_INPUT_H

#include "litekv.h"
#include "os.h"

#include <stdint.h>

/* What must hold; the fuzzer sees an abort. */
#define MUST(condition)                                                                \
    ((condition) ? (void)0 : lkv_fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void lkv_fuzz_fail(const char *file, int line, const char *condition);

typedef struct input {
    const uint8_t *at;
    size_t left;
} input;

/* Zeros after the end: every input is a whole program. */
uint8_t input_byte(input *in);
uint32_t input_u32(input *in);
void input_take(input *in, uint8_t *out, size_t size);

/* Memory that lives until the next input_reset(); NULL when there is none left. */
void input_reset(void);
uint8_t *input_memory(size_t size);

/* A short key (often one that came before) or a long one; and a value. Data is NULL
 * when there is no memory left. */
lkv_bytes input_key(input *in);
lkv_bytes input_value(input *in);

/* Allocations that may not grow beyond `limit` bytes together: more is a fault of the
 * code under test. `fail_in` > 0: that many allocations from now the answer is NULL,
 * once. Time stands still and random bytes count. */
typedef struct bounded_os {
    lkv_os os;
    uint64_t held, limit;
    uint32_t fail_in;
    int failed; /* whether `fail_in` came */
    uint8_t random;
} bounded_os;

void bounded_os_init(bounded_os *bounded, uint64_t limit);

#endif
