// From a virtual address to a physical one, through one or two stages, with the fault that results.
#pragma once
#include <vector>

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

// Stores of walks: updates of A and D.
struct TableStores {
  // The entry becomes `wanted` if it is `old`; whether it was.
  virtual bool swap_entry(u8* host, Hpa at, u64 old, u64 wanted) = 0;

 protected:
  ~TableStores() = default;
};

struct Request {
  Gva address;
  unsigned size = 1;
  Access access = Access::load;
  bool needs_execute = false;     // HLVX
  TableStores* stores = nullptr;  // none: no side effects, A and D stay as they are
  std::vector<WalkStep>* trace = nullptr;
  TableNotes notes{}, guest_notes{};  // of the first stage, and of the G-stage; a trace wants none
};

struct Translation {
  bool ok = false;
  bool writable = false;  // a store, too, would do, for all that page tables say
  bool global = false;    // its first stage maps it for all address spaces
  Hpa physical;
  u64 span = 0;          // bytes that the leaf of the first stage maps
  u64 contiguous = 0;    // bytes that the leaves of both stages do
  Gpa guest_physical{};  // V=1: what VS-stage yields
  Trap trap{};  // when not ok; a tinst of zero may be filled in by who knows the instruction
  const char* why = "";
};

Translation translate(const Regime& regime, const Bus& bus, const Pmp& pmp, const Request& request);

}  // namespace rvvm
