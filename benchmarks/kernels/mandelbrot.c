// The Mandelbrot set, 300 by 300 points: floating point in registers and a branch.

#include "bench.h"

enum { SIZE = 300, DEPTH = 200 };

static int escapes_after(double cx, double cy)
{
    double x = 0, y = 0;
    for (int i = 0; i < DEPTH; i++) {
        double xx = x * x, yy = y * y;
        if (xx + yy > 4) return i;
        y = 2 * x * y + cy;
        x = xx - yy + cx;
    }
    return DEPTH;
}

static uint64_t run(long n)
{
    uint64_t sum = 0;
    for (long round = 0; round < n; round++)
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                double x = j * (3.0 / SIZE) - 2, y = i * (2.0 / SIZE) - 1;
                sum += (uint64_t)escapes_after(x, y + (double)round * 1e-6);
            }
    return sum;
}

const struct kernel mandelbrot_kernel = {"mandelbrot", NULL, run, 7};
