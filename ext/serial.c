/*
 * serial.c - a table's content as a BLOB, and back.
 *
 *   litekv_serialize(t)
 *      BLOB: every row, and the revision and time that it has, as the statement sees
 *      them. SQLITE_TOOBIG when it is longer than SQLITE_LIMIT_LENGTH.
 *   litekv_deserialize(t, BLOB)
 *      Puts what litekv_serialize() gave, of this table or another one with the same
 *      columns, in the place of all that the table holds, once all of it was found
 *      right; the number of keys. SQLITE_ERROR when it is not, and nothing is changed.
 */
#include "blob.h"
#include "functions.h"
#include "target.h"

SQLITE_EXTENSION_INIT3

void lkv_serialize_table(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    lkv_blob blob = {NULL, NULL, 0, 0};
    lkv_error err = {0};
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK) {
        rc = lkv_target_read(&target);
    }
    if (rc == SQLITE_OK) {
        blob.handle = target.handle;
        rc = lkv_serialize(target.handle->store, lkv_blob_put, &blob, &err);
        rc = lkv_target_status(&target, rc, &err);
    }
    if (rc == SQLITE_OK) {
        lkv_blob_result(&blob, context);
    }
    lkv_blob_clear(&blob);
    lkv_target_result(&target, context, rc);
}

void lkv_deserialize_table(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    lkv_blob_given given;
    lkv_source source;
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK && sqlite3_value_type(argv[1]) != SQLITE_BLOB) {
        target.text = sqlite3_mprintf("litekv: \"%w\": litekv_deserialize() takes what "
                                      "litekv_serialize() gave, a BLOB",
                                      target.handle->table);
        rc = target.text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
    }
    if (rc == SQLITE_OK) {
        rc = lkv_blob_give(&given, target.handle, argv[1], &source);
    }
    if (rc == SQLITE_OK) {
        target.handle->source = &source;
        rc = lkv_target_command(&target, "deserialize");
        target.handle->source = NULL;
    }
    if (rc == SQLITE_OK) {
        sqlite3_result_int64(context, target.handle->answer);
    }
    lkv_target_result(&target, context, rc);
}

/* In a UTF-16 database a key that comes back as another one would not be found. */
static int is_readable(const lkv_value *value, int utf16)
{
    return value->type != SQLITE_TEXT || !utf16 ||
           lkv_value_is_utf8(value->bytes, value->size);
}

int lkv_serial_check(void *arg, const lkv_row *row)
{
    lkv_table *table = arg;
    int utf16 = lkv_plan_utf16(table);
    lkv_value value;

    if (row->tag > LKV_KEY_MINUS_ZERO ||
        lkv_key_decode(row->key.data, row->key.size, row->tag, &value) != SQLITE_OK ||
        !is_readable(&value, utf16)) {
        return LKV_CORRUPT;
    }
    for (int i = 0; i + 1 < table->declaration.columns; i++) {
        if (lkv_record_read(row->value.data, row->value.size, i, &value) != SQLITE_OK ||
            !is_readable(&value, utf16)) {
            return LKV_CORRUPT;
        }
    }
    return LKV_OK;
}
