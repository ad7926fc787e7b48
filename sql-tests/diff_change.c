/*
 * diff_change.c - INSERT, UPDATE and DELETE.
 *
 * Where the outcome depends on the order in which rows are changed (key = key + 1, OR
 * IGNORE among the rows of a SELECT) the statement makes that order the key's, in
 * every plan that either table can have.
 */
#include "diff_world.h"

#include <string.h>

static void add(diff_sql *sql, const char *text)
{
    sqlite3_str_appendall(sql->text, text);
}

/* Appends INSERT or UPDATE with its clause for conflicts. */
static void verb(diff_world *world, diff_sql *sql, const char *word)
{
    static const char *const clauses[] = {
        "",         "",          " OR REPLACE", " OR IGNORE",
        " OR FAIL", " OR ABORT", " OR REPLACE", " OR ROLLBACK"};
    int i = diff_below(&world->random, 8);
    add(sql, word);
    add(sql, clauses[i]);
    sql->writes = true;
    sql->loose = i == 4 || i == 7 || i == 3;
    sql->rollback = i == 7;
}

static void rows(diff_world *world, diff_sql *sql, int columns)
{
    diff_random *random = &world->random;
    int count = diff_chance(random, 60) ? 1 : diff_between(random, 2, 8);
    add(sql, " VALUES");
    for (int i = 0; i < count; i++) {
        add(sql, i > 0 ? ", (" : "(");
        for (int k = 0; k < columns; k++) {
            add(sql, k > 0 ? ", " : "");
            diff_value_any(world, sql);
        }
        add(sql, ")");
    }
}

static void insert_values(diff_world *world, diff_sql *sql, int i)
{
    int columns = world->now.table[i].values + 1;
    if (diff_chance(&world->random, 10)) {
        add(sql, "REPLACE");
        sql->writes = true;
    } else {
        verb(world, sql, "INSERT");
    }
    add(sql, " INTO ");
    diff_table_name(world, sql->text, i, true);
    switch (diff_below(&world->random, 10)) {
    case 0:
        add(sql, "(v1, key)");
        columns = 2;
        break;
    case 1:
        add(sql, "(key)");
        columns = 1;
        break;
    case 2:
        if (diff_chance(&world->random, 20)) {
            add(sql, "(v1)");
            columns = 1;
        } else {
            add(sql, "(key, v1)");
            columns = 2;
        }
        break;
    default:
        break;
    }
    rows(world, sql, columns);
    /* For a row that OR IGNORE left out a virtual table's RETURNING gives a row. */
    if (diff_chance(&world->random, 8) &&
        strstr(sqlite3_str_value(sql->text), "IGNORE") == NULL) {
        add(sql, " RETURNING key, v1, typeof(key), typeof(v1)");
    }
}

static void insert_select(diff_world *world, diff_sql *sql, int i)
{
    static const char *const keys[] = {"key", "key", "v1", "key||'x'", "-key", "key+1"};
    diff_random *random = &world->random;
    int from = diff_below(random, DIFF_TABLES);

    verb(world, sql, "INSERT");
    add(sql, " INTO ");
    diff_table_name(world, sql->text, i, true);
    if (diff_chance(random, 25)) {
        add(sql, "(key, v1) SELECT c, a FROM ");
        diff_helper_name(world, sql->text);
        add(sql, " WHERE c IS NOT NULL ORDER BY id");
        return;
    }
    sqlite3_str_appendf(sql->text, "(key, v1) SELECT substr(%s, 1, 40), v1 FROM ",
                        DIFF_PICK(random, keys));
    diff_table_name(world, sql->text, from, true);
    add(sql, " AS t");
    diff_where(world, sql, from);
    sqlite3_str_appendf(sql->text, " ORDER BY t.key LIMIT %d",
                        diff_between(random, 1, 60));
}

