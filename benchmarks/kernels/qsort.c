// The C library's qsort of 200,000 doubles.

#include <stdlib.h>

#include "bench.h"

enum { SIZE = 200000 };
static double values[SIZE];

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static uint64_t run(long n)
{
    uint64_t sum = 0, state = 3;
    for (long round = 0; round < n; round++) {
        for (int i = 0; i < SIZE; i++) values[i] = (double)(int64_t)random_word(&state);
        qsort(values, SIZE, sizeof *values, compare);
        for (int i = 1; i < SIZE; i++) sum += values[i - 1] <= values[i];
        sum = sum * 31 + bits_of(values[SIZE / 2]);
    }
    return sum;
}

const struct kernel qsort_kernel = {"qsort", NULL, run, 4};
