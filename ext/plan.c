/*
 * plan.c - xBestIndex: which constraints on the key narrow the scan.
 *
 * A plan is an equality, a list (IN), or a lower and an upper bound, a prefix counting
 * as both; and a direction. Every constraint but an equality whose answer is certain
 * stays with SQLite too, so that a plan may visit more rows than match, never fewer.
 *
 * Left to SQLite altogether: collations other than BINARY; LIKE and GLOB on a key that
 * is not TEXT (15 LIKE '1%' is true and no prefix tells it), or where the application
 * has functions of its own for them; and in a UTF-16 database everything on text but
 * equality, because BINARY compares UTF-16 bytes there.
 *
 * From key GLOB 'a*' SQLite itself makes key >= 'a' AND key < 'b', and where it is
 * built so that GLOB looks into blobs, blobs are missing between these bounds. They
 * cannot be told from the user's own, so that no bound is used beside a pattern there.
 */
#include "table.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

typedef struct choice { /* the constraint to use for each role, or -1 */
    int equal, in, low, high, pattern, never;
    int any_pattern; /* whether there is one, usable for a range or not */
    int derived; /* a lower bound with NOCASE, as SQLite makes it of a LIKE, or -1 */
} choice;

int lkv_plan_utf16(lkv_table *table)
{
    sqlite3_stmt *statement = NULL;
    if (table->utf16 < 0) {
        if (sqlite3_prepare_v2(table->db, "SELECT CAST('a' AS BLOB)", -1, &statement,
                               NULL) == SQLITE_OK &&
            sqlite3_step(statement) == SQLITE_ROW &&
            sqlite3_column_bytes(statement, 0) > 0) {
            table->utf16 = sqlite3_column_bytes(statement, 0) > 1;
        }
        sqlite3_finalize(statement);
    }
    return table->utf16;
}

/* A plan for UTF-16 is right for any database. */
static int is_utf16(lkv_table *table)
{
    return lkv_plan_utf16(table) != 0;
}

/* Whether LIKE and GLOB look into blobs: not in Debian's SQLite, but by default. Yes is
 * right for both. */
static int matches_blobs(lkv_table *table)
{
    sqlite3_stmt *statement = NULL;
    if (table->blobs_match < 0) {
        if (sqlite3_prepare_v2(table->db, "SELECT x'61' LIKE 'a' OR x'61' GLOB 'a'", -1,
                               &statement, NULL) == SQLITE_OK &&
            sqlite3_step(statement) == SQLITE_ROW) {
            table->blobs_match = sqlite3_column_int(statement, 0);
        }
        sqlite3_finalize(statement);
    }
    return table->blobs_match != 0;
}

/* Whether LIKE (bit 0) and GLOB (bit 1) call functions that are not SQLite's. It offers
 * them by their names, and an application may have functions of its own under these:
 * what they say of a key is not known. It may register one at any time, so that each
 * plan asks; in case of doubt they are not. */
