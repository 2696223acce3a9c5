// Instructions as text.
#pragma once

#include <string>

#include "isa/decode.hpp"

namespace rvvm {

// "addi a0, a0, 1": ABI register names, no pseudo-instructions, targets as addresses. A compressed
// instruction reads as its 32-bit expansion; an illegal one as the bits it has.
std::string disassemble(const Insn& insn, u64 pc);

// The mnemonic of a row: "fence.tso".
std::string mnemonic(Op op);

// The name of a CSR, or its number.
std::string csr_name(u16 address);

}  // namespace rvvm
