/*
 * diff_connection.c - opens and closes the connections of an episode.
 */
#include "diff_world.h"

#include <stdio.h>
#include <stdlib.h>

static int answer_commit(void *arg)
{
    return ((diff_world *)arg)->veto;
}

static bool run(diff_world *world, sqlite3 *db, char *sql)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        diff_fail(world, "%s: %s", sql, sqlite3_errmsg(db));
    } else {
        diff_note(world, "%s;", sql);
    }
    sqlite3_free(sql);
    return rc == SQLITE_OK;
}

/* Encoding and page size count only before the file has pages. */
static bool configure(diff_world *world, sqlite3 *db, const char *path)
{
    bool good =
        run(world, db, sqlite3_mprintf("PRAGMA encoding='%s'", world->encoding));
    if (world->schema[0] == 'a') {
        good = good && run(world, db,
                           sqlite3_mprintf("ATTACH '%q%s' AS aux", path,
                                           world->options->in_memory ? "" : "-2"));
    }
    return good &&
           run(world, db,
               sqlite3_mprintf("PRAGMA %s.page_size=%d", world->schema,
                               world->page_size)) &&
           run(world, db,
               sqlite3_mprintf("PRAGMA %s.cache_size=%d", world->schema,
                               world->cache_size)) &&
           run(world, db,
               sqlite3_mprintf("PRAGMA %s.journal_mode=%s", world->schema,
                               world->journal)) &&
           run(world, db,
               sqlite3_mprintf("PRAGMA %s.synchronous=OFF", world->schema)) &&
           run(world, db,
               sqlite3_mprintf("PRAGMA case_sensitive_like=%d",
                               world->plain_like ? 0 : 1));
}

static int load(const diff_world *world, sqlite3 *db, char **error)
{
    int rc;
    if (world->options->load != NULL) {
        return world->options->load(db);
    }
    sqlite3_enable_load_extension(db, 1);
    rc = sqlite3_load_extension(db, world->options->extension, "sqlite3_litekv_init",
                                error);
    sqlite3_enable_load_extension(db, 0);
    return rc;
}

bool diff_open(diff_world *world, int connection)
{
    char *path = world->options->in_memory
                     ? sqlite3_mprintf(":memory:")
                     : sqlite3_mprintf("%s/%llx.db", world->dir, world->seed);
    char *error = NULL;
    sqlite3 *db = NULL;
    bool good = sqlite3_open(path, &db) == SQLITE_OK;

    diff_note(world, "-- connection %d opens %s", connection + 1, path);
    world->db[connection] = db;
    if (!good || load(world, db, &error) != SQLITE_OK) {
        good = false;
        diff_fail(world, "cannot open %s: %s", path,
                  error != NULL ? error : sqlite3_errmsg(db));
    }
    sqlite3_free(error);
    sqlite3_extended_result_codes(db, 1);
    sqlite3_commit_hook(db, answer_commit, world);
    good = good && configure(world, db, path);
    sqlite3_free(path);
    return good;
}

void diff_close(diff_world *world, int connection)
{
    if (world->db[connection] != NULL) {
        diff_forget_kept(world, connection);
        diff_note(world, "-- connection %d closes", connection + 1);
        if (sqlite3_close(world->db[connection]) != SQLITE_OK) {
            diff_fail(world, "the connection cannot be closed: %s",
                      sqlite3_errmsg(world->db[connection]));
            sqlite3_close_v2(world->db[connection]);
        }
        world->db[connection] = NULL;
    }
}
