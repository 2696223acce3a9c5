#include "engine/jit/sharing.hpp"

#include <algorithm>

#include "engine/translated.hpp"
#include "isa/table.hpp"

namespace rvvm::jit {

bool based_access(const Insn& insn, BasedAccess& access) {
  const Row& r = row(insn.op);
  switch (r.format) {
    case Format::Load:
    case Format::FLoad: access.store = false; break;
    case Format::Store:
    case Format::FStore: access.store = true; break;
    default: return false;
  }
  const bool is_float = r.format == Format::FLoad || r.format == Format::FStore;
  access.size = static_cast<u8>(1 << (r.match() >> 12 & 3));  // funct3: lb, lh, lw, ld, and lbu...
  const bool half_float = is_float && access.size == 2;       // left to the interpreter
  return !half_float && !r.is(flag::jumps);                   // jalr is written like a load
}

void SharingPlan::start() {
  for (auto& by_base : groups_)
    for (Group& g : by_base) g.open = false;
  slots_ = 0;
}

void SharingPlan::access(const Insn& insn, BasedAccess a, unsigned number,
                         std::span<Sharing> results) {
  Group& g = groups_[insn.rs1][a.store];
  const i32 low = insn.imm + g.moved, high = low + a.size;
  const i32 all_low = std::min(low, g.low), all_high = std::max(high, g.high);
  Sharing& first = results[g.first];
  const bool has_slot =
      g.open && (first.role == Sharing::Role::first || slots_ < TranslatedState::shared_checks);
  if (!has_slot || all_high - all_low > reach) {
    g = {number, insn.imm, insn.imm + a.size, 0, true};
    return;
  }
  if (first.role == Sharing::Role::alone)
    first = {Sharing::Role::first, static_cast<u8>(slots_++), 0, 0};
  g.low = all_low;
  g.high = all_high;
  first.low = g.low;
  first.span = g.high - g.low;
  results[number] = {Sharing::Role::next, first.slot, 0, 0};
}

// An integer register that is written is another base, unless it is moved by a constant.
void SharingPlan::written(unsigned rd, const Insn& insn) {
  for (Group& g : groups_[rd]) {
    if (insn.op == Op::addi && insn.rs1 == insn.rd)
      g.moved += insn.imm;
    else
      g.open = false;
    g.open &= std::abs(g.moved) <= reach;
  }
}

void SharingPlan::add(const Insn& insn, unsigned number, std::span<Sharing> results) {
  results[number] = {};
  BasedAccess a{};
  if (based_access(insn, a) && insn.rs1) access(insn, a, number, results);
  const std::string_view operands = row(row(insn.op).format).text;
  if (operands.starts_with('d')) written(insn.rd, insn);
  if (row(insn.op).format == Format::AmoPair) written(insn.rd | 1, insn);
}

}  // namespace rvvm::jit
