/*
 * diff_special.c - several connections, backups, and what may stand between statements.
 *
 * The second connection has the extension too and uses the same tables. While one works
 * the other is idle, or holds a read transaction that has to go on seeing what it saw.
 */
#include "diff_world.h"

#include <stdio.h>
#include <string.h>

static char *path_of(const diff_world *world, const char *suffix)
{
    return sqlite3_mprintf("%s/%llx.db%s%s", world->dir, world->seed,
                           world->schema[0] == 'a' ? "-2" : "", suffix);
}

static void reopen(diff_world *world)
{
    if (world->shared) {
        diff_close(world, 0);
        diff_close(world, 1);
        world->at = 0;
        diff_open(world, 0);
        diff_compare(world);
    }
}

/* From here on the other connection does everything. */
static bool change_connection(diff_world *world)
{
    int other = 1 - world->at;
    if (!world->shared || (world->db[other] == NULL && !diff_open(world, other))) {
        return false;
    }
    world->at = other;
    diff_note(world, "-- connection %d", other + 1);
    return true;
}

static void change_some(diff_world *world)
{
    int count = diff_between(&world->random, 1, 4);
    while (count-- > 0) {
        diff_change_step(world);
    }
}

/* A reader's snapshot, in WAL mode: the other connection commits, and the reader sees
 * nothing of it and cannot write any more. */
static void keep_snapshot(diff_world *world)
{
    diff_begin(world, "");
    diff_compare(world);
    if (change_connection(world)) {
        diff_state kept = world->now;
        world->open = false;
        change_some(world);
        (void)change_connection(world);
        world->open = true;
        world->now = kept;
    }
    diff_compare(world);
    if (diff_chance(&world->random, 50)) {
        diff_change_step(world);
    }
    if (world->open) { /* OR ROLLBACK may have ended it */
        diff_rollback(world);
    }
    diff_compare(world);
}

/* A reader keeps the other connection from committing, in the other modes: more writes
 * follow, and the commit succeeds when the reader has gone. */
static void commit_busy(diff_world *world)
{
    int code;
    sqlite3 *reader = world->db[world->at];
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT 1 FROM %s.sqlite_schema", world->schema);

    if (!change_connection(world)) {
        sqlite3_free(sql);
        return;
    }
    diff_begin(world, "IMMEDIATE");
    diff_note(world, "-- the other connection reads: %s;", sql);
    if (sqlite3_prepare_v2(reader, sql, -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        diff_fail(world, "%s: %s", sql, sqlite3_errmsg(reader));
    }
    sqlite3_free(sql);
    if (diff_chance(&world->random, 50)) {
        diff_savepoint(world);
    }
    change_some(world);
    code = diff_commit(world);
    if (code == SQLITE_BUSY && world->open) {
        if (world->depth > 0 && diff_chance(&world->random, 50)) {
            diff_rollback_to(world, 0);
        }
        change_some(world);
        diff_compare(world);
    }
    diff_note(world, "-- the other connection has read");
    sqlite3_finalize(stmt);
    if (world->open) {
        if (diff_chance(&world->random, 70)) {
            if (diff_commit(world) != SQLITE_OK && diff_going(world)) {
                diff_fail(world, "COMMIT: %s", sqlite3_errmsg(world->db[world->at]));
            }
        } else {
            diff_rollback(world);
        }
    }
    diff_compare(world);
}

static void copy(diff_world *world, sqlite3 *to, const char *to_schema, sqlite3 *from,
                 const char *from_schema)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, to_schema, from, from_schema);
    int rc = backup == NULL ? sqlite3_errcode(to) : sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    if (rc != SQLITE_DONE) {
        diff_fail(world, "backup: %s", sqlite3_errstr(rc));
    }
}

/* Keeps a copy of the database, or puts an older one in its place: through a connection
 * of its own, or through one that has handles on the tables. */
static void backup(diff_world *world)
{
    char *path = path_of(world, "-backup");
    char *own_path = path_of(world, "");
    sqlite3 *file = NULL, *own = NULL;
    sqlite3 *db = world->db[world->at];

    sqlite3_open(path, &file);
    if (!world->has_backup || diff_chance(&world->random, 40)) {
        diff_note(world, "-- a copy of the database is kept");
        copy(world, file, "main", db, world->schema);
        world->backup = world->now;
        world->has_backup = true;
    } else {
        bool direct = diff_chance(&world->random, 50);
        diff_note(world, "-- the copy is restored%s", direct ? " through another" : "");
        if (direct) {
            sqlite3_open(own_path, &own);
        }
        copy(world, direct ? own : db, direct ? "main" : world->schema, file, "main");
        world->now = world->backup;
    }
    sqlite3_close(own);
    sqlite3_close(file);
    sqlite3_free(path);
    sqlite3_free(own_path);
    world->statements++;
    diff_compare(world);
}

static void copy_file(diff_world *world, const char *from, const char *to)
{
    sqlite3 *source = NULL, *target = NULL;
    sqlite3_open(from, &source);
    sqlite3_open(to, &target);
    copy(world, target, "main", source, "main");
    sqlite3_close(target);
    sqlite3_close(source);
}

