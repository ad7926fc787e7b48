/*
 * option.c - reading the options of CREATE VIRTUAL TABLE, one function each.
 */
#include "option.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

#define SHARED_NAME_MAX 200u /* bytes after the slash: what is made appends to it */

int lkv_option_refuse(char **text, char *message)
{
    *text = message;
    return message == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
}

void lkv_option_defaults(lkv_declaration *declaration)
{
    declaration->home = LKV_HOME_DATABASE;
    declaration->cache_kib = LKV_CACHE_KIB;
    declaration->auto_compact = LKV_COMPACT_SHARE;
    declaration->sync = LKV_SYNC_FULL;
    declaration->mode = 0600;
    declaration->mapped = 1;
}

/* Thousandths of a number below 1, which may lack digits on either side of its point
 * (strtod would want the point of the locale). What is not 0 stays so. */
static int read_share(const char *value, unsigned *out)
{
    size_t zeros = strspn(value, "0");
    const char *at = value + zeros + (value[zeros] == '.');
    size_t digits = strspn(at, "0123456789");
    unsigned share = 0;

    if (zeros + digits == 0 || at[digits] != 0 || (digits > 0 && at == value + zeros)) {
        return SQLITE_ERROR;
    }
    for (size_t i = 0; i < 3; i++) {
        share = share * 10 + (i < digits ? (unsigned)(at[i] - '0') : 0);
    }
    share += digits > 3 && at[3] >= '5' && share < 999;
    if (share == 0 && strspn(at, "0") < digits) {
        share = 1;
    }
    *out = share;
    return SQLITE_OK;
}

static int read_switch(const char *value, int *on)
{
    *on = sqlite3_stricmp(value, "on") == 0;
    return *on || sqlite3_stricmp(value, "off") == 0 ? SQLITE_OK : SQLITE_ERROR;
}

int lkv_option_share(const char *value, unsigned *out)
{
    int on;
    if (read_switch(value, &on) == SQLITE_OK) {
        *out = on ? LKV_COMPACT_SHARE : 0;
        return SQLITE_OK;
    }
    return read_share(value, out);
}

int lkv_option_sync(const char *value, enum lkv_sync *out)
{
    if (sqlite3_stricmp(value, "full") == 0) {
        *out = LKV_SYNC_FULL;
    } else if (sqlite3_stricmp(value, "normal") == 0) {
        *out = LKV_SYNC_NORMAL;
    } else if (sqlite3_stricmp(value, "off") == 0) {
        *out = LKV_SYNC_OFF;
    } else {
        return SQLITE_ERROR;
    }
    return SQLITE_OK;
}

int lkv_option_shared_name(const char *value)
{
    size_t size = strlen(value);
    if (value[0] != '/' || size < 2 || size > SHARED_NAME_MAX + 1 ||
        strcmp(value, "/.") == 0 || strcmp(value, "/..") == 0) {
        return SQLITE_ERROR;
    }
    for (size_t i = 1; i < size; i++) {
        int c = (unsigned char)value[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-')) {
            return SQLITE_ERROR;
        }
    }
    return SQLITE_OK;
}

/* What an option's value is not, and what it may be. */
static int wrong(char **text, const char *option, const char *value, const char *what,
                 const char *form)
{
    return lkv_option_refuse(
        text, sqlite3_mprintf("litekv: option \"%s\": \"%s\" is not %s; %s", option,
                              value, what, form));
}

static int read_auto_compact(lkv_declaration *declaration, const char *value,
                             char **text)
{
    return lkv_option_share(value, &declaration->auto_compact) == SQLITE_OK
               ? SQLITE_OK
               : wrong(text, "auto_compact", value, "a share of dead bytes",
                       LKV_SHARE_FORM);
}

static int read_cache(lkv_declaration *declaration, const char *value, char **text)
{
    size_t size = strlen(value);
    long long kib = -1;

    if (size > 0 && size <= 10 && strspn(value, "0123456789") == size) {
        kib = atoll(value);
    }
    if (kib < 0 || kib > 2147483647) {
        return wrong(text, "cache", value, "a number of KiB",
                     "give one from 0 to 2147483647");
    }
    declaration->cache_kib = (int)kib;
    return SQLITE_OK;
}

static int twice(char **text)
{
    return lkv_option_refuse(
        text, sqlite3_mprintf("litekv: options \"memory\", \"path\" and \"shm\" "
                              "exclude each other; give one of them"));
}

