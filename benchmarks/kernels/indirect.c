// Calls through a table of functions, in an order that comes again, as objects in a list are called.
// (In a long random order the host's own predictor is what is measured: 4096 take it as long.)

#include "bench.h"

enum { FUNCTIONS = 16, ORDER = 64 };
typedef uint64_t function(uint64_t);

#define FUNCTION(n, body) \
    static __attribute__((noinline)) uint64_t f##n(uint64_t x) { return body; }
FUNCTION(0, x + 1)
FUNCTION(1, x * 3)
FUNCTION(2, x ^ x >> 7)
FUNCTION(3, x - 5)
FUNCTION(4, x << 1 | x >> 63)
FUNCTION(5, ~x)
FUNCTION(6, x + (x >> 3))
FUNCTION(7, x ^ 0x55)
FUNCTION(8, x * 5)
FUNCTION(9, x + 77)
FUNCTION(10, x ^ x << 9)
FUNCTION(11, x - (x >> 5))
FUNCTION(12, x * 7)
FUNCTION(13, x + 13)
FUNCTION(14, x ^ x >> 11)
FUNCTION(15, x + 3)

static function *const functions[FUNCTIONS] = {f0, f1, f2,  f3,  f4,  f5,  f6,  f7,
                                               f8, f9, f10, f11, f12, f13, f14, f15};
static uint8_t order[ORDER];

static void setup(void)
{
    uint64_t state = 13;
    for (int i = 0; i < ORDER; i++) order[i] = random_word(&state) % FUNCTIONS;
}

static uint64_t run(long n)
{
    uint64_t x = 1;
    for (long i = 0; i < n; i++) x = functions[order[i % ORDER]](x);
    return x;
}

const struct kernel indirect_kernel = {"indirect", setup, run, 16000000};
