// The SBI calls our programs make and answer (RISC-V SBI specification 2.0). The same ABI stands
// at every seam: a7 extension, a6 function, a0.. arguments; a0 error, a1 value.
#pragma once

#include "types.h"

enum sbi_extension {
    SBI_TIME = 0x54494D45,
    SBI_SYSTEM_RESET = 0x53525354,
    SBI_DEBUG_CONSOLE = 0x4442434E,
    SBI_EXPERIMENT = 0x08000000,  // first of the numbers kept for experiments
};

enum sbi_debug_console_function { SBI_CONSOLE_WRITE = 0, SBI_CONSOLE_WRITE_BYTE = 2 };

enum { SBI_SUCCESS = 0, SBI_NOT_SUPPORTED = -2, SBI_INVALID_ADDRESS = -5 };
enum sbi_reset_reason { SBI_NO_REASON = 0, SBI_SYSTEM_FAILURE = 1 };

struct sbi_result {
    long error;
    u64 value;
};

static inline struct sbi_result sbi(u64 extension, u64 function, u64 arg0, u64 arg1, u64 arg2)
{
    register u64 a0 __asm__("a0") = arg0;
    register u64 a1 __asm__("a1") = arg1;
    register u64 a2 __asm__("a2") = arg2;
    register u64 a6 __asm__("a6") = function;
    register u64 a7 __asm__("a7") = extension;
    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(long)a0, a1};
}
