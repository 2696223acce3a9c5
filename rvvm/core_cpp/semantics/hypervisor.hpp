// Privileged spec, "Hypervisor Instructions": loads and stores as the guest would make them, and
// fences of its stages.
#pragma once
#include "semantics/system.hpp"

namespace rvvm {

// Legal in M, HS, and in U while hstatus.HU is set; never in a guest.
inline Refusal guest_access_refusal(const Hart& h) {
  if (h.mode.virt) return Refusal::virtual_;
  const bool user_may = field::hstatus::HU.get(h.csr.hstatus);
  return h.mode.privilege == Privilege::U && !user_may ? Refusal::illegal : Refusal::none;
}
// "hstatus.SPVP" is the privilege they are made with: VS or VU.
inline Mode guest_mode(const Hart& h) {
  return {field::hstatus::SPVP.get(h.csr.hstatus) ? Privilege::S : Privilege::U, true};
}

template <class T, class M> void guest_load(M& m, const Insn& i, bool needs_execute = false) {
  if (refused(m, guest_access_refusal(m.hart()))) return;
  m.template load_as<T>(guest_mode(m.hart()), needs_execute, i.rd, m.x(i.rs1));
}
template <class T, class M> void guest_store(M& m, const Insn& i) {
  if (refused(m, guest_access_refusal(m.hart()))) return;
  m.template store_as<T>(guest_mode(m.hart()), m.x(i.rs1), m.x(i.rs2));
}

template <class M> void hlv_b(M& m, const Insn& i) { guest_load<i8>(m, i); }
template <class M> void hlv_bu(M& m, const Insn& i) { guest_load<u8>(m, i); }
template <class M> void hlv_h(M& m, const Insn& i) { guest_load<i16>(m, i); }
template <class M> void hlv_hu(M& m, const Insn& i) { guest_load<u16>(m, i); }
template <class M> void hlv_w(M& m, const Insn& i) { guest_load<i32>(m, i); }
template <class M> void hlv_wu(M& m, const Insn& i) { guest_load<u32>(m, i); }
template <class M> void hlv_d(M& m, const Insn& i) { guest_load<u64>(m, i); }
template <class M> void hlvx_hu(M& m, const Insn& i) { guest_load<u16>(m, i, true); }
template <class M> void hlvx_wu(M& m, const Insn& i) { guest_load<u32>(m, i, true); }
template <class M> void hsv_b(M& m, const Insn& i) { guest_store<u8>(m, i); }
template <class M> void hsv_h(M& m, const Insn& i) { guest_store<u16>(m, i); }
template <class M> void hsv_w(M& m, const Insn& i) { guest_store<u32>(m, i); }
template <class M> void hsv_d(M& m, const Insn& i) { guest_store<u64>(m, i); }

// Fences are for M and HS only; TVM keeps the one for the G-stage from HS ("mstatus.TVM").
inline Refusal guest_fence_refusal(const Hart& h, bool kept_from_hs) {
  if (h.mode.virt) return Refusal::virtual_;
  return supervisor_only(h, kept_from_hs, false);
}

template <class M> void fence_guest_stage(M& m, const Insn& i) {  // VS-stage, of the current VMID
  Hart& h = m.hart();
  if (refused(m, guest_fence_refusal(h, false))) return;
  m.fence_translations({.virt = true,
                        .hypervisor = true,
                        .any_address = i.rs1 == 0,
                        .any_asid = i.rs2 == 0,
                        .any_vmid = false,
                        .address = m.x(i.rs1),
                        .asid = field::satp::ASID.get(m.x(i.rs2) << 44),
                        .vmid = field::hgatp::VMID.get(h.csr.hgatp)});
}
template <class M>
void fence_physical_stage(
    M& m, const Insn& i) {  // G-stage: what maps to a guest physical address is not kept
  Hart& h = m.hart();
  if (refused(m, guest_fence_refusal(h, field::mstatus::TVM.get(h.csr.mstatus)))) return;
  m.fence_translations({.virt = true,
                        .guest_physical = true,
                        .any_vmid = i.rs2 == 0,
                        .vmid = field::hgatp::VMID.get(m.x(i.rs2) << 44)});
}
template <class M> void hfence_vvma(M& m, const Insn& i) { fence_guest_stage(m, i); }
template <class M> void hinval_vvma(M& m, const Insn& i) { fence_guest_stage(m, i); }
template <class M> void hfence_gvma(M& m, const Insn& i) { fence_physical_stage(m, i); }
template <class M> void hinval_gvma(M& m, const Insn& i) { fence_physical_stage(m, i); }

}  // namespace rvvm
