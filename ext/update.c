/*
 * update.c - xUpdate: INSERT, UPDATE and DELETE of one row.
 *
 * A row is written as a whole or not at all, because SQLite gives a single-row
 * statement no savepoint to go back to: constraints are looked at first, and a move of
 * a row from one key to another goes back to a mark of the store when its second half
 * fails.
 */
#include "os_sqlite.h"
#include "table.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

/* What xUpdate was called for, in the terms of the table. */
typedef struct change {
    sqlite3_value **columns; /* the new row: key, values, command */
    unsigned tag;            /* of the new key */
    int has_old;
    int on_conflict;
} change;

static int status(lkv_table *table, int rc, const lkv_error *err)
{
    char *text = NULL;
    rc = lkv_handle_status(table->handle, rc, err, &text);
    return lkv_table_error(table, rc, text);
}

/* SQLite acts on the statement's ON CONFLICT clause at any SQLITE_CONSTRAINT code. With
 * OR IGNORE there is no error, and a text would become that of a later one. */
static int conflict(lkv_table *table, int code, const char *what)
{
    if (sqlite3_vtab_on_conflict(table->db) == SQLITE_IGNORE) {
        return code;
    }
    return lkv_table_error(table, code,
                           sqlite3_mprintf("%s constraint failed: %s.%s", what,
                                           table->name,
                                           table->declaration.column[0].name));
}

/* Encodes an SQL value as key; SQLITE_DONE when it is NULL. */
static int encode_key(lkv_key *key, sqlite3_value *argument, enum lkv_affinity affinity,
                      unsigned *tag)
{
    lkv_value value;
    int rc = lkv_value_read(&value, argument, affinity);
    if (rc == SQLITE_OK && value.type == SQLITE_NULL) {
        rc = SQLITE_DONE;
    }
    if (rc == SQLITE_OK) {
        rc = lkv_key_encode(key, &value, tag);
    }
    lkv_value_clear(&value);
    return rc;
}

/* Fills in the values that an UPDATE leaves alone from the row that has them. */
static int read_unchanged(lkv_table *table, const change *of)
{
    lkv_bytes key = {table->old_key.data, table->old_key.size};
    lkv_error err;
    lkv_row row;
    int rc = lkv_get(table->handle->store, key, &row, lkv_error_none(&err));

    if (rc != LKV_OK) {
        return status(table, rc, &err);
    }
    for (int i = 1; i < table->declaration.columns; i++) {
        if (sqlite3_value_nochange(of->columns[i]) &&
            lkv_record_read(row.value.data, row.value.size, i - 1,
                            &table->values[i - 1]) != SQLITE_OK) {
            return lkv_table_error(
                table, SQLITE_CORRUPT_VTAB,
                sqlite3_mprintf("litekv: \"%w\": a row has a malformed "
                                "value; restore the table",
                                table->name));
        }
    }
    return SQLITE_OK;
}

static int make_record(lkv_table *table, size_t *size)
{
    int count = table->declaration.columns - 1;
    int limit = sqlite3_limit(table->db, SQLITE_LIMIT_LENGTH, -1);

    uint64_t wanted = lkv_record_size(table->values, count);

    if (wanted + table->key.size > (uint64_t)limit) {
        return SQLITE_TOOBIG;
    }
    *size = (size_t)wanted;
    if (*size > table->record_room) {
        uint8_t *moved = sqlite3_realloc64(table->record, *size);
        if (moved == NULL) {
            return SQLITE_NOMEM;
        }
        table->record = moved;
        table->record_room = *size;
    }
    lkv_record_write(table->record, table->values, count);
    return SQLITE_OK;
}

#ifdef SQLITE_OMIT_UTF16 /* then there is no database of it */
static int check_texts(lkv_table *table, const change *of)
{
    (void)table;
    (void)of;
    return SQLITE_OK;
}
#else
/* Whether UTF-16 says what UTF-8 can: SQLite reads half a surrogate pair, and the two
 * that are no characters, as others. */
static int is_text(const uint16_t *at, size_t units, unsigned *bad)
{
    for (size_t i = 0; i < units; i++) {
        *bad = at[i];
        if (at[i] >= 0xfffe || (at[i] & 0xfc00) == 0xdc00) {
            return 0;
        }
        if ((at[i] & 0xfc00) == 0xd800 &&
            (++i == units || (at[i] & 0xfc00) != 0xdc00)) {
            return 0;
        }
    }
    return 1;
}

/* Rows are kept in UTF-8, also in a UTF-16 database: what that would change is refused,
 * since nobody would find it again. */
static int check_texts(lkv_table *table, const change *of)
{
    int utf16 = lkv_plan_utf16(table);

    for (int i = 0; utf16 > 0 && i < table->declaration.columns; i++) {
        sqlite3_value *value = of->columns[i];
        const uint16_t *text;
        unsigned bad;
        if (sqlite3_value_type(value) != SQLITE_TEXT) {
            continue;
        }
        text = sqlite3_value_text16(value);
        if (text == NULL) {
            return SQLITE_NOMEM;
        }
        if (!is_text(text, (size_t)sqlite3_value_bytes16(value) / 2, &bad)) {
            return lkv_table_error(
                table, SQLITE_ERROR,
                sqlite3_mprintf("litekv: \"%w\": the text for \"%w\" has U+%04X, which "
                                "is no character; store it as a BLOB",
                                table->name, table->declaration.column[i].name, bad));
        }
    }
    return utf16 < 0 ? sqlite3_errcode(table->db) : SQLITE_OK;
}
#endif

