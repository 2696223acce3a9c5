// put_char for the board's UART.
#pragma once

#include "print.h"

// Find the UART: the tree's ns16550a. Until then, and without one, output is dropped.
void console_open(const void *fdt);
