/*
 * short_memory.h - an allocator for SQLite, and so for litekv in it, that fails when it
 * is told to.
 */
#ifndef LKV_TEST_SHORT_MEMORY_H
#define LKV_TEST_SHORT_MEMORY_H

/* To be called before anything of SQLite is: in the place of check_begin(), which it
 * calls. Without lookaside, so that every allocation comes here. */
void short_memory_begin(void);

/* The `n`th allocation from now fails, and with `for_good` all after it; 0: none. */
void short_memory_arm(int n, int for_good);
/* Whether one has failed since it was armed with more than 0. */
int short_memory_failed(void);

#endif
