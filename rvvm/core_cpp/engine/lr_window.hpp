// The straight path from an LR to its SC, and whether a memory access lies in between.
#pragma once
#include <algorithm>

#include "isa/decode.hpp"
#include "memory/shared.hpp"

namespace rvvm {

constexpr bool is_lr(Op op) { return op == Op::lr_w || op == Op::lr_d; }
constexpr bool is_sc(Op op) { return op == Op::sc_w || op == Op::sc_d; }

// Whether an instruction only computes, or branches: nothing that another hart could see, and no
// trap. Fences order memory accesses, of which there are none.
constexpr bool leaves_memory_alone(const Insn& insn) {
  const Row& r = row(insn.op);
  if (r.format == Format::B) return true;
  return r.is(flag::native) && !(r.flags & (flag::traps | flag::fp | flag::jumps | flag::serial));
}

// Whether it leads to the next instruction, or where a branch does.
constexpr bool leads_on(const Insn& insn) {
  const Row& r = row(insn.op);
  const bool elsewhere = r.is(flag::jumps) && r.format != Format::B;
  return insn.op != Op::illegal && !is_lr(insn.op) && !elsewhere && !r.is(flag::serial);
}

// Notes in an LR at the start of `bytes` (which end with the page) how far its SC is in
// instructions (rs3) and in bytes (imm, 0 with a memory access in between); 0 where there is none,
// or where an SC so many instructions later might have been reached another way. A branch may skip
// one instruction at most: a way round that accesses memory and returns takes two.
template <class Decode> void note_lr_window(Insn& lr, const u8* bytes, u64 room, Decode decode) {
  constexpr unsigned longest = 16;  // "at most 16 instructions placed sequentially in memory"
  lr.imm = lr.rs3 = 0;
  u64 at = lr.length;
  unsigned first_branch = longest;
  bool accesses = false;
  for (unsigned count = 1; count < longest && at + 2 <= room; ++count) {
    u32 bits = shared::load<u16>(bytes + at);
    if (at + length_of(bits) > room) return;
    if (length_of(bits) == 4) bits |= u32{shared::load<u16>(bytes + at + 2)} << 16;
    const Insn insn = decode(bits);
    if (is_sc(insn.op)) {
      if (!accesses && first_branch + 2 < count) return;
      lr.rs3 = static_cast<u8>(count);
      lr.imm = accesses ? 0 : static_cast<i32>(at);
      return;
    }
    if (!leads_on(insn)) return;
    accesses |= !leaves_memory_alone(insn);
    if (row(insn.op).format == Format::B) first_branch = std::min(first_branch, count);
    at += insn.length;
  }
}

}  // namespace rvvm
