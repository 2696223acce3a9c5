// What the host's processor has beyond x86-64's baseline.
#pragma once

namespace rvvm::jit {

struct HostFeatures {
  bool bmi2 = false, lzcnt = false, bmi1 = false, popcnt = false;
  bool avx = false, fma = false;
  bool avx512 = false;  // F and VL: xmm16 to xmm31
  static HostFeatures detect();
};

}  // namespace rvvm::jit
