// An interpreter of a toy bytecode: one switch, whose indirect jump goes everywhere.

#include "bench.h"

enum { PUSH, ADD, MULTIPLY, XOR, SHIFT, SWAP, COPY };
enum { LENGTH = 64, DEPTH = 256 };

static uint8_t program[LENGTH];

// Keeps the stack two deep or more, by turns growing and shrinking.
static void setup(void)
{
    static const uint8_t growing[] = {PUSH, COPY, PUSH}, shrinking[] = {ADD, MULTIPLY, XOR};
    uint64_t state = 11;
    for (int i = 0; i < LENGTH; i += 4) {
        program[i] = growing[random_word(&state) % 3];
        program[i + 1] = random_word(&state) % 2 ? SWAP : SHIFT;
        program[i + 2] = shrinking[random_word(&state) % 3];
        program[i + 3] = random_word(&state) % 2 ? SWAP : SHIFT;
    }
}

static uint64_t run(long n)
{
    uint64_t stack[DEPTH] = {1, 2}, old;
    uint64_t *top = stack + 1;
    for (long round = 0; round < n; round++)
        for (int pc = 0; pc < LENGTH; pc++) switch (program[pc]) {
                case PUSH: *++top = (uint64_t)pc * 0x9e3779b97f4a7c15ull; break;
                case ADD: top--, *top += top[1]; break;
                case MULTIPLY: top--, *top *= top[1] | 1; break;
                case XOR: top--, *top ^= top[1]; break;
                case SHIFT: *top ^= *top >> 17; break;
                case SWAP: old = *top, *top = top[-1], top[-1] = old; break;
                case COPY: top++, *top = top[-1] + 1; break;
            }
    return *top ^ (uint64_t)(top - stack);
}

const struct kernel bytecode_kernel = {"bytecode", setup, run, 300000};
