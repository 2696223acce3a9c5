// The G-stage: guest-physical to supervisor-physical addresses, in the format Sv39x4.
#pragma once

#include "types.h"

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };
enum { PAGE = 4096 };
#define PPN_TO_PTE(address) ((address) >> 12 << 10)

// Map one 4 KiB page; `access` is PTE_R, PTE_W, PTE_X. Replaces what was there.
void gstage_map(u64 guest_physical, u64 physical, u64 access);
// Point hgatp at the tables; false when this hart has no Sv39x4.
bool gstage_enable(void);
