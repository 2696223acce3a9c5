// A damped oscillator in single precision: moves, signs, conversions both ways and roundings.

#include <math.h>

#include "bench.h"

static uint64_t run(long n)
{
    float x = 1.0f, v = 0.0f, sum = 0.0f;
    for (long i = 0; i < n; i++) {
        float away = fabsf(x) > 0.75f ? copysignf(0.75f, x) - x : -x;
        v = v * 0.9995f + away * 0.01f;
        x += v * 0.01f;
        if (fabsf(v) < 1e-3f) v = -v + 0.25f;
        sum += (float)(int)(x * 64.0f) * 0.125f + sqrtf(x * x + v * v) + floorf(x * 4.0f);
        if (sum > 1e6f) sum -= 1e6f;
    }
    return bits_of(sum) ^ bits_of(x);
}

const struct kernel singles_kernel = {"singles", NULL, run, 4000000};
