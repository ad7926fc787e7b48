/*
 * diff_query.c - WHERE clauses and queries.
 *
 * What is generated has one right answer: an ORDER BY under a LIMIT ends in the unique
 * key, no aggregate depends on the order of rows, and rows that SQL leaves unordered
 * are sorted before they are compared.
 */
#include "diff_world.h"

static const diff_value *pick(diff_world *world)
{
    return &world->pool.at[diff_below(&world->random, world->pool.count)];
}

static void add(diff_sql *sql, const char *text)
{
    sqlite3_str_appendall(sql->text, text);
}

static void literal_or_parameter(diff_world *world, diff_sql *sql)
{
    const diff_value *value = pick(world);
    if (sql->bind_count < DIFF_BINDS && diff_chance(&world->random, 40)) {
        sql->binds[sql->bind_count++] = value;
        sqlite3_str_appendf(sql->text, "?%d", sql->bind_count);
    } else {
        diff_value_literal(sql->text, value);
    }
}

static void helper_column(diff_world *world, diff_sql *sql)
{
    static const char *const names[] = {"id", "a", "b", "c", "n", "i"};
    add(sql, DIFF_PICK(&world->random, names));
}

/* A TEXT key of litekv takes a number cast from a literal or a parameter for that
 * literal or parameter, a limit that range.c tells of; the subquery hides where it is
 * from. */
static void cast(diff_world *world, diff_sql *sql)
{
    static const char *const casts[] = {"TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB"};
    int which = diff_below(&world->random, 5);
    bool numeric = which >= 1 && which <= 3;
    sql->affine = true;
    add(sql, numeric ? "CAST((SELECT " : "CAST(");
    if (numeric) {
        diff_value_literal(sql->text, pick(world));
    } else {
        literal_or_parameter(world, sql);
    }
    sqlite3_str_appendf(sql->text, "%s AS %s)", numeric ? ")" : "", casts[which]);
}

/* A value as a literal, a parameter, or an expression with an affinity of its own. */
void diff_value_any(diff_world *world, diff_sql *sql)
{
    switch (sql->plain ? 13 : diff_below(&world->random, 14)) {
    case 0:
        cast(world, sql);
        break;
    case 1:
        sql->affine = true;
        add(sql, "(SELECT ");
        helper_column(world, sql);
        add(sql, " FROM ");
        diff_helper_name(world, sql->text);
        sqlite3_str_appendf(sql->text, " WHERE id=%d)",
                            diff_between(&world->random, 1, 12));
        break;
    case 2:
        add(sql, diff_chance(&world->random, 50) ? "+" : "0+");
        literal_or_parameter(world, sql);
        break;
    case 3:
        literal_or_parameter(world, sql);
        add(sql, "||''");
        break;
    default:
        literal_or_parameter(world, sql);
        break;
    }
}

static void comparison(diff_world *world, diff_sql *sql, const char *column)
{
    static const char *const operators[] = {"=",  "=", "==", "IS", "<",
                                            "<=", ">", ">=", "<>", "IS NOT"};
    static const char *const collations[] = {"NOCASE", "RTRIM", "BINARY"};
    diff_random *random = &world->random;
    const char *operator= DIFF_PICK(random, operators);
    bool collated = diff_chance(random, 10);

    if (diff_chance(random, 25)) {
        diff_value_any(world, sql);
        sqlite3_str_appendf(sql->text, " %s %s", operator, column);
    } else {
        sqlite3_str_appendf(sql->text, "%s %s ", column, operator);
        diff_value_any(world, sql);
    }
    if (collated) {
        sqlite3_str_appendf(sql->text, " COLLATE %s", DIFF_PICK(random, collations));
    }
}

static void between(diff_world *world, diff_sql *sql, const char *column)
{
    static const char *const collations[] = {"", "", "", " COLLATE NOCASE",
                                             " COLLATE RTRIM"};
    sqlite3_str_appendf(sql->text, "%s%s %sBETWEEN ", column,
                        DIFF_PICK(&world->random, collations),
                        diff_chance(&world->random, 15) ? "NOT " : "");
    diff_value_any(world, sql);
    add(sql, " AND ");
    diff_value_any(world, sql);
}

