/*
 * runs.c - see runs.h.
 */
#include "runs.h"

#include <string.h>

lkv_runs *lkv_runs_new(const lkv_os *os, const lkv_runs *like)
{
    size_t parts = ((size_t)like->parts + like->pass.out) * sizeof(lkv_part);
    size_t lists = ((size_t)like->count + like->merges) * sizeof(lkv_run);
    size_t gone = (size_t)like->gone * sizeof(lkv_gone);
    lkv_runs *runs = lkv_os_alloc(os, sizeof(*runs) + parts + lists + gone);
    if (runs == NULL) {
        return NULL;
    }
    *runs = *like;
    runs->references = 1;
    runs->part = (lkv_part *)(void *)(runs + 1);
    runs->out = runs->part + like->parts;
    runs->run = (lkv_run *)(void *)(runs->out + like->pass.out);
    runs->merge = runs->run + like->count;
    runs->garbage = (lkv_gone *)(void *)(runs->merge + like->merges);
    memset(runs->part, 0, parts + lists + gone);
    return runs;
}

void lkv_runs_release(const lkv_os *os, lkv_runs *runs)
{
    if (runs != NULL && --runs->references == 0) {
        lkv_os_free(os, runs);
    }
}

uint64_t lkv_runs_bytes(const lkv_runs *runs, uint32_t number, uint32_t block)
{
    for (uint32_t i = 0; i < runs->count + runs->merges; i++) {
        if (runs->run[i].number == number) { /* the merges follow the runs */
            return (uint64_t)runs->run[i].blocks * block;
        }
    }
    for (uint32_t i = 0; i < runs->parts + runs->pass.out; i++) {
        if (runs->part[i].number == number) {
            return runs->part[i].size;
        }
        if (runs->part[i].index == number) {
            return (uint64_t)runs->part[i].blocks * block;
        }
    }
    return 0;
}
