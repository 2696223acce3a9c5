#include "hart/counters.hpp"

#include <algorithm>

#include "isa/causes.hpp"

namespace rvvm::counters {

namespace {

u64& slot(HartState& h, unsigned counter) {
  if (counter == 0) return h.csr.mcycle;
  if (counter == 2) return h.csr.minstret;
  return h.csr.mhpmcounter[counter - 3];
}

// Sscofpmf, "Event filtering": the bit of mhpmevent that stops counting in a mode.
u64 inhibit_bit(Mode mode) {
  using namespace field::mhpmevent;
  if (mode.privilege == Privilege::M) return MINH.mask();
  if (mode.privilege == Privilege::S) return mode.virt ? VSINH.mask() : SINH.mask();
  return mode.virt ? VUINH.mask() : UINH.mask();
}

bool counting(const Hart& h, unsigned counter) {
  if (h.csr.mcountinhibit >> counter & 1) return false;
  if (counter < 3) return true;
  const u64 event = h.csr.mhpmevent[counter - 3];
  return field::mhpmevent::EVENT.get(event) && !(event & inhibit_bit(h.mode));
}

template <class Visit> void each_running(Hart& h, Visit visit) {
  for (unsigned counter = 0; counter < 32; ++counter)
    if (counter != 1 && counting(h, counter)) visit(slot(h, counter));
}

}  // namespace

u64 read(const Hart& h, unsigned counter) {
  const u64 stored = slot(const_cast<Hart&>(h), counter);
  return stored + (counting(h, counter) ? h.retired : 0);
}

void write(Hart& h, unsigned counter, u64 value) {
  // The next instruction reads `value`: the writing one does not count itself in.
  slot(h, counter) = value - (counting(h, counter) ? h.retired + h.retiring : 0);
  h.hpm_seen[counter] = value;
}

void freeze(Hart& h) {
  each_running(h, [&](u64& stored) { stored += h.retired; });
}

void thaw(Hart& h) {
  each_running(h, [&](u64& stored) { stored -= h.retired; });
  h.hpm_active = std::ranges::any_of(
      h.csr.mhpmevent, [](u64 event) { return field::mhpmevent::EVENT.get(event) != 0; });
}

void note_overflows(Hart& h) {
  if (!h.hpm_active) return;
  for (unsigned counter = 3; counter < 32; ++counter) {
    const u64 value = read(h, counter);
    const bool wrapped = value < h.hpm_seen[counter];
    h.hpm_seen[counter] = value;
    u64& event = h.csr.mhpmevent[counter - 3];
    if (!wrapped || (event & field::mhpmevent::OF.mask())) continue;
    event |= field::mhpmevent::OF.mask();
    h.csr.mip |= irq::LCOFI;
    h.stale |= stale_interrupts;
  }
}

u64 until_overflow(const Hart& h) {
  u64 distance = ~u64{0};
  for (unsigned counter = 3; counter < 32; ++counter)
    if (counting(h, counter)) distance = std::min(distance, ~read(h, counter));
  return distance == ~u64{0} ? distance : distance + 1;
}

}  // namespace rvvm::counters
