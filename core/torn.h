/*
 * torn.h - finding the newest commit after a writer died or the power failed.
 */
#ifndef LKV_TORN_H
#define LKV_TORN_H

#include "log.h"

/* `*end` is the commit that the root was written with, and the log has just that root.
 * It becomes the newest commit whose chain leads there; `*torn` the bytes behind it
 * that are not zero. LKV_CORRUPT when what is wrong behind it was vouched for: damage,
 * and no torn tail. Errors as lkv_log_read(). */
LKV_MUST_CHECK int lkv_torn_find(lkv_log *log, lkv_end *end, uint64_t *torn,
                                 lkv_error *err);

#endif
