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

// ucomis and comis set CF, ZF and PF for unordered operands, so "above" is false for a NaN. A quiet
// NaN is invalid to comis alone.
template <class F, bool Swap, Cond Holds, bool Quiet = false> struct LowerOrder {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    require_operands<F>(m, {i.rs1, i.rs2});
    const Xmm a = m.float_in(Swap ? i.rs2 : i.rs1, xmm0),
              b = m.float_in(Swap ? i.rs1 : i.rs2, xmm1);
    if (Quiet)
      m.e.ucomis(a, b, wide);
    else
      m.e.comis(a, b, wide);
    m.e.setcc(Holds, rax);
    m.put_integer(i.rd, rax);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Lt<F>> : LowerOrder<F, true, Cond::a> {};
template <class F> struct Lifter::Lower<fp::Le<F>> : LowerOrder<F, true, Cond::ae> {};
template <class F> struct Lifter::Lower<fp::LtQ<F>> : LowerOrder<F, true, Cond::a, true> {};
template <class F> struct Lifter::Lower<fp::LeQ<F>> : LowerOrder<F, true, Cond::ae, true> {};
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

template <class F> struct Lifter::Lower<fp::MinM<F>> : LowerExtreme<F, Sse::min, Packed::or_> {};
template <class F> struct Lifter::Lower<fp::MaxM<F>> : LowerExtreme<F, Sse::max, Packed::and_> {};

// By the bits: the exponent, and what is on either side of it.
template <class F> struct Lifter::Lower<fp::Class<F>> {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr u8 exponent_bits = is_wide<F> ? 11 : 8;
    constexpr i32 largest = (1 << exponent_bits) - 1;
    Emitter& e = m.e;
    require_operands<F>(m, {i.rs1});
    e.movq(rax, m.float_in(i.rs1, xmm1));
    if (!is_wide<F>) e.shift(Shift::shl, rax, 32);
    e.mov(rdx, rax);
    e.shift(Shift::shr, rdx, 63);
    e.shift(Shift::shl, rax, 1);
    u8* zero = e.jcc(Cond::e);
    e.mov(rcx, rax);
    e.shift(Shift::shl, rcx, exponent_bits);
    e.shift(Shift::shr, rax, 64 - exponent_bits);
    u8* subnormal = e.jcc(Cond::e);
    e.alu32(Alu::cmp, rax, largest);
    u8* special = e.jcc(Cond::e);
    u8* done[] = {pick(e, 6, 1), nullptr, nullptr, nullptr};
    e.link_here(zero);
    done[1] = pick(e, 4, 3);
    e.link_here(subnormal);
    done[2] = pick(e, 5, 2);
    e.link_here(special);
    e.test(rcx, rcx);
    u8* nan = e.jcc(Cond::ne);
    done[3] = pick(e, 7, 0);
    e.link_here(nan);
    e.shift(Shift::shr, rcx, 63);  // of quiet ones
    e.lea(rax, {rcx, 1});
    e.shift(Shift::shl, rax, 8);
    for (u8* jump : done) e.link_here(jump);
    m.put_integer(i.rd, rax);
    return true;
  }
  // The bit of a positive or a negative operand.
  static u8* pick(Emitter& e, unsigned positive, unsigned negative) {
    e.mov_imm(rax, u64{1} << positive);
    e.mov_imm(rcx, u64{1} << negative);
    e.test32(rdx, rdx);
    e.cmov(Cond::ne, rax, rcx);
    return e.jmp();
  }
};

// To an integer in the same format, with the operand's box; `Inexact` says so.
template <class F, bool Inexact> struct LowerRound {
  static constexpr u8 by_mxcsr = 4, exact = 8;
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    constexpr u8 modes[] = {0, 3, 1, 2};  // RNE, RTZ, RDN, RUP
    if (!m.host.avx || (i.rm != fp::DYN && i.rm >= std::size(modes))) return false;
    require_operands<F>(m, {i.rs1});
    m.float_to(i.rs1, xmm1);
    const u8 mode = i.rm == fp::DYN ? by_mxcsr : modes[i.rm];
    m.e.round(xmm0, xmm1, wide, mode | (Inexact ? 0 : exact));
    keep_number(m, i.rd, xmm0, wide);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Round<F>> : LowerRound<F, false> {};
template <class F> struct Lifter::Lower<fp::RoundNX<F>> : LowerRound<F, true> {};

// Sign injection, of boxed singles.
enum class SignOf : u8 { second, negated, product };
template <class F, SignOf Sign> struct LowerSign {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool wide = is_wide<F>;
    const Layout& at = m.layout;
    const Mem sign = at.cpu_field(wide ? at.sign : at.sign_of_single),
              magnitude = at.cpu_field(wide ? at.magnitude : at.magnitude_of_single);
    require_operands<F>(m, {i.rs1, i.rs2});
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
    m.put_float(i.rd, xmm0, wide);
    return true;
  }
};
template <class F> struct Lifter::Lower<fp::Sgnj<F>> : LowerSign<F, SignOf::second> {};
template <class F> struct Lifter::Lower<fp::SgnjN<F>> : LowerSign<F, SignOf::negated> {};
template <class F> struct Lifter::Lower<fp::SgnjX<F>> : LowerSign<F, SignOf::product> {};

// Whether an instruction names a mode that MXCSR need not have.
constexpr bool names_mode(const Insn& i) { return i.rm != fp::DYN && i.rm != fp::RNE; }

