// Runs kernels: `kernels SCALE NAME...` prints "kernel NAME NANOSECONDS CHECKSUM" for each;
// without names, for all of them.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define KERNELS(X) \
    X(sieve) X(matrix) X(hash) X(sort) X(nbody) X(spectral) X(mandelbrot) X(chase) X(copy) \
    X(getppid) X(fork) X(exec) X(faults) X(pingpong) X(bytecode) X(indirect) X(fib) \
    X(libm) X(qsort) X(singles)

#define DECLARE(name) extern const struct kernel name##_kernel;
KERNELS(DECLARE)

#define ROW(name) &name##_kernel,
static const struct kernel *const kernels[] = {KERNELS(ROW)};
enum { COUNT = sizeof kernels / sizeof *kernels };

long checked(long result, const char *what)
{
    if (result >= 0) return result;
    perror(what);
    exit(1);
}

uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void run(const struct kernel *kernel, double scale)
{
    long rounds = (long)((double)kernel->rounds * scale);
    if (kernel->setup) kernel->setup();
    int64_t start = nanoseconds();
    uint64_t sum = kernel->run(rounds > 0 ? rounds : 1);
    int64_t elapsed = nanoseconds() - start;
    printf("kernel %s %lld %016llx\n", kernel->name, (long long)elapsed, (unsigned long long)sum);
    fflush(stdout);
}

static int is_wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(name, names[i])) return 1;
    return count == 0;
}

int main(int count, char **arguments)
{
    if (count < 2) return 0;  // what the kernel `exec` starts
    for (int i = 0; i < COUNT; i++)
        if (is_wanted(kernels[i]->name, count - 2, arguments + 2))
            run(kernels[i], atof(arguments[1]));
    return 0;
}
