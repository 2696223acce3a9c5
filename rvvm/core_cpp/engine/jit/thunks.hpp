// Code that all translations share: the way in, the ways out, and the call of an interpreter's
// handler.
#pragma once
#include "engine/jit/layout.hpp"

namespace rvvm::jit {

// Interprets the instruction at pc; `left` is the budget behind it. True when the code may go on
// with the next instruction; otherwise the hart's pc and cpu.left say where and with what budget to
// go on.
using InterpretOne = u64 (*)(Cpu& cpu, const Step* step, u64 pc, i64 left);

struct Thunks {
  void (*enter)(Cpu& cpu, const u8* code, i64 left);
  const u8* leave_at_offset;  // rax = offset of the pc in its page
  const u8* leave_at_pc;      // rax = pc
  const u8* interpret;  // rax = step, edx = offset, ecx = instructions up to and with this one
};

Thunks emit_thunks(Emitter& e, const Layout& layout, InterpretOne interpret_one);

}  // namespace rvvm::jit
