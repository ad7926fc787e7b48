/*
 * test_turns.c - two processes that write one table in turns: what one has committed
 * the next statement of the other sees.
 */
#include "crowd.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TURNS 200

/* Adds one when it is the turn of this process, and sees at once what the other did. */
static int take_turns(const crowd *c, int in, int out, int first)
{
    sqlite3 *db = crowd_join(c);
    char turn = 0;
    int wrong = 0;

    for (int i = first; i < TURNS && !wrong; i += 2) {
        sqlite3_int64 found = -1;
        if (i > 0 && read(in, &turn, 1) != 1) {
            wrong = 1;
        } else {
            wrong =
                crowd_number(db, "SELECT value FROM kv WHERE key = 'total'", &found) !=
                    SQLITE_OK ||
                found != i ||
                crowd_run(db, "UPDATE kv SET value = value + 1 WHERE key = 'total'") !=
                    SQLITE_OK;
        }
        wrong |= write(out, &turn, 1) != 1;
        if (wrong) {
            printf("%s: turn %d sees %lld: %s\n", c->name, i, (long long)found,
                   sqlite3_errmsg(db));
            fflush(stdout);
        }
    }
    sqlite3_close(db);
    return wrong;
}

/* What one process has committed the next statement of another sees. */
static void next_statement(crowd c)
{
    int there[2] = {-1, -1}, back[2] = {-1, -1}, status = 0;
    sqlite3_int64 found = 0;
    sqlite3 *db;
    pid_t child;

    crowd_make(&c);
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)close(there[1]);
        (void)close(back[0]);
        _exit(take_turns(&c, there[0], back[1], 1));
    }
    (void)close(there[0]);
    (void)close(back[1]);
    CHECK(take_turns(&c, back[0], there[1], 0) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    (void)close(there[1]);
    (void)close(back[0]);
    db = crowd_join(&c);
    CHECK(crowd_number(db, "SELECT value FROM kv WHERE key = 'total'", &found) ==
              SQLITE_OK &&
          found == TURNS);
    check_close(db);
    crowd_remove(&c);
}

int main(void)
{
    check_begin();
    for (size_t i = 0; i < CROWDS; i++) {
        next_statement(crowds[i]);
    }
    return check_end();
}
