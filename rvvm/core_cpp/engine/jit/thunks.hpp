// Code that all translations share: the way in, the ways out, and the call of an interpreter's
// handler.
#pragma once
#include "engine/jit/layout.hpp"

namespace rvvm::jit {

// What became of an instruction that its handler has interpreted. In rax and rdx.
struct Interpreted {
  u64 plain;       // it led to the next one: the code goes on
  const u8* code;  // else where to go on, with what budget cpu.left says; nullptr: in the run loop
};
using InterpretOne = Interpreted (*)(Cpu& cpu, const Step* step, u64 pc, i64 left);

struct Thunks {
  void (*enter)(Cpu& cpu, const u8* code, i64 left);
  const u8* leave_at_offset;  // rax = offset of the pc in its page
  const u8* leave_at_pc;      // rax = pc
  const u8* interpret;  // rax = step, edx = offset, ecx = instructions up to and with this one
};

Thunks emit_thunks(Emitter& e, const Layout& layout, InterpretOne interpret_one);

}  // namespace rvvm::jit
