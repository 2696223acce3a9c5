// The contract of an engine: run a hart for a budget of instructions, say why it stopped. Exits are
// values.
#pragma once
#include "isa/types.hpp"

namespace rvvm {

enum class ExitReason : u8 { budget, wfi, halt, breakpoint, watchpoint, trap, pause };

struct Exit {
  ExitReason reason = ExitReason::budget;
  unsigned hart = 0;
  u64 detail = 0;  // halt: the code; breakpoint: pc; watchpoint: address; trap: cause
};

}  // namespace rvvm
