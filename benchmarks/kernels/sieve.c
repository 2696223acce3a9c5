// Eratosthenes over four million bytes: stores with a growing stride.

#include <string.h>

#include "bench.h"

enum { LIMIT = 4000000 };
static uint8_t composite[LIMIT];

static uint64_t run(long n)
{
    uint64_t primes = 0;
    for (long round = 0; round < n; round++) {
        memset(composite, 0, sizeof composite);
        for (long i = 2; i < LIMIT; i++) {
            if (composite[i]) continue;
            primes++;
            for (long multiple = i * 2; multiple < LIMIT; multiple += i) composite[multiple] = 1;
        }
    }
    return primes;
}

const struct kernel sieve_kernel = {"sieve", NULL, run, 3};
