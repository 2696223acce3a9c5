// HS-mode's loads and stores into a guest: both stages translate, with the guest's rights.
#pragma once

#include "csr.h"

static inline u8 guest_load_byte(u64 address)
{
    u64 value;
    __asm__ volatile(WITH_H("hlv.bu %0, (%1)") : "=r"(value) : "r"(address) : "memory");
    return (u8)value;
}

static inline void guest_store_byte(u64 address, u8 value)
{
    __asm__ volatile(WITH_H("hsv.b %0, (%1)")::"r"(value), "r"(address) : "memory");
}

// hlvx wants execute permission instead of read: the way to look at an instruction.
static inline u32 guest_fetch_half(u64 address)
{
    u64 value;
    __asm__ volatile(WITH_H("hlvx.hu %0, (%1)") : "=r"(value) : "r"(address) : "memory");
    return (u32)value;
}

static inline u32 guest_fetch(u64 address)
{
    u32 low = guest_fetch_half(address);
    return (low & 3) == 3 ? guest_fetch_half(address + 2) << 16 | low : low;
}
