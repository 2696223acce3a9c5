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
    i32 area;      // of displacements
    i32 span = 0;  // the longest reach of an access
  };
  unsigned head, last;  // places of the unit
  std::vector<Slot> slots{};

  bool contains(unsigned place) const { return head <= place && place <= last; }
};

class LoopPlan {
 public:
  // A branch back.
  struct Edge {
    unsigned from, to;
  };
  LoopPlan() = default;
  // Of a path of instructions.
  LoopPlan(std::span<const Insn> path, std::span<const Edge> back);

  // Gives slots to accesses that have a check of their own.
  void assign(std::span<Sharing> checks);
  // Whether slots hold what they should after this step; else they are emptied first.
  bool keeps_slots(unsigned from, unsigned to) const;
  // All that must be empty when a place is come to from elsewhere.
  std::vector<unsigned> slots_at(unsigned place) const;

 private:
  static constexpr i32 small_step = 64, area = 512;
  static constexpr unsigned longest_chain = 3;  // of registers that are moved through each other
  Loop* innermost(unsigned place);
  bool stays_near(const Loop& loop, unsigned x, unsigned base, unsigned chain) const;
  Loop::Slot* slot_for(Loop& loop, const Insn& insn, bool store);

  std::vector<Insn> path_;
  std::vector<Loop> loops_;
  u8 used_ = 0;
};

}  // namespace rvvm::jit