// The host converts signed integers; an unsigned word is one of 64 bits, an unsigned doubleword is
// when its sign bit is clear.
template <class F, class T> struct Lifter::Lower<fp::FromInteger<F, T>> {
  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    constexpr bool word = sizeof(T) == 4, is_unsigned = std::is_unsigned_v<T>;
    constexpr bool exact = is_wide<F> && word;
    if (exact || !names_mode(i)) m.require_rounding(i, exact);
    if (fp::reserved(i.rm) && i.rm != fp::DYN) return false;
    Reg s = m.integer_in(i.rs1, rax);
    if (word && (is_unsigned || names_mode(i))) {
      m.e.extend(rax, s, Width::b4, !is_unsigned);
      s = rax;
    } else if (!word && is_unsigned) {
      m.e.test(s, s);
      m.miss_if(Cond::s);
    }
    if (!exact && names_mode(i)) {  // what is exact is the same in all modes
      m.e.mov_imm(rcx, u64{1} << F::precision);
      m.e.alu(Alu::add, rcx, s);
      m.e.shift(Shift::shr, rcx, F::precision + 1);
      m.miss_if(Cond::ne);
    }
    prepare_result(m, is_wide<F>);
    m.e.cvt_from_int(xmm0, xmm0, s, is_wide<F>, !word || is_unsigned);
    m.put_float(i.rd, xmm0, is_wide<F>);
    return true;
  }
};

// Towards zero, as C converts, or for signed integers in any mode. What does not fit is invalid,
// and the handler's. For signed integers the host says so, by its "integer indefinite"; unsigned
// ones are converted as longer signed ones, and must be seen to fit before, because the host would
// call some of them inexact instead. The bits of positive numbers are in the numbers' order, and
// all others are above them.
template <class F, class T> struct Lifter::Lower<fp::ToInteger<F, T>> {
  static constexpr bool word = sizeof(T) == 4, is_unsigned = std::is_unsigned_v<T>;
  static constexpr bool as_long = !word || is_unsigned;
  static constexpr u64 limit = word ? (is_wide<F> ? 0x41f0'0000'0000'0000 : 0x4f80'0000)   // 2^32
                                    : (is_wide<F> ? 0x43e0'0000'0000'0000 : 0x5f00'0000);  // 2^63

  static bool emit(Lifter& m, const Insn& i) {
    if constexpr (!has_host_type<F>) return false;
    if (is_unsigned && i.rm != fp::RTZ) return false;
    require_operands<F>(m, {i.rs1});
    const Xmm a = m.float_in(i.rs1, xmm1);
    if (is_unsigned) {
      m.e.movq(rax, a);
      if (!is_wide<F>) m.e.extend(rax, rax, Width::b4, false);
      m.e.mov_imm(rcx, limit);
      m.e.alu(Alu::cmp, rax, rcx);
      m.miss_if(Cond::ae);
    }
    if (!convert(m, i, a)) return false;
    if (word) m.e.extend(rax, rax, Width::b4, true);
    m.put_integer(i.rd, rax);
    return true;
  }

  // rax = the integer.
  static bool convert(Lifter& m, const Insn& i, Xmm a) {
    switch (i.rm) {
      case fp::RTZ: m.e.cvtt_to_int(rax, a, is_wide<F>, as_long); break;
      case fp::RNE: m.require_rounding(i); [[fallthrough]];
      case fp::DYN: m.e.cvt_to_int(rax, a, is_wide<F>, as_long); break;
      case fp::RDN: return convert_rounded(m, a, 1);
      case fp::RUP: return convert_rounded(m, a, 2);
      case fp::RMM: return convert_nearest_away(m, a);
      default: return false;
    }
    if (!is_unsigned) require_fit(m);
    return true;
  }
  static void require_fit(Lifter& m) {
    m.e.mov_imm(rcx, as_long ? u64{1} << 63 : u64{1} << 31);
    m.e.alu(Alu::cmp, rax, rcx);
    m.miss_if(Cond::e);
  }

  // To an integer first, as a number. Where that may be found not to fit, it must not be called
  // inexact before: then converting the operand says so, after.
  static bool convert_rounded(Lifter& m, Xmm a, u8 mode) {
    constexpr bool may_be_too_large = is_wide<F> && word;
    if (!m.host.avx) return false;
    m.e.mova(xmm1, a);
    m.e.round(xmm0, xmm1, is_wide<F>, mode | (may_be_too_large ? 8 : 0));
    m.e.cvtt_to_int(rax, xmm0, is_wide<F>, as_long);
    require_fit(m);
    if (may_be_too_large) m.e.cvtt_to_int(rcx, xmm1, is_wide<F>, as_long);
    return true;
  }

  // Towards zero, and one further where a half or more is left of the operand. The difference is
  // exact, and what has one is too small for one further not to fit; but for words of doubles.
  static bool convert_nearest_away(Lifter& m, Xmm a) {
    constexpr bool wide = is_wide<F>;
    if (wide && word) return false;
    m.e.cvtt_to_int(rax, a, wide, as_long);
    require_fit(m);
    prepare_result(m, wide);
    m.e.cvt_from_int(xmm0, xmm0, rax, wide, as_long);
    m.e.sse(Sse::sub, xmm1, a, xmm0, wide);
    m.e.movq(rcx, xmm1);
    if (!wide) m.e.extend(rcx, rcx, Width::b4, true);
    m.e.mov(rdx, rcx);
    m.e.shift(Shift::sar, rdx, 63);
    m.e.alu(Alu::or_, rdx, 1);
    m.e.shift(Shift::shl, rcx, wide ? 1 : 33);
    m.e.shift(Shift::shr, rcx, wide ? 53 : 56);
    m.e.alu(Alu::cmp, rcx, wide ? 1022 : 126);  // the exponent of a half; there is none above
    u8* less = m.e.jcc(Cond::b);
    m.e.alu(Alu::add, rax, rdx);
    m.e.link_here(less);
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
