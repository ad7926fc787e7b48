/*
 * short_memory.c - see short_memory.h.
 */
#include "short_memory.h"

#include "check.h"

#include <stddef.h>

static sqlite3_mem_methods real;
static int left; /* allocations until one fails; 0: none does */
static int stays, has_failed;

static int fails(void)
{
    if (left == 0 || --left > 0) {
        return 0;
    }
    left = stays;
    has_failed = 1;
    return 1;
}

static void *allocate(int size)
{
    return fails() ? NULL : real.xMalloc(size);
}

static void *resize(void *old, int size)
{
    return fails() ? NULL : real.xRealloc(old, size);
}

void short_memory_begin(void)
{
    sqlite3_mem_methods wrapper;

    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
    wrapper = real;
    wrapper.xMalloc = allocate;
    wrapper.xRealloc = resize;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &wrapper);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    check_begin();
}

void short_memory_arm(int n, int for_good)
{
    left = n;
    stays = for_good;
    if (n > 0) {
        has_failed = 0;
    }
}

int short_memory_failed(void)
{
    return has_failed;
}
