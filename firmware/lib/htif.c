#include "htif.h"

#include "fdt.h"

// A command: device in bits 63 to 56, what to do in 55 to 48, the rest is payload.
#define CONSOLE_WRITE (1ul << 56 | 1ul << 48)

volatile u64 tohost __attribute__((aligned(64), used));
volatile u64 fromhost __attribute__((aligned(64), used));

bool htif_present(const void *fdt)
{
    struct fdt_node node;
    return fdt_find(fdt, "ucb,htif0", &node);
}

void htif_put_char(char c)
{
    tohost = CONSOLE_WRITE | (u8)c;
    while (tohost)
        ;
    fromhost = 0;  // the answer, which we do not need, makes room for the next
}

void htif_exit(u32 status)
{
    tohost = (u64)status << 1 | 1;
}
