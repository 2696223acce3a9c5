// Fibonacci numbers the slow way: calls, returns and the stack. OPAQUE keeps the compiler from making a
// loop of one call.

#include "bench.h"

static __attribute__((noinline)) uint64_t fib(unsigned n)
{
    uint64_t below = 1;
    if (n < 2) return n;
    OPAQUE(below);
    uint64_t second = fib(n - 2);
    OPAQUE(second);
    return fib(n - (unsigned)below) + second;
}

static uint64_t run(long n)
{
    uint64_t sum = 0;
    for (long i = 0; i < n; i++) sum += fib(27 + (unsigned)(i & 1));
    return sum;
}

const struct kernel fib_kernel = {"fib", NULL, run, 45};