/* Two histories of one length: a commit, the copy from before it restored, another
 * commit of the same size. Whoever knew the first has to notice. */
static void fork_history(diff_world *world)
{
    char *own = path_of(world, "");
    char *kept = path_of(world, "-fork");
    int key = diff_below(&world->random, 9);
    for (int i = 0; i < 2 && world->now.table[0].exists; i++) {
        sqlite3_str *name = sqlite3_str_new(NULL);
        char *table;
        diff_table_name(world, name, 0, true);
        table = sqlite3_str_finish(name);
        diff_note(world, i == 0 ? "-- copied" : "-- restored");
        copy_file(world, i == 0 ? own : kept, i == 0 ? kept : own);
        diff_pair_of(world, "REPLACE INTO %s(key, v1) VALUES(%d, '%c')", table, key,
                     "ab"[i]);
        sqlite3_free(table);
        if (change_connection(world)) {
            diff_compare(world);
            (void)change_connection(world);
        }
        if (i == 1 && diff_chance(&world->random, 50)) {
            (void)change_connection(world);
        }
    }
    diff_compare(world);
    sqlite3_free(own);
    sqlite3_free(kept);
}

static void refuse_commit(diff_world *world)
{
    world->veto = true;
    diff_note(world, "-- the commit hook refuses:");
    diff_change_step(world);
    world->veto = false;
    diff_compare(world);
}

static void query_only(diff_world *world)
{
    diff_once(world, SQLITE_OK, "PRAGMA query_only=1");
    change_some(world);
    diff_query_step(world);
    diff_once(world, SQLITE_OK, "PRAGMA query_only=0");
}

static void change_journal(diff_world *world)
{
    static const char *const journals[] = {"wal", "delete", "truncate", "persist",
                                           "memory"};
    if (!world->shared) {
        return;
    }
    diff_close(world, 1 - world->at);
    world->has_backup = false; /* it would bring the old mode back */
    world->journal = DIFF_PICK(&world->random, journals);
    diff_once(world, SQLITE_OK, "PRAGMA %s.journal_mode=%s", world->schema,
              world->journal);
    diff_compare(world);
}

/* Whether litekv finds its own log good. */
static void check_log(diff_world *world)
{
    diff_sql sql = diff_sql_new();
    diff_result result;
    sqlite3_str_appendall(sql.text, "INSERT INTO ");
    diff_table_name(world, sql.text, 0, true);
    sqlite3_str_appendall(sql.text, "(");
    diff_table_name(world, sql.text, 0, false);
    sqlite3_str_appendall(sql.text, ") VALUES('integrity-check')");
    diff_note_sql(world, sqlite3_str_value(sql.text), &sql);
    if (world->now.table[0].exists) {
        result = diff_run(world, world->db[world->at], DIFF_LITEKV, &sql);
        if (result.code != SQLITE_OK) {
            diff_fail(world, "integrity-check: %s", result.error);
        }
        diff_result_free(&result);
        world->statements++;
    }
    diff_sql_free(&sql);
}

/* What needs to stand between transactions. */
static void between(diff_world *world)
{
    diff_random *random = &world->random;
    bool wal = strcmp(world->journal, "wal") == 0;
    switch (diff_below(random, 13)) {
    case 12:
        if (world->shared) {
            fork_history(world);
        }
        break;
    case 0:
        reopen(world);
        break;
    case 1:
    case 2:
        if (change_connection(world) && diff_chance(random, 50)) {
            diff_compare(world);
        }
        break;
    case 3:
    case 4:
        if (world->shared && wal) {
            keep_snapshot(world);
        } else if (world->shared) {
            commit_busy(world);
        }
        break;
    case 5:
    case 6:
        if (world->shared) {
            backup(world);
        }
        break;
    case 7:
        refuse_commit(world);
        break;
    case 8:
        if (world->shared || world->home != DIFF_DATABASE) {
            diff_once(world, SQLITE_OK, "VACUUM %s", world->schema);
            diff_compare(world);
        }
        break;
    case 9:
        if (diff_chance(random, 40)) {
            change_journal(world);
        }
        break;
    case 10:
        if (wal) {
            diff_once(world, SQLITE_OK, "PRAGMA %s.wal_checkpoint(TRUNCATE)",
                      world->schema);
        }
        break;
    default:
        diff_trouble_full(world);
        break;
    }
}

void diff_special_step(diff_world *world)
{
    if (diff_chance(&world->random, 20)) {
        diff_schema_undo(world);
        return;
    }
    switch (diff_below(&world->random, world->open ? 6 : 12)) {
    case 0:
        diff_trouble_full(world);
        break;
    case 1:
        diff_trouble_interrupt(world);
        break;
    case 2:
    case 3:
        diff_trouble_reader(world);
        break;
    case 4:
        query_only(world);
        break;
    case 5:
        check_log(world);
        break;
    default:
        between(world);
        break;
    }
}
