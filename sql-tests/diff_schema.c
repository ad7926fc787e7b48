/*
 * diff_schema.c - tables: made, renamed, dropped, and others around them.
 *
 * Each universe has two tables with a key (the second is litekv in half of the
 * episodes), a helper table with columns of all affinities, and triggers on that.
 */
#include "diff_world.h"

static const char *const types[] = {
    "", "TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB", "VARCHAR(20)", "INT", "DOUBLE"};
enum { TYPES = (int)(sizeof(types) / sizeof(types[0])) };

void diff_table_name(const diff_world *world, sqlite3_str *sql, int i, bool qualified)
{
    if (qualified) {
        sqlite3_str_appendf(sql, "%s.", world->schema);
    }
    sqlite3_str_appendf(sql, "\"%w%d\1\"", i == 0 ? world->base : "u",
                        world->now.table[i].number);
}

void diff_helper_name(const diff_world *world, sqlite3_str *sql)
{
    sqlite3_str_appendf(sql, "%s.h\1", world->schema);
}

static void columns(sqlite3_str *sql, const diff_table *table)
{
    for (int i = 0; i < table->values; i++) {
        sqlite3_str_appendf(sql, ", v%d %s", i + 1, types[table->value_type[i]]);
    }
}

void diff_table_create(diff_world *world, int i)
{
    diff_random *random = &world->random;
    diff_table *table = &world->now.table[i];
    diff_table old = *table;
    diff_sql sql = diff_sql_new();

    if (table->values == 0 || diff_chance(random, 50)) {
        table->key_type = diff_below(random, TYPES);
        table->values = diff_between(random, 1, DIFF_VALUES);
        for (int k = 0; k < DIFF_VALUES; k++) {
            table->value_type[k] = diff_below(random, TYPES);
        }
        table->cache = diff_chance(random, 30) ? diff_below(random, 65) : -1;
    }
    if (i == 1 && !world->u_is_litekv) {
        sqlite3_str_appendall(sql.text, "CREATE TABLE ");
    } else {
        sqlite3_str_appendall(sql.text, "CREATE \2\3VIRTUAL \4TABLE ");
    }
    diff_table_name(world, sql.text, i, true);
    if (i == 1 && !world->u_is_litekv) {
        sqlite3_str_appendf(sql.text, "(key %s PRIMARY KEY NOT NULL",
                            types[table->key_type]);
        columns(sql.text, table);
        sqlite3_str_appendall(sql.text, ") WITHOUT ROWID");
    } else {
        sqlite3_str_appendf(sql.text,
                            "\2\3 USING litekv\4(key %s\2 PRIMARY KEY NOT NULL",
                            types[table->key_type]);
        sqlite3_str_appendall(sql.text, "\3\4");
        columns(sql.text, table);
        sqlite3_str_appendall(sql.text, "\2) WITHOUT ROWID\3");
        if (table->cache >= 0) {
            sqlite3_str_appendf(sql.text, ", cache=%d", table->cache);
        }
        if (world->home == DIFF_MEMORY) {
            sqlite3_str_appendall(sql.text, ", memory=on");
        } else if (world->home == DIFF_FILES) {
            sqlite3_str_appendf(sql.text, ", path='%s/%llx.%d', sync=off, mmap=%s",
                                world->dir, world->seed, ++world->directories,
                                diff_chance(random, 50) ? "on" : "off");
        }
        sqlite3_str_appendall(sql.text, ")\4");
    }
    if (diff_pair(world, &sql) == SQLITE_OK) {
        table->exists = true;
    } else {
        *table = old;
    }
    diff_sql_free(&sql);
}

static void make_helper(diff_world *world)
{
    diff_sql sql = diff_sql_new();
    diff_pair_of(world,
                 "CREATE TABLE %s.h\1(id INTEGER PRIMARY KEY, a TEXT, b REAL, c, "
                 "n NUMERIC, i INTEGER)",
                 world->schema);
    sqlite3_str_appendf(sql.text, "INSERT INTO %s.h\1(a,b,c,n,i) VALUES",
                        world->schema);
    for (int i = 0; i < 12; i++) {
        sqlite3_str_appendall(sql.text, i > 0 ? ", (" : "(");
        for (int k = 0; k < 5; k++) {
            const diff_value *value =
                &world->pool.at[diff_below(&world->random, world->pool.count)];
            sqlite3_str_appendall(sql.text, k > 0 ? ", " : "");
            diff_value_literal(sql.text, value);
        }
        sqlite3_str_appendall(sql.text, ")");
    }
    diff_pair(world, &sql);
    diff_sql_free(&sql);
}

void diff_schema_create(diff_world *world)
{
    make_helper(world);
    for (int i = 0; i < DIFF_TABLES; i++) {
        diff_table_create(world, i);
    }
}

static void rename_table(diff_world *world, int i)
{
    diff_table *table = &world->now.table[i];
    int number = table->number;
    diff_sql sql = diff_sql_new();
    sqlite3_str_appendall(sql.text, "ALTER TABLE ");
    diff_table_name(world, sql.text, i, true);
    sqlite3_str_appendall(sql.text, " RENAME TO ");
    table->number = (number + 1) % 3;
    diff_table_name(world, sql.text, i, false);
    if (diff_pair(world, &sql) != SQLITE_OK) {
        table->number = number;
    }
    diff_sql_free(&sql);
}

/* A table in files is not dropped by a transaction that has changed it. */
static bool may_drop(const diff_world *world)
{
    return world->home != DIFF_FILES || !world->open;
}

