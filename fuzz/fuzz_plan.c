/*
 * fuzz_plan.c - bytes from outside as what xBestIndex is asked and what xFilter is
 * told.
 *
 * A connection with a table of each affinity, and one in UTF-16, stays open; beside
 * each is an ordinary table with the same rows. The module is litekv's with its
 * xBestIndex and xFilter called through functions of this file. An input is a chain of:
 *
 *   - a plan that xBestIndex could have made, with values from parameters, literals and
 *     columns, put into a scan of the whole table: every row that the ordinary table
 *     finds is visited, and each in its place;
 *   - a plan of any number, with any name and any values: whatever is visited is a row,
 *     and comes once and in order;
 *   - a query as SQLite plans it: both tables give the same; and before SQLite's
 *     question is answered, the same question with operators, columns and orders
 * changed at will: the answer keeps the rules of xBestIndex.
 */
#include "../sql-tests/diff_value.h"
#include "input.h"
#include "module.h"
#include "store.h"
#include "table.h"

#include <stdio.h>
#include <string.h>

#define MAX_ROWS 128
#define MAX_ARGS 4
#define SHAPES 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct shape {
    sqlite3 *db;
    enum lkv_affinity affinity;
    int utf16;
    int rows;
    char *key[MAX_ROWS]; /* as quote() writes it; a row's value is its place here */
    sqlite3_stmt *all;   /* of the litekv table; the plan is put into it */
} shape;

typedef struct rows {
    unsigned char has[MAX_ROWS];
    int count;
} rows;

typedef struct plan { /* for xFilter */
    int given, number, argc;
    char name[16];
    sqlite3_value *argv[MAX_ARGS];
} plan;

static const char *const types[SHAPES] = {"",     "TEXT", "INTEGER",
                                          "REAL", "BLOB", "TEXT"};
static diff_pool pool;
static plan told;
static input *questions; /* to be asked of xBestIndex; NULL: none */

/* The module */

static int filter(sqlite3_vtab_cursor *cursor, int number, const char *name, int argc,
                  sqlite3_value **argv)
{
    if (told.given) {
        return lkv_scan_filter(cursor, told.number, told.name, told.argc, told.argv);
    }
    return lkv_scan_filter(cursor, number, name, argc, argv);
}

/* How many arguments a plan takes. */
static int arguments(int number)
{
    if (number & LKV_PLAN_NONE) {
        return 0;
    }
    if (number & (LKV_PLAN_EQ | LKV_PLAN_IN)) {
        return 1;
    }
    if (number & (LKV_PLAN_LOW | LKV_PLAN_HIGH)) {
        return ((number & LKV_PLAN_LOW) != 0) + ((number & LKV_PLAN_HIGH) != 0);
    }
    return (number & (LKV_PLAN_LIKE | LKV_PLAN_GLOB)) != 0;
}

/* The arguments are numbered from 1 on, each once, from constraints that can be used.
 */
static void answer_must_be_right(const sqlite3_index_info *info)
{
    int seen[MAX_ARGS + 1] = {0}, count = 0;
    for (int i = 0; i < info->nConstraint; i++) {
        int to = info->aConstraintUsage[i].argvIndex;
        MUST(to >= 0 && to <= 2);
        MUST(to == 0 || (info->aConstraint[i].usable && !seen[to]));
        MUST(to > 0 || !info->aConstraintUsage[i].omit);
        seen[to] = 1;
        count += to > 0;
    }
    MUST(count == arguments(info->idxNum) && (count == 0 || seen[1]));
    MUST(info->idxStr != NULL && info->needToFreeIdxStr && info->estimatedRows >= 1);
    MUST(!info->orderByConsumed || info->aOrderBy[0].iColumn == 0);
}

