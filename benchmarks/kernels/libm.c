// The C library's mathematics, with errno: square roots, rounding to integers, powers, sines. Every
// call of sqrt() looks at the flags of comparisons, and rounding saves and restores them.

#include <math.h>

#include "bench.h"

static uint64_t run(long n)
{
    double exact = 0, close = 0;
    for (long i = 0; i < n; i++) {
        double x = (double)i * 0.37 + 0.5;
        OPAQUE(i);
        exact += sqrt(x) + floor(x) - ceil(-x * 0.5) + rint(x * 0.25) + round(x * 0.75) + trunc(x);
        exact += isless(x, 100.0) + fmod(x, 3.0);
        close += exp(-x * 1e-4) + pow(x, 0.3) + sin(x) * cos(x) + log(x) + atan2(x, 2.0) + cbrt(x);
    }
    // Libraries may differ in the last bits of what is in `close`.
    return bits_of(exact) ^ (uint64_t)llrint(close * 1e-3);
}

const struct kernel libm_kernel = {"libm", NULL, run, 400000};
