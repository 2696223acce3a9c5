// Words counted in an open hash table of 8 MB: FNV-1a over short strings, then a probe.

#include <string.h>

#include "bench.h"

enum { WORDS = 1 << 16, LENGTH = 16, SLOTS = 1 << 18, SLOT = 32 };
static char words[WORDS][LENGTH];
static struct {
    char word[LENGTH];
    uint64_t hash, count;
} table[SLOTS];
_Static_assert(sizeof table[0] == SLOT, "8 MB in all");

static void setup(void)
{
    uint64_t state = 1;
    for (int i = 0; i < WORDS; i++) {
        int length = 4 + (int)(random_word(&state) % 11);
        for (int j = 0; j < length; j++) words[i][j] = (char)('a' + random_word(&state) % 26);
    }
    memset(table, 0, sizeof table);
}

static uint64_t hash_of(const char *word)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    while (*word) hash = (hash ^ (uint8_t)*word++) * 0x100000001b3ull;
    return hash;
}

static uint64_t add(const char *word)
{
    uint64_t hash = hash_of(word), at = hash ^ hash >> 32;
    for (;; at++) {
        at %= SLOTS;
        if (table[at].count && table[at].hash == hash && !strcmp(table[at].word, word)) break;
        if (table[at].count) continue;
        memcpy(table[at].word, word, LENGTH);
        table[at].hash = hash;
        break;
    }
    return ++table[at].count;
}

static uint64_t run(long n)
{
    uint64_t sum = 0, state = 7;
    for (long i = 0; i < n; i++) sum += add(words[random_word(&state) % WORDS]);
    return sum;
}

const struct kernel hash_kernel = {"hash", setup, run, 1600000};
