#include "engine/cpu.hpp"

#include <algorithm>
#include <utility>

#include "hart/csr_rules.hpp"
#include "hart/trap.hpp"

namespace rvvm {

void Cpu::reset() {
  hart.reset(reset_pc, hart_id);
  mmu.clear();
  take_pins();
  misaligned_pc = hart.has(Ext::Zca) ? 0 : 2;
  settle();
}

void Cpu::replaced() {
  hart.set_mode(hart.mode);
  counters::refresh(hart);
  mmu.clear();
  forget_ways();
  hart.stale = stale_all;
  settle();
  code_changed();
}

void Cpu::take_pins() {
  Wires now;
  now.interrupts = pins.interrupts.load(std::memory_order_acquire);
  // "If supervisor mode is not implemented, bits SEIP, STIP, and SSIP of mip are read-only zeros."
  if (!hart.has(Ext::S)) now.interrupts &= irq::machine;
  now.guest_external = pins.guest_external.load(std::memory_order_acquire);
  now.timer = pins.timer.load(std::memory_order_acquire);
  if (now == hart.wires) return;
  hart.wires = now;
  hart.stale |= stale_interrupts | stale_timers;
}

Ways& Cpu::ways_of(Context& context) {
  if (context.code != Context::Code::shared) {
    Ways& own = own_ways_[context.index];
    own.keep_for(0, context.mapping);
    return own;
  }
  const u32 world = mmu.tlb.world(context);
  Ways& shared = shared_ways_[world % shared_ways_.size()];
  shared.keep_for(world, mmu.tlb.globals_mapping());
  return shared;
}

// The code cached for the context that mmu.exec now is.
void Cpu::take_context() {
  generation = mmu.exec->generation;
  take_ways();
}

bool Cpu::take_ways() {
  const Way* before = ways;
  ways = ways_of(*mmu.exec).data();
  return ways != before;
}

void Cpu::add_way(u64 pc, const u8* code) {
  Context& context = *mmu.exec;
  if (context.code == Context::Code::shared && !context.fetch.global(pc)) return;
  ways_of(context).add(pc, code);
}

void Cpu::forget_ways() {
  for (Ways& own : own_ways_) own.clear();
  for (Ways& shared : shared_ways_) shared.clear();
}

void Cpu::settle() {
  const u8 stale = std::exchange(hart.stale, 0);
  if (stale & stale_pmp) mmu.refresh_pmp();
  if (stale & (stale_translation | stale_pmp))
    mmu.refresh();
  else if (stale & stale_mode)
    mmu.refresh_state();
  if (stale & (stale_translation | stale_pmp | stale_mode)) take_context();
  if (stale & stale_fp) settle_fp();
  if (stale & stale_timers) {
    note_timers(hart);
    if (nearer_deadline()) raise_attention();
  }
  if (stale & (stale_interrupts | stale_timers))
    if (next_interrupt(hart)) raise_attention();
  if ((stale & stale_counters) && hart.overflow_at < part_end) raise_attention();
}

void Cpu::note_overflows() {
  counters::note_overflows(hart);
  settle();
}

void Cpu::settle_fp() {
  fp_on = fp_enabled(hart);
  const u64 dirty = field::mstatus::FS.mask();
  fp_dirty = (hart.csr.mstatus & dirty) == dirty &&
             (!hart.mode.virt || (hart.csr.vsstatus & dirty) == dirty);
}

bool Cpu::nearer_deadline() const {
  const Clock& clock = *hart.clock;
  return clock.by_instructions && std::min(hart.next_timer, clock.alarm) < deadline;
}

void Cpu::code_changed() {
  mmu.tlb.renew_generations();
  take_context();
  // Who is in a block that has just been written to leaves it, at the same instruction on every
  // engine.
  raise_attention();
}

void Cpu::guard_later() {
  guard_next = true;
  if (hart.reservation.proof != Proof::unit) guarded_lrs[lr_pc / 2 % guarded_lrs.size()] = lr_pc;
}

void Cpu::enter_trap(const Trap& trap) {
  // A handler's instructions would be counted, too.
  if (hart.reservation.proof == Proof::count) hart.reservation.valid = false;
  take_trap(hart, trap);
  settle();
  if (!stop_causes) return;
  const bool interrupt = trap.cause & interrupt_bit;
  stopped_on_trap |= stop_causes[interrupt] >> (trap.cause & 63) & 1;
}

bool Cpu::attend() {
  lower_attention();
  take_pins();
  note_timers(hart);
  if (hart.waiting && wakes(hart)) hart.waiting = false;
  plan_anew = nearer_deadline() || std::exchange(plan_asked, false);
  const auto number = next_interrupt(hart);
  hart.stale &= ~(stale_interrupts | stale_timers);
  if (!number) return false;
  if (hart.ahead() && (irq::timers >> *number & 1)) {  // it would tell the time
    end_turn();
    return false;
  }
  enter_trap({.cause = interrupt_bit | *number});
  return true;
}

}  // namespace rvvm
