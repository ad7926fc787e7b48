/*
 * written.c - see written.h.
 */
#include "written.h"

#include <stdio.h>
#include <string.h>

void written_init(written *w)
{
    w->writes = 0;
    for (int i = 0; i < WRITTEN_KEYS; i++) {
        w->now[i] = WRITTEN_NONE;
    }
}

int written_next(written *w, int key)
{
    if (w->writes == WRITTEN_MAX) {
        return WRITTEN_NONE;
    }
    w->key_of[w->writes] = key;
    return w->writes++;
}

size_t written_value(int write, char *out)
{
    static const size_t sizes[] = {3, 0, 40, 1, 300, 7, 90, 1300};
    size_t size = (size_t)snprintf(out, WRITTEN_ROOM, "%d:", write);
    memset(out + size, 'a' + write % 23, sizes[write % 8]);
    size += sizes[write % 8];
    out[size] = 0;
    return size;
}

int written_must_have(const written *w, int key, lkv_bytes value)
{
    char all[WRITTEN_ROOM];
    const char *digits = value.data;
    int write = 0;

    for (size_t i = 0; i < value.size && i < 4 && digits[i] >= '0' && digits[i] <= '9';
         i++) {
        write = write * 10 + digits[i] - '0';
    }
    MUST(value.size > 0 && write < w->writes && w->key_of[write] == key);
    MUST(written_value(write, all) == value.size &&
         memcmp(all, value.data, value.size) == 0);
    return write;
}
