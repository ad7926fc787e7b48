/*
 * scan.c - the methods of a cursor: from ranges of keys to rows.
 *
 * A scan of all rows only counts them until a column is asked for: most often in its
 * first row, and by count(*) never. (xBestIndex is not told of the columns that a
 * DELETE without a WHERE asks for, and by SQLite 3.52 always of the key.) Before the
 * first change of the table the cursor comes to its row, and after it rows are not
 * counted.
 */
#include "external.h"
#include "range.h"
#include "table.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

typedef struct lkv_scan {
    sqlite3_vtab_cursor base; /* SQLite's; first */
    lkv_table *table;
    lkv_handle *handle; /* the table's when the cursor was opened */
    lkv_cursor *cursor;
    lkv_ranges ranges;
    int range; /* in which one the cursor stands */
    int descending;
    int eof;
    /* Of `rows` rows the scan is on `row`, where the cursor has not come to. */
    struct lkv_scan *next,
        **link; /* the handle's list; `link` NULL: it does not count */
    uint64_t row, rows;
    int broken;      /* the cursor could not come there: why */
    lkv_bytes value; /* of the row, while `has_value` and lkv_views() is `views` */
    int has_value;
    int keeps_key; /* an UPDATE that reads the row leaves its key alone */
    uint64_t views;
} scan;

#define RANGES_KEPT 4 /* the most that a spare cursor may have room for */

/* A query for one key opens a cursor and closes it: its memory stays for the next. */
int lkv_scan_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
    lkv_table *table = lkv_table_of(base);
    scan *at = table->spare;
    if (at == NULL) {
        at = sqlite3_malloc64(sizeof(*at));
        if (at == NULL) {
            return SQLITE_NOMEM;
        }
        memset(at, 0, sizeof(*at));
        at->table = table;
    }
    table->spare = at;
    if (lkv_cursor_open(table->handle->store, &at->cursor) != LKV_OK) {
        return SQLITE_NOMEM;
    }
    table->spare = NULL;
    at->has_value = 0;
    at->handle = table->handle;
    at->handle->references++;
    at->handle->cursors++;
    at->eof = 1;
    *out = &at->base;
    return SQLITE_OK;
}

static void count(scan *at)
{
    lkv_handle *handle = at->handle;
    at->row = 0;
    at->rows = lkv_count(handle->store);
    at->eof = at->rows == 0;
    at->next = handle->counting;
    at->link = &handle->counting;
    if (at->next != NULL) {
        at->next->link = &at->next;
    }
    handle->counting = at;
}

static void count_no_more(scan *at)
{
    if (at->link != NULL) {
        *at->link = at->next;
        if (at->next != NULL) {
            at->next->link = at->link;
        }
        at->link = NULL;
    }
}

int lkv_scan_close(sqlite3_vtab_cursor *base)
{
    scan *at = (scan *)base;
    lkv_table *table = at->table;

    count_no_more(at);
    lkv_cursor_close(at->cursor);
    if (table->spare == NULL && at->ranges.room <= RANGES_KEPT) {
        lkv_ranges_clear(&at->ranges);
    } else {
        lkv_ranges_free(&at->ranges);
    }
    at->handle->cursors--;
    at->handle->seen = at->handle->seen && at->handle->cursors > 0;
    lkv_handle_close(at->handle);
    if (table->spare == NULL) {
        table->spare = at;
    } else {
        sqlite3_free(at);
    }
    return SQLITE_OK;
}

void lkv_scan_free_spare(lkv_table *table)
{
    scan *at = table->spare;
    if (at != NULL) {
        lkv_ranges_free(&at->ranges);
        sqlite3_free(at);
        table->spare = NULL;
    }
}

static int failed(scan *at, int rc, const lkv_error *err)
{
    char *text = NULL;
    at->eof = 1;
    rc = lkv_handle_status(at->handle, rc, err, &text);
    return lkv_table_error(at->table, rc, text);
}

