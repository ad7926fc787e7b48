/*
 * test_node.c - what a node makes of keys at the edges of its format.
 */
#include "node.h"

#include <stdio.h>

static unsigned long passed, failed;

static void check(int good, const char *name)
{
    if (good) {
        passed++;
    } else {
        failed++;
        printf("not ok %s\n", name);
    }
}

/* A key of no bytes has no data either; under a sanitizer even adding 0 to it fails. */
static void key_without_data(void)
{
    static const uint8_t zeros[4];
    lkv_bytes none = {NULL, 0}, zero = {zeros, 1};
    check(lkv_node_head_of(none, 0) == 0, "key_without_data: head");
    check(lkv_compare(none, none) == 0, "key_without_data: equal");
    check(lkv_compare(none, zero) < 0, "key_without_data: before all others");
    check(lkv_node_common(none, zero) == 0, "key_without_data: common");
}

static void heads(void)
{
    lkv_bytes key = {"abcdef", 6};
    check(lkv_node_head_of(key, 0) == 0x61626364, "heads: four bytes");
    check(lkv_node_head_of(key, 4) == 0x65660000, "heads: what is left");
    check(lkv_node_head_of(key, 6) == 0, "heads: nothing left");
    check(lkv_node_head_of(key, 9) == 0, "heads: shorter than the prefix");
}

int main(void)
{
    key_without_data();
    heads();
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
