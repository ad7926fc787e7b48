/*
 * end.c - what storages know of a store. The published end as bytes:
 *
 *   store id 16 | generation u64 | revision u64 | chain u64 | live keys u64 |
 *   live bytes u64 | segment u32 | offset u32 | zero u32 | crc32 u32 of all before it
 */
#include "format.h"
#include "storage.h"

#include <string.h>

void lkv_end_encode(uint8_t *out, const lkv_end *end)
{
    memcpy(out, end->store_id, LKV_ID_SIZE);
    lkv_format_u64(out + 16, end->generation);
    lkv_format_u64(out + 24, end->revision);
    lkv_format_u64(out + 32, end->chain);
    lkv_format_u64(out + 40, end->live_keys);
    lkv_format_u64(out + 48, end->live_bytes);
    lkv_format_u32(out + 56, end->segment);
    lkv_format_u32(out + 60, end->offset);
    lkv_format_u32(out + 64, 0);
    lkv_format_u32(out + 68, lkv_crc32(0, out, 68));
}

int lkv_end_decode(const uint8_t *at, lkv_end *end)
{
    if (lkv_format_get_u32(at + 68) != lkv_crc32(0, at, 68) ||
        lkv_format_get_u32(at + 64) != 0) {
        return LKV_CORRUPT;
    }
    memcpy(end->store_id, at, LKV_ID_SIZE);
    end->generation = lkv_format_get_u64(at + 16);
    end->revision = lkv_format_get_u64(at + 24);
    end->chain = lkv_format_get_u64(at + 32);
    end->live_keys = lkv_format_get_u64(at + 40);
    end->live_bytes = lkv_format_get_u64(at + 48);
    end->segment = lkv_format_get_u32(at + 56);
    end->offset = lkv_format_get_u32(at + 60);
    return LKV_OK;
}

uint32_t lkv_root_block(lkv_bytes root)
{
    const char *why;
    lkv_root parsed;
    return lkv_format_parse_root(root, &parsed, &why) == LKV_OK ? parsed.block : 0;
}
