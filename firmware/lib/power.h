// The end of a program is the end of its machine.
#pragma once

#include "types.h"

void power_open(const void *fdt);
// Power off; the emulator's exit status becomes `status` where the board can say it.
_Noreturn void power_off(u32 status);
