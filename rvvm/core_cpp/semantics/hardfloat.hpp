// A shorter way to some results of softfloat: the host's own arithmetic, where provably the same.
//
// The host rounds to nearest even and its flags are too slow to read. So an arithmetic operation
// goes this way only if rm is RNE and NX is already accrued, and its result is kept only if no flag
// but NX can belong to it: a finite result above the smallest normal number excludes NV, DZ, OF and
// UF by itself, whatever the operands were (a NaN or an infinity would show in the result; tiny
// results are below; 2^emin itself may be one rounded up). What is refused is softfloat's.
//
// Must be compiled with -ffp-contract=off and without -ffast-math, and run while the host rounds to
// nearest without flushing subnormals: see HostEnvironment.
#pragma once

#include <bit>
#include <cfenv>
#include <cmath>
#include <optional>

#include "semantics/float_operations.hpp"

#if defined(__FAST_MATH__)
#error "IEEE 754 results need the compiler to keep to IEEE 754: no -ffast-math"
#endif

namespace rvvm::fp {

// Gives the thread the default floating-point environment while a guest runs. Libraries linked
// with -ffast-math are known to leave "flush to zero" on in a process that loads them.
class HostEnvironment {
 public:
  HostEnvironment() noexcept {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~HostEnvironment() { std::fesetenv(&saved_); }
  HostEnvironment(const HostEnvironment&) = delete;
  HostEnvironment& operator=(const HostEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

// Is std::fma one instruction here? Elsewhere it is correct too, but slower than softfloat.
#if defined(__x86_64__) && !defined(__FMA__)
inline const bool host_fuses = __builtin_cpu_supports("fma");  // libm then dispatches to it
#elif defined(__FP_FAST_FMA)
inline constexpr bool host_fuses = true;
#else
inline constexpr bool host_fuses = false;
#endif

using Quick = std::optional<u64>;

template <class F> struct HostType;
template <> struct HostType<F32> {
  using Value = float;
  using Bits = u32;
};
template <> struct HostType<F64> {
  using Value = double;
  using Bits = u64;
};
template <class F> using Value = typename HostType<F>::Value;

template <class F> inline Value<F> to_host(u64 a) noexcept {
  return std::bit_cast<Value<F>>(typename HostType<F>::Bits(a));
}

template <class F> inline u64 from_host(Value<F> value) noexcept {
  return std::bit_cast<typename HostType<F>::Bits>(value);
}

// Keeps a result that can be accompanied by NX only.
template <class F> inline Quick at_most_inexact(Value<F> value) noexcept {
  const u64 bits = from_host<F>(value);
  const u64 size = magnitude<F>(bits);
  return size - F::hidden - 1 < F::infinity - F::hidden - 1 ? Quick{bits} : std::nullopt;
}

// A sum below 2^emin is exact, hence never an underflow: every finite result will do.
template <class F> inline Quick finite_sum(Value<F> value) noexcept {
  const u64 bits = from_host<F>(value);
  return is_finite<F>(bits) ? Quick{bits} : std::nullopt;
}

constexpr bool inexact_unnoticed(const Env& env, u8 accrued) noexcept {
  return env.rm == RNE && (accrued & NX) != 0;
}

// The host's way through an operation; by default there is none.
template <class Tag> struct Host {};

// Operations the host rounds, and whose inexactness goes unseen.
struct Rounded {
  static constexpr bool suits(const Env& env, u8 accrued) noexcept {
    return inexact_unnoticed(env, accrued);
  }
};

template <class F>
concept HostFormat = requires {
  typename HostType<F>::Value;
};

template <HostFormat F> struct Host<Add<F>> : Rounded {
  static Quick apply(Env&, u64 a, u64 b) noexcept {
    return finite_sum<F>(to_host<F>(a) + to_host<F>(b));
  }
};
template <HostFormat F> struct Host<Sub<F>> : Rounded {
  static Quick apply(Env&, u64 a, u64 b) noexcept {
    return finite_sum<F>(to_host<F>(a) - to_host<F>(b));
  }
};
template <HostFormat F> struct Host<Mul<F>> : Rounded {
  static Quick apply(Env&, u64 a, u64 b) noexcept {
    return at_most_inexact<F>(to_host<F>(a) * to_host<F>(b));
  }
};
template <HostFormat F> struct Host<Div<F>> : Rounded {
  static Quick apply(Env&, u64 a, u64 b) noexcept {
    return at_most_inexact<F>(to_host<F>(a) / to_host<F>(b));
  }
};
template <HostFormat F> struct Host<Sqrt<F>> : Rounded {
  static Quick apply(Env&, u64 a) noexcept {
    return negative<F>(a) ? std::nullopt : at_most_inexact<F>(std::sqrt(to_host<F>(a)));
  }
};
template <HostFormat F, bool P, bool A> struct Host<Fused<F, P, A>> {
  using Tag = Fused<F, P, A>;
  static bool suits(const Env& env, u8 accrued) noexcept {
    return host_fuses && inexact_unnoticed(env, accrued);
  }
  static Quick apply(Env&, u64 a, u64 b, u64 c) noexcept {
    const auto x = to_host<F>(a ^ Tag::product_sign), z = to_host<F>(c ^ Tag::addend_sign);
    return at_most_inexact<F>(std::fma(x, to_host<F>(b), z));
  }
};
template <> struct Host<Convert<F32, F64>> : Rounded {
  static Quick apply(Env&, u64 a) noexcept { return at_most_inexact<F32>(float(to_host<F64>(a))); }
};

// Widening is exact, whatever the mode; only NaNs are special.
template <> struct Host<Convert<F64, F32>> {
  static constexpr bool suits(const Env&, u8) noexcept { return true; }
  static Quick apply(Env&, u64 a) noexcept {
    return is_nan<F32>(a) ? Quick{} : from_host<F64>(double(to_host<F32>(a)));
  }
};

template <HostFormat F, class T> struct Host<FromInteger<F, T>> {
  static constexpr bool exact = F::precision >= 8 * int(sizeof(T));
  static constexpr bool suits(const Env& env, u8 accrued) noexcept {
    return exact || inexact_unnoticed(env, accrued);
  }
  static Quick apply(Env&, u64 x) noexcept { return from_host<F>(Value<F>(T(x))); }
};

// C++ truncates, as almost every guest conversion does. NX is found by converting back, which is
// exact: the truncated value has no more significant bits than the operand.
template <HostFormat F, class T> struct Host<ToInteger<F, T>> {
  static constexpr Value<F> beyond =
      Value<F>(std::is_signed_v<T> ? 2 : 4) * Value<F>(u64{1} << (8 * sizeof(T) - 2));
  static constexpr bool suits(const Env& env, u8) noexcept { return env.rm == RTZ; }
  static Quick apply(Env& env, u64 a) noexcept {
    const auto value = to_host<F>(a);
    const bool fits = value < beyond && value >= (std::is_signed_v<T> ? -beyond : 0);
    if (!fits) return std::nullopt;  // a NaN too
    const T integer = T(value);
    if (Value<F>(integer) != value) env.flags |= NX;
    return extend(integer);
  }
};

}  // namespace rvvm::fp
