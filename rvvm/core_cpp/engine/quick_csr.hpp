// CSR instructions that lead to nothing but the next instruction, for translated code to call.
#pragma once
#include "engine/cpu.hpp"

namespace rvvm {

struct QuickCsr {  // in two registers of the host's
  u64 done;        // 0: nothing has happened, and the instruction's handler has to do it
  u64 old;         // what the CSR was, for rd
};

// Does all but write rd. `operand` is rs1's value or the immediate, `left` the budget behind the
// instruction. It is not done when it traps, when it makes an interrupt pending that will be taken,
// and when it has consequences of the rarer kinds. What may have changed afterwards: the table that
// loads and stores look in (SUM, MXR, MPRV), and whether there is floating-point state (FS). Never
// the code that follows, nor the mode.
QuickCsr quick_csr(Cpu& cpu, const Insn& insn, u64 operand, i64 left) noexcept;

}  // namespace rvvm
