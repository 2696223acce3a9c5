// A megabyte copied byte by byte, as a C library without a clever memcpy does.

#include "bench.h"

enum { SIZE = 1 << 20 };
static uint8_t from[SIZE], to[SIZE];

static void setup(void)
{
    uint64_t state = 9;
    for (int i = 0; i < SIZE; i++) from[i] = (uint8_t)random_word(&state);
}

static uint64_t run(long n)
{
    for (long round = 0; round < n; round++) {
        const uint8_t *source = from;
        uint8_t *target = to, *end = to + SIZE;
        OPAQUE(source);
        OPAQUE(target);
        while (target != end) {
            *target++ = *source++;
            __asm__ volatile("");  // not to be turned into memcpy
        }
        from[round % SIZE]++;
    }
    uint64_t sum = 0;
    for (int i = 0; i < SIZE; i++) sum = sum * 31 + to[i];
    return sum;
}

const struct kernel copy_kernel = {"copy", setup, run, 200};
