// Floating point by SSE2 and FMA3. The host's sticky flags stand for fflags until somebody asks; a
// NaN goes to the interpreter, which makes it canonical, with the flags the host has raised
// already.
#pragma once
#include "engine/jit/lifter.hpp"
#include "semantics/float_operations.hpp"

namespace rvvm::jit {

template <class F> constexpr bool is_wide = std::is_same_v<F, fp::F64>;
template <class F> constexpr bool has_host_type = is_wide<F> || std::is_same_v<F, fp::F32>;

template <class F> void require_operands(Lifter& m, std::initializer_list<unsigned> registers) {
  if constexpr (!is_wide<F>)
    for (unsigned r : registers) m.require_boxed(r);
}

inline void keep_number(Lifter& m, unsigned rd, bool wide) {
  m.e.ucomis(xmm0, xmm0, wide);
  m.miss_if(Cond::p);
  m.put_float(rd, xmm0, wide);
}

template <class F, Sse Operation> struct LowerArithmetic {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    m.require_nearest(i);
    require_operands<F>(m, {i.rs1, i.rs2});
    m.e.movs(xmm0, m.layout.f_at(i.rs1), wide);
    m.e.sse(Operation, xmm0, m.layout.f_at(i.rs2), wide);
    keep_number(m, i.rd, wide);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Add<F>> : LowerArithmetic<F, Sse::add> {};
template <class F> struct Lifter::Lower<fp::Sub<F>> : LowerArithmetic<F, Sse::sub> {};
template <class F> struct Lifter::Lower<fp::Mul<F>> : LowerArithmetic<F, Sse::mul> {};
template <class F> struct Lifter::Lower<fp::Div<F>> : LowerArithmetic<F, Sse::div> {};
template <class F> struct Lifter::Lower<fp::Sqrt<F>> {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    m.require_nearest(i);
    require_operands<F>(m, {i.rs1});
    m.e.sse(Sse::sqrt, xmm0, m.layout.f_at(i.rs1), is_wide<F>);
    keep_number(m, i.rd, is_wide<F>);
    return true;
  }
};

// fmadd 213 forms: a8 + 1 is the scalar one; b c and d e change the signs of product and addend.
template <class F, bool P, bool A> struct Lifter::Lower<fp::Fused<F, P, A>> {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    if (!m.host.fma) return false;
    constexpr bool wide = is_wide<F>;
    constexpr u8 opcode = P ? (A ? 0xaf : 0xad) : (A ? 0xab : 0xa9);
    m.require_nearest(i);
    require_operands<F>(m, {i.rs1, i.rs2, i.rs3});
    m.e.movs(xmm0, m.layout.f_at(i.rs1), wide);
    m.e.movs(xmm1, m.layout.f_at(i.rs2), wide);
    m.e.fmadd213(xmm0, xmm1, m.layout.f_at(i.rs3), wide, opcode);
    keep_number(m, i.rd, wide);
    return true;
  }
};

// ucomis and comis set CF, ZF and PF for unordered operands, so "above" is false for a NaN.
template <class F, bool Swap, Cond Holds> struct LowerOrder {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    require_operands<F>(m, {i.rs1, i.rs2});
    m.e.movs(xmm0, m.layout.f_at(Swap ? i.rs2 : i.rs1), wide);
    m.e.comis(xmm0, m.layout.f_at(Swap ? i.rs1 : i.rs2), wide);
    m.e.setcc(Holds, rax);
    m.put_integer(i.rd, rax);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Lt<F>> : LowerOrder<F, true, Cond::a> {};
template <class F> struct Lifter::Lower<fp::Le<F>> : LowerOrder<F, true, Cond::ae> {};
template <class F> struct Lifter::Lower<fp::Eq<F>> {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    require_operands<F>(m, {i.rs1, i.rs2});
    m.e.movs(xmm0, m.layout.f_at(i.rs1), wide);
    m.e.ucomis(xmm0, m.layout.f_at(i.rs2), wide);
    m.miss_if(Cond::p);
    m.e.setcc(Cond::e, rax);
    m.put_integer(i.rd, rax);
    return true;
  }
};

