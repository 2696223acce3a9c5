#include "hart/interrupts.hpp"

#include <algorithm>

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

bool reached(u64 now, u64 deadline) { return now >= deadline; }

u64 timers(const Hart& h, u64 now) {
  u64 pending = 0;
  if (reached(now, h.wires.timer)) pending |= irq::MTI;
  // Sstc: "stimecmp" and "vstimecmp" raise STIP and VSTIP while STCE is set.
  if (stce(h) && reached(now, h.csr.stimecmp)) pending |= irq::STI;
  if (vstce(h) && reached(now + h.csr.htimedelta, h.csr.vstimecmp)) pending |= irq::VSTI;
  return pending;
}

u64 next_deadline(const Hart& h, u64 now) {
  u64 deadline = ~u64{0};
  auto consider = [&](u64 interrupt, u64 at) {
    if ((h.csr.mie & interrupt) && at > now) deadline = std::min(deadline, at);
  };
  consider(irq::MTI, h.wires.timer);
  if (stce(h)) consider(irq::STI, h.csr.stimecmp);
  if (vstce(h)) consider(irq::VSTI, h.csr.vstimecmp - h.csr.htimedelta);
  return deadline;
}

// Privileged spec, "Machine Interrupt Registers", decreasing priority; H chapter for SGEI and VS.
constexpr unsigned priority[] = {11, 3, 7, 9, 1, 5, 12, 10, 2, 6, 13};

std::optional<unsigned> highest(u64 pending) {
  for (unsigned number : priority)
    if (pending >> number & 1) return number;
  return std::nullopt;
}

// What the modes' global enables let through: "an interrupt i will trap if ... the mode is less
// privileged, or equal and its enable is set".
u64 globally_enabled(const Hart& h, u64 delegated, u64 to_guest) {
  const Mode mode = h.mode;
  if (mode.privilege == Privilege::M)
    return field::mstatus::MIE.get(h.csr.mstatus) ? ~delegated : 0;
  const bool user = mode.privilege == Privilege::U;
  u64 enabled = ~delegated;
  if (mode.virt || user || field::mstatus::SIE.get(h.csr.mstatus)) enabled |= delegated & ~to_guest;
  if (mode.virt && (user || field::vsstatus::SIE.get(h.csr.vsstatus))) enabled |= to_guest;
  return enabled;
}

}  // namespace

u64 pending_interrupts(const Hart& h) { return pending_interrupts(h, timers(h, h.time())); }

void note_timers(Hart& h) {
  const u64 now = h.time();
  h.timers_due = timers(h, now);
  h.next_timer = next_deadline(h, now);
}

std::optional<unsigned> choose_interrupt(const Hart& h, u64 ready) {
  const u64 delegated = mideleg(h), to_guest = delegated & h.csr.hideleg;
  ready &= globally_enabled(h, delegated, to_guest);
  if (!ready) return std::nullopt;
  // M before HS before VS, whatever the numbers.
  if (const u64 machine = ready & ~delegated) return highest(machine);
  if (const u64 supervisor = ready & ~to_guest) return highest(supervisor);
  return highest(ready);
}

bool wakes(const Hart& h) { return pending_interrupts(h) & h.csr.mie; }

u64 next_deadline(const Hart& h) { return next_deadline(h, h.time()); }

}  // namespace rvvm
