/*
 * script.c - reads a test file and cuts it into records.
 *
 * A record begins at a line that is neither blank nor a comment and ends at a blank
 * line, so SQL and results hold no blank lines; a comment is one only between records,
 * since a result may begin with `#`.
 */
#include "script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_line(lkv_script *script, const char *line, size_t size)
{
    if (size > 0 && line[size - 1] == '\n') {
        size--;
    }
    if (size > 0 && line[size - 1] == '\r') {
        size--;
    }
    lkv_text_add(&script->lines, lkv_text_copy(line, size));
}

int lkv_script_read(lkv_script *script, const char *path, char *why, size_t why_size)
{
    *script = (lkv_script){.path = path};
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        snprintf(why, why_size, "%s", strerror(errno));
        return -1;
    }
    int rc = 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t size = 0;
    errno = 0;
    while (rc == 0 && (size = getline(&line, &room, file)) > 0) {
        if (memchr(line, '\0', (size_t)size) != NULL) {
            /* The rest of such a line would be lost without a word. */
            snprintf(why, why_size, "holds a NUL byte: not a test file");
            rc = -1;
        } else {
            add_line(script, line, (size_t)size);
        }
    }
    if (rc == 0 && ferror(file)) {
        snprintf(why, why_size, "%s", strerror(errno));
        rc = -1;
    }
    free(line);
    fclose(file);
    return rc;
}

void lkv_script_free(lkv_script *script)
{
    lkv_text_free(&script->lines);
}

static bool blank(const char *line)
{
    return line[strspn(line, " \t\r")] == '\0';
}

const char *lkv_script_record(lkv_script *script)
{
    while (script->next < script->lines.count) {
        const char *line = script->lines.at[script->next];
        script->next++;
        if (!blank(line) && line[0] != '#') {
            return line;
        }
    }
    return NULL;
}

static lkv_lines view(const lkv_script *script, size_t from, size_t to)
{
    lkv_lines lines = {.count = to - from};
    if (lines.count > 0) {
        lines.at = script->lines.at + from;
    }
    return lines;
}

lkv_block lkv_script_block(lkv_script *script)
{
    lkv_block block = {.divided = false};
    size_t from = script->next;
    for (; script->next < script->lines.count; script->next++) {
        const char *line = script->lines.at[script->next];
        if (blank(line)) {
            break;
        }
        if (!block.divided && strcmp(line, "----") == 0) {
            block.divided = true;
            block.sql = view(script, from, script->next);
            from = script->next + 1;
        }
    }
    if (block.divided) {
        block.expected = view(script, from, script->next);
    } else {
        block.sql = view(script, from, script->next);
    }
    return block;
}
