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
      loops_.push_back({edge.to, edge.from});
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

// The register that this one is made of by a small step.
static int small_step_from(const Insn& insn, i32 small) {
  if (insn.op == Op::addi && std::abs(insn.imm) <= small) return insn.rs1;
  if (insn.op == Op::add && insn.rs1 == 0) return insn.rs2;  // c.mv
  return -1;
}

// Whether all that writes x in the loop makes it of itself, of the base, or of one that stays near.
// That is a guess at what pays: a slot is right wherever its base register goes.
bool LoopPlan::stays_near(const Loop& loop, unsigned x, unsigned base, unsigned chain) const {
  for (unsigned k = loop.head; k <= loop.last; ++k) {
    if (!writes_register(path_[k], x)) continue;
    const int source = small_step_from(path_[k], small_step);
    if (source < 0 || chain == 0) return false;
    const unsigned s = static_cast<unsigned>(source);
    if (s != x && s != base && !stays_near(loop, s, base, chain - 1)) return false;
  }
  return true;
}

Loop::Slot* LoopPlan::slot_for(Loop& loop, const Insn& insn, bool store) {
  const i32 where = insn.imm / area;
  for (Loop::Slot& slot : loop.slots)
    if (slot.base == insn.rs1 && slot.store == store && slot.area == where) return &slot;
  if (used_ == TranslatedState::page_slots_count ||
      !stays_near(loop, insn.rs1, insn.rs1, longest_chain))
    return nullptr;
  return &loop.slots.emplace_back(used_++, insn.rs1, store, where);
}

void LoopPlan::assign(std::span<Sharing> checks) {
  for (unsigned k = 0; k < path_.size(); ++k) {
    BasedAccess access{};
    if (checks[k].role == Sharing::Role::next || !based_access(path_[k], access)) continue;
    Loop* loop = innermost(k);
    if (!loop || !path_[k].rs1) continue;
    Loop::Slot* slot = slot_for(*loop, path_[k], access.store);
    if (!slot) continue;
    checks[k].page_slot = static_cast<i8>(slot->number);
    const bool first = checks[k].role == Sharing::Role::first;
    slot->span = std::max(slot->span, first ? checks[k].span : i32{access.size});
  }
  for (const Loop& loop : loops_)
    for (const Loop::Slot& slot : loop.slots)
      for (Sharing& check : checks)
        if (check.page_slot == slot.number) check.slot_span = slot.span;
}

bool LoopPlan::keeps_slots(unsigned from, unsigned to) const {
  return std::ranges::all_of(loops_, [&](const Loop& loop) {
    return loop.slots.empty() || !loop.contains(to) || loop.contains(from);
  });
}

std::vector<unsigned> LoopPlan::slots_at(unsigned place) const {
  std::vector<unsigned> slots;
  for (const Loop& loop : loops_)
    if (loop.contains(place))
      for (const Loop::Slot& slot : loop.slots) slots.push_back(slot.number);
  return slots;
}

}  // namespace rvvm::jit
