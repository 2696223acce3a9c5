#include "engine/jit/loops.hpp"

#include <algorithm>
#include <cstdlib>

#include "engine/translated.hpp"

namespace rvvm::jit {

LoopPlan::LoopPlan(std::span<const Insn> path, std::span<const Edge> back)
    : path_{path.begin(), path.end()} {
  for (const Edge& edge : back) {
    const auto same = std::ranges::find(loops_, edge.to, &Loop::head);
    if (same == loops_.end())
      loops_.push_back({edge.to, edge.from, {}});
    else
      same->last = std::max(same->last, edge.from);
  }
}

// The latest head; of loops that overlap otherwise than by nesting, too.
Loop* LoopPlan::innermost(unsigned place) {
  Loop* found = nullptr;
  for (Loop& loop : loops_)
    if (loop.contains(place) && (!found || loop.head > found->head)) found = &loop;
  return found;
}

bool LoopPlan::stays_near(const Loop& loop, unsigned base) const {
  for (unsigned k = loop.head; k <= loop.last; ++k) {
    const Insn& insn = path_[k];
    if (!writes_register(insn, base)) continue;
    const bool moves = insn.op == Op::addi && insn.rs1 == base;
    if (!moves || std::abs(insn.imm) > small_step) return false;
  }
  return true;
}

const Loop::Slot* LoopPlan::slot_for(Loop& loop, const Insn& insn, bool store) {
  const i32 where = insn.imm / area;
  for (const Loop::Slot& slot : loop.slots)
    if (slot.base == insn.rs1 && slot.store == store && slot.area == where) return &slot;
  if (used_ == TranslatedState::page_slots_count || !stays_near(loop, insn.rs1)) return nullptr;
  return &loop.slots.emplace_back(used_++, insn.rs1, store, where);
}

void LoopPlan::assign(std::span<Sharing> checks) {
  for (unsigned k = 0; k < path_.size(); ++k) {
    BasedAccess access{};
    if (checks[k].role == Sharing::Role::next || !based_access(path_[k], access)) continue;
    Loop* loop = innermost(k);
    if (!loop || !path_[k].rs1) continue;
    const Loop::Slot* slot = slot_for(*loop, path_[k], access.store);
    if (slot) checks[k].page_slot = static_cast<i8>(slot->number);
  }
}

bool LoopPlan::keeps_slots(unsigned from, unsigned to) const {
  return std::ranges::all_of(loops_, [&](const Loop& loop) {
    return loop.slots.empty() || !loop.contains(to) || loop.contains(from);
  });
}

std::vector<Loop::Slot> LoopPlan::slots_at(unsigned place) const {
  std::vector<Loop::Slot> slots;
  for (const Loop& loop : loops_)
    if (loop.contains(place)) slots.insert(slots.end(), loop.slots.begin(), loop.slots.end());
  return slots;
}

}  // namespace rvvm::jit
