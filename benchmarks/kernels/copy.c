// A megabyte copied byte by byte, as a C library without a clever memcpy does.

#include "bench.h"

// The two do not begin a power of two apart: else a direct-mapped TLB, an emulator's too, holds
// either one or the other, and nothing else is measured.
enum { SIZE = 1 << 20, APART = SIZE + 5 * 4096 };
static uint8_t memory[APART + SIZE];
static uint8_t *const from = memory, *const to = memory + APART;

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
