// The binary interchange formats and what can be said of a datum without arithmetic.
//
// Unprivileged spec, chapter "F", sections "Floating-Point Control and Status Register" and
// "NaN Generation and Propagation"; chapter "D", section "NaN Boxing"; IEEE 754-2008, 3.4.
// Every value travels as a u64 that holds the datum in its low bits and zeros above.
#pragma once

#include "isa/types.hpp"

namespace rvvm::fp {

// fflags, in the bit order of the fcsr register.
enum Flag : u8 { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };

// The rm field of an instruction and frm. 5 and 6 are reserved, and so is a frm of 7.
enum Rounding : u8 { RNE = 0, RTZ = 1, RDN = 2, RUP = 3, RMM = 4, DYN = 7 };

// The surroundings of one operation: `rm` (never DYN) is read, `flags` is only ever OR-ed into.
struct Env {
  u8 rm = RNE;
  u8 flags = 0;
};

// Where an operand of an instruction lives, and in which format: a NaN-boxed f register or x.
enum class Operand : u8 { none, x, h, s, d };

// One binary interchange format; `Width` bits of which `ExponentBits` are the biased exponent.
template <int Width, int ExponentBits, Operand Kind> struct Format {
  static constexpr Operand operand = Kind;
  static constexpr int width = Width;
  static constexpr int precision = Width - ExponentBits;  // p, the hidden bit included
  static constexpr int fraction_bits = precision - 1;
  static constexpr int bias = (1 << (ExponentBits - 1)) - 1;
  static constexpr int emax = bias;
  static constexpr int emin = 1 - bias;
  static constexpr u64 mask = ~u64{0} >> (64 - Width);
  static constexpr u64 sign = u64{1} << (Width - 1);
  static constexpr u64 hidden = u64{1} << fraction_bits;  // also the smallest normal number
  static constexpr u64 fraction_mask = hidden - 1;
  static constexpr u64 infinity = u64((1 << ExponentBits) - 1) << fraction_bits;
  static constexpr u64 max_finite = infinity - 1;
  static constexpr u64 quiet = hidden >> 1;
  static constexpr u64 nan = infinity | quiet;  // the canonical NaN
};

using F16 = Format<16, 5, Operand::h>;
using F32 = Format<32, 8, Operand::s>;
using F64 = Format<64, 11, Operand::d>;

template <class F> constexpr bool negative(u64 a) noexcept { return (a & F::sign) != 0; }
template <class F> constexpr u64 magnitude(u64 a) noexcept { return a & ~F::sign; }
template <class F> constexpr u64 negate(u64 a) noexcept { return a ^ F::sign; }
template <class F> constexpr u64 signed_as(bool minus, u64 size) noexcept {
  return minus ? size | F::sign : size;
}

template <class F> constexpr bool is_zero(u64 a) noexcept { return magnitude<F>(a) == 0; }
template <class F> constexpr bool is_infinite(u64 a) noexcept {
  return magnitude<F>(a) == F::infinity;
}
template <class F> constexpr bool is_nan(u64 a) noexcept { return magnitude<F>(a) > F::infinity; }
template <class F> constexpr bool is_finite(u64 a) noexcept {
  return magnitude<F>(a) < F::infinity;
}
// IEEE 754-2008, 6.2.1: the leading fraction bit of a signaling NaN is 0.
template <class F> constexpr bool is_signaling(u64 a) noexcept {
  return is_nan<F>(a) && !(a & F::quiet);
}

// The NaN of an invalid operation (IEEE 754-2008, 7.2).
template <class F> constexpr u64 invalid(Env& env) noexcept {
  env.flags |= NV;
  return F::nan;
}

// The NaN of an operation with a NaN among its operands: canonical, invalid only if one signals.
template <class F, class... Operands>
constexpr u64 nan_result(Env& env, Operands... operands) noexcept {
  return (is_signaling<F>(operands) || ...) ? invalid<F>(env) : F::nan;
}

// The upper bits of an f register (FLEN = 64) that holds a narrower datum.
template <class F> constexpr u64 boxing = ~F::mask;

template <class F> constexpr u64 box(u64 datum) noexcept { return datum | boxing<F>; }

// "otherwise the input value is treated as an n-bit canonical NaN".
template <class F> constexpr u64 unbox(u64 raw) noexcept {
  return (raw & boxing<F>) == boxing<F> ? raw & F::mask : F::nan;
}

}  // namespace rvvm::fp
