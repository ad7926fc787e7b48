/*
 * diff_special.c - several connections, failures, open readers.
 */
#include "diff_world.h"

void diff_special_step(diff_world *world)
{
    (void)world;
}
