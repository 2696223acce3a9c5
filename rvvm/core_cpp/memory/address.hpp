// Addresses carry their space: a guest virtual address is not a host physical one, and does not
// compile as one.
#pragma once
#include <compare>

#include "isa/types.hpp"

namespace rvvm {

template <class Space> struct Address {
  u64 value = 0;
  constexpr Address() = default;
  constexpr explicit Address(u64 v) : value{v} {}
  constexpr Address operator+(u64 n) const { return Address{value + n}; }
  friend constexpr auto operator<=>(Address, Address) = default;
};

using Gva =
    Address<struct GuestVirtual>;  // what an instruction computes; virtual address with V=0 too
using Gpa = Address<struct GuestPhysical>;  // what VS-stage translation yields
using Hpa = Address<struct HostPhysical>;   // supervisor physical address: RAM and devices

constexpr u64 page_size = 4096;
constexpr u64 page_mask = page_size - 1;
constexpr unsigned page_bits = std::countr_zero(page_size);

}  // namespace rvvm