static void drop_table(diff_world *world, int i)
{
    diff_table *table = &world->now.table[i];
    diff_sql sql = diff_sql_new();
    sqlite3_str_appendall(sql.text, "DROP TABLE ");
    diff_table_name(world, sql.text, i, true);
    if (diff_pair(world, &sql) == SQLITE_OK) {
        table->exists = false;
    }
    diff_sql_free(&sql);
    if (diff_chance(&world->random, 20)) {
        table->number = diff_below(&world->random, 3);
    }
    if (diff_chance(&world->random, 70)) {
        diff_table_create(world, i);
    }
}

/* Writes to a table under test from a trigger on the helper table. */
static void make_trigger(diff_world *world, int which)
{
    static const char *const events[DIFF_TRIGGERS] = {"AFTER INSERT", "AFTER UPDATE",
                                                      "BEFORE DELETE"};
    diff_sql sql = diff_sql_new();
    int i = diff_below(&world->random, DIFF_TABLES);

    sqlite3_str_appendf(sql.text, "CREATE TRIGGER %s.tr%d\1 %s ON h\1 BEGIN ",
                        world->schema, which, events[which]);
    switch (which) {
    case 0:
        sqlite3_str_appendall(sql.text, "INSERT INTO ");
        diff_table_name(world, sql.text, i, false);
        sqlite3_str_appendall(sql.text, "(key, v1) VALUES(new.a, new.c); UPDATE ");
        diff_table_name(world, sql.text, i, false);
        sqlite3_str_appendall(sql.text, " SET v1 = new.id WHERE key = new.n; ");
        break;
    case 1:
        sqlite3_str_appendall(sql.text, "DELETE FROM ");
        diff_table_name(world, sql.text, i, false);
        sqlite3_str_appendall(sql.text, " WHERE key = old.a; INSERT OR REPLACE INTO ");
        diff_table_name(world, sql.text, i, false);
        sqlite3_str_appendall(
            sql.text, "(key, v1) SELECT new.i, new.b WHERE new.i IS NOT NULL; ");
        break;
    default:
        sqlite3_str_appendall(sql.text, "DELETE FROM ");
        diff_table_name(world, sql.text, i, false);
        sqlite3_str_appendall(sql.text, " WHERE key > old.c AND key < old.a; ");
        break;
    }
    sqlite3_str_appendall(sql.text, "END");
    if (diff_pair(world, &sql) == SQLITE_OK) {
        world->now.trigger[which] = true;
    }
    diff_sql_free(&sql);
}

static void drop_trigger(diff_world *world, int which)
{
    if (diff_pair_of(world, "DROP TRIGGER %s.tr%d\1", world->schema, which) ==
        SQLITE_OK) {
        world->now.trigger[which] = false;
    }
}

static void other_table(diff_world *world)
{
    if (!world->now.extra_table) {
        if (diff_pair_of(world, "CREATE TABLE %s.z\1(x, y)", world->schema) ==
            SQLITE_OK) {
            world->now.extra_table = true;
        }
    } else if (diff_chance(&world->random, 50)) {
        if (diff_pair_of(world, "DROP TABLE %s.z\1", world->schema) == SQLITE_OK) {
            world->now.extra_table = false;
        }
    } else {
        diff_pair_of(world, "CREATE INDEX IF NOT EXISTS %s.zi\1 ON z\1(x)",
                     world->schema);
    }
}

void diff_schema_step(diff_world *world)
{
    diff_random *random = &world->random;
    int which = diff_below(random, DIFF_TRIGGERS);
    int i = diff_below(random, DIFF_TABLES);

    world->now.version = ++world->versions;
    if (!world->now.table[i].exists) {
        diff_table_create(world, i);
        return;
    }
    switch (diff_below(random, 8)) {
    case 0:
        if (world->now.extra_columns < 20 &&
            diff_pair_of(world, "ALTER TABLE %s.h\1 ADD COLUMN x%d DEFAULT 7",
                         world->schema, world->now.extra_columns) == SQLITE_OK) {
            world->now.extra_columns++;
        }
        break;
    case 1:
        rename_table(world, i);
        break;
    case 2:
        if (may_drop(world)) {
            drop_table(world, i);
        }
        break;
    case 3:
    case 4:
        if (world->now.trigger[which]) {
            drop_trigger(world, which);
        } else if (world->home != DIFF_FILES) { /* no trigger may come to files */
            make_trigger(world, which);
        }
        break;
    case 5:
        diff_once(world, SQLITE_OK, "ANALYZE %s", world->schema);
        break;
    default:
        other_table(world);
        break;
    }
}

void diff_schema_undo(diff_world *world)
{
    int i = diff_below(&world->random, DIFF_TABLES);
    int depth = world->depth;

    diff_savepoint(world);
    if (world->depth == depth) {
        return;
    }
    world->now.version = ++world->versions;
    if (!world->now.table[i].exists) {
        diff_table_create(world, i);
    } else if (may_drop(world) && diff_chance(&world->random, 70)) {
        drop_table(world, i);
    } else {
        rename_table(world, i);
    }
    for (int n = diff_between(&world->random, 1, 4); n > 0; n--) {
        diff_change_step(world);
    }
    if (world->depth > depth) { /* OR ROLLBACK may have ended the transaction */
        diff_rollback_to(world, depth);
        if (diff_chance(&world->random, 50)) {
            diff_compare(world);
        }
    }
}
