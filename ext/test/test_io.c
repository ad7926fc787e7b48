/*
 * test_io.c - every call that SQLite makes to read, write, sync or remove a file of the
 * database fails once, and from some point on for good (sweep.h); or the disk is full.
 * With a journal and with a WAL. LONG=1 in the environment leaves no call out.
 */
#include "ram.h"
#include "sweep.h"

#include <stdlib.h>
#include <string.h>

static int countdown; /* calls until one fails; 0: none does */
static int for_good, failed;
static int is_full; /* it is only writes that fail */

static int fails(enum ram_call call)
{
    static const int codes[] = {
        [RAM_OPEN] = SQLITE_CANTOPEN,     [RAM_READ] = SQLITE_IOERR_READ,
        [RAM_WRITE] = SQLITE_IOERR_WRITE, [RAM_TRUNCATE] = SQLITE_IOERR_TRUNCATE,
        [RAM_SYNC] = SQLITE_IOERR_FSYNC,  [RAM_DELETE] = SQLITE_IOERR_DELETE};

    if (countdown == 0 || (is_full && call != RAM_WRITE) ||
        (countdown > 1 && --countdown > 0)) {
        return SQLITE_OK;
    }
    if (!for_good) {
        countdown = 0;
    }
    failed = 1;
    return is_full ? SQLITE_FULL : codes[call];
}

static void arm(int n, int persistent)
{
    countdown = n;
    for_good = persistent;
    if (n > 0) {
        failed = 0;
    }
}

static int has_failed(void)
{
    return failed;
}

static int gives(int rc)
{
    int code = rc & 0xff;
    return is_full ? code == SQLITE_FULL
                   : code == SQLITE_IOERR || code == SQLITE_CANTOPEN;
}

static const sweep_fault no_io = {"call", arm, has_failed, gives};

int main(void)
{
    static const char *const setup[] = {"SELECT 1", "PRAGMA journal_mode = WAL"};
    /* So small a cache is read again and again, and written out in the middle. */
    static const char always[] = "PRAGMA synchronous = FULL; PRAGMA cache_size = 5";
    int all = getenv("LONG") != NULL;

    check_begin();
    ram_install();
    ram_fails = fails;
    for (is_full = 0; is_full < 2; is_full++) {
        for (int i = 0; i < 2; i++) {
            sweep_run(&(sweep){.fault = &no_io,
                               .home = SWEEP_DATABASE,
                               .setup = setup[i],
                               .always = always,
                               .step = all ? 0 : 3,
                               .for_good_step = all ? 0 : 1,
                               .every = 1});
        }
    }
    return check_end();
}
