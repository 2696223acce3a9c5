#include "hart/trap.hpp"

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

// Entering a handler enables no interrupt that was not enabled before.
void enter(Hart& h, Mode mode) {
  if (h.hpm_active) counters::freeze(h);
  if (mode.virt != h.mode.virt) h.stale |= stale_fp;
  h.set_mode(mode);
  if (h.hpm_active) counters::thaw(h);
  h.stale |= stale_mode;
}

void set(u64& word, const CsrField& f, u64 value) { word = f.with(word, value); }

// Privileged spec, "Machine Trap Delegation Registers" and "hedeleg and hideleg".
TrapTarget target_of(const Hart& h, u64 cause) {
  if (h.mode.privilege == Privilege::M || !h.has(Ext::S)) return TrapTarget::machine;
  const bool interrupt = cause & interrupt_bit;
  const u64 bit = u64{1} << (cause & 63);
  if (!((interrupt ? mideleg(h) : h.csr.medeleg) & bit)) return TrapTarget::machine;
  const bool to_guest = h.mode.virt && ((interrupt ? h.csr.hideleg : h.csr.hedeleg) & bit);
  return to_guest ? TrapTarget::guest : TrapTarget::supervisor;
}

// "Supervisor Trap Vector Base Address": MODE 1 spreads interrupts over the table.
u64 handler(u64 vector, u64 cause) {
  const u64 base = vector & ~u64{3};
  const bool vectored = (vector & 3) == 1 && (cause & interrupt_bit);
  return vectored ? base + 4 * (cause & ~interrupt_bit) : base;
}

void enter_machine(Hart& h, const Trap& t) {
  using namespace field::mstatus;
  u64& status = h.csr.mstatus;
  set(status, MPIE, MIE.get(status));
  set(status, MIE, 0);
  set(status, MPP, static_cast<u64>(h.mode.privilege));
  if (h.has(Ext::H)) {
    set(status, MPV, h.mode.virt);
    set(status, GVA, t.gva);
    h.csr.mtval2 = t.tval2;
    h.csr.mtinst = t.tinst;
  }
  h.csr.mepc = h.pc;
  h.csr.mcause = t.cause;
  h.csr.mtval = t.tval;
  enter(h, {Privilege::M, false});
  h.pc = handler(h.csr.mtvec, t.cause);
}

void stack_supervisor_status(u64& status, Privilege from) {
  using namespace field::sstatus;
  set(status, SPIE, SIE.get(status));
  set(status, SIE, 0);
  set(status, SPP, static_cast<u64>(from));
}

void enter_supervisor(Hart& h, const Trap& t) {
  stack_supervisor_status(h.csr.mstatus, h.mode.privilege);
  if (h.has(Ext::H)) {
    using namespace field::hstatus;
    set(h.csr.hstatus, SPV, h.mode.virt);
    if (h.mode.virt) set(h.csr.hstatus, SPVP, static_cast<u64>(h.mode.privilege));
    set(h.csr.hstatus, GVA, t.gva);
    h.csr.htval = t.tval2;
    h.csr.htinst = t.tinst;
  }
  h.csr.sepc = h.pc;
  h.csr.scause = t.cause;
  h.csr.stval = t.tval;
  enter(h, {Privilege::S, false});
  h.pc = handler(h.csr.stvec, t.cause);
}

// A guest sees its interrupts by supervisor numbers: VSSI as SSI and so on ("hedeleg and hideleg").
u64 as_guest_sees(u64 cause) { return cause & interrupt_bit ? cause - 1 : cause; }

void enter_guest(Hart& h, const Trap& t) {
  stack_supervisor_status(h.csr.vsstatus, h.mode.privilege);
  h.csr.vsepc = h.pc;
  h.csr.vscause = as_guest_sees(t.cause);
  h.csr.vstval = t.tval;
  enter(h, {Privilege::S, true});
  h.pc = handler(h.csr.vstvec, h.csr.vscause);
}

void unstack_supervisor_status(u64& status) {
  using namespace field::sstatus;
  set(status, SIE, SPIE.get(status));
  set(status, SPIE, 1);
  set(status, SPP, 0);
}

Privilege previous(const CsrField& f, u64 status) { return static_cast<Privilege>(f.get(status)); }

// "Memory Privilege in mstatus Register": a return below M clears MPRV.
void leave_to(Hart& h, Mode mode) {
  if (mode.privilege != Privilege::M) set(h.csr.mstatus, field::mstatus::MPRV, 0);
  change_mode(h, mode);
}

}  // namespace

void change_mode(Hart& h, Mode mode) {
  enter(h, mode);
  h.stale |= stale_interrupts;
}

void take_trap(Hart& h, const Trap& trap) {
  const TrapTarget to = target_of(h, trap.cause);
  static_cast<Trap&>(h.last_trap) = trap;
  h.last_trap.epc = h.pc;
  h.last_trap.to = to;
  if (to == TrapTarget::guest) h.last_trap.cause = as_guest_sees(trap.cause);
  ++h.traps;
  h.waiting = false;
  switch (to) {
    case TrapTarget::machine: return enter_machine(h, trap);
    case TrapTarget::supervisor: return enter_supervisor(h, trap);
    case TrapTarget::guest: return enter_guest(h, trap);
  }
}

u64 return_from_machine(Hart& h) {
  using namespace field::mstatus;
  u64& status = h.csr.mstatus;
  const Privilege to = previous(MPP, status);
  const bool virt = to != Privilege::M && MPV.get(status);
  set(status, MIE, MPIE.get(status));
  set(status, MPIE, 1);
  set(status, MPP, static_cast<u64>(h.has(Ext::U) ? Privilege::U : Privilege::M));
  set(status, MPV, 0);
  leave_to(h, {to, virt});
  return h.csr.mepc & pc_mask(h.extensions);
}

u64 return_from_supervisor(Hart& h) {
  if (h.mode.virt) {
    const Privilege to = previous(field::vsstatus::SPP, h.csr.vsstatus);
    unstack_supervisor_status(h.csr.vsstatus);
    leave_to(h, {to, true});
    return h.csr.vsepc & pc_mask(h.extensions);
  }
  const Privilege to = previous(field::sstatus::SPP, h.csr.mstatus);
  const bool virt = field::hstatus::SPV.get(h.csr.hstatus);
  unstack_supervisor_status(h.csr.mstatus);
  set(h.csr.hstatus, field::hstatus::SPV, 0);
  leave_to(h, {to, virt});
  return h.csr.sepc & pc_mask(h.extensions);
}

}  // namespace rvvm
