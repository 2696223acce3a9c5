// Quicksort of 200,000 integers, comparing through a function pointer as qsort does. Our own, because C
// libraries sort in too different ways.

#include "bench.h"

enum { SIZE = 200000 };
static int64_t values[SIZE];

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void exchange(int64_t *a, int64_t *b)
{
    int64_t old = *a;
    *a = *b;
    *b = old;
}

static void sort(int64_t *low, int64_t *high, int (*order)(const void *, const void *))
{
    while (low < high) {
        exchange(low + (high - low) / 2, high);
        int64_t *store = low;
        for (int64_t *i = low; i < high; i++)
            if (order(i, high) < 0) exchange(i, store++);
        exchange(store, high);
        if (store - low < high - store) {
            sort(low, store - 1, order);
            low = store + 1;
        } else {
            sort(store + 1, high, order);
            high = store - 1;
        }
    }
}

static uint64_t run(long n)
{
    uint64_t sum = 0, state = 3;
    int (*order)(const void *, const void *) = compare;
    for (long round = 0; round < n; round++) {
        for (int i = 0; i < SIZE; i++) values[i] = (int64_t)random_word(&state);
        OPAQUE(order);
        sort(values, values + SIZE - 1, order);
        for (int i = 1; i < SIZE; i++) sum += values[i - 1] <= values[i];
        sum = sum * 31 + (uint64_t)values[SIZE / 2];
    }
    return sum;
}

const struct kernel sort_kernel = {"sort", NULL, run, 6};
