#include "engine/jit/host_features.hpp"

namespace rvvm::jit {

#ifdef __x86_64__
HostFeatures HostFeatures::detect() {
  __builtin_cpu_init();
  const bool avx = __builtin_cpu_supports("avx");
  return {.bmi2 = __builtin_cpu_supports("bmi2") != 0,
          .lzcnt = __builtin_cpu_supports("lzcnt") != 0,
          .bmi1 = __builtin_cpu_supports("bmi") != 0,
          .popcnt = __builtin_cpu_supports("popcnt") != 0,
          .avx = avx,
          .fma = avx && __builtin_cpu_supports("fma"),
          .avx512 = avx && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")};
}
#else
HostFeatures HostFeatures::detect() { return {}; }
#endif

}  // namespace rvvm::jit
