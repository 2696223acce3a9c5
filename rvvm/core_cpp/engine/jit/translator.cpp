#include "engine/jit/translator.hpp"

#include <algorithm>

#include "engine/jit/lifts.hpp"
#include "engine/lr_window.hpp"

namespace rvvm::jit {

namespace {

std::optional<PlainCsr> plain_csr(const Insn& insn, const ExtSet& extensions) {
  if (!is_csr(insn)) return std::nullopt;
  return rvvm::plain_csr(static_cast<u16>(insn.imm & 0xfff), extensions);
}

// Lifted by the translator's own means, not by a body.
bool is_called(const Insn& insn) { return is_csr(insn) || insn.op == Op::cbo_zero; }
// A CSR access that may change more than the CSR, or needs the registers where they are fixed.
bool calls_for_csr(const Insn& insn) { return is_csr(insn) && !is_float_csr(insn); }
bool is_branch(const Insn& insn) { return row(insn.op).format == Format::B; }

}  // namespace

void Translator::begin(const Unit& unit) {
  extensions_ = unit.extensions;
  threads_ = unit.threads;
  seldom_ = unit.seldom;
  steps_ = unit.steps;
  lifter.begin(unit.extensions.has(Ext::Zca) ? 0 : 2, unit.threads);
  unit_.clear();
  place_of_.fill(-1);
  unsigned at = unit.offset;
  for (const Insn& insn : unit.insns) {
    place_of_[(at - unit.offset) / 2] = static_cast<i8>(unit_.size());
    unit_.push_back({insn, static_cast<u16>(at)});
    at += insn.length;
  }
  end_ = unit.end;
  loops_ = {};
  cold_.clear();
  sides_.clear();
  exits_.clear();
  leaves_.clear();
  inner_.clear();
  guards_.clear();
  done_ = 0;
}

int Translator::place_at(i64 offset) const {
  const u64 behind = static_cast<u64>(offset - unit_.front().offset);
  return behind % 2 == 0 && behind / 2 < place_of_.size() ? place_of_[behind / 2] : -1;
}

void Translator::mark_entries() {
  unit_.front().entry = unit_.front().loop = true;
  if (!options.chain) return;
  for (unsigned k = 0; k < unit_.size(); ++k) {
    const Place& p = unit_[k];
    if (!is_branch(p.insn) && p.insn.op != Op::jal) continue;
    const int target = place_at(p.offset + i64{p.insn.imm});
    if (target < 0) continue;
    unit_[target].entry = true;
    unit_[target].loop |= static_cast<unsigned>(target) <= k;
  }
}

// Whether this is a jump to an earlier place of the unit, or to itself.
bool Translator::leads_back(unsigned place, unsigned& target) const {
  const Place& p = unit_[place];
  if (!options.chain || (!is_branch(p.insn) && p.insn.op != Op::jal)) return false;
  const int found = place_at(p.offset + i64{p.insn.imm});
  target = static_cast<unsigned>(found);
  return found >= 0 && target <= place;
}

// Whether it does so often.
bool Translator::loops(unsigned place, unsigned& target) const {
  return leads_back(place, target) && !(seldom_ >> place & 1);
}

// A loop's round counts as many.
void Translator::choose_registers() {
  constexpr u32 rounds = 8, most = rounds * rounds;
  std::array<u32, unit_limit> weights;
  weights.fill(1);
  for (unsigned k = 0; k < unit_.size(); ++k) {
    unsigned target;
    if (!loops(k, target)) continue;
    for (u32& weight : std::span{weights}.subspan(target, k + 1 - target))
      weight = std::min(most, weight * rounds);
  }
  Uses uses{};
  for (unsigned k = 0; k < unit_.size(); ++k) uses.count(unit_[k].insn, weights[k]);
  // A CSR access by a call wants them where they are fixed.
  if (std::ranges::any_of(unit_, [](const Place& p) { return calls_for_csr(p.insn); }))
    uses.f.fill(0);
  registers.choose(layout, uses, options.swap_worth);
}

void Translator::plan_checks() {
  SharingPlan plan;
  sharing_.assign(unit_.size(), {});
  std::vector<LoopPlan::Edge> back;
  for (unsigned k = 0; k < unit_.size(); ++k) {
    if (unit_[k].entry) plan.start();
    plan.add(unit_[k].insn, k, sharing_);
    unsigned target;
    const bool turns = leads_back(k, target);
    if (loops(k, target)) back.push_back({k, target});
    // A CSR access may change the table that is looked in; the budget is brought up to date where a
    // branch leads back.
    if (turns || calls_for_csr(unit_[k].insn)) plan.start();
  }
  SharingPlan::finish(sharing_);
  if (back.empty()) return;
  std::vector<Insn> path;
  for (const Place& p : unit_) path.push_back(p.insn);
  // A CSR access may change what pages mean: a loop with one keeps none.
  std::erase_if(back, [&](const LoopPlan::Edge& edge) {
    return std::ranges::any_of(path.begin() + edge.to, path.begin() + edge.from + 1, calls_for_csr);
  });
  loops_ = {path, back};
  loops_.assign(sharing_);
}

// An SC behind an LR with neither an entry nor a memory access in between: there a compare-and-swap
// is exact (engine/reservations.hpp).
void Translator::pair_reservations() {
  Place* lr = nullptr;
  for (Place& p : unit_) {
    const bool reaches = lr && !p.entry;
    if (is_sc(p.insn.op) && reaches) lr->paired = p.paired = true;
    if (is_lr(p.insn.op))
      lr = &p;
    else if (!reaches || !leaves_memory_alone(p.insn))
      lr = nullptr;
  }
}

void Translator::spend(unsigned instructions) {
  if (instructions) e.alu(Alu::sub, left_reg, static_cast<i32>(instructions));
}

// Enough budget for the longest unit, and nothing that wants attention; else the run loop decides.
void Translator::emit_guard(u16 offset, bool swapped) {
  e.alu(Alu::cmp, left_reg, layout.cpu_field(layout.entry_budget));
  u8* jump = e.jcc(Cond::l);
  guards_.push_back(jump);
  leaves_.push_back({jump, offset, swapped});
}

// Every way round a loop passes a guard: at the unit's start, and where a branch leads back to.
void Translator::emit_entry(unsigned place) {
  spend(done_);
  done_ = 0;
  lifter.start_path();
  Place& p = unit_[place];
  if (place == 0) {
    p.outer = e.here();
    swap.in();
  }
  if (place == 0 || !loops_.keeps_slots(place - 1, place)) {
    p.entering = e.here();
    empty_slots(place);
  }
  p.code = e.here();
  if (p.loop) emit_guard(p.offset, true);
}

void Translator::empty_slots(unsigned place) {
  for (const unsigned slot : loops_.slots_at(place)) e.mov(layout.slot_limit(slot), 0);
}

void Translator::emit_place(unsigned place) {
  ++done_;
  const Emitter before = e;
  const Facts facts = lifter.facts;
  const unsigned done = done_;
  if (emit_lifted(place)) return;
  e = before;  // what was written does not count
  lifter.facts = facts;
  done_ = done;
  emit_interpreted(place);
}

// False where there is no lowering.
bool Translator::emit_lifted(unsigned place) {
  const Place& p = unit_[place];
  const Lift lift = lift_of(p.insn.op);
  if (!lift && !is_called(p.insn)) return false;
  unsigned target;
  if (is_branch(p.insn) &&
      leads_back(place, target)) {  // the branch goes there itself, once the budget is up to date
    spend(done_);
    done_ = 0;
  }
  lifter.start(p.insn, p.offset, sharing_[place], p.paired);
  if (lift)
    lift(lifter, p.insn);
  else if (p.insn.op == Op::cbo_zero)
    lifter.zero_block(p.insn, thunks.zero_block);
  else if (is_float_csr(p.insn))
    lifter.float_csr(p.insn);
  else if (const auto csr = plain_csr(p.insn, extensions_))
    lifter.csr(p.insn, *csr);
  else
    lifter.csr(p.insn, &steps_[place], done_, thunks.quick_csr);
  if (!lifter.supported()) return false;
  ColdStub& cold = lifter.cold();
  if (cold.needed()) {
    cold.place = place;
    cold.done = done_;
    cold_.push_back(std::move(cold));
  }
  note_behind(place);
  finish(lifter.flow());
  return true;
}

// The whole instruction by its handler: the cold stub, without a hot path before it. A handler that
// jumps does not come back, unless the jump was to the next instruction.
void Translator::emit_interpreted(unsigned place) {
  ColdStub cold;
  cold.misses.push_back(e.jmp());
  cold.place = place;
  cold.done = done_;
  cold_.push_back(std::move(cold));
  note_behind(place);
  lifter.facts.boxed &= ~(u32{1} << unit_[place].insn.rd);
  if (calls_for_csr(unit_[place].insn)) lifter.start_path();
}

// Where cold stubs come back to.
void Translator::note_behind(unsigned place) {
  unit_[place].back = e.here();
  unit_[place].fp_live = lifter.facts.fp_live;
}

void Translator::finish(Flow flow) {
  switch (flow.kind) {
    case Flow::Kind::next: return;
    case Flow::Kind::jump: spend(done_); return go(flow.target);
    case Flow::Kind::indirect: spend(done_); return go_elsewhere();
    case Flow::Kind::branch: break;
  }
  u8* taken = e.jcc(flow.holds);
  const int inside = options.chain ? place_at(flow.target) : -1;
  if (inside >= 0 && done_ == 0)
    inner_.push_back({taken, here_, static_cast<unsigned>(inside)});
  else
    sides_.push_back({taken, here_, done_, flow.target});
}

void Translator::go(i64 offset) {
  if (offset < 0 || offset >= static_cast<i64>(page_size)) {
    e.mov(rax, layout.cpu_field(layout.pc_page));
    e.lea(rax, {rax, static_cast<i32>(offset)});
    return go_elsewhere();
  }
  const int inside = options.chain ? place_at(offset) : -1;
  if (inside >= 0) return void(inner_.push_back({e.jmp(), here_, static_cast<unsigned>(inside)}));
  swap.out();
  if (threads_) e.align_jump();  // it is changed while others run it
  exits_.push_back({e.jmp(), static_cast<u16>(offset), false});
}

// By the hart's ways, as Ways::add() places them: pc in rax.
void Translator::go_elsewhere() {
  static_assert(sizeof(Way) == 16);
  swap.out();
  if (!options.chain) return e.link(e.jmp(), thunks.leave_at_pc);
  static_assert(Ways::entries == 1 << 15);
  e.extend(rcx, rax, Width::b2, false);
  e.mov(rdx, layout.cpu_field(layout.ways));
  e.alu(Alu::cmp, rax, Mem{rdx, offsetof(Way, pc), rcx, 3});
  e.link(e.jcc(Cond::ne), thunks.resolve_pc);
  e.alu(Alu::and_, rax, -static_cast<i32>(page_size));
  e.mov(layout.cpu_field(layout.pc_page), rax);
  e.jmp(Mem{rdx, offsetof(Way, code), rcx, 3});
}

void Translator::hand_over(Unit& unit) {
  for (const Place& p : unit_)
    if (p.code) unit.entries.push_back({p.offset, p.outer});
  for (const Exit& exit : exits_)
    if (options.chain) unit.exits.push_back({exit.offset, exit.jump});
  unit.guards = guards_;
}

void Translator::translate(Unit& unit) {
  begin(unit);
  mark_entries();
  choose_registers();
  plan_checks();
  pair_reservations();
  for (unsigned k = 0; k < unit_.size(); ++k) {
    here_ = k;
    if (unit_[k].entry) emit_entry(k);
    emit_place(k);
  }
  const Insn& last = unit_.back().insn;
  if (last.op != Op::jal && last.op != Op::jalr) {
    spend(done_);
    go(end_);
  }
  emit_behind();
  hand_over(unit);
}

}  // namespace rvvm::jit
