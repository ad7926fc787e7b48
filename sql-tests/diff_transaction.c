/*
 * diff_transaction.c - transactions and savepoints, and the state that they bring back.
 *
 * SQLite has one transaction for both universes, so these statements run once; what
 * they have to do shows when all tables are compared afterwards.
 */
#include "diff_world.h"

void diff_begin(diff_world *world, const char *how)
{
    if (diff_once(world, SQLITE_OK, "BEGIN %s", how) == SQLITE_OK) {
        world->open = true;
        world->depth = 0;
        world->begin = world->now;
    }
}

void diff_savepoint(diff_world *world)
{
    if (world->depth < DIFF_SAVEPOINTS &&
        diff_once(world, SQLITE_OK, "SAVEPOINT s%d", world->depth) == SQLITE_OK) {
        if (!world->open) {
            world->open = true;
            world->begin = world->now;
        }
        world->saved[world->depth++] = world->now;
    }
}

void diff_rollback_to(diff_world *world, int depth)
{
    if (diff_once(world, SQLITE_OK, "ROLLBACK TO s%d", depth) == SQLITE_OK) {
        world->now = world->saved[depth];
        world->depth = depth + 1;
    }
}

void diff_settle(diff_world *world)
{
    if (world->open && sqlite3_get_autocommit(world->db[world->at])) {
        world->open = false;
        world->depth = 0;
        world->now = world->begin;
        diff_note(world, "-- the transaction has been rolled back");
    }
}

void diff_release(diff_world *world, int depth)
{
    if (diff_once(world, SQLITE_OK, "RELEASE s%d", depth) == SQLITE_OK) {
        world->depth = depth;
        if (sqlite3_get_autocommit(world->db[world->at])) {
            world->open = false;
        }
    }
}

int diff_commit(diff_world *world)
{
    int code = diff_once(world, -1, "COMMIT");
    if (code == SQLITE_OK) {
        world->open = false;
        world->depth = 0;
    } else {
        diff_settle(world);
    }
    return code;
}

void diff_rollback(diff_world *world)
{
    if (diff_once(world, SQLITE_OK, "ROLLBACK") == SQLITE_OK) {
        diff_settle(world);
    }
}

static void open_transaction(diff_world *world)
{
    static const char *const kinds[] = {"", "", "IMMEDIATE", "EXCLUSIVE"};
    if (diff_chance(&world->random, 30)) {
        diff_savepoint(world);
    } else {
        diff_begin(world, DIFF_PICK(&world->random, kinds));
    }
}

static void end_transaction(diff_world *world)
{
    int kind = diff_below(&world->random, 100);
    if (kind < 55) {
        if (diff_commit(world) != SQLITE_OK && diff_going(world)) {
            diff_fail(world, "COMMIT: %s", sqlite3_errmsg(world->db[world->at]));
        }
    } else if (kind < 65) {
        int code;
        world->veto = true;
        diff_note(world, "-- the commit hook refuses:");
        code = diff_commit(world);
        world->veto = false;
        if (code == SQLITE_OK) {
            return; /* nothing was written */
        }
        if (world->open) {
            diff_fail(world, "a refused commit leaves the transaction open");
        }
    } else {
        diff_rollback(world);
    }
}

void diff_transaction_step(diff_world *world)
{
    diff_random *random = &world->random;
    int kind = diff_below(random, 100);

    if (!world->open) {
        open_transaction(world);
        return;
    }
    if (kind < 40 || world->depth == 0) {
        if (kind < 70) {
            diff_savepoint(world);
            return;
        }
        end_transaction(world);
    } else if (kind < 64) {
        diff_rollback_to(world, diff_below(random, world->depth));
    } else if (kind < 84) {
        diff_release(world, diff_below(random, world->depth));
    } else {
        end_transaction(world);
    }
    if (diff_chance(random, 40)) {
        diff_compare(world);
    }
}
