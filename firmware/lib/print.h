// Text out, in the few forms we need, through whatever put_char the program has.
#pragma once

#include "types.h"

void put_char(char c);
void put_text(const char *text);
// %c %s %d %u %x %lx %ld %lu %%, with a width and zero padding (%08x).
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);