static int foreign_functions(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int foreign = 0;
    int rc = sqlite3_prepare_v2(db, "PRAGMA function_list", -1, &statement, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (sqlite3_column_int(statement, 1) == 0) { /* few are not built in */
            const char *name = (const char *)sqlite3_column_text(statement, 0);
            int arguments = sqlite3_column_int(statement, 4);
            if (arguments == 2 || arguments < 0) {
                foreign |= sqlite3_stricmp(name, "like") == 0   ? 1
                           : sqlite3_stricmp(name, "glob") == 0 ? 2
                                                                : 0;
            }
        }
        rc = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? foreign : 3;
}

static int is_binary(sqlite3_index_info *info, int i)
{
    return sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY") == 0;
}

static int is_nocase(sqlite3_index_info *info, int i)
{
    return sqlite3_stricmp(sqlite3_vtab_collation(info, i), "NOCASE") == 0;
}

/* Whether the pattern says which rows there are, and not only which of another table go
 * with them. Before 3.52 SQLite offers that of ON in an outer join to the table on the
 * left. The bounds that it makes of a LIKE itself it does not: a plan that asks for one
 * of these, too, is not asked for where it would be wrong. */
static int is_of_all_rows(const sqlite3_index_info *info, const choice *best)
{
    return sqlite3_libversion_number() >= 3052000 ||
           (info->aConstraint[best->pattern].op == SQLITE_INDEX_CONSTRAINT_LIKE &&
            best->derived >= 0);
}

/* The functions are asked for last: that takes longer than all of the rest. */
static int use_pattern(const lkv_table *table, const sqlite3_index_info *info,
                       const choice *best)
{
    int like = best->pattern >= 0 &&
               info->aConstraint[best->pattern].op == SQLITE_INDEX_CONSTRAINT_LIKE;
    return best->pattern >= 0 && is_of_all_rows(info, best) &&
           (foreign_functions(table->db) & (like ? 1 : 2)) == 0;
}

static void consider(lkv_table *table, sqlite3_index_info *info, int i, choice *best)
{
    const struct sqlite3_index_constraint *at = &info->aConstraint[i];
    int text = table->declaration.column[0].affinity == LKV_AFFINITY_TEXT;

    if (!at->usable || at->iColumn != 0) {
        return;
    }
    switch (at->op) {
    case SQLITE_INDEX_CONSTRAINT_ISNULL:
        best->never = i;
        break;
    case SQLITE_INDEX_CONSTRAINT_EQ:
    case SQLITE_INDEX_CONSTRAINT_IS:
        if (is_binary(info, i)) {
            if (sqlite3_vtab_in(info, i, -1)) {
                best->in = i;
            } else {
                best->equal = i;
            }
        }
        break;
    case SQLITE_INDEX_CONSTRAINT_GT:
    case SQLITE_INDEX_CONSTRAINT_GE:
        best->derived = is_nocase(info, i) ? i : best->derived;
        if (is_binary(info, i) && !is_utf16(table)) {
            best->low = i;
        }
        break;
    case SQLITE_INDEX_CONSTRAINT_LT:
    case SQLITE_INDEX_CONSTRAINT_LE:
        if (is_binary(info, i) && !is_utf16(table)) {
            best->high = i;
        }
        break;
    case SQLITE_INDEX_CONSTRAINT_LIKE:
    case SQLITE_INDEX_CONSTRAINT_GLOB:
        best->any_pattern = 1;
        if (text && !is_utf16(table)) {
            best->pattern = i;
        }
        break;
    default:
        break;
    }
}

/* What the constraint compares with: its SQLITE_TEXT and so on where the SQL says it, 0
 * where it is known later. */
static int literal_type(sqlite3_index_info *info, int i)
{
    sqlite3_value *value = NULL;
    (void)sqlite3_vtab_rhs_value(info, i, &value);
    return value == NULL ? 0 : sqlite3_value_type(value);
}

/* Whether it is certain what the constraint compares with. A number is not enough to
 * know for an untyped key (range.c). */
static int is_certain(const lkv_table *table, sqlite3_index_info *info, int i)
{
    int type = literal_type(info, i);
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
        return table->declaration.column[0].affinity == LKV_AFFINITY_TEXT;
    }
    return type != 0;
}

static void use(sqlite3_index_info *info, int i, int *argc, enum lkv_plan role,
                int *plan)
{
    info->aConstraintUsage[i].argvIndex = ++*argc;
    *plan |= (int)role;
}

#define NOT_ANALYZED 1048576u /* rows */

/* Rows to expect: what the handle knows, but no fewer than SQLite guesses of a table
 * that was not analyzed. Beside such tables a small one that told the truth would be
 * scanned for each join; and a statement that is kept stays with its plan when the
 * table grows. */
static double row_count(const lkv_table *table)
{
    uint64_t count = lkv_count(table->handle->store);
    return count > NOT_ANALYZED ? (double)count : (double)NOT_ANALYZED;
}

static void estimate(const lkv_table *table, sqlite3_index_info *info, int plan)
{
    double rows = row_count(table);
    double cost;

    if (plan & (LKV_PLAN_EQ | LKV_PLAN_NONE)) {
        rows = 1;
    } else if (plan & LKV_PLAN_IN) {
        rows = 25; /* as SQLite guesses a list */
    } else if (plan & (LKV_PLAN_LIKE | LKV_PLAN_GLOB)) {
        rows /= 32;
    } else if ((plan & LKV_PLAN_LOW) && (plan & LKV_PLAN_HIGH)) {
        rows /= 64;
    } else if (plan & (LKV_PLAN_LOW | LKV_PLAN_HIGH)) {
        rows /= 4;
    }
    rows = rows < 1 ? 1 : rows;
    /* A seek costs about what ten rows of a scan do. */
    cost = rows + 10 * ((plan & LKV_PLAN_IN) ? rows : 1);
    if ((plan & ~LKV_PLAN_DESC) == 0) {
        cost = rows * 4; /* a little more than SQLite's own, three a row */
    }
    info->estimatedRows = (sqlite3_int64)rows;
    info->estimatedCost = cost;
}

