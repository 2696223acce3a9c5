// Entering and leaving trap handlers.
#pragma once
#include "hart/hart.hpp"
#include "isa/causes.hpp"

namespace rvvm {

constexpr u64 code(Exception e) { return static_cast<u64>(e); }

// To another mode: counters that filter by mode, and all that is derived from the mode, follow.
void change_mode(Hart& h, Mode mode);

// Make the hart enter the handler that the delegation registers choose; pc is the trapped
// instruction's.
void take_trap(Hart& h, const Trap& trap);

// Where MRET and SRET lead; mode and status registers are updated, the return pc is the result.
u64 return_from_machine(Hart& h);
u64 return_from_supervisor(Hart& h);  // sstatus and hstatus, or vsstatus when V=1

}  // namespace rvvm