/* Many rows at once: with integers, or texts in no order. */
static void insert_many(diff_world *world, diff_sql *sql, int i)
{
    static const char *const keys[] = {
        "i", "i*7919%1009", "i||''", "hex(i*40503%65536)", "i/2.0", "CAST(i AS BLOB)"};
    static const char *const values[] = {"i",
                                         "'v'||i",
                                         "NULL",
                                         "i*1.5",
                                         "replace(hex(zeroblob(50+i%60)),'00','v')",
                                         "zeroblob(i%300)"};
    int first = diff_below(&world->random, 300);
    int count = diff_between(&world->random, 5, world->large ? 400 : 60);
    sqlite3_str_appendf(sql->text,
                        "WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i+1 FROM c "
                        "WHERE i < %d) ",
                        first, first + count);
    verb(world, sql, "INSERT");
    add(sql, " INTO ");
    diff_table_name(world, sql->text, i, true);
    sqlite3_str_appendf(sql->text, "(key, v1) SELECT %s, %s FROM c",
                        DIFF_PICK(&world->random, keys),
                        DIFF_PICK(&world->random, values));
}

static void update_values(diff_world *world, diff_sql *sql, int i)
{
    static const char *const sets[] = {
        "v1 = v1||'x'", "v1 = key",       "v1 = NULL",          "v1 = v1+1",
        "v1 = -v1",     "v1 = quote(v1)", "v1 = zeroblob(300)", "v1 = typeof(v1)"};
    verb(world, sql, "UPDATE");
    add(sql, " ");
    diff_table_name(world, sql->text, i, true);
    add(sql, " AS t SET ");
    if (diff_chance(&world->random, 50)) {
        sqlite3_str_appendf(
            sql->text,
            "v%d = ", diff_between(&world->random, 1, world->now.table[i].values));
        diff_value_any(world, sql);
    } else {
        add(sql, DIFF_PICK(&world->random, sets));
    }
    if (diff_chance(&world->random, 10)) {
        add(sql, ", key = key");
    }
    if (diff_chance(&world->random, 90)) {
        diff_where(world, sql, i);
    }
}

/* A row that another one has replaced in the same statement: SQLite has computed its
 * new values before when the table is virtual, and looks at what it is now when it is
 * not. So OR REPLACE is for one row. */
static void update_keys(diff_world *world, diff_sql *sql, int i)
{
    static const char *const sets[] = {"key+1",
                                       "key-1",
                                       "-key",
                                       "upper(key)",
                                       "v1",
                                       "key*1.0",
                                       "substr(key||'x',1,30)",
                                       "NULL",
                                       "lower(key)",
                                       "key||''",
                                       "CAST(key AS INTEGER)"};
    static const char *const wheres[] = {"",
                                         " WHERE t.key > ",
                                         " WHERE t.key < ",
                                         " WHERE t.key >= ",
                                         " WHERE t.key = ",
                                         " WHERE t.key = "};
    const char *where = DIFF_PICK(&world->random, wheres);
    int is_replace;

    verb(world, sql, "UPDATE");
    is_replace = strstr(sqlite3_str_value(sql->text), "REPLACE") != NULL;
    if (is_replace) { /* without an affinity, by which several texts may be equal */
        where = " WHERE t.key = +(";
    }
    add(sql, " ");
    diff_table_name(world, sql->text, i, true);
    add(sql, " AS t SET key = ");
    if (diff_chance(&world->random, 40)) {
        diff_value_any(world, sql);
    } else {
        add(sql, DIFF_PICK(&world->random, sets));
    }
    if (diff_chance(&world->random, 30)) {
        add(sql, ", v1 = ");
        diff_value_any(world, sql);
    }
    add(sql, where);
    if (where[0] != 0) {
        diff_value_any(world, sql);
    }
    if (is_replace) {
        add(sql, ")");
    }
}

/* Each row meets at most one of the others: both columns are unique, and compared as
 * they are. */