static const char *plan_name(int plan)
{
    static const struct {
        int plan;
        const char *name;
    } names[] = {
        {LKV_PLAN_NONE, "no rows"},
        {LKV_PLAN_EQ, "key=?"},
        {LKV_PLAN_IN, "key IN (...)"},
        {LKV_PLAN_LOW | LKV_PLAN_HIGH | LKV_PLAN_HIGH_STRICT, "key>? AND key<?"},
        {LKV_PLAN_LOW | LKV_PLAN_HIGH, "key>? AND key<?"},
        {LKV_PLAN_LIKE, "key LIKE ?"},
        {LKV_PLAN_GLOB, "key GLOB ?"},
        {LKV_PLAN_LOW, "key>?"},
        {LKV_PLAN_HIGH, "key<?"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((plan & names[i].plan) == names[i].plan) {
            return names[i].name;
        }
    }
    return "all keys";
}

static int name_plan(sqlite3_index_info *info, int plan)
{
    int descending = (plan & LKV_PLAN_DESC) != 0;
    info->idxNum = plan;
    info->idxStr =
        sqlite3_mprintf("%s%s", plan_name(plan), descending ? ", descending" : "");
    info->needToFreeIdxStr = 1;
    return info->idxStr == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

/* An equality answers for itself when it is certain which key it means, and then it is
 * promised to be one row. Where that is not certain the promise would be wrong for a
 * number that equals several texts, and SQLite trusts it: it leaves a LEFT JOIN out,
 * and an UPDATE or DELETE ends after the first row. Without it these take a savepoint.
 */
static void use_equal(lkv_table *table, sqlite3_index_info *info, int i, int *argc,
                      int *plan)
{
    enum lkv_affinity affinity = table->declaration.column[0].affinity;
    int numeric = affinity != LKV_AFFINITY_TEXT && affinity != LKV_AFFINITY_BLOB;

    use(info, i, argc, LKV_PLAN_EQ, plan);
    if (is_certain(table, info, i)) {
        *plan |= LKV_PLAN_LITERAL;
    }
    if (numeric || (*plan & LKV_PLAN_LITERAL) != 0) {
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
    }
    info->aConstraintUsage[i].omit = (unsigned char)numeric;
}

static void use_bounds(const lkv_table *table, sqlite3_index_info *info,
                       const choice *best, int *argc, int *plan)
{
    if (best->low >= 0) {
        use(info, best->low, argc, LKV_PLAN_LOW, plan);
        *plan |= is_certain(table, info, best->low) ? LKV_PLAN_LITERAL : 0;
    }
    if (best->high >= 0) {
        use(info, best->high, argc, LKV_PLAN_HIGH, plan);
        *plan |= is_certain(table, info, best->high) ? LKV_PLAN_HIGH_LITERAL : 0;
        if (info->aConstraint[best->high].op == SQLITE_INDEX_CONSTRAINT_LT) {
            *plan |= LKV_PLAN_HIGH_STRICT;
        }
    }
}

int lkv_plan_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
    lkv_table *table = lkv_table_of(base);
    choice best = {-1, -1, -1, -1, -1, -1, 0, -1};
    int argc = 0, plan = 0;

    for (int i = 0; i < info->nConstraint; i++) {
        consider(table, info, i, &best);
    }
    if (best.any_pattern && matches_blobs(table)) {
        best.low = best.high = -1;
    }
    if (best.never >= 0) {
        plan = LKV_PLAN_NONE;
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
    } else if (best.equal >= 0) {
        use_equal(table, info, best.equal, &argc, &plan);
    } else if (best.in >= 0) {
        use(info, best.in, &argc, LKV_PLAN_IN, &plan);
        (void)sqlite3_vtab_in(info, best.in, 1);
    } else if (best.low >= 0 || best.high >= 0) {
        use_bounds(table, info, &best, &argc, &plan);
    } else if (use_pattern(table, info, &best)) {
        int like = info->aConstraint[best.pattern].op == SQLITE_INDEX_CONSTRAINT_LIKE;
        use(info, best.pattern, &argc, like ? LKV_PLAN_LIKE : LKV_PLAN_GLOB, &plan);
        if (best.derived >= 0) { /* its value is not looked at */
            info->aConstraintUsage[best.derived].argvIndex = ++argc;
        }
    }
    /* Keys are unique: what comes after the key in ORDER BY changes nothing. */
    if (info->nOrderBy > 0 && info->aOrderBy[0].iColumn == 0 && !is_utf16(table)) {
        info->orderByConsumed = 1;
        plan |= info->aOrderBy[0].desc ? LKV_PLAN_DESC : 0;
    }
    estimate(table, info, plan);
    return name_plan(info, plan);
}