/* The record of the new row, in `table->record`. */
static int encode_row(lkv_table *table, const change *of, size_t *size)
{
    int count = table->declaration.columns - 1;
    int unchanged = 0, rc = SQLITE_OK;

    for (int i = 0; i < count; i++) {
        table->values[i].copy = NULL;
        table->values[i].type = SQLITE_NULL;
    }
    for (int i = 0; i < count && rc == SQLITE_OK; i++) {
        sqlite3_value *value = of->columns[i + 1];
        if (of->has_old && sqlite3_value_nochange(value)) {
            unchanged++;
        } else {
            rc = lkv_value_read(&table->values[i], value,
                                table->declaration.column[i + 1].affinity);
        }
    }
    if (rc == SQLITE_OK && unchanged > 0) {
        rc = read_unchanged(table, of);
    }
    if (rc == SQLITE_OK) {
        rc = make_record(table, size);
    }
    for (int i = 0; i < count; i++) {
        lkv_value_clear(&table->values[i]);
    }
    return rc;
}

/* Takes the old key out and puts the row in under the new one: both or neither. */
static int move_row(lkv_table *table, const lkv_row *row, lkv_error *err)
{
    lkv_store *store = table->handle->store;
    lkv_bytes old = {table->old_key.data, table->old_key.size};
    uint64_t rollbacks = lkv_rollbacks(store);
    uint32_t mark;
    int rc = lkv_mark(store, &mark);

    if (rc != LKV_OK) {
        return rc;
    }
    rc = lkv_delete(store, old, err);
    if (rc == LKV_OK) {
        rc = lkv_put(store, row, err);
    }
    /* After some failures of the database SQLite has rolled everything back by now. */
    if (rollbacks == lkv_rollbacks(store)) {
        if (rc != LKV_OK) {
            lkv_rollback_to(store, mark);
        }
        lkv_release(store, mark);
    }
    return rc;
}

static int write_row(lkv_table *table, const change *of)
{
    lkv_error err;
    lkv_row row = {.key = {table->key.data, table->key.size}, .tag = of->tag};
    size_t size = 0;
    int moves = of->has_old &&
                (table->key.size != table->old_key.size ||
                 memcmp(table->key.data, table->old_key.data, table->key.size) != 0);
    int rc = LKV_ABSENT;

    lkv_error_none(&err);
    if (of->has_old) {
        rc = lkv_exists(table->handle->store,
                        (lkv_bytes){table->old_key.data, table->old_key.size}, &err);
        if (rc != LKV_OK) { /* UPDATE FROM comes once for each match: it has moved */
            return rc == LKV_ABSENT ? SQLITE_OK : status(table, rc, &err);
        }
        rc = LKV_ABSENT;
    }
    if ((!of->has_old || moves) && of->on_conflict != SQLITE_REPLACE) {
        rc = lkv_exists(table->handle->store, row.key, &err);
        if (rc < 0) {
            return status(table, rc, &err);
        }
    }
    if (rc == LKV_OK) {
        return conflict(table, SQLITE_CONSTRAINT_PRIMARYKEY, "UNIQUE");
    }
    rc = encode_row(table, of, &size);
    if (rc != SQLITE_OK) {
        return rc;
    }
    row.value = (lkv_bytes){table->record, size};
    rc =
        moves ? move_row(table, &row, &err) : lkv_put(table->handle->store, &row, &err);
    lkv_os_rest(&lkv_os_sqlite, &table->record, &table->record_room);
    return status(table, rc, &err);
}

static int delete_row(lkv_table *table)
{
    lkv_bytes key = {table->old_key.data, table->old_key.size};
    lkv_error err;
    int rc = lkv_delete(table->handle->store, key, lkv_error_none(&err));
    return status(table, rc, &err);
}

static int update(lkv_table *table, int argc, sqlite3_value **argv)
{
    change of = {.columns = argv + 2};
    char *text = NULL;
    unsigned old_tag;
    int rc;

    of.has_old = argc == 1 || sqlite3_value_type(argv[0]) != SQLITE_NULL;
    of.on_conflict = sqlite3_vtab_on_conflict(table->db);
    rc = lkv_handle_begin(table->handle, &text);
    if (rc != SQLITE_OK) {
        return lkv_table_error(table, rc, text);
    }
    if (of.has_old) {
        rc = encode_key(&table->old_key, argv[0], LKV_AFFINITY_BLOB, &old_tag);
        if (rc != SQLITE_OK || argc == 1) {
            return rc == SQLITE_OK ? delete_row(table) : rc;
        }
    }
    rc = check_texts(table, &of);
    if (rc == SQLITE_OK) {
        rc = encode_key(&table->key, of.columns[0],
                        table->declaration.column[0].affinity, &of.tag);
    }
    if (rc == SQLITE_DONE) {
        return conflict(table, SQLITE_CONSTRAINT_NOTNULL, "NOT NULL");
    }
    return rc == SQLITE_OK ? write_row(table, &of) : rc;
}

int lkv_update(sqlite3_vtab *base, int argc, sqlite3_value **argv, sqlite3_int64 *rowid)
{
    lkv_table *table = lkv_table_of(base);
    char *text = NULL;
    int rc;

    /* SQLite makes it last_insert_rowid(), which a table without rowid leaves alone. */
    *rowid = sqlite3_last_insert_rowid(table->db);
    if (!table->takes_part) { /* a function ended the transaction of this statement */
        return SQLITE_ABORT_ROLLBACK;
    }
    if (argc > 1 &&
        sqlite3_value_type(argv[2 + table->declaration.columns]) != SQLITE_NULL) {
        return lkv_command(table, argv + 2);
    }
    rc = update(table, argc, argv);
    if (rc == SQLITE_OK) {
        rc = lkv_handle_wrote(table->handle, &text);
        (void)lkv_table_error(table, rc, text);
    }
    return rc;
}
