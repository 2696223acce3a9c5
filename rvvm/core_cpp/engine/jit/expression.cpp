#include "engine/jit/expression.hpp"

namespace rvvm::jit {

namespace {

bool is_constant(const Arena& arena, i16 id) { return arena[id].kind == Kind::constant; }
bool fits(u64 value) {
  return static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value;
}
bool small_constant(const Arena& arena, i16 id) {
  return is_constant(arena, id) && fits(arena[id].imm);
}
bool is_leaf(const Arena& arena, i16 id) { return is_leaf(arena[id].kind); }

constexpr Scratch bit_of(Reg r) { return r <= rdx ? 1 << r : 0; }

bool alu_of(Kind kind, Alu& op) {
  switch (kind) {
    case Kind::add: op = Alu::add; return true;
    case Kind::sub: op = Alu::sub; return true;
    case Kind::and_: op = Alu::and_; return true;
    case Kind::or_: op = Alu::or_; return true;
    case Kind::xor_: op = Alu::xor_; return true;
    default: return false;
  }
}

bool shift_of(Kind kind, Shift& op) {
  switch (kind) {
    case Kind::sll: op = Shift::shl; return true;
    case Kind::srl: op = Shift::shr; return true;
    case Kind::sra: op = Shift::sar; return true;
    default: return false;
  }
}

bool take(Scratch& free, Reg& r) {
  for (Reg candidate : {rcx, rdx, rax}) {
    if (!(free & bit_of(candidate))) continue;
    free &= ~bit_of(candidate);
    r = candidate;
    return true;
  }
  return false;
}

}  // namespace

bool ExpressionEmitter::mentions(const Arena& arena, i16 id, unsigned guest) const {
  if (id < 0) return false;
  const Node& n = arena[id];
  if (n.kind == Kind::x) return n.reg == guest;
  return mentions(arena, n.a, guest) || mentions(arena, n.b, guest) || mentions(arena, n.c, guest);
}

// Whether the expression can be computed in rd's own register: an operation reads its first operand
// into the destination before it looks at the others. Some write the destination last, and are
// always safe.
bool ExpressionEmitter::safe_in_place(const Arena& arena, i16 id, unsigned rd) const {
  const Node& n = arena[id];
  switch (n.kind) {
    case Kind::eq:
    case Kind::ne:
    case Kind::lt:
    case Kind::ltu:
    case Kind::select:
    case Kind::mulh:
    case Kind::mulhu:
    case Kind::div:
    case Kind::divu:
    case Kind::rem:
    case Kind::remu: return true;
    default: return is_leaf(n.kind) || (safe_in_place(arena, n.a, rd) && !mentions(arena, n.b, rd));
  }
}

bool ExpressionEmitter::leaf(const Arena& arena, i16 id, Reg d) {
  const Node& n = arena[id];
  Reg host_reg;
  switch (n.kind) {
    case Kind::constant: e.mov_imm(d, n.imm); return true;
    case Kind::x:
      if (registers.pinned(n.reg, host_reg))
        e.mov(d, host_reg);
      else
        e.mov(d, layout.x_at(n.reg));
      return true;
    case Kind::f: {
      Xmm host_xmm;
      if (registers.pinned(n.reg, host_xmm))
        e.movq(d, host_xmm);
      else
        e.mov(d, layout.f_at(n.reg));
      return true;
    }
    case Kind::host: e.mov(d, static_cast<Reg>(n.reg)); return true;
    case Kind::pc:
      e.mov(d, layout.cpu_field(layout.pc_page));
      if (n.imm && !fits(n.imm)) return false;
      if (n.imm) e.lea(d, {d, static_cast<i32>(n.imm)});
      return true;
    default: return false;
  }
}

bool ExpressionEmitter::anywhere(const Arena& arena, i16 id, Reg d, Scratch free, Reg& where) {
  where = d;
  if (arena[id].kind == Kind::x && registers.pinned(arena[id].reg, where)) return true;
  return into(arena, id, d, free);
}

bool ExpressionEmitter::into(const Arena& arena, i16 id, Reg d, Scratch free) {
  const Node& n = arena[id];
  free &= ~bit_of(d);
  if (is_leaf(n.kind)) return leaf(arena, id, d);
  if (n.kind <= Kind::orc_b) return unary_op(arena, n, d, free);
  if (n.kind == Kind::select) return choose(arena, n, d, free);
  return binary_op(arena, n, d, free);
}

bool ExpressionEmitter::unary_op(const Arena& arena, const Node& n, Reg d, Scratch free) {
  Reg s;
  if (!anywhere(arena, n.a, d, free, s)) return false;
  switch (n.kind) {
    case Kind::sext8: e.extend(d, s, Width::b1, true); return true;
    case Kind::sext16: e.extend(d, s, Width::b2, true); return true;
    case Kind::sext32: e.extend(d, s, Width::b4, true); return true;
    case Kind::zext8: e.extend(d, s, Width::b1, false); return true;
    case Kind::zext16: e.extend(d, s, Width::b2, false); return true;
    case Kind::zext32: e.extend(d, s, Width::b4, false); return true;
    case Kind::not_:
      e.mov(d, s);
      e.unary(MulDiv::not_, d);
      return true;
    case Kind::rev8:
      e.mov(d, s);
      e.bswap(d);
      return true;
    case Kind::orc_b:  // all ones where a byte is not zero
      e.movq(xmm0, s);
      e.packed(Packed::xor_, xmm1, xmm1, xmm1);
      e.packed(Packed::equal_bytes, xmm0, xmm0, xmm1);
      e.movq(d, xmm0);
      e.unary(MulDiv::not_, d);
      return true;
    case Kind::cpop:
      if (host.popcnt) e.count(0xb8, d, s);
      return host.popcnt;
    case Kind::ctz:
      if (host.bmi1) e.count(0xbc, d, s);
      return host.bmi1;
    case Kind::clz:
      if (host.lzcnt) e.count(0xbd, d, s);
      return host.lzcnt;
    default: return false;
  }
}

bool ExpressionEmitter::binary_op(const Arena& arena, const Node& n, Reg d, Scratch free) {
  if (Alu op; alu_of(n.kind, op)) return alu(arena, n, op, d, free);
  switch (n.kind) {
    case Kind::sll:
    case Kind::srl:
    case Kind::sra:
    case Kind::rotl:
    case Kind::rotr: return shift(arena, n, d, free);
    case Kind::mul: {
      Reg b;
      if (!into(arena, n.a, d, free)) return false;
      if (far(arena[n.b])) {
        e.imul(d, layout.x_at(arena[n.b].reg));
        return true;
      }
      Reg spare;
      if (!take(free, spare) || !anywhere(arena, n.b, spare, free, b)) return false;
      e.imul(d, b);
      return true;
    }
    case Kind::mulh:
    case Kind::mulhu: return high_product(arena, n, d, free);
    case Kind::div:
    case Kind::divu:
    case Kind::rem:
    case Kind::remu: return divide(arena, n, d, free);
    case Kind::eq:
    case Kind::ne:
    case Kind::lt:
    case Kind::ltu: {
      Cond holds;
      // d may be an operand: it is written only after the comparison.
      if (!compare(arena, n, free | bit_of(d), holds)) return false;
      e.setcc(holds, d);
      return true;
    }
    default: return false;
  }
}

// d = a op b. d is no guest register that b mentions (assign() sees to that).
bool ExpressionEmitter::alu(const Arena& arena, const Node& n, Alu op, Reg d, Scratch free) {
  if (op == Alu::add && small_constant(arena, n.b)) {
    Reg s;
    if (!anywhere(arena, n.a, d, free, s)) return false;
    const i32 imm = static_cast<i32>(arena[n.b].imm);
    if (s != d && !imm)
      e.mov(d, s);
    else if (s != d)
      e.lea(d, {s, imm});
    else if (imm)
      e.alu(Alu::add, d, imm);
    return true;
  }
  if (arena[n.a].kind == Kind::host && op != Alu::sub) {  // it stays where it is
    if (!into(arena, n.b, d, free)) return false;
    e.alu(op, d, static_cast<Reg>(arena[n.a].reg));
    return true;
  }
  if (!into(arena, n.a, d, free)) return false;
  if (small_constant(arena, n.b)) {
    e.alu(op, d, static_cast<i32>(arena[n.b].imm));
    return true;
  }
  const Node& right = arena[n.b];
  if (far(right)) {
    e.alu(op, d, layout.x_at(right.reg));
    return true;
  }
  Reg b, spare;
  if (right.kind == Kind::x)
    b = rax;  // pinned: anywhere() finds it, no scratch is needed
  else if (!take(free, spare))
    return false;
  else
    b = spare;
  if (!anywhere(arena, n.b, b, free, b)) return false;
  e.alu(op, d, b);
  return true;
}

bool ExpressionEmitter::shift(const Arena& arena, const Node& n, Reg d, Scratch free) {
  Shift op{};
  const bool shifts = shift_of(n.kind, op);
  if (is_constant(arena, n.b)) {
    const u8 amount = arena[n.b].imm & 63;
    if (!into(arena, n.a, d, free)) return false;
    if (shifts)
      e.shift(op, d, amount);
    else
      e.shift(Shift::ror, d, n.kind == Kind::rotr ? amount : -amount & 63);
    return true;
  }
  if (!host.bmi2 || !shifts) return false;
  Reg a, b, spare;
  if (!anywhere(arena, n.a, d, free, a)) return false;
  b = rax;
  const bool register_amount = arena[n.b].kind == Kind::x && registers.pinned(arena[n.b].reg, b);
  if (!register_amount) {
    if (!take(free, spare) || !into(arena, n.b, spare, free)) return false;
    b = spare;
  }
  e.shiftx(op, d, a, b);
  return true;
}

// rdx:rax = rax * operand. All of the scratch must be free, but for d itself.
bool ExpressionEmitter::high_product(const Arena& arena, const Node& n, Reg d, Scratch free) {
  if ((free | bit_of(d)) != scratch_all || !is_leaf(arena, n.a) || !is_leaf(arena, n.b))
    return false;
  Reg b;
  if (!leaf(arena, n.a, rax) || !anywhere(arena, n.b, rcx, 0, b)) return false;
  e.unary(n.kind == Kind::mulh ? MulDiv::imul : MulDiv::mul, b);
  e.mov(d, rdx);
  return true;
}

// The results for zero and overflow are those of semantics/values.hpp; the host would trap.
bool ExpressionEmitter::divide(const Arena& arena, const Node& n, Reg d, Scratch free) {
  if ((free | bit_of(d)) != scratch_all) return false;
  const bool is_signed = n.kind == Kind::div || n.kind == Kind::rem;
  const bool remainder = n.kind == Kind::rem || n.kind == Kind::remu;
  if (!into(arena, n.a, rax, bit_of(rcx) | bit_of(rdx))) return false;
  if (!into(arena, n.b, rcx, bit_of(rdx))) return false;
  e.test(rcx, rcx);
  u8* by_zero = e.jcc(Cond::e);
  u8* by_minus_one = nullptr;
  if (is_signed) {
    e.alu(Alu::cmp, rcx, -1);
    by_minus_one = e.jcc(Cond::e);
    e.cqo();
    e.unary(MulDiv::idiv, rcx);
  } else {
    e.mov_imm(rdx, 0);
    e.unary(MulDiv::div, rcx);
  }
  if (remainder) e.mov(rax, rdx);
  u8* done = e.jmp();
  u8* done_too = nullptr;
  if (is_signed) {  // x / -1 = -x, also where that overflows; the remainder is 0
    e.link_here(by_minus_one);
    if (remainder)
      e.mov_imm(rax, 0);
    else
      e.unary(MulDiv::neg, rax);
    done_too = e.jmp();
  }
  e.link_here(by_zero);  // the quotient is all ones, the remainder the dividend
  if (!remainder) e.mov_imm(rax, ~u64{0});
  e.link_here(done);
  if (done_too) e.link_here(done_too);
  e.mov(d, rax);
  return true;
}

bool ExpressionEmitter::compare(const Arena& arena, const Node& n, Scratch free, Cond& holds) {
  switch (n.kind) {
    case Kind::eq: holds = Cond::e; break;
    case Kind::ne: holds = Cond::ne; break;
    case Kind::lt: holds = Cond::l; break;
    case Kind::ltu: holds = Cond::b; break;
    default: return false;
  }
  Reg a, b, spare;
  const Node& right = arena[n.b];
  if (far(arena[n.a]) && small_constant(arena, n.b)) {
    e.alu(Alu::cmp, layout.x_at(arena[n.a].reg), static_cast<i32>(right.imm));
    return true;
  }
  if (far(arena[n.a]) && right.kind == Kind::x && registers.pinned(right.reg, b)) {
    e.alu(Alu::cmp, layout.x_at(arena[n.a].reg), b);
    return true;
  }
  if (!take(free, spare) || !anywhere(arena, n.a, spare, free, a)) return false;
  if (small_constant(arena, n.b)) {
    const i32 imm = static_cast<i32>(right.imm);
    if (imm == 0 && (n.kind == Kind::eq || n.kind == Kind::ne))
      e.test(a, a);
    else
      e.alu(Alu::cmp, a, imm);
    return true;
  }
  if (far(right)) {
    e.alu(Alu::cmp, a, layout.x_at(right.reg));
    return true;
  }
  if (!take(free, spare) || !anywhere(arena, n.b, spare, free, b)) return false;
  e.alu(Alu::cmp, a, b);
  return true;
}

// The flags of a condition: a comparison, its complement, or any value that is not zero.
bool ExpressionEmitter::condition(const Arena& arena, i16 id, Cond& holds) {
  const Node& n = arena[id];
  if (n.kind == Kind::xor_ && small_constant(arena, n.b) && arena[n.b].imm == 1) {
    if (!compare(arena, arena[n.a], scratch_all, holds)) return false;
    holds = !holds;
    return true;
  }
  return compare(arena, n, scratch_all, holds);
}

bool ExpressionEmitter::choose(const Arena& arena, const Node& n, Reg d, Scratch free) {
  // Operands first, then the flags: moves and cmov leave flags alone.
  if ((free | bit_of(d)) != scratch_all || !is_leaf(arena, n.a) || !is_leaf(arena, n.b))
    return false;
  Cond holds;
  if (!compare(arena, arena[n.c], free | bit_of(d), holds)) return false;
  // A constant zero must not be made by xor here: it would change the flags.
  auto operand = [&](i16 id, Reg spare, Reg& where) {
    where = spare;
    if (arena[id].kind == Kind::x && registers.pinned(arena[id].reg, where)) return true;
    if (!is_constant(arena, id)) return leaf(arena, id, spare);
    e.mov_keeping_flags(spare, arena[id].imm);
    return true;
  };
  Reg yes, no;
  if (!operand(n.a, rax, yes) || !operand(n.b, rcx, no)) return false;
  e.mov(rdx, no);
  e.cmov(holds, rdx, yes);
  e.mov(d, rdx);
  return true;
}

// x[rd] op= b, where x[rd] is: false when it is not of that form.
bool ExpressionEmitter::in_memory(const Arena& arena, const Node& n, unsigned rd) {
  auto is_rd = [&](const Node& it) { return it.kind == Kind::x && it.reg == rd; };
  if (n.a < 0 || n.b < 0) return false;
  const Node *a = &arena[n.a], *b = &arena[n.b];
  Shift shift;
  if (shift_of(n.kind, shift) && is_rd(*a) && b->kind == Kind::constant) {
    e.shift(shift, layout.x_at(rd), b->imm & 63);
    return true;
  }
  Alu op;
  if (!alu_of(n.kind, op)) return false;
  if (op != Alu::sub && is_rd(*b)) std::swap(a, b);
  if (!is_rd(*a)) return false;
  if (b->kind == Kind::constant && fits(b->imm)) {
    e.alu(op, layout.x_at(rd), static_cast<i32>(b->imm));
    return true;
  }
  Reg source = rcx;
  if (b->kind != Kind::x) return false;
  if (!registers.pinned(b->reg, source)) e.mov(source, layout.x_at(b->reg));
  e.alu(op, layout.x_at(rd), source);
  return true;
}

bool ExpressionEmitter::assign(const Arena& arena, i16 id, unsigned rd) {
  Reg host_reg;
  if (!registers.pinned(rd, host_reg)) {
    if (in_memory(arena, arena[id], rd)) return true;
    Reg where;
    if (!anywhere(arena, id, rax, scratch_all, where)) return false;
    e.mov(layout.x_at(rd), where);
    return true;
  }
  if (safe_in_place(arena, id, rd)) return into(arena, id, host_reg, scratch_all);
  if (!into(arena, id, rax, scratch_all)) return false;
  e.mov(host_reg, rax);
  return true;
}

}  // namespace rvvm::jit
