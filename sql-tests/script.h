/*
 * script.h - a test file as lines, read forwards, record by record.
 */
#ifndef LKV_SCRIPT_H
#define LKV_SCRIPT_H

#include "text.h"

#include <stdbool.h>

typedef struct lkv_script {
    const char *path; /* borrowed */
    lkv_lines lines;  /* without line ends, LF or CRLF */
    size_t next; /* the line to be read next; also the number, from 1, of the last */
} lkv_script;

typedef struct lkv_block { /* what follows the first line of a record; views */
    lkv_lines sql;
    lkv_lines expected;
    bool divided; /* there was a line `----` */
} lkv_block;

/* 0, or -1 with a reason in `why`. `script` can be freed in both cases. */
int lkv_script_read(lkv_script *script, const char *path, char *why, size_t why_size);
void lkv_script_free(lkv_script *script);

/* The next line that is neither blank nor a comment: the first of a record, or NULL. */
const char *lkv_script_record(lkv_script *script);
/* All up to the next blank line or the end of the file. */
lkv_block lkv_script_block(lkv_script *script);

#endif
