// What the host's processor has beyond x86-64's baseline.
#pragma once
#include <string_view>

namespace rvvm::jit {

struct HostFeatures {
  bool x86_64 = false;
  bool bmi2 = false, lzcnt = false, bmi1 = false, popcnt = false;
  bool avx = false, fma = false;
  bool avx512 = false;  // F and VL: xmm16 to xmm31
  static HostFeatures detect();

  // Does as if the host did not have it, nor what builds on it. False: there is no such name.
  bool remove(std::string_view name);
};

}  // namespace rvvm::jit
