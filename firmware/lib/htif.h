// HTIF, Spike's way out: two words in our own memory that the host watches, named by their symbols
// (riscv-isa-sim, fesvr). The board says with a node, ucb,htif0, that somebody does.
#pragma once

#include "types.h"

bool htif_present(const void *fdt);
void htif_put_char(char c);
void htif_exit(u32 status);
