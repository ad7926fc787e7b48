/*
 * files.h - the files of a directory, taken out of it, damaged as an input says, and
 * written to another.
 */
#ifndef LKV_FUZZ_FILES_H
#define LKV_FUZZ_FILES_H

#include "input.h"

#define FILES_MAX 48u
#define FILES_NAME 24

typedef struct one_file {
    char name[FILES_NAME];
    enum file_kind { FILE_PLAIN, FILE_GONE, FILE_DIRECTORY, FILE_LINK } kind;
    size_t size;
    uint8_t *bytes; /* of its own */
} one_file;

typedef struct files {
    size_t count;
    one_file file[FILES_MAX];
} files;

/* What damage leaves certain of what is read afterwards. */
enum files_damage {
    FILES_WHOLE,  /* all of it */
    FILES_BROKEN, /* checksums tell: right, or an error */
    FILES_MOVED,  /* a root is damaged, or segments or parts stand in the place of
                     others: no value
                     but one that its key once had */
    FILES_FORGED, /* checksums were made to fit: nothing */
};

/* All files of the directory `path`. */
void files_load(files *f, const char *path);
void files_copy(files *to, const files *from);
/* One change. `vouched`: syncs vouch for every commit. */
enum files_damage files_change(files *f, input *in, int vouched);
/* Writes them all into the empty directory `path`. */
void files_put(const files *f, const char *path);
void files_free(files *f);

#endif
