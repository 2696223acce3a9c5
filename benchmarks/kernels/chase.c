// A pointer chase through 64 MB in random order: each load misses caches and TLBs.

#include "bench.h"

enum { NODES = 1 << 20 };
static struct node {
    struct node *next;
    char rest[64 - sizeof(struct node *)];
} nodes[NODES];
static uint32_t order[NODES];

static void setup(void)
{
    uint64_t state = 5;
    for (uint32_t i = 0; i < NODES; i++) order[i] = i;
    for (uint32_t i = NODES - 1; i > 0; i--) {
        uint32_t other = (uint32_t)(random_word(&state) % (i + 1)), old = order[i];
        order[i] = order[other];
        order[other] = old;
    }
    for (uint32_t i = 0; i < NODES; i++) nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
}

static uint64_t run(long n)
{
    const struct node *node = nodes;
    while (n--) node = node->next;
    return (uint64_t)(node - nodes);
}

const struct kernel chase_kernel = {"chase", setup, run, 3000000};
