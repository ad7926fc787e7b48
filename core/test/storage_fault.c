/*
 * storage_fault.c - see storage_fault.h.
 */
#include "storage_fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static storage_fault *self(lkv_storage *storage)
{
    return (storage_fault *)storage;
}

static void end_view(storage_fault *fault)
{
    if (fault->view != NULL) {
        memset(fault->view, 0xdd, fault->view_size);
        free(fault->view);
        fault->view = NULL;
    }
}

static int give_view(storage_fault *fault, lkv_bytes *view)
{
    end_view(fault);
    fault->view = malloc(view->size + 1); /* exactly: sanitizers see a read beyond */
    if (fault->view == NULL) {
        return LKV_NOMEM;
    }
    fault->view_size = view->size;
    if (view->size > 0) {
        memcpy(fault->view, view->data, view->size);
    }
    view->data = fault->view;
    return LKV_OK;
}

/* Counts a call and ends the last view; whether the call is one to fail. */
static int fails(storage_fault *fault)
{
    end_view(fault);
    fault->calls++;
    if (fault->fail_at != 0 && (fault->calls == fault->fail_at ||
                                (fault->for_good && fault->calls > fault->fail_at))) {
        fault->failures++;
        return 1;
    }
    return 0;
}

static int fail(storage_fault *fault, lkv_error *err)
{
    if (fault->owner != NULL) {
        if (fault->database != NULL && lkv_in_transaction(fault->owner)) {
            storage_database_undo(fault->database, 0);
        }
        lkv_rollback(fault->owner);
    }
    if (err != NULL) {
        err->os_errno = 5;
        snprintf(err->text, sizeof(err->text), "call %llu was told to fail",
                 (unsigned long long)fault->calls);
    }
    return fault->rc;
}

static int read_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       size_t want, lkv_bytes *view, lkv_error *err)
{
    storage_fault *fault = self(storage);
    int rc;
    fault->reads++;
    if (fails(fault)) {
        return fail(fault, err);
    }
    rc = fault->inner->ops->read(fault->inner, object, offset, want, view, err);
    storage->fresh = fault->inner->fresh;
    if (rc == LKV_OK) {
        view->size = view->size < want ? view->size : want;
        rc = give_view(fault, view);
    }
    return rc;
}

static int write_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                        lkv_bytes bytes, lkv_error *err)
{
    storage_fault *fault = self(storage);
    fault->writes++;
    fault->uneven +=
        offset % storage->block != 0 || (offset + bytes.size) % storage->block != 0;
    if (fails(fault)) {
        bytes.size /= 2;
        (void)fault->inner->ops->write(fault->inner, object, offset, bytes, err);
        return fail(fault, err);
    }
    return fault->inner->ops->write(fault->inner, object, offset, bytes, err);
}

static void rewind_object(lkv_storage *storage, uint32_t object, uint64_t offset)
{
    storage_fault *fault = self(storage);
    end_view(fault);
    fault->rewinds++;
    fault->inner->ops->rewind(fault->inner, object, offset);
}

static int seal(lkv_storage *storage, uint32_t object, lkv_error *err)
{
    storage_fault *fault = self(storage);
    return fails(fault) ? fail(fault, err)
                        : fault->inner->ops->seal(fault->inner, object, err);
}

static int remove_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                         lkv_error *err)
{
    storage_fault *fault = self(storage);
    fault->removes++;
    if (fails(fault)) {
        return fail(fault, err);
    }
    return fault->inner->ops->remove(fault->inner, object, offset, err);
}

static int list(lkv_storage *storage, int (*each)(void *arg, uint32_t object),
                void *arg, lkv_error *err)
{
    storage_fault *fault = self(storage);
    return fails(fault) ? fail(fault, err)
                        : fault->inner->ops->list(fault->inner, each, arg, err);
}

static int sync_object(lkv_storage *storage, uint32_t object, uint64_t offset,
                       lkv_error *err)
{
    storage_fault *fault = self(storage);
    fault->syncs++;
    return fails(fault) ? fail(fault, err)
                        : fault->inner->ops->sync(fault->inner, object, offset, err);
}

static int read_root(lkv_storage *storage, lkv_bytes *root, lkv_error *err)
{
    storage_fault *fault = self(storage);
    int rc;
    if (fails(fault)) {
        return fail(fault, err);
    }
    rc = fault->inner->ops->read_root(fault->inner, root, err);
    return rc == LKV_OK ? give_view(fault, root) : rc;
}

static int write_root(lkv_storage *storage, uint64_t generation, lkv_bytes root,
                      lkv_error *err)
{
    storage_fault *fault = self(storage);
    fault->roots++;
    return fails(fault)
               ? fail(fault, err)
               : fault->inner->ops->write_root(fault->inner, generation, root, err);
}

static int read_end(lkv_storage *storage, lkv_end *end, lkv_error *err)
{
    storage_fault *fault = self(storage);
    return fails(fault) ? fail(fault, err)
                        : fault->inner->ops->read_end(fault->inner, end, err);
}

static int publish_end(lkv_storage *storage, const lkv_end *end, lkv_error *err)
{
    storage_fault *fault = self(storage);
    fault->ends++;
    return fails(fault) ? fail(fault, err)
                        : fault->inner->ops->publish_end(fault->inner, end, err);
}

static int lock(lkv_storage *storage, int64_t wait_ms, lkv_error *err)
{
    storage_fault *fault = self(storage);
    return fails(fault) ? fail(fault, err)
                        : fault->inner->ops->lock(fault->inner, wait_ms, err);
}

static void unlock(lkv_storage *storage, const lkv_end *end)
{
    storage_fault *fault = self(storage);
    end_view(fault);
    fault->inner->ops->unlock(fault->inner, end);
}

static int pin(lkv_storage *storage, lkv_error *err)
{
    storage_fault *fault = self(storage);
    return fails(fault) ? fail(fault, err) : fault->inner->ops->pin(fault->inner, err);
}

static void unpin(lkv_storage *storage)
{
    storage_fault *fault = self(storage);
    end_view(fault);
    fault->inner->ops->unpin(fault->inner);
}

static void forget(lkv_storage *storage, uint32_t object, uint64_t offset)
{
    storage_fault *fault = self(storage);
    end_view(fault);
    fault->inner->ops->forget(fault->inner, object, offset);
}

static const lkv_storage_ops fault_ops = {
    read_object, write_object, rewind_object, seal,       remove_object,
    list,        sync_object,  read_root,     write_root, read_end,
    publish_end, lock,         unlock,        pin,        unpin,
    forget,      NULL,         NULL,          NULL};

void storage_fault_init(storage_fault *fault, lkv_storage *inner)
{
    memset(fault, 0, sizeof(*fault));
    fault->base = *inner;
    fault->base.ops = &fault_ops;
    fault->inner = inner;
}

void storage_fault_free(storage_fault *fault)
{
    end_view(fault);
}

void storage_fault_arm(storage_fault *fault, uint64_t nth, int for_good, int rc)
{
    fault->calls = 0;
    fault->fail_at = nth;
    fault->for_good = for_good;
    fault->rc = rc;
    fault->failures = 0;
    fault->reads = fault->writes = fault->roots = fault->ends = 0;
    fault->syncs = fault->rewinds = fault->removes = fault->uneven = 0;
}