static void in_list(diff_world *world, diff_sql *sql, const char *column)
{
    diff_random *random = &world->random;
    sqlite3_str_appendf(sql->text, "%s%s %sIN (", column,
                        diff_chance(random, 5) ? " COLLATE NOCASE" : "",
                        diff_chance(random, 15) ? "NOT " : "");
    switch (diff_below(random, 5)) {
    case 0:
        add(sql, "SELECT ");
        helper_column(world, sql);
        add(sql, " FROM ");
        diff_helper_name(world, sql->text);
        break;
    case 1:
        sqlite3_str_appendf(sql->text, "SELECT %s FROM ",
                            diff_chance(random, 50) ? "key" : "v1");
        /* SQLite 3.40.1 may update for ever with a subquery on the table itself. */
        diff_table_name(world, sql->text,
                        sql->writes ? 1 - sql->table : diff_below(random, DIFF_TABLES),
                        true);
        break;
    default:
        for (int n = diff_below(random, 6), i = 0; i < n; i++) {
            add(sql, i > 0 ? ", " : "");
            diff_value_any(world, sql);
        }
        break;
    }
    add(sql, ")");
}

static void pattern(diff_world *world, diff_sql *sql, const char *column)
{
    static const char *const like[] = {
        "'a%'",   "'A%'",   "'ab%'",       "'%'",          "'1%'",
        "'5%'",   "'a_%'",  "'_b%'",       "'abc'",        "''",
        "'-%'",   "'aB%c'", "'\xc3\xa4%'", "'a\xc3\x84%'", "' %'",
        "'9%'",   "'z%'",   "'q7q%'",      "'[%'",         "'`%'",
        "5",      "1",      "NULL",        "x'61'",        "'a\\%' ESCAPE '\\'",
        "'1.0%'", "'x%'",   "'Z%'",        "'@%'",         "'~%'"};
    static const char *const glob[] = {
        "'a*'",         "'A*'", "'ab*'", "'*'",     "'1*'", "'5*'",
        "'[ab]*'",      "'a?'", "'ab'",  "''",      "'-*'", "5",
        "x'61'",        "NULL", "'q7*'", "'\x7f*'", "'[*'", "'\xc3\xa4*'",
        "'a\xc3\xa4*'", "'*a'", "'z*'"};
    bool is_like = diff_chance(&world->random, 60);
    /* SQLite 3.40.1 finds U+0661 with LIKE 'a%' by an index of a UTF-16le database: the
     * plus keeps it from looking there. */
    sqlite3_str_appendf(sql->text, "%s%s %s%s ", world->utf16 ? "+" : "", column,
                        diff_chance(&world->random, 10) ? "NOT " : "",
                        is_like ? "LIKE" : "GLOB");
    if (diff_chance(&world->random, 15)) {
        add(sql, "substr(");
        literal_or_parameter(world, sql);
        add(sql, ", 1, 99)"); /* SQLite has a limit, and looks at it when it compares */
    } else if (is_like) {
        add(sql, DIFF_PICK(&world->random, like));
    } else {
        add(sql, DIFF_PICK(&world->random, glob));
    }
}

static void row_value(diff_world *world, diff_sql *sql)
{
    static const char *const operators[] = {"=", "<", "<=", ">", ">=", "IS"};
    sqlite3_str_appendf(sql->text, "(t.key, t.v1) %s (",
                        DIFF_PICK(&world->random, operators));
    diff_value_any(world, sql);
    add(sql, ", ");
    diff_value_any(world, sql);
    add(sql, ")");
}

static void other_term(diff_world *world, diff_sql *sql, const char *column)
{
    static const char *const forms[] = {"%s IS NULL",
                                        "%s IS NOT NULL",
                                        "%s = NULL",
                                        "typeof(%s) = 'text'",
                                        "typeof(%s) <> 'integer'",
                                        "length(%s) > 2",
                                        "%s > 0",
                                        "length(%s) < 9",
                                        "%s = t.v1",
                                        "%s < t.v1",
                                        "%s = t.key",
                                        "lower(%s) = 'ab'",
                                        "%s+0 = 5",
                                        "NOT %s",
                                        "+%s > 'a'",
                                        "%s IS TRUE",
                                        "unicode(%s) BETWEEN 48 AND 99"};
    if (diff_chance(&world->random, 15)) {
        sqlite3_str_appendf(sql->text, "EXISTS (SELECT 1 FROM ");
        diff_helper_name(world, sql->text);
        add(sql, " AS h WHERE h.");
        helper_column(world, sql);
        sqlite3_str_appendf(sql->text, " = %s)", column);
    } else {
        sqlite3_str_appendf(sql->text, DIFF_PICK(&world->random, forms), column);
    }
}

static void term(diff_world *world, diff_sql *sql)
{
    int kind = diff_below(&world->random, 100);
    const char *column = diff_chance(&world->random, 82) ? "t.key" : "t.v1";
    if (kind < 50) {
        comparison(world, sql, column);
    } else if (kind < 60) {
        between(world, sql, column);
    } else if (kind < 75 && !sql->plain) {
        in_list(world, sql, column);
    } else if (kind < 86) {
        pattern(world, sql, column);
    } else if (kind < 90) {
        row_value(world, sql);
    } else {
        other_term(world, sql, column);
    }
}

