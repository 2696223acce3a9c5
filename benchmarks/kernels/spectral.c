// The spectral norm of an infinite matrix, cut at 500: a division for each element.

#include "bench.h"

enum { SIZE = 500 };
static double u[SIZE], v[SIZE], between[SIZE];

static double element(int i, int j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }

static void multiply(const double *in, double *out, int transposed)
{
    for (int i = 0; i < SIZE; i++) {
        double sum = 0;
        for (int j = 0; j < SIZE; j++) sum += (transposed ? element(j, i) : element(i, j)) * in[j];
        out[i] = sum;
    }
}

static void multiply_both(const double *in, double *out)
{
    multiply(in, between, 0);
    multiply(between, out, 1);
}

static uint64_t run(long n)
{
    for (int i = 0; i < SIZE; i++) u[i] = 1;
    for (long round = 0; round < n; round++) {
        multiply_both(u, v);
        multiply_both(v, u);
    }
    double uv = 0, vv = 0;
    for (int i = 0; i < SIZE; i++) {
        uv += u[i] * v[i];
        vv += v[i] * v[i];
    }
    return bits_of(__builtin_sqrt(uv / vv));
}

const struct kernel spectral_kernel = {"spectral", NULL, run, 70};