static int read_memory(lkv_declaration *declaration, const char *value, char **text)
{
    int on;
    if (read_switch(value, &on) != SQLITE_OK) {
        return wrong(text, "memory", value, "a switch", "give on or off");
    }
    if (on && declaration->home != LKV_HOME_DATABASE) {
        return twice(text);
    }
    declaration->home = on ? LKV_HOME_MEMORY : declaration->home;
    return SQLITE_OK;
}

static int read_mmap(lkv_declaration *declaration, const char *value, char **text)
{
    return read_switch(value, &declaration->mapped) == SQLITE_OK
               ? SQLITE_OK
               : wrong(text, "mmap", value, "a switch", "give on or off");
}

/* Whoever makes files must be able to open them again. */
static int read_mode(lkv_declaration *declaration, const char *value, char **text)
{
    size_t size = strlen(value);
    unsigned mode = 0;

    for (size_t i = 0; i < size && value[i] >= '0' && value[i] <= '7'; i++) {
        mode = mode * 8 + (unsigned)(value[i] - '0');
    }
    if (size < 3 || size > 4 || strspn(value, "01234567") != size || mode > 0777 ||
        (mode & 0600) != 0600) {
        return wrong(text, "mode", value, "the mode of a file",
                     "give three octal digits, the first of them 6 or 7");
    }
    declaration->mode = mode;
    return SQLITE_OK;
}

static int take_path(lkv_declaration *declaration, enum lkv_home home,
                     const char *value, char **text)
{
    if (declaration->home != LKV_HOME_DATABASE) {
        return twice(text);
    }
    declaration->home = home;
    declaration->path = sqlite3_mprintf("%s", value);
    return declaration->path == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static int read_path(lkv_declaration *declaration, const char *value, char **text)
{
    if (value[0] == 0) {
        return lkv_option_refuse(
            text, sqlite3_mprintf("litekv: option \"path\" is empty; give the path of "
                                  "a directory"));
    }
    return take_path(declaration, LKV_HOME_FILES, value, text);
}

static int read_shm(lkv_declaration *declaration, const char *value, char **text)
{
    if (lkv_option_shared_name(value) != SQLITE_OK) {
        return wrong(text, "shm", value, "a name of shared memory", LKV_SHARED_FORM);
    }
    return take_path(declaration, LKV_HOME_SHARED, value, text);
}

static int read_sync(lkv_declaration *declaration, const char *value, char **text)
{
    return lkv_option_sync(value, &declaration->sync) == SQLITE_OK
               ? SQLITE_OK
               : wrong(text, "sync", value, "a kind of sync", LKV_SYNC_FORM);
}

static const struct {
    const char *name; /* in order of the alphabet, as an error lists them */
    int (*read)(lkv_declaration *declaration, const char *value, char **text);
    int external; /* only of tables outside the database */
} options[] = {{"auto_compact", read_auto_compact, 0},
               {"cache", read_cache, 0},
               {"memory", read_memory, 0},
               {"mmap", read_mmap, 1},
               {"mode", read_mode, 1},
               {"path", read_path, 1},
               {"shm", read_shm, 1},
               {"sync", read_sync, 1}};
#define OPTIONS (sizeof(options) / sizeof(options[0]))

int lkv_option_read(lkv_declaration *declaration, const char *name, const char *value,
                    char **text)
{
    sqlite3_str *list;

    for (size_t i = 0; i < OPTIONS; i++) {
        if (sqlite3_stricmp(name, options[i].name) != 0) {
            continue;
        }
        if ((declaration->given & 1u << i) != 0) {
            return lkv_option_refuse(
                text, sqlite3_mprintf("litekv: option \"%s\" is given twice",
                                      options[i].name));
        }
        declaration->given |= 1u << i;
        return options[i].read(declaration, value, text);
    }
    list = sqlite3_str_new(NULL);
    sqlite3_str_appendf(list, "litekv: unknown option \"%s\"; options are ", name);
    for (size_t i = 0; i < OPTIONS; i++) {
        sqlite3_str_appendf(list, "%s%s", i > 0 ? ", " : "", options[i].name);
    }
    return lkv_option_refuse(text, sqlite3_str_finish(list));
}

int lkv_option_check(const lkv_declaration *declaration, char **text)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if ((declaration->given & 1u << i) != 0 && options[i].external &&
            !lkv_home_external(declaration->home)) {
            return lkv_option_refuse(
                text, sqlite3_mprintf("litekv: option \"%s\" is for tables outside the "
                                      "database; give path or shm too",
                                      options[i].name));
        }
    }
    return SQLITE_OK;
}
