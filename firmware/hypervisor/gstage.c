#include "gstage.h"

#include "csr.h"

enum { LEVELS = 3, ENTRIES = 512, ROOT_ENTRIES = 2048, TABLES = 16 };
enum { HGATP_SV39X4 = 8, VMID = 1 };

// Privileged spec, "Two-stage address translation": the root table of Sv39x4 is four pages long,
// aligned to its size, for the two bits a guest-physical address has more than Sv39's virtual one.
static u64 root[ROOT_ENTRIES] __attribute__((aligned(ROOT_ENTRIES * 8)));
static u64 tables[TABLES][ENTRIES] __attribute__((aligned(PAGE)));
static u32 tables_used;

static u64 *next_table(u64 *entry)
{
    if (!(*entry & PTE_V))
        *entry = PPN_TO_PTE((u64)tables[tables_used++]) | PTE_V;
    return (u64 *)(*entry >> 10 << 12);
}

void gstage_map(u64 guest_physical, u64 physical, u64 access)
{
    u64 *table = root;
    u64 entries = ROOT_ENTRIES;
    for (int level = LEVELS - 1; level > 0; level--) {
        table = next_table(&table[guest_physical >> (12 + 9 * level) & (entries - 1)]);
        entries = ENTRIES;
    }
    // All accesses of a guest count as user accesses in the G-stage: U must be set. A and D are
    // set from the start, so it does not matter who would have to update them (Svade, Svadu).
    table[guest_physical >> 12 & (ENTRIES - 1)] =
        PPN_TO_PTE(physical) | access | PTE_V | PTE_U | PTE_A | PTE_D;
    // hfence.gvma takes the guest-physical address shifted right by two.
    __asm__ volatile(WITH_H("hfence.gvma %0, zero")::"r"(guest_physical >> 2) : "memory");
}

bool gstage_enable(void)
{
    u64 hgatp = (u64)HGATP_SV39X4 << 60 | (u64)VMID << 44 | (u64)root >> 12;
    csr_write(hgatp, hgatp);
    __asm__ volatile(WITH_H("hfence.gvma zero, zero")::: "memory");
    return csr_read(hgatp) >> 60 == HGATP_SV39X4;
}
