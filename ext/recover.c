/*
 * recover.c - what is left of a damaged table, and making a whole one of it.
 *
 *   litekv_recover(t)
 *      Text: JSON, {"kept":n,"dropped":[...]}. `kept` is the number of keys that are
 *      proven to be there; `dropped` has an object for each stretch of bytes that can
 *      not be read: "kind", 'segment' or 'part', and "segment", its number, as
 *      litekv_segments() names them; "offset" and "bytes"; "first_key" and "last_key",
 *      the keys that were read before and behind it, as SQL, or null. One of the kind
 *      'root', of no bytes, says that the newest root is lost, with all that only it
 *      named but the segments in which commits go on from what an older one leads to.
 *      Writes nothing.
 *      SQLITE_CORRUPT_VTAB when the root is damaged: nothing is proven then.
 *      SQLITE_ERROR in a transaction that has changed the table.
 *   litekv_recover(t, 'apply')
 *      The same, and if anything was wrong the table holds what was kept.
 *
 * They work where no other statement reads the table any more.
 */
#include "functions.h"
#include "home.h"
#include "target.h"

#include <math.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

/* A byte of a JSON string. */
static void add_byte(sqlite3_str *to, unsigned char byte)
{
    if (byte < 0x20) {
        sqlite3_str_appendf(to, "\\u%04x", byte);
    } else {
        if (byte == '"' || byte == '\\') {
            sqlite3_str_appendchar(to, 1, '\\');
        }
        sqlite3_str_appendchar(to, 1, (char)byte);
    }
}

/* A text or blob, as SQL in a JSON string. A text that is no UTF-8 is cast from its
 * bytes.
 */
static void add_bytes(sqlite3_str *to, const lkv_value *value)
{
    const unsigned char *at = value->bytes;
    int is_text = value->type == SQLITE_TEXT;
    int is_cast = is_text && !lkv_value_is_utf8(at, value->size);

    sqlite3_str_appendall(to, is_cast ? "\"CAST(X'" : is_text ? "\"'" : "\"X'");
    for (size_t i = 0; i < value->size; i++) {
        if (is_cast || !is_text) {
            sqlite3_str_appendf(to, "%02X", at[i]);
        } else if (at[i] == 0) { /* the end of a literal */
            sqlite3_str_appendall(to, "'||char(0)||'");
        } else {
            if (at[i] == '\'') {
                sqlite3_str_appendchar(to, 1, '\'');
            }
            add_byte(to, at[i]);
        }
    }
    sqlite3_str_appendall(to, is_cast ? "' AS TEXT)\"" : "'\"");
}

/* Whether a number was a real is in the record that has the key, and not known here. */
static void add_key(sqlite3_str *to, const char *name, lkv_bytes key)
{
    lkv_value value;

    sqlite3_str_appendf(to, ",\"%s\":", name);
    if (key.data == NULL ||
        (lkv_key_decode(key.data, key.size, LKV_KEY_PLAIN, &value) != SQLITE_OK &&
         lkv_key_decode(key.data, key.size, LKV_KEY_REAL, &value) != SQLITE_OK)) {
        sqlite3_str_appendall(to, "null");
    } else if (value.type == SQLITE_INTEGER) {
        sqlite3_str_appendf(to, "\"%lld\"", value.i);
    } else if (value.type == SQLITE_FLOAT && isinf(value.r)) {
        sqlite3_str_appendall(to, value.r > 0 ? "\"9e999\"" : "\"-9e999\"");
    } else if (value.type == SQLITE_FLOAT) {
        sqlite3_str_appendf(to, "\"%!.17g\"", value.r);
    } else {
        add_bytes(to, &value);
    }
}

static int add_lost(void *arg, const lkv_lost *lost)
{
    sqlite3_str *to = ((lkv_recovery *)arg)->dropped;

    sqlite3_str_appendf(
        to, "%s{\"kind\":\"%s\",\"segment\":%u,\"offset\":%llu,\"bytes\":%llu",
        sqlite3_str_length(to) > 0 ? "," : "", lkv_object_kind_name(lost->kind),
        lost->number, lost->offset, lost->bytes);
    add_key(to, "first_key", lost->first_key);
    add_key(to, "last_key", lost->last_key);
    sqlite3_str_appendchar(to, 1, '}');
    return sqlite3_str_errcode(to) == SQLITE_NOMEM    ? LKV_NOMEM
           : sqlite3_str_errcode(to) == SQLITE_TOOBIG ? LKV_TOO_BIG
                                                      : LKV_OK;
}

static int go_on(void *arg)
{
    return lkv_home_go_on(((lkv_recovery *)arg)->handle);
}

int lkv_recovery_run(lkv_recovery *recovery, int apply, lkv_error *err)
{
    lkv_salvage_calls calls = {add_lost, go_on, recovery};
    return lkv_salvage(recovery->handle->store, apply, &calls, &recovery->kept, err);
}

/* What would be lost, whether the table can be read or not. */
static int look(lkv_target *target, lkv_recovery *recovery)
{
    lkv_error err = {0};
    int rc = lkv_target_read(target);

    if (rc == SQLITE_CORRUPT_VTAB && target->pinned && !lkv_home_busy(target->handle)) {
        sqlite3_free(target->text);
        target->text = NULL;
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    rc = lkv_recovery_run(recovery, 0, &err);
    if (rc == LKV_MISUSE) {
        target->text =
            sqlite3_mprintf("litekv: \"%w\": the transaction has changed the "
                            "table; ask what is left of it after COMMIT",
                            target->handle->table);
        return target->text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
    }
    return lkv_target_status(target, rc, &err);
}

static int keep_proven(lkv_target *target, lkv_recovery *recovery, sqlite3_value *mode)
{
    const char *text = (const char *)sqlite3_value_text(mode);
    int rc;

    if (text == NULL) {
        return SQLITE_NOMEM;
    }
    if (sqlite3_stricmp(text, "apply") != 0) {
        target->text = sqlite3_mprintf("litekv: \"%w\": unknown mode \"%w\"; the only "
                                       "one is 'apply'",
                                       target->handle->table, text);
        return target->text == NULL ? SQLITE_NOMEM : SQLITE_ERROR;
    }
    target->handle->recovery = recovery;
    rc = lkv_target_command(target, "recover");
    target->handle->recovery = NULL;
    return rc;
}

void lkv_recover_table(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    lkv_target target;
    lkv_recovery recovery = {NULL, NULL, 0};
    int rc = lkv_target_of(&target, context, argc, argv);

    if (rc == SQLITE_OK) {
        recovery.handle = target.handle;
        recovery.dropped = sqlite3_str_new(target.handle->db);
        rc = argc == 1 ? look(&target, &recovery)
                       : keep_proven(&target, &recovery, argv[1]);
    }
    if (rc == SQLITE_OK) {
        const char *dropped = sqlite3_str_value(recovery.dropped);
        char *text = sqlite3_mprintf("{\"kept\":%lld,\"dropped\":[%s]}", recovery.kept,
                                     dropped == NULL ? "" : dropped);
        rc = text == NULL ? SQLITE_NOMEM : SQLITE_OK;
        sqlite3_result_text(context, text, -1, sqlite3_free);
    }
    sqlite3_free(sqlite3_str_finish(recovery.dropped));
    lkv_target_result(&target, context, rc);
}
