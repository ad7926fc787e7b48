/*
 * test_memory.c - every allocation of a statement fails once, and from some point on
 * for good (sweep.h). LONG=1 in the environment leaves no allocation out.
 */
#include "ram.h"
#include "short_memory.h"
#include "sweep.h"

#include <stdlib.h>

static int gives(int rc)
{
    return (rc & 0xff) == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM;
}

static const sweep_fault no_memory = {"allocation", short_memory_arm,
                                      short_memory_failed, gives};

int main(void)
{
    /* Files and shared memory differ in a few calls, and take long. */
    static const struct {
        enum sweep_home home;
        const char *setup;
        int step, every; /* in the short version */
    } places[] = {{SWEEP_DATABASE, "", 8, 1},
                  {SWEEP_DATABASE, "PRAGMA encoding = 'UTF-16le'", 2, 1},
                  {SWEEP_FILES, "", 1, 1},
                  {SWEEP_SHARED, "", 1, 3},
                  {SWEEP_MEMORY, "", 3, 1}};
    int all = getenv("LONG") != NULL;

    short_memory_begin();
    ram_install();
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        sweep_run(&(sweep){.fault = &no_memory,
                           .home = places[i].home,
                           .setup = places[i].setup,
                           .always = "",
                           .step = all ? 0 : places[i].step,
                           .for_good_step = all ? 0 : (places[i].step + 1) / 2,
                           .every = all ? 1 : places[i].every});
    }
    return check_end();
}
