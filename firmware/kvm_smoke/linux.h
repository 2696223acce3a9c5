// Linux's system calls, as many as kvm_smoke makes: there is no C library below it, so the program
// stays small and any compiler for riscv64 Linux builds it in a moment.
#pragma once

#include "types.h"

// A system call's result: not negative, or a negated errno.
long sys_open(const char *path, int flags);
long sys_ioctl(int file, unsigned long request, unsigned long argument);
long sys_mmap(size_t size, int flags, int file);
_Noreturn void sys_exit(int status);