/* Whether RENAME or CREATE was undone under the scan: the name by which the storage
 * finds its tables leads elsewhere, to another table by now. */
static int is_lost(const scan *at)
{
    return at->handle->home == LKV_HOME_DATABASE && at->handle->registry == NULL;
}

/* Goes to the first row of the range that is next in the scan's direction. */
static int enter(scan *at, lkv_error *err)
{
    const lkv_range *range = &at->ranges.at[at->range];
    lkv_bytes low = {range->low.data, range->low.size};
    lkv_bytes high = {range->high.data, range->high.size};

    if (range->point) {
        return lkv_cursor_find(at->cursor, low, err);
    }
    if (!at->descending) {
        return range->has_low ? lkv_cursor_seek(at->cursor, low, LKV_SEEK_GE, err)
                              : lkv_cursor_first(at->cursor, err);
    }
    if (!range->has_high) {
        return lkv_cursor_last(at->cursor, err);
    }
    return lkv_cursor_seek(at->cursor, high, range->strict ? LKV_SEEK_LT : LKV_SEEK_LE,
                           err);
}

static int outside(const scan *at)
{
    const lkv_range *range = &at->ranges.at[at->range];
    lkv_bytes key;
    if (range->point) { /* enter() found it, or nothing */
        return 0;
    }
    key = lkv_cursor_key(at->cursor);
    return at->descending ? lkv_range_below(range, key) : lkv_range_above(range, key);
}

/* After a move that gave `rc`: stays, or goes on to the ranges that follow. */
static int settle(scan *at, int rc, lkv_error *err)
{
    at->has_value = at->keeps_key = 0;
    while (rc == LKV_ABSENT || (rc == LKV_OK && outside(at))) {
        at->range += at->descending ? -1 : 1;
        if (at->range < 0 || at->range >= at->ranges.count) {
            at->eof = 1;
            return SQLITE_OK;
        }
        rc = enter(at, err);
    }
    return rc == LKV_OK ? SQLITE_OK : failed(at, rc, err);
}

/* The cursor comes to the row. */
static int stand(scan *at)
{
    lkv_error err = {0};
    int rc;

    count_no_more(at);
    if (at->eof) {
        return SQLITE_OK;
    }
    rc = settle(at, enter(at, &err), &err);
    for (uint64_t i = 0; i < at->row && rc == SQLITE_OK && !at->eof; i++) {
        rc = settle(at, lkv_cursor_next(at->cursor, &err), &err);
    }
    if (rc == SQLITE_OK && at->eof) {
        strcpy(err.text, "the last commit counts more rows than there are");
        rc = failed(at, LKV_CORRUPT, &err);
    }
    return rc;
}

void lkv_scans_stand(lkv_handle *handle)
{
    while (handle->counting != NULL) {
        scan *at = handle->counting;
        at->broken = stand(at);
    }
}

int lkv_scan_filter(sqlite3_vtab_cursor *base, int plan, const char *name, int argc,
                    sqlite3_value **argv)
{
    scan *at = (scan *)base;
    lkv_error err;
    char *text = NULL;
    int rc =
        is_lost(at) ? SQLITE_ABORT_ROLLBACK : lkv_handle_refresh(at->handle, &text);

    (void)name;
    count_no_more(at);
    at->broken = SQLITE_OK;
    at->eof = 1;
    if (rc != SQLITE_OK) {
        return lkv_table_error(at->table, rc, text);
    }
    if (argc < lkv_ranges_arguments(plan)) { /* not one that xBestIndex made */
        return SQLITE_MISUSE;
    }
    lkv_external_see(at->handle);
    lkv_ranges_clear(&at->ranges);
    rc = lkv_ranges_plan(&at->ranges, plan, at->table->declaration.column[0].affinity,
                         argv);
    if (rc != SQLITE_OK || at->ranges.count == 0) {
        return rc;
    }
    at->descending = (plan & LKV_PLAN_DESC) != 0;
    at->range = at->descending ? at->ranges.count - 1 : 0;
    if (plan == 0 && !lkv_in_transaction(at->handle->store)) {
        count(at);
        return SQLITE_OK;
    }
    at->eof = 0;
    return settle(at, enter(at, lkv_error_none(&err)), &err);
}

