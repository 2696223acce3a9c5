// Pending interrupts, and which one a hart takes next.
#pragma once
#include <optional>

#include "hart/hart.hpp"
#include "isa/causes.hpp"

namespace rvvm {

// All of mip: software's bits, the wires, the timers, and what the hypervisor injects.
// `of`: the ones that matter; a timer that does not is not asked for the time.
u64 pending_interrupts(const Hart& h, u64 of = ~u64{0});
// The interrupt to take now, as its number in mip; none when masked.
std::optional<unsigned> next_interrupt(const Hart& h);
// WFI and wrs wake on any pending and locally enabled interrupt, whatever the global enables say.
bool wakes(const Hart& h);
// The next value of `time` at which an enabled timer fires that is not due yet (~0: never).
u64 next_deadline(const Hart& h);

}  // namespace rvvm
