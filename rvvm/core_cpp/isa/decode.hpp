// Machine code to instructions and back.
#pragma once

#include "isa/table.hpp"
#include "isa/types.hpp"

namespace rvvm {

// A decoded instruction. A compressed one is its 32-bit expansion with length 2.
struct Insn {
  i32 imm = 0;   // sign-extended; or the CSR's number; or fm, pred and succ of a fence
  u32 bits = 0;  // as fetched; a compressed instruction is zero-extended
  Op op = Op::illegal;
  u8 rd = 0;
  u8 rs1 = 0;  // also the zimm of csrrwi and the constant's number of fli
  u8 rs2 = 0;
  u8 rs3 = 0;
  u8 rm = 0;  // rounding mode; of an atomic, aq << 1 | rl
  u8 length = 4;

  constexpr bool operator==(const Insn&) const = default;
};

static_assert(sizeof(Insn) == 16);

// The instruction at the start of `bits`, on a hart that has `have` (a closure). Never fails: an
// encoding without an instruction is Op::illegal. The upper half is ignored for a compressed one.
Insn decode(u32 bits, const ExtSet& have) noexcept;

// Unprivileged ISA, "Expanded Instruction-Length Encoding".
constexpr unsigned length_of(u32 bits) { return (bits & 3) == 3 ? 4 : 2; }

// The 32-bit encoding of the operands, also of a compressed instruction: for htinst and mtinst.
u32 encode(const Insn& insn) noexcept;

}  // namespace rvvm