static void change_question(sqlite3_index_info *info, input *in)
{
    static const unsigned char operators[] = {
        SQLITE_INDEX_CONSTRAINT_EQ,   SQLITE_INDEX_CONSTRAINT_GT,
        SQLITE_INDEX_CONSTRAINT_LE,   SQLITE_INDEX_CONSTRAINT_LT,
        SQLITE_INDEX_CONSTRAINT_GE,   SQLITE_INDEX_CONSTRAINT_LIKE,
        SQLITE_INDEX_CONSTRAINT_GLOB, SQLITE_INDEX_CONSTRAINT_IS,
        SQLITE_INDEX_CONSTRAINT_NE,   SQLITE_INDEX_CONSTRAINT_ISNULL,
        SQLITE_INDEX_CONSTRAINT_LIMIT};
    for (int i = 0; i < info->nConstraint; i++) {
        uint8_t how = input_byte(in);
        struct sqlite3_index_constraint *at = &info->aConstraint[i];
        if (how & 128) {
            at->op =
                how < 250 ? operators[(how & 127) % sizeof(operators)] : input_byte(in);
        }
        if ((how & 3) == 3) {
            uint8_t by = input_byte(in);
            at->usable = by & 1;
            at->iColumn = (by >> 1) - 2;
        }
    }
    for (int i = 0; i < info->nOrderBy; i++) {
        uint8_t how = input_byte(in);
        info->aOrderBy[i].desc = how & 1;
        info->aOrderBy[i].iColumn = (how >> 1) - 2;
    }
}

/* Asks a question like SQLite's, and makes its words and the place for the answer what
 * they were. */
static void ask(sqlite3_vtab *table, sqlite3_index_info *info)
{
    struct sqlite3_index_constraint constraints[8];
    struct sqlite3_index_orderby orders[8];
    sqlite3_index_info kept = *info;
    size_t usage = sizeof(*info->aConstraintUsage) * (size_t)info->nConstraint;

    if (info->nConstraint > 8 || info->nOrderBy > 8) {
        return;
    }
    for (int i = 0; i < info->nConstraint; i++) {
        constraints[i] = info->aConstraint[i];
    }
    for (int i = 0; i < info->nOrderBy; i++) {
        orders[i] = info->aOrderBy[i];
    }
    change_question(info, questions);
    MUST(lkv_plan_best_index(table, info) == SQLITE_OK);
    answer_must_be_right(info);
    sqlite3_free(info->idxStr);
    for (int i = 0; i < info->nConstraint; i++) {
        (void)sqlite3_vtab_in(info, i, 0);
        info->aConstraint[i] = constraints[i];
    }
    for (int i = 0; i < info->nOrderBy; i++) {
        info->aOrderBy[i] = orders[i];
    }
    *info = kept;
    if (usage > 0) {
        memset(info->aConstraintUsage, 0, usage);
    }
}

static int best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    int rc;
    if (questions != NULL) {
        ask(table, info);
    }
    rc = lkv_plan_best_index(table, info);
    if (rc == SQLITE_OK) {
        answer_must_be_right(info);
    }
    return rc;
}

/* The tables */

