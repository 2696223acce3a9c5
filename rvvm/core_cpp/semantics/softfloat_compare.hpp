// Comparison, minimum and maximum, sign injection, classification: nothing here ever rounds.
//
// Unprivileged spec, chapter "F", sections "Single-Precision Floating-Point Compare Instructions",
// "... Classify Instruction", "... Conversion and Move Instructions" (sign injection); chapter
// "Zfa", sections "Minimum and Maximum Instructions" and "Comparison Instructions".
#pragma once

#include "semantics/softfloat_format.hpp"

namespace rvvm::fp {

// Numbers in order, both zeros alike.
template <class F> constexpr i64 rank(u64 a) noexcept {
  const i64 size = i64(magnitude<F>(a));
  return negative<F>(a) ? -size : size;
}

// Numbers in order, -0 before +0: "For the purposes of these instructions only ...".
template <class F> constexpr i64 total_rank(u64 a) noexcept {
  const i64 size = i64(magnitude<F>(a));
  return negative<F>(a) ? ~size : size;
}

template <class F> constexpr bool unordered(u64 a, u64 b) noexcept {
  return is_nan<F>(a) || is_nan<F>(b);
}

// What an unordered comparison yields when only signaling NaNs are invalid (IEEE 754-2008, 5.11).
template <class F> constexpr u64 unordered_quiet(Env& env, u64 a, u64 b) noexcept {
  if (is_signaling<F>(a) || is_signaling<F>(b)) env.flags |= NV;
  return 0;
}

constexpr u64 unordered_signaling(Env& env) noexcept {
  env.flags |= NV;
  return 0;
}

template <class F> constexpr u64 eq(Env& env, u64 a, u64 b) noexcept {
  if (unordered<F>(a, b)) return unordered_quiet<F>(env, a, b);
  return rank<F>(a) == rank<F>(b);
}

template <class F> constexpr u64 lt(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? unordered_signaling(env) : rank<F>(a) < rank<F>(b);
}

template <class F> constexpr u64 le(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? unordered_signaling(env) : rank<F>(a) <= rank<F>(b);
}

template <class F> constexpr u64 lt_quiet(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? unordered_quiet<F>(env, a, b) : rank<F>(a) < rank<F>(b);
}

template <class F> constexpr u64 le_quiet(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? unordered_quiet<F>(env, a, b) : rank<F>(a) <= rank<F>(b);
}

// IEEE 754-2019 minimumNumber/maximumNumber with a NaN: the other operand, if that is a number.
template <class F> constexpr u64 number_of(Env& env, u64 a, u64 b) noexcept {
  const u64 nan = nan_result<F>(env, a, b);
  if (!is_nan<F>(a)) return a;
  return is_nan<F>(b) ? nan : b;
}

template <class F> constexpr u64 lesser(u64 a, u64 b) noexcept {
  return total_rank<F>(b) < total_rank<F>(a) ? b : a;
}

template <class F> constexpr u64 greater(u64 a, u64 b) noexcept {
  return total_rank<F>(b) > total_rank<F>(a) ? b : a;
}

template <class F> constexpr u64 min(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? number_of<F>(env, a, b) : lesser<F>(a, b);
}

template <class F> constexpr u64 max(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? number_of<F>(env, a, b) : greater<F>(a, b);
}

// Zfa fminm, fmaxm (IEEE 754-2019 minimum, maximum): a NaN wins.
template <class F> constexpr u64 min_or_nan(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? nan_result<F>(env, a, b) : lesser<F>(a, b);
}

template <class F> constexpr u64 max_or_nan(Env& env, u64 a, u64 b) noexcept {
  return unordered<F>(a, b) ? nan_result<F>(env, a, b) : greater<F>(a, b);
}

// All bits of a but the sign, which is that of b, its opposite, or their product.
template <class F> constexpr u64 sign_of(u64 a, u64 b) noexcept {
  return magnitude<F>(a) | (b & F::sign);
}

template <class F> constexpr u64 opposite_sign_of(u64 a, u64 b) noexcept {
  return magnitude<F>(a) | (~b & F::sign);
}

template <class F> constexpr u64 product_of_signs(u64 a, u64 b) noexcept {
  return a ^ (b & F::sign);
}

// The bit of fclass's answer: 0-3 negative infinity, normal, subnormal, zero; 4-7 the same
// mirrored; 8 signaling NaN; 9 quiet NaN.
template <class F> constexpr int class_bit(u64 a) noexcept {
  if (is_nan<F>(a)) return is_signaling<F>(a) ? 8 : 9;
  const int size = is_infinite<F>(a) ? 3 : magnitude<F>(a) >= F::hidden ? 2 : !is_zero<F>(a);
  return negative<F>(a) ? 3 - size : 4 + size;
}

template <class F> constexpr u64 classify(u64 a) noexcept { return u64{1} << class_bit<F>(a); }

}  // namespace rvvm::fp
