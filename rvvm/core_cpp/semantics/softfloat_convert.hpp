// Conversions: to and from integers, between formats, to an integral value in the same format.
//
// Unprivileged spec, chapter "F", section "Single-Precision Floating-Point Conversion and Move
// Instructions"; chapter "Zfa", sections "Round-to-Integer Instructions" and "Modular
// Convert-to-Integer Instruction"; IEEE 754-2008, 5.4.1, 5.8, 5.9.
#pragma once

#include <limits>
#include <type_traits>

#include "semantics/softfloat_round.hpp"

namespace rvvm::fp {

// An integer as an x register holds it: "sign-extends the 32-bit result", unsigned ones too.
template <class T> constexpr u64 extend(T value) noexcept {
  return u64(i64(std::make_signed_t<T>(value)));
}

// A magnitude rounded to an integer.
struct Integral {
  u64 size;
  bool inexact;
};

// Rounds |n| < 2^64 to an integer.
constexpr Integral round_integral(u8 rm, const Number& n) noexcept {
  const bool fractional = n.exponent < 0;
  const u64 kept = fractional ? 0 : n.significand >> (63 - n.exponent);
  const u64 rest = fractional        ? shift_right_jam(n.significand, -1 - n.exponent)
                   : n.exponent < 63 ? n.significand << (n.exponent + 1)
                                     : 0;
  return {kept + rounds_up(rm, n.negative, kept & 1, rest), rest != 0};
}

// Out of range: invalid, and "clipped to the nearest value".
template <class T> constexpr u64 saturate(Env& env, bool minus) noexcept {
  env.flags |= NV;
  return extend(minus ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max());
}

template <class T> constexpr u64 largest(bool minus) noexcept {
  const u64 max = u64(std::numeric_limits<T>::max());
  if (!minus) return max;
  return std::is_signed_v<T> ? max + 1 : 0;
}

// fcvt.{w,wu,l,lu}.fmt. A NaN counts as positive; out of range is invalid and never inexact.
template <class F, class T> constexpr u64 to_integer(Env& env, u64 a) noexcept {
  if (is_zero<F>(a)) return 0;
  if (is_nan<F>(a)) return saturate<T>(env, false);
  const bool minus = negative<F>(a);
  if (is_infinite<F>(a)) return saturate<T>(env, minus);
  const Number n = unpack<F>(a);
  if (n.exponent > 63) return saturate<T>(env, minus);
  const Integral i = round_integral(env.rm, n);
  if (i.size > largest<T>(minus)) return saturate<T>(env, minus);
  if (i.inexact) env.flags |= NX;
  return extend(T(minus ? 0 - i.size : i.size));
}

// fcvt.fmt.{w,wu,l,lu}: of the x register only the width of T counts.
template <class F, class T> constexpr u64 from_integer(Env& env, u64 x) noexcept {
  const T value = T(x);
  if (value == 0) return 0;
  const bool minus = value < 0;
  const u64 size = minus ? 0 - u64(value) : u64(value);
  return round<F>(env, normalise({minus, 63, size}));
}

// fcvt.to.from. Widening is exact; a signaling NaN is invalid either way.
template <class To, class From> constexpr u64 convert(Env& env, u64 a) noexcept {
  if (is_nan<From>(a)) return is_signaling<From>(a) ? invalid<To>(env) : To::nan;
  if (is_infinite<From>(a)) return signed_as<To>(negative<From>(a), To::infinity);
  if (is_zero<From>(a)) return signed_as<To>(negative<From>(a), 0);
  return round<To>(env, unpack<From>(a));
}

// IEEE 754-2008, 5.9: the sign of zero results is that of the operand. `Report` tells froundnx
// (roundToIntegralExact) from fround.
template <class F, bool Report> constexpr u64 round_to_integral(Env& env, u64 a) noexcept {
  if (is_nan<F>(a)) return nan_result<F>(env, a);
  if (is_infinite<F>(a) || is_zero<F>(a)) return a;
  const Number n = unpack<F>(a);
  if (n.exponent >= F::fraction_bits) return a;
  const Integral i = round_integral(env.rm, n);
  if (Report && i.inexact) env.flags |= NX;
  if (i.size == 0) return signed_as<F>(n.negative, 0);
  return round<F>(env, normalise({n.negative, 63, i.size}));  // at most p bits: exact
}

// The integer part of a finite number modulo 2^32.
constexpr u32 truncated_modulo(const Number& n) noexcept {
  if (n.exponent < 0 || n.exponent > 63 + 31) return 0;
  const u64 size =
      n.exponent > 63 ? n.significand << (n.exponent - 63) : n.significand >> (63 - n.exponent);
  return u32(n.negative ? 0 - size : size);
}

// fcvtmod.w.d: always towards zero; infinities and NaN are 0; the flags of fcvt.w.d.
constexpr u64 to_integer_modular(Env& env, u64 a) noexcept {
  Env saturating{RTZ, env.flags};
  to_integer<F64, i32>(saturating, a);
  env.flags = saturating.flags;
  return is_zero<F64>(a) || !is_finite<F64>(a) ? 0 : extend(truncated_modulo(unpack<F64>(a)));
}

}  // namespace rvvm::fp
