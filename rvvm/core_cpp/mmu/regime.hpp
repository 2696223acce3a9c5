// How addresses are translated for a mode, in the state the hart is in.
#pragma once
#include "hart/hart.hpp"
#include "mmu/access.hpp"

namespace rvvm {

// Everything that decides what a virtual address means.
struct ContextKey {
  u64 root = 0;        // satp, or vsatp when virtual; 0 in M-mode
  u64 guest_root = 0;  // hgatp when virtual
  u32 bits = 0;        // its state(), and ADUE and PBMTE of both levels
  friend bool operator==(const ContextKey&, const ContextKey&) = default;

  // The part that traps, returns and status writes change: the mode, SUM and MXR of both levels.
  // The last two are nothing to fetches, whose state is the mode alone.
  static constexpr u32 states = 1 << 7;
  static u32 fetch_state(Mode mode) { return mode.virt | static_cast<u32>(mode.privilege) << 1; }
  static u32 state(const Hart& h, Mode mode) {
    const auto access = [](u64 status) { return static_cast<u32>(status >> 18 & 3); };
    u32 bits = fetch_state(mode);
    if (mode.privilege == Privilege::M) return bits;
    bits |= access(h.csr.mstatus) << 3;
    return mode.virt ? bits | access(h.csr.vsstatus) << 5 : bits;
  }
  static ContextKey of(const Hart& h, u32 state);
  u32 state() const { return bits % states; }
  Mode mode() const { return {static_cast<Privilege>(bits >> 1 & 3), virt()}; }
  bool virt() const { return bits & 1; }
  bool translated() const { return root >> 60; }  // by its first stage: MODE is not Bare
  u64 asid() const;
  u64 vmid() const;
  std::size_t hash() const { return (root ^ root >> 44 ^ guest_root >> 44) + bits * 5 / 2; }
};

struct Stage {
  u64 root = 0;              // address of the root table
  u8 levels = 0;             // 3, 4 or 5; 0 is Bare
  bool guest = false;        // G-stage: two more address bits at the root, zero-extended addresses
  bool hardware_ad = false;  // Svadu: set A and D; else fault (Svade)
  bool pbmt = false;         // Svpbmt is enabled
  bool napot = false;        // Svnapot is present

  constexpr unsigned address_bits() const { return 12 + 9 * levels + (guest ? 2 : 0); }
  constexpr unsigned index(u64 address, unsigned level) const {
    const unsigned bits = guest && level + 1u == levels ? 11 : 9;
    return address >> (12 + 9 * level) & ((1u << bits) - 1);
  }
  // "the effective address must be canonical": sign-extended, or for the G-stage zero-extended.
  constexpr bool canonical(u64 address) const {
    const unsigned unused = 64 - address_bits();
    if (guest) return address << unused >> unused == address;
    return static_cast<u64>(static_cast<i64>(address << unused) >> unused) == address;
  }
};

// The same, taken apart for walks.
struct Regime {
  Mode mode;
  Stage first, guest;      // the S or VS stage; the G-stage
  bool sum = false;        // S-mode may load and store user pages
  bool mxr = false;        // executable is readable: to the first stage,
  bool guest_mxr = false;  // and to the G-stage

  static Regime of(const ContextKey& key, const ExtSet& extensions);
};

// The mode loads and stores are made in: MPRV borrows MPP and MPV ("Memory Privilege in mstatus
// Register").
inline Mode data_mode(const HartState& h) {
  using namespace field::mstatus;
  if (h.mode.privilege != Privilege::M || !MPRV.get(h.csr.mstatus)) return h.mode;
  const auto privilege = static_cast<Privilege>(MPP.get(h.csr.mstatus));
  return {privilege, privilege != Privilege::M && MPV.get(h.csr.mstatus) != 0};
}

}  // namespace rvvm