/* Terms on table `t`, with AND and OR. */
void diff_where(diff_world *world, diff_sql *sql, int i)
{
    diff_random *random = &world->random;
    int terms = diff_chance(random, 55) ? 1 : diff_between(random, 2, 4);
    sql->table = i;
    add(sql, " WHERE ");
    for (int k = 0; k < terms; k++) {
        if (k > 0) {
            add(sql, diff_chance(random, 70) ? " AND " : " OR ");
        }
        if (diff_chance(random, 5)) {
            add(sql, "NOT ");
        }
        add(sql, "(");
        term(world, sql);
        add(sql, ")");
    }
}

static void order_and_limit(diff_world *world, diff_sql *sql)
{
    /* A fault of SQLite 3.40.1, for ordinary tables only: with key IN (...), an old
     * ANALYZE and a LIMIT its OP_SeekScan moves a cursor and leaves the columns of the
     * row before in its cache; rows are then missing, or the database is called
     * malformed. The plus keeps it from that plan; newer versions need none. */
    static const char *const orders[] = {"t.key",
                                         "t.key",
                                         "t.key DESC",
                                         "t.key DESC",
                                         "t.key ASC",
                                         "t.key, t.v1",
                                         "t.v1, +t.key",
                                         "t.v1 DESC, +t.key DESC",
                                         "t.key COLLATE NOCASE, +t.key",
                                         "t.key COLLATE RTRIM DESC, +t.key",
                                         "typeof(t.key), +t.key DESC",
                                         "+t.key",
                                         "t.key DESC NULLS LAST",
                                         "1, +t.key"};
    sqlite3_str_appendf(sql->text, " ORDER BY %s", DIFF_PICK(&world->random, orders));
    /* Where key = a number holds for several texts SQLite leaves out ORDER BY key. */
    sql->ordered = !sql->affine;
    if (sql->ordered && diff_chance(&world->random, 35)) {
        sqlite3_str_appendf(sql->text, " LIMIT %d",
                            diff_between(&world->random, -1, 6));
        if (diff_chance(&world->random, 50)) {
            sqlite3_str_appendf(sql->text, " OFFSET %d", diff_below(&world->random, 6));
        }
    }
}

static void plain_query(diff_world *world, diff_sql *sql, int i)
{
    static const char *const lists[] = {
        "*",
        "t.*",
        "t.key, t.v1",
        "t.key",
        "t.v1, t.key",
        "typeof(t.key), quote(t.key), t.v1",
        "t.key, typeof(t.v1), length(t.v1)",
        "t.key||'', t.key+0",
        "t.key = 5, t.key < '5', t.key IN (1,'a')",
        "CASE t.key WHEN 5 THEN 'five' WHEN 'a' THEN 'A' END, t.key"};
    bool derived = diff_chance(&world->random, 6);
    sqlite3_str_appendf(sql->text,
                        derived ? "SELECT * FROM (SELECT %s FROM " : "SELECT %s FROM ",
                        DIFF_PICK(&world->random, lists));
    diff_table_name(world, sql->text, i, diff_chance(&world->random, 70));
    add(sql, " AS t");
    if (diff_chance(&world->random, 85)) {
        diff_where(world, sql, i);
    }
    if (diff_chance(&world->random, 70) || derived) {
        order_and_limit(world, sql);
    }
    if (derived) {
        add(sql, ") WHERE 1");
        sql->ordered = false;
    }
}

static void aggregate_query(diff_world *world, diff_sql *sql, int i)
{
    static const char *const lists[] = {"count(*)",
                                        "min(t.key)",
                                        "max(t.key)",
                                        "min(t.key), max(t.key)",
                                        "count(*), min(t.key), max(t.key)",
                                        "count(DISTINCT t.v1)",
                                        "count(t.v1)",
                                        "min(t.key), t.v1",
                                        "max(t.key), t.v1",
                                        "total(length(t.v1))",
                                        "min(t.key COLLATE NOCASE) IS NULL",
                                        "sum(t.key > 'a'), sum(t.key < 5)"};
    static const char *const groups[] = {" GROUP BY typeof(t.key)",
                                         " GROUP BY quote(t.v1)", " GROUP BY t.key",
                                         " GROUP BY t.key HAVING count(*) > 1"};
    bool grouped = diff_chance(&world->random, 25);
    if (grouped) {
        add(sql, "SELECT count(*), min(t.key), max(typeof(t.v1)) FROM ");
    } else {
        sqlite3_str_appendf(sql->text, "SELECT %s FROM ",
                            DIFF_PICK(&world->random, lists));
    }
    diff_table_name(world, sql->text, i, true);
    add(sql, " AS t");
    /* min(key) and max(key) are the first row of ORDER BY key (order_and_limit());
     * and with IN SQLite 3.40.1 may give a max() that is none. */
    sql->plain = true;
    if (diff_chance(&world->random, 60)) {
        diff_where(world, sql, i);
    }
    if (grouped) {
        add(sql, DIFF_PICK(&world->random, groups));
    }
}

