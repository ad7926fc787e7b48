/*
 * sweep.h - statements of every kind, each of them with something that fails in it: an
 * allocation, a read or a write, whichever of them it is.
 *
 * After each failure the statement is done as a whole or not at all (or its transaction
 * is undone, which SQLite says); its code is right; the table goes on, in this
 * connection and in the next, with the same rows; and no memory is lost.
 */
#ifndef SWEEP_H
#define SWEEP_H

#include "check.h"

/* Where the bytes of the table `kv` are. */
enum sweep_home {
    SWEEP_DATABASE = 1,
    SWEEP_FILES = 2,
    SWEEP_SHARED = 4,
    SWEEP_MEMORY = 8,
    SWEEP_ALL = 15,
};

typedef struct sweep_scene {
    const char *before; /* runs first, whole; may leave a transaction open */
    const char *sql;    /* one statement, in which something fails */
    int code;           /* of a statement that is refused anyway; else SQLITE_OK */
    unsigned homes;     /* where it is possible; 0: everywhere */
} sweep_scene;

/* scenes.c. Each text is a format with the number of this process as argument, for
 * names that are the machine's. */
extern const sweep_scene sweep_scenes[];
extern const size_t sweep_scene_count;

/* What fails. */
typedef struct sweep_fault {
    const char *what;                 /* as messages call it */
    void (*arm)(int n, int for_good); /* the Nth from here on; 0: none */
    int (*has_failed)(void);          /* since then */
    int (*gives)(int rc);             /* whether a statement may end with that for it */
} sweep_fault;

typedef struct sweep {
    const sweep_fault *fault;
    enum sweep_home home;
    const char *setup;  /* SQL for a database that is new */
    const char *always; /* SQL for every connection */
    /* N grows by such a part of itself, 0: by 1; where one call fails, and where all
     * do from there on. */
    int step, for_good_step;
    int every; /* 2: every second scene only */
} sweep;

void sweep_run(const sweep *with);

#endif
