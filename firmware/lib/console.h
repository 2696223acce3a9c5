// put_char for the board's console: a UART, or HTIF.
#pragma once

#include "print.h"

// Find it: the tree's ns16550a, else its ucb,htif0. Until then, and without one, output is dropped.
void console_open(const void *fdt);
