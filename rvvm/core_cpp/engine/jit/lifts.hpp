// The body of each row on the lifter.
#pragma once
#include "engine/jit/lifter.hpp"

namespace rvvm::jit {

using Lift = void (*)(Lifter&, const Insn&);

// nullptr for a row that is left to its handler.
Lift lift_of(Op op);

}  // namespace rvvm::jit
