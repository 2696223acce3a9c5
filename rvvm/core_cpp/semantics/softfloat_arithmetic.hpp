// add, sub, mul, div, sqrt and fused multiply-add (IEEE 754-2008, 5.4.1), exact until one rounding.
//
// Unprivileged spec, chapter "F", "Single-Precision Floating-Point Computational Instructions".
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "semantics/softfloat_round.hpp"

namespace rvvm::fp {

// A summand: ± significand × 2^exponent, the leading bit one below the top of W for the carry.
template <class W> struct Term {
  bool negative;
  int exponent;
  W significand;
};

template <class W> constexpr Term<W> widen(const Number& n) noexcept {
  constexpr int shift = 8 * sizeof(W) - 64;
  return {n.negative, n.exponent, (W(n.significand) << shift) >> 1};
}

// The exact product of two significands; the factors' 11 low zero bits make the shift lossless.
constexpr Term<u128> product(const Number& a, const Number& b) noexcept {
  const u128 p = u128(a.significand) * b.significand;  // leading bit 126 or 127
  const int carry = int(p >> 127);
  return {a.negative != b.negative, a.exponent + b.exponent + carry, p >> carry};
}

// Normalises; of 128 bits the lower half is jammed.
template <class W> constexpr Number to_number(const Term<W>& t) noexcept {
  const int shift = leading_zeros(t.significand);
  const W aligned = t.significand << shift;
  const int exponent = t.exponent + 1 - shift;
  if constexpr (sizeof(W) == 16)
    return {t.negative, exponent, high_jam(aligned)};
  else
    return {t.negative, exponent, aligned};
}

// IEEE 754-2008, 6.3: an exact zero sum of opposite signs is +0, but -0 when rounding down.
template <class F> constexpr u64 zero_sum(const Env& env, bool a, bool b) noexcept {
  return signed_as<F>(a == b ? a : env.rm == RDN, 0);
}

// Jamming is safe: only terms whose exponents differ by less than two cancel by more than one bit,
// and these lose no bit to the alignment.
template <class F, class W> constexpr u64 sum(Env& env, Term<W> a, Term<W> b) noexcept {
  if (a.exponent < b.exponent) std::swap(a, b);
  b.significand = shift_right_jam(b.significand, a.exponent - b.exponent);
  if (a.negative == b.negative) {
    a.significand += b.significand;
  } else {
    if (a.significand == b.significand) return zero_sum<F>(env, false, true);
    if (a.significand < b.significand) std::swap(a.significand, b.significand), a.negative ^= 1;
    a.significand -= b.significand;
  }
  return round<F>(env, to_number(a));
}

// A sum with an infinity, or with a zero: the other operand, if any, decides.
template <class F> constexpr u64 special_sum(Env& env, u64 a, u64 b) noexcept {
  if (is_infinite<F>(a)) return is_infinite<F>(b) && a != b ? invalid<F>(env) : a;
  if (is_infinite<F>(b)) return b;
  if (!is_zero<F>(a)) return a;
  return is_zero<F>(b) ? zero_sum<F>(env, negative<F>(a), negative<F>(b)) : b;
}

template <class F> constexpr bool is_special(u64 a) noexcept {
  return is_zero<F>(a) || !is_finite<F>(a);
}

template <class F> constexpr u64 add(Env& env, u64 a, u64 b) noexcept {
  if (is_nan<F>(a) || is_nan<F>(b)) return nan_result<F>(env, a, b);
  if (is_special<F>(a) || is_special<F>(b)) return special_sum<F>(env, a, b);
  return sum<F>(env, widen<u64>(unpack<F>(a)), widen<u64>(unpack<F>(b)));
}

// A NaN has its sign flipped too: harmless, since the result is the canonical NaN.
template <class F> constexpr u64 sub(Env& env, u64 a, u64 b) noexcept {
  return add<F>(env, a, negate<F>(b));
}

// IEEE 754-2008, 7.2 (b): zero times infinity.
template <class F> constexpr bool invalid_product(u64 a, u64 b) noexcept {
  return (is_zero<F>(a) && is_infinite<F>(b)) || (is_infinite<F>(a) && is_zero<F>(b));
}

template <class F> constexpr u64 mul(Env& env, u64 a, u64 b) noexcept {
  if (is_nan<F>(a) || is_nan<F>(b)) return nan_result<F>(env, a, b);
  if (invalid_product<F>(a, b)) return invalid<F>(env);
  const bool minus = negative<F>(a) != negative<F>(b);
  if (!is_finite<F>(a) || !is_finite<F>(b)) return signed_as<F>(minus, F::infinity);
  if (is_zero<F>(a) || is_zero<F>(b)) return signed_as<F>(minus, 0);
  return round<F>(env, to_number(product(unpack<F>(a), unpack<F>(b))));
}

constexpr Number quotient(const Number& a, const Number& b) noexcept {
  const bool borrow = a.significand < b.significand;
  const u128 dividend = u128(a.significand) << (63 + borrow);
  const u64 q = u64(dividend / b.significand);  // in [2^63, 2^64)
  const bool rest = q * b.significand != u64(dividend);
  return {a.negative != b.negative, a.exponent - b.exponent - borrow, q | rest};
}

// IEEE 754-2008, 7.2 (e) 0/0 and inf/inf; 7.3 a finite non-zero dividend and a zero divisor.
template <class F> constexpr u64 div(Env& env, u64 a, u64 b) noexcept {
  if (is_nan<F>(a) || is_nan<F>(b)) return nan_result<F>(env, a, b);
  const bool minus = negative<F>(a) != negative<F>(b);
  if (is_infinite<F>(a)) {
    return is_infinite<F>(b) ? invalid<F>(env) : signed_as<F>(minus, F::infinity);
  }
  if (is_infinite<F>(b)) return signed_as<F>(minus, 0);
  if (is_zero<F>(b)) {
    if (is_zero<F>(a)) return invalid<F>(env);
    env.flags |= DZ;
    return signed_as<F>(minus, F::infinity);
  }
  if (is_zero<F>(a)) return signed_as<F>(minus, 0);
  return round<F>(env, quotient(unpack<F>(a), unpack<F>(b)));
}

// An integer square root and its remainder, n = root² + remainder; Wide holds what leads there.
template <class Wide> struct Root {
  u64 root;
  Wide remainder;
};

inline constexpr auto small_roots = [] {
  std::array<u8, 256> roots{};
  for (unsigned n = 1, root = 0; n < roots.size(); ++n) {
    while ((root + 1) * (root + 1) <= n) ++root;
    roots[n] = u8(root);
  }
  return roots;
}();

// Zimmermann's "Karatsuba Square Root": from the root of the upper half of `n` to that of all of
// it, by one division. `n` has `Bits` bits, of which one of the two highest is set.
template <int Bits>
constexpr auto square_root(std::conditional_t<Bits == 128, u128, u64> n) noexcept {
  using Wide = decltype(n);
  if constexpr (Bits == 8) {
    const u64 root = small_roots[n];
    return Root<u64>{root, n - root * root};
  } else {
    constexpr int digit = Bits / 4;
    constexpr Wide mask = (Wide{1} << digit) - 1;
    const auto high = square_root<Bits / 2>(u64(n >> (Bits / 2)));
    const Wide dividend = Wide{high.remainder} << digit | (n >> digit & mask);
    const Wide q = dividend / (2 * high.root);
    const Wide rest = dividend - q * (2 * high.root);
    const Wide root = (Wide{high.root} << digit) + q;
    const Wide found = rest << digit | (n & mask), square = q * q;
    if (found >= square) return Root<Wide>{u64(root), found - square};
    return Root<Wide>{u64(root - 1), found + 2 * root - 1 - square};
  }
}

// The root to twice as few bits as the radicand has: at least p + 2, and a jammed remainder. An odd
// exponent gives one factor of two to the radicand, so that the other half stays integral.
template <class F> constexpr Number root(const Number& a) noexcept {
  constexpr int bits = F::precision + 2 > 32 ? 128 : F::precision + 2 > 16 ? 64 : 32;
  const int odd = a.exponent & 1;
  const u128 radicand = u128(a.significand) << (63 + odd) >> (128 - bits);
  const auto r = square_root<bits>(radicand);
  const u64 significand = r.root << (64 - bits / 2) | u64(r.remainder != 0);
  return {false, (a.exponent - odd) / 2, significand};
}

// IEEE 754-2008, 6.3: the square root of -0 is -0; 7.2 (g): of less than zero, invalid.
template <class F> constexpr u64 sqrt(Env& env, u64 a) noexcept {
  if (is_nan<F>(a)) return nan_result<F>(env, a);
  if (is_zero<F>(a)) return a;
  if (negative<F>(a)) return invalid<F>(env);
  if (is_infinite<F>(a)) return a;
  return round<F>(env, root<F>(unpack<F>(a)));
}

// A fused sum where an operand is infinite or zero. The product's sign is that of a × b.
template <class F> constexpr u64 special_fma(Env& env, u64 a, u64 b, u64 c) noexcept {
  const bool minus = negative<F>(a) != negative<F>(b);
  if (!is_finite<F>(a) || !is_finite<F>(b)) {
    return special_sum<F>(env, signed_as<F>(minus, F::infinity), c);
  }
  if (is_zero<F>(a) || is_zero<F>(b)) return special_sum<F>(env, signed_as<F>(minus, 0), c);
  return is_infinite<F>(c) ? c : mul<F>(env, a, b);
}

// a × b + c. "must set the invalid operation exception flag when the multiplicands are inf and
// zero, even when the addend is a quiet NaN".
template <class F> constexpr u64 fma(Env& env, u64 a, u64 b, u64 c) noexcept {
  if (invalid_product<F>(a, b)) return invalid<F>(env);
  if (is_nan<F>(a) || is_nan<F>(b) || is_nan<F>(c)) return nan_result<F>(env, a, b, c);
  if (is_special<F>(a) || is_special<F>(b) || is_special<F>(c)) {
    return special_fma<F>(env, a, b, c);
  }
  return sum<F>(env, product(unpack<F>(a), unpack<F>(b)), widen<u128>(unpack<F>(c)));
}

}  // namespace rvvm::fp
