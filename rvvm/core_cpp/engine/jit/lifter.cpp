#include "engine/jit/lifter.hpp"

namespace rvvm::jit {

void Lifter::start(const Insn& insn, u16 offset) {
  arena_.clear();
  misses_.clear();
  supported_ = true;
  flow_ = {};
  offset_ = offset;
  length_ = insn.length;
  if (!row(insn.op).is(flag::fp)) return;
  e.cmp8(layout.cpu_field(layout.fp_dirty), 0);  // off, or a first write is still to be marked
  miss_if(Cond::e);
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
    e.test_al(misaligned_pc_);
    miss_if(Cond::ne);
  }
  if (!rd) return;
  supported_ &= expression.into(arena_, link.id(arena_), rcx, 0);
  put_integer(rd, rcx);
}

void Lifter::put_integer(unsigned rd, Reg value) {
  Reg host_reg;
  if (!rd) return;
  if (pinned(rd, host_reg))
    e.mov(host_reg, value);
  else
    e.mov(layout.x_at(rd), value);
}

// The tag comparison of Mmu::try_load and try_store: alignment is part of it.
bool Lifter::translate_address(U address, Width width, i32 tag) {
  const i32 size = 1 << static_cast<u8>(width);
  const i32 tag_mask = ~static_cast<i32>(page_mask & ~static_cast<u64>(size - 1));
  if (!expression.into(arena_, address.id(arena_), rax, scratch_all)) return false;
  e.mov(rcx, rax);
  e.shift(Shift::shr, rcx, DataTable::index_shift);
  e.alu(Alu::and_, rcx, layout.cpu_field(layout.table_mask));
  e.alu(Alu::add, rcx, layout.cpu_field(layout.table_entries));
  e.mov(rdx, rax);
  e.alu(Alu::and_, rdx, tag_mask);
  e.alu(Alu::cmp, rdx, Mem{rcx, tag});
  miss_if(Cond::ne);
  e.alu(Alu::add, rax, Mem{rcx, layout.tlb_host});
  return true;
}

void Lifter::load_any(unsigned rd, U address, Width width, bool sign) {
  if (!translate_address(address, width, layout.tlb_read)) return void(supported_ = false);
  Reg d = rax;
  if (rd) pinned(rd, d);
  e.load(d, {rax}, width, sign);
  if (rd && d == rax) e.mov(layout.x_at(rd), rax);
}

void Lifter::store_any(U address, U value, Width width) {
  if (!translate_address(address, width, layout.tlb_write)) return void(supported_ = false);
  Reg s;
  supported_ &= expression.anywhere(arena_, value.id(arena_), rcx, 0, s);
  e.store({rax}, s, width);
}

void Lifter::load_float(unsigned rd, U address, Width width) {
  if (width == Width::b2 || !translate_address(address, width, layout.tlb_read))
    return void(supported_ = false);
  e.load(rcx, {rax}, width, false);
  if (width == Width::b8) return e.mov(layout.f_at(rd), rcx);
  e.store(layout.f_at(rd), rcx, Width::b4);
  e.store_imm32(layout.f_high(rd), -1);
}

void Lifter::f(unsigned r, U value) {
  Reg where;
  supported_ &= expression.anywhere(arena_, value.id(arena_), rax, scratch_all, where);
  e.mov(layout.f_at(r), where);
}

void Lifter::require_nearest(const Insn& i, bool exact) {
  if (i.rm == fp::DYN) {
    e.test8(layout.cpu_field(layout.fcsr), 0xe0);  // frm
    miss_if(Cond::ne);
  } else if (fp::reserved(i.rm) || (i.rm != fp::RNE && !exact)) {
    supported_ = false;
  }
}

void Lifter::put_float(unsigned rd, Xmm value, bool wide) {
  e.movs(layout.f_at(rd), value, wide);
  if (!wide) e.store_imm32(layout.f_high(rd), -1);
}

}  // namespace rvvm::jit
