// Page-table entries of Sv39, Sv48, Sv57 and their x4 twins: one layout.
#pragma once
#include "isa/types.hpp"

namespace rvvm {

struct Pte {
  u64 bits = 0;

  static constexpr u64 V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128;
  static constexpr u64 reserved = u64{0x7f} << 54;
  static constexpr unsigned ppn_shift = 10;
  static constexpr u64 ppn_mask = (u64{1} << 44) - 1;

  constexpr bool has(u64 flags) const { return (bits & flags) == flags; }
  constexpr bool leaf() const { return bits & (R | W | X); }
  constexpr u64 ppn() const { return bits >> ppn_shift & ppn_mask; }
  constexpr u64 pbmt() const { return bits >> 61 & 3; }  // Svpbmt; 3 is reserved
  constexpr bool napot() const { return bits >> 63; }    // Svnapot
};

}  // namespace rvvm
