// What the kernels share: each is one row, and main.c runs the rows by name.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct kernel {
    const char *name;
    void (*setup)(void);       // not timed; may be null
    uint64_t (*run)(long n);   // n rounds of work; a checksum, equal on every machine
    long rounds;               // of scale 1
};

// A generator of our own (xorshift64*), so that every C library gives the same data.
static inline uint64_t random_word(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Dull;
}

// Keeps the compiler from knowing a value.
#define OPAQUE(value) __asm__ volatile("" : "+r"(value))

// Ends the program with a word when a system call fails.
long checked(long result, const char *what);

uint64_t bits_of(double value);
