// The floating-point operations as types: a body names one, an engine recognises it.
//
// A tag says where its operands and its result live and whether it rounds, and has
// `static u64 apply(Env&, u64...)`: unboxed data in, a datum (or an x value) out. A translator
// specialises on a tag, `template <class F> struct Lift<fp::Add<F>>`, and runs it otherwise.
#pragma once

#include "semantics/softfloat.hpp"

namespace rvvm::fp {

// The integer registers, as an operand.
struct Integer {
  static constexpr Operand operand = Operand::x;
};

// The static part of a tag: its result, its operands and whether it has an rm field. "Some
// instructions, including widening conversions, have the rm field but are nevertheless
// mathematically unaffected": these round too, for a reserved rm is illegal for them as well.
template <bool Rounds, class To, class... From> struct Shape {
  static constexpr bool rounds = Rounds;
  static constexpr int arity = sizeof...(From);
  static constexpr Operand to = To::operand;
  static constexpr Operand from[3] = {From::operand...};
};

template <class F> struct Add : Shape<true, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return add<F>(env, a, b); }
};
template <class F> struct Sub : Shape<true, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return sub<F>(env, a, b); }
};
template <class F> struct Mul : Shape<true, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return mul<F>(env, a, b); }
};
template <class F> struct Div : Shape<true, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return div<F>(env, a, b); }
};
template <class F> struct Sqrt : Shape<true, F, F> {
  static constexpr u64 apply(Env& env, u64 a) noexcept { return sqrt<F>(env, a); }
};

// The fused family as ±(a × b) ± c: the two signs are flipped exactly, before the operation.
template <class F, bool MinusProduct, bool MinusAddend> struct Fused : Shape<true, F, F, F, F> {
  static constexpr u64 product_sign = MinusProduct ? F::sign : 0;
  static constexpr u64 addend_sign = MinusAddend ? F::sign : 0;
  static constexpr u64 apply(Env& env, u64 a, u64 b, u64 c) noexcept {
    return fma<F>(env, a ^ product_sign, b, c ^ addend_sign);
  }
};
template <class F> using MAdd = Fused<F, false, false>;
template <class F> using MSub = Fused<F, false, true>;
template <class F> using NMSub = Fused<F, true, false>;
template <class F> using NMAdd = Fused<F, true, true>;

template <class F> struct Min : Shape<false, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return min<F>(env, a, b); }
};
template <class F> struct Max : Shape<false, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return max<F>(env, a, b); }
};
template <class F> struct MinM : Shape<false, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return min_or_nan<F>(env, a, b); }
};
template <class F> struct MaxM : Shape<false, F, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return max_or_nan<F>(env, a, b); }
};

template <class F> struct Sgnj : Shape<false, F, F, F> {
  static constexpr u64 apply(Env&, u64 a, u64 b) noexcept { return sign_of<F>(a, b); }
};
template <class F> struct SgnjN : Shape<false, F, F, F> {
  static constexpr u64 apply(Env&, u64 a, u64 b) noexcept { return opposite_sign_of<F>(a, b); }
};
template <class F> struct SgnjX : Shape<false, F, F, F> {
  static constexpr u64 apply(Env&, u64 a, u64 b) noexcept { return product_of_signs<F>(a, b); }
};

template <class F> struct Eq : Shape<false, Integer, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return eq<F>(env, a, b); }
};
template <class F> struct Lt : Shape<false, Integer, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return lt<F>(env, a, b); }
};
template <class F> struct Le : Shape<false, Integer, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return le<F>(env, a, b); }
};
template <class F> struct LtQ : Shape<false, Integer, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return lt_quiet<F>(env, a, b); }
};
template <class F> struct LeQ : Shape<false, Integer, F, F> {
  static constexpr u64 apply(Env& env, u64 a, u64 b) noexcept { return le_quiet<F>(env, a, b); }
};
template <class F> struct Class : Shape<false, Integer, F> {
  static constexpr u64 apply(Env&, u64 a) noexcept { return classify<F>(a); }
};

// T is i32, u32, i64 or u64.
template <class F, class T> struct ToInteger : Shape<true, Integer, F> {
  static constexpr u64 apply(Env& env, u64 a) noexcept { return to_integer<F, T>(env, a); }
};
template <class F, class T> struct FromInteger : Shape<true, F, Integer> {
  static constexpr u64 apply(Env& env, u64 a) noexcept { return from_integer<F, T>(env, a); }
};
template <class To, class From> struct Convert : Shape<true, To, From> {
  static constexpr u64 apply(Env& env, u64 a) noexcept { return convert<To, From>(env, a); }
};

template <class F> struct Round : Shape<true, F, F> {
  static constexpr u64 apply(Env& env, u64 a) noexcept {
    return round_to_integral<F, false>(env, a);
  }
};
template <class F> struct RoundNX : Shape<true, F, F> {
  static constexpr u64 apply(Env& env, u64 a) noexcept {
    return round_to_integral<F, true>(env, a);
  }
};
// Its rm field is fixed: RTZ, whatever env.rm says.
struct ToIntegerModular : Shape<false, Integer, F64> {
  static constexpr u64 apply(Env& env, u64 a) noexcept { return to_integer_modular(env, a); }
};

}  // namespace rvvm::fp
