// From a virtual address to a physical one, through one or two stages, with the fault that results.
#pragma once
#include <vector>

#include "hart/hart.hpp"
#include "memory/bus.hpp"
#include "mmu/pmp.hpp"
#include "mmu/walk.hpp"

namespace rvvm {

// One page-table entry that a walk has read.
struct WalkStep {
  const char* stage;  // "S", "VS" or "G"
  u8 level;
  u64 address;  // of the entry, as that stage sees it
  u64 physical;
  u64 pte;
};

struct Request {
  Gva address;
  unsigned size = 1;
  Access access = Access::load;
  Mode mode;                   // effective: MPRV, HLV and HSV are already applied
  bool needs_execute = false;  // HLVX
  bool probe = false;          // no side effects: A and D stay as they are
  std::vector<WalkStep>* trace = nullptr;
  TableCache* tables = nullptr;  // of the first stage, and of the G-stage; a trace wants none
  TableCache* guest_tables = nullptr;
};

struct Translation {
  bool ok = false;
  Hpa physical;
  u64 span = 0;        // bytes around the address for which the virtual mapping is one piece
  Gpa guest_physical;  // V=1: what VS-stage yields
  Trap trap;           // when not ok; a tinst of zero may be filled in by who knows the instruction
  const char* why = "";
};

Translation translate(const Hart& h, const Bus& bus, const Pmp& pmp, const Request& request);

// The mode loads and stores are made in: MPRV borrows MPP and MPV ("Memory Privilege in mstatus
// Register").
inline Mode data_mode(const HartState& h) {
  using namespace field::mstatus;
  if (h.mode.privilege != Privilege::M || !MPRV.get(h.csr.mstatus)) return h.mode;
  const auto privilege = static_cast<Privilege>(MPP.get(h.csr.mstatus));
  return {privilege, privilege != Privilege::M && MPV.get(h.csr.mstatus) != 0};
}

}  // namespace rvvm
