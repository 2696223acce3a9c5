#include "engine/jit/lifter.hpp"

#include <algorithm>

namespace rvvm::jit {

void Lifter::start(const Insn& insn, u16 offset, const Sharing& sharing, bool paired) {
  arena_.clear();
  cold_ = {};
  supported_ = true;
  flow_ = {};
  offset_ = offset;
  length_ = insn.length;
  sharing_ = sharing;
  paired_ = paired;
  if (row(insn.op).is(flag::fp)) require_float();
}

void Lifter::require_float() {
  if (facts.fp_live) return;
  e.cmp8(layout.cpu_field(layout.fp_live), 0);
  cold_.fp = FloatMiss{e.jcc(Cond::e), e.here()};
  facts.fp_live = true;
}

bool Lifter::known_target(U target, i64& offset) const {
  if (target.constant() || target.node().kind != Kind::pc) return false;
  offset = static_cast<i64>(target.node().imm);
  return !(offset & misaligned_pc_);
}

void Lifter::branch(U condition, U target) {
  if (!known_target(target, flow_.target)) return void(supported_ = false);
  if (condition.constant()) {
    flow_.kind = condition.imm() ? Flow::Kind::jump : Flow::Kind::next;
    return;
  }
  flow_.kind = Flow::Kind::branch;
  supported_ &= expression.condition(arena_, condition.id(arena_), flow_.holds);
}

void Lifter::jump_and_link(unsigned rd, U target) {
  const U link = pc() + length_;
  if (!target.constant() && target.node().kind == Kind::pc) {
    flow_.kind = Flow::Kind::jump;
    supported_ &= known_target(target, flow_.target);
    return x(rd, link);
  }
  // The link may overwrite the target's register: the target goes to rax, and the link by rcx.
  flow_.kind = Flow::Kind::indirect;
  supported_ &= expression.into(arena_, target.id(arena_), rax, scratch_all);
  if (misaligned_pc_) {
    e.test8(rax, misaligned_pc_);
    miss_if(Cond::ne);
  }
  if (!rd) return;
  supported_ &= expression.into(arena_, link.id(arena_), rcx, 0);
  put_integer(rd, rcx);
}

void Lifter::put_integer(unsigned rd, Reg value) {
  Reg host_reg;
  if (!rd) return;
  if (registers.pinned(rd, host_reg))
    e.mov(host_reg, value);
  else
    e.mov(layout.x_at(rd), value);
}

Reg Lifter::integer_in(unsigned r, Reg spare) {
  Reg where;
  if (registers.pinned(r, where)) return where;
  if (r)
    e.mov(spare, layout.x_at(r));
  else
    e.mov_imm(spare, 0);
  return spare;
}

// ---- Memory

// An address as a base register of the host's and a displacement.
bool Lifter::based(U address, Reg& base, i32& disp) {
  disp = 0;
  i16 id = address.id(arena_);
  const Node n = arena_[id];
  if (n.kind == Kind::add && arena_[n.b].kind == Kind::constant) {
    id = n.a;
    disp = static_cast<i32>(arena_[n.b].imm);
  }
  return expression.anywhere(arena_, id, rax, scratch_all, base);
}

// The TLB's entry for the page of the first byte. The last byte must be in that page too: an entry
// only ever holds pages of its own index.
void Lifter::check_page(Reg base, i32 low, i32 span, bool store) {
  if (low)
    e.lea32(rcx, {base, low});
  else
    e.mov32(rcx, base);
  lea(rdx, base, low + span - 1);
  e.shift(Shift::shr, rcx, DataTable::index_shift, false);
  e.alu32(Alu::and_, rcx, layout.cpu_field(layout.tlb_mask));
  e.alu(Alu::add, rcx, layout.cpu_field(store ? layout.tlb_stores : layout.tlb_loads));
  e.shift(Shift::shr, rdx, page_bits);
  e.alu(Alu::cmp, rdx, Mem{rcx, offsetof(TlbEntry, page)});
}

// rdx = the way from guest to host address, of all that the check covers; the jump when there is
// none at hand. An address differs from the page that a slot keeps
// by the offset, if it is there; nothing is less than the limit of an empty slot.
u8* Lifter::find_page(const PageMiss& miss) {
  if (miss.page_slot < 0) {
    check_page(miss.base, miss.low, miss.span, miss.store);
    u8* jump = e.jcc(Cond::ne);
    e.mov(rdx, {rcx, offsetof(TlbEntry, host)});
    return jump;
  }
  const unsigned slot = static_cast<unsigned>(miss.page_slot);
  lea(rcx, miss.base, miss.low);
  e.alu(Alu::xor_, rcx, layout.slot_page(slot));
  e.alu(Alu::cmp, rcx, layout.slot_limit(slot));
  u8* jump = e.jcc(Cond::ae);
  e.mov(rdx, layout.slot_delta(slot));
  return jump;
}

bool Lifter::operand(U address, Width width, bool store, Mem& where) {
  Reg base;
  i32 disp;
  if (!based(address, base, disp)) return false;
  const u8 size = static_cast<u8>(1 << static_cast<u8>(width));
  where = {rdx, disp, base, 0};
  if (sharing_.role == Sharing::Role::next) {
    if (!sharing_.at_hand) e.mov(rdx, layout.delta_at(sharing_.slot));
    return true;
  }
  const bool shared = sharing_.role == Sharing::Role::first;
  PageMiss miss{nullptr,
                nullptr,
                base,
                shared ? sharing_.low : disp,
                shared ? sharing_.span : size,
                store,
                sharing_.page_slot,
                sharing_.slot_span};
  miss.jump = find_page(miss);
  miss.back = e.here();
  if (sharing_.kept) e.mov(layout.delta_at(sharing_.slot), rdx);
  cold_.page = miss;
  return true;
}

bool Lifter::atomic_operand(U address, Width width, bool store) {
  Reg base;
  i32 disp;
  Mem where{};
  if (!based(address, base, disp) || disp) return false;
  e.test8(base, static_cast<u8>((1 << static_cast<u8>(width)) - 1));
  miss_if(Cond::ne);
  if (!operand(address, width, store, where)) return false;
  e.lea(rdx, where);
  return true;
}

void Lifter::physical_operand() {
  e.mov_imm(rcx, layout.ram_to_physical);
  e.alu(Alu::add, rcx, rdx);
}

void Lifter::set_proof(Proof proof) {
  e.store8(layout.cpu_field(layout.reserved_proof), static_cast<u8>(proof));
}

// Among harts on threads only LRs of a pair: what the SC of another may rely on, its handler knows.
void Lifter::load_reserved(unsigned rd, U address, Width width) {
  if (!layout.one_ram || (threads_ && !paired_)) return void(supported_ = false);
  if (threads_) {
    e.cmp8(layout.cpu_field(layout.guard_next), 0);
    miss_if(Cond::ne);
  }
  if (!atomic_operand(address, width, false)) return void(supported_ = false);
  e.load(rax, {rdx}, width, true);
  physical_operand();
  e.mov(layout.cpu_field(layout.reserved_address), rcx);
  e.mov(layout.cpu_field(layout.reserved_value), rax);
  e.store8(layout.cpu_field(layout.reserved_width), static_cast<u8>(1 << static_cast<u8>(width)));
  e.store8(layout.cpu_field(layout.reserved), 1);
  if (threads_) set_proof(Proof::unit);
  put_integer(rd, rax);
}

void Lifter::store_conditional(unsigned rd, U address, U value, Width width) {
  if (!layout.one_ram) return void(supported_ = false);
  if (threads_ && paired_) set_proof(Proof::path);
  if (!atomic_operand(address, width, true)) return void(supported_ = false);
  physical_operand();
  e.cmp8(layout.cpu_field(layout.reserved), 0);
  u8* none = e.jcc(Cond::e);
  e.alu(Alu::cmp, rcx, layout.cpu_field(layout.reserved_address));
  u8* elsewhere = e.jcc(Cond::ne);
  e.cmp8(layout.cpu_field(layout.reserved_width), static_cast<u8>(1 << static_cast<u8>(width)));
  u8* other_width = e.jcc(Cond::ne);
  u8 *changed = nullptr, *done = nullptr;
  if (threads_ && !paired_) {
    cold_.misses.push_back(e.jmp());  // its handler knows whether it may succeed
  } else {
    e.store8(layout.cpu_field(layout.reserved), 0);
    changed = store_reserved(value, width);
    e.mov_imm(rax, 0);
    done = e.jmp();
  }
  for (u8* failed : {none, elsewhere, other_width, changed})
    if (failed) e.link_here(failed);
  e.store8(layout.cpu_field(layout.reserved), 0);
  e.mov_imm(rax, 1);
  if (done) e.link_here(done);
  put_integer(rd, rax);
}

// The jump where the operand is not what LR has read.
u8* Lifter::store_reserved(U value, Width width) {
  Reg s;
  supported_ &= expression.anywhere(arena_, value.id(arena_), rcx, 0, s);
  if (!threads_) {
    e.store({rdx}, s, width);
    return nullptr;
  }
  e.mov(rax, layout.cpu_field(layout.reserved_value));
  e.lock_cmpxchg({rdx}, s, width == Width::b8);
  return e.jcc(Cond::ne);
}

void Lifter::zero_block(const Insn& i, const u8* zero_block) {
  e.mov(rcx, integer_in(i.rs1, rcx));
  e.link(e.call(), zero_block);
  e.test(rdx, rdx);
  miss_if(Cond::e);
}

void Lifter::load_any(unsigned rd, U address, Width width, bool sign) {
  Mem where{};
  if (!operand(address, width, false, where)) return void(supported_ = false);
  Reg d = rax;
  if (rd) registers.pinned(rd, d);
  e.load(d, where, width, sign);
  if (rd && d == rax) e.mov(layout.x_at(rd), rax);
}

void Lifter::store_any(U address, U value, Width width) {
  Mem where{};
  if (!operand(address, width, true, where)) return void(supported_ = false);
  Reg s;
  supported_ &= expression.anywhere(arena_, value.id(arena_), rcx, 0, s);
  e.store(where, s, width);
}

// ---- Floating point

void Lifter::load_float(unsigned rd, U address, Width width) {
  Mem where{};
  const bool wide = width == Width::b8;
  if (width == Width::b2 || !operand(address, width, false, where)) return void(supported_ = false);
  Xmm d = xmm0;
  registers.pinned(rd, d);
  e.movs(d, where, wide);
  if (!wide) e.packed(Packed::or_, d, d, layout.cpu_field(layout.box));
  put_float(rd, d, wide);
}

void Lifter::store_float(U address, unsigned r, Width width) {
  Mem where{};
  if (width == Width::b2 || !operand(address, width, true, where)) return void(supported_ = false);
  e.movs(where, float_in(r, xmm0), width == Width::b8);
}

void Lifter::f(unsigned r, U value) {
  Reg where;
  Xmm d;
  supported_ &= expression.anywhere(arena_, value.id(arena_), rax, scratch_all, where);
  if (registers.pinned(r, d))
    e.movq(d, where);
  else
    e.mov(layout.f_at(r), where);
  facts.boxed &= ~(u32{1} << r);
}

void Lifter::require_rounding(const Insn& i, bool exact) {
  if (i.rm == fp::DYN) return;
  if (fp::reserved(i.rm) || (i.rm != fp::RNE && !exact)) return void(supported_ = false);
  if (exact) return;
  e.test8(layout.cpu_field(layout.fcsr), 0xe0);  // frm
  miss_if(Cond::ne);
}

void Lifter::require_boxed(unsigned r) {
  if (facts.boxed >> r & 1) return;
  Xmm where;
  if (registers.pinned(r, where)) {
    e.movq(rax, where);
    e.shift(Shift::shr, rax, 32);
    e.alu32(Alu::cmp, rax, -1);
  } else {
    e.cmp32(layout.f_high(r), -1);
  }
  miss_if(Cond::ne);
}

// A register for a result, which the sources do not share: they must survive a miss.
Xmm Lifter::float_result(unsigned rd, std::initializer_list<unsigned> sources) {
  Xmm d;
  const bool shared = std::ranges::find(sources, rd) != sources.end();
  return !shared && host.avx && registers.pinned(rd, d) ? d : xmm0;
}

Xmm Lifter::float_in(unsigned r, Xmm spare) {
  Xmm where;
  if (registers.pinned(r, where)) return where;
  e.movs(spare, layout.f_at(r), true);
  return spare;
}

void Lifter::float_to(unsigned r, Xmm d) {
  const Xmm where = float_in(r, d);
  e.mova(d, where);
}

void Lifter::put_float(unsigned rd, Xmm value, bool wide) {
  Xmm d;
  if (registers.pinned(rd, d))
    e.mova(d, value);
  else
    e.movs(layout.f_at(rd), value, true);
  const u32 bit = u32{1} << rd;
  facts.boxed = wide ? facts.boxed & ~bit : facts.boxed | bit;
}

}  // namespace rvvm::jit