static void exec(sqlite3 *db, const char *sql)
{
    MUST(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

static void insert(const shape *s, const diff_value *value, const char *column)
{
    sqlite3_stmt *statement = NULL;
    char *sql = column == NULL
                    ? sqlite3_mprintf("INSERT OR IGNORE INTO ord(key) VALUES(?1)")
                    : sqlite3_mprintf("INSERT INTO h(%s) VALUES(?1)", column);
    MUST(sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) == SQLITE_OK);
    diff_value_bind(statement, 1, value);
    (void)sqlite3_step(statement); /* NULL is no key */
    sqlite3_finalize(statement);
    sqlite3_free(sql);
}

/* Rows get their places as values: in litekv's order, which in UTF-16 is another. */
static void number_rows(shape *s)
{
    sqlite3_stmt *statement = NULL;
    exec(s->db, "INSERT INTO kv(key) SELECT key FROM ord WHERE length(key) < 400");
    exec(s->db, "DELETE FROM ord WHERE length(key) >= 400");
    MUST(sqlite3_prepare_v2(s->db, "SELECT quote(key) FROM kv", -1, &statement, NULL) ==
         SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        MUST(s->rows < MAX_ROWS);
        s->key[s->rows++] = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    for (int i = 0; i < s->rows; i++) {
        char *sql = sqlite3_mprintf("UPDATE kv SET value = %d WHERE quote(key) = %Q;"
                                    "UPDATE ord SET value = %d WHERE quote(key) = %Q",
                                    i, s->key[i], i, s->key[i]);
        exec(s->db, sql);
        sqlite3_free(sql);
    }
    module_sizes(LKV_FLUSH_SIZE, 0, 0);
    exec(s->db, "SELECT litekv_compact('kv')");
}

static void open_shape(shape *s, int number)
{
    static const char *const columns[] = {"a", "b", "c", "n", "i"};
    static sqlite3_module module;
    diff_random random = {.state = 1};
    char *sql;

    module = *lkv_module();
    module.iVersion = 3; /* what comes after is not in every sqlite3.h */
    module.xBestIndex = best_index;
    module.xFilter = filter;
    s->utf16 = number == SHAPES - 1;
    MUST(sqlite3_open(":memory:", &s->db) == SQLITE_OK);
    MUST(module_load_as(s->db, &module) == SQLITE_OK);
    diff_pool_make(&pool, &random, s->utf16 != 0, false);
    sql = sqlite3_mprintf(
        "PRAGMA encoding = '%s'; CREATE VIRTUAL TABLE kv USING litekv(key %s, value); "
        "CREATE TABLE ord(key %s PRIMARY KEY NOT NULL, value) WITHOUT ROWID;"
        "CREATE TABLE h(id INTEGER PRIMARY KEY, a TEXT, b REAL, c, n NUMERIC, i "
        "INTEGER)",
        s->utf16 ? "UTF-16le" : "UTF-8", types[number], types[number]);
    exec(s->db, sql);
    sqlite3_free(sql);
    s->affinity = number == 0 || number == 4 ? LKV_AFFINITY_BLOB
                  : number == 2              ? LKV_AFFINITY_INTEGER
                  : number == 3              ? LKV_AFFINITY_REAL
                                             : LKV_AFFINITY_TEXT;
    /* All in runs: a leak checker does not know the pointers of an index in memory, and
     * the tables stay. */
    module_sizes(16, 0, 0);
    for (int i = 0; i < pool.count; i++) {
        insert(s, &pool.at[i], NULL);
    }
    for (int i = 0; i < 40; i++) {
        insert(s, &pool.at[i * 7 % pool.count], columns[i % 5]);
    }
    number_rows(s);
    MUST(sqlite3_prepare_v2(s->db, "SELECT quote(key), value FROM kv", -1, &s->all,
                            NULL) == SQLITE_OK);
}

static shape *shape_of(int number)
{
    static shape shapes[SHAPES];
    if (shapes[number].db == NULL) {
        open_shape(&shapes[number], number);
    }
    return &shapes[number];
}

/* Values */

typedef struct operand {
    diff_value value;
    char text[16];
    char *sql; /* ?1 or ?2, a literal, or an expression with an affinity */
    int literal;
} operand;

static diff_value any_value(input *in, char *text)
{
    diff_value value;
    uint8_t how = input_byte(in);
    if (how < 200) {
        value = pool.at[how % pool.count];
    } else {
        value =
            (diff_value){.type = how & 1 ? SQLITE_TEXT : SQLITE_BLOB, .bytes = text};
        value.size = input_byte(in) % 8;
        for (int i = 0; i < value.size; i++) {
            text[i] = (char)(input_byte(in) & (how & 1 ? 127 : 255));
            text[i] = text[i] == 0 && (how & 1) ? '0' : text[i];
        }
    }
    if (value.repeat > 300) {
        value.repeat = 300;
    }
    return value;
}

static void any_operand(input *in, operand *out, int number)
{
    static const char *const casts[] = {"INTEGER", "REAL", "TEXT", "NUMERIC", "BLOB"};
    static const char *const columns[] = {"a", "b", "c", "n", "i"};
    uint8_t how = input_byte(in);

    sqlite3_str *sql = sqlite3_str_new(NULL);

    out->value = any_value(in, out->text);
    out->literal = how >= 100 && how < 160;
    if (how < 100) {
        sqlite3_str_appendf(sql, "?%d", number);
    } else if (out->literal) {
        diff_value_literal(sql, &out->value);
    } else if (how < 210) { /* hidden: range.c tells what a bare CAST is taken for */
        sqlite3_str_appendall(sql, "CAST((SELECT ");
        diff_value_literal(sql, &out->value);
        sqlite3_str_appendf(sql, ") AS %s)", casts[how % 5]);
    } else {
        sqlite3_str_appendf(sql, "(SELECT %s FROM h WHERE id = %d)", columns[how % 5],
                            1 + (int)input_byte(in) % 40);
    }
    out->sql = sqlite3_str_finish(sql);
    MUST(out->sql != NULL);
}

static sqlite3_stmt *prepare(const shape *s, const char *sql, const operand *operands)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &statement, NULL) != SQLITE_OK) {
        (void)fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(s->db));
        lkv_fuzz_fail(__FILE__, __LINE__, "a statement can be prepared");
    }
    for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++) {
        diff_value_bind(statement, i + 1, &operands[i].value);
    }
    return statement;
}

