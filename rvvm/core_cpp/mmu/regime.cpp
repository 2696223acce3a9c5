#include "mmu/regime.hpp"

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

// Above ContextKey's state, and of SUM and MXR in it: mstatus's and vsstatus's share of the bits.
constexpr unsigned own_status = 3, guest_status = 5, own_envcfg = 7, guest_envcfg = 9;
constexpr u32 sum_bit = 1, mxr_bit = 2, adue_bit = 1, pbmte_bit = 2;

// satp, vsatp and hgatp share MODE and PPN: 8, 9, 10 are three, four and five levels.
Stage stage_of(u64 root, u32 envcfg, bool guest, bool napot) {
  const u64 mode = field::satp::MODE.get(root);
  return {.root = field::satp::PPN.get(root) << 12,
          .levels = static_cast<u8>(mode ? mode - 5 : 0),
          .guest = guest,
          .hardware_ad = (envcfg & adue_bit) != 0,
          .pbmt = (envcfg & pbmte_bit) != 0,
          .napot = napot};
}

}  // namespace

ContextKey ContextKey::of(const Hart& h, u32 state) {
  ContextKey key{.bits = state};
  if (key.mode().privilege == Privilege::M) return key;
  const auto extensions = [](u64 envcfg) { return static_cast<u32>(envcfg >> 61 & 3); };
  key.bits |= extensions(menvcfg(h)) << own_envcfg;
  key.root = key.virt() ? h.csr.vsatp : h.csr.satp;
  if (key.virt()) {
    key.bits |= extensions(henvcfg(h)) << guest_envcfg;
    key.guest_root = h.csr.hgatp;
  }
  return key;
}

u64 ContextKey::asid() const { return field::satp::ASID.get(root); }
u64 ContextKey::vmid() const { return field::hgatp::VMID.get(guest_root); }

Regime Regime::of(const ContextKey& key, const ExtSet& extensions) {
  const auto share = [&key](unsigned at) { return key.bits >> at & 3; };
  const bool napot = extensions.has(Ext::Svnapot);
  const bool guest_mxr = share(own_status) & mxr_bit;
  Regime regime{
      .mode = key.mode(),
      .first = stage_of(key.root, share(key.virt() ? guest_envcfg : own_envcfg), false, napot),
      .guest = {},
      .sum = (share(key.virt() ? guest_status : own_status) & sum_bit) != 0,
      .mxr = guest_mxr || (share(guest_status) & mxr_bit),
      .guest_mxr = guest_mxr};
  if (key.virt()) regime.guest = stage_of(key.guest_root, share(own_envcfg), true, napot);
  return regime;
}

}  // namespace rvvm
