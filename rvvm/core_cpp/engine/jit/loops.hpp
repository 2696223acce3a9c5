// Loops inside a unit, and which of their memory accesses stay on a page for many rounds: those
// through a base register that a round moves little, or not at all. Such an access keeps the page
// it was on last, with the way to it, in a slot, and looks in the TLB only when it leaves that
// page.
#pragma once
#include <span>
#include <vector>

#include "engine/jit/sharing.hpp"

namespace rvvm::jit {

struct Loop {
  struct Slot {
    u8 number;
    u8 base;  // the guest register
    bool store;
    i32 area;  // of displacements
  };
  unsigned head, last;  // places of the unit
  std::vector<Slot> slots;

  bool contains(unsigned place) const { return head <= place && place <= last; }
};

class LoopPlan {
 public:
  // Of a path of instructions, with its branches back: (from, to).
  struct Edge {
    unsigned from, to;
  };
  LoopPlan() = default;
  LoopPlan(std::span<const Insn> path, std::span<const Edge> back);

  // Gives slots to accesses that have a check of their own.
  void assign(std::span<Sharing> checks);
  // Whether slots hold what they should after this step; else they are emptied first.
  bool keeps_slots(unsigned from, unsigned to) const;
  // All that must be empty when a place is come to from elsewhere.
  std::vector<Loop::Slot> slots_at(unsigned place) const;

 private:
  static constexpr i32 small_step = 64, area = 512;
  Loop* innermost(unsigned place);
  bool stays_near(const Loop& loop, unsigned base) const;
  const Loop::Slot* slot_for(Loop& loop, const Insn& insn, bool store);

  std::vector<Insn> path_;
  std::vector<Loop> loops_;
  u8 used_ = 0;
};

}  // namespace rvvm::jit
