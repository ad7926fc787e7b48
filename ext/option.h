/*
 * option.h - the options of CREATE VIRTUAL TABLE. All results are SQLite's codes:
 * SQLITE_ERROR comes with a message in `*text` (sqlite3_mprintf).
 */
#ifndef LKV_OPTION_H
#define LKV_OPTION_H

#include "declare.h"

#define LKV_CACHE_KIB 53248    /* the default of option cache */
#define LKV_COMPACT_SHARE 500u /* of auto_compact, in thousandths */
#define LKV_SHARE_FORM "give a number from 0 to below 1, on or off"
#define LKV_SYNC_FORM "give full, normal or off"
#define LKV_SHARED_FORM                                                                \
    "give a slash and up to 200 letters, digits and characters of '._-'"

void lkv_option_defaults(lkv_declaration *declaration);
int lkv_option_read(lkv_declaration *declaration, const char *name, const char *value,
                    char **text);
/* Whether those that were read go together. */
int lkv_option_check(const lkv_declaration *declaration, char **text);

/* A share of dead bytes, as auto_compact has it, in thousandths: 0 is never. SQLITE_OK
 * or SQLITE_ERROR; so the two below, which take what sync has, and a name of shared
 * memory. */
int lkv_option_share(const char *value, unsigned *out);
int lkv_option_sync(const char *value, enum lkv_sync *out);
int lkv_option_shared_name(const char *value);

/* An error with that message, which may be NULL for want of memory. */
int lkv_option_refuse(char **text, char *message);

#endif
