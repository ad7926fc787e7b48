/*
 * text.c - lists of lines and the little that the runner does with strings.
 */
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\r\n";

static void no_memory(void)
{
    fputs("run: out of memory\n", stderr);
    exit(2);
}

void *lkv_text_alloc(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    if (memory == NULL) {
        no_memory();
    }
    return memory;
}

char *lkv_text_copy(const char *text, size_t size)
{
    char *copy = lkv_text_alloc(size + 1);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    return copy;
}

void lkv_text_add(lkv_lines *lines, char *text)
{
    if (lines->count == lines->room) {
        size_t room = lines->room > 0 ? 2 * lines->room : 16;
        char **at = realloc(lines->at, room * sizeof(*at));
        if (at == NULL) {
            no_memory();
        }
        lines->at = at;
        lines->room = room;
    }
    lines->at[lines->count] = text;
    lines->count++;
}

void lkv_text_free(lkv_lines *lines)
{
    if (lines->room > 0) {
        for (size_t i = 0; i < lines->count; i++) {
            free(lines->at[i]);
        }
        free(lines->at);
    }
    *lines = (lkv_lines){0};
}

char *lkv_text_join(const lkv_lines *lines)
{
    size_t size = 0;
    for (size_t i = 0; i < lines->count; i++) {
        size += strlen(lines->at[i]) + 1;
    }
    char *joined = lkv_text_alloc(size + 1);
    char *end = joined;
    for (size_t i = 0; i < lines->count; i++) {
        end = stpcpy(end, lines->at[i]);
        end = stpcpy(end, "\n");
    }
    return joined;
}

char *lkv_text_replace(const char *text, const char *name, const char *value)
{
    size_t found = 0;
    for (const char *p = text; (p = strstr(p, name)) != NULL; p += strlen(name)) {
        found++;
    }
    char *replaced = lkv_text_alloc(strlen(text) + found * strlen(value) + 1);
    char *end = replaced;
    for (const char *p; (p = strstr(text, name)) != NULL; text = p + strlen(name)) {
        memcpy(end, text, (size_t)(p - text));
        end = stpcpy(end + (p - text), value);
    }
    memcpy(end, text, strlen(text) + 1);
    return replaced;
}

char *lkv_text_word(char **rest)
{
    char *word = *rest + strspn(*rest, blanks);
    size_t size = strcspn(word, blanks);
    if (size == 0) {
        *rest = word;
        return NULL;
    }
    *rest = word + size;
    if (word[size] != '\0') {
        word[size] = '\0';
        (*rest)++;
    }
    return word;
}

char *lkv_text_trim(char *text)
{
    text += strspn(text, blanks);
    size_t size = strlen(text);
    while (size > 0 && strchr(blanks, text[size - 1]) != NULL) {
        size--;
    }
    text[size] = '\0';
    return text;
}
