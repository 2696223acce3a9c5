// Pending interrupts, and which one a hart takes next.
#pragma once
#include <optional>

#include "hart/hart.hpp"
#include "isa/causes.hpp"

namespace rvvm {

// All of mip: software's bits, the wires, the timers, and what the hypervisor injects.
inline u64 pending_interrupts(const Hart& h, u64 timers_due) {
  u64 software = h.csr.mip;
  if (field::menvcfg::STCE.get(h.csr.menvcfg)) software &= ~irq::STI;  // the comparator alone
  u64 pending = software | h.wires.interrupts | timers_due;
  if (!h.has(Ext::H)) return pending;
  pending |= h.csr.hvip;
  if (h.wires.guest_external & h.csr.hgeie) pending |= irq::SGEI;
  // Bit 0 of hgeip does not exist, so no guest is chosen by a VGEIN of 0.
  if (h.wires.guest_external >> field::hstatus::VGEIN.get(h.csr.hstatus) & 1) pending |= irq::VSEI;
  return pending;
}
u64 pending_interrupts(const Hart& h);  // now
// Compares the timers with the clock. Between two of these time passes, and no timer is seen to.
void note_timers(Hart& h);

std::optional<unsigned> choose_interrupt(const Hart& h, u64 ready);
// The interrupt to take, as its number in mip; none when masked. Timers are due as noted: asking
// the clock costs more than all else here.
inline std::optional<unsigned> next_interrupt(const Hart& h) {
  const u64 ready = pending_interrupts(h, h.timers_due) & h.csr.mie;
  return ready ? choose_interrupt(h, ready) : std::nullopt;
}
// WFI and wrs wake on any pending and locally enabled interrupt, whatever the global enables say.
bool wakes(const Hart& h);
// The next value of `time` at which an enabled timer fires that is not due yet (~0: never).
u64 next_deadline(const Hart& h);

}  // namespace rvvm
