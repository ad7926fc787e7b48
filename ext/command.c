/*
 * command.c - INSERT INTO kv(kv) VALUES(command): the hidden column named as the table.
 */
#include "table.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

/* Reads the whole log, every checksum included. */
static int integrity_check(lkv_table *table)
{
    lkv_handle *handle = table->handle;
    lkv_error err = {0};
    lkv_stats stats;
    char *text = NULL;
    int rc = lkv_handle_refresh(handle, &text);

    if (rc != SQLITE_OK) {
        return lkv_table_error(table, rc, text);
    }
    rc = lkv_measure(handle->store, &stats, &err);
    rc = lkv_handle_status(handle, rc, &err, &text);
    return lkv_table_error(table, rc, text);
}

static const struct {
    const char *name;
    int (*run)(lkv_table *table);
} commands[] = {
    {"integrity-check", integrity_check},
};

int lkv_command(lkv_table *table, sqlite3_value *command)
{
    const char *name = (const char *)sqlite3_value_text(command);

    if (name == NULL) {
        return SQLITE_NOMEM;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (sqlite3_stricmp(name, commands[i].name) == 0) {
            return commands[i].run(table);
        }
    }
    return lkv_table_error(
        table, SQLITE_ERROR,
        sqlite3_mprintf("litekv: \"%w\": unknown command \"%s\"; commands are "
                        "integrity-check",
                        table->name, name));
}
