// Environment calls, returns, waits and fences: Privileged spec, "Machine-Mode Privileged
// Instructions" and "Supervisor Instructions"; the CMO and Zawrs chapters of the unprivileged spec.
#pragma once
#include <cstring>

#include "hart/csr_rules.hpp"
#include "hart/trap.hpp"
#include "isa/decode.hpp"
#include "mmu/tlb.hpp"

namespace rvvm {

// Why an instruction is refused in the present mode. "Virtual-Instruction Exception": what HS-mode
// could do and a guest cannot is a virtual instruction; what HS-mode could not do either is
// illegal.
enum class Refusal : u8 { none, illegal, virtual_ };

template <class M> bool refused(M& m, Refusal why) {
  if (why == Refusal::illegal) m.illegal();
  if (why == Refusal::virtual_) m.virtual_instruction();
  return why != Refusal::none;
}

// Supervisor instructions that mstatus keeps from S-mode and hstatus from VS-mode.
inline Refusal supervisor_only(const Hart& h, bool kept_from_s, bool kept_from_vs) {
  const Mode mode = h.mode;
  if (mode.privilege == Privilege::M) return Refusal::none;
  if (mode.virt)
    return mode.privilege == Privilege::U || kept_from_vs ? Refusal::virtual_ : Refusal::none;
  return mode.privilege == Privilege::U || kept_from_s ? Refusal::illegal : Refusal::none;
}

inline Exception environment_call(Mode mode) {
  switch (mode.privilege) {
    case Privilege::U: return Exception::ecall_from_u;
    case Privilege::S: return mode.virt ? Exception::ecall_from_vs : Exception::ecall_from_hs;
    case Privilege::M: break;
  }
  return Exception::ecall_from_m;
}

template <class M> void ecall(M& m, const Insn&) { m.raise(environment_call(m.hart().mode), 0); }
template <class M> void ebreak(M& m, const Insn&) { m.raise(Exception::breakpoint, m.pc()); }

template <class M> void mret(M& m, const Insn&) {
  if (m.hart().mode.privilege != Privilege::M) return m.illegal();
  m.jump(return_from_machine(m.hart()));
}
template <class M> void sret(M& m, const Insn&) {
  Hart& h = m.hart();
  const bool tsr = field::mstatus::TSR.get(h.csr.mstatus),
             vtsr = field::hstatus::VTSR.get(h.csr.hstatus);
  if (refused(m, supervisor_only(h, tsr, vtsr))) return;
  m.jump(return_from_supervisor(h));
}

// "Wait for Interrupt": TW is illegal everywhere below M; user modes have no WFI of their own.
template <class M> void wfi(M& m, const Insn&) {
  Hart& h = m.hart();
  const bool tw = field::mstatus::TW.get(h.csr.mstatus);
  if (tw && h.mode.privilege != Privilege::M) return m.illegal();
  const bool user_may = !h.has(Ext::S) && h.mode.privilege == Privilege::U;
  if (!user_may && refused(m, supervisor_only(h, false, field::hstatus::VTW.get(h.csr.hstatus))))
    return;
  m.wait();
}
// Zawrs: a stall may end for any reason; it ends at once.
template <class M> void wrs_nto(M& m, const Insn&) { m.relax(); }
template <class M> void wrs_sto(M& m, const Insn&) { m.relax(); }

// ---- Fences

inline Refusal fence_refusal(const Hart& h) {
  return supervisor_only(h, field::mstatus::TVM.get(h.csr.mstatus),
                         field::hstatus::VTVM.get(h.csr.hstatus));
}

// In a guest, SFENCE.VMA orders the guest's own VS-stage: of the current VMID.
template <class M> void fence_own_stage(M& m, const Insn& i) {
  Hart& h = m.hart();
  if (refused(m, fence_refusal(h))) return;
  m.fence_translations({.virt = h.mode.virt,
                        .any_address = i.rs1 == 0,
                        .any_asid = i.rs2 == 0,
                        .any_vmid = !h.mode.virt,
                        .address = m.x(i.rs1),
                        .asid = field::satp::ASID.get(m.x(i.rs2) << 44),
                        .vmid = field::hgatp::VMID.get(h.csr.hgatp)});
}
template <class M> void sfence_vma(M& m, const Insn& i) { fence_own_stage(m, i); }
template <class M> void sinval_vma(M& m, const Insn& i) { fence_own_stage(m, i); }
template <class M> void sfence_w_inval(M& m, const Insn&) {
  refused(m, supervisor_only(m.hart(), false, false));
}
template <class M> void sfence_inval_ir(M& m, const Insn&) {
  refused(m, supervisor_only(m.hart(), false, false));
}

// Stores to translated code drop it at once, so instruction fetch is always in step.
template <class M> void fence_i(M&, const Insn&) {}

// ---- Cache blocks (CMO spec): menvcfg, henvcfg and senvcfg each may withhold an operation, where
// they exist

constexpr u64 cache_block = 64;

inline Refusal block_refusal(const Hart& h, const CsrField& enable) {
  const Mode mode = h.mode;
  if (mode.privilege == Privilege::M) return Refusal::none;
  if (!enable.get(menvcfg(h))) return Refusal::illegal;
  const bool user_ok =
      mode.privilege != Privilege::U || !h.has(Ext::S) || enable.get(h.csr.senvcfg);
  if (!mode.virt) return user_ok ? Refusal::none : Refusal::illegal;
  return enable.get(henvcfg(h)) && user_ok ? Refusal::none : Refusal::virtual_;
}

template <class M> void manage_block(M& m, const Insn& i, const CsrField& enable) {
  if (refused(m, block_refusal(m.hart(), enable))) return;
  m.check_block(m.x(i.rs1), cache_block);
}
template <class M> void cbo_inval(M& m, const Insn& i) { manage_block(m, i, field::menvcfg::CBIE); }
template <class M> void cbo_clean(M& m, const Insn& i) {
  manage_block(m, i, field::menvcfg::CBCFE);
}
template <class M> void cbo_flush(M& m, const Insn& i) {
  manage_block(m, i, field::menvcfg::CBCFE);
}
template <class M> void cbo_zero(M& m, const Insn& i) {
  if (refused(m, block_refusal(m.hart(), field::menvcfg::CBZE))) return;
  m.zero_block(m.x(i.rs1), cache_block);
}

}  // namespace rvvm
