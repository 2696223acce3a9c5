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
  at_hand_ = -1;
}

// Instructions whose code does without rdx.
static bool leaves_rdx(const Insn& insn) {
  switch (insn.op) {
    case Op::addi:
    case Op::addiw:
    case Op::andi:
    case Op::lui:
    case Op::slli:
    case Op::srli: return true;
    case Op::add: return !insn.rs1 || !insn.rs2;  // c.mv
    default: return false;
  }
}

// Whether an access can rely on a group's check; then it does.
bool SharingPlan::join(Group& g, const Insn& insn, BasedAccess a, unsigned number,
                       std::span<Sharing> results) {
  if (!g.open) return false;
  Sharing& first = results[g.first];
  const i32 low = std::min(insn.imm + g.moved, g.low);
  const i32 high = std::max(insn.imm + g.moved + a.size, g.high);
  const bool has_slot =
      first.role == Sharing::Role::first || slots_ < TranslatedState::shared_checks;
  if (!has_slot || high - low > reach) return false;
  if (first.role == Sharing::Role::alone) first = {Sharing::Role::first, static_cast<u8>(slots_++)};
  g.low = low;
  g.high = high;
  first.low = low;
  first.span = high - low;
  first.through = static_cast<u8>(number);
  Sharing& result = results[number];
  result = {Sharing::Role::next, first.slot};
  result.at_hand = at_hand_ == static_cast<int>(g.first);
  first.kept |= !result.at_hand;
  at_hand_ = static_cast<int>(g.first);
  return true;
}

// What may be stored to may be loaded from: R=0 with W=1 is reserved in every table and in PMP.
void SharingPlan::access(const Insn& insn, BasedAccess a, unsigned number,
                         std::span<Sharing> results) {
  auto& [loads, stores] = groups_[insn.rs1];
  if (join(a.store ? stores : loads, insn, a, number, results)) return;
  if (!a.store && join(stores, insn, a, number, results)) return;
  (a.store ? stores : loads) = {number, insn.imm, insn.imm + a.size, 0, true};
  at_hand_ = static_cast<int>(number);
}

bool writes_register(const Insn& insn, unsigned x) {
  const Format format = row(insn.op).format;
  if (!row(format).text.starts_with('d')) return false;
  return insn.rd == x || (format == Format::AmoPair && (insn.rd | 1u) == x);
}

// An integer register that is written is another base, unless it is moved by a constant.
void SharingPlan::written(const Insn& insn) {
  for (const unsigned x : {insn.rd | 0u, insn.rd | 1u}) {
    if (!writes_register(insn, x)) continue;
    const bool moves = insn.op == Op::addi && insn.rs1 == x;
    for (Group& g : groups_[x]) {
      g.moved += moves ? insn.imm : 0;
      g.open &= moves && std::abs(g.moved) <= reach;
    }
    if (insn.rd & 1) break;
  }
}

void SharingPlan::add(const Insn& insn, unsigned number, std::span<Sharing> results) {
  results[number] = {};
  BasedAccess a{};
  if (based_access(insn, a) && insn.rs1)
    access(insn, a, number, results);
  else if (!leaves_rdx(insn))
    at_hand_ = -1;
  written(insn);
}

// Where a group has no way, instructions are interpreted up to its last one; then groups that have
// begun meanwhile have none either.
void SharingPlan::finish(std::span<Sharing> results) {
  for (unsigned k = 0; k < results.size(); ++k)
    for (unsigned n = k + 1; n <= results[k].through; ++n)
      results[k].through = std::max(results[k].through, results[n].through);
}

}  // namespace rvvm::jit
