#include "linux.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "print.h"

static long call(long number, long arg0, long arg1, long arg2, long arg3, long arg4, long arg5)
{
    register long a0 __asm__("a0") = arg0;
    register long a1 __asm__("a1") = arg1;
    register long a2 __asm__("a2") = arg2;
    register long a3 __asm__("a3") = arg3;
    register long a4 __asm__("a4") = arg4;
    register long a5 __asm__("a5") = arg5;
    register long a7 __asm__("a7") = number;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7)
                     : "memory");
    return a0;
}

long sys_open(const char *path, int flags)
{
    return call(__NR_openat, AT_FDCWD, (long)path, flags, 0, 0, 0);
}

long sys_ioctl(int file, unsigned long request, unsigned long argument)
{
    return call(__NR_ioctl, file, (long)request, (long)argument, 0, 0, 0);
}

long sys_mmap(size_t size, int flags, int file)
{
    return call(__NR_mmap, 0, (long)size, PROT_READ | PROT_WRITE, flags, file, 0);
}

_Noreturn void sys_exit(int status)
{
    for (;;)
        call(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

void put_char(char c)
{
    enum { STDOUT = 1 };
    call(__NR_write, STDOUT, (long)&c, 1, 0, 0, 0);
}
