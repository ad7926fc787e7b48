/*
 * text.h - lists of lines, and memory that is there or ends the program: a test runner
 * without memory has nothing useful left to say.
 */
#ifndef LKV_TEXT_H
#define LKV_TEXT_H

#include <stddef.h>

typedef struct lkv_lines {
    char **at; /* each ends in NUL */
    size_t count;
    size_t room; /* 0: a view of lines that others own; add nothing, free nothing */
} lkv_lines;

void *lkv_text_alloc(size_t size);
char *lkv_text_copy(const char *text, size_t size);

/* `text` belongs to the list from now on. */
void lkv_text_add(lkv_lines *lines, char *text);
/* The list is empty afterwards and can be used again. */
void lkv_text_free(lkv_lines *lines);

/* The lines with a line end behind each; the caller frees it. */
char *lkv_text_join(const lkv_lines *lines);
/* `text` with every `name` in it replaced by `value`; the caller frees it. */
char *lkv_text_replace(const char *text, const char *name, const char *value);

/* Cuts the next word (what stands between blanks) off `*rest`; NULL when none is left.
 */
char *lkv_text_word(char **rest);
/* Without the blanks at both ends: cuts the end off, returns where it begins. */
char *lkv_text_trim(char *text);

#endif
