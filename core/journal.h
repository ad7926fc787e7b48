/*
 * journal.h - what a transaction has to put back into the index: old places by
 * key.
 */
#ifndef LKV_JOURNAL_H
#define LKV_JOURNAL_H

#include "memindex.h"

typedef struct lkv_journal {
    const lkv_os *os;
    uint8_t *bytes;
    size_t size, capacity;
} lkv_journal;

void lkv_journal_init(lkv_journal *journal, const lkv_os *os);
/* Forgets all entries, and gives back memory beyond a small part. */
void lkv_journal_clear(lkv_journal *journal);
void lkv_journal_free(lkv_journal *journal);

/* Makes sure that the next lkv_journal_add() of such a key cannot fail. LKV_NOMEM. */
LKV_MUST_CHECK int lkv_journal_reserve(lkv_journal *journal, size_t key_size);
/* `old` is what the index held for `key`: LKV_NOWHERE for nothing. */
void lkv_journal_add(lkv_journal *journal, lkv_bytes key, lkv_place old);

/* Puts back everything above `size`, newest first. The index must still hold the keys
 * that the entries replaced: then nothing is allocated and nothing can fail. */
void lkv_journal_undo(lkv_journal *journal, lkv_memindex *index, size_t size);

#endif
