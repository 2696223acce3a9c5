// The 32 constants of Zfa's fli, for every format from one table.
//
// Unprivileged spec, chapter "Zfa", section "Load-Immediate Instructions".
#pragma once

#include <array>

#include "semantics/softfloat_round.hpp"

namespace rvvm::fp {

// quarters × 2^(exponent - 2): entries 2 to 29, no more than two fraction bits each.
struct Constant {
  u8 quarters;
  i8 exponent;
};

inline constexpr Constant constants[] = {
    {4, -16}, {4, -15}, {4, -8}, {4, -7}, {4, -4}, {4, -3}, {4, -2}, {5, -2}, {6, -2}, {7, -2},
    {4, -1},  {5, -1},  {6, -1}, {7, -1}, {4, 0},  {5, 0},  {6, 0},  {7, 0},  {4, 1},  {5, 1},
    {6, 1},   {4, 2},   {4, 3},  {4, 4},  {4, 7},  {4, 8},  {4, 15}, {4, 16},
};

// Half precision rounds 2^16 (entry 29) to infinity and holds entries 2 and 3 as subnormals.
template <class F> constexpr u64 constant(unsigned index) noexcept {
  Env quiet;
  switch (index) {
    case 0: return negate<F>(constant<F>(16));
    case 1: return F::hidden;  // the minimum positive normal
    case 30: return F::infinity;
    case 31: return F::nan;
    default: break;
  }
  const Constant c = constants[index - 2];
  return round<F>(quiet, {false, c.exponent, u64(c.quarters) << 61});
}

template <class F>
inline constexpr auto constants_of = [] {
  std::array<u64, 32> all{};
  for (unsigned index = 0; index < all.size(); ++index) all[index] = constant<F>(index);
  return all;
}();

}  // namespace rvvm::fp