int lkv_scan_next(sqlite3_vtab_cursor *base)
{
    scan *at = (scan *)base;
    lkv_error err;
    int rc = LKV_ABSENT; /* nothing lies beside a point in its range */

    if (is_lost(at)) {
        at->eof = 1;
        return SQLITE_ABORT_ROLLBACK;
    }
    if (at->link != NULL) {
        at->eof = ++at->row == at->rows;
        return SQLITE_OK;
    }
    if (at->broken != SQLITE_OK) {
        return at->broken;
    }
    lkv_error_none(&err);
    if (!at->ranges.at[at->range].point) {
        rc = at->descending ? lkv_cursor_prev(at->cursor, &err)
                            : lkv_cursor_next(at->cursor, &err);
    }
    return settle(at, rc, &err);
}

int lkv_scan_eof(sqlite3_vtab_cursor *base)
{
    return ((scan *)base)->eof;
}

static int malformed(const scan *at, const char *what)
{
    return lkv_table_error(
        at->table, SQLITE_CORRUPT_VTAB,
        sqlite3_mprintf("litekv: \"%w\": a row has a malformed %s; restore the table",
                        at->table->name, what));
}

static int key_column(scan *at, sqlite3_context *context)
{
    lkv_bytes key = lkv_cursor_key(at->cursor);
    lkv_error err;
    lkv_value value;
    unsigned tag;
    int rc = lkv_cursor_tag(at->cursor, &tag, lkv_error_none(&err));
    if (rc != LKV_OK) {
        return failed(at, rc, &err);
    }
    if (lkv_key_decode(key.data, key.size, tag, &value) != SQLITE_OK) {
        return malformed(at, "key");
    }
    lkv_value_result(context, &value);
    return SQLITE_OK;
}

/* Whether an UPDATE keeps the value, and reads it itself when it writes the row. It
 * does not where keys change: by then another row may stand under this one's. The key
 * is asked for first. */
static int is_left_alone(const scan *at, sqlite3_context *context)
{
    return at->keeps_key && sqlite3_vtab_nochange(context);
}

int lkv_scan_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int i)
{
    scan *at = (scan *)base;
    lkv_value value;

    if (is_lost(at)) {
        return SQLITE_ABORT_ROLLBACK;
    }
    if (at->link != NULL) {
        at->broken = stand(at);
    }
    if (at->broken != SQLITE_OK) {
        return at->broken;
    }
    if (i == 0) {
        at->keeps_key |= sqlite3_vtab_nochange(context);
        return key_column(at, context);
    }
    if (i >= at->table->declaration.columns || is_left_alone(at, context)) {
        return SQLITE_OK; /* the command column is always NULL */
    }
    if (!at->has_value || at->views != lkv_views(at->handle->store)) {
        lkv_error err;
        int rc = lkv_cursor_value(at->cursor, &at->value, lkv_error_none(&err));
        if (rc == LKV_ABSENT) {
            return SQLITE_OK; /* a rollback took the row away: NULL, as in any table */
        }
        if (rc != LKV_OK) {
            return failed(at, rc, &err);
        }
        at->has_value = 1;
        at->views = lkv_views(at->handle->store);
    }
    if (lkv_record_read(at->value.data, at->value.size, i - 1, &value) != SQLITE_OK) {
        return malformed(at, "value");
    }
    lkv_value_result(context, &value);
    return SQLITE_OK;
}

int lkv_scan_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    (void)base;
    *rowid = 0; /* the table has none */
    return SQLITE_OK;
}
