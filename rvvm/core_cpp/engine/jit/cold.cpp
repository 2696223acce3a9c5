// What is emitted behind a unit: cold stubs, ways out, and entries from elsewhere.
#include "engine/jit/translator.hpp"

namespace rvvm::jit {

void Translator::leave_at(u64 offset) {
  e.mov_imm(rax, offset);
  e.link(e.jmp(), thunks.leave_at_offset);
}

// The instruction, and those behind it up to another.
void Translator::call_interpreter(const ColdStub& stub, unsigned last) {
  swap.out();
  e.mov_imm(rax, reinterpret_cast<u64>(&steps_[stub.place]));
  e.mov_imm(rdx, interpreted_places(unit_[stub.place].offset, last - stub.place));
  e.mov_imm(rcx, stub.done);
  e.link(e.call(), thunks.interpret);
}

// The slot of a loop keeps the page that was found.
void Translator::keep_page(const PageMiss& miss) {
  const unsigned slot = static_cast<unsigned>(miss.page_slot);
  lifter.lea(rcx, miss.base, miss.low);
  e.alu(Alu::and_, rcx, -static_cast<i32>(page_size));
  e.mov(layout.slot_page(slot), rcx);
  e.mov(layout.slot_delta(slot), rdx);
  e.mov(layout.slot_limit(slot), static_cast<i32>(page_size) - miss.slot_span + 1);
}

// Fills the TLB's entry, and goes on as if it had been there; falls through where that cannot be.
void Translator::emit_page_miss(const PageMiss& miss) {
  e.link_here(miss.jump);
  if (miss.page_slot >= 0) {  // the slot has another page: the TLB may have this one
    lifter.check_page(miss.base, miss.low, miss.span, miss.store);
    u8* absent = e.jcc(Cond::ne);
    e.mov(rdx, {rcx, offsetof(TlbEntry, host)});
    keep_page(miss);
    e.link(e.jmp(), miss.back);
    e.link_here(absent);
  }
  lifter.lea(rcx, miss.base, miss.low);
  e.mov_imm(rdx, page_request(static_cast<u32>(miss.span), miss.store));
  e.link(e.call(), thunks.host_delta);
  e.test(rdx, rdx);
  if (miss.page_slot < 0) return e.link(e.jcc(Cond::ne), miss.back);
  u8* none = e.jcc(Cond::e);
  keep_page(miss);
  e.link(e.jmp(), miss.back);
  e.link_here(none);
}

// What follows on the path relies on live registers: without them it is left, after this one.
void Translator::emit_float_miss(const FloatMiss& miss, const ColdStub& stub) {
  e.link_here(miss.jump);
  e.link(e.call(), thunks.load_fp);
  u8* none = e.jcc(Cond::e);
  swap.load_float();
  e.link(e.jmp(), miss.back);
  e.link_here(none);
  call_interpreter(stub, stub.place);
  leave_behind(stub, stub.place);
}

void Translator::leave_behind(const ColdStub& stub, unsigned place) {
  spend(stub.done + place - stub.place);
  leave_at(unit_[place].offset + u64{unit_[place].insn.length});
}

void Translator::emit_cold(const ColdStub& stub) {
  if (stub.fp) emit_float_miss(*stub.fp, stub);
  if (stub.page) emit_page_miss(*stub.page);
  if (!stub.page && stub.misses.empty()) return;
  for (u8* jump : stub.misses) e.link_here(jump);
  const unsigned last = std::max<unsigned>(stub.place, sharing_[stub.place].through);
  const Place& behind = unit_[last];
  call_interpreter(stub, last);
  swap.load();
  if (behind.fp_live) {
    e.link(e.call(), thunks.load_fp);
    swap.load_float();
    // One that is no CSR access leaves frm as it was.
    if (last == stub.place && !is_float_csr(behind.insn)) return e.link(e.jmp(), behind.back);
    e.link(e.jcc(Cond::ne), behind.back);
    swap.out();
    return leave_behind(stub, last);
  }
  e.link(e.jmp(), behind.back);
}

void Translator::emit_entering() {
  for (unsigned k = 0; k < unit_.size(); ++k) {
    Place& p = unit_[k];
    if (!p.code || p.entering) continue;
    p.entering = p.code;
    if (loops_.slots_at(k).empty()) continue;
    p.entering = e.here();
    empty_slots(k);
    e.link(e.jmp(), p.code);
  }
}

// Entries that only forward branches of the unit lead to are passed without a guard; from elsewhere
// they have one.
void Translator::emit_outer_entries() {
  for (Place& p : unit_) {
    if (!p.code || p.outer) continue;
    if (p.loop && !swap.needed()) {
      p.outer = p.entering;
      continue;
    }
    p.outer = e.here();
    if (!p.loop) emit_guard(p.offset, false);
    swap.in();
    e.link(e.jmp(), p.entering);
  }
}

void Translator::emit_behind() {
  for (const Side& side : sides_) {
    e.link_here(side.jump);
    here_ = side.from;
    spend(side.done);
    go(side.offset);
  }
  emit_entering();
  for (const Inner& jump : inner_) {
    const Place& to = unit_[jump.to];
    e.link(jump.jump, loops_.keeps_slots(jump.from, jump.to) ? to.code : to.entering);
  }
  for (const ColdStub& stub : cold_) emit_cold(stub);
  emit_outer_entries();
  for (const auto& way_out : {std::span{leaves_}, std::span{exits_}})
    for (const Exit& leave : way_out) {
      e.link_here(leave.jump);
      if (leave.swapped) swap.out();
      leave_at(leave.offset);
    }
}

}  // namespace rvvm::jit
