#include "engine/jit/host_features.hpp"

#include <utility>

namespace rvvm::jit {

#ifdef __x86_64__
HostFeatures HostFeatures::detect() {
  __builtin_cpu_init();
  const bool avx = __builtin_cpu_supports("avx");
  return {.x86_64 = true,
          .bmi2 = __builtin_cpu_supports("bmi2") != 0,
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

bool HostFeatures::remove(std::string_view name) {
  using H = HostFeatures;
  static constexpr std::pair<std::string_view, bool H::*> names[] = {
      {"x86-64", &H::x86_64}, {"bmi2", &H::bmi2}, {"lzcnt", &H::lzcnt}, {"bmi1", &H::bmi1},
      {"popcnt", &H::popcnt}, {"avx", &H::avx},   {"fma", &H::fma},     {"avx512", &H::avx512}};
  for (const auto& [known, member] : names) {
    if (known != name) continue;
    this->*member = false;
    fma &= avx;
    avx512 &= avx;
    return true;
  }
  return false;
}

}  // namespace rvvm::jit