// Sign injection by integers; only doubles, whose bits need no box.
enum class SignOf : u8 { second, negated, product };
template <class F, SignOf Sign> struct LowerSign {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!is_wide<F>) return false;
    constexpr u64 sign = u64{1} << 63;
    m.e.mov(rax, m.layout.f_at(i.rs1));
    if (Sign == SignOf::second && i.rs1 == i.rs2) {  // fmv.d
      m.e.mov(m.layout.f_at(i.rd), rax);
      return true;
    }
    m.e.mov(rcx, m.layout.f_at(i.rs2));
    if (Sign == SignOf::negated) m.e.unary(MulDiv::not_, rcx);
    m.e.mov_imm(rdx, sign);
    m.e.alu(Alu::and_, rcx, rdx);
    if (Sign != SignOf::product) {
      m.e.unary(MulDiv::not_, rdx);
      m.e.alu(Alu::and_, rax, rdx);
    }
    m.e.alu(Alu::xor_, rax, rcx);
    m.e.mov(m.layout.f_at(i.rd), rax);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Sgnj<F>> : LowerSign<F, SignOf::second> {};
template <class F> struct Lifter::Lower<fp::SgnjN<F>> : LowerSign<F, SignOf::negated> {};
template <class F> struct Lifter::Lower<fp::SgnjX<F>> : LowerSign<F, SignOf::product> {};

// The host converts signed integers; an unsigned word is one of 64 bits, an unsigned doubleword is
// when its sign bit is clear.
template <class F, class T> struct Lifter::Lower<fp::FromInteger<F, T>> {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool word = sizeof(T) == 4, is_unsigned = std::is_unsigned_v<T>;
    m.require_nearest(i, is_wide<F> && word);
    Reg s = rax;
    if (!i.rs1)
      m.e.mov_imm(rax, 0);
    else if (!pinned(i.rs1, s))
      m.e.mov(rax, m.layout.x_at(i.rs1));
    if (word && is_unsigned) {
      m.e.extend(rax, s, Width::b4, false);
      s = rax;
    } else if (is_unsigned) {
      m.e.test(s, s);
      m.miss_if(Cond::s);
    }
    m.e.cvt_from_int(xmm0, s, is_wide<F>, !word || is_unsigned);
    m.put_float(i.rd, xmm0, is_wide<F>);
    return true;
  }
};

// Towards zero, as C converts. What does not fit is invalid, and the handler's. For signed integers
// the host says so, by its "integer indefinite"; unsigned ones are converted as longer signed ones,
// and must be seen to fit before, because the host would call some of them inexact instead. The
// bits of positive numbers are in the numbers' order, and all others are above them.
template <class F, class T> struct Lifter::Lower<fp::ToInteger<F, T>> {
  static constexpr bool word = sizeof(T) == 4, is_unsigned = std::is_unsigned_v<T>;
  static constexpr bool as_long = !word || is_unsigned;
  static constexpr u64 limit = word ? (is_wide<F> ? 0x41f0'0000'0000'0000 : 0x4f80'0000)   // 2^32
                                    : (is_wide<F> ? 0x43e0'0000'0000'0000 : 0x5f00'0000);  // 2^63

  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    if (i.rm != fp::RTZ) return false;
    require_operands<F>(m, {i.rs1});
    if (is_unsigned) {
      m.e.load(rax, m.layout.f_at(i.rs1), is_wide<F> ? Width::b8 : Width::b4, false);
      m.e.mov_imm(rcx, limit);
      m.e.alu(Alu::cmp, rax, rcx);
      m.miss_if(Cond::ae);
    }
    m.e.cvtt_to_int(rax, m.layout.f_at(i.rs1), is_wide<F>, as_long);
    if (!is_unsigned) {
      m.e.mov_imm(rcx, as_long ? u64{1} << 63 : u64{1} << 31);
      m.e.alu(Alu::cmp, rax, rcx);
      m.miss_if(Cond::e);
    }
    if (word) m.e.extend(rax, rax, Width::b4, true);
    m.put_integer(i.rd, rax);
    return true;
  }
};

template <> struct Lifter::Lower<fp::Convert<fp::F64, fp::F32>> {
  static bool emit(Lifter& m, const Insn& i) {
    m.require_nearest(i, true);
    m.require_boxed(i.rs1);
    m.e.cvt_float(xmm0, m.layout.f_at(i.rs1), false);
    keep_number(m, i.rd, true);
    return true;
  }
};
template <> struct Lifter::Lower<fp::Convert<fp::F32, fp::F64>> {
  static bool emit(Lifter& m, const Insn& i) {
    m.require_nearest(i);
    m.e.cvt_float(xmm0, m.layout.f_at(i.rs1), true);
    keep_number(m, i.rd, false);
    return true;
  }
};

}  // namespace rvvm::jit