static void update_from(diff_world *world, diff_sql *sql, int i)
{
    verb(world, sql, "UPDATE");
    add(sql, " ");
    diff_table_name(world, sql->text, i, true);
    if (diff_chance(&world->random, 60)) {
        add(sql, " AS t SET v1 = h.c FROM ");
        diff_helper_name(world, sql->text);
        add(sql, " AS h WHERE h.id = t.key");
    } else {
        add(sql, " AS t SET v1 = s.v1||t.v1 FROM ");
        diff_table_name(world, sql->text, i, true);
        add(sql, " AS s WHERE s.key = t.key");
    }
    if (diff_chance(&world->random, 30)) {
        add(sql, " AND t.key > ");
        diff_value_any(world, sql);
    }
}

static void delete_rows(diff_world *world, diff_sql *sql, int i)
{
    add(sql, "DELETE FROM ");
    diff_table_name(world, sql->text, i, true);
    sql->writes = true;
    add(sql, " AS t");
    if (diff_chance(&world->random, 93)) {
        diff_where(world, sql, i);
    }
}

static void change_helper(diff_world *world, diff_sql *sql)
{
    static const char *const forms[] = {"a", "b", "c", "n", "i"};
    int id = diff_between(&world->random, 1, 14);
    switch (diff_below(&world->random, 4)) {
    case 0:
    case 1:
        verb(world, sql, "INSERT");
        add(sql, " INTO ");
        diff_helper_name(world, sql->text);
        sqlite3_str_appendf(sql->text, "(id, a, b, c, n, i) VALUES(%d", id);
        for (int i = 0; i < 5; i++) {
            add(sql, ", ");
            diff_value_any(world, sql);
        }
        add(sql, ")");
        break;
    case 2:
        verb(world, sql, "UPDATE");
        add(sql, " ");
        diff_helper_name(world, sql->text);
        sqlite3_str_appendf(sql->text, " SET %s = ", DIFF_PICK(&world->random, forms));
        diff_value_any(world, sql);
        sqlite3_str_appendf(sql->text, " WHERE id %s %d",
                            diff_chance(&world->random, 70) ? "=" : "<", id);
        break;
    default:
        add(sql, "DELETE FROM ");
        diff_helper_name(world, sql->text);
        sqlite3_str_appendf(sql->text, " WHERE id = %d", id);
        sql->writes = true;
        break;
    }
}

/* In a UTF-16 database the two tables have their texts in different orders. */
static bool has_other_order(const diff_world *world)
{
    return world->utf16;
}

static void generate(diff_world *world, diff_sql *sql, int i)
{
    int kind = diff_below(&world->random, 100);
    if (kind < 42) {
        insert_values(world, sql, i);
    } else if (kind < 49) {
        insert_select(world, sql, i);
    } else if (kind < 52) {
        insert_many(world, sql, i);
    } else if (kind < 66) {
        update_values(world, sql, i);
    } else if (kind < 74) {
        if (has_other_order(world)) {
            update_values(world, sql, i);
        } else {
            update_keys(world, sql, i);
        }
    } else if (kind < 79) {
        update_from(world, sql, i);
    } else if (kind < 92) {
        delete_rows(world, sql, i);
    } else {
        change_helper(world, sql);
    }
}

void diff_change_whole(diff_world *world, diff_sql *sql)
{
    for (;;) {
        *sql = diff_sql_new();
        generate(world, sql, diff_chance(&world->random, 75) ? 0 : 1);
        if (!sql->rollback &&
            strstr(sqlite3_str_value(sql->text), " OR FAIL") == NULL) {
            return;
        }
        diff_sql_free(sql);
    }
}

void diff_change_step(diff_world *world)
{
    diff_sql sql = diff_sql_new();
    generate(world, &sql, diff_chance(&world->random, 75) ? 0 : 1);
    diff_pair(world, &sql);
    diff_sql_free(&sql);
}