static void take_values(const shape *s, const operand *operands, int count)
{
    char *sql = sqlite3_mprintf("SELECT %s, %s", operands[0].sql, operands[1].sql);
    sqlite3_stmt *statement = prepare(s, sql, operands);
    MUST(sqlite3_step(statement) == SQLITE_ROW);
    for (int i = 0; i < count; i++) {
        told.argv[i] = sqlite3_value_dup(sqlite3_column_value(statement, i & 1));
        MUST(told.argv[i] != NULL);
    }
    told.argc = count;
    sqlite3_finalize(statement);
    sqlite3_free(sql);
}

static void give_back_values(void)
{
    for (int i = 0; i < told.argc; i++) {
        sqlite3_value_free(told.argv[i]);
    }
    memset(&told, 0, sizeof(told));
}

/* Scans */

/* What the plan visits: rows, in the order that it says. The result of the last step.
 */
static int visit(const shape *s, rows *out)
{
    int descending = (told.number & LKV_PLAN_DESC) != 0;
    int last = descending ? MAX_ROWS : -1, rc;

    memset(out, 0, sizeof(*out));
    told.given = 1;
    while ((rc = sqlite3_step(s->all)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(s->all, 0);
        int row = sqlite3_column_int(s->all, 1);
        MUST(row >= 0 && row < s->rows && strcmp(key, s->key[row]) == 0);
        MUST(descending ? row < last : row > last);
        last = row;
        out->has[row] = 1;
        out->count++;
    }
    told.given = 0;
    sqlite3_reset(s->all);
    return rc;
}

/* What a query finds, by the rows' values. */
static void find(const shape *s, const char *sql, const operand *operands, rows *out)
{
    sqlite3_stmt *statement = prepare(s, sql, operands);
    int rc;
    memset(out, 0, sizeof(*out));
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int row = sqlite3_column_int(statement, 0);
        MUST(row >= 0 && row < s->rows && !out->has[row]);
        out->has[row] = 1;
        out->count++;
    }
    MUST(rc == SQLITE_DONE);
    sqlite3_finalize(statement);
}

/* Whether xBestIndex would have called the value certain. */
static int is_certain(const shape *s, const operand *of)
{
    int number = of->value.type == SQLITE_INTEGER || of->value.type == SQLITE_FLOAT;
    return of->literal && (!number || s->affinity == LKV_AFFINITY_TEXT);
}

static void must_visit(const shape *s, const char *sql, const operand *operands)
{
    rows visited, found;
    MUST(visit(s, &visited) == SQLITE_DONE);
    find(s, sql, operands, &found);
    for (int i = 0; i < s->rows; i++) {
        if (found.has[i] && !visited.has[i]) {
            (void)fprintf(stderr, "plan %d, %s: row %s is not visited\n", told.number,
                          sql, s->key[i]);
            lkv_fuzz_fail(__FILE__, __LINE__, "every row that matches is visited");
        }
    }
}

/* The operators that plan `number` stands for. */
static char *condition(int number, const operand *operands)
{
    const char *first = operands[0].sql;
    const char *second = operands[1].sql;
    if (number & LKV_PLAN_EQ) {
        return sqlite3_mprintf("key = %s", first);
    }
    if (number & (LKV_PLAN_LIKE | LKV_PLAN_GLOB)) {
        return sqlite3_mprintf("key %s %s", number & LKV_PLAN_LIKE ? "LIKE" : "GLOB",
                               first);
    }
    if ((number & LKV_PLAN_LOW) && (number & LKV_PLAN_HIGH)) {
        return sqlite3_mprintf("key >= %s AND key %s %s", first,
                               number & LKV_PLAN_HIGH_STRICT ? "<" : "<=", second);
    }
    if (number & LKV_PLAN_HIGH) {
        return sqlite3_mprintf("key %s %s",
                               number & LKV_PLAN_HIGH_STRICT ? "<" : "<=", first);
    }
    return sqlite3_mprintf("%s%s", number & LKV_PLAN_LOW ? "key >= " : "",
                           number & LKV_PLAN_LOW ? first : "1");
}

