// Exception and interrupt numbers (Privileged spec, "Machine Cause Register", table of mcause
// values).
#pragma once
#include "isa/types.hpp"

namespace rvvm {

enum class Exception : u8 {
  instruction_misaligned = 0,
  instruction_access_fault = 1,
  illegal_instruction = 2,
  breakpoint = 3,
  load_misaligned = 4,
  load_access_fault = 5,
  store_misaligned = 6,
  store_access_fault = 7,
  ecall_from_u = 8,
  ecall_from_hs = 9,
  ecall_from_vs = 10,
  ecall_from_m = 11,
  instruction_page_fault = 12,
  load_page_fault = 13,
  store_page_fault = 15,
  instruction_guest_page_fault = 20,
  load_guest_page_fault = 21,
  virtual_instruction = 22,
  store_guest_page_fault = 23,
};

// Interrupts as bits of mip, mie and their views.
namespace irq {
constexpr u64 SSI = 1u << 1, VSSI = 1u << 2, MSI = 1u << 3, STI = 1u << 5, VSTI = 1u << 6;
constexpr u64 MTI = 1u << 7, SEI = 1u << 9, VSEI = 1u << 10, MEI = 1u << 11, SGEI = 1u << 12;
constexpr u64 LCOFI = 1u << 13;
constexpr u64 machine = MSI | MTI | MEI;
constexpr u64 supervisor = SSI | STI | SEI;
constexpr u64 virtual_supervisor = VSSI | VSTI | VSEI;
constexpr u64 timers = MTI | STI | VSTI;
}  // namespace irq

constexpr u64 interrupt_bit = u64{1} << 63;  // of the cause registers

}  // namespace rvvm
