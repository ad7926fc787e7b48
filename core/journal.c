/*
 * journal.c - see journal.h. An entry ends in its sizes, so that it is read backwards:
 *
 *      key bytes | old location u64 | its size, key size u64
 */
#include "journal.h"

#include <string.h>

#define ENTRY_END 24u
#define FIRST_SIZE 4096u
#define KEPT_SIZE (64u << 10)

void lkv_journal_init(lkv_journal *journal, const lkv_os *os)
{
    memset(journal, 0, sizeof(*journal));
    journal->os = os;
}

void lkv_journal_clear(lkv_journal *journal)
{
    journal->size = 0;
    if (journal->capacity > KEPT_SIZE) {
        lkv_journal_free(journal);
    }
}

void lkv_journal_free(lkv_journal *journal)
{
    lkv_os_free(journal->os, journal->bytes);
    lkv_journal_init(journal, journal->os);
}

int lkv_journal_reserve(lkv_journal *journal, size_t key_size)
{
    size_t want = journal->size + key_size + ENTRY_END;
    size_t capacity = journal->capacity == 0 ? FIRST_SIZE : journal->capacity;
    uint8_t *moved;

    if (want <= journal->capacity) {
        return LKV_OK;
    }
    while (capacity < want) {
        capacity = capacity > SIZE_MAX / 2 ? want : capacity * 2;
    }
    moved = lkv_os_resize(journal->os, journal->bytes, capacity);
    if (moved == NULL) {
        return LKV_NOMEM;
    }
    journal->bytes = moved;
    journal->capacity = capacity;
    return LKV_OK;
}

void lkv_journal_add(lkv_journal *journal, lkv_bytes key, lkv_place old)
{
    uint64_t end[3] = {old.loc, old.size, key.size};
    uint8_t *at = journal->bytes + journal->size;
    if (key.size > 0) {
        memcpy(at, key.data, key.size);
    }
    memcpy(at + key.size, end, ENTRY_END);
    journal->size += key.size + ENTRY_END;
}

/* The entry that ends at `*size`; `*size` becomes where it begins. */
static lkv_bytes entry_before(const lkv_journal *journal, size_t *size, lkv_place *old)
{
    uint64_t end[3];
    memcpy(end, journal->bytes + *size - ENTRY_END, ENTRY_END);
    *size -= ENTRY_END + (size_t)end[2];
    *old = (lkv_place){end[0], (uint32_t)end[1]};
    return (lkv_bytes){journal->bytes + *size, (size_t)end[2]};
}

void lkv_journal_undo(lkv_journal *journal, lkv_memindex *index, size_t size)
{
    while (journal->size > size) {
        lkv_place old, now;
        lkv_bytes key = entry_before(journal, &journal->size, &old);
        if (old.loc == LKV_NOWHERE) {
            lkv_memindex_remove(index, key);
        } else if (lkv_memindex_put(index, key, old, &now) != LKV_OK) {
            return; /* never: the key is there, its location is replaced in place */
        }
    }
}
