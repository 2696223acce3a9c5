// CSRs by name. H's names need the extension switched on for the assembler: gcc 12 knows no
// -march=rv64gch, but its assembler knows `.option arch`.
#pragma once

#include "types.h"

#define WITH_H(text) ".option push\n.option arch, +h\n" text "\n.option pop\n"

#define csr_read(name)                                                          \
    ({                                                                          \
        u64 value_;                                                             \
        __asm__ volatile(WITH_H("csrr %0, " #name) : "=r"(value_)::"memory");   \
        value_;                                                                 \
    })
#define csr_write(name, value) \
    __asm__ volatile(WITH_H("csrw " #name ", %0")::"rK"((u64)(value)) : "memory")
#define csr_set(name, bits) \
    __asm__ volatile(WITH_H("csrs " #name ", %0")::"rK"((u64)(bits)) : "memory")
#define csr_clear(name, bits) \
    __asm__ volatile(WITH_H("csrc " #name ", %0")::"rK"((u64)(bits)) : "memory")

// Privileged spec, table of trap causes.
enum cause {
    CAUSE_BREAKPOINT = 3,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_HS = 9,
    CAUSE_ECALL_VS = 10,
    CAUSE_FETCH_PAGE_FAULT = 12,
    CAUSE_LOAD_PAGE_FAULT = 13,
    CAUSE_STORE_PAGE_FAULT = 15,
    CAUSE_FETCH_GUEST_PAGE_FAULT = 20,
    CAUSE_LOAD_GUEST_PAGE_FAULT = 21,
    CAUSE_VIRTUAL_INSTRUCTION = 22,
    CAUSE_STORE_GUEST_PAGE_FAULT = 23,
};

// Interrupt numbers: bit positions in mip, hip, sip.
enum { IRQ_SSI = 1, IRQ_VSSI = 2, IRQ_STI = 5, IRQ_VSTI = 6, IRQ_MTI = 7, IRQ_SEI = 9, IRQ_VSEI = 10 };

#define INTERRUPT (1ul << 63)
#define BIT(n) (1ul << (n))
