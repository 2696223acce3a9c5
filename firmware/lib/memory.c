// What compilers call on their own, even in freestanding programs.
#include "types.h"

void *memset(void *to, int value, size_t size)
{
    for (u8 *at = to; size--; at++)
        *at = (u8)value;
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    u8 *out = to;
    for (const u8 *in = from; size--;)
        *out++ = *in++;
    return to;
}
