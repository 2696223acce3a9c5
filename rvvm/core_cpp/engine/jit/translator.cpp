#include "engine/jit/translator.hpp"

#include <algorithm>

#include "engine/handlers.hpp"
#include "engine/jit/lower_float.hpp"
#include "semantics/bodies.hpp"

namespace rvvm::jit {

namespace {

using Lift = void (*)(Lifter&, const Insn&);

// Rows that are lifted; the others go to their handler.
template <Op O> void lift(Lifter& m, const Insn& insn) { Body<O>::run(m, insn); }
template <Op O> constexpr Lift lift_of() {
  if constexpr (row(O).is(flag::native))
    return lift<O>;
  else
    return nullptr;
}
constexpr Lift lifts[] = {
    nullptr,
#define X(name, bits, format, need, flags) lift_of<Op::name>(),
#include "isa/instructions.inc"
#undef X
};
Lift lift_of(Op op) { return lifts[static_cast<std::size_t>(op)]; }

// Nothing behind these belongs to the same straight path.
bool ends_unit(const Insn& insn) {
  return insn.op == Op::illegal || insn.op == Op::jal || insn.op == Op::jalr ||
         row(insn.op).is(flag::serial);
}
bool is_branch(const Insn& insn) { return row(insn.op).format == Format::B; }

}  // namespace

void Translator::read(const u8* bytes, u16 offset, const ExtSet& extensions) {
  unit_.clear();
  unsigned at = offset;
  while (at < page_size && unit_.size() < options.unit_limit) {
    u32 bits = 0;
    std::memcpy(&bits, bytes + at, std::min<u64>(4, page_size - at));
    if (at + length_of(bits) > page_size) break;  // the rest is on another page
    unit_.push_back({decode(bits, extensions), static_cast<u16>(at)});
    at += length_of(bits);
    if (ends_unit(unit_.back().insn)) break;
  }
  end_ = static_cast<u16>(at);
}

int Translator::place_at(i64 offset) const {
  const auto place = std::ranges::find(unit_, offset, [](const Place& p) { return i64{p.offset}; });
  return place == unit_.end() ? -1 : static_cast<int>(place - unit_.begin());
}

void Translator::mark_entries() {
  unit_.front().entry = true;
  if (!options.chain) return;
  for (const Place& p : unit_) {
    if (!is_branch(p.insn) && p.insn.op != Op::jal) continue;
    const int target = place_at(p.offset + i64{p.insn.imm});
    if (target >= 0) unit_[target].entry = true;
  }
}

void Translator::spend(unsigned instructions) {
  if (instructions) e.alu(Alu::sub, left_reg, static_cast<i32>(instructions));
}

// Enough budget to the next entry, and nothing that wants attention; else the run loop decides.
void Translator::emit_entry(unsigned place) {
  spend(done_);
  done_ = 0;
  Place& p = unit_[place];
  p.code = e.here();
  e.alu(Alu::cmp, left_reg, layout.cpu_field(layout.entry_budget));
  leaves_.push_back({e.jcc(Cond::l), p.offset});
}

// The whole instruction by its handler: the cold stub, without a hot path before it.
void Translator::interpret(unsigned place) { cold_.push_back({{e.jmp()}, e.here(), place, done_}); }

void Translator::emit_place(unsigned place) {
  const Place& p = unit_[place];
  const Insn& insn = p.insn;
  ++done_;
  const Lift lift = lift_of(insn.op);
  if (lift) {
    const Emitter before = e;
    lifter.start(insn, p.offset);
    lift(lifter, insn);
    if (lifter.supported()) {
      if (!lifter.misses().empty()) cold_.push_back({lifter.misses(), e.here(), place, done_});
      return finish(lifter.flow());
    }
    e = before;  // what was written does not count
  }
  interpret(place);
  // A handler that jumps has not come back here, unless the jump was to the next instruction.
}

void Translator::finish(Flow flow) {
  switch (flow.kind) {
    case Flow::Kind::next: return;
    case Flow::Kind::jump: spend(done_); return go(flow.target);
    case Flow::Kind::indirect: spend(done_); return go_elsewhere();
    case Flow::Kind::branch: {
      u8* not_taken = e.jcc(!flow.holds);
      spend(done_);
      go(flow.target);
      e.link_here(not_taken);
      return;
    }
  }
}

void Translator::go(i64 offset) {
  if (offset < 0 || offset >= static_cast<i64>(page_size)) {
    e.mov(rax, layout.cpu_field(layout.pc_page));
    e.lea(rax, {rax, static_cast<i32>(offset)});
    return go_elsewhere();
  }
  const int inside = options.chain ? place_at(offset) : -1;
  if (inside >= 0)
    inner_.push_back({e.jmp(), static_cast<unsigned>(inside)});
  else
    exits_.push_back({e.jmp(), static_cast<u16>(offset)});
}

// The jump cache, as Cpu::jump_at() reads it: pc in rax.
void Translator::go_elsewhere() {
  static_assert(sizeof(JumpEntry) == 64);
  std::vector<u8*> unknown;
  if (options.chain) {
    e.mov(rcx, rax);
    e.shift(Shift::shr, rcx, 1);
    e.mov(rdx, rax);
    e.shift(Shift::shr, rdx, 13);
    e.alu(Alu::xor_, rcx, rdx);
    e.alu32(Alu::and_, rcx, Cpu::jumps - 1);
    e.shift(Shift::shl, rcx, 6);
    e.lea(rcx, {cpu_reg, layout.jumps, rcx, 0});
    e.alu(Alu::cmp, rax, Mem{rcx, offsetof(JumpEntry, pc)});
    unknown.push_back(e.jcc(Cond::ne));
    e.mov(rdx, {rcx, offsetof(JumpEntry, generation)});
    e.alu(Alu::cmp, rdx, layout.cpu_field(layout.generation));
    unknown.push_back(e.jcc(Cond::ne));
    e.mov(rdx, {rcx, offsetof(JumpEntry, code)});
    e.test(rdx, rdx);
    unknown.push_back(e.jcc(Cond::e));
    e.alu(Alu::and_, rax, -static_cast<i32>(page_size));
    e.mov(layout.cpu_field(layout.pc_page), rax);
    e.jmp(rdx);
  }
  for (u8* jump : unknown) e.link_here(jump);
  e.link(e.jmp(), thunks.leave_at_pc);
}

void Translator::emit_cold(PageTranslations& page) {
  for (const ColdStub& stub : cold_) {
    for (u8* jump : stub.jumps) e.link_here(jump);
    e.mov_imm(rax, reinterpret_cast<u64>(&steps_[stub.place]));
    e.mov_imm(rdx, unit_[stub.place].offset);
    e.mov_imm(rcx, stub.done);
    e.link(e.call(), thunks.interpret);
    e.link(e.jmp(), stub.back);
  }
  for (const Exit& leave : leaves_) {
    e.link_here(leave.jump);
    e.mov_imm(rax, leave.offset);
    e.link(e.jmp(), thunks.leave_at_offset);
  }
  for (const Exit& exit : exits_) {
    const auto known = page.entries.find(exit.offset);
    if (options.chain && known != page.entries.end()) {
      e.link(exit.jump, known->second);
      continue;
    }
    if (options.chain) page.waiting.emplace(exit.offset, exit.jump);
    e.link_here(exit.jump);
    e.mov_imm(rax, exit.offset);
    e.link(e.jmp(), thunks.leave_at_offset);
  }
}

const u8* Translator::translate(const u8* bytes, u16 offset, const ExtSet& extensions,
                                PageTranslations& page) {
  lifter.forbid(extensions.has(Ext::Zca) ? 0 : 2);
  read(bytes, offset, extensions);
  mark_entries();
  cold_.clear();
  exits_.clear();
  leaves_.clear();
  inner_.clear();
  entries_.clear();
  done_ = 0;
  page.steps.push_back(std::make_unique<Step[]>(unit_.size()));
  Step* steps = page.steps.back().get();
  steps_ = steps;
  for (unsigned k = 0; k < unit_.size(); ++k) {
    steps[k] = {handler_of(unit_[k].insn.op), unit_[k].insn, 0};
    if (unit_[k].entry) emit_entry(k);
    emit_place(k);
  }
  const Insn& last = unit_.back().insn;
  if (last.op != Op::jal && last.op != Op::jalr) {
    spend(done_);
    go(end_);
  }
  for (const Inner& jump : inner_) e.link(jump.jump, unit_[jump.place].code);
  emit_cold(page);
  for (const Place& p : unit_) {
    if (!p.code || page.entries.contains(p.offset)) continue;
    entries_.push_back({p.offset, p.code});
    auto [first, behind] = page.waiting.equal_range(p.offset);
    for (auto it = first; it != behind; ++it) e.link(it->second, p.code);
    page.waiting.erase(first, behind);
  }
  return unit_.front().code;
}

}  // namespace rvvm::jit
