/*
 * party.c - see party.h.
 */
#include "party.h"

#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef LKV_COVERAGE
void __gcov_dump(void);
#endif

void party_open(party *p, enum party_kind kind)
{
    static unsigned parties;
    directory_make(&p->directory);
    if (kind == PARTY_SHARED) {
        snprintf(p->path, sizeof(p->path), "/litekv-test.%d.%u", (int)getpid(),
                 ++parties);
    } else {
        directory_path(&p->directory, "kv", p->path, sizeof(p->path));
    }
    p->options = (lkv_posix_options){.path = p->path,
                                     .shared_memory = kind == PARTY_SHARED,
                                     .mode = 0600,
                                     .mapped = kind != PARTY_COPIES,
                                     .cache_bytes = 1 << 20};
    p->flush_size = 4096;
    p->segment = 1 << 16;
    p->sync = LKV_SYNC_OFF;
}

void party_close(party *p)
{
    lkv_error err = {0};
    CHECK_INT(lkv_storage_posix_remove(&lkv_os_posix, &p->options, &err), LKV_OK);
    CHECK_TEXT(err.text, "");
    directory_remove(&p->directory);
}

void guest_open(guest *u, const party *p)
{
    memset(u, 0, sizeof(*u));
    if (lkv_storage_posix_open(&lkv_os_posix, &p->options, &u->storage) != LKV_OK ||
        lkv_open(u->storage, &lkv_os_posix, &u->store) != LKV_OK) {
        abort();
    }
    u->storage->segment = p->segment;
    u->store->flush_size = p->flush_size;
    lkv_sync_fallback(u->store, p->sync);
}

void guest_make(guest *u)
{
    int made = 0;
    CHECK_INT(lkv_storage_posix_make(u->storage, &made, &u->err), LKV_OK);
    CHECK_INT(made, 1);
    CHECK_INT(lkv_create(u->storage, &lkv_os_posix, (lkv_bytes){"about", 5}, &u->err),
              LKV_OK);
}

void party_begin(party *p, guest *u, enum party_kind kind, enum lkv_sync sync)
{
    party_open(p, kind);
    p->sync = sync;
    guest_open(u, p);
    guest_make(u);
}

const char *guest_seen(guest *u)
{
    return lkv_refresh(u->store, &u->err) == LKV_OK ? contents(u->store) : u->err.text;
}

void guest_close(guest *u)
{
    lkv_close(u->store);
    lkv_storage_posix_close(u->storage);
}

pid_t party_fork(int (*run)(void *arg), void *arg)
{
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        int rc = run(arg);
        fflush(stdout);
#ifdef LKV_COVERAGE
        __gcov_dump(); /* _exit() does not */
#endif
        _exit(rc);
    }
    return child;
}

int party_wait(pid_t child)
{
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status)
               ? WEXITSTATUS(status)
               : -1;
}

int party_fail(const char *where, int line, int rc, const char *why)
{
    printf("%s:%d: in process %d: %d: %s\n", where, line, (int)getpid(), rc, why);
    return 1;
}
