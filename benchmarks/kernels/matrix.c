// Integer matrix product in the order of the textbook: one operand walks down its columns.

#include "bench.h"

enum { SIZE = 300 };
static int32_t a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];

static void setup(void)
{
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) {
            a[i][j] = i * 7 + j;
            b[i][j] = i ^ j * 3;
        }
}

static uint64_t run(long n)
{
    for (long round = 0; round < n; round++)
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                uint32_t sum = (uint32_t)round;
                for (int k = 0; k < SIZE; k++) sum += (uint32_t)a[i][k] * (uint32_t)b[k][j];
                c[i][j] = (int32_t)sum;
            }
    uint64_t check = 0;
    for (int i = 0; i < SIZE; i++) check = check * 31 + (uint32_t)c[i][SIZE - 1 - i];
    return check;
}

const struct kernel matrix_kernel = {"matrix", setup, run, 14};
