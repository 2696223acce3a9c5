// Exact values on their way in and out of a format: unpacking, and the one rounding at the end.
//
// IEEE 754-2008, clause 4.3 (rounding-direction attributes), 7.4 (overflow), 7.5 (underflow; RISC-V
// detects tininess after rounding: chapter "F", section "Subnormal Arithmetic").
#pragma once

#include <bit>

#include "semantics/softfloat_format.hpp"

namespace rvvm::fp {

// A finite number: ± significand × 2^(exponent - 63). Bit 63 of the significand is set unless the
// number is zero. A result may be jammed: bit 0 set stands for any excess below it.
struct Number {
  bool negative;
  int exponent;
  u64 significand;
};

template <class W> constexpr int leading_zeros(W value) noexcept {
  if constexpr (sizeof(W) == 16) {
    const u64 high = u64(value >> 64);
    return high ? std::countl_zero(high) : 64 + std::countl_zero(u64(value));
  } else {
    return std::countl_zero(value);
  }
}

// Shifts right and ORs all that is lost into bit 0: enough to round correctly later.
template <class W> constexpr W shift_right_jam(W value, int count) noexcept {
  constexpr int bits = 8 * sizeof(W);
  if (count == 0) return value;
  if (count >= bits) return value != 0;
  return (value >> count) | W((value << (bits - count)) != 0);
}

// The upper half of a 128-bit value, jammed.
constexpr u64 high_jam(u128 value) noexcept { return u64(value >> 64) | u64(u64(value) != 0); }

constexpr Number normalise(Number n) noexcept {
  const int shift = std::countl_zero(n.significand);
  return {n.negative, n.exponent - shift, n.significand << shift};
}

// The value of a finite datum other than zero.
template <class F> constexpr Number unpack(u64 a) noexcept {
  const int biased = int(magnitude<F>(a) >> F::fraction_bits);
  const u64 fraction = (a & F::fraction_mask) << (63 - F::fraction_bits);
  if (biased == 0) return normalise({negative<F>(a), F::emin, fraction});
  return {negative<F>(a), biased - F::bias, fraction | u64{1} << 63};
}

// Does a magnitude round up? `rest` is the discarded part as a fraction of 2^64.
constexpr bool rounds_up(u8 rm, bool minus, bool odd, u64 rest) noexcept {
  constexpr u64 half = u64{1} << 63;
  switch (rm) {
    case RNE: return rest > half || (rest == half && odd);
    case RDN: return minus && rest != 0;
    case RUP: return !minus && rest != 0;
    case RMM: return rest >= half;
    default: return false;  // RTZ
  }
}

// A significand cut to p bits: `kept` is rounded, and may have carried into 2^p.
struct Cut {
  u64 kept;
  bool inexact;
};

template <class F> constexpr Cut cut(u8 rm, bool minus, u64 significand) noexcept {
  const u64 kept = significand >> (64 - F::precision);
  const u64 rest = significand << F::precision;
  return {kept + rounds_up(rm, minus, kept & 1, rest), rest != 0};
}

// IEEE 754-2008, 7.4: infinity, unless the rounding direction points back at the finite numbers.
template <class F> constexpr u64 overflow(Env& env, bool minus) noexcept {
  env.flags |= OF | NX;
  const bool away = rounds_up(env.rm, minus, true, ~u64{0});
  return signed_as<F>(minus, away ? F::infinity : F::max_finite);
}

// IEEE 754-2008, 7.5 (a): tiny when the result, rounded as if the exponent range were unbounded,
// lies below 2^emin.
template <class F> constexpr bool tiny(u8 rm, const Number& n) noexcept {
  if (n.exponent < F::emin - 1) return true;
  return cut<F>(rm, n.negative, n.significand).kept >> F::precision == 0;  // no carry to 2^emin
}

template <class F> constexpr u64 round_subnormal(Env& env, const Number& n) noexcept {
  const u64 shifted = shift_right_jam(n.significand, F::emin - n.exponent);
  const Cut c = cut<F>(env.rm, n.negative, shifted);
  if (c.inexact) env.flags |= tiny<F>(env.rm, n) ? UF | NX : NX;
  return signed_as<F>(n.negative, c.kept);  // a carry makes the smallest normal number
}

// The datum nearest to a number other than zero, in the direction of env.rm.
template <class F> constexpr u64 round(Env& env, const Number& n) noexcept {
  if (n.exponent < F::emin) return round_subnormal<F>(env, n);
  if (n.exponent > F::emax) return overflow<F>(env, n.negative);
  const Cut c = cut<F>(env.rm, n.negative, n.significand);
  // The hidden bit of `kept` adds one to the exponent field, a carry another one.
  const u64 size = (u64(n.exponent + F::bias - 1) << F::fraction_bits) + c.kept;
  if (size >= F::infinity) return overflow<F>(env, n.negative);
  if (c.inexact) env.flags |= NX;
  return signed_as<F>(n.negative, size);
}

}  // namespace rvvm::fp
