// The floating-point exceptions that an instruction raises, new or not: fflags only shows the new.
#pragma once
#include "hart/state.hpp"
#include "isa/decode.hpp"

namespace rvvm {

// By integer arithmetic, from the state before the instruction; 0 for all that are not arithmetic.
u8 raised_flags(const HartState& before, const Insn& insn);

}  // namespace rvvm