static void good_plan(const shape *s, input *in, operand *operands)
{
    static const int plans[] = {LKV_PLAN_EQ,
                                LKV_PLAN_LOW,
                                LKV_PLAN_HIGH,
                                LKV_PLAN_HIGH | LKV_PLAN_HIGH_STRICT,
                                LKV_PLAN_LOW | LKV_PLAN_HIGH,
                                LKV_PLAN_LOW | LKV_PLAN_HIGH | LKV_PLAN_HIGH_STRICT,
                                LKV_PLAN_LIKE,
                                LKV_PLAN_GLOB,
                                0};
    uint8_t how = input_byte(in);
    int number = plans[(how & 15) % 9], both = LKV_PLAN_LOW | LKV_PLAN_HIGH;
    int is_pattern = (number & (LKV_PLAN_LIKE | LKV_PLAN_GLOB)) != 0;
    char *words, *sql;

    if ((s->utf16 && number != 0) || (is_pattern && s->affinity != LKV_AFFINITY_TEXT)) {
        number = LKV_PLAN_EQ;
    }
    words = condition(number, operands);
    sql = sqlite3_mprintf("SELECT value FROM ord WHERE %s", words);
    if (is_certain(s, &operands[0])) {
        number |= number & LKV_PLAN_HIGH && (number & both) != both
                      ? LKV_PLAN_HIGH_LITERAL
                      : LKV_PLAN_LITERAL;
    }
    if ((number & both) == both && is_certain(s, &operands[1])) {
        number |= LKV_PLAN_HIGH_LITERAL;
    }
    number |= how & 16 ? LKV_PLAN_DESC : 0;
    take_values(s, operands, arguments(number));
    told.number = number;
    must_visit(s, sql, operands);
    give_back_values();
    sqlite3_free(sql);
    sqlite3_free(words);
}

static void any_plan(const shape *s, input *in, operand *operands)
{
    rows visited;
    uint8_t how = input_byte(in);
    int rc;

    take_values(s, operands, (how & 7) % (MAX_ARGS + 1));
    told.number = how & 8 ? (int)input_u32(in) : input_byte(in) << 4 | how >> 4;
    input_take(in, (uint8_t *)told.name, sizeof(told.name) - 1);
    rc = visit(s, &visited);
    MUST(rc == SQLITE_DONE || rc == SQLITE_ERROR || rc == SQLITE_MISUSE);
    MUST(rc == SQLITE_DONE || told.argc < arguments(told.number) ||
         (told.number & LKV_PLAN_IN));
    give_back_values();
}

static void query(const shape *s, input *in, operand *operands)
{
    static const char *const forms[] = {
        "key = %s AND key >= %s",
        "key IN (%s, %s, 5, 'a')",
        "key > %s AND key <= %s",
        "key BETWEEN %s AND %s",
        "key LIKE %s AND key < %s",
        "key GLOB %s OR key = %s",
        "key IS %s OR key IN (%s)",
        "key = %s OR key = %s",
        "key >= %s AND value < %s",
        "key < %s COLLATE NOCASE AND key > %s",
        "key IN (SELECT i FROM h) AND key <> %s AND key < %s",
        "key LIKE 'a%%' AND key > %s AND key < %s"};
    static const char *const orders[] = {"", " ORDER BY key", " ORDER BY key DESC",
                                         " ORDER BY key, value"};
    uint8_t how = input_byte(in);
    char *words =
        sqlite3_mprintf(forms[(how & 15) % 12], operands[0].sql, operands[1].sql);
    rows ordinary, litekv;

    for (int i = 0; i < 2; i++) {
        char *sql = sqlite3_mprintf("SELECT value FROM %s WHERE %s%s",
                                    i == 0 ? "ord" : "kv", words, orders[how >> 4 & 3]);
        questions = i == 0 ? NULL : in;
        find(s, sql, operands, i == 0 ? &ordinary : &litekv);
        questions = NULL;
        if (i > 0 && memcmp(&ordinary, &litekv, sizeof(litekv)) != 0) {
            (void)fprintf(stderr, "%s: %d and %d rows\n", sql, ordinary.count,
                          litekv.count);
            lkv_fuzz_fail(__FILE__, __LINE__, "both tables find the same");
        }
        sqlite3_free(sql);
    }
    sqlite3_free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    const shape *s = shape_of(input_byte(&in) % SHAPES);

    for (int i = 0; i < 8 && in.left > 0; i++) {
        operand operands[2];
        uint8_t how = input_byte(&in);
        any_operand(&in, &operands[0], 1);
        any_operand(&in, &operands[1], 2);
        if (how < 110) {
            good_plan(s, &in, operands);
        } else if (how < 170) {
            any_plan(s, &in, operands);
        } else {
            query(s, &in, operands);
        }
        sqlite3_free(operands[0].sql);
        sqlite3_free(operands[1].sql);
    }
    return 0;
}
