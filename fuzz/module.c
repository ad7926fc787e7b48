/*
 * module.c - see module.h.
 */
#include "module.h"

#include "../core/storage.h"
#include "../core/store.h"
#include "table.h"

static lkv_registry *registry;

int module_load(sqlite3 *db)
{
    return module_load_as(db, lkv_module());
}

int module_load_as(sqlite3 *db, const sqlite3_module *module)
{
    int rc;
    registry = lkv_registry_new();
    if (registry == NULL) {
        return SQLITE_NOMEM;
    }
    rc = lkv_functions_register(db, registry);
    return rc != SQLITE_OK ? rc
                           : sqlite3_create_module_v2(db, "litekv", module, registry,
                                                      lkv_registry_free);
}

lkv_registry *module_registry(void)
{
    return registry;
}

void module_sizes(uint32_t flush, uint32_t segment, uint32_t spill)
{
    for (lkv_handle *at = registry->handles; at != NULL; at = at->next) {
        if (at->store != NULL && flush > 0) {
            at->store->flush_size = flush;
            at->store->gaps.least = 1;
        }
        if (at->storage != NULL && segment > 0) {
            at->storage->segment = segment;
        }
        if (at->storage != NULL && spill > 0) {
            at->storage->spill = spill;
        }
    }
}
