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

// A result that is a number; a NaN goes to the interpreter, with the operands as they were.
inline void keep_number(Lifter& m, unsigned rd, Xmm value, bool wide) {
  m.e.ucomis(value, value, wide);
  m.miss_if(Cond::p);
  m.put_float(rd, value, wide);
}

// In xmm0: what is merged into when an instruction writes only the low part. That is the box of a
// single, or nothing, so that there is no waiting for what was there.
inline void prepare_result(Lifter& m, bool wide) {
  if (wide)
    m.e.packed(Packed::xor_, xmm0, xmm0, xmm0);
  else
    m.e.movs(xmm0, m.layout.cpu_field(m.layout.box), true);
}

template <class F, Sse Operation> struct LowerArithmetic {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    m.require_rounding(i);
    require_operands<F>(m, {i.rs1, i.rs2});
    const Xmm d = m.float_result(i.rd, {i.rs1, i.rs2});
    const Xmm a = m.float_in(i.rs1, xmm0), b = m.float_in(i.rs2, xmm1);
    m.e.sse(Operation, d, a, b, wide);
    keep_number(m, i.rd, d, wide);
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
    m.require_rounding(i);
    require_operands<F>(m, {i.rs1});
    prepare_result(m, is_wide<F>);
    m.e.sse(Sse::sqrt, xmm0, xmm0, m.float_in(i.rs1, xmm1), is_wide<F>);
    keep_number(m, i.rd, xmm0, is_wide<F>);
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
    m.require_rounding(i);
    require_operands<F>(m, {i.rs1, i.rs2, i.rs3});
    m.float_to(i.rs1, xmm0);
    const Xmm b = m.float_in(i.rs2, xmm1);
    Xmm c;
    if (m.registers.pinned(i.rs3, c))
      m.e.fmadd213(xmm0, b, c, wide, opcode);
    else
      m.e.fmadd213(xmm0, b, m.layout.f_at(i.rs3), wide, opcode);
    keep_number(m, i.rd, xmm0, wide);
    return true;
  }
};

// ucomis and comis set CF, ZF and PF for unordered operands, so "above" is false for a NaN.
template <class F, bool Swap, Cond Holds> struct LowerOrder {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    require_operands<F>(m, {i.rs1, i.rs2});
    const Xmm a = m.float_in(Swap ? i.rs2 : i.rs1, xmm0),
              b = m.float_in(Swap ? i.rs1 : i.rs2, xmm1);
    m.e.comis(a, b, wide);
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
    require_operands<F>(m, {i.rs1, i.rs2});
    const Xmm a = m.float_in(i.rs1, xmm0), b = m.float_in(i.rs2, xmm1);
    m.e.ucomis(a, b, is_wide<F>);
    m.miss_if(Cond::p);
    m.e.setcc(Cond::e, rax);
    m.put_integer(i.rd, rax);
    return true;
  }
};

// A NaN goes to the interpreter. Operands that are equal are the same bits, or zeros of either
// sign: or gives the smaller of those, and and the larger.
template <class F, Sse Operation, Packed OfZeros> struct LowerExtreme {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    require_operands<F>(m, {i.rs1, i.rs2});
    m.float_to(i.rs1, xmm0);
    const Xmm b = m.float_in(i.rs2, xmm1);
    m.e.ucomis(xmm0, b, wide);
    m.miss_if(Cond::p);
    u8* different = m.e.jcc(Cond::ne);
    m.e.packed(OfZeros, xmm0, xmm0, b);
    u8* done = m.e.jmp();
    m.e.link_here(different);
    m.e.sse(Operation, xmm0, xmm0, b, wide);
    m.e.link_here(done);
    m.put_float(i.rd, xmm0, wide);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Min<F>> : LowerExtreme<F, Sse::min, Packed::or_> {};
template <class F> struct Lifter::Lower<fp::Max<F>> : LowerExtreme<F, Sse::max, Packed::and_> {};

// Sign injection; a single only as a move, negation or magnitude of a boxed one.
enum class SignOf : u8 { second, negated, product };
template <class F, SignOf Sign> struct LowerSign {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!is_wide<F>) return false;
    const Mem sign = m.layout.cpu_field(m.layout.sign),
              magnitude = m.layout.cpu_field(m.layout.magnitude);
    m.float_to(i.rs1, xmm0);
    if (i.rs1 == i.rs2) {  // fmv, fneg, fabs
      if (Sign == SignOf::negated) m.e.packed(Packed::xor_, xmm0, xmm0, sign);
      if (Sign == SignOf::product) m.e.packed(Packed::and_, xmm0, xmm0, magnitude);
    } else {
      m.float_to(i.rs2, xmm1);
      if (Sign == SignOf::negated) m.e.packed(Packed::xor_, xmm1, xmm1, sign);
      m.e.packed(Packed::and_, xmm1, xmm1, sign);
      if (Sign != SignOf::product) m.e.packed(Packed::and_, xmm0, xmm0, magnitude);
      m.e.packed(Packed::xor_, xmm0, xmm0, xmm1);
    }
    m.put_float(i.rd, xmm0, true);
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
    m.require_rounding(i, is_wide<F> && word);
    Reg s = m.integer_in(i.rs1, rax);
    if (word && is_unsigned) {
      m.e.extend(rax, s, Width::b4, false);
      s = rax;
    } else if (is_unsigned) {
      m.e.test(s, s);
      m.miss_if(Cond::s);
    }
    prepare_result(m, is_wide<F>);
    m.e.cvt_from_int(xmm0, xmm0, s, is_wide<F>, !word || is_unsigned);
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
    const Xmm a = m.float_in(i.rs1, xmm0);
    if (is_unsigned) {
      m.e.movq(rax, a);
      if (!is_wide<F>) m.e.extend(rax, rax, Width::b4, false);
      m.e.mov_imm(rcx, limit);
      m.e.alu(Alu::cmp, rax, rcx);
      m.miss_if(Cond::ae);
    }
    m.e.cvtt_to_int(rax, a, is_wide<F>, as_long);
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
    m.require_rounding(i, true);
    m.require_boxed(i.rs1);
    prepare_result(m, true);
    m.e.cvt_float(xmm0, xmm0, m.float_in(i.rs1, xmm1), false);
    keep_number(m, i.rd, xmm0, true);
    return true;
  }
};
template <> struct Lifter::Lower<fp::Convert<fp::F32, fp::F64>> {
  static bool emit(Lifter& m, const Insn& i) {
    m.require_rounding(i);
    prepare_result(m, false);
    m.e.cvt_float(xmm0, xmm0, m.float_in(i.rs1, xmm1), true);
    keep_number(m, i.rd, xmm0, false);
    return true;
  }
};

}  // namespace rvvm::jit
