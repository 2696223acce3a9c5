// Pending interrupts, and which one a hart takes next.
#pragma once
#include <optional>

#include "hart/hart.hpp"
#include "isa/causes.hpp"

namespace rvvm {

// All of mip, now: software's bits, the wires, the timers, and what the hypervisor injects.
u64 pending_interrupts(const Hart& h);
// Compares the timers with the clock. Between two of these time passes, and no timer is seen to.
void note_timers(Hart& h);
// The interrupt to take, as its number in mip; none when masked. Timers are due as noted: asking
// the clock costs more than all else here.
std::optional<unsigned> next_interrupt(const Hart& h);
// WFI and wrs wake on any pending and locally enabled interrupt, whatever the global enables say.
bool wakes(const Hart& h);
// The next value of `time` at which an enabled timer fires that is not due yet (~0: never).
u64 next_deadline(const Hart& h);

}  // namespace rvvm