static void join_query(diff_world *world, diff_sql *sql, int i)
{
    static const char *const joins[] = {", ", " CROSS JOIN ", " LEFT JOIN ", " JOIN "};
    static const char *const helper[] = {"t.key = h.a",
                                         "t.key = h.b",
                                         "t.key = h.c",
                                         "t.key = h.n",
                                         "t.key = h.i",
                                         "t.key = h.id",
                                         "t.key IS h.c",
                                         "t.key IN (h.a, h.i)",
                                         "t.key > h.a AND t.key < h.c",
                                         "t.key >= h.i AND t.key <= h.n",
                                         "t.key BETWEEN h.b AND h.a",
                                         "t.key < h.a",
                                         "t.key > h.n",
                                         "h.a = t.key COLLATE NOCASE",
                                         "t.key = +h.i",
                                         "t.key = h.a || ''",
                                         "t.key LIKE substr(h.a,1,20)",
                                         "t.key GLOB substr(h.c,1,20)",
                                         "t.v1 = h.c",
                                         "h.c <= t.key"};
    static const char *const other[] = {"t.key = s.key", "t.key = s.v1", "s.key = t.v1",
                                        "t.key IS s.v1",
                                        "t.key = s.key AND t.v1 = s.v1"};
    diff_random *random = &world->random;
    const char *join = DIFF_PICK(random, joins);
    bool comma = join[0] == ',';

    if (diff_chance(random, 70)) {
        bool helper_first = diff_chance(random, 70);
        add(sql, "SELECT h.id, t.key, t.v1 FROM ");
        if (helper_first) {
            diff_helper_name(world, sql->text);
            sqlite3_str_appendf(sql->text, " AS h%s", join);
        }
        diff_table_name(world, sql->text, i, true);
        add(sql, " AS t");
        if (!helper_first) {
            add(sql, join);
            diff_helper_name(world, sql->text);
            add(sql, " AS h");
        }
        sqlite3_str_appendf(sql->text, " %s %s", comma ? "WHERE" : "ON",
                            DIFF_PICK(random, helper));
        if (diff_chance(random, 30)) {
            add(sql, " ORDER BY h.id, t.key");
            sql->ordered = true;
        } else if (diff_chance(random, 20)) {
            add(sql, " ORDER BY t.key DESC, h.id");
            sql->ordered = true;
        }
    } else {
        add(sql, "SELECT t.key, s.key, s.v1 FROM ");
        diff_table_name(world, sql->text, i, true);
        sqlite3_str_appendf(sql->text, " AS t%s", join);
        diff_table_name(world, sql->text, diff_below(random, DIFF_TABLES), true);
        sqlite3_str_appendf(sql->text, " AS s %s %s", comma ? "WHERE" : "ON",
                            DIFF_PICK(random, other));
    }
}

static void compound_query(diff_world *world, diff_sql *sql, int i)
{
    static const char *const words[] = {" EXCEPT ", " INTERSECT ", " UNION ALL "};
    add(sql, "SELECT t.key FROM ");
    diff_table_name(world, sql->text, i, true);
    add(sql, " AS t");
    if (diff_chance(&world->random, 50)) {
        diff_where(world, sql, i);
    }
    add(sql, DIFF_PICK(&world->random, words));
    add(sql, "SELECT t.key FROM ");
    diff_table_name(world, sql->text, 1 - i, true);
    add(sql, " AS t");
    if (diff_chance(&world->random, 50)) {
        diff_where(world, sql, 1 - i);
    }
}

void diff_query_step(diff_world *world)
{
    diff_sql sql = diff_sql_new();
    int i = diff_chance(&world->random, 75) ? 0 : 1;
    int kind = diff_below(&world->random, 100);
    if (kind < 62) {
        plain_query(world, &sql, i);
    } else if (kind < 80) {
        aggregate_query(world, &sql, i);
    } else if (kind < 95) {
        join_query(world, &sql, i);
    } else {
        compound_query(world, &sql, i);
    }
    diff_pair(world, &sql);
    diff_sql_free(&sql);
}
