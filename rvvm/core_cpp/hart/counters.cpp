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
    if (counter != 1 && counting(h, counter)) visit(counter, slot(h, counter));
}

// `retired` once the instruction that executes has retired.
u64 retired_after(const Hart& h) { return h.retired + h.retiring; }

// Sscofpmf, "Count Overflow Control": OF set already means that the request is still to be handled.
bool may_overflow(const Hart& h, unsigned counter) {
  return counter >= 3 && !(h.csr.mhpmevent[counter - 3] & field::mhpmevent::OF.mask());
}

void overflow(Hart& h, unsigned counter) {
  h.csr.mhpmevent[counter - 3] |= field::mhpmevent::OF.mask();
  h.csr.mip |= irq::LCOFI;
  h.stale |= stale_interrupts;
}

// From here to thaw() slots hold values. A counter that is written does not overflow: the write
// takes precedence over the increment.
void freeze_for(Hart& h, unsigned written) {
  each_running(h, [&](unsigned counter, u64& stored) {
    stored += retired_after(h);
    const bool wrapped = h.retiring && stored == 0;
    if (wrapped && counter != written && h.has(Ext::Sscofpmf) && may_overflow(h, counter))
      overflow(h, counter);
  });
}

}  // namespace

u64 read(const Hart& h, unsigned counter) {
  const u64 stored = slot(const_cast<Hart&>(h), counter);
  return stored + (counting(h, counter) ? h.retired : 0);
}

void write(Hart& h, unsigned counter, u64 value) {
  freeze_for(h, counter);
  slot(h, counter) = value;
  thaw(h);
}

void freeze(Hart& h) { freeze_for(h, 0); }

void thaw(Hart& h) {
  each_running(h, [&](unsigned, u64& stored) { stored -= retired_after(h); });
  refresh(h);
}

void refresh(Hart& h) {
  h.hpm_active = std::ranges::any_of(
      h.csr.mhpmevent, [](u64 event) { return field::mhpmevent::EVENT.get(event) != 0; });
  h.overflow_at = ~u64{0};
  h.stale |= stale_counters;
  if (!h.hpm_active || !h.has(Ext::Sscofpmf)) return;
  const u64 now = retired_after(h);
  each_running(h, [&](unsigned counter, u64& stored) {
    const u64 left = 0 - (stored + now);  // 0: a whole round
    if (left && left <= ~now && may_overflow(h, counter))
      h.overflow_at = std::min(h.overflow_at, now + left);
  });
}

void note_overflows(Hart& h) {
  each_running(h, [&](unsigned counter, u64& stored) {
    if (stored + h.retired == 0 && may_overflow(h, counter)) overflow(h, counter);
  });
  refresh(h);
}

}  // namespace rvvm::counters
